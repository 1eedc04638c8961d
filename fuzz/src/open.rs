use std::collections::VecDeque;

use bytes::Bytes;
use e2e::{Chat, Culprit, Error, Opened};
use protocol::{ChatHeader, Content, Text};
use rand_chacha::ChaCha8Rng;

use crate::{
    forge::forged,
    mls,
    pair::{CHAT, alice, bob, pair, rng},
    script::{Script, edited},
};

/// A chat of two in which frames are said, delivered, changed, made up, replayed and reflected as the bytes say.
///
/// What is delivered as it was said opens. While seals hold nothing else does. While they do not, a renewal that opens is,
/// read in another way, nothing but one, and no frame opens under another header than its own. What does not open ends
/// that side for good, and is never blamed on this program.
pub fn open(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let holds = script.flag();
    openmls_libcrux_crypto::hold(holds);
    let [alices, bobs] = pair();
    let mut two = Two { holds, sides: [Side::new(alices, 5), Side::new(bobs, 6)], is_tampered: false };
    while !script.is_over() {
        two.step(&mut script);
    }
}

struct Two {
    holds: bool,
    sides: [Side; 2],
    /// Something opened that neither said: from then on the two need not understand each other.
    is_tampered: bool,
}

struct Side {
    chat: Chat,
    rng: ChaCha8Rng,
    counter: u64,
    /// Said and not yet delivered.
    on_the_way: VecDeque<Frame>,
    /// Delivered as they were said.
    delivered: Vec<Frame>,
    is_over: bool,
}

#[derive(Clone)]
struct Frame {
    header: ChatHeader,
    sealed: Bytes,
    /// What was said; nothing is a renewal.
    said: Option<Content>,
}

impl Two {
    fn step(&mut self, script: &mut Script<'_>) {
        let what = script.choice(16);
        let from = what & 1;
        match what >> 1 {
            0 => {
                let text = "x".repeat(script.short() % 1024 + 1);
                self.sides[from].say(Content::Text(Text::try_from(text).unwrap()));
            }
            1 => self.sides[from].say(Content::Receipt),
            2 => {
                // Renewals do not cross: the client machine has them take turns.
                while self.deliver(0) || self.deliver(1) {}
                self.sides[from].renew();
                if script.flag() {
                    self.deliver(from);
                } else {
                    self.deliver_changed(from, script);
                }
            }
            3 => drop(self.deliver(from)),
            4 => self.deliver_changed(from, script),
            5 => {
                let header = ChatHeader::new(CHAT, script.number(), script.number());
                let _ = self.open(1 - from, &header, script.bytes(), false);
            }
            6 => {
                let before = &self.sides[from].delivered;
                if let Some(frame) = before.get(script.choice(before.len().max(1))).cloned() {
                    let again = self.open(1 - from, &frame.header, &frame.sealed, false);
                    assert!(again.is_err() || self.is_tampered, "opened twice");
                }
            }
            _ => {
                if let Some(frame) = self.sides[from].on_the_way.front().cloned() {
                    let reflected = self.open(from, &frame.header, &frame.sealed, false);
                    assert!(matches!(reflected, Err(Error::Reflected | Error::Over)), "{reflected:?}");
                }
            }
        }
    }

    fn deliver(&mut self, from: usize) -> bool {
        let Some(frame) = self.sides[from].on_the_way.pop_front() else { return false };
        let opened = self.open(1 - from, &frame.header, &frame.sealed, true);
        let is_as_said = match (&opened, &frame.said) {
            (Ok(Opened::Content(opened)), Some(said)) => opened == said,
            (Ok(Opened::Renewed), None) => true,
            _ => false,
        };
        assert!(is_as_said || opened == Err(Error::Over) || self.is_tampered, "{opened:?}");
        self.sides[from].delivered.push(frame);
        true
    }

    /// The next frame, with its header or what is sealed changed, comes in its place.
    fn deliver_changed(&mut self, from: usize, script: &mut Script<'_>) {
        let Some(frame) = self.sides[from].on_the_way.pop_front() else { return };
        let (mut header, mut sealed) = (frame.header, frame.sealed.to_vec());
        match script.choice(8) {
            0 => header.counter = script.number(),
            1 => header.ack = script.number(),
            2 => sealed = edited(&sealed, script),
            _ => sealed = forged(&sealed, script),
        }
        let is_same = header == frame.header && sealed == frame.sealed;
        let _ = self.open(1 - from, &header, &sealed, is_same);
    }

    fn open(&mut self, reader: usize, header: &ChatHeader, sealed: &[u8], is_genuine: bool) -> Result<Opened, Error> {
        let sender = if reader == 0 { bob() } else { alice() };
        let side = &mut self.sides[reader];
        let epoch = side.chat.epoch();
        let opened = side.chat.open(header, sealed, &mut side.rng);
        match &opened {
            Ok(_) if self.holds => assert!(is_genuine, "nobody said that"),
            Ok(_) if is_genuine => {}
            Ok(Opened::Renewed) => mls::is_a_renewal(sealed, CHAT, epoch, sender.member()),
            Ok(Opened::Content(_)) => assert_eq!(side.chat.epoch(), epoch),
            Err(Error::Over) => assert!(side.is_over),
            Err(error) => {
                assert!(!side.is_over);
                assert_ne!(error.culprit(), Culprit::Own, "{error:?}");
                side.finish();
            }
        }
        if let Ok(what) = &opened {
            self.is_tampered |= !is_genuine;
            assert_eq!(mls::authenticated_data(sealed), header.aad().unwrap(), "another header");
            assert_eq!(side.chat.epoch(), epoch + u64::from(*what == Opened::Renewed));
            assert_eq!(side.chat.peer(), sender.member());
        }
        opened
    }
}

impl Side {
    fn new(chat: Chat, seed: u64) -> Self {
        Self { chat, rng: rng(seed), counter: 0, on_the_way: VecDeque::new(), delivered: Vec::new(), is_over: false }
    }

    fn say(&mut self, content: Content) {
        let header = ChatHeader::new(CHAT, self.counter, 0);
        match self.chat.seal(&header, &content, &mut self.rng) {
            Ok(sealed) => {
                self.counter += u64::from(content != Content::Receipt);
                self.on_the_way.push_back(Frame { header, sealed, said: Some(content) });
            }
            Err(error) => assert!(self.is_over && error == Error::Over, "{error:?}"),
        }
    }

    fn renew(&mut self) {
        let header = ChatHeader::new(CHAT, self.counter, 0);
        match self.chat.renew(&header, &mut self.rng) {
            Ok(sealed) => {
                self.counter += 1;
                self.on_the_way.push_back(Frame { header, sealed, said: None });
            }
            Err(error) => assert!(self.is_over && error == Error::Over, "{error:?}"),
        }
    }

    /// Has the side meet an error, if it has met none.
    fn finish(&mut self) {
        let header = ChatHeader::new(CHAT, 0, 0);
        let result = self.chat.open(&header, b"", &mut self.rng);
        assert!(matches!(result, Err(Error::Forged(_) | Error::Over)), "{result:?}");
        assert_eq!(self.chat.seal(&header, &Content::Receipt, &mut self.rng), Err(Error::Over));
        assert_eq!(self.chat.renew(&header, &mut self.rng), Err(Error::Over));
        self.is_over = true;
    }
}
