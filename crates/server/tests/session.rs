//! The session machine, state by state.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use bytes::Bytes;
use proptest::prelude::*;
use protocol::{
    Accept, ChatHeader, Close, CloseReason, Establish, Page, Request, Resume, ServerError, ToClient, ToServer,
};
use server::{
    session::{Input, Output, State},
    signal::{SignalKind, Undelivered},
};

use crate::bob::{
    CHAT, KEY, OTHER_CHAT, OTHER_KEY, Test, ask, closed, ended, left, login, message, name, sent, signal, tell,
};

#[path = "session/bob.rs"]
mod bob;
#[path = "session/elsewhere.rs"]
mod elsewhere;
#[path = "session/ends.rs"]
mod ends;
#[path = "session/line.rs"]
mod line;
#[path = "session/log_in.rs"]
mod log_in;
#[path = "session/often.rs"]
mod often;
#[path = "session/too_fast.rs"]
mod too_fast;
#[path = "session/two.rs"]
mod two;
#[path = "session/whatever_comes.rs"]
mod whatever_comes;

type Make = fn() -> Test;

/// One of each frame that a client can send, about the chat of the state.
fn all_frames() -> Vec<ToServer> {
    let bytes = Bytes::from_static(b"bytes");
    vec![
        ToServer::Exit,
        ToServer::List(Page::default()),
        ToServer::RequestToTalk(Request { peer: name("carol"), chat: OTHER_CHAT }),
        ToServer::Accept(Accept { chat: CHAT, key_package: bytes.clone() }),
        ToServer::Refuse(CHAT),
        message(CHAT),
        ToServer::SessionEstablishment(Establish { chat: CHAT, welcome: bytes }),
        ToServer::ChatClosed(Close { chat: CHAT, reason: CloseReason::Left }),
        ToServer::Login(login(None)),
        ToServer::Ping,
        ToServer::Resume(Resume { chat: CHAT, expected: 3 }),
    ]
}

/// Frames that are neither answered nor passed on in a state: they crossed with the end of what they are about.
#[test]
fn every_frame_in_every_state() {
    let busy = sent(&ToClient::ChatClosed(Close { chat: OTHER_CHAT, reason: CloseReason::Busy }));
    let request = signal("carol", OTHER_CHAT, SignalKind::Request { key: KEY });
    let bytes = Bytes::from_static(b"bytes");
    let accept = tell(SignalKind::Accept { key: KEY, key_package: bytes.clone() });
    let establish = tell(SignalKind::Establish { key: KEY, welcome: bytes });
    let pass_on = tell(SignalKind::Message(message(CHAT).encode().unwrap()));
    let refuse = tell(SignalKind::Refuse);
    let called_off = tell(SignalKind::CallOff(CloseReason::Left));
    let list = Output::List(Page::default());
    let pong = sent(&ToClient::Pong);
    let [error, disconnect] = ended(ServerError::Protocol);
    let violation = vec![error.clone(), left(), disconnect.clone()];
    let leave = vec![left(), Output::Disconnect];
    let calls_off_and_leaves = vec![called_off.clone(), Output::Disconnect];
    let violation_calls_off = vec![error.clone(), called_off.clone(), disconnect.clone()];
    let none = Vec::new;
    // In the order of `all_frames`: Exit, List, RequestToTalk, Accept, Refuse, Message, SessionEstablishment,
    // ChatClosed, Login, Ping, Resume.
    let table: [(&str, Make, [Vec<Output>; 11]); 8] = [
        (
            "Free",
            Test::bob,
            [
                vec![Output::Disconnect],
                vec![list.clone()],
                vec![request],
                none(),
                none(),
                none(),
                none(),
                none(),
                vec![error, disconnect],
                vec![pong.clone()],
                none(),
            ],
        ),
        (
            "Calling",
            || Test::calling("alice"),
            [
                calls_off_and_leaves.clone(),
                vec![list.clone()],
                vec![busy.clone()],
                none(),
                none(),
                none(),
                none(),
                vec![called_off.clone()],
                violation_calls_off.clone(),
                vec![pong.clone()],
                none(),
            ],
        ),
        (
            "Ringing",
            || Test::ringing("alice"),
            [
                leave.clone(),
                vec![list.clone()],
                vec![busy.clone()],
                vec![accept],
                vec![refuse],
                none(),
                none(),
                vec![left()],
                violation.clone(),
                vec![pong.clone()],
                none(),
            ],
        ),
        (
            "Establishing, caller",
            Test::caller_establishing,
            [
                leave.clone(),
                vec![list.clone()],
                vec![busy.clone()],
                none(),
                none(),
                none(),
                vec![establish],
                vec![left()],
                violation.clone(),
                vec![pong.clone()],
                none(),
            ],
        ),
        (
            "Establishing, accepter",
            Test::accepter_establishing,
            [
                leave.clone(),
                vec![list.clone()],
                vec![busy.clone()],
                none(),
                none(),
                none(),
                violation.clone(),
                vec![left()],
                violation.clone(),
                vec![pong.clone()],
                none(),
            ],
        ),
        (
            "Chatting, the line open",
            Test::chatting,
            [
                leave,
                vec![list.clone()],
                vec![busy.clone()],
                none(),
                none(),
                vec![pass_on],
                violation.clone(),
                vec![left()],
                violation,
                vec![pong.clone()],
                vec![ask(3)],
            ],
        ),
        (
            "Chatting, the line broken, the client to say where it stands",
            Test::awaiting_client,
            [
                calls_off_and_leaves.clone(),
                vec![list.clone()],
                vec![busy.clone()],
                none(),
                none(),
                none(),
                violation_calls_off.clone(),
                vec![called_off.clone()],
                violation_calls_off.clone(),
                vec![pong.clone()],
                vec![ask(3)],
            ],
        ),
        (
            "Chatting, the line broken, the peer asked",
            Test::awaiting_peer,
            [
                calls_off_and_leaves,
                vec![list],
                vec![busy],
                none(),
                none(),
                none(),
                violation_calls_off.clone(),
                vec![called_off],
                violation_calls_off,
                vec![pong],
                none(),
            ],
        ),
    ];
    for (state, make, expected) in table {
        for (frame, expected) in all_frames().into_iter().zip(expected) {
            assert_eq!(make().frame(&frame), expected, "{frame:?} in {state}");
        }
    }
}

