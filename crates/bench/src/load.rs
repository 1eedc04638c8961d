//! The load generator: puts one kind of work on one server, and measures.

mod conversation;
mod idle;
mod log_in;
mod relay;

use std::{net::SocketAddr, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, Subcommand};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::runtime::Runtime;

use crate::{
    connect::connect,
    fault::Fault,
    figures::Figures,
    payload::MIN_SIZE,
    process::{Process, Processes},
    schedule::Schedule,
    system::System,
    wire::{Line, Protocol},
};

/// What is put on which server.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What kind of server it is.
    #[arg(long)]
    system: System,
    /// Where it listens. Of several nodes, each after the other: users take turns, so that the two of a pair are at different
    /// ones.
    #[arg(long, required = true)]
    address: Vec<SocketAddr>,
    /// The certificate that vouches for it, PEM.
    #[arg(long)]
    authority: PathBuf,
    /// The number of its process. Of several, each after the other: what they compute and keep counts together.
    #[arg(long, required = true)]
    pid: Vec<u32>,
    #[command(subcommand)]
    load: Load,
}

impl Options {
    /// Measures once.
    ///
    /// # Errors
    /// [`Fault`]: no figures of a run in which anything went wrong.
    pub(crate) fn run(&self) -> Result<Figures, Fault> {
        let authority = std::fs::read(&self.authority).map_err(|error| Fault::file(&self.authority, error))?;
        let target = Target {
            addresses: self.address.clone(),
            authority,
            process: Processes(self.pid.iter().copied().map(Process).collect()),
            at_a_time: self.system.at_a_time(),
        };
        self.system.load(&target, &self.load)
    }
}

/// A server under load.
#[derive(Debug)]
pub(crate) struct Target {
    /// Where it listens: at one place, or at each of its nodes.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The PEM certificate that vouches for it.
    pub(crate) authority: Vec<u8>,
    /// What is measured.
    pub(crate) process: Processes,
    /// How many log in at once, unless something else is asked for.
    pub(crate) at_a_time: usize,
}

impl Target {
    /// Where this user logs in.
    ///
    /// # Errors
    /// [`Fault::Said`] when there is no place.
    pub(crate) fn address(&self, user: u64) -> Result<SocketAddr, Fault> {
        let place = usize::try_from(user).ok().and_then(|user| user.checked_rem(self.addresses.len()));
        place
            .and_then(|place| self.addresses.get(place))
            .copied()
            .ok_or_else(|| Fault::Said("an address is needed".to_owned()))
    }
}

/// The kinds of work, with what can be chosen of each.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Load {
    /// Messages at a fixed rate, both ways between the two of each pair.
    Relay {
        /// Messages a second, over all pairs.
        #[arg(long, default_value_t = 20_000)]
        rate: u64,
        /// Milliseconds between the moments at which messages are due, several together. With 0 they are spread evenly, so
        /// that the server is woken for each.
        #[arg(long, default_value_t = 0)]
        tick: u64,
        #[command(flatten)]
        talk: Talk,
    },
    /// As many messages as the server passes on: each is answered by another as soon as it has come.
    Saturated {
        /// Messages of each pair that are under way.
        #[arg(long, default_value_t = 32)]
        in_flight: u64,
        /// Threads of the generator.
        #[arg(long, default_value_t = 2)]
        threads: usize,
        #[command(flatten)]
        talk: Talk,
    },
    /// Users who log in, and off again.
    LogIn {
        /// How often.
        #[arg(long, default_value_t = 5000)]
        count: u64,
        /// How many are at it at once; as many as the server can take, up to 16, unless it says otherwise.
        #[arg(long)]
        at_a_time: Option<usize>,
        /// How many users take turns.
        #[arg(long, default_value_t = 2000)]
        users: u64,
        /// Has everybody come for the first time since the server started, rather than once more.
        #[arg(long)]
        first: bool,
    },
    /// Users who are logged in and do nothing.
    Idle {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        connections: u64,
    },
}

/// Messages, and how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct Talk {
    /// Pairs that talk.
    #[arg(long, default_value_t = 50)]
    pub(crate) pairs: u64,
    /// Users besides them who are logged in and only show that they are there.
    #[arg(long, default_value_t = 0)]
    pub(crate) idle: u64,
    /// Bytes of each payload.
    #[arg(long, default_value_t = 256, value_parser = size)]
    pub(crate) size: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u32,
    /// Seconds before that, which are not.
    #[arg(long, default_value_t = 2)]
    pub(crate) warm_up: u32,
}

fn size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| (MIN_SIZE..=400).contains(size));
    size.ok_or_else(|| format!("from {MIN_SIZE} to 400 bytes, which fit a line of IRC"))
}

impl Load {
    /// Puts this load on a server that speaks `protocol`.
    ///
    /// # Errors
    /// [`Fault`]: no figures of a run in which anything went wrong.
    pub(crate) fn run<P: Protocol>(&self, protocol: &P, target: &Target) -> Result<Figures, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match self {
            Self::Relay { rate, tick, talk } => {
                let schedule = Schedule::new(*rate, Duration::from_millis(*tick));
                relay::at_rate(protocol, target, &runtime, schedule, talk)
            }
            Self::Saturated { in_flight, threads, talk } => {
                relay::saturated(protocol, target, &runtime, *in_flight, *threads, talk)
            }
            Self::LogIn { count, at_a_time, users, first } => {
                let at_a_time = at_a_time.unwrap_or(target.at_a_time);
                let crowd = log_in::Crowd { count: *count, at_a_time, users: *users, have_been_here: !*first };
                log_in::run(protocol, target, &runtime, crowd)
            }
            Self::Idle { connections } => idle::run(protocol, target, &runtime, *connections),
        }
    }
}

/// Has these users log in: their lines, in order.
async fn log_in_all<P: Protocol>(protocol: &P, target: &Target, users: Range<u64>) -> Result<Vec<Line>, Fault> {
    let lines = stream::iter(users).map(|user| log_in(protocol, target, user)).buffered(target.at_a_time);
    lines.try_collect().await
}

async fn log_in<P: Protocol>(protocol: &P, target: &Target, user: u64) -> Result<Line, Fault> {
    let config = protocol.tls().client(user, &target.authority)?;
    enter(protocol, target, user, config).await
}

/// The same, with a configuration of TLS that was made before.
async fn enter<P: Protocol>(
    protocol: &P,
    target: &Target,
    user: u64,
    config: Arc<rustls::ClientConfig>,
) -> Result<Line, Fault> {
    let enter = async {
        let mut line = connect(target.address(user)?, config, protocol.greets()).await?;
        protocol.log_in(&mut line, user).await.map(|()| line)
    };
    enter.await.map_err(|why| Fault::LogIn { user, why: Box::new(why) })
}

/// Waits for a while without keeping `runtime` from its work.
fn settle(runtime: &Runtime, length: Duration) {
    runtime.block_on(async {
        let _ = tokio::time::timeout(length, std::future::pending::<()>()).await;
    });
}
