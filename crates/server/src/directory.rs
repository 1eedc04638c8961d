//! The register of users: who there is, and which key is whose (S1). It is a SQLite file, or a PostgreSQL database that
//! several nodes share (B9); a running server and the commands that change it have it open at the same time.
//!
//! What differs between the two is how they are reached, made and brought up to date; what they are asked is the same.

mod error;
mod location;
mod postgres;
mod queries;
mod schema;
mod sqlite;
mod stamp;

use std::{fmt, path::Path, sync::Arc, time::SystemTime};

use protocol::{PublicKey, UserName};

use postgres::{Manner, Postgres, Settled};
use queries::Queries;
use sqlite::Sqlite;

pub use error::DirectoryError;
pub use location::{Address, Location, LocationError};
pub use stamp::Stamp;

/// Users that are looked up with one query.
pub(crate) const MAX_AT_ONCE: usize = 1000;

/// The register of users. Clones share its connections.
#[derive(Clone)]
pub struct Directory(Store);

#[derive(Clone)]
enum Store {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

/// Asks whichever store it is: SQLite at once, PostgreSQL in some manner, and again if that was on a connection that had been
/// lost.
macro_rules! ask {
    ($directory:ident, $manner:ident, $query:ident $(, $argument:expr)*) => {
        match &$directory.0 {
            Store::Sqlite(store) => {
                let mut connection = store.connection().await?;
                let answer = Queries::<sqlx::Sqlite>::$query(&mut connection $(, $argument)*).await;
                answer.map_err(|fault| store.blame(fault))
            }
            Store::Postgres(store) => {
                let asked = async {
                    let mut lease = store.lease(Manner::$manner).await?;
                    loop {
                        let answer = Queries::<sqlx::Postgres>::$query(lease.connection() $(, $argument)*).await;
                        match lease.settle(answer).await {
                            Settled::Done(answer) => break answer,
                            Settled::Again(another) => lease = another,
                        }
                    }
                };
                store.in_time(Manner::$manner, asked).await
            }
        }
    };
}

impl Directory {
    /// Makes an empty directory in a new SQLite file, which its owner alone may read and write.
    ///
    /// # Errors
    /// [`DirectoryError::Exists`] when there is something at `path`, which is then left as it is;
    /// [`DirectoryError::Failed`] when the system does not let the file be made. Nothing is left behind.
    pub async fn create(path: &Path) -> Result<Self, DirectoryError> {
        Ok(Self(Store::Sqlite(Arc::new(Sqlite::create(path).await?))))
    }

    /// Makes an empty directory at `location`: in a new SQLite file, or in a PostgreSQL database that is empty. One that
    /// is in the database already is opened, with the users that it has. `password_file` has PostgreSQL's password in its
    /// first line. The directory, and whether it was made.
    ///
    /// # Errors
    /// [`DirectoryError`]; whatever else is at `location` is left as it was.
    pub async fn create_at(location: &Location, password_file: Option<&Path>) -> Result<(Self, bool), DirectoryError> {
        Ok(match location {
            Location::Sqlite(path) => {
                no_password(password_file)?;
                (Self::create(path).await?, true)
            }
            Location::Postgres(address) => {
                let password = password_file.map(postgres::read_password).transpose()?;
                let (store, is_new) = Postgres::create(address, password.as_ref().map(|text| text.as_str())).await?;
                (Self(Store::Postgres(Arc::new(store))), is_new)
            }
        })
    }

    /// Opens the directory in the SQLite file at `path`, to read and change it.
    ///
    /// # Errors
    /// [`DirectoryError::Missing`], [`DirectoryError::Foreign`], [`DirectoryError::Newer`],
    /// [`DirectoryError::ReadOnly`] or [`DirectoryError::Failed`]; the file is as it was.
    pub async fn open(path: &Path) -> Result<Self, DirectoryError> {
        Ok(Self(Store::Sqlite(Arc::new(Sqlite::open(path).await?))))
    }

    /// Opens the directory at `location`, to read and change it. One that an earlier version made is brought up to date.
    /// `password_file` has PostgreSQL's password in its first line.
    ///
    /// # Errors
    /// [`DirectoryError`], within seconds; whatever else is at `location` is left as it was.
    pub async fn open_at(location: &Location, password_file: Option<&Path>) -> Result<Self, DirectoryError> {
        match location {
            Location::Sqlite(path) => {
                no_password(password_file)?;
                Self::open(path).await
            }
            Location::Postgres(address) => {
                let password = password_file.map(postgres::read_password).transpose()?;
                let store = Postgres::open(address, password.as_ref().map(|text| text.as_str())).await?;
                Ok(Self(Store::Postgres(Arc::new(store))))
            }
        }
    }

