//! What is on the screen and what keys do to it, as a machine: handed what happened and the time, it says what is to be
//! done. It owns no terminal, connection, clock or file.

mod draw;
mod events;
mod typed;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use client::{Command, Event, Failure};
use crossterm::event::KeyEvent;
use identity::{Pin, Trust};
use jiff::civil::DateTime;
use protocol::{ServerName, UserName};

use super::{
    conversation::Conversation,
    pages::Help,
    people::People,
    sign_in::{Entry, SignIn, Step},
    style::Theme,
    verify::Verify,
};

/// How long the letters that answer a question do nothing, so that nobody answers by typing on.
const SETTLE: Duration = Duration::from_secs(1);
/// How long a notice stays.
const NOTICE: Duration = Duration::from_secs(15);
/// Between two bells of a kind, and between two desktop notifications to somebody who does not look: others can cause
/// them.
const BELL_REST: Duration = Duration::from_secs(2);
const NOTICE_REST: Duration = Duration::from_secs(30);
/// How long whoever leaves waits for a client that takes nothing in; longer than it takes for what is to be delivered.
const PATIENCE: Duration = Duration::from_secs(8);
/// Commands that may wait for the client to take them.
const MAX_WAITING: usize = 64;

/// The time, for what waits and for people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) instant: Instant,
    /// The user's own clock.
    pub(crate) clock: DateTime,
}

/// Something that happened.
pub(crate) enum Input {
    Key(KeyEvent),
    Pasted(String),
    /// Whether the terminal's window is the one that is typed into.
    Focused(bool),
    Resized,
    /// An attempt to log in goes on with this step.
    At(Step),
    /// The client tells something.
    Event(Event),
    /// What is pinned now.
    Pins(Vec<(UserName, ServerName, Pin)>),
    /// The attempt or the client ended; not as it was meant to, if there is a failure.
    Ended(Option<Failure>),
    /// Time went by.
    Tick,
}

/// Something to be done. What to tell the client waits in [`Screen::next_command`].
pub(crate) enum Effect {
    SignIn(Entry),
    GiveUp,
    /// The client is to end at once.
    Stop,
    /// The program is to end.
    Quit(Option<Failure>),
    Suspend,
    Repaint,
    Bell,
    /// A desktop notification. It names nobody: desktops keep what they showed.
    Notify(&'static str),
}

/// What the user may turn off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) bell: bool,
    pub(crate) notices: bool,
}

/// Everything that is on the screen.
pub(crate) struct Screen {
    theme: Theme,
    settings: Settings,
    /// What to say before anybody is asked to talk.
    welcome: Vec<String>,
    form: SignIn,
    /// Whether the form is shown: nobody is logged in.
    is_signing_in: bool,
    user: String,
    server: String,
    link: Link,
    /// Whether somebody else was last found at the server's address.
    is_foreign: bool,
    view: View,
    people: People,
    conversation: Option<Conversation>,
    /// Somebody asks to talk.
    question: Option<Pending>,
    /// The user asks somebody, or has accepted and waits for the keys.
    calling: Option<Pending>,
    is_setting_up: bool,
    /// Whose question was last taken away without an answer of the user's, and when.
    unasked: Option<(String, Instant)>,
    /// Whether something was typed at people since Enter was last pressed there.
    is_half_typed: bool,
    /// Since when what is typed belongs to nothing, as the view changed under whoever was typing.
    adrift: Option<Instant>,
    /// Whether somebody typed while a log-in went on.
    has_typed_ahead: bool,
    verify: Option<Verify>,
    /// Whose key has changed.
    changed: Option<String>,
    help: Option<Help>,
    notice: Option<Notice>,
    /// When the user wanted to leave.
    leaving: Option<Instant>,
    is_focused: bool,
    /// When the bell rang and the desktop was notified of each kind of thing.
    rung: BTreeMap<&'static str, Instant>,
    noticed: BTreeMap<&'static str, Instant>,
    waiting: VecDeque<Command>,
    /// For whom the lists are that the server is to send, in order.
    lists: VecDeque<Reader>,
    is_dirty: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    People,
    Chat,
}

