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
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:7478")]
    listen: SocketAddr,
    /// Shows all attacks, a sentence each.
    #[arg(long)]
    list: bool,
}

fn main() -> std::io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut stdout = std::io::stdout();
    if arguments.list {
        for attack in Attack::all() {
            writeln!(stdout, "{:24} {}", attack.name(), attack.sentence())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let dir = arguments.dir.unwrap_or_default();
    let relay = match HostileRelay::start(&dir, arguments.listen, &arguments.attack) {
        Ok((relay, told)) => {
            std::thread::spawn(move || told.iter().try_for_each(|line| writeln!(std::io::stdout(), "{line}")));
            relay
        }
        Err(error) => {
            writeln!(std::io::stderr(), "hostile-relay: {error}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    writeln!(stdout, "listening on {}", relay.address())?;
    for line in std::io::stdin().lock().lines() {
        match attacks(&line?) {
            Ok(attacks) => relay.attack(&attacks),
            Err(name) => writeln!(stdout, "there is no attack {name:?}; --list shows all")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The attacks of a line, or the name that is none.
fn attacks(line: &str) -> Result<Vec<Attack>, String> {
    let names = line.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| Attack::from_str(name, true).map_err(|_| name.to_owned())).collect()
}
