//! What was said in a chat, and what happened in it, as it is shown. It lives in memory alone.

use std::collections::VecDeque;

use jiff::civil::{Date, DateTime};
use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use zeroize::Zeroizing;

use super::{
    style::Theme,
    text::{self, LEFT_TO_RIGHT},
};

/// Bytes of text that are kept; the oldest goes first.
const MAX_BYTES: usize = 8 << 20;
/// Entries that are kept.
const MAX_ENTRIES: usize = 20_000;
/// An entry's own cost, beside its text.
const ENTRY_BYTES: usize = 96;

/// What the user is called beside their own messages.
const YOU: &str = "you";

/// How far a message of one's own has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not sealed yet: it waits for room.
    Sending,
    /// Sealed, under this counter, and on its way.
    Sent(u64),
    /// With the peer's client.
    Delivered,
    /// The chat ended before the peer's client confirmed it.
    Undelivered,
}

enum Entry {
    Mine {
        at: DateTime,
        text: Zeroizing<String>,
        progress: Progress,
    },
    Theirs {
        at: DateTime,
        text: Zeroizing<String>,
    },
    /// Something that happened.
    Note {
        at: DateTime,
        text: String,
    },
    /// Keys were renewed, so many times in a row.
    Renewed {
        at: DateTime,
        times: u64,
    },
    Day(Date),
    /// Stands first: so many were let go.
    Gone(u64),
}

/// Everything that is to be seen of a chat.
pub(super) struct Transcript {
    peer: String,
    entries: VecDeque<Entry>,
    bytes: usize,
    day: Option<Date>,
    /// What is looked at, if not the end: the entry and the row in it that stand lowest, and what has come since.
    looking: Option<Looking>,
    /// Rows and columns when it was last drawn.
    rows: usize,
    columns: usize,
}

#[derive(Clone, Copy)]
struct Looking {
    entry: usize,
    row: usize,
    newer: usize,
}

/// What stands before the words of a message, and how wide it is.
struct Margin {
    time: usize,
    name: usize,
}

impl Margin {
    fn new(columns: usize) -> Self {
        Self { time: 5, name: if columns < 60 { 6 } else { 10 } }
    }

    /// `12:03 ✓ alice │ `
    fn columns(&self) -> usize {
        self.time.saturating_add(self.name).saturating_add(6)
    }
}

impl Transcript {
    pub(super) fn new(peer: &str) -> Self {
        Self {
            // Nobody else can be what the user is called here.
            peer: if peer == YOU { format!("@{peer}") } else { peer.to_owned() },
            entries: VecDeque::new(),
            bytes: 0,
            day: None,
            looking: None,
            rows: 1,
            columns: 80,
        }
    }

    /// The user said something.
    pub(super) fn say(&mut self, text: &str, at: DateTime) {
        let text = text::bounded(text);
        self.push(Entry::Mine { at, text, progress: Progress::Sending });
        self.bottom();
    }

    /// The peer said something.
    pub(super) fn hear(&mut self, text: &str, at: DateTime) {
        self.push(Entry::Theirs { at, text: text::bounded(text) });
    }

    /// Something happened.
    pub(super) fn note(&mut self, text: impl Into<String>, at: DateTime) {
        self.push(Entry::Note { at, text: text.into() });
    }

    /// The keys were renewed. Renewals with nothing between them are one line.
    pub(super) fn renewed(&mut self, now: DateTime) {
        if let Some(Entry::Renewed { at, times }) = self.entries.back_mut()
            && at.date() == now.date()
        {
            (*at, *times) = (now, times.saturating_add(1));
            return;
        }
        self.push(Entry::Renewed { at: now, times: 1 });
    }

    /// The oldest message that was not sealed yet is, under this counter.
    pub(super) fn sent(&mut self, n: u64) {
        if let Some(progress) = self.in_flight().find(|progress| **progress == Progress::Sending) {
            *progress = Progress::Sent(n);
        }
    }

    /// All that was sent up to this counter is with the peer's client.
    pub(super) fn delivered(&mut self, up_to: u64) {
        for progress in self.in_flight() {
            if matches!(progress, Progress::Sent(n) if *n <= up_to) {
                *progress = Progress::Delivered;
            }
        }
    }

    /// The chat is over: what is not delivered will not be. Says how many messages that are.
    pub(super) fn close(&mut self) -> u64 {
        let mut undelivered = 0u64;
        for progress in self.in_flight() {
            if *progress != Progress::Delivered {
                *progress = Progress::Undelivered;
                undelivered = undelivered.saturating_add(1);
            }
        }
        undelivered
    }

