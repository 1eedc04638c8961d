//! How often a client gets the list, and how often its requests to talk are passed on.

use std::time::Duration;

use protocol::{Asked, ChatId, Close, CloseReason, Page, Request, ToClient, ToServer, TooFast};
use server::{session::Output, signal::SignalKind};

use crate::bob::{CHAT, OTHER_CHAT, OTHER_KEY, Test, name, sent, signal};

const LIST_BURST: usize = 100;
const REQUEST_BURST: usize = 20;
/// Between two lists, or requests, when the burst is used up: 600 and 60 a minute.
const LIST_EVERY: Duration = Duration::from_millis(100);
const REQUEST_EVERY: Duration = Duration::from_secs(1);

fn list(test: &mut Test) -> Vec<Output> {
    test.frame(&ToServer::List(Page::default()))
}

fn request(test: &mut Test, chat: ChatId) -> Vec<Output> {
    test.frame(&ToServer::RequestToTalk(Request { peer: name("alice"), chat }))
}

fn too_fast(asked: Asked, retry_in_ms: u32) -> [Output; 1] {
    [sent(&ToClient::TooFast(TooFast { asked, retry_in_ms }))]
}

/// Asks, and is refused by alice at once.
fn is_refused(test: &mut Test) {
    let key = crate::bob::KEY;
    assert_eq!(request(test, CHAT), [signal("alice", CHAT, SignalKind::Request { key })]);
    assert_eq!(test.hear("alice", CHAT, SignalKind::Refuse), [sent(&ToClient::Refuse(CHAT))]);
}

#[test]
fn lists_come_as_often_as_the_operator_has_set() {
    let mut test = Test::bob();
    for _ in 0..LIST_BURST {
        assert_eq!(list(&mut test), [Output::List(Page::default())]);
    }
    for _ in 0..3 {
        assert_eq!(list(&mut test), too_fast(Asked::List, 100), "no longer for having asked in vain");
    }
    test.now += LIST_EVERY - Duration::from_micros(1);
    assert_eq!(list(&mut test), too_fast(Asked::List, 1), "rounded up, so that who waits as long is served");
    test.now += Duration::from_micros(1);
    assert_eq!(list(&mut test), [Output::List(Page::default())]);
    assert_eq!(list(&mut test), too_fast(Asked::List, 100));
}

#[test]
fn requests_are_passed_on_as_often_as_the_operator_has_set() {
    let mut test = Test::bob();
    for _ in 0..REQUEST_BURST {
        is_refused(&mut test);
    }
    assert_eq!(request(&mut test, OTHER_CHAT), too_fast(Asked::RequestToTalk(OTHER_CHAT), 1_000));
    assert_eq!(list(&mut test), [Output::List(Page::default())], "a list is another matter");
    let asked = test.hear("carol", OTHER_CHAT, SignalKind::Request { key: OTHER_KEY });
    let request_of_carol = Request { peer: name("carol"), chat: OTHER_CHAT };
    assert_eq!(asked, [sent(&ToClient::RequestToTalk(request_of_carol))], "the user stays free to be asked");
    test.frame(&ToServer::Refuse(OTHER_CHAT));
    test.now += REQUEST_EVERY;
    is_refused(&mut test);
    assert_eq!(request(&mut test, CHAT), too_fast(Asked::RequestToTalk(CHAT), 1_000));
}

#[test]
fn only_requests_that_are_passed_on_count() {
    let mut test = Test::bob();
    for _ in 0..2 * REQUEST_BURST {
        let own = ToServer::RequestToTalk(Request { peer: name("bob"), chat: CHAT });
        assert_eq!(test.frame(&own), [sent(&ToClient::UserNotFound(CHAT))]);
    }
    is_refused(&mut test);
    let mut test = Test::calling("alice");
    for _ in 0..2 * REQUEST_BURST {
        let busy = ToClient::ChatClosed(Close { chat: OTHER_CHAT, reason: CloseReason::Busy });
        assert_eq!(request(&mut test, OTHER_CHAT), [sent(&busy)]);
    }
    assert_eq!(test.hear("alice", CHAT, SignalKind::Refuse), [sent(&ToClient::Refuse(CHAT))]);
    is_refused(&mut test);
}
