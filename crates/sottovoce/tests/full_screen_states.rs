//! What a person must not miss on the full screen: who it is, a key that changed, a connection that is gone; and all of
//! it at every size of the window.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;

use std::{process::Command, time::Duration};

use common::{
    Client, PROGRAM, World, now, ok, run_server,
    screen::{ENTER, ESC, F1, F2, F3, F4, F5, F7, LARGE, SMALL, Screen, Size, USUAL, at_each_size, ctrl},
};
use rustix::process::Signal;

at_each_size!(
    a_number_that_is_pasted_is_compared,
    one_who_has_compared_notes_it,
    a_key_that_changed_fills_the_screen,
    a_peer_that_is_gone_is_told,
    a_server_that_is_gone_is_tried_again,
    somebody_else_in_the_servers_place_is_told,
    a_chat_that_is_being_left_says_so,
);

/// Alice at a screen in a chat with bob, and their safety number.
fn talk(world: &World, size: Size) -> (Screen, Client, String) {
    let screen = Screen::logged_in(world, "alice", size);
    let mut bob = world.log_in("bob");
    let number = screen.accepts(&mut bob, " bob · ");
    (screen, bob, number)
}

fn a_number_that_is_pasted_is_compared(size: Size) {
    let world = World::of(["alice", "bob"]);
    let (alice, mut bob, number) = talk(&world, size);
    assert_eq!(number.split(' ').count(), 12);
    alice.types(F2);
    shows(&alice, &number);
    let mut other = number.clone();
    let last = if other.pop() == Some('0') { '1' } else { '0' };
    alice.pastes(&format!("my number is: {}", other.replace(' ', "\r\n")));
    alice.expect("the same so far: 59 of 60 digits");
    alice.types(&last.to_string());
    alice.expect("DIFFERENT");
    alice.types(&format!("{ENTER}{F5}"));
    alice.expect("not noted");
    alice.types(&ctrl('u'));
    alice.expect_gone("DIFFERENT");
    alice.pastes(&number);
    alice.expect("SAME: this is bob. Enter notes it.");
    let (row, _) = alice.expect_row("paste: ");
    assert_eq!(alice.cursor().0, row);
    alice.types(ENTER);
    alice.expect("SAME, and VERIFIED: this is bob.");
    alice.types(F2);
    alice.expect_row(" bob · verified");
    bob.types("/leave");
    alice.expect("CHAT CLOSED");
    alice.types(ESC);
    let (_, row) = alice.expect_row("> bob");
    assert!(row.ends_with("verified"), "{row}");
    bob.types("--r alice");
    alice.expect("bob ASKS TO TALK · verified · ");
}

/// The number is there, in rows of so many groups as there is room for.
#[track_caller]
fn shows(screen: &Screen, number: &str) {
    let groups: Vec<_> = number.split(' ').collect();
    for row in groups.chunks(if screen.size() == SMALL { 6 } else { 4 }) {
        screen.expect_row(&row.join(" "));
    }
}

fn one_who_has_compared_notes_it(size: Size) {
    let world = World::of(["alice", "bob"]);
    let (alice, _bob, number) = talk(&world, size);
    alice.types(F2);
    shows(&alice, &number);
    if size == SMALL {
        alice.expect_row("paste:");
    } else {
        let digits = number.replace(' ', "");
        assert_eq!(code_on(&alice, false), digits);
        // On a terminal whose black and white are swapped the negative is the code.
        alice.types(F7);
        alice.expect_that("the code turned", |shown| {
            shown.screen().cell(1, 0).is_some_and(|cell| cell.bgcolor() == vt100::Color::Idx(0))
        });
        assert_eq!(code_on(&alice, true), digits);
    }
    alice.types(F5);
    alice.expect("VERIFIED: you have compared it with bob");
    alice.types(ESC);
    alice.expect_row(" bob · verified");
    assert!(world.pins("alice", &["list"]).contains("verified"));
}

