//! A server's folder: what lies in it under which name, and how it is made.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use identity::{CertificateError, TlsError};
use protocol::ServerName;
use rustls::{
    RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    pki_types::{CertificateDer, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use zeroize::Zeroizing;

use crate::{
    config::Config,
    directory::{Directory, DirectoryError, Location},
};

/// The certificate of the server's own authority, which its users' clients need.
pub fn ca_path(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

/// The private key of the server's own authority.
pub fn ca_key_path(dir: &Path) -> PathBuf {
    dir.join("ca.key")
}

/// The server's certificate chain, its own certificate first.
pub fn certificate_path(dir: &Path) -> PathBuf {
    dir.join("server.pem")
}

/// The server's private key.
pub fn key_path(dir: &Path) -> PathBuf {
    dir.join("server.key")
}

/// What [`Config::load`] reads.
pub fn config_path(dir: &Path) -> PathBuf {
    dir.join("server.toml")
}

/// Where the directory is, unless the configuration says otherwise.
pub fn directory_path(dir: &Path) -> PathBuf {
    dir.join("directory.db")
}

/// Why a server's folder was not made. Nothing is left behind of what was begun.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Some of the files are there already.
    #[error("nothing was made, so as not to overwrite {}; give another --dir, or move away what is there", listed(.0))]
    Exists(Vec<PathBuf>),
    /// Others could exchange the files in the folder.
    #[error(
        "{} may be written by other users, who could put their own keys there; `chmod go-w` it, or give another --dir",
        .0.display()
    )]
    Exposed(PathBuf),
    /// The system does not let a file or the folder be made.
    #[error("{} cannot be made: {source}", path.display())]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that was named does not let itself be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Of the certificate and key that were named, one is none, or they do not belong together.
    #[error("{} and {} are of no use as they are: {source}", certificate.display(), key.display())]
    Unusable {
        /// The certificate chain.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
        /// What is wrong with them.
        source: TlsError,
    },
    /// The certificate that was named is somebody else's.
    #[error(
        "{} is not for {host}, and clients would refuse it; get one that is, or give as --host the name that it is for",
        certificate.display()
    )]
    NotForHost {
        /// The certificate chain.
        certificate: PathBuf,
        /// Whom it should be for.
        host: ServerName,
    },
    /// No client would take the certificate that was named: it is no server's, or not valid now.
    #[error("clients would refuse {}: {reason}; get another, or set this machine's clock right", certificate.display())]
    Refused {
        /// The certificate chain.
        certificate: PathBuf,
        /// What a client would say.
        reason: rustls::Error,
    },
    /// There is no certificate for such a host.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The directory of users was not made.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Opens the directory of the server whose folder is `dir`, where its configuration says that it is.
///
/// # Errors
/// [`DirectoryError`], within seconds.
pub async fn open_directory(dir: &Path, config: &Config) -> Result<Directory, DirectoryError> {
    let password = config.directory_password_file.as_ref().map(|file| dir.join(file));
    Directory::open_at(&config.directory.within(dir), password.as_deref()).await
}

/// What [`init_as`] has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The files in it, of which the directory may be one.
    pub files: Vec<PathBuf>,
    /// Whether the directory is new. Otherwise it had been made by another node, and has its users.
    pub has_new_directory: bool,
}

/// [`init_as`], with all settings at their defaults.
///
/// # Errors
/// [`SetupError`]; nothing that was there before is changed, and nothing new is left.
pub async fn init(
    dir: &Path,
    host: &ServerName,
    certificate: Option<(PathBuf, PathBuf)>,
    now: SystemTime,
) -> Result<Vec<PathBuf>, SetupError> {
    Ok(init_as(dir, &Config::new(host.clone()), certificate, now).await?.files)
}

/// Makes the folder of a server with this configuration.
///
/// In it are the certificate and key of a new authority for the server's name alone, the certificate and key of the server,
/// its configuration with all defaults, and an empty directory of users, unless the configuration has that elsewhere. Files
/// are their owner's alone, but for the certificates, which anybody may read; so is the folder, if it is new.
///
/// With `certificate` (the paths of a chain and of its private key, both PEM) no authority is made: the two are
/// copied once it is sure that they belong together, and that the certificate is for the server's name, for servers and
/// valid at `now`. There is no `ca.pem` then: clients trust the roots of their system, or the file that the operator gives
/// them from whoever issued the certificate. Whether they trust the issuer is for them to find out.
///
/// # Errors
/// [`SetupError`]; nothing that was there before is changed, and nothing new is left.
pub async fn init_as(
    dir: &Path,
    config: &Config,
    certificate: Option<(PathBuf, PathBuf)>,
    now: SystemTime,
) -> Result<Folder, SetupError> {
    let host = &config.name;
    let mut files = vec![(config_path(dir), OWNER_ALONE, Zeroizing::new(config.written().into_bytes()))];
    match certificate {
        Some((certificate, key)) => {
            let (chain_pem, key_pem) = (read(&certificate)?, read(&key)?);
            identity::server_config(&chain_pem, &key_pem).map_err(|source| SetupError::Unusable {
                certificate: certificate.clone(),
                key,
                source,
            })?;
            check_certificate(&certificate, &chain_pem, host, now)?;
            files.push((certificate_path(dir), ANYBODY_MAY_READ, chain_pem));
            files.push((key_path(dir), OWNER_ALONE, key_pem));
        }
        None => {
            let authority = identity::make_authority(host, now)?;
            let (chain_pem, key_pem) = identity::issue(&authority, host, now)?;
            files.push((ca_path(dir), ANYBODY_MAY_READ, bytes(authority.certificate_pem.as_str())));
            files.push((ca_key_path(dir), OWNER_ALONE, bytes(&authority.key_pem)));
            files.push((certificate_path(dir), ANYBODY_MAY_READ, bytes(&chain_pem)));
            files.push((key_path(dir), OWNER_ALONE, bytes(&key_pem)));
        }
    }
    let location = config.directory.within(dir);
    let database = match &location {
        Location::Sqlite(file) => Some(file.clone()),
        Location::Postgres(_) => None,
    };
    check_nothing_is_there(files.iter().map(|(path, ..)| path.clone()).chain(database.clone()))?;

    let mut made = Made::default();
    made.folder(dir)?;
    for (path, mode, content) in &files {
        made.file(dir, path, *mode, content)?;
    }
    let password = config.directory_password_file.as_ref().map(|file| dir.join(file));
    let (directory, has_new_directory) = Directory::create_at(&location, password.as_deref()).await?;
    made.files.extend(database);
    directory.close().await;
    // The names of the files last, once all that they stand for is on the disk.
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| unwritable(dir, source))?;
    Ok(Folder { files: made.keep(), has_new_directory })
}