/// The connection to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Up,
    /// Up as far as is known, but nothing has come for a while, since then.
    Silent(Instant),
    Connecting,
    /// Gone; it is tried again then.
    Down(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    People,
    Person,
}

struct Pending {
    peer: String,
    since: Instant,
    /// Whether it came in the place of another, to which an answer may be on its way.
    is_sudden: bool,
}

struct Notice {
    text: String,
    is_bad: bool,
    until: Instant,
}

impl Screen {
    /// A screen with the log-in form, filled in with what is known.
    pub(crate) fn new(theme: Theme, settings: Settings, welcome: Vec<String>, server: &str, name: &str) -> Self {
        Self {
            theme,
            settings,
            welcome,
            form: SignIn::new(server, name),
            is_signing_in: true,
            user: String::new(),
            server: String::new(),
            link: Link::Connecting,
            is_foreign: false,
            view: View::People,
            people: People::new(),
            conversation: None,
            question: None,
            calling: None,
            is_setting_up: false,
            unasked: None,
            is_half_typed: false,
            adrift: None,
            has_typed_ahead: false,
            verify: None,
            changed: None,
            help: None,
            notice: None,
            leaving: None,
            is_focused: true,
            rung: BTreeMap::new(),
            noticed: BTreeMap::new(),
            waiting: VecDeque::new(),
            lists: VecDeque::new(),
            is_dirty: true,
        }
    }

    /// Takes what happened.
    pub(crate) fn handle(&mut self, input: Input, now: Moment, out: &mut Vec<Effect>) {
        match input {
            Input::Key(key) => self.key(&key, now, out),
            Input::Pasted(text) => self.pasted(&text, now),
            Input::Focused(is_focused) => {
                self.is_focused = is_focused;
                self.noticed.clear();
            }
            Input::Resized => self.is_dirty = true,
            Input::At(step) => {
                self.form.at(step, now.instant);
                self.is_dirty = true;
            }
            Input::Event(event) => self.event(event, now, out),
            Input::Pins(pins) => {
                let here = pins.into_iter().filter(|(_, server, _)| server.as_str() == self.server);
                let trust: BTreeMap<String, Trust> =
                    here.map(|(name, _, pin)| (name.to_string(), pin.trust())).collect();
                self.is_dirty |= self.people.know(trust);
            }
            Input::Ended(failure) => self.ended(failure, now, out),
            Input::Tick => self.tick(now, out),
        }
        self.refresh(now.instant);
    }

