//! On what was measured, and with which versions.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use clap::ValueEnum as _;
use serde::Serialize;

use crate::{clock, system::System};

/// What has to be known to compare figures.
#[derive(Serialize)]
pub(crate) struct Machine {
    date: String,
    /// The command that was given.
    command: String,
    processor: String,
    cores: usize,
    memory_kib: String,
    kernel: String,
    compiler: String,
    /// The commit that is checked out, and whether files differ from it.
    commit: String,
    is_changed: bool,
    /// What `--version` says.
    sottovoce: String,
    /// Versions of Debian's packages.
    packages: BTreeMap<&'static str, String>,
}

impl Machine {
    /// Looks around. What cannot be found out is left empty.
    pub(crate) fn look(sottovoce: &Path) -> Self {
        let packages = System::value_variants().iter().filter_map(|system| system.package());
        let version = |package| (package, said("dpkg-query", &["--show", "--showformat=${Version}", package]));
        Self {
            date: humantime::format_rfc3339_seconds(clock::calendar()).to_string(),
            command: std::env::args().skip(1).fold("bench".to_owned(), |line, argument| line + " " + &argument),
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_kib: field("/proc/meminfo", "MemTotal"),
            kernel: said("uname", &["-sr"]),
            compiler: said("rustc", &["--version"]),
            commit: said("git", &["rev-parse", "HEAD"]),
            is_changed: !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty(),
            sottovoce: said(&sottovoce.display().to_string(), &["--version"]),
            packages: packages.map(version).collect(),
        }
    }
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What stands behind the first `name` and a colon.
fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':')).map_or_else(String::new, |(_, value)| value.trim().to_owned())
}
