//! A peer who means ill, as a client of a real server: TLS, the log-in and the frames by hand, the seal by OpenMLS as
//! anybody can have it. It holds a registered key, so that what it seals is genuine and only the rules can refuse it.

use std::sync::Arc;

use bytes::Bytes;
use e2e::Own;
use identity::UserKey;
use openmls::{
    framing::{MlsMessageOut, ProcessedMessageContent},
    group::{GroupId, MlsGroup, MlsGroupCreateConfigBuilder},
    key_packages::KeyPackage,
};
use protocol::{
    Accept, ChatHeader, ChatId, CloseReason, Content, Establish, Message, Request, Resume, Text, ToClient, ToServer,
};
use rand::rngs::SysRng;
use rand_core::{Rng as _, UnwrapErr};
use tls_codec::Serialize as _;

use crate::{
    common::{Client, World},
    meddler::Meddler,
    raw::{Holder, Raw},
    stock::{self, build, config, credential, package, read_package, to_bytes},
};

/// Somebody registered, logged in, with a program of their own.
pub(crate) struct Peer {
    holder: Holder,
    pub(crate) own: Own,
    pub(crate) raw: Raw,
}

/// A chat between the peer and its victim, in good order so far.
pub(crate) struct Rogue<'a> {
    pub(crate) raw: &'a mut Raw,
    pub(crate) own: Own,
    pub(crate) provider: Meddler,
    pub(crate) group: MlsGroup,
    pub(crate) chat: ChatId,
    /// The counter of its next counted frame.
    pub(crate) next: u64,
    /// The counter that it expects of the victim next.
    pub(crate) expected: u64,
}

impl Peer {
    pub(crate) fn log_in(world: &World, name: &str) -> Self {
        let holder = Holder::registered(world, name);
        let own = Own::new(holder.name.clone(), "localhost".parse().unwrap(), holder.secret.clone());
        Self { own, raw: holder.log_in(), holder }
    }

    pub(crate) fn name(&self) -> &str {
        self.own.member().user.as_str()
    }

    /// The key that it is registered with.
    pub(crate) fn secret(&self) -> Arc<UserKey> {
        self.holder.secret.clone()
    }

    /// Logs in anew.
    pub(crate) fn comes_back(&mut self) {
        self.raw = self.holder.log_in();
    }

    /// Asks the victim, who is called `name` and accepts: the chat's id and the victim's key package.
    pub(crate) fn asks(&mut self, victim: &mut Client, name: &str) -> (ChatId, KeyPackage) {
        let mut chat = [0; 16];
        UnwrapErr(SysRng).fill_bytes(&mut chat);
        let chat = ChatId::from_bytes(chat);
        self.raw.say(&ToServer::RequestToTalk(Request { peer: name.parse().unwrap(), chat }));
        assert_eq!(victim.expect("request")["from"], self.name());
        victim.types("--y");
        loop {
            match self.raw.hear() {
                Some(ToClient::Accept(accepted)) if accepted.chat == chat => {
                    return (chat, read_package(&accepted.key_package));
                }
                Some(ToClient::UserNotFound(_)) => panic!("the victim is not free"),
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    }

    /// Calls the victim, and is in a chat with it.
    pub(crate) fn calls(&mut self, victim: &mut Client, name: &str) -> Rogue<'_> {
        self.calls_with(victim, name, config())
    }

    /// The same, with a group of these properties.
    pub(crate) fn calls_with(
        &mut self,
        victim: &mut Client,
        name: &str,
        config: MlsGroupCreateConfigBuilder,
    ) -> Rogue<'_> {
        let (chat, package) = self.asks(victim, name);
        let mut rogue = self.alone(chat, config);
        let welcome = rogue.add(&[package]);
        rogue.establishes(welcome);
        assert_eq!(victim.expect("chat_started")["peer"], rogue.name());
        assert_eq!(rogue.hears(), Content::Receipt);
        rogue
    }