    /// When there is something to do or to show though nothing happens.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let list = self.may_look().then(|| self.people.deadline()).flatten();
        [self.visible_deadline(now), list].into_iter().flatten().min()
    }

    /// Whether the screen shows something else than when this was last asked.
    pub(crate) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.is_dirty)
    }

    /// The next thing to tell the client.
    pub(crate) fn next_command(&mut self) -> Option<Command> {
        self.waiting.pop_front()
    }

    /// Whether there is something to tell the client.
    pub(crate) fn has_command(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When something that is shown changes by itself.
    fn visible_deadline(&self, now: Instant) -> Option<Instant> {
        let link = match self.link {
            Link::Down(until) if until > now => {
                // Seconds count down, so the next change is when a whole number of them is left.
                let left = until.saturating_duration_since(now);
                now.checked_add(Duration::from_nanos(u64::from(left.subsec_nanos()).max(1)))
            }
            Link::Silent(since) => next_second(since, now),
            _ => None,
        };
        [
            self.is_signing_in.then(|| self.form.deadline(now)).flatten(),
            self.question.as_ref().and_then(|question| next_second(question.since, now)),
            self.calling.as_ref().and_then(|calling| next_second(calling.since, now)),
            self.notice.as_ref().map(|notice| notice.until),
            self.leaving.and_then(|since| since.checked_add(PATIENCE)).filter(|until| *until > now),
            link,
            self.conversation
                .as_ref()
                .filter(|_| self.shows_chat() && self.help.is_none())
                .and_then(|conversation| conversation.deadline(now)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn tick(&mut self, now: Moment, out: &mut Vec<Effect>) {
        if self.leaving.is_some_and(|since| now.instant.saturating_duration_since(since) >= PATIENCE) {
            // The client takes nothing in, since the peer does not.
            out.push(Effect::Stop);
        }
        let is_notice_over = self.notice.as_ref().is_some_and(|notice| notice.until <= now.instant);
        if is_notice_over {
            self.notice = None;
        }
        // A list that is to be asked for changes nothing that is seen.
        let is_list_alone = self.may_look()
            && self.people.deadline().is_some_and(|list| list <= now.instant)
            && self.question.is_none()
            && self.calling.is_none()
            && !is_notice_over;
        self.is_dirty |= !is_list_alone;
    }

    /// Whether it is of use, and possible, to look who is online.
    fn may_look(&self) -> bool {
        self.shows_people() && self.link == Link::Up && self.waiting.len() < MAX_WAITING
    }

    /// Looks who is online, if it is shown and time to.
    fn refresh(&mut self, now: Instant) {
        if self.may_look()
            && let Some(command) = self.people.ask(now)
        {
            self.lists.push_back(Reader::People);
            self.waiting.push_back(command);
        }
    }

    /// The attempt or the client ended.
    fn ended(&mut self, failure: Option<Failure>, now: Moment, out: &mut Vec<Effect>) {
        let mut failure = match failure {
            Some(failure) if self.leaving.is_none() => failure,
            failure => return out.push(Effect::Quit(failure)),
        };
        self.is_dirty = true;
        self.disconnected();
        self.link = Link::Connecting;
        self.waiting.clear();
        if let Some(conversation) = &mut self.conversation
            && conversation.is_open()
        {
            conversation.close(client::Ending::Lost);
            conversation.transcript.note("the chat is lost", now.clock);
            // It is out of sight until the next log-in.
            failure.message = format!("the chat with {} is lost: {}", conversation.peer, failure.message);
        }
        if !self.is_signing_in {
            // Whoever was typing did not type for the form.
            self.adrift = Some(now.instant);
        }
        self.is_signing_in = true;
        self.form.failed(&failure);
    }

    /// What the connection carried is gone with it.
    fn disconnected(&mut self) {
        self.lists.clear();
        self.waiting.retain(|command| !matches!(command, Command::List(_)));
        self.people.forget_question();
        self.question = None;
        self.calling = None;
        self.is_setting_up = false;
    }

    fn shows_people(&self) -> bool {
        !self.is_signing_in && self.view == View::People && self.changed.is_none()
    }

    fn shows_chat(&self) -> bool {
        !self.is_signing_in && self.view == View::Chat && self.changed.is_none()
    }

    fn notify(&mut self, text: impl Into<String>, is_bad: bool, now: Moment) {
        if let Some(until) = now.instant.checked_add(NOTICE) {
            self.notice = Some(Notice { text: text.into(), is_bad, until });
            self.is_dirty = true;
        }
    }

    /// Draws the user's attention, as far as that is wanted.
    fn call(&mut self, what: &'static str, now: Moment, out: &mut Vec<Effect>) {
        let is_over = |last: &BTreeMap<_, Instant>, rest| {
            last.get(what).is_none_or(|last| now.instant.saturating_duration_since(*last) >= rest)
        };
        if self.settings.bell && is_over(&self.rung, BELL_REST) {
            self.rung.insert(what, now.instant);
            out.push(Effect::Bell);
        }
        if self.settings.notices && !self.is_focused && is_over(&self.noticed, NOTICE_REST) {
            self.noticed.insert(what, now.instant);
            out.push(Effect::Notify(what));
        }
    }
}

/// When a count of whole seconds since then goes up.
pub(super) fn next_second(since: Instant, now: Instant) -> Option<Instant> {
    let seconds = now.saturating_duration_since(since).as_secs().saturating_add(1);
    since.checked_add(Duration::from_secs(seconds))
}
