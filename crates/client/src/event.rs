use std::fmt;

use protocol::{NameError, Text};
use serde::{Serialize, Serializer};

/// What a user gets to know, in the form that the JSON face prints.
///
/// Serialized with the event's name as `event`; texts of other people are as they came, so a face that writes to a
/// terminal strips them first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A connection to the server is being made, to log in.
    Connecting,
    /// The connection stands and the server has proved who it is; it is being asked to let the user in.
    Connected,
    /// The server knows the user, and the user's client trusts the server.
    LoggedIn {
        /// The user's name.
        user: String,
        /// The server's name, as its certificate bears it.
        server: String,
        /// Key exchange of the TLS connection.
        group: String,
        /// Cipher suite of the TLS connection.
        suite: String,
    },
    /// A page of the online list.
    Users {
        /// Sorted names, oneself left out.
        users: Vec<String>,
        /// Whether there are more after the last.
        more: bool,
    },
    /// Somebody asks to talk.
    Request {
        /// Who.
        from: String,
    },
    /// One's request to talk is on its way.
    Calling {
        /// Who is asked.
        peer: String,
    },
    /// One's request was refused.
    Refused {
        /// By whom.
        peer: String,
    },
    /// One's request reached nobody: unknown, not online, busy, or oneself.
    UserNotFound {
        /// Who was asked.
        peer: String,
    },
    /// A request, one's own or the peer's, ended before it was answered.
    RequestEnded {
        /// The other user.
        peer: String,
        /// Why.
        reason: RequestEnding,
    },
    /// The two clients share keys that the server does not have, and each has checked the other's.
    ChatStarted {
        /// The other user.
        peer: String,
        /// The MLS cipher suite.
        suite: String,
        /// 60 digits, the same on both sides.
        safety_number: String,
        /// `new`, `pinned` or `verified`.
        #[serde(serialize_with = "write_trust")]
        trust: identity::Trust,
    },
    /// The peer said something.
    Message {
        /// The peer.
        from: String,
        /// What was said, as it came.
        #[serde(serialize_with = "write_text")]
        text: Text,
        /// Its counter in the peer's stream.
        n: u64,
    },
    /// One's message was sealed and sent.
    Sent {
        /// Its counter in one's stream.
        n: u64,
    },
    /// All of one's messages up to a counter are with the peer's client.
    Delivered {
        /// The counter of the last of them.
        n: u64,
    },
    /// The peer's client has not confirmed so much that one's messages wait.
    PeerBehind {
        /// The peer.
        peer: String,
    },
    /// One's messages wait no longer.
    PeerCaughtUp {
        /// The peer.
        peer: String,
    },
    /// The peer's connection is gone; the chat waits for it.
    PeerAway {
        /// The peer.
        peer: String,
    },
    /// The peer's connection is back.
    PeerBack {
        /// The peer.
        peer: String,
    },
    /// The keys of the chat were renewed.
    Renewed {
        /// The group's epoch, one more with each renewal.
        epoch: u64,
    },
    /// The chat, or the attempt to start one, is over.
    ChatClosed {
        /// The other user.
        peer: String,
        /// Why.
        reason: Ending,
        /// How many of one's messages were not confirmed by the peer's client.
        undelivered: u64,
    },
    /// The user noted that the peer's safety number is the right one.
    Verified {
        /// The peer.
        peer: String,
    },
    /// The user let go of a pinned key: the next chat pins the one that there is then.
    Forgotten {
        /// Whose key it was.
        peer: String,
    },
    /// The server has not answered for a while. The connection may be dead; what is said meanwhile waits.
    ServerSilent,
    /// The server that was silent has sent something.
    ServerHeard,
    /// The connection to the server is gone, and another will be tried.
    Reconnecting {
        /// Milliseconds until then.
        in_ms: u64,
    },
    /// The user is online again.
    Reconnected,
    /// The user is no longer online.
    LoggedOut,
    /// Something did not go as it was meant to.
    Error {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
        /// Whose doing it is or whom it is about, where that is another user.
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
    },
}

/// Why a chat ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// One of the two said goodbye, inside the seal.
    Goodbye,
    /// The server says that the peer is gone, or the connection to the server is. No goodbye came.
    Lost,
    /// Something was not as it has to be.
    Error,
}

/// Why a request to talk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestEnding {
    /// Nobody answered in time.
    Expired,
    /// Who asked took it back.
    CalledOff,
    /// Who asked is gone.
    Lost,
}

/// What kind of thing went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The user name or the password is empty.
    BlankField,
    /// The server has no such user, or has another key for the name.
    UnknownUser,
    /// The password does not open the key file.
    WrongPassword,
    /// One is in a chat, or a request is pending.
    Busy,
    /// What was typed needs a chat, or a request, and there is none.
    NotInChat,
    /// The peer's key is not the one that was pinned.
    KeyChanged,
    /// Not a name that a user can have.
    BadName,
    /// More than a message can hold.
    TooLong,
    /// The server could not prove that it is the one it should be.
    UntrustedServer,
    /// The server cannot be reached, or the connection to it ended.
    Unreachable,
    /// A newer log-in of the same user took over.
    Replaced,
    /// The server or the peer did something that the protocol does not allow.
    Protocol,
    /// A line was not a command that there is.
    BadCommand,
    /// A file of the profile is missing, damaged or cannot be written.
    BadFile,
    /// The server answers no more of what was asked for in a while: a request if a peer is named, which is then over,
    /// otherwise a list.
    TooFast,
}

impl ErrorCode {
    /// The code as programs see it, in snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlankField => "blank_field",
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::Busy => "busy",
            Self::NotInChat => "not_in_chat",
            Self::KeyChanged => "key_changed",
            Self::BadName => "bad_name",
            Self::TooLong => "too_long",
            Self::UntrustedServer => "untrusted_server",
            Self::Unreachable => "unreachable",
            Self::Replaced => "replaced",
            Self::Protocol => "protocol",
            Self::BadCommand => "bad_command",
            Self::BadFile => "bad_file",
            Self::TooFast => "too_fast",
        }
    }
}

/// Why the client cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what happened, whose doing it is, what to do next.
    pub message: String,
}

impl Failure {
    /// A failure of this kind, described by `message`.
    pub fn new(code: ErrorCode, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        let code = match error {
            NameError::Blank => ErrorCode::BlankField,
            NameError::Bad | NameError::BadServer => ErrorCode::BadName,
        };
        Self::new(code, error)
    }
}

impl From<Failure> for Event {
    fn from(Failure { code, message }: Failure) -> Self {
        Self::Error { code, message, peer: None }
    }
}

fn write_text<S: Serializer>(text: &Text, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text.as_str())
}

fn write_trust<S: Serializer>(trust: &identity::Trust, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match trust {
        identity::Trust::New => "new",
        identity::Trust::Pinned => "pinned",
        identity::Trust::Verified => "verified",
    })
}
