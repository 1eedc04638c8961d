//! Who is logged in at this machine, as far as an operator counts them: how many, how many of them chat, and what waits
//! for them. The router knows whom to reach and where, which may be elsewhere; this knows only what is here, and nobody's
//! name.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use crate::{mailbox::Mailbox, signal::SessionId};

/// Mailboxes that are looked at before others have a turn: each takes its lock, some ten nanoseconds.
const AT_ONCE: usize = 256;

/// The sessions of this machine. The lock is held for a change or for a part of them, never across an await.
#[derive(Debug, Default)]
pub(crate) struct Census {
    sessions: Mutex<BTreeMap<SessionId, Mailbox>>,
    chatting: AtomicU64,
}

/// What lies in the mailboxes of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailboxes {
    /// Letters that wait, in all of them.
    pub letters: u64,
    /// Letters in the fullest.
    pub fullest: u64,
}

impl Census {
    /// A session has its user logged in.
    pub(crate) fn enters(&self, id: SessionId, mailbox: Mailbox) {
        self.sessions().insert(id, mailbox);
    }

    /// It has ended.
    pub(crate) fn leaves(&self, id: SessionId) {
        self.sessions().remove(&id);
    }

    /// A session is now in a chat, or no longer.
    pub(crate) fn counts_chatting(&self, is_chatting: bool) {
        if is_chatting {
            self.chatting.fetch_add(1, Ordering::Relaxed);
        } else {
            self.chatting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many sessions there are.
    pub(crate) fn len(&self) -> usize {
        self.sessions().len()
    }

    /// How many of them are in a chat.
    pub(crate) fn chatting(&self) -> u64 {
        self.chatting.load(Ordering::Relaxed)
    }

    /// The mailboxes of all, those who have been here for the longest first.
    pub(crate) fn everybody(&self) -> Vec<Mailbox> {
        self.sessions().values().cloned().collect()
    }

    /// What waits in the mailboxes. Others have their turns in between, so it is true of no single moment.
    pub(crate) async fn mailboxes(&self) -> Mailboxes {
        let (mut found, mut after) = (Mailboxes::default(), Bound::Unbounded);
        loop {
            let some = self.some_after(after);
            for (id, mailbox) in &some {
                let waiting = u64::try_from(mailbox.waiting()).unwrap_or(u64::MAX);
                found.letters = found.letters.saturating_add(waiting);
                found.fullest = found.fullest.max(waiting);
                after = Bound::Excluded(*id);
            }
            if some.len() < AT_ONCE {
                return found;
            }
            tokio::task::yield_now().await;
        }
    }

    fn some_after(&self, after: Bound<SessionId>) -> Vec<(SessionId, Mailbox)> {
        let sessions = self.sessions();
        let some = sessions.range((after, Bound::Unbounded)).take(AT_ONCE);
        some.map(|(id, mailbox)| (*id, mailbox.clone())).collect()
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<SessionId, Mailbox>> {
        // Nothing that runs under the lock can leave the map half changed.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use protocol::{ChatId, CloseReason};

    use super::*;
    use crate::{
        mailbox::mailbox,
        signal::{Signal, SignalKind},
    };

    fn letter() -> Signal {
        let (session, chat) = (SessionId::new(1), ChatId::from_bytes([7; 16]));
        Signal { from: "alice".parse().unwrap(), session, chat, kind: SignalKind::Close(CloseReason::Left) }
    }

    #[tokio::test]
    async fn all_mailboxes_are_looked_at_however_many_there_are() {
        for count in [0, 1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE] {
            let census = Census::default();
            let mut inboxes = Vec::new();
            for n in 0..count {
                let (mailbox, inbox) = mailbox(128, 1000);
                mailbox.send(letter()).unwrap();
                census.enters(SessionId::new(n.try_into().unwrap()), mailbox);
                inboxes.push(inbox);
            }
            let everybody = census.everybody();
            assert_eq!((census.len(), everybody.len()), (count, count));
            if let Some(last) = everybody.last() {
                last.send(letter()).unwrap();
                let letters = (count + 1).try_into().unwrap();
                assert_eq!(census.mailboxes().await, Mailboxes { letters, fullest: 2 });
            }
            for (n, inbox) in inboxes.iter_mut().enumerate() {
                while inbox.try_receive().is_some() {}
                census.leaves(SessionId::new(n.try_into().unwrap()));
            }
            assert_eq!(census.mailboxes().await, Mailboxes::default());
            assert_eq!(census.len(), 0);
        }
    }
    /// What a look at as many mailboxes as there can be by default costs, and for how long it keeps others from logging in.
    #[tokio::test]
    #[ignore = "measures, on an idle machine: cargo test --release -p server --lib -- --ignored --nocapture measure"]
    #[allow(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures time")]
    async fn measure() {
        let census = Census::default();
        let inboxes: Vec<_> = (0..20_000)
            .map(|n| {
                let (mailbox, inbox) = mailbox(1024, 4 << 20);
                mailbox.send(letter()).unwrap();
                census.enters(SessionId::new(n), mailbox);
                inbox
            })
            .collect();
        for _ in 0..5 {
            let begin = std::time::Instant::now();
            let some = census.some_after(Bound::Unbounded).len();
            let locked = begin.elapsed();
            let found = census.mailboxes().await;
            println!(
                "{} letters in {:?}, {some} mailboxes under the lock in {locked:?}",
                found.letters,
                begin.elapsed()
            );
        }
        drop(inboxes);
    }
}
