//! A process on a pseudo-terminal that is looked at through a terminal emulator: what a person would see.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use pty_process::blocking::{Pty, open};
use rustix::termios::tcgetattr;

use super::{Client, PATIENCE, World, now, shown::Shown};

pub(crate) const ENTER: &str = "\r";
pub(crate) const ALT_ENTER: &str = "\x1b\r";
pub(crate) const ESC: &str = "\x1b";
pub(crate) const TAB: &str = "\t";
pub(crate) const SHIFT_TAB: &str = "\x1b[Z";
pub(crate) const UP: &str = "\x1b[A";
pub(crate) const DOWN: &str = "\x1b[B";
pub(crate) const PAGE_UP: &str = "\x1b[5~";
pub(crate) const PAGE_DOWN: &str = "\x1b[6~";
pub(crate) const CTRL_HOME: &str = "\x1b[1;5H";
pub(crate) const CTRL_END: &str = "\x1b[1;5F";
pub(crate) const F1: &str = "\x1bOP";
pub(crate) const F2: &str = "\x1bOQ";
pub(crate) const F3: &str = "\x1bOR";
pub(crate) const F4: &str = "\x1bOS";
pub(crate) const F5: &str = "\x1b[15~";
pub(crate) const F7: &str = "\x1b[18~";
pub(crate) const F8: &str = "\x1b[19~";
pub(crate) const F9: &str = "\x1b[20~";
pub(crate) const FOCUS_LOST: &str = "\x1b[O";
pub(crate) const FOCUS_GAINED: &str = "\x1b[I";

/// The control character of a letter.
pub(crate) fn ctrl(letter: char) -> String {
    char::from(letter as u8 & 0x1f).to_string()
}

/// Rows and columns.
pub(crate) type Size = (u16, u16);
pub(crate) const SMALL: Size = (10, 40);
pub(crate) const USUAL: Size = (24, 80);
pub(crate) const LARGE: Size = (60, 200);

/// Makes a test of each story for each size.
#[allow(unused_macros, reason = "each test binary uses a part of this")]
macro_rules! at_each_size {
    ($($story:ident),+ $(,)?) => {
        $(mod $story {
            #[test]
            fn small() {
                super::$story(super::common::screen::SMALL);
            }

            #[test]
            fn usual() {
                super::$story(super::common::screen::USUAL);
            }

            #[test]
            fn large() {
                super::$story(super::common::screen::LARGE);
            }
        })+
    };
}
#[allow(unused_imports, reason = "each test binary uses a part of this")]
pub(crate) use at_each_size;

/// A process on a terminal of its own, which is its controlling terminal.
pub(crate) struct Screen {
    pub(crate) process: Child,
    keyboard: Arc<Pty>,
    shared: Arc<(Mutex<Shown>, Condvar)>,
    modes: String,
}

impl Screen {
    /// Starts a command on a terminal of this size that has the 16 basic colours and more.
    pub(crate) fn start(mut command: Command, (rows, cols): Size) -> Self {
        let (pty, slave) = open().unwrap();
        pty.resize(pty_process::Size::new(rows, cols)).unwrap();
        for (name, value) in
            [("TERM", Some("xterm-256color")), ("NO_COLOR", None), ("VTE_VERSION", None), ("RUST_BACKTRACE", None)]
        {
            if command.get_envs().all(|(other, _)| other != name) {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
        }
        let modes = format!("{:?}", tcgetattr(&pty).unwrap());
        let process = pty_process::blocking::Command::from(command).spawn(slave).unwrap();
        let pty = Arc::new(pty);
        let shared = Arc::new((Mutex::new(Shown::new((rows, cols))), Condvar::new()));
        let (reader, writer) = (pty.clone(), shared.clone());
        thread::spawn(move || {
            let mut buffer = [0; 16_384];
            // Linux ends the reading with an error once no process has the other side open.
            while let Ok(count @ 1..) = (&*reader).read(&mut buffer) {
                lock(&writer.0).take(&buffer[..count]);
                writer.1.notify_all();
            }
            lock(&writer.0).end();
            writer.1.notify_all();
        });
        Self { process, keyboard: pty, shared, modes }
    }

    /// The full-screen face with the profile in `folder`, at its log-in form.
    pub(crate) fn at_log_in(world: &World, folder: &str, size: Size) -> Self {
        let screen = Self::start(world.chat(folder, "tui"), size);
        screen.expect("Sottovoce: log in");
        screen
    }

    /// The full-screen face with the profile in `folder`, logged in.
    pub(crate) fn logged_in(world: &World, folder: &str, size: Size) -> Self {
        let mut command = world.chat(folder, "tui");
        command.arg("--password-file").arg(world.password_file());
        let screen = Self::start(command, size);
        screen.expect("People on localhost");
        screen
    }

    /// Accepts when bob, a program, asks alice at this screen to talk; `title` is what the chat's bar begins with. Gives
    /// the safety number.
    #[track_caller]
    pub(crate) fn accepts(&self, bob: &mut Client, title: &str) -> String {
        bob.types("--r alice");
        self.expect("bob ASKS TO TALK");
        self.types(&ctrl('y'));
        let number = bob.expect("chat_started")["safety_number"].as_str().unwrap().to_owned();
        self.expect_row(title);
        number
    }

    /// Types characters and keys. A lone `ESC` must have had its effect before more is typed: together with what follows
    /// it would be another key.
    pub(crate) fn types(&self, text: &str) {
        (&*self.keyboard).write_all(text.as_bytes()).unwrap();
    }

    /// Pastes, as a terminal does that was asked to tell pasting from typing.
    pub(crate) fn pastes(&self, text: &str) {
        self.types(&format!("\x1b[200~{text}\x1b[201~"));
    }

    /// Waits until `text` is on the screen, be it broken over rows; whitespace counts as one space.
    #[track_caller]
    pub(crate) fn expect(&self, text: &str) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.wait(&format!("{text:?}"), |shown| shown.words().contains(&text).then_some(()));
    }

