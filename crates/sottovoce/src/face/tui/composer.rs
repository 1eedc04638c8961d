//! Where a person types: a message, a search, a field of a form.

use std::{cell::Cell, fmt, ops::Range};

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};
use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation as _};
use zeroize::{Zeroize as _, Zeroizing};

use super::text;

/// What stands for each cluster of a secret.
const MASK: &str = "*";

/// A text that is being typed, and the place in it. It is zeroed when it is dropped.
pub(crate) struct Composer {
    text: Zeroizing<String>,
    /// In bytes, always at a border between clusters.
    cursor: usize,
    /// Bytes of text at most.
    limit: usize,
    kind: Kind,
    /// The column that Up and Down keep to, until something else moves the cursor.
    column: Option<usize>,
    view: Cell<View>,
}

/// What a key does, by clusters and words. A line is what stands between two line ends; a row is what is drawn of it in
/// one row of the screen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Edit {
    Left,
    Right,
    WordLeft,
    WordRight,
    LineStart,
    LineEnd,
    Up,
    Down,
    Backspace,
    Delete,
    /// Takes out what [`Edit::WordLeft`] goes over.
    DeleteWord,
    DeleteToLineStart,
    DeleteToLineEnd,
    Newline,
}

/// What was to be inserted does not fit.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("too long by {over} bytes; nothing was inserted")]
pub(crate) struct TooLong {
    /// Bytes beyond the limit.
    pub(crate) over: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Lines,
    Line,
    Secret,
}

/// How it was drawn last.
#[derive(Clone, Copy, Default)]
struct View {
    /// Columns for text, if it was drawn at all.
    room: Option<usize>,
    /// The first row that was seen; of one line, the first byte.
    first: usize,
}

impl Composer {
    /// Many lines, at most `limit` bytes.
    pub(crate) fn lines(limit: usize) -> Self {
        Self::new(limit, Kind::Lines)
    }

    /// One line, at most `limit` bytes; line ends become spaces.
    pub(crate) fn line(limit: usize) -> Self {
        Self::new(limit, Kind::Line)
    }

    /// One line, at most `limit` bytes, of which only the number of clusters is seen; line ends are dropped.
    pub(crate) fn secret(limit: usize) -> Self {
        Self::new(limit, Kind::Secret)
    }

    fn new(limit: usize, kind: Kind) -> Self {
        Self { text: Zeroizing::default(), cursor: 0, limit, kind, column: None, view: Cell::default() }
    }

    /// What was typed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether nothing was typed.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Hands over what was typed, and is empty.
    pub(crate) fn take(&mut self) -> Zeroizing<String> {
        let text = std::mem::take(&mut self.text);
        self.clear();
        text
    }

    /// Has another text, with the cursor at its end. What is beyond the limit is cut off.
    pub(crate) fn set(&mut self, text: &str) {
        self.clear();
        let text = self.accepted(text);
        let ends = text.grapheme_indices(true).map(|(start, cluster)| start.saturating_add(cluster.len()));
        let end = ends.take_while(|end| *end <= self.limit).last().unwrap_or(0);
        self.text.push_str(text.get(..end).unwrap_or_default());
        self.cursor = end;
    }

    /// Is empty.
    pub(crate) fn clear(&mut self) {
        self.text.zeroize();
        (self.cursor, self.column) = (0, None);
    }

    /// Inserts at the cursor what was typed or pasted, all or nothing. Line ends become "\n"; other control characters,
    /// tabs excepted, are dropped.
    ///
    /// # Errors
    /// [`TooLong`] if the text would have more bytes than it may.
    pub(crate) fn insert(&mut self, text: &str) -> Result<(), TooLong> {
        let text = self.accepted(text);
        let whole = self.text.len().saturating_add(text.len());
        if whole > self.limit {
            return Err(TooLong { over: whole.saturating_sub(self.limit) });
        }
        self.text.insert_str(self.cursor, &text);
        self.settle(self.cursor.saturating_add(text.len()));
        Ok(())
    }

