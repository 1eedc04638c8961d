use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use protocol::PublicKey;
use rand_core::CryptoRng;
use ssh_key::{
    Cipher, Kdf, LineEnding, PrivateKey,
    private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData},
    public::{Ed25519PublicKey, KeyData},
};
use zeroize::Zeroizing;

use crate::{UserKey, public_line::KEY_TYPE};

/// Rounds of bcrypt that a key file written here asks for: about half a second of one core, four times what
/// `ssh-keygen` asks for unless told otherwise.
pub const ROUNDS: u32 = 64;

/// The most rounds that a key file may ask for, some eight seconds of one core. More is taken for an attempt to hang
/// the program.
pub const MAX_ROUNDS: u32 = 1024;

/// Bytes that a key file may have; an Ed25519 key takes about 460.
const MAX_FILE: usize = 1 << 16;

/// A key file as it lies on disk: OpenSSH's format (`PROTOCOL.key`), Ed25519, encrypted (S2).
pub struct LockedKey {
    file: PrivateKey,
    public: PublicKey,
}

/// Why a key file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is no such file.
    #[error("there is no key file {}; make one with `sottovoce keygen`, or with `ssh-keygen -t ed25519 -f {}`", .0.display(), .0.display())]
    Missing(PathBuf),
    /// The file could not be read or written.
    #[error("the key file {} cannot be used: {source}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Others than the owner may read or change the file.
    #[error("others may open the key file {}; only its owner should: `chmod 600 {}`", .0.display(), .0.display())]
    LooseMode(PathBuf),
    /// The file holds something else.
    #[error("{} is not a private key in OpenSSH's format; make one with `ssh-keygen -t ed25519 -f FILE`", .0.display())]
    NotAKey(PathBuf),
    /// The file starts as a key file does, and then makes no sense.
    #[error("the key file {} is damaged; put back a copy, or make a new key and have it registered", .0.display())]
    Damaged(PathBuf),
    /// A key of another type.
    #[error("the key in {} is of type {found}; only ssh-ed25519 is accepted: make one with `ssh-keygen -t ed25519 -f FILE`", .path.display())]
    WrongType {
        /// Which file.
        path: PathBuf,
        /// The type that it has, as OpenSSH names it.
        found: String,
    },
    /// The key is not protected by a password.
    #[error("the key in {} has no password; give it one: `ssh-keygen -p -f {}`", .0.display(), .0.display())]
    Unencrypted(PathBuf),
    /// Encrypted in a way that this program does not know.
    #[error("the key in {} is encrypted with {cipher}, which is not known here; encrypt it anew: `ssh-keygen -p -Z aes256-ctr -f {}`", .path.display(), .path.display())]
    Cipher {
        /// Which file.
        path: PathBuf,
        /// The cipher, as OpenSSH names it.
        cipher: String,
    },
    /// Unlocking would take longer than [`MAX_ROUNDS`] allows.
    #[error("the key in {} asks for {rounds} rounds of bcrypt, more than the {MAX_ROUNDS} allowed here; encrypt it anew: `ssh-keygen -p -a {ROUNDS} -f {}`", .path.display(), .path.display())]
    TooManyRounds {
        /// Which file.
        path: PathBuf,
        /// The rounds that it asks for.
        rounds: u32,
    },
    /// A key file is never written over.
    #[error("{} is there already, and a key file is never overwritten; choose another name, or move the file away", .0.display())]
    Exists(PathBuf),
    /// A key file without a password is never written.
    #[error("a key file needs a password; an empty one protects nothing")]
    EmptyPassword,
    /// The key could not be brought into the format.
    #[error("the key could not be encrypted: {0}")]
    Encrypt(String),
}

/// Why a key file could not be unlocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// The password is another. Some damage to the file looks the same.
    #[error("wrong password for this key file")]
    WrongPassword,
    /// The password fits, and what it opens is not the key that the file says it is.
    #[error("the key file is damaged; put back a copy, or make a new key and have it registered")]
    Damaged,
}

impl LockedKey {
    /// Reads a key file without unlocking it.
    ///
    /// # Errors
    /// [`KeyFileError`], for whatever a password could not put right.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let bytes = read_private(path)?;
        let file = PrivateKey::from_openssh(bytes.as_slice()).map_err(|error| why_not(path, &bytes, &error))?;