    /// How far the last of one's own messages has come.
    pub(super) fn last_progress(&self) -> Option<Progress> {
        self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Mine { progress, .. } => Some(*progress),
            _ => None,
        })
    }

    /// One's own messages from the first that is not settled.
    fn in_flight(&mut self) -> impl Iterator<Item = &mut Progress> {
        let first = self.first_in_flight();
        self.entries.iter_mut().skip(first).filter_map(|entry| match entry {
            Entry::Mine { progress, .. } => Some(progress),
            _ => None,
        })
    }

    /// The entry before which all of one's own messages are delivered. Found from the end: no more can be in flight
    /// than the window and what waits for it.
    fn first_in_flight(&self) -> usize {
        let is_settled =
            |entry: &Entry| matches!(entry, Entry::Mine { progress: Progress::Delivered | Progress::Undelivered, .. });
        self.entries.iter().rposition(is_settled).map_or(0, |place| place.saturating_add(1))
    }

    fn push(&mut self, entry: Entry) {
        let at = match &entry {
            Entry::Mine { at, .. } | Entry::Theirs { at, .. } | Entry::Note { at, .. } | Entry::Renewed { at, .. } => {
                *at
            }
            Entry::Day(_) | Entry::Gone(_) => return,
        };
        if self.day != Some(at.date()) {
            // The first day of a chat goes without saying, unless it turns.
            if self.day.is_some() {
                let day = Entry::Day(at.date());
                self.bytes = self.bytes.saturating_add(day.bytes());
                self.entries.push_back(day);
            }
            self.day = Some(at.date());
        }
        self.bytes = self.bytes.saturating_add(entry.bytes());
        self.entries.push_back(entry);
        if let Some(looking) = &mut self.looking {
            looking.newer = looking.newer.saturating_add(1);
        }
        while self.bytes > MAX_BYTES || self.entries.len() > MAX_ENTRIES {
            self.let_go();
        }
    }

    /// Lets the oldest go, and says so in its place.
    fn let_go(&mut self) {
        let mut gone = 0u64;
        if let Some(Entry::Gone(before)) = self.entries.front() {
            gone = *before;
            self.entries.pop_front();
            if let Some(looking) = &mut self.looking {
                looking.entry = looking.entry.saturating_sub(1);
            }
        }
        let bytes = self.entries.pop_front().map_or(self.bytes, |oldest| oldest.bytes());
        self.bytes = self.bytes.saturating_sub(bytes);
        self.entries.push_front(Entry::Gone(gone.saturating_add(1)));
    }

    /// Looks further up, or down, by rows; says whether there was anything to move.
    pub(super) fn scroll(&mut self, by: isize) -> bool {
        let Some(last) = self.entries.len().checked_sub(1) else { return false };
        let at_end = Looking { entry: last, row: self.height(last).saturating_sub(1), newer: 0 };
        let mut at = self.looking.unwrap_or(at_end);
        let before = (at.entry, at.row);
        (at.entry, at.row) =
            if by < 0 { self.above(before, by.unsigned_abs()) } else { self.below(before, by.unsigned_abs()) };
        if by < 0 {
            // The first row is not drawn further up than the top.
            (at.entry, at.row) = self.no_higher_than_full((at.entry, at.row));
        }
        let has_moved = (at.entry, at.row) != before;
        let is_end = (at.entry, at.row) == (at_end.entry, at_end.row);
        self.looking = (!is_end).then_some(at);
        has_moved
    }

    /// A page, less a row of what was seen.
    pub(super) fn page(&self) -> isize {
        isize::try_from(self.rows.saturating_sub(1).max(1)).unwrap_or(1)
    }

    /// Goes to the start.
    pub(super) fn top(&mut self) {
        if !self.entries.is_empty() {
            let newer = self.looking.map_or(0, |looking| looking.newer);
            let (entry, row) = self.no_higher_than_full((0, 0));
            self.looking = Some(Looking { entry, row, newer });
            self.scroll(0);
        }
    }

    /// Goes to the end, and stays there.
    pub(super) fn bottom(&mut self) {
        self.looking = None;
    }

    /// What has come since one looked away from the end; `None` at the end.
    pub(super) fn newer(&self) -> Option<usize> {
        self.looking.map(|looking| looking.newer)
    }

    /// The row that stands so many rows above, or the first.
    fn above(&self, (mut entry, row): (usize, usize), mut rows: usize) -> (usize, usize) {
        let mut row = row.min(self.height(entry).saturating_sub(1));
        while rows > row {
            let Some(before) = entry.checked_sub(1) else { return (0, 0) };
            rows = rows.saturating_sub(row).saturating_sub(1);
            (entry, row) = (before, self.height(before).saturating_sub(1));
        }
        (entry, row.saturating_sub(rows))
    }

    /// The row that stands so many rows below, or the last.
    fn below(&self, (mut entry, mut row): (usize, usize), mut rows: usize) -> (usize, usize) {
        loop {
            let left = self.height(entry).saturating_sub(1).saturating_sub(row);
            let after = entry.saturating_add(1);
            if rows <= left || after >= self.entries.len() {
                return (entry, row.saturating_add(rows.min(left)));
            }
            rows = rows.saturating_sub(left).saturating_sub(1);
            (entry, row) = (after, 0);
        }
    }

    /// The lowest row to show so that the screen is full, if what is before it does not fill it.
    fn no_higher_than_full(&self, lowest: (usize, usize)) -> (usize, usize) {
        // A row at the end is kept for the word that this is not the end, unless all there is has room beside it.
        let full = self.rows.saturating_add(usize::from(self.looking.is_some()));
        let visible = full.saturating_sub(1).max(1);
        let mut rows = 0usize;
        for entry in 0..=lowest.0 {
            let height = if entry == lowest.0 { lowest.1.saturating_add(1) } else { self.height(entry) };
            rows = rows.saturating_add(height);
            if rows > visible {
                return lowest;
            }
        }
        // All that is left may fit as well, together with the row of that word.
        let end = self.below(lowest, full.saturating_sub(rows));
        if self.is_last(end) { end } else { self.below(lowest, visible.saturating_sub(rows)) }
    }

    /// Whether a row is the last of all.
    fn is_last(&self, (entry, row): (usize, usize)) -> bool {
        entry.saturating_add(1) >= self.entries.len() && row.saturating_add(1) >= self.height(entry)
    }

    fn height(&self, entry: usize) -> usize {
        self.entries.get(entry).map_or(0, |entry| self.words(entry).len())
    }

    /// The rows of an entry, as they fit beside the margin.
    fn words(&self, entry: &Entry) -> Vec<String> {
        let margin = Margin::new(self.columns);
        let room = self.columns.saturating_sub(margin.columns()).max(4);
        match entry {
            Entry::Mine { text, .. } | Entry::Theirs { text, .. } => text::wrap(text, room),
            Entry::Note { text, .. } => text::wrap(text, self.columns.saturating_sub(8).max(4)),
            Entry::Renewed { at, times: 1 } => vec![format!("── keys renewed {} ──", at.strftime("%H:%M:%S"))],
            Entry::Renewed { at, times } => {
                let at = at.strftime("%H:%M:%S");
                let whole = format!("── keys renewed {times} times, last {at} ──");
                let fits = text::columns(&whole) <= self.columns;
                vec![if fits { whole } else { format!("── keys renewed ×{times}, {at} ──") }]
            }
            Entry::Day(date) => vec![format!("──── {} ────", date.strftime("%A %-d %B %Y"))],
            Entry::Gone(entries) => vec![format!("── {entries} older lines were let go ──")],
        }
    }

    /// Draws what is looked at, at the bottom of `area`.
    pub(super) fn draw(&mut self, area: Rect, buffer: &mut Buffer, theme: Theme, is_reachable: bool) {
        (self.rows, self.columns) = (usize::from(area.height), usize::from(area.width));
        let Some(last) = self.entries.len().checked_sub(1) else { return };
        // Another size, or the oldest gone, may have moved what was looked at.
        if let Some(mut at) = self.looking {
            let entry = at.entry.min(last);
            let row = at.row.min(self.height(entry).saturating_sub(1));
            (at.entry, at.row) = self.no_higher_than_full((entry, row));
            self.looking = Some(at);
        }
        let lowest = self.looking.map_or(last, |looking| looking.entry);
        let mut bottom = area.bottom();
        for (place, entry) in self.entries.range(..=lowest).enumerate().rev() {
            let mut words = self.words(entry);
            if place == lowest
                && let Some(looking) = self.looking
            {
                words.truncate(looking.row.saturating_add(1));
            }
            let height = u16::try_from(words.len()).unwrap_or(u16::MAX);
            let hidden = usize::from(area.y.saturating_add(height).saturating_sub(bottom));
            let top = bottom.saturating_sub(height).max(area.y);
            for (y, (number, row)) in (top..bottom).zip(words.iter().enumerate().skip(hidden)) {
                self.draw_row(entry, number == 0, row, Rect { y, height: 1, ..area }, buffer, theme, is_reachable);
            }
            bottom = top;
            if bottom <= area.y {
                return;
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is where and how a row is drawn")]
    fn draw_row(
        &self,
        entry: &Entry,
        is_first: bool,
        words: &str,
        area: Rect,
        buffer: &mut Buffer,
        theme: Theme,
        is_reachable: bool,
    ) {
        let (at, who, mark, style): (&DateTime, &str, &str, Style) = match entry {
            Entry::Mine { at, progress, .. } => {
                let mark = match progress {
                    Progress::Delivered => "✓",
                    Progress::Undelivered => "✗",
                    _ if !is_reachable => "!",
                    Progress::Sending | Progress::Sent(_) => "…",
                };
                (at, YOU, mark, theme.mine())
            }
            Entry::Theirs { at, .. } => (at, &self.peer, " ", theme.theirs()),
            Entry::Note { at, .. } => {
                if is_first {
                    let time = at.strftime("%H:%M").to_string();
                    text::draw(buffer, area.x, area.y, area.width, &time, theme.faint());
                }
                let x = area.x.saturating_add(6);
                let mark = if is_first { "*" } else { " " };
                text::draw(buffer, x, area.y, area.width.saturating_sub(6), &format!("{mark} {words}"), theme.strong());
                return;
            }
            Entry::Renewed { .. } | Entry::Day(_) | Entry::Gone(_) => {
                text::draw(buffer, area.x, area.y, area.width, words, theme.faint());
                return;
            }
        };
        let margin = Margin::new(self.columns);
        if is_first {
            text::draw(buffer, area.x, area.y, area.width, &at.strftime("%H:%M").to_string(), theme.faint());
            let x = area.x.saturating_add(6);
            text::draw(buffer, x, area.y, 1, mark, if mark == "✗" || mark == "!" { theme.bad() } else { style });
            // The name stands against the bar, cut if it has to be.
            let name = u16::try_from(margin.name).unwrap_or(u16::MAX);
            let wide = u16::try_from(text::columns(who)).unwrap_or(u16::MAX).min(name);
            let x = area.x.saturating_add(8).saturating_add(name.saturating_sub(wide));
            text::draw(buffer, x, area.y, name, who, style);
        }
        let bar = area.x.saturating_add(u16::try_from(margin.columns()).unwrap_or(u16::MAX).saturating_sub(2));
        if let Some(cell) = buffer.cell_mut((bar, area.y)) {
            let line = if matches!(entry, Entry::Mine { .. }) { "│" } else { "┃" };
            // The mark stands before what people wrote, on every row.
            cell.set_symbol(&format!("{line}{LEFT_TO_RIGHT}")).set_style(style);
        }
        let x = bar.saturating_add(2);
        text::draw(buffer, x, area.y, area.right().saturating_sub(x), words, theme.plain());
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        let text = match self {
            Self::Mine { text, .. } | Self::Theirs { text, .. } => text.len(),
            Self::Note { text, .. } => text.len(),
            Self::Renewed { .. } | Self::Day(_) => 0,
            Self::Gone(_) => return 0,
        };
        text.saturating_add(ENTRY_BYTES)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use jiff::civil::date;
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn noon() -> DateTime {
        date(2026, 3, 14).at(12, 0, 0, 0)
    }

    /// The rows that are seen, from the first that has something.
    fn rows(transcript: &mut Transcript, columns: u16, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, columns, height);
        let mut buffer = Buffer::empty(area);
        transcript.draw(area, &mut buffer, Theme::new(true), true);
        let row =
            |row: Rect| row.positions().map(|place| buffer[place].symbol()).collect::<String>().trim_end().to_owned();
        area.rows().map(row).collect()
    }

    #[test]
    fn the_oldest_goes_and_that_is_told() {
        let mut transcript = Transcript::new("bob");
        for n in 0..MAX_ENTRIES {
            transcript.hear(&format!("line {n}"), noon());
        }
        rows(&mut transcript, 40, 5);
        transcript.top();
        assert!(rows(&mut transcript, 40, 5)[0].ends_with("line 0"));
        for n in 0..10 {
            transcript.hear(&format!("new {n}"), noon());
        }
        assert_eq!(transcript.entries.len(), MAX_ENTRIES);
        let seen = rows(&mut transcript, 40, 5);
        assert_eq!(seen[0], "── 11 older lines were let go ──", "the screen stays full, of what there is");
        assert!(seen[4].ends_with("line 14"));
        transcript.top();
        let top = rows(&mut transcript, 40, 5);
        assert_eq!(top[0], "── 11 older lines were let go ──");
        assert!(top[1].ends_with("line 11"));
        assert!(transcript.newer() == Some(10));
    }

    #[test]
    fn long_messages_are_let_go_sooner() {
        let mut transcript = Transcript::new("bob");
        let day = |n: i32| noon().checked_add(jiff::Span::new().days(n)).unwrap();
        for n in 0..2_000 {
            transcript.say(&"x".repeat(16_384), day(n));
            transcript.sent(0);
            transcript.delivered(0);
            assert!(transcript.bytes <= MAX_BYTES);
        }
        assert_eq!(transcript.bytes, transcript.entries.iter().map(Entry::bytes).sum::<usize>());
        assert!(transcript.bytes > MAX_BYTES - 20_000, "and not much sooner");
        assert!(size_of::<Entry>() <= ENTRY_BYTES);
    }

    #[test]
    fn what_is_looked_at_stays() {
        let mut transcript = Transcript::new("bob");
        for n in 0..50 {
            transcript.hear(&format!("line {n}"), noon());
        }
        let end = rows(&mut transcript, 40, 5);
        assert!(transcript.scroll(-7));
        let seen = rows(&mut transcript, 40, 5);
        transcript.hear("new", noon());
        assert_eq!(rows(&mut transcript, 40, 5), seen);
        assert_eq!(transcript.newer(), Some(1));
        assert!(transcript.scroll(7));
        assert_eq!(rows(&mut transcript, 40, 5), end);
        assert_eq!(transcript.newer(), Some(1));
        assert!(transcript.scroll(1));
        assert_eq!(transcript.newer(), None);
        assert!(!transcript.scroll(1));
        transcript.scroll(-7);
        transcript.say("mine", noon());
        assert!(rows(&mut transcript, 40, 5)[4].ends_with("mine"), "who speaks sees it");
    }

    #[test]
    fn no_row_begins_with_what_people_wrote() {
        let mut transcript = Transcript::new("bob");
        transcript.hear("שלום עולם שלום עולם\nשלום", noon());
        transcript.say("سلام", noon());
        for row in rows(&mut transcript, 30, 4) {
            let (margin, _) = row.split_once(['│', '┃']).unwrap();
            assert!(margin.chars().all(|c| c == ' ' || c == ':' || c == '…' || c.is_ascii_alphanumeric()), "{row:?}");
            assert!(row.contains("│\u{200e}") || row.contains("┃\u{200e}"), "{row:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// Row by row up and down, each row is seen, in order and once; and a page is so many rows.
        #[test]
        fn each_row_can_be_looked_at(
            texts in vec(select(vec!["a", "two\nlines", "a long line that goes on in more rows than one", "日本語日本語日本語"]), 2..12),
            columns in 24u16..60,
            height in 2u16..8,
            page in 1isize..9,
        ) {
            let mut transcript = Transcript::new("bob");
            for text in texts {
                transcript.hear(text, noon());
                transcript.say(text, noon());
                transcript.renewed(noon());
                transcript.note(text, noon());
            }
            let all = rows(&mut transcript, columns, 4_000);
            let empty = all.iter().take_while(|row| row.is_empty()).count();
            let all = &all[empty..];
            let end = all.len() - 1;
            let mut lowest = end;
            for (by, stop) in [(-1, usize::from(height) - 2), (page, end), (-page, usize::from(height) - 2), (1, end)] {
                loop {
                    // Away from the end a row of the screen says so.
                    let shown = height - u16::from(transcript.newer().is_some());
                    let seen = rows(&mut transcript, columns, shown);
                    prop_assert_eq!(&seen[..], &all[lowest + 1 - usize::from(shown)..=lowest]);
                    let has_moved = transcript.scroll(by);
                    prop_assert_eq!(has_moved, lowest != stop);
                    if !has_moved {
                        break;
                    }
                    let moved = lowest.saturating_add_signed(by);
                    lowest = if by < 0 { moved.max(stop) } else { moved.min(stop) };
                }
                prop_assert_eq!(transcript.newer().is_none(), lowest == end);
            }
        }
    }
}