const ANYBODY_MAY_READ: u32 = 0o644;
const OWNER_ALONE: u32 = 0o600;
const FOLDER: u32 = 0o700;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// What has been made so far, and is taken away again unless it is kept.
#[derive(Default)]
struct Made {
    folder: Option<PathBuf>,
    files: Vec<PathBuf>,
}

impl Made {
    fn folder(&mut self, dir: &Path) -> Result<(), SetupError> {
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            fs::create_dir_all(parent).map_err(|source| unwritable(parent, source))?;
        }
        match DirBuilder::new().mode(FOLDER).create(dir) {
            Ok(()) => self.folder = Some(dir.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = fs::metadata(dir).map_err(|source| unwritable(dir, source))?;
                if !found.is_dir() {
                    return Err(unwritable(dir, error));
                }
                if found.permissions().mode() & WRITABLE_BY_OTHERS != 0 {
                    return Err(SetupError::Exposed(dir.to_owned()));
                }
            }
            Err(error) => return Err(unwritable(dir, error)),
        }
        Ok(())
    }

    /// Makes a file that is there with all of its content, or not at all, and never in the place of another.
    fn file(&mut self, dir: &Path, path: &Path, mode: u32, content: &[u8]) -> Result<(), SetupError> {
        let write = || {
            let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
            file.write_all(content)?;
            file.as_file().set_permissions(Permissions::from_mode(mode))?;
            file.as_file().sync_all()?;
            file.persist_noclobber(path).map_err(|error| error.error)
        };
        write().map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => SetupError::Exists(vec![path.to_owned()]),
            _ => unwritable(path, source),
        })?;
        self.files.push(path.to_owned());
        Ok(())
    }

    fn keep(mut self) -> Vec<PathBuf> {
        self.folder = None;
        std::mem::take(&mut self.files)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Why it failed is worth more than why it could not be cleared away; a folder that is not empty stays.
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Refuses a certificate that no client would accept, whomever it trusts.
fn check_certificate(path: &Path, chain_pem: &[u8], host: &ServerName, now: SystemTime) -> Result<(), SetupError> {
    let refused = |reason| SetupError::Refused { certificate: path.to_owned(), reason };
    let unreadable = || refused(rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding));
    let certificate = CertificateDer::from_pem_slice(chain_pem).map_err(|_| unreadable())?;
    let certificate = ParsedCertificate::try_from(&certificate).map_err(refused)?;

    let name = identity::subject(host).ok_or_else(|| CertificateError::BadHost(host.clone()))?;
    verify_server_name(&certificate, &name)
        .map_err(|_| SetupError::NotForHost { certificate: path.to_owned(), host: host.clone() })?;

    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| CertificateError::BadTime)?;
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let nobody = RootCertStore::empty();
    let now = UnixTime::since_unix_epoch(now);
    match verify_server_cert_signed_by_trust_anchor(&certificate, &nobody, &[], now, algorithms) {
        // Trusting nobody, this is the best that can be said of a certificate.
        Ok(()) | Err(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => Ok(()),
        Err(reason) => Err(refused(reason)),
    }
}

fn check_nothing_is_there(paths: impl Iterator<Item = PathBuf>) -> Result<(), SetupError> {
    // A link that leads nowhere is something, too.
    let there: Vec<_> = paths.filter(|path| fs::symlink_metadata(path).is_ok()).collect();
    if there.is_empty() { Ok(()) } else { Err(SetupError::Exists(there)) }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SetupError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(source) => Err(SetupError::Unreadable { path: path.to_owned(), source }),
    }
}

fn bytes(text: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(text.as_bytes().to_vec())
}

fn unwritable(path: &Path, source: io::Error) -> SetupError {
    SetupError::Unwritable { path: path.to_owned(), source }
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
