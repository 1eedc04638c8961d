//! A machine in the middle: two groups in the place of one, and everything read on the way from one to the other.

use std::collections::BTreeMap;

use bytes::Bytes;
use e2e::{Chat, Invitation, Opened};
use protocol::{ChatId, Content, Establish, Message, PublicKey, Request, ServerName, ToClient, ToServer, UserName};

use super::{Acts, Moment, Trick};
use crate::hostile_relay::{
    forger::Forger,
    notes::{Id, Link, Notes},
};

/// Both get keys of the relay's, under each other's names.
pub(super) struct SwapKeys {
    forger: Forger,
    asked: BTreeMap<Id, Half>,
    chats: BTreeMap<Id, Both>,
}

/// The caller has been answered in the accepter's name.
struct Half {
    invitation: Invitation,
    accepters_key: PublicKey,
    accepters_package: Bytes,
}

/// The relay's two ends.
struct Both {
    /// Of the group with the caller, as the accepter.
    with_caller: Chat,
    /// Of the group with the accepter, as the caller.
    with_accepter: Chat,
    /// What a frame that has passed became: it may be sent again.
    passed: BTreeMap<Bytes, Bytes>,
}

impl SwapKeys {
    pub(super) fn new(server: &ServerName) -> Self {
        Self { forger: Forger::new(server), asked: BTreeMap::new(), chats: BTreeMap::new() }
    }

    /// Makes the two groups: the welcome for the accepter in the place of the caller's.
    fn join(&mut self, notes: &Notes, establish: &Establish) -> Option<Bytes> {
        let Half { invitation, accepters_key, accepters_package } = self.asked.remove(establish.chat.as_bytes())?;
        let [caller, accepter] = notes.chats.get(establish.chat.as_bytes())?;
        let caller_member = self.forger.member(caller, *notes.users.get(caller)?);
        let rng = &mut self.forger.rng;
        let with_caller = invitation.join(establish.chat, &caller_member, &establish.welcome, rng).ok()?;
        let accepter_member = self.forger.member(accepter, accepters_key);
        let (with_accepter, welcome) =
            self.forger.group(caller, establish.chat, &accepter_member, &accepters_package)?;
        let both = Both { with_caller, with_accepter, passed: BTreeMap::new() };
        self.chats.insert(*establish.chat.as_bytes(), both);
        Some(welcome)
    }

    /// Opens a frame, reads it, and seals it anew.
    fn pass(&mut self, notes: &Notes, link: Link, frame: &Bytes, message: &Message, acts: &mut Acts) -> Option<Bytes> {
        let [caller, accepter] = notes.chats.get(message.header.chat.as_bytes())?;
        let both = self.chats.get_mut(message.header.chat.as_bytes())?;
        if let Some(passed) = both.passed.get(frame) {
            return Some(passed.clone());
        }
        let is_to_caller = notes.user(link) == Some(caller);
        let (from, to, who) = if is_to_caller {
            (&mut both.with_accepter, &mut both.with_caller, accepter)
        } else {
            (&mut both.with_caller, &mut both.with_accepter, caller)
        };
        let header = message.header;
        let sealed = match from.open(&header, &message.sealed, &mut self.forger.rng).ok()? {
            Opened::Renewed => to.renew(&header, &mut self.forger.rng),
            Opened::Content(content) => {
                match &content {
                    Content::Text(text) => acts.tell(format!("read: {who} says {:?}", text.as_str())),
                    Content::Goodbye => acts.tell(format!("read: {who} says goodbye")),
                    Content::Receipt => {}
                }
                to.seal(&header, &content, &mut self.forger.rng)
            }
        };
        let passed = ToServer::Message(Message { header, sealed: sealed.ok()? }).encode().ok()?;
        both.passed.insert(frame.clone(), passed.clone());
        Some(passed)
    }
}

impl Trick for SwapKeys {
    fn up(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        if let Ok(ToServer::SessionEstablishment(establish)) = ToServer::decode(&frame)
            && let Some(welcome) = self.join(notes, &establish)
        {
            let establish = Establish { chat: establish.chat, welcome };
            return acts.say_up(link, &ToServer::SessionEstablishment(establish));
        }
        acts.up(link, frame);
    }

