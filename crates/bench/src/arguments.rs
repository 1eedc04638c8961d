//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{bare_pipe, fault::Fault, load, peers, presence, report, say};

/// Measures what the relay costs, beside a bare pipe and beside its peers.
#[derive(Parser, Debug)]
#[command(name = "bench")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Runs the bare pipe: the limit that tokio and rustls set.
    Pipe(bare_pipe::Options),
    /// Puts load on a server that runs, and prints what was measured, as JSON.
    Load(load::Options),
    /// Measures what it costs a node to know who is online at the others, with NATS, and prints it as JSON.
    Presence(presence::Options),
    /// Registers the users that the load generator logs in as with a relay of one's own. Anybody could log in as them.
    Register {
        /// The folder that `sottovoce server init` made.
        #[arg(long)]
        dir: PathBuf,
        /// How many.
        #[arg(long)]
        users: u64,
    },
    /// The servers that the relay is compared with.
    #[command(subcommand)]
    Peers(Peers),
}

#[derive(Subcommand, Debug)]
enum Peers {
    /// Installs them from Debian's packages. Starts none of them.
    Install,
    /// Measures the relay, the bare pipe and the peers in turn, and keeps what came of each run.
    Run(peers::rounds::Options),
    /// Makes a table and plots of what was kept.
    Report {
        /// The folder with the rows.
        dir: PathBuf,
    },
}

impl Arguments {
    /// Does what was asked for.
    ///
    /// # Errors
    /// [`Fault`], which says what to do.
    pub(crate) fn run(self) -> Result<(), Fault> {
        take_all_descriptors()?;
        match self.command {
            Command::Pipe(options) => bare_pipe::run(&options),
            Command::Load(options) => {
                let figures = serde_json::to_string(&options.run()?).map_err(|error| Fault::Said(error.to_string()))?;
                say(format_args!("{figures}"));
                Ok(())
            }
            Command::Presence(options) => {
                let figures = serde_json::to_string(&options.run()?).map_err(|error| Fault::Said(error.to_string()))?;
                say(format_args!("{figures}"));
                Ok(())
            }
            Command::Register { dir, users } => peers::users::register(&dir, users),
            Command::Peers(Peers::Install) => peers::install(),
            Command::Peers(Peers::Run(options)) => peers::rounds::run(&options),
            Command::Peers(Peers::Report { dir }) => report::write(&dir),
        }
    }
}

/// Both ends of ten thousand connections are more than a shell allows by default. Servers that are started inherit it.
fn take_all_descriptors() -> Result<(), Fault> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).map_err(std::io::Error::from)?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Arguments::command().debug_assert();
    }
}
