//! Whether this node should get new connections, and what that rests on.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};

/// How long the directory may not have been read before it counts as unreadable, though no look at it has failed: one
/// that does not come back says nothing. Half of the time after which all sessions end.
const STALE: Duration = Duration::from_secs(15);

/// Why a node should get no new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotReady {
    /// It has not read the directory of users yet.
    Starting,
    /// It was told to stop.
    Draining,
    /// The directory of users cannot be read, and nobody is let in.
    Directory,
    /// The other nodes cannot be reached, and with them the users who are there.
    Cluster,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting: the directory of users has not been read yet",
            Self::Draining => "draining: it was told to stop",
            Self::Directory => "the directory of users cannot be read, and nobody is let in; the log says why",
            Self::Cluster => "the other nodes cannot be reached; the log says why",
        })
    }
}

/// How the directory of users was at the last look.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DirectoryHealth {
    /// Whether it could be read, and that not too long ago.
    pub readable: bool,
    /// Since it was read last; nothing if it never was.
    pub seconds_since_read: Option<f64>,
}

/// What is known of it.
#[derive(Debug)]
pub(crate) struct Health {
    since: Instant,
    since_date: SystemTime,
    directory: Mutex<Looks>,
    is_draining: AtomicBool,
}

/// At the directory of users.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    last_good: Option<Instant>,
    has_failed: bool,
}

impl Health {
    /// Of a server that starts at `now`, which is the `date`.
    pub(crate) fn new(now: Instant, date: SystemTime) -> Self {
        Self { since: now, since_date: date, directory: Mutex::default(), is_draining: AtomicBool::new(false) }
    }

    /// The directory was read.
    pub(crate) fn directory_read(&self, now: Instant) {
        *self.directory() = Looks { last_good: Some(now), has_failed: false };
    }

    /// The directory could not be read.
    pub(crate) fn directory_failed(&self) {
        self.directory().has_failed = true;
    }

    /// The server was told to stop.
    pub(crate) fn drains(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Whether it was.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// When the server started, in seconds since 1970, and how long ago that is.
    pub(crate) fn start(&self, now: Instant) -> (u64, Duration) {
        let date = self.since_date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (date.as_secs(), now.saturating_duration_since(self.since))
    }

    /// How the directory is.
    pub(crate) fn directory_health(&self, now: Instant) -> DirectoryHealth {
        let Looks { last_good, has_failed } = *self.directory();
        let age = last_good.map(|then| now.saturating_duration_since(then));
        DirectoryHealth {
            readable: !has_failed && age.is_some_and(|age| age <= STALE),
            seconds_since_read: age.map(|age| age.as_secs_f64()),
        }
    }

    /// Why the node should get no new connections, if it should not. `is_alone`: whether it should reach other nodes and
    /// does not.
    pub(crate) fn not_ready(&self, now: Instant, is_alone: bool) -> Option<NotReady> {
        let Looks { last_good, has_failed } = *self.directory();
        if self.is_draining() {
            Some(NotReady::Draining)
        } else if last_good.is_none() && !has_failed {
            Some(NotReady::Starting)
        } else if !self.directory_health(now).readable {
            Some(NotReady::Directory)
        } else {
            is_alone.then_some(NotReady::Cluster)
        }
    }

    fn directory(&self) -> MutexGuard<'_, Looks> {
        // Nothing that runs under the lock can leave it half changed.
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an Instant can only be had from the clock")]
    fn a_node_is_ready_while_it_reads_the_directory_and_until_it_is_told_to_stop() {
        let start = Instant::now();
        let s = |seconds| start + Duration::from_secs(seconds);
        let health = Health::new(start, SystemTime::UNIX_EPOCH + Duration::from_secs(77));
        let is = |now, readable, seconds_since_read| {
            assert_eq!(health.directory_health(now), DirectoryHealth { readable, seconds_since_read });
        };
        assert_eq!(health.start(s(3)), (77, Duration::from_secs(3)));
        assert_eq!(health.not_ready(s(1), false), Some(NotReady::Starting));
        is(s(1), false, None);
        health.directory_failed();
        assert_eq!(health.not_ready(s(1), false), Some(NotReady::Directory));
        health.directory_read(s(2));
        assert_eq!(health.not_ready(s(3), false), None);
        assert_eq!(health.not_ready(s(3), true), Some(NotReady::Cluster));
        is(s(3), true, Some(1.0));
        // No look came back since.
        is(s(17), true, Some(15.0));
        assert_eq!(health.not_ready(s(18), false), Some(NotReady::Directory));
        is(s(18), false, Some(16.0));
        health.directory_read(s(19));
        health.directory_failed();
        is(s(20), false, Some(1.0));
        assert_eq!(health.not_ready(s(20), true), Some(NotReady::Directory));
        health.directory_read(s(21));
        health.drains();
        assert_eq!(health.not_ready(s(21), true), Some(NotReady::Draining));
    }
}
