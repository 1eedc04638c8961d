//! Where everything stands. Whatever people wrote has rows of its own: nothing of the frame stands to the right of it,
//! where a terminal that reorders right-to-left text, or takes a character for wider than it is, could move it.

use identity::Trust;
use ratatui::{
    Frame,
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};

use super::{
    super::{keys, pages, text},
    Link, Moment, Screen, View,
};

/// Rows below which hints and empty rows give way.
const LOW: u16 = 12;

impl Screen {
    /// Draws all of it.
    pub(crate) fn draw(&mut self, frame: &mut Frame<'_>, now: Moment) {
        let area = frame.area();
        let cursor = self.draw_in(area, frame.buffer_mut(), now);
        text::keep_direction(frame.buffer_mut());
        if let Some(cursor) = cursor.filter(|cursor| area.contains(*cursor)) {
            frame.set_cursor_position(cursor);
        }
    }

    fn draw_in(&mut self, area: Rect, buffer: &mut Buffer, now: Moment) -> Option<Position> {
        let mut rest = area;
        bar(buffer, take_top(&mut rest, 1), &self.title(usize::from(area.width), now), self.title_style());
        let is_typing = self.is_typing();
        self.draw_question(buffer, &mut rest, now, is_typing);
        self.draw_bottom(buffer, &mut rest, now);
        if let Some(help) = &mut self.help {
            help.draw(rest, buffer, self.theme);
            return None;
        }
        if self.is_signing_in {
            return self.form.draw(rest, buffer, self.theme, now.instant);
        }
        if let Some(peer) = &self.changed {
            let row = take_bottom(&mut rest, 1);
            pages::draw_changed(peer, rest, buffer, self.theme);
            text::draw(buffer, row.x, row.y, 2, "> ", self.theme.mine());
            let field = Rect { x: row.x.saturating_add(2), width: row.width.saturating_sub(2), ..row };
            return Some(self.people.search.draw(field, buffer, self.theme.plain()));
        }
        let theme = self.theme;
        match (self.view, &mut self.conversation) {
            (View::Chat, Some(conversation)) => {
                if let Some(verify) = &self.verify {
                    return Some(verify.draw(conversation, rest, buffer, theme));
                }
                let height = conversation.input_height(rest);
                let input = take_bottom(&mut rest, height);
                if let Some((trouble, is_bad)) = conversation.trouble(self.link == Link::Up) {
                    let style = if is_bad { theme.alarm() } else { theme.bar() };
                    bars(buffer, &mut rest, &trouble, style);
                }
                if let Some(newer) = conversation.transcript.newer() {
                    let what = match newer {
                        0 => " earlier messages; Esc goes to the end".to_owned(),
                        newer => format!(" {newer} newer below; Esc goes to the end"),
                    };
                    bar(buffer, take_bottom(&mut rest, 1), &what, theme.bar());
                }
                conversation.transcript.draw(rest, buffer, theme, self.link == Link::Up);
                Some(conversation.draw_input(input, buffer, theme))
            }
            _ => {
                if rest.height >= LOW {
                    let rows: Vec<_> =
                        self.welcome.iter().flat_map(|line| text::wrap(line, usize::from(rest.width))).collect();
                    let height = u16::try_from(rows.len()).unwrap_or(u16::MAX).min(rest.height.saturating_sub(6));
                    let block = take_bottom(&mut rest, height);
                    for (y, row) in (block.y..block.bottom()).zip(&rows) {
                        text::draw(buffer, block.x, y, block.width, row, theme.plain());
                    }
                }
                Some(self.people.draw(rest, buffer, theme))
            }
        }
    }

