//! Turns at computing, of which there are few, for connections of many addresses.
//!
//! Addresses take turns with each other, so that one which has many connections waiting gets no more than one which has
//! a single one. Of an address those go first that have had a turn, so that what was begun is brought to an end, and of
//! those the newest: where more come than can be served, the others wait in vain in any case, and make room, the oldest
//! first, when there are too many of them.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::sync::oneshot;

use crate::admission::Source;

/// The turns that there are.
#[derive(Debug)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    waiting: BTreeMap<Source, Queue>,
    /// The addresses that have somebody waiting, each once, the next one first.
    next: VecDeque<Source>,
}

/// Of one address.
#[derive(Debug, Default)]
struct Queue {
    /// Those that have had a turn, the newest last.
    begun: VecDeque<oneshot::Sender<Turn>>,
    /// The others, likewise.
    new: VecDeque<oneshot::Sender<Turn>>,
}

/// A turn, which goes on to the next when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Option<Arc<Turns>>);

/// A place among those that wait, which is left when it is dropped.
#[derive(Debug)]
pub(crate) struct Wait(oneshot::Receiver<Turn>);

impl Turns {
    /// So many at a time.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { free: count, waiting: BTreeMap::new(), next: VecDeque::new() })))
    }

    /// Asks for a turn for a connection from `source`, which has had one before or not.
    pub(crate) fn wait(self: &Arc<Self>, source: Source, has_begun: bool) -> Wait {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        let queue = state.waiting.entry(source).or_default();
        let is_first = queue.is_empty();
        let place = if has_begun { &mut queue.begun } else { &mut queue.new };
        // Those that wait no longer are mostly the oldest.
        while place.pop_front_if(|sender| sender.is_closed()).is_some() {}
        place.push_back(sender);
        if is_first {
            state.next.push_back(source);
        }
        if let Some(left) = state.free.checked_sub(1) {
            state.free = left;
            drop(state);
            self.pass_on();
        }
        Wait(receiver)
    }

    /// Gives a turn that nobody has to the next who waits for one.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            let Some(next) = state.take_next() else {
                state.free = state.free.saturating_add(1);
                return;
            };
            drop(state);
            match next.send(Turn(Some(self.clone()))) {
                Ok(()) => return,
                // Waits no longer. The turn is still to be given.
                Err(mut turn) => turn.0 = None,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let source = self.next.pop_front()?;
        let queue = self.waiting.get_mut(&source)?;
        let newest = queue.begun.pop_back().or_else(|| queue.new.pop_back());
        if queue.is_empty() {
            self.waiting.remove(&source);
        } else {
            self.next.push_back(source);
        }
        newest
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.new.is_empty()
    }
}

impl Wait {
    /// The turn, when it has come. Not to be called after that.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        // Nobody who waits is forgotten.
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(cx)).unwrap_or(Turn(None)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use std::{net::Ipv4Addr, task::Waker};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn source(n: u8) -> Source {
        Source::V4(Ipv4Addr::new(10, 0, 0, n))
    }

    fn has_come(wait: &mut Wait) -> Option<Turn> {
        match wait.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    /// Which of the waiting have their turn, one after the other, when each ends as soon as it has come.
    fn order(mut waiting: Vec<(&'static str, Wait)>, mut turn: Option<Turn>) -> Vec<&'static str> {
        let mut order = Vec::new();
        while turn.take().is_some() {
            for (name, wait) in &mut waiting {
                if order.contains(name) {
                    continue;
                }
                if let Some(next) = has_come(wait) {
                    order.push(*name);
                    turn = Some(next);
                    break;
                }
            }
        }
        order
    }

    #[test]
    fn addresses_take_turns_and_of_an_address_the_newest_is_first() {
        let turns = Turns::new(1);
        let turn = has_come(&mut turns.wait(source(0), false));
        assert!(turn.is_some());
        let waiting =
            [("a1", 1), ("a2", 1), ("A3", 1), ("b1", 2), ("a4", 1), ("c1", 3), ("b2", 2), ("A5", 1), ("a6", 1)];
        let waiting = waiting.map(|(name, n)| (name, turns.wait(source(n), name.starts_with('A'))));
        assert_eq!(order(waiting.into(), turn), ["A5", "b2", "c1", "A3", "b1", "a6", "a4", "a2", "a1"]);
        assert!(has_come(&mut turns.wait(source(0), false)).is_some(), "it is free again");
    }

    #[test]
    fn who_waits_no_longer_is_passed_over_and_forgotten() {
        let turns = Turns::new(1);
        let turn = has_come(&mut turns.wait(source(0), false));
        let left = [turns.wait(source(1), false), turns.wait(source(2), true)];
        let waiting = vec![("a", turns.wait(source(1), false)), ("b", turns.wait(source(3), true))];
        drop(left);
        for _ in 0..10_000 {
            drop(turns.wait(source(4), true));
        }
        assert!(turns.state().waiting.values().map(|queue| queue.begun.len() + queue.new.len()).sum::<usize>() < 10);
        assert_eq!(order(waiting, turn), ["a", "b"]);
        // Also who leaves at the moment when the turn has come.
        let (mut wait, turn) = (turns.wait(source(1), false), turns.wait(source(1), false));
        assert!(has_come(&mut wait).is_some());
        drop(turn);
        assert!(has_come(&mut turns.wait(source(0), false)).is_some());
    }

    proptest! {
        #[test]
        fn no_turn_is_lost_or_made_up(count in 1..4usize, steps in vec((0..4u8, 0..3u8, any::<prop::sample::Index>()), 0..200)) {
            let turns = Turns::new(count);
            let (mut waiting, mut having) = (Vec::new(), Vec::new());
            for (what, address, index) in steps {
                match what {
                    0 | 1 => waiting.push(turns.wait(source(address), what == 0)),
                    2 if !waiting.is_empty() => drop(waiting.swap_remove(index.index(waiting.len()))),
                    3 if !having.is_empty() => drop(having.swap_remove(index.index(having.len()))),
                    _ => {}
                }
                waiting.retain_mut(|wait| match has_come(wait) {
                    Some(turn) => {
                        having.push(turn);
                        false
                    }
                    None => true,
                });
                prop_assert_eq!(having.len().saturating_add(turns.state().free), count);
                prop_assert!(waiting.is_empty() || having.len() == count, "nobody waits for a turn that is free");
            }
        }
    }
}
