//! What the process asks of the system.

use std::{future::pending, io::IsTerminal as _, time::Duration};

use ::server::Stop;
use rustix::{
    process::{Resource, Rlimit, getpgrp, getrlimit, setrlimit},
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::failure::Failure;

/// How long a face may take to leave: its client waits 5 s for what it said to be delivered, and 2 s for the goodbye to
/// go. Whatever takes longer is held up by a terminal that does not read, and may be so for ever.
const LEAVING: Duration = Duration::from_secs(10);

/// Rules out that this process, or one that somebody who got into it starts, gains rights by a program that gives some,
/// as `sudo` does. To be called before there are threads: each has this for itself, and passes it on. Best effort.
pub(crate) fn gain_nothing() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_no_new_privs(true);
}

/// Keeps memory with keys and messages in it from being written to disk by a crash, or read by another process of the
/// same user. Best effort: a system that refuses is no reason not to chat.
pub(crate) fn keep_memory_private() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Takes as many file descriptors as the system allows, since each connection needs one. How many that are; `None` if
/// there is no limit.
pub(crate) fn take_all_descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).is_err() {
        tracing::debug!("the limit of open files stays as it is");
    }
    getrlimit(Resource::Nofile).current
}

/// Whether a person sits at a terminal whose whole screen can be used.
#[expect(clippy::disallowed_methods, reason = "TERM is where a terminal says what it is")]
pub(crate) fn has_screen() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb");
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !is_dumb
}

/// Leaves the terminal as it was found, also when the program ends while a prompt has turned the echo off.
pub(crate) struct KeepTerminal(Option<Termios>);

impl KeepTerminal {
    /// Remembers how the terminal is set, if there is one.
    pub(crate) fn as_it_is() -> Self {
        Self(tcgetattr(std::io::stdin()).ok())
    }

    /// Remembers how it is set and turns the echo off, for the time before a prompt and while a password is tried.
    pub(crate) fn silent() -> Self {
        let before = Self::as_it_is();
        if let Some(termios) = &before.0 {
            let mut silent = termios.clone();
            silent.local_modes.remove(LocalModes::ECHO);
            // Where this fails the prompt still turns the echo off for itself.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &silent);
        }
        before
    }
}

impl Drop for KeepTerminal {
    fn drop(&mut self) {
        // In the background it is another process's, and setting it would stop this one for ever (SIGTTOU).
        if let Some(before) = &self.0
            && is_in_foreground()
        {
            // A terminal that is gone needs no restoring.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Whether the terminal on standard input is this process's to set. Where there is no job control, or it cannot be
/// known, it is.
pub(crate) fn is_in_foreground() -> bool {
    tcgetpgrp(std::io::stdin()).map_or(true, |group| group == getpgrp())
}

/// A token that the first signal to end (SIGINT, SIGTERM or SIGHUP) cancels. A further SIGINT ends the program at once,
/// for whoever does not want to wait, or waits for something that does not come. A terminal that is closed sends more
/// than one signal, and does not mean that.
pub(crate) fn stop_by_signal() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let mut signals = Signals::listen()?;
    let token = stop.clone();
    tokio::spawn(async move {
        signals.any().await;
        token.cancel();
        signals.interrupt.recv().await;
        end_at_once();
    });
    Ok(stop)
}

/// The orders to stop that a server gets by signals: the first SIGINT, SIGTERM or SIGHUP lets it drain, and a further
/// SIGINT or SIGTERM hurries it. A SIGINT after that ends the program at once.
pub(crate) fn stop_server_by_signal() -> Result<Stop, Failure> {
    let stop = Stop::default();
    let mut signals = Signals::listen()?;
    let orders = stop.clone();
    tokio::spawn(async move {
        signals.any().await;
        orders.drain.cancel();
        tokio::select! {
            _ = signals.interrupt.recv() => {}
            _ = signals.terminate.recv() => {}
        }
        orders.hurry.cancel();
        signals.interrupt.recv().await;
        end_at_once();
    });
    Ok(stop)
}

/// The signals to end.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::new(format_args!("the system gives no signals ({error})")));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them.
    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// Ends the program at once when [`LEAVING`] has passed since `stop`, unless what this gives is dropped before.
pub(crate) fn end_soon_after(stop: CancellationToken) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        stop.cancelled().await;
        let _ = timeout(LEAVING, pending::<()>()).await;
        end_at_once();
    }))
}

#[expect(clippy::disallowed_methods, reason = "the main thread may be held up by whoever does not read its output")]
fn end_at_once() {
    crate::face::restore_terminal();
    std::process::exit(1);
}
