//! Vectors with a floor and a ceiling, `opaque x<FLOOR..CEILING>` of RFC 8446 section 3.4, which the derive lacks.

use std::io::Write;

use tls_codec::{Error, Serialize as _, Size as _, TlsByteSliceU8, TlsByteVecU8};

/// Bytes of `opaque x<..255>` on the wire.
pub(crate) fn len_u8(bytes: &[u8]) -> usize {
    TlsByteSliceU8(bytes).tls_serialized_len()
}

/// Writes `opaque x<..255>`.
pub(crate) fn write_u8<W: Write>(bytes: &[u8], writer: &mut W) -> Result<usize, Error> {
    TlsByteSliceU8(bytes).tls_serialize(writer)
}

/// Reads `opaque x<..255>`; bounds are the caller's to check.
pub(crate) fn read_u8(bytes: &[u8]) -> Result<(TlsByteVecU8, &[u8]), Error> {
    tls_codec::DeserializeBytes::tls_deserialize_bytes(bytes)
}

/// `opaque x<1..2^16-1>`: bytes that this crate passes on and does not look into.
pub mod opaque {
    use std::io::Write;

    use bytes::Bytes;
    use tls_codec::{DeserializeBytes as _, Error, Serialize as _, Size as _, TlsByteSliceU16, TlsByteVecU16};

    /// Bytes of it on the wire.
    pub fn tls_serialized_len(bytes: &Bytes) -> usize {
        TlsByteSliceU16(bytes).tls_serialized_len()
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`Error::InvalidVectorLength`] for none or too many bytes, or the writer's.
    pub fn tls_serialize<W: Write>(bytes: &Bytes, writer: &mut W) -> Result<usize, Error> {
        if bytes.is_empty() || u16::try_from(bytes.len()).is_err() {
            return Err(Error::InvalidVectorLength);
        }
        TlsByteSliceU16(bytes).tls_serialize(writer)
    }

    /// Reads it, and gives the rest.
    ///
    /// # Errors
    /// That of `tls_codec` when it is cut short, or empty.
    pub fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Bytes, &[u8]), Error> {
        let (vector, rest) = TlsByteVecU16::tls_deserialize_bytes(bytes)?;
        if vector.is_empty() {
            return Err(Error::InvalidVectorLength);
        }
        Ok((Bytes::from(vector.into_vec()), rest))
    }
}