    /// Does what a key asks for; whether that changed the text or moved the cursor.
    pub(crate) fn edit(&mut self, edit: Edit) -> bool {
        if !matches!(edit, Edit::Up | Edit::Down) {
            self.column = None;
        }
        let cursor = self.cursor;
        match edit {
            Edit::Left => self.go(self.before()),
            Edit::Right => self.go(self.after()),
            Edit::WordLeft => self.go(self.word_left()),
            Edit::WordRight => self.go(self.word_right()),
            Edit::LineStart => self.go(self.line_start()),
            Edit::LineEnd => self.go(self.line_end()),
            Edit::Up => self.climb(|row| row.checked_sub(1)),
            Edit::Down => self.climb(|row| row.checked_add(1)),
            Edit::Backspace => self.remove(self.before()..cursor),
            Edit::Delete => self.remove(cursor..self.after()),
            Edit::DeleteWord => self.remove(self.word_left()..cursor),
            Edit::DeleteToLineStart => self.remove(self.line_start()..cursor),
            Edit::DeleteToLineEnd => self.remove(cursor..self.line_end()),
            Edit::Newline => self.kind == Kind::Lines && self.insert("\n").is_ok(),
        }
    }

    /// Rows that all of it takes in `columns` columns, with the cursor's; at least 1.
    pub(crate) fn height(&self, columns: u16) -> u16 {
        match self.kind {
            Kind::Lines => u16::try_from(self.rows(room(columns)).len()).unwrap_or(u16::MAX),
            Kind::Line | Kind::Secret => 1,
        }
    }

    /// Draws it, or the part around the cursor if the area is too small. Gives the place where the terminal's cursor
    /// belongs, which is in the area unless that is empty.
    pub(crate) fn draw(&self, area: Rect, buffer: &mut Buffer, style: Style) -> Position {
        if area.is_empty() {
            return area.as_position();
        }
        let (column, row) = match self.kind {
            Kind::Lines => self.draw_rows(area, buffer, style),
            Kind::Line | Kind::Secret => (self.draw_line(area, buffer, style), 0),
        };
        let column = u16::try_from(column).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
        let row = u16::try_from(row).unwrap_or(u16::MAX).min(area.height.saturating_sub(1));
        Position { x: area.x.saturating_add(column), y: area.y.saturating_add(row) }
    }

    /// The cursor's column, and its row from the area's first.
    fn draw_rows(&self, area: Rect, buffer: &mut Buffer, style: Style) -> (usize, usize) {
        let room = room(area.width);
        let rows = self.rows(room);
        let at = self.row(&rows);
        let height = usize::from(area.height);
        let lowest = at.saturating_add(1).saturating_sub(height);
        let first = self.view.get().first.clamp(lowest, at).min(rows.len().saturating_sub(height));
        self.view.set(View { room: Some(room), first });
        for (y, row) in (area.y..area.bottom()).zip(rows.iter().skip(first)) {
            self.draw_clusters(row.clone(), Rect { y, ..area }, buffer, style);
        }
        (self.columns(rows.get(at).map_or(0, |row| row.start)..self.cursor, room), at.saturating_sub(first))
    }

    /// The cursor's column. The line is moved sideways as little as keeps the cursor in sight, and no further than shows
    /// its end.
    fn draw_line(&self, area: Rect, buffer: &mut Buffer, style: Style) -> usize {
        let room = room(area.width);
        let mut first = self.view.get().first.min(self.cursor);
        let (mut to_cursor, mut whole) = (self.columns(0..self.cursor, room), self.columns(0..self.text.len(), room));
        for (start, cluster) in self.text.grapheme_indices(true) {
            if start >= first && to_cursor <= room || whole <= room {
                first = start;
                break;
            }
            let wide = self.wide(cluster, room);
            (whole, to_cursor) = (whole.saturating_sub(wide), to_cursor.saturating_sub(wide));
        }
        self.view.set(View { room: Some(room), first });
        self.draw_clusters(first..self.text.len(), Rect { height: 1, ..area }, buffer, style);
        to_cursor
    }

    /// Draws clusters from the area's start on, as many as there is room for.
    fn draw_clusters(&self, range: Range<usize>, area: Rect, buffer: &mut Buffer, style: Style) {
        let mut x = area.x;
        for cluster in self.part(range).graphemes(true) {
            let wide = u16::try_from(self.wide(cluster, room(area.width))).unwrap_or(u16::MAX);
            if wide > area.right().saturating_sub(x) {
                break;
            }
            let shown = if self.kind == Kind::Secret { MASK } else { cluster };
            text::draw(buffer, x, area.y, wide, shown, style);
            x = x.saturating_add(wide);
        }
    }

