//! Two who chat while a storm goes on around them: against a server process whose log is read in the end.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use client::Account;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustls::{ClientConnection, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    common::{PATIENCE, PROGRAM, World, now, run_server_telling},
    people::{Person, Registry, chat, port_of, tell},
};

/// Round trips that the two make, at least, while something goes on.
const ROUND_TRIPS: usize = 100;

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) registry: Registry,
    pub(crate) port: u16,
    alice: Person,
    bob: Person,
    log: PathBuf,
    said: usize,
    /// The server's memory before anything happened, in KiB.
    before: usize,
}

impl Scene {
    /// Alice and bob are in a chat, on a server with these settings.
    pub(crate) async fn with(settings: &str) -> Self {
        Self::of(settings, None).await
    }

    /// The same, on a server that may open so many files.
    pub(crate) async fn with_files(settings: &str, files: u64) -> Self {
        Self::of(settings, Some(files)).await
    }

    async fn of(settings: &str, files: Option<u64>) -> Self {
        // Sockets of both sides' may be many.
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();

        let mut world = World::with(settings);
        world.goes(Signal::TERM);
        let log = world.dir.path().join("log");
        let file = fs::File::create(&log).unwrap();
        world.server = match files {
            None => run_server_telling(&world.server_dir(), &world.address, file.into()).0,
            Some(files) => run_server_with(files, &world, file),
        };
        let registry = Registry::of(&world).await;
        let mut alice = Person::log_in(&registry.register("alice").await).await;
        let mut bob = Person::log_in(&registry.register("bob").await).await;
        chat(&mut alice, &mut bob).await;
        let (port, before) = (port_of(&world), memory(&world));
        Self { world, registry, port, alice, bob, log, said: 0, before }
    }

    /// How long a word and its answer take.
    pub(crate) async fn round_trip(&mut self) -> Duration {
        self.said += 1;
        let begin = now();
        tell(&mut self.alice, &mut self.bob, &format!("is it quiet, {}?", self.said)).await;
        tell(&mut self.bob, &mut self.alice, &format!("quiet, {}", self.said)).await;
        begin.elapsed()
    }

    /// Has the two talk until the storm is over: what it gives.
    pub(crate) async fn during<T: Send + 'static>(&mut self, storm: impl Future<Output = T> + Send + 'static) -> T {
        let storm = tokio::spawn(storm);
        let before = self.said;
        while !storm.is_finished() || self.said < before + ROUND_TRIPS {
            self.round_trip().await;
        }
        storm.await.unwrap()
    }

    /// Somebody new, from the address that storms do not come from unless a test says so, gets in and out.
    pub(crate) async fn lets_in(&self, name: &str) {
        Person::log_in(&self.registry.register(name).await).await.leaves().await;
    }

    /// By how many KiB the server has grown, at most.
    pub(crate) fn grown(&self) -> usize {
        memory(&self.world).saturating_sub(self.before)
    }

    /// What the server has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The files that the server has open, of which all but a few are connections.
    pub(crate) fn sockets(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.world.server.id())).unwrap().count()
    }

    /// How long the server has been computing (proc_pid_stat(5)), in hundredths of a second.
    pub(crate) fn busy(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.world.server.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// All leave, and the server is stopped: what it says to have refused, and that it names nobody is checked.
    pub(crate) async fn ends(mut self) -> Refused {
        self.round_trip().await;
        self.alice.types("--ex").await;
        let closed = self.bob.until(|event| matches!(event, client::Event::ChatClosed { .. })).await;
        assert!(matches!(closed, client::Event::ChatClosed { reason: client::Ending::Goodbye, .. }), "{closed:?}");
        self.alice.leaves().await;
        self.bob.leaves().await;
        assert_eq!(self.world.server.try_wait().unwrap(), None, "the server runs");
        self.world.goes(Signal::TERM);
        let log = fs::read_to_string(&self.log).unwrap();
        for word in ["alice", "bob", "mallory", "carol", "127.0.0.", "panicked"] {
            assert!(!log.contains(word), "{word} is in the log: {log}");
        }
        let refused =
            log.lines().rev().find_map(|line| line.split_once("since the start refused=")).map(|(_, rest)| rest);
        let count = |cause: &str| {
            let (name, count) = cause.split_once(':').unwrap();
            (name.to_owned(), count.parse().unwrap())
        };
        Refused(refused.into_iter().flat_map(|refused| refused.split(',')).map(count).collect())
    }
}

/// Starts the world's server by a shell that allows it no more files.
fn run_server_with(files: u64, world: &World, log: fs::File) -> Child {
    let run = format!("ulimit -n {files} && exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &run, "sh", PROGRAM, "server", "run", "--listen", &world.address, "--dir"]);
    command.arg(world.server_dir()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut server = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on "), "{line}");
    server
}

/// What a server has refused, by cause.
#[derive(Debug)]
pub(crate) struct Refused(BTreeMap<String, usize>);

impl Refused {
    pub(crate) fn count(&self, cause: &str) -> usize {
        self.0.get(cause).copied().unwrap_or_default()
    }

    /// That these causes, and no others, were there.
    #[track_caller]
    pub(crate) fn are(&self, causes: &[&str]) {
        assert_eq!(self.0.keys().map(String::as_str).collect::<Vec<_>>(), causes, "{self:?}");
    }
}

/// The most that the server's process has had in memory, in KiB (proc_pid_status(5)).
pub(crate) fn memory(world: &World) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", world.server.id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    most.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// Somebody at an address of this machine's own, 127.0.0.`host`.
#[derive(Clone)]
pub(crate) struct Attacker {
    pub(crate) host: u8,
    pub(crate) port: u16,
    pub(crate) account: Account,
}

impl Attacker {
    /// A connection. Linux has all of 127.0.0.0/8 on its loopback interface.
    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, self.host), 0)))?;
        socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).await
    }

    /// The first message of a handshake.
    pub(crate) fn hello(&self) -> Vec<u8> {
        let mut connection = ClientConnection::new(self.account.tls.clone(), localhost()).unwrap();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();
        hello
    }

    /// A connection after its handshake.
    pub(crate) async fn shake_hands(&self) -> io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(self.account.tls.clone()).connect(localhost(), self.connect().await?).await
    }
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// Sends these frames in one go.
pub(crate) async fn send(stream: &mut TlsStream<TcpStream>, frames: &[Vec<u8>]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for frame in frames {
        bytes.extend(u16::try_from(frame.len()).unwrap().to_be_bytes());
        bytes.extend(frame);
    }
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// The next frame; `None` at the end of the connection.
pub(crate) async fn hear(stream: &mut TlsStream<TcpStream>) -> Option<protocol::ToClient> {
    let frame = async {
        let mut frame = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut frame).await?;
        io::Result::Ok(protocol::ToClient::decode(&frame).unwrap())
    };
    timeout(PATIENCE, frame).await.expect("an answer or the end").ok()
}

/// Waits until the server has ended a connection: what it still sent.
pub(crate) async fn end_of(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A connection may end in whatever way.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server ends the connection");
    bytes
}
