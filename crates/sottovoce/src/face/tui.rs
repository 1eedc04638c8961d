//! The full-screen face. [`Screen`] decides what is shown and what keys do; here it is connected to the terminal and to
//! the client.

mod cells;
mod composer;
mod conversation;
mod keys;
mod look;
mod pages;
mod people;
mod screen;
mod sign_in;
mod style;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod transcript;
mod verify;

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use client::{Account, Command, ErrorCode, Event, Failure};
use crossterm::event::{self as typing, Event as Typed};
use identity::{PinFile, UserKey};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant as Deadline, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{screen::Settings, sign_in::Entry, terminal::restore};
use self::{
    screen::{Effect, Input, Moment, Screen},
    sign_in::Step,
    style::Theme,
    terminal::{Change, Notify, Terminal},
};
use super::{Running, ended};
use crate::process;

/// Keys that wait for the screen. Who types faster waits at the terminal.
const MAX_UNREAD: usize = 256;
/// Events that are taken in before the screen is drawn again, so that a flood costs few drawings.
const MAX_AT_ONCE: usize = 256;

/// Where the account to log in with comes from.
pub(crate) enum Accounts {
    /// From a profile and what is entered, by whoever knows how to.
    Entered {
        /// The form, filled in: server and user name.
        known: (String, String),
        /// What to try before anybody types.
        first: Option<Entry>,
        make: MakeAccount,
    },
    /// It is there.
    Ready(Account),
}

/// Makes an account of what was entered, with the key that was unlocked before if no password was.
pub(crate) type MakeAccount = Box<dyn FnMut(Entry, Option<Arc<UserKey>>) -> Making + Send>;

/// An account that is being made.
pub(crate) type Making = Pin<Box<dyn Future<Output = Result<Account, Failure>> + Send>>;

/// Runs the face until the user leaves, or `stop`.
///
/// # Errors
/// What went wrong while the user was leaving, or that the terminal cannot be used.
pub(crate) async fn run(
    accounts: Accounts,
    settings: Settings,
    welcome: Vec<String>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let (server, name) = match &accounts {
        Accounts::Entered { known, .. } => known.clone(),
        Accounts::Ready(account) => (format!("{}:{}", account.host, account.port), account.user.to_string()),
    };
    let screen = Screen::new(Theme::of_environment(), settings, welcome, &server, &name);
    let _end = process::end_soon_after(stop.clone());
    let terminal = Terminal::enter().map_err(unusable)?;
    let mut face =
        Face { screen, terminal, accounts, work: Work::Nothing, commands: None, key: None, stop: stop.clone() };
    let result = face.run().await;
    let left = face.leave().await;
    drop(face);
    result.and(left)
}

fn unusable(error: std::io::Error) -> Failure {
    Failure::new(
        ErrorCode::BadFile,
        format_args!("the terminal cannot be used ({error}); --face line needs less of it"),
    )
}

struct Face {
    screen: Screen,
    terminal: Terminal,
    accounts: Accounts,
    work: Work,
    /// To the client that runs.
    commands: Option<mpsc::Sender<Command>>,
    /// The key, once it was unlocked: another attempt needs no password.
    key: Option<Arc<UserKey>>,
    stop: CancellationToken,
}

/// What goes on besides showing and typing.
enum Work {
    Nothing,
    Making(Making),
    Client(Session),
}

/// A client that runs.
struct Session {
    events: mpsc::Receiver<Event>,
    driver: JoinHandle<Result<(), Failure>>,
    stop: CancellationToken,
    pins: Arc<PinFile>,
}

/// What came of it.
enum Came {
    Account(Result<Account, Failure>),
    Event(Event),
    End(Result<(), Failure>),
}

/// Why the loop ends.
type Over = Option<Result<(), Failure>>;

