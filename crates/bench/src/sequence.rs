//! Whether what was sent came, once and in order.

use crate::fault::Fault;

/// One end of a pair: what it has sent, and what it has got from the other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sequence {
    sent: u64,
    got: u64,
}

impl Sequence {
    /// The number of the next message to send.
    pub(crate) fn send(&mut self) -> u64 {
        let number = self.sent;
        self.sent = number.saturating_add(1);
        number
    }

    /// Notes that message `number` of the other end has come.
    ///
    /// # Errors
    /// [`Fault::Gap`] or [`Fault::Repeated`] when it is not the next one.
    pub(crate) fn take(&mut self, number: u64) -> Result<(), Fault> {
        let expected = self.got;
        match number.cmp(&expected) {
            std::cmp::Ordering::Equal => {
                self.got = expected.saturating_add(1);
                Ok(())
            }
            std::cmp::Ordering::Greater => Err(Fault::Gap { expected, got: number }),
            std::cmp::Ordering::Less => Err(Fault::Repeated { expected, got: number }),
        }
    }

    /// How many messages were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// How many have come.
    pub(crate) fn got(&self) -> u64 {
        self.got
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_taken_once_and_in_order() {
        let (mut alice, mut bob) = (Sequence::default(), Sequence::default());
        for _ in 0..3 {
            bob.take(alice.send()).unwrap();
        }
        assert_eq!((alice.sent(), bob.got()), (3, 3));
        assert!(matches!(bob.take(2), Err(Fault::Repeated { expected: 3, got: 2 })));
        assert!(matches!(bob.take(4), Err(Fault::Gap { expected: 3, got: 4 })));
        bob.take(alice.send()).unwrap();
        assert_eq!(alice.got(), 0);
    }
}
