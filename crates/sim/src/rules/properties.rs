//! The rules, each as a function of a state; and what can only be seen while a session acts.

use std::{collections::BTreeSet, time::Duration};

use protocol::{ChatId, Close, Request, ToClient};
use server::{
    session::{Line, Output, Side, State, Timer},
    signal::{SignalKind, Undelivered},
};
use stateright::Property;

use super::{
    Relay,
    bounds::Will,
    client::{Mark, Stage, mark_of},
    flight::{Flight, To},
    settle::{self, Rest},
    world::{Person, Seat, World},
};

/// A rule that a single step can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A user is told of another chat than that which the session is in.
    OneChat,
    /// A frame of a chat, or what comes of it, reaches somebody else than the other party.
    OtherPartyAlone,
}

/// Rule 1: nobody is in two chats.
pub const ONE_CHAT: &str = "nobody is in two chats";
/// Rule 2: if A chats with B, B chats with A, or A leaves within a bounded time.
pub const BOTH_OR_NEITHER: &str = "both are in a chat, or neither is after a while";
/// Rule 3: nobody is left calling, ringing, establishing or with a broken line past its timer.
pub const NOBODY_WAITS: &str = "nobody waits past a timer";
/// Rule 4: a frame of a chat reaches only the other party of that chat.
pub const OTHER_PARTY_ALONE: &str = "a frame of a chat reaches the other party alone";
/// Rule 5: two who call each other at once end up in one chat, when nothing is lost.
pub const CALLERS_MEET: &str = "two who call each other end up in one chat";
/// Rule 3, of calls: whoever calls somebody who does not ring hears so by the next look, and not only when the time for an
/// answer is up.
pub const CALLERS_HEAR: &str = "whoever calls reaches somebody, or hears by the next look";
/// What is said between nodes in a chat that goes on comes to the peer's client, or the one who has said it is told from
/// where to say it again, though nobody says anything more (B3, B9).
pub const ALL_IS_SAID: &str = "what was said is heard, or said again";
/// A chat that both clients still have is not lost when both come back with it in time, and no signal is lost (B3).
pub const CHAT_SURVIVES: &str = "a chat that both come back with goes on";

/// Something that has to be seen: a chat is open on both sides.
pub const OPENS: &str = "a chat opens";
/// Something that has to be seen: a chat has a broken line on both sides.
pub const BREAKS: &str = "a line breaks";
/// Something that has to be seen: a chat is open after both of its users logged in anew.
pub const REOPENS: &str = "a line opens again";
/// Something that has to be seen: a user has two sessions.
pub const OVERLAPS: &str = "a session outlives its connection";
/// Something that has to be seen: a client has logged in, and the log-in before is still to come.
pub const OVERTAKES: &str = "a log-in overtakes another";
/// Something that has to be seen: two sessions call each other.
pub const CROSSES: &str = "two requests cross";
/// Something that has to be seen: a user has a session in each node.
pub const PARTS: &str = "a user has a session in each node";
/// Something that has to be seen: what a session said comes back to it from the other node.
pub const RETURNS: &str = "a word comes back";
/// Something that has to be seen: a session hears that words may be lost.
pub const LAPSES: &str = "words may be lost";
/// Something that has to be seen: a session cannot reach its peer, and is about to end for that.
pub const STRANDS: &str = "a session is stranded";
/// Something that has to be seen: a chat is open between two nodes.
pub const SPANS: &str = "a chat spans two nodes";
/// Something that has to be seen: a message is on its way to a session that takes it.
pub const SPEAKS: &str = "somebody speaks";

