//! The service's unit file: that systemd takes it, how little it leaves to the server, and that the server never asks for
//! more. What the server asks of the system is written down by `strace` while people chat; that a machine with systemd
//! enforces the rest is systemd's affair.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may panic, and say what it left out"
)]

mod common;
mod people;
mod raw;
mod watch;

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use common::{PATIENCE, PROGRAM, World, ok, read_to_end, signal, talk};
use raw::{Holder, drain, socket};
use rustix::process::{Signal, geteuid};

/// Points of exposure that `systemd-analyze security` may count, of 100. What is left is for what a relay is there for,
/// the network, and for a root directory of its own.
const EXPOSURE: u32 = 11;
/// The user `nobody`.
const NOBODY: u32 = 65_534;

#[test]
fn systemd_takes_the_unit() {
    let unit = read(&unit_path());
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("sottovoce.service");
    fs::write(&copy, unit.replace("/usr/local/bin/sottovoce ", &format!("{PROGRAM} "))).unwrap();
    let Some(output) = analyze(&["verify", copy.to_str().unwrap()]) else { return };
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{told}");
}

#[test]
fn the_unit_leaves_the_server_next_to_nothing() {
    let path = unit_path();
    let threshold = format!("--threshold={EXPOSURE}");
    let Some(output) = analyze(&["security", "--offline=true", "--no-pager", &threshold, path.to_str().unwrap()])
    else {
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_units_limits_are_above_those_of_the_servers_settings() {
    let limits = server::config::Config::new("localhost".parse().unwrap());
    let unit = read(&unit_path());
    let files: usize = setting(&unit, "LimitNOFILE").parse().unwrap();
    assert!(files > 2 * limits.max_connections, "{files}");
    let stop: u64 = setting(&unit, "TimeoutStopSec").strip_suffix('s').unwrap().parse().unwrap();
    let drain = limits.drain_delay + limits.drain_time + limits.shutdown_timeout;
    // As long as any drain that the settings' comments have in mind.
    assert!(Duration::from_secs(stop) >= drain + Duration::from_secs(60), "{stop}");
    assert_eq!(setting(&unit, "LimitCORE"), "0");
}

#[test]
fn the_unit_never_gives_the_server_up() {
    let unit = read(&unit_path());
    assert_eq!((setting(&unit, "Restart"), setting(&unit, "StartLimitIntervalSec")), ("on-failure", "0"));
    assert_ne!(setting(&unit, "RestartSec"), "0", "nor starts it in a loop that takes all of a processor");
}

#[test]
fn the_server_never_asks_for_what_the_unit_forbids() {
    let Some(allowed) = allowed_calls(&read(&unit_path())) else { return };
    if !is_there("strace") {
        return;
    }
    let (folder, calls) = story();
    assert!(calls.len() > 1000, "only {}", calls.len());
    // Where a thread is ended in the midst of a call, strace comes too late to see which it was, and writes this.
    let is_seen = |name: &&str| *name != "???";
    let made: BTreeSet<_> = calls.iter().map(|call| call.name.as_str()).filter(is_seen).collect();
    let forbidden: Vec<_> = made.iter().filter(|name| !allowed.contains(**name)).collect();
    assert!(forbidden.is_empty(), "{forbidden:?} are not among the calls that the unit allows");
    assert!(["accept4", "futex", "openat", "socket"].iter().all(|name| made.contains(name)), "{made:?}");

    let status = server::operator::status::path(&folder).into_os_string().into_string().unwrap();
    for Call { name, text } in &calls {
        match name.as_str() {
            // NoExecPaths, and nothing else to run.
            "execve" => assert!(text.contains("sottovoce"), "{text}"),
            // The relay is called, and calls nobody.
            "connect" => panic!("{text}"),
            "socket" => {
                let is_allowed = ["AF_INET", "AF_UNIX"].iter().any(|family| text.contains(family));
                assert!(is_allowed, "RestrictAddressFamilies: {text}");
            }
            "mmap" => assert!(!text.contains("PROT_WRITE|PROT_EXEC"), "MemoryDenyWriteExecute: {text}"),
            "mprotect" | "pkey_mprotect" => assert!(!text.contains("PROT_EXEC"), "MemoryDenyWriteExecute: {text}"),
            "clone" | "clone3" | "unshare" | "setns" => {
                assert!(!text.contains("CLONE_NEW"), "RestrictNamespaces: {text}");
            }
            // ProtectSystem and ReadOnlyPaths: the database and its companions, and nothing else.
            "openat" | "open" | "creat" if ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| text.contains(flag)) => {
                let database = format!("\"{}", server::setup::directory_path(&folder).display());
                assert!(text.contains(&database) || text.contains("\"/dev/null\""), "{text}");
            }
            // The socket that the server's status is asked at, in its own folder.
            "rename" | "renameat" | "renameat2" | "chmod" | "fchmodat" if text.contains(&status) => {}
            "rename" | "renameat" | "renameat2" | "mkdir" | "mkdirat" | "symlink" | "link" | "chmod" | "fchmod"
            | "fchmodat" => {
                panic!("{text}")
            }
            "unlink" | "unlinkat" => assert!(text.contains("directory.db-") || text.contains(&status), "{text}"),
            _ => {}
        }
        assert!(!text.contains("ca.key"), "InaccessiblePaths: {text}");
    }
}

/// What a server is asked to do, as a user without privileges and without the authority's key: its folder, and all calls
/// that it made.
fn story() -> (PathBuf, Vec<Call>) {
    let mut world = World::with(watch::ANY_PORT);
    world.user("alice");
    world.user("bob");
    world.goes(Signal::TERM);
    // What the unit does for it: a user of its own, files that it cannot write, no key of the authority, and a program
    // that it can reach.
    let (folder, program) = (world.server_dir(), world.dir.path().join("sottovoce"));
    fs::remove_file(folder.join("ca.key")).unwrap();
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    ok(Command::new("cp").arg(PROGRAM).arg(&program));
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-qq", "-s", "256", "-e", "signal=none", "-o"]).arg(world.dir.path().join("calls"));
    if geteuid().is_root() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).chain([folder.clone()]) {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        strace.args(["-u", "nobody"]);
    }
    for name in ["server.key", "server.pem", "server.toml"] {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o400)).unwrap();
    }
    let address = world.address.clone();
    strace.arg(&program).args(["server", "run", "--listen", &address, "--dir"]).arg(&folder);
    world.server = strace.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Ends when both the server and the one who watches it have.
    let log = read_to_end(world.server.stderr.take().unwrap());
    let mut line = String::new();
    BufReader::new(world.server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on "), "{line:?}: {:?}", log.try_recv());

    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    alice.lists();
    talk(&mut alice, &mut bob, "bob");
    for number in 0..60 {
        alice.says(&format!("{number}"));
        assert_eq!(bob.expect("message")["n"], number);
    }
    alice.expect("renewed");
    bob.process.kill().unwrap();
    alice.expect("peer_away");
    // The operator adds somebody, and removes somebody, while it runs.
    world.user("carol");
    let carol = world.log_in("carol");
    world.administer("remove", "alice", None);
    assert_eq!(alice.failed().0, "unknown_user");
    // Somebody looks at it.
    let (told, code) = watch::status(&folder);
    assert_eq!(code, 0, "{told}");
    assert_eq!(watch::get(watch::port(&world), "/metrics").status, 200);
    let stranger = Holder::stranger(&world, "dora");
    stranger.connect().say(&protocol::ToServer::Ping);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 3, 1, 0, 1, 1]] {
        let mut socket = socket(people::port_of(&world));
        socket.write_all(garbage).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        drain(&mut socket);
    }
    signal(&world.server, Signal::TERM);
    let log = log.recv_timeout(PATIENCE).expect("the server stops");
    assert_eq!(world.server.wait().unwrap().code(), Some(0), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
    drop(carol);
    (folder, calls(&read(&world.dir.path().join("calls"))))
}

