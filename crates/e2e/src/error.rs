use std::fmt;

use openmls::{
    framing::errors::{MessageDecryptionError, SecretTreeError},
    group::{ProcessMessageError, ValidationError},
};

/// Why a chat could not start or cannot go on.
///
/// Every error is final: an [`Invitation`](crate::Invitation) is used up by it, and a [`Chat`](crate::Chat) has
/// wiped its keys. No variant holds anything secret, nor anything that came from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is garbled, cut short, or its signature or seal does not hold: changed on its way, or made so.
    #[error(
        "the {0} is not genuine: the server changed it, or the other side's program made it so; start a new chat, and if it happens again ask the other side by another way"
    )]
    Forged(Part),
    /// It is genuine, but of somebody else than the server said.
    #[error(
        "the {0} is not from the person that the server named: the server or the other side is not to be trusted; ask the other side by another way before you start a new chat"
    )]
    WrongMember(Part),
    /// It is for another chat than the one it came with.
    #[error("the {0} is for another chat: the server or the other side's program mixed up two; start a new chat")]
    WrongChat(Part),
    /// The frame's header is not the one that the sender sealed.
    #[error(
        "the head of a message is not the one that was sealed: the server changed it, or the other side's program made it so; start a new chat, and if it happens again ask the other side by another way"
    )]
    Header,
    /// One's own frame came back.
    #[error(
        "one of your own messages came back: the server or the other side's program sent it; start a new chat, and if it happens again ask the other side by another way"
    )]
    Reflected,
    /// A frame is sealed under keys that are gone, since it was opened before, or a later one was, or that are not there
    /// yet, since frames before it are missing.
    #[error(
        "a message came a second time, too late or too early: the server or the other side's program is out of step; start a new chat, and if it happens again ask the other side by another way"
    )]
    OutOfReach,
    /// The other client holds the right key, and did what a client never does.
    #[error("the other side's program broke the rules: {0}; ask them to bring theirs up to date, and start again")]
    Breach(Breach),
    /// The two have one and the same key, so that nothing would tell them apart.
    #[error("both sides have the same key; one of them needs a key of their own")]
    SameKey,
    /// The program passed a header that is not of this chat.
    #[error("a message was to be sealed for another chat; this is a fault in this program, please report it")]
    Misuse,
    /// Something that can only fail here failed; the text says at which step.
    #[error("{0} failed; this is a fault in this program, please report it")]
    Local(&'static str),
    /// An error before this one ended the chat.
    #[error("the chat is over; start a new one")]
    Over,
}

/// What was not as it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The accepter's key package.
    KeyPackage,
    /// The caller's welcome.
    Welcome,
    /// A sealed frame.
    Frame,
}

/// A rule that the other client broke, shown by something with that client's genuine signature on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// A ciphersuite or MLS version other than the one there is.
    #[error("it chose other cryptography")]
    Suite,
    /// Capabilities, extensions, a lifetime or an encryption key that this version does not have.
    #[error("its key has properties that this version does not know")]
    Profile,
    /// A group that is not new and of exactly the two.
    #[error("its group is not a new one of two")]
    Members,
    /// A proposal, alone or in a commit: renewals propose nothing.
    #[error("it tried to change the chat's group")]
    Proposal,
    /// A commit that renews no key.
    #[error("it announced a renewal without new keys")]
    NoUpdate,
    /// A commit that changes its sender's name or signature key.
    #[error("it changed its name or key")]
    Identity,
    /// A commit that does not lead to a valid group.
    #[error("its renewal does not work out")]
    Commit,
    /// What is inside the seal is no [`Content`](protocol::Content).
    #[error("it sealed something that is no message")]
    Content,
}

/// Who an [`Error`] points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// The server, which has the frames in hand on their way, or the other client: nothing shows which.
    Either,
    /// The other client, proved by a signature with the key that the server gave out as its. Whose key that is shows when
    /// safety numbers are compared.
    Peer,
    /// This client.
    Own,
}

impl Error {
    /// Who is to blame, as far as can be told.
    pub fn culprit(&self) -> Culprit {
        match self {
            Self::Forged(_)
            | Self::WrongMember(_)
            | Self::WrongChat(_)
            | Self::Header
            | Self::Reflected
            | Self::OutOfReach => Culprit::Either,
            Self::Breach(_) => Culprit::Peer,
            Self::SameKey | Self::Misuse | Self::Local(_) | Self::Over => Culprit::Own,
        }
    }
}

impl From<Breach> for Error {
    fn from(breach: Breach) -> Self {
        Self::Breach(breach)
    }
}

/// OpenMLS's reasons for not opening a frame, by culprit. Its texts are dropped: they are not written for users.
impl<S> From<ProcessMessageError<S>> for Error {
    fn from(error: ProcessMessageError<S>) -> Self {
        match error {
            ProcessMessageError::ValidationError(error) => match error {
                ValidationError::WrongEpoch
                | ValidationError::NoPastEpochData
                | ValidationError::UnableToDecrypt(MessageDecryptionError::SecretTreeError(
                    SecretTreeError::TooDistantInThePast
                    | SecretTreeError::SecretReuseError
                    | SecretTreeError::TooDistantInTheFuture,
                )) => Self::OutOfReach,
                _ => Self::Forged(Part::Frame),
            },
            // Staging comes after the signature was verified.
            ProcessMessageError::InvalidCommit(_) => Breach::Commit.into(),
            ProcessMessageError::LibraryError(_)
            | ProcessMessageError::StorageError(_)
            | ProcessMessageError::GroupStateError(_) => Self::Local("opening a message"),
            ProcessMessageError::IncompatibleWireFormat
            | ProcessMessageError::UnauthorizedExternalApplicationMessage
            | ProcessMessageError::UnauthorizedExternalCommitMessage
            | ProcessMessageError::UnsupportedProposalType => Self::Forged(Part::Frame),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyPackage => "other side's key package",
            Self::Welcome => "other side's welcome",
            Self::Frame => "message",
        })
    }
}
