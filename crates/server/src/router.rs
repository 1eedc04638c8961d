//! Who is online, and the way to each of them.

mod elsewhere;
mod links;
mod word;

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use protocol::{Attempt, ChatId, List, Page, PublicKey, ServerError, UserName, limits::MAX_PAGE};

use crate::{
    mailbox::{Mailbox, Order},
    signal::{NodeId, SessionId, Signal, Undelivered},
};
use elsewhere::{Elsewhere, Other, There};
use links::Links;
pub use {
    elsewhere::{Joined, NotAttached},
    links::Errand,
    word::{Body, Lease, Misheard, Presence, Returned, VERSION, Word},
};

/// The users who are online, with the mailboxes of those whose sessions are in this process, and the node of those whose
/// sessions are in another.
///
/// It does no I/O: what it wants told to other nodes it lines up as [`Errand`]s, and it is told what they say. The lock is
/// held for a look-up or a change of the map, never across an await.
#[derive(Debug)]
pub struct Router {
    home: NodeId,
    page: usize,
    state: RwLock<State>,
    links: Links,
    traffic: Traffic,
}

/// Signals that went to sessions of other nodes, came from them, and were not delivered.
#[derive(Debug, Default)]
struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    undelivered: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    users: BTreeMap<UserName, Place>,
    elsewhere: Elsewhere,
}

/// Where a user's session is.
#[derive(Debug)]
enum Place {
    Here(Box<Entry>),
    There(There),
}

#[derive(Debug)]
struct Entry {
    id: SessionId,
    attempt: Attempt,
    key: PublicKey,
    mailbox: Mailbox,
    held: Option<ChatId>,
    /// Since which revision it stands in the presence bucket, if that is known in this attachment.
    revision: Option<u64>,
    /// What was seen to stand there instead, as long as it is not known.
    other: Option<Other>,
}

impl Router {
    /// The router of a process that is the only one, which lists `page` names at a time, [`MAX_PAGE`] at most.
    pub fn new(page: usize) -> Self {
        Self::of(NodeId::ALONE, page)
    }

    /// The router of one of several processes. There are no others until it [is attached](Self::attach).
    pub fn of(home: NodeId, page: usize) -> Self {
        Self {
            home,
            page: page.clamp(1, MAX_PAGE),
            state: RwLock::default(),
            links: Links::default(),
            traffic: Traffic::default(),
        }
    }

    /// This process.
    pub fn home(&self) -> NodeId {
        self.home
    }

    /// Puts a user online: the newest log-in wins. The session of an older one is told that it was replaced, and which
    /// chat the newer one comes back with. Newer is the one that is registered later, unless the two are of one client,
    /// which says itself which was first, for a log-in may come late: the network brings what was sent on a connection
    /// long after its client has given it up and made another.
    ///
    /// Where there are other nodes, a session [joins](Self::join) instead.
    pub fn register(
        &self,
        user: UserName,
        id: SessionId,
        attempt: Attempt,
        key: PublicKey,
        mailbox: Mailbox,
        held: Option<ChatId>,
    ) {
        let mut state = self.write();
        if let Some(Place::Here(entry)) = state.users.get(&user)
            && attempt.is_before(&entry.attempt)
        {
            // It has nothing to say of the chat that it came back with: the newer one has the word.
            return mailbox.end(Order::Replaced { held });
        }
        let entry = Entry { id, attempt, key, mailbox, held, revision: None, other: None };
        if let Some(Place::Here(older)) = state.users.insert(user, Place::Here(Box::new(entry))) {
            older.mailbox.end(Order::Replaced { held });
        }
    }

    /// Takes a user offline, unless a newer session stands in the place of session `id`.
    pub fn unregister(&self, user: &UserName, id: SessionId) {
        let mut state = self.write();
        let mut stands = state.elsewhere.leave(user, id);
        if let Some(Place::Here(entry)) = state.users.get(user)
            && entry.id == id
        {
            stands = entry.revision;
            let other = entry.other;
            state.users.remove(user);
            // Nobody tells this node again of the newer one that was seen already.
            if let Some(there) = other.and_then(Other::there) {
                state.users.insert(user.clone(), Place::There(there));
            }
        }
        if let Some(revision) = stands {
            self.links.run(Errand::Strike { user: user.clone(), revision });
        }
    }

