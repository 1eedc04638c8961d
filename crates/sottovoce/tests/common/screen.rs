//! A process on a pseudo-terminal that is looked at through a terminal emulator: what a person would see.

use std::{
    io::{Read as _, Write as _},
    num::NonZeroU16,
    process::{Child, Command},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use pty_process::blocking::{Pty, open};
use rustix::termios::tcgetattr;
use unicode_bidi::{BidiClass, BidiInfo};

use super::{PATIENCE, World, now};

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

/// What a frame begins and ends with: between them the terminal shows the frame before.
const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";

/// A process on a terminal of its own, which is its controlling terminal.
pub(crate) struct Screen {
    pub(crate) process: Child,
    keyboard: Arc<Pty>,
    shared: Arc<(Mutex<Shown>, Condvar)>,
    modes: String,
}

/// What the terminal shows, and all that it was ever sent.
pub(crate) struct Shown {
    parser: vt100::Parser<Heard>,
    pub(crate) raw: Vec<u8>,
    /// Where in `raw` it was looked for the ends of frames, and whether one has begun there.
    looked: usize,
    is_in_frame: bool,
    is_over: bool,
}

/// What a program asks of a terminal besides showing something.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) bells: usize,
    /// Operating system commands, such as notifications, their parts joined with `;`.
    pub(crate) commands: Vec<String>,
    /// What no program here may ask for: another title or size, the clipboard, what the emulator does not know.
    pub(crate) forbidden: Vec<String>,
}

impl vt100::Callbacks for Heard {
    fn audible_bell(&mut self, _: &mut vt100::Screen) {
        self.bells += 1;
    }

    fn unhandled_osc(&mut self, _: &mut vt100::Screen, parts: &[&[u8]]) {
        self.commands.push(parts.iter().map(|part| String::from_utf8_lossy(part)).collect::<Vec<_>>().join(";"));
    }

    fn visual_bell(&mut self, _: &mut vt100::Screen) {
        self.forbidden.push("visual bell".into());
    }

    fn resize(&mut self, _: &mut vt100::Screen, size: (u16, u16)) {
        self.forbidden.push(format!("resize {size:?}"));
    }

    fn set_window_icon_name(&mut self, _: &mut vt100::Screen, name: &[u8]) {
        self.forbidden.push(format!("icon name {name:?}"));
    }

    fn set_window_title(&mut self, _: &mut vt100::Screen, title: &[u8]) {
        self.forbidden.push(format!("title {title:?}"));
    }

