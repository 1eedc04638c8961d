//! What a server is doing, in numbers, at one moment.

use std::{collections::BTreeMap, time::Instant};

use serde::{Deserialize, Serialize};

use crate::{
    census::Mailboxes,
    counters::Relayed,
    health::{DirectoryHealth, NotReady},
    listener::Relay,
};

/// What there is to see of a server. `sottovoce server status --json` writes these fields, whose names stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The program's.
    pub version: String,
    /// When it started, in seconds since 1970.
    pub started: u64,
    /// How long ago that is.
    pub uptime_seconds: u64,
    /// Whether it should get new connections.
    pub ready: bool,
    /// Why not.
    pub reason: Option<NotReady>,
    /// Whether it was told to stop.
    pub draining: bool,
    /// The port that metrics are served on.
    pub metrics_port: Option<u16>,
    /// Connections that are open.
    pub connections: u64,
    /// Those of them whose user is not logged in.
    pub pending: u64,
    /// Sessions: connections whose user is logged in.
    pub sessions: u64,
    /// Sessions that are in a chat, of which each chat has two.
    pub chat_sides: u64,
    /// Handshakes that came to their end, since the start.
    pub handshakes: u64,
    /// Log-ins, likewise.
    pub log_ins: u64,
    /// Sealed frames of chats, likewise.
    pub relayed: Relayed,
    /// What waits for the sessions.
    pub mailboxes: Mailboxes,
    /// What was refused since the start, by cause: `docs/protocol.md` says what each counts.
    pub refusals: BTreeMap<String, u64>,
    /// The directory of users.
    pub directory: DirectoryHealth,
    /// The other nodes; nothing where there are none to be.
    pub cluster: Option<Cluster>,
}

/// How a node stands with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Whether what connects the nodes can be reached.
    pub connected: bool,
    /// Nodes that are known, this one counted.
    pub nodes: u64,
    /// Users who are online, at all of them.
    pub users: u64,
    /// Signals to sessions at other nodes, since the start.
    pub signals_sent: u64,
    /// Signals from there, likewise.
    pub signals_received: u64,
    /// Signals to sessions at other nodes that were not delivered, likewise.
    pub signals_undelivered: u64,
}

impl Figures {
    /// Those of the server now.
    pub(crate) async fn of(relay: &Relay, now: Instant) -> Self {
        let (started, uptime) = relay.health.start(now);
        let (connections, pending) = relay.gate.count();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let reason = not_ready(relay, now);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started,
            uptime_seconds: uptime.as_secs(),
            ready: reason.is_none(),
            reason,
            draining: relay.health.is_draining(),
            metrics_port: relay.metrics_port,
            connections: number(connections),
            pending: number(pending),
            sessions: number(relay.census.len()),
            chat_sides: relay.census.chatting(),
            handshakes: relay.counters.handshakes(),
            log_ins: relay.counters.log_ins(),
            relayed: relay.counters.relayed(),
            mailboxes: relay.census.mailboxes().await,
            refusals: relay.counters.refused().by_cause().map(|(cause, count)| (cause.to_owned(), count)).collect(),
            directory: relay.health.directory_health(now),
            cluster: cluster(relay),
        }
    }
}

/// Why the server should get no new connections, if it should not.
pub(crate) fn not_ready(relay: &Relay, now: Instant) -> Option<NotReady> {
    relay.health.not_ready(now, cluster(relay).is_some_and(|cluster| !cluster.connected))
}

/// How the router stands with other nodes, if there may be any.
fn cluster(relay: &Relay) -> Option<Cluster> {
    relay.cluster.as_ref()?;
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let [signals_sent, signals_received, signals_undelivered] = relay.router.traffic();
    Some(Cluster {
        connected: !relay.router.is_cut_off(),
        nodes: number(relay.router.nodes().saturating_add(1)),
        users: number(relay.router.online()),
        signals_sent,
        signals_received,
        signals_undelivered,
    })
}
