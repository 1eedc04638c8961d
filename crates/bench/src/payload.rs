//! What a message carries: its number, and when it was due. In digits and letters, which all protocols let through.

/// Bytes of the shortest payload.
pub(crate) const MIN_SIZE: usize = 2 * DIGITS;
const DIGITS: usize = 16;
const ALPHABET: &[u8; 16] = b"0123456789abcdef";

/// What stands at the front of each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The place of the message among those of its sender, from 0.
    pub(crate) number: u64,
    /// When it was due, in nanoseconds since the start of the run.
    pub(crate) due: u64,
}

impl Stamp {
    /// Makes `payload` one of `size` bytes that bears this stamp. Whatever was in it is gone.
    pub(crate) fn write(self, payload: &mut Vec<u8>, size: usize) {
        payload.clear();
        for value in [self.number, self.due] {
            payload.extend((0..DIGITS).rev().map(|digit| {
                let nibble = value.checked_shr(u32::try_from(digit.saturating_mul(4)).unwrap_or_default());
                let nibble = usize::try_from(nibble.unwrap_or_default() & 0xf).unwrap_or_default();
                ALPHABET.get(nibble).copied().unwrap_or_default()
            }));
        }
        payload.resize(size.max(MIN_SIZE), b'.');
    }

    /// The stamp of a payload, if it has one.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (number, rest) = payload.split_at_checked(DIGITS)?;
        let (due, _) = rest.split_at_checked(DIGITS)?;
        Some(Self { number: value(number)?, due: value(due)? })
    }
}

fn value(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit.wrapping_sub(b'0'),
            b'a'..=b'f' => digit.wrapping_sub(b'a').wrapping_add(10),
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let mut payload = vec![7; 3];
        for (number, due) in [(0, 0), (1, u64::MAX), (u64::MAX, 1), (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210)] {
            let stamp = Stamp { number, due };
            stamp.write(&mut payload, 256);
            assert_eq!(payload.len(), 256);
            assert!(payload.iter().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(Stamp::read(&payload), Some(stamp));
        }
    }

    #[test]
    fn what_bears_no_stamp_is_noticed() {
        let mut payload = Vec::new();
        Stamp { number: 1, due: 2 }.write(&mut payload, MIN_SIZE);
        assert_eq!(Stamp::read(&payload[..MIN_SIZE - 1]), None);
        payload[3] = b'A';
        assert_eq!(Stamp::read(&payload), None);
    }
}
