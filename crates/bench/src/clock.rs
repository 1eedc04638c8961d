//! The clock, which is read here alone.

use std::time::{Duration, Instant, SystemTime};

/// The time that spans are measured with.
#[expect(clippy::disallowed_methods, reason = "a load generator is a driver: it measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of the calendar.
#[expect(clippy::disallowed_methods, reason = "certificates and results bear dates")]
pub(crate) fn calendar() -> SystemTime {
    SystemTime::now()
}

/// Waits for a moment, in a thread of its own.
#[expect(clippy::disallowed_methods, reason = "there is no event to wait for: time itself is what has to pass")]
pub(crate) fn wait_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(now()));
}

/// Waits for a while, in a thread of its own.
pub(crate) fn pause(length: Duration) {
    let now = now();
    wait_until(now.checked_add(length).unwrap_or(now));
}

/// Nanoseconds from `start` to now.
pub(crate) fn nanoseconds_since(start: Instant) -> u64 {
    u64::try_from(now().saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}
