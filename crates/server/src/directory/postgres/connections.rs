//! The connections to PostgreSQL: a bounded number, each for one piece of work at a time, and none trusted for longer than
//! it answers.
//!
//! `sqlx`'s pool is not used. It tests connections when they come back, in tasks of its own that wait without a limit; while
//! PostgreSQL hangs, these hold all the places that there are, for minutes after it is back. Here whatever takes too long is
//! dropped, and its connection with it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _, postgres::PgConnectOptions};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::failure;
use crate::directory::{
    error::{DirectoryError, Fault},
    location::Location,
};

/// How many there are at most.
const CONNECTIONS: usize = 8;
/// For a look-up, with all that it takes: connecting, waiting for others, a second attempt.
const LOOK: Duration = Duration::from_secs(3);
/// For reading everything, or for a change, which may have to wait for another.
const WORK: Duration = Duration::from_secs(12);

/// What holds on each connection, so that PostgreSQL too lets go of what takes too long: of a node's change, if the node
/// freezes in the middle of it. Names mean what is in our schema and nothing that others may have put elsewhere.
const SETTINGS: &str = "
    SELECT set_config('search_path', 'sottovoce, pg_temp', false),
           set_config('statement_timeout', '10s', false),
           set_config('lock_timeout', '5s', false),
           set_config('idle_in_transaction_session_timeout', '10s', false),
           set_config('default_transaction_isolation', 'read committed', false),
           set_config('client_min_messages', 'error', false),
           current_setting('transaction_read_only') = 'on' AS is_read_only";

/// What a connection is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::directory) enum Manner {
    /// To look something up: soon, and twice if need be.
    Look,
    /// To read everything, or change something: once, and others may have to be waited for.
    Work,
}

impl Manner {
    /// How long it may take, with connecting and waiting for others.
    pub(super) fn limit(self) -> Duration {
        match self {
            Self::Look => LOOK,
            Self::Work => WORK,
        }
    }
}

pub(super) struct Connections {
    location: Location,
    options: PgConnectOptions,
    permits: Semaphore,
    idle: Mutex<Vec<PgConnection>>,
}

/// What came of a piece of work.
pub(in crate::directory) enum Settled<'a, T> {
    /// It is done, or has failed.
    Done(Result<T, DirectoryError>),
    /// It is to be done again, on this connection.
    Again(Lease<'a>),
}

/// A connection while something is done on it. Closed if it is dropped before that is settled.
pub(in crate::directory) struct Lease<'a> {
    of: &'a Connections,
    connection: PgConnection,
    manner: Manner,
    is_second_try: bool,
    _permit: SemaphorePermit<'a>,
}

impl Connections {
    pub(super) fn new(location: Location, options: PgConnectOptions) -> Self {
        Self { location, options, permits: Semaphore::new(CONNECTIONS), idle: Mutex::default() }
    }

    pub(super) fn location(&self) -> &Location {
        &self.location
    }

    /// A connection for one piece of work: one that is idle, or a new one.
    pub(super) async fn lease(&self, manner: Manner) -> Result<Lease<'_>, DirectoryError> {
        let permit = self.permits.acquire().await.map_err(|_| self.closed())?;
        let lease = |connection, is_second_try| Lease { of: self, connection, manner, is_second_try, _permit: permit };
        if let Some(mut connection) = self.take() {
            // A look that fails is followed by another. What must not be done twice is done where PostgreSQL answers.
            if manner == Manner::Look || matches!(timeout(LOOK, connection.ping()).await, Ok(Ok(()))) {
                return Ok(lease(connection, false));
            }
            self.distrust();
        }
        Ok(lease(self.connect().await?, true))
    }

    /// Waits so long for what is done on a connection.
    pub(super) async fn in_time<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, DirectoryError>>,
    ) -> Result<T, DirectoryError> {
        match timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => {
                // Each of the others would be as silent, one after the other.
                self.distrust();
                Err(DirectoryError::Silent { location: self.location.clone(), seconds: limit.as_secs() })
            }
        }
    }

    /// Connects as often as this process ever will at once.
    pub(super) async fn fill(&self) -> Result<(), DirectoryError> {
        let _all = self.all_permits().await?;
        while self.idle().len() < CONNECTIONS {
            let connection = self.connect().await?;
            self.give_back(connection);
        }
        Ok(())
    }

    /// Waits for what is going on, and then closes all of them. Nothing goes on after that.
    pub(super) async fn close(&self) {
        let all = timeout(WORK, self.all_permits()).await;
        self.permits.close();
        drop(all);
        let farewell = async {
            for connection in self.take_all() {
                let _ = connection.close().await;
            }
        };
        // PostgreSQL notices too if it is not told.
        let _ = timeout(LOOK, farewell).await;
    }

    /// A new connection, on which the settings hold.
    pub(super) async fn connect(&self) -> Result<PgConnection, DirectoryError> {
        let connected = async {
            let mut connection = self.options.connect().await?;
            let set = sqlx::query(SETTINGS).persistent(false).fetch_one(&mut connection).await?;
            Ok((connection, set.try_get("is_read_only")?))
        };
        match connected.await.map_err(|error| failure::of(&self.location, error))? {
            (_, true) => Err(DirectoryError::Standby(self.location.clone())),
            (connection, false) => Ok(connection),
        }
    }

    pub(super) fn give_back(&self, connection: PgConnection) {
        self.idle().push(connection);
    }

    pub(super) fn blame(&self, fault: Fault) -> DirectoryError {
        match fault {
            Fault::Refused(refusal) => refusal,
            Fault::Damaged => DirectoryError::Damaged(self.location.clone()),
            Fault::Database(error) => failure::of(&self.location, error),
        }
    }

    async fn all_permits(&self) -> Result<SemaphorePermit<'_>, DirectoryError> {
        let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
        self.permits.acquire_many(all).await.map_err(|_| self.closed())
    }

    fn closed(&self) -> DirectoryError {
        DirectoryError::Failed { location: self.location.clone(), source: sqlx::Error::PoolClosed }
    }

    fn take(&self) -> Option<PgConnection> {
        self.idle().pop()
    }

    /// Drops what is idle: what happened to one may have happened to all.
    fn distrust(&self) {
        drop(self.take_all());
    }

    fn take_all(&self) -> Vec<PgConnection> {
        std::mem::take(&mut *self.idle())
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        // Nothing that runs under the lock can leave the list half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Lease<'a> {
    pub(in crate::directory) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Gives the connection back if the database has answered on it, whatever the answer. If it has not, and the connection
    /// may have been lost while it was idle, there is another to ask once more on.
    pub(in crate::directory) async fn settle<T>(self, answer: Result<T, Fault>) -> Settled<'a, T> {
        let Self { of, connection, manner, is_second_try, _permit } = self;
        if !matches!(answer, Err(Fault::Database(_))) {
            of.give_back(connection);
            return Settled::Done(answer.map_err(|fault| of.blame(fault)));
        }
        drop(connection);
        if is_second_try || manner != Manner::Look {
            return Settled::Done(answer.map_err(|fault| of.blame(fault)));
        }
        of.distrust();
        match of.connect().await {
            Ok(connection) => Settled::Again(Self { of, connection, manner, is_second_try: true, _permit }),
            Err(error) => Settled::Done(Err(error)),
        }
    }
}
