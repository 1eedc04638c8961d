use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use protocol::ServerError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::signal::{Signal, SignalKind, Undelivered};

/// Places that messages leave free for the signals that start and end chats.
const RESERVED_FOR_CONTROL: usize = 64;
/// Places that requests leave free for the signals that end chats.
const RESERVED_FOR_ENDINGS: usize = 32;

/// What lies in a mailbox.
#[derive(Debug)]
pub(crate) enum Letter {
    Signal(Signal),
    End(ServerError),
}

/// The sending side of a session's mailbox: bounded in letters and in bytes.
///
/// Messages stop first, then requests; endings always find a place, or the session is doomed, so that nobody waits
/// for a word that got lost (fail closed).
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    letters: mpsc::Sender<Letter>,
    bytes: Arc<AtomicUsize>,
    max_bytes: usize,
    doomed: CancellationToken,
}

/// The receiving side.
#[derive(Debug)]
pub(crate) struct Inbox {
    letters: mpsc::Receiver<Letter>,
    bytes: Arc<AtomicUsize>,
    doomed: CancellationToken,
}

/// A mailbox for at most `max_letters` letters, whose messages have at most `max_bytes` bytes together.
pub(crate) fn mailbox(max_letters: usize, max_bytes: usize) -> (Mailbox, Inbox) {
    let (sender, receiver) = mpsc::channel(max_letters.max(2 * RESERVED_FOR_CONTROL));
    let bytes = Arc::new(AtomicUsize::new(0));
    let doomed = CancellationToken::new();
    (
        Mailbox { letters: sender, bytes: bytes.clone(), max_bytes, doomed: doomed.clone() },
        Inbox { letters: receiver, bytes, doomed },
    )
}

impl Mailbox {
    /// Puts a signal in, without waiting.
    pub(crate) fn send(&self, signal: Signal) -> Result<(), Undelivered> {
        let size = size_of_message(&signal);
        let room = match signal.kind {
            SignalKind::Message(_) => {
                self.letters.capacity() > RESERVED_FOR_CONTROL
                    && self.bytes.load(Ordering::Relaxed).saturating_add(size) <= self.max_bytes
            }
            SignalKind::Request { .. } => self.letters.capacity() > RESERVED_FOR_ENDINGS,
            _ => true,
        };
        if !room {
            return Err(Undelivered::Full);
        }
        // Added before the letter is there, so that the receiver never takes off what was not yet put on.
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.put(Letter::Signal(signal)).inspect_err(|_| {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        })
    }

    /// Tells the session to end.
    pub(crate) fn end(&self, reason: ServerError) {
        // A session that is gone already has nothing left to end; one without room is doomed by `put`.
        let _ = self.put(Letter::End(reason));
    }

    fn put(&self, letter: Letter) -> Result<(), Undelivered> {
        self.letters.try_send(letter).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => Undelivered::Absent,
            mpsc::error::TrySendError::Full(_) => {
                self.doomed.cancel();
                Undelivered::Full
            }
        })
    }
}

impl Inbox {
    /// Waits for the next letter; `None` when the session is doomed. May be dropped and called again.
    pub(crate) async fn receive(&mut self) -> Option<Letter> {
        tokio::select! {
            biased;
            () = self.doomed.cancelled() => None,
            letter = self.letters.recv() => {
                let letter = letter?;
                self.taken(&letter);
                Some(letter)
            }
        }
    }

    /// The next letter, if one is there.
    pub(crate) fn try_receive(&mut self) -> Option<Letter> {
        let letter = self.letters.try_recv().ok()?;
        self.taken(&letter);
        Some(letter)
    }

    fn taken(&self, letter: &Letter) {
        if let Letter::Signal(signal) = letter {
            self.bytes.fetch_sub(size_of_message(signal), Ordering::Relaxed);
        }
    }
}

fn size_of_message(signal: &Signal) -> usize {
    match &signal.kind {
        SignalKind::Message(frame) => frame.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use protocol::{ChatId, CloseReason, PublicKey};

    use super::*;

    fn signal(kind: SignalKind) -> Signal {
        Signal { from: "alice".parse().unwrap(), chat: ChatId::from_bytes([7; 16]), kind }
    }

    #[test]
    fn messages_stop_before_requests_and_requests_before_endings() {
        let (mailbox, mut inbox) = mailbox(128, 1000);
        let message = || signal(SignalKind::Message(vec![0; 10].into()));
        let request = || signal(SignalKind::Request { key: PublicKey::from_bytes([1; 32]) });
        let ending = || signal(SignalKind::Close(CloseReason::Left));
        let fill = |make: &dyn Fn() -> Signal| (0..).take_while(|_| mailbox.send(make()).is_ok()).count();
        assert_eq!(fill(&message), 64);
        assert_eq!(fill(&request), 32);
        assert_eq!(fill(&ending), 32);
        assert!(mailbox.doomed.is_cancelled(), "an ending that found no room dooms the session");
        while inbox.try_receive().is_some() {}
        assert_eq!(mailbox.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn messages_are_bounded_in_bytes() {
        let (mailbox, mut inbox) = mailbox(1024, 100);
        let message = |size: usize| signal(SignalKind::Message(vec![0; size].into()));
        assert_eq!(mailbox.send(message(60)), Ok(()));
        assert_eq!(mailbox.send(message(41)), Err(Undelivered::Full));
        assert_eq!(mailbox.send(message(40)), Ok(()));
        assert!(inbox.try_receive().is_some());
        assert_eq!(mailbox.send(message(60)), Ok(()));
        drop(inbox);
        assert_eq!(mailbox.send(signal(SignalKind::Refuse)), Err(Undelivered::Absent));
    }
}
