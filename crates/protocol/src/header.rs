use std::fmt;

use tls_codec::{DeserializeBytes as _, Serialize as _, TlsDeserializeBytes, TlsSerialize, TlsSize};

use crate::{Code, DecodeError};

/// The version that every chat header bears.
pub const PROTOCOL_VERSION: u8 = 1;

/// Names one chat: 16 random bytes that the caller draws, and the group id of the chat's MLS group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct ChatId([u8; 16]);

impl ChatId {
    /// Takes the id's 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id's 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for ChatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChatId(")?;
        for byte in self.0.iter().take(4) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…)")
    }
}

/// What stands in clear at the head of every sealed frame, and is its authenticated data (S12, S16).
///
/// With the frame's code before it, the 34 bytes `code[1] version[1] chat[16] counter[8] ack[8]` are both the head of
/// the frame and the authenticated data of the MLS message in it (RFC 9420 section 6.3.1). Integers are big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct ChatHeader {
    /// Always [`PROTOCOL_VERSION`]; anything else is refused.
    pub version: u8,
    /// The chat that the frame belongs to.
    pub chat: ChatId,
    /// Of a counted frame its place in the sender's stream, from 0; of a receipt the place of the next counted frame.
    pub counter: u64,
    /// The counter that the sender expects from its peer next: all below it has arrived.
    pub ack: u64,
}

impl ChatHeader {
    /// Bytes of the authenticated data.
    pub const AAD_LEN: usize = 34;

    /// A header of this version.
    pub const fn new(chat: ChatId, counter: u64, ack: u64) -> Self {
        Self { version: PROTOCOL_VERSION, chat, counter, ack }
    }

    /// The authenticated data: the code of [`Code::Message`], then this header.
    ///
    /// # Errors
    /// None that can be met: the structure has a fixed length. The codec's signature asks for one.
    pub fn aad(&self) -> Result<Vec<u8>, DecodeError> {
        let mut aad = Vec::with_capacity(Self::AAD_LEN);
        Code::Message.tls_serialize(&mut aad)?;
        self.tls_serialize(&mut aad)?;
        Ok(aad)
    }

    /// The chat that a frame names if it is a whole [`Code::Message`]: what is sealed is measured, not looked into.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are no such frame, or of another version.
    pub fn chat_of(frame: &[u8]) -> Result<ChatId, DecodeError> {
        let (code, rest) = Code::tls_deserialize_bytes(frame)?;
        let (header, rest) = Self::tls_deserialize_bytes(rest)?;
        let (length, sealed) = u16::tls_deserialize_bytes(rest)?;
        let is_whole = !sealed.is_empty() && sealed.len() == usize::from(length);
        if code != Code::Message || header.version != PROTOCOL_VERSION || !is_whole {
            return Err(DecodeError::Malformed);
        }
        Ok(header.chat)
    }
}
