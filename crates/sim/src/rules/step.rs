//! One step: what the real sessions make of it, and where their outputs go, as the server's driver and router do it.

use std::{collections::VecDeque, sync::Arc};

use protocol::{ClientId, Login, Machine as _, ToClient, ToServer};
use server::{
    session::{Input, Line, Output, Session, State},
    signal::{SessionId, Signal, SignalKind, Undelivered},
};

use super::{
    Relay,
    action::Action,
    client::Client,
    fault::Fault,
    properties::{self, Rule},
    world::{Flight, Person, World},
};

pub(super) struct Step<'a> {
    pub(super) relay: &'a Relay,
    pub(super) world: World,
}

impl Step<'_> {
    /// Does what the action says; `None` if it says nothing that can be done.
    pub(super) fn act(&mut self, action: &Action) -> Option<()> {
        let left = &mut self.world.left;
        match action {
            Action::Does(person, deed) => self.does(*person, *deed)?,
            Action::Lies(person, lie) => {
                left.lies = left.lies.checked_sub(1)?;
                self.lies(*person, *lie)?;
            }
            Action::Cut(person) => {
                left.cuts = left.cuts.checked_sub(1)?;
                let seat = self.world.place_mut(*person).seats.last_mut()?;
                let client = seat.client.take()?;
                seat.down.clear();
                self.world.place_mut(*person).away = Some(client.without_connection());
            }
            Action::ComesBack(person) => {
                left.logins = left.logins.checked_sub(1)?;
                let client = self.world.place_mut(*person).away.take()?;
                self.log_in(*person, client)?;
            }
            Action::StartsAnew(person) => {
                left.logins = left.logins.checked_sub(1)?;
                self.world.place_mut(*person).away = None;
                self.log_in(*person, Client::default())?;
            }
            Action::GivesUp(person) => {
                left.lates = left.lates.checked_sub(1)?;
                let client = self.world.place_mut(*person).away.take()?;
                self.log_in_late(*person, client)?;
            }
            Action::ComesLate(person, id) => {
                let login = self.world.seat_mut(*person, *id)?.late.take()?;
                self.input(*person, *id, Input::Frame(login));
            }
            Action::Reads(person, id) => {
                let frame = self.world.seat_mut(*person, *id)?.up.pop_front()?;
                self.input(*person, *id, Input::Frame(frame));
            }
            Action::IsTold(person, id) => self.is_told(*person, *id)?,
            Action::Notices(person, id) => self.input(*person, *id, Input::Lost),
            Action::IsReplaced(person, id) => {
                let held = self.world.seat_mut(*person, *id)?.replaced.take()?;
                self.input(*person, *id, Input::Replaced { held });
            }
            Action::Expires(person, id, _) => {
                let wait = self.relay.next_timer(self.world.seat(*person, *id)?)?.1;
                self.pass_time(*person, *id, wait)?;
            }
            Action::Arrives(flight) => {
                self.world.take(flight);
                self.arrives(flight);
            }
            Action::IsLost(flight) => {
                left.losses = left.losses.checked_sub(1)?;
                self.world.take(flight);
            }
            Action::Fills(person) => {
                left.fulls = left.fulls.checked_sub(1)?;
                self.world.place_mut(*person).is_full = true;
            }
            Action::Crashes => {
                left.crashes = left.crashes.checked_sub(1)?;
                self.crashes();
            }
        }
        self.settle_frames();
        Some(())
    }

    /// Where frames take no time, all are read.
    pub(super) fn settle_frames(&mut self) {
        if self.relay.bounds.frames == 0 {
            self.flush();
        }
    }

    fn is_told(&mut self, me: Person, id: SessionId) -> Option<()> {
        let seat = self.world.seat_mut(me, id)?;
        let frame = seat.down.pop_front()?;
        let frame = ToClient::decode(&frame).ok()?;
        let answers = seat.client.as_mut()?.read(me, frame, self.relay);
        if answers.is_none() {
            self.world.breach = Some(Rule::OtherPartyAlone);
        }
        let seat = self.world.seat_mut(me, id)?;
        for answer in answers.into_iter().flatten() {
            seat.up.push_back(answer.encode().ok()?);
        }
        Some(())
    }

    /// All frames arrive.
    pub(super) fn flush(&mut self) {
        loop {
            let next = self.world.seats().find_map(|(person, seat)| {
                let is_up = !seat.up.is_empty();
                (is_up || !seat.down.is_empty()).then_some((person, seat.id, is_up))
            });
            let Some((person, id, is_up)) = next else {
                return;
            };
            if !is_up {
                let _ = self.is_told(person, id);
            } else if let Some(frame) = self.world.seat_mut(person, id).and_then(|seat| seat.up.pop_front()) {
                self.input(person, id, Input::Frame(frame));
            }
        }
    }

    /// Lets this much time go by for one session.
    pub(super) fn pass_time(&mut self, person: Person, id: SessionId, wait: std::time::Duration) -> Option<()> {
        let seat = self.world.seat_mut(person, id)?;
        seat.now = seat.now.checked_add(wait)?;
        self.input(person, id, Input::Tick);
        Some(())
    }

    fn arrives(&mut self, flight: &Flight) {
        let Flight { origin, receiver, to, signal, .. } = flight;
        self.world.place_mut(*receiver).is_full = false;
        let before = self.world.seat(*receiver, *to).and_then(|seat| seat.session.state()).cloned();
        let told = self.world.seat(*receiver, *to).map_or(0, |seat| seat.down.len());
        self.input(*receiver, *to, Input::Signal(signal.clone()));
        let seat = self.world.seat(*receiver, *to);
        let is_stranger =
            before.as_ref().and_then(State::peer).is_some_and(|peer| peer != self.relay.names.of(*origin));
        let is_changed = seat.and_then(|seat| seat.session.state()) != before.as_ref()
            || seat.is_some_and(|seat| seat.down.len() != told);
        if is_stranger && is_changed {
            self.world.breach = Some(Rule::OtherPartyAlone);
        }
    }

    fn crashes(&mut self) {
        self.world.flights.clear();
        for person in Person::ALL {
            let place = self.world.place_mut(person);
            (place.current, place.is_full) = (None, false);
            let newest = place.seats.drain(..).next_back();
            place.away =
                place.away.take().or(newest.and_then(|seat| seat.client).map(|client| client.without_connection()));
        }
    }

    /// Gives a session an input and carries out what comes of it, as its driver does.
    pub(super) fn input(&mut self, person: Person, id: SessionId, input: Input) {
        let mut pending = VecDeque::new();
        self.hand(person, id, input, &mut pending);
        let mut is_ending = false;
        while let Some(output) = pending.pop_front() {
            let answer = match output {
                Output::Disconnect => {
                    is_ending = true;
                    None
                }
                output => self.carry_out(person, id, output),
            };
            let Some(answer) = answer else {
                continue;
            };
            if self.relay.bounds.mailboxes_first
                && matches!(answer, Input::Undelivered { why: Undelivered::Absent, .. })
            {
                let letters = std::mem::take(&mut self.world.flights);
                let (own, others) = letters.into_iter().partition(|flight| flight.to == id);
                self.world.flights = others;
                for flight in Vec::<Arc<Flight>>::into_iter(own) {
                    self.hand(person, id, Input::Signal(flight.signal.clone()), &mut pending);
                }
            }
            self.hand(person, id, answer, &mut pending);
        }
        if is_ending {
            self.ends(person, id);
        }
    }

    fn hand(&mut self, person: Person, id: SessionId, input: Input, pending: &mut VecDeque<Output>) {
        let relay = self.relay;
        let Some(seat) = self.world.seat_mut(person, id) else {
            return;
        };
        let before = seat.session.state().cloned();
        let mut out = Vec::new();
        relay.fault.hand(relay, person, seat, input, &mut out);
        let is_open = |state: Option<&State>| matches!(state, Some(State::Chatting { line: Line::Open(_), .. }));
        if is_open(seat.session.state()) && !is_open(before.as_ref()) {
            seat.openings = seat.openings.saturating_add(1);
        }
        let breach = properties::breach_of_outputs(relay, person, before.as_ref(), seat.session.state(), &out);
        self.world.breach = self.world.breach.or(breach);
        pending.extend(out);
    }

    fn carry_out(&mut self, person: Person, id: SessionId, output: Output) -> Option<Input> {
        let relay = self.relay;
        match output {
            Output::Send(frame) => {
                let seat = self.world.seat_mut(person, id)?;
                if seat.client.is_some() {
                    seat.down.push_back(frame);
                }
                None
            }
            Output::Signal { to, signal } => {
                let (chat, is_repeated) = (signal.chat, signal.kind.is_repeated());
                let receiver = relay.person(&to)?;
                let place = self.world.place(receiver);
                let Some(session) = place.current else {
                    return Some(Input::Undelivered { to, chat, is_repeated, why: Undelivered::Absent });
                };
                if place.is_full && !signal.kind.may_take_the_last_places() {
                    return Some(Input::Undelivered { to, chat, is_repeated, why: Undelivered::Full });
                }
                self.world.post(Flight::new(person, receiver, session, signal));
                None
            }
            Output::LookUp(_) => Some(Input::Registered(Some(Some(*relay.keys.of(person))))),
            Output::Register { attempt, held, .. } => {
                let place = self.world.place_mut(person);
                let newer = place.seats.iter().find(|seat| Some(seat.id) == place.current);
                if newer.is_some_and(|newer| attempt.is_before(&newer.attempt)) && relay.fault != Fault::LateLogInWins {
                    let late = place.seats.iter_mut().find(|seat| seat.id == id)?;
                    late.replaced = Some(relay.fault.held(held));
                    return None;
                }
                place.is_full = false;
                let older = place.current.replace(id);
                let older = place.seats.iter_mut().find(|seat| Some(seat.id) == older);
                if let Some(older) = older.filter(|older| older.id != id && relay.fault != Fault::OlderSessionStays) {
                    older.replaced = Some(relay.fault.held(held));
                }
                None
            }
            Output::List(_) | Output::Disconnect => None,
        }
    }

    /// A session has ended: its connection closes, its user goes offline, and those who asked to talk are answered.
    fn ends(&mut self, person: Person, id: SessionId) {
        let relay = self.relay;
        let place = self.world.place_mut(person);
        let Some(position) = place.seats.iter().position(|seat| seat.id == id) else {
            return;
        };
        let mut seat = place.seats.remove(position);
        place.current = place.current.filter(|current| *current != id);
        let is_newest = position == place.seats.len();
        if let Some(client) = &mut seat.client {
            for frame in std::mem::take(&mut seat.down) {
                // What it answers now, nobody hears.
                let _ = ToClient::decode(&frame).ok().and_then(|frame| client.read(person, frame, relay));
            }
            // A device that a newer one took the place of does not come back.
            if is_newest && place.away.is_none() {
                place.away = Some(client.without_connection());
            }
        }
        let letters = std::mem::take(&mut self.world.flights);
        let (lost, kept): (Vec<_>, Vec<_>) = letters.into_iter().partition(|flight| flight.to == id);
        self.world.flights = kept;
        for flight in lost {
            if let SignalKind::Request { .. } = flight.signal.kind
                && let Some(to) = self.world.place(flight.origin).current
            {
                let (from, chat) = (relay.names.of(person).clone(), flight.signal.chat);
                let signal = Signal { from, session: id, chat, kind: SignalKind::Unavailable };
                self.world.post(Flight::new(person, flight.origin, to, signal));
            }
        }
    }
}

impl Relay {
    /// A session whose client has yet to log in.
    pub(super) fn session(&self, person: Person, id: SessionId) -> Session {
        Session::new(id, *self.keys.of(person), self.server.clone(), self.patience.clone(), self.start)
    }

    /// A session that has just been logged in to.
    pub(super) fn fresh(&self, person: Person, id: SessionId) -> Session {
        let mut session = self.session(person, id);
        let login = ToServer::Login(Login::first(self.names.of(person).clone(), ClientId::from_bytes([0; 16])));
        let registered = Input::Registered(Some(Some(*self.keys.of(person))));
        for input in [Input::Frame(login.encode().unwrap_or_default()), registered] {
            session.handle(input, self.start, &mut Vec::new());
        }
        session
    }
}
