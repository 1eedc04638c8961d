//! What it costs a node to know who is online at the others: so many users whose sessions are made up, in a real NATS.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use async_nats::jetstream::{self, kv::Store};
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use protocol::{Attempt, ClientId};
use serde::Serialize;
use server::{
    router::{Lease, Presence, VERSION},
    signal::{NodeId, SessionId},
};
use tempfile::TempDir;
use tokio::time::{MissedTickBehavior, interval};

use crate::{clock, fault::Fault, process::Process, wire::sottovoce::user_name};

/// The node at which all those users are.
const MADE_UP: NodeId = NodeId::new(u64::MAX);
const AT_A_TIME: usize = 256;
/// For anything to happen that has to.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long nothing happens.
const QUIET: Duration = Duration::from_secs(10);

/// How many.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Users who are online.
    #[arg(long, default_value_t = 100_000)]
    users: u64,
    /// The server's program.
    #[arg(long, default_value = "target/release/sottovoce")]
    program: PathBuf,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    users: u64,
    /// Bytes that a node has resident when nobody is online.
    node_empty: u64,
    /// Bytes of a node that has seen them all come.
    node_full: u64,
    /// Bytes of a node that came when all of them were there.
    second_full: u64,
    /// Seconds from that node's start until it listened.
    second_listens_after: f64,
    /// Seconds that it computed for that.
    second_cpu: f64,
    /// Bytes of NATS, with nobody and with all of them.
    nats: [u64; 2],
    /// Seconds in which all of them came, one after the other.
    came_in: f64,
    /// Seconds that the node and NATS computed meanwhile.
    coming_cpu: [f64; 2],
    /// Seconds that each of two nodes and NATS compute in ten seconds in which nothing happens.
    quiet_cpu: [f64; 3],
}

impl Options {
    /// Measures once.
    ///
    /// # Errors
    /// [`Fault`]: no figures of a run in which anything went wrong.
    pub(crate) fn run(&self) -> Result<Figures, Fault> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.measure())
    }

    async fn measure(&self) -> Result<Figures, Fault> {
        let dir = tempfile::tempdir()?;
        let nats = nats(&dir)?;
        let first = self.node(&dir, "first", nats.port)?;
        let [node_empty, nats_empty] = [first.resident()?, nats.process.resident()?];

        let url = format!("nats://127.0.0.1:{}", nats.port);
        let client = async_nats::connect(url).await.map_err(|error| Fault::program("nats-server", error))?;
        let bucket = jetstream::new(client).get_key_value("sottovoce_presence").await;
        let bucket = bucket.map_err(|error| Fault::program("nats-server", error))?;
        tokio::select! {
            fault = stays(&bucket) => Err(fault),
            figures = async {
                let (begin, before) = (clock::now(), [first.cpu()?, nats.process.cpu()?]);
                let users = stream::iter(0..self.users).map(|user| comes(&bucket, user)).buffer_unordered(AT_A_TIME);
                users.try_collect::<()>().await?;
                self.knows_all(&first).await?;
                let came_in = begin.elapsed().as_secs_f64();
                let after = [first.cpu()?, nats.process.cpu()?];
                let second = {
                    let (program, dir, port) = (self.program.clone(), dir.path().to_owned(), nats.port);
                    let started = tokio::task::spawn_blocking(move || {
                        let begin = clock::now();
                        start(&program, &dir, "second", port).map(|node| (node, begin.elapsed()))
                    });
                    started.await.map_err(|error| Fault::program("the second node", error))??
                };
                let (second, second_listens_after) = (second.0, second.1.as_secs_f64());
                self.knows_all(&second).await?;
                let second_cpu = second.cpu()?;
                let all = || Ok::<_, Fault>([first.cpu()?, second.cpu()?, nats.process.cpu()?]);
                let before_quiet = all()?;
                let _ = tokio::time::timeout(QUIET, std::future::pending::<()>()).await;
                let after_quiet = all()?;
                Ok(Figures {
                    users: self.users,
                    node_empty,
                    node_full: first.resident()?,
                    second_full: second.resident()?,
                    second_listens_after,
                    second_cpu,
                    nats: [nats_empty, nats.process.resident()?],
                    came_in,
                    coming_cpu: between(before, after),
                    quiet_cpu: between(before_quiet, after_quiet),
                })
            } => figures,
        }
    }

    fn node(&self, dir: &TempDir, name: &str, nats: u16) -> Result<Node, Fault> {
        start(&self.program, dir.path(), name, nats)
    }

    /// Waits until a node knows of all of them.
    async fn knows_all(&self, node: &Node) -> Result<(), Fault> {
        let begin = clock::now();
        while node.users()? < self.users {
            if begin.elapsed() > PATIENCE {
                return Err(Fault::Silent);
            }
            tokio::task::yield_now().await;
            // What stays has to be said meanwhile.
            let _ = tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await;
        }
        Ok(())
    }
}

