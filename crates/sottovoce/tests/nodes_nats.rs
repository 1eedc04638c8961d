//! Nodes at NATS as an operator has it: three servers that keep the bucket together, TLS, and a user that may do what
//! docs/operating.md lists and nothing else (B9).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    reason = "a test may panic, and say what was the matter"
)]

mod common;
mod watch;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::SystemTime,
};

use common::{
    Client, PATIENCE, PROGRAM, World, now,
    several::{copy, nats::Nats, port_in, postgres::Postgres, proxy::Proxy},
    talk,
};
use rustix::process::Signal;
use watch::ask;

const SERVERS: usize = 3;
const PASSWORD: &str = "swordfish: \\ and a space";

/// Three NATS servers that are one.
struct Servers {
    all: Vec<Nats>,
    /// For clients, for each other, and for whoever watches them.
    ports: Vec<u16>,
    /// The authority that vouches for them.
    authority: String,
}

impl Servers {
    fn start(permissions: &str) -> Option<Self> {
        let ports: Vec<_> = free_ports(3 * SERVERS);
        #[expect(clippy::disallowed_methods, reason = "a certificate's time begins with the clock's")]
        let now = SystemTime::now();
        let host = "localhost".parse().unwrap();
        let authority = identity::make_authority(&host, now).unwrap();
        let routes: Vec<_> =
            ports[SERVERS..2 * SERVERS].iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let all: Option<Vec<_>> = (0..SERVERS)
            .map(|place| {
                Nats::with(|dir| {
                    let (chain, key) = identity::issue(&authority, &host, now).unwrap();
                    fs::write(dir.join("cert.pem"), chain).unwrap();
                    fs::write(dir.join("key.pem"), key.as_bytes()).unwrap();
                    format!(
                        "port: {}\nhttp: \"127.0.0.1:{}\"\nserver_name: nats-{place}\n\
                         jetstream {{ store_dir: {dir:?}, max_memory_store: 64MB }}\n\
                         tls {{ cert_file: {:?}, key_file: {:?} }}\n\
                         cluster {{ name: three, listen: \"127.0.0.1:{}\", routes: {routes:?} }}\n\
                         authorization {{ users: [ {{ user: node, password: {PASSWORD:?}, {permissions} }} ] }}",
                        ports[place],
                        ports[2 * SERVERS + place],
                        dir.join("cert.pem"),
                        dir.join("key.pem"),
                        ports[SERVERS + place],
                    )
                })
            })
            .collect();
        Some(Self { all: all?, ports, authority: authority.certificate_pem })
    }

    /// Waits until each has all that the others have.
    fn are_current(&self) {
        let begin = now();
        while self.ports[2 * SERVERS..].iter().any(|port| ask(*port, "GET /healthz HTTP/1.0\r\n\r\n").status != 200) {
            assert!(begin.elapsed() < PATIENCE, "the NATS servers do not agree");
        }
    }

    /// What a node's settings say of them.
    fn settings(&self) -> String {
        let addresses: Vec<_> = self.ports[..SERVERS].iter().map(|port| format!("tls://localhost:{port}")).collect();
        format!(
            "metrics = \"off\"\nrouter = \"{}\"\nrouter_replicas = {SERVERS}\n\
             router_ca = \"nats.pem\"\nrouter_credentials = \"nats-user\"",
            addresses.join(", ")
        )
    }

    /// Puts the files that the settings name into a node's folder.
    fn lets_in(&self, folder: &Path) {
        fs::write(folder.join("nats.pem"), &self.authority).unwrap();
        secret(&folder.join("nats-user"), &format!("node\n{PASSWORD}\n"));
    }
}

/// What docs/operating.md tells operators to put into NATS's configuration.
fn documented() -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating.md")).unwrap();
    let (_, list) = page.split_once("permissions: {").expect("the page lists permissions");
    let (block, _) = list.split_once("```").unwrap();
    format!("permissions: {{{block}")
}

/// Two nodes at these NATS servers, and a balancer before them.
struct Nodes {
    world: World,
    balancer: Proxy,
    second: Child,
    _postgres: Arc<Postgres>,
}

