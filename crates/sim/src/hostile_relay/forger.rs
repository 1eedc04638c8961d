//! The relay's own keys, and what it makes with them under the names of others.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use e2e::{Chat, Invitation, Member, Own};
use identity::UserKey;
use protocol::{ChatHeader, ChatId, Content, Message, ServerName, Text, ToServer, UserName};
use rand::rngs::SysRng;
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng as _, SeedableRng as _, TryRng as _},
};

/// Makes keys, key packages, welcomes and sealed frames for names that are not its own.
pub(crate) struct Forger {
    server: ServerName,
    keys: BTreeMap<UserName, Arc<UserKey>>,
    pub(crate) rng: ChaCha20Rng,
}

impl Forger {
    pub(crate) fn new(server: &ServerName) -> Self {
        let mut seed = [0; 32];
        // A relay whose system has no randomness is not worse for its victims.
        let _ = SysRng.try_fill_bytes(&mut seed);
        Self { server: server.clone(), keys: BTreeMap::new(), rng: ChaCha20Rng::from_seed(seed) }
    }

    /// Somebody of this name, with a key of the relay's: the same each time.
    pub(crate) fn own(&mut self, user: &UserName) -> Own {
        let rng = &mut self.rng;
        let key = self.keys.entry(user.clone()).or_insert_with(|| Arc::new(UserKey::generate(rng)));
        Own::new(user.clone(), self.server.clone(), key.clone())
    }

    /// The key that [`Self::own`] has.
    pub(crate) fn key(&mut self, user: &UserName) -> protocol::PublicKey {
        self.own(user).member().key
    }

    /// A user of this server, with a true key.
    pub(crate) fn member(&self, user: &UserName, key: protocol::PublicKey) -> Member {
        Member { user: user.clone(), server: self.server.clone(), key }
    }

    /// A key package under this name.
    pub(crate) fn package(&mut self, user: &UserName) -> Option<(Invitation, Bytes)> {
        let own = self.own(user);
        Invitation::new(&own, &mut self.rng).ok()
    }

    /// A group of `caller`, under that name, with whoever made the package, and the welcome to it.
    pub(crate) fn group(
        &mut self,
        caller: &UserName,
        chat: ChatId,
        accepter: &Member,
        package: &[u8],
    ) -> Option<(Chat, Bytes)> {
        let own = self.own(caller);
        Chat::create(&own, chat, accepter, package, &mut self.rng).ok()
    }

    /// Both ends of a group in which the relay alone is, under two names.
    pub(crate) fn whole_group(&mut self, caller: &UserName, accepter: &UserName, chat: ChatId) -> Option<[Chat; 2]> {
        let (invitation, package) = self.package(accepter)?;
        let member = self.own(accepter).member().clone();
        let (callers, welcome) = self.group(caller, chat, &member, &package)?;
        let member = self.own(caller).member().clone();
        let accepters = invitation.join(chat, &member, &welcome, &mut self.rng).ok()?;
        Some([callers, accepters])
    }

    /// A text as a sealed frame.
    pub(crate) fn seal(&mut self, chat: &mut Chat, header: ChatHeader, text: &str) -> Option<Bytes> {
        let text = Text::try_from(text.to_owned()).ok()?;
        let sealed = chat.seal(&header, &Content::Text(text), &mut self.rng).ok()?;
        ToServer::Message(Message { header, sealed }).encode().ok()
    }

    /// So many random bytes.
    pub(crate) fn noise(&mut self, length: usize) -> Bytes {
        let mut bytes = vec![0; length];
        self.rng.fill_bytes(&mut bytes);
        bytes.into()
    }

    /// A chat's id that nobody has.
    pub(crate) fn chat(&mut self) -> ChatId {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        ChatId::from_bytes(bytes)
    }
}
