//! The directory in a PostgreSQL database, which several nodes and the commands that change it share.

mod connections;
mod failure;

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgSslMode},
};
use zeroize::Zeroizing;

use super::{
    error::{DirectoryError, Fault},
    location::{Address, Host, Location},
    schema::{Progress, Steps},
};
use crate::secret_file;
use connections::{Connections, Lease};

pub(super) use connections::{Manner, Settled};

/// A directory in a database.
pub(super) struct Postgres(Connections);

/// For opening it: a person waits.
const OPENING: Duration = Duration::from_secs(10);

/// Says what is in the schema, and that it is ours.
const APPLICATION: &str = "sottovoce directory of users";
/// Of those who make the schema or have it take a step, one goes first: "sott", and its directory.
const ADVISORY_LOCK: i64 = 0x736f_7474_0001;

const STEPS: Steps = Steps(&["
    CREATE TABLE users (
        name TEXT COLLATE \"C\" NOT NULL PRIMARY KEY,
        key BYTEA NOT NULL UNIQUE CHECK (octet_length(key) = 32)
    );
    CREATE TABLE revision (number BIGINT NOT NULL);
    CREATE UNIQUE INDEX ON revision ((true));
    INSERT INTO revision (number) VALUES (0);
"]);

/// What is in a database.
enum Found {
    /// A directory whose schema has this version.
    Directory(i64),
    /// Something of somebody else's.
    Foreign,
    /// Nothing.
    Nothing,
}

impl Postgres {
    /// Opens the directory that is there.
    pub(super) async fn open(address: &Address, password: Option<&str>) -> Result<Self, DirectoryError> {
        let directory = Self::new(address, password)?;
        directory.0.in_time(OPENING, directory.prepare(&STEPS, false)).await?;
        Ok(directory)
    }

    /// Makes a directory where nothing is yet, or opens the one that is there. Whether it was made.
    pub(super) async fn create(address: &Address, password: Option<&str>) -> Result<(Self, bool), DirectoryError> {
        let directory = Self::new(address, password)?;
        let made = directory.0.in_time(OPENING, directory.prepare(&STEPS, true)).await?;
        Ok((directory, made))
    }

    /// A connection to read or change it on.
    pub(super) async fn lease(&self, manner: Manner) -> Result<Lease<'_>, DirectoryError> {
        self.0.lease(manner).await
    }

    /// Waits for what is done on a connection, for as long as it may take.
    pub(super) async fn in_time<T>(
        &self,
        manner: Manner,
        work: impl Future<Output = Result<T, DirectoryError>>,
    ) -> Result<T, DirectoryError> {
        self.0.in_time(manner.limit(), work).await
    }

    /// Connects as often as this process ever will at once.
    pub(super) async fn open_all(&self) -> Result<(), DirectoryError> {
        self.0.in_time(OPENING, self.0.fill()).await
    }

    pub(super) async fn close(&self) {
        self.0.close().await;
    }

    pub(super) fn location(&self) -> &Location {
        self.0.location()
    }

    fn new(address: &Address, password: Option<&str>) -> Result<Self, DirectoryError> {
        let location = Location::Postgres(Box::new(address.clone()));
        Ok(Self(Connections::new(location, options(address, password)?)))
    }

    /// Sees that there is a directory of the version that this program knows: it takes what steps it lacks, and if it may
    /// be made, all. Whether it was made.
    async fn prepare(&self, steps: &Steps, may_make: bool) -> Result<bool, DirectoryError> {
        let mut connection = self.0.connect().await?;
        let made =
            match self.left(steps, may_make, found(&mut connection).await.map_err(|fault| self.0.blame(fault))?)? {
                None => false,
                Some(_) => self.advance(&mut connection, steps, may_make).await?,
            };
        self.0.give_back(connection);
        Ok(made)
    }

    /// Takes the steps that are left, all or none. Whether it was the first of them.
    async fn advance(
        &self,
        connection: &mut PgConnection,
        steps: &Steps,
        may_make: bool,
    ) -> Result<bool, DirectoryError> {
        let blame = |error: sqlx::Error| self.0.blame(error.into());
        let mut change = connection.begin().await.map_err(blame)?;
        // Another node may be about to do the same: this waits until it has.
        let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(ADVISORY_LOCK);
        lock.execute(&mut *change).await.map_err(blame)?;
        let found = found(&mut change).await.map_err(|fault| self.0.blame(fault))?;
        let is_new = matches!(found, Found::Nothing);
        let Some(left) = self.left(steps, may_make, found)? else {
            // It has: and others wait for this one to let go of the lock.
            change.rollback().await.map_err(blame)?;
            return Ok(false);
        };
        let taken = async {
            if is_new {
                mark(&mut change).await?;
            }
            for step in left {
                sqlx::raw_sql(*step).execute(&mut *change).await?;
            }
            let version = sqlx::query("UPDATE marker SET version = $1").bind(steps.version());
            version.execute(&mut *change).await?;
            change.commit().await
        };
        taken.await.map_err(blame)?;
        Ok(is_new)
    }

    /// The steps that what was found has still to take, if any.
    fn left(
        &self,
        steps: &Steps,
        may_make: bool,
        found: Found,
    ) -> Result<Option<&'static [&'static str]>, DirectoryError> {
        let location = || self.location().clone();
        match found {
            Found::Foreign => Err(DirectoryError::Foreign(location())),
            Found::Nothing if may_make => Ok(Some(steps.0)),
            Found::Nothing => Err(DirectoryError::Empty(location())),
            Found::Directory(found) => match steps.from(found) {
                Progress::UpToDate => Ok(None),
                Progress::Behind(left) => Ok(Some(left)),
                Progress::Ahead => Err(DirectoryError::Newer { location: location(), found }),
                Progress::Nowhere => Err(DirectoryError::Foreign(location())),
            },
        }
    }
}

