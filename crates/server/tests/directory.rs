//! The directory through its public face: the same stories in SQLite and in PostgreSQL, each alone, with a second process,
//! and with others at once. What only one of the two has stands in a file of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    reason = "a test may panic, and say what it skips"
)]

mod postgres;

#[path = "directory/postgres.rs"]
mod in_postgres;
#[path = "directory/sqlite.rs"]
mod in_sqlite;

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use protocol::{PublicKey, UserName};
use server::directory::{Directory, DirectoryError, Location};
use tempfile::TempDir;

use crate::postgres::Postgres;

fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

fn key(seed: u32) -> PublicKey {
    let mut bytes = [0x5a; 32];
    bytes[..4].copy_from_slice(&seed.to_be_bytes());
    PublicKey::from_bytes(bytes)
}

/// A place for a directory, which a test has to itself.
struct Place {
    _dir: TempDir,
    location: Location,
    password: Option<PathBuf>,
    _server: Option<Arc<Postgres>>,
}

impl Place {
    /// One of each kind that this machine has.
    fn all() -> Vec<Self> {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(dir.path().join("directory.db"));
        let sqlite = Self { _dir: dir, location, password: None, _server: None };
        [Some(sqlite), Self::postgres()].into_iter().flatten().collect()
    }

    fn postgres() -> Option<Self> {
        let server = Postgres::shared()?;
        let dir = tempfile::tempdir().unwrap();
        let location = server.url(&server.database()).parse().unwrap();
        let password = Some(server.password_file(dir.path()));
        Some(Self { _dir: dir, location, password, _server: Some(server) })
    }

    async fn create(&self) -> Directory {
        let (directory, is_new) = Directory::create_at(&self.location, self.password.as_deref()).await.unwrap();
        assert!(is_new);
        directory
    }

    async fn open(&self) -> Directory {
        Directory::open_at(&self.location, self.password.as_deref()).await.unwrap()
    }
}

/// The story that any store of users has to live through.
async fn story(directory: &Directory) {
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    let mut revisions = vec![directory.revision().await.unwrap()];
    assert_eq!(directory.list().await.unwrap(), []);
    assert_eq!(directory.key_of(&alice).await.unwrap(), None);

    directory.add(&bob, &key(2)).await.unwrap();
    revisions.push(directory.revision().await.unwrap());
    directory.add(&alice, &key(1)).await.unwrap();
    revisions.push(directory.revision().await.unwrap());
    assert_eq!(directory.key_of(&alice).await.unwrap(), Some(key(1)));
    assert_eq!(directory.key_of(&user("ALICE")).await.unwrap(), Some(key(1)));
    assert_eq!(directory.key_of(&carol).await.unwrap(), None);
    assert_eq!(directory.list().await.unwrap(), [(alice.clone(), key(1)), (bob.clone(), key(2))]);
    let mut some = directory.keys_of(&[carol.clone(), bob.clone(), user("dora"), alice.clone()]).await.unwrap();
    some.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(some, [(alice.clone(), key(1)), (bob.clone(), key(2))]);
    assert_eq!(directory.keys_of(&[]).await.unwrap(), []);

    // What is refused changes nothing, the revision included.
    use DirectoryError::{AlreadyRegistered, KeyTaken, NotRegistered};
    assert!(matches!(directory.add(&alice, &key(9)).await, Err(AlreadyRegistered(name)) if name == alice));
    assert!(matches!(directory.add(&alice, &key(1)).await, Err(AlreadyRegistered(name)) if name == alice));
    assert!(matches!(directory.add(&carol, &key(1)).await, Err(KeyTaken(name)) if name == alice));
    assert!(matches!(directory.replace(&bob, &key(1)).await, Err(KeyTaken(name)) if name == alice));
    assert!(matches!(directory.replace(&carol, &key(3)).await, Err(NotRegistered(name)) if name == carol));
    assert!(matches!(directory.remove(&carol).await, Err(NotRegistered(name)) if name == carol));
    assert_eq!(directory.list().await.unwrap(), [(alice.clone(), key(1)), (bob.clone(), key(2))]);
    assert_eq!(directory.revision().await.unwrap(), revisions[2]);

    directory.replace(&alice, &key(11)).await.unwrap();
    revisions.push(directory.revision().await.unwrap());
    assert_eq!(directory.key_of(&alice).await.unwrap(), Some(key(11)));

    // Both the name and the key of somebody who is gone are free, and only then.
    directory.remove(&bob).await.unwrap();
    revisions.push(directory.revision().await.unwrap());
    assert_eq!(directory.key_of(&bob).await.unwrap(), None);
    directory.add(&carol, &key(2)).await.unwrap();
    revisions.push(directory.revision().await.unwrap());
    directory.add(&bob, &key(1)).await.unwrap();
    revisions.push(directory.revision().await.unwrap());
    let all = [(alice, key(11)), (bob, key(1)), (carol, key(2))];
    assert_eq!(directory.list().await.unwrap(), all);
    assert!(revisions.windows(2).all(|pair| pair[0] < pair[1]), "{revisions:?}");
}

#[tokio::test]
async fn the_story_of_a_directory() {
    for place in Place::all() {
        let directory = place.create().await;
        story(&directory).await;
        let (users, revision) = (directory.list().await.unwrap(), directory.revision().await.unwrap());
        directory.close().await;
        assert!(directory.key_of(&user("alice")).await.is_err(), "it is closed");
        let directory = place.open().await;
        directory.open_all().await.unwrap();
        assert_eq!(directory.list().await.unwrap(), users);
        assert_eq!(directory.revision().await.unwrap(), revision);
    }
}

