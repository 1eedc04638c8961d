use std::fmt;

use tls_codec::{
    DeserializeBytes, Error, Serialize, Size, TlsByteSliceU16, TlsByteVecU16, TlsDeserializeBytes, TlsSerialize,
    TlsSize,
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::limits::MAX_TEXT;

/// What is inside the seal of a frame, besides key renewals, which are MLS commits.
///
/// `kind[1]`, then for a text `text<1..2^14>` behind a length of two bytes.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum Content {
    /// Uncounted: nothing but the `ack` of its header.
    #[tls_codec(discriminant = 0)]
    Receipt,
    /// Counted: what the user typed.
    #[tls_codec(discriminant = 1)]
    Text(Text),
    /// Counted, and the last of its direction: the user ended the chat (B5).
    #[tls_codec(discriminant = 2)]
    Goodbye,
}

/// What a user typed: 1 to 16,384 bytes of UTF-8. Zeroed when dropped; `Debug` shows its length alone.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Text(String);

/// Why a text cannot be a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// There is nothing in it.
    #[error("there is nothing to send")]
    Empty,
    /// More than [`MAX_TEXT`] bytes.
    #[error("a message has at most {MAX_TEXT} bytes; this one has {0}")]
    TooLong(usize),
}

impl Text {
    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Text {
    type Error = TextError;

    fn try_from(mut text: String) -> Result<Self, TextError> {
        let error = match text.len() {
            0 => TextError::Empty,
            1..=MAX_TEXT => return Ok(Self(text)),
            length => TextError::TooLong(length),
        };
        text.zeroize();
        Err(error)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

impl Size for Text {
    fn tls_serialized_len(&self) -> usize {
        TlsByteSliceU16(self.0.as_bytes()).tls_serialized_len()
    }
}

impl Serialize for Text {
    fn tls_serialize<W: std::io::Write>(&self, writer: &mut W) -> Result<usize, Error> {
        TlsByteSliceU16(self.0.as_bytes()).tls_serialize(writer)
    }
}

impl DeserializeBytes for Text {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (vector, rest) = TlsByteVecU16::tls_deserialize_bytes(bytes)?;
        let text = String::from_utf8(vector.into_vec()).map_err(|error| {
            error.into_bytes().zeroize();
            Error::InvalidInput
        })?;
        let text = Self::try_from(text).map_err(|_| Error::InvalidVectorLength)?;
        Ok((text, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_at_every_border() {
        assert_eq!(Text::try_from(String::new()), Err(TextError::Empty));
        assert!(Text::try_from("x".repeat(MAX_TEXT)).is_ok());
        assert_eq!(Text::try_from("x".repeat(MAX_TEXT + 1)), Err(TextError::TooLong(MAX_TEXT + 1)));
        assert!(Content::tls_deserialize_exact_bytes(b"\x01\x00\x02\xc3\x28").is_err(), "not UTF-8");
        assert!(Content::tls_deserialize_exact_bytes(b"\x01\x00\x00").is_err(), "empty");
        assert!(Content::tls_deserialize_exact_bytes(b"\x00\x00").is_err(), "left over");
    }

    #[test]
    fn debug_shows_no_text() {
        let text = Text::try_from("meet at nine".to_owned()).unwrap();
        assert_eq!(format!("{:?}", Content::Text(text)), "Text(Text(12 bytes))");
    }
}
