//! The way in: carries out what [`Admission`] decides, and bounds what a connection may cost until it is known whose it
//! is.

use std::{
    future::poll_fn,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio_util::sync::CancellationToken;

use crate::{
    admission::{Admission, Admitted, Dropped, Limits, Refused, Source, Ticket},
    counters::{Counters, Refusal},
    turns::{Turn, Turns},
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

    /// How many connections there are, and how many of them are pending.
    pub(crate) fn count(&self) -> (usize, usize) {
        let admission = self.admission();
        (admission.len(), admission.pending())
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

    /// Waits for a turn at computing a step of the handshake, of which there was one before or not.
    pub(crate) async fn turn(&self, has_begun: bool) -> Turn {
        let mut wait = self.gate.handshakes.wait(self.source, has_begun);
        poll_fn(|cx| wait.poll(cx)).await
    }

    /// So many bytes have come. False if they are more than a client may send before its log-in.
    pub(crate) fn lets_in(&self, count: usize) -> bool {
        let allowance = self.allowance.load(Ordering::Relaxed);
        if allowance != usize::MAX {
            let Some(left) = allowance.checked_sub(count) else {
                return false;
            };
            self.allowance.store(left, Ordering::Relaxed);
        }
        true
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

#[expect(clippy::disallowed_methods, reason = "this is the driver that hands the machine its time")]
fn now() -> Instant {
    Instant::now()
}
