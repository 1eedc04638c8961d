//! What the operating system says of processes (proc(5)): memory, and processor time.

use std::{
    collections::BTreeMap,
    fs,
    process::Child,
    time::{Duration, Instant},
};

use crate::common::now;

/// What others on the machine do, from one moment to another: whether it was quiet.
pub(crate) struct Meter {
    begin: Instant,
    before: f64,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self { begin: now(), before: others() }
    }

    /// Processors that others kept busy.
    pub(crate) fn others(&self) -> f64 {
        (others() - self.before).max(0.0) / self.begin.elapsed().as_secs_f64()
    }
}

/// Processor time that a process has used.
pub(crate) fn used(process: &Child) -> Duration {
    Duration::from_secs_f64(stat(process.id()).unwrap().used)
}

/// Bytes that a process has resident.
pub(crate) fn memory(process: &Child) -> u64 {
    status(process, "VmRSS:")
}

/// The most bytes that it ever had.
pub(crate) fn most_memory(process: &Child) -> u64 {
    status(process, "VmHWM:")
}

fn status(process: &Child, row: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let row = status.lines().find_map(|line| line.strip_prefix(row)).unwrap();
    row.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Seconds that all processors were busy, without this process and all that it has started.
fn others() -> f64 {
    let machine = fs::read_to_string("/proc/stat").unwrap();
    let columns = machine.lines().next().unwrap().split_whitespace().skip(1).map(|it| it.parse::<f64>().unwrap());
    // All but `idle`, `iowait`, and what guests have, which is in `user` already.
    let busy: f64 = columns.enumerate().filter(|(at, _)| ![3, 4].contains(at) && *at < 7).map(|(_, ticks)| ticks).sum();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let stats: BTreeMap<_, _> = ids.filter_map(|id| Some((id, stat(id)?))).collect();
    let is_ours = |mut id| {
        while let Some(stat) = stats.get(&id) {
            if id == std::process::id() {
                return true;
            }
            id = stat.parent;
        }
        false
    };
    let ours: f64 = stats.iter().filter(|(id, _)| is_ours(**id)).map(|(_, stat)| stat.used + stat.children).sum();
    busy / ticks() - ours
}

struct Stat {
    parent: u32,
    /// Seconds of its own, and of children that have ended and were waited for.
    used: f64,
    children: f64,
}

fn stat(id: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, which stands before these, may hold anything.
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let seconds = |at: usize| Some(fields.get(at)?.parse::<f64>().ok()? / ticks());
    let (used, children) = (seconds(11)? + seconds(12)?, seconds(13)? + seconds(14)?);
    Some(Stat { parent: fields.get(1)?.parse().ok()?, used, children })
}

fn ticks() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}