    /// The rows of the text in `room` columns. One space at a row's end may be beyond, in the column that is kept for
    /// the cursor. The last row, and each before a line end, has room for the cursor after it.
    fn rows(&self, room: usize) -> Vec<Range<usize>> {
        let mut rows = Vec::new();
        // As in the wrapping of what is only shown, but here each byte must have its place.
        let (mut start, mut place, mut used, mut word) = (0usize, 0usize, 0usize, None);
        for cluster in self.text.graphemes(true) {
            let after = place.saturating_add(cluster.len());
            if cluster == "\n" {
                if used > room {
                    rows.push(start..place);
                    start = place;
                }
                rows.push(start..place);
                (start, used, word) = (after, 0, None);
            } else {
                let wide = self.wide(cluster, room);
                let is_space = matches!(cluster, " " | "\t");
                while used > 0 && used.saturating_add(wide) > room.saturating_add(is_space.into()) {
                    let (end, taken) = word.take().unwrap_or((place, used));
                    rows.push(start..end);
                    (start, used) = (end, used.saturating_sub(taken));
                }
                used = used.saturating_add(wide);
                if is_space {
                    word = Some((after, used));
                }
            }
            place = after;
        }
        if used > room {
            rows.push(start..place);
            start = place;
        }
        rows.push(start..place);
        rows
    }

    /// Which of the rows has the cursor.
    fn row(&self, rows: &[Range<usize>]) -> usize {
        rows.partition_point(|row| row.start <= self.cursor).saturating_sub(1)
    }

    /// Moves to the row that stands at what `to` makes of this one's number, if there is one.
    fn climb(&mut self, to: impl Fn(usize) -> Option<usize>) -> bool {
        if self.kind != Kind::Lines {
            return false;
        }
        let room = self.view.get().room.unwrap_or(usize::MAX);
        let rows = self.rows(room);
        let at = self.row(&rows);
        let (Some(from), Some(to)) = (rows.get(at), to(at)) else { return false };
        let Some(row) = rows.get(to) else { return false };
        let column = self.column.unwrap_or_else(|| self.columns(from.start..self.cursor, room));
        // The end of a row that the next one continues is the start of that next one.
        let is_continued = rows.get(to.saturating_add(1)).is_some_and(|next| next.start == row.end);
        let (mut place, mut used) = (row.start, 0usize);
        for cluster in self.part(row.clone()).graphemes(true) {
            used = used.saturating_add(self.wide(cluster, room));
            let after = place.saturating_add(cluster.len());
            if used > column || is_continued && after == row.end {
                break;
            }
            place = after;
        }
        (self.cursor, self.column) = (place, Some(column));
        true
    }

    /// Columns of a part of the text.
    fn columns(&self, range: Range<usize>, room: usize) -> usize {
        self.part(range).graphemes(true).map(|cluster| self.wide(cluster, room)).fold(0, usize::saturating_add)
    }

    /// Columns of a cluster; one that is too wide for `room` columns is drawn cut.
    fn wide(&self, cluster: &str, room: usize) -> usize {
        if self.kind == Kind::Secret { 1 } else { text::columns(cluster).min(room) }
    }

    fn part(&self, range: Range<usize>) -> &str {
        self.text.get(range).unwrap_or_default()
    }

    fn go(&mut self, to: usize) -> bool {
        let moved = to != self.cursor;
        self.cursor = to;
        moved
    }

    fn remove(&mut self, range: Range<usize>) -> bool {
        let start = range.start;
        let changed = !range.is_empty();
        if changed {
            self.text.replace_range(range, "");
            self.settle(start);
        }
        changed
    }

    /// Puts the cursor at a place, or after the cluster that a change has made around that place.
    fn settle(&mut self, place: usize) {
        self.cursor = place;
        self.column = None;
        if !GraphemeCursor::new(place, self.text.len(), true).is_boundary(&self.text, 0).unwrap_or(true) {
            self.cursor = self.after();
        }
    }

    fn before(&self) -> usize {
        let mut border = GraphemeCursor::new(self.cursor, self.text.len(), true);
        border.prev_boundary(&self.text, 0).ok().flatten().unwrap_or(0)
    }

    fn after(&self) -> usize {
        let mut border = GraphemeCursor::new(self.cursor, self.text.len(), true);
        border.next_boundary(&self.text, 0).ok().flatten().unwrap_or(self.text.len())
    }

