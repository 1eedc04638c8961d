//! Who gets in and who makes room, beside a model that is as plain as it is slow.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a test may panic, and an Instant can only be had from the clock"
)]

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use proptest::{collection::vec, prelude::*};
use server::{
    admission::{Admission, Admitted, Dropped, Limits, Refused, Source, Ticket},
    rate::{Bucket, Rate},
};

/// As many as anybody wants.
const MANY: usize = 1_000_000;

fn limits() -> Limits {
    let rate = Rate::new(MANY, MANY);
    Limits { connections: MANY, per_address: MANY, pending: MANY, pending_per_address: MANY, rate }
}

fn address(n: usize) -> Source {
    IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n).unwrap())).into()
}

/// The first address of subnet `n` of 2001:db8:`site`::/48.
fn subnet(site: u16, n: u16) -> Source {
    IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, site, n, 0, 0, 0, 1)).into()
}

/// An admission, and the numbers of the connections that it has let in.
struct Door {
    admission: Admission<usize>,
    now: Instant,
}

impl Door {
    fn new(limits: Limits) -> Self {
        Self { admission: Admission::new(limits), now: Instant::now() }
    }

    /// Connection `n` wants in, and gets in; `room` is who has to make room for it.
    fn enters(&mut self, source: usize, n: usize, room: Option<usize>) -> Ticket {
        let Admitted { ticket, dropped } = self.admission.admit(address(source), n, self.now).unwrap();
        assert_eq!(dropped.map(|dropped| dropped.handle), room, "for {n}");
        ticket
    }

    fn refuses(&mut self, source: usize) -> Refused {
        self.admission.admit(address(source), usize::MAX, self.now).unwrap_err()
    }
}

#[test]
fn an_address_is_what_its_owner_cannot_choose() {
    let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
    assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"), "so does a socket for both kinds see it");
    assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
    assert_ne!(source("::1"), source("0.0.0.1"));
}

#[test]
fn whoever_floods_from_one_address_pushes_out_the_flood() {
    let mut door = Door::new(Limits { pending: 10, ..limits() });
    let honest = door.enters(1, 1, None);
    for n in 0..1_000 {
        door.enters(2, 100 + n, (n >= 9).then(|| 91 + n));
    }
    // Others go on getting in, at the flood's cost, until none has more than they.
    for n in 0..4 {
        door.enters(3, 2_000 + n, Some(1_091 + n));
    }
    assert!(door.admission.logs_in(honest));
    door.enters(4, 3_000, None);
    door.enters(3, 3_001, Some(1_095));
    door.enters(3, 3_002, Some(2_000));
}

#[test]
fn whoever_floods_from_all_subnets_of_a_site_pushes_out_the_flood() {
    let mut admission = Admission::new(Limits { pending: 10, ..limits() });
    let now = Instant::now();
    let mut enters = |source, n: usize| admission.admit(source, n, now).unwrap();
    let honest = [enters(subnet(1, 1), 1), enters(address(1), 2)].map(|admitted| admitted.ticket);
    for n in 0..1_000 {
        let dropped = enters(subnet(2, n), 100 + usize::from(n)).dropped.map(|dropped| dropped.handle);
        assert_eq!(dropped, n.checked_sub(8).map(|before| 100 + usize::from(before)));
    }
    for ticket in honest {
        assert!(admission.logs_in(ticket));
    }
}

#[test]
fn whoever_floods_from_one_subnet_does_not_push_out_its_neighbours() {
    let mut admission = Admission::new(Limits { pending: 10, ..limits() });
    let now = Instant::now();
    let mut enters = |source, n: usize| admission.admit(source, n, now).unwrap();
    let neighbour = enters(subnet(2, 1), 1).ticket;
    for n in 0..1_000 {
        enters(subnet(2, 2), 100 + n);
    }
    let newcomer = enters(subnet(2, 3), 2_000);
    assert_eq!(newcomer.dropped.map(|dropped| dropped.handle), Some(1_091));
    for ticket in [neighbour, newcomer.ticket] {
        assert!(admission.logs_in(ticket));
    }
}

#[test]
fn of_many_who_flood_from_an_address_each_nobody_is_pushed_out_before_the_oldest() {
    let mut door = Door::new(Limits { pending: 4, ..limits() });
    for n in 0..4 {
        door.enters(n, n, None);
    }
    for n in 4..100 {
        door.enters(n, n, Some(n - 4));
    }
}

#[test]
fn who_gets_further_is_not_the_next_to_make_room() {
    let mut door = Door::new(Limits { pending_per_address: 3, ..limits() });
    let tickets: Vec<_> = (0..3).map(|n| door.enters(1, n, None)).collect();
    door.admission.gets_further(tickets[0]);
    door.enters(1, 3, Some(1));
    door.admission.gets_further(tickets[2]);
    door.enters(1, 4, Some(0));
    door.enters(1, 5, Some(3));
    assert!(!door.admission.logs_in(tickets[0]), "it had to make room");
    assert!(door.admission.logs_in(tickets[2]));
    door.enters(1, 6, None);
}

