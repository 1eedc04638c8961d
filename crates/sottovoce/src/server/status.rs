//! `sottovoce server status`: what a running server is doing, for a person or a program.

use std::{
    fmt,
    path::Path,
    time::{Duration, SystemTime},
};

use ::server::{
    operator::{
        figures::{Cluster, Figures},
        status::{StatusError, ask},
    },
    setup,
};
use serde::Serialize;

use crate::{failure::Failure, output::print};

/// What a program gets to read.
#[derive(Serialize)]
struct Answer<'a> {
    running: bool,
    /// As `figures` has it; a server that does not run is not ready either.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<bool>,
    #[serde(flatten)]
    figures: Option<&'a Figures>,
}

/// Shows what the server of `dir` is doing, and fails if it does not run or should get no connections.
pub(super) async fn show(dir: &Path, json: bool) -> Result<(), Failure> {
    let asked = ask(dir).await;
    if json {
        let figures = asked.as_ref().ok();
        let answer = Answer { running: runs(&asked), ready: figures.is_none().then_some(false), figures };
        let answer = serde_json::to_string(&answer).map_err(Failure::new)?;
        print(format_args!("{answer}"))?;
    }
    let figures = match asked {
        Ok(figures) => figures,
        Err(StatusError::NotRunning(_)) if !setup::config_path(dir).exists() => {
            let dir = dir.display();
            return Err(Failure::new(format_args!("there is no server in {dir}; `sottovoce server init` makes one")));
        }
        Err(error) => return Err(error.into()),
    };
    if !json {
        print(format_args!("{}", Told(&figures)))?;
    }
    match figures.reason {
        None => Ok(()),
        Some(why) => Err(Failure::new(format_args!("the server in {} is not ready: {why}", dir.display()))),
    }
}

/// Whether it is known that a server runs, though it may not have answered as it should.
fn runs(asked: &Result<Figures, StatusError>) -> bool {
    matches!(asked, Ok(_) | Err(StatusError::Silent(_) | StatusError::Foreign(_)))
}

/// For people.
struct Told<'a>(&'a Figures);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { connections, pending, sessions, chat_sides, handshakes, log_ins, relayed, mailboxes, .. } =
            self.0;
        let since = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.0.started));
        let since = since.map_or_else(String::new, |since| humantime::format_rfc3339_seconds(since).to_string());
        let uptime = humantime::format_duration(Duration::from_secs(self.0.uptime_seconds));
        writeln!(f, "running      since {since}, for {uptime}, version {}", self.0.version)?;
        match self.0.reason {
            None => writeln!(f, "ready        yes")?,
            Some(why) => writeln!(f, "ready        no: {why}")?,
        }
        writeln!(f, "connections  {connections}, {pending} of them not logged in")?;
        writeln!(f, "sessions     {sessions}, {chat_sides} of them in a chat")?;
        writeln!(f, "log-ins      {log_ins}, handshakes {handshakes}")?;
        let (received, sent) = (relayed.received, relayed.sent);
        writeln!(f, "relayed      {} frames, {} bytes", received.frames, received.bytes)?;
        if sent != received {
            writeln!(f, "             {} frames, {} bytes to clients", sent.frames, sent.bytes)?;
        }
        writeln!(f, "waiting      {} letters, {} in the fullest mailbox", mailboxes.letters, mailboxes.fullest)?;
        let refusals: Vec<_> = self
            .0
            .refusals
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(cause, count)| format!("{cause} {count}"))
            .collect();
        writeln!(f, "refused      {}", if refusals.is_empty() { "nothing".to_owned() } else { refusals.join(", ") })?;
        let directory = self.0.directory;
        let read = directory.seconds_since_read.map_or("never".to_owned(), |age| format!("{age:.1} s ago"));
        let readable = if directory.readable { "readable" } else { "NOT readable" };
        writeln!(f, "directory    {readable}, last read {read}")?;
        match self.0.cluster {
            None => writeln!(f, "nodes        this one alone")?,
            Some(Cluster { connected, nodes, users, signals_undelivered, .. }) => {
                let connected = if connected { "connected" } else { "NOT connected" };
                writeln!(
                    f,
                    "nodes        {nodes}, {connected}, {users} users online, {signals_undelivered} signals undelivered"
                )?;
            }
        }
        match self.0.metrics_port {
            Some(port) => write!(f, "metrics      port {port}"),
            None => write!(f, "metrics      off"),
        }
    }
}
