//! Leaving a chat, and the program: what was said is delivered first, nothing more is taken, and a second time it is at
//! once.

use std::time::Duration;

use client::{Command, Ending, Event};
use crossterm::event::KeyCode;
use identity::Trust;

use super::{
    super::screen::{Effect, Input},
    stage::{Stage, chat_closed, marks, say},
};

#[test]
fn a_chat_that_is_being_left_takes_nothing_more() {
    for (leave, key) in [("F4", "F4"), ("/leave", "F4"), ("--ex", "Ctrl-Q")] {
        let mut stage = Stage::chatting();
        stage.enter("before");
        match leave {
            "F4" => stage.key(KeyCode::F(4)),
            line => stage.enter(line),
        }
        assert_eq!(stage.told(), [say("before"), if key == "F4" { Command::Leave } else { Command::Exit }]);
        let bar = format!("SAYING GOODBYE to bob, for up to 5 s. {key} again: at once");
        stage.expect(&bar);
        stage.event(Event::PeerAway { peer: "bob".into() });
        stage.event(Event::Reconnecting { in_ms: 100 });
        stage.expect(&bar);
        stage.enter("after");
        assert_eq!(stage.told(), [], "{leave}");
        assert_eq!(marks(&mut stage), "!", "{leave}");
        stage.expect("that was not sent: you are leaving the chat");
        stage.expect("> after");
        stage.hear("wait!");
        stage.event(chat_closed("bob", Ending::Lost, 1));
        stage.expect("your last message was not confirmed");
        stage.expect("CHAT LOST");
        stage.expect("> after");
        stage.expect_no("SAYING GOODBYE");
        stage.start_chat("bob", Trust::Pinned);
        stage.expect_no("SAYING GOODBYE");
    }
}

#[test]
fn leaving_a_chat_twice_is_leaving_at_once() {
    let mut stage = Stage::chatting();
    stage.keys(&[KeyCode::F(4), KeyCode::F(4)]);
    assert_eq!(stage.told(), [Command::Leave, Command::Leave]);
    // A chat that has ended before the client took that in has nobody left to leave.
    stage.key(KeyCode::F(4));
    stage.event(chat_closed("bob", Ending::Goodbye, 0));
    assert_eq!(stage.told(), []);
    // Whoever leaves for good does not come back.
    let mut stage = Stage::chatting();
    stage.ctrl('q');
    stage.key(KeyCode::F(4));
    assert_eq!(stage.told(), [Command::Exit]);
    stage.expect("you are leaving already; Ctrl-Q again: at once");
}

#[test]
fn a_chat_that_is_being_left_is_seen_to_end_from_elsewhere() {
    let mut stage = Stage::chatting();
    stage.key(KeyCode::F(4));
    stage.key(KeyCode::F(3));
    stage.expect("chat with bob, ending: F3");
    stage.event(chat_closed("bob", Ending::Goodbye, 0));
    stage.expect("chat with bob, over: F3");
}

#[test]
fn leaving_waits_for_delivery_unless_asked_twice() {
    let mut stage = Stage::chatting();
    stage.effects.clear();
    stage.ctrl('q');
    assert_eq!(stage.told(), [Command::Exit]);
    stage.expect("leaving when all is delivered, in 5 s at the latest; Ctrl-Q again: at once");
    assert!(stage.effects.is_empty());
    stage.ctrl('c');
    assert!(matches!(stage.effects[..], [Effect::Stop]));
    assert_eq!(stage.told(), []);
    stage.effects.clear();
    stage.event(Event::LoggedOut);
    stage.input(Input::Ended(None));
    assert!(matches!(stage.effects[..], [Effect::Quit(None)]));
    let mut stage = Stage::new();
    stage.ctrl('q');
    assert!(matches!(stage.effects[..], [Effect::Quit(None)]));
}

#[test]
fn leaving_does_not_wait_for_ever() {
    let mut stage = Stage::chatting();
    stage.ctrl('q');
    stage.effects.clear();
    stage.wait(Duration::from_secs(7));
    assert!(stage.effects.is_empty());
    stage.wait(Duration::from_secs(1));
    assert!(matches!(stage.effects[..], [Effect::Stop]));
}
