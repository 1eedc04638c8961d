//! What is on its way between sessions.

use std::fmt;

use server::signal::{SessionId, Signal};

use super::{
    nodes::home_of,
    world::{Person, digest},
};

/// A signal in a session's mailbox, or on its way there.
#[derive(Debug, PartialEq, Eq)]
pub struct Flight {
    pub(super) origin: Person,
    pub(super) receiver: Person,
    pub(super) to: To,
    pub(super) signal: Signal,
    /// Its place in its queue.
    pub(super) number: u8,
    pub(super) digest: u64,
}

/// Where a signal goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum To {
    /// Into the mailbox of this session.
    Mailbox(SessionId),
    /// To the other node, this one, for whatever session its user has there.
    User {
        home: usize,
        /// The attachment of the node that says it.
        attachment: u8,
        /// The user's session there is another since, in whose mailbox it may have been.
        is_forgotten: bool,
    },
    /// To the other node, for this session alone, which has said what does not get to the one it is for.
    Sender {
        session: SessionId,
        /// The attachment of the node that says it.
        attachment: u8,
    },
}

impl To {
    /// The node to which it is on its way.
    pub(super) fn home(self) -> Option<usize> {
        match self {
            Self::Mailbox(_) => None,
            Self::User { home, .. } => Some(home),
            Self::Sender { session, .. } => Some(home_of(session)),
        }
    }

    /// The session in whose mailbox it is.
    pub(super) fn mailbox(self) -> Option<SessionId> {
        match self {
            Self::Mailbox(id) => Some(id),
            _ => None,
        }
    }

    /// The attachment of the node that it comes from.
    pub(super) fn attachment(self) -> Option<u8> {
        match self {
            Self::Mailbox(_) => None,
            Self::User { attachment, .. } | Self::Sender { attachment, .. } => Some(attachment),
        }
    }
}

impl Flight {
    pub(super) fn new(origin: Person, receiver: Person, to: To, signal: Signal) -> Self {
        Self { origin, receiver, to, signal, number: 0, digest: 0 }.at(0)
    }

    /// The same on another way.
    pub(super) fn on(&self, to: To) -> Self {
        Self::new(self.origin, self.receiver, to, self.signal.clone()).at(self.number)
    }

    pub(super) fn at(self, number: u8) -> Self {
        let digest = digest(&(self.origin, self.to, &self.signal, number));
        Self { number, digest, ..self }
    }

    pub(super) fn is_in_queue_of(&self, other: &Self) -> bool {
        match (self.to.mailbox(), other.to.mailbox()) {
            (None, None) => (self.receiver, self.to.home()) == (other.receiver, other.to.home()),
            (own, others) => own == others,
        }
    }
}

impl fmt::Display for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Signal { session, chat, kind, .. } = &self.signal;
        write!(f, "{:?} {session:?} to {:?} {:?}: {kind:?} about {chat:?}", self.origin, self.receiver, self.to)
    }
}
