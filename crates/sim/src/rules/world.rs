//! A state of the model: who is connected by which session, what is on its way, and what may still happen.

use std::{
    collections::VecDeque,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use protocol::{Attempt, ChatId};
use server::{
    session::{Output, Session, Timer},
    signal::SessionId,
};

use super::{
    client::Client,
    flight::Flight,
    nodes::{Bucket, Claim, Node, View},
    properties::Rule,
};

/// The users of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Person {
    Alice,
    Bob,
    Carol,
}

impl Person {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Alice, Self::Bob, Self::Carol];

    /// Stands in what clients write to each other, and before the number in ids of sessions and chats: 1002 is alice's
    /// second session, 0b01… is bob's first chat.
    pub(super) const fn digit(self) -> u8 {
        match self {
            Self::Alice => 0xa,
            Self::Bob => 0xb,
            Self::Carol => 0xc,
        }
    }

    pub(super) fn others(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |other| *other != self)
    }
}

/// Something of each person.
#[derive(Clone, Debug, Hash)]
pub(super) struct Three<T> {
    alice: T,
    bob: T,
    carol: T,
}

impl<T> Three<T> {
    pub(super) fn new<E>(mut make: impl FnMut(Person) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self { alice: make(Person::Alice)?, bob: make(Person::Bob)?, carol: make(Person::Carol)? })
    }

    pub(super) fn of(&self, person: Person) -> &T {
        match person {
            Person::Alice => &self.alice,
            Person::Bob => &self.bob,
            Person::Carol => &self.carol,
        }
    }

    pub(super) fn of_mut(&mut self, person: Person) -> &mut T {
        match person {
            Person::Alice => &mut self.alice,
            Person::Bob => &mut self.bob,
            Person::Carol => &mut self.carol,
        }
    }
}

/// What may still happen that need not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Left {
    /// Requests to talk.
    pub calls: u8,
    /// Connections that end, seen from the client: cut, or left by `Exit`.
    pub cuts: u8,
    /// Log-ins after the first.
    pub logins: u8,
    /// Log-ins, besides those, that clients have given up before they arrive.
    pub lates: u8,
    /// Signals that get lost.
    pub losses: u8,
    /// Frames that a client misses although the line is open, so that it asks for them by `Resume`.
    pub gaps: u8,
    /// Ends of the server that nobody is told of, after which it is there again.
    pub crashes: u8,
    /// Mailboxes that are full until a letter is taken out.
    pub fulls: u8,
    /// Frames of carol's client that no honest client would send.
    pub lies: u8,
    /// Nodes that end without a word, and are not there again.
    pub deaths: u8,
    /// Times that a node cannot reach the other, for as long as it may be.
    pub cut_offs: u8,
}

/// A state of the model.
#[derive(Clone)]
pub struct World {
    pub(super) places: Three<Arc<Place>>,
    /// The first is the one that there is, where there is one.
    pub(super) nodes: [Node; 2],
    /// Signals on their way: a multiset, so sorted by digest.
    pub(super) flights: Vec<Arc<Flight>>,
    pub(super) left: Left,
    /// The rule that the last step broke.
    pub(super) breach: Option<Rule>,
}

/// All that there is of one person.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// The sessions that have not ended, the newest last.
    pub(super) seats: Vec<Seat>,
    /// The user's sessions, as each node has them.
    pub(super) views: [View; 2],
    /// What nodes agree on; nothing where there is one.
    pub(super) bucket: Bucket,
    /// The client while it has no connection.
    pub(super) away: Option<Client>,
    /// Whether the mailbox of the current session has no room but for what ends chats.
    pub(super) is_full: bool,
    pub(super) logins: u8,
    pub(super) calls: u8,
    /// Of all the rest, since most steps change one place and look at the digests of all.
    digest: OnceLock<u64>,
}

