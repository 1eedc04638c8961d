//! Rounds of measurements: in each, every system is put to the same work, one after the other.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use clap::{Args, ValueEnum as _};
use serde::Serialize;

use super::{
    launch::Kit,
    work::{Task, Work},
};
use crate::{clock, fault::Fault, figures::Row, machine::Machine, report, say, system::System};

/// The cores that server and generator are kept on where that is wanted.
const SERVERS_CORE: usize = 0;
const GENERATORS_CORE: usize = 1;

/// What is measured.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What the servers are put to, divided by commas; everything, if nothing is said.
    #[arg(long, value_delimiter = ',')]
    work: Vec<Work>,
    /// Which of them, divided by commas; all, if nothing is said.
    #[arg(long, value_delimiter = ',')]
    system: Vec<System>,
    /// How often; 3 times if nothing is said, and 6 times for `saturated`.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds for which messages are relayed in each run.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// The relay's program. Beside this one, if nothing is said.
    #[arg(long)]
    sottovoce: Option<PathBuf>,
    /// Where rows go, behind those that are there; `crates/bench/results/DATE` if nothing is said.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// A run that is not reported, since something went wrong.
#[derive(Serialize)]
struct Refused {
    system: String,
    work: &'static str,
    round: usize,
    began: String,
    command: String,
    why: String,
}

/// Measures, and writes a row for each run.
///
/// # Errors
/// [`Fault`] when nothing can be measured. A run in which something went wrong is noted, and others go on.
pub(crate) fn run(options: &Options) -> Result<(), Fault> {
    let bench = std::env::current_exe()?;
    let sottovoce = options.sottovoce.clone().unwrap_or_else(|| bench.with_file_name("sottovoce"));
    if !sottovoce.exists() {
        return Err(Fault::file(&sottovoce, "is not there; `cargo build --release -p sottovoce` makes it"));
    }
    let out = options.out.clone().unwrap_or_else(|| Path::new("crates/bench/results").join(today()));
    fs::create_dir_all(&out).map_err(|error| Fault::file(&out, error))?;
    let machine = Machine::look(&sottovoce);
    append(&out.join("machine.jsonl"), &machine)?;

    let kit = Kit::new(sottovoce, bench.clone())?;
    let all = |chosen: &[Work]| if chosen.is_empty() { Work::value_variants().to_vec() } else { chosen.to_vec() };
    for work in all(&options.work) {
        for round in 1..=options.rounds.unwrap_or(work.rounds()) {
            for system in options.systems(work, round) {
                for task in work.tasks(options.seconds) {
                    measure(&kit, &bench, &out, &task, system, round)?;
                }
            }
        }
    }
    report::write(&out)
}

impl Options {
    /// Each round begins with another, so that nobody always comes after the same.
    fn systems(&self, work: Work, round: usize) -> Vec<System> {
        let is_chosen = |system: &System| self.system.is_empty() || self.system.contains(system);
        let mut systems: Vec<_> = System::value_variants().iter().copied().filter(is_chosen).collect();
        systems.retain(|system| work.includes(*system));
        let first = round.saturating_sub(1).checked_rem(systems.len()).unwrap_or_default();
        systems.rotate_left(first);
        systems
    }
}

fn measure(kit: &Kit, bench: &Path, out: &Path, task: &Task, system: System, round: usize) -> Result<(), Fault> {
    let began = humantime::format_rfc3339_seconds(clock::calendar()).to_string();
    let server = kit.start(system, task.users, task.is_pinned.then_some(SERVERS_CORE))?;
    let mut arguments = vec!["load".to_owned(), "--system".to_owned(), system.name()];
    arguments.extend(["--address".to_owned(), server.address().to_string()]);
    arguments.extend(["--authority".to_owned(), kit.authority().display().to_string()]);
    arguments.extend(["--pid".to_owned(), server.pid().to_string()]);
    arguments.extend(task.load.iter().cloned());
    let command = format!("bench {}", arguments.join(" "));

    let mut generator = Command::new("taskset");
    if task.is_pinned {
        generator.args(["--cpu-list", &GENERATORS_CORE.to_string()]).arg(bench);
    } else {
        generator = Command::new(bench);
    }
    let output = generator.args(&arguments).output().map_err(|error| Fault::program("bench load", error))?;
    drop(server);
    let name = system.name();
    match serde_json::from_slice(&output.stdout) {
        Ok(figures) if output.status.success() => {
            let row = Row { system: name, work: task.name.to_owned(), round, began, command, figures };
            say(format_args!("{}", report::line(&row)));
            append(&out.join("rows.jsonl"), &row)
        }
        _ => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            say(format_args!("{} {name}, round {round}: not reported: {why}", task.name));
            let refused = Refused { system: name, work: task.name, round, began, command, why };
            append(&out.join("refused.jsonl"), &refused)
        }
    }
}

/// The date, as `2026-01-31`.
fn today() -> String {
    humantime::format_rfc3339_seconds(clock::calendar()).to_string().chars().take(10).collect()
}

fn append(path: &Path, row: &impl Serialize) -> Result<(), Fault> {
    let mut line = serde_json::to_string(row).map_err(|error| Fault::file(path, error))?;
    line.push('\n');
    let file: Result<File, _> = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(|error| Fault::file(path, error))
}
