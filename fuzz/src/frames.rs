//! Frames made up from a script: of every code, about a few users and chats, and some of them changed.

use bytes::Bytes;
use protocol::{
    Accept, Accepted, Asked, Attempt, ChatHeader, ChatId, ClientId, Close, CloseReason, Establish, Established, Held,
    List, Login, Message, Page, PublicKey, Request, Resume, ServerError, ToClient, ToServer, TooFast, UserName,
};

use crate::script::{Script, edited};

pub(crate) const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

pub(crate) const REASONS: [CloseReason; 6] = [
    CloseReason::Left,
    CloseReason::CalledOff,
    CloseReason::Expired,
    CloseReason::Busy,
    CloseReason::Failed,
    CloseReason::Overrun,
];

pub(crate) const ERRORS: [ServerError; 7] = [
    ServerError::UnknownUser,
    ServerError::Replaced,
    ServerError::Removed,
    ServerError::ShuttingDown,
    ServerError::Idle,
    ServerError::Protocol,
    ServerError::Unavailable,
];

/// Of four chats.
pub(crate) fn chat(script: &mut Script<'_>) -> ChatId {
    numbered(script.choice(4))
}

pub(crate) fn numbered(chat: usize) -> ChatId {
    ChatId::from_bytes([u8::try_from(chat).unwrap(); 16])
}

/// Of [`USERS`].
pub(crate) fn user(script: &mut Script<'_>) -> UserName {
    name(script.pick(&USERS))
}

pub(crate) fn name(name: &str) -> UserName {
    name.parse().unwrap()
}

/// Each user's registered key.
pub(crate) fn key(user: &UserName) -> PublicKey {
    PublicKey::from_bytes([user.as_str().as_bytes()[0]; 32])
}

pub(crate) fn reason(script: &mut Script<'_>) -> CloseReason {
    script.pick(&REASONS)
}

/// What a client sends: as a rule a frame, now and then one that is changed, and any bytes.
pub(crate) fn from_client(script: &mut Script<'_>) -> Bytes {
    match script.choice(16) {
        14 => edited(&to_server(script).encode().unwrap(), script).into(),
        15 => Bytes::copy_from_slice(script.bytes()),
        code => to_server_of(code, script).encode().unwrap(),
    }
}

fn to_server(script: &mut Script<'_>) -> ToServer {
    let code = script.choice(14);
    to_server_of(code, script)
}

fn to_server_of(code: usize, script: &mut Script<'_>) -> ToServer {
    match code {
        0 => ToServer::Exit,
        1 => ToServer::List(page(script)),
        2 => ToServer::RequestToTalk(Request { peer: user(script), chat: chat(script) }),
        3 => ToServer::Accept(Accept { chat: chat(script), key_package: sealed(script) }),
        4 => ToServer::Refuse(chat(script)),
        5 | 11 | 12 => ToServer::Message(message(chat(script), script)),
        6 => ToServer::SessionEstablishment(Establish { chat: chat(script), welcome: sealed(script) }),
        7 => ToServer::ChatClosed(Close { chat: chat(script), reason: reason(script) }),
        8 => ToServer::Login(login(user(script), script)),
        9 => ToServer::Ping,
        _ => ToServer::Resume(Resume { chat: chat(script), expected: script.number() }),
    }
}

/// As it comes, with or without a chat from before: one of four log-ins of one of two clients. One byte says all that.
pub(crate) fn login(user: UserName, script: &mut Script<'_>) -> Login {
    let how = script.byte();
    let attempt = Attempt { client: ClientId::from_bytes([how >> 1 & 1; 16]), number: u32::from(how >> 2 & 3) };
    let held = (how & 1 == 1)
        .then(|| Held { peer: self::user(script), resume: Resume { chat: chat(script), expected: script.number() } });
    Login { user, attempt, held }
}

/// What a server sends about `chat`, or about another: as a rule a frame, now and then one that is changed, and any bytes.
pub(crate) fn from_server(about: ChatId, script: &mut Script<'_>) -> Bytes {
    match script.choice(16) {
        14 => edited(&to_client(about, script).encode().unwrap_or_default(), script).into(),
        15 => Bytes::copy_from_slice(script.bytes()),
        code => to_client_of(code, about, script).encode().unwrap_or_default(),
    }
}

fn to_client(about: ChatId, script: &mut Script<'_>) -> ToClient {
    let code = script.choice(14);
    to_client_of(code, about, script)
}

fn chat_or(about: ChatId, script: &mut Script<'_>) -> ChatId {
    if script.flag() { chat(script) } else { about }
}

fn to_client_of(code: usize, about: ChatId, script: &mut Script<'_>) -> ToClient {
    match code {
        0 => {
            let names = (0..script.choice(4)).map(|_| user(script)).collect();
            ToClient::List(List { names, more: script.flag() })
        }
        1 => ToClient::RequestToTalk(Request { chat: chat_or(about, script), peer: user(script) }),
        2 => ToClient::Accept(Accepted {
            chat: chat_or(about, script),
            key: any_key(script),
            key_package: sealed(script),
        }),
        3 => ToClient::Refuse(chat_or(about, script)),
        4 => {
            let chat = chat_or(about, script);
            ToClient::Message(message(chat, script))
        }
        5 => ToClient::SessionEstablishment(Established {
            chat: chat_or(about, script),
            key: any_key(script),
            welcome: sealed(script),
        }),
        6 => ToClient::UserNotFound(chat_or(about, script)),
        7 => ToClient::ChatClosed(Close { chat: chat_or(about, script), reason: reason(script) }),
        8 => ToClient::LoggedIn("chat.example".parse().unwrap()),
        9 => ToClient::Error(script.pick(&ERRORS)),
        10 => ToClient::Pong,
        13 => {
            let asked = if script.flag() { Asked::List } else { Asked::RequestToTalk(chat_or(about, script)) };
            ToClient::TooFast(TooFast { asked, retry_in_ms: u32::from(script.byte()) })
        }
        11 => ToClient::PeerAway(chat_or(about, script)),
        _ => ToClient::Resume(Resume { chat: chat_or(about, script), expected: script.number() }),
    }
}

fn any_key(script: &mut Script<'_>) -> PublicKey {
    PublicKey::from_bytes([script.byte(); 32])
}

fn page(script: &mut Script<'_>) -> Page {
    let part = |text: &str| text.parse().unwrap();
    let parts = ["", "a", "bob", "z"];
    Page { prefix: part(script.pick(&parts)), after: part(script.pick(&parts)) }
}

fn message(chat: ChatId, script: &mut Script<'_>) -> Message {
    Message { header: ChatHeader::new(chat, script.number(), script.number()), sealed: sealed(script) }
}

/// Bytes that nobody here looks into: one that says something, and up to a frame of zeros.
fn sealed(script: &mut Script<'_>) -> Bytes {
    let size = match script.byte() {
        255 => 65_484,
        254 => 65_485,
        size => usize::from(size) + 1,
    };
    vec![0; size].into()
}
