//! The ways to the other nodes: what waits to be told to each, numbered, so that each knows what it has missed.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use protocol::UserName;
use tokio::sync::Notify;

use super::word::{Body, VERSION, Word};
use crate::signal::{NodeId, Undelivered};

/// Bytes of words that may wait to be told. What goes beyond them is not told, and the lines of its chats break.
const MAX_UNTOLD: usize = 32 << 20;
/// Bytes of them that messages leave to what starts and ends chats.
const RESERVED_FOR_CONTROL: usize = 4 << 20;
/// What a word takes in memory besides its bytes.
const OVERHEAD: usize = 96;

/// What the router wants done by whoever has the connection to its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Tell a node this.
    Tell {
        /// The node.
        node: NodeId,
        /// Which of its attachments it is known to be at.
        attachment: u32,
        /// A [`Word`].
        word: Bytes,
    },
    /// Take what stands for `user` out of the presence bucket if it still has this revision.
    Strike {
        /// The user.
        user: UserName,
        /// The revision.
        revision: u64,
    },
    /// Attach anew: what stands in the bucket of this node's users is not what should.
    Reattach,
}

/// How a word was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// After all those before it.
    InOrder,
    /// Words before it were lost.
    WithLoss,
    /// It was told in another time: before the node attached anew, or twice.
    Stale,
}

/// All ways, and what waits for them.
#[derive(Debug, Default)]
pub(super) struct Links {
    state: Mutex<State>,
    /// Told when there is an errand.
    pub(super) filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// This node's attachment.
    attachment: u32,
    nodes: BTreeMap<NodeId, Link>,
    errands: VecDeque<Errand>,
    untold: usize,
}

/// The way to one node and back.
#[derive(Debug, Default)]
struct Link {
    /// Its attachment.
    attachment: u32,
    /// Whether it may be told something: the bucket has shown where.
    is_open: bool,
    /// Words that it was told.
    told: u64,
    /// The number that its next word has.
    expected: u64,
}

impl Links {
    /// Begins anew, as this attachment: nobody is known, and nothing waits.
    pub(super) fn reset(&self, attachment: u32) {
        *self.state() = State { attachment, ..State::default() };
    }

    /// `node` listens as `attachment`. Whether it did as an earlier one, so that words may have been lost.
    pub(super) fn open(&self, node: NodeId, attachment: u32) -> bool {
        let mut state = self.state();
        let link = state.nodes.entry(node).or_insert_with(|| Link { attachment, ..Link::default() });
        let is_other = link.attachment < attachment;
        if is_other {
            *link = Link { attachment, ..Link::default() };
        }
        // An earlier one is old news.
        link.is_open |= link.attachment == attachment;
        is_other
    }

    /// `node` is gone.
    pub(super) fn close(&self, node: NodeId) {
        self.state().nodes.remove(&node);
    }

    /// The nodes that can be told something.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.state().nodes.iter().filter(|(_, link)| link.is_open).map(|(node, _)| *node).collect()
    }

    /// Lines up a word for `node`.
    ///
    /// # Errors
    /// [`Undelivered::Unreachable`]: there is no way to the node, or too much waits.
    pub(super) fn tell(&self, home: NodeId, node: NodeId, body: Body, is_control: bool) -> Result<(), Undelivered> {
        // Its bytes are made outside of the lock; the number, which is not known before, stands at a fixed place.
        let mut word = Word { version: VERSION, from: home, attachment: 0, number: 0, body };
        let mut bytes = word.encode().ok_or(Undelivered::Unreachable)?;
        word.body = Body::Beat;
        let counted = bytes.len().saturating_add(OVERHEAD);
        let most = if is_control { MAX_UNTOLD } else { MAX_UNTOLD.saturating_sub(RESERVED_FOR_CONTROL) };
        let mut guard = self.state();
        let state = &mut *guard;
        let untold = state.untold.saturating_add(counted);
        let Some(link) = state.nodes.get_mut(&node).filter(|link| link.is_open && untold <= most) else {
            return Err(Undelivered::Unreachable);
        };
        (word.attachment, word.number) = (state.attachment, link.told);
        let head = word.encode().ok_or(Undelivered::Unreachable)?;
        // The last byte of a beat is the kind of its body.
        let head = head.get(..head.len().saturating_sub(1)).unwrap_or_default();
        bytes.get_mut(..head.len()).ok_or(Undelivered::Unreachable)?.copy_from_slice(head);
        link.told = link.told.saturating_add(1);
        let errand = Errand::Tell { node, attachment: link.attachment, word: bytes.into() };
        state.errands.push_back(errand);
        state.untold = untold;
        drop(guard);
        self.filled.notify_one();
        Ok(())
    }

    /// Lines up what is not for another node. There are no more of these than sessions that have ended.
    pub(super) fn run(&self, errand: Errand) {
        self.state().errands.push_back(errand);
        self.filled.notify_one();
    }

    /// Takes the next errand.
    pub(super) fn next(&self) -> Option<Errand> {
        let mut state = self.state();
        let errand = state.errands.pop_front()?;
        if let Errand::Tell { word, .. } = &errand {
            state.untold = state.untold.saturating_sub(word.len().saturating_add(OVERHEAD));
        }
        if state.errands.is_empty() {
            state.errands.shrink_to(64);
        }
        Some(errand)
    }

    /// How the word of this number, that `node` told as `attachment`, was heard.
    pub(super) fn hear(&self, node: NodeId, attachment: u32, number: u64) -> Heard {
        let mut state = self.state();
        let link = state.nodes.entry(node).or_insert_with(|| Link { attachment, ..Link::default() });
        let is_other = link.attachment < attachment;
        if is_other {
            // Where it listens now the bucket is about to show.
            *link = Link { attachment, ..Link::default() };
        }
        if attachment < link.attachment || number < link.expected {
            return Heard::Stale;
        }
        let is_next = number == link.expected;
        link.expected = number.saturating_add(1);
        if is_next && !is_other { Heard::InOrder } else { Heard::WithLoss }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
