//! What SQLite alone has: files, and what stays in them.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use server::directory::{Directory, DirectoryError};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::{key, user};

async fn new_directory() -> (TempDir, PathBuf, Directory) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("directory.db");
    let directory = Directory::create(&path).await.unwrap();
    (dir, path, directory)
}

/// Everything that stands in the directory's files.
fn bytes_of(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for file in fs::read_dir(dir).unwrap() {
        fs::File::open(file.unwrap().path()).unwrap().read_to_end(&mut bytes).unwrap();
    }
    bytes
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn its_files_are_its_owner_s_alone() {
    let (dir, _path, directory) = new_directory().await;
    directory.add(&user("alice"), &key(1)).await.unwrap();
    let modes: Vec<u32> =
        fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().permissions().mode()).collect();
    assert_eq!(modes.len(), 3, "the database, its log and its log's index");
    assert!(modes.iter().all(|mode| mode & 0o777 == 0o600), "{modes:?}");
}

#[tokio::test]
async fn a_name_does_not_outlive_its_removal() {
    let (dir, path, directory) = new_directory().await;
    directory.add(&user("alice"), &key(1)).await.unwrap();
    directory.add(&user("mallory.was.here"), &key(2)).await.unwrap();
    // A server that runs has the files open too, and has just read from them.
    let server = Directory::open(&path).await.unwrap();
    server.key_of(&user("mallory.was.here")).await.unwrap().unwrap();
    server.list().await.unwrap();
    assert!(contains(&bytes_of(dir.path()), b"mallory.was.here"));
    directory.replace(&user("alice"), &key(3)).await.unwrap();
    directory.remove(&user("mallory.was.here")).await.unwrap();
    let bytes = bytes_of(dir.path());
    assert!(contains(&bytes, b"alice"));
    assert!(!contains(&bytes, b"mallory.was.here"), "the name");
    assert!(!contains(&bytes, key(2).as_bytes()), "the key");
    assert!(!contains(&bytes, key(1).as_bytes()), "the key that was replaced");
}

#[tokio::test]
async fn names_do_not_outlive_removals_that_others_get_in_the_way_of() {
    let (dir, path, one) = new_directory().await;
    let other = Directory::open(&path).await.unwrap();
    for number in 0..30 {
        one.add(&user(&format!("gone-{number:02}")), &key(number)).await.unwrap();
    }
    let remove = async {
        for number in 0..30 {
            one.remove(&user(&format!("gone-{number:02}"))).await.unwrap();
        }
    };
    let change = async {
        for number in 0..30 {
            other.add(&user(&format!("here-{number:02}")), &key(100 + number)).await.unwrap();
            other.replace(&user(&format!("here-{number:02}")), &key(200 + number)).await.unwrap();
        }
    };
    let read = async {
        for _ in 0..100 {
            other.list().await.unwrap();
        }
    };
    tokio::join!(remove, change, read);
    assert_eq!(other.list().await.unwrap().len(), 30);
    let bytes = bytes_of(dir.path());
    assert!(contains(&bytes, b"here-29"));
    assert!(!contains(&bytes, b"gone-"));
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let (dir, path, directory) = new_directory().await;
    directory.add(&user("alice"), &key(1)).await.unwrap();
    assert!(matches!(Directory::create(&path).await, Err(DirectoryError::Exists(at)) if at == path));
    assert_eq!(directory.list().await.unwrap().len(), 1);
    let other = dir.path().join("other");
    std::os::unix::fs::symlink("nowhere", &other).unwrap();
    assert!(matches!(Directory::create(&other).await, Err(DirectoryError::Exists(_))));
    assert!(fs::symlink_metadata(dir.path().join("nowhere")).is_err());
    let nowhere = dir.path().join("no such dir").join("directory.db");
    assert!(matches!(Directory::create(&nowhere).await, Err(DirectoryError::Failed { .. })));
}

