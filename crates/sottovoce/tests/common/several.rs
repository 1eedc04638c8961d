//! A world whose server is several nodes: processes that share their users through NATS and PostgreSQL, and a balancer that
//! their users dial.
#![allow(clippy::print_stderr, reason = "a test says what it skips, and what was the matter")]

pub(crate) mod nats;
#[path = "../../../server/tests/postgres/mod.rs"]
pub(crate) mod postgres;
pub(crate) mod proxy;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::Arc,
    thread,
};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{World, run_server_telling, signal};
use nats::Nats;
use postgres::Postgres;
use proxy::Proxy;

/// The nodes that a test binary's worlds are of when it does not say.
const NODES_OF_A_STORY: usize = 3;
/// Lines of a node's log that are shown when a test fails.
const SHOWN: usize = 60;

/// What a world of several nodes has besides the process of the first.
pub(crate) struct Several {
    pub(crate) nats: Nats,
    /// What users dial.
    pub(crate) balancer: Proxy,
    /// The way of each node to NATS.
    pub(crate) wires: Vec<Proxy>,
    /// Where each node listens.
    addresses: Vec<String>,
    /// The processes of all nodes but the first.
    others: Vec<Child>,
    /// What the directory is in, unless the test has it.
    postgres: Option<Arc<Postgres>>,
}

impl World {
    /// A server that is so many nodes, each with these settings. `None`, saying so, where NATS or PostgreSQL is missing; a
    /// failure on a machine whose word counts.
    pub(crate) fn of_nodes(count: usize, settings: &str) -> Option<Self> {
        Self::of_nodes_at("localhost", count, settings)
    }

    /// The nodes of a test binary in which all worlds are of several, if this is one and it can be done. The others have the
    /// same tests with one server.
    pub(super) fn where_all_are_of_nodes(host: &str, settings: &str) -> Option<Self> {
        env!("CARGO_CRATE_NAME")
            .ends_with("_of_nodes")
            .then(|| Self::of_nodes_at(host, NODES_OF_A_STORY, settings))
            .flatten()
    }

    fn of_nodes_at(host: &str, count: usize, settings: &str) -> Option<Self> {
        let postgres = Postgres::shared()?;
        let mut world = Self::of_nodes_with(&postgres, host, count, settings)?;
        world.several_mut().postgres = Some(postgres);
        Some(world)
    }

    /// The same, with this PostgreSQL.
    pub(crate) fn of_nodes_with(postgres: &Postgres, host: &str, count: usize, settings: &str) -> Option<Self> {
        let nats = Nats::start()?;
        let wires: Vec<_> = (0..count).map(|_| Proxy::before(&[nats.port()])).collect();
        let dir = Self::init(host, settings, Some(postgres));
        let first = dir.path().join("server");
        for (node, wire) in wires.iter().enumerate().rev() {
            let folder = folder(&dir, node);
            if node > 0 {
                copy(&first, &folder);
            }
            let router = format!("router = \"nats://127.0.0.1:{}\"", wire.port());
            set(&folder, &router);
        }
        let mut started: Vec<_> = (0..count).map(|node| start(&dir, node)).collect();
        let addresses: Vec<_> = started.iter().map(|(_, address)| address.clone()).collect();
        let balancer = Proxy::before(&addresses.iter().map(|address| port_in(address)).collect::<Vec<_>>());
        let address = format!("127.0.0.1:{}", balancer.port());
        let (server, _) = started.remove(0);
        let others = started.into_iter().map(|(process, _)| process).collect();
        let several = Some(Several { nats, balancer, wires, addresses, others, postgres: None });
        Some(Self { dir, address, server, several })
    }

    /// What it has besides the first node.
    #[track_caller]
    pub(crate) fn several(&self) -> &Several {
        self.several.as_ref().expect("a world of several nodes")
    }

    #[track_caller]
    fn several_mut(&mut self) -> &mut Several {
        self.several.as_mut().expect("a world of several nodes")
    }

    /// The port of node `node`, without the balancer.
    pub(crate) fn port_of_node(&self, node: usize) -> u16 {
        port_in(&self.several().addresses[node])
    }

    pub(crate) fn dir_of_node(&self, node: usize) -> PathBuf {
        folder(&self.dir, node)
    }

