//! Where a directory of users is: what an operator writes for it, and what that must not hold.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use url::Url;

/// The port of PostgreSQL where none is named.
const POSTGRES_PORT: u16 = 5432;

/// Where a directory of users is. Written as `sqlite:FILE` or as the URL of a PostgreSQL database, neither of which holds
/// a secret: it may be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A SQLite file, which one machine has to itself.
    Sqlite(PathBuf),
    /// A PostgreSQL database, which several nodes may share.
    Postgres(Box<Address>),
}

/// A PostgreSQL database, and who goes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub(super) user: String,
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) database: String,
    /// The file with the authorities that vouch for the host. Without it nothing is encrypted.
    pub(super) authority: Option<PathBuf>,
}

/// Where PostgreSQL listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// A name or an IP address.
    Network(String),
    /// The folder of its Unix socket.
    Socket(PathBuf),
}

/// Why a text names no place for a directory. Each message goes on where "the setting" stands, and repeats nothing of the
/// text, in which there may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// It is neither of the two.
    #[error(
        "should be \"sqlite:FILE\" or \"postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full&sslrootcert=FILE\"; \
         characters other than letters, digits, - . _ ~ are written as %XX"
    )]
    Unreadable,
    /// There is a password in it.
    #[error(
        "has a password in it, which could end up in a log; take it out, write it into a file that only the server's user \
         may read, and name that with directory_password_file"
    )]
    Password,
    /// It says something that is not understood, and might matter.
    #[error("has a parameter other than sslmode and sslrootcert, or one of them twice; take it out")]
    Parameter,
    /// It has no user, or no database.
    #[error("should say who logs in to PostgreSQL and to which database: \"postgres://USER@HOST:PORT/DATABASE\"")]
    Incomplete,
    /// It is elsewhere, and whoever is on the way could say whose key is whose.
    #[error(
        "names a PostgreSQL on another machine without sslmode=verify-full; with anything less, whoever is on the way there \
         could tell the server whose key is whose"
    )]
    Unprotected,
    /// PostgreSQL's other modes protect nothing that a local connection would need protection from.
    #[error(
        "has an sslmode other than verify-full, and disable where PostgreSQL is on this machine; write one of these"
    )]
    Mode,
    /// There is a Unix socket, and TLS.
    #[error("has sslmode=verify-full and a Unix socket, on which PostgreSQL has no TLS; take out one of them")]
    SocketWithTls,
    /// Nobody is trusted.
    #[error(
        "has sslmode=verify-full and no sslrootcert; name the PEM file of the authority that certified PostgreSQL's host, \
         for one that everybody trusts /etc/ssl/certs/ca-certificates.crt or the like"
    )]
    NoAuthority,
    /// Somebody is to be trusted for nothing.
    #[error("has an sslrootcert, and no sslmode=verify-full that would use it; add that, or take it out")]
    IdleAuthority,
}

impl Location {
    /// This location as it is for a server whose folder is `dir`: from there on a relative path goes.
    #[must_use]
    pub fn within(&self, dir: &Path) -> Self {
        match self {
            Self::Sqlite(file) => Self::Sqlite(dir.join(file)),
            Self::Postgres(address) => {
                let authority = address.authority.as_ref().map(|file| dir.join(file));
                Self::Postgres(Box::new(Address { authority, ..(**address).clone() }))
            }
        }
    }

    /// The text that it is read from.
    pub fn written(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:{}", file.display()),
            Self::Postgres(address) => {
                let Address { user, host, port, database, authority } = &**address;
                let host = match host {
                    Host::Network(_) => host.to_string(),
                    Host::Socket(folder) => escaped(&folder.display().to_string()),
                };
                let authority = authority
                    .as_ref()
                    .map(|file| format!("?sslmode=verify-full&sslrootcert={}", escaped(&file.display().to_string())));
                let (user, database) = (escaped(user), escaped(database));
                format!("postgres://{user}@{host}:{port}/{database}{}", authority.unwrap_or_default())
            }
        }
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        if text.contains(|character: char| character.is_control()) {
            return Err(LocationError::Unreadable);
        }
        if let Some(file) = text.strip_prefix("sqlite:") {
            return if file.is_empty() { Err(LocationError::Unreadable) } else { Ok(Self::Sqlite(file.into())) };
        }
        let url = Url::parse(text).map_err(|_| LocationError::Unreadable)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") || url.fragment().is_some() {
            return Err(LocationError::Unreadable);
        }
        Ok(Self::Postgres(Box::new(Address::from_url(&url)?)))
    }
}

