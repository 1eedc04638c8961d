use tokio_util::codec::LengthDelimitedCodec;

/// Cuts a byte stream into frames and puts them back: `opaque frame<1..2^16-1>`, a big-endian length of two bytes
/// before each. No length is too long; a length of 0 gives an empty frame, which then fails to decode.
pub fn frame_codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().length_field_type::<u16>().max_frame_length(crate::limits::MAX_FRAME).new_codec()
}