        let KeyData::Ed25519(public) = file.public_key().key_data() else {
            return Err(KeyFileError::WrongType { path: path.into(), found: file.algorithm().as_str().to_owned() });
        };
        let public = PublicKey::from_bytes(public.0);
        let rounds = match file.kdf() {
            _ if !file.is_encrypted() => return Err(KeyFileError::Unencrypted(path.into())),
            Kdf::Bcrypt { rounds, .. } => *rounds,
            _ => return Err(KeyFileError::Damaged(path.into())),
        };
        if rounds > MAX_ROUNDS {
            return Err(KeyFileError::TooManyRounds { path: path.into(), rounds });
        }
        if file.cipher() == Cipher::TDesCbc {
            return Err(KeyFileError::Cipher { path: path.into(), cipher: file.cipher().as_str().to_owned() });
        }
        Ok(Self { file, public })
    }

    /// The public half, which stands in the file in clear. That the private half belongs to it is known once it is
    /// unlocked.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Opens the key. This takes the processor for up to some seconds, by design: call it where that holds up nothing
    /// else.
    ///
    /// # Errors
    /// [`UnlockError`]. A wrong password can be tried again with another.
    pub fn unlock(&self, password: &[u8]) -> Result<UserKey, UnlockError> {
        let opened = self.file.decrypt(password).map_err(|error| match error {
            ssh_key::Error::Crypto => UnlockError::WrongPassword,
            _ => UnlockError::Damaged,
        })?;
        let pair = opened.key_data().ed25519().ok_or(UnlockError::Damaged)?;
        let key = UserKey::from_seed(pair.private.as_ref());
        if key.public() != self.public {
            return Err(UnlockError::Damaged);
        }
        Ok(key)
    }
}

impl fmt::Debug for LockedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Writes `key` to a new file that `password` opens, with mode 0600 from its birth, and waits until it is on disk.
/// Takes as long as [`LockedKey::unlock`]. `comment` is for people; OpenSSH shows it beside the key.
///
/// # Errors
/// [`KeyFileError::Exists`], [`KeyFileError::EmptyPassword`], [`KeyFileError::Io`]; whatever the error, no part of a
/// file is left behind.
pub fn write_key_file(
    path: &Path,
    key: &UserKey,
    password: &[u8],
    comment: &str,
    rng: &mut (dyn CryptoRng + Send),
) -> Result<(), KeyFileError> {
    if password.is_empty() {
        return Err(KeyFileError::EmptyPassword);
    }
    let text = encrypt(key, password, comment, rng).map_err(|error| KeyFileError::Encrypt(error.to_string()))?;

    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.into()),
        _ => KeyFileError::Io { path: path.into(), source },
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| sync_parent(path));
    written.map_err(|source| {
        // The first error is the one to tell.
        let _ = fs::remove_file(path);
        failed(source)
    })
}

/// Makes sure that the directory remembers the names that were put into it.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn encrypt(
    key: &UserKey,
    password: &[u8],
    comment: &str,
    rng: &mut (dyn CryptoRng + Send),
) -> ssh_key::Result<Zeroizing<String>> {
    let pair = Ed25519Keypair {
        public: Ed25519PublicKey(*key.public().as_bytes()),
        private: Ed25519PrivateKey::from_bytes(key.seed()),
    };
    let mut salt = vec![0; 16];
    rng.fill_bytes(&mut salt);
    let plain = PrivateKey::new(KeypairData::Ed25519(pair), comment)?;
    plain
        .encrypt_with(Cipher::Aes256Ctr, Kdf::Bcrypt { salt, rounds: ROUNDS }, rng.next_u32(), password)?
        .to_openssh(LineEnding::LF)
}

/// All of a file that nobody but its owner may open.
fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing(path.into()),
        _ => KeyFileError::Io { path: path.into(), source },
    };
    // Asked before opening, because opening a pipe would wait for somebody to write into it.
    let found = fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(KeyFileError::NotAKey(path.into()));
    }
    if found.permissions().mode() & 0o077 != 0 {
        return Err(KeyFileError::LooseMode(path.into()));
    }
    // Room for all of it from the start: a vector that grows leaves copies of an unencrypted key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE));
    let mut file = File::open(path).map_err(failed)?.take(MAX_FILE as u64);
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn why_not(path: &Path, bytes: &[u8], error: &ssh_key::Error) -> KeyFileError {
    const START: &[u8] = b"-----BEGIN OPENSSH PRIVATE KEY-----";
    match error {
        _ if !bytes.trim_ascii_start().starts_with(START) => KeyFileError::NotAKey(path.into()),
        ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
            KeyFileError::WrongType { path: path.into(), found: format!("other than {KEY_TYPE}") }
        }
        _ => KeyFileError::Damaged(path.into()),
    }
}