impl Relay {
    /// The rules, and what has to be seen.
    pub(super) fn rules() -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_CHAT, nobody_is_in_two_chats),
            Property::always(OTHER_PARTY_ALONE, frames_reach_the_other_party_alone),
            Property::always(NOBODY_WAITS, nobody_waits_past_a_timer),
            Property::always(BOTH_OR_NEITHER, both_are_in_a_chat_or_neither),
            Property::always(CHAT_SURVIVES, a_chat_that_both_come_back_with_goes_on),
            Property::always(CALLERS_MEET, callers_of_each_other_meet),
            Property::always(CALLERS_HEAR, callers_reach_somebody_or_hear),
            Property::always(ALL_IS_SAID, all_that_is_said_is_heard),
            Property::sometimes(OPENS, |_, world: &World| is_open_somewhere(world)),
            Property::sometimes(BREAKS, |_, world: &World| {
                let is_broken = |seat: &Seat| {
                    matches!(seat.session.state(), Some(State::Chatting { line: Line::Broken { .. }, .. }))
                };
                world.seats().filter(|(_, seat)| is_broken(seat)).count() >= 2
            }),
            Property::sometimes(REOPENS, |_, world: &World| {
                let is_back = |person: &Person| world.place(*person).logins > 1;
                is_open_somewhere(world) && Person::ALL.iter().filter(|person| is_back(person)).count() >= 2
            }),
            Property::sometimes(OVERLAPS, |_, world: &World| {
                Person::ALL.into_iter().any(|person| world.place(person).seats.len() >= 2)
            }),
            Property::sometimes(OVERTAKES, |_, world: &World| {
                let is_overtaken = |person, seat: &Seat| {
                    let place = world.place(person);
                    let mut current = place.seats.iter().filter(|newer| place.is_current(newer.id));
                    seat.late.is_some() && current.any(|newer| seat.attempt.is_before(&newer.attempt))
                };
                world.seats().any(|(person, seat)| is_overtaken(person, seat))
            }),
            Property::sometimes(CROSSES, |relay, world: &World| {
                let calls = |(person, seat): (Person, &Seat)| match seat.session.state()? {
                    State::Calling { peer, .. } => Some((person, relay.person(peer)?)),
                    _ => None,
                };
                let calling: Vec<_> = world.seats().filter_map(calls).collect();
                calling.iter().any(|(one, other)| calling.contains(&(*other, *one)))
            }),
            Property::sometimes(PARTS, |_, world: &World| {
                let homes = |person| world.place(person).seats.iter().map(Seat::home).collect::<BTreeSet<_>>();
                Person::ALL.into_iter().any(|person| homes(person).len() > 1)
            }),
            Property::sometimes(RETURNS, |_, world: &World| {
                world.flights.iter().any(|flight| matches!(flight.to, To::Sender { .. }))
            }),
            Property::sometimes(LAPSES, |_, world: &World| {
                world.flights.iter().any(|flight| matches!(flight.signal.kind, SignalKind::Lapsed(_)))
            }),
            Property::sometimes(STRANDS, |_, world: &World| {
                world.seats().any(|(_, seat)| seat.wait_of(Timer::Stranded).is_some())
            }),
            Property::sometimes(SPANS, |_, world: &World| {
                let is_open_to = |seat: &Seat| match seat.session.state() {
                    Some(State::Chatting { line: Line::Open(other), .. }) => Some(*other),
                    _ => None,
                };
                world.seats().any(|(person, seat)| {
                    is_open_to(seat).is_some_and(|other| other.node != seat.id.node) && is_open_for(world, person, seat)
                })
            }),
            Property::sometimes(SPEAKS, |_, world: &World| {
                world.flights.iter().any(|flight| {
                    matches!(flight.signal.kind, SignalKind::Message(_))
                        && world
                            .seats()
                            .any(|(person, seat)| person == flight.receiver && is_open_for(world, person, seat))
                })
            }),
        ]
    }
}

/// Counted are the sessions that have not been told to end, and the client that the user sits at.
fn nobody_is_in_two_chats(_: &Relay, world: &World) -> bool {
    let is_in_one = |person| {
        let place = world.place(person);
        let mut chats: Vec<ChatId> = Vec::new();
        // One that another has taken the place of may be told so later. One that is not its user's yet hears of nothing.
        let counts = |seat: &&Seat| seat.replaced.is_none() && !seat.is_joining() && place.instead_of(seat).is_none();
        for seat in place.seats.iter().filter(counts) {
            if let Some(State::Chatting { chat, .. }) = seat.session.state() {
                chats.push(*chat);
            }
        }
        chats.extend(
            place.client().filter(|client| client.is_chatting()).and_then(|client| client.talk).map(|talk| talk.chat),
        );
        chats.windows(2).all(|pair| matches!(pair, [one, other] if one == other))
    };
    world.breach != Some(Rule::OneChat) && Person::ALL.into_iter().all(is_in_one)
}

fn both_are_in_a_chat_or_neither(relay: &Relay, world: &World) -> bool {
    let rests = |all_come_back| Rest::new(relay, all_come_back).of(world).is_some();
    let is_somebody_away = Person::ALL.into_iter().any(|person| world.place(person).away.is_some());
    rests(true) && (!is_somebody_away || rests(false))
}

