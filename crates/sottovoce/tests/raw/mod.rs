//! A client made by hand: TLS and frames, with nothing that keeps it from saying what it likes.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    sync::Arc,
    time::Instant,
};

use identity::{Roots, UserKey, client_config};
use protocol::{PublicKey, ToClient, ToServer, UserName};
use rand::rngs::SysRng;
use rand_core::UnwrapErr;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use server::{config::Config, setup};

use crate::{
    common::{PATIENCE, World, first_login},
    people::port_of,
};

/// Somebody with a key.
pub(crate) struct Holder {
    pub(crate) name: UserName,
    pub(crate) key: PublicKey,
    /// Its private half, to sign with what a client signs.
    pub(crate) secret: Arc<UserKey>,
    /// Trusts the world's authority, and proves to hold the key.
    pub(crate) tls: Arc<ClientConfig>,
    port: u16,
}

impl Holder {
    /// Whose key the server does not have.
    pub(crate) fn stranger(world: &World, name: &str) -> Self {
        let secret = Arc::new(UserKey::generate(&mut UnwrapErr(SysRng)));
        let authority = fs::read(setup::ca_path(&world.server_dir())).unwrap();
        let tls = client_config(&secret, Roots::Pem(authority)).unwrap();
        Self { name: name.parse().unwrap(), key: secret.public(), secret, tls, port: port_of(world) }
    }

    /// Whose key is registered under this name.
    pub(crate) fn registered(world: &World, name: &str) -> Self {
        let holder = Self::stranger(world, name);
        let dir = world.server_dir();
        let config = Config::load(&setup::config_path(&dir)).unwrap();
        let register = async {
            let directory = setup::open_directory(&dir, &config).await.unwrap();
            directory.add(&holder.name, &holder.key).await.unwrap();
            directory.close().await;
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(register);
        holder
    }

    /// A connection after its handshake, before `Login`.
    pub(crate) fn connect(&self) -> Raw {
        Raw::connect(self.port, self.tls.clone()).unwrap()
    }

    /// The first log-in of another client each time.
    pub(crate) fn login(&self) -> ToServer {
        ToServer::Login(first_login(self.name.as_str()))
    }

    /// A connection that is logged in.
    pub(crate) fn log_in(&self) -> Raw {
        let mut raw = self.connect();
        raw.say(&self.login());
        assert_eq!(raw.hear(), Some(ToClient::LoggedIn("localhost".parse().unwrap())));
        raw
    }
}

/// A connection whose every byte the test chooses.
pub(crate) struct Raw {
    pub(crate) tls: StreamOwned<ClientConnection, TcpStream>,
}

impl Raw {
    /// Connects, up to the end of the handshake as the client sees it.
    pub(crate) fn connect(port: u16, config: Arc<ClientConfig>) -> io::Result<Self> {
        let socket = socket(port);
        let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let mut tls = StreamOwned::new(connection, socket);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        tls.flush()?;
        Ok(Self { tls })
    }

    /// Sends these bytes as one frame.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.try_send(frame).unwrap();
    }

    /// The same, to a server that may have had enough.
    pub(crate) fn try_send(&mut self, frame: &[u8]) -> io::Result<()> {
        let mut bytes = u16::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(frame);
        self.tls.write_all(&bytes)?;
        self.tls.flush()
    }

    pub(crate) fn say(&mut self, frame: &ToServer) {
        self.send(&frame.encode().unwrap());
    }

    /// Sends these bytes inside TLS, in no frame.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.tls.write_all(bytes).unwrap();
        self.tls.flush().unwrap();
    }

    /// The next frame's bytes; `None` at the end of the connection, however it ends.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 2];
        self.fill(&mut length)?;
        let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
        self.fill(&mut frame)?;
        Some(frame)
    }

    /// The next frame.
    pub(crate) fn hear(&mut self) -> Option<ToClient> {
        let frame = self.receive()?;
        Some(ToClient::decode(&frame).unwrap_or_else(|error| panic!("{error}: {frame:02x?}")))
    }

    /// All frames up to the end of the connection.
    pub(crate) fn hear_all(&mut self) -> Vec<ToClient> {
        std::iter::from_fn(|| self.hear()).collect()
    }

    /// All frames that were on their way when this was called.
    pub(crate) fn hear_what_is_there(&mut self) -> Vec<ToClient> {
        self.say(&ToServer::Ping);
        let mut heard = Vec::new();
        loop {
            match self.hear() {
                Some(ToClient::Pong) => return heard,
                Some(frame) => heard.push(frame),
                None => panic!("the connection ended after {heard:?}"),
            }
        }
    }

    /// Logs off, and waits until the server has taken note.
    pub(crate) fn exit(mut self) {
        self.say(&ToServer::Exit);
        self.hear_all();
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.tls.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if is_timeout(&error) => panic!("nothing came in {PATIENCE:?}"),
            Err(_) => None,
        }
    }
}

/// A TCP connection to the server.
pub(crate) fn socket(port: u16) -> TcpStream {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Reads to the end of a TCP connection, however it ends.
pub(crate) fn drain(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = socket.read_to_end(&mut bytes) {
        assert!(!is_timeout(&error), "the connection is still open after {PATIENCE:?}");
    }
    bytes
}

pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[expect(clippy::disallowed_methods, reason = "the test is of what happens when")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
