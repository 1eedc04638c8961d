use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use protocol::{PublicKey, ServerName, UserName};

use crate::{
    key_file::sync_parent,
    public_line::{self, KEY_TYPE},
};

/// How much is known about a peer's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Seen for the first time: the server alone vouches for it.
    New,
    /// The same as each time before.
    Pinned,
    /// Pinned, and the safety numbers were compared.
    Verified,
}

/// A key that a user had when one last talked to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The key.
    pub key: PublicKey,
    /// Whether the safety numbers were compared.
    pub verified: bool,
}

/// The file `pins` of a profile: whose key was what (B4).
///
/// One line for each pin, `name@server ssh-ed25519 AAAA… pinned` or `… verified`, and nothing else. Holds a path, not
/// an open file: each call reads what is there. Changes are made under a lock on `pins.lock` beside it, to a new file
/// of mode 0600 that then takes the old one's place, so that several programs can share a profile and a crash leaves
/// the old pins or the new ones. No file means no pins.
#[derive(Clone, Debug)]
pub struct PinFile {
    path: PathBuf,
}

/// Why a pin could not be read or set.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The file could not be read or written.
    #[error("the file of pinned keys {} cannot be used: {source}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A line is no pin, or the second one for a user. Nothing is read or changed until a person has looked at it.
    #[error("line {line} of {} is damaged; correct or delete that line, it should read `name@server ssh-ed25519 AAAA… pinned`", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
    },
    /// Another key is pinned for this user.
    #[error(
        "this user's key is not the one that you know: either the server puts its own key between you, or the user has a new one. Ask the user in another way, and if the key is new, `sottovoce pins forget NAME`"
    )]
    Changed,
    /// No key is pinned for this user.
    #[error("no key is pinned for this user; the first chat with somebody pins their key")]
    NoPin,
}

type Entry = (UserName, ServerName, Pin);

impl Pin {
    /// What the pin says about its key: [`Trust::Pinned`] or [`Trust::Verified`].
    pub fn trust(&self) -> Trust {
        if self.verified { Trust::Verified } else { Trust::Pinned }
    }
}

/// `new`, `pinned` or `verified`.
impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Pinned => "pinned",
            Self::Verified => "verified",
        })
    }
}

impl PinFile {
    /// Names the file. It need not be there yet; its directory must.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The pin of a user, if there is one.
    ///
    /// # Errors
    /// [`PinError::Io`], [`PinError::Damaged`].
    pub fn get(&self, user: &UserName, server: &ServerName) -> Result<Option<Pin>, PinError> {
        Ok(self.list()?.into_iter().find(is(user, server)).map(|(_, _, pin)| pin))
    }

    /// Remembers a user's key. If it is pinned already, nothing changes: a verified key stays verified.
    ///
    /// # Errors
    /// [`PinError::Changed`] when another key is pinned, which stays; [`PinError::Io`], [`PinError::Damaged`].
    pub fn pin(&self, user: &UserName, server: &ServerName, key: &PublicKey) -> Result<(), PinError> {
        let _lock = self.lock()?;
        let mut pins = self.list()?;
        match pins.iter().find(|entry| is(user, server)(entry)) {
            Some((_, _, pin)) if pin.key == *key => return Ok(()),
            Some(_) => return Err(PinError::Changed),
            None => pins.push((user.clone(), server.clone(), Pin { key: *key, verified: false })),
        }
        self.write(&pins)
    }

    /// All pins, the oldest first.
    ///
    /// # Errors
    /// [`PinError::Io`], [`PinError::Damaged`].
    pub fn list(&self) -> Result<Vec<Entry>, PinError> {
        match fs::read(&self.path) {
            Ok(bytes) => parse(&bytes).map_err(|line| PinError::Damaged { path: self.path.clone(), line }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Notes that the safety number of this key, which is pinned, was compared, and gives the pin as it is now.
    ///
    /// # Errors
    /// [`PinError::NoPin`]; [`PinError::Changed`] when another key is pinned, of which nothing is noted;
    /// [`PinError::Io`], [`PinError::Damaged`].
    pub fn verify(&self, user: &UserName, server: &ServerName, key: &PublicKey) -> Result<Pin, PinError> {
        let _lock = self.lock()?;
        let mut pins = self.list()?;
        let (_, _, pin) = pins.iter_mut().find(|entry| is(user, server)(entry)).ok_or(PinError::NoPin)?;
        if pin.key != *key {
            return Err(PinError::Changed);
        }
        pin.verified = true;
        let pin = pin.clone();
        self.write(&pins)?;
        Ok(pin)
    }

    /// Drops a pin, so that whatever key the user has next gets pinned, and gives the pin that was.
    ///
    /// # Errors
    /// [`PinError::NoPin`], [`PinError::Io`], [`PinError::Damaged`].
    pub fn forget(&self, user: &UserName, server: &ServerName) -> Result<Pin, PinError> {
        let _lock = self.lock()?;
        let mut pins = self.list()?;
        let (_, _, pin) = pins.extract_if(.., |entry| is(user, server)(entry)).next().ok_or(PinError::NoPin)?;
        self.write(&pins)?;
        Ok(pin)
    }

    /// Waits until no other program is changing the pins. The lock ends with the file that is handed out.
    fn lock(&self) -> Result<File, PinError> {
        let path = self.beside(".lock");
        let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = options.map_err(|error| self.failed(error))?;
        lock.lock().map_err(|error| self.failed(error))?;
        Ok(lock)
    }

    /// Puts `pins` in the place of what was there. The caller holds the lock.
    fn write(&self, pins: &[Entry]) -> Result<(), PinError> {
        let path = self.beside(".new");
        self.replace(&path, pins).map_err(|error| self.failed(error))
    }

    fn replace(&self, path: &Path, pins: &[Entry]) -> io::Result<()> {
        // What a crash left behind.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(print(pins).as_bytes())?;
        file.sync_all()?;
        fs::rename(path, &self.path)?;
        sync_parent(&self.path)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(ending);
        path.into()
    }

    fn failed(&self, source: io::Error) -> PinError {
        PinError::Io { path: self.path.clone(), source }
    }
}

fn is(user: &UserName, server: &ServerName) -> impl Fn(&Entry) -> bool {
    move |(other, at, _)| other == user && at == server
}

fn print(pins: &[Entry]) -> String {
    pins.iter()
        .map(|(user, server, pin)| {
            format!("{user}@{server} {} {}\n", public_line::public_line(&pin.key, ""), pin.trust())
        })
        .collect()
}

/// All pins, or the number of the first line that is none.
fn parse(bytes: &[u8]) -> Result<Vec<Entry>, usize> {
    let mut pins: Vec<Entry> = Vec::new();
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if bytes.is_empty() {
        return Ok(pins);
    }
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let (user, server, pin) = parse_line(line).ok_or(number)?;
        if pins.iter().any(is(&user, &server)) {
            return Err(number);
        }
        pins.push((user, server, pin));
    }
    Ok(pins)
}

fn parse_line(line: &[u8]) -> Option<Entry> {
    let words: Vec<&str> = str::from_utf8(line).ok()?.split_ascii_whitespace().collect();
    let [whose, KEY_TYPE, key, trust] = words.as_slice() else { return None };
    let (user, server) = whose.split_once('@')?;
    let verified = match *trust {
        "pinned" => false,
        "verified" => true,
        _ => return None,
    };
    let key = public_line::decode(key)?;
    Some((user.parse().ok()?, server.parse().ok()?, Pin { key, verified }))
}
