//! How often a line may open: each time can have a client send all again that is not acknowledged.

use protocol::ToServer;
use server::signal::SignalKind;

use crate::bob::{NEXT, PEER, Test, ask, resumed, tell};

/// Times that a line may open within ten seconds.
const MAX_OPENINGS: usize = 16;

/// Bob's client says that it has missed something, and alice's session opens the line at once.
fn opens_again(test: &mut Test) {
    assert_eq!(test.resume(3), [ask(3)]);
    assert_eq!(test.say(PEER, SignalKind::Answer(9)), [resumed(9)]);
}

#[test]
fn a_line_that_opened_too_often_stays_broken_for_a_while() {
    let mut test = Test::chatting();
    // The welcome has opened it once.
    for _ in 1..MAX_OPENINGS {
        opens_again(&mut test);
    }
    assert!(test.is_open_to(PEER), "the last of them counts in full");
    assert_eq!(test.resume(3), [], "nobody is asked");
    assert_eq!(test.say(NEXT, SignalKind::Ask(9)), [], "nobody is answered");
    assert!(test.is_broken());
    assert_eq!(test.by_itself(10), [(10, ask(3))], "by itself it goes on when that time is over");
    assert_eq!(test.say(NEXT, SignalKind::Ask(9)), [resumed(9), tell(SignalKind::Answer(3))]);
    assert!(test.is_open_to(NEXT));
}

#[test]
fn openings_of_long_ago_do_not_count() {
    let mut test = Test::chatting();
    for _ in 0..3 {
        assert_eq!(test.by_itself(10), [(10, tell(SignalKind::Check))], "all is quiet");
        for _ in 0..MAX_OPENINGS {
            opens_again(&mut test);
        }
        assert_eq!(test.resume(3), []);
        assert_eq!(test.by_itself(10), [(10, ask(3))]);
        assert_eq!(test.say(PEER, SignalKind::Answer(9)), [resumed(9)]);
        test.frame(&ToServer::Ping);
    }
}
