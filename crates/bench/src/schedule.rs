//! When messages are due, whatever the server does meanwhile.

use std::time::Duration;

const SECOND: u128 = 1_000_000_000;

/// Messages at a fixed rate. The time of each is computed from its number, so that rounding does not add up, and a
/// message that goes out late is measured from when it should have gone (no coordinated omission).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Messages in a second.
    rate: u128,
    /// Nanoseconds between the moments at which messages are due.
    tick: u128,
}

impl Schedule {
    /// `rate` is in messages a second; 0 counts as 1. All that would be due within a `tick` are due together at its
    /// beginning; without one, each has its own time.
    pub(crate) fn new(rate: u64, tick: Duration) -> Self {
        Self { rate: u128::from(rate.max(1)), tick: tick.as_nanos().max(1) }
    }

    /// When message `number` is due, in nanoseconds since the start. Numbers count from 0.
    pub(crate) fn due(&self, number: u64) -> u64 {
        let even = u128::from(number).saturating_mul(SECOND).checked_div(self.rate).unwrap_or_default();
        let nanoseconds = even.saturating_sub(even.checked_rem(self.tick).unwrap_or_default());
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }

    /// How many messages are due before `end`, counted from the start.
    pub(crate) fn count_before(&self, end: Duration) -> u64 {
        let end = end.as_nanos().checked_next_multiple_of(self.tick).unwrap_or(u128::MAX);
        let count = end.saturating_mul(self.rate).div_ceil(SECOND);
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_TICK: Duration = Duration::ZERO;

    #[test]
    fn messages_are_due_at_even_times_that_do_not_drift() {
        let schedule = Schedule::new(20_000, NO_TICK);
        assert_eq!([0, 1, 2].map(|number| schedule.due(number)), [0, 50_000, 100_000]);
        let odd = Schedule::new(3, NO_TICK);
        assert_eq!([0, 1, 2, 3].map(|number| odd.due(number)), [0, 333_333_333, 666_666_666, 1_000_000_000]);
        assert_eq!(odd.due(3_000_000), 1_000_000_000_000_000, "after eleven days still to the nanosecond");
    }

    #[test]
    fn within_a_tick_messages_are_due_together() {
        let schedule = Schedule::new(20_000, Duration::from_millis(1));
        assert_eq!(
            [0, 1, 19, 20, 39, 40].map(|number| schedule.due(number)),
            [0, 0, 0, 1_000_000, 1_000_000, 2_000_000]
        );
        assert_eq!(schedule.count_before(Duration::from_millis(2)), 40);
        assert_eq!(schedule.count_before(Duration::from_micros(1001)), 40);
    }

    #[test]
    fn as_many_are_due_before_a_moment_as_have_times_before_it() {
        for (rate, tick) in [(1, 0), (3, 0), (7, 3), (20_000, 0), (20_000, 1000), (999_983, 1), (999_983, 777)] {
            let schedule = Schedule::new(rate, Duration::from_micros(tick));
            for milliseconds in [1, 10, 999, 1000, 12_345] {
                let end = Duration::from_millis(milliseconds);
                let count = schedule.count_before(end);
                let end = u64::try_from(end.as_nanos()).unwrap();
                assert!(count == 0 || schedule.due(count - 1) < end, "{rate} {milliseconds}");
                // The time of a message is rounded down to the nanosecond.
                assert!(schedule.due(count) + 1 >= end, "{rate} {tick} {milliseconds}");
            }
        }
    }
}
