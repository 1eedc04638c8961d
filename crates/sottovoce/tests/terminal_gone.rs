//! A terminal that does not read, hangs up, belongs to another or is far too large neither holds the full-screen face
//! up nor makes it busy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    process::{Child, Command},
    thread,
    time::Duration,
};

use common::{
    Client, PATIENCE, World, now,
    screen::{ENTER, LARGE, Screen, USUAL, ctrl},
    signal,
};
use pty_process::blocking::{Pty, open};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    process::Signal,
    termios::tcgetattr,
};

/// How long the program may take to end when its terminal does not read: it waits for its client for 10 s.
const LAST: Duration = Duration::from_secs(20);

/// A process on a terminal that is read only when the test reads it.
struct Unread {
    process: Child,
    /// Gone once it has hung up.
    pty: Option<Pty>,
    /// The process's side, as long as it is of use here.
    slave: Option<OwnedFd>,
    modes: String,
}

impl Unread {
    fn start(mut command: Command, (rows, cols): common::screen::Size) -> Self {
        let (pty, slave) = open().unwrap();
        pty.resize(pty_process::Size::new(rows, cols)).unwrap();
        let modes = format!("{:?}", tcgetattr(&pty).unwrap());
        command.env("TERM", "xterm-256color").env_remove("VTE_VERSION");
        let copy = slave.as_fd().try_clone_to_owned().unwrap();
        let process = pty_process::blocking::Command::from(command).spawn(slave).unwrap();
        Self { process, pty: Some(pty), slave: Some(copy), modes }
    }

    /// The full-screen face with the profile of alice, logged in.
    fn alice(world: &World, size: common::screen::Size) -> Self {
        let mut command = world.chat("alice", "tui");
        command.arg("--password-file").arg(world.password_file());
        let screen = Self::start(command, size);
        screen.read_up_to("People on localhost");
        screen
    }

    fn pty(&self) -> &Pty {
        self.pty.as_ref().unwrap()
    }

    fn types(&self, text: &str) {
        self.pty().write_all(text.as_bytes()).unwrap();
    }

    /// Reads until this was shown: all that was read.
    #[track_caller]
    fn read_up_to(&self, text: &str) -> Vec<u8> {
        let begin = now();
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(text) {
            // The age of the keys is drawn for ever.
            let may_come = begin.elapsed() < PATIENCE && self.read_more(&mut read);
            assert!(may_come, "no {text:?} in {:?}", String::from_utf8_lossy(&read));
        }
        read
    }

    /// Waits for more, if there is any to come.
    #[track_caller]
    fn read_more(&self, read: &mut Vec<u8>) -> bool {
        let patience = PATIENCE.try_into().unwrap();
        let ready = poll(&mut [PollFd::new(self.pty(), PollFlags::IN)], Some(&patience)).unwrap();
        assert!(ready > 0, "nothing comes after {:?}", String::from_utf8_lossy(read));
        let begin = read.len();
        read.resize(begin + 4096, 0);
        // Linux ends the reading with an error once no process has the other side open.
        let count = self.pty().read(&mut read[begin..]).unwrap_or(0);
        read.truncate(begin + count);
        count > 0
    }

    /// Lets the program draw everything, again and again, until the terminal takes no more.
    fn fill(&mut self) {
        let slave = self.slave.take().unwrap();
        let set = |flags| fcntl_setfl(self.pty(), flags).unwrap();
        let flags = fcntl_getfl(self.pty()).unwrap();
        set(flags | OFlags::NONBLOCK);
        let begin = now();
        // It is full when it is so for a while; in the middle of a frame it may be for a moment.
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        while poll(&mut [PollFd::new(&slave, PollFlags::OUT)], Some(&second)).unwrap() > 0 {
            assert!(begin.elapsed() < PATIENCE, "the terminal never fills");
            // Keys that find no room are not needed.
            let _ = self.pty().write(ctrl('l').as_bytes());
            thread::yield_now();
        }
        set(flags);
    }

