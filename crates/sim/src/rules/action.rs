//! What can happen next.

use std::{fmt, sync::Arc};

use protocol::ChatId;
use server::{
    session::Timer,
    signal::{SessionId, SignalKind},
};

use super::{
    Relay,
    bounds::Will,
    client::{Client, Stage, Talk},
    flight::{Flight, To},
    nodes::{HOMES, Status, Way, other},
    world::{Person, Place, Seat, World},
};

/// A step of the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A client does something.
    Does(Person, Deed),
    /// Carol's client does something that no honest client would do.
    Lies(Person, Lie),
    /// A connection is cut. The client sees it at once; the session may see it later.
    Cut(Person),
    /// The client comes back with its chat, through this node.
    ComesBack(Person, usize),
    /// The user logs in anew, with a client that knows of no chat.
    StartsAnew(Person, usize),
    /// The client logs in, and gives that up before the log-in is there.
    GivesUp(Person, usize),
    /// That log-in is there.
    ComesLate(Person, SessionId),
    /// The session reads the next frame.
    Reads(Person, SessionId),
    /// The client reads the next frame.
    IsTold(Person, SessionId),
    /// The session hears that its connection is gone.
    Notices(Person, SessionId),
    /// The session hears that a newer one took its place.
    IsReplaced(Person, SessionId),
    /// A timer of the session runs out.
    Expires(Person, SessionId, Timer),
    /// A signal arrives.
    Arrives(Arc<Flight>),
    /// A signal is lost.
    IsLost(Arc<Flight>),
    /// The mailbox of a user's session has no room but for what ends chats, until it takes something out.
    Fills(Person),
    /// The server is gone with all its sessions, and there again.
    Crashes,
    /// The presence bucket hears that the session wants to be its user's.
    IsClaimed(Person, SessionId),
    /// The session's node hears what came of it.
    IsSettled(Person, SessionId),
    /// A node is told the next change of what stands in the bucket for the user.
    Learns(usize, Person),
    /// A word was in the mailbox of a session that has ended.
    IsForgotten(Arc<Flight>),
    /// A node hears that words of the other were lost.
    Misses(usize),
    /// A node sees where the other one listens.
    FindsTheWay(usize),
    /// A node is gone with all its sessions.
    Dies(usize),
    /// A node can reach nobody else.
    IsCutOff(usize),
    /// It can again.
    Attaches(usize),
    /// A node takes the other for gone.
    Buries(usize),
}

/// What a client does by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the frames")]
pub enum Deed {
    Call(Person),
    Accept,
    Refuse,
    Establish,
    Say,
    Resume,
    /// Closes the chat, or takes the request back.
    Close,
    Exit,
}

/// What a client makes up, always about a chat that its user is not in.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the frames")]
pub enum Lie {
    Call(Person, ChatId),
    Accept(ChatId),
    Refuse(ChatId),
    Establish(ChatId),
    Say(ChatId),
    Resume(ChatId),
    Close(ChatId),
    /// Logs in with a chat of others, through this node.
    ComeBack(Person, ChatId, usize),
}

impl Relay {
    /// All that can happen next, in an order that depends on the state alone.
    pub(super) fn possible(&self, world: &World, actions: &mut Vec<Action>) {
        for person in Person::ALL {
            let place = world.place(person);
            self.possible_for_user(world, person, place, actions);
            if world.left.fulls > 0 && !place.is_full {
                actions.push(Action::Fills(person));
            }
            for seat in &place.seats {
                self.possible_for_session(world, person, seat, actions);
            }
        }
        let mut before = None;
        for flight in &world.flights {
            // The same signal twice is one possibility.
            if before.replace(flight).is_some_and(|before| **before == **flight) {
                continue;
            }
            if is_heard(world, flight) {
                actions.push(Action::Arrives(flight.clone()));
            }
            // Between nodes, what is lost is missed; in one, nothing can be, and what would become of it is looked at.
            let may_be_lost = !self.has_nodes() || (flight.to.home().is_some() && world.is_first(flight));
            if world.left.losses > 0 && may_be_lost {
                actions.push(Action::IsLost(flight.clone()));
            }
            if matches!(flight.to, To::User { is_forgotten: true, .. }) && world.is_first(flight) {
                actions.push(Action::IsForgotten(flight.clone()));
            }
        }
        if world.left.crashes > 0 {
            actions.push(Action::Crashes);
        }
        if self.has_nodes() {
            self.possible_for_nodes(world, actions);
        }
    }

