//! Bytes that wait, in memory that is lent to whoever has some: a thread serves its connections one after the other, and
//! most have nothing waiting between two turns.

use std::cell::RefCell;

/// Bytes that a thread keeps to lend again, at most, in a buffer.
const MAX_LENT: usize = 64 * 1024;
/// Buffers that a thread keeps: what has come and what is to be sent, of one connection.
const MAX_SPARE: usize = 2;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that are put in behind and taken out in front. Empty, it holds no memory.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// Those that have been taken out.
    taken: usize,
}

impl Buffer {
    /// The bytes that are in it.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.taken)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts bytes behind the others.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        if self.bytes.capacity() == 0
            && let Some(spare) = SPARE.with_borrow_mut(Vec::pop)
        {
            self.bytes = spare;
        }
        // What was taken out makes room once it is the greater part: so each byte is moved about once, and whoever always
        // leaves some costs no more than twice that.
        if self.taken > 0 && self.taken >= self.len() {
            self.bytes.drain(..std::mem::take(&mut self.taken));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes out the first `count` bytes, or all if there are fewer.
    pub(crate) fn take(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count);
        if self.is_empty() {
            let Self { mut bytes, .. } = std::mem::take(self);
            bytes.clear();
            SPARE.with_borrow_mut(|spare| {
                if bytes.capacity() <= MAX_LENT && spare.len() < MAX_SPARE {
                    spare.push(bytes);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_out_is_gone_and_its_memory_is_lent_again() {
        let mut buffer = Buffer::default();
        buffer.put(b"one");
        buffer.put(b"two");
        buffer.take(2);
        assert_eq!(buffer.bytes(), b"etwo");
        let memory = buffer.bytes.as_ptr();
        buffer.take(9);
        assert_eq!((buffer.bytes(), buffer.bytes.capacity()), (&b""[..], 0));
        let mut other = Buffer::default();
        other.put(b"three");
        assert_eq!((other.bytes(), other.bytes.as_ptr()), (&b"three"[..], memory));
    }

    #[test]
    fn what_is_never_quite_empty_does_not_grow() {
        let mut buffer = Buffer::default();
        buffer.put(b"x");
        for round in 0..100_000_u32 {
            buffer.put(&round.to_be_bytes());
            buffer.take(4);
            assert_eq!(buffer.bytes(), round.to_be_bytes().get(3..).unwrap());
        }
        assert!(buffer.bytes.capacity() <= MAX_LENT, "{}", buffer.bytes.capacity());
    }

    #[test]
    fn a_thread_keeps_no_more_than_it_needs() {
        let mut buffers: Vec<_> = (0..10).map(|_| Buffer::default()).collect();
        buffers.iter_mut().for_each(|buffer| buffer.put(&[1; 100]));
        let mut giant = Buffer::default();
        giant.put(&vec![1; MAX_LENT + 1]);
        giant.take(MAX_LENT + 1);
        assert_eq!(SPARE.with_borrow(Vec::len), 0);
        buffers.iter_mut().for_each(|buffer| buffer.take(100));
        assert_eq!(SPARE.with_borrow(Vec::len), MAX_SPARE);
    }
}
