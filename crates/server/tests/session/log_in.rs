//! From the TLS handshake to the log-in, and what a session says of itself from then on.

use std::time::Duration;

use protocol::{
    Attempt, ClientId, Close, CloseReason, List, Login, Machine as _, PublicKey, ServerError, ToClient, ToServer,
};
use server::{
    session::{Input, Line, Output, Session, Side, State, Timer},
    signal::SignalKind,
};

use crate::{
    all_frames,
    bob::{ATTEMPT, CHAT, EXPECTED, KEY, OTHER_KEY, PEER, Test, ended, held, login, name, sent},
};

#[test]
fn unknown_names_and_wrong_keys_get_the_same_answer_at_the_same_time() {
    let mut answers = Vec::new();
    for (registered, delay, held) in [
        (None, 0, None),
        (Some(OTHER_KEY), 0, None),
        (None, 200, None),
        (Some(OTHER_KEY), 200, None),
        (None, 0, Some(held("alice"))),
        (Some(OTHER_KEY), 0, Some(held("alice"))),
    ] {
        let mut test = Test::new();
        assert_eq!(test.frame(&ToServer::Login(login(held))), [Output::LookUp(name("bob"))]);
        test.now += Duration::from_millis(delay);
        assert_eq!(test.input(Input::Registered(Some(registered))), [], "nothing is told before its time");
        answers.push(test.next_deadline());
    }
    assert_eq!(answers[0], (Duration::from_millis(300), ended(ServerError::UnknownUser).to_vec()));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[test]
fn nobody_has_the_key_of_an_unknown_user() {
    let mut test = Test::with_key(PublicKey::from_bytes([0; 32]));
    test.frame(&ToServer::Login(login(None)));
    assert_eq!(test.input(Input::Registered(Some(None))), []);
    assert_eq!(test.next_deadline().1, ended(ServerError::UnknownUser));
}

/// Which log-in of which client it is decides nothing here: the router puts sessions in each other's place.
#[test]
fn a_session_is_registered_with_the_attempt_that_its_client_named() {
    for attempt in [Attempt::first(ClientId::from_bytes([0; 16])), ATTEMPT, Attempt { number: u32::MAX, ..ATTEMPT }] {
        let mut test = Test::new();
        test.frame(&ToServer::Login(Login { attempt, ..login(Some(held("alice"))) }));
        let out = test.input(Input::Registered(Some(Some(KEY))));
        assert_eq!(out[0], Output::Register { user: name("bob"), attempt, held: Some(CHAT) });
    }
}

/// The network brought its log-in after that of a newer connection with the same chat, which the router knows: it has
/// said what it had to, and takes nothing from the newer one.
#[test]
fn a_session_whose_log_in_came_late_leaves_its_chat_alone() {
    let mut late = Test::awaiting_peer();
    assert_eq!(late.input(Input::Replaced { held: Some(CHAT) }), ended(ServerError::Replaced));
    assert_eq!((late.session.state(), late.session.deadline()), (None, None));
}

#[test]
fn a_directory_that_cannot_be_asked_lets_nobody_in() {
    let mut test = Test::new();
    test.frame(&ToServer::Login(login(None)));
    assert_eq!(test.input(Input::Registered(None)), ended(ServerError::Unavailable));
}

#[test]
fn whoever_does_not_log_in_in_time_is_let_go() {
    let mut test = Test::new();
    assert_eq!(test.next_deadline(), (Duration::from_secs(10), ended(ServerError::Idle).to_vec()));
    assert_eq!(test.session.deadline(), None);
}

#[test]
fn before_the_log_in_nothing_else_is_heard() {
    for frame in all_frames() {
        let out = Test::new().frame(&frame);
        match &frame {
            ToServer::Login(_) => assert_eq!(out, [Output::LookUp(name("bob"))]),
            ToServer::Exit => assert_eq!(out, [Output::Disconnect]),
            _ => assert_eq!(out, ended(ServerError::Protocol), "{frame:?}"),
        }
        let mut looking_up = Test::new();
        looking_up.frame(&ToServer::Login(login(None)));
        let out = looking_up.frame(&frame);
        match &frame {
            ToServer::Exit => assert_eq!(out, [Output::Disconnect]),
            _ => assert_eq!(out, ended(ServerError::Protocol), "{frame:?}"),
        }
    }
}

#[test]
fn a_user_removed_between_look_up_and_registration_is_ended() {
    for registered in [None, Some(OTHER_KEY)] {
        let mut test = Test::bob();
        assert_eq!(test.input(Input::Registered(Some(registered))), ended(ServerError::Removed));
    }
    assert_eq!(Test::bob().input(Input::Registered(Some(Some(KEY)))), []);
}

/// Its time would tell how long the look-up took, and an answer that the name exists.
#[test]
fn nothing_that_a_client_sends_hurries_a_refusal() {
    for frame in all_frames() {
        let mut test = Test::new();
        test.frame(&ToServer::Login(login(None)));
        assert_eq!(test.input(Input::Registered(Some(None))), []);
        assert_eq!(test.frame(&frame), [], "{frame:?}");
        assert_eq!(test.input(Input::Frame(b"\xff"[..].into())), [], "not a frame");
        assert_eq!(test.next_deadline(), (Duration::from_millis(300), ended(ServerError::UnknownUser).to_vec()));
    }
}

#[test]
fn a_list_is_for_those_who_have_logged_in() {
    let list = List { names: vec![name("alice"), name("bob")], more: true };
    assert_eq!(Test::bob().input(Input::Listed(list.clone())), [sent(&ToClient::List(list.clone()))]);
    assert_eq!(Test::chatting().input(Input::Listed(list.clone())), [sent(&ToClient::List(list.clone()))]);
    let mut looking_up = Test::new();
    looking_up.frame(&ToServer::Login(login(None)));
    let mut over = Test::bob();
    over.input(Input::Lost);
    for mut test in [Test::new(), looking_up, over] {
        assert_eq!(test.input(Input::Listed(list.clone())), []);
    }
}

#[test]
fn a_session_says_where_it_stands_and_what_it_waits_for() {
    fn timers(session: &Session) -> Vec<Timer> {
        let mut timers: Vec<_> = session.timers().running().map(|(timer, _)| timer).collect();
        timers.sort();
        timers
    }
    let (peer, chat) = (|| name("alice"), CHAT);
    let establishing = |side| State::Establishing { peer: peer(), chat, session: PEER, side };
    let broken = |expected, told| State::Chatting { peer: peer(), chat, line: Line::Broken { expected, told } };
    let open = State::Chatting { peer: peer(), chat, line: Line::Open(PEER) };
    let ringing = State::Ringing { peer: peer(), chat, session: PEER };
    let mut opened_again = Test::awaiting_peer();
    opened_again.say(PEER, SignalKind::Answer(0));
    let mut missing_something = Test::chatting();
    missing_something.resume(3);
    for (mut test, state, expected) in [
        (Test::bob(), State::Free, vec![]),
        (Test::calling("alice"), State::Calling { peer: peer(), chat }, vec![Timer::Request, Timer::Check]),
        (Test::ringing("alice"), ringing, vec![Timer::Request]),
        (Test::caller_establishing(), establishing(Side::Caller), vec![Timer::Establishment]),
        (Test::accepter_establishing(), establishing(Side::Accepter), vec![Timer::Establishment]),
        (Test::chatting(), open.clone(), vec![Timer::Check]),
        (opened_again, open, vec![Timer::Check]),
        (missing_something, broken(Some(3), false), vec![Timer::Grace, Timer::Probe]),
        (Test::awaiting_client(), broken(None, true), vec![Timer::Grace]),
        (Test::awaiting_peer(), broken(Some(EXPECTED), false), vec![Timer::Grace, Timer::Probe]),
    ] {
        assert_eq!(test.session.user(), Some(&name("bob")));
        assert_eq!(test.session.state(), Some(&state));
        assert_eq!(timers(&test.session), [&[Timer::Idle], &expected[..]].concat(), "{state:?}");
        assert_eq!(state.chat(), (state != State::Free).then_some(CHAT));
        assert_eq!(state.peer().cloned(), (state != State::Free).then(peer));
        test.frame(&ToServer::ChatClosed(Close { chat, reason: CloseReason::Left }));
        assert_eq!((test.session.state(), timers(&test.session)), (Some(&State::Free), vec![Timer::Idle]));
        test.input(Input::Lost);
        assert_eq!((test.session.user(), test.session.state(), timers(&test.session)), (None, None, vec![]));
    }
    let mut test = Test::new();
    assert_eq!((test.session.user(), test.session.state(), timers(&test.session)), (None, None, vec![Timer::Login]));
    test.frame(&ToServer::Login(login(None)));
    assert_eq!((test.session.user(), test.session.state(), timers(&test.session)), (None, None, vec![Timer::Login]));
    test.input(Input::Registered(Some(None)));
    assert_eq!((test.session.user(), test.session.state(), timers(&test.session)), (None, None, vec![Timer::Refusal]));
}
