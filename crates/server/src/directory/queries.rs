//! What is asked of a directory and changed in it: written once, in the SQL that SQLite and PostgreSQL share.

use std::marker::PhantomData;

use protocol::{PublicKey, UserName};
use sqlx::{
    ColumnIndex, Connection as _, Database, Decode, Encode, Executor, IntoArguments, QueryBuilder, Row as _,
    Transaction, Type, database::HasStatementCache,
};

use super::error::{DirectoryError, Fault};

/// The queries, in the words of one database. Each takes one connection, and none leaves a change half done on it.
pub(super) struct Queries<DB>(PhantomData<DB>);

impl<DB> Queries<DB>
where
    DB: Database + HasStatementCache,
    DB::Arguments: IntoArguments<DB>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'q> &'q str: Encode<'q, DB> + Decode<'q, DB> + Type<DB> + ColumnIndex<DB::Row>,
    for<'q> &'q [u8]: Encode<'q, DB> + Decode<'q, DB> + Type<DB>,
    for<'q> i64: Decode<'q, DB> + Type<DB>,
{
    /// The key of one user.
    pub(super) async fn key_of(connection: &mut DB::Connection, user: &UserName) -> Result<Option<PublicKey>, Fault> {
        let found = sqlx::query("SELECT key FROM users WHERE name = $1");
        let found = found.bind(user.as_str()).fetch_optional(connection).await?;
        found.map(|row| Self::key(&row)).transpose()
    }

    /// Those of these users whom there are, with their keys, in any order.
    pub(super) async fn keys_of(
        connection: &mut DB::Connection,
        users: &[UserName],
    ) -> Result<Vec<(UserName, PublicKey)>, Fault> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::<DB>::new("SELECT name, key FROM users WHERE name IN (");
        let mut names = query.separated(", ");
        for user in users {
            names.push_bind(user.as_str());
        }
        query.push(")");
        // Their number differs from time to time, and so does the query.
        let rows = query.build().persistent(false).fetch_all(connection).await?;
        rows.iter().map(Self::user).collect()
    }

    /// All users with their keys, in any order.
    pub(super) async fn list(connection: &mut DB::Connection) -> Result<Vec<(UserName, PublicKey)>, Fault> {
        let rows = sqlx::query("SELECT name, key FROM users").fetch_all(connection).await?;
        rows.iter().map(Self::user).collect()
    }

    /// The number of the last change.
    pub(super) async fn revision(connection: &mut DB::Connection) -> Result<i64, Fault> {
        Ok(sqlx::query("SELECT number FROM revision").fetch_one(connection).await?.try_get("number")?)
    }

    /// Registers a new user.
    pub(super) async fn add(connection: &mut DB::Connection, user: &UserName, key: &PublicKey) -> Result<(), Fault> {
        let mut change = Self::begin(connection).await?;
        let added = async {
            Self::check_free(&mut change, user, key).await?;
            let added = sqlx::query(
                "INSERT INTO users (name, key) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING RETURNING name",
            );
            let added = added.bind(user.as_str()).bind(key.as_bytes().as_slice());
            let added = added.fetch_optional(&mut *change).await?;
            added.map(|_| ()).ok_or_else(|| Fault::Refused(DirectoryError::AlreadyRegistered(user.clone())))
        };
        let added = added.await;
        Self::end(change, added).await
    }

    /// Takes a user out.
    pub(super) async fn remove(connection: &mut DB::Connection, user: &UserName) -> Result<(), Fault> {
        let mut change = Self::begin(connection).await?;
        let removed = sqlx::query("DELETE FROM users WHERE name = $1 RETURNING name").bind(user.as_str());
        let removed = Self::one(removed.fetch_optional(&mut *change).await, user);
        Self::end(change, removed).await
    }

    /// Gives a user another key.
    pub(super) async fn replace(
        connection: &mut DB::Connection,
        user: &UserName,
        key: &PublicKey,
    ) -> Result<(), Fault> {
        let mut change = Self::begin(connection).await?;
        let replaced = async {
            Self::check_free(&mut change, user, key).await?;
            let replaced = sqlx::query("UPDATE users SET key = $2 WHERE name = $1 RETURNING name");
            let replaced = replaced.bind(user.as_str()).bind(key.as_bytes().as_slice());
            Self::one(replaced.fetch_optional(&mut *change).await, user)
        };
        let replaced = replaced.await;
        Self::end(change, replaced).await
    }

    /// Begins a change. The revision is written first of all, so that the change waits here for any other, and what it
    /// reads later on cannot be outdated: SQLite has one writer, and in PostgreSQL the row is locked until the change is
    /// over, while each statement after that sees what was committed before it (READ COMMITTED).
    async fn begin(connection: &mut DB::Connection) -> Result<Transaction<'_, DB>, Fault> {
        let mut change = connection.begin().await?;
        sqlx::query("UPDATE revision SET number = number + 1 RETURNING number").fetch_one(&mut *change).await?;
        Ok(change)
    }

    /// Keeps what was done, or undoes it if that was not what was asked.
    async fn end(change: Transaction<'_, DB>, done: Result<(), Fault>) -> Result<(), Fault> {
        match done {
            Ok(()) => Ok(change.commit().await?),
            Err(fault) => {
                // Why it failed is worth more than why it could not be undone: a connection that is lost undoes it too.
                let _ = change.rollback().await;
                Err(fault)
            }
        }
    }

    async fn check_free(connection: &mut DB::Connection, user: &UserName, key: &PublicKey) -> Result<(), Fault> {
        let owner = sqlx::query("SELECT name FROM users WHERE key = $1").bind(key.as_bytes().as_slice());
        let owner = owner.fetch_optional(connection).await?;
        match owner.map(|row| Self::name(&row)).transpose()? {
            Some(owner) if owner != *user => Err(Fault::Refused(DirectoryError::KeyTaken(owner))),
            _ => Ok(()),
        }
    }

    /// Whether there was a row of `user` to change.
    fn one(changed: sqlx::Result<Option<DB::Row>>, user: &UserName) -> Result<(), Fault> {
        let changed = changed?;
        changed.map(|_| ()).ok_or_else(|| Fault::Refused(DirectoryError::NotRegistered(user.clone())))
    }

    fn user(row: &DB::Row) -> Result<(UserName, PublicKey), Fault> {
        Ok((Self::name(row)?, Self::key(row)?))
    }

    fn name(row: &DB::Row) -> Result<UserName, Fault> {
        let name: &str = row.try_get("name")?;
        name.parse().ok().filter(|parsed: &UserName| parsed.as_str() == name).ok_or(Fault::Damaged)
    }

    fn key(row: &DB::Row) -> Result<PublicKey, Fault> {
        let key: &[u8] = row.try_get("key")?;
        key.try_into().map(PublicKey::from_bytes).map_err(|_| Fault::Damaged)
    }
}
