//! The log-in form (S13).

use client::{ErrorCode, Event};
use crossterm::event::KeyCode;

use super::{
    super::{
        screen::{Effect, Input},
        sign_in::{Entry, Step},
        style::Theme,
    },
    stage::{Stage, logged_in},
};

fn empty() -> Stage {
    Stage::with((80, 24), Theme::new(true), Vec::new(), "", "")
}

/// What is to be tried.
fn entry(stage: &mut Stage) -> Option<Entry> {
    match stage.effects.pop() {
        Some(Effect::SignIn(entry)) => Some(entry),
        Some(_) => panic!("another effect"),
        None => None,
    }
}

/// The field that is typed into, by the row that the mark is in.
fn focus(stage: &mut Stage) -> String {
    let words = stage.words();
    let row = words.lines().find_map(|row| row.strip_prefix("> ")).unwrap();
    row[..row.len().min(9)].trim().to_owned()
}

#[test]
fn enter_goes_through_the_fields() {
    let mut stage = empty();
    assert_eq!(focus(&mut stage), "server");
    stage.enter("chat.example:7478");
    assert_eq!(focus(&mut stage), "user name");
    stage.enter(" alice ");
    assert_eq!(focus(&mut stage), "password");
    assert!(entry(&mut stage).is_none());
    stage.enter(" pass?word ");
    let entry = entry(&mut stage).unwrap();
    assert_eq!((&*entry.server, &*entry.name), ("chat.example:7478", "alice"));
    assert_eq!(entry.password.as_deref().map(String::as_str), Some(" pass?word "));
    stage.expect("…     unlocking your key");
}

#[test]
fn a_blank_field_is_pointed_at() {
    for (server, name, password, field, what) in [
        ("", "", "", "server", "the server's address is empty"),
        (" ", "alice", "x", "server", "the server's address is empty"),
        ("chat.example:7478", "  ", "x", "user name", "the user name is empty"),
        ("chat.example:7478", "alice", "", "password", "the password is empty"),
    ] {
        let mut stage = empty();
        for (text, key) in [(server, KeyCode::Tab), (name, KeyCode::Tab), (password, KeyCode::Enter)] {
            stage.type_in(text);
            stage.key(key);
        }
        assert!(entry(&mut stage).is_none());
        stage.expect(&format!("! {what}"));
        assert_eq!(focus(&mut stage), field);
        let words = stage.words();
        let rows: Vec<_> = words.lines().collect();
        let place = rows.iter().position(|row| row.starts_with("> ")).unwrap();
        assert!(rows[place + 1].contains(what), "right below it");
    }
}

#[test]
fn an_error_stands_beside_its_field_and_one_tries_again() {
    for (code, field) in [
        (ErrorCode::WrongPassword, "password"),
        (ErrorCode::UnknownUser, "user name"),
        (ErrorCode::BadName, "user name"),
        (ErrorCode::Unreachable, "server"),
        (ErrorCode::UntrustedServer, "server"),
    ] {
        let mut stage = Stage::new();
        stage.enter("first try");
        assert!(entry(&mut stage).is_some());
        stage.fail(code, "that did not work");
        stage.expect("! that did not work");
        assert_eq!(focus(&mut stage), field);
        stage.keys(&[KeyCode::Tab, KeyCode::Tab, KeyCode::Tab]);
        assert_eq!(focus(&mut stage), field, "once around");
        while focus(&mut stage) != "password" {
            stage.key(KeyCode::Tab);
        }
        stage.enter("second try");
        let entry = entry(&mut stage).unwrap();
        assert_eq!(entry.password.as_deref().map(String::as_str), Some("second try"), "and nothing of the first");
        stage.expect_no("that did not work");
    }
}

#[test]
fn an_unlocked_key_needs_no_password_and_one_enter() {
    let mut stage = Stage::new();
    stage.enter("correct horse");
    drop(entry(&mut stage));
    stage.input(Input::At(Step::Connecting));
    stage.fail(ErrorCode::Unreachable, "the server cannot be reached");
    assert_eq!(focus(&mut stage), "server");
    stage.keys(&[KeyCode::Backspace, KeyCode::Char('9'), KeyCode::Enter]);
    let entry = entry(&mut stage).unwrap();
    assert_eq!(entry.server, "chat.example:7479");
    assert!(entry.password.is_none());
    stage.expect("…     connecting");
}

#[test]
fn nothing_is_typed_while_it_is_tried_and_esc_gives_up() {
    let mut stage = Stage::new();
    stage.enter("correct horse");
    drop(entry(&mut stage));
    stage.type_in("more");
    stage.paste("more");
    stage.key(KeyCode::Enter);
    assert!(entry(&mut stage).is_none(), "once");
    stage.expect_no("****");
    stage.key(KeyCode::Esc);
    assert!(matches!(stage.effects.pop(), Some(Effect::GiveUp)));
    assert_eq!(focus(&mut stage), "password");
    stage.key(KeyCode::Esc);
    assert!(stage.effects.is_empty(), "nothing to give up");
}

#[test]
fn a_password_is_never_seen() {
    for end in [KeyCode::Left, KeyCode::Enter, KeyCode::Esc] {
        let mut stage = Stage::new();
        stage.type_in("hunter2");
        stage.key(end);
        stage.fail(ErrorCode::WrongPassword, "the password does not open the key file");
        stage.expect_no("hunter");
    }
}

#[test]
fn letters_of_a_password_do_nothing_else() {
    let mut stage = Stage::new();
    stage.type_in("?yn/q");
    stage.expect("password   *****");
    stage.key(KeyCode::F(1));
    stage.expect(" Help");
}

#[test]
fn each_step_is_named_as_it_comes() {
    let mut stage = Stage::new();
    stage.enter("correct horse");
    stage.expect("…     unlocking");
    stage.input(Input::At(Step::Connecting));
    stage.expect("done  unlocking");
    stage.expect("…     connecting");
    stage.event(Event::Connecting);
    stage.event(Event::Connected);
    stage.expect("done  connecting");
    stage.expect("…     asking the server");
    stage.event(logged_in("alice"));
    stage.expect("People on chat.example");
}
