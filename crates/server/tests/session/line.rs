//! The line of a chat: what breaks it, and how it opens again.

use std::time::Duration;

use bytes::Bytes;
use protocol::{ChatId, Close, CloseReason, Establish, Machine as _, Request, Resume, ToClient, ToServer};
use server::{
    session::{Input, Output},
    signal::{Signal, SignalKind, Undelivered},
};

use crate::bob::{
    CHAT, EXPECTED, KEY, NEXT, OTHER_CHAT, OTHER_KEY, PEER, Test, ask, closed, held, left, let_go, logged_in, message,
    name, peer_away, resumed, sent, signal, tell,
};

const LINES: [fn() -> Test; 3] = [Test::chatting, Test::awaiting_client, Test::awaiting_peer];

#[test]
fn every_signal_in_every_state_of_the_line() {
    let frame = message(CHAT).encode().unwrap();
    let none = Vec::new;
    // The line open to PEER; broken, the client to say where it stands; broken, the peer asked.
    let table = [
        (PEER, SignalKind::Ask(9), [vec![peer_away()], none(), vec![resumed(9), tell(SignalKind::Answer(EXPECTED))]]),
        (NEXT, SignalKind::Ask(9), [vec![peer_away()], none(), vec![resumed(9), tell(SignalKind::Answer(EXPECTED))]]),
        (PEER, SignalKind::Answer(9), [none(), none(), vec![resumed(9)]]),
        (NEXT, SignalKind::Answer(9), [none(), none(), vec![resumed(9)]]),
        (PEER, SignalKind::Away, [vec![peer_away()], none(), none()]),
        (NEXT, SignalKind::Away, [none(), none(), none()]),
        (PEER, SignalKind::Message(frame.clone()), [vec![Output::Send(frame.clone())], none(), none()]),
        (NEXT, SignalKind::Message(frame), [none(), none(), none()]),
        (PEER, SignalKind::Check, [none(), none(), none()]),
        (NEXT, SignalKind::Check, [vec![peer_away()], none(), none()]),
    ];
    for (session, kind, expected) in table {
        for (place, (make, expected)) in LINES.iter().zip(expected).enumerate() {
            assert_eq!(make().say(session, kind.clone()), expected, "{kind:?} of {session:?} in {place}");
        }
    }
    for make in LINES {
        for session in [PEER, NEXT] {
            let reason = CloseReason::Left;
            assert_eq!(make().say(session, SignalKind::Close(reason)), [closed(reason)], "of either session");
        }
    }
}

#[test]
fn a_line_opens_for_the_session_that_asked_or_answered() {
    for kind in [SignalKind::Ask(9), SignalKind::Answer(9)] {
        for (session, other) in [(PEER, NEXT), (NEXT, PEER)] {
            let mut test = Test::awaiting_peer();
            assert!(test.is_broken());
            test.say(session, kind.clone());
            assert!(test.is_open_to(session));
            assert!(!test.is_open_to(other));
            assert_eq!(test.say(other, SignalKind::Away), [], "not its line");
            assert!(test.is_open_to(session));
            assert_eq!(test.say(session, SignalKind::Away), [peer_away()]);
            assert!(test.is_broken());
        }
    }
}

#[test]
fn both_clients_say_where_they_stand_before_a_line_opens() {
    let mut test = Test::awaiting_client();
    assert_eq!(test.say(NEXT, SignalKind::Ask(9)), [], "bob's client has not heard of the break, or not answered");
    assert_eq!(test.say(NEXT, SignalKind::Answer(9)), [], "to nothing that was asked");
    assert!(test.is_broken());
    assert_eq!(test.resume(4), [ask(4)]);
    assert!(test.is_broken());
    assert_eq!(test.say(NEXT, SignalKind::Ask(9)), [resumed(9), tell(SignalKind::Answer(4))]);
    assert!(test.is_open_to(NEXT));
    assert_eq!(test.say(NEXT, SignalKind::Answer(9)), [], "both asked, and both lines are open");
    assert!(test.is_open_to(NEXT));
}

/// The peer's session is another, or its client has missed something: either way its line is no longer this one.
#[test]
fn an_open_line_that_is_asked_for_is_opened_anew() {
    for session in [PEER, NEXT] {
        let mut test = Test::chatting();
        assert_eq!(test.say(session, SignalKind::Ask(9)), [peer_away()]);
        assert!(test.is_broken());
        assert_eq!(test.resume(6), [ask(6)]);
        assert_eq!(test.say(session, SignalKind::Answer(9)), [resumed(9)]);
        assert!(test.is_open_to(session));
    }
}