    /// A group of itself alone.
    pub(crate) fn alone(&mut self, chat: ChatId, config: MlsGroupCreateConfigBuilder) -> Rogue<'_> {
        let provider = Meddler::new();
        let (own, id) = (self.own.clone(), GroupId::from_slice(chat.as_bytes()));
        let group = MlsGroup::new_with_group_id(&provider, &own, &config.build(), id, credential(&own)).unwrap();
        Rogue { raw: &mut self.raw, own, provider, group, chat, next: 0, expected: 0 }
    }

    /// Has the victim call it: the chat's id.
    pub(crate) fn is_asked(&mut self, victim: &mut Client) -> ChatId {
        victim.types(&format!("--r {}", self.name()));
        loop {
            match self.raw.hear() {
                Some(ToClient::RequestToTalk(request)) => return request.chat,
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    }

    /// Has the victim call it, and answers with this package.
    pub(crate) fn accepts_with(&mut self, victim: &mut Client, key_package: impl Into<Bytes>) -> ChatId {
        let chat = self.is_asked(victim);
        self.raw.say(&ToServer::Accept(Accept { chat, key_package: key_package.into() }));
        chat
    }

    /// Waits until the server says that there is no chat.
    pub(crate) fn hears_the_end(&mut self) {
        loop {
            match self.raw.hear() {
                Some(ToClient::ChatClosed(_)) => return,
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    }

    /// Has the victim call it, and is in a chat with it.
    pub(crate) fn accepts(&mut self, victim: &mut Client) -> Rogue<'_> {
        let (own, provider) = (self.own.clone(), Meddler::new());
        let chat = self.accepts_with(victim, to_bytes(build(package(), &own, &provider)));
        let welcome = loop {
            match self.raw.hear() {
                Some(ToClient::SessionEstablishment(established)) => break established.welcome,
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        };
        let group = stock::join(&provider, &welcome);
        let mut rogue = Rogue { raw: &mut self.raw, own, provider, group, chat, next: 0, expected: 0 };
        rogue.says(&Content::Receipt);
        assert_eq!(victim.expect("chat_started")["peer"], rogue.name());
        rogue
    }
}

impl Rogue<'_> {
    pub(crate) fn name(&self) -> &str {
        self.own.member().user.as_str()
    }

    /// Adds members by their packages: the welcome.
    pub(crate) fn add(&mut self, packages: &[KeyPackage]) -> Vec<u8> {
        let (_, welcome, _) = self.group.add_members_without_update(&self.provider, &self.own, packages).unwrap();
        self.group.merge_pending_commit(&self.provider).unwrap();
        welcome.to_bytes().unwrap()
    }

    pub(crate) fn establishes(&mut self, welcome: impl Into<Bytes>) {
        self.raw.say(&ToServer::SessionEstablishment(Establish { chat: self.chat, welcome: welcome.into() }));
    }

    /// The head of the frame that the victim expects.
    pub(crate) fn header(&self) -> ChatHeader {
        ChatHeader::new(self.chat, self.next, self.expected)
    }

    /// Has OpenMLS make a message under this head.
    pub(crate) fn seals(
        &mut self,
        header: &ChatHeader,
        make: impl FnOnce(&mut MlsGroup, &Meddler, &Own) -> MlsMessageOut,
    ) -> Bytes {
        self.group.set_aad(header.aad().unwrap());
        make(&mut self.group, &self.provider, &self.own).to_bytes().unwrap().into()
    }

    pub(crate) fn sends(&mut self, header: ChatHeader, sealed: impl Into<Bytes>) {
        self.raw.say(&ToServer::Message(Message { header, sealed: sealed.into() }));
    }

    /// Seals these bytes under this head, and sends them.
    pub(crate) fn sends_plain(&mut self, header: ChatHeader, plain: &[u8]) {
        let sealed = self.seals(&header, |group, provider, own| group.create_message(provider, own, plain).unwrap());
        self.sends(header, sealed);
    }

    /// Sends what is made under the head that the victim expects.
    pub(crate) fn does(&mut self, make: impl FnOnce(&mut MlsGroup, &Meddler, &Own) -> MlsMessageOut) {
        let header = self.header();
        let sealed = self.seals(&header, make);
        self.sends(header, sealed);
    }

    /// Says something as a client should.
    pub(crate) fn says(&mut self, content: &Content) {
        self.sends_plain(self.header(), &content.tls_serialize_detached().unwrap());
        self.next += u64::from(*content != Content::Receipt);
    }

    pub(crate) fn tells(&mut self, text: &str) {
        self.says(&Content::Text(Text::try_from(text.to_owned()).unwrap()));
    }

    /// Says goodbye as a client should, and waits until both are free.
    pub(crate) fn takes_leave(mut self, victim: &mut Client) {
        self.says(&Content::Goodbye);
        assert_eq!(victim.expect_closed(), "goodbye");
        assert_eq!(self.hears_the_end(), CloseReason::Left);
    }

    /// Renews its keys as a client should.
    pub(crate) fn renews(&mut self) {
        self.does(stock::renewal);
        self.group.merge_pending_commit(&self.provider).unwrap();
        self.next += 1;
    }

    /// The victim's next sealed frame, unopened.
    pub(crate) fn gets(&mut self) -> Message {
        loop {
            match self.raw.hear() {
                Some(ToClient::Message(message)) => return message,
                Some(ToClient::ChatClosed(close)) if close.chat == self.chat => panic!("the chat ended: {close:?}"),
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    }

    /// The content of the victim's next sealed frame that is no renewal.
    pub(crate) fn hears(&mut self) -> Content {
        loop {
            let message = self.gets();
            if let Some(content) = self.opens(&message) {
                return content;
            }
        }
    }

    /// Opens a frame of the victim's: its content, or that it was a renewal.
    pub(crate) fn opens(&mut self, message: &Message) -> Option<Content> {
        let processed = stock::process(&mut self.group, &self.provider, &message.sealed);
        assert_eq!(processed.aad(), message.header.aad().unwrap());
        let content = match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(plain) => {
                Some(tls_codec::DeserializeBytes::tls_deserialize_exact_bytes(&plain.into_bytes()).unwrap())
            }
            ProcessedMessageContent::StagedCommitMessage(commit) => {
                self.group.merge_staged_commit(&self.provider, *commit).unwrap();
                None
            }
            other => panic!("{other:?}"),
        };
        self.expected = message.header.counter + u64::from(content != Some(Content::Receipt));
        content
    }

    /// Says where it stands, and so breaks the line, or helps to open it.
    pub(crate) fn resumes(&mut self, expected: u64) {
        self.raw.say(&ToServer::Resume(Resume { chat: self.chat, expected }));
    }

    /// Waits for the line to break, as it does when the victim misses something, and lets it open again.
    pub(crate) fn goes_along(&mut self) {
        let mut has_answered = false;
        loop {
            match self.raw.hear() {
                Some(ToClient::PeerAway(chat)) if chat == self.chat && !has_answered => {
                    has_answered = true;
                    self.resumes(self.expected);
                }
                Some(ToClient::Resume(resume)) if resume.chat == self.chat => return,
                Some(ToClient::ChatClosed(close)) if close.chat == self.chat => panic!("the chat ended: {close:?}"),
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    }

    /// Waits until the server says that the chat is over, and gives its reason.
    pub(crate) fn hears_the_end(&mut self) -> CloseReason {
        loop {
            match self.raw.hear() {
                Some(ToClient::ChatClosed(close)) if close.chat == self.chat => return close.reason,
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    }
}
