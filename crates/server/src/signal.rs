//! What sessions say to each other.

use bytes::Bytes;
use protocol::{ChatId, CloseReason, PublicKey, UserName};

/// Tells sessions apart, also those that one user has one after the other. Which of them is newer it does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(u64);

impl SessionId {
    /// An id that no other session has had since the server started.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }
}

/// What one session says to another, through the router.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signal {
    /// The user of the session that says it.
    pub from: UserName,
    /// The session that says it.
    pub session: SessionId,
    /// The chat that it is about.
    pub chat: ChatId,
    /// What is said.
    pub kind: SignalKind,
}

/// The kinds of [`Signal`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SignalKind {
    /// The sender's user asks the receiver's to talk.
    Request {
        /// The sender's registered key.
        key: PublicKey,
    },
    /// The receiver's request cannot be answered: the sender's user is not free.
    Unavailable,
    /// The sender's user refuses the receiver's request.
    Refuse,
    /// The sender's user accepts the receiver's request.
    Accept {
        /// The sender's registered key.
        key: PublicKey,
        /// The key package that the sender's client made.
        key_package: Bytes,
    },
    /// The caller's client lets the accepter's into the group.
    Establish {
        /// The caller's registered key.
        key: PublicKey,
        /// The welcome that the caller's client made.
        welcome: Bytes,
    },
    /// A whole sealed frame, to be passed on as it is.
    Message(Bytes),
    /// The sender takes its request back, or lets go of a chat whose line is broken. It may get lost: a request that is
    /// not taken back expires, and who waits for a broken line asks.
    CallOff(CloseReason),
    /// The sender's side of the chat, or of the answer to a request, is over.
    Close(CloseReason),
    /// The sender's connection is gone, and its client may come back with the chat.
    Away,
    /// The sender wants the line of the chat opened again: its client expects this counter next.
    Ask(u64),
    /// The line is open at the sender, who was asked; its client expects this counter next.
    Answer(u64),
    /// The sender has the chat and the line open, and wants to hear if the receiver does not.
    Check,
}

impl SignalKind {
    /// Whether a mailbox that has room for little more still takes it: nobody may wait for a word that got lost.
    pub fn may_take_the_last_places(&self) -> bool {
        match self {
            Self::Message(_) | Self::Request { .. } | Self::CallOff(_) | Self::Ask(_) | Self::Check => false,
            Self::Unavailable
            | Self::Refuse
            | Self::Accept { .. }
            | Self::Establish { .. }
            | Self::Close(_)
            | Self::Away
            | Self::Answer(_) => true,
        }
    }

    /// Whether it is said again if it is not heard, so that no harm is done when there is no room for it.
    pub fn is_repeated(&self) -> bool {
        matches!(self, Self::Ask(_) | Self::Check)
    }
}

/// Why a signal was not put into a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// Nobody of that name is online.
    Absent,
    /// The mailbox has no room.
    Full,
}
