//! Renewals, and frames that cross them.

use e2e::{Error, MAX_PAST_EPOCHS, Opened};
use protocol::{Content, limits::MAX_FRAME};

use crate::common::{header, pair};

#[test]
fn both_sides_can_renew_and_go_on() {
    let (mut alice, mut bob) = pair(1);
    for round in 0..10 {
        let (committer, other) = if round % 2 == 0 { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        let frame = committer.renew();
        assert!(frame.sealed.len() + 36 < MAX_FRAME && frame.sealed.len() < 5_000, "{} bytes", frame.sealed.len());
        assert_eq!(committer.chat.epoch(), round + 2);
        assert_eq!(other.open(&frame), Ok(Opened::Renewed));
        assert_eq!(other.chat.epoch(), round + 2);
        let words = alice.say("from alice");
        bob.hears(&words, "from alice");
        let words = bob.say("from bob");
        alice.hears(&words, "from bob");
    }
}

#[test]
fn a_frame_of_the_old_epoch_opens_after_ones_own_commit() {
    let (mut alice, mut bob) = pair(1);
    let crossing = [bob.say("one"), bob.receipt(), bob.say("two")];
    let renewal = alice.renew();
    alice.hears(&crossing[0], "one");
    assert_eq!(alice.open(&crossing[1]), Ok(Opened::Content(Content::Receipt)));
    alice.hears(&crossing[2], "two");
    bob.open(&renewal).unwrap();
    let after = bob.say("three");
    alice.hears(&after, "three");
}

#[test]
fn a_frame_of_a_new_epoch_does_not_open_before_its_commit() {
    let (mut alice, mut bob) = pair(1);
    let _commit = alice.renew();
    let early = alice.say("early");
    bob.refuses(&early, Error::OutOfReach);
}

#[test]
fn a_commit_of_a_new_epoch_does_not_open_before_the_one_before_it() {
    let (mut alice, mut bob) = pair(1);
    let _first = alice.renew();
    let second = alice.renew();
    bob.refuses(&second, Error::OutOfReach);
}

#[test]
fn frames_of_two_past_epochs_open_and_of_three_do_not() {
    assert_eq!(MAX_PAST_EPOCHS, 2);
    let (mut alice, mut bob) = pair(1);
    let crossing = [bob.say("one"), bob.say("two")];
    alice.renew();
    alice.renew();
    alice.hears(&crossing[0], "one");
    alice.renew();
    alice.refuses(&crossing[1], Error::OutOfReach);
}

#[test]
fn past_keys_go_once_a_counted_frame_shows_that_nothing_of_theirs_is_coming() {
    // A receipt proves nothing: counted frames from before it may be on their way a second time.
    let (mut alice, mut bob) = pair(1);
    let (late, later) = (bob.say("late"), bob.say("later"));
    let renewal = alice.renew();
    bob.open(&renewal).unwrap();
    let receipt = bob.receipt();
    alice.open(&receipt).unwrap();
    alice.hears(&late, "late");
    // The next counted frame of the new epoch does.
    let new = bob.say("new");
    alice.hears(&new, "new");
    alice.refuses(&later, Error::OutOfReach);

    // So does the peer's commit, at once.
    let (mut alice, mut bob) = pair(1);
    let receipt = bob.receipt();
    let renewal = bob.renew();
    assert_eq!(alice.open(&renewal), Ok(Opened::Renewed));
    alice.refuses(&receipt, Error::OutOfReach);
}

#[test]
fn two_commits_that_meet_end_the_chat() {
    let (mut alice, mut bob) = pair(1);
    let (hers, his) = (alice.renew(), bob.renew());
    alice.refuses(&his, Error::OutOfReach);
    bob.refuses(&hers, Error::OutOfReach);
}

#[test]
fn a_chat_heals() {
    // Whatever was said and however often keys were renewed, both stay in one epoch and understand each other.
    let (mut alice, mut bob) = pair(1);
    for round in 0..60_u64 {
        for _ in 0..3 {
            let frame = alice.say("x");
            bob.hears(&frame, "x");
        }
        let receipt = bob.receipt();
        alice.open(&receipt).unwrap();
        let renewal = if round % 2 == 0 { alice.renew() } else { bob.renew() };
        let receiver = if round % 2 == 0 { &mut bob } else { &mut alice };
        receiver.open(&renewal).unwrap();
    }
    assert_eq!((alice.chat.epoch(), bob.chat.epoch()), (61, 61));
    let opened = {
        let sealed = bob.chat.seal(&header(9, 9), &Content::Goodbye, &mut bob.rng).unwrap();
        alice.chat.open(&header(9, 9), &sealed, &mut alice.rng)
    };
    assert_eq!(opened, Ok(Opened::Content(Content::Goodbye)));
}
