//! What PostgreSQL alone has: a network, other people's databases, users and rights, and an end.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use server::directory::{Directory, DirectoryError, Location};

use crate::{
    Place, key,
    postgres::{Postgres, Stop, USER},
    user,
};

/// How soon a look-up has to fail, whatever happens.
const SOON: Duration = Duration::from_secs(4);

async fn create(url: &str, password: Option<&Path>) -> Result<(Directory, bool), DirectoryError> {
    Directory::create_at(&url.parse::<Location>().unwrap(), password).await
}

async fn open(url: &str, password: Option<&Path>) -> Result<Directory, DirectoryError> {
    Directory::open_at(&url.parse::<Location>().unwrap(), password).await
}

#[expect(clippy::disallowed_methods, reason = "what is measured is how long one would wait")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn a_directory_that_is_there_is_joined_and_one_that_is_not_is_not_made_by_opening() {
    let Some(place) = Place::postgres() else { return };
    let opened = Directory::open_at(&place.location, place.password.as_deref()).await.unwrap_err();
    assert!(matches!(opened, DirectoryError::Empty(_)), "{opened}");
    assert!(opened.to_string().contains("`sottovoce server init`"), "{opened}");
    let first = place.create().await;
    first.add(&user("alice"), &key(1)).await.unwrap();
    let (second, is_new) = Directory::create_at(&place.location, place.password.as_deref()).await.unwrap();
    assert!(!is_new);
    assert_eq!(second.key_of(&user("alice")).await.unwrap(), Some(key(1)));
}

#[tokio::test]
async fn of_many_who_make_it_at_once_one_does_and_the_others_join() {
    let Some(place) = Place::postgres() else { return };
    let make = || Directory::create_at(&place.location, place.password.as_deref());
    let made = tokio::join!(make(), make(), make(), make());
    let made = [made.0, made.1, made.2, made.3].map(Result::unwrap);
    assert_eq!(made.iter().filter(|(_, is_new)| *is_new).count(), 1);
    made[0].0.add(&user("alice"), &key(1)).await.unwrap();
    assert_eq!(made[3].0.key_of(&user("alice")).await.unwrap(), Some(key(1)));
}

#[tokio::test]
async fn a_database_that_is_somebody_elses_is_left_as_it_is() {
    let Some(server) = Postgres::shared() else { return };
    let everything = |database: &str| {
        let relations = "SELECT relnamespace::regnamespace, relname FROM pg_class ORDER BY 1, 2";
        server.sql(database, relations) + &server.sql(database, "SELECT nspname FROM pg_namespace ORDER BY 1")
    };
    let marker = "CREATE SCHEMA sottovoce AUTHORIZATION sottovoce; SET ROLE sottovoce; \
                  CREATE TABLE sottovoce.marker (application TEXT, version BIGINT);";
    let others = [
        "CREATE TABLE users (name TEXT PRIMARY KEY)".to_owned(),
        "CREATE SCHEMA shop; CREATE VIEW shop.window AS SELECT 1 AS one".to_owned(),
        marker.to_owned(),
        format!("{marker} INSERT INTO sottovoce.marker VALUES ('another', 1)"),
        format!("{marker} INSERT INTO sottovoce.marker VALUES ('sottovoce directory of users', -1)"),
        "CREATE SCHEMA sottovoce AUTHORIZATION sottovoce; SET ROLE sottovoce; CREATE TABLE sottovoce.marker (x INT)"
            .to_owned(),
    ];
    for sql in others {
        let database = server.database();
        server.sql(&database, &sql);
        let before = everything(&database);
        let url = server.socket_url(&database);
        for refused in [open(&url, None).await.err(), create(&url, None).await.err()] {
            let Some(refused) = refused else { panic!("{sql}: taken for one of ours") };
            let is_refused = matches!(refused, DirectoryError::Foreign(_) | DirectoryError::Failed { .. });
            assert!(is_refused, "{sql}: {refused}");
        }
        assert_eq!(everything(&database), before, "{sql}");
    }
}

