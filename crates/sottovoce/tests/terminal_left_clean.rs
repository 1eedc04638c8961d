//! However the full-screen face ends or stops, the terminal is as it was before.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;

use std::{fs, process::Command};

use common::{
    Client, World,
    screen::{ENTER, SMALL, Screen, USUAL, ctrl},
    signal,
};
use rustix::process::Signal;

/// Where a person may be when it ends.
#[derive(Clone, Copy, Debug)]
enum Place {
    LogIn,
    People,
    Chat,
}

const PLACES: [Place; 3] = [Place::LogIn, Place::People, Place::Chat];

/// Alice at a screen, there, and whom she talks to, if she does.
fn sit_down(world: &World, place: Place) -> (Screen, Option<Client>) {
    if matches!(place, Place::LogIn) {
        return (Screen::at_log_in(world, "alice", USUAL), None);
    }
    let screen = Screen::logged_in(world, "alice", USUAL);
    if matches!(place, Place::People) {
        return (screen, None);
    }
    let mut bob = world.log_in("bob");
    bob.types("--r alice");
    screen.expect("bob ASKS TO TALK");
    screen.types(&ctrl('y'));
    bob.expect("chat_started");
    screen.expect_row(" bob · not verified");
    (screen, Some(bob))
}

fn world() -> World {
    let world = World::new();
    for name in ["alice", "bob"] {
        world.user(name);
    }
    world
}

#[test]
fn a_signal_to_end_leaves_it_clean() {
    let world = world();
    for place in PLACES {
        for end in [Signal::TERM, Signal::HUP, Signal::INT] {
            let (mut alice, bob) = sit_down(&world, place);
            assert_ne!(alice.modes(), Screen::start(Command::new("true"), USUAL).modes(), "it was raw");
            signal(&alice.process, end);
            let words = alice.leaves_clean(0);
            assert_eq!(words, "", "{place:?} {end:?}");
            if let Some(mut bob) = bob {
                assert_eq!(bob.expect_closed(), "goodbye", "{end:?}");
            }
        }
    }
}

#[test]
fn two_interrupts_end_at_once() {
    let world = world();
    for place in PLACES {
        let (mut alice, bob) = sit_down(&world, place);
        if bob.is_some() {
            // Whoever waits for what cannot be delivered need not go on waiting.
            signal(&world.server, Signal::STOP);
            alice.types("is anybody there?\r--ex\r");
            alice.expect("leaving when all is delivered");
        }
        for _ in 0..2 {
            signal(&alice.process, Signal::INT);
        }
        let (code, words) = alice.ended();
        signal(&world.server, Signal::CONT);
        // Two signals may be one by the time that they are delivered.
        assert!(matches!(code, Some(0 | 1)), "{code:?} {words}");
        alice.is_clean();
    }
}

#[test]
fn a_panic_leaves_it_clean_and_is_told() {
    if !cfg!(debug_assertions) {
        return;
    }
    let world = world();
    let (mut alice, mut bob) = sit_down(&world, Place::Chat);
    bob.as_mut().unwrap().says("what was said stays in the chat");
    alice.expect("what was said stays in the chat");
    alice.types("/panic\r");
    let words = alice.leaves_clean(101);
    assert!(words.contains("panicked at") && words.contains("told to panic"), "{words}");
    assert!(!words.contains("what was said"), "{words}");
    // The message begins at the left, on the terminal as it is: its lines are not stairs.
    let rows = alice.shown().rows();
    assert!(rows.iter().any(|row| row.starts_with("told to panic")), "{rows:#?}");
}

#[test]
fn a_failure_to_leave_is_told_below() {
    let mut command = Command::new(common::PROGRAM);
    command.args(["chat", "--face", "tui", "--profile", "/nonexistent"]);
    let mut screen = Screen::start(command, SMALL);
    let words = screen.leaves_clean(1);
    assert!(words.starts_with("sottovoce: "), "{words}");
}

