use bytes::Bytes;
use tls_codec::{DeserializeBytes, Error, Serialize, Size, TlsDeserializeBytes, TlsSerialize, TlsSize, TlsVecU16};

use crate::{
    Attempt, ChatHeader, ChatId, ClientId, Code, DecodeError, NamePrefix, PROTOCOL_VERSION, PublicKey, ServerName,
    UserName,
    limits::{MAX_FRAME, MAX_PAGE},
    vector::opaque,
};

/// A frame that a client sends. The variants bear the names of [`Code`], which has their layouts.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum ToServer {
    /// The user logs off.
    #[tls_codec(discriminant = "Code::Exit")]
    Exit,
    /// Asks for a page of the online list (S4).
    #[tls_codec(discriminant = "Code::List")]
    List(Page),
    /// Asks an online user to talk (S6).
    #[tls_codec(discriminant = "Code::RequestToTalk")]
    RequestToTalk(Request),
    /// Accepts a request, with a key package made for this chat alone.
    #[tls_codec(discriminant = "Code::Accept")]
    Accept(Accept),
    /// Refuses a request.
    #[tls_codec(discriminant = "Code::Refuse")]
    Refuse(ChatId),
    /// A sealed frame for the peer (S9).
    #[tls_codec(discriminant = "Code::Message")]
    Message(Message),
    /// Lets the accepter into the chat's group (S8).
    #[tls_codec(discriminant = "Code::SessionEstablishment")]
    SessionEstablishment(Establish),
    /// Ends a chat, or a request that has not been answered, and stays logged in.
    #[tls_codec(discriminant = "Code::ChatClosed")]
    ChatClosed(Close),
    /// Says whose key the connection has proved to hold, which log-in of which client it is, and which chat the client has
    /// from a connection before.
    #[tls_codec(discriminant = "Code::Login")]
    Login(Login),
    /// Shows that the client is there.
    #[tls_codec(discriminant = "Code::Ping")]
    Ping,
    /// The client's part in opening the line of a chat again: what it expects next (B3).
    #[tls_codec(discriminant = "Code::Resume")]
    Resume(Resume),
}

/// A frame that the server sends. The variants bear the names of [`Code`], which has their layouts.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum ToClient {
    /// A page of the online list.
    #[tls_codec(discriminant = "Code::List")]
    List(List),
    /// Somebody asks to talk.
    #[tls_codec(discriminant = "Code::RequestToTalk")]
    RequestToTalk(Request),
    /// The request was accepted; here is the accepter's registered key (S7).
    #[tls_codec(discriminant = "Code::Accept")]
    Accept(Accepted),
    /// The request was refused.
    #[tls_codec(discriminant = "Code::Refuse")]
    Refuse(ChatId),
    /// A sealed frame from the peer.
    #[tls_codec(discriminant = "Code::Message")]
    Message(Message),
    /// The caller lets this client into the chat's group; here is the caller's registered key (S7, S8).
    #[tls_codec(discriminant = "Code::SessionEstablishment")]
    SessionEstablishment(Established),
    /// The request reached nobody: unknown, not online, busy, or oneself (S6).
    #[tls_codec(discriminant = "Code::UserNotFound")]
    UserNotFound(ChatId),
    /// The chat, or the request that was to become one, is over.
    #[tls_codec(discriminant = "Code::ChatClosed")]
    ChatClosed(Close),
    /// The log-in succeeded; the server says its name.
    #[tls_codec(discriminant = "Code::LoggedIn")]
    LoggedIn(ServerName),
    /// Why the server ends the connection.
    #[tls_codec(discriminant = "Code::Error")]
    Error(ServerError),
    /// The answer to a ping.
    #[tls_codec(discriminant = "Code::Pong")]
    Pong,
    /// The line of a chat is open again: what the peer expects next (B3).
    #[tls_codec(discriminant = "Code::Resume")]
    Resume(Resume),
    /// The line of a chat is broken: the peer is not there, and what is sent to it is dropped.
    #[tls_codec(discriminant = "Code::PeerAway")]
    PeerAway(ChatId),
    /// What the client has asked for is not done: it asks for more of it than the server does in a time.
    #[tls_codec(discriminant = "Code::TooFast")]
    TooFast(TooFast),
}