/// A real session with its driver's part, its connection, and its clock.
///
/// Each session has a clock of its own, and only what is left until its timers expire tells two states apart.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) id: SessionId,
    /// Which log-in of which client it is for.
    pub(super) attempt: Attempt,
    /// That log-in, while it is still to come although its client has given it up.
    pub(super) late: Option<Bytes>,
    pub(super) session: Session,
    pub(super) now: Instant,
    /// The chat that its client has from a connection before.
    pub(super) held: Option<ChatId>,
    /// What its node does so that it be its user's.
    pub(super) claim: Option<Claim>,
    /// What it wants done once it is.
    pub(super) deferred: Vec<Output>,
    /// How often its line has opened, which a session counts too, and which does not tell states apart.
    pub(super) openings: u8,
    /// The order to end because a newer log-in took its place, with the chat that the newer client holds.
    pub(super) replaced: Option<Option<ChatId>>,
    /// `None` when the connection is gone and the session has not heard of it.
    pub(super) client: Option<Client>,
    /// Frames on their way to the client.
    pub(super) down: VecDeque<Bytes>,
    /// Frames on their way to the session.
    pub(super) up: VecDeque<Bytes>,
}

impl World {
    pub(super) fn place(&self, person: Person) -> &Place {
        self.places.of(person)
    }

    pub(super) fn place_mut(&mut self, person: Person) -> &mut Place {
        let place = Arc::make_mut(self.places.of_mut(person));
        place.digest.take();
        place
    }

    pub(super) fn seat(&self, person: Person, id: SessionId) -> Option<&Seat> {
        self.place(person).seats.iter().find(|seat| seat.id == id)
    }

    pub(super) fn seat_mut(&mut self, person: Person, id: SessionId) -> Option<&mut Seat> {
        self.place_mut(person).seats.iter_mut().find(|seat| seat.id == id)
    }

    pub(super) fn seats(&self) -> impl Iterator<Item = (Person, &Seat)> {
        Person::ALL.into_iter().flat_map(|person| self.place(person).seats.iter().map(move |seat| (person, seat)))
    }

    pub(super) fn post(&mut self, mut flight: Flight) {
        if self.has_nodes() {
            let before = self.flights.iter().filter(|other| other.is_in_queue_of(&flight));
            let last = before.map(|other| other.number).max();
            flight = flight.at(last.map_or(0, |last| last.saturating_add(1)));
        }
        self.put(flight);
    }

    pub(super) fn put(&mut self, flight: Flight) {
        let place = self.flights.partition_point(|other| other.digest < flight.digest);
        self.flights.insert(place, Arc::new(flight));
    }

    pub(super) fn take(&mut self, flight: &Flight) {
        if let Some(place) = self.flights.iter().position(|other| **other == *flight) {
            self.flights.remove(place);
        }
        if self.has_nodes() {
            self.close_ranks();
        }
    }

    /// Takes out what goes to where this is true.
    pub(super) fn drop_flights(&mut self, is_one: impl Fn(&Flight) -> bool) {
        self.flights.retain(|flight| !is_one(flight));
        self.close_ranks();
    }

    /// What is left of a queue is numbered from 0, so that states alike are the same.
    fn close_ranks(&mut self) {
        let is_before = |flight: &Flight, other: &Flight| other.is_in_queue_of(flight) && other.number < flight.number;
        for place in 0..self.flights.len() {
            let flight = self.flights[place].clone();
            let before = self.flights.iter().filter(|other| is_before(&flight, other)).count();
            if usize::from(flight.number) != before {
                self.flights.remove(place);
                let number = u8::try_from(before).unwrap_or(u8::MAX);
                self.put(flight.on(flight.to).at(number));
                return self.close_ranks();
            }
        }
    }

    /// Whether no other signal comes before it. Where there are nodes, what is told one user, or lies in a mailbox, has
    /// its order; where there is one, signals may overtake each other.
    pub(super) fn is_first(&self, flight: &Flight) -> bool {
        !self.flights.iter().any(|other| other.is_in_queue_of(flight) && other.number < flight.number)
    }

    pub(super) fn has_nodes(&self) -> bool {
        self.nodes[1] != Node::NONE
    }

    pub(super) fn digest(&self) -> u64 {
        digest(self)
    }
}

impl Place {
    /// The newest session with a client, which is the one that its user sits at.
    pub(super) fn seat(&self) -> Option<&Seat> {
        self.seats.last().filter(|seat| seat.client.is_some())
    }

