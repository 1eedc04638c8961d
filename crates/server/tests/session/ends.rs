//! How requests, chats and sessions end, and who is told.

use std::time::Duration;

use bytes::Bytes;
use protocol::{Close, CloseReason, Machine as _, Request, ServerError, ToClient, ToServer};
use server::{
    session::{Input, Output, State},
    signal::{Signal, SignalKind, Undelivered},
};

use crate::{
    Make,
    bob::{CHAT, KEY, OTHER_CHAT, PEER, Test, closed, ended, left, let_go, message, name, sent, signal, tell},
};

/// However a request or a chat ends: another can begin at once, and nothing of the first is left to run out.
#[test]
fn whoever_has_no_chat_any_more_is_free() {
    let hear = |kind| Input::Signal(Signal { from: name("alice"), session: PEER, chat: CHAT, kind });
    let close = || hear(SignalKind::Close(CloseReason::Left));
    let undelivered = |why| Input::Undelivered { to: name("alice"), chat: CHAT, is_repeated: false, why };
    let closes = ToServer::ChatClosed(Close { chat: CHAT, reason: CloseReason::Left });
    let frame = |frame: &ToServer| Input::Frame(frame.encode().unwrap());
    for (mut test, end) in [
        (Test::calling("alice"), hear(SignalKind::Refuse)),
        (Test::calling("alice"), hear(SignalKind::Unavailable)),
        (Test::calling("alice"), close()),
        (Test::calling("alice"), undelivered(Undelivered::Absent)),
        (Test::calling("alice"), frame(&closes)),
        (Test::ringing("alice"), frame(&ToServer::Refuse(CHAT))),
        (Test::ringing("alice"), hear(SignalKind::CallOff(CloseReason::CalledOff))),
        (Test::ringing("alice"), undelivered(Undelivered::Absent)),
        (Test::caller_establishing(), close()),
        (Test::accepter_establishing(), undelivered(Undelivered::Absent)),
        (Test::chatting(), close()),
        (Test::chatting(), undelivered(Undelivered::Full)),
        (Test::awaiting_client(), close()),
        (Test::awaiting_peer(), frame(&closes)),
    ] {
        test.input(end.clone());
        assert_eq!(test.session.state(), Some(&State::Free), "{end:?}");
        assert_eq!(test.by_itself(89), [], "{end:?}");
        let request = ToServer::RequestToTalk(Request { peer: name("carol"), chat: OTHER_CHAT });
        assert_eq!(test.frame(&request), [signal("carol", OTHER_CHAT, SignalKind::Request { key: KEY })], "{end:?}");
    }
}

#[test]
fn requests_and_set_ups_expire_on_both_sides() {
    let expired = |kind| vec![tell(kind), closed(CloseReason::Expired)];
    let (call_off, close) = (SignalKind::CallOff(CloseReason::Expired), SignalKind::Close(CloseReason::Expired));
    for (mut test, seconds, kind) in [
        (Test::calling("alice"), 60, call_off),
        (Test::ringing("alice"), 60, close.clone()),
        (Test::caller_establishing(), 15, close.clone()),
        (Test::accepter_establishing(), 15, close),
    ] {
        let (time, out) = loop {
            // Until then a caller looks after its request.
            let (time, out) = test.next_deadline();
            if out != [tell(SignalKind::Check)] {
                break (time, out);
            }
        };
        assert_eq!((time, out), (Duration::from_secs(seconds), expired(kind)));
        assert_eq!(test.frame(&message(CHAT)), [], "it is over");
        assert_eq!(test.next_deadline().0, Duration::from_secs(90 + seconds), "only the idle limit is left");
    }
}

/// A chat waits for those whose connection is gone; whoever leaves it, or is no longer let in, ends it. What has not
/// become a chat ends either way.
#[test]
fn the_end_of_a_session_is_told_to_client_and_peer_once() {
    let end = |reason| (Input::End(reason), Some(reason));
    let protocol = || (Input::Frame(Bytes::from_static(b"\xff")), Some(ServerError::Protocol));
    let (exit, away) = (Input::Frame(ToServer::Exit.encode().unwrap()), tell(SignalKind::Away));
    let unreadable = (Input::Registered(None), Some(ServerError::Unavailable));
    let replaced = (Input::Replaced { held: None }, Some(ServerError::Replaced));
    for ((input, reason), told) in [
        ((Input::Lost, None), (away.clone(), None)),
        (end(ServerError::ShuttingDown), (away.clone(), None)),
        (end(ServerError::Unavailable), (away.clone(), None)),
        (unreadable, (away.clone(), None)),
        (end(ServerError::Idle), (away, None)),
        (end(ServerError::Removed), (left(), Some(let_go()))),
        (replaced, (left(), Some(let_go()))),
        (protocol(), (left(), Some(let_go()))),
        ((exit, None), (left(), Some(let_go()))),
    ] {
        let (told, told_of_broken) = told;
        let made: [(Make, Option<Output>); 7] = [
            (Test::chatting, Some(told)),
            (Test::awaiting_client, told_of_broken.clone()),
            (Test::awaiting_peer, told_of_broken),
            (|| Test::calling("alice"), Some(let_go())),
            (|| Test::ringing("alice"), Some(left())),
            (Test::caller_establishing, Some(left())),
            (Test::accepter_establishing, Some(left())),
        ];
        for (make, told) in made {
            let mut test = make();
            let error = reason.map(|reason| sent(&ToClient::Error(reason)));
            let expected: Vec<_> = error.into_iter().chain(told).chain([Output::Disconnect]).collect();
            assert_eq!(test.input(input.clone()), expected, "{input:?}");
            assert_eq!(test.input(input.clone()), []);
            assert_eq!(test.input(Input::Lost), []);
            assert_eq!(test.frame(&ToServer::Ping), []);
            assert_eq!(test.hear("alice", CHAT, SignalKind::Ask(0)), [], "the next session has the word");
            assert_eq!(test.session.deadline(), None);
        }
    }
}

#[test]
fn whoever_is_silent_for_too_long_counts_as_lost() {
    let mut test = Test::chatting();
    let mut checks = 0;
    let (time, out) = loop {
        let (time, out) = test.next_deadline();
        if out != [tell(SignalKind::Check)] {
            break (time, out);
        }
        checks += 1;
        assert!(checks < 9, "it goes on for ever");
    };
    let [error, disconnect] = ended(ServerError::Idle);
    assert_eq!(time, Duration::from_secs(90));
    assert!(out.ends_with(&[error, tell(SignalKind::Away), disconnect]), "{out:?}");
    assert_eq!(test.session.deadline(), None);
}

/// A newer log-in with the same chat goes on with it, and has the word about it.
#[test]
fn a_session_that_is_replaced_ends_its_chat_unless_that_goes_on() {
    let [error, disconnect] = ended(ServerError::Replaced);
    let made: [(Make, Output); 3] =
        [(Test::chatting, left()), (Test::awaiting_client, let_go()), (Test::awaiting_peer, let_go())];
    for (make, told) in made {
        assert_eq!(make().input(Input::Replaced { held: Some(CHAT) }), [error.clone(), disconnect.clone()]);
        for held in [None, Some(OTHER_CHAT)] {
            assert_eq!(make().input(Input::Replaced { held }), [error.clone(), told.clone(), disconnect.clone()]);
        }
    }
    for make in [|| Test::ringing("alice"), Test::caller_establishing, Test::accepter_establishing] {
        let out = make().input(Input::Replaced { held: Some(CHAT) });
        assert_eq!(out, [error.clone(), left(), disconnect.clone()], "no chat yet that a client could have kept");
    }
}
