//! What is told of the connection to the server, of who is there, and of the peer's.

use std::time::Duration;

use client::{Ending, ErrorCode, Event};
use crossterm::event::KeyCode;

use super::stage::{Stage, chat_closed, error, logged_in, marks};

#[test]
fn messages_wait_for_the_server() {
    let mut stage = Stage::chatting();
    stage.enter("one");
    stage.event(Event::Sent { n: 0 });
    stage.event(Event::Delivered { n: 0 });
    stage.enter("two");
    stage.event(Event::Sent { n: 1 });
    stage.enter("three");
    stage.event(Event::Reconnecting { in_ms: 2_500 });
    assert_eq!(marks(&mut stage), "✓!!");
    stage.expect("RECONNECTING in 3 s");
    stage.expect("waiting for the server");
    stage.wait(Duration::from_millis(500));
    stage.expect("RECONNECTING in 2 s");
    stage.wait(Duration::from_secs(2));
    stage.expect("RECONNECTING now");
    stage.event(Event::Reconnected);
    assert_eq!(marks(&mut stage), "✓……");
    stage.expect("connected to");
}

#[test]
fn a_silent_server_is_told_and_messages_wait_for_it() {
    let mut stage = Stage::chatting();
    stage.enter("are you there?");
    stage.event(Event::Sent { n: 0 });
    stage.event(Event::ServerSilent);
    stage.wait(Duration::from_secs(3));
    stage.expect("NO ANSWER from the server, for 3 s");
    stage.expect("waiting for the server");
    assert_eq!(marks(&mut stage), "!");
    stage.event(Event::ServerHeard);
    stage.expect_no("NO ANSWER");
    assert_eq!(marks(&mut stage), "…");
    stage.event(Event::Delivered { n: 0 });
    assert_eq!(marks(&mut stage), "✓");
}

/// Without a connection nobody knows.
#[test]
fn who_is_away_is_told_while_the_server_is_reached() {
    let mut stage = Stage::chatting();
    stage.enter("hello?");
    stage.event(Event::PeerAway { peer: "bob".into() });
    stage.expect("* bob is away");
    stage.expect("bob IS AWAY: what you say waits until bob is back");
    stage.expect("last message: waiting for bob");
    for (gone, back) in
        [(Event::Reconnecting { in_ms: 1_000 }, Event::Reconnected), (Event::ServerSilent, Event::ServerHeard)]
    {
        stage.event(gone);
        stage.expect_no("IS AWAY");
        stage.expect("waiting for the server");
        stage.key(KeyCode::F(3));
        stage.expect_no("AWAY");
        stage.event(back);
        stage.answer(&["carol"]);
        stage.expect("chat with bob, AWAY: F3");
        stage.key(KeyCode::F(3));
        stage.expect("bob IS AWAY");
    }
    stage.event(Event::PeerBack { peer: "bob".into() });
    stage.expect_no("IS AWAY");
    stage.expect("last message: sending");
}

/// The client tells it once in an outage, which may take days.
#[test]
fn a_server_that_is_not_ones_own_is_told_of_for_as_long_as_it_is_there() {
    let foreign = || error(ErrorCode::UntrustedServer, "it could not prove that it is your server", None);
    let lost = || {
        let mut stage = Stage::chatting();
        stage.event(Event::Reconnecting { in_ms: 0 });
        stage.event(foreign());
        stage.event(Event::Reconnecting { in_ms: 9_000 });
        stage
    };
    let mut stage = lost();
    for key in [KeyCode::Esc, KeyCode::F(3), KeyCode::F(1), KeyCode::Esc, KeyCode::F(3), KeyCode::F(2)] {
        stage.key(key);
        stage.expect("NOT YOUR SERVER is at its address · RECONNECTING in 9 s");
    }
    stage.key(KeyCode::F(2));
    stage.wait(Duration::from_secs(20));
    // What cannot be done without a connection says nothing of who is there.
    stage.event(error(ErrorCode::Unreachable, "not connected; wait until you are connected again", None));
    stage.event(error(ErrorCode::Protocol, "the goodbye did not open", Some("bob")));
    stage.event(Event::Reconnecting { in_ms: 0 });
    stage.event(Event::Reconnecting { in_ms: 3_000 });
    stage.expect("NOT YOUR SERVER is at its address · RECONNECTING in 3 s");
    stage.wait(Duration::from_secs(60));
    stage.expect("NOT YOUR SERVER is at its address · RECONNECTING now");
    stage.expect("* it could not prove that it is your server");
    for (columns, words) in
        [(40, " NOT YOUR SERVER · RECONNECTING now"), (24, " NOT YOUR SERVER"), (16, "NOT YOUR SERVER")]
    {
        stage.resize(columns, 24);
        stage.expect(words);
    }
    stage.resize(80, 24);
    stage.event(Event::Reconnected);
    stage.expect_no("NOT YOUR SERVER");
    stage.event(Event::Reconnecting { in_ms: 1_000 });
    stage.expect(" RECONNECTING in 1 s");
    stage.expect_no("NOT YOUR SERVER");

    let mut stage = lost();
    stage.event(error(ErrorCode::Protocol, "it does not speak this program's protocol", None));
    stage.event(Event::Reconnecting { in_ms: 9_000 });
    stage.expect_no("NOT YOUR SERVER");
    stage.event(foreign());
    stage.expect("NOT YOUR SERVER");

    let mut stage = lost();
    stage.event(logged_in("alice"));
    stage.event(Event::Reconnecting { in_ms: 9_000 });
    stage.expect_no("NOT YOUR SERVER");

    let mut stage = lost();
    stage.fail(ErrorCode::Replaced, "a newer log-in of yours took over");
    stage.event(logged_in("alice"));
    stage.event(Event::Reconnecting { in_ms: 9_000 });
    stage.expect_no("NOT YOUR SERVER");
}

#[test]
fn the_whole_of_it_is_a_notice_where_the_chat_is_not_read() {
    let what = "! it could not prove that it is your server";
    for keys in [&[KeyCode::F(3)][..], &[KeyCode::F(1)], &[KeyCode::F(2)], &[]] {
        let mut stage = Stage::chatting();
        stage.keys(keys);
        stage.event(error(ErrorCode::UntrustedServer, &what[2..], None));
        assert_eq!(stage.shows(what), !keys.is_empty(), "{keys:?}");
        assert_eq!(stage.shows(&what.replace('!', "*")), keys.is_empty(), "{keys:?}");
    }
    let mut stage = Stage::chatting();
    (0..50).for_each(|n| stage.hear(&format!("line {n}")));
    stage.key(KeyCode::PageUp);
    stage.event(error(ErrorCode::UntrustedServer, &what[2..], None));
    stage.expect(what);
    let mut stage = Stage::chatting();
    stage.event(chat_closed("bob", Ending::Goodbye, 0));
    stage.event(error(ErrorCode::UntrustedServer, &what[2..], None));
    stage.expect(what);
}
