//! The way in: carries out what [`Admission`] decides, and bounds what a connection may cost until it is known whose it
//! is.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::{Admission, Admitted, Dropped, Limits, Refused, Source, Ticket},
    counters::{Counters, Refusal},
    turns::{Turn, Turns, Wait},
};

/// Bytes that a client may send until it is logged in. A handshake and a log-in have less than 3,000.
const MAX_BEFORE_LOG_IN: usize = 16 * 1024;

/// Who is there, and who is at the door.
pub(crate) struct Gate {
    /// Held for a decision, never across an await.
    admission: Mutex<Admission<CancellationToken>>,
    counters: Arc<Counters>,
    /// For the steps of handshakes, each of which takes a fraction of a millisecond of a core.
    handshakes: Arc<Turns>,
}

/// A connection's place among the others. It is given back when this is dropped.
pub(crate) struct Visit {
    gate: Arc<Gate>,
    source: Source,
    ticket: Ticket,
    end: CancellationToken,
    /// Bytes that may still come; of a user who is logged in as many as there are numbers.
    allowance: AtomicUsize,
}

impl Gate {
    /// `cores` is how many the process may use: handshakes leave one of them to others, if there is more than one.
    pub(crate) fn new(limits: Limits, cores: usize, counters: Arc<Counters>) -> Self {
        let handshakes = Turns::new(cores.saturating_sub(1).max(1));
        Self { admission: Mutex::new(Admission::new(limits)), counters, handshakes }
    }

    /// A connection from `address` was accepted. `None` if it is to be closed at once; whoever makes room for it has
    /// been told. The end of `stop` is the end of its visit.
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        stop: &CancellationToken,
        now: Instant,
    ) -> Option<Arc<Visit>> {
        let (source, end) = (Source::from(address), stop.child_token());
        let admitted = self.admission().admit(source, end.clone(), now);
        match admitted {
            Ok(Admitted { ticket, dropped }) => {
                self.ends(dropped);
                let allowance = AtomicUsize::new(MAX_BEFORE_LOG_IN);
                Some(Arc::new(Visit { gate: self.clone(), source, ticket, end, allowance }))
            }
            Err(refused) => {
                self.counters.count(match refused {
                    Refused::TooFast => Refusal::ConnectionRate,
                    Refused::AddressFull => Refusal::AddressFull,
                    Refused::Full => Refusal::Full,
                });
                None
            }
        }
    }

    /// The last connection that was let in has the last socket there is: one that is not logged in gives up its own, the
    /// last one itself if there is no other.
    pub(crate) fn makes_room(&self, now: Instant) {
        self.counters.count(Refusal::NoSocket);
        let dropped = self.admission().makes_room(now);
        if let Some(end) = dropped {
            end.cancel();
        }
    }

    /// Ends the connection that has to make room, if one has to.
    fn ends(&self, dropped: Option<Dropped<CancellationToken>>) {
        if let Some(Dropped { handle, for_its_address }) = dropped {
            handle.cancel();
            self.counters.count(match for_its_address {
                true => Refusal::CrowdedOutByItsAddress,
                false => Refusal::CrowdedOut,
            });
        }
    }

    fn admission(&self) -> MutexGuard<'_, Admission<CancellationToken>> {
        // A decision that is broken off leaves the connections that there are, and wrong counts at worst.
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    /// Cancelled when the connection is to end: because the server stops, or because it has to make room while its user
    /// is not logged in.
    pub(crate) fn end(&self) -> &CancellationToken {
        &self.end
    }

    /// The client has taken a step towards its log-in.
    pub(crate) fn gets_further(&self) {
        self.gate.admission().gets_further(self.ticket);
    }

    /// The user is about to be logged in. False if the connection has just had to make room.
    pub(crate) fn logs_in(&self) -> bool {
        self.allowance.store(usize::MAX, Ordering::Relaxed);
        self.gate.admission().logs_in(self.ticket)
    }

    /// The session has ended, and its client is still to be told.
    pub(crate) fn logs_out(&self) {
        let dropped = self.gate.admission().logs_out(self.ticket, now());
        self.gate.ends(dropped);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.gate.admission().leaves(self.ticket, now());
    }
}

/// A socket through which a handshake takes its turn, and a stranger sends no more than it needs to.
///
/// All that a handshake computes, it computes on what it has just read. So whoever has read keeps its turn until it
/// reads again, or writes.
pub(crate) struct Doorway {
    socket: TcpStream,
    visit: Arc<Visit>,
    handshake: Option<Handshake>,
}

#[derive(Default)]
struct Handshake {
    wait: Option<Wait>,
    turn: Option<Turn>,
    is_answered: bool,
}

impl Doorway {
    pub(crate) fn new(socket: TcpStream, visit: Arc<Visit>) -> Self {
        Self { socket, visit, handshake: Some(Handshake::default()) }
    }

    /// The handshake is over.
    pub(crate) fn is_through(&mut self) {
        self.handshake = None;
        self.visit.gets_further();
    }

    /// What was read has been dealt with.
    fn ends_turn(&mut self) {
        if let Some(handshake) = &mut self.handshake {
            handshake.turn = None;
        }
    }
}

impl AsyncRead for Doorway {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(handshake) = &mut this.handshake {
            handshake.turn = None;
            // Who has sent nothing does not wait for a turn.
            ready!(this.socket.poll_read_ready(cx))?;
            let Visit { gate, source, .. } = &*this.visit;
            let wait = handshake.wait.get_or_insert_with(|| gate.handshakes.wait(*source, handshake.is_answered));
            handshake.turn = Some(ready!(wait.poll(cx)));
            handshake.wait = None;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(cx, buffer);
        if read.is_pending() {
            this.ends_turn();
        }
        let allowance = this.visit.allowance.load(Ordering::Relaxed);
        if allowance != usize::MAX {
            let count = buffer.filled().len().saturating_sub(before);
            let Some(left) = allowance.checked_sub(count) else {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "too much before the log-in")));
            };
            this.visit.allowance.store(left, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Doorway {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes();
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes();
        Pin::new(&mut self.socket).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Doorway {
    fn writes(&mut self) {
        self.ends_turn();
        // The first thing that a server writes answers a hello: the client has sent a whole one.
        if let Some(handshake) = &mut self.handshake
            && !std::mem::replace(&mut handshake.is_answered, true)
        {
            self.visit.gets_further();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the driver that hands the machine its time")]
fn now() -> Instant {
    Instant::now()
}
