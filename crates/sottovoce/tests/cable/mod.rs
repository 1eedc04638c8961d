//! The cable between a client and its server: it is cut, goes dead, and is plugged in again.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::{Builder, Runtime},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::common::{World, now};

/// What becomes of an attempt at a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It gets through.
    Open,
    /// It is reset.
    Refused,
    /// It hears nothing, and gets through once the way is open.
    Held,
    /// Nobody listens there: the system refuses it.
    Nobody,
}

/// One client's way to the server, a TCP proxy on loopback; it ends when dropped. Whatever it resets it resets at both
/// ends, and what was on its way is gone (`SO_LINGER` 0).
pub(crate) struct Cable {
    port: u16,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

struct Shared {
    server: u16,
    state: watch::Sender<State>,
    /// Bytes that may still pass before the next cut.
    budget: Mutex<Option<usize>>,
    reset: AtomicUsize,
}

#[derive(Clone, Copy)]
struct State {
    passage: Passage,
    /// Cuts so far; a connection that saw fewer when it began is reset.
    cuts: usize,
    /// Losses so far; a connection that saw fewer when it began carries nothing.
    losses: usize,
}

impl Cable {
    /// A way to the server of this world.
    pub(crate) fn to(world: &World) -> Self {
        let server = world.address.rsplit_once(':').unwrap().1.parse().unwrap();
        let state = watch::Sender::new(State { passage: Passage::Open, cuts: 0, losses: 0 });
        let shared = Arc::new(Shared { server, state, budget: Mutex::default(), reset: AtomicUsize::new(0) });
        let listener = runtime().block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listening = runtime().spawn(listen(listener, shared.clone()));
        Self { port, shared, listening }
    }

    /// What a client dials to go this way.
    pub(crate) fn dial(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Resets what stands.
    pub(crate) fn cut(&self) {
        self.shared.cut();
    }

    /// Resets what stands once so many bytes more have passed, both ways together.
    pub(crate) fn cut_after(&self, bytes: usize) {
        *self.shared.budget.lock().unwrap() = Some(bytes);
    }

    /// Resets what stands after some time, without waiting for that.
    pub(crate) fn cut_in(&self, time: Duration) -> JoinHandle<()> {
        let shared = self.shared.clone();
        runtime().spawn(async move {
            sleep(time).await;
            shared.cut();
        })
    }

    /// From now on this becomes of attempts. What stands is reset unless the way is open.
    pub(crate) fn becomes(&self, passage: Passage) {
        self.shared.state.send_modify(|state| {
            state.passage = passage;
            state.cuts += usize::from(passage != Passage::Open);
        });
    }

    /// What stands carries nothing any more, and nobody is told. What is made from now on does.
    pub(crate) fn loses_all(&self) {
        self.shared.state.send_modify(|state| state.losses += 1);
    }

    /// How many connections that reached the server were reset.
    pub(crate) fn reset(&self) -> usize {
        self.shared.reset.load(Ordering::SeqCst)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Takes these cables down for so long: when they are back.
pub(crate) fn outage(cables: &[Cable], passage: Passage, length: Duration) -> Instant {
    for cable in cables {
        cable.becomes(passage);
    }
    pass(length);
    let back = now();
    for cable in cables {
        cable.becomes(Passage::Open);
    }
    back
}

/// Waits for cuts that were to come.
pub(crate) fn finish(cuts: Vec<JoinHandle<()>>) {
    for cut in cuts {
        runtime().block_on(cut).unwrap();
    }
}

/// Lets time pass that a test is about, as opposed to time that something takes.
pub(crate) fn pass(time: Duration) {
    runtime().block_on(sleep(time));
}

#[expect(clippy::disallowed_methods, reason = "what happens at which time is what the test is about")]
async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The threads that carry bytes, for all cables of a test binary.
fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
    &RUNTIME
}

impl Shared {
    fn cut(&self) {
        *self.budget.lock().unwrap() = None;
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// How many of so many bytes may pass.
    fn allow(&self, bytes: usize) -> usize {
        let mut budget = self.budget.lock().unwrap();
        let Some(left) = &mut *budget else {
            return bytes;
        };
        let allowed = bytes.min(*left);
        *left -= allowed;
        allowed
    }

    /// A connection, from beginning to end.
    async fn carry(&self, mut client: TcpStream, born: State) {
        let cut = self.until(|state| state.cuts > born.cuts);
        tokio::pin!(cut);
        let server = tokio::select! {
            () = &mut cut => None,
            server = self.connect() => server.ok(),
        };
        let Some(mut server) = server else {
            // Dropped, and so reset.
            return client.set_zero_linger().unwrap();
        };
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let is_over = tokio::select! {
            () = &mut cut => false,
            both = async {
                tokio::try_join!(
                    self.pass(&mut from_client, &mut to_server, born),
                    self.pass(&mut from_server, &mut to_client, born),
                )
            } => both.is_ok(),
        };
        if !is_over {
            self.reset.fetch_add(1, Ordering::SeqCst);
            for end in [client, server] {
                end.set_zero_linger().unwrap();
            }
        }
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        // Does not fail: the sender is here.
        let _ = self.state.subscribe().wait_for(|state| is_so(state)).await;
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        self.until(|state| state.passage != Passage::Held).await;
        if matches!(self.state.borrow().passage, Passage::Refused | Passage::Nobody) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server)).await?;
        server.set_nodelay(true)?;
        Ok(server)
    }

    /// Passes on what comes one way, until it ends.
    async fn pass(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        born: State,
    ) -> io::Result<()> {
        let loss = self.until(|state| state.losses > born.losses);
        tokio::pin!(loss);
        let mut bytes = [0; 16 * 1024];
        loop {
            let read = tokio::select! {
                biased;
                () = &mut loss => std::future::pending().await,
                read = from.read(&mut bytes) => read?,
            };
            if read == 0 {
                return to.shutdown().await;
            }
            let allowed = self.allow(read);
            to.write_all(&bytes[..allowed]).await?;
            if allowed < read {
                self.cut();
            }
        }
    }
}

async fn listen(mut listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, which ends all that is carried.
    let mut carried = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shared.until(|state| state.passage == Passage::Nobody) => {
                let address = listener.local_addr().unwrap();
                drop(listener);
                // Holds the port, and does not listen yet.
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_reuseaddr(true).unwrap();
                socket.bind(address).unwrap();
                shared.until(|state| state.passage != Passage::Nobody).await;
                listener = socket.listen(1024).unwrap();
            }
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                client.set_nodelay(true).unwrap();
                let (shared, born) = (shared.clone(), *shared.state.borrow());
                carried.spawn(async move { shared.carry(client, born).await });
            }
        }
    }
}