impl Address {
    fn from_url(url: &Url) -> Result<Self, LocationError> {
        let parameters = || url.query_pairs();
        if url.password().is_some() || parameters().any(|(key, _)| key.to_ascii_lowercase().contains("password")) {
            return Err(LocationError::Password);
        }
        let (mut mode, mut authority) = (None, None);
        for (key, value) in parameters() {
            let place = match &*key {
                "sslmode" => &mut mode,
                "sslrootcert" => &mut authority,
                _ => return Err(LocationError::Parameter),
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(LocationError::Parameter);
            }
        }
        let (user, database) = (plain(url.username())?, plain(url.path().trim_start_matches('/'))?);
        let host = url.host_str().unwrap_or_default();
        if user.is_empty() || database.is_empty() || host.is_empty() {
            return Err(LocationError::Incomplete);
        }
        let folder = plain(host)?;
        let host = if folder.starts_with('/') {
            Host::Socket(folder.into())
        } else {
            // An IPv6 address stands in brackets in a URL, and nowhere else.
            Host::Network(host.trim_start_matches('[').trim_end_matches(']').to_owned())
        };
        let is_elsewhere = !host.is_on_this_machine();
        match (mode.as_deref(), &host) {
            (None | Some("disable"), _) if !is_elsewhere => {}
            (Some("verify-full"), Host::Network(_)) => {}
            (Some("verify-full"), Host::Socket(_)) => return Err(LocationError::SocketWithTls),
            _ if is_elsewhere => return Err(LocationError::Unprotected),
            _ => return Err(LocationError::Mode),
        }
        match (mode.as_deref() == Some("verify-full"), authority.as_deref().unwrap_or_default()) {
            (true, "") => return Err(LocationError::NoAuthority),
            (false, file) if !file.is_empty() => return Err(LocationError::IdleAuthority),
            _ => {}
        }
        let (port, authority) = (url.port().unwrap_or(POSTGRES_PORT), authority.map(PathBuf::from));
        Ok(Self { user, host, port, database, authority })
    }
}

impl Host {
    /// Whether nobody is on the way there.
    fn is_on_this_machine(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Network(host) if host.eq_ignore_ascii_case("localhost") => true,
            Self::Network(host) => host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback()),
        }
    }
}

/// What an error or a log calls it.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "{}", file.display()),
            Self::Postgres(address) => write!(f, "{address}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, host, port, database, .. } = self;
        write!(f, "postgres://{user}@{host}:{port}/{database}")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(host) if host.contains(':') => write!(f, "[{host}]"),
            Self::Network(host) => f.write_str(host),
            Self::Socket(folder) => write!(f, "{}", folder.display()),
        }
    }
}

/// What stands in a URL, without its escapes.
fn plain(text: &str) -> Result<String, LocationError> {
    let plain = percent_encoding::percent_decode_str(text).decode_utf8().map_err(|_| LocationError::Unreadable)?;
    if plain.contains(|character: char| character.is_control()) {
        Err(LocationError::Unreadable)
    } else {
        Ok(plain.into_owned())
    }
}

fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, LITERAL).to_string()
}

