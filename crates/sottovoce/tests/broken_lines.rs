//! Chats whose line breaks, over both pure machines wired back to back: what is lost, repeated, held back, and told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod relay;

use std::{iter, time::Duration};

use bytes::Bytes;
use client::{Ending, Event, Input, Output};
use protocol::{ChatId, Code, Machine as _, Resume, ToClient, ToServer};
use relay::{
    Noticed, Relay, Way, patience,
    telling::{in_a_chat, logged_in, short, start_chat, tell},
};

const ALICE: usize = 0;
const BOB: usize = 1;
/// Within this a client that leaves is gone.
const LEAVES_IN: Duration = Duration::from_secs(5);
/// For a receipt that waits for a message to carry it, and what comes of it.
const MOMENT: Duration = Duration::from_millis(100);
const NEVER: u64 = u64::MAX;

/// What a user was told since the last look, in short.
fn told(relay: &mut Relay, user: usize) -> Vec<String> {
    relay.news(user).iter().filter_map(short).collect()
}

/// The same without the attempts at a connection, whose number is up to chance.
fn told_of_chat(relay: &mut Relay, user: usize) -> Vec<String> {
    let told = told(relay, user).into_iter();
    told.filter(|event| !event.starts_with("reconnect") && event != "error unreachable").collect()
}

fn texts(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .filter_map(|event| if let Event::Message { text, .. } = event { Some(text.as_str().into()) } else { None })
        .collect()
}