/// What a camera reads from the QR code on the screen, or from its negative, in which the ink is white.
#[track_caller]
fn code_on(screen: &Screen, is_negative: bool) -> String {
    const SCALE: usize = 4;
    let shown = screen.shown();
    let (black, white) = (vt100::Color::Idx(0), vt100::Color::Idx(15));
    let (ink, paper) = if is_negative { (white, black) } else { (black, white) };
    // The code has rows from below the title on, and columns from the left.
    let cell = |x: usize, y: usize| shown.screen().cell(u16::try_from(y + 1).unwrap(), u16::try_from(x).unwrap());
    let is_code = |x, y| cell(x, y).is_some_and(|cell| (cell.fgcolor(), cell.bgcolor()) == (ink, paper));
    let width = (0..).find(|x| !is_code(*x, 0)).unwrap();
    let height = 2 * (0..).find(|y| !is_code(0, *y)).unwrap();
    let is_dark = |x: usize, y: usize| {
        assert!(is_code(x, y / 2), "{}", shown.picture());
        match cell(x, y / 2).unwrap().contents() {
            "█" => true,
            "▀" => y.is_multiple_of(2),
            "▄" => !y.is_multiple_of(2),
            " " | "" => false,
            other => panic!("{other:?} in the code"),
        }
    };
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width * SCALE, height * SCALE, |x, y| {
        if is_dark(x / SCALE, y / SCALE) { 0 } else { 255 }
    });
    let codes = image.detect_grids();
    assert_eq!(codes.len(), 1, "{}", shown.picture());
    codes[0].decode().unwrap().1
}

fn a_key_that_changed_fills_the_screen(size: Size) {
    let world = World::of(["alice", "bob"]);
    let (alice, mut bob, _) = talk(&world, size);
    bob.types("--ex");
    assert_eq!(bob.ended().0, Some(0));
    alice.expect("CHAT CLOSED");
    alice.types(ESC);
    alice.expect_row(" People");
    world.profile_at("bob2", "bob", &world.dial());
    world.administer("replace", "bob", Some("bob2"));
    let mut bob = world.log_in("bob2");
    alice.expect_row("> bob");
    let bells = alice.bells();
    alice.types(ENTER);
    bob.expect("request");
    bob.types("--y");
    let page = |screen: &Screen| {
        screen.expect("KEY CHANGED");
        screen.expect("THE KEY OF BOB HAS CHANGED");
        screen.expect("No chat was started");
        screen.expect("/forget bob");
    };
    page(&alice);
    assert!(alice.bells() > bells);
    bob.expect_closed();
    for other in [SMALL, LARGE, USUAL, size] {
        alice.resize(other);
        page(&alice);
    }
    // It stays until one has done something about it.
    alice.types("what?\r");
    alice.expect("what? is no command");
    alice.types(ESC);
    let (_, row) = alice.expect_row("> bob");
    assert!(row.contains("KEY CHANGED"), "{row}");
    bob.types("--r alice");
    alice.expect("bob ASKS TO TALK · KEY CHANGED when you last tried");
    alice.types(&ctrl('y'));
    page(&alice);
    bob.expect_closed();
    alice.types("/forget bob\r");
    alice.expect("the key of bob is forgotten");
    alice.expect_row(" People");
    let (_, row) = alice.expect_row("> bob");
    assert_eq!(row, "> bob");
    alice.accepts(&mut bob, " bob · ");
    alice.expect("this key of bob is new to you");
}

fn a_peer_that_is_gone_is_told(size: Size) {
    let world = World::with("grace_period = \"3s\"");
    ["alice", "bob"].iter().for_each(|name| world.user(name));
    let (alice, mut bob, _) = talk(&world, size);
    let bells = alice.bells();
    bob.process.kill().unwrap();
    alice.expect("bob IS AWAY: what you say waits");
    alice.expect("CHAT LOST: a connection ended without a goodbye");
    alice.expect("chat over");
    assert!(alice.bells() > bells);
    alice.types("are you there?\r");
    alice.expect("that was not sent: this chat is over");
    alice.expect_row("> are you there?");
}

fn a_server_that_is_gone_is_tried_again(size: Size) {
    let mut world = World::of(["alice", "bob"]);
    let (mut alice, mut bob, _) = talk(&world, size);
    world.server.kill().unwrap();
    world.server.wait().unwrap();
    alice.expect("RECONNECTING");
    alice.types("is it sent?\r");
    alice.expect("you │ is it sent?");
    alice.expect("waiting");
    alice.types(F3);
    alice.expect_row(" People");
    alice.expect("RECONNECTING");
    world.server = run_server(&world.server_dir(), &world.address).0;
    alice.expect("connected to localhost as alice");
    // The list is fresh again, and the chat goes on.
    alice.expect_row("> bob");
    assert_eq!(bob.expect("message")["text"], "is it sent?");
    bob.says("it is");
    alice.types(F3);
    alice.expect_row("┃ it is");
    alice.expect("delivered");
    world.server.kill().unwrap();
    alice.expect("RECONNECTING");
    alice.types(&ctrl('q'));
    alice.leaves_clean(0);
}