    /// What can happen to nodes, and between them.
    fn possible_for_nodes(&self, world: &World, actions: &mut Vec<Action>) {
        self.due_between_nodes(world, actions);
        for home in HOMES {
            let node = world.nodes[home];
            if world.left.deaths > 0 && HOMES.into_iter().all(|home| world.nodes[home].is_attached()) {
                actions.push(Action::Dies(home));
            }
            if world.left.cut_offs > 0 && node.is_attached() {
                actions.push(Action::IsCutOff(home));
            }
            if node.status == Status::CutOff {
                actions.push(Action::Attaches(home));
            }
        }
    }

    /// Of that, what will happen by itself.
    pub(super) fn due_between_nodes(&self, world: &World, actions: &mut Vec<Action>) {
        for home in HOMES.into_iter().filter(|home| self.has_nodes() && world.nodes[*home].is_attached()) {
            let (node, there) = (world.nodes[home], world.nodes[other(home)]);
            for person in Person::ALL {
                let place = world.place(person);
                if place.bucket.after(place.views[home].told).is_some() {
                    actions.push(Action::Learns(home, person));
                }
            }
            if there.is_attached() {
                if node.has_missed && node.way == Way::Open {
                    actions.push(Action::Misses(home));
                }
                if node.way != Way::Open {
                    actions.push(Action::FindsTheWay(home));
                }
            } else if node.way != Way::Shut || Person::ALL.iter().any(|person| world.place(*person).is_there(home)) {
                actions.push(Action::Buries(home));
            }
        }
        for (person, seat) in world.seats() {
            match seat.claim.map(|claim| claim.outcome) {
                Some(None) => actions.push(Action::IsClaimed(person, seat.id)),
                Some(Some(_)) => actions.push(Action::IsSettled(person, seat.id)),
                None => {}
            }
        }
    }

    fn possible_for_user(&self, world: &World, person: Person, place: &Place, actions: &mut Vec<Action>) {
        let left = &world.left;
        let moves = self.bounds.movers.contains(&person);
        let may_log_in = moves && left.logins > 0;
        let homes = HOMES.into_iter().filter(|home| may_log_in && world.nodes[*home].is_attached());
        if let Some(client) = &place.away {
            for home in homes.clone() {
                if client.talk.is_some() || place.seats.iter().any(|seat| seat.late.is_some()) {
                    actions.push(Action::ComesBack(person, home));
                }
                if left.lates > 0 {
                    actions.push(Action::GivesUp(person, home));
                }
                actions.push(Action::StartsAnew(person, home));
                if person == Person::Carol && left.lies > 0 {
                    let peers = person.others();
                    let lies = peers.flat_map(|peer| chats(world).map(move |chat| Lie::ComeBack(peer, chat, home)));
                    actions.extend(lies.map(|lie| Action::Lies(person, lie)));
                }
            }
        }
        let Some(client) = place.seat().filter(|seat| !seat.is_joining()).and_then(|seat| seat.client.as_ref()) else {
            return;
        };
        self.deeds(world, person, client, &mut |deed| actions.push(Action::Does(person, deed)));
        if moves && left.cuts > 0 {
            actions.push(Action::Cut(person));
            actions.push(Action::Does(person, Deed::Exit));
        }
        actions.extend(homes.map(|home| Action::StartsAnew(person, home)));
        if person == Person::Carol && left.lies > 0 {
            for chat in chats(world).filter(|chat| client.talk.is_none_or(|talk| talk.chat != *chat)) {
                let lies = [Lie::Accept, Lie::Refuse, Lie::Establish, Lie::Say, Lie::Resume, Lie::Close];
                actions.extend(lies.map(|lie| Action::Lies(person, lie(chat))));
                if client.talk.is_none() {
                    actions.extend(person.others().map(|peer| Action::Lies(person, Lie::Call(peer, chat))));
                }
            }
        }
    }

