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
    session::{Session, Timer},
    signal::{SessionId, Signal},
};

use super::{client::Client, properties::Rule};

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
}

/// A state of the model.
#[derive(Clone)]
pub struct World {
    pub(super) places: Three<Arc<Place>>,
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
    /// The session that the router knows.
    pub(super) current: Option<SessionId>,
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

/// A signal in a session's mailbox, or on its way there.
#[derive(Debug, PartialEq, Eq)]
pub struct Flight {
    pub(super) origin: Person,
    pub(super) receiver: Person,
    pub(super) to: SessionId,
    pub(super) signal: Signal,
    digest: u64,
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

    pub(super) fn post(&mut self, flight: Flight) {
        let place = self.flights.partition_point(|other| other.digest < flight.digest);
        self.flights.insert(place, Arc::new(flight));
    }

    pub(super) fn take(&mut self, flight: &Flight) {
        if let Some(place) = self.flights.iter().position(|other| **other == *flight) {
            self.flights.remove(place);
        }
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

impl Flight {
    pub(super) fn new(origin: Person, receiver: Person, to: SessionId, signal: Signal) -> Self {
        let digest = digest(&(origin, to, &signal));
        Self { origin, receiver, to, signal, digest }
    }
}

fn digest(of: &impl Hash) -> u64 {
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
                    digest(&(&place.seats, place.current, &place.away, counts))
                })
                .hash(state);
        }
        for flight in &self.flights {
            flight.digest.hash(state);
        }
        (self.left, self.breach).hash(state);
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
        (self.id, self.attempt, self.late.is_some(), self.session.state(), timers).hash(state);
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
            if let Some(client) = &place.away {
                writeln!(f, "    away: {client}")?;
            }
        }
        for flight in &self.flights {
            writeln!(f, "  {flight}")?;
        }
        write!(f, "  {:?}", self.left)?;
        self.breach.map_or(Ok(()), |breach| write!(f, " {breach:?}"))
    }
}

impl fmt::Display for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Signal { session, chat, kind, .. } = &self.signal;
        write!(f, "{:?} {session:?} to {:?} {:?}: {kind:?} about {chat:?}", self.origin, self.receiver, self.to)
    }
}
