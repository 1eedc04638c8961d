//! The faces: how events are shown, and how what was typed is read. All trust checks are the client machine's.

mod input;
mod json;
mod line;
mod tui;

use std::io;

use client::{Account, Command, Event, Failure};
use rand::rngs::SysRng;
use rand_core::UnwrapErr;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    input::Input,
    json::Json,
    line::Line,
    tui::{Accounts, Entry, Making, Settings, restore as restore_terminal, run as run_full_screen},
};

/// Events on their way to the face. A face that does not take them holds the client up, not memory.
const MAX_UNSHOWN: usize = 64;

/// A way to show events and to read what was typed.
pub(crate) trait Face: Send {
    /// Shows an event, at once.
    fn show(&mut self, event: &Event) -> io::Result<()>;
    /// Reads a line that was typed; nothing comes of an empty one.
    fn read(&mut self, line: &str) -> Result<Option<Command>, Failure>;
    /// Shows what can be typed.
    fn help(&mut self) -> io::Result<()>;
    /// Tells why the program ends, besides the line on standard error.
    fn failed(&mut self, failure: &Failure) -> io::Result<()>;
}

/// Runs one log-in of a client between `input` and `face`, to its end. Sets `logged_in` once the server has let it in.
///
/// # Errors
/// The failure that ended the client, not yet told by the face.
pub(crate) async fn run(
    face: &mut dyn Face,
    input: &mut Input,
    account: Account,
    stop: &CancellationToken,
    logged_in: &mut bool,
) -> Result<(), Failure> {
    let Running { commands, mut events, driver } = Running::start(account, stop.clone());
    let shown = show(face, input, commands, &mut events, logged_in).await;
    if shown.is_err() {
        // Nobody reads any more: leave, with a goodbye.
        stop.cancel();
        drop(events);
    }
    let ended = ended(driver.await);
    shown.map_err(|error| {
        let message = format_args!("nothing can be written to standard output: {error}");
        Failure::new(client::ErrorCode::BadFile, message)
    })?;
    ended
}

/// A client that runs, as the face has it.
struct Running {
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<Event>,
    driver: JoinHandle<Result<(), Failure>>,
}

impl Running {
    fn start(account: Account, stop: CancellationToken) -> Self {
        let (commands, queue) = mpsc::channel(1);
        let (sender, events) = mpsc::channel(MAX_UNSHOWN);
        let driver = tokio::spawn(client::run(account, Box::new(UnwrapErr(SysRng)), queue, sender, stop));
        Self { commands, events, driver }
    }
}

/// How a client's task ended.
fn ended(driver: Result<Result<(), Failure>, JoinError>) -> Result<(), Failure> {
    driver.unwrap_or_else(|error| {
        let message = format_args!("this program failed ({error}); please report it");
        Err(Failure::new(client::ErrorCode::Protocol, message))
    })
}

/// Shows events and passes on what is typed, until there are no more events.
async fn show(
    face: &mut dyn Face,
    input: &mut Input,
    commands: mpsc::Sender<Command>,
    events: &mut mpsc::Receiver<Event>,
    logged_in: &mut bool,
) -> io::Result<()> {
    // Dropped when the input has ended, which the client takes for an exit.
    let mut commands = Some(commands);
    let mut pending: Option<Command> = None;
    let mut has_input = true;
    loop {
        // Nothing goes first: who talks much must not keep the user from being heard.
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => {
                    *logged_in |= matches!(event, Event::LoggedIn { .. });
                    face.show(&event)?;
                }
                None => return Ok(()),
            },
            permit = reserve(commands.as_ref()), if pending.is_some() => {
                if let (Some(permit), Some(command)) = (permit, pending.take()) {
                    permit.send(command);
                }
            }
            typed = input.next(), if pending.is_none() && has_input => {
                let read = match typed {
                    None => {
                        has_input = false;
                        Ok(None)
                    }
                    Some(typed) => typed.into_line().and_then(|line| face.read(&line)),
                };
                match read {
                    Ok(Some(Command::Help)) => face.help()?,
                    Ok(command) => pending = command,
                    Err(failure) => face.show(&failure.into())?,
                }
            }
        }
        if !has_input && pending.is_none() {
            commands = None;
        }
    }
}

async fn reserve(commands: Option<&mpsc::Sender<Command>>) -> Option<mpsc::Permit<'_, Command>> {
    commands?.reserve().await.ok()
}