    /// Waits until `text` is nowhere on the screen.
    #[track_caller]
    pub(crate) fn expect_gone(&self, text: &str) {
        self.wait(&format!("no {text:?}"), |shown| (!shown.words().contains(text)).then_some(()));
    }

    /// Waits for a row that has `text` in it; gives the row and its number.
    #[track_caller]
    pub(crate) fn expect_row(&self, text: &str) -> (usize, String) {
        self.wait(&format!("a row with {text:?}"), |shown| {
            shown.rows().into_iter().enumerate().find(|(_, row)| row.contains(text))
        })
    }

    /// Waits until what is shown is as `is_so` wants it: a whole frame, which must be sound.
    #[track_caller]
    pub(crate) fn expect_that(&self, what: &str, is_so: impl Fn(&Shown) -> bool) {
        self.wait(what, |shown| is_so(shown).then_some(()));
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, look: impl Fn(&Shown) -> Option<T>) -> T {
        let begin = now();
        let mut shown = self.shown();
        loop {
            if shown.is_frame() {
                if let Some(found) = look(&shown) {
                    shown.is_sound();
                    return found;
                }
                assert!(!shown.is_over(), "{what} never came:\n{}", shown.picture());
            }
            let Some(left) = PATIENCE.checked_sub(begin.elapsed()) else {
                panic!("{what} did not come:\n{}", shown.picture());
            };
            shown = self.shared.1.wait_timeout(shown, left).unwrap().0;
        }
    }

    /// What is shown, as it is: maybe in the middle of a frame.
    pub(crate) fn shown(&self) -> MutexGuard<'_, Shown> {
        lock(&self.shared.0)
    }

    pub(crate) fn rows(&self) -> Vec<String> {
        self.wait("a whole frame", |shown| Some(shown.rows()))
    }

    /// The row and the column of the cursor, which must be seen.
    #[track_caller]
    pub(crate) fn cursor(&self) -> (usize, usize) {
        self.wait("a cursor", |shown| {
            let (row, column) = shown.screen().cursor_position();
            (!shown.screen().hide_cursor()).then_some((row.into(), column.into()))
        })
    }

    pub(crate) fn bells(&self) -> usize {
        self.shown().heard().bells
    }

    pub(crate) fn notifications(&self) -> Vec<String> {
        self.shown().heard().commands.clone()
    }

    pub(crate) fn size(&self) -> Size {
        self.shown().size()
    }

    /// Gives the terminal another size. The program hears of it at some time.
    pub(crate) fn resizes(&self, (rows, cols): Size) {
        self.shown().resize((rows, cols));
        self.keyboard.resize(pty_process::Size::new(rows, cols)).unwrap();
    }

    /// Gives the terminal another size, and waits until the program has drawn everything anew.
    #[track_caller]
    pub(crate) fn resize(&self, size: Size) {
        let begin = self.shown().raw.len();
        if self.size() == size {
            // Nobody would be told.
            return;
        }
        self.resizes(size);
        self.wait(&format!("a frame of {size:?}"), |shown| {
            // A frame for the size before may have been on its way.
            shown.was_drawn_for(size, begin).then_some(())
        });
    }

    /// Waits so long, in which not more than `most` bytes may be written; gives how many were.
    #[track_caller]
    pub(crate) fn is_quiet_for(&self, time: Duration, most: usize) -> usize {
        let shown = self.shown();
        let before = shown.raw.len();
        let (shown, _) =
            self.shared.1.wait_timeout_while(shown, time, |shown| shown.raw.len() - before <= most).unwrap();
        let more = shown.raw.len() - before;
        assert!(more <= most, "{more} bytes: {:?}", String::from_utf8_lossy(&shown.raw[before..]));
        more
    }

    /// How the terminal is set, as `stty -a` tells it.
    pub(crate) fn modes(&self) -> String {
        format!("{:?}", tcgetattr(&*self.keyboard).unwrap())
    }

    /// Waits for the process to end: its exit code, and what is left on the screen.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        let begin = now();
        let mut shown = lock(&self.shared.0);
        while !shown.is_over() {
            let left = PATIENCE.checked_sub(begin.elapsed());
            let left = left.unwrap_or_else(|| panic!("it does not end:\n{}", shown.picture()));
            shown = self.shared.1.wait_timeout(shown, left).unwrap().0;
        }
        let words = shown.words();
        drop(shown);
        (self.process.wait().unwrap().code(), words)
    }

    /// The terminal is as it was before the process began.
    #[track_caller]
    pub(crate) fn is_clean(&self) {
        assert_eq!(self.modes(), self.modes);
        self.shown().is_left();
    }

    /// Waits for the process to end with this code, and the terminal to be as it was.
    #[track_caller]
    pub(crate) fn leaves_clean(&mut self, code: i32) -> String {
        let (ended, words) = self.ended();
        assert_eq!(ended, Some(code), "{words}");
        self.is_clean();
        words
    }
}

/// What a test that failed was looking at is still there for the thread that reads.
fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
