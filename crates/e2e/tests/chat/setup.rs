//! Invitation, package, welcome: what leads to a chat, and what does not.

use std::time::{Duration, UNIX_EPOCH};

use e2e::{Chat, Culprit, Error, Invitation, Part, SUITE};
use protocol::{ChatId, limits::MAX_FRAME};

use crate::common::{CHAT, alice, bob, mallory, own, pair, rng};

#[test]
fn two_chat_both_ways() {
    let (mut alice, mut bob) = pair(1);
    assert_eq!((alice.chat.epoch(), bob.chat.epoch()), (1, 1));
    assert_eq!(alice.chat.peer(), crate::common::bob().member());
    assert_eq!(bob.chat.peer(), crate::common::alice().member());
    let hello = alice.say("hello bob");
    bob.hears(&hello, "hello bob");
    let hello = bob.say("hello alice");
    alice.hears(&hello, "hello alice");
}

#[test]
fn the_suite_is_hybrid_post_quantum() {
    assert_eq!(SUITE, "MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519");
    let (_, package) = Invitation::new(&bob(), &mut rng(1)).unwrap();
    // MLSMessage: version 1, wire format 5 (key package); KeyPackage: version 1, suite.
    assert_eq!(package[..8], [0, 1, 0, 5, 0, 1, 0x00, 0x4d]);
}

#[test]
fn clocks_however_wrong_do_not_stop_a_chat() {
    let (_, package) = Invitation::new(&bob(), &mut rng(1)).unwrap();
    let lifetime = *crate::rogue::read_package(&package).life_time();
    let hour = Duration::from_secs(60 * 60);
    for now in [0, 1, 24, 8_766 * 30, 8_766 * 57, 8_766 * 500].map(|hours| UNIX_EPOCH + hour * hours) {
        assert_eq!(lifetime.validate_with_time(now), Ok(()), "{now:?}");
    }
}

#[test]
fn packages_and_welcomes_fit_a_frame() {
    let long = own(&"x".repeat(32), &"y".repeat(255), 1);
    let longer = own(&"z".repeat(32), &"y".repeat(255), 2);
    let (invitation, package) = Invitation::new(&longer, &mut rng(1)).unwrap();
    let (_, welcome) = Chat::create(&long, CHAT, longer.member(), &package, &mut rng(2)).unwrap();
    invitation.join(CHAT, long.member(), &welcome, &mut rng(3)).unwrap();
    // 34 bytes are more than any frame puts before them.
    let sizes = format!("package {} bytes, welcome {} bytes", package.len(), welcome.len());
    assert!(package.len() + 64 < MAX_FRAME && welcome.len() + 64 < MAX_FRAME, "{sizes}");
    assert!((2_500..4_000).contains(&package.len()) && (3_000..8_000).contains(&welcome.len()), "{sizes}");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = || {
        let mut rng = rng(5);
        let (invitation, package) = Invitation::new(&bob(), &mut rng).unwrap();
        let (alices, welcome) = Chat::create(&alice(), CHAT, bob().member(), &package, &mut rng).unwrap();
        let bobs = invitation.join(CHAT, alice().member(), &welcome, &mut rng).unwrap();
        let (mut alice, mut bob) = (crate::common::Side::new(alices, 6), crate::common::Side::new(bobs, 7));
        let mut frames = Vec::new();
        for round in 0..3 {
            let (text, receipt, renewal) = (alice.say("one"), alice.receipt(), alice.renew());
            for frame in [&text, &receipt, &renewal] {
                bob.open(frame).unwrap();
            }
            let (answer, back) = (bob.say("two"), bob.renew());
            alice.open(&answer).unwrap();
            alice.open(&back).unwrap();
            assert_eq!(alice.chat.epoch(), 3 + 2 * round);
            frames.extend([text, receipt, renewal, answer, back]);
        }
        (package, welcome, frames)
    };
    let (first, second) = (run(), run());
    assert_eq!(first, second);
    let other = Invitation::new(&bob(), &mut rng(6)).unwrap().1;
    assert_ne!(first.0, other, "another seed, other bytes");
}

#[test]
fn a_package_of_somebody_else_is_refused() {
    let (_, package) = Invitation::new(&bob(), &mut rng(1)).unwrap();
    let strangers = [
        own("bob", "chat.example", 9),
        own("bobby", "chat.example", 2),
        own("bob", "other.example", 2),
        own("bob@chat.example".split('@').next().unwrap(), "chat.exampl", 2),
    ];
    for stranger in strangers {
        let result = Chat::create(&alice(), CHAT, stranger.member(), &package, &mut rng(2));
        assert_eq!(result.map(drop), Err(Error::WrongMember(Part::KeyPackage)), "{stranger:?}");
    }
    assert_eq!(Error::WrongMember(Part::KeyPackage).culprit(), Culprit::Either);
}

