//! A relay that means ill, to be tried on one's own clients.

use std::{
    io::{BufRead as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, ValueEnum as _};
use sim::hostile_relay::{Attack, HostileRelay};

/// Runs a relay that means ill: real TLS, directory and sessions from a server's folder, and between clients and
/// sessions the attacks that are chosen. A line on standard input chooses others from then on, an empty one none.
#[derive(Parser)]
#[command(name = "hostile-relay")]
struct Arguments {
    /// The folder that `sottovoce server init` made.
    #[arg(long, required_unless_present = "list")]
    dir: Option<PathBuf>,
    /// What it does, by name; with several, each frame passes through one after the other.
    #[arg(long, value_delimiter = ',', hide_possible_values = true)]
    attack: Vec<Attack>,
    /// Where it listens, rather than at the port of the folder's server.toml on this machine alone.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Shows all attacks, a sentence each.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "hostile-relay: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    if arguments.list {
        for attack in Attack::all() {
            say(format_args!("{:24} {}", attack.name(), attack.sentence()));
        }
        return Ok(());
    }
    let (relay, told) = HostileRelay::start(&arguments.dir.unwrap_or_default(), arguments.listen, &arguments.attack)?;
    say(format_args!("listening on {}", relay.address()));
    std::thread::spawn(move || told.iter().for_each(|line| say(format_args!("{line}"))));
    for line in std::io::stdin().lock().lines() {
        match attacks(&line?) {
            Ok(attacks) => {
                relay.attack(&attacks);
                let names: Vec<_> = attacks.iter().map(|attack| attack.name()).collect();
                let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
                say(format_args!("from now on: {names}"));
            }
            Err(name) => say(format_args!("there is no attack {name:?}; --list shows all")),
        }
    }
    // Nobody chooses any more. It goes on until it is killed.
    loop {
        std::thread::park();
    }
}

fn say(line: std::fmt::Arguments<'_>) {
    // Whoever has stopped reading has read enough.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The attacks of a line, or the name that is none.
fn attacks(line: &str) -> Result<Vec<Attack>, String> {
    let names = line.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| Attack::from_str(name, true).map_err(|_| name.to_owned())).collect()
}
