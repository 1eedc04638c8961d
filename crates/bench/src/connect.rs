//! TLS 1.3 between the load generator and a server, in four ways: with X25519MLKEM768 or X25519, and with raw public
//! keys of clients or without. Both choices of the relay come from the same code as the relay's own.

use std::{net::SocketAddr, sync::Arc};

use identity::{Roots, UserKey, client_config, client_verifier, server_config};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::NoServerSessionStorage,
    version::TLS13,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{fault::Fault, wire::Line};

/// The name that stands on all servers' certificates.
pub(crate) const HOST: &str = "localhost";

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    /// X25519MLKEM768, or else X25519.
    pub(crate) is_hybrid: bool,
    /// Whether clients prove that they hold an Ed25519 key (RFC 7250).
    pub(crate) has_client_keys: bool,
}

impl Tls {
    /// As the relay has it.
    pub(crate) const OURS: Self = Self { is_hybrid: true, has_client_keys: true };
    /// As other servers have it.
    pub(crate) const CLASSICAL: Self = Self { is_hybrid: false, has_client_keys: false };

    /// What user number `user` connects with, who believes in the PEM certificate `authority`.
    ///
    /// # Errors
    /// [`Fault::Said`] when the certificate is none.
    pub(crate) fn client(self, user: u64, authority: &[u8]) -> Result<Arc<ClientConfig>, Fault> {
        let ours = || client_config(&key_of(user), Roots::Pem(authority.to_vec())).map_err(unfit);
        if self.is_hybrid && self.has_client_keys {
            return ours();
        }
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority).map_err(unfit)?)?;
        let builder = ClientConfig::builder_with_provider(self.provider())
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots);
        let mut config = match self.has_client_keys {
            true => builder.with_client_cert_resolver(ours()?.client_auth_cert_resolver.clone()),
            false => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// What the bare pipe accepts connections with: a chain of certificates and its key, both PEM.
    ///
    /// # Errors
    /// [`Fault::Said`] when they are of no use.
    pub(crate) fn server(self, chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, Fault> {
        if self.is_hybrid && self.has_client_keys {
            return server_config(chain, key).map_err(unfit);
        }
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(unfit)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(unfit)?;
        let builder = ServerConfig::builder_with_provider(self.provider()).with_protocol_versions(&[&TLS13])?;
        let mut config = match self.has_client_keys {
            true => builder.with_client_cert_verifier(client_verifier()),
            false => builder.with_no_client_auth(),
        }
        .with_single_cert(chain, key)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    fn provider(self) -> Arc<CryptoProvider> {
        let group = if self.is_hybrid { aws_lc_rs::kx_group::X25519MLKEM768 } else { aws_lc_rs::kx_group::X25519 };
        Arc::new(CryptoProvider { kx_groups: vec![group], ..aws_lc_rs::default_provider() })
    }
}

/// The key of user number `user`. Whoever knows the number knows the key: these users are nobody's.
pub(crate) fn key_of(user: u64) -> UserKey {
    let mut seed = [0x5a; 32];
    for (place, byte) in seed.iter_mut().zip(user.to_be_bytes()) {
        *place = byte;
    }
    UserKey::from_seed(&seed)
}

/// Connects, and goes through the handshake of TLS. With `greets`, the server says a line first, in clear.
///
/// # Errors
/// [`Fault::Io`], [`Fault::Tls`].
pub(crate) async fn connect(address: SocketAddr, config: Arc<ClientConfig>, greets: bool) -> Result<Line, Fault> {
    let connected = TcpStream::connect(address).await;
    let mut socket =
        connected.map_err(|error| Fault::Asked(format!("nobody is to be reached at {address}: {error}")))?;
    socket.set_nodelay(true)?;
    if greets {
        skip_line(&mut socket).await?;
    }
    let host = ServerName::try_from(HOST).map_err(unfit)?;
    Ok(Line::new(TlsConnector::from(config).connect(host, socket).await?))
}

/// Reads byte by byte, so that nothing of the handshake is taken.
async fn skip_line(socket: &mut TcpStream) -> Result<(), Fault> {
    let mut byte = [0];
    while byte != *b"\n" {
        tokio::io::AsyncReadExt::read_exact(socket, &mut byte).await?;
    }
    Ok(())
}

fn unfit(error: impl std::fmt::Display) -> Fault {
    Fault::Said(error.to_string())
}

#[cfg(test)]
mod tests {
    use rustls::{ClientConnection, ProtocolVersion, ServerConnection};

    use super::*;
    use crate::clock;

    /// A handshake in memory, of a client that does it in one way with a server that does it in another.
    fn shake_hands(client: Tls, server: Tls) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
        let host = HOST.parse().unwrap();
        let authority = identity::make_authority(&host, clock::calendar()).unwrap();
        let (chain, key) = identity::issue(&authority, &host, clock::calendar()).unwrap();
        let client = client.client(7, authority.certificate_pem.as_bytes()).unwrap();
        let mut client = ClientConnection::new(client, HOST.try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(server.server(chain.as_bytes(), key.as_bytes()).unwrap()).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets()?;
            bytes.clear();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok((client, server))
    }

    #[test]
    fn each_way_is_what_it_says_and_goes_with_no_other() {
        let ways = [(true, true), (true, false), (false, true), (false, false)];
        let ways = ways.map(|(is_hybrid, has_client_keys)| Tls { is_hybrid, has_client_keys });
        for way in ways {
            let (client, server) = shake_hands(way, way).unwrap();
            assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
            let group = client.negotiated_key_exchange_group().unwrap().name();
            assert_eq!(group == rustls::NamedGroup::X25519MLKEM768, way.is_hybrid, "{way:?}");
            assert_eq!(server.peer_certificates().is_some(), way.has_client_keys, "{way:?}");
            for other in ways.into_iter().filter(|other| *other != way) {
                assert!(shake_hands(way, other).is_err(), "{way:?} {other:?}");
            }
        }
    }
}
