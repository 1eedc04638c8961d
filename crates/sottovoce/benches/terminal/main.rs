//! What people at the ends wait for, and what a face costs them: `cargo bench -p sottovoce --bench terminal`. Real
//! processes, real pseudo-terminals and an emulator that reads them, real connections that are cut. CONTRIBUTING.md says
//! how to run it, and `bench peers report` holds what came of it against the goals.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a benchmark may panic, which ends the run that it measures, and prints its figures"
)]

#[path = "../../tests/cable/mod.rs"]
mod cable;
#[path = "../../tests/common/mod.rs"]
mod common;
mod crowd;
mod cut;
#[path = "../../tests/ledger/mod.rs"]
mod ledger;
mod list;
mod meeting;
mod memory;
mod message;
#[path = "../../tests/people/mod.rs"]
mod people;
mod process;
mod prompt;
mod rows;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    process::Meter,
    rows::{Figure, Rows},
};

/// Measures what people at the ends wait for, with real processes at real pseudo-terminals.
#[derive(Parser)]
#[command(name = "terminal")]
struct Options {
    /// A folder for the rows, seen from the workspace; without one they are only printed.
    #[arg(long)]
    rows: Option<PathBuf>,
    /// How often all of it is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// A little of everything, once: whether it can be measured, and no figures to be quoted.
    #[arg(long)]
    quick: bool,
    /// What is measured, divided by commas; everything, if nothing is said.
    #[arg(long, value_delimiter = ',')]
    work: Vec<Work>,
    /// In a network of its own: cuts the link of so many pairs for so many seconds.
    #[arg(long, hide = true, num_args = 2)]
    link: Option<Vec<u64>>,
    /// `cargo bench` says it.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Work {
    /// From Enter to the peer's screen, and from a key to one's own.
    Message,
    /// From acceptance until both are in the chat.
    Accept,
    /// The first page of who is online, of 10,000.
    List,
    /// A face in a chat of 10,000 messages.
    Memory,
    /// From the start of the program until it asks for the password.
    Prompt,
    /// From the return of the network until both have all that was said meanwhile.
    Cut,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(link) = &options.link {
        cut::inside(link[0] as usize, link[1]);
        return ExitCode::SUCCESS;
    }
    // Ten thousand connections are more than a shell allows by default. The server inherits it.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut rows = Rows::new(options.rows.as_ref().map(|dir| root.join(dir)), options.quick);
    let all = if options.work.is_empty() { Work::value_variants() } else { &options.work };
    for round in 1..=if options.quick { 1 } else { options.rounds } {
        for work in all {
            let meter = Meter::start();
            let figures = catch_unwind(AssertUnwindSafe(|| work.measure(options.quick)));
            match figures {
                Ok(figures) => {
                    let others = meter.others();
                    figures.iter().for_each(|figure| rows.note(round, figure, others));
                }
                Err(why) => rows.refuse(round, &format!("{work:?}").to_lowercase(), &*why),
            }
        }
    }
    if rows.is_any_refused() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Work {
    /// Panics when anything was lost, or somebody did not get in.
    fn measure(self, is_quick: bool) -> Vec<Figure> {
        let few = |quick, full| if is_quick { quick } else { full };
        match self {
            Self::Message => message::measure(few(200, 1000), few(80, 500)),
            Self::Accept => meeting::measure(few(20, 300)),
            Self::List => list::measure(few(400, 10_000), few(40, 500)),
            Self::Memory => memory::measure(few(2000, 10_000)),
            Self::Prompt => prompt::measure(few(20, 200)),
            Self::Cut => cut::measure(is_quick),
        }
    }
}
