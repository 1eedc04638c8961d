//! What the relay costs, and what its limit is: a load generator that speaks the relay's protocol, that of a bare pipe,
//! and those of servers that do a similar job. CONTRIBUTING.md says how to run it.

mod arguments;
mod bare_pipe;
mod clock;
mod connect;
mod fault;
mod figures;
mod load;
mod machine;
mod payload;
mod peers;
mod presence;
mod process;
mod report;
mod schedule;
mod sequence;
mod system;
mod wire;

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    match Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says a line on standard output. Whoever has stopped reading has read enough.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