    fn copy_to_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8], data: &[u8]) {
        self.forbidden.push(format!("copy {data:?}"));
    }

    fn paste_from_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8]) {
        self.forbidden.push("paste".into());
    }

    fn unhandled_control(&mut self, _: &mut vt100::Screen, byte: u8) {
        self.forbidden.push(format!("control {byte:#x}"));
    }
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
        let shown = Shown {
            parser: vt100::Parser::new_with_callbacks(side(rows), side(cols), 0, Heard::default()),
            raw: Vec::new(),
            looked: 0,
            is_in_frame: false,
            is_over: false,
        };
        let shared = Arc::new((Mutex::new(shown), Condvar::new()));
        let (reader, writer) = (pty.clone(), shared.clone());
        thread::spawn(move || {
            let mut buffer = [0; 16_384];
            // Linux ends the reading with an error once no process has the other side open.
            while let Ok(count @ 1..) = (&*reader).read(&mut buffer) {
                lock(&writer.0).take(&buffer[..count]);
                writer.1.notify_all();
            }
            lock(&writer.0).is_over = true;
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
            if shown.is_over || !shown.is_in_frame && !shown.is_empty() {
                if let Some(found) = look(&shown) {
                    shown.is_sound();
                    return found;
                }
                assert!(!shown.is_over, "{what} never came:\n{}", shown.picture());
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
        let (rows, cols) = self.shown().screen().size();
        (rows.get(), cols.get())
    }

    /// Gives the terminal another size. The program hears of it at some time.
    pub(crate) fn resizes(&self, (rows, cols): Size) {
        self.shown().parser.set_size(side(rows), side(cols));
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
        while !shown.is_over {
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

impl Shown {
    fn take(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        self.parser.process(bytes);
        let last = |mark: &[u8]| self.raw[self.looked..].windows(mark.len()).rposition(|part| part == mark);
        match (last(BEGIN), last(END)) {
            (None, None) => {}
            (begin, end) => self.is_in_frame = begin > end,
        }
        // A mark may be cut between two readings.
        self.looked = self.raw.len().saturating_sub(BEGIN.len() - 1).max(self.looked);
    }

    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    pub(crate) fn heard(&self) -> &Heard {
        self.parser.callbacks()
    }

    fn cols(&self) -> u16 {
        self.screen().size().1.get()
    }

    /// The rows as the terminal has them, with the marks and fillers that nobody sees.
    fn raw_rows(&self) -> Vec<String> {
        self.screen().rows(0, self.cols()).collect()
    }

    /// The rows as a person sees them.
    pub(crate) fn rows(&self) -> Vec<String> {
        let seen = |row: String| row.replace('\u{200e}', "").replace('\u{a0}', " ").trim_end().to_owned();
        self.raw_rows().into_iter().map(seen).collect()
    }

    /// All words on the screen, a space between each two.
    pub(crate) fn words(&self) -> String {
        let rows = self.rows();
        rows.iter().flat_map(|row| row.split_whitespace()).collect::<Vec<_>>().join(" ")
    }

    /// The screen in a frame, for a person who reads why a test failed.
    pub(crate) fn picture(&self) -> String {
        let line = "─".repeat(self.cols().into());
        let rows: String = self.rows().iter().map(|row| format!("│{row}\n")).collect();
        format!("┌{line}\n{rows}└{line} cursor {:?}", self.screen().cursor_position())
    }

    /// On the alternate screen, what is shown is the program's frame as it is meant: nothing ran past the right edge,
    /// nothing is there that a terminal obeys, and nothing that a terminal which reorders right-to-left text could move.
    #[track_caller]
    fn is_sound(&self) {
        let screen = self.screen();
        assert!(self.heard().forbidden.is_empty(), "{:?}", self.heard().forbidden);
        if !screen.alternate_screen() {
            return;
        }
        let picture = self.picture();
        for (y, row) in (0..).zip(self.raw_rows()) {
            assert!(!screen.row_wrapped(y), "row {y} runs past the edge:\n{picture}");
            assert!(!row.chars().any(is_dangerous), "row {y}: {row:?}\n{picture}");
            keeps_its_order(&row, &picture);
        }
        assert!(self.fits(), "the title has not the width of the screen:\n{picture}");
    }

    /// Whether the last frame since this place in `raw` that drew all of the screen anew was made for this size: the
    /// title has all columns, and nothing is outside.
    fn was_drawn_for(&self, (rows, cols): Size, begin: usize) -> bool {
        let raw = &self.raw[begin..];
        let Some(last) = raw.windows(4).rposition(|bytes| bytes == b"\x1b[2J") else { return false };
        let raw = &raw[last..];
        let mut wide = vt100::Parser::new(side(2), side(1000), 0);
        wide.process(raw);
        let is_title = |x: &u16| wide.screen().cell(0, *x).is_some_and(vt100::Cell::inverse);
        let text = String::from_utf8_lossy(raw);
        let places = text.split("\x1b[").filter_map(|part| part.split_once('H')?.0.split_once(';'));
        (0..1000).take_while(is_title).count() == usize::from(cols)
            && places
                .filter_map(|(row, column)| Some((row.parse::<u16>().ok()?, column.parse::<u16>().ok()?)))
                .all(|(row, column)| row <= rows && column <= cols)
    }

    /// Whether the program has taken the whole screen and not drawn anything on it yet.
    fn is_empty(&self) -> bool {
        let is_title = |cell: &vt100::Cell| cell.inverse() || cell.has_contents();
        self.screen().alternate_screen() && !self.screen().cell(0, 0).is_some_and(is_title)
    }

    /// Whether the title has all columns of its row, and nothing ran on to another row.
    fn fits(&self) -> bool {
        let screen = self.screen();
        let (rows, cols) = screen.size();
        (0..cols.get()).all(|x| screen.cell(0, x).is_some_and(vt100::Cell::inverse))
            && (0..rows.get()).all(|y| !screen.row_wrapped(y))
    }

    /// Nothing of a full screen is left.
    #[track_caller]
    fn is_left(&self) {
        let screen = self.screen();
        let picture = self.picture();
        assert!(!screen.alternate_screen(), "on the alternate screen:\n{picture}");
        assert!(!screen.hide_cursor(), "no cursor:\n{picture}");
        assert!(!screen.bracketed_paste(), "pastes in brackets:\n{picture}");
        let plain = (vt100::Color::Default, vt100::Color::Default, false, false);
        assert_eq!((screen.fgcolor(), screen.bgcolor(), screen.bold(), screen.inverse()), plain, "{picture}");
        for (on, off) in [(&b"\x1b[?1004h"[..], &b"\x1b[?1004l"[..]), (b"\x1b[?7l", b"\x1b[?7h"), (BEGIN, END)] {
            let last = |mark: &[u8]| self.raw.windows(mark.len()).rposition(|part| part == mark);
            assert!(last(on) <= last(off), "{:?} is still on", String::from_utf8_lossy(on));
        }
    }
}

/// Control characters, and what changes the order in which a terminal shows others; of those only the mark that keeps
/// rows in order is the program's own.
fn is_dangerous(c: char) -> bool {
    c.is_control() || matches!(c, '\u{61c}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
}

/// A terminal that reorders (Unicode Standard Annex 9), each row for itself, shows the row from the left, and what
/// stands before people's words stays there.
#[track_caller]
fn keeps_its_order(row: &str, picture: &str) {
    let info = BidiInfo::new(row, None);
    let Some(paragraph) = info.paragraphs.first() else { return };
    assert!(paragraph.level.is_ltr() || row.trim().is_empty(), "from the right: {row:?}\n{picture}");
    let shown = info.reorder_line(paragraph, paragraph.range.clone());
    let is_from_right = |c: char| matches!(unicode_bidi::bidi_class(c), BidiClass::R | BidiClass::AL | BidiClass::AN);
    let frame = row.split(is_from_right).next().unwrap_or_default();
    assert!(shown.starts_with(frame), "{frame:?} is moved: {shown:?}\n{picture}");
}

/// What a test that failed was looking at is still there for the thread that reads.
fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

fn side(length: u16) -> NonZeroU16 {
    NonZeroU16::new(length).unwrap()
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
