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
use crate::{
    clock,
    fault::Fault,
    figures::{Figures, Row},
    machine::Machine,
    report, say,
    system::System,
};

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
    for system in System::value_variants().iter().filter(|system| options.includes(**system)) {
        if system.program().is_some_and(|program| !program.exists()) {
            return Err(Fault::program(system.name(), "is not installed; `bench peers install` does it"));
        }
    }
    let out = options.out.clone().unwrap_or_else(|| Path::new("crates/bench/results").join(today()));
    fs::create_dir_all(&out).map_err(|error| Fault::file(&out, error))?;
    let machine = Machine::look(&sottovoce);
    append(&out.join("machine.jsonl"), &machine)?;

    let kit = Kit::new(sottovoce, bench)?;
    let all = |chosen: &[Work]| if chosen.is_empty() { Work::value_variants().to_vec() } else { chosen.to_vec() };
    for work in all(&options.work) {
        for round in 1..=options.rounds.unwrap_or(work.rounds()) {
            for system in options.systems(work, round) {
                for task in work.tasks(system, options.seconds) {
                    measure(&kit, &out, &task, system, round)?;
                }
            }
        }
    }
    report::write(&out)
}

impl Options {
    fn includes(&self, system: System) -> bool {
        self.system.is_empty() || self.system.contains(&system)
    }

    /// Each round begins with another, so that nobody always comes after the same.
    fn systems(&self, work: Work, round: usize) -> Vec<System> {
        let mut systems = System::value_variants().to_vec();
        systems.retain(|system| self.includes(*system) && work.includes(*system));
        let first = round.saturating_sub(1).checked_rem(systems.len()).unwrap_or_default();
        systems.rotate_left(first);
        systems
    }
}

/// One run, which is kept as a row, or noted with the reason why it is not.
fn measure(kit: &Kit, out: &Path, task: &Task, system: System, round: usize) -> Result<(), Fault> {
    let began = humantime::format_rfc3339_seconds(clock::calendar()).to_string();
    let (name, mut command) = (system.name(), String::new());
    match put_to(kit, task, system, &mut command) {
        Ok(figures) => {
            let row = Row { system: name, work: task.name.to_owned(), round, began, command, figures };
            say(format_args!("{}", report::line(&row)));
            append(&out.join("rows.jsonl"), &row)
        }
        Err(error) => {
            let why = error.to_string();
            say(format_args!("{} {name}, round {round}: not reported: {why}", task.name));
            let refused = Refused { system: name, work: task.name, round, began, command, why };
            append(&out.join("refused.jsonl"), &refused)
        }
    }
}

/// Starts a server, and the load generator in a process of its own. `command` becomes what that was told.
fn put_to(kit: &Kit, task: &Task, system: System, command: &mut String) -> Result<Figures, Fault> {
    let server = kit.start(system, task.users, task.is_pinned.then_some(SERVERS_CORE))?;
    let mut arguments = vec!["load".to_owned(), "--system".to_owned(), system.name()];
    arguments.extend(["--address".to_owned(), server.address().to_string()]);
    arguments.extend(["--authority".to_owned(), kit.authority().display().to_string()]);
    arguments.extend(["--pid".to_owned(), server.pid().to_string()]);
    arguments.extend(task.load.iter().cloned());
    *command = format!("bench {}", arguments.join(" "));

    let mut generator = Command::new(kit.bench());
    if task.is_pinned {
        generator = Command::new("taskset");
        generator.args(["--cpu-list", &GENERATORS_CORE.to_string()]).arg(kit.bench());
    }
    let output = generator.args(&arguments).output().map_err(|error| Fault::program("bench load", error))?;
    if !output.status.success() {
        return Err(Fault::program("bench load", String::from_utf8_lossy(&output.stderr).trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| Fault::program("bench load", error))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_their_turn_in_each_round_and_others_come_first() {
        let options = Options { work: vec![], system: vec![], rounds: None, seconds: 10, sottovoce: None, out: None };
        let rounds: Vec<_> = (1..=3).map(|round| options.systems(Work::Relay, round)).collect();
        assert_eq!(
            rounds.iter().map(|systems| systems[0]).collect::<Vec<_>>(),
            [System::Sottovoce, System::Pipe, System::PipeGathering]
        );
        for mut systems in rounds {
            systems.sort_unstable();
            assert_eq!(systems.len(), 9);
            systems.dedup();
            assert_eq!(systems.len(), 9);
        }
        let few = Options { system: vec![System::Prosody, System::PipeClassical], ..options };
        assert_eq!(few.systems(Work::Relay, 2), [System::Prosody]);
        assert_eq!(few.systems(Work::Growth, 1), []);
    }
}
