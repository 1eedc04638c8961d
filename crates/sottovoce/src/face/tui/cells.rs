//! Writes what ratatui draws to a terminal, in no more than every terminal understands.
//!
//! Terminals differ in what they can show and in how wide they take a character to be. So colours are the sixteen basic
//! ones, and nothing on the screen depends on where the terminal believes its cursor to be after anything but plain
//! ASCII.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use ratatui::{
    backend::{Backend, ClearType, WindowSize},
    buffer::{Buffer, Cell, CellWidth},
    layout::{Position, Rect, Size},
};

use super::look::Look;

/// The terminal shows the frame at once when it is complete (synchronized update), and no cursor that runs about.
const BEGIN: &[u8] = b"\x1b[?2026h\x1b[?25l";
const END: &[u8] = b"\x1b[?2026l";
const SHOW_CURSOR: &[u8] = b"\x1b[?25h";
const ERASE_ALL: &[u8] = b"\x1b[2J";

/// A backend for ratatui. What is drawn is collected, and written in one piece by `flush`. The terminal's cursor is
/// taken to be hidden, and its attributes to be plain, at the start and after each frame.
pub(crate) struct Cells<W: Write> {
    writer: W,
    measure: fn() -> io::Result<Size>,
    /// What the terminal was told to show. Needed to repair what a character covers that is wider than expected.
    screen: Buffer,
    /// What is to be written; empty when nothing changed.
    frame: Vec<u8>,
    /// Where the terminal's cursor is while a frame is collected, if all terminals agree on that.
    at: Option<Position>,
    look: Look,
    position: Position,
    is_visible: bool,
    /// Where the terminal shows its cursor, if it does.
    shown: Option<Position>,
}

impl<W: Write> Cells<W> {
    /// Writes to `writer`, a terminal whose size in columns and rows `measure` finds out.
    pub(crate) fn new(writer: W, measure: fn() -> io::Result<Size>) -> Self {
        Self {
            writer,
            measure,
            screen: Buffer::default(),
            frame: Vec::new(),
            at: None,
            look: Look::default(),
            position: Position::ORIGIN,
            is_visible: false,
            shown: None,
        }
    }

    /// Writes something that changes no cell and moves no cursor, between two frames.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)?;
        self.writer.flush()
    }

    fn open_frame(&mut self) {
        if self.frame.is_empty() {
            self.frame.extend_from_slice(BEGIN);
            self.at = None;
        }
    }

    /// Notes a cell of the new frame, and every column whose content it may change.
    fn note(&mut self, x: u16, y: u16, cell: &Cell, changed: &mut BTreeSet<(u16, u16)>) {
        let Some(place) = self.screen.cell_mut((x, y)) else { return };
        let end = x.saturating_add(columns(place).max(columns(cell)));
        place.clone_from(cell);
        if !is_printable(cell.symbol()) {
            place.set_symbol(" ");
        }
        changed.insert((y, x));
        for covered in x.saturating_add(1)..end {
            if let Some(place) = self.screen.cell_mut((covered, y)) {
                *place = Cell::EMPTY;
                changed.insert((y, covered));
            }
        }
    }

    /// Writes what changed in a row, from left to right, and again what stands in the way of a character that a
    /// terminal may draw wider than ratatui counts: a sequence of emoji that is one picture here is three pictures
    /// there.
    fn write_row(&mut self, y: u16, changed: &BTreeSet<(u16, u16)>) -> io::Result<()> {
        let right = self.screen.area.right();
        let (mut x, mut reach) = (self.screen.area.left(), 0);
        while x < right {
            let Some(cell) = self.screen.cell((x, y)).cloned() else { break };
            let end = x.saturating_add(columns(&cell)).min(right);
            if x < reach || changed.range((y, x)..(y, end)).next().is_some() {
                self.write_cell(x, y, &cell, end)?;
                if !is_plain(cell.symbol()) {
                    reach = reach.max(x.saturating_add(widest(cell.symbol())));
                }
            }
            x = end;
        }
        Ok(())
    }

    fn write_cell(&mut self, x: u16, y: u16, cell: &Cell, end: u16) -> io::Result<()> {
        self.put_on(Look::of(cell))?;
        if end > x.saturating_add(1) {
            // A terminal that takes the symbol to be narrow leaves the rest of its columns as they were.
            self.move_to(Position { x, y })?;
            self.frame.extend((x..end).map(|_| b' '));
            self.at = None;
        }
        self.move_to(Position { x, y })?;
        self.frame.extend_from_slice(cell.symbol().as_bytes());
        self.at = is_plain(cell.symbol()).then_some(Position { x: x.saturating_add(1), y });
        Ok(())
    }

    fn move_to(&mut self, position: Position) -> io::Result<()> {
        if self.at != Some(position) {
            let (row, column) = (position.y.saturating_add(1), position.x.saturating_add(1));
            write!(self.frame, "\x1b[{row};{column}H")?;
            self.at = Some(position);
        }
        Ok(())
    }

    fn put_on(&mut self, look: Look) -> io::Result<()> {
        if self.look != look {
            look.write(&mut self.frame)?;
            self.look = look;
        }
        Ok(())
    }
}

