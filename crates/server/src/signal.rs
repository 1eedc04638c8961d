//! What sessions say to each other.

use std::fmt;

use bytes::Bytes;
use protocol::{ChatId, CloseReason, PublicKey, UserName, opaque};
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

/// Tells the processes apart that share their users: drawn at random by each when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct NodeId(u64);

impl NodeId {
    /// A process that is the only one.
    pub const ALONE: Self = Self(0);

    /// The node of this number.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }
}

impl fmt::Display for NodeId {
    /// 16 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Tells sessions apart, also those that one user has one after the other. Which of them is newer it does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct SessionId {
    /// Where it is.
    pub node: NodeId,
    /// Which of that node's; no other session has had it since the node started.
    pub number: u64,
}

impl SessionId {
    /// The session of this number, in a process that is the only one.
    pub const fn new(number: u64) -> Self {
        Self { node: NodeId::ALONE, number }
    }
}

/// What one session says to another, through the router.
#[derive(Clone, Debug, PartialEq, Eq, Hash, TlsSize, TlsSerialize, TlsDeserializeBytes)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum SignalKind {
    /// The sender's user asks the receiver's to talk.
    #[tls_codec(discriminant = 0)]
    Request {
        /// The sender's registered key.
        key: PublicKey,
    },
    /// The receiver's request cannot be answered: the sender's user is not free.
    #[tls_codec(discriminant = 1)]
    Unavailable,
    /// The sender's user refuses the receiver's request.
    #[tls_codec(discriminant = 2)]
    Refuse,
    /// The sender's user accepts the receiver's request.
    #[tls_codec(discriminant = 3)]
    Accept {
        /// The sender's registered key.
        key: PublicKey,
        /// The key package that the sender's client made.
        #[tls_codec(with = "opaque")]
        key_package: Bytes,
    },
    /// The caller's client lets the accepter's into the group.
    #[tls_codec(discriminant = 4)]
    Establish {
        /// The caller's registered key.
        key: PublicKey,
        /// The welcome that the caller's client made.
        #[tls_codec(with = "opaque")]
        welcome: Bytes,
    },
    /// A whole sealed frame, to be passed on as it is.
    #[tls_codec(discriminant = 5)]
    Message(#[tls_codec(with = "opaque")] Bytes),
    /// The sender takes its request back, or lets go of a chat whose line is broken. It may get lost: a request that is
    /// not taken back expires, and who waits for a broken line asks.
    #[tls_codec(discriminant = 6)]
    CallOff(CloseReason),
    /// The sender's side of the chat, or of the answer to a request, is over.
    #[tls_codec(discriminant = 7)]
    Close(CloseReason),
    /// The sender's connection is gone, and its client may come back with the chat.
    #[tls_codec(discriminant = 8)]
    Away,
    /// The sender wants the line of the chat opened again: its client expects this counter next.
    #[tls_codec(discriminant = 9)]
    Ask(u64),
    /// The line is open at the sender, who was asked; its client expects this counter next.
    #[tls_codec(discriminant = 10)]
    Answer(u64),
    /// The sender has the chat, or still asks for it, and wants to hear if the receiver knows nothing of it.
    #[tls_codec(discriminant = 11)]
    Check,
    /// What the receiver has said about the chat did not reach the sender's user. It comes from the router, of a node
    /// where that user was looked for.
    #[tls_codec(discriminant = 12)]
    Undelivered {
        /// Whether what was said [is said again](Self::is_repeated).
        #[tls_codec(with = "flag")]
        is_repeated: bool,
        /// Why.
        why: Undelivered,
    },
    /// What sessions of this node have said may have been lost, whoever they are and whatever it was about. It comes from
    /// the receiver's own router; user, session and chat of such a signal say nothing.
    #[tls_codec(discriminant = 13)]
    Lapsed(NodeId),
}

/// A byte that is 1 or 0.
pub(crate) mod flag {
    use std::io::Write;

    use tls_codec::{DeserializeBytes as _, Error, Serialize as _};

    pub(crate) fn tls_serialized_len(_: &bool) -> usize {
        1
    }

    pub(crate) fn tls_serialize<W: Write>(flag: &bool, writer: &mut W) -> Result<usize, Error> {
        u8::from(*flag).tls_serialize(writer)
    }

    pub(crate) fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(bool, &[u8]), Error> {
        match u8::tls_deserialize_bytes(bytes)? {
            (0, rest) => Ok((false, rest)),
            (1, rest) => Ok((true, rest)),
            _ => Err(Error::InvalidInput),
        }
    }
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
            | Self::Answer(_)
            | Self::Undelivered { .. }
            | Self::Lapsed(_) => true,
        }
    }

    /// Whether it is said again if it is not heard, so that no harm is done when there is no room for it.
    pub fn is_repeated(&self) -> bool {
        matches!(self, Self::Ask(_) | Self::Check)
    }
}

/// Why a signal was not put into a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum Undelivered {
    /// Nobody of that name is online.
    Absent = 0,
    /// The mailbox has no room.
    Full = 1,
    /// Whether the user is online cannot be known now, or nothing gets there: this node is cut off from the others.
    Unreachable = 2,
}
