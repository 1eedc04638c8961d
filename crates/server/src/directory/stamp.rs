use std::{
    fs::Metadata,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

/// How long ago the last change has to be: longer than the times that file systems tell changes apart by, of which the
/// coarsest in use has two seconds.
const SETTLED: Duration = Duration::from_secs(3);

/// What the directory's files look like from outside. As long as that stays the same nobody has written to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    database: File,
    /// The write-ahead log, if there is one.
    log: Option<File>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File {
    inode: (u64, u64),
    length: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of these files at `now`; `None` if they were written to so lately that another change need not show, or in what
    /// seems to be the future.
    ///
    /// # Errors
    /// The system's, when it does not tell.
    pub(super) fn of(database: &Path, log: &Path, now: SystemTime) -> io::Result<Option<Self>> {
        let database = std::fs::metadata(database)?;
        let log = match std::fs::metadata(log) {
            Ok(log) => Some(log),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let is_settled = |file: &Metadata| {
            let since = now.duration_since(file.modified()?).unwrap_or_default();
            io::Result::Ok(since > SETTLED)
        };
        if !is_settled(&database)? || !log.as_ref().map_or(Ok(true), is_settled)? {
            return Ok(None);
        }
        Ok(Some(Self { database: File::of(&database), log: log.as_ref().map(File::of) }))
    }

    #[cfg(test)]
    pub(crate) fn for_tests(length: u64) -> Self {
        let database = File { inode: (0, 0), length, modified: (0, 0), changed: (0, 0) };
        Self { database, log: None }
    }
}

impl File {
    fn of(file: &Metadata) -> Self {
        Self {
            inode: (file.dev(), file.ino()),
            length: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_stamp_changes_with_every_write_and_there_is_none_soon_after_one() {
        let dir = tempfile::tempdir().unwrap();
        let (database, log) = (dir.path().join("d"), dir.path().join("d-wal"));
        fs::write(&database, "one").unwrap();
        let written = fs::metadata(&database).unwrap().modified().unwrap();
        let after = |seconds| written.checked_add(Duration::from_secs(seconds)).unwrap();
        let stamp = |now| Stamp::of(&database, &log, now).unwrap();
        assert_eq!(stamp(after(0)), None);
        assert_eq!(stamp(after(3)), None);
        assert_eq!(stamp(written.checked_sub(Duration::from_secs(9)).unwrap()), None, "a clock that was put back");
        let first = stamp(after(60));
        assert!(first.is_some());
        assert_eq!(stamp(after(90)), first);
        // The same length: it is the time that tells. The system's own has to move on before it does.
        while fs::metadata(&database).unwrap().modified().unwrap() == written {
            fs::write(&database, "two").unwrap();
        }
        let second = stamp(after(60));
        assert!(second.is_some() && second != first);
        fs::write(&log, "").unwrap();
        assert!(stamp(after(60)).is_some_and(|third| Some(third) != second));
        fs::remove_file(&database).unwrap();
        assert!(Stamp::of(&database, &log, after(60)).is_err());
    }
}
