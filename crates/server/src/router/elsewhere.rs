//! What a router knows of the other nodes, and what its users are to them.
//!
//! One bucket has, for each user who is online, the session that is theirs; whoever changes that says what stood there
//! before, so that of any two log-ins one is the later, for all nodes alike. Its revisions only ever go up, and each node
//! is told all of them in their order. What a node says to another is numbered, and told again by nobody: where a word is
//! lost, the sessions that it may have been for are told that there was something.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use protocol::{Attempt, ChatId, PublicKey, UserName};

use super::{Body, Entry, Errand, Misheard, Place, Presence, Returned, Router, State, Word, links::Heard};
use crate::{
    mailbox::{Mailbox, Order},
    signal::{NodeId, SessionId, Signal, SignalKind, Undelivered},
};

/// The session of a user, in another process.
#[derive(Debug)]
pub(super) struct There {
    pub(super) node: NodeId,
    revision: u64,
}

/// What there is besides the map of users.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    attachment: Attachment,
    /// Sessions that are about to be their users'.
    joining: BTreeMap<UserName, Vec<Joining>>,
    /// Users of whom the bucket has shown nothing yet, and the nodes that have said something of theirs: it can be answered.
    spoken_for: BTreeMap<UserName, NodeId>,
}

/// How this node stands to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Attachment {
    /// There are none.
    #[default]
    Alone,
    /// They cannot be reached.
    CutOff,
    /// What stands in the bucket is being read, in the attachment of this number.
    Reading(u32),
    /// It is one of them.
    Attached(u32),
}

/// A session that is about to be its user's.
#[derive(Debug)]
struct Joining {
    entry: Entry,
    attachment: u32,
}

/// The latest of what the bucket was seen to have for a user, where it was not the session that wants to be theirs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Other {
    revision: u64,
    /// Where it is, if it is a session.
    node: Option<NodeId>,
    held: Option<ChatId>,
}

impl Other {
    /// The session, if there is one.
    pub(super) fn there(self) -> Option<There> {
        self.node.map(|node| There { node, revision: self.revision })
    }
}

/// What a session that wants to be its user's has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// Put this into the bucket.
    Claim {
        /// What is to stand there.
        presence: Presence,
        /// The revision of what stands there now, 0 for nothing; `None` if that has to be asked.
        revision: Option<u64>,
    },
    /// Nothing: its client has logged in again since, and it has been told.
    Late,
}

/// This node cannot reach the others now, so that nobody can be put online.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other nodes cannot be reached, and nobody can be let in who may be online there")]
pub struct NotAttached;

impl Elsewhere {
    /// Whether there are others whom this node cannot reach.
    pub(super) fn is_cut_off(&self) -> bool {
        matches!(self.attachment, Attachment::CutOff | Attachment::Reading(_))
    }

    /// The node that has said something of `to`'s, if the bucket has not shown where they are since.
    pub(super) fn spoken_for(&self, to: &UserName) -> Option<NodeId> {
        self.spoken_for.get(to).copied()
    }

    /// Session `id` is not to be its user's any more. Since which revision it stands in the bucket all the same, if that was
    /// seen.
    pub(super) fn leave(&mut self, user: &UserName, id: SessionId) -> Option<u64> {
        self.take(user, id)?.entry.revision
    }

    fn take(&mut self, user: &UserName, id: SessionId) -> Option<Joining> {
        let all = self.joining.get_mut(user)?;
        let place = all.iter().position(|joining| joining.entry.id == id)?;
        let taken = all.swap_remove(place);
        if all.is_empty() {
            self.joining.remove(user);
        }
        Some(taken)
    }

    /// The bucket has something else for `user` than the sessions that are about to be theirs.
    fn sees(&mut self, user: &UserName, other: Other) {
        for joining in self.joining.get_mut(user).into_iter().flatten() {
            joining.entry.other = Some(other);
        }
    }

    fn number(&self) -> Option<u32> {
        match self.attachment {
            Attachment::Attached(number) => Some(number),
            _ => None,
        }
    }
}

impl Router {
    /// There are other nodes, and this one cannot reach them: nobody who is elsewhere is known any more, and what was said
    /// from there and to there may be lost.
    pub fn detach(&self) {
        let mut state = self.write();
        state.elsewhere.attachment = Attachment::CutOff;
        self.forget(&mut state);
        self.links.reset(0);
    }

