//! The log-in form (S13): server, user name, password; what is being done; what went wrong, beside the field.

use std::time::{Duration, Instant};

use client::{ErrorCode, Failure};
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};
use zeroize::Zeroizing;

use super::{composer::Composer, screen::next_second, style::Theme, text};

/// Bytes that a field takes; more than any address, name or password has.
const MAX_FIELD: usize = 512;
/// Columns of a field's name, with what stands before it.
const LABEL: u16 = 12;
/// A step that takes longer than this says for how long it has been going on.
const SLOW: Duration = Duration::from_secs(1);

/// A field of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Server,
    Name,
    Password,
}

const FIELDS: [Field; 3] = [Field::Server, Field::Name, Field::Password];

/// What was entered.
pub(crate) struct Entry {
    /// `HOST:PORT`.
    pub(crate) server: String,
    /// The user's name, as typed.
    pub(crate) name: String,
    /// The password; `None` when the key is unlocked already.
    pub(crate) password: Option<Zeroizing<String>>,
}

/// What is being done, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Unlocking,
    Connecting,
    LoggingIn,
}

const STEPS: [(Step, &str); 3] = [
    (Step::Unlocking, "unlocking your key"),
    (Step::Connecting, "connecting, and checking that it is your server"),
    (Step::LoggingIn, "asking the server to let you in"),
];

/// The form.
pub(super) struct SignIn {
    server: Composer,
    name: Composer,
    password: Composer,
    unlocked: bool,
    focus: Field,
    problem: Option<(Option<Field>, String)>,
    progress: Option<(Step, Instant)>,
}

impl SignIn {
    /// A form that a profile has filled in as far as it can.
    pub(super) fn new(server: &str, name: &str) -> Self {
        let (mut server_field, mut name_field) = (Composer::line(MAX_FIELD), Composer::line(MAX_FIELD));
        server_field.set(server);
        name_field.set(name);
        let focus = match (server.is_empty(), name.is_empty()) {
            (true, _) => Field::Server,
            (false, true) => Field::Name,
            (false, false) => Field::Password,
        };
        Self {
            server: server_field,
            name: name_field,
            password: Composer::secret(MAX_FIELD),
            unlocked: false,
            focus,
            problem: None,
            progress: None,
        }
    }

    /// Whether an attempt to log in goes on.
    pub(super) fn is_trying(&self) -> bool {
        self.progress.is_some()
    }

    /// The field that is typed into.
    pub(super) fn field(&mut self) -> &mut Composer {
        match self.focus {
            Field::Server => &mut self.server,
            Field::Name => &mut self.name,
            Field::Password => &mut self.password,
        }
    }

    /// Goes to the next field, or the one before.
    pub(super) fn go(&mut self, forward: bool) {
        let at = FIELDS.iter().position(|field| *field == self.focus).unwrap_or_default();
        let step = if forward { 1 } else { FIELDS.len().saturating_sub(1) };
        let next = at.saturating_add(step).checked_rem(FIELDS.len()).unwrap_or_default();
        self.focus = FIELDS.get(next).copied().unwrap_or(Field::Server);
    }

    /// Enter: the next field, or what was entered if this is the last or the password is there already.
    pub(super) fn enter(&mut self, now: Instant) -> Option<Entry> {
        if self.focus != Field::Password && self.password.is_empty() && !self.unlocked {
            self.go(true);
            return None;
        }
        self.submit(now)
    }

    /// Takes what was entered, if nothing is blank.
    pub(super) fn submit(&mut self, now: Instant) -> Option<Entry> {
        let blank = |field, what: &str| Some((Some(field), what.to_owned()));
        self.problem = if self.server.text().trim().is_empty() {
            blank(Field::Server, "the server's address is empty; it is HOST:PORT")
        } else if self.name.text().trim().is_empty() {
            blank(Field::Name, "the user name is empty; type the one you are registered by")
        } else if self.password.is_empty() && !self.unlocked {
            blank(Field::Password, "the password is empty; type the one that protects your key")
        } else {
            None
        };
        if let Some((Some(field), _)) = self.problem {
            self.focus = field;
            return None;
        }
        let typed = !self.password.is_empty();
        let password = typed.then(|| self.password.take());
        let first = if typed { Step::Unlocking } else { Step::Connecting };
        self.progress = Some((first, now));
        Some(Entry { server: self.server.text().trim().to_owned(), name: self.name.text().trim().to_owned(), password })
    }

