//! What is said: sent, marked as it gets on, refused, and kept from whom it is not for.

use std::time::Duration;

use client::{Command, Ending, ErrorCode, Event, Failure};
use crossterm::event::KeyCode;
use identity::Trust;

use super::{
    super::screen::{Effect, Input},
    stage::{SAFETY_NUMBER, Stage, calling, chat_closed, logged_in, marks, request, say},
};

const MAX_WAITING: usize = 64;

#[test]
fn messages_get_on() {
    let mut stage = Stage::chatting();
    for text in ["one", "two", "three"] {
        stage.enter(text);
    }
    assert_eq!(stage.told(), ["one", "two", "three"].map(say));
    assert_eq!(marks(&mut stage), "………");
    stage.expect("last message: sending");
    // Counters are of all sealed frames, renewals among them.
    stage.event(Event::Sent { n: 4 });
    stage.event(Event::Sent { n: 6 });
    assert_eq!(marks(&mut stage), "………");
    stage.event(Event::Delivered { n: 5 });
    assert_eq!(marks(&mut stage), "✓……");
    stage.event(Event::Delivered { n: 6 });
    assert_eq!(marks(&mut stage), "✓✓…");
    stage.event(Event::Sent { n: 7 });
    stage.event(Event::Delivered { n: 7 });
    assert_eq!(marks(&mut stage), "✓✓✓");
    stage.expect("last message: delivered");
}

#[test]
fn what_was_not_confirmed_is_marked_when_the_chat_ends() {
    let mut stage = Stage::chatting();
    for text in ["one", "two", "three"] {
        stage.enter(text);
    }
    stage.event(Event::Sent { n: 0 });
    stage.event(Event::Sent { n: 1 });
    stage.event(Event::Delivered { n: 0 });
    stage.event(chat_closed("bob", Ending::Lost, 1));
    assert_eq!(marks(&mut stage), "✓✗✗");
    stage.expect("your last 2 messages were not confirmed");
    stage.event(Event::Delivered { n: 9 });
    stage.event(Event::Sent { n: 2 });
    assert_eq!(marks(&mut stage), "✓✗✗", "it is over");
    stage.event(chat_closed("bob", Ending::Goodbye, 0));
    stage.expect("CHAT LOST");
}

/// Else it would be said to whom one talks to next, or come back as many errors.
#[test]
fn what_the_client_has_not_taken_is_not_said_to_anybody_else() {
    let mut stage = Stage::chatting();
    stage.enter("--r carol");
    stage.enter("between us, bob");
    stage.enter("/verify");
    stage.event(chat_closed("bob", Ending::Goodbye, 0));
    stage.expect("your last message was not confirmed");
    stage.start_chat("carol", Trust::New);
    stage.enter("hello carol");
    assert_eq!(
        stage.told(),
        [Command::talk("carol").unwrap(), Command::Verify(Some(SAFETY_NUMBER.to_owned())), say("hello carol")]
    );
    stage.expect_no("between us");
}

#[test]
fn a_second_chat_counts_anew() {
    let mut stage = Stage::chatting();
    stage.enter("to bob");
    stage.event(Event::Sent { n: 0 });
    stage.event(chat_closed("bob", Ending::Goodbye, 1));
    stage.start_chat("carol", Trust::New);
    assert_eq!(marks(&mut stage), "");
    stage.enter("to carol");
    stage.event(Event::Delivered { n: 0 });
    assert_eq!(marks(&mut stage), "…", "not sent yet");
    stage.event(Event::Sent { n: 0 });
    stage.event(Event::Delivered { n: 0 });
    assert_eq!(marks(&mut stage), "✓");
}

#[test]
fn nothing_is_said_once_the_chat_is_over() {
    let mut stage = Stage::chatting();
    stage.event(chat_closed("bob", Ending::Goodbye, 0));
    stage.enter("are you there?");
    assert_eq!(stage.told(), []);
    stage.expect("that was not sent");
    stage.expect("> are you there?");
    stage.key(KeyCode::Esc);
    stage.expect("People on");
}