#[test]
fn a_job_is_stopped_and_continued() {
    let world = world();
    for place in PLACES {
        for shell in ["bash", "sh"] {
            let mut command = Command::new(shell);
            if shell == "bash" {
                command.arg("--norc");
            }
            command.arg("-i").current_dir(world.dir.path()).env("PS1", "ready> ").env_remove("ENV");
            let mut terminal = Screen::start(command, USUAL);
            terminal.expect_row("ready>");
            let stty = |terminal: &Screen, file: &str| {
                terminal.expect_that("a prompt", |shown| {
                    let is_left = !shown.screen().alternate_screen();
                    is_left && shown.rows().iter().rfind(|row| !row.is_empty()).is_some_and(|row| row == "ready>")
                });
                // The file has its name only once it is whole.
                terminal.types(&format!("stty -a > {file}.part; mv {file}.part {file}; clear{ENTER}"));
                let path = world.dir.path().join(file);
                terminal.expect_that("a prompt", |shown| {
                    path.exists() && shown.rows().first().is_some_and(|row| row == "ready>")
                });
                fs::read_to_string(path).unwrap()
            };
            let before = stty(&terminal, &format!("{place:?}-{shell}-before"));
            assert!(before.contains("icanon"), "{before}");

            let log_in = match place {
                Place::LogIn => String::new(),
                _ => format!("--password-file {}", world.password_file().display()),
            };
            terminal.types(&format!("{} chat --face tui --profile alice {log_in}{ENTER}", common::PROGRAM));
            let bob = match place {
                Place::LogIn => {
                    terminal.expect("Sottovoce: log in");
                    None
                }
                Place::People => {
                    terminal.expect("nobody else is online");
                    None
                }
                Place::Chat => {
                    terminal.expect("nobody else is online");
                    let mut bob = world.log_in("bob");
                    bob.types("--r alice");
                    terminal.expect("bob ASKS TO TALK");
                    terminal.types(&ctrl('y'));
                    bob.expect("chat_started");
                    bob.says("before the stop");
                    terminal.expect_row("┃ before the stop");
                    Some(bob)
                }
            };
            terminal.types("half a w");
            let mark = if matches!(place, Place::LogIn) { "********" } else { "half a w" };
            terminal.expect(mark);
            for time in 0..2 {
                let rows = terminal.rows();
                terminal.types(&ctrl('z'));
                terminal.expect("Stopped");
                assert!(!terminal.rows().concat().contains(mark), "{}", terminal.shown().picture());
                let stopped = stty(&terminal, &format!("{place:?}-{shell}-stopped-{time}"));
                assert_eq!(stopped, before, "{place:?} {shell}");
                // While it is stopped the window gets another size.
                let other = if time == 0 { SMALL } else { USUAL };
                terminal.resizes(other);
                terminal.types("fg\r");
                terminal.expect_that("the screen again", |shown| shown.screen().alternate_screen());
                terminal.expect(mark);
                terminal.resize(USUAL);
                terminal.expect(mark);
                let is_same = |shown: &common::shown::Shown| {
                    // The age of the keys goes on.
                    shown.rows().iter().skip(1).eq(rows.iter().skip(1))
                };
                terminal.expect_that("the same screen", is_same);
            }
            terminal.types("ord");
            terminal.expect(&format!("{mark}{}", if matches!(place, Place::LogIn) { "***" } else { "ord" }));
            if let Some(mut bob) = bob {
                terminal.types(ENTER);
                assert_eq!(bob.expect("message")["text"], "half a word");
            }
            terminal.types(&ctrl('q'));
            let after = stty(&terminal, &format!("{place:?}-{shell}-after"));
            assert_eq!(after, before, "{place:?} {shell}");
            terminal.types(&format!("exit{ENTER}"));
            assert_eq!(terminal.ended().0, Some(0));
        }
    }
}

/// A stop from elsewhere gives no time to leave the screen; a shell sets the terminal as it likes it, and `fg` makes it
/// a screen again.
#[test]
fn a_stop_from_elsewhere_is_survived() {
    let world = world();
    let (mut alice, bob) = sit_down(&world, Place::Chat);
    let mut bob = bob.unwrap();
    signal(&alice.process, Signal::STOP);
    bob.says("while it was stopped");
    signal(&alice.process, Signal::CONT);
    alice.expect_row("┃ while it was stopped");
    alice.types("an answer\r");
    assert_eq!(bob.expect("message")["text"], "an answer");
    alice.types(&ctrl('q'));
    alice.leaves_clean(0);
}