    /// An attempt goes on with this step.
    pub(super) fn at(&mut self, step: Step, now: Instant) {
        self.unlocked |= step > Step::Unlocking;
        self.problem = None;
        self.progress = Some((step, now));
    }

    /// The attempt is over, since the user gave it up.
    pub(super) fn given_up(&mut self) {
        self.progress = None;
    }

    /// The attempt is over, since something went wrong: what, beside the field that caused it.
    pub(super) fn failed(&mut self, failure: &Failure) {
        self.progress = None;
        let field = match failure.code {
            ErrorCode::Unreachable | ErrorCode::UntrustedServer => Some(Field::Server),
            ErrorCode::UnknownUser | ErrorCode::BadName => Some(Field::Name),
            ErrorCode::WrongPassword | ErrorCode::BlankField => Some(Field::Password),
            _ => None,
        };
        if let Some(field) = field {
            self.focus = field;
        }
        self.problem = Some((field, failure.message.clone()));
    }

    /// When something of it changes by itself: a slow step counts its seconds.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let (_, since) = self.progress?;
        next_second(since, now)
    }

    /// Draws the form, and says where the cursor belongs.
    pub(super) fn draw(&self, area: Rect, buffer: &mut Buffer, theme: Theme, now: Instant) -> Option<Position> {
        let mut y = area.y;
        let mut cursor = None;
        let is_low = area.height < 12;
        if !is_low {
            y = y.saturating_add(1);
        }
        for (field, label, composer) in [
            (Field::Server, "server", &self.server),
            (Field::Name, "user name", &self.name),
            (Field::Password, "password", &self.password),
        ] {
            let is_focus = field == self.focus && self.progress.is_none();
            let style = if is_focus { theme.strong() } else { theme.plain() };
            text::draw(buffer, area.x, y, 2, if is_focus { ">" } else { " " }, theme.strong());
            text::draw(buffer, area.x.saturating_add(2), y, LABEL, label, style);
            let x = area.x.saturating_add(LABEL).saturating_add(1);
            let room = Rect { x, y, width: area.right().saturating_sub(x), height: 1 }.intersection(area);
            if field == Field::Password && composer.is_empty() && self.unlocked {
                text::draw(buffer, x, y, room.width, "(the key is unlocked)", theme.faint());
                if is_focus {
                    cursor = Some(Position::new(x, y));
                }
            } else {
                let place = composer.draw(room, buffer, theme.plain());
                if is_focus {
                    cursor = Some(place);
                }
            }
            y = y.saturating_add(1);
            if let Some((Some(at), problem)) = &self.problem
                && *at == field
            {
                // The other fields stay in sight, however much somebody typed that comes back in the message.
                let most = area.height.saturating_sub(3).max(1);
                let room = Rect { height: y.saturating_add(most).min(area.bottom()).saturating_sub(area.y), ..area };
                y = paragraph(buffer, room, 2, y, &format!("! {problem}"), theme.bad());
            }
            if !is_low {
                y = y.saturating_add(1);
            }
        }
        if let Some((None, problem)) = &self.problem {
            y = paragraph(buffer, area, 2, y, &format!("! {problem}"), theme.bad());
        }
        if let Some((current, since)) = self.progress {
            for (step, what) in STEPS {
                let passed = now.saturating_duration_since(since);
                let (mark, style) = match step.cmp(&current) {
                    std::cmp::Ordering::Less => ("done", theme.faint()),
                    std::cmp::Ordering::Equal => ("…", theme.strong()),
                    std::cmp::Ordering::Greater => ("", theme.faint()),
                };
                let slow = if step == current && passed >= SLOW {
                    format!(" ({} s; Esc gives up)", passed.as_secs())
                } else {
                    String::new()
                };
                if y < area.bottom() {
                    text::draw(buffer, area.x.saturating_add(2), y, 5, mark, style);
                }
                y = paragraph(buffer, area, 8, y, &format!("{what}{slow}"), style);
            }
        }
        cursor
    }
}

/// Draws words over as many rows as they need, indented; gives the row after them.
fn paragraph(
    buffer: &mut Buffer,
    area: Rect,
    indent: u16,
    mut y: u16,
    words: &str,
    style: ratatui::style::Style,
) -> u16 {
    let x = area.x.saturating_add(indent);
    let room = area.right().saturating_sub(x);
    for row in text::wrap(words, usize::from(room)) {
        if y >= area.bottom() {
            break;
        }
        text::draw(buffer, x, y, room, &row, style);
        y = y.saturating_add(1);
    }
    y
}