    /// All that node `node` has logged.
    pub(crate) fn log_of_node(&self, node: usize) -> String {
        fs::read_to_string(log(&self.dir, node)).unwrap()
    }

    /// The process of node `node`.
    pub(crate) fn node(&self, node: usize) -> &Child {
        match node.checked_sub(1) {
            None => &self.server,
            Some(other) => &self.several().others[other],
        }
    }

    fn node_mut(&mut self, node: usize) -> &mut Child {
        match node.checked_sub(1) {
            None => &mut self.server,
            Some(other) => &mut self.several_mut().others[other],
        }
    }

    /// Sends node `node` a signal that ends it, and waits for the end.
    pub(crate) fn node_goes(&mut self, node: usize, how: Signal) {
        signal(self.node(node), how);
        self.node_mut(node).wait().unwrap();
    }

    /// Starts node `node` again.
    pub(crate) fn node_is_back(&mut self, node: usize) {
        let (process, address) = start(&self.dir, node);
        *self.node_mut(node) = process;
        let several = self.several_mut();
        several.balancer.leads_to(node, port_in(&address));
        several.addresses[node] = address;
    }

    /// Stops node `node` for a while: it takes part in nothing, but its connections stand. The balancer sees that.
    pub(crate) fn node_stops(&self, node: usize) {
        self.several().balancer.in_service(node, false);
        signal(self.node(node), Signal::STOP);
    }

    pub(crate) fn node_goes_on(&self, node: usize) {
        signal(self.node(node), Signal::CONT);
        self.several().balancer.in_service(node, true);
    }

    pub(crate) fn nats_goes(&mut self, how: Signal) {
        self.several_mut().nats.goes(how);
    }

    /// Starts NATS again, which remembers nothing.
    pub(crate) fn nats_is_back(&mut self) {
        let several = self.several_mut();
        several.nats.is_back();
        for wire in &several.wires {
            wire.leads_to(0, several.nats.port());
        }
    }

    /// Ends all nodes.
    pub(super) fn all_nodes_go(&mut self, how: Signal) {
        for node in 0..self.several().wires.len() {
            self.node_goes(node, how);
        }
    }

    pub(super) fn all_nodes_are_back(&mut self) {
        for node in 0..self.several().wires.len() {
            self.node_is_back(node);
        }
    }

    /// In a test of several nodes that went well, all of them have had users.
    pub(super) fn ends_as_nodes(&mut self) {
        let dir = &self.dir;
        let Some(several) = &mut self.several else { return };
        for process in &mut several.others {
            let _ = process.kill();
            let _ = process.wait();
        }
        let carried = several.balancer.carried();
        if thread::panicking() {
            for (node, carried) in carried.iter().enumerate() {
                let text = fs::read_to_string(log(dir, node)).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                eprintln!("node {node}, connections {carried}:");
                lines[lines.len().saturating_sub(SHOWN)..].iter().for_each(|line| eprintln!("    {line}"));
            }
        } else if env!("CARGO_CRATE_NAME").ends_with("_of_nodes") && carried.iter().sum::<usize>() >= carried.len() {
            assert!(carried.iter().all(|count| *count > 0), "a node was never used: {carried:?}");
        }
    }
}

fn folder(dir: &TempDir, node: usize) -> PathBuf {
    match node {
        0 => dir.path().join("server"),
        _ => dir.path().join(format!("server-{node}")),
    }
}

fn log(dir: &TempDir, node: usize) -> PathBuf {
    folder(dir, node).join("log")
}

/// Makes another node's folder.
pub(crate) fn copy(first: &Path, folder: &Path) {
    fs::create_dir(folder).unwrap();
    for file in ["ca.pem", "server.pem", "server.key", "server.toml"] {
        fs::copy(first.join(file), folder.join(file)).unwrap();
    }
}

/// Adds settings to those of a folder.
pub(crate) fn set(folder: &Path, settings: &str) {
    let path = folder.join("server.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n{settings}\n")).unwrap();
}

fn start(dir: &TempDir, node: usize) -> (Child, String) {
    let file = fs::File::options().append(true).create(true).open(log(dir, node)).unwrap();
    run_server_telling(&folder(dir, node), "127.0.0.1:0", Stdio::from(file))
}

pub(crate) fn port_in(address: &str) -> u16 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}