    // Whoever looks on must not learn where the words of a secret are.
    fn word_left(&self) -> usize {
        let passed = over_word(self.part(0..self.cursor).graphemes(true).rev());
        if self.kind == Kind::Secret { 0 } else { self.cursor.saturating_sub(passed) }
    }

    fn word_right(&self) -> usize {
        let passed = over_word(self.part(self.cursor..self.text.len()).graphemes(true));
        if self.kind == Kind::Secret { self.text.len() } else { self.cursor.saturating_add(passed) }
    }

    fn line_start(&self) -> usize {
        self.part(0..self.cursor).rfind('\n').map_or(0, |end| end.saturating_add(1))
    }

    fn line_end(&self) -> usize {
        let length = self.part(self.cursor..self.text.len()).find('\n');
        length.map_or(self.text.len(), |length| self.cursor.saturating_add(length))
    }

    /// What of a text comes in.
    fn accepted(&self, text: &str) -> Zeroizing<String> {
        let mut accepted = Zeroizing::new(String::with_capacity(text.len()));
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '\r' if rest.peek() == Some(&'\n') => {}
                '\r' | '\n' => match self.kind {
                    Kind::Lines => accepted.push('\n'),
                    Kind::Line => accepted.push(' '),
                    // What a password is copied from often has a line end after it.
                    Kind::Secret => {}
                },
                c if c == '\t' || !c.is_control() => accepted.push(c),
                _ => {}
            }
        }
        accepted
    }
}

impl fmt::Debug for Composer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composer").field("kind", &self.kind).field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Columns for text; one more is the cursor's, so that it hides nothing.
fn room(columns: u16) -> usize {
    usize::from(columns.saturating_sub(1).max(1))
}

