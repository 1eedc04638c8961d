use std::fmt;

use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

/// A user's Ed25519 public key (RFC 8032), 32 bytes as registered with the server.
///
/// On the wire: `opaque key[32]`. Whether the bytes are a point of the curve is found out where they are used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Takes the key's 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The start is enough to tell keys apart in a failing test; whole keys link people in a log.
        f.write_str("PublicKey(")?;
        for byte in self.0.iter().take(4) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…)")
    }
}
