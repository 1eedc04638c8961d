//! How a server comes to its end: first it says that it is not ready, then it lets nobody in any more, then it tells its
//! clients, one after the other.

use std::time::Duration;

use protocol::ServerError;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{census::Census, health::Health, mailbox::Order};

/// The orders to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// To come to an end, with all the time that the configuration gives it.
    pub drain: CancellationToken,
    /// To hurry: whoever is left is told at once.
    pub hurry: CancellationToken,
}

impl From<CancellationToken> for Stop {
    /// Which nobody hurries.
    fn from(drain: CancellationToken) -> Self {
        Self { drain, hurry: CancellationToken::new() }
    }
}

impl Stop {
    /// Waits until nobody is to be let in any more: for the order to stop, and then for so long that those who send
    /// clients here have noticed that the node is not ready.
    pub(crate) async fn lets_nobody_in(&self, health: &Health, delay: Duration) {
        self.drain.cancelled().await;
        health.drains();
        if !delay.is_zero() {
            tracing::info!("told to stop, not ready any more");
            self.unless_hurried(sleep_until(begin_of(delay))).await;
        }
    }

    /// Tells all sessions that the server stops, at moments that are spread evenly over `time`: clients come back at once,
    /// and are not all to do so together. Those who log in meanwhile are not among them.
    pub(crate) async fn tells_everybody(&self, census: &Census, time: Duration) {
        let everybody = census.everybody();
        let Ok(count) = u32::try_from(everybody.len()) else {
            return;
        };
        if time.is_zero() || count == 0 {
            return;
        }
        tracing::info!(sessions = count, "telling clients, one after the other");
        let begin = Instant::now();
        self.unless_hurried(async {
            for (place, mailbox) in (0..count).zip(everybody) {
                let part = time.saturating_mul(place).checked_div(count).unwrap_or_default();
                sleep_until(begin.checked_add(part).unwrap_or(begin)).await;
                mailbox.end(Order::End(ServerError::ShuttingDown));
            }
        })
        .await;
    }

    async fn unless_hurried(&self, wait: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = self.hurry.cancelled() => tracing::info!("told to hurry"),
            () = wait => {}
        }
    }
}

fn begin_of(delay: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(delay).unwrap_or(now)
}
