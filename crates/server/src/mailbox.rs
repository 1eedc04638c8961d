//! Where what other sessions say waits for a session: bounded, and never waited for by who puts it in.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use protocol::{ChatId, ServerError};

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
    shared: Arc<Shared>,
}

/// The receiving side.
#[derive(Debug)]
pub struct Inbox {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    max_letters: usize,
    max_bytes: usize,
    /// There is an order to end, or a letter found no room. Changed under the lock alone.
    is_to_end: AtomicBool,
    /// The session is gone. Likewise.
    is_closed: AtomicBool,
    /// Held for one letter, never across an await.
    queue: Mutex<Queue>,
}

/// It takes no memory for letters until there are some.
#[derive(Debug, Default)]
struct Queue {
    letters: VecDeque<Signal>,
    /// What they count.
    counted: Counted,
    /// How to end; never set where a letter found no room.
    order: Option<Order>,
    /// Of the session that waits.
    waker: Option<Waker>,
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
    let max_letters = max_letters.max(2 * RESERVED_FOR_CONTROL);
    let [is_to_end, is_closed] = [const { AtomicBool::new(false) }; 2];
    let shared = Arc::new(Shared { max_letters, max_bytes, is_to_end, is_closed, queue: Mutex::default() });
    (Mailbox { shared: shared.clone() }, Inbox { shared })
}

impl Mailbox {
    /// Puts a signal in, without waiting.
    ///
    /// # Errors
    /// [`Undelivered`]: the session is gone, or has no room for such a signal.
    pub fn send(&self, signal: Signal) -> Result<(), Undelivered> {
        let mut queue = self.shared.queue();
        if self.shared.is_closed.load(Ordering::Relaxed) {
            return Err(Undelivered::Absent);
        }
        let Some(counted) = queue.counted.with(Counted::of(&signal), self.shared.max_bytes) else {
            return Err(Undelivered::Full);
        };
        let places = self.shared.max_letters.saturating_sub(queue.letters.len());
        if !signal.kind.may_take_the_last_places() && places <= RESERVED_FOR_CONTROL {
            return Err(Undelivered::Full);
        }
        let finds_room = places > 0;
        if finds_room {
            queue.counted = counted;
            queue.letters.push_back(signal);
        } else {
            self.shared.is_to_end.store(true, Ordering::Release);
        }
        queue.wake();
        if finds_room { Ok(()) } else { Err(Undelivered::Full) }
    }

    /// Tells the session to end. The first order holds.
    pub fn end(&self, order: Order) {
        let mut queue = self.shared.queue();
        queue.order.get_or_insert(order);
        self.shared.is_to_end.store(true, Ordering::Release);
        queue.wake();
    }

    /// Letters that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.queue().letters.len()
    }

    /// Whether this is still the session's that its user has: no newer one has replaced it, and it has not been told to
    /// end.
    pub(crate) fn is_current(&self) -> bool {
        let Shared { is_to_end, is_closed, .. } = &*self.shared;
        !is_to_end.load(Ordering::Acquire) && !is_closed.load(Ordering::Acquire)
    }
}

impl Inbox {
    /// Waits until the session is to end, or, if `takes_letters`, until a letter is there. Until then the task of `cx`
    /// is the one that is woken.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>, takes_letters: bool) -> Poll<()> {
        let mut queue = self.shared.queue();
        if self.is_to_end() || (takes_letters && !queue.letters.is_empty()) {
            return Poll::Ready(());
        }
        match &mut queue.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The next letter, if one is there.
    pub fn try_receive(&mut self) -> Option<Signal> {
        let mut queue = self.shared.queue();
        let signal = queue.letters.pop_front()?;
        queue.counted = queue.counted.without(Counted::of(&signal));
        if queue.letters.is_empty() {
            // A flood's memory is given back, that of a chat in which one letter comes after the other is kept.
            queue.letters.shrink_to(8);
        }
        Some(signal)
    }

    /// Letters that wait.
    pub fn len(&self) -> usize {
        self.shared.queue().letters.len()
    }

    /// Whether no letter waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the session is to end: by an order, or because a letter found no room.
    pub fn is_to_end(&self) -> bool {
        self.shared.is_to_end.load(Ordering::Acquire)
    }

    /// How to end; `None` while there is no order to, and where a letter found no room.
    pub fn order(&self) -> Option<Order> {
        self.shared.queue().order
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        self.shared.is_closed.store(true, Ordering::Release);
        let left = (std::mem::take(&mut queue.letters), queue.waker.take());
        drop(queue);
        drop(left);
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that runs under the lock can leave the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// What letters count towards the bounds.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    bytes: usize,
    requests: usize,
    call_offs: usize,
}

impl Counted {
    fn of(signal: &Signal) -> Self {
        match &signal.kind {
            SignalKind::Message(bytes)
            | SignalKind::Accept { key_package: bytes, .. }
            | SignalKind::Establish { welcome: bytes, .. } => Self { bytes: bytes.len(), ..Self::default() },
            SignalKind::Request { .. } | SignalKind::Ask(_) | SignalKind::Check => {
                Self { requests: 1, ..Self::default() }
            }
            SignalKind::CallOff(_) => Self { call_offs: 1, ..Self::default() },
            _ => Self::default(),
        }
    }

