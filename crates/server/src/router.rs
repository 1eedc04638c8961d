//! Who is online, and the way to each of them.

use std::{collections::BTreeMap, ops::Bound, sync::RwLock};

use protocol::{Attempt, ChatId, List, Page, PublicKey, ServerError, UserName, limits::MAX_PAGE};

use crate::{
    mailbox::{Mailbox, Order},
    signal::{SessionId, Signal, Undelivered},
};

/// The users who are online on this machine, with their mailboxes.
///
/// The lock is held for a look-up or a change of the map, never across an await.
#[derive(Debug)]
pub struct Router {
    online: RwLock<BTreeMap<UserName, Entry>>,
    page: usize,
}

#[derive(Debug)]
struct Entry {
    id: SessionId,
    attempt: Attempt,
    key: PublicKey,
    mailbox: Mailbox,
}

impl Router {
    /// A router that lists `page` names at a time, [`MAX_PAGE`] at most.
    pub fn new(page: usize) -> Self {
        Self { online: RwLock::default(), page: page.clamp(1, MAX_PAGE) }
    }

    /// Puts a user online: the newest log-in wins. The session of an older one is told that it was replaced, and which
    /// chat the newer one comes back with. Of two clients the one that is registered later is the newer; of one client
    /// that with the higher number, for a log-in may [come late](Attempt).
    pub fn register(
        &self,
        user: UserName,
        id: SessionId,
        attempt: Attempt,
        key: PublicKey,
        mailbox: Mailbox,
        held: Option<ChatId>,
    ) {
        let mut online = self.write();
        if online.get(&user).is_some_and(|newer| attempt.is_before(&newer.attempt)) {
            // It has nothing to say of the chat that it came back with: the newer one has the word.
            return mailbox.end(Order::Replaced { held });
        }
        if let Some(older) = online.insert(user, Entry { id, attempt, key, mailbox }) {
            older.mailbox.end(Order::Replaced { held });
        }
    }

    /// Takes a user offline, unless a newer session stands in the place of session `id`.
    pub fn unregister(&self, user: &UserName, id: SessionId) {
        let mut online = self.write();
        if online.get(user).is_some_and(|entry| entry.id == id) {
            online.remove(user);
        }
    }

    /// Gives `signal` to the session of user `to`.
    ///
    /// # Errors
    /// [`Undelivered`]: nobody of that name is online, or there is no room for such a signal.
    pub fn send(&self, to: &UserName, signal: Signal) -> Result<(), Undelivered> {
        match self.read().get(to) {
            Some(entry) => entry.mailbox.send(signal),
            None => Err(Undelivered::Absent),
        }
    }

    /// The mailbox of the session that `user` has, if there is one.
    pub(crate) fn mailbox(&self, user: &UserName) -> Option<Mailbox> {
        self.read().get(user).map(|entry| entry.mailbox.clone())
    }

    /// A page of the online list, as `asker` sees it: sorted, without `asker`.
    pub fn list(&self, asker: &UserName, page: &Page) -> List {
        let (prefix, after) = (page.prefix.as_str(), page.after.as_str());
        let online = self.read();
        // No name is shorter than one character, so an empty bound is before all of them.
        let from: Option<UserName> = prefix.max(after).parse().ok();
        let range = match &from {
            Some(from) if from.as_str() == after => (Bound::Excluded(from), Bound::Unbounded),
            Some(from) => (Bound::Included(from), Bound::Unbounded),
            None if prefix.is_empty() && after.is_empty() => (Bound::Unbounded, Bound::Unbounded),
            // A prefix that no name can start with.
            None => return List { names: Vec::new(), more: false },
        };
        let mut names = online
            .range::<UserName, _>(range)
            .map(|(name, _)| name)
            .take_while(|name| name.as_str().starts_with(prefix))
            .filter(|name| *name != asker);
        let page = names.by_ref().take(self.page).cloned().collect();
        List { names: page, more: names.next().is_some() }
    }

    /// Everybody online, with the key that they logged in with.
    pub fn everybody(&self) -> Vec<(UserName, PublicKey)> {
        self.read().iter().map(|(user, entry)| (user.clone(), entry.key)).collect()
    }

    /// Ends the session of `user` if it logged in with `key`.
    pub fn end(&self, user: &UserName, key: &PublicKey, reason: ServerError) {
        if let Some(entry) = self.read().get(user).filter(|entry| entry.key == *key) {
            entry.mailbox.end(Order::End(reason));
        }
    }

