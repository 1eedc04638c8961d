//! What becomes of a state when nothing more goes wrong and nobody wants anything new.

use std::time::Duration;

use server::session::{Line, State};

use super::{
    Relay,
    action::{Action, Deed},
    client::Stage,
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
}

impl Rest<'_> {
    /// The state at rest, which has come within the time in which it has to; `None` if it has not.
    pub(super) fn of(&self, world: &World) -> Option<World> {
        let patience = &self.relay.patience;
        // A look at whether the other still has the chat, and what can follow from it.
        let limit = [super::CHECK, patience.establishment, patience.grace, patience.grace]
            .into_iter()
            .fold(Duration::ZERO, Duration::saturating_add);
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
            if is_at_rest(&step.world) {
                return Some(step.world);
            }
            let wait =
                step.world.seats().filter_map(|(_, seat)| self.relay.next_timer(seat)).map(|next| next.1).min()?;
            waited = waited.saturating_add(wait);
            if waited > limit {
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
        let mut next: Vec<_> = world.flights.iter().cloned().map(Action::Arrives).collect();
        for person in Person::ALL {
            let place = world.place(person);
            if self.all_come_back && place.away.is_some() {
                next.push(Action::ComesBack(person));
            }
            for seat in &place.seats {
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
        if let Action::ComesBack(_) = action {
            step.world.left.logins = step.world.left.logins.saturating_add(1);
        }
        step.act(action)
    }
}

/// Whether everybody in a chat is in it with the other. Requests that nobody answers are no part of this.
fn is_at_rest(world: &World) -> bool {
    let is_fine = |person: Person, seat: &Seat| match seat.session.state() {
        Some(State::Chatting { line: Line::Open(_), .. }) => is_open_for(world, person, seat),
        Some(State::Chatting { line: Line::Broken { .. }, .. } | State::Establishing { .. }) => false,
        _ => true,
    };
    world.seats().all(|(person, seat)| is_fine(person, seat))
}