#[tokio::test]
async fn what_extensions_bring_along_is_nobodys() {
    let Some(server) = Postgres::shared() else { return };
    let database = server.database();
    let has_extension =
        server.sql(&database, "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_stat_statements'");
    if has_extension.trim() == "1" {
        server.sql(&database, "CREATE EXTENSION pg_stat_statements");
    }
    create(&server.socket_url(&database), None).await.unwrap();
}

#[tokio::test]
async fn a_later_schema_is_refused_by_its_version_and_damage_is_seen() {
    let Some(server) = Postgres::shared() else { return };
    let database = server.database();
    let url = server.socket_url(&database);
    let (directory, _) = create(&url, None).await.unwrap();
    directory.add(&user("alice"), &key(1)).await.unwrap();

    server.sql(&database, "UPDATE sottovoce.marker SET version = 2");
    for newer in [open(&url, None).await.err(), create(&url, None).await.err()] {
        assert!(matches!(newer, Some(DirectoryError::Newer { found: 2, .. })), "{newer:?}");
    }
    server.sql(&database, "UPDATE sottovoce.marker SET version = 1");
    let directory = open(&url, None).await.unwrap();

    server.sql(&database, "INSERT INTO sottovoce.users VALUES ('Bob', decode(repeat('00', 32), 'hex'))");
    assert!(matches!(directory.list().await, Err(DirectoryError::Damaged(_))), "a name in upper case");
    server.sql(&database, "DELETE FROM sottovoce.users WHERE name = 'Bob'");
    assert_eq!(directory.list().await.unwrap().len(), 1);
    server.sql(&database, "DELETE FROM sottovoce.revision");
    assert!(matches!(directory.revision().await, Err(DirectoryError::Damaged(_))));
    assert!(matches!(directory.add(&user("bob"), &key(2)).await, Err(DirectoryError::Damaged(_))));
    server.sql(&database, "DROP TABLE sottovoce.users");
    assert!(matches!(directory.key_of(&user("alice")).await, Err(DirectoryError::Failed { .. })), "nobody gets in");
}

/// The last of names in an order that is not that of their bytes would be missed, or come twice.
#[tokio::test]
async fn names_are_in_the_order_of_their_bytes_whatever_the_databases_language() {
    let Some(server) = Postgres::shared() else { return };
    let database = server.database();
    let (directory, _) = create(&server.socket_url(&database), None).await.unwrap();
    let names = ["0", "a", "a-b", "a.b", "a_b", "ab", "b"];
    for (number, name) in (0..).zip(names.iter().rev()) {
        directory.add(&user(name), &key(number)).await.unwrap();
    }
    let listed = directory.list().await.unwrap();
    assert!(listed.is_sorted_by(|(a, _), (b, _)| a < b));
    let mut sorted = names.map(str::to_owned).to_vec();
    sorted.sort();
    let by_it = server.sql(&database, "SELECT name FROM sottovoce.users ORDER BY name");
    assert_eq!(by_it.lines().collect::<Vec<_>>(), sorted);
}

