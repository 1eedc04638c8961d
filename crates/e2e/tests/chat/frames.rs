//! Frames within one epoch: order, replay, headers, lengths.

use e2e::{Culprit, Error, MAX_FORWARD, OUT_OF_ORDER, Opened, Part};
use protocol::{
    ChatHeader, ChatId, Content,
    limits::{MAX_COUNTER, MAX_FRAME, MAX_TEXT, PADDING, WINDOW_FRAMES},
};

use crate::common::{CHAT, Frame, header, pair, text};

#[test]
fn everything_that_can_be_said_arrives() {
    let (mut alice, mut bob) = pair(1);
    let contents = [
        Content::Receipt,
        text("x"),
        text("\u{202e}\u{0}\u{1b}[2J"),
        text(&"é".repeat(MAX_TEXT / 2)),
        Content::Goodbye,
    ];
    for content in contents {
        let sealed = alice.chat.seal(&header(0, MAX_COUNTER), &content, &mut alice.rng).unwrap();
        let opened = bob.chat.open(&header(0, MAX_COUNTER), &sealed, &mut bob.rng);
        assert_eq!(opened, Ok(Opened::Content(content)));
    }
}

#[test]
fn short_texts_receipts_and_goodbyes_are_alike_in_length() {
    let (mut alice, _) = pair(1);
    let mut sealed = |content: &Content| alice.chat.seal(&header(0, 0), content, &mut alice.rng).unwrap().len();
    let shortest = sealed(&Content::Receipt);
    assert_eq!(sealed(&Content::Goodbye), shortest);
    // 256 less the AEAD's tag (16), the signature and its length (66), the content's length (2), and kind and length
    // of the text (3).
    let first_step = 169;
    for length in 1..=first_step {
        assert_eq!(sealed(&text(&"x".repeat(length))), shortest, "{length} bytes");
    }
    for length in first_step + 1..=first_step + PADDING {
        assert_eq!(sealed(&text(&"x".repeat(length))), shortest + PADDING, "{length} bytes");
    }
    let mut before = shortest;
    for length in (1..=MAX_TEXT).step_by(61) {
        let now = sealed(&text(&"x".repeat(length)));
        // The length of the ciphertext itself takes two bytes, and four from 2^14 on.
        let step = now - before;
        assert!(step % PADDING == 0 || step % PADDING == 2, "a step of {step} bytes at {length}");
        before = now;
    }
}

#[test]
fn the_longest_text_fits_a_frame() {
    let (mut alice, mut bob) = pair(1);
    let frame = alice.say(&"x".repeat(MAX_TEXT));
    let size = frame.sealed.len();
    assert!(size + ChatHeader::AAD_LEN + 2 <= MAX_FRAME, "{size} bytes");
    assert!(size < MAX_TEXT + 1_024, "{size} bytes");
    bob.hears(&frame, &"x".repeat(MAX_TEXT));
}

#[test]
fn the_same_frame_does_not_open_twice() {
    let (mut alice, mut bob) = pair(1);
    let frame = alice.say("once");
    bob.hears(&frame, "once");
    bob.refuses(&frame, Error::OutOfReach);
    assert_eq!(Error::OutOfReach.culprit(), Culprit::Either);
}

#[test]
fn a_renewal_does_not_open_twice() {
    let (mut alice, mut bob) = pair(1);
    let frame = alice.renew();
    assert_eq!(bob.open(&frame), Ok(Opened::Renewed));
    bob.refuses(&frame, Error::OutOfReach);
}

#[test]
fn a_frame_under_another_header_does_not_open() {
    let others = [
        header(1, 0),
        header(0, 1),
        ChatHeader { version: 2, ..header(0, 0) },
        ChatHeader { chat: ChatId::from_bytes([8; 16]), ..header(0, 0) },
    ];
    for other in others {
        for renewal in [false, true] {
            let (mut alice, mut bob) = pair(1);
            let frame = if renewal { alice.renew() } else { alice.say("hello") };
            let is_this_chat = other.chat == CHAT && other.version == 1;
            let error = if is_this_chat { Error::Header } else { Error::WrongChat(Part::Frame) };
            bob.refuses(&Frame { header: other, ..frame }, error);
        }
    }
}