/// Whose the database is. Tables and the like of the system and of extensions are nobody's.
async fn found(connection: &mut PgConnection) -> Result<Found, Fault> {
    const LOOK: &str = "
        SELECT to_regclass('sottovoce.marker') IS NOT NULL AS is_marked,
               EXISTS (
                   SELECT FROM pg_class AS relation JOIN pg_namespace AS place ON place.oid = relation.relnamespace
                   WHERE place.nspname !~ '^pg_' AND place.nspname <> 'information_schema'
                   AND NOT EXISTS (
                       SELECT FROM pg_depend
                       WHERE classid = 'pg_class'::regclass AND objid = relation.oid AND deptype = 'e'
                   )
               ) AS is_occupied";
    let row = sqlx::query(LOOK).fetch_one(&mut *connection).await?;
    if !row.try_get::<bool, _>("is_marked")? {
        return Ok(if row.try_get("is_occupied")? { Found::Foreign } else { Found::Nothing });
    }
    let marks = sqlx::query("SELECT application, version FROM sottovoce.marker").fetch_all(connection).await?;
    match &*marks {
        [mark] if mark.try_get::<&str, _>("application").is_ok_and(|application| application == APPLICATION) => {
            Ok(Found::Directory(mark.try_get("version")?))
        }
        _ => Ok(Found::Foreign),
    }
}

/// Makes the schema, whose directory has taken no step yet.
async fn mark(change: &mut PgConnection) -> sqlx::Result<()> {
    // The owner may have made it for a user who may not make one.
    let has_schema = sqlx::query("SELECT to_regnamespace('sottovoce') IS NOT NULL AS has_schema");
    if !has_schema.fetch_one(&mut *change).await?.try_get::<bool, _>("has_schema")? {
        sqlx::raw_sql("CREATE SCHEMA sottovoce").execute(&mut *change).await?;
    }
    let marker = "CREATE TABLE marker (application TEXT NOT NULL, version BIGINT NOT NULL)";
    sqlx::raw_sql(marker).execute(&mut *change).await?;
    let marked = sqlx::query("INSERT INTO marker (application, version) VALUES ($1, 0)").bind(APPLICATION);
    marked.execute(&mut *change).await?;
    Ok(())
}

