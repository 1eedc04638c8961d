//! Where what other sessions say waits for a session: bounded, and never waited for by who puts it in.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use protocol::{ChatId, ServerError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::signal::{Signal, SignalKind, Undelivered};

/// Requests that may lie in a mailbox, to talk or to open a line again. Anybody may ask anybody, so these are the letters
/// of strangers: few, and never in the way of what the peer of a chat sends.
const MAX_REQUESTS: usize = 16;
/// Words that one of these is taken back, in a mailbox. More than requests, for one that was taken in can have left its
/// own behind.
const MAX_CALL_OFFS: usize = 2 * MAX_REQUESTS;
/// Places that messages leave free for what starts and ends chats.
const RESERVED_FOR_CONTROL: usize = 64;

/// The sending side of a session's mailbox: bounded in letters and in bytes.
///
/// What has to arrive, the end of a chat above all, always finds a place, or the session ends, so that nobody waits for
/// a word that got lost (fail closed). The order to end stands beside the queue: a session that takes in no letters,
/// because its client reads nothing, ends all the same.
#[derive(Clone, Debug)]
pub struct Mailbox {
    letters: mpsc::Sender<Signal>,
    shared: Arc<Shared>,
    max_bytes: usize,
}

/// The receiving side.
#[derive(Debug)]
pub struct Inbox {
    letters: mpsc::Receiver<Signal>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Of messages in the queue.
    bytes: AtomicUsize,
    /// In the queue.
    requests: AtomicUsize,
    /// In the queue.
    call_offs: AtomicUsize,
    end: CancellationToken,
    /// How to end; never set where a letter found no room.
    order: OnceLock<Order>,
}

/// The order to end a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// For this reason.
    End(ServerError),
    /// A newer log-in of the user has taken its place, with this chat.
    Replaced {
        /// The chat that the newer client has kept.
        held: Option<ChatId>,
    },
}

/// A mailbox for at most `max_letters` letters, whose messages have at most `max_bytes` bytes together.
pub fn mailbox(max_letters: usize, max_bytes: usize) -> (Mailbox, Inbox) {
    let (sender, receiver) = mpsc::channel(max_letters.max(2 * RESERVED_FOR_CONTROL));
    let shared = Arc::new(Shared::default());
    (Mailbox { letters: sender, shared: shared.clone(), max_bytes }, Inbox { letters: receiver, shared })
}

impl Mailbox {
    /// Puts a signal in, without waiting.
    ///
    /// # Errors
    /// [`Undelivered`]: the session is gone, or has no room for such a signal.
    pub fn send(&self, signal: Signal) -> Result<(), Undelivered> {
        let Some(counted) = self.shared.count(&signal, self.max_bytes) else {
            return Err(Undelivered::Full);
        };
        if !signal.kind.may_take_the_last_places() && self.letters.capacity() <= RESERVED_FOR_CONTROL {
            counted.take_back(&self.shared);
            return Err(Undelivered::Full);
        }
        self.letters.try_send(signal).map_err(|error| {
            counted.take_back(&self.shared);
            match error {
                mpsc::error::TrySendError::Closed(_) => Undelivered::Absent,
                mpsc::error::TrySendError::Full(_) => {
                    self.shared.end.cancel();
                    Undelivered::Full
                }
            }
        })
    }

    /// Tells the session to end. The first order holds.
    pub fn end(&self, order: Order) {
        self.shared.order.get_or_init(|| order);
        self.shared.end.cancel();
    }
}

impl Inbox {
    /// Waits for the next letter. May be dropped and called again.
    pub async fn receive(&mut self) -> Option<Signal> {
        let signal = self.letters.recv().await?;
        Counted::of(&signal).take_back(&self.shared);
        Some(signal)
    }

    /// The next letter, if one is there.
    pub fn try_receive(&mut self) -> Option<Signal> {
        let signal = self.letters.try_recv().ok()?;
        Counted::of(&signal).take_back(&self.shared);
        Some(signal)
    }

    /// Letters that wait.
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// Whether no letter waits.
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Cancelled by the order to end, and where a letter found no room.
    pub fn end(&self) -> CancellationToken {
        self.shared.end.clone()
    }

    /// Whether [`Self::end`] is cancelled.
    pub fn is_to_end(&self) -> bool {
        self.shared.end.is_cancelled()
    }

