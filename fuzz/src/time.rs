use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use server::session::Patience;

use crate::script::Script;

/// The beginning of all stories: the same in each, so that each is the same when it is told again.
pub(crate) fn start() -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START
}

/// Nothing as often as not, or a time that some timer waits for.
pub(crate) fn wait(script: &mut Script<'_>) -> Duration {
    let times = [0, 0, 0, 0, 0, 0, 0, 1, 20, 100, 300, 1000, 2000, 6000, 10_000, 15_000, 30_000, 60_000, 3_600_000];
    Duration::from_millis(*script.pick(&times))
}

/// A server's time limits, as they are unless an operator sets others.
pub(crate) fn patience() -> Patience {
    Patience {
        login: Duration::from_secs(10),
        refusal: Duration::from_millis(300),
        idle: Duration::from_secs(15),
        request: Duration::from_secs(60),
        establishment: Duration::from_secs(15),
        grace: Duration::from_secs(60),
    }
}
