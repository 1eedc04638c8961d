//! Who may connect, and who has to make room for whom, as a machine: no socket, no clock.
//!
//! A connection is **pending** from when it is accepted until its user is logged in, and while it is only being told that
//! its session has ended. What a stranger can do is to be pending; so only the pending make room, and nobody who is
//! logged in ever does. Who makes room is chosen so that whoever floods pushes out the flood: of one address, or of the
//! network with the most pending ones and there of the address with the most, the connection that has got no further for
//! the longest time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use crate::rate::{Bucket, Rate};

/// Addresses without a connection that are remembered because they have had many of late. Beyond that the one that has
/// to wait the least is forgotten.
const MAX_REMEMBERED: usize = 16_384;

/// An address as the limits count it: an IPv4 address, or the /64 of an IPv6 address, which is the least that anybody
/// gets. IPv4 addresses that are written as IPv6 ones (RFC 4291 section 2.5.5.2) count as what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The whole address.
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6([u16; 4]),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// What one owner of addresses may well have: an IPv4 address, or the /48 of an IPv6 address, in which there are 65,536
/// [`Source`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Network {
    V4(Ipv4Addr),
    V6([u16; 3]),
}

impl From<Source> for Network {
    fn from(source: Source) -> Self {
        match source {
            Source::V4(address) => Self::V4(address),
            Source::V6([a, b, c, _]) => Self::V6([a, b, c]),
        }
    }
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub connections: usize,
    /// Of one address.
    pub per_address: usize,
    /// Pending in all.
    pub pending: usize,
    /// Pending of one address.
    pub pending_per_address: usize,
    /// New ones of one address.
    pub rate: Rate,
}

/// Names a connection that was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// The connections that there are. With each of them goes an `H`, by which its driver ends it.
#[derive(Debug)]
pub struct Admission<H> {
    limits: Limits,
    sources: BTreeMap<Source, Crowd>,
    connections: BTreeMap<Ticket, Connection<H>>,
    networks: BTreeMap<Network, Pending<Source>>,
    /// Of all networks.
    pending: Pending<Network>,
    /// Addresses that have no connection and are not forgotten before this moment.
    remembered: BTreeSet<(Instant, Source)>,
    steps: u64,
}

/// Orders what pending connections have done: being accepted, and each step towards the log-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Step(u64);

/// What there is of one address.
#[derive(Debug, Default)]
struct Crowd {
    pending: BTreeMap<Step, Ticket>,
    logged_in: usize,
    bucket: Bucket,
}

/// The pending connections of several, who are addresses or networks.
#[derive(Debug)]
struct Pending<T> {
    /// Those who have some, the one with the most last; of several the one whose oldest is the oldest.
    crowds: BTreeSet<(Rank, T)>,
    count: usize,
}

/// How many pending connections there are, and the oldest of the greatest crowd of them.
type Rank = (usize, Reverse<Step>);

#[derive(Debug)]
struct Connection<H> {
    source: Source,
    /// The last step of one that is pending.
    pending: Option<Step>,
    handle: H,
}

/// A new connection has its place.
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted<H> {
    /// Its own.
    pub ticket: Ticket,
    /// The one that had to make room, if one had to. It counts as gone.
    pub dropped: Option<Dropped<H>>,
}

/// A pending connection that had to make room.
#[derive(Debug, PartialEq, Eq)]
pub struct Dropped<H> {
    /// What its driver is told by.
    pub handle: H,
    /// Whether it was for the sake of its own address's limit, rather than of one for all.
    pub for_its_address: bool,
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its address has made too many of late.
    TooFast,
    /// All that its address may have are logged in.
    AddressFull,
    /// All that there may be are logged in.
    Full,
}

