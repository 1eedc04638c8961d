//! What was measured, as rows of JSON.

use std::{
    any::Any,
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;

use crate::common::PROGRAM;

/// One figure of one round.
pub(crate) struct Figure {
    work: &'static str,
    unit: Unit,
    /// What came before, and does not count.
    warm_up: usize,
    /// Nanoseconds, or bytes.
    values: Histogram<u64>,
}

#[derive(Clone, Copy, Serialize)]
enum Unit {
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "MB")]
    Megabytes,
}

impl Figure {
    /// Of times, all that were measured but the first `warm_up`.
    pub(crate) fn times(work: &'static str, warm_up: usize, times: &[Duration]) -> Self {
        let nanoseconds = times[warm_up..].iter().map(|time| u64::try_from(time.as_nanos()).unwrap());
        Self { work, unit: Unit::Milliseconds, warm_up, values: histogram(nanoseconds) }
    }

    /// Of a number of bytes.
    pub(crate) fn bytes(work: &'static str, bytes: u64) -> Self {
        Self { work, unit: Unit::Megabytes, warm_up: 0, values: histogram([bytes]) }
    }

    fn at(&self, quantile: f64) -> f64 {
        self.values.value_at_quantile(quantile) as f64 / 1e6
    }
}

fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).unwrap();
    values.into_iter().for_each(|value| histogram.record(value).unwrap());
    histogram
}

/// The files that rows go to.
pub(crate) struct Rows {
    dir: Option<PathBuf>,
    is_quick: bool,
    command: String,
    machine: BTreeMap<&'static str, String>,
    refused: usize,
}

/// `bench peers report` reads some of it.
#[derive(Serialize)]
struct Row<'a> {
    work: &'static str,
    round: usize,
    /// Of a run that is there to see whether it works.
    quick: bool,
    /// When the row was written.
    date: String,
    command: &'a str,
    machine: &'a BTreeMap<&'static str, String>,
    /// Processors that others on the machine kept busy.
    others_cores: f64,
    warm_up: usize,
    samples: u64,
    unit: Unit,
    least: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Rows {
    pub(crate) fn new(dir: Option<PathBuf>, is_quick: bool) -> Self {
        if let Some(dir) = &dir {
            fs::create_dir_all(dir).unwrap();
        }
        // `--bench` is cargo's.
        let said = std::env::args().skip(1).filter(|argument| argument != "--bench");
        let command = said.fold("cargo bench -p sottovoce --bench terminal --".to_owned(), |line, it| line + " " + &it);
        Self { dir, is_quick, command, machine: machine(), refused: 0 }
    }

    pub(crate) fn note(&mut self, round: usize, figure: &Figure, others_cores: f64) {
        let Figure { work, unit, warm_up, values } = figure;
        let (work, unit, warm_up) = (*work, *unit, *warm_up);
        let row = Row {
            work,
            round,
            quick: self.is_quick,
            date: date(),
            command: &self.command,
            machine: &self.machine,
            others_cores,
            warm_up,
            samples: values.len(),
            unit,
            least: values.min() as f64 / 1e6,
            p50: figure.at(0.5),
            p90: figure.at(0.9),
            p99: figure.at(0.99),
            max: values.max() as f64 / 1e6,
        };
        let unit = if matches!(unit, Unit::Milliseconds) { "ms" } else { "MB" };
        println!(
            "{work}, round {round}: p50 {:.2} {unit}, p90 {:.2}, p99 {:.2}, most {:.2} of {}; others {others_cores:.2} cores",
            row.p50, row.p90, row.p99, row.max, row.samples
        );
        self.append("people.jsonl", &row);
    }

    /// What was measured in a round in which something went wrong is not reported.
    pub(crate) fn refuse(&mut self, round: usize, work: &str, why: &(dyn Any + Send)) {
        let said = why.downcast_ref::<String>().cloned().or_else(|| Some((*why.downcast_ref::<&str>()?).to_owned()));
        let why = said.unwrap_or_default();
        println!("{work}, round {round}: not reported: {why}");
        let row = json!({
            "system": "sottovoce", "work": work, "round": round, "began": date(), "command": self.command, "why": why,
        });
        self.append("refused.jsonl", &row);
        self.refused += 1;
    }

    pub(crate) fn is_any_refused(&self) -> bool {
        self.refused > 0
    }

    fn append(&self, file: &str, row: &impl Serialize) {
        if let Some(dir) = &self.dir {
            let mut file = OpenOptions::new().create(true).append(true).open(dir.join(file)).unwrap();
            writeln!(file, "{}", serde_json::to_string(row).unwrap()).unwrap();
        }
    }
}

/// What has to be known to compare figures.
fn machine() -> BTreeMap<&'static str, String> {
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        line.map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(here).output();
        output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let is_changed = !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
    BTreeMap::from([
        ("processor", field("/proc/cpuinfo", "model name")),
        ("cores", std::thread::available_parallelism().map_or(0, usize::from).to_string()),
        ("memory", field("/proc/meminfo", "MemTotal")),
        ("kernel", said("uname", &["-sr"])),
        ("compiler", said("rustc", &["--version"])),
        ("commit", said("git", &["rev-parse", "HEAD"]) + if is_changed { ", with changes" } else { "" }),
        ("sottovoce", said(PROGRAM, &["--version"])),
    ])
}

fn date() -> String {
    jiff::Timestamp::now().round(jiff::Unit::Second).unwrap().to_string()
}
