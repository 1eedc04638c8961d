//! A wire between clients and server that one can tap, hold up and damage: a TCP proxy on loopback.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// Bytes of the head of a TLS record: type, version, length (RFC 8446 section 5.1).
pub(crate) const RECORD_HEAD: usize = 5;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// One bit of one TLS record to be turned over. Records are counted from 0 in each way and stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flip {
    pub(crate) way: Way,
    pub(crate) stage: usize,
    pub(crate) record: usize,
    pub(crate) byte: usize,
    pub(crate) bit: u8,
}

/// All that one connection carried, each way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape {
    pub(crate) to_server: Vec<u8>,
    pub(crate) to_client: Vec<u8>,
}

/// Where TLS records passed: their lengths with their heads, by way and stage.
pub(crate) type Records = BTreeMap<(Way, usize), Vec<usize>>;

/// A proxy on loopback; it ends when dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    tapes: Mutex<Vec<Tape>>,
    plan: Mutex<Plan>,
    held: watch::Sender<Option<Way>>,
}

#[derive(Default)]
struct Plan {
    stage: usize,
    flip: Option<Flip>,
    is_done: bool,
    records: Records,
}

impl Proxy {
    /// A proxy before the server that listens on `server` of loopback.
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let listening = tokio::spawn(listen(listener, server, shared.clone()));
        Self { port, shared, listening }
    }

    /// As [`Self::before`], turning over one bit on the way.
    pub(crate) async fn flipping(server: u16, flip: Flip) -> Self {
        let proxy = Self::before(server).await;
        proxy.shared.plan.lock().unwrap().flip = Some(flip);
        proxy
    }

    /// What each connection carried so far, in the order in which they were made.
    pub(crate) fn tapes(&self) -> Vec<Tape> {
        self.shared.tapes.lock().unwrap().clone()
    }

    /// Records that come from now on belong to this stage.
    pub(crate) fn enter(&self, stage: usize) {
        self.shared.plan.lock().unwrap().stage = stage;
    }

    /// Whether the bit has been turned over.
    pub(crate) fn has_flipped(&self) -> bool {
        self.shared.plan.lock().unwrap().is_done
    }

    pub(crate) fn records(&self) -> Records {
        self.shared.plan.lock().unwrap().records.clone()
    }

    /// Keeps back what goes this way until [`Self::release`].
    pub(crate) fn hold(&self, way: Way) {
        self.shared.held.send_replace(Some(way));
    }

    pub(crate) fn release(&self) {
        self.shared.held.send_replace(None);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, server: u16, shared: Arc<Shared>) {
    // Dropped with this task, which ends all that is carried.
    let mut carried = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let connection = {
            let mut tapes = shared.tapes.lock().unwrap();
            tapes.push(Tape::default());
            tapes.len() - 1
        };
        let shared = shared.clone();
        carried.spawn(async move {
            let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::join!(
                carry(from_client, to_server, connection, Way::ToServer, &shared),
                carry(from_server, to_client, connection, Way::ToClient, &shared),
            );
        });
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, connection: usize, way: Way, shared: &Shared) {
    let mut held = shared.held.subscribe();
    let mut bytes = Vec::new();
    // An end that is gone ends this way; the other way ends when its reader does.
    while let Ok(read @ 1..) = from.read_buf(&mut bytes).await {
        shared.record(connection, way, &bytes[bytes.len() - read..]);
        while let Some(mut record) = take_record(&mut bytes) {
            shared.pass(way, &mut record);
            if held.wait_for(|held| *held != Some(way)).await.is_err() || to.write_all(&record).await.is_err() {
                return;
            }
        }
    }
    let _ = to.write_all(&bytes).await;
    let _ = to.shutdown().await;
}

/// Takes a whole TLS record off the front of `bytes`, if there is one.
fn take_record(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes([*bytes.get(3)?, *bytes.get(4)?]));
    let end = RECORD_HEAD + length;
    (bytes.len() >= end).then(|| bytes.drain(..end).collect())
}

impl Shared {
    fn record(&self, connection: usize, way: Way, bytes: &[u8]) {
        let tape = &mut self.tapes.lock().unwrap()[connection];
        match way {
            Way::ToServer => tape.to_server.extend_from_slice(bytes),
            Way::ToClient => tape.to_client.extend_from_slice(bytes),
        }
    }

    fn pass(&self, way: Way, record: &mut [u8]) {
        let mut plan = self.plan.lock().unwrap();
        let stage = plan.stage;
        let lengths = plan.records.entry((way, stage)).or_default();
        lengths.push(record.len());
        let number = lengths.len() - 1;
        if let Some(flip) = plan.flip
            && (flip.way, flip.stage, flip.record) == (way, stage, number)
            && !plan.is_done
            && let Some(byte) = record.get_mut(flip.byte)
        {
            *byte ^= 1 << flip.bit;
            plan.is_done = true;
        }
    }
}
