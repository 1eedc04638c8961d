//! The register of users: who there is, and which key is whose (S1). One SQLite file, which a running server and the
//! commands that change it have open at the same time.

mod stamp;

use std::{
    fmt, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use protocol::{PublicKey, UserName};
use sqlx::{
    ConnectOptions as _, Row as _, Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow},
};

pub use stamp::Stamp;

/// The register of users. Clones share its connections.
#[derive(Clone)]
pub struct Directory {
    pool: SqlitePool,
    path: Arc<Path>,
    /// Its write-ahead log.
    log: Arc<Path>,
}

/// Why the directory did not do what was asked. Those that come of reading name no user, and may be logged.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is no such file.
    #[error("there is no directory of users at {}; `sottovoce server init` makes one", .0.display())]
    Missing(PathBuf),
    /// A new directory was to be made where something is already.
    #[error("{} is there already, and was left as it is; make the new directory elsewhere", .0.display())]
    Exists(PathBuf),
    /// It is no SQLite file, or not one of ours.
    #[error("{} is not a directory of users; was the right --dir given?", .0.display())]
    Foreign(PathBuf),
    /// A later version wrote it.
    #[error(
        "{} has version {found} of the directory's schema and this program knows version {SCHEMA_VERSION}; \
         use the program that wrote it, or a later one", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
    },
    /// A row is none that this program writes.
    #[error("{} was damaged, or changed by another program; restore it from a copy", .0.display())]
    Damaged(PathBuf),
    /// The system does not let this process write to the file, or to the folder that it is in.
    #[error("{} may not be written by the user who runs this; run it as the one who owns the file", .0.display())]
    ReadOnly(PathBuf),
    /// Another process kept the file to itself for 5 s.
    #[error("another process has been changing {} for too long; try again when it is done", .0.display())]
    Busy(PathBuf),
    /// The system or SQLite failed.
    #[error("the directory of users {} cannot be used: {source}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What they say.
        source: sqlx::Error,
    },
    /// The name is taken.
    #[error("{0} is registered already; `sottovoce user replace` gives a user a new key")]
    AlreadyRegistered(UserName),
    /// There is no such user.
    #[error("{0} is not registered; `sottovoce user list` shows who is")]
    NotRegistered(UserName),
    /// The key belongs to somebody. Two users of one key could log in as each other.
    #[error("this is the key of {0} already; each user needs a key that nobody else has")]
    KeyTaken(UserName),
}

/// Tells our files from other programs' SQLite files: "sott".
const APPLICATION_ID: i64 = 0x736f_7474;
/// Goes up with each change of [`SCHEMA`].
const SCHEMA_VERSION: i64 = 1;
/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// One writes at a time anyway, and a look-up takes microseconds.
const CONNECTIONS: u32 = 4;