#[test]
fn nobody_who_is_logged_in_makes_room() {
    let mut door = Door::new(Limits { connections: 3, per_address: 2, ..limits() });
    for n in 0..2 {
        let ticket = door.enters(1, n, None);
        assert!(door.admission.logs_in(ticket));
    }
    assert_eq!(door.refuses(1), Refused::AddressFull);
    let stranger = door.enters(2, 2, None);
    let other = door.enters(3, 3, Some(2));
    assert!(!door.admission.logs_in(stranger));
    assert!(door.admission.logs_in(other));
    assert_eq!(door.refuses(4), Refused::Full);
    assert_eq!(door.admission.makes_room(door.now), None);
    door.admission.leaves(other, door.now);
    door.enters(4, 5, None);
}

#[test]
fn an_address_that_comes_too_often_waits_and_others_do_not() {
    let mut door = Door::new(Limits { rate: Rate::new(60, 5), ..limits() });
    for n in 0..5 {
        let ticket = door.enters(1, n, None);
        door.admission.leaves(ticket, door.now);
    }
    for _ in 0..100 {
        assert_eq!(door.refuses(1), Refused::TooFast);
    }
    door.enters(2, 7, None);
    door.now += Duration::from_secs(1);
    door.enters(1, 8, None);
    assert_eq!(door.refuses(1), Refused::TooFast);
}

#[test]
fn as_many_addresses_as_there_are_do_not_fill_the_table() {
    let limits = Limits { pending: 100, rate: Rate::new(1, 100), ..limits() };
    let mut door = Door::new(limits);
    for n in 0..100_000 {
        let ticket = door.admission.admit(address(n), n, door.now).unwrap().ticket;
        if n % 2 == 0 {
            door.admission.leaves(ticket, door.now);
        }
        assert!(door.admission.sources() <= 16_384 + 100);
        door.now += Duration::from_millis(1);
    }
    door.now += Duration::from_secs(60);
    door.enters(1, 1, Some(99_801));
    assert_eq!(door.admission.sources(), 100, "and is forgotten in time");
}

/// What may happen.
#[derive(Clone, Debug)]
enum Event {
    Comes(usize),
    GetsFurther(prop::sample::Index),
    LogsIn(prop::sample::Index),
    LogsOut(prop::sample::Index),
    Leaves(prop::sample::Index),
    NoSocket,
    Waits(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        // Some come more often than others.
        8 => prop_oneof![Just(0), 0..3usize, 0..20usize].prop_map(Event::Comes),
        3 => any::<prop::sample::Index>().prop_map(Event::GetsFurther),
        2 => any::<prop::sample::Index>().prop_map(Event::LogsIn),
        1 => any::<prop::sample::Index>().prop_map(Event::LogsOut),
        4 => any::<prop::sample::Index>().prop_map(Event::Leaves),
        1 => Just(Event::NoSocket),
        2 => (0..20_000u64).prop_map(Event::Waits),
    ];
    vec(event, 0..300)
}

fn some_limits() -> impl Strategy<Value = Limits> {
    (1..30usize, 1..20usize, 1..20usize, 1..15usize, 1..200usize, 1..30usize).prop_map(
        |(connections, per_address, pending, pending_per_address, per_minute, burst)| {
            let rate = Rate::new(per_minute, burst);
            Limits { connections, per_address, pending, pending_per_address, rate }
        },
    )
}

/// The connections in the order in which they got as far as they are.
struct Model {
    limits: Limits,
    there: Vec<Known>,
    buckets: BTreeMap<Source, Bucket>,
}

#[derive(Clone, Copy)]
struct Known {
    number: usize,
    source: Source,
    ticket: Option<Ticket>,
    is_logged_in: bool,
}

impl Model {
    fn pending_of(&self, source: Source) -> usize {
        self.there.iter().filter(|known| known.source == source && !known.is_logged_in).count()
    }

    /// The pending connection that got no further for the longest time, of all or of one address.
    fn oldest(&self, of: Option<Source>) -> Option<usize> {
        let pending = |known: &&Known| !known.is_logged_in && of.is_none_or(|source| source == known.source);
        self.there.iter().find(pending).map(|known| known.number)
    }

    /// The same, of the addresses with the most of them.
    fn oldest_of_the_most(&self) -> Option<usize> {
        let most = self.there.iter().map(|known| self.pending_of(known.source)).max()?;
        let crowded = |known: &&Known| !known.is_logged_in && self.pending_of(known.source) == most;
        self.there.iter().find(crowded).map(|known| known.number)
    }

    fn comes(&mut self, number: usize, source: Source, now: Instant) -> Result<Option<(usize, bool)>, Refused> {
        self.buckets.entry(source).or_default().take(self.limits.rate, now).map_err(|_| Refused::TooFast)?;
        let of_source = self.there.iter().filter(|known| known.source == source).count();
        let pending = self.there.iter().filter(|known| !known.is_logged_in).count();
        let own = self.pending_of(source);
        let dropped = if of_source >= self.limits.per_address || own >= self.limits.pending_per_address {
            Some((self.oldest(Some(source)).ok_or(Refused::AddressFull)?, true))
        } else if self.there.len() >= self.limits.connections || pending >= self.limits.pending {
            let most = self.there.iter().map(|known| self.pending_of(known.source)).max().unwrap_or(0);
            let oldest = if own > 0 && own >= most { self.oldest(Some(source)) } else { self.oldest_of_the_most() };
            Some((oldest.ok_or(Refused::Full)?, false))
        } else {
            None
        };
        if let Some((dropped, _)) = dropped {
            self.there.retain(|known| known.number != dropped);
        }
        self.there.push(Known { number, source, ticket: None, is_logged_in: false });
        Ok(dropped)
    }