    /// How to end; `None` while there is no order to, and where a letter found no room.
    pub fn order(&self) -> Option<Order> {
        self.shared.order.get().copied()
    }
}

/// What a letter counts towards the bounds.
#[derive(Clone, Copy, Default)]
struct Counted {
    bytes: usize,
    requests: usize,
    call_offs: usize,
}

impl Counted {
    fn of(signal: &Signal) -> Self {
        match &signal.kind {
            SignalKind::Message(frame) => Self { bytes: frame.len(), ..Self::default() },
            SignalKind::Request { .. } | SignalKind::Ask(_) | SignalKind::Check => {
                Self { requests: 1, ..Self::default() }
            }
            SignalKind::CallOff(_) => Self { call_offs: 1, ..Self::default() },
            _ => Self::default(),
        }
    }

    fn take_back(self, shared: &Shared) {
        shared.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        shared.requests.fetch_sub(self.requests, Ordering::Relaxed);
        shared.call_offs.fetch_sub(self.call_offs, Ordering::Relaxed);
    }
}

impl Shared {
    /// Counts a letter, unless a bound is reached. Counted before the letter is there, so that the receiver never takes
    /// off what was not yet put on.
    fn count(&self, signal: &Signal, max_bytes: usize) -> Option<Counted> {
        let counted = Counted::of(signal);
        let bytes = self.bytes.fetch_add(counted.bytes, Ordering::Relaxed).saturating_add(counted.bytes);
        let requests = self.requests.fetch_add(counted.requests, Ordering::Relaxed).saturating_add(counted.requests);
        let call_offs =
            self.call_offs.fetch_add(counted.call_offs, Ordering::Relaxed).saturating_add(counted.call_offs);
        if (counted.bytes > 0 && bytes > max_bytes)
            || (counted.requests > 0 && requests > MAX_REQUESTS)
            || (counted.call_offs > 0 && call_offs > MAX_CALL_OFFS)
        {
            counted.take_back(self);
            return None;
        }
        Some(counted)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use protocol::{CloseReason, PublicKey};

    use super::*;
    use crate::signal::SessionId;

    fn signal(kind: SignalKind) -> Signal {
        Signal { from: "alice".parse().unwrap(), session: SessionId::new(1), chat: ChatId::from_bytes([7; 16]), kind }
    }

    fn message(size: usize) -> Signal {
        signal(SignalKind::Message(vec![0; size].into()))
    }

    fn request() -> Signal {
        signal(SignalKind::Request { key: PublicKey::from_bytes([1; 32]) })
    }

    fn fill(mailbox: &Mailbox, make: impl Fn() -> Signal) -> usize {
        (0..).take_while(|_| mailbox.send(make()).is_ok()).count()
    }

    #[test]
    fn strangers_cannot_fill_a_mailbox() {
        let (mailbox, mut inbox) = mailbox(256, 100_000);
        // As many askers as there may be, each taking the request back at once.
        for _ in 0..1000 {
            if mailbox.send(request()).is_ok() {
                assert_eq!(mailbox.send(signal(SignalKind::CallOff(CloseReason::CalledOff))), Ok(()));
            }
        }
        assert_eq!(fill(&mailbox, || message(10)), 256 - 64 - 2 * MAX_REQUESTS);
        assert_eq!(mailbox.send(signal(SignalKind::CallOff(CloseReason::Left))), Err(Undelivered::Full));
        assert_eq!(mailbox.send(signal(SignalKind::Close(CloseReason::Left))), Ok(()));
        assert!(!mailbox.shared.end.is_cancelled());
        while inbox.try_receive().is_some() {}
        assert_eq!(fill(&mailbox, request), MAX_REQUESTS, "all that was taken out is no longer counted");
    }

    #[test]
    fn what_is_said_again_neither_fills_a_mailbox_nor_ends_its_session() {
        for kind in [SignalKind::Ask(0), SignalKind::Check] {
            let (mailbox, mut inbox) = mailbox(256, 1000);
            assert_eq!(fill(&mailbox, || signal(kind.clone())), MAX_REQUESTS);
            assert_eq!(mailbox.send(request()), Err(Undelivered::Full), "they count together");
            assert_eq!(fill(&mailbox, || message(1)), 256 - 64 - MAX_REQUESTS);
            assert!(inbox.try_receive().is_some());
            assert_eq!(mailbox.send(message(1)), Ok(()));
            assert_eq!(mailbox.send(signal(kind)), Err(Undelivered::Full), "the last places are not for it");
            assert!(!mailbox.shared.end.is_cancelled());
            for kind in [SignalKind::Away, SignalKind::Answer(0)] {
                assert_eq!(mailbox.send(signal(kind)), Ok(()));
            }
        }
    }

    /// Anybody can log in with a chat that nobody else has, and let go of it again, as often as the server lets him in.
    #[test]
    fn strangers_who_come_back_with_chats_that_nobody_has_cannot_fill_a_mailbox() {
        let (mailbox, _inbox) = mailbox(256, 100_000);
        for _ in 0..1000 {
            for what in said_by_a_stranger() {
                _ = mailbox.send(what);
            }
        }
        assert!(!mailbox.shared.end.is_cancelled());
        assert_eq!(mailbox.send(message(10)), Ok(()), "what the peer of a chat says finds room");
    }

    /// All that sessions say to a user of whom nothing is known but the name.
    fn said_by_a_stranger() -> Vec<Signal> {
        use protocol::{Close, Held, Login, Machine as _, Resume, ToServer};

        use crate::{
            config::Config,
            session::{Input, Output, Session},
        };

        let (key, chat) = (PublicKey::from_bytes([1; 32]), ChatId::from_bytes([7; 16]));
        let patience = Config::new("chat.example".parse().unwrap()).patience();
        #[expect(clippy::disallowed_methods, reason = "an Instant can only be had from the clock")]
        let now = Instant::now();
        let held = Held { peer: "alice".parse().unwrap(), resume: Resume { chat, expected: 0 } };
        let frame = |frame: ToServer| Input::Frame(frame.encode().unwrap());
        let close = |reason| frame(ToServer::ChatClosed(Close { chat, reason }));
        let ends = [close(CloseReason::Left), close(CloseReason::Failed), frame(ToServer::Exit), Input::Lost];
        let mut said = Vec::new();
        for end in ends {
            let mut session =
                Session::new(SessionId::new(1), key, "chat.example".parse().unwrap(), patience.clone(), now);
            let mut out = Vec::new();
            session.handle(
                frame(ToServer::Login(Login { user: "mallory".parse().unwrap(), held: Some(held.clone()) })),
                now,
                &mut out,
            );
            session.handle(Input::Registered(Some(Some(key))), now, &mut out);
            session.handle(end, now, &mut out);
            said.extend(out.into_iter().filter_map(|output| match output {
                Output::Signal { signal, .. } => Some(signal),
                _ => None,
            }));
        }
        assert!(said.len() >= 4, "alice is asked each time");
        said
    }

    #[test]
    fn an_ending_that_finds_no_room_ends_the_session() {
        let (mailbox, mut inbox) = mailbox(128, 1000);
        assert_eq!(fill(&mailbox, || message(10)), 64);
        assert_eq!(fill(&mailbox, || signal(SignalKind::Close(CloseReason::Left))), 64);
        assert!(mailbox.shared.end.is_cancelled());
        while inbox.try_receive().is_some() {}
        assert_eq!(mailbox.shared.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn messages_are_bounded_in_bytes() {
        let (mailbox, mut inbox) = mailbox(1024, 100);
        assert_eq!(mailbox.send(message(60)), Ok(()));
        assert_eq!(mailbox.send(message(41)), Err(Undelivered::Full));
        assert_eq!(mailbox.send(message(40)), Ok(()));
        assert!(inbox.try_receive().is_some());
        assert_eq!(mailbox.send(message(60)), Ok(()));
        drop(inbox);
        assert_eq!(mailbox.send(signal(SignalKind::Refuse)), Err(Undelivered::Absent));
    }

    #[test]
    fn the_first_order_to_end_holds() {
        let (mailbox, _inbox) = mailbox(128, 100);
        mailbox.end(Order::Replaced { held: None });
        mailbox.end(Order::End(ServerError::Removed));
        assert_eq!(mailbox.shared.order.get(), Some(&Order::Replaced { held: None }));
        assert!(mailbox.shared.end.is_cancelled());
    }
}
