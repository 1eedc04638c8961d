//! A screen on a stage: with a clock that is moved by hand, a client that is played, and no terminal.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use client::{Command, Ending, ErrorCode, Event, Failure};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use identity::{Pin, Trust};
use jiff::civil::{DateTime, date};
use protocol::{PublicKey, Text};
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::{Buffer, CellWidth as _},
    layout::Position,
    style::{Color, Modifier},
};

use super::super::{
    screen::{Effect, Input, Moment, Screen, Settings},
    style::Theme,
};

pub(super) const SERVER: &str = "chat.example";
pub(super) const SUITE: &str = "MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519";
pub(super) const SAFETY_NUMBER: &str = "23817 00542 99120 41877 30216 75508 61943 08857 12296 54430 87015 36621";

/// The sizes at which each view has to be good.
pub(super) const SIZES: [(u16, u16); 3] = [(40, 10), (80, 24), (200, 60)];

/// Ticks in a row that change nothing but the time: more mean that the loop spins.
const MAX_TICKS: usize = 5_000;

pub(super) struct Stage {
    pub(super) screen: Screen,
    pub(super) now: Moment,
    pub(super) effects: Vec<Effect>,
    terminal: Terminal<TestBackend>,
    /// How often it was drawn.
    pub(super) drawn: usize,
}

impl Stage {
    /// The log-in form of a profile, on a screen of 80 columns and 24 rows.
    pub(super) fn new() -> Self {
        Self::sized((80, 24))
    }

    pub(super) fn sized(size: (u16, u16)) -> Self {
        Self::with(size, Theme::new(true), Vec::new(), "chat.example:7478", "alice")
    }

    pub(super) fn with(
        (columns, rows): (u16, u16),
        theme: Theme,
        welcome: Vec<String>,
        server: &str,
        name: &str,
    ) -> Self {
        let settings = Settings { bell: true, notices: true };
        let mut stage = Self {
            screen: Screen::new(theme, settings, welcome, server, name),
            now: Moment { instant: start(), clock: date(2026, 3, 14).at(12, 3, 20, 0) },
            effects: Vec::new(),
            terminal: Terminal::new(TestBackend::new(columns, rows)).unwrap(),
            drawn: 0,
        };
        stage.show();
        stage
    }

    /// Logged in as alice, with these people online.
    pub(super) fn online(people: &[&str]) -> Self {
        let mut stage = Self::new();
        stage.log_in(people);
        stage
    }

    /// In a chat with bob, whose key is new.
    pub(super) fn chatting() -> Self {
        let mut stage = Self::online(&["bob", "carol"]);
        stage.start_chat("bob", Trust::New);
        stage
    }

    pub(super) fn log_in(&mut self, people: &[&str]) {
        self.event(Event::Connecting);
        self.event(Event::Connected);
        self.event(logged_in("alice"));
        self.answer(people);
    }

    pub(super) fn start_chat(&mut self, peer: &str, trust: Trust) {
        self.event(chat_started(peer, trust));
    }

    /// Plays the server: answers each list that was asked for, and leaves the other commands to the test.
    pub(super) fn answer(&mut self, people: &[&str]) -> Vec<Command> {
        let mut others = Vec::new();
        while let Some(command) = self.screen.next_command() {
            match command {
                Command::List(page) => {
                    let users = people.iter().filter(|name| name.starts_with(page.prefix.as_str()));
                    self.event(users_event(&users.copied().collect::<Vec<_>>(), false));
                }
                command => others.push(command),
            }
        }
        others
    }