    /// With another letter, unless it goes beyond a bound.
    fn with(self, counted: Self, max_bytes: usize) -> Option<Self> {
        let bytes = self.bytes.saturating_add(counted.bytes);
        let requests = self.requests.saturating_add(counted.requests);
        let call_offs = self.call_offs.saturating_add(counted.call_offs);
        if (counted.bytes > 0 && bytes > max_bytes)
            || (counted.requests > 0 && requests > MAX_REQUESTS)
            || (counted.call_offs > 0 && call_offs > MAX_CALL_OFFS)
        {
            return None;
        }
        Some(Self { bytes, requests, call_offs })
    }

    fn without(self, counted: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(counted.bytes),
            requests: self.requests.saturating_sub(counted.requests),
            call_offs: self.call_offs.saturating_sub(counted.call_offs),
        }
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
        assert!(mailbox.is_current());
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
            assert!(mailbox.is_current());
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
        assert!(mailbox.is_current());
        assert_eq!(mailbox.send(message(10)), Ok(()), "what the peer of a chat says finds room");
    }

    /// All that sessions say to a user of whom nothing is known but the name.
    fn said_by_a_stranger() -> Vec<Signal> {
        use protocol::{ClientId, Close, Held, Login, Machine as _, Resume, ToServer};

        use crate::{
            config::Config,
            session::{Input, Output, Session},
        };

        let (key, chat) = (PublicKey::from_bytes([1; 32]), ChatId::from_bytes([7; 16]));
        let patience = Config::new("chat.example".parse().unwrap()).patience();
        #[expect(clippy::disallowed_methods, reason = "an Instant can only be had from the clock")]
        let now = Instant::now();
        let held = Held { peer: "alice".parse().unwrap(), resume: Resume { chat, expected: 0 } };
        let login = Login::first("mallory".parse().unwrap(), ClientId::from_bytes([1; 16]));
        let frame = |frame: ToServer| Input::Frame(frame.encode().unwrap());
        let close = |reason| frame(ToServer::ChatClosed(Close { chat, reason }));
        let ends = [close(CloseReason::Left), close(CloseReason::Failed), frame(ToServer::Exit), Input::Lost];
        let mut said = Vec::new();
        for end in ends {
            let mut session =
                Session::new(SessionId::new(1), key, "chat.example".parse().unwrap(), patience.clone(), now);
            let mut out = Vec::new();
            session.handle(frame(ToServer::Login(Login { held: Some(held.clone()), ..login.clone() })), now, &mut out);
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
        assert!(inbox.is_to_end());
        while inbox.try_receive().is_some() {}
        assert_eq!(inbox.shared.queue().counted.bytes, 0);
    }

    #[test]
    fn messages_are_bounded_in_bytes() {
        let (mailbox, mut inbox) = mailbox(1024, 100);
        assert_eq!(mailbox.send(message(60)), Ok(()));
        assert_eq!(mailbox.send(message(41)), Err(Undelivered::Full));
        let (key, key_package) = (PublicKey::from_bytes([1; 32]), vec![0; 41].into());
        assert_eq!(mailbox.send(signal(SignalKind::Accept { key, key_package })), Err(Undelivered::Full));
        let (key, welcome) = (PublicKey::from_bytes([1; 32]), vec![0; 41].into());
        assert_eq!(mailbox.send(signal(SignalKind::Establish { key, welcome })), Err(Undelivered::Full));
        assert_eq!(mailbox.send(message(40)), Ok(()));
        assert!(inbox.try_receive().is_some());
        assert_eq!(mailbox.send(message(60)), Ok(()));
        drop(inbox);
        assert_eq!(mailbox.send(signal(SignalKind::Refuse)), Err(Undelivered::Absent));
    }

    #[test]
    fn the_first_order_to_end_holds() {
        let (mailbox, inbox) = mailbox(128, 100);
        mailbox.end(Order::Replaced { held: None });
        mailbox.end(Order::End(ServerError::Removed));
        assert_eq!(inbox.order(), Some(Order::Replaced { held: None }));
        assert!(inbox.is_to_end());
    }

    #[test]
    fn who_waits_is_woken_by_a_letter_and_by_an_order_and_by_nothing_that_is_not_taken() {
        let (mailbox, mut inbox) = mailbox(128, 100);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(inbox.poll_ready(&mut cx, true).is_pending());
        assert_eq!(mailbox.send(message(1)), Ok(()));
        assert_eq!(woken.count(), 1);
        assert!(inbox.poll_ready(&mut cx, true).is_ready());
        assert!(inbox.poll_ready(&mut cx, false).is_pending(), "letters are not what it waits for");
        mailbox.end(Order::End(ServerError::Removed));
        assert_eq!(woken.count(), 2);
        assert!(inbox.poll_ready(&mut cx, false).is_ready());
    }

    #[derive(Default)]
    struct Woken(std::sync::atomic::AtomicUsize);

    impl Woken {
        fn count(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_mailbox_takes_memory_for_letters_while_it_has_some() {
        let (mailbox, mut inbox) = mailbox(1024, 100_000);
        assert_eq!(inbox.shared.queue().letters.capacity(), 0);
        assert_eq!(fill(&mailbox, || message(1)), 1024 - 64);
        while inbox.try_receive().is_some() {}
        assert!(inbox.shared.queue().letters.capacity() <= 8);
    }
}