#[tokio::test]
async fn each_reason_for_not_getting_in_has_words_of_its_own() {
    let Some(server) = Postgres::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (database, password) = (server.database(), server.password_file(dir.path()));
    let url = server.url(&database);
    create(&url, Some(&password)).await.unwrap();
    let failure = async |url: &str, password: Option<&Path>| {
        let error = open(url, password).await.unwrap_err();
        let told = error.to_string();
        assert!(!told.contains(['\n', '\r']) && !told.contains("wrong"), "{told}");
        (error, told)
    };

    let wrong = dir.path().join("wrong-password");
    fs::write(&wrong, "wrong\n").unwrap();
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).unwrap();
    for password in [Some(&*wrong), None] {
        let error = open(&url, password).await.unwrap_err();
        assert!(matches!(error, DirectoryError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains("directory_password_file"), "{error}");
    }
    let (error, told) = failure(&server.url("nowhere"), Some(&password)).await;
    assert!(matches!(error, DirectoryError::NoDatabase(_)) && told.contains("createdb"), "{told}");
    let begin = now();
    let (error, told) = failure("postgres://sottovoce@127.0.0.1:1/directory", Some(&password)).await;
    assert!(matches!(error, DirectoryError::Unreachable { .. }), "{told}");
    assert!(told.contains("postgres://sottovoce@127.0.0.1:1/directory"), "{told}");
    assert!(begin.elapsed() < SOON);
    let (error, told) = failure("postgres://sottovoce@%2Fnowhere/directory", None).await;
    assert!(matches!(error, DirectoryError::Unreachable { .. }), "{told}");

    // A user who may not make tables, and one who may only read.
    let others = server.database();
    server.sql("postgres", &format!("ALTER DATABASE {others} OWNER TO postgres"));
    let error = create(&server.socket_url(&others), None).await.unwrap_err();
    assert!(matches!(error, DirectoryError::NotAllowed { .. }), "{error:?}");
    server.sql("postgres", &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"));
    let (error, told) = failure(&url, Some(&password)).await;
    assert!(matches!(error, DirectoryError::Standby(_)) && told.contains("primary"), "{told}");
}

#[tokio::test]
async fn a_schema_that_was_made_for_a_user_without_the_right_to_make_one_is_used() {
    let Some(server) = Postgres::shared() else { return };
    let database = server.database();
    server.sql("postgres", &format!("ALTER DATABASE {database} OWNER TO postgres"));
    server.sql(&database, &format!("CREATE SCHEMA sottovoce AUTHORIZATION {USER}"));
    let (directory, is_new) = create(&server.socket_url(&database), None).await.unwrap();
    assert!(is_new);
    directory.add(&user("alice"), &key(1)).await.unwrap();
}

#[tokio::test]
async fn the_host_has_to_prove_itself_to_the_authority_that_is_named_and_to_no_other() {
    let Some(server) = Postgres::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (database, password) = (server.database(), server.password_file(dir.path()));
    let url = server.tls_url("localhost", &database, &server.authority());
    let (directory, _) = create(&url, Some(&password)).await.unwrap();
    directory.add(&user("alice"), &key(1)).await.unwrap();
    let uses_tls = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = current_database() AND usename = 'sottovoce'";
    assert_eq!(server.sql(&database, uses_tls).trim(), "t");

    #[expect(clippy::disallowed_methods, reason = "a certificate's time begins with the clock's")]
    let other = identity::make_authority(&"localhost".parse().unwrap(), std::time::SystemTime::now()).unwrap();
    let others = dir.path().join("other.pem");
    fs::write(&others, other.certificate_pem).unwrap();
    for url in
        [server.tls_url("localhost", &database, &others), server.tls_url("127.0.0.2", &database, &server.authority())]
    {
        let error = open(&url, Some(&password)).await.unwrap_err();
        assert!(matches!(error, DirectoryError::Untrusted { .. }), "{error:?}");
        assert!(error.to_string().contains("sslrootcert"), "{error}");
    }
    for (content, problem) in [("", "no PEM certificate"), ("-----BEGIN CERTIFICATE-----\n", "")] {
        fs::write(&others, content).unwrap();
        let error = open(&server.tls_url("localhost", &database, &others), Some(&password)).await.unwrap_err();
        let told = error.to_string();
        assert!(matches!(error, DirectoryError::File { .. }) && told.contains("other.pem"), "{told}");
        assert!(told.contains(problem), "{told}");
    }
}

#[tokio::test]
async fn a_password_that_others_may_read_is_not_used() {
    let Some(server) = Postgres::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let password = server.password_file(dir.path());
    let url = server.url(&server.database());
    let refused = async |problem: &str| {
        let error = create(&url, Some(&password)).await.unwrap_err();
        let told = error.to_string();
        assert!(matches!(error, DirectoryError::Password(_) | DirectoryError::File { .. }), "{told}");
        assert!(told.contains(problem) && told.contains("database-password"), "{told}");
    };
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&password, fs::Permissions::from_mode(mode)).unwrap();
        refused("chmod 600").await;
    }
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    for empty in ["", "\nsecond line\n"] {
        fs::write(&password, empty).unwrap();
        refused("first line").await;
    }
    fs::remove_file(&password).unwrap();
    refused("No such file").await;
    // A directory that has none is not given one by mistake.
    let sqlite = Location::Sqlite(dir.path().join("directory.db"));
    let error = Directory::create_at(&sqlite, Some(&password)).await.unwrap_err();
    assert!(error.to_string().contains("directory_password_file"), "{error}");
    assert!(!dir.path().join("directory.db").exists());
}

