//! Files with a secret in them, which nobody but their owner may open.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// Bytes that are read of one: more than any such file has.
const MOST: u64 = 64 * 1024;
const OTHERS: u32 = 0o077;

/// Why a file with a secret is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read, or is no text.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is a folder, or a device.
    #[error("{} cannot be read: it is no file", .0.display())]
    NotAFile(PathBuf),
    /// Others may open it.
    #[error("{} may be opened by other users, and there is a secret in it; only its owner should: `chmod 600` it", .0.display())]
    Exposed(PathBuf),
}

/// The text of the file at `path`, up to 64 KiB.
///
/// # Errors
/// [`SecretFileError`] when it cannot be read, or by others as well.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    let unreadable = |source| SecretFileError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    // Of what was opened, and not of what has the name by then.
    let found = file.metadata().map_err(unreadable)?;
    if !found.is_file() {
        return Err(SecretFileError::NotAFile(path.to_owned()));
    }
    if found.permissions().mode() & OTHERS != 0 {
        return Err(SecretFileError::Exposed(path.to_owned()));
    }
    // It never grows: what it grew out of would stay in memory.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(MOST).unwrap_or_default()));
    file.take(MOST).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}
