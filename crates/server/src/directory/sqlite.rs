//! The directory in a SQLite file, which a running server and the commands that change it have open at the same time.

use std::{
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{
    Location, Stamp,
    error::{DirectoryError, Fault},
    queries::Queries,
    schema::{Progress, Steps},
};

/// A directory in a file.
pub(super) struct Sqlite {
    pool: SqlitePool,
    path: PathBuf,
    /// Its write-ahead log.
    log: PathBuf,
}

/// Tells our files from other programs' SQLite files: "sott".
const APPLICATION_ID: i64 = 0x736f_7474;
/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// One writes at a time anyway, and a look-up takes microseconds.
const CONNECTIONS: u32 = 4;

const STEPS: Steps = Steps(&["
    CREATE TABLE users (
        name TEXT NOT NULL PRIMARY KEY,
        key BLOB NOT NULL UNIQUE CHECK (length(key) = 32)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE revision (number INTEGER NOT NULL) STRICT;
    INSERT INTO revision (number) VALUES (0);
"]);

impl Sqlite {
    /// Makes an empty directory in a new file, which its owner alone may read and write.
    pub(super) async fn create(path: &Path) -> Result<Self, DirectoryError> {
        let path = absolute(path)?;
        // SQLite gives the files that it puts beside the database (-wal, -shm) the mode of the database.
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(
            |error| match error.kind() {
                io::ErrorKind::AlreadyExists => DirectoryError::Exists(path.clone()),
                _ => failed(&path, error.into()),
            },
        )?;
        let made = Self::set_up(&path).await;
        if made.is_err() {
            // The reason why it failed is worth more than the reason why it could not be cleared away.
            let _ = std::fs::remove_file(&path);
        }
        made
    }

    /// Opens the directory at `path`, to read and change it.
    pub(super) async fn open(path: &Path) -> Result<Self, DirectoryError> {
        let path = absolute(path)?;
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => return Err(DirectoryError::Foreign(Location::Sqlite(path))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(DirectoryError::Missing(path)),
            Err(error) => return Err(failed(&path, error.into())),
        }
        // SQLite would be content to read; this program must be able to write, and says so at once.
        std::fs::OpenOptions::new().read(true).write(true).open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                DirectoryError::ReadOnly(path.clone())
            }
            _ => failed(&path, error.into()),
        })?;
        let directory = Self::connect(&path).await?;
        let checked = directory.follow(&STEPS).await;
        if checked.is_err() {
            directory.close().await;
        }
        checked.map(|()| directory)
    }

    /// Opens the file as often as this process ever will, so that it can be read when the system has no file left to
    /// give.
    pub(super) async fn open_all(&self) -> Result<(), DirectoryError> {
        let mut all = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = self.connection().await?;
            // The write-ahead log is opened by the first who reads.
            Queries::<sqlx::Sqlite>::revision(&mut connection).await.map_err(|fault| self.blame(fault))?;
            all.push(connection);
        }
        Ok(())
    }

    /// A connection to read or change it on.
    pub(super) async fn connection(&self) -> Result<PoolConnection<sqlx::Sqlite>, DirectoryError> {
        self.pool.acquire().await.map_err(|error| failed(&self.path, error))
    }

    /// What a query came to nothing for.
    pub(super) fn blame(&self, fault: Fault) -> DirectoryError {
        match fault {
            Fault::Refused(refusal) => refusal,
            Fault::Damaged => DirectoryError::Damaged(Location::Sqlite(self.path.clone())),
            Fault::Database(error) => failed(&self.path, error),
        }
    }

    /// What the files look like at `now`, without opening them.
    pub(super) fn stamp(&self, now: SystemTime) -> Option<Stamp> {
        Stamp::of(&self.path, &self.log, now).ok().flatten()
    }

    /// Writes the file anew, from what is registered now. SQLite's `secure_delete` overwrites a row where it stood
    /// last, but not the copies that stayed behind when the row was moved from page to page.
    pub(super) async fn forget(&self) {
        let rewrite = async {
            sqlx::query("VACUUM").execute(&self.pool).await?;
            // What was removed stands in the write-ahead log until it is emptied, which readers can prevent.
            let emptied = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&self.pool).await?;
            emptied.try_get::<i64, _>("busy").map(|busy| busy == 0)
        };
        match rewrite.await {
            Ok(true) => {}
            Ok(false) => tracing::warn!("what was removed stays in the directory's log for now: it is in use"),
            Err(error) => tracing::warn!(%error, "what was removed stays in the directory's file for now"),
        }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    async fn connect(path: &Path) -> Result<Self, DirectoryError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("secure_delete", "ON")
            // No names in files elsewhere, not even while the file is written anew.
            .pragma("temp_store", "MEMORY")
            // An application's file is trusted less than the application (https://sqlite.org/security.html).
            .pragma("trusted_schema", "OFF")
            .pragma("cell_size_check", "ON")
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(BUSY_TIMEOUT)
            // A connection to a file does not go away by itself.
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await
            .map_err(|error| failed(path, error))?;
        // SQLite follows links, and puts its log beside the file that they lead to.
        let mut log = std::fs::canonicalize(path).map_err(|error| failed(path, error.into()))?.into_os_string();
        log.push("-wal");
        Ok(Self { pool, path: path.to_owned(), log: log.into() })
    }

    async fn set_up(path: &Path) -> Result<Self, DirectoryError> {
        let directory = Self::connect(path).await?;
        let made = async {
            // With a write-ahead log, readers need not wait for a writer. The mode stays with the file.
            sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&directory.pool).await?;
            // With the mark, which a file of no version bears, all steps are still to be taken.
            sqlx::raw_sql("PRAGMA application_id = 0x736f7474").execute(&directory.pool).await?;
            Ok(())
        };
        let made = match made.await.map_err(|error| failed(path, error)) {
            Ok(()) => directory.follow(&STEPS).await,
            Err(error) => Err(error),
        };
        if made.is_err() {
            directory.close().await;
        }
        made.map(|()| directory)
    }

    /// Has the file take the steps that it has not taken yet, all or none of them.
    async fn follow(&self, steps: &Steps) -> Result<(), DirectoryError> {
        let location = || Location::Sqlite(self.path.clone());
        let pragma = |sql| async move {
            let row = sqlx::query(sql).fetch_one(&self.pool).await.map_err(|error| failed(&self.path, error))?;
            row.try_get::<i64, _>(0).map_err(|error| self.blame(error.into()))
        };
        if pragma("PRAGMA application_id").await? != APPLICATION_ID {
            return Err(DirectoryError::Foreign(location()));
        }
        let found = pragma("PRAGMA user_version").await?;
        match steps.from(found) {
            Progress::UpToDate => Ok(()),
            Progress::Ahead => Err(DirectoryError::Newer { location: location(), found }),
            Progress::Nowhere => Err(DirectoryError::Foreign(location())),
            Progress::Behind(_) => {
                let taken = async {
                    let mut connection = self.pool.acquire().await?;
                    // Another process may be about to do the same: this waits until it has.
                    let mut change = connection.begin_with("BEGIN IMMEDIATE").await?;
                    let row = sqlx::query("PRAGMA user_version").fetch_one(&mut *change).await?;
                    if let Progress::Behind(left) = steps.from(row.try_get(0)?) {
                        for step in left {
                            sqlx::raw_sql(*step).execute(&mut *change).await?;
                        }
                        let mark = format!("PRAGMA user_version = {}", steps.version());
                        sqlx::raw_sql(sqlx::AssertSqlSafe(mark)).execute(&mut *change).await?;
                    }
                    change.commit().await
                };
                taken.await.map_err(|error| failed(&self.path, error))
            }
        }
    }
}

