//! A sealed chat between two clients, without clients.

use bytes::Bytes;
use e2e::{Chat, Invitation, Opened, Own};
use protocol::{ChatHeader, Content, Text};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

use super::{ACCEPTER, CALLER, CHAT, key, name, server};

/// The caller's and the accepter's side, and how many frames each has sealed.
pub(crate) struct Sealed {
    chats: [Chat; 2],
    counters: [u64; 2],
    rng: ChaCha20Rng,
}

pub(crate) fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

pub(crate) fn own(user: usize) -> Own {
    Own::new(name(user), server(), key(user))
}

/// The accepter's invitation, and the key package that goes to the caller.
pub(crate) fn invitation(rng: &mut ChaCha20Rng) -> (Invitation, Bytes) {
    Invitation::new(&own(ACCEPTER), rng).unwrap()
}

/// The caller's side of the chat, and the welcome that goes to the accepter.
pub(crate) fn create(key_package: &[u8], rng: &mut ChaCha20Rng) -> (Chat, Bytes) {
    Chat::create(&own(CALLER), CHAT, own(ACCEPTER).member(), key_package, rng).unwrap()
}

/// The accepter's side of the chat.
pub(crate) fn join(invitation: Invitation, welcome: &[u8], rng: &mut ChaCha20Rng) -> Chat {
    invitation.join(CHAT, own(CALLER).member(), welcome, rng).unwrap()
}

/// What somebody says: as long as fits into a short frame.
pub(crate) fn words() -> Text {
    Text::try_from("x".repeat(160)).unwrap()
}

impl Sealed {
    pub(crate) fn new() -> Self {
        let mut rng = rng();
        let (invitation, key_package) = invitation(&mut rng);
        let (caller, welcome) = create(&key_package, &mut rng);
        let accepter = join(invitation, &welcome, &mut rng);
        Self { chats: [caller, accepter], counters: [0; 2], rng }
    }

    pub(crate) fn seal(&mut self, user: usize, content: &Content) -> (ChatHeader, Bytes) {
        let header = self.next_header(user);
        (header, self.chats[user].seal(&header, content, &mut self.rng).unwrap())
    }

    pub(crate) fn open(&mut self, user: usize, (header, sealed): &(ChatHeader, Bytes)) -> Opened {
        self.chats[user].open(header, sealed, &mut self.rng).unwrap()
    }

    pub(crate) fn renew(&mut self, user: usize) -> (ChatHeader, Bytes) {
        let header = self.next_header(user);
        (header, self.chats[user].renew(&header, &mut self.rng).unwrap())
    }

    fn next_header(&mut self, user: usize) -> ChatHeader {
        let counter = self.counters[user];
        self.counters[user] += 1;
        ChatHeader::new(CHAT, counter, self.counters[1 - user])
    }
}
