//! Where the router's server is, and how a node proves to it who it is.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use async_nats::{ConnectOptions, ServerAddr};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use zeroize::Zeroizing;

use super::ClusterError;
use crate::{config::Config, secret_file};

/// Between two looks at whether the connection still stands; after two that were not answered it does not.
const PING: Duration = Duration::from_secs(2);
/// For a connection to one of the servers.
const CONNECT: Duration = Duration::from_secs(3);
/// For the answer to a request.
const REQUEST: Duration = Duration::from_secs(3);
/// Words that may wait to be heard.
const UNHEARD: usize = 65_536;
/// What a file with credentials for NATS starts with, as its tools make it.
const CREDENTIALS: &str = "-----BEGIN NATS USER JWT-----";

/// Which router a server has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RouterSetting {
    /// All users are in this process.
    #[default]
    Local,
    /// Several nodes share their users through these NATS servers, of which one has to be reached.
    Nats(Vec<NatsServer>),
}

/// The address of a NATS server.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsServer {
    text: String,
    host: String,
    is_tls: bool,
}

/// Why a setting names no router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARouter {
    /// It is neither word nor address.
    #[error(
        "should be \"local\", or the address of a NATS server, such as \"nats://10.0.0.5:4222\"; of several, with commas between them"
    )]
    Other,
    /// It has a secret in it.
    #[error(
        "has a user or password in an address, where others may get to see it; put them into a file that only the server can read, and name that as router_credentials"
    )]
    Secret,
}

impl FromStr for RouterSetting {
    type Err = NotARouter;

    fn from_str(text: &str) -> Result<Self, NotARouter> {
        if text == "local" {
            return Ok(Self::Local);
        }
        text.split(',').map(|server| server.trim().parse()).collect::<Result<_, _>>().map(Self::Nats)
    }
}

impl fmt::Display for RouterSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Nats(servers) => {
                for (place, server) in servers.iter().enumerate() {
                    write!(f, "{}{}", if place > 0 { "," } else { "" }, server.text)?;
                }
                Ok(())
            }
        }
    }
}

impl FromStr for NatsServer {
    type Err = NotARouter;

    fn from_str(text: &str) -> Result<Self, NotARouter> {
        let is_tls = match text.split_once("://") {
            Some(("nats", _)) => false,
            Some(("tls", _)) => true,
            _ => return Err(NotARouter::Other),
        };
        let address: ServerAddr = text.parse().map_err(|_| NotARouter::Other)?;
        if address.username().is_some() || address.password().is_some() || text.contains('@') {
            return Err(NotARouter::Secret);
        }
        if address.host().is_empty() {
            return Err(NotARouter::Other);
        }
        Ok(Self { text: text.to_owned(), host: address.host().to_owned(), is_tls })
    }
}