    fn title(&self, columns: usize, now: Moment) -> String {
        match (&self.conversation, self.view) {
            _ if self.help.is_some() => " Help · PgUp, PgDn: more · Esc: back".to_owned(),
            _ if self.is_signing_in => " Sottovoce: log in".to_owned(),
            _ if self.changed.is_some() => " KEY CHANGED · Esc: people".to_owned(),
            (Some(conversation), View::Chat) => conversation.title(columns, now.instant),
            (Some(conversation), View::People) => {
                let [whole, brief] = conversation.elsewhere(self.link == Link::Up);
                [format!(" People on {} · {whole}", self.server), format!(" People · {whole}")]
                    .into_iter()
                    .find(|title| text::columns(title) <= columns)
                    .unwrap_or_else(|| format!(" {brief} · people"))
            }
            _ => format!(" People on {}", self.server),
        }
    }

    fn title_style(&self) -> Style {
        if self.changed.is_some() { self.theme.alarm() } else { self.theme.bar() }
    }

    /// A request, of somebody's or one's own, in rows that cannot be missed.
    fn draw_question(&self, buffer: &mut Buffer, rest: &mut Rect, now: Moment, is_typing: bool) {
        let seconds = |since: std::time::Instant| now.instant.saturating_duration_since(since).as_secs();
        if let Some(question) = &self.question {
            let peer = &question.peer;
            let trust = match self.people.trust(peer) {
                _ if self.people.has_changed(peer) => "KEY CHANGED when you last tried",
                Some(Trust::Verified) => "verified",
                Some(Trust::Pinned | Trust::New) => "key known, not verified",
                None => "never talked to before",
            };
            let waits = seconds(question.since);
            let high = rest.height >= LOW;
            let style = self.theme.question();
            if high {
                bar(buffer, take_top(rest, 1), "", style);
            }
            for row in text::wrap(
                &format!("{peer} ASKS TO TALK · {trust} · {waits} s"),
                usize::from(rest.width.saturating_sub(2)),
            ) {
                bar(buffer, take_top(rest, 1), &format!(" {row}"), style);
            }
            let room = usize::from(rest.width.saturating_sub(2));
            let keys = if is_typing {
                "Ctrl-Y: accept    Ctrl-N: refuse"
            } else if room < 42 {
                "y, Ctrl-Y: accept  n, Ctrl-N: refuse"
            } else {
                "y or Ctrl-Y: accept    n or Ctrl-N: refuse"
            };
            for row in text::wrap(keys, room) {
                bar(buffer, take_top(rest, 1), &format!(" {row}"), style);
            }
            if high {
                bar(buffer, take_top(rest, 1), "", style);
            }
        } else if let Some(calling) = &self.calling {
            let (peer, waits) = (&calling.peer, seconds(calling.since));
            let what = if self.is_setting_up {
                format!("agreeing on keys with {peer}, for {waits} s")
            } else {
                format!("asking {peer} to talk, for {waits} s · Esc takes it back")
            };
            for row in text::wrap(&what, usize::from(rest.width.saturating_sub(2))) {
                bar(buffer, take_top(rest, 1), &format!(" {row}"), self.theme.question());
            }
        }
    }

    /// What is known of the connection, what was to be said, and what keys do.
    fn draw_bottom(&self, buffer: &mut Buffer, rest: &mut Rect, now: Moment) {
        let theme = self.theme;
        if rest.height >= LOW {
            let hints = keys::hints(&self.scopes(), usize::from(rest.width));
            let row = take_bottom(rest, 1);
            text::draw(buffer, row.x, row.y, row.width, &hints, theme.faint());
        }
        if !self.is_signing_in {
            let (words, style) = self.link_bar(usize::from(rest.width), now);
            bar(buffer, take_bottom(rest, 1), &words, style);
        }
        if let Some(notice) = &self.notice {
            let style = if notice.is_bad { theme.bad() } else { theme.strong() };
            let mut rows = text::wrap(&notice.text, usize::from(rest.width.saturating_sub(2)));
            rows.truncate(usize::from(rest.height.checked_div(2).unwrap_or(1)).max(1));
            let height = u16::try_from(rows.len()).unwrap_or(u16::MAX);
            let block = take_bottom(rest, height);
            for (y, row) in (block.y..block.bottom()).zip(&rows) {
                let mark = if y > block.y {
                    " "
                } else if notice.is_bad {
                    "!"
                } else {
                    "*"
                };
                text::draw(buffer, block.x, y, block.width, &format!("{mark} {row}"), style);
            }
        }
    }

