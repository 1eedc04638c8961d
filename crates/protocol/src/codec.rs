use tokio_util::codec::LengthDelimitedCodec;

use crate::DecodeError;

/// Cuts a byte stream into frames and puts them back: `opaque frame<1..2^16-1>`, a big-endian length of two bytes
/// before each. No length is too long; a length of 0 gives an empty frame, which then fails to decode.
pub fn frame_codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().length_field_type::<u16>().max_frame_length(crate::limits::MAX_FRAME).new_codec()
}

/// The frame at the front of `bytes`, without the two bytes of its length; `None` while not all of it is there. What
/// [`frame_codec`] does, for who has the bytes in a buffer already.
///
/// # Errors
/// [`DecodeError::Malformed`] once its length is known, if that is over `max`.
pub fn first_frame(bytes: &[u8], max: usize) -> Result<Option<&[u8]>, DecodeError> {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > max {
        return Err(DecodeError::Malformed);
    }
    Ok(rest.get(..length))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use bytes::{BufMut as _, BytesMut};
    use proptest::{collection::vec, prelude::*};
    use tokio_util::codec::Decoder as _;

    use super::*;

    proptest! {
        /// Whatever comes, the two see the same frames in it, wherever it is cut.
        #[test]
        fn frames_are_cut_as_the_codec_cuts_them(
            frames in vec(vec(any::<u8>(), 0..40), 0..8),
            cut in any::<prop::sample::Index>(),
            max in 0_usize..60,
        ) {
            let mut bytes = BytesMut::new();
            for frame in &frames {
                bytes.put_u16(frame.len().try_into().unwrap());
                bytes.put_slice(frame);
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            let (mut codec, mut rest) = (frame_codec(), &bytes.clone()[..]);
            codec.set_max_frame_length(max);
            loop {
                match (codec.decode(&mut bytes), first_frame(rest, max)) {
                    (Ok(Some(theirs)), Ok(Some(ours))) => {
                        prop_assert_eq!(&theirs[..], ours);
                        rest = &rest[2 + ours.len()..];
                    }
                    (Ok(None), Ok(None)) | (Err(_), Err(_)) => break,
                    (theirs, ours) => prop_assert!(false, "{theirs:?} {ours:?}"),
                }
            }
        }
    }
}
