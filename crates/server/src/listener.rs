//! The relay: a listening socket, its sessions, and the watch on the directory.

use std::{
    fs::File,
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use futures_util::FutureExt as _;
use protocol::ServerError;
use rustix::io::Errno;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use crate::{
    census::Census,
    cluster::{Cluster, ClusterError, Settings},
    config::Config,
    connection,
    counters::{Counters, Refused},
    directory::Directory,
    drain::Stop,
    gate::Gate,
    health::Health,
    known::Known,
    operator::{http, status},
    rate::Ledger,
    router::Router,
    signal::{NodeId, SessionId},
    watch,
};

/// How long to wait when the system gives no connection, though one may be there, before asking it again.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Connections that the system keeps until they are accepted; it may keep fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// Between two words in the log about what was refused.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// A server that listens and has not yet begun to serve.
pub struct Server {
    listener: TcpListener,
    metrics: Option<TcpListener>,
    status: Option<status::Socket>,
    relay: Arc<Relay>,
    /// What keeps it attached to other nodes.
    kept: Option<AbortOnDropHandle<()>>,
}

/// Why a server does not begin to listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system does not give the address for clients.
    #[error("cannot listen on {0}: {1}; choose another with --listen")]
    Clients(SocketAddr, #[source] std::io::Error),
    /// Nor that for metrics, which the operator has set.
    #[error("cannot serve metrics on {0}: {1}; set another `metrics` in server.toml, or \"off\"")]
    Metrics(SocketAddr, #[source] std::io::Error),
    /// The other nodes cannot be reached.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Nor does it give random numbers.
    #[error("the system gives no random numbers; nothing is safe then")]
    Random,
}

/// What all connections of a server share.
pub(crate) struct Relay {
    pub(crate) config: Config,
    pub(crate) tls: Arc<rustls::ServerConfig>,
    pub(crate) directory: Directory,
    pub(crate) known: Known,
    pub(crate) router: Arc<Router>,
    /// Where there are other nodes.
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) ledger: Ledger,
    pub(crate) counters: Arc<Counters>,
    pub(crate) census: Census,
    pub(crate) health: Health,
    pub(crate) metrics_port: Option<u16>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) stop: CancellationToken,
    pub(crate) sweeps: AtomicU64,
    sessions: AtomicU64,
}

impl Server {
    /// Listens on the configuration's addresses, as one of several nodes if there are `others`. `tls` comes from [`identity::server_config`].
    ///
    /// # Errors
    /// [`BindError`] when the system does not give one of them, or the other nodes cannot be reached.
    pub async fn bind(
        config: Config,
        tls: Arc<rustls::ServerConfig>,
        directory: Directory,
        others: Option<Settings>,
    ) -> Result<Self, BindError> {
        if let Err(error) = directory.open_all().await {
            // Whoever logs in is told, if it lasts.
            tracing::warn!(%error, "the directory cannot be read");
        }
        let listener = listen(config.listen).map_err(|error| BindError::Clients(config.listen, error))?;
        let metrics = http::bind(config.metrics).map_err(|(address, error)| BindError::Metrics(address, error))?;
        let metrics_port = metrics.as_ref().and_then(|listener| Some(listener.local_addr().ok()?.port()));
        let (router, cluster, kept) = match others {
            Some(settings) => {
                let router = Arc::new(Router::of(NodeId::new(random()?), config.list_page));
                let (cluster, kept) = Cluster::start(settings, router.clone()).await?;
                (router, Some(cluster), Some(kept))
            }
            None => (Arc::new(Router::new(config.list_page)), None, None),
        };
        let counters = Arc::new(Counters::default());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let relay = Relay {
            tls,
            directory,
            known: Known::default(),
            router,
            cluster,
            ledger: Ledger::default(),
            gate: Arc::new(Gate::new(config.limits(), cores, counters.clone())),
            counters,
            census: Census::default(),
            health: Health::new(now(), calendar()),
            metrics_port,
            stop: CancellationToken::new(),
            sweeps: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            config,
        };
        Ok(Self { listener, metrics, status: None, relay: Arc::new(relay), kept })
    }

    /// Has the server answer [`status::ask`] about its folder `dir`. Where that cannot be, the log says so: people can chat
    /// without.
    pub fn tells_status(&mut self, dir: &Path) {
        let socket = status::Socket::bind(dir);
        self.status =
            socket.inspect_err(|error| tracing::warn!(%error, "no socket for `sottovoce server status`")).ok();
    }

    /// Where the server listens, with the port that the system chose if it was left to it.
    ///
    /// # Errors
    /// The system's error when it does not tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What the server counts while it runs.
    pub fn counters(&self) -> Arc<Counters> {
        self.relay.counters.clone()
    }

