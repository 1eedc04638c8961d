//! Who is online where: what nodes put into the presence bucket and make of what they are told of it, as
//! `server/src/router/elsewhere.rs` and `cluster.rs` do it.

use protocol::ChatId;
use server::{session::Input, signal::SessionId};

use super::{
    fault::Fault,
    nodes::{Claim, HOMES, Here, Node, Standing, Status, View, Way, home_of, other},
    step::Step,
    world::Person,
};

impl Step<'_> {
    /// A session wants to be its user's.
    pub(super) fn joins(&mut self, person: Person, id: SessionId) {
        if !self.world.nodes[home_of(id)].is_attached() {
            self.is_turned_out(person, id);
        } else if let Some(seat) = self.world.seat_mut(person, id) {
            seat.claim = Some(Claim { is_again: false, outcome: None });
        }
    }

    /// A session that cannot be its user's now.
    fn is_turned_out(&mut self, person: Person, id: SessionId) {
        if let Some(seat) = self.world.seat_mut(person, id) {
            seat.claim = None;
            seat.deferred.clear();
        }
        self.input(person, id, Input::End(protocol::ServerError::Unavailable));
    }

    /// The bucket hears of a claim.
    pub(super) fn is_claimed(&mut self, person: Person, id: SessionId) -> Option<()> {
        let late_wins = self.relay.fault == Fault::LateLogInWins;
        let attachment = self.world.nodes[home_of(id)].attachment;
        let place = self.world.place_mut(person);
        let seat = place.seats.iter_mut().find(|seat| seat.id == id)?;
        let own = Standing { session: id, attempt: seat.attempt, held: seat.held, attachment };
        let claim = seat.claim.as_mut().filter(|claim| claim.outcome.is_none())?;
        let may_go = |found: &Standing| match claim.is_again {
            true => found.attempt.is_before(&own.attempt),
            false => late_wins || !own.attempt.is_before(&found.attempt),
        };
        claim.outcome = Some(match place.bucket.stands {
            Some(found) if found.session != id && !may_go(&found) => Err(found.held),
            _ => Ok(place.bucket.put(Some(own))),
        });
        Some(())
    }

    /// The node hears what became of a claim.
    pub(super) fn is_settled(&mut self, person: Person, id: SessionId) -> Option<()> {
        let home = home_of(id);
        let seat = self.world.seat_mut(person, id)?;
        let (claim, own_held) = (seat.claim.take()?, seat.held);
        let place = self.world.place_mut(person);
        let view = &mut place.views[home];
        let replaced = match (claim.is_again, claim.outcome?) {
            (false, Err(_)) => Some((id, own_held)),
            (true, Err(held)) => Some((id, held)),
            // A newer log-in was heard of before this one's own.
            (_, Ok(revision)) if view.told > revision && view.known.is_none_or(|known| known.session != id) => {
                Some((id, view.known.and_then(|known| known.held)))
            }
            (_, Ok(revision)) => {
                let older = view.here.replace(Here { id, revision: Some(revision) });
                if view.told < revision {
                    (view.told, view.known) = (revision, place.bucket.at(revision));
                }
                older.filter(|older| older.id != id).map(|older| (older.id, own_held))
            }
        };
        match replaced {
            Some((late, held)) if late == id && !claim.is_again => self.is_to_end(person, id, held),
            Some((older, held)) => self.gives_way(person, older, held),
            None => {}
        }
        self.forget(person);
        if !claim.is_again {
            let deferred = std::mem::take(&mut self.world.seat_mut(person, id)?.deferred);
            self.carry_out_all(person, id, deferred.into());
        }
        Some(())
    }

    /// The session is its user's no longer, for there is a newer one.
    fn gives_way(&mut self, person: Person, id: SessionId, held: Option<ChatId>) {
        for view in &mut self.world.place_mut(person).views {
            view.here = view.here.filter(|here| here.id != id);
        }
        self.is_to_end(person, id, held);
        self.may_be_forgotten(person, home_of(id));
    }

    fn is_to_end(&mut self, person: Person, id: SessionId, held: Option<ChatId>) {
        let fault = self.relay.fault;
        if let Some(seat) = self.world.seat_mut(person, id).filter(|_| fault != Fault::OlderSessionStays) {
            seat.replaced = Some(fault.held(held));
        }
    }

    /// A node is told the next that happened to a user's key in the bucket.
    pub(super) fn learns(&mut self, home: usize, person: Person) -> Option<()> {
        let place = self.world.place(person);
        let (revision, standing) = place.bucket.after(place.views[home].told)?;
        let there = self.world.nodes[other(home)];
        let elsewhere = standing.filter(|standing| home_of(standing.session) != home);
        if elsewhere.is_some_and(|standing| standing.attachment == there.attachment) && there.is_attached() {
            // The lease that it was put there under has come before.
            self.finds_the_way(home);
        }
        let place = self.world.place_mut(person);
        let view = &mut place.views[home];
        (view.told, view.known, view.is_spoken_for) = (revision, standing, false);
        let own = view.here.filter(|here| here.revision.is_some_and(|own| own < revision));
        match (own, elsewhere) {
            (Some(own), Some(standing)) => self.gives_way(person, own.id, standing.held),
            (Some(own), None) if standing.is_some_and(|standing| standing.session == own.id) => {
                view.here = Some(Here { revision: Some(revision), ..own });
            }
            _ => {}
        }
        self.forget(person);
        Some(())
    }

    /// What all nodes have been told needs not be remembered.
    fn forget(&mut self, person: Person) {
        let nodes = self.world.nodes;
        let place = self.world.place_mut(person);
        let told = HOMES.into_iter().filter(|home| nodes[*home].is_attached()).map(|home| place.views[home].told).min();
        place.bucket.forget(told.unwrap_or(place.bucket.revision));
    }

    /// Takes out of the bucket what stands there, if it is this session. What its node is told of that says nothing new.
    pub(super) fn strike(&mut self, person: Person, id: SessionId) {
        let home = home_of(id);
        let is_attached = self.world.nodes[home].is_attached();
        let place = self.world.place_mut(person);
        if is_attached && place.bucket.stands.is_some_and(|standing| standing.session == id) {
            let view = &mut place.views[home];
            let knows_all = view.told == place.bucket.revision;
            let revision = place.bucket.put(None);
            if knows_all {
                (view.told, view.known) = (revision, None);
            }
            self.forget(person);
        }
    }

    /// A node cannot reach the other any more, nor the bucket.
    pub(super) fn is_cut_off(&mut self, home: usize) {
        self.world.nodes[home] =
            Node { status: Status::CutOff, way: Way::Shut, has_missed: false, ..self.world.nodes[home] };
        self.world.drop_flights(|flight| flight.to.home() == Some(home));
        for person in Person::ALL {
            let is_there = self.world.place(person).is_there(home);
            let place = self.world.place_mut(person);
            let view = &mut place.views[home];
            view.known = view.known.filter(|_| !is_there);
            view.is_spoken_for = false;
            view.here = view.here.map(|here| Here { revision: None, ..here });
            let seats = place.seats.iter_mut().filter(|seat| seat.home() == home);
            let claims = seats.filter(|seat| seat.claim.is_some_and(|claim| claim.is_again));
            claims.for_each(|seat| seat.claim = None);
            self.forget(person);
        }
        self.lapse(home);
        let joining = self.world.seats().filter(|(_, seat)| seat.home() == home && seat.is_joining());
        for (person, id) in joining.map(|(person, seat)| (person, seat.id)).collect::<Vec<_>>() {
            self.is_turned_out(person, id);
        }
    }

    /// It can again: it reads the bucket, and puts its sessions there once more.
    pub(super) fn attaches(&mut self, home: usize) {
        let there = &mut self.world.nodes[other(home)];
        let way = if there.is_attached() { Way::Open } else { Way::Shut };
        if there.way == Way::Open {
            there.way = Way::Stale;
        }
        let attachment = self.world.nodes[home].attachment.saturating_add(1);
        self.world.nodes[home] = Node { status: Status::Attached, attachment, way, has_missed: false };
        for person in Person::ALL {
            let place = self.world.place_mut(person);
            let (revision, stands) = (place.bucket.revision, place.bucket.stands);
            let here = place.views[home].here.map(|here| {
                let is_own = stands.is_some_and(|standing| standing.session == here.id);
                Here { revision: is_own.then_some(revision), ..here }
            });
            place.views[home] = View { here, told: revision, known: stands, is_spoken_for: false };
            if let Some(seat) = place.seats.iter_mut().find(|seat| here.is_some_and(|here| here.id == seat.id)) {
                seat.claim = Some(Claim { is_again: true, outcome: None });
            }
            let is_own = |standing: &Standing| home_of(standing.session) == home;
            if let Some(standing) = stands.filter(is_own)
                && here.is_none_or(|here| here.id != standing.session)
            {
                self.strike(person, standing.session);
            }
            self.forget(person);
        }
    }

    /// A node is gone with all its sessions. Nobody is told.
    pub(super) fn dies(&mut self, home: usize) {
        self.world.nodes[home] =
            Node { status: Status::Gone, way: Way::Shut, has_missed: false, ..self.world.nodes[home] };
        self.world.drop_flights(|flight| {
            flight.to.home() == Some(home) || flight.to.mailbox().is_some_and(|session| home_of(session) == home)
        });
        for person in Person::ALL {
            let place = self.world.place_mut(person);
            place.views[home] = View::default();
            let newest = place.seats.last().map(|seat| seat.id);
            for seat in place.seats.extract_if(.., |seat| seat.home() == home) {
                if let Some(client) = seat.client.filter(|_| Some(seat.id) == newest && place.away.is_none()) {
                    place.away = Some(client.without_connection());
                }
            }
            self.forget(person);
        }
    }

    /// The other node has not been heard of for so long that it is taken for gone.
    pub(super) fn buries(&mut self, home: usize) {
        for person in Person::ALL {
            self.world.place_mut(person).views[home].is_spoken_for = false;
        }
        let node = &mut self.world.nodes[home];
        (node.way, node.has_missed) = (Way::Shut, false);
        self.world.drop_flights(|flight| flight.to.home() == Some(home));
        for person in
            Person::ALL.into_iter().filter(|person| self.world.place(*person).is_there(home)).collect::<Vec<_>>()
        {
            let place = self.world.place_mut(person);
            let view = &mut place.views[home];
            view.known = None;
            if view.told == place.bucket.revision {
                view.told = place.bucket.put(None);
            }
            self.forget(person);
        }
        self.lapse(home);
    }
}
