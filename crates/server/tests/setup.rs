//! Making a server's folder: all of it or nothing, and over nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use identity::{CertificateError, TlsError};
use protocol::ServerName;
use server::{
    config::Config,
    directory::Directory,
    setup::{self, SetupError, init},
};

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn host() -> ServerName {
    "chat.example".parse().unwrap()
}

/// Some time in 2026.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 56 * YEAR + YEAR / 2
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The name and content of everything in a folder.
fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap_or_default())
    };
    fs::read_dir(dir).unwrap().map(entry).collect()
}

/// A certificate chain and key from elsewhere, as files.
struct Given {
    _dir: tempfile::TempDir,
    chain: PathBuf,
    key: PathBuf,
}

impl Given {
    fn new(chain: &str, key: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let given = Self { chain: dir.path().join("fullchain.pem"), key: dir.path().join("privkey.pem"), _dir: dir };
        fs::write(&given.chain, chain).unwrap();
        fs::write(&given.key, key).unwrap();
        given
    }

    fn issued(host: &ServerName, at: SystemTime) -> Self {
        let authority = identity::make_authority(host, at).unwrap();
        let (chain, key) = identity::issue(&authority, host, at).unwrap();
        Self::new(&(chain + &authority.certificate_pem), &key)
    }

    fn paths(&self) -> Option<(PathBuf, PathBuf)> {
        Some((self.chain.clone(), self.key.clone()))
    }

    /// What `init` makes of it; it must leave nothing behind.
    async fn error(&self, host: &str) -> SetupError {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("relay");
        let error = init(&target, &host.parse().unwrap(), self.paths(), now()).await.unwrap_err();
        assert!(!target.exists(), "{error}");
        error
    }
}

#[tokio::test]
async fn a_new_folder_has_all_that_a_server_needs() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("deep").join("relay");
    let written = init(&dir, &host(), None, now()).await.unwrap();

    let modes: BTreeMap<_, _> =
        written.iter().map(|path| (path.strip_prefix(&dir).unwrap().to_str().unwrap(), mode(path))).collect();
    let expected = [
        ("ca.key", 0o600),
        ("ca.pem", 0o644),
        ("directory.db", 0o600),
        ("server.key", 0o600),
        ("server.pem", 0o644),
        ("server.toml", 0o600),
    ];
    assert_eq!(modes, expected.into());
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(content(&dir).len(), 6, "nothing else is there");

    assert_eq!(Config::load(&setup::config_path(&dir)).unwrap(), Config::new(host()));
    let directory = Directory::open(&setup::directory_path(&dir)).await.unwrap();
    assert_eq!(directory.list().await.unwrap(), []);
    let (chain, key) = (fs::read(setup::certificate_path(&dir)).unwrap(), fs::read(setup::key_path(&dir)).unwrap());
    identity::server_config(&chain, &key).unwrap();
    let authority = identity::Authority {
        certificate_pem: fs::read_to_string(setup::ca_path(&dir)).unwrap(),
        key_pem: fs::read_to_string(setup::ca_key_path(&dir)).unwrap().into(),
    };
    identity::issue(&authority, &host(), now()).expect("the authority is whole");
}

#[tokio::test]
async fn a_folder_that_is_there_may_be_used() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    init(dir.path(), &host(), None, now()).await.unwrap();
    assert_eq!(content(dir.path()).len(), 7);
    assert_eq!(mode(dir.path()), 0o755, "it is the operator's");

    let open = tempfile::tempdir().unwrap();
    for exposed in [0o770, 0o707, 0o1777] {
        fs::set_permissions(open.path(), fs::Permissions::from_mode(exposed)).unwrap();
        let error = init(open.path(), &host(), None, now()).await.unwrap_err();
        assert!(matches!(error, SetupError::Exposed(_)), "{error}");
        assert_eq!(content(open.path()).len(), 0);
    }
}