/// Bytes of what is no word, and then of the first word.
fn over_word<'a>(clusters: impl Iterator<Item = &'a str>) -> usize {
    let (mut passed, mut seen) = (0usize, false);
    for cluster in clusters {
        let is_word = cluster.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if seen && !is_word {
            break;
        }
        seen |= is_word;
        passed = passed.saturating_add(cluster.len());
    }
    passed
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    const LIMIT: usize = 16_384;
    const EDITS: [Edit; 14] = [
        Edit::Left,
        Edit::Right,
        Edit::WordLeft,
        Edit::WordRight,
        Edit::LineStart,
        Edit::LineEnd,
        Edit::Up,
        Edit::Down,
        Edit::Backspace,
        Edit::Delete,
        Edit::DeleteWord,
        Edit::DeleteToLineStart,
        Edit::DeleteToLineEnd,
        Edit::Newline,
    ];

    fn typed(mut composer: Composer, text: &str) -> Composer {
        composer.insert(text).unwrap();
        composer
    }

    fn edited(composer: &mut Composer, edits: &[Edit]) -> bool {
        edits.iter().all(|edit| composer.edit(*edit))
    }

    /// The rows as drawn, a "_" for what a wide cluster covers, and a "|" before the cell that has the cursor.
    fn drawn(composer: &Composer, columns: u16, rows: u16) -> Vec<String> {
        let area = Rect::new(3, 2, columns, rows);
        let mut buffer = Buffer::empty(area);
        let cursor = composer.draw(area, &mut buffer, Style::new());
        assert!(area.contains(cursor));
        area.rows()
            .map(|row| {
                let cells = row.positions().map(|place| {
                    let symbol = buffer[place].symbol().replace('\u{a0}', "_");
                    if place == cursor { format!("|{symbol}") } else { symbol }
                });
                cells.collect::<String>().trim_end().to_owned()
            })
            .collect()
    }

    #[test]
    fn typing_and_taking() {
        let mut composer = typed(typed(Composer::lines(LIMIT), "hello"), " wörld");
        assert!(edited(&mut composer, &[Edit::WordLeft, Edit::Backspace, Edit::Newline]));
        assert_eq!(composer.text(), "hello\nwörld");
        assert_eq!(drawn(&composer, 10, 2), ["hello", "|wörld"]);
        assert_eq!(*composer.take(), "hello\nwörld");
        assert!(composer.is_empty());
        assert_eq!(drawn(&composer, 10, 1), ["|"]);
        assert_eq!(composer.height(10), 1);
        assert!(EDITS.iter().all(|edit| *edit == Edit::Newline || !composer.edit(*edit)), "nothing there to edit");
        composer.set("other");
        assert_eq!(drawn(&composer, 10, 1), ["other|"]);
    }

    #[test]
    fn control_characters_do_not_come_in() {
        assert_eq!(typed(Composer::lines(LIMIT), "a\r\nb\rc\nd\te\x1b[2J\u{9b}\0").text(), "a\nb\nc\nd\te[2J");
        assert_eq!(typed(Composer::line(LIMIT), "a\r\nb\tc").text(), "a b\tc");
        assert_eq!(typed(Composer::secret(LIMIT), "pass word\r\n").text(), "pass word");
        assert!(!typed(Composer::line(LIMIT), "a").edit(Edit::Newline));
        let hidden = typed(Composer::lines(LIMIT), "a\u{202e}b\u{1b}");
        assert_eq!(drawn(&hidden, 8, 1), ["ab|"], "what has a direction of its own is not drawn");
    }

    #[test]
    fn what_is_too_long_is_not_inserted() {
        let mut composer = typed(Composer::lines(4), "abc");
        assert_eq!(composer.insert("déf"), Err(TooLong { over: 3 }));
        assert_eq!(composer.insert("é"), Err(TooLong { over: 1 }));
        assert_eq!(composer.text(), "abc");
        composer.insert("d").unwrap();
        assert!(!composer.edit(Edit::Newline));
        composer.set("abc👩‍💻");
        assert_eq!(composer.text(), "abc");
        assert_eq!(TooLong { over: 3 }.to_string(), "too long by 3 bytes; nothing was inserted");
    }

    #[test]
    fn clusters_are_whole() {
        let mut composer = typed(Composer::lines(LIMIT), "e\u{301}👩‍👩‍👧‍👦🇩🇪");
        assert_eq!(drawn(&composer, 20, 1), ["e\u{301}👩‍👩‍👧‍👦_______🇩🇪___|"]);
        assert!(edited(&mut composer, &[Edit::Left, Edit::Backspace]));
        assert_eq!(composer.text(), "e\u{301}🇩🇪");
        assert!(edited(&mut composer, &[Edit::Left, Edit::Delete, Edit::Delete]));
        assert!(composer.is_empty());

        composer.set("\u{301}");
        composer.edit(Edit::Left);
        composer.insert("e").unwrap();
        assert_eq!(drawn(&composer, 20, 1), ["e\u{301}|"], "the cursor does not stay in the cluster that came to be");
        composer.set("🇩x🇪");
        assert!(edited(&mut composer, &[Edit::Left, Edit::Backspace]));
        assert!(!composer.edit(Edit::Right));
    }

    #[test]
    fn rows_have_room_for_the_cursor() {
        let mut composer = typed(Composer::lines(LIMIT), "hello");
        assert_eq!((composer.height(6), composer.height(5)), (1, 2));
        assert_eq!(drawn(&composer, 6, 2), ["hello|", ""]);
        composer.insert(" ").unwrap();
        assert_eq!(composer.height(6), 2);
        assert_eq!(drawn(&composer, 6, 2), ["hello", "|"]);
        composer.insert("world").unwrap();
        assert_eq!(drawn(&composer, 6, 2), ["hello", "world|"]);
        assert!(edited(&mut composer, &[Edit::WordLeft, Edit::Left]));
        assert_eq!(drawn(&composer, 6, 2), ["hello|", "world"]);
        composer.set("hello \nx");
        assert_eq!(drawn(&composer, 6, 3), ["hello", "", "x|"]);
        composer.set("日本語\n\n");
        assert_eq!(drawn(&composer, 6, 4), ["日_本_", "語_", "", "|"]);
        for columns in 0..4 {
            assert!(composer.height(columns) >= 4, "narrower than a cluster");
            drawn(&composer, columns.max(1), 3);
        }
        assert_eq!(composer.draw(Rect::new(7, 7, 0, 0), &mut Buffer::default(), Style::new()), Position::new(7, 7));
        assert_eq!(Composer::lines(LIMIT).height(0), 1);
    }

    #[test]
    fn up_and_down_keep_to_a_column() {
        let mut composer = typed(Composer::lines(LIMIT), "one two three\nx\nfour");
        assert_eq!(drawn(&composer, 9, 4), ["one two", "three", "x", "four|"]);
        assert!(composer.edit(Edit::Up));
        assert_eq!(drawn(&composer, 9, 4), ["one two", "three", "x|", "four"]);
        assert!(composer.edit(Edit::Up));
        assert_eq!(drawn(&composer, 9, 4), ["one two", "thre|e", "x", "four"]);
        assert!(composer.edit(Edit::Up));
        assert_eq!(drawn(&composer, 9, 4), ["one |two", "three", "x", "four"]);
        assert!(!composer.edit(Edit::Up), "the first row has none above it");
        assert!(edited(&mut composer, &[Edit::Down, Edit::Down, Edit::Down]));
        assert_eq!(drawn(&composer, 9, 4), ["one two", "three", "x", "four|"]);
        assert!(!composer.edit(Edit::Down));
        let mut line = typed(Composer::line(LIMIT), "one two three");
        assert_eq!(drawn(&line, 5, 1), ["hree|"]);
        assert!(!line.edit(Edit::Up) && !line.edit(Edit::Down));
        let mut never_drawn = typed(Composer::lines(LIMIT), "ab\ncd");
        assert!(never_drawn.edit(Edit::Up) && never_drawn.edit(Edit::Backspace));
        assert_eq!(never_drawn.text(), "a\ncd");
    }

    #[test]
    fn words_and_lines() {
        let mut composer = typed(Composer::lines(LIMIT), "one, e\u{301}te\u{301} ...\nlast");
        assert!(edited(&mut composer, &[Edit::LineStart, Edit::DeleteWord]));
        assert_eq!(composer.text(), "one, last");
        assert!(edited(&mut composer, &[Edit::WordLeft, Edit::WordRight, Edit::DeleteToLineEnd]));
        assert!(!composer.edit(Edit::DeleteToLineEnd));
        assert_eq!(composer.text(), "one");
        assert!(composer.edit(Edit::Newline) && !composer.edit(Edit::LineStart), "it is there already");
        composer.insert("two").unwrap();
        assert!(composer.edit(Edit::DeleteToLineStart));
        assert_eq!(composer.text(), "one\n");
    }

    #[test]
    fn what_is_too_large_is_shown_around_the_cursor() {
        let mut composer = typed(Composer::lines(LIMIT), "1\n2\n3\n4");
        assert_eq!(drawn(&composer, 4, 2), ["3", "4|"]);
        assert!(edited(&mut composer, &[Edit::Up, Edit::Up]));
        assert_eq!(drawn(&composer, 4, 2), ["2|", "3"]);
        assert!(composer.edit(Edit::Down));
        assert_eq!(drawn(&composer, 4, 2), ["2", "3|"], "no further than it must");
        composer.set("1");
        assert_eq!(drawn(&composer, 4, 2), ["1|", ""]);

        let mut line = typed(Composer::line(LIMIT), "abcdefgh");
        assert_eq!(drawn(&line, 5, 1), ["efgh|"]);
        assert!(edited(&mut line, &[Edit::Left; 6]));
        assert_eq!(drawn(&line, 5, 1), ["|cdefg"]);
        assert!(edited(&mut line, &[Edit::Right; 2]));
        assert_eq!(drawn(&line, 5, 1), ["cd|efg"]);
        assert!(edited(&mut line, &[Edit::DeleteToLineEnd]));
        assert_eq!(drawn(&line, 5, 1), ["abcd|"]);
        line.set("ab日本");
        assert_eq!(drawn(&line, 5, 1), ["日_本_|"]);
    }

    #[test]
    fn a_secret_shows_only_its_length() {
        let mut composer = typed(Composer::secret(LIMIT), "pä ss日");
        assert_eq!(drawn(&composer, 9, 1), ["******|"]);
        assert!(edited(&mut composer, &[Edit::WordLeft, Edit::Right]));
        assert_eq!(drawn(&composer, 9, 1), ["*|*****"]);
        assert!(composer.edit(Edit::WordRight));
        assert_eq!(drawn(&composer, 4, 1), ["***|"], "words are not seen");
        assert_eq!(format!("{composer:?}"), "Composer { kind: Secret, limit: 16384, .. }");
        let message = typed(Composer::lines(LIMIT), "between us");
        assert_eq!(format!("{message:?}"), "Composer { kind: Lines, limit: 16384, .. }");
    }

    #[test]
    fn typing_in_the_longest_message_takes_a_moment() {
        for unit in ["word ", "x", "日", "e\u{301}", "👩‍", "🇩🇪", "\u{301}", "क्", "\n", "ж"] {
            let mut composer = Composer::lines(LIMIT);
            let paste = unit.repeat((LIMIT - 2).div_euclid(unit.len()));
            composer.insert(&paste).unwrap();
            assert_eq!(composer.text(), paste);
            let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 8));
            let start = timer();
            for edit in [Edit::Left, Edit::Up, Edit::Backspace, Edit::Up, Edit::WordLeft].repeat(2) {
                composer.edit(edit);
                composer.insert("é").unwrap();
                composer.edit(Edit::Backspace);
                composer.height(80);
                composer.draw(buffer.area, &mut buffer, Style::new());
            }
            assert!(start.elapsed() < Duration::from_secs(2), "{:?} for {unit:?}", start.elapsed());
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test measures")]
    fn timer() -> Instant {
        Instant::now()
    }

    /// The same editor, without a thought for time: clusters before the cursor, and after it.
    #[derive(Debug, Default)]
    struct Model {
        before: Vec<String>,
        after: Vec<String>,
    }

    impl Model {
        fn text(&self) -> String {
            self.before.concat() + &self.after.concat()
        }

        /// Divides the text anew; the cursor stands at the first border that is not before it.
        fn divide(&mut self) {
            let (place, text) = (self.before.concat().len(), self.text());
            let mut clusters = text.graphemes(true).map(str::to_owned).collect::<std::collections::VecDeque<_>>();
            self.before.clear();
            while self.before.concat().len() < place {
                self.before.extend(clusters.pop_front());
            }
            self.after = clusters.into();
        }

        fn insert(&mut self, text: &str) {
            self.before.push(text.to_owned());
            self.divide();
        }

        fn left(&mut self, goes: impl Fn(&str) -> bool) {
            while self.before.last().is_some_and(|cluster| goes(cluster)) {
                self.after.insert(0, self.before.pop().unwrap());
            }
        }

        fn right(&mut self, goes: impl Fn(&str) -> bool) {
            while self.after.first().is_some_and(|cluster| goes(cluster)) {
                self.before.push(self.after.remove(0));
            }
        }

        fn edit(&mut self, edit: Edit) {
            let is_word = |cluster: &str| cluster.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_');
            let count = self.before.len();
            match edit {
                Edit::Left | Edit::Backspace => self.after.splice(0..0, self.before.pop()).for_each(drop),
                Edit::Right | Edit::Delete if self.after.is_empty() => {}
                Edit::Right => self.before.push(self.after.remove(0)),
                Edit::Delete => drop(self.after.remove(0)),
                Edit::WordLeft | Edit::DeleteWord => {
                    self.left(|cluster| !is_word(cluster));
                    self.left(is_word);
                }
                Edit::WordRight => {
                    self.right(|cluster| !is_word(cluster));
                    self.right(is_word);
                }
                Edit::LineStart | Edit::DeleteToLineStart => self.left(|cluster| cluster != "\n"),
                Edit::LineEnd | Edit::DeleteToLineEnd => self.right(|cluster| cluster != "\n"),
                Edit::Newline => self.before.push("\n".to_owned()),
                Edit::Up | Edit::Down => panic!("rows are not modelled"),
            }
            match edit {
                Edit::Backspace | Edit::DeleteWord | Edit::DeleteToLineStart => {
                    self.after.drain(..count - self.before.len());
                }
                Edit::DeleteToLineEnd => self.before.truncate(count),
                _ => {}
            }
            self.divide();
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Result<Edit, String>>> {
        let parts = [
            "word",
            " ",
            "  ",
            "\t",
            "\n",
            "_x1",
            ", ",
            "日本",
            "e\u{301}",
            "\u{301}",
            "👩‍💻",
            "👩‍👩‍👧‍👦",
            "\u{200d}",
            "👩",
            "🇩🇪",
            "🇩",
            "👍",
            "🏽",
            "שלום",
            "क्ष",
            "क्",
            "\u{202e}",
            "\u{200b}",
            "한",
            "\u{1161}",
            "கா",
            "ｶﾞ",
            "a long line of words",
        ];
        let text = prop_oneof![9 => select(parts.to_vec()).prop_map(str::to_owned), 1 => any::<String>()];
        vec(prop_oneof![2 => select(EDITS.to_vec()).prop_map(Ok), 1 => text.prop_map(Err)], 0..40)
    }

    proptest! {
        #[test]
        fn it_edits_as_the_model(steps in steps(), columns in 1u16..30, height in 1u16..5) {
            let (mut composer, mut model) = (Composer::lines(LIMIT), Model::default());
            for step in steps {
                let (text, cursor) = (composer.text().to_owned(), composer.cursor);
                let tall = Rect::new(5, 0, columns, composer.height(columns));
                let at = composer.draw(tall, &mut Buffer::empty(tall), Style::new());
                let changed = match &step {
                    Ok(edit) => composer.edit(*edit),
                    Err(text) => composer.insert(text).is_ok(),
                };
                prop_assert!(changed || (composer.text(), composer.cursor) == (&text, cursor));
                prop_assert!(composer.text().is_char_boundary(composer.cursor));
                match step {
                    Ok(edit @ (Edit::Up | Edit::Down)) => {
                        let to = composer.draw(tall, &mut Buffer::empty(tall), Style::new());
                        let end = if edit == Edit::Up { tall.top() } else { tall.bottom() - 1 };
                        prop_assert_eq!(changed, at.y != end);
                        prop_assert_eq!(at.y.abs_diff(to.y), u16::from(changed));
                        prop_assert_eq!(composer.text(), &text);
                        let (before, after) = text.split_at(composer.cursor);
                        model = Model { before: vec![before.to_owned()], after: vec![after.to_owned()] };
                        model.divide();
                        prop_assert_eq!(model.before.concat().len(), composer.cursor, "a border");
                    }
                    Ok(edit) => model.edit(edit),
                    Err(text) => model.insert(&composer.accepted(&text)),
                }
                prop_assert_eq!(composer.text(), model.text());
                prop_assert_eq!(composer.cursor, model.before.concat().len());

                let area = Rect::new(5, 1, columns, height);
                let mut buffer = Buffer::empty(Rect::new(0, 0, 40, 10));
                let at = composer.draw(area, &mut buffer, Style::new());
                prop_assert!(area.contains(at));
                for place in buffer.area.positions() {
                    prop_assert!(area.contains(place) || buffer[place].symbol() == " ");
                }
                // The cursor stands right after what stands before it.
                let before = model.before.last().map_or("", String::as_str);
                let wide = u16::try_from(text::columns(before)).unwrap();
                if columns > 9 && wide > 0 && at.x >= area.x + wide {
                    let mut alone = Buffer::empty(Rect::new(0, 0, wide, 1));
                    text::draw(&mut alone, 0, 0, wide, before, Style::new());
                    prop_assert_eq!(buffer[(at.x - wide, at.y)].symbol(), alone[(0, 0)].symbol());
                }
            }
        }

        #[test]
        fn a_line_is_seen_around_the_cursor(steps in steps(), columns in 1u16..30) {
            for mut composer in [Composer::line(LIMIT), Composer::secret(LIMIT)] {
                for step in &steps {
                    match step {
                        Ok(edit) => drop(composer.edit(*edit)),
                        Err(text) => composer.insert(text).unwrap(),
                    }
                    let area = Rect::new(5, 1, columns, 1);
                    let mut buffer = Buffer::empty(Rect::new(0, 0, 40, 3));
                    let at = composer.draw(area, &mut buffer, Style::new());
                    prop_assert!(area.contains(at));
                    prop_assert!(!composer.text().contains('\n'));
                    let is_secret = composer.kind == Kind::Secret;
                    for place in buffer.area.positions() {
                        let symbol = buffer[place].symbol();
                        prop_assert!(area.contains(place) || symbol == " ");
                        prop_assert!(!is_secret || symbol == " " || symbol == MASK);
                    }
                    let before = composer.part(0..composer.cursor).graphemes(true).next_back().unwrap_or_default();
                    let wide = u16::try_from(composer.wide(before, 40)).unwrap();
                    if columns > 9 && wide > 0 && at.x >= area.x + wide && !is_secret {
                        let mut alone = Buffer::empty(Rect::new(0, 0, wide, 1));
                        text::draw(&mut alone, 0, 0, wide, before, Style::new());
                        prop_assert_eq!(buffer[(at.x - wide, at.y)].symbol(), alone[(0, 0)].symbol());
                    }
                }
            }
        }
    }
}
