//! The keys that users had when the directory was last asked: so that a log-in that can be let in does not ask it again.
//!
//! What is known is only ever good for letting in, and only while nobody has written to the directory's files since it
//! was looked up, as far as they show that from outside, and the watch on the directory has seen no change in it. Whoever
//! comes with another key, or is not known, is looked up.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use protocol::{PublicKey, UserName};

use crate::directory::Stamp;

/// Users who are known at most. When there are more, all are forgotten.
const MAX_KNOWN: usize = 65_536;

/// What a look-up is true of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The changes that the watch on the directory had seen: a file does not show each from outside, if its disk is slow to
    /// take it or it lies elsewhere.
    pub(crate) sweep: u64,
    /// The directory's files.
    pub(crate) stamp: Stamp,
}

/// Who has which key, as far as that is known. The lock is held for a look or a change, never across an await.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    keys: BTreeMap<UserName, PublicKey>,
    /// When that was so.
    moment: Option<Moment>,
}

impl Known {
    /// Whether `user` is known to have this key at this `moment`.
    pub(crate) fn has(&self, user: &UserName, key: &PublicKey, moment: Option<Moment>) -> bool {
        let state = self.state();
        moment.is_some() && state.moment == moment && state.keys.get(user) == Some(key)
    }

    /// The directory says that `user` has this key, and was asked no earlier than at this `moment`.
    pub(crate) fn note(&self, user: &UserName, key: PublicKey, moment: Option<Moment>) {
        if moment.is_none() {
            return;
        }
        let mut state = self.state();
        if state.moment != moment || state.keys.len() >= MAX_KNOWN {
            *state = State { keys: BTreeMap::new(), moment };
        }
        state.keys.insert(user.clone(), key);
    }

    /// The directory cannot be read: whatever the reason, nobody is let in.
    pub(crate) fn forget(&self) {
        *self.state() = State::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: PublicKey = PublicKey::from_bytes([1; 32]);

    fn moment(sweep: u64, stamp: u64) -> Option<Moment> {
        Some(Moment { sweep, stamp: Stamp::for_tests(stamp) })
    }

    fn alice() -> UserName {
        "alice".parse().unwrap()
    }

    #[test]
    fn whoever_was_looked_up_is_known_by_that_key_while_nothing_is_written() {
        let (known, first, second) = (Known::default(), moment(1, 1), moment(1, 2));
        known.note(&alice(), KEY, first);
        assert!(known.has(&alice(), &KEY, first));
        assert!(!known.has(&alice(), &PublicKey::from_bytes([2; 32]), first));
        assert!(!known.has(&"bob".parse().unwrap(), &KEY, first));
        assert!(!known.has(&alice(), &KEY, second), "somebody has written");
        assert!(!known.has(&alice(), &KEY, moment(2, 1)), "a change was seen that the files do not show");
        assert!(!known.has(&alice(), &KEY, None), "somebody may be writing");
        known.note(&"bob".parse().unwrap(), KEY, second);
        assert!(!known.has(&alice(), &KEY, second), "of before that");
        known.note(&alice(), KEY, second);
        known.forget();
        assert!(!known.has(&alice(), &KEY, second));
        known.note(&alice(), KEY, None);
        assert!(!known.has(&alice(), &KEY, None));
    }

    #[test]
    fn so_many_are_known_and_no_more() {
        let (known, moment) = (Known::default(), moment(1, 1));
        for user in 0..=MAX_KNOWN {
            known.note(&format!("u{user}").parse().unwrap(), KEY, moment);
        }
        assert_eq!(known.state().keys.len(), 1);
    }
}
