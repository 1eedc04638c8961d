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

/// What a key does to a text. A line is what stands between two line ends, a row is a part of it as it is drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Edit {
    /// A cluster back.
    Left,
    /// A cluster on.
    Right,
    /// To the start of this word, or of the one before.
    WordLeft,
    /// To the end of this word, or of the next.
    WordRight,
    /// To the start of the line.
    LineStart,
    /// To the end of the line.
    LineEnd,
    /// A row up.
    Up,
    /// A row down.
    Down,
    /// Takes out the cluster before the cursor.
    Backspace,
    /// Takes out the cluster after the cursor.
    Delete,
    /// Takes out what [`Edit::WordLeft`] goes over.
    DeleteWord,
    /// Takes out what [`Edit::LineStart`] goes over.
    DeleteToLineStart,
    /// Takes out what [`Edit::LineEnd`] goes over.
    DeleteToLineEnd,
    /// A line end at the cursor, where there may be many lines.
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

    /// One line, at most `limit` bytes, of which only the number of clusters is seen.
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
        let (mut before, mut whole) = (0usize, self.columns(0..self.text.len(), room));
        let mut to_cursor = self.columns(0..self.cursor, room);
        for (start, cluster) in self.text.grapheme_indices(true) {
            if start >= first && to_cursor <= room || whole <= room {
                first = start.min(self.cursor);
                break;
            }
            let wide = self.wide(cluster, room);
            (whole, to_cursor) = (whole.saturating_sub(wide), to_cursor.saturating_sub(wide));
            before = before.saturating_add(wide);
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

    /// The rows of the text in `room` columns. One space at a row's end may be beyond, in the column that is kept for the
    /// cursor. The last row, and each before a line end, has room for the cursor after it.
    fn rows(&self, room: usize) -> Vec<Range<usize>> {
        let mut rows = Vec::new();
        // Where the row and the cluster start; what the row takes; where its last word starts, and the columns before that.
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
                '\r' | '\n' => accepted.push(if self.kind == Kind::Lines { '\n' } else { ' ' }),
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
