//! One bit, one byte, one cut: whatever is changed on the way, nothing opens and nothing panics.

use bytes::Bytes;
use e2e::{Chat, Error, Invitation};
use proptest::{prelude::*, sample::Index};
use protocol::{ChatHeader, ChatId, Content};

use crate::common::{CHAT, Frame, Side, alice, bob, header, pair, rng};

/// What an attacker may do to bytes.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index),
    Add(Vec<u8>),
    Remove(Index),
    Repeat(Index),
}

impl Change {
    fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let length = bytes.len();
        match self {
            Self::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Self::Cut(at) => bytes.truncate(at.index(length)),
            Self::Add(more) => bytes.extend(more),
            Self::Remove(at) => drop(bytes.remove(at.index(length))),
            Self::Repeat(at) => bytes.insert(at.index(length), bytes[at.index(length)]),
        }
        bytes
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Change::Add),
        1 => any::<Index>().prop_map(Change::Remove),
        1 => any::<Index>().prop_map(Change::Repeat),
    ]
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() }
}

fn invitation() -> (Invitation, Bytes) {
    Invitation::new(&bob(), &mut rng(1)).unwrap()
}

fn create(package: &[u8]) -> Result<(Chat, Bytes), Error> {
    Chat::create(&alice(), CHAT, bob().member(), package, &mut rng(2))
}

fn join(welcome: &[u8]) -> Result<(), Error> {
    invitation().0.join(CHAT, alice().member(), welcome, &mut rng(3)).map(drop)
}

fn frames(alice: &mut Side) -> [Frame; 3] {
    [alice.say("a text"), alice.receipt(), alice.renew()]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_changed_package_makes_no_chat(change in change()) {
        let package = change.apply(&invitation().1);
        prop_assert!(create(&package).is_err());
    }

    #[test]
    fn a_changed_welcome_joins_no_chat(change in change()) {
        let (_, welcome) = create(&invitation().1).unwrap();
        prop_assert!(join(&welcome).is_ok());
        prop_assert!(join(&change.apply(&welcome)).is_err());
    }

    #[test]
    fn a_changed_frame_does_not_open(change in change(), which in 0..3_usize) {
        let (mut alice, mut bob) = pair(1);
        let frames = frames(&mut alice);
        for frame in &frames[..which] {
            bob.open(frame).unwrap();
        }
        let changed = Frame { sealed: change.apply(&frames[which].sealed).into(), ..frames[which].clone() };
        prop_assert!(bob.open(&changed).is_err());
        prop_assert_eq!(bob.open(&frames[which]), Err(Error::Over));
    }

    #[test]
    fn a_changed_header_does_not_open(at in any::<Index>(), bit in 0..8_u8, which in 0..3_usize) {
        let (mut alice, mut bob) = pair(1);
        let frames = frames(&mut alice);
        for frame in &frames[..which] {
            bob.open(frame).unwrap();
        }
        let mut header = frames[which].header;
        let (mut chat, mut counter, mut ack) =
            (*header.chat.as_bytes(), header.counter.to_be_bytes(), header.ack.to_be_bytes());
        match at.index(33) {
            0 => header.version ^= 1 << bit,
            at @ 1..17 => chat[at - 1] ^= 1 << bit,
            at @ 17..25 => counter[at - 17] ^= 1 << bit,
            at => ack[at - 25] ^= 1 << bit,
        }
        let changed = ChatHeader {
            version: header.version,
            chat: ChatId::from_bytes(chat),
            counter: u64::from_be_bytes(counter),
            ack: u64::from_be_bytes(ack),
        };
        let changed = Frame { header: changed, ..frames[which].clone() };
        prop_assert!(bob.open(&changed).is_err());
    }

    #[test]
    fn two_frames_spliced_do_not_open(at in any::<Index>(), first in 0..3_usize, second in 0..3_usize) {
        let (mut alice, mut bob) = pair(1);
        let frames = frames(&mut alice);
        let (head, tail) = (&frames[first].sealed, &frames[second].sealed);
        let at = at.index(head.len().min(tail.len()));
        let spliced = [&head[..at], &tail[at..]].concat();
        prop_assume!(frames.iter().all(|frame| frame.sealed != spliced));
        let spliced = Frame { sealed: spliced.into(), ..frames[first].clone() };
        prop_assert!(bob.open(&spliced).is_err());
    }

    #[test]
    fn noise_is_nothing(noise in prop::collection::vec(any::<u8>(), 0..3_000), kind in 0..6_u8) {
        // Behind a head that decodes, noise gets further in.
        let noise = [&[0, 1, 0, kind][..], &noise].concat();
        prop_assert!(create(&noise).is_err());
        prop_assert!(join(&noise).is_err());
        let (_, mut bob) = pair(1);
        let noise = Frame { header: header(0, 0), sealed: noise.into() };
        prop_assert!(bob.open(&noise).is_err());
    }
}

#[test]
fn the_bit_that_x25519_ignores_counts_in_a_welcome() {
    let (_, welcome) = create(&invitation().1).unwrap();
    // Head and suite, length of the secrets, reference of the package and its length, length of the encapsulation
    // (draft-connolly-cfrg-xwing-kem-06 section 5: 1,088 bytes of ML-KEM-768, then the 32 of X25519).
    let last = 6 + 2 + 33 + 2 + 1_120 - 1;
    let mut changed = welcome.to_vec();
    assert_eq!(changed[last - 1_120 - 1..=last - 1_120], [0x44, 0x60], "the length of an encapsulation, 1,120");
    changed[last] ^= 0x80;
    assert!(join(&changed).is_err());
}

#[test]
fn cut_at_every_byte() {
    let (_, package) = invitation();
    for length in 0..package.len() {
        assert!(create(&package[..length]).is_err(), "a package of {length} bytes");
    }
    let (mut alice, mut bob) = pair(1);
    let sealed = alice.chat.seal(&header(0, 0), &Content::Receipt, &mut alice.rng).unwrap();
    assert!(bob.chat.open(&header(0, 0), &sealed[..sealed.len() - 1], &mut bob.rng).is_err());
    assert!(bob.chat.open(&header(0, 0), b"", &mut bob.rng).is_err());
}
