use std::{sync::Arc, time::Duration};

use identity::{Negotiated, PinFile, UserKey};
use protocol::UserName;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{ErrorCode, Failure};

/// For the TCP connection and the TLS handshake together.
const PATIENCE: Duration = Duration::from_secs(10);

/// All that a client needs to log in: who it is, where it goes, and whom it trusts.
#[derive(Clone)]
pub struct Account {
    /// The user's name on the server.
    pub user: UserName,
    /// The user's unlocked key.
    pub key: Arc<UserKey>,
    /// Host name or IP address of the server, which its certificate must bear.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// From [`identity::client_config`], made with the same key.
    pub tls: Arc<rustls::ClientConfig>,
    /// The keys of people one has talked to.
    pub pins: Arc<PinFile>,
}

/// A TLS connection to a server that has proved to be the one it should be.
pub struct Connection {
    /// The stream, ready for frames.
    pub stream: TlsStream<TcpStream>,
    /// The server's own certificate.
    pub certificate: CertificateDer<'static>,
    /// What was negotiated; never anything but TLS 1.3 with X25519MLKEM768.
    pub negotiated: Negotiated,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoConnection {
    /// Nobody was there, not even for a TCP connection: whoever is back at that address has had no work with the attempt.
    #[error("{0}")]
    Unanswered(Failure),
    /// Somebody was there, and it came to nothing.
    #[error("{0}")]
    Failed(Failure),
}

/// Connects to the account's server.
///
/// # Errors
/// `unreachable` when there is no connection to be had, `untrusted_server` when the server has no certificate for its
/// name from the right authority, `protocol` when it does not speak this protocol.
pub async fn connect(account: &Account) -> Result<Connection, NoConnection> {
    let mut is_answered = false;
    attempt(account, &mut is_answered).await.map_err(match is_answered {
        true => NoConnection::Failed,
        false => NoConnection::Unanswered,
    })
}

/// Notes whether the TCP connection stood.
async fn attempt(account: &Account, is_answered: &mut bool) -> Result<Connection, Failure> {
    let (host, port) = (account.host.as_str(), account.port);
    let unreachable = |what: &dyn std::fmt::Display| {
        let message = format!(
            "{host}:{port} cannot be reached ({what}); check the address, the network, and that the server runs"
        );
        Failure::new(ErrorCode::Unreachable, message)
    };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::new(ErrorCode::Unreachable, format!("{host:?} is no host name and no IP address")))?;
    let attempt = async {
        let socket = TcpStream::connect((host, port)).await.map_err(|error| unreachable(&error))?;
        *is_answered = true;
        socket.set_nodelay(true).map_err(|error| unreachable(&error))?;
        let connector = TlsConnector::from(account.tls.clone());
        connector.connect(name, socket).await.map_err(|error| tls_failure(&error, host, port))
    };
    let stream = timeout(PATIENCE, attempt).await.map_err(|_| unreachable(&"no answer in time"))??;
    let negotiated =
        identity::negotiated(stream.get_ref().1).map_err(|error| Failure::new(ErrorCode::Protocol, error))?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
    let certificate =
        certificate.ok_or_else(|| Failure::new(ErrorCode::UntrustedServer, "the server showed no certificate"))?;
    Ok(Connection { stream, certificate, negotiated })
}

fn tls_failure(error: &std::io::Error, host: &str, port: u16) -> Failure {
    match identity::tls_error(error) {
        Some(tls) if identity::is_untrusted(tls) => Failure::new(
            ErrorCode::UntrustedServer,
            format!(
                "{host}:{port} could not prove that it is your server ({tls}); if its operator has given out a new \
                 ca.pem, put it into your profile, otherwise somebody may stand between you and the server"
            ),
        ),
        Some(tls) => Failure::new(
            ErrorCode::Protocol,
            format!(
                "{host}:{port} does not speak this program's protocol ({tls}); check the address and both versions"
            ),
        ),
        None => Failure::new(
            ErrorCode::Unreachable,
            format!(
                "{host}:{port} ended the connection before it stood ({error}); check that it is a Sottovoce server; one \
                 that is full, or gets too many connections from your address, does that as well, so try again later"
            ),
        ),
    }
}
