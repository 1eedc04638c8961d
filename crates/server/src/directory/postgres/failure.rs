//! Whose doing it is that PostgreSQL did not do what was asked.

use std::io::ErrorKind;

use crate::directory::{error::DirectoryError, location::Location};

/// Tells apart what an operator can do something about, by PostgreSQL's code
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>) or by what the network says.
pub(super) fn of(location: &Location, source: sqlx::Error) -> DirectoryError {
    let location = location.clone();
    match &source {
        // What rustls says of a handshake comes as an error of the connection that it was to protect.
        sqlx::Error::Io(error) if error.get_ref().is_some_and(|error| error.is::<rustls::Error>()) => {
            DirectoryError::Untrusted { location, source }
        }
        sqlx::Error::Tls(_) => DirectoryError::Untrusted { location, source },
        sqlx::Error::Io(error) if error.kind() == ErrorKind::PermissionDenied => {
            DirectoryError::NotAllowed { location, source }
        }
        sqlx::Error::Io(_) => DirectoryError::Unreachable { location, source },
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default().into_owned();
            match code.as_str() {
                "3D000" => DirectoryError::NoDatabase(location),
                "42501" => DirectoryError::NotAllowed { location, source },
                "25006" => DirectoryError::Standby(location),
                // Another holds the lock; this took too long.
                "55P03" | "57014" => DirectoryError::Busy(location),
                // Too many connections; shutting down, crashed, starting up.
                "53300" | "57P01" | "57P02" | "57P03" => DirectoryError::Unreachable { location, source },
                _ => match code.get(..2) {
                    Some("08") => DirectoryError::Unreachable { location, source },
                    Some("28") => DirectoryError::Refused { location, source },
                    _ => DirectoryError::Failed { location, source },
                },
            }
        }
        _ => DirectoryError::Failed { location, source },
    }
}