#[test]
fn each_frame_carries_its_own_header() {
    let (mut alice, mut bob) = pair(1);
    for counter in [0, 1, 2, u64::from(u32::MAX), MAX_COUNTER] {
        let first = header(counter, counter / 2);
        let sealed = alice.chat.seal(&first, &Content::Receipt, &mut alice.rng).unwrap();
        assert!(bob.chat.open(&first, &sealed, &mut bob.rng).is_ok());
        let second = header(counter, counter / 3);
        let sealed = alice.chat.renew(&second, &mut alice.rng).unwrap();
        assert_eq!(bob.chat.open(&second, &sealed, &mut bob.rng), Ok(Opened::Renewed));
    }
}

#[test]
fn a_header_of_another_chat_is_not_sealed() {
    let (mut alice, _) = pair(1);
    let other = ChatHeader { chat: ChatId::from_bytes([8; 16]), ..header(0, 0) };
    assert_eq!(alice.chat.seal(&other, &Content::Receipt, &mut alice.rng), Err(Error::Misuse));
    assert_eq!(alice.chat.seal(&header(0, 0), &Content::Receipt, &mut alice.rng), Err(Error::Over));
    let (mut alice, _) = pair(1);
    assert_eq!(alice.chat.renew(&ChatHeader { version: 0, ..header(0, 0) }, &mut alice.rng), Err(Error::Misuse));
    assert_eq!(Error::Misuse.culprit(), Culprit::Own);
}

#[test]
fn ones_own_frame_sent_back_is_an_attack() {
    for renewal in [false, true] {
        let (mut alice, _) = pair(1);
        let text = alice.say("mirror");
        // One's own renewal is of the epoch that it ended, so that it is out of reach even before that.
        let (frame, error) = if renewal { (alice.renew(), Error::OutOfReach) } else { (text, Error::Reflected) };
        alice.refuses(&frame, error);
    }
    let (_, mut bob) = pair(1);
    let frame = bob.receipt();
    bob.refuses(&frame, Error::Reflected);
}

#[test]
fn a_frame_of_another_chat_does_not_open() {
    let (mut alice, _) = pair(1);
    let (_, mut bob) = pair(2);
    let frame = alice.say("not for you");
    bob.refuses(&frame, Error::Forged(Part::Frame));
    assert_eq!(Error::Forged(Part::Frame).culprit(), Culprit::Either);
}

#[test]
fn a_whole_window_opens_when_sent_again_though_its_receipts_were_lost() {
    let (mut alice, mut bob) = pair(1);
    // All of this is lost with the connection: a window of counted frames, a receipt after each.
    let mut window = Vec::new();
    for n in 0..WINDOW_FRAMES {
        window.push(alice.say(&n.to_string()));
        alice.receipt();
    }
    for (n, frame) in window.iter().enumerate() {
        bob.hears(frame, &n.to_string());
    }
    let receipt = alice.receipt();
    assert_eq!(bob.open(&receipt), Ok(Opened::Content(Content::Receipt)));
    let next = alice.say("and on");
    bob.hears(&next, "and on");
    bob.refuses(&window[0].clone(), Error::OutOfReach);
}

#[test]
fn ratchets_reach_as_far_as_they_say() {
    for (missing, reached) in [(MAX_FORWARD, true), (MAX_FORWARD + 1, false)] {
        let (mut alice, mut bob) = pair(1);
        for _ in 0..missing {
            alice.receipt();
        }
        let far = alice.say("far ahead");
        if reached {
            bob.hears(&far, "far ahead");
        } else {
            bob.refuses(&far, Error::OutOfReach);
        }
    }
}

/// What was left out has no keys any more: neither for somebody who steals them, nor to be kept again and again. A few
/// receipts may change places.
#[test]
fn what_was_left_out_opens_only_if_little_came_since() {
    for (since, opens) in [(OUT_OF_ORDER - 1, true), (OUT_OF_ORDER, false)] {
        let (mut alice, mut bob) = pair(1);
        let left_out = alice.receipt();
        for _ in 1..since {
            alice.receipt();
        }
        let next = alice.say("next");
        bob.hears(&next, "next");
        if opens {
            assert_eq!(bob.open(&left_out), Ok(Opened::Content(Content::Receipt)));
        } else {
            bob.refuses(&left_out, Error::OutOfReach);
        }
    }
}