#[test]
fn keys_swapped_by_the_server_stop_the_chat_on_both_sides() {
    // The server stands between: to alice it shows mallory's key as bob's, and the other way round.
    let as_bob = own("bob", "chat.example", 3);
    let (_, genuine) = Invitation::new(&bob(), &mut rng(1)).unwrap();
    let result = Chat::create(&alice(), CHAT, as_bob.member(), &genuine, &mut rng(2));
    assert_eq!(result.map(drop), Err(Error::WrongMember(Part::KeyPackage)), "a swapped key with bob's own package");
    let (_, package) = Invitation::new(&as_bob, &mut rng(1)).unwrap();
    let result = Chat::create(&alice(), CHAT, bob().member(), &package, &mut rng(2));
    assert_eq!(result.map(drop), Err(Error::WrongMember(Part::KeyPackage)), "bob's pinned key with a swapped package");

    let as_alice = own("alice", "chat.example", 3);
    let (invitation, package) = Invitation::new(&bob(), &mut rng(1)).unwrap();
    let (_, welcome) = Chat::create(&as_alice, CHAT, bob().member(), &package, &mut rng(2)).unwrap();
    let result = invitation.join(CHAT, alice().member(), &welcome, &mut rng(3));
    assert_eq!(result.map(drop), Err(Error::WrongMember(Part::Welcome)));
}

#[test]
fn a_welcome_of_somebody_else_is_refused() {
    for caller in [mallory(), own("alice", "other.example", 1), own("alicia", "chat.example", 1)] {
        let (invitation, package) = Invitation::new(&bob(), &mut rng(1)).unwrap();
        let (_, welcome) = Chat::create(&caller, CHAT, bob().member(), &package, &mut rng(2)).unwrap();
        let result = invitation.join(CHAT, alice().member(), &welcome, &mut rng(3));
        assert_eq!(result.map(drop), Err(Error::WrongMember(Part::Welcome)), "{caller:?}");
    }
}

#[test]
fn a_welcome_for_another_chat_is_refused() {
    let (invitation, package) = Invitation::new(&bob(), &mut rng(1)).unwrap();
    let other = ChatId::from_bytes([8; 16]);
    let (_, welcome) = Chat::create(&alice(), other, bob().member(), &package, &mut rng(2)).unwrap();
    let result = invitation.join(CHAT, alice().member(), &welcome, &mut rng(3));
    assert_eq!(result.map(drop), Err(Error::WrongChat(Part::Welcome)));
}

#[test]
fn a_welcome_sent_again_opens_no_second_invitation() {
    let (invitation, package) = Invitation::new(&bob(), &mut rng(1)).unwrap();
    let (_, welcome) = Chat::create(&alice(), CHAT, bob().member(), &package, &mut rng(2)).unwrap();
    invitation.join(CHAT, alice().member(), &welcome, &mut rng(3)).unwrap();
    let (second, _) = Invitation::new(&bob(), &mut rng(4)).unwrap();
    let result = second.join(CHAT, alice().member(), &welcome, &mut rng(5));
    assert_eq!(result.map(drop), Err(Error::Forged(Part::Welcome)));
}

#[test]
fn a_package_handed_out_again_lets_nobody_in() {
    let (first, old) = Invitation::new(&bob(), &mut rng(1)).unwrap();
    drop(first);
    let (invitation, _) = Invitation::new(&bob(), &mut rng(2)).unwrap();
    // Nothing in a package says which chat it is for, so the caller cannot tell; the accepter can.
    let (_, welcome) = Chat::create(&alice(), CHAT, bob().member(), &old, &mut rng(3)).unwrap();
    let result = invitation.join(CHAT, alice().member(), &welcome, &mut rng(4));
    assert_eq!(result.map(drop), Err(Error::Forged(Part::Welcome)));
}

#[test]
fn one_key_on_both_sides_is_no_chat() {
    let twin = own("bob", "chat.example", 1);
    let (_, package) = Invitation::new(&twin, &mut rng(1)).unwrap();
    assert_eq!(Chat::create(&alice(), CHAT, twin.member(), &package, &mut rng(2)).map(drop), Err(Error::SameKey));
    let (invitation, _) = Invitation::new(&twin, &mut rng(1)).unwrap();
    assert_eq!(invitation.join(CHAT, alice().member(), b"", &mut rng(2)).map(drop), Err(Error::SameKey));
}

#[test]
fn one_kind_of_message_is_not_taken_for_another() {
    let (invitation, package) = Invitation::new(&bob(), &mut rng(1)).unwrap();
    let (_, welcome) = Chat::create(&alice(), CHAT, bob().member(), &package, &mut rng(2)).unwrap();
    let result = Chat::create(&alice(), CHAT, bob().member(), &welcome, &mut rng(2));
    assert_eq!(result.map(drop), Err(Error::Forged(Part::KeyPackage)));
    let result = invitation.join(CHAT, alice().member(), &package, &mut rng(3));
    assert_eq!(result.map(drop), Err(Error::Forged(Part::Welcome)));
    let (mut alice, _) = pair(1);
    let frame = crate::common::Frame { header: crate::common::header(0, 0), sealed: welcome };
    alice.refuses(&frame, Error::Forged(Part::Frame));
}
