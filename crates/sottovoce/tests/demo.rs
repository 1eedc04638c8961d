//! The first thing that anybody runs: a conversation that plays itself, or alice's seat at a terminal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;

use std::{fs, path::Path, process::Command, time::Duration};

use common::{
    Client, PROGRAM,
    lines::Lines,
    now,
    screen::{ENTER, ESC, F4, SMALL, Screen, USUAL, ctrl},
    signal,
    terminal::Terminal,
};
use rustix::process::Signal;
use tempfile::TempDir;

/// A demo in a working directory and with a directory for temporary files that are empty, and are to be so afterwards.
struct Rooms {
    work: TempDir,
    temporary: TempDir,
}

impl Rooms {
    fn new() -> Self {
        Self { work: tempfile::tempdir().unwrap(), temporary: tempfile::tempdir().unwrap() }
    }

    fn demo(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("demo").current_dir(self.work.path()).env("TMPDIR", self.temporary.path());
        command.env("HOME", self.work.path());
        command
    }

    fn are_left_empty(&self) {
        for dir in [&self.work, &self.temporary] {
            let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

#[test]
fn without_a_terminal_a_conversation_plays_itself() {
    let rooms = Rooms::new();
    let begin = now();
    let mut demo = Lines::start(rooms.demo());
    assert_eq!(demo.ended(), (Some(0), String::new()));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    rooms.are_left_empty();

    // What has no side is the demo's own word.
    let lines: Vec<_> = demo.rest().into_iter().filter(|line| line.contains(" | ")).collect();
    let side = |name: &str| -> Vec<_> {
        lines
            .iter()
            .filter_map(|line| line.split_once(" | ").filter(|(who, _)| who.trim() == name))
            .map(|(_, what)| what)
            .collect()
    };
    let (alice, bob, relay) = (side("alice"), side("bob"), side("relay"));
    assert_eq!(alice.len() + bob.len() + relay.len(), lines.len(), "{lines:?}");
    let at = |lines: &[&str], start: &str| lines.iter().position(|line| line.starts_with(start)).expect(start);
    for lines in [&alice, &bob] {
        let story = ["* logged in", "* you talk to", "* safety number", "* the chat with", "* logged out"];
        assert!(story.map(|start| at(lines, start)).is_sorted(), "{lines:?}");
    }
    let number = |lines: &[&str]| lines[at(lines, "* safety number") + 1..][..2].join("\n");
    assert_eq!(number(&alice), number(&bob));
    // What one says is what the other hears, and the relay gets a frame of each word, in which there is none.
    let said =
        |lines: &[&str]| lines.iter().filter_map(|line| line.strip_prefix("> ").map(str::to_owned)).collect::<Vec<_>>();
    let heard = |lines: &[&str], from: &str| {
        lines.iter().filter_map(|line| line.strip_prefix(from).map(str::to_owned)).collect::<Vec<_>>()
    };
    let (by_alice, by_bob) = (heard(&bob, "alice: "), heard(&alice, "bob: "));
    assert!(by_alice.len() >= 2 && !by_bob.is_empty(), "{lines:?}");
    assert!(
        by_alice.iter().all(|text| said(&alice).contains(text)) && by_bob.iter().all(|text| said(&bob).contains(text))
    );
    assert_eq!(relay.len(), by_alice.len() + by_bob.len());
    for frame in relay {
        let (length, shown) = frame.split_once(" bytes … ").expect(frame);
        let longest = by_alice.iter().chain(&by_bob).map(String::len).max().unwrap();
        assert!(length.parse::<usize>().unwrap() > longest, "{frame}");
        assert!(shown.len() >= 32 && shown.bytes().all(|b| b.is_ascii_hexdigit()), "{frame}");
    }
    for line in &lines {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn an_order_to_stop_leaves_nothing_behind() {
    for order in [Signal::TERM, Signal::INT, Signal::HUP] {
        let rooms = Rooms::new();
        let mut demo = Lines::start(rooms.demo());
        // It has begun, and has most of its conversation before it.
        demo.next().unwrap();
        signal(&demo.process, order);
        let (code, stderr) = demo.ended();
        assert_eq!(code, Some(0), "{order:?}: {stderr}");
        rooms.are_left_empty();
    }
    for order in [Signal::TERM, Signal::HUP] {
        let rooms = Rooms::new();
        let mut demo = Screen::start(rooms.demo(), USUAL);
        demo.expect("connected to localhost as alice");
        signal(&demo.process, order);
        demo.leaves_clean(0);
        rooms.are_left_empty();
    }
}

#[test]
fn it_may_be_stopped_at_any_line() {
    for lines in 1.. {
        let rooms = Rooms::new();
        let mut demo = Lines::start(rooms.demo());
        let is_over = (0..lines).any(|_| demo.next().is_none());
        if !is_over {
            signal(&demo.process, Signal::TERM);
        }
        assert_eq!(demo.ended(), (Some(0), String::new()), "after {lines} lines");
        rooms.are_left_empty();
        if is_over {
            return;
        }
    }
}

#[test]
fn whoever_reads_the_output_may_go() {
    let rooms = Rooms::new();
    let mut command = rooms.demo();
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut demo = command.spawn().unwrap();
    drop(demo.stdout.take());
    let stderr = common::read_to_end(demo.stderr.take().unwrap()).recv_timeout(common::PATIENCE).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(1));
    common::sentence(&stderr);
    rooms.are_left_empty();
}

#[test]
fn at_a_terminal_one_is_alice_and_others_may_join() {
    let rooms = Rooms::new();
    // Wide enough for the path of a profile.
    let mut demo = Screen::start(rooms.demo(), (30, 300));
    demo.expect_row("> bob");
    demo.expect("you are alice");
    demo.types(ENTER);
    demo.expect_row("┃ Hello alice.");
    demo.types(&format!("Are you there?{ENTER}"));
    demo.expect("14 characters");
    demo.types(F4);
    demo.expect("CHAT CLOSED with a goodbye");
    demo.types(ESC);
    demo.expect("People on localhost");
    demo.types(&ctrl('q'));
    demo.leaves_clean(0);
    rooms.are_left_empty();

    // The command that the screen shows lets a third person in, with the password that it shows.
    let rooms = Rooms::new();
    let mut demo = Screen::start(rooms.demo(), (30, 300));
    demo.expect_row("> bob");
    demo.expect("(password: demo)");
    let (_, row) = demo.expect_row("chat --profile ");
    let (program, profile) = row.trim().split_once(" chat --profile ").unwrap();
    assert_eq!(program, PROGRAM);
    let profile = Path::new(profile);
    assert!(profile.starts_with(rooms.temporary.path()));
    let elsewhere = tempfile::tempdir().unwrap();
    let password = elsewhere.path().join("password");
    fs::write(&password, "demo").unwrap();
    let mut chat = Command::new(PROGRAM);
    chat.args(["chat", "--face", "json", "--profile"]).arg(profile).arg("--password-file").arg(&password);
    let mut carol = Client::start(chat);
    carol.expect("logged_in");
    assert_eq!(carol.lists(), ["alice", "bob"]);
    demo.expect_row("carol");
    carol.types("--r alice");
    demo.expect("carol ASKS TO TALK");
    demo.types(&ctrl('y'));
    carol.expect("chat_started");
    demo.types(&ctrl('c'));
    assert_eq!(carol.expect_closed(), "goodbye");
    demo.leaves_clean(0);
    carol.expect("reconnecting");
    rooms.are_left_empty();
}

#[test]
fn a_small_terminal_is_enough() {
    let rooms = Rooms::new();
    let mut demo = Screen::start(rooms.demo(), SMALL);
    demo.expect_row("> bob");
    demo.types(ENTER);
    demo.expect_row("┃ Hello alice.");
    demo.types(&ctrl('q'));
    demo.leaves_clean(0);
    rooms.are_left_empty();
}

#[test]
fn a_terminal_that_can_do_little_gets_lines() {
    let rooms = Rooms::new();
    let mut command = rooms.demo();
    command.env("TERM", "dumb");
    let mut demo = Terminal::start(command);
    demo.expect("logged in to localhost as alice");
    demo.types("--l\n");
    demo.expect("* online: bob");
    demo.types("--r bob\n");
    demo.expect("bob: Hello alice.");
    demo.types("\x03");
    let (code, seen) = demo.ended();
    assert_eq!(code, Some(0), "{seen}");
    assert!(!seen.contains('\x1b'), "{seen:?}");
    assert!(demo.echoes());
    rooms.are_left_empty();
}

#[test]
fn several_demos_at_once_do_not_meet() {
    let rooms = Rooms::new();
    let mut demos = [0; 3].map(|_| Lines::start(rooms.demo()));
    for demo in &mut demos {
        assert_eq!(demo.ended(), (Some(0), String::new()));
    }
    rooms.are_left_empty();
}
