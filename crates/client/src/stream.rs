//! Counters, window and acknowledgements of a chat's two directions. No cryptography, no time.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::limits::{MAX_COUNTER, WINDOW_BYTES, WINDOW_FRAMES};

/// What kind of counted frame was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// A message, which the user is told about.
    Text,
    /// A renewal or a goodbye, which the user is not.
    Control,
}

/// The direction to the peer.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    next: u64,
    /// The frames that are not acknowledged, as they were sent: after a break they are sent again, byte for byte.
    in_flight: VecDeque<(Counted, Bytes)>,
    bytes: usize,
}

/// The peer's `ack` named a frame that was never sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AckedUnsent;

impl Outgoing {
    /// The counter of the next counted frame; `None` at the end of the counters.
    pub(crate) fn next(&self) -> Option<u64> {
        (self.next < MAX_COUNTER).then_some(self.next)
    }

    /// Whether the window takes another frame.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.len() < WINDOW_FRAMES && self.bytes < WINDOW_BYTES
    }

    /// Keeps the frame with counter [`Self::next`], which is sent.
    pub(crate) fn sent(&mut self, counted: Counted, frame: Bytes) {
        self.bytes = self.bytes.saturating_add(frame.len());
        self.in_flight.push_back((counted, frame));
        self.next = self.next.saturating_add(1);
    }

    /// Takes the peer's `ack`. Gives the counter of the last message that it newly covers.
    pub(crate) fn acked(&mut self, ack: u64) -> Result<Option<u64>, AckedUnsent> {
        if ack > self.next {
            return Err(AckedUnsent);
        }
        let mut delivered = None;
        while self.unacked_from() < ack {
            let counter = self.unacked_from();
            let Some((counted, frame)) = self.in_flight.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(frame.len());
            if counted == Counted::Text {
                delivered = Some(counter);
            }
        }
        Ok(delivered)
    }

    /// Messages that were sent and are not confirmed.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.in_flight.iter().map(|(counted, _)| u64::from(*counted == Counted::Text)).sum()
    }

    /// Whether all that was sent is confirmed.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// The frames that are kept, from counter `expected` on. Somebody says that the peer has those before, and nobody
    /// vouches for it, so they stay.
    pub(crate) fn again_from(&self, expected: u64) -> impl Iterator<Item = &Bytes> {
        let skipped = usize::try_from(expected.saturating_sub(self.unacked_from())).unwrap_or(usize::MAX);
        self.in_flight.iter().skip(skipped).map(|(_, frame)| frame)
    }

    /// The counter of the first frame that is not confirmed, or of the next.
    pub(crate) fn unacked_from(&self) -> u64 {
        self.next.saturating_sub(u64::try_from(self.in_flight.len()).unwrap_or(u64::MAX))
    }
}

/// The direction from the peer.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    expected: u64,
    unconfirmed: usize,
}

/// Where a frame stands in the stream, by its counter alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It has been here before, or the like of it has.
    Past,
    /// It is the next.
    Expected,
    /// Something before it is missing.
    Gap,
}

impl Incoming {
    /// The counter that is expected next: what goes out as `ack`.
    pub(crate) fn expected(&self) -> u64 {
        self.expected
    }

    /// Where a frame with this counter stands.
    pub(crate) fn place(&self, counter: u64) -> Place {
        match counter.cmp(&self.expected) {
            std::cmp::Ordering::Less => Place::Past,
            std::cmp::Ordering::Equal => Place::Expected,
            std::cmp::Ordering::Greater => Place::Gap,
        }
    }

    /// Notes that the expected counted frame was opened.
    pub(crate) fn received(&mut self) {
        self.expected = self.expected.saturating_add(1);
        self.unconfirmed = self.unconfirmed.saturating_add(1);
    }

    /// Counted frames that the peer has not been told of.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.unconfirmed
    }

    /// Notes that a frame with the current `ack` went out.
    pub(crate) fn confirmed(&mut self) {
        self.unconfirmed = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(length: usize) -> Bytes {
        vec![0; length].into()
    }

    #[test]
    fn an_ack_of_what_was_never_sent_is_refused() {
        let mut outgoing = Outgoing::default();
        outgoing.sent(Counted::Text, frame(300));
        assert_eq!(outgoing.acked(2), Err(AckedUnsent));
        assert_eq!(outgoing.acked(1), Ok(Some(0)));
        assert_eq!(outgoing.acked(0), Ok(None), "an old ack changes nothing");
        assert_eq!(outgoing.acked(1), Ok(None));
    }

    #[test]
    fn the_window_is_bounded_in_frames_and_in_bytes() {
        let mut outgoing = Outgoing::default();
        while outgoing.has_room() {
            outgoing.sent(Counted::Text, frame(300));
        }
        assert_eq!(outgoing.in_flight.len(), WINDOW_FRAMES);
        let mut outgoing = Outgoing::default();
        while outgoing.has_room() {
            outgoing.sent(Counted::Text, frame(17_000));
        }
        assert_eq!(outgoing.in_flight.len(), WINDOW_BYTES.div_ceil(17_000));
        let mut outgoing = Outgoing::default();
        while outgoing.has_room() {
            outgoing.sent(Counted::Text, frame(WINDOW_BYTES / 64));
        }
        assert_eq!(outgoing.in_flight.len(), 64, "a window that is full to the byte takes no more");
    }

    #[test]
    fn the_last_counter_is_never_used() {
        let mut outgoing = Outgoing { next: MAX_COUNTER - 1, ..Outgoing::default() };
        assert_eq!(outgoing.next(), Some(MAX_COUNTER - 1));
        outgoing.sent(Counted::Text, frame(300));
        assert_eq!(outgoing.next(), None);
        assert_eq!(outgoing.acked(MAX_COUNTER), Ok(Some(MAX_COUNTER - 1)), "what was sent is confirmed as ever");
        assert_eq!(outgoing.next(), None);
    }

    proptest! {
        /// Against a model that keeps all that was ever sent.
        #[test]
        fn deliveries_and_what_is_kept_are_those_of_the_model(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), 0u64..40), 0..200),
        ) {
            let (mut outgoing, mut model, mut acked) = (Outgoing::default(), Vec::new(), 0u64);
            for (send, text, ack) in steps {
                if send {
                    prop_assert_eq!(outgoing.next(), Some(model.len() as u64));
                    let frame = Bytes::copy_from_slice(&model.len().to_be_bytes());
                    outgoing.sent(if text { Counted::Text } else { Counted::Control }, frame);
                    model.push(text);
                } else if ack as usize > model.len() {
                    prop_assert_eq!(outgoing.acked(ack), Err(AckedUnsent));
                } else {
                    let newly = (acked..ack).rev().find(|n| model[*n as usize]);
                    prop_assert_eq!(outgoing.acked(ack), Ok(newly));
                    acked = acked.max(ack);
                }
                let left = model[acked as usize..].iter().filter(|text| **text).count();
                prop_assert_eq!(outgoing.unconfirmed(), left as u64);
                prop_assert_eq!(outgoing.is_confirmed(), acked as usize == model.len());
                let again: Vec<_> = outgoing.again_from(ack).map(|frame| frame.to_vec()).collect();
                let kept: Vec<_> =
                    (ack.max(acked) as usize..model.len()).map(|n| n.to_be_bytes().to_vec()).collect();
                prop_assert_eq!(again, kept);
            }
        }
    }
}