    /// This node is about to be one of several, as its attachment of this number, which is higher than all before. Until
    /// [`Self::attached`] it is told what stands in the bucket, by [`Self::learn`] and [`Self::opens`].
    pub fn attach(&self, number: u32) {
        let mut state = self.write();
        self.forget(&mut state);
        state.elsewhere.attachment = Attachment::Reading(number);
        self.links.reset(number);
    }

    /// All that stands in the bucket has been told. What is to stand there for the sessions of this process: each has to be
    /// [settled](Self::settle) or [replaced](Self::replaced).
    pub fn attached(&self) -> Vec<(UserName, Presence)> {
        let mut state = self.write();
        if let Attachment::Reading(number) = state.elsewhere.attachment {
            state.elsewhere.attachment = Attachment::Attached(number);
        }
        let presence = |(user, entry): (&UserName, &Entry)| (user.clone(), entry.presence());
        state.here().map(presence).collect()
    }

    /// Everything about others goes.
    fn forget(&self, state: &mut State) {
        state.elsewhere.spoken_for.clear();
        let mut nodes: Vec<NodeId> = self.links.nodes();
        state.users.retain(|_, place| match place {
            Place::Here(entry) => {
                (entry.revision, entry.other) = (None, None);
                true
            }
            Place::There(there) => {
                nodes.push(there.node);
                false
            }
        });
        for Joining { entry, .. } in state.elsewhere.joining.values_mut().flatten() {
            (entry.revision, entry.other) = (None, None);
        }
        nodes.sort_unstable();
        nodes.dedup();
        nodes.into_iter().for_each(|node| state.lapse(node));
    }

    /// A session wants to be its user's: the newest log-in wins, as in [`Self::register`].
    ///
    /// # Errors
    /// [`NotAttached`]: it cannot be, now.
    pub fn join(
        &self,
        user: &UserName,
        id: SessionId,
        attempt: Attempt,
        key: PublicKey,
        mailbox: Mailbox,
        held: Option<ChatId>,
    ) -> Result<Joined, NotAttached> {
        let mut state = self.write();
        let attachment = state.elsewhere.number().ok_or(NotAttached)?;
        let revision = match state.users.get(user) {
            Some(Place::Here(entry)) if attempt.is_before(&entry.attempt) => {
                mailbox.end(Order::Replaced { held });
                return Ok(Joined::Late);
            }
            Some(Place::Here(entry)) => entry.revision,
            // Whether that is of the same client stands in the bucket alone.
            Some(Place::There(_)) => None,
            None => Some(0),
        };
        let entry = Entry { id, attempt, key, mailbox, held, revision: None, other: None };
        let presence = entry.presence();
        state.elsewhere.joining.entry(user.clone()).or_default().push(Joining { entry, attachment });
        Ok(Joined::Claim { presence, revision })
    }

    /// What stands in the bucket for `user` at this revision is the session `id`. Whether it is its user's now, or was
    /// until a newer one came: if it has ended meanwhile, or the attachment with which it joined has, it is not.
    pub fn settle(&self, user: &UserName, id: SessionId, revision: u64) -> bool {
        let mut state = self.write();
        let number = state.elsewhere.number();
        if let Some(Place::Here(entry)) = state.users.get_mut(user)
            && entry.id == id
        {
            // It was before this attachment, too.
            entry.revision = entry.revision.max(Some(revision));
            if let Some(other) = entry.other.take().filter(|other| other.revision > revision) {
                state.gives_way(user, other);
            }
            return number.is_some();
        }
        let Some(Joining { mut entry, attachment }) = state.elsewhere.take(user, id) else {
            self.links.run(Errand::Strike { user: user.clone(), revision });
            return false;
        };
        if number != Some(attachment) {
            self.links.run(Errand::Strike { user: user.clone(), revision });
            return false;
        }
        if let Some(other) = entry.other.take().filter(|other| other.revision > revision) {
            // A newer log-in was heard of before this one's own, and stands where it is.
            entry.mailbox.end(Order::Replaced { held: other.held });
            return true;
        }
        if let Some(Place::Here(other)) = state.users.get(user)
            && other.revision.is_some_and(|other| other > revision)
        {
            entry.mailbox.end(Order::Replaced { held: other.held });
            return true;
        }
        entry.revision = Some(revision);
        let held = entry.held;
        if let Some(Place::Here(older)) = state.users.insert(user.clone(), Place::Here(Box::new(entry))) {
            older.mailbox.end(Order::Replaced { held });
        }
        true
    }

