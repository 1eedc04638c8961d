//! Who is online: a list that keeps itself fresh, with a search, and what is known of each person's key.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use client::Command;
use identity::Trust;
use protocol::limits::MAX_NAME;
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{
    composer::{Composer, Edit},
    style::Theme,
    text,
};

/// Between two looks at who is online.
const FRESH: Duration = Duration::from_secs(4);
/// Bytes of what is typed here: a name, or a command with two.
const MAX_SEARCH: usize = 256;
/// Pages of the list that are held at most; whoever looks for more searches.
const MAX_PAGES: usize = 20;

/// The list, the search, and the line that is marked.
pub(super) struct People {
    pub(super) search: Composer,
    names: Vec<String>,
    /// What the names begin with, as the server was asked; `None` before its first answer.
    begin: Option<String>,
    more: bool,
    /// The name on the marked line; a name, since lines move when people come and go.
    marked: Option<String>,
    /// Names above the first that is shown.
    above: usize,
    /// Pages that have been looked at.
    pages: usize,
    asked: Option<Asked>,
    /// Whether what was typed has changed since.
    stale: bool,
    looked: Option<Instant>,
    /// Whether the last that was asked was too often.
    is_put_off: bool,
    trust: BTreeMap<String, Trust>,
    changed: BTreeSet<String>,
    rows: u16,
}

/// A list that is on its way, page by page.
struct Asked {
    prefix: String,
    names: Vec<String>,
    pages: usize,
}

impl People {
    pub(super) fn new() -> Self {
        Self {
            search: Composer::line(MAX_SEARCH),
            names: Vec::new(),
            begin: None,
            more: false,
            marked: None,
            above: 0,
            pages: 1,
            asked: None,
            stale: false,
            looked: None,
            is_put_off: false,
            trust: BTreeMap::new(),
            changed: BTreeSet::new(),
            rows: 1,
        }
    }

    /// What is known of people's keys, as the pins say it.
    pub(super) fn know(&mut self, trust: BTreeMap<String, Trust>) -> bool {
        let is_new = self.trust != trust;
        self.trust = trust;
        is_new
    }

    /// Notes that somebody's key is not the pinned one, or that this is settled.
    pub(super) fn key_changed(&mut self, name: &str, is_changed: bool) {
        if is_changed {
            self.changed.insert(name.to_owned());
        } else {
            self.changed.remove(name);
        }
    }

    /// Whose name the search looks for the start of; `None` while something else is typed.
    fn prefix(&self) -> Option<String> {
        if self.is_command() {
            return None;
        }
        let typed = self.search.text().trim().to_lowercase();
        typed.parse::<protocol::NamePrefix>().ok().map(|_| typed)
    }

    /// Whether a command is being typed rather than a name; no name starts like one.
    pub(super) fn is_command(&self) -> bool {
        self.search.text().trim_start().starts_with(['-', '/'])
    }

    /// Whether what is typed can be the start of nobody's name, so that the list is not an answer to it.
    fn is_no_name(&self) -> bool {
        !self.is_command() && self.prefix().is_none()
    }

    /// The person that Enter asks: the one on the marked line, or, where the list does not yet answer what was typed,
    /// whom was typed.
    pub(super) fn chosen(&self) -> Option<String> {
        if self.is_no_name() {
            return None;
        }
        let typed = self.prefix().filter(|typed| !typed.is_empty());
        match typed {
            Some(typed) if Some(&typed) != self.begin.as_ref() => Some(typed),
            typed => self.marked.clone().or(typed),
        }
    }

