//! What passes through the relay's hands, written down: all that it can know, and all that it can send again.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use protocol::{ChatHeader, ChatId, PublicKey, ToClient, ToServer, UserName};

/// A client's connection.
pub(crate) type Link = u64;

/// All that the relay knows.
pub(crate) struct Notes {
    /// The registered users.
    pub(crate) users: BTreeMap<UserName, PublicKey>,
    pub(crate) links: BTreeMap<Link, Known>,
    /// Who called whom, by the chat's id.
    pub(crate) chats: BTreeMap<Id, [UserName; 2]>,
    /// The sealed frames, in the order in which they were sent for the first time.
    pub(crate) sealed: Vec<Sealed>,
    seen: BTreeSet<Bytes>,
    /// The key packages, with who made them.
    pub(crate) packages: Vec<(UserName, ChatId, Bytes)>,
    /// The welcomes, with the chat that they are to.
    pub(crate) welcomes: Vec<(ChatId, Bytes)>,
    /// What each client last said that it expects of a chat.
    expected: BTreeMap<(Id, UserName), u64>,
}

/// The bytes of a chat's id, which can be sorted.
pub(crate) type Id = [u8; 16];

/// What is known of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) user: Option<UserName>,
    pub(crate) is_logged_in: bool,
    /// The chat, or the request for one, that was last spoken of, and is not over.
    pub(crate) chat: Option<ChatId>,
    /// Whether a sealed frame of that chat has passed.
    pub(crate) is_chatting: bool,
}

/// A sealed frame.
pub(crate) struct Sealed {
    pub(crate) chat: ChatId,
    pub(crate) from: UserName,
    pub(crate) frame: Bytes,
}

impl Notes {
    pub(crate) fn new() -> Self {
        Self {
            users: BTreeMap::new(),
            links: BTreeMap::new(),
            chats: BTreeMap::new(),
            sealed: Vec::new(),
            seen: BTreeSet::new(),
            packages: Vec::new(),
            welcomes: Vec::new(),
            expected: BTreeMap::new(),
        }
    }

    pub(crate) fn user(&self, link: Link) -> Option<&UserName> {
        self.links.get(&link)?.user.as_ref()
    }

    pub(crate) fn chat(&self, link: Link) -> Option<ChatId> {
        self.links.get(&link)?.chat
    }

    pub(crate) fn is_logged_in(&self, link: Link) -> bool {
        self.links.get(&link).is_some_and(|known| known.is_logged_in)
    }

    /// With whom the user of a connection chats, or wants to.
    pub(crate) fn peer(&self, link: Link) -> Option<&UserName> {
        let (user, chat) = (self.user(link)?, self.chat(link)?);
        self.chats.get(chat.as_bytes())?.iter().find(|other| *other != user)
    }

    /// The counter that a user's client expects next in a chat, as far as it has said.
    pub(crate) fn expected(&self, chat: ChatId, user: &UserName) -> u64 {
        self.expected.get(&(*chat.as_bytes(), user.clone())).copied().unwrap_or(0)
    }

    /// Some registered user who is none of these.
    pub(crate) fn somebody_else(&self, than: &[Option<&UserName>]) -> Option<&UserName> {
        self.users.keys().find(|user| !than.contains(&Some(*user)))
    }

    /// A client has sent a frame.
    pub(crate) fn up(&mut self, link: Link, frame: &Bytes) {
        let Ok(frame_read) = ToServer::decode(frame) else { return };
        let Some(known) = self.links.get_mut(&link) else { return };
        if let ToServer::Login(login) = &frame_read {
            known.user = Some(login.user.clone());
            if let Some(held) = &login.held {
                known.chat = Some(held.resume.chat);
                known.is_chatting = true;
                let pair = [login.user.clone(), held.peer.clone()];
                self.chats.entry(*held.resume.chat.as_bytes()).or_insert(pair);
            }
        }
        let Some(user) = known.user.clone() else { return };
        let mut expects = |chat: ChatId, counter| _ = self.expected.insert((*chat.as_bytes(), user.clone()), counter);
        match frame_read {
            ToServer::Login(login) => {
                if let Some(held) = login.held {
                    expects(held.resume.chat, held.resume.expected);
                }
            }
            ToServer::RequestToTalk(request) => {
                known.chat = Some(request.chat);
                known.is_chatting = false;
                self.chats.insert(*request.chat.as_bytes(), [user, request.peer]);
            }
            ToServer::Accept(accept) => self.packages.push((user, accept.chat, accept.key_package)),
            ToServer::SessionEstablishment(establish) => self.welcomes.push((establish.chat, establish.welcome)),
            ToServer::Message(message) => {
                let ChatHeader { chat, ack, .. } = message.header;
                expects(chat, ack);
                known.is_chatting |= known.chat == Some(chat);
                if self.seen.insert(frame.clone()) {
                    self.sealed.push(Sealed { chat, from: user, frame: frame.clone() });
                }
            }
            ToServer::Resume(resume) => expects(resume.chat, resume.expected),
            ToServer::Refuse(chat) => self.over(link, chat),
            ToServer::ChatClosed(close) => self.over(link, close.chat),
            ToServer::List(_) | ToServer::Exit | ToServer::Ping => {}
        }
    }

    /// A client is sent a frame.
    pub(crate) fn down(&mut self, link: Link, frame: &[u8]) {
        let Ok(frame) = ToClient::decode(frame) else { return };
        let Some(known) = self.links.get_mut(&link) else { return };
        match frame {
            ToClient::LoggedIn(_) => known.is_logged_in = true,
            ToClient::RequestToTalk(request) => {
                if !known.is_chatting
                    && let Some(user) = &known.user
                {
                    known.chat = Some(request.chat);
                    self.chats.entry(*request.chat.as_bytes()).or_insert([request.peer, user.clone()]);
                }
            }
            ToClient::Message(message) => known.is_chatting |= known.chat == Some(message.header.chat),
            ToClient::Refuse(chat) | ToClient::UserNotFound(chat) => self.over(link, chat),
            ToClient::ChatClosed(close) => self.over(link, close.chat),
            _ => {}
        }
    }

    fn over(&mut self, link: Link, chat: ChatId) {
        if let Some(known) = self.links.get_mut(&link).filter(|known| known.chat == Some(chat)) {
            known.chat = None;
            known.is_chatting = false;
        }
    }
}