fn between<const N: usize>(before: [f64; N], after: [f64; N]) -> [f64; N] {
    let mut differences = after;
    differences.iter_mut().zip(before).for_each(|(after, before)| *after -= before);
    differences
}

/// The made-up node renews its lease, for as long as this is waited for. Why it could not.
async fn stays(bucket: &Store) -> Fault {
    let mut ticks = interval(server::cluster::RENEWAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let lease = Lease { version: VERSION, attachment: 1 }.encode().unwrap_or_default();
        if let Err(error) = bucket.put(format!("node.{MADE_UP}"), lease.into()).await {
            return Fault::program("nats-server", error);
        }
    }
}

/// A user logs in at the made-up node.
async fn comes(bucket: &Store, user: u64) -> Result<(), Fault> {
    let name = user_name(user)?;
    let key: String = name.as_str().bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut id = [0; 16];
    id.iter_mut().zip(user.to_be_bytes()).for_each(|(place, byte)| *place = byte);
    let session = SessionId { node: MADE_UP, number: user };
    let presence = Presence::new(session, Attempt::first(ClientId::from_bytes(id)), None);
    let value = presence.encode().ok_or_else(|| Fault::Said("a presence that is too long".to_owned()))?;
    let put = bucket.put(format!("user.{key}"), value.into()).await;
    put.map(drop).map_err(|error| Fault::program("nats-server", error))
}

/// A process of this run's own, which ends with it.
struct Own {
    child: Child,
}

impl Own {
    fn process(&self) -> Process {
        Process(self.child.id())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Nats {
    process: Process,
    port: u16,
    _own: Own,
}

fn nats(dir: &TempDir) -> Result<Nats, Fault> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let config = dir.path().join("nats.conf");
    let store = dir.path().join("nats");
    let text = format!("host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: {store:?}, max_memory_store: 1GB }}\n");
    fs::write(&config, text).map_err(|error| Fault::file(&config, error))?;
    let mut command = Command::new("nats-server");
    command.arg("--config").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| Fault::program("nats-server", error))?;
    let log: Option<ChildStderr> = child.stderr.take();
    let own = Own { child };
    wait_for(log, "Server is ready").ok_or_else(|| Fault::program("nats-server", "it does not start"))?;
    Ok(Nats { process: own.process(), port, _own: own })
}

struct Node {
    own: Own,
    program: PathBuf,
    dir: PathBuf,
}

/// Makes a node's folder, starts it, and waits until it listens.
fn start(program: &Path, dir: &Path, name: &str, nats: u16) -> Result<Node, Fault> {
    let failed = |why: &str| Fault::program(program.display().to_string(), why);
    let dir = dir.join(name);
    let mut init = Command::new(program);
    init.args(["server", "init", "--host", "localhost", "--dir"]).arg(&dir).stdout(Stdio::null());
    let is_made = init.status().map_err(|error| failed(&error.to_string()))?.success();
    let settings = dir.join("server.toml");
    let text = fs::read_to_string(&settings).map_err(|error| Fault::file(&settings, error))?;
    let text = format!("{text}\nmetrics = \"off\"\nrouter = \"nats://127.0.0.1:{nats}\"\n");
    fs::write(&settings, text).map_err(|error| Fault::file(&settings, error))?;
    let mut run = Command::new(program);
    run.args(["server", "run", "--listen", "127.0.0.1:0", "--dir"]).arg(&dir);
    let child = run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.map_err(|error| failed(&error.to_string()))?;
    let said: Option<ChildStdout> = child.stdout.take();
    let own = Own { child };
    wait_for(said, "listening on").filter(|()| is_made).ok_or_else(|| failed("it does not start"))?;
    Ok(Node { own, program: program.to_owned(), dir })
}

impl Node {
    fn cpu(&self) -> Result<f64, Fault> {
        self.own.process().cpu()
    }

    fn resident(&self) -> Result<u64, Fault> {
        self.own.process().resident()
    }

    /// Who is online, as far as it knows.
    fn users(&self) -> Result<u64, Fault> {
        let output =
            Command::new(&self.program).args(["server", "status", "--json", "--dir"]).arg(&self.dir).output()?;
        let status: serde_json::Value =
            serde_json::from_slice(&output.stdout).map_err(|error| Fault::Said(error.to_string()))?;
        Ok(status.pointer("/cluster/users").and_then(serde_json::Value::as_u64).unwrap_or_default())
    }
}

/// Reads what a process says until a line has these words, and on, so that it is not held up.
fn wait_for(said: Option<impl Read + Send + 'static>, words: &str) -> Option<()> {
    let mut lines = BufReader::new(said?).lines().map_while(Result::ok);
    lines.find(|line| line.contains(words))?;
    thread::spawn(move || lines.for_each(drop));
    Some(())
}
