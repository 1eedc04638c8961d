use std::{
    collections::VecDeque,
    io,
    net::Ipv4Addr,
    sync::{Arc, LazyLock, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// A TCP proxy on loopback, before one end or several of them; it stops when dropped. To clients it is a balancer, and to a
/// node it is the wire to NATS.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

struct Shared {
    ends: Mutex<Ends>,
    state: watch::Sender<State>,
}

#[derive(Default)]
struct Ends {
    all: Vec<End>,
    /// Whose turn it is.
    next: usize,
    /// Who has the next connections, whose turn it ever is.
    chosen: VecDeque<usize>,
}

#[derive(Clone, Copy)]
struct End {
    port: u16,
    is_in_service: bool,
    /// Connections that it has taken.
    carried: usize,
}

#[derive(Clone, Copy)]
struct State {
    is_open: bool,
    is_silent: bool,
    /// Cuts so far; a connection that saw fewer when it began is over.
    cuts: usize,
}

impl Proxy {
    /// A proxy that has these ports take turns.
    pub(crate) fn before(ports: &[u16]) -> Self {
        let all = ports.iter().map(|port| End { port: *port, is_in_service: true, carried: 0 }).collect();
        let state = State { is_open: true, is_silent: false, cuts: 0 };
        let ends = Mutex::new(Ends { all, ..Ends::default() });
        let shared = Arc::new(Shared { ends, state: watch::Sender::new(state) });
        let listener = runtime().block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listening = runtime().spawn(listen(listener, shared.clone()));
        Self { port, shared, listening }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// End `end` has this port from now on.
    pub(crate) fn leads_to(&self, end: usize, port: u16) {
        self.shared.ends.lock().unwrap().all[end].port = port;
    }

    /// The next connection goes to `end`, or if that refuses it to the next that does not. Called again: the one after.
    pub(crate) fn sends_next_to(&self, end: usize) {
        self.shared.ends.lock().unwrap().chosen.push_back(end);
    }

    /// Whether `end` gets connections, as a look at its health would decide.
    pub(crate) fn in_service(&self, end: usize, is_in_service: bool) {
        self.shared.ends.lock().unwrap().all[end].is_in_service = is_in_service;
    }

    /// How many connections each end has taken.
    pub(crate) fn carried(&self) -> Vec<usize> {
        self.shared.ends.lock().unwrap().all.iter().map(|end| end.carried).collect()
    }

    /// Cuts all connections that there are.
    pub(crate) fn cuts_all(&self) {
        self.shared.state.send_modify(|state| state.cuts += 1);
    }

    /// Cuts all connections, and takes no others until [`Self::opens`].
    pub(crate) fn closes(&self) {
        self.shared.state.send_modify(|state| (state.is_open, state.cuts) = (false, state.cuts + 1));
    }

    /// Carries nothing any more, and tells nobody, until [`Self::opens`]: then it carries on.
    pub(crate) fn falls_silent(&self) {
        self.shared.state.send_modify(|state| state.is_silent = true);
    }

    pub(crate) fn opens(&self) {
        self.shared.state.send_modify(|state| (state.is_open, state.is_silent) = (true, false));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The thread that carries bytes, for all proxies of a test binary.
fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
    &RUNTIME
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, which ends all that is carried.
    let mut carried = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                let (shared, born) = (shared.clone(), *shared.state.borrow());
                if born.is_open {
                    carried.spawn(async move { shared.carry(client, born.cuts).await });
                }
            }
            Some(_) = carried.join_next() => {}
        }
    }
}

impl Shared {
    async fn carry(&self, mut client: TcpStream, cuts: usize) {
        let both_ways = async {
            self.until(|state| !state.is_silent).await;
            // Where nobody is there, the end of the connection says so.
            let Some(mut server) = self.connect().await else { return };
            let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.split();
            // An end that is reset takes the other with it.
            let _ = tokio::try_join!(
                self.pass(&mut from_client, &mut to_server),
                self.pass(&mut from_server, &mut to_client)
            );
        };
        tokio::select! {
            () = self.until(|state| state.cuts > cuts) => {}
            () = both_ways => {}
        }
    }

    async fn connect(&self) -> Option<TcpStream> {
        let ends = self.ends.lock().unwrap().in_turn();
        for (place, port) in ends {
            if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                self.ends.lock().unwrap().all[place].carried += 1;
                return Some(server);
            }
        }
        None
    }

    /// Passes on what comes one way, until it ends.
    async fn pass(&self, from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        loop {
            let read = from.read(&mut bytes).await?;
            self.until(|state| !state.is_silent).await;
            if read == 0 {
                return to.shutdown().await;
            }
            to.write_all(&bytes[..read]).await?;
        }
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        // Does not fail: the sender is here.
        let _ = self.state.subscribe().wait_for(|state| is_so(state)).await;
    }
}

impl Ends {
    /// Those in service, in the order in which they are tried.
    fn in_turn(&mut self) -> Vec<(usize, u16)> {
        let count = self.all.len();
        let first = self.chosen.pop_front().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let places = (0..count).map(|place| (first + place) % count);
        places.filter(|place| self.all[*place].is_in_service).map(|place| (place, self.all[place].port)).collect()
    }
}