#[test]
fn a_frame_of_a_chat_reaches_only_the_other_party_of_that_chat() {
    let mut test = Test::chatting();
    let frame = message(CHAT).encode().unwrap();
    assert_eq!(test.input(Input::Frame(frame.clone())), [tell(SignalKind::Message(frame.clone()))]);
    assert_eq!(test.frame(&message(OTHER_CHAT)), [], "of a chat that is over");
    assert_eq!(test.hear("alice", CHAT, SignalKind::Message(frame.clone())), [Output::Send(frame.clone())]);
    assert_eq!(test.hear("carol", CHAT, SignalKind::Message(frame.clone())), [], "of nobody's chat");
    assert_eq!(test.hear("alice", OTHER_CHAT, SignalKind::Message(frame.clone())), [], "of a chat that is over");
    assert_eq!(Test::bob().hear("alice", CHAT, SignalKind::Message(frame)), []);
    assert_eq!(test.hear("carol", CHAT, SignalKind::Close(CloseReason::Left)), [], "not carol's to end");
}

/// They crossed with the end of that chat.
#[test]
fn frames_about_another_chat_change_nothing() {
    let bytes = Bytes::from_static(b"bytes");
    let about_another = [
        ToServer::Accept(Accept { chat: OTHER_CHAT, key_package: bytes.clone() }),
        ToServer::Refuse(OTHER_CHAT),
        ToServer::SessionEstablishment(Establish { chat: OTHER_CHAT, welcome: bytes }),
        ToServer::ChatClosed(Close { chat: OTHER_CHAT, reason: CloseReason::Left }),
        message(OTHER_CHAT),
        ToServer::Resume(Resume { chat: OTHER_CHAT, expected: 3 }),
    ];
    let states: [Make; 8] = [
        Test::bob,
        || Test::calling("alice"),
        || Test::ringing("alice"),
        Test::caller_establishing,
        Test::accepter_establishing,
        Test::chatting,
        Test::awaiting_client,
        Test::awaiting_peer,
    ];
    for make in states {
        let mut test = make();
        let before = test.session.state().cloned();
        for frame in &about_another {
            assert_eq!(test.frame(frame), [], "{frame:?} in {before:?}");
            assert_eq!(test.session.state().cloned(), before, "{frame:?}");
        }
    }
}

/// What is passed on is a whole frame: a client that sends less ends its own connection, not its peer's.
#[test]
fn a_message_that_is_cut_or_too_long_ends_its_sender() {
    let whole = message(CHAT).encode().unwrap();
    for length in 0..whole.len() {
        let mut out = Test::chatting().input(Input::Frame(whole.slice(..length)));
        assert_eq!(out.remove(0), sent(&ToClient::Error(ServerError::Protocol)), "{length}");
    }
    let longer = [&whole[..], b"x"].concat();
    let empty = [&whole[..ChatHeader::AAD_LEN], &[0, 0]].concat();
    for frame in [longer, empty] {
        let mut out = Test::chatting().input(Input::Frame(frame.into()));
        assert_eq!(out.remove(0), sent(&ToClient::Error(ServerError::Protocol)));
    }
}