/// SQLite takes some relative paths (`:memory:`, `file:…`) for something else.
fn absolute(path: &Path) -> Result<PathBuf, DirectoryError> {
    std::path::absolute(path).map_err(|error| failed(path, error.into()))
}

/// Tells apart what an operator can do something about, by SQLite's primary result code (<https://sqlite.org/rescode.html>).
fn failed(path: &Path, error: sqlx::Error) -> DirectoryError {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    let location = Location::Sqlite(path.to_owned());
    match code.map(|code| code & 0xff) {
        Some(5 | 6) => DirectoryError::Busy(location),
        Some(8) => DirectoryError::ReadOnly(path.to_owned()),
        Some(11) => DirectoryError::Damaged(location),
        Some(26) => DirectoryError::Foreign(location),
        _ => DirectoryError::Failed { location, source: error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_of_an_earlier_version_takes_the_steps_that_it_lacks_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("directory.db");
        let directory = Sqlite::create(&path).await.unwrap();
        let number = async |sql: &'static str| -> i64 {
            sqlx::query(sql).fetch_one(&directory.pool).await.unwrap().try_get(0).unwrap()
        };
        let first = STEPS.0[0];

        // All or none: the last of them is no SQL.
        let steps: &'static [&'static str] =
            vec![first, "ALTER TABLE users ADD COLUMN since INTEGER", "THIS IS NONE"].leak();
        let failed = directory.follow(&Steps(steps)).await;
        assert!(matches!(failed, Err(DirectoryError::Failed { .. })), "{failed:?}");
        assert_eq!(number("PRAGMA user_version").await, 1);
        assert_eq!(number("SELECT count(*) FROM pragma_table_info('users')").await, 2);

        let steps: &'static [&'static str] = vec![first, "ALTER TABLE users ADD COLUMN since INTEGER"].leak();
        // Twice at once: one takes the step, and the other finds it taken.
        let other = Sqlite::open(&path).await.unwrap();
        let steps = Steps(steps);
        let (one, two) = tokio::join!(directory.follow(&steps), other.follow(&steps));
        one.and(two).unwrap();
        assert_eq!(number("PRAGMA user_version").await, 2);
        assert_eq!(number("SELECT count(*) FROM pragma_table_info('users')").await, 3);
        assert_eq!(number("SELECT number FROM revision").await, 0);

        // The program that knows one step only keeps away from it.
        let newer = Sqlite::open(&path).await.err();
        assert!(matches!(newer, Some(DirectoryError::Newer { found: 2, .. })), "{newer:?}");
    }
}