    fn logs_out(&mut self, ticket: Ticket) -> Option<(usize, bool)> {
        let place = self.there.iter().position(|known| known.ticket == Some(ticket) && known.is_logged_in)?;
        let Known { source, .. } = self.there[place];
        self.there[place].is_logged_in = false;
        self.there[place..].rotate_left(1);
        let pending = self.there.iter().filter(|known| !known.is_logged_in).count();
        let dropped = if self.pending_of(source) > self.limits.pending_per_address {
            (self.oldest(Some(source))?, true)
        } else if pending > self.limits.pending {
            (self.oldest_of_the_most()?, false)
        } else {
            return None;
        };
        self.there.retain(|known| known.number != dropped.0);
        Some(dropped)
    }
}

fn dropped(dropped: Dropped<usize>) -> (usize, bool) {
    (dropped.handle, dropped.for_its_address)
}

#[test]
fn whose_session_has_ended_makes_room() {
    let mut door = Door::new(Limits { connections: 2, per_address: 1, ..limits() });
    let first = door.enters(1, 1, None);
    assert!(door.admission.logs_in(first));
    assert_eq!(door.refuses(1), Refused::AddressFull);
    assert_eq!(door.admission.logs_out(first, door.now), None);
    let second = door.enters(1, 2, Some(1));
    assert!(door.admission.logs_in(second) && !door.admission.logs_in(first));
}

proptest! {
    #[test]
    fn it_does_as_the_model_does(limits in some_limits(), events in events()) {
        let mut now = Instant::now();
        let mut admission = Admission::new(limits);
        let mut model = Model { limits, there: Vec::new(), buckets: BTreeMap::new() };
        let mut tickets = Vec::new();
        for (number, event) in events.into_iter().enumerate() {
            match event {
                Event::Comes(n) => {
                    let got = admission.admit(address(n), number, now);
                    let ticket = got.as_ref().ok().map(|admitted| admitted.ticket);
                    prop_assert_eq!(got.map(|admitted| admitted.dropped.map(dropped)), model.comes(number, address(n), now));
                    if let Some(known) = model.there.iter_mut().find(|known| known.number == number) {
                        known.ticket = ticket;
                        tickets.extend(ticket);
                    }
                }
                // Also those that are gone are named now and then: their drivers may not have heard of it.
                Event::GetsFurther(index) if !tickets.is_empty() => {
                    let ticket = *index.get(&tickets);
                    admission.gets_further(ticket);
                    if let Some(place) = model.there.iter().position(|known| known.ticket == Some(ticket)) {
                        let known = model.there.remove(place);
                        model.there.push(known);
                    }
                }
                Event::LogsIn(index) if !tickets.is_empty() => {
                    let ticket = *index.get(&tickets);
                    let known = model.there.iter_mut().find(|known| known.ticket == Some(ticket));
                    prop_assert_eq!(admission.logs_in(ticket), known.is_some());
                    if let Some(known) = known {
                        known.is_logged_in = true;
                    }
                }
                Event::LogsOut(index) if !tickets.is_empty() => {
                    let ticket = *index.get(&tickets);
                    prop_assert_eq!(admission.logs_out(ticket, now).map(dropped), model.logs_out(ticket));
                }
                Event::Leaves(index) if !tickets.is_empty() => {
                    let ticket = *index.get(&tickets);
                    admission.leaves(ticket, now);
                    model.there.retain(|known| known.ticket != Some(ticket));
                }
                Event::NoSocket => {
                    let oldest = model.oldest_of_the_most();
                    prop_assert_eq!(admission.makes_room(now), oldest);
                    model.there.retain(|known| Some(known.number) != oldest);
                }
                Event::Waits(ms) => now += Duration::from_millis(ms),
                Event::GetsFurther(_) | Event::LogsIn(_) | Event::LogsOut(_) | Event::Leaves(_) => {}
            }
            let pending = model.there.iter().filter(|known| !known.is_logged_in).count();
            prop_assert_eq!((admission.len(), admission.pending()), (model.there.len(), pending));
            prop_assert!(admission.len() <= limits.connections && admission.pending() <= limits.pending);
            prop_assert!(admission.sources() <= 20);
        }
        for ticket in tickets {
            admission.leaves(ticket, now);
        }
        prop_assert!(admission.is_empty() && admission.pending() == 0);
        now += Duration::from_secs(3_600);
        let _ = admission.admit(address(0), 0, now);
        prop_assert_eq!(admission.sources(), 1, "nobody is remembered for ever");
    }
}