macro_rules! wire {
    ($($frame:ty),*) => {$(
        impl $frame {
            /// The frame's bytes, without the length that [`crate::frame_codec`] puts before them.
            ///
            /// # Errors
            /// [`DecodeError::Malformed`] when a field is empty that may not be, or the whole is over [`MAX_FRAME`].
            pub fn encode(&self) -> Result<Bytes, DecodeError> {
                let bytes = self.tls_serialize_detached()?;
                if bytes.len() > MAX_FRAME {
                    return Err(DecodeError::Malformed);
                }
                Ok(bytes.into())
            }

            /// Reads one frame, all of it.
            ///
            /// # Errors
            /// [`DecodeError`] when the bytes are not exactly one frame of this direction.
            pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
                Ok(Self::tls_deserialize_exact_bytes(bytes)?)
            }
        }
    )*};
}
wire!(ToServer, ToClient);

/// Who logs in.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Login {
    /// The user.
    pub user: UserName,
    /// Which log-in of which client it is.
    pub attempt: Attempt,
    /// The chat that the client has kept from a connection before.
    pub held: Option<Held>,
}

impl Login {
    /// The first log-in of a client, which has no chat from before.
    pub const fn first(user: UserName, client: ClientId) -> Self {
        Self { user, attempt: Attempt::first(client), held: None }
    }
}

/// A chat that a client has kept from a connection before, with whom it is.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Held {
    /// The other user.
    pub peer: UserName,
    /// Where it stands.
    pub resume: Resume,
}

/// Where one side of a chat stands. Nobody vouches for it: the acknowledgements that count are in sealed frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Resume {
    /// The chat.
    pub chat: ChatId,
    /// The counter that this side expects from the other next.
    pub expected: u64,
}

/// Which part of the online list is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Default, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Page {
    /// Names that start with this.
    pub prefix: NamePrefix,
    /// Names that sort after this; empty for the first page.
    pub after: NamePrefix,
}

/// Up to [`MAX_PAGE`] names of users who are online, sorted, without the one who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The names.
    pub names: Vec<UserName>,
    /// Whether there are more after the last.
    pub more: bool,
}

/// A request to talk: to the server with the name of the one who is asked, to a client with the name of who asks.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Request {
    /// The other user.
    pub peer: UserName,
    /// What the chat is to be called.
    pub chat: ChatId,
}

/// The accepter's key package, as it leaves the accepter.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Accept {
    /// The chat that was asked for.
    pub chat: ChatId,
    /// An MLS `KeyPackage` (RFC 9420 section 10).
    #[tls_codec(with = "opaque")]
    pub key_package: Bytes,
}

/// The accepter's key package, as it reaches the caller.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Accepted {
    /// The chat that was asked for.
    pub chat: ChatId,
    /// The key that is registered for the accepter.
    pub key: PublicKey,
    /// An MLS `KeyPackage` (RFC 9420 section 10).
    #[tls_codec(with = "opaque")]
    pub key_package: Bytes,
}

/// The caller's welcome, as it leaves the caller.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Establish {
    /// The chat, and the group's id.
    pub chat: ChatId,
    /// An MLS `Welcome` with the ratchet tree inside (RFC 9420 section 12.4.3.1).
    #[tls_codec(with = "opaque")]
    pub welcome: Bytes,
}

/// The caller's welcome, as it reaches the accepter.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Established {
    /// The chat, and the group's id.
    pub chat: ChatId,
    /// The key that is registered for the caller.
    pub key: PublicKey,
    /// An MLS `Welcome` with the ratchet tree inside (RFC 9420 section 12.4.3.1).
    #[tls_codec(with = "opaque")]
    pub welcome: Bytes,
}

