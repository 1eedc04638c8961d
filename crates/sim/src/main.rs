//! Runs many worlds, or shows one.

use std::{
    collections::BTreeMap,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use clap::Parser;
use sim::{Options, Outcome, Tally, run};

/// Runs Sottovoce's client and session machines in simulated worlds, and says what came of it.
#[derive(Parser)]
struct Arguments {
    /// How many worlds to run, a seed each.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many threads run worlds.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Runs the world of this seed alone, and shows all that happens in it.
    #[arg(long)]
    seed: Option<u64>,
    /// How many nodes the server of each world has; without it, the seed says.
    #[arg(long)]
    nodes: Option<usize>,
    /// Where to write trace and recorded inputs of the world that is shown, or of the first that breaks a rule.
    #[arg(long)]
    record: Option<PathBuf>,
}

/// Worlds that break a rule, after which no more are run.
const ENOUGH: usize = 10;
/// Lines of the trace that are shown of a world that breaks a rule.
const LAST_LINES: usize = 60;
/// Machines whose first inputs are shown; a file gets all of all.
const MACHINES: usize = 3;

fn main() -> std::io::Result<ExitCode> {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => show(seed, usize::MAX, &arguments),
        None => run_all(&arguments),
    }
}

fn run_all(arguments: &Arguments) -> std::io::Result<ExitCode> {
    let start = now();
    let (next, total, failed) =
        (AtomicU64::new(arguments.from), Mutex::new(Tally::default()), Mutex::new(BTreeMap::new()));
    let end = arguments.from.saturating_add(arguments.seeds);
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                let mut sum = Tally::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || lock(&failed).len() >= ENOUGH {
                        break;
                    }
                    let violation = match catch_unwind(AssertUnwindSafe(|| {
                        run(seed, Options { nodes: arguments.nodes, ..Options::default() })
                    })) {
                        Ok(Outcome { tally, violation, .. }) => {
                            sum.add(&tally);
                            violation
                        }
                        Err(_) => Some("a machine panicked".to_owned()),
                    };
                    if let Some(violation) = violation {
                        lock(&failed).insert(seed, violation);
                    }
                }
                lock(&total).add(&sum);
            });
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    let total = lock(&total).clone();
    let failed = lock(&failed);
    let mut stdout = std::io::stdout().lock();
    write!(stdout, "{total}")?;
    let (chats, messages) = (total.chats as f64 / seconds, total.messages as f64 / seconds);
    writeln!(stdout, "{seconds:.1} s with {} threads: {chats:.0} chats/s, {messages:.0} messages/s", arguments.jobs)?;
    for (seed, violation) in failed.iter() {
        writeln!(stdout, "seed {seed} broke a rule: {violation}")?;
    }
    drop(stdout);
    match failed.keys().next() {
        Some(seed) => show(*seed, LAST_LINES, arguments),
        None => {
            writeln!(std::io::stdout(), "no rule was broken")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs one world with its trace, and says how it ended.
fn show(seed: u64, lines: usize, arguments: &Arguments) -> std::io::Result<ExitCode> {
    let outcome = run(seed, Options { traced: true, sabotage: None, nodes: arguments.nodes });
    let mut stdout = std::io::stdout().lock();
    let skipped = outcome.trace.len().saturating_sub(lines);
    for line in outcome.trace.iter().skip(skipped) {
        writeln!(stdout, "{line}")?;
    }
    if let Some(file) = &arguments.record {
        let mut file = std::fs::File::create(file)?;
        for line in &outcome.trace {
            writeln!(file, "{line}")?;
        }
        for (machine, inputs) in &outcome.recordings {
            writeln!(file, "{machine}: {inputs}")?;
        }
    }
    let Some(violation) = outcome.violation else {
        writeln!(stdout, "seed {seed}: no rule was broken\n{}", outcome.tally)?;
        return Ok(ExitCode::SUCCESS);
    };
    for (machine, inputs) in outcome.recordings.iter().take(MACHINES) {
        let short: String = inputs.chars().take(1_000).collect();
        writeln!(stdout, "inputs of {machine}: {short}")?;
    }
    writeln!(stdout, "seed {seed} BROKE A RULE: {violation}")?;
    writeln!(stdout, "again: cargo run --release -p sim -- --seed {seed} --record FILE")?;
    Ok(ExitCode::FAILURE)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "the time that it all takes, which no machine gets to know")]
fn now() -> Instant {
    Instant::now()
}