    pub(super) fn client_mut(&mut self) -> Option<&mut Client> {
        let newest = self.seats.last_mut().and_then(|seat| seat.client.as_mut());
        self.away.as_mut().or(newest)
    }

    /// The client that its user sits at.
    pub(super) fn client(&self) -> Option<&Client> {
        self.away.as_ref().or_else(|| self.seat().and_then(|seat| seat.client.as_ref()))
    }
}

impl Seat {
    /// The next of the timers that the model runs, and how long it still takes. The idle limit is not among them: to
    /// whomever else it may concern it is the end of a connection, and that may come at any time.
    pub(super) fn next_timer(&self) -> Option<(Timer, Duration)> {
        self.timers().min_by_key(|(timer, left)| (*left, *timer))
    }

    /// Frames on their way.
    pub(super) fn frames(&self) -> usize {
        self.up.len().saturating_add(self.down.len())
    }

    /// How long this timer still takes, if it runs.
    pub(super) fn wait_of(&self, timer: Timer) -> Option<Duration> {
        self.timers().find(|(running, _)| *running == timer).map(|(_, left)| left)
    }

    fn timers(&self) -> impl Iterator<Item = (Timer, Duration)> {
        let running = self.session.timers().running().filter(|(timer, _)| *timer != Timer::Idle);
        running.map(|(timer, at)| (timer, at.saturating_duration_since(self.now)))
    }
}

pub(super) fn digest(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for person in Person::ALL {
            let place = self.place(person);
            place
                .digest
                .get_or_init(|| {
                    let counts = (place.is_full, place.logins, place.calls);
                    digest(&(&place.seats, &place.views, &place.bucket, &place.away, counts))
                })
                .hash(state);
        }
        for flight in &self.flights {
            flight.digest.hash(state);
        }
        (self.nodes, self.left, self.breach).hash(state);
    }
}

impl PartialEq for World {
    /// The checker, too, tells states apart by their digests.
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Hash for Seat {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut timers: Vec<_> = self.timers().collect();
        timers.sort_unstable();
        // What is deferred says nothing that the session and its log-in do not.
        (self.id, self.attempt, self.late.is_some(), self.held, self.claim, self.session.state(), timers).hash(state);
        (self.replaced, &self.client, &self.down, &self.up).hash(state);
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.id, self.session.state())?;
        for (timer, left) in self.timers() {
            write!(f, ", {timer:?} in {left:?}")?;
        }
        if self.replaced.is_some() {
            write!(f, ", is to be replaced")?;
        }
        if self.late.is_some() {
            write!(f, ", its log-in is late")?;
        }
        if let Some(claim) = &self.claim {
            write!(f, ", {claim:?}")?;
        }
        match &self.client {
            Some(client) => write!(f, ", {client}")?,
            None => write!(f, ", no connection")?,
        }
        if self.frames() > 0 {
            write!(f, ", {} frames down, {} up", self.down.len(), self.up.len())?;
        }
        Ok(())
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for person in Person::ALL {
            let place = self.place(person);
            writeln!(f, "  {person:?}: {:?}", place.seats)?;
            for (home, view) in place.views.iter().enumerate().filter(|_| place.bucket.revision > 0) {
                let known = view.known.map(|standing| standing.session);
                writeln!(f, "    node {home} has {:?}, knows {known:?} as of {}", view.here, view.told)?;
            }
            if let Some(standing) = &place.bucket.stands {
                writeln!(f, "    the bucket has {:?} as of {}", standing.session, place.bucket.revision)?;
            }
            if let Some(client) = &place.away {
                writeln!(f, "    away: {client}")?;
            }
        }
        for (home, node) in self.nodes.iter().enumerate() {
            writeln!(f, "  node {home}: {node:?}")?;
        }
        for flight in &self.flights {
            writeln!(f, "  {flight}")?;
        }
        write!(f, "  {:?}", self.left)?;
        self.breach.map_or(Ok(()), |breach| write!(f, " {breach:?}"))
    }
}
