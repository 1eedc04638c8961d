//! One step: what the real sessions make of it, and where their outputs go, as the server's driver and router do it.

use std::{collections::VecDeque, sync::Arc};

use protocol::{ClientId, Login, Machine as _, ToClient, ToServer};
use server::{
    session::{Input, Line, Output, Session, State},
    signal::{SessionId, SignalKind, Undelivered},
};

use super::{
    Relay,
    action::Action,
    client::Client,
    fault::Fault,
    flight::{Flight, To},
    nodes::{Here, home_of},
    properties::{self, Rule},
    world::{Person, World},
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
            Action::ComesBack(person, home) => {
                left.logins = left.logins.checked_sub(1)?;
                let client = self.world.place_mut(*person).away.take()?;
                self.log_in(*person, *home, client)?;
            }
            Action::StartsAnew(person, home) => {
                left.logins = left.logins.checked_sub(1)?;
                self.world.place_mut(*person).away = None;
                self.log_in(*person, *home, Client::default())?;
            }
            Action::GivesUp(person, home) => {
                left.lates = left.lates.checked_sub(1)?;
                let client = self.world.place_mut(*person).away.take()?;
                self.log_in_late(*person, *home, client)?;
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
                match flight.to {
                    To::Mailbox(id) => self.is_read(flight, id),
                    To::User { .. } | To::Sender { .. } => self.is_heard(flight),
                }
            }
            Action::IsLost(flight) => {
                left.losses = left.losses.checked_sub(1)?;
                self.world.take(flight);
                if let Some(home) = flight.to.home() {
                    self.world.nodes[home].has_missed = true;
                }
            }
            Action::IsForgotten(flight) => {
                self.world.take(flight);
                self.is_forgotten(flight);
            }
            Action::Fills(person) => {
                left.fulls = left.fulls.checked_sub(1)?;
                self.world.place_mut(*person).is_full = true;
            }
            Action::Crashes => {
                left.crashes = left.crashes.checked_sub(1)?;
                self.crashes();
            }
            Action::IsClaimed(person, id) => self.is_claimed(*person, *id)?,
            Action::IsSettled(person, id) => self.is_settled(*person, *id)?,
            Action::Learns(home, person) => self.learns(*home, *person)?,
            Action::Misses(home) => self.lapse(*home),
            Action::FindsTheWay(home) => self.finds_the_way(*home),
            Action::Dies(home) => {
                left.deaths = left.deaths.checked_sub(1)?;
                self.dies(*home);
            }
            Action::IsCutOff(home) => {
                left.cut_offs = left.cut_offs.checked_sub(1)?;
                self.is_cut_off(*home);
            }
            Action::Attaches(home) => self.attaches(*home),
            Action::Buries(home) => self.buries(*home),
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
        let said = match &frame {
            ToClient::Message(message) => Some(message.header.chat),
            _ => None,
        };
        let answers = seat.client.as_mut()?.read(me, frame, self.relay);
        if let Some(chat) = said {
            self.is_said(me, chat);
        }
        if answers.is_none() {
            self.world.breach = Some(Rule::OtherPartyAlone);
        }
        let seat = self.world.seat_mut(me, id)?;
        for answer in answers.into_iter().flatten() {
            seat.up.push_back(answer.encode().ok()?);
        }
        Some(())
    }

    /// All frames arrive, and all that is on its way between sessions and nodes, but for what these are not to know.
    pub(super) fn all_arrive(&mut self) {
        loop {
            self.flush();
            let mut next = Vec::new();
            self.relay.due_between_nodes(&self.world, &mut next);
            let is_news = |action: &Action| matches!(action, Action::Learns(..));
            next.retain(|action| self.relay.bounds.all_are_known || !is_news(action));
            next.extend(self.world.flights.first().cloned().map(Action::Arrives));
            let Some(action) = next.first() else {
                return;
            };
            let _ = self.act(action);
        }
    }

    /// A message of the chat has come to this user's client.
    fn is_said(&mut self, to: Person, chat: protocol::ChatId) {
        for person in to.others().filter(|_| self.relay.has_nodes()) {
            let place = self.world.place_mut(person);
            if let Some(client) = place.client_mut().filter(|client| client.talk.is_some_and(|talk| talk.chat == chat))
            {
                client.unheard = false;
            }
        }
    }

    /// All frames arrive.
    pub(super) fn flush(&mut self) {
        loop {
            let next = self.world.seats().find_map(|(person, seat)| {
                let is_up = !seat.up.is_empty() && !seat.is_joining();
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

    /// A session takes a signal out of its mailbox.
    pub(super) fn is_read(&mut self, flight: &Flight, to: SessionId) {
        let Flight { origin, receiver, signal, .. } = flight;
        self.world.place_mut(*receiver).is_full = false;
        let before = self.world.seat(*receiver, to).and_then(|seat| seat.session.state()).cloned();
        let told = self.world.seat(*receiver, to).map_or(0, |seat| seat.down.len());
        self.input(*receiver, to, Input::Signal(signal.clone()));
        let seat = self.world.seat(*receiver, to);
        let is_stranger = !matches!(signal.kind, SignalKind::Lapsed(_))
            && before.as_ref().and_then(State::peer).is_some_and(|peer| peer != self.relay.names.of(*origin));
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
            (place.views, place.is_full) = (Default::default(), false);
            let newest = place.seats.drain(..).next_back();
            place.away =
                place.away.take().or(newest.and_then(|seat| seat.client).map(|client| client.without_connection()));
        }
    }

    /// Gives a session an input and carries out what comes of it, as its driver does.
    pub(super) fn input(&mut self, person: Person, id: SessionId, input: Input) {
        let mut pending = VecDeque::new();
        self.hand(person, id, input, &mut pending);
        self.carry_out_all(person, id, pending);
    }

    pub(super) fn carry_out_all(&mut self, person: Person, id: SessionId, mut pending: VecDeque<Output>) {
        let mut is_ending = false;
        while let Some(output) = pending.pop_front() {
            if let Some(seat) = self.world.seat_mut(person, id).filter(|seat| seat.is_joining()) {
                seat.deferred.push(output);
                continue;
            }
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
                let (own, others) = letters.into_iter().partition(|flight| flight.to == To::Mailbox(id));
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
            Output::Signal { to, signal } => self.say(person, id, to, signal),
            Output::LookUp(_) => Some(Input::Registered(Some(Some(*relay.keys.of(person))))),
            Output::Register { attempt, held, .. } => {
                let home = home_of(id);
                let place = self.world.place_mut(person);
                place.seats.iter_mut().find(|seat| seat.id == id)?.held = held;
                let here = place.views[home].here;
                let newer = place.seats.iter().find(|seat| here.is_some_and(|here| here.id == seat.id));
                if newer.is_some_and(|newer| attempt.is_before(&newer.attempt)) && relay.fault != Fault::LateLogInWins {
                    let late = place.seats.iter_mut().find(|seat| seat.id == id)?;
                    late.replaced = Some(relay.fault.held(held));
                    return None;
                }
                place.is_full = false;
                if relay.has_nodes() {
                    self.joins(person, id);
                    return None;
                }
                let older = place.views[home].here.replace(Here { id, revision: None });
                if let Some(older) = older.filter(|older| older.id != id) {
                    let older = place.seats.iter_mut().find(|seat| seat.id == older.id)?;
                    if relay.fault != Fault::OlderSessionStays {
                        older.replaced = Some(relay.fault.held(held));
                    }
                }
                None
            }
            Output::List(_) | Output::Disconnect => None,
        }
    }

    /// A session has ended: its connection closes, its user goes offline, and those who asked to talk are answered.
    fn ends(&mut self, person: Person, id: SessionId) {
        let relay = self.relay;
        let home = home_of(id);
        self.strike(person, id);
        let place = self.world.place_mut(person);
        let Some(position) = place.seats.iter().position(|seat| seat.id == id) else {
            return;
        };
        let mut seat = place.seats.remove(position);
        let is_current = place.is_current(id);
        for view in &mut place.views {
            view.here = view.here.filter(|here| here.id != id);
        }
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
        let (lost, kept): (Vec<_>, Vec<_>) = letters.into_iter().partition(|flight| flight.to == To::Mailbox(id));
        self.world.flights = kept;
        for flight in lost.iter().filter(|flight| matches!(flight.signal.kind, SignalKind::Request { .. })) {
            self.turn_away(flight, home, id);
        }
        if is_current {
            self.may_be_forgotten(person, home);
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
