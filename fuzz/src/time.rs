use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use server::{config::Config, session::Patience};

use crate::script::Script;

/// The beginning of all stories: the same in each, so that each is the same when it is told again.
#[expect(clippy::disallowed_methods, reason = "an Instant can only be had from the clock")]
pub(crate) fn start() -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START
}

/// Nothing as often as not, or a time that some timer waits for.
pub(crate) fn wait(script: &mut Script<'_>) -> Duration {
    let times = [0, 0, 0, 0, 0, 0, 0, 1, 20, 100, 300, 1000, 2000, 6000, 10_000, 15_000, 30_000, 60_000, 3_600_000];
    Duration::from_millis(script.pick(&times))
}

/// Lists and requests to talk that a session lets through.
pub(crate) const EACH_PER_MINUTE: usize = 30;
pub(crate) const EACH_AT_ONCE: usize = 5;

/// What a session gets of a server's settings: as they are unless an operator sets others, but for fewer lists and
/// requests.
pub(crate) fn patience() -> Patience {
    let mut config = Config::new("chat.example".parse().unwrap());
    (config.list_rate, config.request_rate) = (EACH_PER_MINUTE, EACH_PER_MINUTE);
    (config.list_burst, config.request_burst) = (EACH_AT_ONCE, EACH_AT_ONCE);
    config.patience()
}
