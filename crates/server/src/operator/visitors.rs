//! Whoever asks about a server, a few at a time.

use std::{collections::VecDeque, time::Duration};

use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// Visitors at once. Each takes a file, of which the directory of users must find some left.
const MAX_VISITORS: usize = 8;
/// How long a visit may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Those who are there. Nobody is kept waiting by those who take their time: for one more than there may be, the one who
/// has been there for the longest goes.
#[derive(Debug, Default)]
pub(crate) struct Visitors(VecDeque<AbortOnDropHandle<()>>);

impl Visitors {
    /// Has another one served.
    pub(crate) fn serve(&mut self, visit: impl Future<Output = ()> + Send + 'static) {
        self.0.retain(|visit| !visit.is_finished());
        while self.0.len() >= MAX_VISITORS {
            drop(self.0.pop_front());
        }
        self.0.push_back(AbortOnDropHandle::new(tokio::spawn(async {
            // Who takes longer is cut off.
            let _ = timeout(PATIENCE, visit).await;
        })));
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot::{self, error::TryRecvError};

    use super::*;

    #[tokio::test]
    async fn the_newest_is_served_and_the_oldest_makes_room() {
        let mut visitors = Visitors::default();
        let mut ends = Vec::new();
        for n in 0..MAX_VISITORS + 2 {
            let (end, ended) = oneshot::channel::<()>();
            // Those of odd numbers are soon done.
            visitors.serve(async move {
                let _end = end;
                if n % 2 == 0 {
                    pending::<()>().await;
                }
            });
            ends.push(ended);
            tokio::task::yield_now().await;
        }
        // Those who are done have made room.
        for end in ends.iter_mut().skip(1).step_by(2) {
            assert!(end.await.is_err());
        }
        assert!(ends.iter_mut().step_by(2).all(|end| end.try_recv() == Err(TryRecvError::Empty)));
        let mut newest = Vec::new();
        for _ in 0..MAX_VISITORS {
            let (end, ended) = oneshot::channel::<()>();
            visitors.serve(async move {
                let _end = end;
                pending::<()>().await;
            });
            newest.push(ended);
        }
        for end in ends.into_iter().step_by(2) {
            // Long before its time is over.
            assert!(timeout(PATIENCE / 2, end).await.unwrap().is_err());
        }
        assert!(newest.iter_mut().all(|end| end.try_recv() == Err(TryRecvError::Empty)));
    }
}
