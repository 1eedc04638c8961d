//! What a terminal shows of a program's output, and whether that is as a full screen should be.

use std::num::NonZeroU16;

use unicode_bidi::{BidiClass, BidiInfo};

use super::screen::Size;

/// What a frame begins and ends with: between them the terminal shows the frame before.
const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";

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

impl Shown {
    pub(super) fn new((rows, cols): Size) -> Self {
        let parser = vt100::Parser::new_with_callbacks(side(rows), side(cols), 0, Heard::default());
        Self { parser, raw: Vec::new(), looked: 0, is_in_frame: false, is_over: false }
    }

    /// Nobody writes to the terminal any more.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn size(&self) -> Size {
        let (rows, cols) = self.screen().size();
        (rows.get(), cols.get())
    }

    pub(super) fn resize(&mut self, (rows, cols): Size) {
        self.parser.set_size(side(rows), side(cols));
    }

    /// Whether a frame is complete, so that a person sees it.
    pub(super) fn is_frame(&self) -> bool {
        self.is_over || !self.is_in_frame && !self.is_empty()
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
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
    pub(super) fn is_sound(&self) {
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
    pub(super) fn was_drawn_for(&self, (rows, cols): Size, begin: usize) -> bool {
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
    pub(super) fn is_left(&self) {
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

fn side(length: u16) -> NonZeroU16 {
    NonZeroU16::new(length).unwrap()
}
