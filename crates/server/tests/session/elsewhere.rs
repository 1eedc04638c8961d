//! A peer on another node: what was said comes back undelivered later, may be lost, or cannot be said at all.

use protocol::{Close, CloseReason, Machine as _, ServerError, ToClient};
use server::{
    session::{Input, Output},
    signal::{NodeId, SessionId, Signal, SignalKind, Undelivered},
};

use crate::bob::{CHAT, OTHER_CHAT, PEER, Test, ask, closed, ended, name, peer_away, resumed, sent, tell};

const THERE: NodeId = NodeId::new(7);
/// The session that alice has on another node.
const REMOTE: SessionId = SessionId { node: THERE, number: 2 };

fn undelivered(is_repeated: bool, why: Undelivered) -> Input {
    Input::Undelivered { to: name("alice"), chat: CHAT, is_repeated, why }
}

/// The router of alice's node says so later.
fn returned(is_repeated: bool, why: Undelivered) -> Input {
    let kind = SignalKind::Undelivered { is_repeated, why };
    Input::Signal(Signal { from: name("alice"), session: SessionId::new(1), chat: CHAT, kind })
}

fn lapsed(node: NodeId) -> Input {
    let kind = SignalKind::Lapsed(node);
    Input::Signal(Signal { from: name("bob"), session: PEER, chat: OTHER_CHAT, kind })
}

/// In a chat with alice, whose session is on another node.
fn chatting_with_remote() -> Test {
    let mut test = Test::awaiting_peer();
    assert_eq!(test.say(REMOTE, SignalKind::Answer(9)), [resumed(9)]);
    test
}

fn user_not_found() -> Output {
    sent(&ToClient::UserNotFound(CHAT))
}

#[test]
fn what_comes_back_later_is_as_if_it_had_not_been_delivered_at_once() {
    let states: [fn() -> Test; 6] = [
        || Test::calling("alice"),
        || Test::ringing("alice"),
        Test::accepter_establishing,
        Test::caller_establishing,
        Test::chatting,
        Test::awaiting_peer,
    ];
    for make in states {
        for why in [Undelivered::Absent, Undelivered::Full, Undelivered::Unreachable] {
            for is_repeated in [false, true] {
                let (mut at_once, mut later) = (make(), make());
                assert_eq!(at_once.input(undelivered(is_repeated, why)), later.input(returned(is_repeated, why)));
                assert_eq!(at_once.session.state(), later.session.state());
            }
        }
    }
}

#[test]
fn what_comes_back_about_another_chat_or_from_another_user_changes_nothing() {
    let mut test = Test::chatting();
    let kind = SignalKind::Undelivered { is_repeated: false, why: Undelivered::Absent };
    for (from, chat) in [("carol", CHAT), ("alice", OTHER_CHAT)] {
        assert_eq!(test.input(Input::Signal(Signal { from: name(from), session: PEER, chat, kind: kind.clone() })), []);
    }
    assert!(test.is_open_to(PEER));
}

#[test]
fn who_cannot_be_reached_is_not_found() {
    assert_eq!(Test::calling("alice").input(undelivered(false, Undelivered::Unreachable)), [user_not_found()]);
    let all: [fn() -> Test; 3] = [|| Test::ringing("alice"), Test::accepter_establishing, Test::caller_establishing];
    for make in all {
        assert_eq!(make().input(undelivered(false, Undelivered::Unreachable)), [closed(CloseReason::Left)]);
    }
}

#[test]
fn a_session_cut_off_from_its_peer_ends_so_that_its_client_finds_another_node() {
    let mut test = chatting_with_remote();
    assert_eq!(test.input(undelivered(false, Undelivered::Unreachable)), [peer_away()]);
    assert!(test.is_broken());
    assert_eq!(test.resume(3), [ask(3)]);
    assert_eq!(test.input(undelivered(true, Undelivered::Unreachable)), []);
    // It goes on asking, and being told so does not put the end off.
    let mut asked = 0;
    let end = loop {
        let (_, out) = test.next_deadline();
        if out == [ask(3)] {
            asked += 1;
            assert_eq!(test.input(undelivered(true, Undelivered::Unreachable)), []);
        } else {
            break out;
        }
    };
    assert_eq!((asked, test.now.duration_since(test.start).as_secs()), (4, 5));
    assert_eq!(end, ended(ServerError::Unavailable), "the chat is not over for the peer");
}

#[test]
fn who_reaches_the_others_again_in_time_stays() {
    type Answer = (fn() -> Input, Vec<Output>);
    let answers: [Answer; 2] = [
        // The line opens.
        (
            || {
                let kind = SignalKind::Answer(9);
                Input::Signal(Signal { from: name("alice"), session: REMOTE, chat: CHAT, kind })
            },
            vec![resumed(9)],
        ),
        // The peer is not there: that is no fault of this node's.
        (|| undelivered(true, Undelivered::Absent), vec![]),
    ];
    for (answer, told) in answers {
        let mut test = chatting_with_remote();
        test.input(undelivered(false, Undelivered::Unreachable));
        test.resume(3);
        assert_eq!(test.input(answer()), told);
        let all = test.by_itself(20);
        assert!(all.iter().all(|(_, output)| *output == ask(3) || *output == tell(SignalKind::Check)), "{all:?}");
    }
}

#[test]
fn where_words_may_be_lost_a_line_breaks_and_a_request_is_looked_after() {
    assert_eq!(chatting_with_remote().input(lapsed(THERE)), [peer_away()]);
    assert_eq!(chatting_with_remote().input(lapsed(NodeId::new(8))), [], "nothing of that node's");
    assert_eq!(Test::chatting().input(lapsed(THERE)), []);
    // Where the peer is, a caller does not know.
    assert_eq!(Test::calling("alice").input(lapsed(THERE)), [tell(SignalKind::Check)]);
    assert_eq!(Test::bob().input(lapsed(THERE)), []);
    assert_eq!(Test::awaiting_peer().input(lapsed(THERE)), []);
    let mut ringing = Test::bob();
    let request = SignalKind::Request { key: crate::bob::OTHER_KEY };
    ringing.say(REMOTE, request);
    assert_eq!(ringing.input(lapsed(NodeId::new(8))), []);
    assert_eq!(ringing.input(lapsed(THERE)), [tell(SignalKind::Check)]);
    // She has called off, and that was the word that was lost.
    assert_eq!(ringing.say(REMOTE, SignalKind::Close(CloseReason::Left)), [closed(CloseReason::Left)]);
    assert!(ringing.session.timers().running().count() == 1, "but for its client's silence");
}

#[test]
fn a_caller_looks_after_its_request() {
    let mut test = Test::calling("alice");
    assert_eq!(test.by_itself(21), [(10, tell(SignalKind::Check)), (20, tell(SignalKind::Check))]);
    // The request was lost: she knows nothing of it.
    assert_eq!(test.say(PEER, SignalKind::Close(CloseReason::Left)), [user_not_found()]);
    assert_eq!(test.by_itself(60), []);
    assert!(test.session.deadline().is_some());
    // Who rings, or has a chat, does not answer a look; who has none of that says so.
    assert_eq!(Test::ringing("alice").say(PEER, SignalKind::Check), []);
    assert_eq!(Test::bob().say(PEER, SignalKind::Check), [tell(SignalKind::Close(CloseReason::Left))]);
    let close = Close { chat: CHAT, reason: CloseReason::Left };
    assert_eq!(
        Test::ringing("alice").say(PEER, SignalKind::Close(CloseReason::Left)),
        [sent(&ToClient::ChatClosed(close))]
    );
}