    fn deeds(&self, world: &World, person: Person, client: &Client, add: &mut impl FnMut(Deed)) {
        let may_end = self.bounds.will == Will::Any;
        let unheard = client.unheard;
        let Some(Talk { stage, .. }) = client.talk else {
            let may_call = may_end || world.place(person).calls == 0;
            if may_call && world.left.calls > 0 {
                self.bounds.pairs.iter().filter(|pair| pair.0 == person).for_each(|pair| add(Deed::Call(pair.1)));
            }
            return;
        };
        match stage {
            Stage::Calling | Stage::Awaiting => {}
            Stage::Ringing => {
                add(Deed::Accept);
                if may_end {
                    add(Deed::Refuse);
                }
            }
            Stage::Invited => add(Deed::Establish),
            Stage::Chatting { open, owes } => {
                // One message on its way is enough to see where messages go.
                let is_saying = |flight: &Arc<Flight>| {
                    flight.origin == person && matches!(flight.signal.kind, SignalKind::Message(_))
                };
                let is_quiet = world.seats().all(|(_, seat)| seat.frames() == 0);
                if open && !unheard && self.bounds.messages && is_quiet && !world.flights.iter().any(is_saying) {
                    add(Deed::Say);
                }
                if owes || (open && world.left.gaps > 0) {
                    add(Deed::Resume);
                }
            }
        }
        if may_end && stage != Stage::Ringing {
            add(Deed::Close);
        }
    }

    fn possible_for_session(&self, world: &World, person: Person, seat: &Seat, actions: &mut Vec<Action>) {
        if seat.is_joining() {
            return;
        }
        if !seat.up.is_empty() {
            actions.push(Action::Reads(person, seat.id));
        }
        if !seat.down.is_empty() {
            actions.push(Action::IsTold(person, seat.id));
        }
        if seat.late.is_some() {
            actions.push(Action::ComesLate(person, seat.id));
        }
        if seat.client.is_none() {
            actions.push(Action::Notices(person, seat.id));
        }
        if seat.replaced.is_some() {
            actions.push(Action::IsReplaced(person, seat.id));
        }
        if self.bounds.will == Will::Any
            && let Some((timer, _)) = self.next_timer(seat)
        {
            // What is said again and again is said again once it was heard, or lost.
            let is_waiting = |flight: &Arc<Flight>| {
                flight.signal.session == seat.id
                    && match timer {
                        Timer::Probe => matches!(flight.signal.kind, SignalKind::Ask(_)),
                        Timer::Check => matches!(flight.signal.kind, SignalKind::Check),
                        _ => false,
                    }
            };
            if !world.flights.iter().any(is_waiting) {
                actions.push(Action::Expires(person, seat.id, timer));
            }
        }
    }
}

/// Whether a signal can be taken in: a word from another node is put behind what a mailbox has.
pub(super) fn is_heard(world: &World, flight: &Flight) -> bool {
    let place = world.place(flight.receiver);
    let Some(home) = flight.to.home() else {
        let joins = |seat: &Seat| Some(seat.id) == flight.to.mailbox() && seat.is_joining();
        return world.is_first(flight) && !place.seats.iter().any(joins);
    };
    let here = place.views[home].here.map(|here| here.id);
    let is_joining = here.is_none() && place.seats.iter().any(|seat| seat.home() == home && seat.is_joining());
    let has_mail = here.is_some() && world.flights.iter().any(|other| other.to.mailbox() == here);
    world.is_first(flight) && !is_joining && !has_mail && !world.nodes[home].has_missed
}

/// The chats that somebody has asked for.
fn chats(world: &World) -> impl Iterator<Item = ChatId> {
    Person::ALL.into_iter().flat_map(|person| (1..=world.place(person).calls).map(move |n| chat_id(person, n)))
}

/// The id of a person's `n`th chat.
pub(super) fn chat_id(person: Person, n: u8) -> ChatId {
    let mut id = [0; 16];
    let [first, second, ..] = &mut id;
    (*first, *second) = (person.digit(), n);
    ChatId::from_bytes(id)
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arrives(flight) => write!(f, "arrives: {flight}"),
            Self::IsLost(flight) => write!(f, "is lost: {flight}"),
            other => write!(f, "{other:?}"),
        }
    }
}
