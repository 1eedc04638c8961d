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
pub(crate) mod opaque {
    use std::io::Write;

    use bytes::Bytes;
    use tls_codec::{DeserializeBytes as _, Error, Serialize as _, Size as _, TlsByteSliceU16, TlsByteVecU16};

    pub(crate) fn tls_serialized_len(bytes: &Bytes) -> usize {
        TlsByteSliceU16(bytes).tls_serialized_len()
    }

    pub(crate) fn tls_serialize<W: Write>(bytes: &Bytes, writer: &mut W) -> Result<usize, Error> {
        if bytes.is_empty() || u16::try_from(bytes.len()).is_err() {
            return Err(Error::InvalidVectorLength);
        }
        TlsByteSliceU16(bytes).tls_serialize(writer)
    }

    pub(crate) fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Bytes, &[u8]), Error> {
        let (vector, rest) = TlsByteVecU16::tls_deserialize_bytes(bytes)?;
        if vector.is_empty() {
            return Err(Error::InvalidVectorLength);
        }
        Ok((Bytes::from(vector.into_vec()), rest))
    }
}