    /// Gives `signal` to the session of user `to`. What goes to another node and does not arrive comes back later, as
    /// [`Undelivered`](crate::signal::SignalKind::Undelivered).
    ///
    /// # Errors
    /// [`Undelivered`]: nobody of that name is online, there is no room for such a signal, or no way to the user's node.
    pub fn send(&self, to: &UserName, signal: Signal) -> Result<(), Undelivered> {
        let state = self.read();
        let elsewhere = match state.users.get(to) {
            Some(Place::Here(entry)) => return entry.mailbox.send(signal),
            Some(Place::There(there)) => Some(there.node),
            None => state.elsewhere.spoken_for(to),
        };
        match elsewhere {
            Some(node) => {
                drop(state);
                let is_control = signal.kind.may_take_the_last_places();
                let told = self.links.tell(self.home, node, Body::Signal { to: to.clone(), signal }, is_control);
                let count = if told.is_ok() { &self.traffic.sent } else { &self.traffic.undelivered };
                count.fetch_add(1, Ordering::Relaxed);
                told
            }
            None if state.elsewhere.is_cut_off() => {
                self.traffic.undelivered.fetch_add(1, Ordering::Relaxed);
                Err(Undelivered::Unreachable)
            }
            None => Err(Undelivered::Absent),
        }
    }

    /// Gives `signal` to the session that user `to` is said to have in process `node`, whether that has been
    /// [learnt](Self::learn) or not.
    ///
    /// # Errors
    /// [`Undelivered`], as for [`Self::send`].
    pub fn send_by(&self, node: NodeId, to: &UserName, signal: Signal) -> Result<(), Undelivered> {
        if node == self.home || self.read().users.contains_key(to) {
            return self.send(to, signal);
        }
        let is_control = signal.kind.may_take_the_last_places();
        self.links.tell(self.home, node, Body::Signal { to: to.clone(), signal }, is_control)
    }

    /// The mailbox of the session that `user` has in this process, if there is one.
    pub(crate) fn mailbox(&self, user: &UserName) -> Option<Mailbox> {
        match self.read().users.get(user) {
            Some(Place::Here(entry)) => Some(entry.mailbox.clone()),
            _ => None,
        }
    }

    /// A page of the online list, as `asker` sees it: sorted, without `asker`.
    pub fn list(&self, asker: &UserName, page: &Page) -> List {
        let (prefix, after) = (page.prefix.as_str(), page.after.as_str());
        let state = self.read();
        // No name is shorter than one character, so an empty bound is before all of them.
        let from: Option<UserName> = prefix.max(after).parse().ok();
        let range = match &from {
            Some(from) if from.as_str() == after => (Bound::Excluded(from), Bound::Unbounded),
            Some(from) => (Bound::Included(from), Bound::Unbounded),
            None if prefix.is_empty() && after.is_empty() => (Bound::Unbounded, Bound::Unbounded),
            // A prefix that no name can start with.
            None => return List { names: Vec::new(), more: false },
        };
        let mut names = state
            .users
            .range::<UserName, _>(range)
            .map(|(name, _)| name)
            .take_while(|name| name.as_str().starts_with(prefix))
            .filter(|name| *name != asker);
        let page = names.by_ref().take(self.page).cloned().collect();
        List { names: page, more: names.next().is_some() }
    }

    /// Everybody who is online in this process, with the key that they logged in with.
    pub fn everybody(&self) -> Vec<(UserName, PublicKey)> {
        self.read().here().map(|(user, entry)| (user.clone(), entry.key)).collect()
    }

    /// Ends the session that `user` has in this process if it logged in with `key`.
    pub fn end(&self, user: &UserName, key: &PublicKey, reason: ServerError) {
        if let Some(Place::Here(entry)) = self.read().users.get(user)
            && entry.key == *key
        {
            entry.mailbox.end(Order::End(reason));
        }
    }

    /// Ends all sessions of this process.
    pub fn end_all(&self, reason: ServerError) {
        self.read().here().for_each(|(_, entry)| entry.mailbox.end(Order::End(reason)));
    }

    /// Users who are online, as far as this node knows.
    pub fn online(&self) -> usize {
        self.read().users.len()
    }

    /// Signals that went to sessions of other nodes, came from them, and were not delivered, since the start.
    pub fn traffic(&self) -> [u64; 3] {
        let Traffic { sent, received, undelivered } = &self.traffic;
        [sent, received, undelivered].map(|count| count.load(Ordering::Relaxed))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        // Nothing that runs under the lock can leave the map half changed.
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn here(&self) -> impl Iterator<Item = (&UserName, &Entry)> {
        self.users.iter().filter_map(|(user, place)| match place {
            Place::Here(entry) => Some((user, &**entry)),
            Place::There(_) => None,
        })
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
