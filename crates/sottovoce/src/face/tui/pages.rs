//! Pages that fill the screen with words: the help, and what a changed key means.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{
    keys::{self, Scope},
    style::Theme,
    text,
};

/// The help, made from the table of the keys and the list of commands, and how far down one has read.
pub(super) struct Help {
    above: usize,
    rows: usize,
    height: usize,
}

impl Help {
    pub(super) fn new() -> Self {
        Self { above: 0, rows: 0, height: 1 }
    }

    /// Reads on, or back.
    pub(super) fn scroll(&mut self, by: isize) {
        let last = self.rows.saturating_sub(self.height);
        self.above = self.above.saturating_add_signed(by).min(last);
    }

    /// Rows of a page.
    pub(super) fn page(&self) -> isize {
        isize::try_from(self.height.saturating_sub(1).max(1)).unwrap_or(1)
    }

    pub(super) fn draw(&mut self, area: Rect, buffer: &mut Buffer, theme: Theme) {
        let rows = rows(usize::from(area.width), theme);
        (self.rows, self.height) = (rows.len(), usize::from(area.height));
        self.scroll(0);
        for (y, (row, style)) in (area.y..area.bottom()).zip(rows.iter().skip(self.above)) {
            text::draw(buffer, area.x, y, area.width, row, *style);
        }
    }
}

/// The marks beside messages, and what they mean.
const MARKS: [(&str, &str); 4] = [
    ("…", "sending"),
    ("!", "the server is not reachable; it waits"),
    ("✓", "delivered: the other person's client has it"),
    ("✗", "not confirmed before the chat ended; it may be lost"),
];

fn rows(columns: usize, theme: Theme) -> Vec<(String, Style)> {
    let mut rows = Vec::new();
    let sections = [
        (Scope::Everywhere, "Everywhere"),
        (Scope::People, "People"),
        (Scope::Question, "When somebody asks to talk"),
        (Scope::Chat, "In a chat"),
        (Scope::Verify, "Making sure who it is"),
        (Scope::Typing, "While typing"),
        (Scope::SignIn, "Logging in"),
    ];
    let mut section = |title: &str, entries: Vec<(String, String)>| {
        if !rows.is_empty() {
            rows.push((String::new(), theme.plain()));
        }
        rows.push((title.to_owned(), theme.strong()));
        for (what, means) in entries {
            entry(&mut rows, &what, &means, columns, theme);
        }
    };
    for (scope, title) in sections {
        section(title, keys::rows(scope).map(|row| (row.label.to_owned(), row.help.to_owned())).collect());
    }
    section("Marks beside your messages", MARKS.map(|(mark, means)| (mark.to_owned(), means.to_owned())).into());
    let commands = client::HELP.lines().map(|line| {
        let (what, means) = line.split_at_checked(15).unwrap_or((line, ""));
        (what.trim_end().to_owned(), means.trim_start().to_owned())
    });
    section("Commands, typed like a message", commands.collect());
    rows
}

/// A row of two columns, which continues below where the screen is narrow.
fn entry(rows: &mut Vec<(String, Style)>, what: &str, means: &str, columns: usize, theme: Theme) {
    const INDENT: usize = 2;
    let left = if columns < 60 { 14 } else { 24 };
    let mut pieces = text::wrap(means, columns.saturating_sub(left).max(4)).into_iter();
    if text::columns(what).saturating_add(INDENT) < left {
        let first = pieces.next().unwrap_or_default();
        let pad = left.saturating_sub(text::columns(what)).saturating_sub(INDENT);
        rows.push((format!("{:INDENT$}{what}{:pad$}{first}", "", ""), theme.plain()));
    } else {
        rows.push((format!("{:INDENT$}{what}", ""), theme.plain()));
    }
    rows.extend(pieces.map(|piece| (format!("{:left$}{piece}", ""), theme.plain())));
}

/// What a changed key means, and what to do (B4).
pub(super) fn draw_changed(peer: &str, area: Rect, buffer: &mut Buffer, theme: Theme) {
    let paragraphs = [
        (format!("THE KEY OF {} HAS CHANGED", peer.to_uppercase()), theme.bad()),
        ("No chat was started, and nothing was sent.".to_owned(), theme.strong()),
        (
            format!(
                "The server hands out another key for {peer} than the one that {peer} had when you last talked. Either \
                 {peer} has a new key, or somebody stands between you."
            ),
            theme.plain(),
        ),
        (format!("Ask {peer} by another way, not through this server: is your key new?"), theme.plain()),
        (format!("If so, type: /forget {peer}"), theme.strong()),
        (
            format!(
                "Then talk, and compare the safety number (F2). If not, tell the operator; do not talk to {peer} here."
            ),
            theme.plain(),
        ),
    ];
    let brief = [
        (format!("THE KEY OF {} HAS CHANGED", peer.to_uppercase()), theme.bad()),
        (format!("No chat was started. Either {peer} has a new key, or somebody stands between you."), theme.plain()),
        (format!("Ask {peer} by another way. If the key is new: /forget {peer}"), theme.strong()),
        (format!("If not: tell the operator; do not talk to {peer} here."), theme.plain()),
    ];
    let rows = |paragraphs: &[(String, Style)], gap: bool| {
        let mut rows = Vec::new();
        for (words, style) in paragraphs {
            if gap && !rows.is_empty() {
                rows.push((String::new(), *style));
            }
            rows.extend(text::wrap(words, usize::from(area.width)).into_iter().map(|row| (row, *style)));
        }
        rows
    };
    // As much as there is room for: what to do about it is more than why.
    let rows = [rows(&paragraphs, true), rows(&paragraphs, false)]
        .into_iter()
        .find(|rows| rows.len() <= usize::from(area.height))
        .unwrap_or_else(|| rows(&brief, false));
    for (y, (row, style)) in (area.y..area.bottom()).zip(&rows) {
        text::draw(buffer, area.x, y, area.width, row, *style);
    }
}
