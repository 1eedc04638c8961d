//! A TLS handshake in memory, with the configurations that clients and server have.

use std::{io::Write as _, sync::Arc};

use identity::{Roots, client_config, issue, make_authority, server_config};
use rustls::{ClientConfig, ClientConnection, ServerConfig};
use server::channel::Channel;

use super::{CALLER, key, server};

/// The two ends' configurations.
pub(crate) struct Ends {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Ends {
    /// With an authority and a certificate as `server init` makes them. One handshake is done at once: what is set up
    /// by the first of a process, the random generator above all, does not count towards any other.
    pub(crate) fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "certificates are checked against the clock")]
        let now = std::time::SystemTime::now();
        let authority = make_authority(&server(), now).unwrap();
        let (chain, private_key) = issue(&authority, &server(), now).unwrap();
        let roots = Roots::Pem(authority.certificate_pem.into_bytes());
        let ends = Self {
            client: client_config(&key(CALLER), roots).unwrap(),
            server: server_config(chain.as_bytes(), private_key.as_bytes()).unwrap(),
        };
        let (client, server) = ends.handshake();
        assert_eq!(identity::negotiated(&client).unwrap().group, "X25519MLKEM768");
        assert_eq!(identity::client_key(server.tls()).unwrap(), key(CALLER).public());
        ends
    }

    /// A whole handshake.
    pub(crate) fn handshake(&self) -> (ClientConnection, Channel) {
        let name = server().to_string().try_into().unwrap();
        let mut client = ClientConnection::new(self.client.clone(), name).unwrap();
        let mut server = Channel::new(self.server.clone()).unwrap();
        let (mut flight, mut incoming) = (Vec::new(), vec![0; 32 * 1024]);
        while client.is_handshaking() || server.tls().is_handshaking() {
            client_turn(&mut client, &mut flight);
            server_turn(&mut server, &mut incoming, &mut flight);
        }
        (client, server)
    }
}

/// What a client sends with these bytes in it.
pub(crate) fn sealed(client: &mut ClientConnection, bytes: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    client.writer().write_all(bytes).unwrap();
    client.write_tls(&mut records).unwrap();
    records
}

/// Takes in what has come and puts what is to be sent in its place.
fn client_turn(client: &mut ClientConnection, flight: &mut Vec<u8>) {
    let mut received = flight.as_slice();
    while !received.is_empty() {
        client.read_tls(&mut received).unwrap();
        client.process_new_packets().unwrap();
    }
    flight.clear();
    while client.wants_write() {
        client.write_tls(flight).unwrap();
    }
}

/// As [`client_turn`]. In a function of its own, so that what the server does can be counted alone.
#[inline(never)]
fn server_turn(server: &mut Channel, incoming: &mut [u8], flight: &mut Vec<u8>) {
    server.room(incoming).unwrap()[..flight.len()].copy_from_slice(flight);
    server.take_in(incoming, flight.len()).unwrap();
    flight.clear();
    flight.extend_from_slice(server.sealed());
    server.sent(flight.len());
}
