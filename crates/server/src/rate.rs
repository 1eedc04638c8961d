//! How often something may be done: a token bucket, kept as the one moment when it would be full again. And what users
//! have used up of theirs.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use protocol::UserName;

/// So many at once, and one more after each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
    room: Duration,
}

impl Rate {
    /// `burst` at once, and from then on `per_minute`. Both count as 1 at least.
    pub fn new(per_minute: usize, burst: usize) -> Self {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let interval = Duration::from_secs(60).checked_div(count(per_minute)).unwrap_or_default();
        Self { interval, room: interval.saturating_mul(count(burst)) }
    }
}

/// What is left of a [`Rate`]. It begins full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one out.
    ///
    /// # Errors
    /// How long it takes until there is one. Nothing was taken: who asks too often does not wait the longer for it.
    pub fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let from = self.full_at.map_or(now, |full_at| full_at.max(now));
        let owed = from.saturating_duration_since(now).saturating_add(rate.interval);
        match owed.checked_sub(rate.room) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = from.checked_add(rate.interval);
                Ok(())
            }
        }
    }

    /// When it is full again: from then on it is as if nothing had ever been taken out. `None` of one that never was
    /// touched.
    pub fn full_at(&self) -> Option<Instant> {
        self.full_at
    }

    fn and(self, other: Self) -> Self {
        Self { full_at: self.full_at.max(other.full_at) }
    }
}

/// What somebody has used up of the rates that each user has, whatever session it was in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Lists.
    pub lists: Bucket,
    /// Requests to talk.
    pub requests: Bucket,
}

impl Spent {
    /// What has been used up if both are true.
    pub fn and(self, other: Self) -> Self {
        Self { lists: self.lists.and(other.lists), requests: self.requests.and(other.requests) }
    }

    /// Whether nothing of it counts any more.
    pub fn is_over(&self, now: Instant) -> bool {
        [self.lists, self.requests].iter().all(|bucket| bucket.full_at.is_none_or(|full_at| full_at <= now))
    }
}

/// What users have used up. It outlives their sessions, for otherwise who logs in anew would have all anew.
///
/// The lock is held for a look-up or a change of the map, never across an await.
#[derive(Debug, Default)]
pub struct Ledger {
    spent: Mutex<BTreeMap<UserName, Spent>>,
}

/// Users in a [`Ledger`] below which nobody is forgotten.
const FEW: usize = 1024;

impl Ledger {
    /// What this user has used up.
    pub fn of(&self, user: &UserName) -> Spent {
        self.spent().get(user).copied().unwrap_or_default()
    }

    /// Notes what a session of this user, who is registered, has used up, at `now`.
    pub fn note(&self, user: &UserName, spent: Spent, now: Instant) {
        let mut all = self.spent();
        if all.len() >= FEW && !all.contains_key(user) {
            all.retain(|_, spent| !spent.is_over(now));
        }
        let before = all.entry(user.clone()).or_default();
        *before = before.and(spent);
    }

    fn spent(&self) -> MutexGuard<'_, BTreeMap<UserName, Spent>> {
        // Nothing that runs under the lock can leave the map half changed.
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an Instant can only be had from the clock")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_burst_and_then_one_after_each_interval() {
        let (start, rate) = (start(), Rate::new(30, 3));
        let mut bucket = Bucket::default();
        let mut take = |ms| bucket.take(rate, start + Duration::from_millis(ms));
        assert_eq!([take(0), take(0), take(0)], [Ok(()); 3]);
        assert_eq!(take(0), Err(Duration::from_secs(2)));
        assert_eq!(take(1_999), Err(Duration::from_millis(1)));
        assert_eq!(take(2_000), Ok(()));
        assert_eq!(take(2_000), Err(Duration::from_secs(2)));
        assert_eq!([take(60_000), take(60_000), take(60_000)], [Ok(()); 3], "no more than the burst is saved up");
        assert_eq!(take(60_000), Err(Duration::from_secs(2)));
    }

    proptest! {
        /// Over any span of time no more than the burst and what came in that time; and who waits as long as he is told
        /// is served.
        #[test]
        fn never_more_than_the_rate(per_minute in 1..100_000usize, burst in 1..50usize, waits in prop::collection::vec(0..3_000u64, 1..200)) {
            let (start, rate) = (start(), Rate::new(per_minute, burst));
            let (mut bucket, mut now, mut taken) = (Bucket::default(), start, Vec::new());
            for wait in waits {
                now += Duration::from_millis(wait);
                match bucket.take(rate, now) {
                    Ok(()) => taken.push(now),
                    Err(wait) => {
                        prop_assert!(wait <= rate.interval);
                        prop_assert_eq!(Bucket::take(&mut bucket.clone(), rate, now + wait), Ok(()));
                    }
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (count, to) in taken[first..].iter().enumerate() {
                    let more = count.saturating_sub(burst - 1);
                    prop_assert!(to.duration_since(*from) >= rate.interval * u32::try_from(more).unwrap());
                }
            }
        }
    }
}
