//! What a client makes of what it is told. No cryptography: what is sealed bears the names of who wrote it and for
//! whom.

use std::fmt;

use bytes::Bytes;
use protocol::{
    Accept, Accepted, Asked, Attempt, ChatHeader, ChatId, Close, CloseReason, Established, Held, Message, Request,
    Resume, ServerError, ToClient, ToServer, TooFast,
};

use super::{Relay, world::Person};

/// A client: what it takes part in, as far as it knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Client {
    pub(super) talk: Option<Talk>,
    /// Its last log-in.
    pub(super) attempt: Option<Attempt>,
    /// Whether it has said something that neither has come to the peer's client nor will be said again: so far nobody
    /// has told it where to start from. Noted where there are nodes.
    pub(super) unheard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Talk {
    pub(super) stage: Stage,
    pub(super) peer: Person,
    pub(super) chat: ChatId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Calling,
    Ringing,
    /// Accepted, and waits for the welcome.
    Awaiting,
    /// Was accepted, and is to send the welcome.
    Invited,
    Chatting {
        /// Whether frames pass, as far as the client knows.
        open: bool,
        /// Whether it was told that the peer is away, and has yet to say what it expects.
        owes: bool,
    },
}

/// Who wrote something, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) from: u8,
    pub(super) meant: u8,
}

impl Mark {
    pub(super) fn new(from: Person, meant: Option<Person>) -> Self {
        Self { from: from.digit(), meant: meant.map_or(0, Person::digit) }
    }

    pub(super) fn bytes(self) -> Bytes {
        Bytes::copy_from_slice(&[self.from, self.meant])
    }

    pub(super) fn counter(self) -> u64 {
        u64::from_be_bytes([0, 0, 0, 0, 0, 0, self.from, self.meant])
    }

    fn of_bytes(bytes: &Bytes) -> Option<Self> {
        match **bytes {
            [from, meant] => Some(Self { from, meant }),
            _ => None,
        }
    }

    fn of_counter(counter: u64) -> Self {
        let [.., from, meant] = counter.to_be_bytes();
        Self { from, meant }
    }
}

/// The mark on what a client wrote and another gets to see, and the chat that it is about.
pub(super) fn mark_of(frame: &ToClient) -> Option<(ChatId, Mark)> {
    match frame {
        ToClient::Message(message) => Some((message.header.chat, Mark::of_bytes(&message.sealed)?)),
        ToClient::Accept(accepted) => Some((accepted.chat, Mark::of_bytes(&accepted.key_package)?)),
        ToClient::SessionEstablishment(established) => Some((established.chat, Mark::of_bytes(&established.welcome)?)),
        ToClient::Resume(resume) => Some((resume.chat, Mark::of_counter(resume.expected))),
        _ => None,
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.talk {
            None => write!(f, "client free"),
            Some(Talk { stage, peer, chat }) => write!(f, "client {stage:?} with {peer:?} about {chat:?}"),
        }
    }
}

impl Client {
    /// What it takes from the connection that is gone.
    pub(super) fn without_connection(&self) -> Self {
        let chatting = |talk: &Talk| matches!(talk.stage, Stage::Chatting { .. });
        let stage = Stage::Chatting { open: false, owes: false };
        let talk = self.talk.filter(chatting).map(|talk| Talk { stage, ..talk });
        Self { talk, ..self.clone() }
    }

    pub(super) fn is_chatting(&self) -> bool {
        self.talk.is_some_and(|talk| matches!(talk.stage, Stage::Chatting { .. }))
    }