fn a_chat_that_both_come_back_with_goes_on(relay: &Relay, world: &World) -> bool {
    let (left, bounds) = (&world.left, &relay.bounds.left);
    if (left.losses, left.lies) != (bounds.losses, bounds.lies) {
        return true;
    }
    let mut shared = shared_chats(world);
    shared.retain(|(one, other, chat)| !is_ending(world, [*one, *other], *chat));
    // Whoever has no further attempt has come back too late. So has whoever gives up before one comes back who is cut off.
    let is_back = |(_, seat): (Person, &Seat)| match seat.wait_of(Timer::Stranded) {
        _ if !world.is_cut_off(seat) => Duration::ZERO,
        Some(left) => left,
        None => super::STRANDED.saturating_add(super::PROBE),
    };
    let all_are_back = world.seats().map(is_back).max().unwrap_or_default().saturating_add(super::PROBE);
    let is_late = world.seats().any(|(_, seat)| seat.wait_of(Timer::Grace).is_some_and(|left| left < all_are_back));
    if shared.is_empty() || is_late {
        return true;
    }
    let after = Rest::new(relay, true).of(world);
    shared.iter().all(|(one, ..)| {
        // That it comes to rest is another rule.
        after.as_ref().is_none_or(|after| after.place(*one).seat().is_some_and(|seat| is_open_for(after, *one, seat)))
    })
}

fn callers_reach_somebody_or_hear(relay: &Relay, world: &World) -> bool {
    let calls = |seat: &Seat| matches!(seat.session.state(), Some(State::Calling { .. }));
    let rest = Rest { limit: super::CHECK, is_at_rest: settle::is_every_caller_heard, ..Rest::new(relay, true) };
    !world.seats().any(|(_, seat)| calls(seat)) || rest.of(world).is_some()
}

fn all_that_is_said_is_heard(relay: &Relay, world: &World) -> bool {
    let is_unheard = |person| world.place(person).client().is_some_and(|client| client.unheard);
    let rest = Rest { is_at_rest: settle::is_all_said, ..Rest::new(relay, true) };
    !Person::ALL.into_iter().any(is_unheard) || rest.of(world).is_some()
}

/// Whether a session of theirs has ended the chat, or is about to, though the clients have not heard of it.
fn is_ending(world: &World, pair: [Person; 2], chat: ChatId) -> bool {
    let closes = |flight: &Flight| {
        let is_full = SignalKind::Undelivered { is_repeated: false, why: Undelivered::Full };
        flight.signal.chat == chat
            && (matches!(flight.signal.kind, SignalKind::Close(_) | SignalKind::CallOff(_))
                || flight.signal.kind == is_full)
    };
    let leaves = |person: Person, seat: &Seat| {
        let has = seat.session.state().and_then(State::chat) == Some(chat);
        let (place, home) = (world.place(person), seat.home());
        let is_told = place.views[home].told;
        !has || seat.replaced.is_some_and(|held| held != Some(chat)) || place.bucket.will_end(is_told, seat.id, chat)
    };
    // Another client's log-in takes the place of theirs whenever it comes.
    let puts_out = |person: &Person| {
        let place = world.place(*person);
        let own = place.client().and_then(|client| client.attempt).map(|attempt| attempt.client);
        place.seats.iter().any(|seat| seat.late.is_some() && Some(seat.attempt.client) != own)
    };
    world.flights.iter().any(|flight| closes(flight))
        || pair.iter().any(puts_out)
        || world.seats().any(|(person, seat)| pair.contains(&person) && leaves(person, seat))
}

/// The chats that two clients have with each other.
fn shared_chats(world: &World) -> Vec<(Person, Person, ChatId)> {
    let chat_of = |person| {
        let client = world.place(person).client().filter(|client| client.is_chatting())?;
        client.talk.map(|talk| (talk.peer, talk.chat))
    };
    let is_shared = |person| {
        let (peer, chat) = chat_of(person)?;
        (person < peer && chat_of(peer) == Some((person, chat))).then_some((person, peer, chat))
    };
    Person::ALL.into_iter().filter_map(is_shared).collect()
}

/// However little others do: each session that waits is looked at alone, with nothing but its time going by.
fn nobody_waits_past_a_timer(relay: &Relay, world: &World) -> bool {
    world.seats().all(|(person, seat)| {
        let is_liar = person == Person::Carol && relay.bounds.left.lies > 0;
        leaves_in_time(relay, person, seat)
            && (relay.bounds.frames > 0 || is_liar || knows_with_its_client(relay, seat))
    })
}

fn leaves_in_time(relay: &Relay, person: Person, seat: &Seat) -> bool {
    let Some(limit) = limit(relay, seat.session.state()) else {
        return true;
    };
    let mut seat = seat.clone();
    let mut waited = Duration::ZERO;
    while limit_is_same(relay, &seat, limit) {
        let Some((_, wait)) = relay.next_timer(&seat) else {
            return false;
        };
        waited = waited.saturating_add(wait);
        let Some(now) = seat.now.checked_add(wait).filter(|_| waited <= limit.1) else {
            return false;
        };
        seat.now = now;
        relay.fault.hand(relay, person, &mut seat, server::session::Input::Tick, &mut Vec::new());
    }
    true
}