#[test]
fn ending_a_chat_that_is_over_does_not_log_off() {
    let mut stage = Stage::chatting();
    stage.event(chat_closed("bob", Ending::Goodbye, 0));
    stage.key(KeyCode::F(4));
    assert_eq!(stage.told(), []);
    stage.expect("People on");
    let mut stage = Stage::chatting();
    stage.key(KeyCode::F(4));
    assert_eq!(stage.told(), [Command::Leave]);
}

#[test]
fn no_more_waits_than_may() {
    let mut stage = Stage::chatting();
    for n in 0..MAX_WAITING {
        stage.enter(&format!("message {n}"));
    }
    stage.expect_no("too much waits");
    stage.enter("one more");
    stage.expect("that was not sent: too much waits");
    stage.expect("> one more");
    stage.enter("");
    assert_eq!(marks(&mut stage).chars().count(), 19, "a screen full, and not the last");
    assert_eq!(stage.commands().len(), MAX_WAITING);
    stage.key(KeyCode::Enter);
    assert_eq!(stage.commands(), [say("one more")], "there is room again");

    // Nor does anything else that is told get past that, and the loop does not spin for want of a list.
    for _ in 0..MAX_WAITING {
        stage.enter("x");
    }
    stage.key(KeyCode::F(3));
    stage.event(calling("carol"));
    for _ in 0..10 {
        stage.keys(&[KeyCode::Esc, KeyCode::Enter, KeyCode::F(5)]);
        stage.event(request("dave"));
        stage.ctrl('y');
    }
    for _ in 0..2 * MAX_WAITING {
        stage.enter("/verify");
    }
    stage.expect("too much waits");
    stage.wait(Duration::from_secs(60));
    stage.ctrl('q');
    let all = stage.commands();
    assert_eq!(all.len(), 2 * MAX_WAITING + 1);
    assert_eq!(all.last(), Some(&Command::Exit), "who leaves may");
}

#[test]
fn lines_are_read_as_people_mean_them() {
    let mut stage = Stage::chatting();
    stage.paste("--ex\nand more");
    stage.key(KeyCode::Enter);
    assert_eq!(stage.told(), [say("--ex\nand more")], "many lines are a message");
    stage.enter("//path");
    assert_eq!(stage.told(), [say("/path")]);
    stage.enter("   ");
    assert_eq!(stage.told(), [], "nothing");
    stage.key(KeyCode::Esc);
    stage.ctrl('u');
    stage.enter("/leave");
    stage.enter("/verify");
    assert_eq!(stage.told(), [Command::Leave, Command::Verify(Some(SAFETY_NUMBER.to_owned()))]);
    stage.enter("/hlep");
    stage.expect("> /hlep");
    stage.expect("there is no command /hlep");
    assert_eq!(stage.told(), []);
    stage.ctrl('u');
    stage.enter("/help");
    stage.expect(" Help");
    stage.key(KeyCode::Esc);
    stage.type_in("is this so");
    stage.type_in("?");
    stage.expect("> is this so?");
}

#[test]
fn a_message_of_the_greatest_length_is_said() {
    let mut stage = Stage::chatting();
    stage.paste(&"x".repeat(16_384));
    stage.type_in("y");
    stage.expect("too long by 1 bytes");
    stage.key(KeyCode::Enter);
    assert_eq!(stage.told(), [say(&"x".repeat(16_384))]);
}

#[test]
fn words_at_the_other_view_are_not_missed() {
    let mut stage = Stage::chatting();
    stage.key(KeyCode::F(3));
    stage.answer(&["bob"]);
    stage.hear("where are you?");
    stage.hear("hello?");
    stage.expect("bob said something");
    stage.wait(Duration::from_secs(60));
    stage.expect("chat with bob, 2 unread");
    stage.event(chat_closed("bob", Ending::Lost, 0));
    stage.expect("the chat with bob is lost");
    stage.key(KeyCode::F(3));
    stage.expect("where are you?");
    stage.key(KeyCode::F(3));
    stage.expect_no("unread");
}

