//! One step: what the real sessions make of it, and where their outputs go, as the server's driver and router do it.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::{ChatId, Close, CloseReason, Login, Machine as _, Request, ToClient, ToServer};
use server::{
    session::{Input, Output, Session, State},
    signal::{SessionId, Signal, SignalKind, Undelivered},
};

use super::{
    Relay,
    action::{Action, Deed, Lie, chat_id},
    client::{self, Client, Stage, Talk},
    fault::Fault,
    properties::{self, Rule},
    world::{Flight, Person, Seat, World},
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

    fn does(&mut self, me: Person, deed: Deed) -> Option<()> {
        if deed == Deed::Exit {
            self.world.left.cuts = self.world.left.cuts.checked_sub(1)?;
        }
        if let Deed::Call(peer) = deed {
            let calls = &mut self.world.place_mut(me).calls;
            *calls = calls.checked_add(1)?;
            let chat = chat_id(me, *calls);
            self.world.left.calls = self.world.left.calls.saturating_sub(1);
            return self.call(me, peer, chat);
        }
        let gaps = self.world.left.gaps;
        let seat = self.world.place_mut(me).seats.last_mut()?;
        let client = seat.client.as_mut()?;
        let mut gaps_left = gaps;
        let frame = match (deed, &mut client.talk) {
            (Deed::Exit, talk) => {
                *talk = None;
                ToServer::Exit
            }
            (Deed::Accept, Some(Talk { stage, peer, chat })) => {
                *stage = Stage::Awaiting;
                client::accept(me, *chat, Some(*peer))
            }
            (Deed::Refuse, talk @ Some(_)) => ToServer::Refuse(talk.take()?.chat),
            (Deed::Establish, Some(Talk { stage, peer, chat })) => {
                *stage = Stage::Chatting { open: true, owes: false };
                client::establish(me, *chat, Some(*peer))
            }
            (Deed::Say, Some(Talk { peer, chat, .. })) => client::message(me, *chat, Some(*peer)),
            (Deed::Resume, Some(Talk { stage: Stage::Chatting { owes, .. }, peer, chat })) => {
                if !std::mem::take(owes) {
                    gaps_left = gaps.checked_sub(1)?;
                }
                ToServer::Resume(client::resume(me, *chat, Some(*peer)))
            }
            (Deed::Close, talk) => {
                let Talk { stage, chat, .. } = talk.take()?;
                let reason = match stage {
                    Stage::Calling => CloseReason::CalledOff,
                    Stage::Chatting { .. } => CloseReason::Left,
                    _ => CloseReason::Failed,
                };
                ToServer::ChatClosed(Close { chat, reason })
            }
            _ => return None,
        };
        seat.up.push_back(frame.encode().ok()?);
        self.world.left.gaps = gaps_left;
        Some(())
    }

    fn call(&mut self, me: Person, peer: Person, chat: ChatId) -> Option<()> {
        let frame = ToServer::RequestToTalk(Request { peer: self.relay.names.of(peer).clone(), chat });
        let seat = self.world.place_mut(me).seats.last_mut()?;
        seat.client.as_mut()?.talk = Some(Talk { stage: Stage::Calling, peer, chat });
        seat.up.push_back(frame.encode().ok()?);
        Some(())
    }

    fn lies(&mut self, me: Person, lie: Lie) -> Option<()> {
        let frame = match lie {
            Lie::Call(peer, chat) => return self.call(me, peer, chat),
            Lie::ComeBack(peer, chat) => {
                self.world.left.logins = self.world.left.logins.checked_sub(1)?;
                self.world.place_mut(me).away = None;
                let stage = Stage::Chatting { open: false, owes: false };
                return self.log_in(me, Client { talk: Some(Talk { stage, peer, chat }) });
            }
            Lie::Accept(chat) => client::accept(me, chat, None),
            Lie::Refuse(chat) => ToServer::Refuse(chat),
            Lie::Establish(chat) => client::establish(me, chat, None),
            Lie::Say(chat) => client::message(me, chat, None),
            Lie::Resume(chat) => ToServer::Resume(client::resume(me, chat, None)),
            Lie::Close(chat) => ToServer::ChatClosed(Close { chat, reason: CloseReason::Left }),
        };
        self.world.place_mut(me).seats.last_mut()?.up.push_back(frame.encode().ok()?);
        Some(())
    }

    /// A new connection of the user's, from a client that holds what it holds.
    pub(super) fn log_in(&mut self, me: Person, client: Client) -> Option<()> {
        let relay = self.relay;
        let held = client.talk.map(|talk| client::held(me, talk.peer, talk.chat, relay));
        let login = ToServer::Login(Login { user: relay.names.of(me).clone(), held }).encode().ok()?;
        let place = self.world.place_mut(me);
        place.logins = place.logins.checked_add(1)?;
        let id = SessionId::new(u64::from_be_bytes([0, 0, 0, 0, 0, 0, me.digit(), place.logins]));
        let session = relay.session(me, id);
        let (up, down) = (VecDeque::new(), VecDeque::new());
        place.seats.push(Seat { id, session, now: relay.start, replaced: None, client: Some(client), down, up });
        self.input(me, id, Input::Frame(login));
        Some(())
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
            place.current = None;
            let newest = place.seats.drain(..).next_back();
            place.away =
                place.away.take().or(newest.and_then(|seat| seat.client).map(|client| client.without_connection()));
        }
    }

    /// Gives a session an input and carries out what comes of it, as its driver does.
    fn input(&mut self, person: Person, id: SessionId, input: Input) {
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
            if let Some(answer) = answer {
                self.hand(person, id, answer, &mut pending);
            }
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
                let why = Undelivered::Absent;
                let receiver = relay.person(&to)?;
                let Some(to) = self.world.place(receiver).current else {
                    return Some(Input::Undelivered { to, chat, is_repeated, why });
                };
                self.world.post(Flight::new(person, receiver, to, signal));
                None
            }
            Output::LookUp(_) => Some(Input::Registered(Some(Some(*relay.keys.of(person))))),
            Output::Register { held, .. } => {
                let place = self.world.place_mut(person);
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
        let login = ToServer::Login(self.names.of(person).clone().into());
        let registered = Input::Registered(Some(Some(*self.keys.of(person))));
        for input in [Input::Frame(login.encode().unwrap_or(Bytes::new())), registered] {
            session.handle(input, self.start, &mut Vec::new());
        }
        session
    }
}