fn numbers(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

/// Of the last message that is known to be with the peer.
fn delivered(events: &[Event]) -> Option<u64> {
    events.iter().filter_map(|event| if let Event::Delivered { n } = event { Some(*n) } else { None }).next_back()
}

fn sent(events: &[Event]) -> Option<u64> {
    events.iter().filter_map(|event| if let Event::Sent { n } = event { Some(*n) } else { None }).next_back()
}

fn says(relay: &mut Relay, user: usize, range: std::ops::Range<usize>) {
    numbers(range).iter().for_each(|text| relay.types(user, text));
}

/// The chat that alice and bob are in.
fn chat(relay: &Relay) -> ChatId {
    let frame = relay.users[BOB].sealed().pop().expect("bob's client has shown that it has the group");
    protocol::ChatHeader::chat_of(&frame).unwrap()
}

fn hears(relay: &mut Relay, user: usize, frame: &ToClient) {
    relay.input(user, Input::Frame(frame.encode().unwrap()));
}

/// Frames that a user's client was made to send by `what`, before any of them gets anywhere.
fn sends(relay: &mut Relay, user: usize, what: impl FnOnce(&mut Relay)) -> Vec<ToServer> {
    let before = relay.users[user].outputs.len();
    what(relay);
    let new = relay.users[user].outputs[before..].iter();
    new.filter_map(|output| if let Output::Send(frame) = output { ToServer::decode(frame).ok() } else { None })
        .collect()
}

fn is_resume(frame: &Bytes) -> bool {
    frame.first() == Some(&(Code::Resume as u8))
}

/// Puts another number into a `Resume` on its way.
fn lie(frame: &mut [u8], expected: u64) {
    frame[17..25].copy_from_slice(&expected.to_be_bytes());
}

/// Both say something, and it arrives: the chat goes on, and nothing is left of what was before.
fn assert_goes_on(relay: &mut Relay) {
    relay.settle();
    relay.wait(MOMENT);
    relay.news(ALICE);
    relay.news(BOB);
    relay.types(ALICE, "do you hear me?");
    relay.types(BOB, "I do");
    relay.settle();
    relay.wait(MOMENT);
    for (user, text) in [(ALICE, "I do"), (BOB, "do you hear me?")] {
        let news = relay.news(user);
        assert_eq!(texts(&news), [text]);
        assert!(sent(&news).is_some() && delivered(&news) == sent(&news), "{news:?}");
    }
}

#[test]
fn what_is_said_without_a_connection_is_sent_afterwards_in_order_and_once() {
    for noticed in [Noticed::Both, Noticed::Client] {
        let mut relay = in_a_chat();
        says(&mut relay, ALICE, 0..1);
        relay.settle();
        relay.users[ALICE].unreachable = 4;
        relay.cut(ALICE, noticed);
        relay.settle();
        let before = relay.users.iter().map(|user| user.sealed().len()).collect::<Vec<_>>();
        says(&mut relay, ALICE, 1..101);
        if noticed == Noticed::Both {
            // Bob is told at once; and who has said it is not told that it was sent.
            says(&mut relay, BOB, 0..100);
            let after = relay.users.iter().map(|user| user.sealed().len()).collect::<Vec<_>>();
            assert_eq!(after, before, "nothing is sealed while it is not known when it could go");
        }
        assert_eq!(sent(&relay.users[ALICE].events), Some(0));
        relay.wait(Duration::from_secs(5));
        let (alice, bob) = (relay.news(ALICE), relay.news(BOB));
        assert_eq!(texts(&bob), numbers(0..101), "{noticed:?}");
        assert_eq!(texts(&alice).len(), if noticed == Noticed::Both { 100 } else { 0 }, "{noticed:?}");
        assert_eq!(texts(&alice), numbers(0..texts(&alice).len()));
        assert_eq!((sent(&alice), sent(&bob)), (delivered(&alice), delivered(&bob)), "{noticed:?}");
        assert_goes_on(&mut relay);
    }
}

/// Alice has sent six messages, of which bob has the first two and has not confirmed them, when her connection is cut.
fn cut_with_frames_in_flight() -> (Relay, Vec<Bytes>) {
    let mut relay = in_a_chat();
    relay.wait(MOMENT);
    let before = relay.users[ALICE].sealed().len();
    says(&mut relay, ALICE, 0..6);
    for way in [Way::Server(ALICE), Way::Session(BOB), Way::Client(BOB)] {
        assert!(relay.take_on(way) && relay.take_on(way), "two are on their way");
    }
    let in_flight = relay.users[ALICE].sealed().split_off(before);
    assert_eq!(in_flight.len(), 6);
    relay.cut(ALICE, Noticed::Both);
    (relay, in_flight)
}

/// Takes things on until that comes next to a user's client.
fn settle_until(relay: &mut Relay, user: usize, next: impl Fn(&Bytes) -> bool) {
    while !relay.next_frame(user).is_some_and(&next) {
        let way = relay.ways().first().copied().expect("it comes");
        relay.take_on(way);
    }
}

#[test]
fn frames_in_flight_are_sent_again_byte_for_byte() {
    let (mut relay, in_flight) = cut_with_frames_in_flight();
    let before = relay.users[ALICE].sealed().len();
    settle_until(&mut relay, ALICE, is_resume);
    assert_eq!(relay.users[ALICE].sealed().len(), before, "not before it is known from where");
    relay.take_on(Way::Client(ALICE));
    let again = relay.users[ALICE].sealed().split_off(before);
    assert_eq!(again[..4], in_flight[2..], "what bob has is not sent again, and no other bytes are");
    assert_eq!(again.len(), 5, "and a receipt for what bob has sent");
    relay.settle();
    relay.wait(MOMENT);
    assert_eq!(texts(&relay.news(BOB)), numbers(0..6));
    assert_goes_on(&mut relay);
}

/// The number in a `Resume` is the server's word. The mark that a message is delivered is the peer's.
#[test]
fn a_lie_about_what_the_peer_has_loses_and_repeats_nothing_and_delivers_no_mark() {
    let truth = {
        let (mut relay, _) = cut_with_frames_in_flight();
        settle_until(&mut relay, ALICE, is_resume);
        let Ok(ToClient::Resume(Resume { expected, .. })) = ToClient::decode(relay.next_frame(ALICE).unwrap()) else {
            panic!("that is no Resume");
        };
        expected
    };
    for lies in [0, truth - 1, truth, truth + 1, truth + 3, truth + 4, truth + 5, 1 << 40, u64::MAX] {
        let (mut relay, _) = cut_with_frames_in_flight();
        settle_until(&mut relay, ALICE, is_resume);
        relay.tamper(ALICE, |frame| lie(frame, lies));
        relay.take_on(Way::Client(ALICE));
        settle_until(&mut relay, ALICE, |frame| frame.first() == Some(&(Code::Message as u8)));
        assert_eq!(delivered(&relay.users[ALICE].events), None, "{lies} for {truth}: bob has not said so");
        relay.settle();
        relay.wait(MOMENT);
        let (alice, bob) = (relay.news(ALICE), relay.news(BOB));
        assert_eq!(texts(&bob), numbers(0..6), "{lies} for {truth}");
        assert_eq!(sent(&alice), delivered(&alice), "{lies} for {truth}");
        assert_goes_on(&mut relay);
    }
    // The other side is lied to just the same.
    for lies in [0, 1, 1 << 40] {
        let (mut relay, _) = cut_with_frames_in_flight();
        says(&mut relay, BOB, 0..3);
        settle_until(&mut relay, BOB, is_resume);
        relay.tamper(BOB, |frame| lie(frame, lies));
        relay.settle();
        relay.wait(MOMENT);
        assert_eq!(texts(&relay.news(BOB)), numbers(0..6), "{lies}");
        assert_eq!(texts(&relay.news(ALICE)), numbers(0..3), "{lies}");
        assert_goes_on(&mut relay);
    }
}

/// Lets everything arrive but what is to be lost, as long as it is; how many were.
fn settle_losing(relay: &mut Relay, user: usize, mut is_lost: impl FnMut(&Bytes) -> bool) -> usize {
    let mut lost = 0;
    while let Some(way) = relay.ways().first().copied() {
        if way == Way::Client(user) && relay.next_frame(user).is_some_and(&mut is_lost) {
            relay.lose(user);
            lost += 1;
        } else {
            relay.take_on(way);
        }
    }
    lost
}

#[test]
fn what_is_missing_is_asked_for_three_times() {
    let asks = |relay: &Relay, user: usize| {
        let sent = relay.users[user].outputs.iter();
        sent.filter(|output| matches!(output, Output::Send(frame) if is_resume(frame))).count()
    };
    let mut relay = in_a_chat();
    relay.types(ALICE, "lost");
    let lost = relay.users[ALICE].sealed().pop().unwrap();
    relay.types(ALICE, "after it");
    assert_eq!(settle_losing(&mut relay, BOB, |frame| *frame == lost), 4, "sent, and sent again three times");
    assert_eq!(asks(&relay, BOB), 3);
    assert_eq!(told(&mut relay, BOB), ["error protocol", "chat_closed alice Error"]);
    assert_eq!(told(&mut relay, ALICE).pop().unwrap(), "chat_closed bob Error");

    // Three times for each, as long as something comes in between.
    let mut relay = in_a_chat();
    let before = relay.users[ALICE].sealed().len();
    says(&mut relay, ALICE, 0..6);
    let mut left: Vec<_> = relay.users[ALICE].sealed().split_off(before).into_iter().map(|frame| (frame, 3)).collect();
    // Whatever comes after it shows that one is missing; nothing comes after the last.
    left.pop();
    let lost = settle_losing(&mut relay, BOB, |frame| match left.iter_mut().find(|(_, times)| *times > 0) {
        Some((lost, times)) if lost == frame => {
            *times -= 1;
            true
        }
        _ => false,
    });
    assert_eq!(lost, 15);
    assert_eq!(texts(&relay.news(BOB)), numbers(0..6));
    assert_goes_on(&mut relay);
}

#[test]
fn frames_that_change_places_are_put_in_order() {
    let mut relay = in_a_chat();
    says(&mut relay, ALICE, 0..3);
    while relay.take_on(Way::Server(ALICE)) {}
    while relay.take_on(Way::Session(BOB)) {}
    let first = relay.next_frame(BOB).unwrap().clone();
    relay.lose(BOB);
    relay.take_on(Way::Client(BOB));
    relay.input(BOB, Input::Frame(first));
    relay.settle();
    assert_eq!(texts(&relay.news(BOB)), numbers(0..3));
    assert_goes_on(&mut relay);
}

#[test]
fn words_about_lines_that_are_out_of_place_change_nothing() {
    let other = ChatId::from_bytes([9; 16]);
    let ignores = |relay: &mut Relay, user: usize, frames: &[ToClient], context: &str| {
        let before = relay.users[user].outputs.len();
        frames.iter().for_each(|frame| hears(relay, user, frame));
        assert_eq!(relay.users[user].outputs[before..], [], "{context}");
    };
    let about = |chat| [ToClient::PeerAway(chat), ToClient::Resume(Resume { chat, expected: 0 })];
    let mut relay = logged_in(&["alice", "bob"]);
    ignores(&mut relay, ALICE, &about(other), "free");
    relay.types(ALICE, "--r bob");
    let requested = relay.users[ALICE].outputs.iter().find_map(|output| match output {
        Output::Send(frame) => match ToServer::decode(frame) {
            Ok(ToServer::RequestToTalk(request)) => Some(request.chat),
            _ => None,
        },
        _ => None,
    });
    let requested = requested.expect("a request was sent");
    ignores(&mut relay, ALICE, &about(requested), "calling");
    relay.settle();
    ignores(&mut relay, BOB, &about(requested), "ringing");
    relay.types(BOB, "--y");
    ignores(&mut relay, BOB, &about(requested), "awaiting the welcome");
    relay.settle();
    ignores(&mut relay, ALICE, &about(other), "in another chat");
    ignores(&mut relay, ALICE, &about(requested)[1..], "the line is open");
    says(&mut relay, ALICE, 0..3);
    ignores(&mut relay, ALICE, &about(requested)[1..], "the line is open, with frames in flight");
    relay.settle();
    assert_eq!(texts(&relay.news(BOB)), numbers(0..3));
    assert_goes_on(&mut relay);
    relay.types(ALICE, "/leave");
    relay.settle();
    ignores(&mut relay, ALICE, &about(requested), "after it");
    ignores(&mut relay, BOB, &about(requested), "after it");
}

#[test]
fn a_peer_who_is_away_is_told_of_once_and_so_is_where_one_stands() {
    let mut relay = in_a_chat();
    let chat = chat(&relay);
    let away = |relay: &mut Relay| sends(relay, ALICE, |relay| hears(relay, ALICE, &ToClient::PeerAway(chat)));
    let answer = away(&mut relay);
    assert!(matches!(answer[..], [ToServer::Resume(Resume { chat: about, .. })] if about == chat), "{answer:?}");
    for _ in 0..2 {
        assert_eq!(away(&mut relay), [], "said once for each break");
    }
    assert_eq!(told(&mut relay, ALICE), ["peer_away bob"]);
    hears(&mut relay, ALICE, &ToClient::Resume(Resume { chat, expected: 0 }));
    hears(&mut relay, ALICE, &ToClient::Resume(Resume { chat, expected: 0 }));
    assert_eq!(told(&mut relay, ALICE), ["peer_back bob"]);
    // And a second time it is news again.
    assert_eq!(away(&mut relay).len(), 1);
    assert_eq!(told(&mut relay, ALICE), ["peer_away bob"]);
    hears(&mut relay, ALICE, &ToClient::Resume(Resume { chat, expected: 0 }));
    assert_goes_on(&mut relay);
}

/// The server takes bob for there, whose connection is dead: it does not say that he is away, but he does not answer.
#[test]
fn a_peer_who_does_not_open_the_line_is_away_whatever_the_server_knows() {
    for gap in [false, true] {
        let mut relay = in_a_chat();
        relay.users[BOB].unreachable = NEVER;
        if gap {
            says(&mut relay, BOB, 0..2);
            for way in [Way::Server(BOB), Way::Session(ALICE)] {
                assert!(relay.take_on(way) && relay.take_on(way), "two are on their way");
            }
            relay.lose(ALICE);
            relay.cut(BOB, Noticed::Client);
        } else {
            relay.cut(BOB, Noticed::Client);
            relay.cut(ALICE, Noticed::Both);
        }
        relay.settle();
        relay.wait(Duration::from_millis(1999));
        let expected: &[_] = if gap { &[] } else { &["error unreachable", "reconnecting", "reconnected"] };
        assert_eq!(told(&mut relay, ALICE), expected, "gap: {gap}");
        relay.wait(Duration::from_millis(1));
        assert_eq!(told(&mut relay, ALICE), ["peer_away bob"], "gap: {gap}");
        relay.users[BOB].unreachable = 0;
        relay.wait(Duration::from_secs(15));
        let expected: &[_] =
            if gap { &["peer_back bob", "message bob 0", "message bob 1"] } else { &["peer_back bob"] };
        assert_eq!(told(&mut relay, ALICE), expected, "gap: {gap}");
        assert_goes_on(&mut relay);
    }
}

#[test]
fn a_number_can_be_compared_without_a_connection() {
    let mut relay = in_a_chat();
    relay.users[ALICE].unreachable = NEVER;
    relay.cut(ALICE, Noticed::Both);
    relay.news(ALICE);
    relay.types(ALICE, "/verify 12345");
    relay.types(ALICE, "/verify");
    assert_eq!(told(&mut relay, ALICE), ["error not_in_chat", "verified bob"]);
    assert!(relay.users[ALICE].pins.values().all(|pin| pin.verified));
}

#[test]
fn nothing_leaves_while_the_line_is_broken() {
    let mut relay = in_a_chat();
    // Alice has something to confirm, something in flight, and soon something to renew.
    relay.wait(Duration::from_secs(25));
    says(&mut relay, BOB, 0..3);
    relay.settle();
    says(&mut relay, ALICE, 0..3);
    relay.users[BOB].unreachable = 10;
    relay.users[BOB].is_rejected = true;
    relay.cut(BOB, Noticed::Both);
    relay.settle();
    assert_eq!(told(&mut relay, ALICE).last().unwrap(), "peer_away bob");
    let before = relay.users[ALICE].sealed();
    says(&mut relay, ALICE, 3..6);
    relay.wait(Duration::from_secs(5));
    assert_eq!(relay.users[ALICE].sealed(), before, "no receipt, no text, no renewal");
    assert!(relay.users[BOB].unreachable < 4, "bob has tried: {}", relay.users[BOB].unreachable);
    relay.wait(Duration::from_secs(15));
    assert_eq!(texts(&relay.news(BOB)), numbers(0..6));
    assert_goes_on(&mut relay);
}

#[test]
fn as_much_is_taken_in_while_the_line_is_broken_as_else() {
    for away in [ALICE, BOB] {
        let mut relay = in_a_chat();
        relay.users[away].unreachable = 3;
        relay.cut(away, Noticed::Both);
        relay.settle();
        let mut taken = 0;
        while relay.users[ALICE].client.is_ready() {
            says(&mut relay, ALICE, taken..taken + 1);
            taken += 1;
            assert!(taken <= 256, "memory is bounded");
        }
        assert_eq!(taken, 256);
        relay.wait(Duration::from_secs(2));
        assert!(relay.users[ALICE].client.is_ready());
        let (alice, bob) = (relay.news(ALICE), relay.news(BOB));
        assert_eq!(texts(&bob), numbers(0..256));
        assert_eq!(sent(&alice), delivered(&alice));
        assert_goes_on(&mut relay);
    }
}

#[test]
fn a_renewal_that_falls_due_while_the_line_is_broken_comes_after_it() {
    // The first is bob's.
    for away in [ALICE, BOB] {
        let mut relay = in_a_chat();
        relay.wait(Duration::from_secs(29));
        relay.users[away].unreachable = NEVER;
        relay.cut(away, Noticed::Both);
        relay.wait(Duration::from_secs(5));
        assert!(!told(&mut relay, BOB).contains(&"renewed 2".to_owned()));
        relay.users[away].unreachable = 0;
        relay.wait(Duration::from_secs(15));
        for user in [ALICE, BOB] {
            assert_eq!(told_of_chat(&mut relay, user).last().unwrap(), "renewed 2");
        }
        relay.wait(Duration::from_secs(30));
        assert_eq!(told(&mut relay, ALICE), ["renewed 3"]);
        assert_goes_on(&mut relay);
    }
}

/// A computer that slept finds the frames that came meanwhile, and only then can hear what the server answers.
#[test]
fn who_was_held_up_in_a_chat_misses_nothing() {
    let mut relay = in_a_chat();
    says(&mut relay, BOB, 0..3);
    while relay.take_on(Way::Server(BOB)) {}
    while relay.take_on(Way::Session(ALICE)) {}
    let connections =
        |relay: &Relay| relay.users[ALICE].outputs.iter().filter(|output| **output == Output::Connect).count();
    relay.now += Duration::from_secs(40);
    relay.input(ALICE, Input::Tick);
    relay.settle();
    relay.wait(MOMENT);
    assert_eq!(texts(&relay.news(ALICE)), numbers(0..3));
    assert_eq!(connections(&relay), 1, "the connection is the first");
    assert_goes_on(&mut relay);
}

#[test]
fn who_leaves_without_a_connection_waits_a_little_for_the_way_back() {
    for line in ["--ex", "/leave"] {
        let mut relay = in_a_chat();
        relay.users[ALICE].unreachable = 3;
        relay.types(ALICE, "on its way");
        relay.cut(ALICE, Noticed::Both);
        relay.types(ALICE, "waiting");
        relay.types(ALICE, line);
        relay.types(ALICE, "too late");
        assert_eq!(told(&mut relay, ALICE).last().unwrap(), "error not_in_chat");
        relay.wait(Duration::from_secs(2));
        let bob = told_of_chat(&mut relay, BOB);
        let expected = [
            "peer_away alice",
            "peer_back alice",
            "message alice on its way",
            "message alice waiting",
            "chat_closed alice Goodbye",
        ];
        assert_eq!(bob, expected, "{line}");
        let alice = relay.news(ALICE);
        assert!(
            alice.contains(&Event::ChatClosed { peer: "bob".into(), reason: Ending::Goodbye, undelivered: 0 }),
            "{alice:?}"
        );
        assert_eq!(relay.users[ALICE].quit, line == "--ex");
        let alice: Vec<_> = alice.iter().filter_map(short).collect();
        match line {
            "--ex" => assert_eq!(alice[alice.len() - 2..], ["chat_closed bob Goodbye", "logged_out"]),
            _ => {
                assert_eq!(alice[alice.len() - 3..], ["chat_closed bob Goodbye", "logged_out", "logged_in alice"]);
                start_chat(&mut relay);
                assert_goes_on(&mut relay);
            }
        }
    }
}

#[test]
fn who_leaves_and_finds_no_way_back_says_so_and_goes() {
    for twice in [false, true] {
        for line in ["--ex", "/leave"] {
            let context = format!("{line}, twice: {twice}");
            let mut relay = in_a_chat();
            relay.users[ALICE].unreachable = NEVER;
            relay.types(ALICE, "on its way");
            relay.cut(ALICE, Noticed::Both);
            relay.types(ALICE, "waiting");
            relay.wait(Duration::from_secs(1));
            relay.types(ALICE, line);
            relay.news(ALICE);
            if twice {
                relay.types(ALICE, line);
            } else {
                relay.wait(LEAVES_IN - Duration::from_millis(1));
                assert!(told(&mut relay, ALICE).iter().all(|event| event == "reconnecting later"), "{context}");
                relay.wait(Duration::from_millis(1));
            }
            let alice = relay.news(ALICE);
            let closed = Event::ChatClosed { peer: "bob".into(), reason: Ending::Lost, undelivered: 2 };
            assert!(alice.contains(&closed), "{context}: {alice:?}");
            let error = alice.iter().find_map(|event| match event {
                Event::Error { message, peer, .. } => Some((message.clone(), peer.clone())),
                _ => None,
            });
            let (message, peer) = error.expect("an error says why");
            assert!(message.starts_with("the server could not be reached"), "{message}");
            assert_eq!(peer.as_deref(), Some("bob"));
            let alice: Vec<_> = alice.iter().filter_map(short).collect();
            let mut expected = vec!["error unreachable", "chat_closed bob Lost"];
            expected.extend((line == "--ex").then_some("logged_out"));
            assert_eq!(alice, expected, "{context}");
            assert_eq!(relay.users[ALICE].quit, line == "--ex");
            if line == "/leave" {
                // She is on her way back as before, and free: bob is told so when she is there.
                relay.types(ALICE, "hello?");
                assert_eq!(told(&mut relay, ALICE), ["error not_in_chat"], "{context}");
                relay.users[ALICE].unreachable = 0;
                relay.wait(Duration::from_secs(15));
                assert_eq!(told(&mut relay, ALICE).last().unwrap(), "reconnected");
                assert_eq!(told(&mut relay, BOB), ["peer_away alice", "chat_closed alice Lost"], "{context}");
                start_chat(&mut relay);
                assert_goes_on(&mut relay);
            }
        }
    }
}

#[test]
fn who_leaves_while_the_peer_is_away_waits_no_longer() {
    // Bob does not come back.
    let mut relay = in_a_chat();
    relay.users[BOB].unreachable = NEVER;
    relay.cut(BOB, Noticed::Both);
    relay.settle();
    relay.types(ALICE, "waiting");
    relay.types(ALICE, "--ex");
    relay.settle();
    assert_eq!(told(&mut relay, ALICE), ["peer_away bob"]);
    relay.wait(LEAVES_IN - Duration::from_millis(1));
    assert!(!relay.users[ALICE].quit);
    relay.wait(Duration::from_millis(1));
    let alice = relay.news(ALICE);
    assert!(relay.users[ALICE].quit);
    assert!(
        matches!(&alice[0], Event::Error { message, .. } if message.starts_with("bob could not be reached")),
        "{alice:?}"
    );
    assert_eq!(alice[1], Event::ChatClosed { peer: "bob".into(), reason: Ending::Lost, undelivered: 1 });
    relay.users[BOB].unreachable = 0;
    relay.wait(Duration::from_secs(100));
    // The server has forgotten that she left, as it forgets all.
    assert_eq!(told_of_chat(&mut relay, BOB), ["peer_away alice", "chat_closed alice Lost"]);

    // He does, and she goes at once.
    let mut relay = in_a_chat();
    relay.users[BOB].unreachable = 3;
    relay.cut(BOB, Noticed::Both);
    relay.settle();
    relay.types(ALICE, "waiting");
    relay.types(ALICE, "--ex");
    relay.wait(Duration::from_secs(2));
    assert!(relay.users[ALICE].quit);
    assert_eq!(told(&mut relay, ALICE), ["peer_away bob", "peer_back bob", "chat_closed bob Goodbye", "logged_out"]);
    assert_eq!(told_of_chat(&mut relay, BOB), ["message alice waiting", "chat_closed alice Goodbye"]);
}

#[test]
fn a_goodbye_goes_over_a_cut_like_all_before_it() {
    for line in ["--ex", "/leave"] {
        for noticed in [Noticed::Both, Noticed::Client, Noticed::Server] {
            let mut relay = in_a_chat();
            relay.users[ALICE].unreachable = 2;
            relay.types(ALICE, "last words");
            relay.types(ALICE, line);
            relay.cut(ALICE, noticed);
            // Only a client that notices has its time: else it goes when its time is up, without an answer.
            relay.wait(Duration::from_secs(20));
            let bob = told(&mut relay, BOB);
            let alice = told_of_chat(&mut relay, ALICE);
            if noticed == Noticed::Server {
                assert_eq!(bob[0], "peer_away alice");
                assert!(alice.contains(&"chat_closed bob Goodbye".to_owned()), "{alice:?}");
                continue;
            }
            let expected =
                ["peer_away alice", "peer_back alice", "message alice last words", "chat_closed alice Goodbye"];
            assert_eq!(bob, expected, "{line} {noticed:?}");
            assert_eq!(alice[..2], ["chat_closed bob Goodbye", "logged_out"], "{line} {noticed:?}");
        }
    }
}

/// At whatever point it is that one of the two is cut. Who said it may not get to know that what came before it is
/// there: bob has heard the goodbye, is in no chat any more, and his word of it was lost.
#[test]
fn a_goodbye_arrives_and_who_said_it_goes() {
    for (line, cut) in [("--ex", ALICE), ("--ex", BOB), ("/leave", ALICE)] {
        for noticed in [Noticed::Both, Noticed::Client] {
            for steps in 0.. {
                let context = format!("{line}, {cut} is cut after {steps} steps, {noticed:?}");
                let mut relay = in_a_chat();
                relay.types(BOB, "heard");
                relay.types(ALICE, "last words");
                relay.types(ALICE, line);
                let ways = iter::from_fn(|| relay.ways().first().copied().map(|way| relay.take_on(way)));
                let taken = ways.take(steps).count();
                relay.cut(cut, noticed);
                relay.settle();
                relay.wait(Duration::from_secs(2));
                let (alice, bob) = (relay.news(ALICE), relay.news(BOB));
                let closed = |events: &[Event]| {
                    let closed = events.iter().filter_map(|event| match event {
                        Event::ChatClosed { reason, undelivered, .. } => Some((*reason, *undelivered)),
                        _ => None,
                    });
                    closed.collect::<Vec<_>>()
                };
                assert_eq!(texts(&bob), ["last words"], "{context}");
                let [(Ending::Goodbye, bob_lost)] = closed(&bob)[..] else { panic!("{context}: {bob:?}") };
                assert!(bob_lost == 1 || texts(&alice) == ["heard"], "{context}: {alice:?}");
                let known = [(Ending::Goodbye, 0)];
                let unknown = [(Ending::Goodbye, 1)];
                let alices = closed(&alice);
                assert!(alices == known || (alices == unknown && taken == steps), "{context}: {alice:?}");
                assert_eq!(relay.users[ALICE].quit, line == "--ex", "{context}");
                if taken < steps {
                    break;
                }
            }
        }
    }
}

/// The end waits for nothing but the word that the goodbye is there.
#[test]
fn who_leaves_is_gone_as_soon_as_the_goodbye_is_there() {
    let mut relay = in_a_chat();
    says(&mut relay, ALICE, 0..40);
    relay.types(ALICE, "--ex");
    relay.settle();
    assert!(relay.users[ALICE].quit, "no time went by");
    assert_eq!(texts(&relay.news(BOB)), numbers(0..40));
    assert_eq!(told(&mut relay, ALICE), ["chat_closed bob Goodbye", "logged_out"]);

    // Bob's sealed word is enough; the server's that the chat is closed may be late, or never come.
    let mut relay = in_a_chat();
    relay.types(ALICE, "--ex");
    let is_closed = |frame: &Bytes| frame.first() == Some(&(Code::ChatClosed as u8));
    assert_eq!(settle_losing(&mut relay, ALICE, is_closed), 0, "she is gone before that comes");
    assert!(relay.users[ALICE].quit);
    assert_eq!(told(&mut relay, ALICE), ["chat_closed bob Goodbye", "logged_out"]);

    // Two who leave at once hold up neither.
    let mut relay = in_a_chat();
    relay.types(ALICE, "--ex");
    relay.types(BOB, "--ex");
    relay.settle();
    relay.wait(LEAVES_IN);
    for (user, peer) in [(ALICE, "bob"), (BOB, "alice")] {
        assert!(relay.users[user].quit);
        assert_eq!(told(&mut relay, user), [&format!("chat_closed {peer} Goodbye"), "logged_out"]);
    }
}

/// As any sealed frame does: no receipt follows it.
#[test]
fn a_goodbye_confirms_what_came_before_it() {
    let mut relay = in_a_chat();
    says(&mut relay, BOB, 0..1);
    relay.settle();
    relay.types(ALICE, "--ex");
    let before = relay.users[ALICE].sealed();
    relay.now += MOMENT;
    relay.input(ALICE, Input::Tick);
    assert_eq!(relay.users[ALICE].sealed(), before);
    relay.settle();
    let bob = relay.news(BOB);
    assert_eq!(delivered(&bob), sent(&bob), "{bob:?}");
}

/// Who does not want to wait goes with a goodbye, if one can be sent, whatever is still before it.
#[test]
fn who_leaves_twice_says_goodbye_and_does_not_wait() {
    let mut relay = in_a_chat();
    says(&mut relay, ALICE, 0..300);
    relay.types(ALICE, "--ex");
    assert!(!relay.users[ALICE].quit, "the window is full");
    relay.news(ALICE);
    relay.types(ALICE, "--ex");
    assert!(relay.users[ALICE].quit);
    let closed = Event::ChatClosed { peer: "bob".into(), reason: Ending::Goodbye, undelivered: 300 };
    assert_eq!(relay.news(ALICE), [closed, Event::LoggedOut]);
    // Before a word of bob's finds nobody there, which breaks the line.
    while relay.take_on(Way::Session(BOB)) {}
    relay.settle();
    let bob = relay.news(BOB);
    assert_eq!(texts(&bob), numbers(0..256));
    assert!(matches!(bob.last(), Some(Event::ChatClosed { reason: Ending::Goodbye, .. })), "{bob:?}");
}

/// The goodbye is said, and may or may not have arrived: whoever said it is told that this is not known.
#[test]
fn who_said_goodbye_and_hears_nothing_is_told_so() {
    for cut in [ALICE, BOB] {
        let mut relay = in_a_chat();
        relay.types(ALICE, "--ex");
        relay.users[cut].unreachable = NEVER;
        relay.cut(cut, Noticed::Both);
        relay.settle();
        relay.wait(LEAVES_IN);
        assert!(relay.users[ALICE].quit);
        let alice = relay.news(ALICE);
        let is_told = alice.iter().any(|event| match event {
            Event::Error { message, peer: Some(peer), .. } => {
                peer == "bob" && message.starts_with("bob did not confirm your goodbye")
            }
            _ => false,
        });
        assert!(is_told, "{cut}: {alice:?}");
        let closed = Event::ChatClosed { peer: "bob".into(), reason: Ending::Goodbye, undelivered: 0 };
        assert!(alice.contains(&closed), "{cut}: {alice:?}");
    }
}

#[test]
fn commands_after_a_leave_wait_for_the_log_in() {
    // Bob is away, so the leave takes its time.
    let mut relay = in_a_chat();
    relay.users[BOB].unreachable = NEVER;
    relay.cut(BOB, Noticed::Both);
    relay.settle();
    for line in ["/leave", "--l", "--r carol"] {
        relay.types(ALICE, line);
    }
    relay.settle();
    relay.wait(LEAVES_IN - Duration::from_millis(1));
    assert_eq!(told(&mut relay, ALICE), ["peer_away bob"]);
    relay.wait(Duration::from_millis(1));
    let expected = [
        "error unreachable",
        "chat_closed bob Lost",
        "logged_out",
        "logged_in alice",
        "calling carol",
        "users ",
        "user_not_found carol",
    ];
    assert_eq!(told(&mut relay, ALICE), expected);

    // Alice's own connection is cut, and back in time.
    let mut relay = in_a_chat();
    relay.users[ALICE].unreachable = 2;
    relay.cut(ALICE, Noticed::Both);
    for line in ["/leave", "--l"] {
        relay.types(ALICE, line);
    }
    relay.wait(Duration::from_secs(2));
    let told_alice = told_of_chat(&mut relay, ALICE);
    assert_eq!(told_alice, ["chat_closed bob Goodbye", "logged_out", "logged_in alice", "users bob"]);
}

#[test]
fn a_caller_who_is_cut_before_the_peer_has_shown_its_group() {
    for noticed in [Noticed::Both, Noticed::Client, Noticed::Server] {
        // The welcome has reached the server, or bob, or has not gone out; bob's word is on its way back, or lost.
        for steps in 0..4 {
            let mut relay = logged_in(&["alice", "bob"]);
            relay.types(ALICE, "--r bob");
            relay.settle();
            relay.types(BOB, "--y");
            for way in [Way::Server(BOB), Way::Session(ALICE), Way::Client(ALICE)] {
                assert!(relay.take_on(way));
            }
            for way in [Way::Server(ALICE), Way::Session(BOB), Way::Client(BOB)].into_iter().take(steps) {
                assert!(relay.take_on(way));
            }
            assert!(!told(&mut relay, ALICE).iter().any(|event| event.starts_with("chat_started")));
            relay.users[ALICE].unreachable = 1;
            relay.cut(ALICE, noticed);
            relay.settle();
            if steps == 3 {
                // With nothing of alice's to come that would call for an answer.
                relay.types(BOB, "is it you?");
            }
            relay.settle();
            // Before the first renewal, which would take along what waits.
            relay.wait(Duration::from_secs(25));
            let context = format!("{noticed:?} after {steps} steps");
            let (alice, bob) = (told_of_chat(&mut relay, ALICE), told_of_chat(&mut relay, BOB));
            assert_eq!(alice.contains(&"message bob is it you?".to_owned()), steps == 3, "{context}: {alice:?}");
            let has = |told: &[String], event: &str| told.iter().any(|told| told.starts_with(event));
            assert_eq!(has(&alice, "chat_started"), steps > 0, "{context}: {alice:?}");
            assert_eq!(has(&bob, "chat_started"), steps > 0, "{context}: {bob:?}");
            assert_eq!(has(&alice, "chat_closed bob Lost"), steps == 0, "{context}: {alice:?}");
            assert_eq!(has(&bob, "chat_closed alice Lost"), steps == 0, "{context}: {bob:?}");
            if steps == 0 {
                start_chat(&mut relay);
            }
            assert_goes_on(&mut relay);
        }
    }
}

#[test]
fn an_accepter_who_is_cut_before_the_welcome_has_no_chat_and_nor_has_the_caller() {
    for noticed in [Noticed::Both, Noticed::Client, Noticed::Server] {
        for steps in 0..6 {
            let mut relay = logged_in(&["alice", "bob"]);
            relay.types(ALICE, "--r bob");
            relay.settle();
            relay.types(BOB, "--y");
            let ways =
                [Way::Server(BOB), Way::Session(ALICE), Way::Client(ALICE), Way::Server(ALICE), Way::Session(BOB)];
            for way in ways.into_iter().take(steps) {
                assert!(relay.take_on(way));
            }
            relay.cut(BOB, noticed);
            relay.settle();
            relay.wait(Duration::from_secs(60));
            let context = format!("{noticed:?} after {steps} steps");
            let (alice, bob) = (told_of_chat(&mut relay, ALICE), told_of_chat(&mut relay, BOB));
            assert!(
                !alice.iter().chain(&bob).any(|event| event.starts_with("chat_started")),
                "{context}: {alice:?} {bob:?}"
            );
            assert_eq!(bob.last().unwrap(), "chat_closed alice Lost", "{context}");
            let over = ["chat_closed bob Lost", "user_not_found bob"];
            assert!(over.contains(&alice.last().unwrap().as_str()), "{context}: {alice:?}");
            start_chat(&mut relay);
            assert_goes_on(&mut relay);
        }
    }
}

/// Both have frames in flight. One is cut, and while the line is being opened again one of them is cut again, at each
/// point of that there is.
#[test]
fn a_line_that_breaks_again_while_it_opens_loses_and_repeats_nothing() {
    for (first, second) in [(ALICE, ALICE), (ALICE, BOB), (BOB, ALICE), (BOB, BOB)] {
        for noticed in [Noticed::Both, Noticed::Client] {
            breaks_twice_at_each_point(first, second, noticed, 0);
        }
    }
}

/// The same with a renewal among the frames: what was sealed before it is sent again and opened after it.
#[test]
fn a_renewal_in_flight_is_sent_again_like_the_rest() {
    for (first, second) in [(ALICE, BOB), (BOB, ALICE)] {
        breaks_twice_at_each_point(first, second, Noticed::Both, protocol::limits::RENEW_AFTER_MESSAGES - 3);
    }
}

fn breaks_twice_at_each_point(first: usize, second: usize, noticed: Noticed, said_before: u64) {
    for steps in 0.. {
        let context = format!("{first}, then {second} after {steps} steps, {noticed:?}");
        let mut relay = in_a_chat();
        (0..said_before).for_each(|_| relay.types(ALICE, "long ago"));
        relay.settle();
        relay.wait(MOMENT);
        relay.news(ALICE);
        relay.news(BOB);
        says(&mut relay, ALICE, 0..5);
        says(&mut relay, BOB, 0..5);
        for _ in 0..7 {
            let way = relay.ways()[0];
            relay.take_on(way);
        }
        relay.cut(first, noticed);
        let ways = iter::from_fn(|| relay.ways().last().copied().map(|way| relay.take_on(way)));
        let taken = ways.take(steps).count();
        relay.cut(second, noticed);
        says(&mut relay, ALICE, 5..10);
        says(&mut relay, BOB, 5..10);
        relay.settle();
        relay.wait(Duration::from_secs(5));
        for user in [ALICE, BOB] {
            let news = relay.news(user);
            assert_eq!(texts(&news), numbers(0..10), "{context}: {news:?}");
            assert_eq!(sent(&news), delivered(&news), "{context}: {news:?}");
            let renewed = news.iter().filter(|event| matches!(event, Event::Renewed { .. })).count();
            assert_eq!(renewed, usize::from(said_before > 0), "{context}: {news:?}");
        }
        assert_goes_on(&mut relay);
        if taken < steps {
            assert!(taken > 10, "only {taken} points were there to be cut at");
            return;
        }
    }
}

/// A chat ends for who stayed when who went does not come back, and not before.
#[test]
fn who_does_not_come_back_is_waited_for_so_long_and_no_longer() {
    let mut relay = in_a_chat();
    relay.users[ALICE].unreachable = NEVER;
    relay.types(BOB, "on its way");
    relay.cut(ALICE, Noticed::Both);
    relay.types(BOB, "waiting");
    relay.settle();
    relay.wait(patience().grace - Duration::from_secs(1));
    assert_eq!(told(&mut relay, BOB), ["peer_away alice"]);
    relay.wait(Duration::from_secs(1));
    let closed = Event::ChatClosed { peer: "alice".into(), reason: Ending::Lost, undelivered: 2 };
    assert_eq!(relay.news(BOB), [closed]);
    // Alice, who is back after all, is told that it is over.
    relay.users[ALICE].unreachable = 0;
    relay.news(ALICE);
    relay.wait(Duration::from_secs(15));
    assert_eq!(told_of_chat(&mut relay, ALICE), ["chat_closed bob Lost"]);
    tell(
        &mut relay,
        &[
            ("alice", "--r bob", &["alice: calling bob", "bob: request alice"]),
            ("bob", "--y", &["alice: chat_started bob pinned", "bob: chat_started alice pinned"]),
        ],
    );
    assert!(relay.users[BOB].client.deadline().is_some());
}

/// Two who chat find each other within a second of a network's return, for as long as their server waits for them. A
/// server that is there, and has no room or no time for them, is left alone for longer.
#[test]
fn who_is_in_a_chat_and_meets_nobody_tries_again_soon_for_a_minute() {
    let waits = |is_rejected| {
        let mut relay = in_a_chat();
        relay.users[ALICE].unreachable = NEVER;
        relay.users[ALICE].is_rejected = is_rejected;
        relay.cut(ALICE, Noticed::Both);
        let mut at = 0;
        let mut waits = Vec::new();
        while at < 120_000 {
            for event in relay.news(ALICE) {
                if let Event::Reconnecting { in_ms } = event {
                    waits.push((at, in_ms));
                }
            }
            relay.wait(Duration::from_millis(50));
            at += 50;
        }
        waits
    };
    let longest = |waits: &[(u64, u64)], from: u64, to: u64| {
        waits.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, wait)| *wait).max().unwrap()
    };
    let unanswered = waits(false);
    assert!(longest(&unanswered, 0, 58_000) <= 938, "{unanswered:?}");
    assert!(longest(&unanswered, 0, 58_000) > 800, "spread: {unanswered:?}");
    assert!(longest(&unanswered, 80_000, 120_000) >= 7_500, "{unanswered:?}");
    let rejected = waits(true);
    assert!(longest(&rejected, 0, 58_000) >= 7_500, "{rejected:?}");
}

/// However short the time between two cuts: the first attempt after each is made at once.
#[test]
fn a_line_that_brought_something_is_worth_another_attempt_at_once() {
    let mut relay = in_a_chat();
    for cut in 0..12 {
        relay.cut(ALICE, Noticed::Both);
        relay.settle();
        let waits: Vec<_> = relay
            .news(ALICE)
            .iter()
            .filter_map(|event| if let Event::Reconnecting { in_ms } = event { Some(*in_ms) } else { None })
            .collect();
        assert_eq!(waits, [0], "cut {cut}");
    }
    assert_goes_on(&mut relay);
}