/// An answer that lay in the mailbox of a session that was replaced leaves two lines that do not meet.
#[test]
fn a_line_that_the_peer_has_open_from_elsewhere_is_opened_anew() {
    let mut test = Test::chatting();
    assert_eq!(test.say(NEXT, SignalKind::Check), [peer_away()]);
    assert!(test.is_broken());
    assert_eq!(test.resume(6), [ask(6)]);
    assert_eq!(test.say(NEXT, SignalKind::Ask(9)), [resumed(9), tell(SignalKind::Answer(6))]);
    assert!(test.is_open_to(NEXT));
}

#[test]
fn a_client_that_has_missed_something_asks_for_it() {
    let mut test = Test::chatting();
    let other = ToServer::Resume(Resume { chat: OTHER_CHAT, expected: 3 });
    assert_eq!(test.frame(&other), [], "of a chat that is over");
    assert!(test.is_open_to(PEER));
    assert_eq!(test.resume(3), [ask(3)]);
    assert!(test.is_broken(), "nothing passes until the peer's client sends again");
    assert_eq!(test.frame(&other), []);
    assert_eq!(test.say(PEER, SignalKind::Answer(9)), [resumed(9)]);
    assert!(test.is_open_to(PEER));

    let mut test = Test::awaiting_client();
    assert_eq!(test.frame(&other), []);
    assert_eq!(test.say(PEER, SignalKind::Ask(9)), [], "that was no answer");
}

#[test]
fn what_a_client_expects_may_change_while_the_line_is_broken() {
    let mut test = Test::awaiting_peer();
    assert_eq!(test.resume(6), [], "the peer is asked at the server's pace");
    assert_eq!(test.by_itself(1), [(1, ask(6))]);
    assert_eq!(test.resume(7), []);
    assert_eq!(test.say(PEER, SignalKind::Ask(9)), [resumed(9), tell(SignalKind::Answer(7))]);
}

#[test]
fn the_peers_session_is_asked_every_second_until_the_line_opens() {
    let asked = |expected, seconds| -> Vec<_> { (1..=seconds).map(|second| (second, ask(expected))).collect() };
    let mut test = Test::awaiting_peer();
    assert_eq!(test.by_itself(20), asked(EXPECTED, 20));
    test.say(PEER, SignalKind::Answer(0));
    assert_eq!(test.by_itself(9), []);
    test.resume(3);
    assert_eq!(test.by_itself(3), asked(3, 3));
    test.say(PEER, SignalKind::Ask(0));
    assert_eq!(test.by_itself(9), []);
    test.say(PEER, SignalKind::Away);
    assert_eq!(test.by_itself(5), [], "the client has yet to say where it stands");
    test.resume(4);
    assert_eq!(test.by_itself(3), asked(4, 3));
    test.say(PEER, SignalKind::Close(CloseReason::Left));
    assert_eq!(test.by_itself(30), []);
}

#[test]
fn a_broken_line_ends_the_chat_on_both_sides_after_a_time() {
    let ended = [(60, tell(SignalKind::CallOff(CloseReason::Expired))), (60, closed(CloseReason::Expired))];
    let mut broken_by_client = Test::chatting();
    broken_by_client.resume(3);
    for mut test in [Test::awaiting_client(), Test::awaiting_peer(), broken_by_client] {
        let out = test.by_itself(60);
        assert!(out.ends_with(&ended), "{out:?}");
        let mut before = out.iter().take(out.len() - ended.len());
        assert!(before.all(|(_, output)| matches!(output, Output::Signal { signal, .. } if signal.kind.is_repeated())));
        assert_eq!(test.say(NEXT, SignalKind::Ask(0)), [left()], "it is over");
        assert_eq!(test.by_itself(20), []);
    }
}

#[test]
fn a_line_that_opened_has_the_whole_time_at_its_next_break() {
    let mut test = Test::awaiting_client();
    test.by_itself(50);
    test.resume(0);
    test.say(PEER, SignalKind::Answer(0));
    let checks = test.by_itself(20);
    assert_eq!(checks, [(10, tell(SignalKind::Check)), (20, tell(SignalKind::Check))], "an open line has no limit");
    test.frame(&ToServer::Ping);
    test.say(PEER, SignalKind::Away);
    assert_eq!(test.by_itself(59), []);
    assert_eq!(test.resume(0), [ask(0)], "neither the word of the client nor the absence of the peer puts it off");
    assert_eq!(test.absent(true), []);
    assert!(test.by_itself(1).contains(&(1, closed(CloseReason::Expired))));
}