#[test]
fn attention_is_drawn_when_nobody_looks() {
    let mut stage = Stage::chatting();
    stage.effects.clear();
    stage.hear("hello");
    assert!(stage.effects.is_empty());
    stage.input(Input::Focused(false));
    stage.advance(Duration::from_secs(2));
    stage.hear("hello?");
    assert!(matches!(stage.effects[..], [Effect::Bell, Effect::Notify(what)] if !what.contains("bob")));
}

#[test]
fn a_peer_who_is_called_you_is_not_oneself() {
    let mut stage = Stage::online(&["you"]);
    stage.start_chat("you", Trust::New);
    stage.hear("I never said that");
    stage.expect("@you ┃");
    stage.expect_no(" you ┃");
}

#[test]
fn a_pin_that_is_gone_during_a_chat_does_not_hide_it() {
    let mut stage = Stage::chatting();
    let failure = Failure::new(ErrorCode::KeyChanged, "nothing was noted");
    stage.event(Event::Error { code: failure.code, message: failure.message, peer: Some("bob".into()) });
    stage.expect_no("HAS CHANGED");
    stage.expect("nothing was noted");
    stage.event(chat_closed("bob", Ending::Goodbye, 0));
    stage.event(Event::Forgotten { peer: "bob".into() });
    stage.expect_no("verified, same key");
}

#[test]
fn a_client_that_ends_leads_back_to_the_form() {
    let mut stage = Stage::chatting();
    stage.enter("one");
    stage.fail(ErrorCode::Replaced, "a newer log-in of yours took over");
    stage.expect("! the chat with bob is lost: a newer log-in of yours took over");
    assert_eq!(stage.commands(), [], "what waited is not for the next client");
    stage.event(logged_in("alice"));
    stage.expect("bob · not verified");
    stage.expect("chat over");
    assert_eq!(marks(&mut stage), "✗");
    stage.expect("the chat is lost");
}

#[test]
fn the_safety_number_is_compared() {
    let chat = || {
        let mut stage = Stage::chatting();
        stage.key(KeyCode::F(2));
        stage
    };
    let mut stage = chat();
    stage.key(KeyCode::Enter);
    assert_eq!(stage.told(), [], "Enter alone notes nothing");
    stage.key(KeyCode::F(5));
    assert_eq!(stage.told(), [Command::Verify(Some(SAFETY_NUMBER.to_owned()))]);

    for (pasted, words, enter, f5) in [
        (SAFETY_NUMBER, "SAME", true, true),
        ("(23817-00542)", "the same so far: 10 of 60", false, false),
        ("23817 00543", "DIFFERENT", false, false),
        ("hello", "no digits", false, false),
        (&format!("{SAFETY_NUMBER} 0"), "DIFFERENT", false, false),
        (&format!("bob's number:\n{}\n", SAFETY_NUMBER.replace(' ', "\n")), "SAME", true, true),
    ] {
        let mut stage = chat();
        stage.paste(pasted);
        stage.expect(words);
        stage.key(KeyCode::Enter);
        assert_eq!(stage.told().len(), usize::from(enter), "{pasted}");
        stage.key(KeyCode::F(5));
        assert_eq!(stage.told().len(), usize::from(f5), "{pasted}");
        stage.event(Event::Verified { peer: "bob".into() });
        stage.expect(if words == "SAME" { "SAME, and VERIFIED" } else { words });
        stage.expect("bob · verified");
    }
}

#[test]
fn renewals_in_a_row_are_one_line() {
    let mut stage = Stage::chatting();
    for epoch in 1..=5 {
        stage.event(Event::Renewed { epoch });
    }
    assert_eq!(stage.words().lines().filter(|row| row.contains("── keys renewed")).count(), 1);
    stage.expect("keys renewed 5 times");
    stage.hear("hello");
    stage.event(Event::Renewed { epoch: 6 });
    assert_eq!(stage.words().lines().filter(|row| row.contains("── keys renewed")).count(), 2);
}
