//! A client whose every step can be bent, against a server process.

use std::fs;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use identity::UserKey;
use protocol::{ToClient, ToServer, UserName};
use rustls::crypto::{ActiveKeyExchange, aws_lc_rs::kx_group::X25519MLKEM768};
use server::{directory::Directory, setup};

use super::{
    CERTIFICATE, FINISHED, HANDSHAKE, Heard, Wire, certificate, certificate_verify,
    hello::{ClientHello, ED25519, HYBRID, KEY_SHARE, ServerHello},
    keys::{Schedule, Side, hash},
    message, record,
};
use crate::{
    common::{World, first_login},
    people::port_of,
    raw::socket,
};

/// What comes of a client's hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Alert(u8),
    Closed,
    /// The server asks for another hello.
    Retry(ServerHello),
    /// The server goes on.
    Hello(ServerHello),
}

/// A registered user whose private key the test has.
pub(crate) struct Signer {
    pub(crate) name: UserName,
    pair: Ed25519KeyPair,
}

impl Signer {
    pub(crate) fn registered(world: &World, name: &str, seed: u8) -> Self {
        let seed = [seed; 32];
        let (name, key) = (name.parse::<UserName>().unwrap(), UserKey::from_seed(&seed).public());
        let path = setup::directory_path(&world.server_dir());
        let register = async {
            let directory = Directory::open(&path).await.unwrap();
            directory.add(&name, &key).await.unwrap();
            directory.close().await;
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(register);
        Self { name, pair: Ed25519KeyPair::from_seed_unchecked(&seed).unwrap() }
    }

    /// The raw public key as TLS takes it (RFC 8410 section 4).
    pub(crate) fn spki(&self) -> Vec<u8> {
        spki(self.pair.public_key().as_ref())
    }

    /// Signs what a CertificateVerify covers (RFC 8446 section 4.4.3).
    pub(crate) fn signs(&self, context: &str, transcript: &[u8]) -> Vec<u8> {
        let covered = [&[b' '; 64], context.as_bytes(), &[0], &hash(transcript)].concat();
        self.pair.sign(&covered).as_ref().to_vec()
    }
}

pub(crate) fn spki(key: &[u8]) -> Vec<u8> {
    [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", key].concat()
}

pub(crate) const OF_CLIENT: &str = "TLS 1.3, client CertificateVerify";
pub(crate) const OF_SERVER: &str = "TLS 1.3, server CertificateVerify";

/// A connection as the client has it.
pub(crate) struct Caller {
    pub(crate) wire: Wire,
    kx: Option<Box<dyn ActiveKeyExchange>>,
    schedule: Option<Schedule>,
    /// What the server said, up to its Finished.
    pub(crate) flight: Vec<Vec<u8>>,
    until_server_finished: Vec<u8>,
}

impl Caller {
    /// A TCP connection, and an honest hello to be bent.
    pub(crate) fn new(world: &World) -> (Self, ClientHello) {
        let kx = X25519MLKEM768.start().unwrap();
        let hello = ClientHello::honest(kx.pub_key());
        let wire = Wire::new(socket(port_of(world)));
        let caller = Self { wire, kx: Some(kx), schedule: None, flight: Vec::new(), until_server_finished: Vec::new() };
        (caller, hello)
    }

    /// Sends a hello and waits for what comes of it.
    pub(crate) fn offers(&mut self, hello: &ClientHello) -> Answer {
        self.offers_raw(&hello.message(), hello.record_version)
    }

    pub(crate) fn offers_raw(&mut self, message: &[u8], [major, minor]: [u8; 2]) -> Answer {
        self.wire.transcript.extend_from_slice(message);
        for part in message.chunks(super::MAX_PLAIN) {
            let mut record = record(HANDSHAKE, part);
            record[1..3].copy_from_slice(&[major, minor]);
            self.wire.sends_raw(&record);
        }
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> Answer {
        match self.wire.hears() {
            Heard::Alert(alert) => Answer::Alert(alert),
            Heard::Closed => Answer::Closed,
            Heard::Message(message) => {
                let hello = ServerHello::read(&message);
                if hello.is_retry() { Answer::Retry(hello) } else { Answer::Hello(hello) }
            }
            Heard::Data(data) => panic!("data in clear: {data:02x?}"),
        }
    }

    /// Goes on after the server's hello: its whole flight, which it signs, and keys for one's own. What comes instead is
    /// the error.
    pub(crate) fn agrees(&mut self, hello: &ServerHello) -> Result<(), Heard> {
        let share = hello.extension(KEY_SHARE).unwrap();
        assert_eq!(hello.group(), Some(HYBRID));
        let shared = self.kx.take().unwrap().complete(&share[4..]).unwrap();
        self.schedule = Some(self.wire.agrees(shared.secret_bytes(), Side::Client));
        loop {
            match self.wire.hears() {
                Heard::Message(message) => {
                    let is_last = message[0] == FINISHED;
                    self.flight.push(message);
                    if is_last {
                        self.until_server_finished = self.wire.transcript.clone();
                        return Ok(());
                    }
                }
                other => return Err(other),
            }
        }
    }

    /// Puts the hash of the first hello in its place, after a retry (RFC 8446 section 4.4.1).
    pub(crate) fn stands_in_for_the_first_hello(&mut self) {
        let transcript = &self.wire.transcript;
        let end = 4 + usize::from(u16::from_be_bytes([transcript[2], transcript[3]]));
        let stand_in = message(254, &hash(&transcript[..end]));
        self.wire.transcript = [&stand_in, &transcript[end..]].concat();
    }

    /// An honest connection up to the server's Finished.
    pub(crate) fn half_way(world: &World) -> Self {
        let (mut caller, hello) = Self::new(world);
        match caller.offers(&hello) {
            Answer::Hello(hello) => caller.agrees(&hello).unwrap(),
            other => panic!("{other:02x?}"),
        }
        caller
    }

    /// An honest connection, logged in.
    pub(crate) fn logged_in(world: &World, signer: &Signer) -> Self {
        let mut caller = Self::half_way(world);
        caller.proves(signer);
        caller.logs_in(&signer.name);
        assert!(matches!(caller.hears_frame(), Some(ToClient::LoggedIn(_))));
        caller
    }

    /// The client's part of the handshake, as it should be.
    pub(crate) fn proves(&mut self, signer: &Signer) {
        self.wire.says(&certificate(&signer.spki()));
        let signature = signer.signs(OF_CLIENT, &self.wire.transcript);
        self.wire.says(&certificate_verify(ED25519, &signature));
        self.finishes();
    }

    pub(crate) fn finished(&self) -> Vec<u8> {
        let schedule = self.schedule.as_ref().unwrap();
        message(FINISHED, &schedule.finished(Side::Client, &self.wire.transcript))
    }

    pub(crate) fn finishes(&mut self) {
        let finished = self.finished();
        self.wire.says(&finished);
        self.takes_application_keys();
    }

    pub(crate) fn takes_application_keys(&mut self) {
        let schedule = self.schedule.as_ref().unwrap();
        let [mine, theirs] = schedule.application_keys(&self.until_server_finished, Side::Client);
        (self.wire.writes, self.wire.reads) = (Some(mine), Some(theirs));
    }

    pub(crate) fn logs_in(&mut self, name: &UserName) {
        self.says_frame(&ToServer::Login(first_login(name.as_str())));
    }

    pub(crate) fn says_frame(&mut self, frame: &ToServer) {
        let frame = frame.encode().unwrap();
        let bytes = [&u16::try_from(frame.len()).unwrap().to_be_bytes()[..], &frame].concat();
        self.wire.sends(super::APPLICATION_DATA, &bytes);
    }

    /// The next frame; the server writes each of them in a record of its own here, since it waits for the next question.
    pub(crate) fn hears_frame(&mut self) -> Option<ToClient> {
        match self.wire.hears() {
            Heard::Data(data) => Some(ToClient::decode(&data[2..]).unwrap()),
            _ => None,
        }
    }

    /// The message of the server's flight of this type.
    pub(crate) fn told(&self, message_type: u8) -> Option<&[u8]> {
        self.flight.iter().find(|message| message[0] == message_type).map(Vec::as_slice)
    }

    /// Whether the certificate in the server's flight is its X.509 one, which `server.pem` holds first.
    pub(crate) fn was_shown_x509(&self, world: &World) -> bool {
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        let pem = fs::read(setup::certificate_path(&world.server_dir())).unwrap();
        let first = CertificateDer::from_pem_slice(&pem).unwrap();
        let shown = self.told(CERTIFICATE).unwrap();
        shown.windows(first.len()).any(|window| window == first.as_ref())
    }
}
