use std::fmt;

/// Why the program ends with exit code 1: one line that says what happened and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string())
    }
}

macro_rules! from {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(error)
            }
        }
    )*};
}
from!(
    client::Failure,
    identity::KeyFileError,
    identity::PinError,
    identity::PublicLineError,
    identity::TlsError,
    protocol::NameError,
    ::server::BindError,
    ::server::cluster::ClusterError,
    ::server::config::ConfigError,
    ::server::directory::DirectoryError,
    ::server::operator::status::StatusError,
    ::server::setup::SetupError
);