    /// Ends all sessions.
    pub fn end_all(&self, reason: ServerError) {
        self.read().values().for_each(|entry| entry.mailbox.end(Order::End(reason)));
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<UserName, Entry>> {
        // Nothing that runs under the lock can leave the map half changed.
        self.online.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<UserName, Entry>> {
        self.online.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use protocol::{ClientId, CloseReason};

    use super::*;
    use crate::{
        mailbox::{Inbox, mailbox},
        signal::SignalKind,
    };

    fn name(name: &str) -> UserName {
        name.parse().unwrap()
    }

    fn attempt(client: u8, number: u32) -> Attempt {
        Attempt { client: ClientId::from_bytes([client; 16]), number }
    }

    fn page(prefix: &str, after: &str) -> Page {
        Page { prefix: prefix.parse().unwrap(), after: after.parse().unwrap() }
    }

    #[test]
    fn lists_page_by_page_and_by_prefix() {
        let router = Router::new(2);
        let key = PublicKey::from_bytes([1; 32]);
        let (mailbox, _inbox) = mailbox(200, 1);
        for user in ["al", "albert", "alice", "alina", "bob", "carol"] {
            router.register(name(user), SessionId::new(0), attempt(1, 0), key, mailbox.clone(), None);
        }
        let names = |prefix, after| {
            let list = router.list(&name("alice"), &page(prefix, after));
            (list.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), list.more)
        };
        assert_eq!(names("", ""), ("al albert".into(), true));
        assert_eq!(names("", "albert"), ("alina bob".into(), true));
        assert_eq!(names("", "bob"), ("carol".into(), false));
        assert_eq!(names("", "carol"), (String::new(), false));
        assert_eq!(names("al", "al"), ("albert alina".into(), false));
        assert_eq!(names("alb", "a"), ("albert".into(), false));
        assert_eq!(names("b", "carol"), (String::new(), false));
        assert_eq!(names("c", "al"), ("carol".into(), false));
        assert_eq!(names(".", ""), (String::new(), false));
        assert_eq!(names("z", ""), (String::new(), false));
    }

    /// Alice logs in twice, each time with a chat of its own. Which order does the first session have then, and which
    /// the second?
    fn orders(first: Attempt, second: Attempt) -> [Option<Order>; 2] {
        let router = Router::new(10);
        let key = PublicKey::from_bytes([1; 32]);
        // Their ids are no help: those of two machines have no order.
        let inboxes = [(2, 0, first), (1, 1, second)].map(|(id, chat, attempt)| {
            let (mailbox, inbox) = mailbox(200, 1);
            let held = Some(ChatId::from_bytes([chat; 16]));
            router.register(name("alice"), SessionId::new(id), attempt, key, mailbox, held);
            inbox
        });
        let (session, chat) = (SessionId::new(3), ChatId::from_bytes([0; 16]));
        let signal = Signal { from: name("bob"), session, chat, kind: SignalKind::Close(CloseReason::Left) };
        assert_eq!(router.send(&name("alice"), signal), Ok(()));
        let orders = inboxes.each_ref().map(Inbox::order);
        let is_heard = inboxes.map(|mut inbox| inbox.try_receive().is_some());
        assert_eq!(is_heard, orders.map(|order| order.is_none()), "what is for alice goes to the one that stays");
        orders
    }

    #[test]
    fn of_one_clients_log_ins_the_last_that_it_sent_stays() {
        let replaced = |chat| Some(Order::Replaced { held: Some(ChatId::from_bytes([chat; 16])) });
        assert_eq!(orders(attempt(1, 3), attempt(1, 4)), [replaced(1), None]);
        assert_eq!(orders(attempt(1, 4), attempt(1, 3)), [None, replaced(1)], "the second comes late");
        // As it is when the numbers are used up.
        assert_eq!(orders(attempt(1, u32::MAX), attempt(1, u32::MAX)), [replaced(1), None]);
    }

    #[test]
    fn of_two_clients_log_ins_the_last_that_came_stays() {
        let replaced = |chat| Some(Order::Replaced { held: Some(ChatId::from_bytes([chat; 16])) });
        for (first, second) in [(0, 0), (9, 0), (0, 9)] {
            assert_eq!(orders(attempt(1, first), attempt(2, second)), [replaced(1), None]);
        }
    }

    #[test]
    fn a_session_that_was_replaced_takes_nobody_offline() {
        let router = Router::new(10);
        let key = PublicKey::from_bytes([1; 32]);
        let (old, _old_inbox) = mailbox(200, 1);
        let (new, mut new_inbox) = mailbox(200, 1);
        let (old_id, new_id) = (SessionId::new(1), SessionId::new(2));
        let chat = ChatId::from_bytes([0; 16]);
        router.register(name("alice"), old_id, attempt(1, 0), key, old, None);
        router.register(name("alice"), new_id, attempt(1, 1), key, new, None);
        router.unregister(&name("alice"), old_id);
        let (late, _late_inbox) = mailbox(200, 1);
        router.register(name("alice"), old_id, attempt(1, 0), key, late, None);
        router.unregister(&name("alice"), old_id);
        let signal = Signal { from: name("bob"), session: old_id, chat, kind: SignalKind::Close(CloseReason::Left) };
        assert_eq!(router.send(&name("alice"), signal.clone()), Ok(()));
        assert!(new_inbox.try_receive().is_some());
        assert_eq!(router.send(&name("carol"), signal), Err(Undelivered::Absent));
        router.end(&name("alice"), &PublicKey::from_bytes([2; 32]), ServerError::Removed);
        assert_eq!(new_inbox.order(), None, "another key was meant");
        router.end(&name("alice"), &key, ServerError::Removed);
        assert_eq!(new_inbox.order(), Some(Order::End(ServerError::Removed)));
    }
}