/// How to connect. All that `sqlx` would take from the environment is set here, or refused.
fn options(address: &Address, password: Option<&str>) -> Result<PgConnectOptions, DirectoryError> {
    // These it takes, and there is no way to say that it should not.
    for variable in ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"] {
        #[expect(clippy::disallowed_methods, reason = "nothing is taken from it")]
        if std::env::var_os(variable).is_some() {
            return Err(DirectoryError::Environment(variable));
        }
    }
    let options = PgConnectOptions::new_without_pgpass()
        .username(&address.user)
        .password(password.unwrap_or_default())
        .port(address.port)
        .database(&address.database)
        .application_name("sottovoce")
        .extra_float_digits(None)
        .disable_statement_logging();
    let options = match &address.host {
        Host::Network(host) => options.host(host),
        Host::Socket(folder) => options.socket(folder),
    };
    Ok(match &address.authority {
        Some(file) => options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert_from_pem(authority(file)?),
        None => options.ssl_mode(PgSslMode::Disable),
    })
}

/// The certificates in a file, looked at here so that the file is to blame if there are none.
fn authority(path: &Path) -> Result<Vec<u8>, DirectoryError> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    let wrong = |problem: String| DirectoryError::File { path: path.to_owned(), problem };
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        added.map_err(wrong)?;
    }
    if roots.is_empty() { Err(wrong("there is no PEM certificate in it".to_owned())) } else { Ok(pem) }
}

/// The password in the first line of a file that its owner alone may read.
pub(super) fn read_password(path: &Path) -> Result<Zeroizing<String>, DirectoryError> {
    let text = secret_file::read(path)?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(Zeroizing::new(password.to_owned())),
        _ => Err(DirectoryError::File {
            path: path.to_owned(),
            problem: "its first line should be the password of the directory, and is empty".to_owned(),
        }),
    }
}

#[cfg(test)]
#[path = "../../tests/postgres/mod.rs"]
mod server;

#[cfg(test)]
mod tests {
    use super::{server::Postgres as Server, *};

    #[tokio::test]
    async fn a_database_of_an_earlier_version_takes_the_steps_that_it_lacks_or_none() {
        let Some(server) = Server::shared() else { return };
        let database = server.database();
        let Location::Postgres(address) = server.socket_url(&database).parse().unwrap() else {
            panic!("no PostgreSQL")
        };
        let (one, is_new) = Postgres::create(&address, None).await.unwrap();
        assert!(is_new);
        let (two, is_new) = Postgres::create(&address, None).await.unwrap();
        assert!(!is_new);
        let columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'sottovoce.users'::regclass AND attnum > 0";
        let state = || {
            server.sql(&database, columns).trim().to_owned()
                + &server.sql(&database, "SELECT version FROM sottovoce.marker")
        };
        assert_eq!(state(), "21\n");
        let first = STEPS.0[0];

        // All or none: the last of them is no SQL.
        let steps = vec![first, "ALTER TABLE users ADD COLUMN since BIGINT", "THIS IS NONE"].leak();
        let failed = one.prepare(&Steps(steps), false).await;
        assert!(matches!(failed, Err(DirectoryError::Failed { .. })), "{failed:?}");
        assert_eq!(state(), "21\n");

        // Two nodes at once: one takes the step, and the other finds it taken.
        let steps = vec![first, "ALTER TABLE users ADD COLUMN since BIGINT"].leak();
        let steps = Steps(steps);
        let (a, b) = tokio::join!(one.prepare(&steps, false), two.prepare(&steps, false));
        assert!(!a.unwrap() && !b.unwrap(), "neither made it");
        assert_eq!(state(), "32\n");

        // The program that knows one step only keeps away from it.
        let newer = Postgres::open(&address, None).await.err();
        assert!(matches!(newer, Some(DirectoryError::Newer { found: 2, .. })), "{newer:?}");
    }
}