#[tokio::test]
async fn after_a_restart_the_first_look_and_the_first_change_succeed() {
    let Some(mut server) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let password = server.password_file(dir.path());
    let (directory, _) = create(&server.url(&server.database()), Some(&password)).await.unwrap();
    for (round, how) in (0..).zip([Stop::Fast, Stop::Immediate, Stop::Fast]) {
        directory.open_all().await.unwrap();
        server.stop(how);
        server.is_back();
        if round < 2 {
            directory.revision().await.unwrap();
            directory.open_all().await.unwrap();
            server.stop(how);
            server.is_back();
        }
        directory.add(&user(&format!("user-{round}")), &key(round)).await.unwrap();
    }
    assert_eq!(directory.list().await.unwrap().len(), 3);
}

#[tokio::test]
async fn whatever_happens_to_it_a_look_fails_soon_and_succeeds_when_it_is_back() {
    let Some(mut server) = Postgres::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let password = server.password_file(dir.path());
    let (directory, _) = create(&server.url(&server.database()), Some(&password)).await.unwrap();
    directory.add(&user("alice"), &key(1)).await.unwrap();
    directory.open_all().await.unwrap();
    let looks = async |what: &str| {
        let begin = now();
        // More at once than there are connections.
        let alice = user("alice");
        let looks: Vec<_> = (0..20)
            .map(|_| {
                let (directory, alice) = (directory.clone(), alice.clone());
                tokio::spawn(async move { directory.key_of(&alice).await })
            })
            .collect();
        for look in looks {
            let error = look.await.unwrap().expect_err(what);
            let is_gone = matches!(error, DirectoryError::Silent { .. } | DirectoryError::Unreachable { .. });
            assert!(is_gone, "{what}: {error:?}");
        }
        assert!(begin.elapsed() < SOON, "{what}: {:?}", begin.elapsed());
    };

    server.stop(Stop::Fast);
    looks("stopped").await;
    server.is_back();
    assert_eq!(directory.key_of(&user("alice")).await.unwrap(), Some(key(1)));

    directory.open_all().await.unwrap();
    server.freezes();
    looks("frozen").await;
    looks("frozen, with no connection left").await;
    server.thaws();
    assert_eq!(directory.key_of(&user("alice")).await.unwrap(), Some(key(1)));
    directory.remove(&user("alice")).await.unwrap();
}

#[tokio::test]
async fn of_connections_that_were_lost_without_a_word_one_costs_a_look_and_the_others_none() {
    let Some(server) = Postgres::start() else { return };
    let database = server.database();
    let (directory, _) = create(&server.socket_url(&database), None).await.unwrap();
    directory.open_all().await.unwrap();
    server.freezes_connections(&database);
    let lost = directory.revision().await.unwrap_err();
    assert!(matches!(lost, DirectoryError::Silent { .. }), "{lost:?}");
    directory.revision().await.unwrap();
    directory.add(&user("alice"), &key(1)).await.unwrap();
}

#[tokio::test]
async fn a_node_that_freezes_in_the_middle_of_a_change_holds_the_others_up_for_seconds_only() {
    let Some(server) = Postgres::shared() else { return };
    let database = server.database();
    let (directory, _) = create(&server.socket_url(&database), None).await.unwrap();
    let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .username("postgres")
        .socket(server.authority().parent().unwrap())
        .port(server.port())
        .database(&database);
    let mut frozen = <sqlx::PgConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    sqlx::raw_sql(
        "SET idle_in_transaction_session_timeout = '7s'; BEGIN; UPDATE sottovoce.revision SET number = number + 1",
    )
    .execute(&mut frozen)
    .await
    .unwrap();
    // Looks are not held up at all.
    assert_eq!(directory.revision().await.unwrap(), 0);
    let busy = directory.add(&user("alice"), &key(1)).await.unwrap_err();
    assert!(matches!(busy, DirectoryError::Busy(_)), "{busy:?}");
    // PostgreSQL gives the frozen one up.
    directory.add(&user("alice"), &key(1)).await.unwrap();
    assert_eq!(directory.revision().await.unwrap(), 1);
}