#[test]
fn a_client_is_told_once_that_its_peer_is_away() {
    let mut test = Test::awaiting_peer();
    assert_eq!(test.absent(true), [peer_away()]);
    assert_eq!(test.absent(true), []);
    assert_eq!(test.resume(EXPECTED), []);
    assert_eq!(test.absent(true), []);

    let mut test = Test::awaiting_client();
    assert_eq!(test.absent(false), []);
    assert_eq!(test.resume(EXPECTED), [ask(EXPECTED)]);
    assert_eq!(test.absent(true), []);
    assert_eq!(test.say(NEXT, SignalKind::Ask(9)).len(), 2);
    assert_eq!(test.absent(false), [peer_away()], "another break");

    // A message, a look or an answer finds nobody.
    for is_repeated in [false, true] {
        let mut test = Test::chatting();
        assert_eq!(test.absent(is_repeated), [peer_away()]);
        assert!(test.is_broken());
        assert_eq!(test.absent(is_repeated), []);
        assert_eq!(test.say(PEER, SignalKind::Away), [], "its own word comes late");
    }

    let mut test = Test::chatting();
    assert_eq!(test.resume(3), [ask(3)]);
    assert_eq!(test.absent(true), [peer_away()]);
    assert_eq!(test.absent(true), []);

    let absent = |to, chat| Input::Undelivered { to: name(to), chat, is_repeated: false, why: Undelivered::Absent };
    assert_eq!(Test::chatting().input(absent("alice", OTHER_CHAT)), [], "a word about another chat");
    assert_eq!(Test::chatting().input(absent("carol", CHAT)), [], "an answer to one who named this chat");
}

#[test]
fn whether_the_peer_still_has_the_chat_is_looked_after_while_the_line_is_open() {
    let check = |second| (second, tell(SignalKind::Check));
    let mut caller = Test::caller_establishing();
    caller.frame(&ToServer::SessionEstablishment(Establish { chat: CHAT, welcome: b"welcome"[..].into() }));
    for mut test in [Test::chatting(), caller] {
        assert_eq!(test.by_itself(35), [check(10), check(20), check(30)]);
        test.frame(&ToServer::Ping);
        test.say(PEER, SignalKind::Away);
        assert_eq!(test.by_itself(35), []);
        test.frame(&ToServer::Ping);
        test.resume(0);
        test.say(NEXT, SignalKind::Answer(0));
        assert_eq!(test.by_itself(15), [check(10)]);
        test.frame(&ToServer::ChatClosed(Close { chat: CHAT, reason: CloseReason::Left }));
        assert_eq!(test.by_itself(35), []);
    }
}

/// Whoever has a chat learns in time that the other does not; whoever is asked about a chat by a stranger learns nothing.
#[test]
fn whoever_asks_after_a_chat_that_is_not_there_hears_that_it_is_over() {
    fn hear(test: &mut Test, from: &str, chat: ChatId, kind: SignalKind) -> Vec<Output> {
        test.input(Input::Signal(Signal { from: name(from), session: NEXT, chat, kind }))
    }
    let close = SignalKind::Close(CloseReason::Left);
    for kind in [SignalKind::Ask(0), SignalKind::Check] {
        assert_eq!(hear(&mut Test::bob(), "alice", CHAT, kind.clone()), [left()]);
        for make in [|| Test::calling("carol"), || Test::ringing("carol")] {
            assert_eq!(hear(&mut make(), "alice", CHAT, kind.clone()), [left()], "of the same id, by another user");
        }
        for make in LINES {
            let mut test = make();
            let [of_alice, of_carol] = [("alice", OTHER_CHAT), ("carol", CHAT)]
                .map(|(from, chat)| (hear(&mut test, from, chat, kind.clone()), signal(from, chat, close.clone())));
            assert_eq!(of_alice.0, [of_alice.1]);
            assert_eq!(of_carol.0, [of_carol.1]);
        }
    }
    for kind in [SignalKind::Answer(0), SignalKind::Away, close, SignalKind::Message(b"frame"[..].into())] {
        assert_eq!(hear(&mut Test::bob(), "alice", CHAT, kind.clone()), [], "no word is made of a late one");
        for make in LINES {
            let mut test = make();
            assert_eq!(hear(&mut test, "carol", CHAT, kind.clone()), []);
            assert_eq!(hear(&mut test, "alice", OTHER_CHAT, kind.clone()), []);
        }
    }
}