#[tokio::test]
async fn nothing_is_overwritten_and_nothing_is_added() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path(), &host(), None, now()).await.unwrap();
    let before = content(dir.path());
    let Err(SetupError::Exists(there)) = init(dir.path(), &host(), None, now()).await else { panic!("made again") };
    assert_eq!(there.len(), 6);
    assert_eq!(content(dir.path()), before);

    for name in before.keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        symlink("nowhere", &path).unwrap();
        let error = init(dir.path(), &host(), None, now()).await.unwrap_err();
        assert!(matches!(&error, SetupError::Exists(there) if *there == [path.clone()]), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(content(dir.path()).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn what_fails_half_way_leaves_nothing() {
    // SQLite takes no path that is not UTF-8, so that the last of the files cannot be made.
    use std::os::unix::ffi::OsStrExt as _;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join(std::ffi::OsStr::from_bytes(b"relay-\xff"));
    let error = init(&dir, &host(), None, now()).await.unwrap_err();
    assert!(matches!(error, SetupError::Directory(_)), "{error}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);

    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(dir.join("notes.txt"), "mine").unwrap();
    init(&dir, &host(), None, now()).await.unwrap_err();
    assert_eq!(content(&dir).into_keys().collect::<Vec<_>>(), ["notes.txt"]);
}

#[tokio::test]
async fn places_where_no_folder_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    for place in [file.clone(), file.join("relay")] {
        let error = init(&place, &host(), None, now()).await.unwrap_err();
        assert!(matches!(error, SetupError::Unwritable { .. }), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let error = init(&dir.path().join("relay"), &"-no-host-".parse().unwrap(), None, now()).await.unwrap_err();
    assert!(matches!(error, SetupError::Certificate(CertificateError::BadHost(_))), "{error}");
    assert_eq!(content(dir.path()).len(), 1);
}

#[tokio::test]
async fn a_certificate_from_elsewhere_is_copied() {
    let given = Given::issued(&host(), now());
    let dir = tempfile::tempdir().unwrap();
    // The operator may have laid down what his users need.
    fs::write(setup::ca_path(dir.path()), "mine").unwrap();
    let written = init(dir.path(), &host(), given.paths(), now()).await.unwrap();
    assert_eq!(written.len(), 4);
    let files = content(dir.path());
    assert_eq!(files.keys().collect::<Vec<_>>(), ["ca.pem", "directory.db", "server.key", "server.pem", "server.toml"]);
    assert_eq!(files["ca.pem"], b"mine");
    assert_eq!(files["server.pem"], fs::read(&given.chain).unwrap());
    assert_eq!(files["server.key"], fs::read(&given.key).unwrap());
    assert_eq!(mode(&setup::key_path(dir.path())), 0o600);
    assert_eq!(mode(&setup::certificate_path(dir.path())), 0o644);
}

#[tokio::test]
async fn a_certificate_that_no_client_would_take_is_refused() {
    let good = Given::issued(&host(), now());
    let (chain, key) = (fs::read_to_string(&good.chain).unwrap(), fs::read_to_string(&good.key).unwrap());
    let other = Given::issued(&host(), now());
    let others_key = fs::read_to_string(&other.key).unwrap();

    let error = Given::new(&chain, &others_key).error("chat.example").await;
    assert!(matches!(error, SetupError::Unusable { source: TlsError::KeyOfAnother, .. }), "{error}");
    let error = Given::new(&key, &key).error("chat.example").await;
    assert!(matches!(error, SetupError::Unusable { source: TlsError::NoCertificate, .. }), "{error}");
    let error = Given::new(&chain, &chain).error("chat.example").await;
    assert!(matches!(error, SetupError::Unusable { source: TlsError::BadKey(_), .. }), "{error}");

    let error = good.error("other.example").await;
    assert!(matches!(error, SetupError::NotForHost { .. }), "{error}");
    assert!(error.to_string().contains("is not for other.example"), "{error}");
    let error = good.error("chat.example.").await;
    assert!(matches!(error, SetupError::Certificate(CertificateError::BadHost(_))), "{error}");

    for wrong in [now() - 20 * YEAR, now() + 20 * YEAR] {
        let error = Given::issued(&host(), wrong).error("chat.example").await;
        assert!(matches!(error, SetupError::Refused { .. }), "{error}");
    }
    // The authority's own certificate has no name on it, and may not be a server's.
    let authority = identity::make_authority(&host(), now()).unwrap();
    let error = Given::new(&authority.certificate_pem, &authority.key_pem).error("chat.example").await;
    assert!(matches!(error, SetupError::NotForHost { .. } | SetupError::Refused { .. }), "{error}");

    fs::remove_file(&good.key).unwrap();
    let error = good.error("chat.example").await;
    assert!(matches!(&error, SetupError::Unreadable { path, .. } if *path == good.key), "{error}");
}

#[tokio::test]
async fn an_address_can_be_a_host() {
    let ip: ServerName = "::1".parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    init(&dir.path().join("own"), &ip, None, now()).await.unwrap();
    let given = Given::issued(&ip, now());
    init(&dir.path().join("given"), &ip, given.paths(), now()).await.unwrap();
    let error = given.error("0:0:0:0:0:0:0:1").await;
    assert!(matches!(error, SetupError::Certificate(CertificateError::BadHost(_))), "{error}");
}