/// A sealed frame. The server reads the header's chat id and passes all of it on as it came.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize)]
pub struct Message {
    /// In clear, and authenticated by what is sealed.
    pub header: ChatHeader,
    /// An MLS `MLSMessage` that holds a `PrivateMessage` (RFC 9420 section 6.3).
    #[tls_codec(with = "opaque")]
    pub sealed: Bytes,
}

impl DeserializeBytes for Message {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (header, rest) = ChatHeader::tls_deserialize_bytes(bytes)?;
        if header.version != PROTOCOL_VERSION {
            return Err(Error::UnknownValue(header.version.into()));
        }
        let (sealed, rest) = opaque::tls_deserialize_bytes(rest)?;
        Ok((Self { header, sealed }, rest))
    }
}

/// The end of a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Close {
    /// Which chat.
    pub chat: ChatId,
    /// Why.
    pub reason: CloseReason,
}

/// Why a chat, or a request for one, ended, as the server tells it. Nothing here is authenticated end to end: whether
/// the peer said goodbye stands inside the seal alone (B5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum CloseReason {
    /// The peer logged off, or its connection ended, or it has closed the chat in answer to a goodbye.
    Left = 0,
    /// The caller took the request back.
    CalledOff = 1,
    /// The request, or the set-up of the chat, took too long. Only the server says this.
    Expired = 2,
    /// The user had been asked to talk when this request came in. Only the server says this.
    Busy = 3,
    /// A client could not go on: a key, a package, a welcome or a sealed frame was not as it has to be.
    Failed = 4,
    /// A client sent more than its peer could take in. Only the server says this.
    Overrun = 5,
}

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum ServerError {
    /// The key of this connection is not registered for the name that it gave, be the name known or not (S13).
    UnknownUser = 1,
    /// A newer log-in of the same user took over.
    Replaced = 2,
    /// The operator removed the user or registered another key.
    Removed = 3,
    /// The server is being stopped.
    ShuttingDown = 4,
    /// Nothing came for longer than the server waits.
    Idle = 5,
    /// A frame was malformed, or not allowed in the state that it came in.
    Protocol = 6,
    /// The server could not look the user up.
    Unavailable = 7,
}

/// What a client asked for too often, and when to ask for it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct TooFast {
    /// What was not done.
    pub asked: Asked,
    /// Milliseconds after which it would have been done.
    pub retry_in_ms: u32,
}

/// What a server does for a client only so often, by the code of the frame that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum Asked {
    /// A page of the online list.
    #[tls_codec(discriminant = "Code::List")]
    List,
    /// A request to talk, which was to become this chat.
    #[tls_codec(discriminant = "Code::RequestToTalk")]
    RequestToTalk(ChatId),
}

impl Size for List {
    fn tls_serialized_len(&self) -> usize {
        let names: usize = self.names.iter().map(Size::tls_serialized_len).sum();
        names.saturating_add(3)
    }
}

impl Serialize for List {
    fn tls_serialize<W: std::io::Write>(&self, writer: &mut W) -> Result<usize, Error> {
        if self.names.len() > MAX_PAGE {
            return Err(Error::InvalidVectorLength);
        }
        let names = tls_codec::TlsSliceU16(&self.names).tls_serialize(writer)?;
        Ok(names.saturating_add(u8::from(self.more).tls_serialize(writer)?))
    }
}

impl DeserializeBytes for List {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (names, rest) = TlsVecU16::<UserName>::tls_deserialize_bytes(bytes)?;
        let (more, rest) = u8::tls_deserialize_bytes(rest)?;
        if names.len() > MAX_PAGE || more > 1 {
            return Err(Error::InvalidInput);
        }
        Ok((Self { names: names.into_vec(), more: more == 1 }, rest))
    }
}