impl Nodes {
    fn start(servers: &Servers) -> Option<Self> {
        let postgres = Postgres::shared()?;
        let dir = World::init("localhost", &servers.settings(), Some(&postgres));
        let folders = ["server", "second"].map(|folder| dir.path().join(folder));
        copy(&folders[0], &folders[1]);
        for folder in &folders {
            servers.lets_in(folder);
        }
        let [(server, first), (second, other)] = folders.each_ref().map(|folder| run(folder));
        let balancer = Proxy::before(&[port_in(&first), port_in(&other)]);
        let world = World::around(dir, server, format!("127.0.0.1:{}", balancer.port()));
        Some(Self { world, balancer, second, _postgres: postgres })
    }

    fn logs(&self) -> [String; 2] {
        ["server", "second"].map(|folder| fs::read_to_string(self.world.dir.path().join(folder).join("log")).unwrap())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let _ = self.second.kill();
        let _ = self.second.wait();
        if thread::panicking() {
            self.logs().iter().for_each(|log| eprintln!("a node says:\n{log}"));
        }
    }
}

/// Starts a node; again, as a service would be, as long as the NATS servers have not agreed who leads them.
fn run(folder: &Path) -> (Child, String) {
    let begin = now();
    loop {
        let log = fs::File::options().append(true).create(true).open(folder.join("log")).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["server", "run", "--listen", "127.0.0.1:0", "--dir"]).arg(folder);
        let mut node = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(node.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if let Some(address) = line.trim().strip_prefix("listening on ") {
            return (node, address.to_owned());
        }
        node.wait().unwrap();
        assert!(begin.elapsed() < PATIENCE, "{}", fs::read_to_string(folder.join("log")).unwrap());
    }
}

fn secret(path: &Path, text: &str) {
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

fn free_ports(count: usize) -> Vec<u16> {
    let all: Vec<_> = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    all.iter().map(|one| one.local_addr().unwrap().port()).collect()
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

#[test]
fn a_chat_outlives_each_of_three_servers_over_tls_with_no_more_than_the_listed_permissions() {
    let Some(mut servers) = Servers::start(&documented()) else { return };
    let Some(nodes) = Nodes::start(&servers) else { return };
    let world = &nodes.world;
    for name in ["alice", "bob", "carol"] {
        world.user(name);
    }
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| world.log_in(name));
    assert_eq!(nodes.balancer.carried(), [1, 1]);
    talk(&mut alice, &mut bob, "bob");
    for server in 0..SERVERS {
        servers.are_current();
        servers.all[server].goes(Signal::KILL);
        says_and_is_heard(&mut alice, &mut bob, &format!("{server} is gone"));
        says_and_is_heard(&mut bob, &mut alice, &format!("{server} is gone, yes"));
        // Two of three are enough to let somebody in, once they have agreed who leads them.
        let begin = now();
        while !logs_in(world, "carol") {
            assert!(begin.elapsed() < PATIENCE);
        }
        servers.all[server].is_back();
    }
    let logs =
        ["server", "second"].map(|folder| fs::read_to_string(world.dir.path().join(folder).join("log")).unwrap());
    for log in logs {
        assert!(!log.contains("complains"), "what is listed is enough: {log}");
        assert!(["alice", "bob", "carol"].iter().all(|name| !log.contains(name)), "{log}");
    }
}

#[test]
fn a_node_that_may_not_say_who_is_online_lets_nobody_in_and_names_nobody() {
    let listed = documented();
    let narrow = listed
        .replace("\"$KV.sottovoce_presence.>\"", "\"$KV.sottovoce_presence.node.>\", \"$KV.sottovoce_presence.owner\"");
    assert_ne!(narrow, listed);
    let Some(servers) = Servers::start(&narrow) else { return };
    let Some(nodes) = Nodes::start(&servers) else { return };
    nodes.world.user("alice");
    assert!(!logs_in(&nodes.world, "alice"));
    let logs = nodes.logs();
    assert!(logs.iter().any(|log| log.contains("the router's server complains")), "{logs:#?}");
    // As NATS says it in full.
    let name: String = "alice".bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(logs.iter().all(|log| !log.contains("alice") && !log.contains(&name)), "{logs:#?}");
}

/// Whether somebody gets in, and if so leaves again.
fn logs_in(world: &World, name: &str) -> bool {
    let mut client = world.client(name);
    client.types("--ex");
    client.rest().iter().any(|event| event["event"] == "logged_in")
}
