use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, SystemTime},
};

use identity::{Authority, UserKey, issue, make_authority};
use protocol::{ServerName, UserName};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use zeroize::Zeroizing;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// A key that is always the same for the same number.
pub(crate) fn key(number: u8) -> UserKey {
    UserKey::from_seed(&[number; 32])
}

pub(crate) fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

pub(crate) fn server(name: &str) -> ServerName {
    name.parse().unwrap()
}

/// TLS checks certificates against the system's clock, so tests of it must read that clock too.
#[allow(clippy::disallowed_methods, reason = "a test is its own driver")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// An authority for `host`, and what it issued, both made at `time`.
pub(crate) struct Issued {
    pub(crate) authority: Authority,
    pub(crate) chain: String,
    pub(crate) key: Zeroizing<String>,
}

pub(crate) fn issued(host: &str, time: SystemTime) -> Issued {
    let host = server(host);
    let authority = make_authority(&host, time).unwrap();
    let (chain, key) = issue(&authority, &host, time).unwrap();
    Issued { authority, chain, key }
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

pub(crate) fn write(dir: &Path, name: &str, contents: &[u8]) -> PathBuf {
    let path = dir.join(name);
    let mut file = fs::File::create_new(&path).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    file.write_all(contents).unwrap();
    path
}

/// Runs a tool with nothing on its standard input. `None`, said aloud, when the machine does not have it; on a
/// machine that sets `CI`, that is a failure.
#[allow(clippy::disallowed_methods, reason = "which tools must be there is no secret")]
pub(crate) fn run(tool: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(tool).args(arguments).stdin(Stdio::null()).env("LC_ALL", "C").output() {
        Ok(output) => Some(output),
        Err(error) if std::env::var("CI").is_ok() => panic!("{tool} is needed: {error}"),
        Err(error) => {
            eprintln!("SKIPPED: {tool} cannot be run here: {error}");
            None
        }
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
