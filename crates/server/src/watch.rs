//! The watch on the directory: what another process changes in it reaches those who are online.

use std::{
    collections::BTreeMap,
    mem::{Discriminant, discriminant},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use protocol::ServerError;
use tokio::time::timeout;

use crate::{
    directory::{DirectoryError, MAX_AT_ONCE},
    listener::Relay,
};

/// How long the directory may be unreadable before all sessions end.
const MAX_BLIND: Duration = Duration::from_secs(30);

/// Ends the sessions of users whom another process, `sottovoce user …`, has removed or given another key. When that
/// cannot be known for long, all sessions end: nobody stays on whom the operator may have removed (fail closed).
pub(crate) async fn watch_directory(relay: Arc<Relay>) {
    let mut seen = None;
    let mut sight = Sight::new(now());
    loop {
        let began = now();
        let looked = {
            let mut look = pin!(look(&relay, &mut seen));
            match timeout(sight.left(began), &mut look).await {
                Ok(looked) => looked,
                // It takes longer than may be waited for, and there is no use in another before it has come to an end.
                Err(_) => {
                    sight.is_over(&relay, now());
                    look.await
                }
            }
        };
        match looked {
            Ok(()) => {
                relay.health.directory_read(now());
                sight.is_back(began);
            }
            Err(error) => {
                relay.health.directory_failed();
                relay.known.forget();
                // Another database may have taken over, whose changes have numbers that were seen already.
                seen = None;
                sight.is_lost(&error);
                sight.is_over(&relay, now());
            }
        }
        pause(relay.config.directory_poll).await;
    }
}

/// Whether the directory can be read, as far as the operator and those who are online have to know.
struct Sight {
    /// When the last look began that came to its end. What the directory was then is known.
    last: Instant,
    /// What kind of error has been told since.
    told: Option<Discriminant<DirectoryError>>,
    has_ended_all: bool,
}

impl Sight {
    fn new(now: Instant) -> Self {
        Self { last: now, told: None, has_ended_all: false }
    }

    /// How long a look that begins now may take while everybody stays on; without end when nobody has.
    fn left(&self, now: Instant) -> Duration {
        let left = MAX_BLIND.saturating_sub(now.saturating_duration_since(self.last));
        if self.has_ended_all || left.is_zero() { Duration::MAX } else { left }
    }

    fn is_back(&mut self, began: Instant) {
        if self.told.is_some() || self.has_ended_all {
            tracing::info!("the directory can be read again");
        }
        *self = Self::new(began);
    }

    fn is_lost(&mut self, error: &DirectoryError) {
        let kind = discriminant(error);
        if self.told.replace(kind) != Some(kind) {
            tracing::error!(%error, "the directory cannot be read; removals wait");
        }
    }

    /// Ends all sessions if it has been lost for too long.
    fn is_over(&mut self, relay: &Relay, now: Instant) {
        if now.saturating_duration_since(self.last) < MAX_BLIND {
            return;
        }
        if !std::mem::replace(&mut self.has_ended_all, true) {
            tracing::error!("the directory could not be read for too long; all sessions end");
        }
        relay.router.end_all(ServerError::Unavailable);
    }
}

/// Looks whether the directory has changed since `seen`, and if so, whom it no longer lets in.
async fn look(relay: &Relay, seen: &mut Option<i64>) -> Result<(), DirectoryError> {
    let revision = relay.directory.revision().await?;
    if *seen != Some(revision) {
        relay.sweeps.fetch_add(1, Ordering::SeqCst);
        sweep(relay).await?;
        *seen = Some(revision);
    }
    Ok(())
}

/// Compares everybody online with the directory, many at a time: it may be a network away.
async fn sweep(relay: &Relay) -> Result<(), DirectoryError> {
    for some in relay.router.everybody().chunks(MAX_AT_ONCE) {
        let names = some.iter().map(|(user, _)| user.clone()).collect::<Vec<_>>();
        let registered: BTreeMap<_, _> = relay.directory.keys_of(&names).await?.into_iter().collect();
        for (user, key) in some {
            if registered.get(user) != Some(key) {
                relay.router.end(user, key, ServerError::Removed);
            }
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this is a driver, and drivers read the clock")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "there is no event to wait for: time itself is what has to pass")]
async fn pause(length: Duration) {
    tokio::time::sleep(length).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_the_time_since_the_last_look_that_came_to_its_end_began() {
        let start = now();
        let after = |seconds| start.checked_add(Duration::from_secs(seconds)).unwrap();
        let mut sight = Sight::new(start);
        assert_eq!(sight.left(after(0)), MAX_BLIND);
        assert_eq!(sight.left(after(12)), Duration::from_secs(18), "however many looks have failed by then");
        assert_eq!(sight.left(after(30)), Duration::MAX, "the next word is that of the look");
        sight.is_back(after(20));
        assert_eq!(sight.left(after(25)), Duration::from_secs(25));
    }
}
