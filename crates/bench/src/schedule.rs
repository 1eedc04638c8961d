//! When messages are due, whatever the server does meanwhile.

use std::time::Duration;

const SECOND: u128 = 1_000_000_000;

/// Messages at a fixed rate. The time of each is computed from its number, so that rounding does not add up, and a
/// message that goes out late is measured from when it should have gone (no coordinated omission).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Messages in a second.
    rate: u128,
}

impl Schedule {
    /// `rate` is in messages a second; 0 counts as 1.
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate: u128::from(rate.max(1)) }
    }

    /// When message `number` is due, in nanoseconds since the start. Numbers count from 0.
    pub(crate) fn due(&self, number: u64) -> u64 {
        let nanoseconds = u128::from(number).saturating_mul(SECOND).checked_div(self.rate).unwrap_or_default();
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }

    /// How many messages are due before `end`, counted from the start.
    pub(crate) fn count_before(&self, end: Duration) -> u64 {
        let count = end.as_nanos().saturating_mul(self.rate).div_ceil(SECOND);
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_even_times_that_do_not_drift() {
        let schedule = Schedule::new(20_000);
        assert_eq!([0, 1, 2].map(|number| schedule.due(number)), [0, 50_000, 100_000]);
        let odd = Schedule::new(3);
        assert_eq!([0, 1, 2, 3].map(|number| odd.due(number)), [0, 333_333_333, 666_666_666, 1_000_000_000]);
        assert_eq!(odd.due(3_000_000), 1_000_000_000_000_000, "after eleven days still to the nanosecond");
    }

    #[test]
    fn as_many_are_due_before_a_moment_as_have_times_before_it() {
        for rate in [1, 3, 7, 20_000, 999_983] {
            let schedule = Schedule::new(rate);
            for milliseconds in [1, 10, 999, 1000, 12_345] {
                let end = Duration::from_millis(milliseconds);
                let count = schedule.count_before(end);
                let end = u64::try_from(end.as_nanos()).unwrap();
                assert!(count == 0 || schedule.due(count - 1) < end, "{rate} {milliseconds}");
                // The time of a message is rounded down to the nanosecond.
                assert!(schedule.due(count) + 1 >= end, "{rate} {milliseconds}");
            }
        }
    }
}