    /// Takes all commands, as a client does that is quick.
    pub(super) fn commands(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.screen.next_command()).collect()
    }

    /// Takes all commands but lists, of the people's view, which come at their own times.
    pub(super) fn told(&mut self) -> Vec<Command> {
        self.commands().into_iter().filter(|command| !matches!(command, Command::List(_))).collect()
    }

    pub(super) fn input(&mut self, input: Input) {
        self.screen.handle(input, self.now, &mut self.effects);
        self.show();
    }

    pub(super) fn event(&mut self, event: Event) {
        self.input(Input::Event(event));
    }

    pub(super) fn key(&mut self, code: KeyCode) {
        self.input(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }

    pub(super) fn keys(&mut self, codes: &[KeyCode]) {
        codes.iter().for_each(|code| self.key(*code));
    }

    pub(super) fn ctrl(&mut self, c: char) {
        self.input(Input::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)));
    }

    pub(super) fn alt(&mut self, code: KeyCode) {
        self.input(Input::Key(KeyEvent::new(code, KeyModifiers::ALT)));
    }

    /// Types a text, key by key.
    pub(super) fn type_in(&mut self, text: &str) {
        text.chars().for_each(|c| self.key(KeyCode::Char(c)));
    }

    /// Types a line, and Enter.
    pub(super) fn enter(&mut self, line: &str) {
        self.type_in(line);
        self.key(KeyCode::Enter);
    }

    pub(super) fn paste(&mut self, text: &str) {
        self.input(Input::Pasted(text.to_owned()));
    }

    pub(super) fn hear(&mut self, text: &str) {
        self.event(message("bob", text));
    }

    pub(super) fn pins(&mut self, pins: &[(&str, bool)]) {
        let pin = |verified| Pin { key: PublicKey::from_bytes([7; 32]), verified };
        let pins = pins.iter().map(|(name, verified)| (name.parse().unwrap(), SERVER.parse().unwrap(), pin(*verified)));
        self.input(Input::Pins(pins.collect()));
    }

    pub(super) fn fail(&mut self, code: ErrorCode, message: &str) {
        self.input(Input::Ended(Some(Failure::new(code, message))));
    }

    /// Lets time go by, with a tick whenever the screen asks for one, as the loop does. Lists are not answered.
    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now.instant + time;
        for _ in 0..MAX_TICKS {
            match self.screen.deadline(self.now.instant).filter(|deadline| *deadline <= end) {
                Some(deadline) => {
                    self.advance(deadline.saturating_duration_since(self.now.instant));
                    self.input(Input::Tick);
                }
                None => {
                    self.advance(end - self.now.instant);
                    return;
                }
            }
        }
        panic!("it asks for one tick after the other");
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.clock = self.now.clock.checked_add(time).unwrap();
    }

    pub(super) fn clock(&mut self, clock: DateTime) {
        self.now.clock = clock;
    }

    pub(super) fn resize(&mut self, columns: u16, rows: u16) {
        self.terminal.backend_mut().resize(columns, rows);
        self.terminal.autoresize().unwrap();
        self.input(Input::Resized);
    }

    /// Draws, if something is to be seen that was not; as the loop does.
    fn show(&mut self) {
        if self.screen.take_dirty() {
            let (screen, now) = (&mut self.screen, self.now);
            self.terminal.draw(|frame| screen.draw(frame, now)).unwrap();
            self.drawn += 1;
        }
    }

    /// What the user sees. It must be what there is to be seen: else a change was not drawn.
    pub(super) fn seen(&mut self) -> Buffer {
        let seen = self.terminal.backend().buffer().clone();
        let mut fresh = Terminal::new(TestBackend::new(seen.area.width, seen.area.height)).unwrap();
        let (screen, now) = (&mut self.screen, self.now);
        fresh.draw(|frame| screen.draw(frame, now)).unwrap();
        let fresh = fresh.backend().buffer();
        let is_same = words(fresh) == words(&seen) && styles(fresh) == styles(&seen);
        assert!(is_same, "not drawn anew:\n{}\nis to be\n{}", words(&seen), words(fresh));
        seen
    }

    pub(super) fn cursor(&self) -> Option<Position> {
        let backend = self.terminal.backend();
        backend.cursor_visible().then(|| backend.cursor_position())
    }

    /// The words on the screen, a line for each row.
    pub(super) fn words(&mut self) -> String {
        words(&self.seen())
    }

    /// Whether this is to be read in one row.
    pub(super) fn shows(&mut self, what: &str) -> bool {
        self.words().lines().any(|row| row.contains(what))
    }

    /// Asserts that this is to be read in one row.
    #[track_caller]
    pub(super) fn expect(&mut self, what: &str) {
        let words = self.words();
        assert!(words.lines().any(|row| row.contains(what)), "no {what:?} in\n{words}");
    }

    /// Asserts that this is nowhere to be read.
    #[track_caller]
    pub(super) fn expect_no(&mut self, what: &str) {
        let words = self.words();
        assert!(!words.lines().any(|row| row.contains(what)), "there is {what:?} in\n{words}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a clock that is moved by hand has to begin somewhere")]
fn start() -> Instant {
    Instant::now()
}

/// The mark beside each of one's own messages, in order.
pub(super) fn marks(stage: &mut Stage) -> String {
    let rows = stage.words();
    rows.lines().filter(|row| row.contains("you │")).filter_map(|row| row.chars().nth(6)).collect()
}

/// The words in a buffer, without what only keeps columns, or the direction.
pub(super) fn words(buffer: &Buffer) -> String {
    let mut words = String::new();
    for row in buffer.area.rows() {
        let mut line = String::new();
        let mut covered = 0;
        for place in row.positions() {
            let cell = &buffer[place];
            if covered > 0 {
                covered -= 1;
                continue;
            }
            covered = usize::from(cell.cell_width()).saturating_sub(1);
            line.extend(
                cell.symbol().chars().filter(|c| *c != '\u{200e}').map(|c| if c == '\u{a0}' { ' ' } else { c }),
            );
        }
        writeln!(words, "{}", line.trim_end()).unwrap();
    }
    words
}