    /// Waits so long at most for the process to end: its exit code.
    #[track_caller]
    fn ends_within(&mut self, limit: Duration) -> Option<i32> {
        let begin = now();
        // Nothing tells of it within a limit, so it is looked at again and again.
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            assert!(begin.elapsed() < limit, "the process still runs after {limit:?}");
            thread::yield_now();
        }
    }

    /// The terminal is as it was before the process began, once it reads what it was sent.
    #[track_caller]
    fn is_left(&self) {
        let begin = now();
        let mut read = Vec::new();
        while self.read_more(&mut read) {
            assert!(begin.elapsed() < PATIENCE, "the process goes on: {:?}", String::from_utf8_lossy(&read));
        }
        assert_eq!(format!("{:?}", tcgetattr(self.pty()).unwrap()), self.modes);
        let text = String::from_utf8_lossy(&read);
        let (_, after) = text.rsplit_once("\x1b[?1049l\x1b[?25h").unwrap_or_else(|| panic!("not left: {text:?}"));
        assert!(!after.contains('\x1b'), "{after:?}");
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn world() -> World {
    let world = World::new();
    for name in ["alice", "bob"] {
        world.user(name);
    }
    world
}

/// Alice, in a chat with bob, at a terminal that takes no more.
fn unread(world: &World) -> (Unread, Client) {
    let mut alice = Unread::alice(world, LARGE);
    let mut bob = world.log_in("bob");
    alice.types("--r bob\r");
    bob.expect("request");
    bob.types("--y");
    bob.expect("chat_started");
    alice.fill();
    (alice, bob)
}

#[test]
fn a_terminal_that_does_not_read_keeps_nobody_from_ending_it() {
    let world = world();
    let (mut alice, mut bob) = unread(&world);
    signal(&alice.process, Signal::TERM);
    assert_eq!(bob.expect_closed(), "goodbye");
    assert_eq!(alice.ends_within(LAST), Some(1));
    alice.is_left();
}

#[test]
fn two_interrupts_end_it_at_once_at_a_terminal_that_does_not_read() {
    let world = world();
    let (mut alice, mut bob) = unread(&world);
    signal(&alice.process, Signal::INT);
    // The first is heard before the second comes: it would be the same one.
    assert_eq!(bob.expect_closed(), "goodbye");
    signal(&alice.process, Signal::INT);
    assert_eq!(alice.ends_within(Duration::from_secs(5)), Some(1));
    alice.is_left();
}

#[test]
fn a_terminal_that_reads_late_gets_everything() {
    let world = world();
    let (mut alice, mut bob) = unread(&world);
    bob.says("said meanwhile");
    alice.read_up_to("said meanwhile");
    alice.types(&ctrl('q'));
    alice.is_left();
    assert_eq!(bob.expect_closed(), "goodbye");
    assert_eq!(alice.ends_within(PATIENCE), Some(0));
}

#[test]
fn a_stopped_job_that_is_told_to_end_ends() {
    let world = world();
    let mut command = Command::new("bash");
    command.args(["--norc", "-i"]).current_dir(world.dir.path()).env("PS1", "ready> ");
    let mut terminal = Screen::start(command, USUAL);
    terminal.expect_row("ready>");
    let password = world.password_file();
    let log_in = format!("--password-file {}", password.display());
    terminal.types(&format!("{} chat --face tui --profile alice {log_in}{ENTER}", common::PROGRAM));
    terminal.expect("nobody else is online");
    terminal.types(&ctrl('z'));
    terminal.expect("Stopped");
    terminal.types(&format!("kill %1; while kill -0 %1 2>/dev/null; do :; done; echo that was all{ENTER}"));
    terminal.expect("Done");
    terminal.types(&format!("exit{ENTER}"));
    assert_eq!(terminal.ended().0, Some(0));
    terminal.is_clean();
}

#[test]
fn a_terminal_that_hangs_up_ends_it_without_a_signal() {
    let world = world();
    let code = world.dir.path().join("code");
    // The shell gets the signal, and not the program.
    let mut command = Command::new("bash");
    command.args(["-c", "trap '' HUP; \"$@\"; echo $? > \"$CODE\"", "bash", common::PROGRAM, "chat", "--face", "tui"]);
    command.arg("--profile").arg(world.profile("alice")).arg("--password-file").arg(world.password_file());
    command.env("CODE", &code);
    let mut alice = Unread::start(command, USUAL);
    alice.read_up_to("People on localhost");
    let mut bob = world.log_in("bob");
    alice.types("--r bob\r");
    bob.expect("request");
    bob.types("--y");
    bob.expect("chat_started");
    // Until both are in the chat. What a frame leaves as it was is not drawn: this is nowhere else.
    bob.says("zzzz");
    alice.read_up_to("zzzz");
    alice.pty = None;
    assert_eq!(bob.expect_closed(), "goodbye");
    assert_eq!(alice.ends_within(PATIENCE), Some(0), "the shell goes on");
    // It has left, or could not draw any more.
    let code = fs::read_to_string(code).unwrap();
    assert!(["0\n", "1\n"].contains(&code.as_str()), "{code}");
}

#[test]
fn a_terminal_of_no_real_size_costs_little() {
    let world = world();
    let mut command = world.chat("alice", "tui");
    command.arg("--password-file").arg(world.password_file());
    let alice = Unread::start(command, (u16::MAX, u16::MAX));
    let mut drawn = alice.read_up_to("People on localhost");
    alice.types(&ctrl('q'));
    drawn.extend(alice.read_up_to("\x1b[?1049l"));
    let end = drawn.windows(4).rposition(|bytes| bytes == b"\x1b[2J").unwrap();
    let mut terminal = vt100::Parser::new(1001.try_into().unwrap(), 1001.try_into().unwrap(), 0);
    terminal.process(&drawn[..end]);
    let screen = terminal.screen();
    let is_drawn = |row: &u16| (0..1001).any(|column| screen.cell(*row, column).is_some_and(vt100::Cell::has_contents));
    let is_title = |column: &u16| screen.cell(0, *column).is_some_and(vt100::Cell::inverse);
    let (rows, columns) = (1 + (0..1001).rfind(is_drawn).unwrap(), (0..1001).take_while(is_title).count());
    assert!((100..=1000).contains(&rows) && (100..=1000).contains(&columns), "{rows} rows, {columns} columns");
    assert!(usize::from(rows) * columns <= 200_000, "{rows} rows, {columns} columns");
}
