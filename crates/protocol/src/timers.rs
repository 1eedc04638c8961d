use std::time::{Duration, Instant};

/// The timers of one machine, named by the one enum that lists them all.
///
/// A machine has a handful of timers at most and one or two running, so they stand in a short unsorted list.
#[derive(Clone, Debug)]
pub struct Timers<T> {
    running: Vec<(T, Instant)>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { running: Vec::new() }
    }
}

impl<T: Copy + PartialEq> Timers<T> {
    /// Starts `timer` so that it expires at `at`, or moves it there.
    pub fn start(&mut self, timer: T, at: Instant) {
        match self.running.iter_mut().find(|(running, _)| *running == timer) {
            Some((_, expiry)) => *expiry = at,
            None => self.running.push((timer, at)),
        }
    }

    /// Starts `timer` so that it expires `wait` after `now`, or moves it there. A time beyond the clock's is now.
    pub fn start_after(&mut self, timer: T, now: Instant, wait: Duration) {
        self.start(timer, now.checked_add(wait).unwrap_or(now));
    }

    /// Stops `timer`, running or not.
    pub fn stop(&mut self, timer: T) {
        self.running.retain(|(running, _)| *running != timer);
    }

    /// Stops all timers.
    pub fn stop_all(&mut self) {
        self.running.clear();
    }

    /// Whether `timer` is running.
    pub fn is_running(&self, timer: T) -> bool {
        self.running.iter().any(|(running, _)| *running == timer)
    }

    /// The timers that run, in no order, and when each expires.
    pub fn running(&self) -> impl Iterator<Item = (T, Instant)> {
        self.running.iter().copied()
    }

    /// When the next timer expires.
    pub fn next(&self) -> Option<Instant> {
        self.running.iter().map(|(_, at)| *at).min()
    }

    /// Takes the timer that expired first, if one has by `now`. An expired timer no longer runs.
    pub fn expired(&mut self, now: Instant) -> Option<T> {
        let (place, _) =
            self.running.iter().enumerate().filter(|(_, (_, at))| *at <= now).min_by_key(|(_, (_, at))| *at)?;
        Some(self.running.swap_remove(place).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_expire_once_in_order_and_can_be_moved() {
        #[expect(clippy::disallowed_methods, reason = "an Instant can only be had from the clock")]
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.start('a', at(1));
        timers.start('b', at(2));
        timers.start('a', at(3));
        assert_eq!(timers.next(), Some(at(2)));
        assert_eq!(timers.expired(at(1)), None);
        assert_eq!(timers.expired(at(9)), Some('b'));
        assert_eq!(timers.expired(at(9)), Some('a'));
        assert_eq!(timers.expired(at(9)), None);
        assert_eq!(timers.next(), None);
    }
}
