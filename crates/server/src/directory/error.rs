use std::path::PathBuf;

use protocol::UserName;

use super::{Location, schema::SCHEMA_VERSION};
use crate::secret_file::SecretFileError;

/// Why the directory did not do what was asked. Those that come of reading name no user, and may be logged.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is no such file.
    #[error("there is no directory of users at {}; `sottovoce server init` makes one", .0.display())]
    Missing(PathBuf),
    /// The PostgreSQL database is there, and has nothing in it.
    #[error(
        "the database {0} is empty; `sottovoce server init` with this as --directory makes a directory of users in it"
    )]
    Empty(Location),
    /// A new directory was to be made where something is already.
    #[error("{} is there already, and was left as it is; make the new directory elsewhere", .0.display())]
    Exists(PathBuf),
    /// It is no SQLite file, or not one of ours; or a database that something else is in.
    #[error("{0} is not a directory of users, and was left as it is; {advice}", advice = advice_on_foreign(.0))]
    Foreign(Location),
    /// A later version wrote it.
    #[error(
        "{location} has version {found} of the directory's schema and this program knows version {SCHEMA_VERSION}; \
         use the program that wrote it, or a later one"
    )]
    Newer {
        /// Where it is.
        location: Location,
        /// The version of its schema.
        found: i64,
    },
    /// A row is none that this program writes.
    #[error("{0} was damaged, or changed by another program; restore it from a copy")]
    Damaged(Location),
    /// The system does not let this process write to the file, or to the folder that it is in.
    #[error("{} may not be written by the user who runs this; run it as the one who owns the file", .0.display())]
    ReadOnly(PathBuf),
    /// Another process kept it to itself for 5 s.
    #[error("another process has been changing {0} for too long; try again when it is done")]
    Busy(Location),
    /// The system, SQLite or PostgreSQL failed.
    #[error("the directory of users {location} cannot be used: {}", said(source))]
    Failed {
        /// Where it is.
        location: Location,
        /// What they say.
        source: sqlx::Error,
    },
    /// PostgreSQL is not there, or not now.
    #[error("the directory of users {location} cannot be reached: {}; is PostgreSQL running there?", said(source))]
    Unreachable {
        /// Where it should be.
        location: Location,
        /// What the system or PostgreSQL says.
        source: sqlx::Error,
    },
    /// PostgreSQL has not answered in time.
    #[error(
        "the directory of users {location} did not answer within {seconds} s; is PostgreSQL, or the network to it, \
         overloaded or down?"
    )]
    Silent {
        /// Where it should be.
        location: Location,
        /// How long it was waited for.
        seconds: u64,
    },
    /// PostgreSQL does not let this user in.
    #[error(
        "PostgreSQL does not let the server in as {location}: {}; set directory_password_file, or that user's password and \
         rights in PostgreSQL (pg_hba.conf)",
        said(source)
    )]
    Refused {
        /// Where.
        location: Location,
        /// What PostgreSQL says.
        source: sqlx::Error,
    },
    /// PostgreSQL has no such database.
    #[error("PostgreSQL has no database {0}; make it with `createdb`, then run `sottovoce server init`")]
    NoDatabase(Location),
    /// The user has not the right to do this there.
    #[error(
        "PostgreSQL does not let {location} do this: {}; have that user own the database, or do it as the one who does",
        said(source)
    )]
    NotAllowed {
        /// Where, and as whom.
        location: Location,
        /// What PostgreSQL says.
        source: sqlx::Error,
    },
    /// The host has not shown to be the one that is meant.
    #[error(
        "the host of {location} is not trusted: {}; its certificate has to be for that host and from an authority in the \
         file that sslrootcert names",
        said(source)
    )]
    Untrusted {
        /// Where.
        location: Location,
        /// What is wrong.
        source: sqlx::Error,
    },
    /// It only repeats what another says, and perhaps late.
    #[error("{0} takes no changes: it is a standby, or set to be read only; name the primary")]
    Standby(Location),
    /// A file that goes with the database cannot be used.
    #[error("{} cannot be used: {problem}", path.display())]
    File {
        /// The file with the password, or with the authority's certificate.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The file with the password cannot.
    #[error("the password of the directory is of no use: {0}")]
    Password(#[from] SecretFileError),
    /// A variable of the environment would change where the server goes, and as whom.
    #[error("{0} is set in the environment, from which nothing is taken that says who may log in; unset it")]
    Environment(&'static str),
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

/// Why a query came to nothing, before it is known whose it was.
#[derive(Debug)]
pub(super) enum Fault {
    /// The answer is no, and nothing has changed.
    Refused(DirectoryError),
    /// A row is none that this program writes.
    Damaged,
    /// The database did not do it.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        match error {
            // There is one row of each that must be there.
            sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => {
                Self::Damaged
            }
            error => Self::Database(error),
        }
    }
}

fn advice_on_foreign(location: &Location) -> &'static str {
    match location {
        Location::Sqlite(_) => "was the right --dir given?",
        Location::Postgres(_) => "give the directory an empty database of its own",
    }
}

/// What others say, on one line of a bounded length that moves no cursor.
fn said(error: &sqlx::Error) -> String {
    const MOST: usize = 300;
    let said = match error {
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) | sqlx::Error::Configuration(error) => error.to_string(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        error => error.to_string(),
    };
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect()
}
