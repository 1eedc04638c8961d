//! Why there is no figure: a run in which something went wrong is not reported.

use std::{io, path::PathBuf};

/// What went wrong in a run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Messages that were sent have not come, and will not.
    #[error("the server lost messages: {missing} of those that were sent have not come")]
    Missing {
        /// How many.
        missing: u64,
    },
    /// A message came before one that was sent earlier, which is lost or out of order.
    #[error("the server lost or reordered a message: number {got} came where {expected} should have")]
    Gap {
        /// The number that should have come, counted from 0 in each direction of a pair.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// A message came that had come before.
    #[error("the server repeated a message: number {got} came again where {expected} should have")]
    Repeated {
        /// The number that should have come.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// A message is not as it was sent.
    #[error(
        "the server changed a message: it has {bytes} bytes and no number, or another length than it was sent with"
    )]
    Mangled {
        /// Bytes that came.
        bytes: usize,
    },
    /// A user did not get in.
    #[error("user {user} did not get in: {why}")]
    LogIn {
        /// The number of the user.
        user: u64,
        /// What came instead.
        why: Box<Fault>,
    },
    /// The server does not keep to its protocol, or refuses something.
    #[error("the server said something else than it should: {0}")]
    Said(String),
    /// Nothing came for too long.
    #[error("the server did not answer in time")]
    Silent,
    /// The server ended a connection.
    #[error("the server ended a connection")]
    Closed,
    /// A connection failed.
    #[error("a connection failed: {0}")]
    Io(#[from] io::Error),
    /// TLS failed.
    #[error("TLS failed: {0}")]
    Tls(#[from] rustls::Error),
    /// A file cannot be read, written or understood.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A program cannot be started, or failed.
    #[error("{program}: {why}")]
    Program {
        /// The program.
        program: String,
        /// What is wrong with it.
        why: String,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Asked(String),
}

impl Fault {
    /// A file at `path` that is not as it should be.
    pub(crate) fn file(path: impl Into<PathBuf>, why: impl ToString) -> Self {
        Self::File { path: path.into(), why: why.to_string() }
    }

    /// A program that does not do what it should.
    pub(crate) fn program(program: impl Into<String>, why: impl ToString) -> Self {
        Self::Program { program: program.into(), why: why.to_string() }
    }
}
