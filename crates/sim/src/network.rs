//! Bytes on their way: late, in pieces, in part, or not at all. What a TCP connection promises is kept: what arrives is
//! a prefix of what was written.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::dice::Dice;

/// Names a connection in its world.
pub(crate) type Link = u64;

/// All connections that there are.
pub(crate) struct Network {
    connections: BTreeMap<Link, Connection>,
    made: Link,
    dice: Dice,
    /// Every piece takes at least this long.
    latency: Duration,
    /// And up to this much longer.
    jitter: Duration,
    /// Bytes that may be on their way, or there and unread, in one direction of a connection.
    capacity: usize,
}

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Bytes(Bytes),
    /// There is nothing more to come.
    End,
}

/// Who notices at once that a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noticed {
    Both,
    /// The session lives on, until its client is back or its time is up.
    Client,
    /// The client takes the server for alive, until it misses its answers.
    Server,
    Neither,
}

struct Connection {
    up: Pipe,
    down: Pipe,
    has_client: bool,
    has_server: bool,
}

struct Pipe {
    flying: VecDeque<(Instant, Piece)>,
    bytes: usize,
    /// Nothing overtakes what arrives then.
    latest: Instant,
    /// What is written from now on arrives nowhere.
    is_cut: bool,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let latency = dice.time(Duration::from_millis(100));
        let jitter = dice.time(Duration::from_millis(50));
        let capacity = dice.pick(&[4_096, 65_536, 262_144]);
        Self { connections: BTreeMap::new(), made: 0, dice, latency, jitter, capacity }
    }

    /// Makes a connection with both of its ends.
    pub(crate) fn connect(&mut self, now: Instant) -> Link {
        self.made += 1;
        let pipe = || Pipe { flying: VecDeque::new(), bytes: 0, latest: now, is_cut: false };
        let connection = Connection { up: pipe(), down: pipe(), has_client: true, has_server: true };
        self.connections.insert(self.made, connection);
        self.made
    }

    /// How long a connection takes to be made.
    pub(crate) fn handshake(&mut self) -> Duration {
        self.latency * 4 + self.dice.time(self.jitter)
    }

    /// Whether what is written arrives, both ways.
    pub(crate) fn is_alive(&self, link: Link) -> bool {
        self.connections.get(&link).is_some_and(|connection| !connection.up.is_cut && !connection.down.is_cut)
    }

    /// Whether the writer may write: like a socket, the network takes in only so much that is not read.
    pub(crate) fn has_room(&self, link: Link, way: Way) -> bool {
        self.pipe(link, way).is_some_and(|pipe| pipe.bytes < self.capacity)
    }

    pub(crate) fn write(&mut self, link: Link, way: Way, mut bytes: Bytes, now: Instant) {
        let (latency, jitter) = (self.latency, self.jitter);
        let Self { connections, dice, .. } = self;
        let Some(pipe) = connections.get_mut(&link).map(|connection| connection.pipe_mut(way)) else {
            return;
        };
        pipe.bytes += bytes.len();
        if pipe.is_cut {
            return;
        }
        if dice.per_mille(100) {
            let first = bytes.split_to(dice.index(bytes.len()));
            if !first.is_empty() {
                pipe.put(now + latency + dice.time(jitter), Piece::Bytes(first));
            }
        }
        pipe.put(now + latency + dice.time(jitter), Piece::Bytes(bytes));
    }

    /// When the next piece arrives that way.
    pub(crate) fn arrives(&self, link: Link, way: Way) -> Option<Instant> {
        self.pipe(link, way)?.flying.front().map(|(at, _)| *at)
    }

    /// Takes the piece that [`Self::arrives`] is about.
    pub(crate) fn read(&mut self, link: Link, way: Way) -> Option<Piece> {
        let pipe = self.connections.get_mut(&link)?.pipe_mut(way);
        let (_, piece) = pipe.flying.pop_front()?;
        if let Piece::Bytes(bytes) = &piece {
            pipe.bytes -= bytes.len();
        }
        Some(piece)
    }

    /// Writes no more that way, in order: what was written arrives, then the end.
    pub(crate) fn finish(&mut self, link: Link, way: Way, now: Instant) {
        let at = now + self.latency;
        if let Some(pipe) = self.connections.get_mut(&link).map(|connection| connection.pipe_mut(way)) {
            pipe.finish(at);
        }
    }

    /// Takes an end of the connection away, as a system does when its process closes it or dies: what comes from the
    /// other side is lost, and if there was some unread, what this side has written may be lost as well.
    pub(crate) fn close(&mut self, link: Link, written: Way, now: Instant) {
        let at = now + self.latency;
        let Self { connections, dice, .. } = self;
        let Some(connection) = connections.get_mut(&link) else {
            return;
        };
        let read = connection.pipe_mut(if written == Way::Up { Way::Down } else { Way::Up });
        let is_unread = !read.flying.is_empty();
        read.flying.clear();
        read.is_cut = true;
        let pipe = connection.pipe_mut(written);
        if is_unread && dice.per_mille(300) {
            let was_finished = pipe.cut(dice);
            pipe.is_cut &= !was_finished;
        }
        pipe.finish(at);
        match written {
            Way::Up => connection.has_client = false,
            Way::Down => connection.has_server = false,
        }
        if !connection.has_client && !connection.has_server {
            connections.remove(&link);
        }
    }

    /// Cuts a connection: of what is on its way, each direction loses all from some byte on.
    pub(crate) fn cut(&mut self, link: Link, noticed: Noticed, now: Instant) {
        let Self { connections, dice, latency, .. } = self;
        let Some(connection) = connections.get_mut(&link) else {
            return;
        };
        for (pipe, is_told) in [
            (&mut connection.up, matches!(noticed, Noticed::Both | Noticed::Server)),
            (&mut connection.down, matches!(noticed, Noticed::Both | Noticed::Client)),
        ] {
            pipe.cut(dice);
            pipe.is_cut = !is_told;
            pipe.finish(now + dice.time(*latency));
            pipe.is_cut = true;
        }
    }

    /// Holds up what is on its way, and all that is written later, until so much later.
    pub(crate) fn stall(&mut self, link: Link, way: Way, now: Instant, length: Duration) {
        if let Some(pipe) = self.connections.get_mut(&link).map(|connection| connection.pipe_mut(way)) {
            for (at, _) in &mut pipe.flying {
                *at = (*at).max(now) + length;
            }
            pipe.latest = pipe.latest.max(now) + length;
        }
    }

    /// Lets the client hear that the connection is gone; what it has written arrives, so much later.
    pub(crate) fn strand(&mut self, link: Link, now: Instant, length: Duration) {
        self.stall(link, Way::Up, now, length);
        self.finish(link, Way::Down, now);
    }

    /// Ends all stalls.
    pub(crate) fn heal(&mut self, now: Instant) {
        let soon = now + self.latency + self.jitter;
        for connection in self.connections.values_mut() {
            for pipe in [&mut connection.up, &mut connection.down] {
                pipe.flying.iter_mut().for_each(|(at, _)| *at = (*at).min(soon));
                pipe.latest = pipe.latest.min(soon);
            }
        }
    }

    fn pipe(&self, link: Link, way: Way) -> Option<&Pipe> {
        let connection = self.connections.get(&link)?;
        Some(match way {
            Way::Up => &connection.up,
            Way::Down => &connection.down,
        })
    }
}

impl Connection {
    fn pipe_mut(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

impl Pipe {
    fn put(&mut self, at: Instant, piece: Piece) {
        self.latest = self.latest.max(at);
        self.flying.push_back((self.latest, piece));
    }

    fn finish(&mut self, at: Instant) {
        if !self.is_cut {
            self.put(at, Piece::End);
            self.is_cut = true;
        }
    }

    /// Loses all from some byte on. Says whether the end was among it.
    fn cut(&mut self, dice: &mut Dice) -> bool {
        let flying: usize = self.flying.iter().map(|(_, piece)| piece.len()).sum();
        let was_finished = self.flying.back().is_some_and(|(_, piece)| *piece == Piece::End);
        let mut left = dice.index(flying + 1);
        let mut kept = VecDeque::new();
        while let Some((at, Piece::Bytes(mut bytes))) = self.flying.pop_front() {
            bytes.truncate(left);
            left -= bytes.len();
            if bytes.is_empty() {
                break;
            }
            kept.push_back((at, Piece::Bytes(bytes)));
        }
        self.flying = kept;
        self.latest = self.flying.back().map_or(self.latest, |(at, _)| *at);
        was_finished
    }
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::End => 0,
        }
    }
}
