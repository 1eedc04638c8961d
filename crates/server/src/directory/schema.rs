//! How the schema came to be what it is: step by step, so that a directory of any earlier version can follow.

/// The version that this program reads and writes.
pub(super) const SCHEMA_VERSION: i64 = 1;

/// What leads from each version to the next, the first from an empty directory to version 1. A step that has been
/// released is never changed: another follows it.
pub(super) struct Steps(pub(super) &'static [&'static str]);

/// How a directory of some version stands to the steps.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has taken all of them.
    UpToDate,
    /// These are left, in this order.
    Behind(&'static [&'static str]),
    /// It has taken steps that this program does not know.
    Ahead,
    /// There is no such version.
    Nowhere,
}

impl Steps {
    /// The version that they all lead to.
    pub(super) fn version(&self) -> i64 {
        i64::try_from(self.0.len()).unwrap_or(i64::MAX)
    }

    pub(super) fn from(&self, version: i64) -> Progress {
        match usize::try_from(version).map(|taken| self.0.get(taken..)) {
            Ok(Some([])) => Progress::UpToDate,
            Ok(Some(left)) => Progress::Behind(left),
            Ok(None) => Progress::Ahead,
            Err(_) => Progress::Nowhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_behind_takes_the_steps_that_are_left() {
        let steps = Steps(&["one", "two", "three"]);
        assert_eq!(steps.version(), 3);
        assert_eq!(steps.from(0), Progress::Behind(&["one", "two", "three"]));
        assert_eq!(steps.from(2), Progress::Behind(&["three"]));
        assert_eq!(steps.from(3), Progress::UpToDate);
        assert_eq!(steps.from(4), Progress::Ahead);
        assert_eq!(steps.from(i64::MAX), Progress::Ahead);
        assert_eq!(steps.from(-1), Progress::Nowhere);
    }
}