    /// The connection, and how far the last message has come; in fewer words where there is less room.
    fn link_bar(&self, columns: usize, now: Moment) -> (String, Style) {
        let (link, style) = self.link(now);
        let is_foreign = self.is_foreign && matches!(self.link, Link::Down(_));
        let links = if is_foreign {
            vec![
                format!(" NOT YOUR SERVER is at its address · {link}"),
                format!(" NOT YOUR SERVER · {link}"),
                " NOT YOUR SERVER".to_owned(),
            ]
        } else {
            vec![format!(" {link}")]
        };
        let last = self
            .conversation
            .as_ref()
            .filter(|_| self.view == View::Chat)
            .and_then(|conversation| conversation.last(self.link == Link::Up));
        let mut all = Vec::new();
        for words in links {
            if let Some([whole, brief]) = &last {
                all.extend([
                    format!("{words} · last message: {whole}"),
                    format!("{words} · {whole}"),
                    format!("{words} · {brief}"),
                ]);
            }
            if last.is_none() || is_foreign {
                all.push(words);
            }
        }
        if let (Some([_, brief]), false) = (&last, is_foreign) {
            // The name of the server is what may be cut.
            all.push(format!(" {brief} · {link}"));
        }
        let fits = |words: &&String| text::columns(words) <= columns;
        (all.iter().find(fits).or(all.last()).cloned().unwrap_or_default(), style)
    }

    fn link(&self, now: Moment) -> (String, Style) {
        match self.link {
            Link::Up => (format!("connected to {} as {}", self.server, self.user), self.theme.bar()),
            Link::Silent(since) => {
                let seconds = now.instant.saturating_duration_since(since).as_secs();
                (format!("NO ANSWER from the server, for {seconds} s"), self.theme.alarm())
            }
            Link::Connecting => ("connecting…".to_owned(), self.theme.bar()),
            Link::Down(until) => {
                let left = until.saturating_duration_since(now.instant);
                // To the nanosecond, as the deadline for the next second is.
                let seconds = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
                let what = match seconds {
                    0 => "RECONNECTING now".to_owned(),
                    seconds => format!("RECONNECTING in {seconds} s"),
                };
                (what, self.theme.alarm())
            }
        }
    }
}

/// A row across the whole screen.
fn bar(buffer: &mut Buffer, area: Rect, words: &str, style: Style) {
    if area.height == 0 {
        return;
    }
    for x in area.x..area.right() {
        if let Some(cell) = buffer.cell_mut((x, area.y)) {
            cell.set_symbol(" ").set_style(style);
        }
    }
    text::draw(buffer, area.x, area.y, area.width, words, style);
}

/// Rows across the whole screen, at the bottom of `rest`, as many as the words need.
fn bars(buffer: &mut Buffer, rest: &mut Rect, words: &str, style: Style) {
    let rows = text::wrap(words, usize::from(rest.width.saturating_sub(1)));
    for row in rows.iter().rev() {
        bar(buffer, take_bottom(rest, 1), &format!(" {row}"), style);
    }
}

fn take_top(rest: &mut Rect, rows: u16) -> Rect {
    let rows = rows.min(rest.height);
    let taken = Rect { height: rows, ..*rest };
    *rest = Rect { y: rest.y.saturating_add(rows), height: rest.height.saturating_sub(rows), ..*rest };
    taken
}

fn take_bottom(rest: &mut Rect, rows: u16) -> Rect {
    let rows = rows.min(rest.height);
    let taken = Rect { y: rest.bottom().saturating_sub(rows), height: rows, ..*rest };
    rest.height = rest.height.saturating_sub(rows);
    taken
}