    /// Serves until it is told to stop; then tells all clients, as fast as the configuration and `stop` say, and waits for
    /// their connections to end, for as long as the configuration's `shutdown_timeout`.
    pub async fn run(self, stop: impl Into<Stop>) {
        let (Self { listener, metrics, status, relay, kept }, stop) = (self, stop.into());
        let connections = TaskTracker::new();
        let watch = AbortOnDropHandle::new(tokio::spawn(keep_watching(relay.clone())));
        let mut spare = Spare::new();
        let telling = AbortOnDropHandle::new(tokio::spawn(tell_refusals(relay.counters.clone())));
        let metrics =
            metrics.map(|listener| AbortOnDropHandle::new(tokio::spawn(http::serve(listener, relay.clone()))));
        let status = status.map(|socket| {
            let (serving, file) = socket.serve(relay.clone());
            (AbortOnDropHandle::new(tokio::spawn(serving)), file)
        });
        tracing::info!(metrics = relay.metrics_port, "serving");
        let lets_nobody_in = stop.lets_nobody_in(&relay.health, relay.config.drain_delay);
        tokio::pin!(lets_nobody_in);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut lets_nobody_in => break,
                accepted = spare.accept(&listener) => accepted,
            };
            let Accepted { socket, address, is_last } = match accepted {
                Ok(accepted) => accepted,
                Err(NotAccepted::NobodyWaits) => continue,
                Err(NotAccepted::NoSocket) => {
                    // Something else has taken the spare file's place.
                    relay.gate.makes_room(now());
                    pause(RETRY_PAUSE).await;
                    continue;
                }
            };
            // Beyond the limits a connection is closed at once: it costs nothing, and its client is told by it.
            let Some(visit) = relay.gate.enter(address, &relay.stop, now()) else {
                continue;
            };
            if is_last {
                relay.gate.makes_room(now());
            }
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "no TCP_NODELAY");
            }
            connections.spawn(connection::serve(socket, visit, relay.clone()));
        }
        // No client waits at this server's door for one that will not come to open.
        drop(listener);
        stop.tells_everybody(&relay.census, relay.config.drain_time).await;
        tracing::info!("stopping");
        drop((watch, telling));
        relay.stop.cancel();
        connections.close();
        if timeout(relay.config.shutdown_timeout, connections.wait()).await.is_err() {
            tracing::warn!(left = connections.len(), "connections were cut that did not end in time");
        }
        if let (Some(cluster), Some(kept)) = (&relay.cluster, kept) {
            cluster.leave().await;
            // It is bounded in time, and has said in the log what is to be said.
            let _ = kept.await;
        }
        let refused = relay.counters.refused();
        if !refused.is_nothing() {
            tracing::info!(%refused, "since the start");
        }
        // Until here it says that it is on its way.
        drop((metrics, status));
    }
}

/// A file that is open for nothing but to be closed when the system gives no more: whoever then waits is let in with its
/// place, rather than being left waiting, and another makes room.
struct Spare(Option<File>);

struct Accepted {
    socket: TcpStream,
    address: IpAddr,
    /// Whether it has the spare file's place.
    is_last: bool,
}

enum NotAccepted {
    NobodyWaits,
    NoSocket,
}

impl Spare {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// The next connection. May be dropped and called again.
    async fn accept(&mut self, listener: &TcpListener) -> Result<Accepted, NotAccepted> {
        if self.0.is_none() {
            *self = Self::new();
        }
        let error = match listener.accept().await {
            Ok((socket, peer)) => return Ok(Accepted { socket, address: peer.ip(), is_last: false }),
            Err(error) => error,
        };
        tracing::debug!(%error, "no connection accepted");
        if !is_exhausted(&error) {
            // The connection that was to be accepted may be gone again, and others may wait. What else there is may last.
            if !matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) {
                pause(RETRY_PAUSE).await;
            }
            return Err(NotAccepted::NobodyWaits);
        }
        // The system says so also when nobody waits.
        if self.0.take().is_none() {
            return Err(NotAccepted::NoSocket);
        }
        match listener.accept().now_or_never() {
            Some(Ok((socket, peer))) => Ok(Accepted { socket, address: peer.ip(), is_last: true }),
            Some(Err(_)) => Err(NotAccepted::NoSocket),
            None => Err(NotAccepted::NobodyWaits),
        }
    }
}

/// Whether the process or the system has no file, no memory or no place among what it watches left for a connection.
fn is_exhausted(error: &std::io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC)
    )
}

impl Relay {
    /// An id for a session, which no other has had.
    pub(crate) fn next_session(&self) -> SessionId {
        SessionId { node: self.router.home(), number: self.sessions.fetch_add(1, Ordering::Relaxed) }
    }

    /// How often the sessions have been compared with the directory. A log-in that finds this changed between its
    /// look-up and its registration looks again: the comparison may have missed it.
    pub(crate) fn sweeps(&self) -> u64 {
        self.sweeps.load(Ordering::SeqCst)
    }
}

/// Has the directory watched. Where a fault of the program ends the watch, all sessions end with it, since nobody would
/// notice removals, and a new watch begins.
async fn keep_watching(relay: Arc<Relay>) {
    while AbortOnDropHandle::new(tokio::spawn(watch::watch_directory(relay.clone()))).await.is_err() {
        relay.router.end_all(ServerError::Unavailable);
        pause(relay.config.directory_poll).await;
    }
}

/// Says in the log what was refused: once in a while, and only if something was.
async fn tell_refusals(counters: Arc<Counters>) {
    let mut told = Refused::default();
    loop {
        pause(TELL_EVERY).await;
        let refused = counters.refused();
        let since = refused.since(&told);
        if !since.is_nothing() {
            tracing::info!(refused = %since, "in the last minute");
        }
        told = refused;
    }
}

/// A number that no other process draws.
fn random() -> Result<u64, BindError> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| BindError::Random)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Listens on `address`.
pub(crate) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that is started again finds connections of the one before that are still being closed.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[expect(clippy::disallowed_methods, reason = "this is the driver that hands the machine its time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this is the driver that hands out the time")]
fn calendar() -> SystemTime {
    SystemTime::now()
}

#[expect(clippy::disallowed_methods, reason = "there is no event to wait for: time itself is what has to pass")]
pub(crate) async fn pause(length: Duration) {
    tokio::time::sleep(length).await;
}
