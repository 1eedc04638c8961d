//! Alice calls, bob accepts; mallory has a key of her own.

use std::sync::Arc;

use bytes::Bytes;
use e2e::{Chat, Error, Invitation, Opened, Own};
use identity::UserKey;
use protocol::{ChatHeader, ChatId, Content, Text};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

pub(crate) const CHAT: ChatId = ChatId::from_bytes([7; 16]);

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) fn own(user: &str, server: &str, key: u8) -> Own {
    Own::new(user.parse().unwrap(), server.parse().unwrap(), Arc::new(UserKey::from_seed(&[key; 32])))
}

pub(crate) fn alice() -> Own {
    own("alice", "chat.example", 1)
}

pub(crate) fn bob() -> Own {
    own("bob", "chat.example", 2)
}

pub(crate) fn mallory() -> Own {
    own("mallory", "chat.example", 3)
}

pub(crate) fn text(text: &str) -> Content {
    Content::Text(Text::try_from(text.to_owned()).unwrap())
}

pub(crate) fn header(counter: u64, ack: u64) -> ChatHeader {
    ChatHeader::new(CHAT, counter, ack)
}

/// A frame on its way: its header and what is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) header: ChatHeader,
    pub(crate) sealed: Bytes,
}

/// One side, with the counter of its next counted frame and a generator.
pub(crate) struct Side {
    pub(crate) chat: Chat,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) counter: u64,
}

impl Side {
    pub(crate) fn new(chat: Chat, seed: u64) -> Self {
        Self { chat, rng: rng(seed), counter: 0 }
    }

    fn next(&mut self) -> ChatHeader {
        self.counter += 1;
        header(self.counter - 1, 0)
    }

    pub(crate) fn say(&mut self, words: &str) -> Frame {
        let header = self.next();
        let sealed = self.chat.seal(&header, &text(words), &mut self.rng).unwrap();
        Frame { header, sealed }
    }

    pub(crate) fn receipt(&mut self) -> Frame {
        let header = header(self.counter, 0);
        let sealed = self.chat.seal(&header, &Content::Receipt, &mut self.rng).unwrap();
        Frame { header, sealed }
    }

    pub(crate) fn renew(&mut self) -> Frame {
        let header = self.next();
        let sealed = self.chat.renew(&header, &mut self.rng).unwrap();
        Frame { header, sealed }
    }

    pub(crate) fn open(&mut self, frame: &Frame) -> Result<Opened, Error> {
        self.chat.open(&frame.header, &frame.sealed, &mut self.rng)
    }

    #[track_caller]
    pub(crate) fn hears(&mut self, frame: &Frame, words: &str) {
        assert_eq!(self.open(frame), Ok(Opened::Content(text(words))));
    }

    /// Asserts that opening `frame` gives `error`, and that nothing works afterwards.
    #[track_caller]
    pub(crate) fn refuses(&mut self, frame: &Frame, error: Error) {
        let epoch = self.chat.epoch();
        assert_eq!(self.open(frame), Err(error));
        let header = header(self.counter, 0);
        assert_eq!(self.open(frame), Err(Error::Over));
        assert_eq!(self.chat.seal(&header, &text("still there?"), &mut self.rng), Err(Error::Over));
        assert_eq!(self.chat.renew(&header, &mut self.rng), Err(Error::Over));
        assert_eq!(self.chat.epoch(), epoch, "a refused frame must not move the chat");
    }
}

/// A chat between alice and bob, all of it from one seed.
pub(crate) fn pair(seed: u64) -> (Side, Side) {
    let mut rng = rng(seed);
    let (invitation, package) = Invitation::new(&bob(), &mut rng).unwrap();
    let (alices, welcome) = Chat::create(&alice(), CHAT, bob().member(), &package, &mut rng).unwrap();
    let bobs = invitation.join(CHAT, alice().member(), &welcome, &mut rng).unwrap();
    (Side::new(alices, seed ^ 0xa11ce), Side::new(bobs, seed ^ 0xb0b))
}