impl<H> Admission<H> {
    /// Nobody is there yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            sources: BTreeMap::new(),
            connections: BTreeMap::new(),
            networks: BTreeMap::new(),
            pending: Pending::default(),
            remembered: BTreeSet::new(),
            steps: 0,
        }
    }

    /// A connection from `source` wants in, at `now`.
    ///
    /// # Errors
    /// [`Refused`]: it is to be closed at once.
    pub fn admit(&mut self, source: Source, handle: H, now: Instant) -> Result<Admitted<H>, Refused> {
        self.forget(now);
        self.awake(source);
        let crowd = self.sources.entry(source).or_default();
        let rate = crowd.bucket.take(self.limits.rate, now);
        let (of_address, pending_of_address) = (crowd.len(), crowd.pending.len());
        let victim = if rate.is_err() {
            Err(Refused::TooFast)
        } else if of_address >= self.limits.per_address {
            if pending_of_address > 0 { Ok(Some((source, true))) } else { Err(Refused::AddressFull) }
        } else if pending_of_address >= self.limits.pending_per_address {
            Ok(Some((source, true)))
        } else if self.connections.len() >= self.limits.connections || self.pending.count >= self.limits.pending {
            self.crowded(Some((source, pending_of_address))).map(|crowded| Some((crowded, false))).ok_or(Refused::Full)
        } else {
            Ok(None)
        };
        let victim = victim.inspect_err(|_| self.rest(source, now))?;
        let dropped = victim.and_then(|(source, for_its_address)| {
            Some(Dropped { handle: self.drop_oldest(source, now)?, for_its_address })
        });
        let ticket = self.enter(source, handle);
        Ok(Admitted { ticket, dropped })
    }

    /// A pending connection has done what costs its client something: it is the last now to make room.
    pub fn gets_further(&mut self, ticket: Ticket) {
        let step = self.next_step();
        let Some(Connection { source, pending: Some(last), .. }) = self.connections.get_mut(&ticket) else {
            return;
        };
        let (source, last) = (*source, std::mem::replace(last, step));
        self.change(source, |crowd| {
            crowd.pending.remove(&last);
            crowd.pending.insert(step, ticket);
        });
    }

    /// The user of a connection is logged in. Whether it was still there: otherwise it has had to make room, and is to
    /// end.
    pub fn logs_in(&mut self, ticket: Ticket) -> bool {
        let Some(connection) = self.connections.get_mut(&ticket) else {
            return false;
        };
        let source = connection.source;
        if let Some(step) = connection.pending.take() {
            self.change(source, |crowd| {
                crowd.pending.remove(&step);
                crowd.logged_in = crowd.logged_in.saturating_add(1);
            });
        }
        true
    }

    /// The session of a connection has ended, at `now`: the connection is pending again until it leaves, and the last now
    /// to make room. The one that has to make room for that, as when another is admitted.
    pub fn logs_out(&mut self, ticket: Ticket, now: Instant) -> Option<Dropped<H>> {
        let step = self.next_step();
        let Some(Connection { source, pending: pending @ None, .. }) = self.connections.get_mut(&ticket) else {
            return None;
        };
        *pending = Some(step);
        let source = *source;
        self.change(source, |crowd| {
            crowd.logged_in = crowd.logged_in.saturating_sub(1);
            crowd.pending.insert(step, ticket);
        });
        let pending_of_address = self.sources.get(&source).map_or(0, |crowd| crowd.pending.len());
        let (crowded, for_its_address) = if pending_of_address > self.limits.pending_per_address {
            (source, true)
        } else if self.pending.count > self.limits.pending {
            (self.crowded(None)?, false)
        } else {
            return None;
        };
        Some(Dropped { handle: self.drop_oldest(crowded, now)?, for_its_address })
    }

    /// A connection has ended, at `now`. One that had to make room has been gone since then.
    pub fn leaves(&mut self, ticket: Ticket, now: Instant) {
        let Some(Connection { source, pending, .. }) = self.connections.remove(&ticket) else {
            return;
        };
        self.change(source, |crowd| match pending {
            Some(step) => _ = crowd.pending.remove(&step),
            None => crowd.logged_in = crowd.logged_in.saturating_sub(1),
        });
        self.rest(source, now);
    }

    /// The system has no more to give: a pending connection has to make room, as if for one more.
    pub fn makes_room(&mut self, now: Instant) -> Option<H> {
        let source = self.crowded(None)?;
        self.drop_oldest(source, now)
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// How many of them are pending.
    pub fn pending(&self) -> usize {
        self.pending.count
    }

    /// How many addresses are known.
    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    fn enter(&mut self, source: Source, handle: H) -> Ticket {
        self.awake(source);
        let step = self.next_step();
        // A step is taken once, so it also tells connections apart.
        let ticket = Ticket(step.0);
        self.connections.insert(ticket, Connection { source, pending: Some(step), handle });
        self.change(source, |crowd| _ = crowd.pending.insert(step, ticket));
        ticket
    }

    fn drop_oldest(&mut self, source: Source, now: Instant) -> Option<H> {
        let (_, ticket) = self.sources.get(&source)?.pending.first_key_value()?;
        let ticket = *ticket;
        // What it leaves with is taken out before it counts as gone.
        let connection = self.connections.remove(&ticket)?;
        if let Some(step) = connection.pending {
            self.change(source, |crowd| _ = crowd.pending.remove(&step));
        }
        self.rest(source, now);
        Some(connection.handle)
    }

    /// The address that makes room: the one with the most pending connections in the network with the most. `newcomer` is
    /// for whom, and how many pending ones its address has: with it they may be the ones with the most.
    fn crowded(&self, newcomer: Option<(Source, usize)>) -> Option<Source> {
        let (most, network) = self.pending.greatest()?;
        let own = newcomer.and_then(|(source, of_address)| {
            let network = self.networks.get(&source.into()).filter(|network| network.count >= most)?;
            Some((source, of_address, network))
        });
        let Some((source, of_address, network)) = own else {
            return self.networks.get(&network)?.greatest().map(|(_, crowded)| crowded);
        };
        let (most, crowded) = network.greatest()?;
        Some(if of_address >= most { source } else { crowded })
    }

    /// Changes what there is of an address, and keeps its place among the crowds.
    fn change(&mut self, source: Source, change: impl FnOnce(&mut Crowd)) {
        let crowd = self.sources.entry(source).or_default();
        let before = crowd.rank();
        change(crowd);
        let after = crowd.rank();
        let name = Network::from(source);
        let network = self.networks.entry(name).or_default();
        let network_before = network.rank();
        network.moves(source, before, after);
        let network_after = network.rank();
        if network_after.is_none() {
            self.networks.remove(&name);
        }
        self.pending.moves(name, network_before, network_after);
    }

    /// An address that has no connection is remembered for as long as its rate is not as if it had never been there.
    fn rest(&mut self, source: Source, now: Instant) {
        let Some(crowd) = self.sources.get(&source).filter(|crowd| crowd.len() == 0) else {
            return;
        };
        match crowd.bucket.full_at() {
            Some(full_at) if full_at > now => {
                self.remembered.insert((full_at, source));
                if self.remembered.len() > MAX_REMEMBERED
                    && let Some((_, least)) = self.remembered.pop_first()
                {
                    self.sources.remove(&least);
                }
            }
            _ => _ = self.sources.remove(&source),
        }
    }

    /// An address that has, or is about to have, a connection is forgotten at no moment.
    fn awake(&mut self, source: Source) {
        if let Some(full_at) = self.sources.get(&source).and_then(|crowd| crowd.bucket.full_at()) {
            self.remembered.remove(&(full_at, source));
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some((full_at, source)) = self.remembered.first().copied()
            && full_at <= now
        {
            self.remembered.pop_first();
            self.sources.remove(&source);
        }
    }

    fn next_step(&mut self) -> Step {
        self.steps = self.steps.saturating_add(1);
        Step(self.steps)
    }
}

impl Crowd {
    fn len(&self) -> usize {
        self.pending.len().saturating_add(self.logged_in)
    }

    fn rank(&self) -> Option<Rank> {
        let (oldest, _) = self.pending.first_key_value()?;
        Some((self.pending.len(), Reverse(*oldest)))
    }
}

impl<T: Copy + Ord> Pending<T> {
    /// Who has the most, and how many.
    fn greatest(&self) -> Option<(usize, T)> {
        self.crowds.last().map(|((count, _), who)| (*count, *who))
    }

    fn rank(&self) -> Option<Rank> {
        let ((_, oldest), _) = self.crowds.last()?;
        Some((self.count, *oldest))
    }

    /// One of them has had `before`, and now has `after`.
    fn moves(&mut self, who: T, before: Option<Rank>, after: Option<Rank>) {
        if let Some(before) = before {
            self.crowds.remove(&(before, who));
            self.count = self.count.saturating_sub(before.0);
        }
        if let Some(after) = after {
            self.crowds.insert((after, who));
            self.count = self.count.saturating_add(after.0);
        }
    }
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self { crowds: BTreeSet::new(), count: 0 }
    }
}