    /// The next thing to ask the server, if it is time.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Command> {
        if self.asked.is_some() || self.deadline().is_some_and(|deadline| now < deadline) {
            return None;
        }
        let prefix = self.prefix().unwrap_or_default();
        self.stale = false;
        self.looked = Some(now);
        let command = Command::list(&prefix, "").ok()?;
        self.asked = Some(Asked { prefix, names: Vec::new(), pages: 0 });
        Some(command)
    }

    /// When the list should be asked for again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match (self.asked.is_some(), self.looked) {
            // An answer to come is waited for; a connection that is lost is told of.
            (true, _) | (_, None) => None,
            (_, Some(looked)) if self.stale => Some(looked),
            (_, Some(looked)) => looked.checked_add(FRESH),
        }
    }

    /// What of the list is to be seen.
    pub(super) fn shown(&self) -> impl PartialEq + use<> {
        (self.names.clone(), self.marked.clone(), self.more, self.begin.clone(), self.is_put_off)
    }

    /// What was asked for will not come: the connection is gone.
    pub(super) fn forget_question(&mut self) {
        self.asked = None;
        self.looked = None;
    }

    /// The server does not answer what was asked: it has been asked too often. It is asked again when the list is to be
    /// fresh, and not at once, whatever has been typed.
    pub(super) fn put_off(&mut self) {
        (self.asked, self.stale, self.is_put_off) = (None, false, true);
    }

    /// A page came. Gives the next thing to ask.
    pub(super) fn page(&mut self, names: Vec<String>, more: bool) -> Option<Command> {
        let asked = self.asked.as_mut()?;
        self.is_put_off = false;
        asked.pages = asked.pages.saturating_add(1);
        asked.names.extend(names);
        if !self.stale
            && more
            && asked.pages < self.pages
            && let Some(last) = asked.names.last()
            && let Ok(command) = Command::list(&asked.prefix, last)
        {
            return Some(command);
        }
        let asked = self.asked.take()?;
        if self.stale {
            // What came is for another search; the next answer is on its way soon.
            return None;
        }
        let is_other = self.begin.as_ref() != Some(&asked.prefix);
        (self.names, self.begin, self.more) = (asked.names, Some(asked.prefix), more);
        if is_other && self.place().is_none() {
            // Where somebody stood in another list is no place in this one.
            self.marked = None;
        }
        self.keep_mark();
        None
    }

    /// What is typed has changed.
    pub(super) fn typed(&mut self) {
        self.stale = true;
        self.pages = 1;
        // What is known of the answer is shown at once.
        if let Some(prefix) = self.prefix() {
            self.names.retain(|name| name.starts_with(&prefix));
        }
        self.marked = None;
        self.keep_mark();
    }

    /// Changes what is typed.
    pub(super) fn edit(&mut self, edit: Edit) -> bool {
        let before = self.search.text().len();
        let changed = self.search.edit(edit);
        if self.search.text().len() != before {
            self.typed();
        }
        changed
    }

    /// Marks another line, `by` lines down, or up.
    pub(super) fn go(&mut self, by: isize) {
        let at = self.place().unwrap_or(0).saturating_add_signed(by).min(self.names.len().saturating_sub(1));
        self.marked = self.names.get(at).cloned();
        if self.more && at.saturating_add(usize::from(self.rows)) >= self.names.len() && self.pages < MAX_PAGES {
            self.pages = self.pages.saturating_add(1);
            self.stale = true;
        }
    }

    /// Lines of a page.
    pub(super) fn rows(&self) -> isize {
        isize::try_from(self.rows.max(1)).unwrap_or(1)
    }

    fn place(&self) -> Option<usize> {
        let marked = self.marked.as_ref()?;
        self.names.iter().position(|name| name == marked)
    }

    /// Keeps the mark on a line that is there: the same name, or where it would be.
    fn keep_mark(&mut self) {
        if self.place().is_none() {
            let at = self.marked.as_ref().map_or(0, |marked| self.names.partition_point(|name| name < marked));
            self.marked = self.names.get(at.min(self.names.len().saturating_sub(1))).cloned();
        }
    }

    /// Draws the search and the list; says where the cursor belongs.
    pub(super) fn draw(&mut self, area: Rect, buffer: &mut Buffer, theme: Theme) -> Position {
        let label = if self.is_command() { "command " } else { "search " };
        let x = area.x.saturating_add(text::draw(buffer, area.x, area.y, area.width, label, theme.faint()));
        let field = Rect { x, y: area.y, width: area.right().saturating_sub(x), height: 1 }.intersection(area);
        let cursor = self.search.draw(field, buffer, theme.plain());
        let list = Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area };
        self.draw_list(list, buffer, theme);
        cursor
    }

    fn draw_list(&mut self, area: Rect, buffer: &mut Buffer, theme: Theme) {
        self.rows = area.height;
        if self.names.is_empty() || self.is_no_name() {
            let what = match self.prefix() {
                _ if self.is_command() => "Enter does it; /help lists what there is",
                None => "no name can look like that",
                _ if self.is_put_off => "the server was asked too often, and will be asked again in some seconds",
                prefix if prefix != self.begin => "looking who is online…",
                Some(prefix) if !prefix.is_empty() => "nobody is online whose name begins like that",
                _ => "nobody else is online; the list keeps itself fresh",
            };
            for (y, row) in (area.y..area.bottom()).zip(text::wrap(what, usize::from(area.width))) {
                text::draw(buffer, area.x, y, area.width, &row, theme.faint());
            }
            return;
        }
        let place = self.place().unwrap_or(0);
        // The last row says that there are more, if there are.
        let rows = usize::from(area.height).saturating_sub(usize::from(self.more && area.height > 2)).max(1);
        self.above = self.above.min(place).max(place.saturating_add(1).saturating_sub(rows));
        let width = MAX_NAME.saturating_add(2).min(usize::from(area.width));
        for (y, name) in (area.y..).zip(self.names.iter().skip(self.above).take(rows)) {
            let is_marked = Some(name) == self.marked.as_ref();
            let style = if is_marked { theme.chosen() } else { theme.plain() };
            let row = format!("{} {name}", if is_marked { ">" } else { " " });
            let (what, known) = self.known(name, theme);
            let takes = |text: &str| u16::try_from(text.len()).unwrap_or(u16::MAX);
            let column = takes(&row).max(u16::try_from(width).unwrap_or(u16::MAX)).saturating_add(1);
            // A narrow screen has the word behind the name, of which rather the end is cut.
            let (room, column) = if area.width.saturating_sub(column) < 13 {
                let room = area.width.saturating_sub(if what.is_empty() { 0 } else { takes(what).saturating_add(2) });
                (room, takes(&row).min(room).saturating_add(2))
            } else {
                (area.width, column)
            };
            let wide = width.min(usize::from(room));
            text::draw(buffer, area.x, y, room, &format!("{row:wide$}"), style);
            let x = area.x.saturating_add(column);
            text::draw(buffer, x, y, area.right().saturating_sub(x), what, known);
        }
        if self.more {
            let y = area.bottom().saturating_sub(1);
            let what = format!("  {} shown, and there are more: go down, or type how a name begins", self.names.len());
            text::draw(buffer, area.x, y, area.width, &what, theme.faint());
        }
    }

    /// What is known of somebody's key, in words.
    fn known(&self, name: &str, theme: Theme) -> (&'static str, ratatui::style::Style) {
        if self.changed.contains(name) {
            return ("KEY CHANGED", theme.bad());
        }
        match self.trust.get(name) {
            Some(Trust::Verified) => ("verified", theme.good()),
            Some(Trust::Pinned | Trust::New) => ("key known", theme.plain()),
            None => ("", theme.faint()),
        }
    }

    /// What is known of somebody's key, for a question about them.
    pub(super) fn trust(&self, name: &str) -> Option<Trust> {
        self.trust.get(name).copied()
    }

    /// Whether somebody's key is not the pinned one, as far as that was seen.
    pub(super) fn has_changed(&self, name: &str) -> bool {
        self.changed.contains(name)
    }
}