impl fmt::Debug for NatsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl NatsServer {
    /// Whether what goes there leaves this machine.
    fn is_elsewhere(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host != "localhost" && !host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

/// What a node needs to be one of several.
pub struct Settings {
    servers: Vec<NatsServer>,
    /// What the names of all that is the nodes' start with on the NATS server.
    pub(super) cluster: String,
    /// How many NATS servers keep what stands in the bucket.
    pub(super) replicas: usize,
    /// The name of the server that all nodes are.
    pub(super) name: protocol::ServerName,
    tls: Option<rustls::ClientConfig>,
    credentials: Option<Credentials>,
}

enum Credentials {
    File(Zeroizing<String>),
    Password { user: String, password: Zeroizing<String> },
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("servers", &self.servers)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// What the configuration says of other nodes, with the files that it names, which are looked for in `dir`. `None` if
    /// there are none.
    ///
    /// # Errors
    /// [`ClusterError`] when one of the files is of no use.
    pub fn of(config: &Config, dir: &Path) -> Result<Option<Self>, ClusterError> {
        let RouterSetting::Nats(servers) = &config.router else {
            return Ok(None);
        };
        let file = |path: &Option<PathBuf>| path.as_ref().map(|path| dir.join(path));
        let ca = file(&config.router_ca);
        let is_tls = ca.is_some() || servers.iter().any(|server| server.is_tls || server.is_elsewhere());
        Ok(Some(Self {
            servers: servers.clone(),
            cluster: config.cluster.clone(),
            replicas: config.router_replicas,
            name: config.name.clone(),
            tls: if is_tls { Some(tls(ca.as_deref())?) } else { None },
            credentials: file(&config.router_credentials).as_deref().map(credentials).transpose()?,
        }))
    }

    /// The addresses, for people.
    pub(super) fn servers(&self) -> String {
        RouterSetting::Nats(self.servers.clone()).to_string()
    }

    pub(super) fn addresses(&self) -> Vec<ServerAddr> {
        self.servers.iter().filter_map(|server| server.text.parse().ok()).collect()
    }

    pub(super) fn options(&self) -> Result<ConnectOptions, ClusterError> {
        let mut options = ConnectOptions::new()
            .name("sottovoce")
            .connection_timeout(CONNECT)
            .request_timeout(Some(REQUEST))
            .ping_interval(PING)
            .subscription_capacity(UNHEARD)
            // Each server is tried once. An attachment lasts as long as its connection: what got lost between two could not
            // be told.
            .max_reconnects(self.servers.len())
            // Only where the operator has said that there is one.
            .ignore_discovered_servers()
            .custom_inbox_prefix(format!("{}.inbox", self.cluster));
        if let Some(tls) = &self.tls {
            options = options.require_tls(true).tls_client_config(tls.clone());
        }
        match &self.credentials {
            None => Ok(options),
            Some(Credentials::File(text)) => options.credentials(text).map_err(|_| ClusterError::Credentials),
            Some(Credentials::Password { user, password }) => {
                Ok(options.user_and_password(user.clone(), password.to_string()))
            }
        }
    }
}

/// TLS 1.3 alone, and trust in the authority whose certificate the operator has given, or else in the system's.
fn tls(ca: Option<&Path>) -> Result<rustls::ClientConfig, ClusterError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let bad = |reason: String| ClusterError::Authority { path: path.to_owned(), reason };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| bad(error.to_string()))?;
                roots.add(certificate).map_err(|error| bad(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(bad("it has no certificate in it".to_owned()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| ClusterError::Authority { path: PathBuf::new(), reason: error.to_string() })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A file that NATS's tools made, or one of two lines, user and password.
fn credentials(path: &Path) -> Result<Credentials, ClusterError> {
    let text = secret_file::read(path)?;
    if text.trim_start().starts_with(CREDENTIALS) {
        return Ok(Credentials::File(text));
    }
    match text.lines().collect::<Vec<_>>().as_slice() {
        [user, password] if !user.is_empty() && !password.is_empty() => {
            Ok(Credentials::Password { user: (*user).to_owned(), password: Zeroizing::new((*password).to_owned()) })
        }
        _ => Err(ClusterError::NotCredentials(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_is_local_or_nats_and_has_no_secret_in_it() {
        assert_eq!("local".parse(), Ok(RouterSetting::Local));
        for text in ["nats://10.0.0.5:4222", "tls://a.example:4222,nats://127.0.0.1:1", "nats://[::1]:4222"] {
            assert_eq!(text.parse::<RouterSetting>().unwrap().to_string(), text);
        }
        for text in ["", "nats", "nats://", "http://a:1", "10.0.0.5:4222", "nats://a:1,", "nats://a:x"] {
            assert_eq!(text.parse::<RouterSetting>(), Err(NotARouter::Other), "{text}");
        }
        for text in ["nats://me:secret@a:4222", "nats://token@a:4222"] {
            assert_eq!(text.parse::<RouterSetting>(), Err(NotARouter::Secret));
        }
    }

    #[test]
    fn what_leaves_the_machine_is_encrypted() {
        let is_encrypted = |router: &str| {
            let mut config = Config::new("chat.example".parse().unwrap());
            config.router = router.parse().unwrap();
            Settings::of(&config, Path::new("/")).unwrap().unwrap().tls.is_some()
        };
        let elsewhere = ["nats://10.0.0.5:1", "nats://nats.example:1", "nats://[2001:db8::1]:1"];
        assert!(elsewhere.into_iter().all(is_encrypted));
        assert!(is_encrypted("nats://127.0.0.1:1,nats://10.0.0.5:1") && is_encrypted("tls://127.0.0.1:1"));
        assert!(!["nats://127.0.0.1:1", "nats://localhost:1", "nats://[::1]:1"].into_iter().any(is_encrypted));
    }
}
