//! Codes where they do not belong, and sizes that are none.

use bytes::Bytes;
use protocol::{
    Accepted, Asked, ChatHeader, ChatId, Close, CloseReason, Code, Established, List, Message, PublicKey, Request,
    Resume, ServerName, ToClient, ToServer, TooFast, limits::MAX_FRAME,
};

use super::{Acts, Moment, Trick};
use crate::hostile_relay::{
    forger::Forger,
    notes::{Link, Notes},
};

/// Before each frame come frames of all codes, about a chat that there is not.
pub(super) struct EveryCode(Forger);

impl EveryCode {
    pub(super) fn new(server: &ServerName) -> Self {
        Self(Forger::new(server))
    }
}

impl Trick for EveryCode {
    fn down(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if notes.is_logged_in(link) {
            let chat = self.0.chat();
            for frame in about(chat, &mut self.0) {
                acts.say(link, &frame);
            }
            let (header, reason) = (ChatHeader::new(chat, 0, 0), CloseReason::Failed);
            acts.say(link, &ToClient::Message(Message { header, sealed: self.0.noise(352) }));
            acts.say(link, &ToClient::ChatClosed(Close { chat, reason }));
        }
        acts.down(link, frame);
    }
}

/// Frames of all codes about the chat that there is, but for those that end it.
pub(super) struct EveryCodeInChat(Forger);

impl EveryCodeInChat {
    pub(super) fn new(server: &ServerName) -> Self {
        Self(Forger::new(server))
    }
}

impl Trick for EveryCodeInChat {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        let (Some(chat), Some(peer)) = (notes.chat(link), notes.peer(link)) else { return };
        if moment == Moment::Chatting {
            acts.say(link, &ToClient::RequestToTalk(Request { peer: peer.clone(), chat }));
            acts.say(link, &ToClient::List(List { names: vec![peer.clone()], more: true }));
            for frame in about(chat, &mut self.0) {
                acts.say(link, &frame);
            }
        }
    }
}

/// Frames about a chat, of all codes that name one and do not end it.
fn about(chat: ChatId, forger: &mut Forger) -> [ToClient; 9] {
    let key = PublicKey::from_bytes([7; 32]);
    let (key_package, welcome) = (forger.noise(2700), forger.noise(2700));
    [
        ToClient::Accept(Accepted { chat, key, key_package }),
        ToClient::Refuse(chat),
        ToClient::SessionEstablishment(Established { chat, key, welcome }),
        ToClient::UserNotFound(chat),
        ToClient::Resume(Resume { chat, expected: 7 }),
        ToClient::PeerAway(chat),
        ToClient::TooFast(TooFast { asked: Asked::RequestToTalk(chat), retry_in_ms: 0 }),
        ToClient::Resume(Resume { chat, expected: 0 }),
        ToClient::Pong,
    ]
}

/// Bytes that are no frame, sent to each client that is logged in.
pub(super) struct NoFrame(pub(super) fn() -> Vec<u8>);

impl Trick for NoFrame {
    fn moment(&mut self, _: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        if moment == Moment::LoggedIn {
            acts.down(link, (self.0)().into());
        }
    }
}

pub(super) fn wrong_direction() -> Vec<u8> {
    ToServer::Ping.encode().map(Into::into).unwrap_or_default()
}

pub(super) fn unknown_code() -> Vec<u8> {
    vec![u8::MAX]
}

pub(super) fn empty() -> Vec<u8> {
    Vec::new()
}

pub(super) fn one_byte() -> Vec<u8> {
    vec![Code::Message as u8]
}

/// Sealed frames of the greatest length.
pub(super) struct Largest(Forger);

impl Largest {
    pub(super) fn new(server: &ServerName) -> Self {
        Self(Forger::new(server))
    }
}

impl Trick for Largest {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        let (Some(chat), Some(user)) = (notes.chat(link), notes.user(link)) else { return };
        if moment == Moment::Chatting {
            let sealed = self.0.noise(MAX_FRAME - ChatHeader::AAD_LEN - 2);
            for (chat, counter) in [(self.0.chat(), 0), (chat, notes.expected(chat, user))] {
                let header = ChatHeader::new(chat, counter, 0);
                acts.say(link, &ToClient::Message(Message { header, sealed: sealed.clone() }));
            }
        }
    }
}

/// A length that is not that of what is sent.
pub(super) struct WrongLength {
    pub(super) high: bool,
}

impl Trick for WrongLength {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        if self.high && moment == Moment::Chatting {
            // All that comes afterwards is taken for its rest.
            acts.raw(link, vec![0xff, 0xff, Code::Message as u8]);
        } else if !self.high
            && moment == Moment::LoggedIn
            && let Some(user) = notes.user(link)
            && let Ok(frame) = ToClient::RequestToTalk(Request { peer: user.clone(), chat: self.chat() }).encode()
        {
            acts.raw(link, [&[0, 1], &frame[..]].concat());
        }
    }
}

impl WrongLength {
    fn chat(&self) -> ChatId {
        ChatId::from_bytes([0; 16])
    }
}