fn somebody_else_in_the_servers_place_is_told(size: Size) {
    let mut world = World::of(["alice", "bob"]);
    let (alice, mut bob, _) = talk(&world, size);
    world.goes(Signal::KILL);
    let elsewhere = tempfile::tempdir().unwrap();
    let dir = elsewhere.path().join("other");
    ok(Command::new(PROGRAM).args(["server", "init", "--host", "localhost", "--dir"]).arg(&dir));
    world.server = run_server(&dir, &world.address).0;
    alice.expect_row(" NOT YOUR SERVER");
    alice.expect("could not prove");
    alice.types("is it you?\r");
    alice.expect("you │ is it you?");
    alice.expect_row(" NOT YOUR SERVER");
    alice.types(F3);
    alice.expect_row(" People");
    alice.expect_row(" NOT YOUR SERVER");
    world.goes(Signal::KILL);
    world.is_back();
    alice.expect("connected to localhost as alice");
    alice.expect_gone("NOT YOUR SERVER");
    assert_eq!(bob.expect("message")["text"], "is it you?");
}

fn a_chat_that_is_being_left_says_so(size: Size) {
    let mut world = World::of(["alice", "bob"]);
    let (alice, _bob, _) = talk(&world, size);
    world.goes(Signal::KILL);
    alice.expect("RECONNECTING");
    let begin = now();
    alice.types(F4);
    alice.expect("SAYING GOODBYE to bob, for up to 5 s.");
    alice.types("and one thing more\r");
    alice.expect("that was not sent: you are leaving");
    alice.expect_row("> and one thing more");
    alice.types(F4);
    alice.expect("CHAT LOST");
    assert!(begin.elapsed() < Duration::from_secs(5), "it did not wait");
    alice.expect_row("> and one thing more");
    alice.expect_gone("│ and one thing more");
}

/// Draws the screen at every size, down to one where nothing fits, and up again: it is as it was.
#[track_caller]
fn resizes(screen: &Screen, what: &str, marks: &[&str]) {
    let begin = screen.size();
    screen.expect(what);
    for size in [SMALL, LARGE, USUAL, (5, 20), (1, 1), (2, 300), (300, 2), (24, 39), SMALL] {
        screen.resize(size);
    }
    for size in [LARGE, SMALL, USUAL, begin] {
        screen.resize(size);
        screen.expect(what);
        for mark in marks {
            screen.expect(mark);
        }
    }
}

#[test]
fn a_window_may_have_any_size_at_any_time() {
    let world = World::with("grace_period = \"1s\"");
    ["alice", "bob"].iter().for_each(|name| world.user(name));
    let alice = Screen::at_log_in(&world, "alice", USUAL);
    alice.types(ENTER);
    resizes(&alice, "the password is empty", &["server", "user name", "> password"]);
    alice.types(F1);
    resizes(&alice, "Help", &["Everywhere"]);
    alice.types(ESC);
    alice.expect("Sottovoce: log in");
    alice.types(&format!("{}{ENTER}", common::PASSWORD));
    alice.expect("nobody else is online");
    let mut bob = world.log_in("bob");
    alice.expect_row("> bob");
    resizes(&alice, "People on localhost", &["> bob", "connected to"]);
    bob.types("--r alice");
    resizes(&alice, "bob ASKS TO TALK", &["Ctrl-Y"]);
    alice.types(&ctrl('y'));
    let number = bob.expect("chat_started")["safety_number"].as_str().unwrap().to_owned();
    bob.says(&"wide 日本語 שלום 👩‍👩‍👧‍👦 words ".repeat(30));
    bob.says("the end");
    alice.pastes(&"what is being typed ".repeat(20));
    resizes(&alice, "┃ the end", &["bob · not verified"]);
    alice.types(F2);
    shows(&alice, &number);
    let (first, _) = number.split_at(23);
    resizes(&alice, first, &["paste:"]);
    alice.types(F2);
    alice.types("\x1b[5~");
    alice.expect("earlier messages");
    resizes(&alice, "earlier messages", &["bob · not verified"]);
    drop(bob);
    resizes(&alice, "CHAT LOST", &["chat over"]);
}

#[test]
fn a_window_that_is_dragged_is_drawn_as_it_is_in_the_end() {
    let world = World::of(["alice", "bob"]);
    let (alice, mut bob, _) = talk(&world, USUAL);
    for rows in 1..120 {
        alice.resizes((rows, 121 - rows));
        bob.says(&format!("line {rows}"));
        alice.types("x");
    }
    alice.resize(USUAL);
    alice.expect_row("┃ line 119");
    alice.expect(&"x".repeat(77));
    alice.types(ENTER);
    assert_eq!(bob.expect("message")["text"], "x".repeat(119));
}