    fn down(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        match ToClient::decode(&frame) {
            Ok(ToClient::Accept(mut accepted)) => {
                if let Some(accepter) = notes.peer(link).cloned()
                    && let Some((invitation, package)) = self.forger.package(&accepter)
                {
                    let accepters_key = std::mem::replace(&mut accepted.key, self.forger.key(&accepter));
                    let accepters_package = std::mem::replace(&mut accepted.key_package, package);
                    let half = Half { invitation, accepters_key, accepters_package };
                    self.asked.insert(*accepted.chat.as_bytes(), half);
                }
                acts.say(link, &ToClient::Accept(accepted));
            }
            Ok(ToClient::SessionEstablishment(mut established)) => {
                if self.chats.contains_key(established.chat.as_bytes())
                    && let Some(caller) = notes.peer(link)
                {
                    established.key = self.forger.key(caller);
                }
                acts.say(link, &ToClient::SessionEstablishment(established));
            }
            Ok(ToClient::Message(message)) => {
                let passed = self.pass(notes, link, &frame, &message, acts);
                acts.down(link, passed.unwrap_or(frame));
            }
            _ => acts.down(link, frame),
        }
    }
}

/// The relay talks itself, under another user's name.
pub(super) struct Impersonate {
    forger: Forger,
    /// Under which name, and the group once there is one.
    chats: BTreeMap<Id, (UserName, Option<Chat>)>,
}

impl Impersonate {
    pub(super) fn new(server: &ServerName) -> Self {
        Self { forger: Forger::new(server), chats: BTreeMap::new() }
    }

    /// Lets a client that has accepted into a group.
    fn accepted(&mut self, notes: &Notes, link: Link, chat: ChatId, package: &[u8], acts: &mut Acts) -> Option<()> {
        let user = notes.user(link)?;
        let accepter = self.forger.member(user, *notes.users.get(user)?);
        let (name, group) = self.chats.get_mut(chat.as_bytes())?;
        let (made, welcome) = self.forger.group(name, chat, &accepter, package)?;
        *group = Some(made);
        let key = self.forger.key(name);
        acts.say(link, &ToClient::SessionEstablishment(protocol::Established { chat, key, welcome }));
        Some(())
    }

    /// Reads a frame, and answers a text.
    fn heard(&mut self, link: Link, message: &Message, acts: &mut Acts) -> Option<()> {
        let (name, group) = self.chats.get_mut(message.header.chat.as_bytes())?;
        let group = group.as_mut()?;
        if let Ok(Opened::Content(Content::Text(text))) =
            group.open(&message.header, &message.sealed, &mut self.forger.rng)
        {
            acts.tell(format!("read, as {name}: {:?}", text.as_str()));
            let counter = message.header.ack;
            let header = protocol::ChatHeader::new(message.header.chat, counter, message.header.counter + 1);
            acts.down(link, self.forger.seal(group, header, "tell me more")?);
        }
        Some(())
    }
}

impl Trick for Impersonate {
    fn moment(&mut self, notes: &Notes, link: Link, moment: Moment, acts: &mut Acts) {
        if moment == Moment::LoggedIn
            && let Some(name) = notes.somebody_else(&[notes.user(link)])
        {
            let chat = self.forger.chat();
            self.chats.insert(*chat.as_bytes(), (name.clone(), None));
            acts.say(link, &ToClient::RequestToTalk(Request { peer: name.clone(), chat }));
        }
    }

    fn up(&mut self, notes: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        match ToServer::decode(&frame) {
            Ok(ToServer::Accept(accept)) if self.chats.contains_key(accept.chat.as_bytes()) => {
                self.accepted(notes, link, accept.chat, &accept.key_package, acts);
            }
            Ok(ToServer::Message(message)) if self.chats.contains_key(message.header.chat.as_bytes()) => {
                self.heard(link, &message, acts);
            }
            _ => acts.up(link, frame),
        }
    }
}
