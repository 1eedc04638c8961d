//! What nodes tell each other, to the byte: words, which go from node to node, and what stands in the presence bucket.

use protocol::{Attempt, ChatId, UserName};
use tls_codec::{DeserializeBytes as _, Serialize as _, TlsDeserializeBytes, TlsSerialize, TlsSize};

use crate::signal::{NodeId, SessionId, Signal, SignalKind, Undelivered, flag};

/// The first byte of all that follows; it changes with any of it.
pub const VERSION: u8 = 1;

/// What one node tells another.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Word {
    /// [`VERSION`].
    pub version: u8,
    /// Who tells it.
    pub from: NodeId,
    /// Which of its attachments to the router's server it comes from.
    pub attachment: u32,
    /// How many words it has told this node before, since both are attached.
    pub number: u64,
    /// What it tells.
    pub body: Body,
}

/// What a [`Word`] is about.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum Body {
    /// Nothing but that no word before this one is still to come.
    #[tls_codec(discriminant = 0)]
    Beat,
    /// A session of the sender's says something to a user of the receiver's.
    #[tls_codec(discriminant = 1)]
    Signal {
        /// The user.
        to: UserName,
        /// What is said.
        signal: Signal,
    },
    /// What a session of the receiver's said to a user was not delivered.
    #[tls_codec(discriminant = 2)]
    Undelivered(Returned),
}

/// What was not delivered, in short.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Returned {
    /// Who said it.
    pub from: UserName,
    /// In which session.
    pub session: SessionId,
    /// To whom.
    pub to: UserName,
    /// The chat that it was about.
    pub chat: ChatId,
    /// Whether it is [said again](SignalKind::is_repeated).
    #[tls_codec(with = "flag")]
    pub is_repeated: bool,
    /// Why it was not delivered.
    pub why: Undelivered,
}

/// What stands in the presence bucket for a user who is online.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Presence {
    /// [`VERSION`].
    pub version: u8,
    /// The session.
    pub session: SessionId,
    /// Which of its client's log-ins it was.
    pub attempt: Attempt,
    /// The chat that its client has kept from a connection before.
    pub held: Option<ChatId>,
}

/// What stands in the presence bucket for a node, put there anew every second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Lease {
    /// [`VERSION`].
    pub version: u8,
    /// Which of its attachments it is at.
    pub attachment: u32,
}

/// Why something was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misheard {
    /// It is none of ours, or was cut short.
    #[error("it is damaged, or somebody else's")]
    Malformed,
    /// Another version of this program told it.
    #[error(
        "it has version {0} of what nodes tell each other, and this program knows {VERSION}; run the same version on all nodes"
    )]
    Version(u8),
}

macro_rules! told {
    ($($type:ident),*) => {$(
        impl $type {
            /// Its bytes. `None`: it is longer than a message of the router's server may be, which nothing of ours is.
            pub fn encode(&self) -> Option<Vec<u8>> {
                self.tls_serialize_detached().ok()
            }

            /// Reads it.
            ///
            /// # Errors
            /// [`Misheard`] when the bytes are not exactly that.
            pub fn decode(bytes: &[u8]) -> Result<Self, Misheard> {
                match bytes.first() {
                    Some(&VERSION) => Self::tls_deserialize_exact_bytes(bytes).map_err(|_| Misheard::Malformed),
                    Some(&other) => Err(Misheard::Version(other)),
                    None => Err(Misheard::Malformed),
                }
            }
        }
    )*};
}
told!(Presence, Lease);

impl Word {
    /// Its bytes.
    pub fn encode(&self) -> Option<Vec<u8>> {
        self.tls_serialize_detached().ok()
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Misheard`] when the bytes are not exactly one, or it says what only a router says to its own sessions.
    pub fn decode(bytes: &[u8]) -> Result<Self, Misheard> {
        match bytes.first() {
            Some(&VERSION) => {}
            Some(&other) => return Err(Misheard::Version(other)),
            None => return Err(Misheard::Malformed),
        }
        let word = Self::tls_deserialize_exact_bytes(bytes).map_err(|_| Misheard::Malformed)?;
        match &word.body {
            // A session is where it says that it is, or could speak for one that is elsewhere.
            Body::Signal { signal, .. } if signal.session.node != word.from => Err(Misheard::Malformed),
            Body::Signal { signal, .. }
                if matches!(signal.kind, SignalKind::Undelivered { .. } | SignalKind::Lapsed(_)) =>
            {
                Err(Misheard::Malformed)
            }
            _ => Ok(word),
        }
    }
}

impl Presence {
    /// What a session puts into the bucket.
    pub fn new(session: SessionId, attempt: Attempt, held: Option<ChatId>) -> Self {
        Self { version: VERSION, session, attempt, held }
    }
}