#[derive(Debug)]
struct Call {
    name: String,
    text: String,
}

/// Reads what `strace` wrote: `PID name(arguments) = result`. A call that another one's line comes into goes on in a line
/// `PID <... name resumed>`, which adds nothing here.
fn calls(trace: &str) -> Vec<Call> {
    let call = |line: &str| {
        let text = line.split_once(' ')?.1.trim_start();
        let (name, _) = text.split_once('(').filter(|_| !text.starts_with('<'))?;
        Some(Call { name: name.to_owned(), text: text.to_owned() })
    };
    trace.lines().filter_map(call).collect()
}

/// The calls that the unit's filter lets through; `None` where systemd is not there to say what its sets hold.
fn allowed_calls(unit: &str) -> Option<BTreeSet<String>> {
    // Always let through.
    let mut allowed = members("@default")?;
    for filter in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (is_off, names) = filter.strip_prefix('~').map_or((false, filter), |names| (true, names));
        for name in names.split(' ') {
            let set = if name.starts_with('@') { members(name)? } else { [name.to_owned()].into() };
            for call in set {
                if is_off {
                    allowed.remove(&call)
                } else {
                    allowed.insert(call)
                };
            }
        }
    }
    Some(allowed)
}

/// The calls in one of systemd's sets.
fn members(set: &str) -> Option<BTreeSet<String>> {
    let output = analyze(&["--no-pager", "syscall-filter", set])?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut calls = BTreeSet::new();
    for line in String::from_utf8(output.stdout).unwrap().lines().skip(1).map(str::trim) {
        match line.chars().next() {
            None | Some('#') => {}
            Some('@') => calls.extend(members(line)?),
            Some(_) => _ = calls.insert(line.to_owned()),
        }
    }
    Some(calls)
}

/// Runs `systemd-analyze`, if the machine has it.
fn analyze(arguments: &[&str]) -> Option<Output> {
    is_there("systemd-analyze")
        .then(|| Command::new("systemd-analyze").args(arguments).stdin(Stdio::null()).output().unwrap())
}

fn is_there(program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").stdin(Stdio::null()).output().is_ok();
    assert!(is_there || env::var_os("CI").is_none(), "{program} is not installed, and this machine's word counts");
    if !is_there {
        eprintln!("left out: {program} is not installed");
    }
    is_there
}

fn setting<'a>(unit: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}=");
    unit.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("no {name}"))
}

fn unit_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/sottovoce.service")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