impl<W: Write> Backend for Cells<W> {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        let area = Rect::from(self.size()?);
        if self.screen.area != area {
            self.screen = Buffer::empty(area);
        }
        let mut changed = BTreeSet::new();
        for (x, y, cell) in content {
            self.note(x, y, cell, &mut changed);
        }
        if changed.is_empty() {
            return Ok(());
        }
        self.open_frame();
        for y in changed.iter().map(|(y, _)| *y).collect::<BTreeSet<_>>() {
            self.write_row(y, &changed)?;
        }
        self.put_on(Look::default())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.is_visible = false;
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.is_visible = true;
        Ok(())
    }

    /// Where the cursor was last put: the terminal is not asked, as its answer would come between the keys.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.position)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.position = position.into();
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    /// Clears all; a full-screen face has no use for less.
    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        if region != ClearType::All {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.open_frame();
        self.frame.extend_from_slice(ERASE_ALL);
        self.screen.reset();
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        (self.measure)()
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::default() })
    }

    fn flush(&mut self) -> io::Result<()> {
        let cursor = self.is_visible.then_some(self.position);
        if self.frame.is_empty() && cursor == self.shown {
            return Ok(());
        }
        self.open_frame();
        if let Some(position) = cursor {
            self.move_to(position)?;
            self.frame.extend_from_slice(SHOW_CURSOR);
        }
        self.frame.extend_from_slice(END);
        let written = self.writer.write_all(&self.frame).and_then(|()| self.writer.flush());
        self.frame.clear();
        self.shown = cursor;
        written
    }
}

/// How many columns ratatui reserves for a cell.
fn columns(cell: &Cell) -> u16 {
    if cell.symbol().len() > 1 { cell.cell_width().max(1) } else { 1 }
}

/// One character that every terminal shows in one column.
fn is_plain(symbol: &str) -> bool {
    matches!(symbol.as_bytes(), [b' '..=b'~'])
}

/// The last line of defence: nothing that a terminal may obey, and nothing that joins the symbol before it.
fn is_printable(symbol: &str) -> bool {
    !symbol.contains(char::is_control) && symbol.cell_width() > 0
}

/// No terminal takes more than two columns for a character.
fn widest(symbol: &str) -> u16 {
    u16::try_from(symbol.chars().count()).unwrap_or(u16::MAX).saturating_mul(2)
}

#[cfg(test)]
mod tests {
    use ratatui::{
        Terminal,
        style::{Color, Style},
    };

    use super::*;

    const WIDTH: u16 = 20;
    const TECHNOLOGIST: &str = "👩\u{200d}💻";

    /// A program's screen, and a terminal that counts the columns of each code point for itself.
    struct Pair {
        program: Terminal<Cells<Vec<u8>>>,
        terminal: vt100::Parser,
    }

    impl Pair {
        fn new() -> Self {
            let cells = Cells::new(Vec::new(), || Ok(Size::new(WIDTH, 4)));
            let terminal = vt100::Parser::new(4.try_into().unwrap(), WIDTH.try_into().unwrap(), 0);
            Self { program: Terminal::new(cells).unwrap(), terminal }
        }

        /// Draws lines and a cursor: what was written for them.
        fn draw(&mut self, lines: &[(&str, Style)], cursor: Option<Position>) -> String {
            self.program
                .draw(|frame| {
                    for (y, (line, style)) in (0..).zip(lines) {
                        frame.buffer_mut().set_string(0, y, line, *style);
                    }
                    if let Some(cursor) = cursor {
                        frame.set_cursor_position(cursor);
                    }
                })
                .unwrap();
            let written = std::mem::take(&mut self.program.backend_mut().writer);
            self.terminal.process(&written);
            String::from_utf8(written).unwrap()
        }

        fn line(&mut self, line: &str) -> String {
            self.draw(&[(line, Style::new())], None)
        }

        fn cell(&self, y: u16, x: u16) -> &vt100::Cell {
            self.terminal.screen().cell(y, x).unwrap()
        }

        fn text(&self, columns: std::ops::Range<u16>) -> String {
            columns.map(|x| self.cell(0, x).contents().chars().next().unwrap_or(' ')).collect()
        }
    }

    #[test]
    fn a_frame_is_one_synchronized_piece_and_shows_the_cursor_last() {
        let mut pair = Pair::new();
        let written = pair.draw(&[("Hi", Style::new())], Some(Position { x: 2, y: 0 }));
        assert_eq!(written, "\x1b[?2026h\x1b[?25l\x1b[1;1HHi\x1b[?25h\x1b[?2026l");
        assert_eq!(pair.terminal.screen().cursor_position(), (0, 2));
        assert!(!pair.terminal.screen().hide_cursor());
        pair.line("Hi");
        assert!(pair.terminal.screen().hide_cursor());
    }

