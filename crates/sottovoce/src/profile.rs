//! A profile: the directory that holds one person's key, name, server and pins.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use client::{ErrorCode, Failure};
use identity::Roots;
use serde::Deserialize;

use crate::face;

/// A profile as its files describe it.
#[derive(Clone)]
pub(crate) struct Profile {
    dir: PathBuf,
    settings: Settings,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    name: String,
    server: Option<String>,
    ca: Option<PathBuf>,
    #[serde(default = "wanted")]
    bell: bool,
    #[serde(default = "wanted")]
    notifications: bool,
}

/// What is wanted unless it is said not to be.
fn wanted() -> bool {
    true
}

impl Profile {
    /// Reads `profile.toml` in `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join("profile.toml");
        let bad =
            |what: &dyn std::fmt::Display| Failure::new(ErrorCode::BadFile, format_args!("{}: {what}", path.display()));
        for file in [dir, &path, &dir.join("ca.pem"), &dir.join("pins")] {
            refuse_exposed(file)?;
        }
        let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => bad(&"there is no such profile; `sottovoce keygen` makes one"),
            _ => bad(&error),
        })?;
        let settings = toml::from_str(&text).map_err(|error| bad(&error.message()))?;
        Ok(Self { dir: dir.to_owned(), settings })
    }

    /// The user's name; empty if the profile has none.
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    /// The server's address as it stands there; empty if there is none.
    pub(crate) fn address(&self) -> &str {
        self.settings.server.as_deref().unwrap_or_default()
    }

    /// How the full-screen face may call for attention.
    pub(crate) fn attention(&self) -> face::Settings {
        face::Settings { bell: self.settings.bell, notices: self.settings.notifications }
    }

    /// Host and port of the server.
    pub(crate) fn server(&self) -> Result<(String, u16), Failure> {
        let missing = "says no server; add a line such as server = \"chat.example:7478\"";
        let bad = |what: &str| {
            Failure::new(ErrorCode::BadFile, format_args!("{} {what}", self.dir.join("profile.toml").display()))
        };
        let address = self.settings.server.as_deref().ok_or_else(|| bad(missing))?;
        parse_address(address).ok_or_else(|| bad("has a server that is not HOST:PORT"))
    }

    /// The authorities that may vouch for the server: the profile's, or the system's if it names none.
    pub(crate) fn roots(&self) -> Result<Roots, Failure> {
        let Some(ca) = &self.settings.ca else {
            return Ok(Roots::System);
        };
        let path = self.dir.join(ca);
        let unreadable =
            |error| Failure::new(ErrorCode::BadFile, format_args!("{} cannot be read: {error}", path.display()));
        // It may be anywhere, also by a link.
        let real = path.canonicalize().map_err(unreadable)?;
        for exposed in [real.as_path()].into_iter().chain(real.parent()) {
            refuse_exposed(exposed)?;
        }
        let pem = std::fs::read(&real).map_err(unreadable)?;
        Ok(Roots::Pem(pem))
    }

    /// The key file.
    pub(crate) fn key_path(&self) -> PathBuf {
        self.dir.join("key")
    }

    /// The pins.
    pub(crate) fn pins(&self) -> identity::PinFile {
        identity::PinFile::new(self.dir.join("pins"))
    }
}

/// Refuses a file or directory that others could change: whoever can exchange the authority or the pins can stand
/// between the user and everybody else.
pub(crate) fn refuse_exposed(path: &Path) -> Result<(), Failure> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o022 != 0 => Err(Failure::new(
            ErrorCode::BadFile,
            format_args!("{0} can be changed by others than its owner; `chmod go-w {0}` ends that", path.display()),
        )),
        // What is not there, or cannot be seen, is the reader's to tell.
        _ => Ok(()),
    }
}

/// Cuts `HOST:PORT`, where an IPv6 address stands in brackets.
pub(crate) fn parse_address(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let fits = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'));
    (!host.is_empty() && fits).then(|| (host.to_owned(), port))
}

/// What `profile.toml` says, written out for a new profile.
pub(crate) fn settings(name: &protocol::UserName, server: Option<&str>, has_ca: bool) -> String {
    let server = match server {
        Some(server) => format!("server = {}", toml::Value::from(server)),
        None => "# server = \"chat.example:7478\"".to_owned(),
    };
    let ca = if has_ca { "ca = \"ca.pem\"" } else { "# ca = \"ca.pem\"" };
    format!(
        "# Your name on the server.\nname = \"{name}\"\n\n\
         # The server, as HOST:PORT. HOST must be a name on its certificate.\n{server}\n\n\
         # The authority that vouches for the server, a file beside this one. Without this line: the system's authorities.\n{ca}\n\n\
         # Whether the full-screen face may ring the terminal's bell, and ask it for desktop notifications.\n\
         bell = true\nnotifications = true\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(parse_address("chat.example:7478"), Some(("chat.example".into(), 7478)));
        assert_eq!(parse_address("[::1]:7478"), Some(("::1".into(), 7478)));
        for bad in [
            "chat.example",
            ":7478",
            "chat.example:",
            "chat.example:0",
            "::1:7478",
            "[::1:7478",
            "a:65536",
            "a\"b:1",
            "a\nb:1",
        ] {
            assert_eq!(parse_address(bad), None, "{bad}");
        }
    }
}