/// All but what stands for itself anywhere in a URL (RFC 3986 section 2.3).
const LITERAL: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Location, LocationError> {
        text.parse()
    }

    #[test]
    fn what_is_read_is_written_so_that_it_is_read_again() {
        for (text, shown) in [
            ("sqlite:directory.db", "directory.db"),
            ("sqlite:/var/lib/a b?c.db", "/var/lib/a b?c.db"),
            ("postgres://sottovoce@127.0.0.1:5433/chat", "postgres://sottovoce@127.0.0.1:5433/chat"),
            ("postgresql://sottovoce@localhost/chat?sslmode=disable", "postgres://sottovoce@localhost:5432/chat"),
            ("postgres://s%40t@[::1]/c%2Fd", "postgres://s@t@[::1]:5432/c/d"),
            ("postgres://sottovoce@%2Frun%2Fpostgresql:5433/chat", "postgres://sottovoce@/run/postgresql:5433/chat"),
            (
                "postgres://sottovoce@db.example/chat?sslmode=verify-full&sslrootcert=db%20ca.pem",
                "postgres://sottovoce@db.example:5432/chat",
            ),
            (
                "postgres://sottovoce@[2001:db8::1]/chat?sslrootcert=/etc/ca.pem&sslmode=verify-full",
                "postgres://sottovoce@[2001:db8::1]:5432/chat",
            ),
        ] {
            let location = read(text).unwrap();
            assert_eq!(location.to_string(), shown);
            assert_eq!(read(&location.written()), Ok(location), "{text}");
        }
    }

    #[test]
    fn a_relative_path_starts_from_the_folder() {
        let within = |text: &str| read(text).unwrap().within(Path::new("/srv")).written();
        assert_eq!(within("sqlite:directory.db"), "sqlite:/srv/directory.db");
        assert_eq!(within("sqlite:/directory.db"), "sqlite:/directory.db");
        let url = "postgres://u@db.example/d?sslmode=verify-full&sslrootcert=";
        assert!(within(&format!("{url}ca.pem")).ends_with("sslrootcert=%2Fsrv%2Fca.pem"));
        assert!(within(&format!("{url}/ca.pem")).ends_with("sslrootcert=%2Fca.pem"));
    }

    #[test]
    fn what_would_be_unsafe_or_is_not_understood_is_refused_and_not_repeated() {
        use LocationError::{
            IdleAuthority, Incomplete, Mode, NoAuthority, Parameter, Password, SocketWithTls, Unprotected, Unreadable,
        };
        for (text, error) in [
            ("", Unreadable),
            ("directory.db", Unreadable),
            ("sqlite:", Unreadable),
            ("sqlite:a\nb", Unreadable),
            ("mysql://u@localhost/d", Unreadable),
            ("postgres://u@localhost:port/d", Unreadable),
            ("postgres://u@localhost/d#secret", Unreadable),
            ("postgres://u@localhost/d%0A", Unreadable),
            ("postgres://u@/d?host=/run", Unreadable),
            ("postgres://u:secret@localhost/d", Password),
            ("postgres://u:secret@db.example/d?sslmode=verify-full&sslrootcert=ca.pem", Password),
            ("postgres://u@localhost/d?password=secret", Password),
            ("postgres://u@localhost/d?sslPassword=secret", Password),
            ("postgres://u@localhost/d?secret", Parameter),
            ("postgres://u@localhost/d?host=db.example", Parameter),
            ("postgres://u@localhost/d?options=-c%20secret", Parameter),
            ("postgres://u@localhost/d?sslmode=disable&sslmode=verify-full&sslrootcert=ca.pem", Parameter),
            ("postgres://localhost/d", Incomplete),
            ("postgres://u@localhost", Incomplete),
            ("postgres:d", Incomplete),
            ("postgres://u@db.example/d", Unprotected),
            ("postgres://u@db.example/d?sslmode=disable", Unprotected),
            ("postgres://u@db.example/d?sslmode=prefer", Unprotected),
            ("postgres://u@db.example/d?sslmode=require&sslrootcert=ca.pem", Unprotected),
            ("postgres://u@db.example/d?sslmode=verify-ca&sslrootcert=ca.pem", Unprotected),
            ("postgres://u@10.0.0.1/d", Unprotected),
            ("postgres://u@localhost.example/d", Unprotected),
            ("postgres://u@0.0.0.0/d", Unprotected),
            ("postgres://u@[::ffff:10.0.0.1]/d", Unprotected),
            ("postgres://u@localhost/d?sslmode=prefer", Mode),
            ("postgres://u@%2Frun/d?sslmode=verify-full&sslrootcert=ca.pem", SocketWithTls),
            ("postgres://u@db.example/d?sslmode=verify-full", NoAuthority),
            ("postgres://u@db.example/d?sslmode=verify-full&sslrootcert=", NoAuthority),
            ("postgres://u@localhost/d?sslrootcert=ca.pem", IdleAuthority),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