#[tokio::test]
async fn files_that_are_no_directory_are_left_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("directory.db");
    let missing = Directory::open(&path).await.unwrap_err();
    assert!(matches!(missing, DirectoryError::Missing(_)));
    assert!(missing.to_string().contains("`sottovoce server init`"), "{missing}");
    assert!(!path.exists());
    assert!(matches!(Directory::open(dir.path()).await, Err(DirectoryError::Foreign(_))));

    for text in ["", "not a database\n", &"x".repeat(10_000)] {
        fs::write(&path, text).unwrap();
        assert!(matches!(Directory::open(&path).await, Err(DirectoryError::Foreign(_))), "{} bytes", text.len());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::remove_file(&path).unwrap();

    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut sql = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("CREATE TABLE users (name TEXT, key BLOB)").execute(&mut sql).await.unwrap();
    sql.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(Directory::open(&path).await, Err(DirectoryError::Foreign(_))), "another program's");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_later_schema_and_damage_are_told_apart() {
    let (_dir, path, directory) = new_directory().await;
    directory.add(&user("alice"), &key(1)).await.unwrap();
    let mut sql = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();

    sqlx::raw_sql("PRAGMA user_version = 2").execute(&mut sql).await.unwrap();
    let newer = Directory::open(&path).await.unwrap_err();
    assert!(matches!(newer, DirectoryError::Newer { found: 2, .. }), "{newer}");
    sqlx::raw_sql("PRAGMA user_version = 1").execute(&mut sql).await.unwrap();

    sqlx::raw_sql("INSERT INTO users VALUES ('Bob', zeroblob(32))").execute(&mut sql).await.unwrap();
    let directory = Directory::open(&path).await.unwrap();
    assert!(matches!(directory.list().await, Err(DirectoryError::Damaged(_))), "a name in upper case");
    sqlx::raw_sql("DELETE FROM users WHERE name = 'Bob'").execute(&mut sql).await.unwrap();
    assert_eq!(directory.list().await.unwrap().len(), 1);

    sqlx::raw_sql("DROP TABLE users").execute(&mut sql).await.unwrap();
    assert!(matches!(directory.key_of(&user("alice")).await, Err(DirectoryError::Failed { .. })), "nobody gets in");
}

#[tokio::test]
async fn odd_paths_are_paths() {
    let dir = tempfile::tempdir().unwrap();
    for name in [":memory:", "a b?mode=memory", "file:x", "é%20#"] {
        let path = dir.path().join(name);
        let directory = Directory::create(&path).await.unwrap();
        directory.add(&user("alice"), &key(1)).await.unwrap();
        directory.close().await;
        assert!(fs::metadata(&path).unwrap().len() > 0, "{name}");
        assert_eq!(Directory::open(&path).await.unwrap().list().await.unwrap().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn what_may_not_be_written_says_so() {
    let (dir, path, directory) = new_directory().await;
    directory.close().await;
    let with_mode = async |place: &Path, mode| {
        let usual = fs::metadata(place).unwrap().permissions();
        fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
        let opened = Directory::open(&path).await;
        fs::set_permissions(place, usual).unwrap();
        opened
    };
    let (file, folder) = (with_mode(&path, 0o400).await, with_mode(dir.path(), 0o500).await);
    if file.is_ok() {
        // Modes do not bind root.
        folder.unwrap();
        return;
    }
    assert!(matches!(file, Err(DirectoryError::ReadOnly(_))), "{file:?}");
    assert!(matches!(folder, Err(DirectoryError::ReadOnly(_))), "{folder:?}");
}

#[tokio::test]
async fn no_name_stays_behind_where_rows_were_moved() {
    let (dir, path, directory) = new_directory().await;
    let mut sql = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
    let mut fill = sql.begin().await.unwrap();
    for number in 0..10_000_u32 {
        sqlx::query("INSERT INTO users VALUES ($1, $2)")
            .bind(format!("user-{number:05}"))
            .bind(key(number.wrapping_mul(0x9e37_79b9)).as_bytes().as_slice())
            .execute(&mut *fill)
            .await
            .unwrap();
    }
    fill.commit().await.unwrap();
    sql.close().await.unwrap();

    // SQLite leaves copies of a row behind where it moves rows from page to page.
    let removed = (0..10_000).step_by(97).map(|number| format!("user-{number:05}")).collect::<Vec<_>>();
    for name in &removed {
        directory.remove(&user(name)).await.unwrap();
    }
    let bytes = bytes_of(dir.path());
    let lingering: Vec<_> = removed.iter().filter(|name| contains(&bytes, name.as_bytes())).collect();
    assert_eq!(lingering, [] as [&String; 0]);
    assert_eq!(directory.list().await.unwrap().len(), 10_000 - removed.len());
}
