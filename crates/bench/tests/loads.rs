//! The load generator as it is run: at the real relay, and at the bare pipe.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::SystemTime,
};

use serde_json::Value;
use server::{Server, config::Config, directory::Directory, setup};
use tokio_util::sync::CancellationToken;

const BENCH: &str = env!("CARGO_BIN_EXE_bench");

#[test]
fn a_relay_that_runs_for_a_second_passes_on_every_message() {
    let (files, users) = (Files::new(), 8);
    let relay = Relay::start(&files, users);
    for served in [relay.served(), Pipe::start(&files, &[]).served(), Pipe::start(&files, &["--gather"]).served()] {
        let figures = served.load("relay --rate 300 --pairs 4 --seconds 1 --warm-up 0");
        let relayed = &figures["relayed"];
        // Those at the very end come after it.
        assert!((250..=300).contains(&relayed["messages"].as_u64().unwrap()), "{figures}");
        assert!(relayed["latency"]["p99_us"].as_f64().unwrap() > 0.0, "{figures}");
        let figures = served.load("saturated --in-flight 5 --pairs 4 --seconds 1 --warm-up 0");
        assert!(figures["relayed"]["messages"].as_u64().unwrap() > 100, "{figures}");
    }
}

#[test]
fn log_ins_and_idle_users_are_counted() {
    let (files, users) = (Files::new(), 8);
    let relay = Relay::start(&files, users);
    let pipes = ["--no-ml-kem", "--no-client-keys"];
    let classical = Pipe::start(&files, &pipes);
    for served in [relay.served(), classical.served()] {
        let figures = served.load("log-in --count 20 --users 8 --at-a-time 4");
        assert_eq!(figures["logged-in"]["count"], 20, "{figures}");
        let figures = served.load("idle --connections 8");
        assert_eq!(figures["idled"]["connections"], 8, "{figures}");
    }
}

#[test]
fn memory_is_looked_at_while_some_talk_and_others_only_show_life() {
    let (files, users) = (Files::new(), 8);
    let relay = Relay::start(&files, users);
    for served in [relay.served(), Pipe::start(&files, &[]).served()] {
        let figures = served.load("relay --rate 300 --pairs 2 --idle 4 --seconds 1 --warm-up 0");
        let relayed = &figures["relayed"];
        assert_eq!(relayed["idle"], 4, "{figures}");
        let resident: Vec<_> = relayed["resident_meanwhile"].as_array().unwrap().iter().map(Value::as_u64).collect();
        assert!(resident.len() == 2 && resident.iter().all(|bytes| *bytes > Some(1_000_000)), "{figures}");
    }
}

#[test]
fn either_choice_of_tls_is_made_by_itself() {
    let files = Files::new();
    // The generator knows the pipe with both and the one with neither: the others must be others.
    for options in [["--no-ml-kem"], ["--no-client-keys"]] {
        let pipe = Pipe::start(&files, &options);
        for system in ["pipe", "pipe-classical"] {
            let refused = Served { system, ..pipe.served() }.run("log-in --count 1 --users 1 --at-a-time 1");
            assert!(!refused.status.success(), "{options:?} {system}");
        }
    }
}

#[test]
fn a_run_in_which_a_message_was_dropped_is_refused() {
    let files = Files::new();
    // One that others come after, and the very last.
    for (dropped, what) in [("150", "lost or reordered a message"), ("300", "the server lost messages: 1 of those")] {
        let pipe = Pipe::start(&files, &["--drop-frame", dropped]);
        let refused = pipe.served().run("relay --rate 300 --pairs 4 --seconds 1 --warm-up 0");
        assert!(!refused.status.success());
        assert_eq!(refused.stdout, b"");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains(what), "{said}");
    }
}

#[test]
fn a_run_in_which_a_log_in_failed_is_refused() {
    let files = Files::new();
    let relay = Relay::start(&files, 3);
    for load in ["log-in --count 8 --users 4 --at-a-time 2", "idle --connections 4", "relay --pairs 2"] {
        let refused = relay.served().run(load);
        assert!(!refused.status.success());
        assert_eq!(refused.stdout, b"");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("user 3 did not get in"), "{said}");
    }
}

/// A server's folder, with certificates for all.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let host = "localhost".parse().unwrap();
        runtime.block_on(setup::init(&files.dir(), &host, None, now())).unwrap();
        files
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("server")
    }
}

#[expect(clippy::disallowed_methods, reason = "a certificate is valid from a date on")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// What the load generator is sent to.
struct Served<'a> {
    system: &'static str,
    address: SocketAddr,
    pid: u32,
    dir: &'a Path,
}

impl Served<'_> {
    fn run(&self, load: &str) -> Output {
        let mut command = Command::new(BENCH);
        command.args(["load", "--system", self.system, "--address", &self.address.to_string(), "--authority"]);
        command.arg(setup::ca_path(self.dir)).args(["--pid", &self.pid.to_string()]).args(load.split(' '));
        command.output().unwrap()
    }

    fn load(&self, load: &str) -> Value {
        let output = self.run(load);
        assert!(output.status.success(), "{load}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The real relay, in this process, so that no program but this crate's has to be built.
struct Relay {
    address: SocketAddr,
    dir: PathBuf,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Relay {
    fn start(files: &Files, users: u64) -> Self {
        let (dir, stop) = (files.dir(), CancellationToken::new());
        let registered =
            Command::new(BENCH).args(["register", "--users", &users.to_string(), "--dir"]).arg(&dir).status();
        assert!(registered.unwrap().success());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(async {
            let mut config = Config::new("localhost".parse().unwrap());
            config.listen = "127.0.0.1:0".parse().unwrap();
            let read = |path| fs::read(path).unwrap();
            let tls =
                identity::server_config(&read(setup::certificate_path(&dir)), &read(setup::key_path(&dir))).unwrap();
            let directory = Directory::open(&setup::directory_path(&dir)).await.unwrap();
            Server::bind(config, tls, directory, None).await.unwrap()
        });
        let address = server.local_addr().unwrap();
        let until = stop.clone();
        let thread = thread::spawn(move || runtime.block_on(server.run(until)));
        Self { address, dir, stop, thread: Some(thread) }
    }

    fn served(&self) -> Served<'_> {
        Served { system: "sottovoce", address: self.address, pid: std::process::id(), dir: &self.dir }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.cancel();
        self.thread.take().unwrap().join().unwrap();
    }
}

struct Pipe {
    child: Child,
    address: SocketAddr,
    system: &'static str,
    dir: PathBuf,
}

impl Pipe {
    fn start(files: &Files, options: &[&str]) -> Self {
        let dir = files.dir();
        let mut command = Command::new(BENCH);
        command.arg("pipe").args(options).arg("--certificate").arg(setup::certificate_path(&dir));
        let mut child = command.arg("--key").arg(setup::key_path(&dir)).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        let system = if options.contains(&"--no-client-keys") { "pipe-classical" } else { "pipe" };
        Self { child, address, system, dir }
    }

    fn served(&self) -> Served<'_> {
        Served { system: self.system, address: self.address, pid: self.child.id(), dir: &self.dir }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