    /// Opens it as often as this process ever will, so that it can be read when the system has no file or socket left to
    /// give.
    ///
    /// # Errors
    /// [`DirectoryError`] when it cannot be read.
    pub async fn open_all(&self) -> Result<(), DirectoryError> {
        match &self.0 {
            Store::Sqlite(store) => store.open_all().await,
            Store::Postgres(store) => store.open_all().await,
        }
    }

    /// The key that is registered for `user`, or `None` if there is no such user.
    ///
    /// # Errors
    /// [`DirectoryError`] when the directory cannot be read, in PostgreSQL within 3 s. Nobody is to be let in then.
    pub async fn key_of(&self, user: &UserName) -> Result<Option<PublicKey>, DirectoryError> {
        ask!(self, Look, key_of, user)
    }

    /// Those of `users` who are registered, with their keys, in any order.
    ///
    /// # Errors
    /// [`DirectoryError`] when the directory cannot be read.
    pub async fn keys_of(&self, users: &[UserName]) -> Result<Vec<(UserName, PublicKey)>, DirectoryError> {
        let mut found = Vec::with_capacity(users.len());
        for some in users.chunks(MAX_AT_ONCE) {
            found.append(&mut ask!(self, Look, keys_of, some)?);
        }
        Ok(found)
    }

    /// What the files that hold the directory look like at `now`, without opening them. `None` if they cannot be looked
    /// at, or were written to so lately that another change need not show, or if it is not in files of this machine.
    pub fn stamp(&self, now: SystemTime) -> Option<Stamp> {
        match &self.0 {
            Store::Sqlite(store) => store.stamp(now),
            Store::Postgres(_) => None,
        }
    }

    /// Registers `key` for the new user `user`.
    ///
    /// # Errors
    /// [`DirectoryError::AlreadyRegistered`], [`DirectoryError::KeyTaken`], or the directory cannot be changed.
    pub async fn add(&self, user: &UserName, key: &PublicKey) -> Result<(), DirectoryError> {
        ask!(self, Work, add, user, key)
    }

    /// Takes `user` out of the directory. Their name is then no longer in its SQLite files, unless another process has been
    /// keeping them busy, which is logged; the next removal makes up for it.
    ///
    /// # Errors
    /// [`DirectoryError::NotRegistered`], or the directory cannot be changed.
    pub async fn remove(&self, user: &UserName) -> Result<(), DirectoryError> {
        ask!(self, Work, remove, user)?;
        self.forget().await;
        Ok(())
    }

    /// Registers `key` for `user` in place of the key that was.
    ///
    /// # Errors
    /// [`DirectoryError::NotRegistered`], [`DirectoryError::KeyTaken`], or the directory cannot be changed.
    pub async fn replace(&self, user: &UserName, key: &PublicKey) -> Result<(), DirectoryError> {
        ask!(self, Work, replace, user, key)?;
        self.forget().await;
        Ok(())
    }

    /// All users with their keys, sorted by name.
    ///
    /// # Errors
    /// [`DirectoryError`] when the directory cannot be read.
    pub async fn list(&self) -> Result<Vec<(UserName, PublicKey)>, DirectoryError> {
        let mut users = ask!(self, Work, list)?;
        // Sorted here and not by the database, whose order of characters may be another language's.
        users.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(users)
    }

    /// A number that is higher after each change, by whatever process: how a running server learns of it.
    ///
    /// # Errors
    /// [`DirectoryError`] when the directory cannot be read, in PostgreSQL within 3 s.
    pub async fn revision(&self) -> Result<i64, DirectoryError> {
        ask!(self, Look, revision)
    }

    /// Closes this directory and all its clones, when what they are doing is done.
    pub async fn close(&self) {
        match &self.0 {
            Store::Sqlite(store) => store.close().await,
            Store::Postgres(store) => store.close().await,
        }
    }

    /// SQLite keeps what was removed in its file. PostgreSQL has files, logs and copies that are beyond a client.
    async fn forget(&self) {
        if let Store::Sqlite(store) = &self.0 {
            store.forget().await;
        }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location: &dyn fmt::Debug = match &self.0 {
            Store::Sqlite(store) => &store.path(),
            Store::Postgres(store) => &store.location(),
        };
        f.debug_tuple("Directory").field(location).finish()
    }
}

/// A password that nobody asks for is a mistake somewhere.
fn no_password(file: Option<&Path>) -> Result<(), DirectoryError> {
    let problem =
        || "the directory is a SQLite file, which has no password; take directory_password_file out".to_owned();
    file.map_or(Ok(()), |path| Err(DirectoryError::File { path: path.to_owned(), problem: problem() }))
}
