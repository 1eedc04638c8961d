//! What becomes of a state when nothing more goes wrong and nobody wants anything new.

use std::time::Duration;

use server::session::{Line, State};

use super::{
    Relay,
    action::{Action, Deed, is_heard},
    client::Stage,
    nodes::HOMES,
    properties::is_open_for,
    step::Step,
    world::{Person, Seat, World},
};

/// Steps without an end to be seen after which a run counts as one that never rests.
const MAX_STEPS: usize = 400;

/// Runs a state until it rests. All signals and frames arrive before time goes by, in an order that is drawn from the
/// states that the run comes through; then time goes by for all sessions alike.
pub(super) struct Rest<'a> {
    pub(super) relay: &'a Relay,
    /// Whether clients that are away come back with what they hold, or never.
    pub(super) all_come_back: bool,
    /// Within which time it has to.
    pub(super) limit: Duration,
    /// What it takes to be at rest.
    pub(super) is_at_rest: fn(&World) -> bool,
}

impl Rest<'_> {
    /// Of chats.
    pub(super) fn new(relay: &Relay, all_come_back: bool) -> Rest<'_> {
        let patience = &relay.patience;
        // A look at whether the other still has the chat, and what can follow from it.
        let mut limits = vec![super::CHECK, patience.establishment, patience.grace, patience.grace];
        // Whoever is where nobody can be reached goes elsewhere.
        limits.extend(relay.has_nodes().then_some(super::STRANDED));
        let limit = limits.into_iter().fold(Duration::ZERO, Duration::saturating_add);
        Rest { relay, all_come_back, limit, is_at_rest }
    }

    /// The state at rest, which has come within the time in which it has to; `None` if it has not.
    pub(super) fn of(&self, world: &World) -> Option<World> {
        let mut step = Step { relay: self.relay, world: world.clone() };
        for person in Person::ALL {
            if world.place(person).is_full {
                step.world.place_mut(person).is_full = false;
            }
        }
        let mut waited = Duration::ZERO;
        for _ in 0..MAX_STEPS {
            let next = self.possible(&step.world);
            if !next.is_empty() {
                let choice = usize::try_from(step.world.digest()).unwrap_or_default().checked_rem(next.len())?;
                self.act(&mut step, next.get(choice)?)?;
                continue;
            }
            if (self.is_at_rest)(&step.world) {
                return Some(step.world);
            }
            let wait =
                step.world.seats().filter_map(|(_, seat)| self.relay.next_timer(seat)).map(|next| next.1).min()?;
            waited = waited.saturating_add(wait);
            if waited > self.limit {
                return None;
            }
            let seats: Vec<_> = step.world.seats().map(|(person, seat)| (person, seat.id)).collect();
            for (person, id) in seats {
                if step.world.seat(person, id).is_some_and(|seat| self.relay.has_time(seat)) {
                    step.pass_time(person, id, wait)?;
                }
            }
            step.settle_frames();
        }
        None
    }

    fn possible(&self, world: &World) -> Vec<Action> {
        let heard = world.flights.iter().filter(|flight| is_heard(world, flight));
        let mut next: Vec<_> = heard.cloned().map(Action::Arrives).collect();
        self.relay.due_between_nodes(world, &mut next);
        for person in Person::ALL {
            let place = world.place(person);
            if self.all_come_back && place.away.is_some() {
                let homes = HOMES.into_iter().filter(|home| world.nodes[*home].is_attached());
                next.extend(homes.map(|home| Action::ComesBack(person, home)));
            }
            for seat in place.seats.iter().filter(|seat| !seat.is_joining()) {
                if !seat.up.is_empty() {
                    next.push(Action::Reads(person, seat.id));
                }
                if !seat.down.is_empty() {
                    next.push(Action::IsTold(person, seat.id));
                }
                if seat.late.is_some() {
                    next.push(Action::ComesLate(person, seat.id));
                } else if seat.replaced.is_some() {
                    next.push(Action::IsReplaced(person, seat.id));
                } else if seat.client.is_none() {
                    next.push(Action::Notices(person, seat.id));
                }
            }
            match place
                .seat()
                .filter(|seat| !seat.is_joining())
                .and_then(|seat| seat.client.as_ref())
                .and_then(|client| client.talk)
                .map(|talk| talk.stage)
            {
                Some(Stage::Invited) => next.push(Action::Does(person, Deed::Establish)),
                Some(Stage::Chatting { owes: true, .. }) => next.push(Action::Does(person, Deed::Resume)),
                _ => {}
            }
        }
        next
    }

    fn act(&self, step: &mut Step<'_>, action: &Action) -> Option<()> {
        // Coming back is no new wish.
        if let Action::ComesBack(..) = action {
            step.world.left.logins = step.world.left.logins.saturating_add(1);
        }
        step.act(action)
    }
}

/// Whether everybody in a chat is in it with the other. Requests that nobody answers are no part of this.
pub(super) fn is_at_rest(world: &World) -> bool {
    let is_fine = |person: Person, seat: &Seat| match seat.session.state() {
        Some(State::Chatting { line: Line::Open(_), .. }) => is_open_for(world, person, seat),
        Some(State::Chatting { line: Line::Broken { .. }, .. } | State::Establishing { .. }) => false,
        _ => true,
    };
    // Whoever sits in a node that cannot reach the others may have a session elsewhere, too, until it can.
    let is_one = |person| {
        let reached = world.place(person).seats.iter().filter(|seat| !world.is_cut_off(seat));
        reached.count() <= 1
    };
    world.seats().all(|(person, seat)| is_fine(person, seat)) && Person::ALL.into_iter().all(is_one)
}

/// Whether whoever calls somebody has reached them.
pub(super) fn is_every_caller_heard(world: &World) -> bool {
    let is_heard = |person: Person, seat: &Seat| match seat.session.state() {
        Some(State::Calling { chat, .. }) => world.seats().any(|(other, there)| {
            let state = there.session.state();
            other != person && state.and_then(State::chat) == Some(*chat) && state.and_then(State::peer).is_some()
        }),
        _ => true,
    };
    world.seats().all(|(person, seat)| is_heard(person, seat))
}

/// Whether, besides, nobody in an open chat waits for what they said to be heard.
pub(super) fn is_all_said(world: &World) -> bool {
    let is_said = |person: Person| {
        let place = world.place(person);
        let is_open = place.seat().is_some_and(|seat| is_open_for(world, person, seat));
        !is_open || place.client().is_none_or(|client| !client.unheard)
    };
    is_at_rest(world) && Person::ALL.into_iter().all(is_said)
}