    /// Session `id` did not become its user's, for no fault of its own.
    pub fn give_up(&self, user: &UserName, id: SessionId) {
        let stands = self.write().elsewhere.leave(user, id);
        // The bucket has heard of it all the same.
        if let Some(revision) = stands {
            self.links.run(Errand::Strike { user: user.clone(), revision });
        }
    }

    /// Session `id` is not its user's, or no longer: there is a newer one, in another process, with this chat.
    pub fn replaced(&self, user: &UserName, id: SessionId, held: Option<ChatId>) {
        let mut state = self.write();
        if let Some(Joining { entry, .. }) = state.elsewhere.take(user, id) {
            // It has come late, and has nothing to say of the chat that it came back with.
            return entry.mailbox.end(Order::Replaced { held: entry.held });
        }
        if let Some(Place::Here(entry)) = state.users.get_mut(user)
            && entry.id == id
        {
            let other = entry.other.take().unwrap_or(Other { revision: 0, node: None, held });
            state.gives_way(user, Other { held, ..other });
        }
    }

    /// What stands in the bucket for `user` at this revision is nobody's, and is to go.
    pub(crate) fn strike(&self, user: UserName, revision: u64) {
        self.links.run(Errand::Strike { user, revision });
    }

    /// What stands in the bucket for `user` since this revision; `None` for nothing.
    pub fn learn(&self, user: &UserName, presence: Option<&Presence>, revision: u64) {
        let mut state = self.write();
        state.elsewhere.spoken_for.remove(user);
        let Some(presence) = presence else {
            return self.learn_of_none(&mut state, user, revision);
        };
        let Presence { session, held, .. } = *presence;
        if session.node == self.home {
            return self.learn_of_own(&mut state, user, session, revision);
        }
        let other = Other { revision, node: Some(session.node), held };
        state.elsewhere.sees(user, other);
        match state.users.get_mut(user) {
            // Its own claim is still to be made in this attachment, or to be answered.
            Some(Place::Here(entry)) if entry.revision.is_none() => entry.other = Some(other),
            Some(Place::Here(entry)) if entry.revision.is_some_and(|own| own < revision) => {
                state.gives_way(user, other)
            }
            Some(Place::There(known)) if known.revision < revision => *known = There { node: session.node, revision },
            Some(_) => {}
            None => {
                state.users.insert(user.clone(), Place::There(There { node: session.node, revision }));
            }
        }
    }

    fn learn_of_own(&self, state: &mut State, user: &UserName, session: SessionId, revision: u64) {
        match state.users.get_mut(user) {
            Some(Place::Here(entry)) if entry.id == session => {
                entry.revision = entry.revision.max(Some(revision));
                entry.other = None;
                return;
            }
            // What stood there was not this node's.
            Some(Place::There(known)) if known.revision < revision => {
                state.users.remove(user);
            }
            _ => {}
        }
        let joining = state.elsewhere.joining.get_mut(user).into_iter().flatten();
        match joining.map(|joining| &mut joining.entry).find(|entry| entry.id == session) {
            // The answer to its claim is still to come, and may not.
            Some(entry) => entry.revision = entry.revision.max(Some(revision)),
            // It has ended, and what should have been struck then was not there yet, or this node was cut off.
            None => self.links.run(Errand::Strike { user: user.clone(), revision }),
        }
    }

    fn learn_of_none(&self, state: &mut State, user: &UserName, revision: u64) {
        let other = Other { revision, node: None, held: None };
        state.elsewhere.sees(user, other);
        match state.users.get_mut(user) {
            Some(Place::There(known)) if known.revision < revision => {
                state.users.remove(user);
            }
            Some(Place::Here(entry)) if entry.revision.is_none() => entry.other = Some(other),
            // Another took this node for gone.
            Some(Place::Here(entry)) if entry.revision.is_some_and(|own| own < revision) => {
                self.links.run(Errand::Reattach);
            }
            _ => {}
        }
    }

    /// `node` listens as its attachment of this number.
    pub fn opens(&self, node: NodeId, attachment: u32) {
        if node != self.home && self.links.open(node, attachment) {
            self.read().lapse(node);
        }
    }

    /// `node` is gone, and all its sessions. What stands in the bucket for them, to be struck.
    pub fn bury(&self, node: NodeId) -> Vec<(UserName, u64)> {
        let mut state = self.write();
        let mut gone = Vec::new();
        state.users.retain(|user, place| match place {
            Place::There(there) if there.node == node => {
                gone.push((user.clone(), there.revision));
                false
            }
            _ => true,
        });
        state.elsewhere.spoken_for.retain(|_, speaker| *speaker != node);
        self.links.close(node);
        state.lapse(node);
        gone
    }