const SCHEMA: &str = "
    BEGIN;
    CREATE TABLE users (
        name TEXT NOT NULL PRIMARY KEY,
        key BLOB NOT NULL UNIQUE CHECK (length(key) = 32)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE revision (number INTEGER NOT NULL) STRICT;
    INSERT INTO revision (number) VALUES (0);
    PRAGMA application_id = 0x736f7474;
    PRAGMA user_version = 1;
    COMMIT;
";

impl Directory {
    /// Makes an empty directory in a new file, which its owner alone may read and write.
    ///
    /// # Errors
    /// [`DirectoryError::Exists`] when there is something at `path`, which is then left as it is;
    /// [`DirectoryError::Failed`] when the system does not let the file be made. Nothing is left behind.
    pub async fn create(path: &Path) -> Result<Self, DirectoryError> {
        let path = absolute(path)?;
        // SQLite gives the files that it puts beside the database (-wal, -shm) the mode of the database.
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(
            |error| match error.kind() {
                io::ErrorKind::AlreadyExists => DirectoryError::Exists(path.to_path_buf()),
                _ => failed(&path, error.into()),
            },
        )?;
        let made = Self::set_up(path.clone()).await;
        if made.is_err() {
            // The reason why it failed is worth more than the reason why it could not be cleared away.
            let _ = std::fs::remove_file(&path);
        }
        made
    }

    /// Opens the directory at `path`, to read and change it.
    ///
    /// # Errors
    /// [`DirectoryError::Missing`], [`DirectoryError::Foreign`], [`DirectoryError::Newer`],
    /// [`DirectoryError::ReadOnly`] or [`DirectoryError::Failed`]; the file is as it was.
    pub async fn open(path: &Path) -> Result<Self, DirectoryError> {
        let path = absolute(path)?;
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => return Err(DirectoryError::Foreign(path.to_path_buf())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DirectoryError::Missing(path.to_path_buf()));
            }
            Err(error) => return Err(failed(&path, error.into())),
        }
        // SQLite would be content to read; this program must be able to write, and says so at once.
        std::fs::OpenOptions::new().read(true).write(true).open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                DirectoryError::ReadOnly(path.to_path_buf())
            }
            _ => failed(&path, error.into()),
        })?;
        let directory = Self::connect(path).await?;
        directory.check_schema().await?;
        Ok(directory)
    }

    /// Opens the file as often as this process ever will, so that it can be read when the system has no file left to
    /// give.
    ///
    /// # Errors
    /// [`DirectoryError`] when the file cannot be read.
    pub async fn open_all(&self) -> Result<(), DirectoryError> {
        let mut all = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = self.pool.acquire().await.map_err(|error| failed(&self.path, error))?;
            // The write-ahead log is opened by the first who reads.
            let read = sqlx::query("SELECT number FROM revision").fetch_one(&mut *connection).await;
            read.map_err(|error| failed(&self.path, error))?;
            all.push(connection);
        }
        Ok(())
    }

    /// The key that is registered for `user`, or `None` if there is no such user.
    ///
    /// # Errors
    /// [`DirectoryError`] when the file cannot be read. Nobody is to be let in then.
    pub async fn key_of(&self, user: &UserName) -> Result<Option<PublicKey>, DirectoryError> {
        let row = sqlx::query("SELECT key FROM users WHERE name = $1")
            .bind(user.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| failed(&self.path, error))?;
        row.map(|row| self.key(&row)).transpose()
    }

    /// What the files that hold the directory look like at `now`, without opening them. `None` if they cannot be looked
    /// at, or were written to so lately that another change need not show.
    pub fn stamp(&self, now: SystemTime) -> Option<Stamp> {
        Stamp::of(&self.path, &self.log, now).ok().flatten()
    }

    /// Registers `key` for the new user `user`.
    ///
    /// # Errors
    /// [`DirectoryError::AlreadyRegistered`], [`DirectoryError::KeyTaken`], or the file cannot be changed.
    pub async fn add(&self, user: &UserName, key: &PublicKey) -> Result<(), DirectoryError> {
        let mut change = self.begin().await?;
        self.check_free(&mut change, user, key).await?;
        let added = sqlx::query("INSERT INTO users (name, key) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(user.as_str())
            .bind(key.as_bytes().as_slice())
            .execute(&mut *change)
            .await
            .map_err(|error| failed(&self.path, error))?;
        match added.rows_affected() {
            0 => Err(DirectoryError::AlreadyRegistered(user.clone())),
            _ => self.commit(change).await,
        }
    }

    /// Takes `user` out of the directory. Their name is then no longer in its files, unless another process has been
    /// keeping them busy, which is logged; the next removal makes up for it.
    ///
    /// # Errors
    /// [`DirectoryError::NotRegistered`], or the file cannot be changed.
    pub async fn remove(&self, user: &UserName) -> Result<(), DirectoryError> {
        let mut change = self.begin().await?;
        let removed = sqlx::query("DELETE FROM users WHERE name = $1")
            .bind(user.as_str())
            .execute(&mut *change)
            .await
            .map_err(|error| failed(&self.path, error))?;
        match removed.rows_affected() {
            0 => return Err(DirectoryError::NotRegistered(user.clone())),
            _ => self.commit(change).await?,
        }
        self.forget().await;
        Ok(())
    }

    /// Registers `key` for `user` in place of the key that was.
    ///
    /// # Errors
    /// [`DirectoryError::NotRegistered`], [`DirectoryError::KeyTaken`], or the file cannot be changed.
    pub async fn replace(&self, user: &UserName, key: &PublicKey) -> Result<(), DirectoryError> {
        let mut change = self.begin().await?;
        self.check_free(&mut change, user, key).await?;
        let replaced = sqlx::query("UPDATE users SET key = $2 WHERE name = $1")
            .bind(user.as_str())
            .bind(key.as_bytes().as_slice())
            .execute(&mut *change)
            .await
            .map_err(|error| failed(&self.path, error))?;
        match replaced.rows_affected() {
            0 => return Err(DirectoryError::NotRegistered(user.clone())),
            _ => self.commit(change).await?,
        }
        self.forget().await;
        Ok(())
    }

    /// All users with their keys, sorted by name.
    ///
    /// # Errors
    /// [`DirectoryError`] when the file cannot be read.
    pub async fn list(&self) -> Result<Vec<(UserName, PublicKey)>, DirectoryError> {
        let rows = sqlx::query("SELECT name, key FROM users")
            .fetch_all(&self.pool)
            .await
            .map_err(|error| failed(&self.path, error))?;
        let users = rows.iter().map(|row| Ok((self.name(row)?, self.key(row)?)));
        let mut users = users.collect::<Result<Vec<_>, DirectoryError>>()?;
        // Sorted here and not by the database, whose order of characters may be another language's.
        users.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(users)
    }

    /// A number that is higher after each change, by whatever process: how a running server learns of it.
    ///
    /// # Errors
    /// [`DirectoryError`] when the file cannot be read.
    pub async fn revision(&self) -> Result<i64, DirectoryError> {
        let row = sqlx::query("SELECT number FROM revision")
            .fetch_one(&self.pool)
            .await
            .map_err(|error| failed(&self.path, error))?;
        row.try_get("number").map_err(|_| self.damaged())
    }

    /// Closes this directory and all its clones, when what they are doing is done.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn connect(path: Arc<Path>) -> Result<Self, DirectoryError> {
        let options = SqliteConnectOptions::new()
            .filename(&path)
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
            .map_err(|error| failed(&path, error))?;
        // SQLite follows links, and puts its log beside the file that they lead to.
        let mut log = std::fs::canonicalize(&path).map_err(|error| failed(&path, error.into()))?.into_os_string();
        log.push("-wal");
        Ok(Self { pool, path, log: PathBuf::from(log).into() })
    }

    async fn set_up(path: Arc<Path>) -> Result<Self, DirectoryError> {
        let directory = Self::connect(path).await?;
        // With a write-ahead log, readers need not wait for a writer. The mode stays with the file.
        for sql in ["PRAGMA journal_mode = WAL", SCHEMA] {
            if let Err(error) = sqlx::raw_sql(sql).execute(&directory.pool).await {
                directory.close().await;
                return Err(failed(&directory.path, error));
            }
        }
        Ok(directory)
    }

    async fn check_schema(&self) -> Result<(), DirectoryError> {
        let application = self.pragma("PRAGMA application_id").await?;
        let version = self.pragma("PRAGMA user_version").await?;
        match (application, version) {
            (APPLICATION_ID, SCHEMA_VERSION) => Ok(()),
            (APPLICATION_ID, found) if found > SCHEMA_VERSION => {
                Err(DirectoryError::Newer { path: self.path.to_path_buf(), found })
            }
            _ => Err(DirectoryError::Foreign(self.path.to_path_buf())),
        }
    }

    async fn pragma(&self, sql: &'static str) -> Result<i64, DirectoryError> {
        let row = sqlx::query(sql).fetch_one(&self.pool).await.map_err(|error| failed(&self.path, error))?;
        row.try_get(0).map_err(|_| self.damaged())
    }

    /// Begins a change, which is undone if it is dropped. The revision is written first of all, so that the change
    /// waits here for any other, and what it reads later on cannot be outdated.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, DirectoryError> {
        let begin = async {
            let mut change = self.pool.begin().await?;
            sqlx::query("UPDATE revision SET number = number + 1").execute(&mut *change).await?;
            Ok(change)
        };
        begin.await.map_err(|error| failed(&self.path, error))
    }

    async fn commit(&self, change: Transaction<'static, Sqlite>) -> Result<(), DirectoryError> {
        change.commit().await.map_err(|error| failed(&self.path, error))
    }

    async fn check_free(
        &self,
        change: &mut Transaction<'static, Sqlite>,
        user: &UserName,
        key: &PublicKey,
    ) -> Result<(), DirectoryError> {
        let owner = sqlx::query("SELECT name FROM users WHERE key = $1")
            .bind(key.as_bytes().as_slice())
            .fetch_optional(&mut **change)
            .await
            .map_err(|error| failed(&self.path, error))?;
        match owner.map(|row| self.name(&row)).transpose()? {
            Some(owner) if owner != *user => Err(DirectoryError::KeyTaken(owner)),
            _ => Ok(()),
        }
    }

    /// Writes the file anew, from what is registered now. SQLite's `secure_delete` overwrites a row where it stood
    /// last, but not the copies that stayed behind when the row was moved from page to page.
    async fn forget(&self) {
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

    fn name(&self, row: &SqliteRow) -> Result<UserName, DirectoryError> {
        let name: &str = row.try_get("name").map_err(|_| self.damaged())?;
        name.parse().ok().filter(|parsed: &UserName| parsed.as_str() == name).ok_or_else(|| self.damaged())
    }

    fn key(&self, row: &SqliteRow) -> Result<PublicKey, DirectoryError> {
        let key: &[u8] = row.try_get("key").map_err(|_| self.damaged())?;
        key.try_into().map(PublicKey::from_bytes).map_err(|_| self.damaged())
    }

    fn damaged(&self) -> DirectoryError {
        DirectoryError::Damaged(self.path.to_path_buf())
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("path", &self.path).finish_non_exhaustive()
    }
}

/// SQLite takes some relative paths (`:memory:`, `file:…`) for something else.
fn absolute(path: &Path) -> Result<Arc<Path>, DirectoryError> {
    std::path::absolute(path).map(Arc::from).map_err(|error| failed(path, error.into()))
}

/// Tells apart what an operator can do something about, by SQLite's primary result code (<https://sqlite.org/rescode.html>).
fn failed(path: &Path, error: sqlx::Error) -> DirectoryError {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    let path = path.to_path_buf();
    match code.map(|code| code & 0xff) {
        Some(5 | 6) => DirectoryError::Busy(path),
        Some(8) => DirectoryError::ReadOnly(path),
        Some(11) => DirectoryError::Damaged(path),
        Some(26) => DirectoryError::Foreign(path),
        _ => DirectoryError::Failed { path, source: error },
    }
}