impl Face {
    async fn run(&mut self) -> Result<(), Failure> {
        let mut keys = keys();
        let stop = self.stop.clone();
        if let Some(over) = self.begin().await {
            return over;
        }
        let mut may_stop = true;
        loop {
            let now = now();
            self.pass_on();
            if self.screen.take_dirty() {
                self.terminal.draw(|frame| self.screen.draw(frame, now)).map_err(unusable)?;
            }
            let deadline = self.screen.deadline(now.instant).map(Deadline::from_std);
            let commands = self.commands.clone();
            // Nothing goes first: who talks much must not keep the user from being heard.
            let over = tokio::select! {
                typed = keys.recv() => match typed {
                    Some(typed) => self.typed(typed, &mut keys).await,
                    // The terminal is gone.
                    None => return Ok(()),
                },
                came = self.work.next() => self.came(came).await,
                place = room(commands.as_ref()), if self.screen.has_command() => {
                    if let (Some(place), Some(command)) = (place, self.screen.next_command()) {
                        place.send(command);
                    }
                    None
                }
                () = sleep_until(deadline.unwrap_or_else(Deadline::now)), if deadline.is_some() => {
                    self.input(Input::Tick).await
                }
                change = self.terminal.changed() => tokio::select! {
                    done = self.changed(change) => done,
                    // The terminal is given back already, or need not be drawn on any more.
                    () = stop.cancelled() => Some(Ok(())),
                },
                () = stop.cancelled(), if may_stop => {
                    may_stop = false;
                    // A client says goodbye first, and its end ends this.
                    if matches!(self.work, Work::Client(_)) { None } else { Some(Ok(())) }
                }
            };
            if let Some(over) = over {
                return over;
            }
        }
    }

    /// What needs no key to be pressed.
    async fn begin(&mut self) -> Over {
        match &mut self.accounts {
            Accounts::Ready(account) => {
                let account = account.clone();
                self.log_in(account).await
            }
            Accounts::Entered { first, .. } => {
                let entry = first.take()?;
                self.input(Input::At(Step::Unlocking)).await;
                self.carry_out(Effect::SignIn(entry)).await
            }
        }
    }

    async fn changed(&mut self, change: Change) -> Over {
        let done = match change {
            Change::Continued => self.terminal.resumed().await,
            Change::Resized => self.terminal.redraw_all(),
            Change::Gone => return Some(Ok(())),
        };
        match done {
            Ok(()) => self.input(Input::Resized).await,
            Err(error) => Some(Err(unusable(error))),
        }
    }

    /// Hands the client what it takes at once: a message is on its way before the screen says so.
    fn pass_on(&mut self) {
        let Some(commands) = &self.commands else { return };
        while self.screen.has_command() {
            let Ok(place) = commands.try_reserve() else { return };
            if let Some(command) = self.screen.next_command() {
                place.send(command);
            }
        }
    }

    /// Takes what was typed, with what was typed meanwhile.
    async fn typed(&mut self, first: Typed, keys: &mut mpsc::Receiver<Typed>) -> Over {
        let mut next = Some(first);
        for _ in 0..MAX_AT_ONCE {
            let input = match next.take() {
                Some(Typed::Key(key)) => Input::Key(key),
                Some(Typed::Paste(text)) => Input::Pasted(text),
                Some(Typed::FocusGained) => Input::Focused(true),
                Some(Typed::FocusLost) => Input::Focused(false),
                Some(Typed::Resize(..)) => Input::Resized,
                Some(Typed::Mouse(_)) => Input::Focused(true),
                None => break,
            };
            if let Some(over) = self.input(input).await {
                return Some(over);
            }
            next = keys.try_recv().ok();
        }
        None
    }

    /// Takes what came of the work, with what came meanwhile.
    async fn came(&mut self, came: Came) -> Over {
        match came {
            Came::Account(Ok(account)) => {
                self.key = Some(account.key.clone());
                self.log_in(account).await
            }
            Came::Account(Err(failure)) => {
                self.work = Work::Nothing;
                self.input(Input::Ended(Some(failure))).await
            }
            Came::Event(event) => {
                let mut next = Some(event);
                for _ in 0..MAX_AT_ONCE {
                    let Some(event) = next.take() else { break };
                    let tells_of_pins = matches!(
                        event,
                        Event::LoggedIn { .. }
                            | Event::Users { .. }
                            | Event::ChatStarted { .. }
                            | Event::Verified { .. }
                            | Event::Forgotten { .. }
                    );
                    if let Some(over) = self.input(Input::Event(event)).await {
                        return Some(over);
                    }
                    let Work::Client(session) = &mut self.work else { break };
                    // Pins that cannot be read stop the client when it needs them; until then there are just no marks.
                    let pins = tells_of_pins.then(|| session.pins.list().unwrap_or_default());
                    next = session.events.try_recv().ok();
                    if let Some(pins) = pins {
                        self.input(Input::Pins(pins)).await;
                    }
                }
                None
            }
            Came::End(result) => {
                self.work = Work::Nothing;
                self.commands = None;
                if self.stop.is_cancelled() {
                    return Some(result);
                }
                self.input(Input::Ended(result.err())).await
            }
        }
    }

