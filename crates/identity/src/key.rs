use std::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use protocol::PublicKey;
use rand_core::CryptoRng;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroizing;

/// A user's Ed25519 private key (RFC 8032), unlocked. Zeroed when dropped; `Debug` shows the public half alone.
///
/// There is no way to copy it: whoever must sign borrows it.
pub struct UserKey(SigningKey);

impl UserKey {
    /// Draws a new key from `rng`.
    pub fn generate(rng: &mut (dyn CryptoRng + Send)) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut_slice());
        Self::from_seed(&seed)
    }

    /// Takes the 32 bytes that RFC 8032 section 5.1.5 calls the private key. Any 32 bytes are one.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The half that an operator registers and a peer pins.
    pub fn public(&self) -> PublicKey {
        PublicKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` as RFC 8032 section 5.1.6 says: no context, no prehash, the same signature each time.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    pub(crate) fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserKey").field("public", &self.public()).finish_non_exhaustive()
    }
}

/// Whether a signature by this key means anything. Of the keys that are not on the curve, none can sign; for those of
/// small order, anybody can, so that whoever gets one registered could log in without holding a secret.
pub(crate) fn can_prove(key: &PublicKey) -> bool {
    VerifyingKey::from_bytes(key.as_bytes()).is_ok_and(|key| !key.is_weak())
}

/// `PrivateKeyInfo` of RFC 8410 section 7, version 1, up to the seed.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// `SubjectPublicKeyInfo` of RFC 8410 section 4, up to the key.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Lends the key to `use_it` in the form that TLS libraries read, and zeroes that form afterwards.
pub(crate) fn with_pkcs8<T>(key: &UserKey, use_it: impl FnOnce(&PrivatePkcs8KeyDer<'_>) -> T) -> T {
    let der = Zeroizing::new([PKCS8_PREFIX.as_slice(), key.seed()].concat());
    use_it(&PrivatePkcs8KeyDer::from(der.as_slice()))
}

/// The key as a raw public key of TLS (RFC 7250 section 3).
pub(crate) fn to_spki(key: &PublicKey) -> SubjectPublicKeyInfoDer<'static> {
    [SPKI_PREFIX.as_slice(), key.as_bytes()].concat().into()
}

/// Reads a raw public key of TLS: the one encoding that an Ed25519 key has in DER, and nothing else.
pub(crate) fn from_spki(der: &[u8]) -> Option<PublicKey> {
    let key = der.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?;
    Some(PublicKey::from_bytes(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        bytes.try_into().unwrap()
    }

    /// RFC 8032 section 7.1, tests 1 to 3: seed, public key, message, signature.
    const RFC_8032: [(&str, &str, &[u8], &str); 3] = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            b"",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            b"\x72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            b"\xaf\x82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];

    #[test]
    fn signs_as_rfc_8032_does() {
        for (seed, public, message, signature) in RFC_8032 {
            let key = UserKey::from_seed(&bytes(seed));
            assert_eq!(key.public().as_bytes(), &bytes::<32>(public));
            assert_eq!(key.sign(message), bytes::<64>(signature));
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let seed = bytes(RFC_8032[0].0);
        let shown = format!("{:?}", UserKey::from_seed(&seed));
        assert_eq!(shown, "UserKey { public: PublicKey(d75a9801…), .. }");
    }

    #[test]
    fn keys_that_prove_nothing() {
        assert!(can_prove(&UserKey::from_seed(&[7; 32]).public()));
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(!can_prove(&PublicKey::from_bytes(identity)), "the neutral point");
        assert!(!can_prove(&PublicKey::from_bytes([0; 32])), "a point of order 4");
        let mut off_the_curve = [0; 32];
        off_the_curve[0] = 2;
        assert!(!can_prove(&PublicKey::from_bytes(off_the_curve)));
    }

    #[test]
    fn raw_public_keys_have_one_encoding() {
        let key = UserKey::from_seed(&[7; 32]).public();
        let der = to_spki(&key);
        assert_eq!(from_spki(&der), Some(key));
        assert_eq!(from_spki(&der[..43]), None);
        assert_eq!(from_spki(&[&der[..], &[0]].concat()), None);
        for i in 0..SPKI_PREFIX.len() {
            let mut other = der.to_vec();
            other[i] ^= 1;
            assert_eq!(from_spki(&other), None, "byte {i}");
        }
    }
}
