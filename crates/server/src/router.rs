//! Who is online, and the way to each of them.

use std::{collections::BTreeMap, ops::Bound, sync::RwLock};

use protocol::{ChatId, List, Page, PublicKey, ServerError, UserName, limits::MAX_PAGE};

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
    key: PublicKey,
    mailbox: Mailbox,
}

impl Router {
    /// A router that lists `page` names at a time, [`MAX_PAGE`] at most.
    pub fn new(page: usize) -> Self {
        Self { online: RwLock::default(), page: page.clamp(1, MAX_PAGE) }
    }

    /// Puts a user online: the newest connection wins. The session of an older one is told that it was replaced, and
    /// which chat the newer one comes back with. Which is newer their ids say, for a log-in may come late: the network
    /// brings what was sent on a connection long after its client has given it up and made another.
    pub fn register(&self, user: UserName, id: SessionId, key: PublicKey, mailbox: Mailbox, held: Option<ChatId>) {
        let mut online = self.write();
        if online.get(&user).is_some_and(|newer| newer.id > id) {
            // It has nothing to say of the chat that it came back with: the newer one has the word.
            return mailbox.end(Order::Replaced { held });
        }
        if let Some(older) = online.insert(user, Entry { id, key, mailbox }) {
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
    use protocol::CloseReason;

    use super::*;
    use crate::{mailbox::mailbox, signal::SignalKind};

    fn name(name: &str) -> UserName {
        name.parse().unwrap()
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
            router.register(name(user), SessionId::new(0), key, mailbox.clone(), None);
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

    #[test]
    fn the_session_of_a_users_newest_connection_stays() {
        let router = Router::new(10);
        let key = PublicKey::from_bytes([1; 32]);
        let (old, old_inbox) = mailbox(200, 1);
        let (new, mut new_inbox) = mailbox(200, 1);
        let (old_id, new_id) = (SessionId::new(1), SessionId::new(2));
        let chat = ChatId::from_bytes([0; 16]);
        router.register(name("alice"), old_id, key, old, None);
        router.register(name("alice"), new_id, key, new, Some(chat));
        assert_eq!(old_inbox.order(), Some(Order::Replaced { held: Some(chat) }));
        router.unregister(&name("alice"), old_id);
        let (late, late_inbox) = mailbox(200, 1);
        let other = ChatId::from_bytes([1; 16]);
        router.register(name("alice"), old_id, key, late, Some(other));
        assert_eq!(late_inbox.order(), Some(Order::Replaced { held: Some(other) }));
        assert_eq!(new_inbox.order(), None, "whose connection is the newer one");
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
