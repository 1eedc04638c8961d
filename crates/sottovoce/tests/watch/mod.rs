//! What an operator's programs see of a server: its HTTP endpoint and `sottovoce server status`.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::common::{PATIENCE, PROGRAM, World, now, sentence};

/// Metrics on whatever port is free.
pub(crate) const ANY_PORT: &str = "metrics = \"127.0.0.1:0\"";

/// What an HTTP server answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// The port of the server's metrics.
pub(crate) fn port(world: &World) -> u16 {
    let (status, _) = status(&world.server_dir());
    u16::try_from(status["metrics_port"].as_u64().unwrap_or_else(|| panic!("{status}"))).unwrap()
}

/// Asks for a path as Prometheus would.
pub(crate) fn get(port: u16, path: &str) -> Answer {
    ask(port, &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n\r\n"))
}

/// Sends these words and reads the answer, up to the end of the connection.
pub(crate) fn ask(port: u16, request: &str) -> Answer {
    let mut socket = connect(port);
    socket.write_all(request.as_bytes()).unwrap();
    answer(&mut socket)
}

pub(crate) fn connect(port: u16) -> TcpStream {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Reads an answer.
pub(crate) fn answer(socket: &mut TcpStream) -> Answer {
    let mut text = Vec::new();
    socket.read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let (first, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let (version, status) = first.split_once(' ').unwrap();
    assert!(["HTTP/1.0", "HTTP/1.1"].contains(&version), "{first}");
    let status = status.split(' ').next().unwrap().parse().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_lowercase(), value.to_owned())
    };
    Answer { status, headers: headers.lines().map(header).collect(), body: body.to_owned() }
}

/// The metrics, each sample by its name with its labels, once they are what is waited for: a client may know of
/// something before the server has counted it.
pub(crate) fn until(port: u16, is_there: impl Fn(&BTreeMap<String, f64>) -> bool) -> BTreeMap<String, f64> {
    let begin = now();
    loop {
        let answer = get(port, "/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        let samples = samples(&answer.body);
        if is_there(&samples) {
            return samples;
        }
        assert!(begin.elapsed() < PATIENCE, "not in {PATIENCE:?}: {samples:#?}");
    }
}

/// The samples of a page, which has to be as OpenMetrics 1.0 wants it, each family with what it means.
pub(crate) fn samples(page: &str) -> BTreeMap<String, f64> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let lines = page.strip_suffix("# EOF\n").expect("the end is marked");
    assert!(lines.ends_with('\n') && !lines.contains("# EOF") && !lines.contains('\r'), "{page}");
    let (mut families, mut found) = (BTreeMap::new(), BTreeMap::new());
    let (mut family, mut kind) = (String::new(), String::new());
    let mut helped = None;
    for line in lines.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let [what, name, text] = comment.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert!(is_name(name) && name.starts_with("sottovoce_") && !text.is_empty(), "{line}");
            match what {
                "HELP" => helped = Some(name),
                "TYPE" => {
                    assert_eq!(helped.take(), Some(name), "what it means comes first, and once: {line}");
                    assert!(["counter", "gauge", "info"].contains(&text), "{line}");
                    (family, kind) = (name.to_owned(), text.to_owned());
                    assert_eq!(families.insert(family.clone(), 0), None, "{line}: a family is in one piece");
                }
                "UNIT" => assert!(name == family && name.ends_with(&format!("_{text}")), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        let suffix = match kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        assert_eq!(name, format!("{family}{suffix}"), "{line}");
        let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once('=').unwrap();
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap();
            assert!(is_name(label) && !value.contains(['"', '\\', '\n']), "{line}");
        }
        let value: f64 = value.parse().unwrap();
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert_eq!(found.insert(sample.to_owned(), value), None, "{line}: once");
        *families.get_mut(&family).unwrap() += 1;
    }
    assert!(families.values().all(|count| *count > 0) && families.len() > 15, "{families:?}");
    found
}

/// What `server status --json` says, and its exit code.
pub(crate) fn status(dir: &Path) -> (Value, i32) {
    let (stdout, code, stderr) = run_status(dir, &["--json"]);
    assert_eq!(stdout.lines().count(), 1, "{stdout}{stderr}");
    (serde_json::from_str(&stdout).unwrap(), code)
}

/// What `server status` prints, its exit code, and the line that says why it failed.
pub(crate) fn run_status(dir: &Path, arguments: &[&str]) -> (String, i32, String) {
    let mut command = Command::new(PROGRAM);
    let output =
        command.args(["server", "status", "--dir"]).arg(dir).args(arguments).stdin(Stdio::null()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let code = output.status.code().unwrap();
    let why = if code == 0 { stderr } else { sentence(&stderr) };
    assert_eq!(why.is_empty(), code == 0, "{why}");
    (stdout, code, why)
}