#[test]
fn whoever_is_not_free_is_unavailable() {
    let unavailable = [signal("carol", OTHER_CHAT, SignalKind::Unavailable)];
    for mut test in [
        Test::calling("alice"),
        Test::ringing("alice"),
        Test::caller_establishing(),
        Test::accepter_establishing(),
        Test::chatting(),
        Test::awaiting_client(),
        Test::awaiting_peer(),
    ] {
        assert_eq!(test.hear("carol", OTHER_CHAT, SignalKind::Request { key: OTHER_KEY }), unavailable);
    }
}

#[test]
fn nobody_calls_oneself() {
    let mut test = Test::bob();
    let oneself = ToServer::RequestToTalk(Request { peer: name("bob"), chat: CHAT });
    assert_eq!(test.frame(&oneself), [sent(&ToClient::UserNotFound(CHAT))]);
    assert_eq!(test.session.state(), Some(&State::Free));
}

#[test]
fn of_two_who_call_each_other_the_smaller_names_call_stands() {
    // bob calls alice, and alice calls bob: alice's stands.
    let mut test = Test::calling("alice");
    let out = test.hear("alice", OTHER_CHAT, SignalKind::Request { key: OTHER_KEY });
    assert_eq!(out, [sent(&ToClient::RequestToTalk(Request { peer: name("alice"), chat: OTHER_CHAT }))]);
    // bob calls carol, and carol calls bob: bob's stands, and carol's session sees to it.
    let mut test = Test::calling("carol");
    assert_eq!(test.hear("carol", OTHER_CHAT, SignalKind::Request { key: OTHER_KEY }), []);
    // A call to the one whose request is on its way to the client needs no answer: the client accepts.
    let mut test = Test::ringing("alice");
    assert_eq!(test.frame(&ToServer::RequestToTalk(Request { peer: name("alice"), chat: OTHER_CHAT })), []);
}

#[test]
fn what_other_sessions_say_is_passed_on_as_it_has_to_be() {
    let not_found = [sent(&ToClient::UserNotFound(CHAT))];
    assert_eq!(Test::calling("alice").hear("alice", CHAT, SignalKind::Unavailable), not_found);
    assert_eq!(Test::calling("alice").hear("alice", CHAT, SignalKind::Close(CloseReason::Left)), not_found);
    assert_eq!(Test::calling("alice").hear("alice", CHAT, SignalKind::Refuse), [sent(&ToClient::Refuse(CHAT))]);
    let undelivered = |why| Input::Undelivered { to: name("alice"), chat: CHAT, is_repeated: false, why };
    for why in [Undelivered::Absent, Undelivered::Full] {
        assert_eq!(Test::calling("alice").input(undelivered(why)), not_found);
    }
    for reason in [CloseReason::CalledOff, CloseReason::Expired, CloseReason::Left, CloseReason::Failed] {
        assert_eq!(Test::ringing("alice").hear("alice", CHAT, SignalKind::CallOff(reason)), [closed(reason)]);
        assert_eq!(Test::chatting().hear("alice", CHAT, SignalKind::Close(reason)), [closed(reason)]);
    }
    for make in [|| Test::ringing("alice"), Test::caller_establishing, Test::accepter_establishing] {
        assert_eq!(make().input(undelivered(Undelivered::Absent)), [closed(CloseReason::Left)]);
    }
    let (close, let_go) = (SignalKind::Close(CloseReason::Overrun), SignalKind::CallOff(CloseReason::Overrun));
    let made: [(Make, SignalKind); 4] = [
        (Test::accepter_establishing, close.clone()),
        (Test::chatting, close),
        (Test::awaiting_client, let_go.clone()),
        (Test::awaiting_peer, let_go),
    ];
    for (make, told) in made {
        let overrun = [tell(told), closed(CloseReason::Overrun)];
        assert_eq!(make().input(undelivered(Undelivered::Full)), overrun, "whoever ignores the window loses the chat");
    }
}

#[test]
fn reasons_that_only_a_server_gives_are_not_taken_from_a_client() {
    for reason in [CloseReason::Expired, CloseReason::Busy, CloseReason::Overrun] {
        let out = Test::bob().frame(&ToServer::ChatClosed(Close { chat: CHAT, reason }));
        assert_eq!(out, ended(ServerError::Protocol));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_session_panic_or_speak_after_its_end(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20)) {
        let states: [fn() -> Test; 6] = [
            Test::new,
            Test::bob,
            || Test::ringing("alice"),
            Test::chatting,
            Test::awaiting_client,
            Test::awaiting_peer,
        ];
        for make in states {
            let mut test = make();
            let mut over = false;
            for frame in &frames {
                let out = test.input(Input::Frame(frame.clone().into()));
                prop_assert!(!over || out.is_empty());
                over |= out.contains(&Output::Disconnect);
            }
        }
    }
}