#[test]
fn a_chat_that_is_being_set_up_has_no_line_yet() {
    for make in
        [|| Test::calling("alice"), || Test::ringing("alice"), Test::caller_establishing, Test::accepter_establishing]
    {
        for kind in [SignalKind::Ask(0), SignalKind::Answer(0), SignalKind::Away, SignalKind::Check] {
            let mut test = make();
            let deadline = test.session.deadline();
            assert_eq!(test.say(PEER, kind), []);
            assert_eq!(test.session.deadline(), deadline, "its own limit holds");
        }
    }
}

#[test]
fn what_is_said_again_may_find_a_mailbox_full() {
    let full = || Input::Undelivered { to: name("alice"), chat: CHAT, is_repeated: true, why: Undelivered::Full };
    for make in LINES {
        assert_eq!(make().input(full()), []);
    }
    let mut test = Test::awaiting_peer();
    assert_eq!(test.by_itself(1), [(1, ask(EXPECTED))]);
    assert_eq!(test.input(full()), []);
    assert_eq!(test.by_itself(1), [(1, ask(EXPECTED))]);
    let mut test = Test::chatting();
    test.input(full());
    assert!(test.is_open_to(PEER));
    assert_eq!(test.by_itself(10), [(10, tell(SignalKind::Check))]);
}

#[test]
fn only_asking_and_looking_is_said_again() {
    assert!(SignalKind::Ask(0).is_repeated() && SignalKind::Check.is_repeated());
    let (key, bytes, reason) = (KEY, Bytes::from_static(b"bytes"), CloseReason::Left);
    for once in [
        SignalKind::Request { key },
        SignalKind::Unavailable,
        SignalKind::Refuse,
        SignalKind::Accept { key, key_package: bytes.clone() },
        SignalKind::Establish { key, welcome: bytes.clone() },
        SignalKind::Message(bytes),
        SignalKind::CallOff(reason),
        SignalKind::Close(reason),
        SignalKind::Away,
        SignalKind::Answer(0),
    ] {
        assert!(!once.is_repeated(), "{once:?}");
    }
}

#[test]
fn nobody_comes_back_with_a_chat_with_oneself() {
    let mut test = Test::new();
    let [register, ok] = logged_in(Some(CHAT));
    assert_eq!(test.log_in(Some(held("bob"))), [register, ok, closed(CloseReason::Left)]);
    assert_eq!(test.next_deadline().0, Duration::from_secs(90), "nobody is asked");
    let mut test = Test::new();
    test.log_in(Some(held("bob")));
    let out = test.hear("carol", OTHER_CHAT, SignalKind::Request { key: OTHER_KEY });
    assert_eq!(out, [sent(&ToClient::RequestToTalk(Request { peer: name("carol"), chat: OTHER_CHAT }))], "bob is free");
}

#[test]
fn a_chat_that_was_given_up_while_its_line_was_broken_is_over() {
    for make in [Test::awaiting_client, Test::awaiting_peer] {
        let mut test = make();
        let close = Close { chat: CHAT, reason: CloseReason::Left };
        assert_eq!(test.frame(&ToServer::ChatClosed(close)), [let_go()]);
        assert_eq!(test.absent(false), [], "whom that did not reach");
        assert_eq!(test.say(NEXT, SignalKind::Ask(0)), [left()], "hears it on coming back");
        let request = Request { peer: name("carol"), chat: OTHER_CHAT };
        let out = test.frame(&ToServer::RequestToTalk(request));
        assert_eq!(out, [signal("carol", OTHER_CHAT, SignalKind::Request { key: KEY })]);
    }
}

#[test]
fn the_time_of_a_broken_line_is_not_held_against_what_comes_after_the_chat() {
    let mut test = Test::awaiting_client();
    test.by_itself(50);
    test.say(PEER, SignalKind::Close(CloseReason::Left));
    test.frame(&ToServer::RequestToTalk(Request { peer: name("carol"), chat: OTHER_CHAT }));
    let expired = CloseReason::Expired;
    let told = sent(&ToClient::ChatClosed(Close { chat: OTHER_CHAT, reason: expired }));
    let called_off = signal("carol", OTHER_CHAT, SignalKind::CallOff(expired));
    let check = |seconds| (seconds, signal("carol", OTHER_CHAT, SignalKind::Check));
    let all = [10, 20, 30, 40, 50].map(check).into_iter().chain([(60, called_off), (60, told)]);
    assert_eq!(test.by_itself(60), all.collect::<Vec<_>>());
}