    /// Another node told this.
    ///
    /// # Errors
    /// [`Misheard`] when it is no word.
    pub fn hear(&self, word: &[u8]) -> Result<(), Misheard> {
        let Word { from, attachment, number, body, .. } = Word::decode(word)?;
        if from == self.home {
            return Ok(());
        }
        match self.links.hear(from, attachment, number) {
            Heard::InOrder => {}
            Heard::WithLoss => self.read().lapse(from),
            Heard::Stale => return Ok(()),
        }
        match body {
            Body::Beat => {}
            Body::Signal { to, signal } => {
                self.traffic.received.fetch_add(1, Ordering::Relaxed);
                let chat = signal.chat;
                let is_repeated = signal.kind.is_repeated();
                let (speaker, session) = (signal.from.clone(), signal.session);
                if !self.read().users.contains_key(&speaker) {
                    self.write().elsewhere.spoken_for.insert(speaker.clone(), from);
                }
                if let Err(why) = self.deliver(&to, signal) {
                    let returned = Returned { from: speaker, session, to, chat, is_repeated, why };
                    // Without a way back, its node hears that a word was lost.
                    let _ = self.links.tell(self.home, from, Body::Undelivered(returned), true);
                }
            }
            Body::Undelivered(returned) => {
                self.traffic.undelivered.fetch_add(1, Ordering::Relaxed);
                self.give_back(returned);
            }
        }
        Ok(())
    }

    /// Gives a signal from another node to the session of `to`, which is here or about to be.
    fn deliver(&self, to: &UserName, signal: Signal) -> Result<(), Undelivered> {
        let state = self.read();
        match state.users.get(to) {
            Some(Place::Here(entry)) => entry.mailbox.send(signal),
            // Who said it has heard of its claim before this node has.
            _ => match state.elsewhere.joining.get(to).and_then(|all| all.last()) {
                Some(joining) => joining.entry.mailbox.send(signal),
                None => Err(Undelivered::Absent),
            },
        }
    }

    fn give_back(&self, returned: Returned) {
        let Returned { from, session, to, chat, is_repeated, why } = returned;
        if let Some(Place::Here(entry)) = self.read().users.get(&from)
            && entry.id == session
        {
            let kind = SignalKind::Undelivered { is_repeated, why };
            // Without room for it the session ends.
            let _ = entry.mailbox.send(Signal { from: to, session, chat, kind });
        }
    }

    /// Tells all other nodes that this one is there, and what it has told them before.
    pub fn beat(&self) {
        for node in self.links.nodes() {
            // Where too much waits to be told, what waits does as well.
            let _ = self.links.tell(self.home, node, Body::Beat, true);
        }
    }

    /// Waits until there may be an errand.
    pub async fn errands(&self) {
        self.links.filled.notified().await;
    }

    /// The next errand, if there is one.
    pub fn next_errand(&self) -> Option<Errand> {
        self.links.next()
    }

    /// The nodes that this one can tell something.
    pub fn nodes(&self) -> usize {
        self.links.nodes().len()
    }

    /// Whether there are other nodes whom this one cannot reach.
    pub fn is_cut_off(&self) -> bool {
        self.read().elsewhere.is_cut_off()
    }
}

impl State {
    /// What sessions of `node` have said may have been lost.
    fn lapse(&self, node: NodeId) {
        let session = SessionId { node, number: 0 };
        let joining =
            self.elsewhere.joining.iter().flat_map(|(user, all)| all.iter().map(move |one| (user, &one.entry)));
        for (user, entry) in self.here().chain(joining) {
            let (from, chat) = (user.clone(), ChatId::from_bytes([0; 16]));
            // Without room for it the session ends.
            let _ = entry.mailbox.send(Signal { from, session, chat, kind: SignalKind::Lapsed(node) });
        }
    }

    /// The session that `user` has here ends, for there is a newer one elsewhere, or was.
    fn gives_way(&mut self, user: &UserName, other: Other) {
        let held = other.held;
        let older = match other.there() {
            Some(there) => self.users.insert(user.clone(), Place::There(there)),
            None => self.users.remove(user),
        };
        if let Some(Place::Here(older)) = older {
            older.mailbox.end(Order::Replaced { held });
        }
    }
}

impl Entry {
    fn presence(&self) -> Presence {
        Presence::new(self.id, self.attempt, self.held)
    }
}
