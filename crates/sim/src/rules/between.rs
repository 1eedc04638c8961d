//! How signals get from node to node, as `server/src/router/elsewhere.rs` and `links.rs` bring them there.

use protocol::{ChatId, UserName};
use server::{
    session::{Input, State},
    signal::{SessionId, Signal, SignalKind, Undelivered},
};

use super::{
    fault::Fault,
    flight::{Flight, To},
    nodes::{Status, Way, home_of, node, other},
    step::Step,
    world::{Person, Seat},
};

impl Step<'_> {
    /// Passes on what a session says, or says at once that it cannot.
    pub(super) fn say(&mut self, person: Person, id: SessionId, to: UserName, signal: Signal) -> Option<Input> {
        let (chat, is_repeated) = (signal.chat, signal.kind.is_repeated());
        let receiver = self.relay.person(&to)?;
        let why = self.pass_on(person, home_of(id), receiver, signal).err()?;
        Some(Input::Undelivered { to, chat, is_repeated, why })
    }

    pub(super) fn pass_on(
        &mut self,
        person: Person,
        home: usize,
        receiver: Person,
        signal: Signal,
    ) -> Result<(), Undelivered> {
        let place = self.world.place(receiver);
        if let Some(here) = place.views[home].here {
            if place.is_full && !signal.kind.may_take_the_last_places() {
                return Err(Undelivered::Full);
            }
            self.world.post(Flight::new(person, receiver, To::Mailbox(here.id), signal));
            return Ok(());
        }
        if self.world.nodes[home].status == Status::CutOff {
            return Err(Undelivered::Unreachable);
        }
        // Of somebody of whom the node has not heard the bucket may know.
        let is_found = matches!(signal.kind, SignalKind::Request { .. })
            && place.bucket.stands.is_some_and(|standing| home_of(standing.session) != home);
        let is_spoken_for = place.views[home].is_spoken_for && self.relay.fault != Fault::KnowsNoSpeaker;
        if !place.is_there(home) && !is_spoken_for && !is_found {
            return Err(Undelivered::Absent);
        }
        let attachment = self.world.nodes[home].attachment;
        let to = To::User { home: other(home), attachment, is_forgotten: false };
        self.tell(home, Flight::new(person, receiver, to, signal))
    }

    /// Tells the other node something. What does not get there is gone without a word.
    fn tell(&mut self, home: usize, flight: Flight) -> Result<(), Undelivered> {
        match self.world.nodes[home].way {
            Way::Shut => return Err(Undelivered::Unreachable),
            Way::Open if self.world.nodes[other(home)].is_attached() => self.world.post(flight),
            Way::Open | Way::Stale => {}
        }
        Ok(())
    }

    /// A word has come to the node that it is for.
    pub(super) fn is_heard(&mut self, flight: &Flight) {
        let Some(home) = flight.to.home() else {
            return;
        };
        let attachment = flight.to.attachment();
        if self.world.nodes[home].way == Way::Stale && attachment == Some(self.world.nodes[other(home)].attachment) {
            self.begins_anew(home, Way::Shut);
        }
        if let To::User { .. } = flight.to
            && !self.world.place(flight.origin).is_there(home)
        {
            let view = &mut self.world.place_mut(flight.origin).views[home];
            view.is_spoken_for |= view.here.is_none();
        }
        let place = self.world.place(flight.receiver);
        let here = place.views[home].here.map(|here| here.id);
        if let To::Sender { session, .. } = flight.to {
            if here == Some(session) {
                self.is_read(flight, session);
            }
            return;
        }
        match here {
            Some(_) if place.is_full && !flight.signal.kind.may_take_the_last_places() => {
                self.comes_back(home, flight, Undelivered::Full);
            }
            Some(id) => self.is_read(flight, id),
            None => self.comes_back(home, flight, Undelivered::Absent),
        }
    }

    /// What a session of the other node said could not be delivered here.
    fn comes_back(&mut self, home: usize, flight: &Flight, why: Undelivered) {
        let Signal { session, chat, kind, .. } = &flight.signal;
        let kind = SignalKind::Undelivered { is_repeated: kind.is_repeated(), why };
        let from = self.relay.names.of(flight.receiver).clone();
        let signal = Signal { from, session: *session, chat: *chat, kind };
        let to = To::Sender { session: *session, attachment: self.world.nodes[home].attachment };
        // Without a way back, nobody hears of it.
        let _ = self.tell(home, Flight::new(flight.receiver, flight.origin, to, signal));
    }

    /// It was in the mailbox of a session that has ended, and had not been read.
    pub(super) fn is_forgotten(&mut self, flight: &Flight) {
        if let (SignalKind::Request { .. }, Some(home)) = (&flight.signal.kind, flight.to.home()) {
            let ended = SessionId { node: node(home, false), number: 0 };
            self.turn_away(flight, home, ended);
        }
    }

    /// Whoever asked to talk is answered by the driver of a session that has ended.
    pub(super) fn turn_away(&mut self, flight: &Flight, home: usize, ended: SessionId) {
        let (from, chat) = (self.relay.names.of(flight.receiver).clone(), flight.signal.chat);
        let signal = Signal { from, session: ended, chat, kind: SignalKind::Unavailable };
        let _ = self.pass_on(flight.receiver, home, flight.origin, signal);
    }

    /// Words that are on their way to this node for the user may have come to the mailbox of the session that was the user's
    /// there, which is about to end.
    pub(super) fn may_be_forgotten(&mut self, person: Person, home: usize) {
        let is_one = |flight: &Flight| {
            flight.receiver == person
                && matches!(flight.to, To::User { home: to, is_forgotten: false, .. } if to == home)
        };
        while let Some(flight) = self.world.flights.iter().find(|flight| is_one(flight)).cloned() {
            self.world.flights.retain(|other| *other != flight);
            let To::User { home, attachment, .. } = flight.to else {
                return;
            };
            let to = To::User { home, attachment, is_forgotten: true };
            self.world.put(flight.on(to));
        }
    }

    /// A node sees where the other listens now.
    pub(super) fn finds_the_way(&mut self, home: usize) {
        match self.world.nodes[home].way {
            Way::Open => {}
            Way::Stale => self.begins_anew(home, Way::Open),
            Way::Shut => self.world.nodes[home].way = Way::Open,
        }
    }

    /// A node hears that the other has attached anew. What that said before it does not take in any more.
    fn begins_anew(&mut self, home: usize, way: Way) {
        let attachment = Some(self.world.nodes[other(home)].attachment);
        let is_old = |flight: &Flight| flight.to.home() == Some(home) && flight.to.attachment() < attachment;
        self.world.drop_flights(is_old);
        let node = &mut self.world.nodes[home];
        (node.way, node.has_missed) = (way, false);
        self.lapse(home);
    }

    /// What sessions of the other node have said may have been lost, and the sessions of this one are told so. Those that
    /// are in no chat and in no request have no use for it.
    pub(super) fn lapse(&mut self, home: usize) {
        self.world.nodes[home].has_missed = false;
        let there = node(other(home), false);
        let is_told = |person: Person, seat: &Seat| {
            seat.home() == home
                && (seat.is_joining() || self.world.place(person).is_current(seat.id))
                && seat.session.state().is_some_and(|state| *state != State::Free)
        };
        let told: Vec<_> = self.world.seats().filter(|(person, seat)| is_told(*person, seat)).collect();
        for (person, id) in told.into_iter().map(|(person, seat)| (person, seat.id)).collect::<Vec<_>>() {
            let (from, chat) = (self.relay.names.of(person).clone(), ChatId::from_bytes([0; 16]));
            let session = SessionId { node: there, number: 0 };
            let signal = Signal { from, session, chat, kind: SignalKind::Lapsed(there) };
            let flight = Flight::new(person, person, To::Mailbox(id), signal);
            // Once is enough.
            if !self.world.flights.iter().any(|other| **other == flight) {
                self.world.post(flight);
            }
        }
    }
}
