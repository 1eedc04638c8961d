//! What `docs/protocol.md` has in numbers, held against the code: codes and reasons, sizes, timers.
//!
//! Constants of other crates are read from their sources, because this crate must not depend on those that depend on
//! it, and most of them are private. A source that is moved or written otherwise fails here; the fix is in this file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use protocol::{ALPN, ChatHeader, PROTOCOL_VERSION, limits};

use crate::{CLOSE_REASONS, CODES, SERVER_ERRORS, TO_CLIENT, TO_SERVER};

/// Numbers by name; of times, their milliseconds.
type Numbers = BTreeMap<String, u64>;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn codes() {
    let stated: Vec<_> = table("## Codes")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone(), row[2] != "—", row[3] != "—"))
        .collect();
    let real: Vec<_> = CODES
        .iter()
        .map(|(name, code)| {
            let number = (*code as u8).to_string();
            (number, (*name).to_owned(), TO_SERVER.contains(name), TO_CLIENT.contains(name))
        })
        .collect();
    assert_eq!(stated, real);
}

#[test]
fn reasons() {
    let stated =
        |heading| -> Vec<_> { table(heading).into_iter().map(|row| (row[0].clone(), row[1].clone())).collect() };
    let real: Vec<_> =
        CLOSE_REASONS.iter().map(|(name, code)| ((*code as u8).to_string(), (*name).to_owned())).collect();
    assert_eq!(stated("### Close reasons"), real);
    let real: Vec<_> =
        SERVER_ERRORS.iter().map(|(name, code)| ((*code as u8).to_string(), (*name).to_owned())).collect();
    assert_eq!(stated("### Server errors"), real);
}

#[test]
fn what_this_version_is_called() {
    let document = read("docs/protocol.md");
    let profile = read("crates/e2e/src/profile.rs");
    let (_, suite) = profile.split_once("pub const SUITE: &str = \"").unwrap();
    let (suite, _) = suite.split_once('"').unwrap();
    for part in [
        format!("# The protocol of Sottovoce, version {PROTOCOL_VERSION}\n"),
        format!("    uint8 version = {PROTOCOL_VERSION};\n"),
        format!("/* {} bytes: code[1]", ChatHeader::AAD_LEN),
        format!("`{}`", str::from_utf8(ALPN).unwrap()),
        format!("`{suite}`"),
    ] {
        assert!(document.contains(&part), "{part:?} is not in the document");
    }
}

#[test]
fn sizes() {
    let real = sizes_in_the_code();
    assert_eq!(real.len(), constants(&["crates/protocol/src/limits.rs"], None).len(), "a limit is missing here");
    assert_eq!(numbers("### Sizes and counts"), real);
}

#[test]
fn the_mls_profile() {
    let real = constants(&["crates/e2e/src/profile.rs"], Some(&sizes_in_the_code()));
    assert_eq!(numbers("### Reach of the ratchets"), real);
}

#[test]
fn timers_and_queues_of_a_client() {
    let sources =
        ["machine.rs", "machine/connection.rs", "machine/talking.rs", "conversation.rs", "connect.rs", "driver.rs"];
    let sources = sources.map(|source| format!("crates/client/src/{source}"));
    let real = constants(&sources.each_ref().map(String::as_str), Some(&sizes_in_the_code()));
    assert_eq!(numbers("### Timers and queues of a client"), real);
}

#[test]
fn timers_and_queues_of_a_server() {
    let config = read("crates/server/src/config.rs");
    let (_, defaults) = config.split_once("    pub fn new(name: ServerName) -> Self {\n        Self {\n").unwrap();
    let (defaults, _) = defaults.split_once("        }\n").unwrap();
    let mut real = Numbers::new();
    let texts = [
        "listen",
        "metrics",
        "log",
        "directory",
        "directory_password_file",
        "router",
        "router_ca",
        "router_credentials",
        "cluster",
    ];
    for line in defaults.lines().filter(|line| !line.contains("name,")) {
        let (key, default) = line.trim().trim_end_matches(',').split_once(": ").unwrap();
        if !texts.contains(&key) {
            real.insert(key.to_owned(), evaluate(default, &Numbers::new()));
        }
    }
    assert_eq!(numbers("### Settings of a server"), real);

    let sources = ["admission.rs", "config.rs", "connection.rs", "gate.rs", "mailbox.rs", "session.rs"];
    let sources = sources.map(|source| format!("crates/server/src/{source}"));
    let real = constants(&sources.each_ref().map(String::as_str), Some(&sizes_in_the_code()));
    assert_eq!(numbers("### Constants of a server"), real);
}