/// What is not plain in a buffer, a line for each row that has something: attributes, and the words that have them.
pub(super) fn styles(buffer: &Buffer) -> String {
    let mut all = String::new();
    for row in buffer.area.rows() {
        let mut runs: Vec<(String, String)> = Vec::new();
        let mut covered = 0;
        for place in row.positions() {
            let cell = &buffer[place];
            if covered > 0 {
                covered -= 1;
                continue;
            }
            covered = usize::from(cell.cell_width()).saturating_sub(1);
            let style = style(cell.fg, cell.bg, cell.modifier);
            match runs.last_mut() {
                Some((last, words)) if *last == style => words.push_str(cell.symbol()),
                _ => runs.push((style, cell.symbol().to_owned())),
            }
        }
        runs.retain(|(style, _)| !style.is_empty());
        if !runs.is_empty() {
            let runs: Vec<_> = runs
                .into_iter()
                .map(|(style, words)| {
                    format!("{style} {:?} {}", words.trim_end().replace('\u{200e}', ""), words.chars().count())
                })
                .collect();
            writeln!(all, "{}: {}", row.y, runs.join(", ")).unwrap();
        }
    }
    all
}

fn style(fg: Color, bg: Color, modifier: Modifier) -> String {
    let mut parts = Vec::new();
    let attributes = [(Modifier::BOLD, "bold"), (Modifier::DIM, "dim"), (Modifier::REVERSED, "reversed")];
    parts.extend(attributes.iter().filter(|(one, _)| modifier.contains(*one)).map(|(_, name)| (*name).to_owned()));
    if fg != Color::Reset {
        parts.push(format!("{fg:?}").to_lowercase());
    }
    if bg != Color::Reset {
        parts.push(format!("on {bg:?}").to_lowercase());
    }
    parts.join(" ")
}

/// Plays a scene at each size, and compares what is to be seen then, in words, with what was accepted.
pub(super) fn snapshot(name: &str, stage: impl Fn((u16, u16)) -> Stage, play: impl Fn(&mut Stage)) {
    let mut all = String::new();
    for size in SIZES {
        let mut stage = stage(size);
        play(&mut stage);
        let seen = stage.seen();
        let cursor = stage.cursor().map_or_else(|| "no cursor".to_owned(), |at| format!("cursor at {},{}", at.x, at.y));
        writeln!(all, "=== {}×{}, {cursor}", size.0, size.1).unwrap();
        let words = words(&seen);
        let mut empty = 0;
        for row in words.lines().chain(["end"]) {
            if row.is_empty() {
                empty += 1;
                continue;
            }
            match empty {
                0..4 => all.push_str(&"|\n".repeat(empty)),
                _ => writeln!(all, "({empty} empty rows)").unwrap(),
            }
            empty = 0;
            writeln!(all, "|{row}").unwrap();
        }
        all.truncate(all.len() - "|end\n".len());
    }
    accept(name, &all);
}

/// Plays a scene, and compares the attributes on the screen with what was accepted.
pub(super) fn snapshot_styles(name: &str, mut stage: Stage) {
    accept(name, &styles(&stage.seen()));
}

pub(super) fn accept(name: &str, what: &str) {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, what);
    });
}

pub(super) fn say(text: &str) -> Command {
    Command::say(text.to_owned()).unwrap()
}

pub(super) fn logged_in(user: &str) -> Event {
    Event::LoggedIn {
        user: user.to_owned(),
        server: SERVER.to_owned(),
        group: "X25519MLKEM768".to_owned(),
        suite: "TLS13_AES_256_GCM_SHA384".to_owned(),
    }
}

pub(super) fn chat_started(peer: &str, trust: Trust) -> Event {
    let (peer, suite, safety_number) = (peer.to_owned(), SUITE.to_owned(), SAFETY_NUMBER.to_owned());
    Event::ChatStarted { peer, suite, safety_number, trust }
}

pub(super) fn chat_closed(peer: &str, reason: Ending, undelivered: u64) -> Event {
    Event::ChatClosed { peer: peer.to_owned(), reason, undelivered }
}

pub(super) fn users_event(users: &[&str], more: bool) -> Event {
    Event::Users { users: users.iter().map(|name| (*name).to_owned()).collect(), more }
}

pub(super) fn message(from: &str, text: &str) -> Event {
    Event::Message { from: from.to_owned(), text: Text::try_from(text.to_owned()).unwrap(), n: 0 }
}

pub(super) fn request(from: &str) -> Event {
    Event::Request { from: from.to_owned() }
}

pub(super) fn calling(peer: &str) -> Event {
    Event::Calling { peer: peer.to_owned() }
}

pub(super) fn error(code: ErrorCode, message: &str, peer: Option<&str>) -> Event {
    Event::Error { code, message: message.to_owned(), peer: peer.map(str::to_owned) }
}