fn limit(relay: &Relay, state: Option<&State>) -> Option<(Timer, Duration)> {
    let patience = &relay.patience;
    match state? {
        State::Calling { .. } | State::Ringing { .. } => Some((Timer::Request, patience.request)),
        State::Establishing { .. } => Some((Timer::Establishment, patience.establishment)),
        State::Chatting { line: Line::Broken { .. }, .. } => Some((Timer::Grace, patience.grace)),
        State::Chatting { line: Line::Open(_), .. } | State::Free => None,
    }
}

fn limit_is_same(relay: &Relay, seat: &Seat, limit_before: (Timer, Duration)) -> bool {
    limit(relay, seat.session.state()) == Some(limit_before)
}

/// A session with a client is where its client takes it to be, so that no client waits for what nobody does.
fn knows_with_its_client(relay: &Relay, seat: &Seat) -> bool {
    let (Some(client), Some(state)) = (&seat.client, seat.session.state()) else {
        return true;
    };
    let Some(talk) = client.talk else {
        return *state == State::Free;
    };
    let is_stage = match state {
        State::Free => false,
        State::Calling { .. } => talk.stage == Stage::Calling,
        State::Ringing { .. } => talk.stage == Stage::Ringing,
        State::Establishing { side: Side::Accepter, .. } => talk.stage == Stage::Awaiting,
        State::Establishing { side: Side::Caller, .. } => talk.stage == Stage::Invited,
        State::Chatting { line: Line::Broken { expected: None, .. }, .. } => {
            matches!(talk.stage, Stage::Chatting { owes: true, .. })
        }
        State::Chatting { .. } => matches!(talk.stage, Stage::Chatting { .. }),
    };
    is_stage && state.chat() == Some(talk.chat) && state.peer() == Some(relay.names.of(talk.peer))
}

fn frames_reach_the_other_party_alone(_: &Relay, world: &World) -> bool {
    world.breach != Some(Rule::OtherPartyAlone)
}

/// Of a model in which alice and bob want nothing but to talk to each other: wherever nothing can happen any more,
/// they do.
fn callers_of_each_other_meet(relay: &Relay, world: &World) -> bool {
    if relay.bounds.will != Will::ToMeet {
        return true;
    }
    let mut actions = Vec::new();
    relay.possible(world, &mut actions);
    !actions.is_empty()
        || [Person::Alice, Person::Bob].into_iter().all(|person| {
            world
                .place(person)
                .seat()
                .is_some_and(|seat| is_open_for(world, person, seat) && knows_with_its_client(relay, seat))
        })
}

fn is_open_somewhere(world: &World) -> bool {
    world.seats().any(|(person, seat)| is_open_for(world, person, seat))
}

/// Whether the session has an open line to a current session that has an open line to it, in the same chat.
pub(super) fn is_open_for(world: &World, person: Person, seat: &Seat) -> bool {
    let Some(State::Chatting { chat, line: Line::Open(other), .. }) = seat.session.state() else {
        return false;
    };
    world.seats().any(|(peer, there)| {
        there.id == *other
            && world.place(peer).is_current(there.id)
            && world.place(person).is_current(seat.id)
            && matches!(there.session.state(), Some(State::Chatting { chat: theirs, line: Line::Open(back), .. })
                if theirs == chat && *back == seat.id)
    })
}

/// What a session in state `before` tells its client that it may not.
pub(super) fn breach_of_outputs(
    relay: &Relay,
    me: Person,
    before: Option<&State>,
    after: Option<&State>,
    out: &[Output],
) -> Option<Rule> {
    let mut chat_before = before
        .filter(|state| matches!(state, State::Establishing { .. } | State::Chatting { .. }))
        .and_then(State::chat);
    for output in out {
        let Output::Send(frame) = output else {
            continue;
        };
        let frame = ToClient::decode(frame).ok()?;
        if let Some((chat, mark)) = mark_of(&frame) {
            let peer = after.and_then(State::peer).and_then(|peer| relay.person(peer));
            let is_for_me = peer.is_some_and(|peer| mark == Mark::new(peer, Some(me)));
            if !is_for_me || after.and_then(State::chat) != Some(chat) {
                return Some(Rule::OtherPartyAlone);
            }
        }
        match frame {
            ToClient::ChatClosed(Close { chat, .. }) if Some(chat) == chat_before => chat_before = None,
            ToClient::RequestToTalk(Request { chat, .. }) if chat_before.is_some_and(|before| before != chat) => {
                return Some(Rule::OneChat);
            }
            _ => {}
        }
    }
    None
}