#[tokio::test]
async fn thousands_of_users() {
    for place in Place::all() {
        let directory = place.create().await;
        // Registering takes a change each; half of them are enough for several queries.
        let names: Vec<UserName> = (0..2_500).map(|number| user(&format!("user-{number:05}"))).collect();
        let keys: Vec<_> = (0..2_500_u32).map(|number| key(number.wrapping_mul(0x9e37_79b9))).collect();
        for (name, key) in names.iter().zip(&keys) {
            directory.add(name, key).await.unwrap();
        }
        let list = tokio::time::timeout(Duration::from_secs(2), directory.list()).await.expect("within 2 s").unwrap();
        assert_eq!(list.len(), 2_500);
        assert!(list.is_sorted_by(|(a, _), (b, _)| a < b));
        assert_eq!(directory.key_of(&names[1777]).await.unwrap(), Some(keys[1777]));
        let asked: Vec<_> = names.iter().rev().cloned().chain([user("nobody")]).collect();
        let mut found = directory.keys_of(&asked).await.unwrap();
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        assert_eq!(found, list);
    }
}

#[tokio::test]
async fn two_pools_change_it_at_once() {
    for place in Place::all() {
        let (one, other) = (place.create().await, place.open().await);
        let before = one.revision().await.unwrap();
        let add = async |directory: &Directory, start: u32| {
            for number in start..start + 50 {
                directory.add(&user(&format!("user-{number}")), &key(number)).await.unwrap();
            }
        };
        let read = async {
            let mut last = 0;
            while last < 100 {
                let (users, again) = (other.list().await.unwrap().len(), one.list().await.unwrap().len());
                assert!(last <= users && users <= again, "{last} {users} {again}");
                last = again;
            }
        };
        tokio::join!(add(&one, 0), add(&other, 1000), read);
        assert_eq!(one.revision().await.unwrap(), before + 100);
        assert_eq!(other.revision().await.unwrap(), before + 100);
    }
}

#[tokio::test]
async fn two_add_one_name_or_one_key_and_one_of_them_wins() {
    for place in Place::all() {
        let (one, other) = (place.create().await, place.open().await);
        for round in 0..20 {
            let name = user(&format!("user-{round}"));
            let (mine, theirs) = (key(2 * round), key(2 * round + 1));
            let (a, b) = tokio::join!(one.add(&name, &mine), other.add(&name, &theirs));
            let winner = match (a, b) {
                (Ok(()), Err(DirectoryError::AlreadyRegistered(_))) => mine,
                (Err(DirectoryError::AlreadyRegistered(_)), Ok(())) => theirs,
                other => panic!("{other:?}"),
            };
            assert_eq!(one.key_of(&name).await.unwrap(), Some(winner));
            assert_eq!(other.key_of(&name).await.unwrap(), Some(winner));

            let (mine, theirs) = (user(&format!("mine-{round}")), user(&format!("theirs-{round}")));
            let key = key(1000 + round);
            match tokio::join!(one.add(&mine, &key), other.add(&theirs, &key)) {
                (Ok(()), Err(DirectoryError::KeyTaken(name))) => assert_eq!(name, mine),
                (Err(DirectoryError::KeyTaken(name)), Ok(())) => assert_eq!(name, theirs),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn another_process_changes_it_while_this_one_reads() {
    for place in Place::all() {
        let directory = place.create().await;
        let revision = directory.revision().await.unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_the_other_process_does", "--ignored"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let password = place.password.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let told = format!("{}\n{password}\n", place.location.written());
        process.stdin.take().unwrap().write_all(told.as_bytes()).unwrap();
        let seen = async {
            while directory.key_of(&user("last")).await.unwrap().is_none() {
                directory.list().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), seen).await.expect("the other process's changes are seen");
        assert!(process.wait().unwrap().success());
        assert_eq!(directory.revision().await.unwrap(), revision + 21);
        assert_eq!(directory.list().await.unwrap().len(), 21);
    }
}

#[tokio::test]
#[ignore = "runs inside another_process_changes_it_while_this_one_reads, which tells it the place"]
async fn what_the_other_process_does() {
    let mut told = String::new();
    std::io::stdin().read_to_string(&mut told).unwrap();
    let mut told = told.lines();
    let Some(location) = told.next() else { return };
    let password = told.next().filter(|password| !password.is_empty()).map(Path::new);
    let directory = Directory::open_at(&location.parse().unwrap(), password).await.unwrap();
    for number in 0..20 {
        directory.add(&user(&format!("user-{number}")), &key(number)).await.unwrap();
    }
    directory.add(&user("last"), &key(20)).await.unwrap();
}

#[tokio::test]
async fn debug_and_what_is_logged_show_no_user_and_no_password() {
    for place in Place::all() {
        let directory = place.create().await;
        directory.add(&user("alice"), &key(1)).await.unwrap();
        let shown = |text: String| text.contains("alice") || text.contains(postgres::PASSWORD);
        assert!(!shown(format!("{directory:?}")));
        directory.close().await;
        let error = directory.key_of(&user("alice")).await.unwrap_err();
        assert!(!shown(format!("{error} {error:?}")));
        let nowhere = Directory::create_at(&place.location, Some(Path::new("/nowhere"))).await.unwrap_err();
        assert!(!shown(format!("{nowhere} {nowhere:?}")));
    }
}
