/// Why bytes are not a frame, or not the structure inside one. The sender is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The first byte, or a value further in, is not one that this version knows.
    #[error("a code or value came ({0}) that this version of the protocol does not have")]
    Unknown(u64),
    /// Bytes are missing, left over, or outside the bounds of a field.
    #[error("a frame came whose bytes do not fit its code")]
    Malformed,
}

impl From<tls_codec::Error> for DecodeError {
    fn from(error: tls_codec::Error) -> Self {
        match error {
            tls_codec::Error::UnknownValue(value) => Self::Unknown(value),
            _ => Self::Malformed,
        }
    }
}