    async fn input(&mut self, input: Input) -> Over {
        let mut effects = Vec::new();
        self.screen.handle(input, now(), &mut effects);
        for effect in effects {
            // A step of the log-in is put in by what it is an effect of.
            if let Some(over) = Box::pin(self.carry_out(effect)).await {
                return Some(over);
            }
        }
        None
    }

    async fn carry_out(&mut self, effect: Effect) -> Over {
        let written = match effect {
            Effect::SignIn(entry) => {
                match &mut self.accounts {
                    Accounts::Entered { make, .. } => self.work = Work::Making(make(entry, self.key.clone())),
                    Accounts::Ready(account) => {
                        let account = account.clone();
                        return Box::pin(self.log_in(account)).await;
                    }
                }
                Ok(())
            }
            Effect::GiveUp => {
                if let Work::Client(session) = std::mem::replace(&mut self.work, Work::Nothing) {
                    session.stop.cancel();
                }
                self.commands = None;
                Ok(())
            }
            Effect::Stop => {
                if let Work::Client(session) = &self.work {
                    session.stop.cancel();
                }
                Ok(())
            }
            Effect::Quit(failure) => return Some(failure.map_or(Ok(()), Err)),
            Effect::Suspend => tokio::select! {
                suspended = self.terminal.suspend() => suspended,
                // The terminal is given back already.
                () = self.stop.cancelled() => return Some(Ok(())),
            },
            Effect::Repaint => self.terminal.redraw_all(),
            Effect::Bell => self.terminal.bell(),
            Effect::Notify(what) => self.terminal.notify(Notify::for_terminal(), what),
        };
        written.err().map(|error| Err(unusable(error)))
    }

    /// Starts a client.
    async fn log_in(&mut self, account: Account) -> Over {
        let (stop, pins) = (self.stop.child_token(), account.pins.clone());
        let Running { commands, events, driver } = Running::start(account, stop.clone());
        self.commands = Some(commands);
        self.work = Work::Client(Session { events, driver, stop, pins });
        self.input(Input::At(Step::Connecting)).await
    }

    /// Lets a client that still runs say goodbye.
    async fn leave(&mut self) -> Result<(), Failure> {
        let Work::Client(Session { mut events, mut driver, stop, .. }) =
            std::mem::replace(&mut self.work, Work::Nothing)
        else {
            return Ok(());
        };
        stop.cancel();
        while events.recv().await.is_some() {}
        ended((&mut driver).await)
    }
}

impl Work {
    async fn next(&mut self) -> Came {
        match self {
            Self::Nothing => std::future::pending().await,
            Self::Making(making) => Came::Account(making.await),
            Self::Client(session) => match session.events.recv().await {
                Some(event) => Came::Event(event),
                None => Came::End(ended((&mut session.driver).await)),
            },
        }
    }
}

/// What is typed, read by a thread of its own: reading blocks. (crossterm's own stream wakes nobody up once it has been
/// asked without waiting, which a flood of keys needs.)
fn keys() -> mpsc::Receiver<Typed> {
    let (sender, keys) = mpsc::channel(MAX_UNREAD);
    std::thread::spawn(move || {
        while let Ok(typed) = typing::read() {
            if sender.blocking_send(typed).is_err() {
                break;
            }
        }
    });
    keys
}

async fn room(commands: Option<&mpsc::Sender<Command>>) -> Option<mpsc::Permit<'_, Command>> {
    match commands {
        Some(commands) => commands.reserve().await.ok(),
        None => std::future::pending().await,
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the driver that hands the screen its time")]
fn now() -> Moment {
    Moment { instant: Instant::now(), clock: jiff::Zoned::now().datetime() }
}