#[test]
fn timers_and_queues_between_nodes() {
    let sources = ["crates/server/src/cluster/leases.rs", "crates/server/src/router/links.rs"];
    assert_eq!(numbers("### Words"), constants(&sources, Some(&Numbers::new())));
}

macro_rules! limits {
    ($($name:ident),* $(,)?) => {
        [$((stringify!($name).to_owned(), limits::$name as u64)),*].into()
    };
}

fn sizes_in_the_code() -> Numbers {
    limits!(
        MAX_FRAME,
        MAX_TEXT,
        MAX_NAME,
        MAX_SERVER_NAME,
        MAX_PAGE,
        PADDING,
        WINDOW_FRAMES,
        WINDOW_BYTES,
        MAX_COUNTER,
        RENEW_AFTER_MESSAGES,
        RENEW_AFTER_SECONDS,
    )
}

/// The rows of the first table below a heading of the document, without their backticks.
fn table(heading: &str) -> Vec<Vec<String>> {
    let document = read("docs/protocol.md");
    let mut lines =
        document.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with('#'));
    let rows = lines.by_ref().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    let rows: Vec<Vec<String>> = rows.skip(2).map(cells).collect();
    assert!(!rows.is_empty(), "no table below {heading}");
    rows
}

/// A table whose first two columns are a name and a number.
fn numbers(heading: &str) -> Numbers {
    let number = |cell: &str| {
        let (number, unit) = cell.split_once(' ').unwrap_or((cell, ""));
        let number: u64 = number.replace(',', "").parse().unwrap_or_else(|_| panic!("no number: {cell}"));
        match unit {
            "s" => number * 1000,
            "ms" | "" => number,
            _ => panic!("no unit: {cell}"),
        }
    };
    table(heading).into_iter().map(|row| (row[0].clone(), number(&row[1]))).collect()
}

/// The constants of these sources that are numbers or times. Their values are left at 0 if `known` is `None`;
/// otherwise they may refer to those in `known` and to each other, in order.
fn constants(sources: &[&str], known: Option<&Numbers>) -> Numbers {
    let mut found = Numbers::new();
    for source in sources {
        for line in read(source).lines() {
            let line =
                line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
            let Some((name, rest)) = line.strip_prefix("const ").and_then(|line| line.split_once(": ")) else {
                continue;
            };
            let (kind, expression) = rest.split_once(" = ").unwrap_or((rest, ""));
            if ["Duration", "usize", "u16", "u32", "u64"].contains(&kind) {
                let value = known.map_or(0, |known| {
                    let known = known.iter().chain(&found).map(|(name, value)| (name.clone(), *value)).collect();
                    evaluate(expression.trim_end_matches(';'), &known)
                });
                assert!(found.insert(name.to_owned(), value).is_none(), "{name} is there twice");
            }
        }
    }
    found
}

/// As much of Rust's expressions as constants are written in.
fn evaluate(expression: &str, known: &Numbers) -> u64 {
    let inside = |call: &str| expression.strip_prefix(call).and_then(|rest| rest.strip_suffix(')'));
    if let Some(seconds) = inside("Duration::from_secs(") {
        return evaluate(seconds, known) * 1000;
    }
    if let Some(milliseconds) = inside("Duration::from_millis(") {
        return evaluate(milliseconds, known);
    }
    let sides = |operator| expression.split_once(operator).map(|(a, b)| (evaluate(a, known), evaluate(b, known)));
    if let Some((a, b)) = sides(" << ") {
        return a << b;
    }
    if let Some((a, b)) = sides(" * ") {
        return a * b;
    }
    if let Some((a, b)) = sides(" / ") {
        return a / b;
    }
    let atom = expression.trim_end_matches(" as u32");
    let name = atom.rsplit("::").next().unwrap_or(atom);
    let number = atom.replace('_', "").parse().ok();
    number.or_else(|| known.get(name).copied()).unwrap_or_else(|| panic!("what is {expression}?"))
}
