//! `scripts/cluster`, which sets up what docs/operating.md explains: a chat goes on through all that an operator does to it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    reason = "a test may panic, and say what it skips"
)]

mod common;

use std::{
    env,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use common::{
    Client, PASSWORD, PATIENCE, PROGRAM, World, now, ok,
    several::{nats, postgres},
    talk,
};
use serde_json::Value;

const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
/// Ports of a cluster, from the balancer's on.
const PORTS: u16 = 23;

/// A cluster in a folder of its own. All of it ends when this is dropped.
struct Cluster {
    dir: PathBuf,
}

impl Cluster {
    fn does(&self, words: &[&str]) -> Output {
        let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/cluster"));
        script.arg("--dir").arg(&self.dir).args(["--program", PROGRAM]).args(words);
        // Where a test has found it.
        let nats = nats::installed().unwrap();
        #[expect(clippy::disallowed_methods, reason = "where programs are, the environment says")]
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(nats.parent().unwrap().to_owned()).chain(env::split_paths(&path));
        script.env("PATH", env::join_paths(folders).unwrap()).stdin(Stdio::null()).output().unwrap()
    }

    fn is_told(&self, words: &[&str]) -> String {
        let output = self.does(words);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(output.status.success(), "{words:?}: {said}");
        said
    }

    /// What each part is doing.
    fn parts(&self) -> Vec<String> {
        self.is_told(&["ps"]).lines().map(str::to_owned).collect()
    }

    fn until_all_are_ready(&self) {
        let begin = now();
        while self.parts().iter().filter(|line| line.ends_with(", ready")).count() < NODES.len() {
            assert!(begin.elapsed() < PATIENCE, "{:?}", self.parts());
        }
    }

    fn sessions(&self, node: &str) -> Option<u64> {
        let status =
            Command::new(PROGRAM).args(["server", "status", "--json", "--dir"]).arg(self.dir.join(node)).output();
        serde_json::from_slice::<Value>(&status.unwrap().stdout).ok()?["sessions"].as_u64()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.does(&["kill", "balancer", "node-1", "node-2", "node-3", "postgres", "nats"]);
    }
}

#[test]
fn a_chat_goes_on_through_all_that_is_done_to_three_nodes() {
    if nats::installed().is_none() || postgres::installed().is_none() || !is_there("haproxy") || !is_there("python3") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // PostgreSQL, which refuses to be root, has to get through.
    ok(Command::new("chmod").arg("755").arg(dir.path()));
    std::fs::write(dir.path().join("password"), format!("{PASSWORD}\n")).unwrap();
    let cluster = Cluster { dir: dir.path().join("cluster") };
    let nothing = cluster.does(&["ps"]);
    assert!(!nothing.status.success() && String::from_utf8_lossy(&nothing.stderr).contains("there is no cluster in"));
    let port = free_ports().to_string();
    let told = cluster.is_told(&["--port", &port, "up"]);
    assert!(told.contains(&format!("behind 127.0.0.1:{port}")), "{told}");
    symlink(cluster.dir.join("node-1"), dir.path().join("server")).unwrap();
    let up = Command::new("true").spawn().unwrap();
    let world = World::around(dir, up, format!("127.0.0.1:{port}"));

    // Registered at one node, and let in by whichever the balancer chooses: of two, each at another.
    for name in ["alice", "bob"] {
        world.user(name);
    }
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| world.log_in(name));
    let mut sessions = NODES.map(|node| cluster.sessions(node).unwrap());
    sessions.sort_unstable();
    assert_eq!(sessions, [0, 1, 1]);
    talk(&mut alice, &mut bob, "bob");
    let mut count = 0;
    let mut goes_on = |what: &str| {
        count += 1;
        says_and_is_heard(&mut alice, &mut bob, &format!("{count}, alice, after {what}"));
        says_and_is_heard(&mut bob, &mut alice, &format!("{count}, bob, after {what}"));
    };
    goes_on("the beginning");
    for node in NODES {
        cluster.is_told(&["stop", node]);
        goes_on("an orderly end of a node");
        cluster.is_told(&["start", node]);
        cluster.until_all_are_ready();
    }
    for part in ["node-1", "node-2", "node-3", "nats", "balancer"] {
        cluster.is_told(&["kill", part]);
        cluster.is_told(&["start", part]);
        goes_on(part);
        cluster.until_all_are_ready();
    }
    for how in ["stop", "kill"] {
        cluster.is_told(&[how, "postgres"]);
        goes_on("the end of the directory");
        cluster.is_told(&["start", "postgres"]);
        cluster.until_all_are_ready();
    }
    assert!(cluster.is_told(&["up"]).lines().all(|line| !line.ends_with(" runs")), "all of it runs already");
    let again = cluster.does(&["start", "nats"]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("nats runs already"));
    cluster.is_told(&["down"]);
    assert!(cluster.parts().iter().all(|line| line.ends_with("does not run")), "{:?}", cluster.parts());
}

/// Whatever the two are told besides, it is no end.
fn says_and_is_heard(from: &mut Client, to: &mut Client, text: &str) {
    from.says(text);
    loop {
        let event = to.next().unwrap_or_else(|| panic!("{text:?} never comes"));
        assert_ne!(event["event"], "chat_closed", "{event}");
        if event["event"] == "message" {
            assert_eq!(event["text"], text);
            return;
        }
    }
}

fn is_there(program: &str) -> bool {
    let found =
        Command::new(program).arg("-v").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found =
        found.or_else(|_| Command::new(Path::new("/usr/sbin").join(program)).arg("-v").output().map(|it| it.status));
    #[expect(clippy::disallowed_methods, reason = "whether a test may skip, the environment says")]
    let may_skip = env::var_os("CI").is_none();
    if found.is_err() {
        assert!(may_skip, "{program} is not installed, and this machine's word counts");
        eprintln!("skipped: {program} is not installed");
    }
    found.is_ok()
}

/// The first of so many that nobody listens at, out of those that the system gives to nobody by itself.
fn free_ports() -> u16 {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let begin = 20_000 + (std::process::id() % 300) as u16 * 32;
    (begin..32_000).step_by(32).find(|port| (*port..*port + PORTS).all(|port| is_free(&port))).expect("free ports")
}