    #[test]
    fn nothing_is_written_when_nothing_changed() {
        let mut pair = Pair::new();
        let cursor = Some(Position { x: 1, y: 1 });
        let line = [("same ä 世界", Style::new().fg(Color::Red))];
        assert_ne!(pair.draw(&line, cursor), "");
        assert_eq!(pair.draw(&line, cursor), "");
        let moved = pair.draw(&line, Some(Position { x: 2, y: 1 }));
        assert_eq!(moved, "\x1b[?2026h\x1b[?25l\x1b[2;3H\x1b[?25h\x1b[?2026l");
        pair.draw(&line, None);
        assert_eq!(pair.draw(&line, None), "");
    }

    #[test]
    fn attributes_hold_for_their_cells_only() {
        let mut pair = Pair::new();
        let written = pair.draw(&[("ab", Style::new().fg(Color::Red)), ("c", Style::new().bold())], None);
        assert!(
            written.contains("\x1b[0;31m\x1b[1;1Hab\x1b[0;1m") && written.ends_with("c\x1b[0m\x1b[?2026l"),
            "{written:?}"
        );
        assert_eq!(pair.cell(0, 1).fgcolor(), vt100::Color::Idx(1));
        assert_eq!(pair.cell(1, 0).fgcolor(), vt100::Color::Default);
    }

    #[test]
    fn text_after_a_character_of_any_width_stands_in_its_column() {
        for (first, columns) in [("世", 2), (TECHNOLOGIST, 2), ("👍🏽", 2), ("❤\u{fe0f}", 2), ("e\u{301}", 1), ("…", 1)]
        {
            let mut pair = Pair::new();
            pair.line(&format!("{first}text"));
            assert_eq!(pair.text(columns..columns + 5), "text ", "{first}");
            assert!(pair.cell(0, 0).contents().starts_with(first.chars().next().unwrap()));
        }
    }

    #[test]
    fn a_picture_drawn_too_wide_leaves_nothing_on_what_stays() {
        let mut pair = Pair::new();
        pair.line("ab 世stays");
        pair.line(&format!("{TECHNOLOGIST} 世stays"));
        assert_eq!(pair.text(2..11), " 世 stays ");
        pair.line(TECHNOLOGIST);
        assert_eq!(pair.text(2..11), " ".repeat(9));
        pair.line("ab");
        assert_eq!(pair.text(0..11), "ab         ");
    }

    #[test]
    fn a_wide_character_over_text_stays_whole_and_leaves_nothing_behind() {
        let mut pair = Pair::new();
        pair.line("abcdef");
        let written = pair.line("❤\u{fe0f}cdef");
        assert!(written.contains("\x1b[1;1H  \x1b[1;1H❤\u{fe0f}\x1b[1;3Hc"), "{written:?}");
        assert_eq!(pair.cell(0, 0).contents(), "❤\u{fe0f}");
        assert_eq!(pair.text(2..7), "cdef ");
        pair.line("世cdef");
        pair.line("x cdef");
        assert_eq!(pair.text(0..7), "x cdef ");
    }

    #[test]
    fn what_a_terminal_may_obey_is_not_written() {
        for hostile in ["\x1b[2J\x1b[31m", "\u{9b}2J", "a\nb", "\x1b]0;title\x07"] {
            let mut pair = Pair::new();
            pair.line("before");
            pair.program
                .draw(|frame| {
                    frame.buffer_mut().set_string(0, 0, "before", Style::new());
                    frame.buffer_mut()[(2, 0)].set_symbol(hostile);
                    frame.buffer_mut().set_string(0, 1, "after", Style::new());
                })
                .unwrap();
            let written = std::mem::take(&mut pair.program.backend_mut().writer);
            assert!(!String::from_utf8(written.clone()).unwrap().contains(hostile));
            pair.terminal.process(&written);
            assert_eq!(pair.text(0..3), "be ");
            assert_eq!(pair.cell(1, 0).contents(), "a");
        }
    }

    #[test]
    fn after_a_clear_everything_is_painted() {
        let mut pair = Pair::new();
        pair.line("kept");
        pair.terminal.process(b"\x1b[Hgarbage\x1b[3;3Hmore garbage");
        pair.program.clear().unwrap();
        let written = pair.line("kept");
        assert!(written.starts_with("\x1b[?2026h\x1b[?25l\x1b[2J"), "{written:?}");
        assert_eq!(pair.terminal.screen().contents().trim_end(), "kept");
    }

    #[test]
    fn a_terminal_that_fails_is_not_told_the_same_twice() {
        struct Broken(bool, Vec<u8>);
        impl Write for Broken {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if self.0 { Err(io::ErrorKind::BrokenPipe.into()) } else { self.1.write(bytes) }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut cells = Cells::new(Broken(true, Vec::new()), || Ok(Size::new(WIDTH, 4)));
        let draw = |cells: &mut Cells<Broken>, symbol| {
            cells.draw([(0, 0, &Cell::new(symbol))].into_iter()).unwrap();
            cells.flush()
        };
        assert_eq!(draw(&mut cells, "a").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        cells.writer.0 = false;
        draw(&mut cells, "b").unwrap();
        assert!(!cells.writer.1.contains(&b'a'));
    }
}