    /// Takes in a frame. Says what it answers; `None` when it is one that the other party of the chat did not write for
    /// this client.
    pub(super) fn read(&mut self, me: Person, frame: ToClient, relay: &Relay) -> Option<Vec<ToServer>> {
        let mut answers = Vec::new();
        let about = |chat: ChatId| move |talk: &Talk| talk.chat == chat;
        if let Some((chat, mark)) = mark_of(&frame)
            && let Some(talk) = self.talk.filter(about(chat))
            && mark != Mark::new(talk.peer, Some(me))
        {
            return None;
        }
        match frame {
            ToClient::RequestToTalk(Request { peer, chat }) => {
                let peer = relay.person(&peer)?;
                self.asked(me, peer, chat, &mut answers);
            }
            ToClient::Accept(Accepted { chat, key, .. }) => {
                if let Some(talk) = self.talk.as_mut().filter(|talk| about(chat)(talk) && talk.stage == Stage::Calling)
                {
                    if key != *relay.keys.of(talk.peer) {
                        return None;
                    }
                    talk.stage = Stage::Invited;
                }
            }
            ToClient::SessionEstablishment(Established { chat, key, .. }) => {
                if let Some(talk) = self.talk.as_mut().filter(|talk| about(chat)(talk) && talk.stage == Stage::Awaiting)
                {
                    if key != *relay.keys.of(talk.peer) {
                        return None;
                    }
                    talk.stage = Stage::Chatting { open: true, owes: false };
                }
            }
            ToClient::Refuse(chat) | ToClient::UserNotFound(chat) => {
                self.talk = self.talk.filter(|talk| !(about(chat)(talk) && talk.stage == Stage::Calling));
            }
            ToClient::ChatClosed(Close { chat, .. }) => self.talk = self.talk.filter(|talk| !about(chat)(talk)),
            ToClient::PeerAway(chat) => {
                if let Some(Talk { stage: Stage::Chatting { open, owes }, .. }) =
                    self.talk.as_mut().filter(|talk| about(chat)(talk))
                {
                    (*open, *owes) = (false, true);
                }
            }
            ToClient::Resume(Resume { chat, .. }) => {
                if let Some(Talk { stage: Stage::Chatting { open, .. }, .. }) =
                    self.talk.as_mut().filter(|talk| about(chat)(talk))
                {
                    *open = true;
                    self.unheard = false;
                }
            }
            ToClient::Error(ServerError::Replaced | ServerError::Protocol | ServerError::Removed) => self.talk = None,
            ToClient::TooFast(TooFast { asked: Asked::RequestToTalk(chat), .. }) => {
                self.talk = self.talk.filter(|talk| !(about(chat)(talk) && talk.stage == Stage::Calling));
            }
            ToClient::Message(_)
            | ToClient::Error(_)
            | ToClient::LoggedIn(_)
            | ToClient::List(_)
            | ToClient::Pong
            | ToClient::TooFast(_) => {}
        }
        self.unheard &= self.talk.is_some();
        Some(answers)
    }

    /// Whoever is asked by the very person that they ask accepts at once, and lets go of their own request.
    fn asked(&mut self, me: Person, peer: Person, chat: ChatId, answers: &mut Vec<ToServer>) {
        let ringing = Talk { stage: Stage::Ringing, peer, chat };
        match self.talk {
            None => self.talk = Some(ringing),
            Some(Talk { stage: Stage::Calling, peer: called, chat: own }) => {
                answers.push(ToServer::ChatClosed(Close { chat: own, reason: CloseReason::CalledOff }));
                self.talk = Some(ringing);
                if called == peer {
                    self.talk = Some(Talk { stage: Stage::Awaiting, ..ringing });
                    answers.push(accept(me, chat, Some(peer)));
                }
            }
            Some(_) => answers.push(ToServer::Refuse(chat)),
        }
    }
}

pub(super) fn accept(me: Person, chat: ChatId, meant: Option<Person>) -> ToServer {
    ToServer::Accept(Accept { chat, key_package: Mark::new(me, meant).bytes() })
}

pub(super) fn establish(me: Person, chat: ChatId, meant: Option<Person>) -> ToServer {
    ToServer::SessionEstablishment(protocol::Establish { chat, welcome: Mark::new(me, meant).bytes() })
}

pub(super) fn message(me: Person, chat: ChatId, meant: Option<Person>) -> ToServer {
    ToServer::Message(Message { header: ChatHeader::new(chat, 0, 0), sealed: Mark::new(me, meant).bytes() })
}

pub(super) fn resume(me: Person, chat: ChatId, meant: Option<Person>) -> Resume {
    Resume { chat, expected: Mark::new(me, meant).counter() }
}

pub(super) fn held(me: Person, peer: Person, chat: ChatId, relay: &Relay) -> Held {
    Held { peer: relay.names.of(peer).clone(), resume: resume(me, chat, Some(peer)) }
}
