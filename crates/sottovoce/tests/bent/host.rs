//! A server whose every step can be bent, for client processes.

use std::{
    fs,
    net::{TcpListener, TcpStream},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use protocol::{ToClient, ToServer};
use rustls::{
    crypto::aws_lc_rs::kx_group::X25519MLKEM768,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::{
    APPLICATION_DATA, CERTIFICATE_REQUEST, ENCRYPTED_EXTENSIONS, FINISHED, Heard, Wire,
    caller::OF_SERVER,
    certificate_verify, certificates,
    hello::{
        ALPN, CLIENT_CERTIFICATE_TYPE, ECDSA_P256, ED25519, Extension, SIGNATURES, ServerHello, encode, list16,
        protocols, read_client_hello,
    },
    keys::{Schedule, Side, hash},
    message, vector8, vector16,
};
use crate::common::World;

/// A certificate chain with the key of the first.
pub(crate) struct Identity {
    pub(crate) chain: Vec<Vec<u8>>,
    key: EcdsaKeyPair,
}

impl Identity {
    pub(crate) fn new(chain: Vec<Vec<u8>>, pkcs8: &[u8]) -> Self {
        Self { chain, key: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).unwrap() }
    }

    /// What a world's own server has.
    pub(crate) fn of(world: &World) -> Self {
        let file = |name| fs::read(world.server_dir().join(name)).unwrap();
        let chain = CertificateDer::pem_slice_iter(&file("server.pem")).map(|one| one.unwrap().to_vec()).collect();
        Self::new(chain, PrivateKeyDer::from_pem_slice(&file("server.key")).unwrap().secret_der())
    }

    pub(crate) fn signs(&self, context: &str, transcript: &[u8]) -> Vec<u8> {
        let covered = [&[b' '; 64], context.as_bytes(), &[0], &hash(transcript)].concat();
        self.key.sign(&SystemRandom::new(), &covered).unwrap().as_ref().to_vec()
    }
}

/// A connection as the server has it, whose client has said hello.
pub(crate) struct Host {
    pub(crate) wire: Wire,
    /// The client's first message.
    pub(crate) hello: Vec<u8>,
    schedule: Option<Schedule>,
    until_finished: Vec<u8>,
}

impl Host {
    /// Waits for a client.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        Self::new(listener.accept().unwrap().0)
    }

    fn new(socket: TcpStream) -> Self {
        let mut wire = Wire::new(socket);
        let Heard::Message(hello) = wire.hears() else { panic!("no hello") };
        Self { wire, hello, schedule: None, until_finished: Vec::new() }
    }

    /// Answers the hello, and has keys.
    pub(crate) fn greets(&mut self, bend: impl FnOnce(ServerHello) -> ServerHello) {
        let (session, share) = read_client_hello(&self.hello);
        let done = X25519MLKEM768.start_and_complete(&share).unwrap();
        let hello = bend(ServerHello::honest(&session, &done.pub_key));
        self.wire.says(&hello.message());
        self.schedule = Some(self.wire.agrees(done.secret.secret_bytes(), Side::Server));
    }

    /// Asks for another hello.
    pub(crate) fn asks_again(&mut self, bend: impl FnOnce(ServerHello) -> ServerHello, group: u16) {
        let (session, _) = read_client_hello(&self.hello);
        let retry = bend(ServerHello::retry(&session, group));
        self.wire.says(&retry.message());
    }

    pub(crate) fn extensions() -> Vec<Extension> {
        vec![(ALPN, protocols(&[protocol::ALPN])), (CLIENT_CERTIFICATE_TYPE, vec![2])]
    }

    pub(crate) fn says_extensions(&mut self, extensions: &[Extension]) {
        self.wire.says(&message(ENCRYPTED_EXTENSIONS, &vector16(&encode(extensions))));
    }

    /// Asks for a proof.
    pub(crate) fn asks_for_proof(&mut self) {
        self.wire.says(&proof_wanted(&[]));
    }

    pub(crate) fn shows(&mut self, chain: &[Vec<u8>]) {
        let entries: Vec<_> = chain.iter().map(Vec::as_slice).collect();
        self.wire.says(&certificates(&[], &entries));
    }

    pub(crate) fn signs(&mut self, identity: &Identity) {
        let signature = identity.signs(OF_SERVER, &self.wire.transcript);
        self.wire.says(&certificate_verify(ECDSA_P256, &signature));
    }

    pub(crate) fn finished(&self) -> Vec<u8> {
        let schedule = self.schedule.as_ref().unwrap();
        message(FINISHED, &schedule.finished(Side::Server, &self.wire.transcript))
    }

    /// Finishes, and writes under the last keys from now on.
    pub(crate) fn finishes(&mut self) {
        let finished = self.finished();
        self.wire.says(&finished);
        self.writes_under_application_keys();
    }

    pub(crate) fn writes_under_application_keys(&mut self) {
        self.until_finished = self.wire.transcript.clone();
        let [mine, _] = self.schedule.as_ref().unwrap().application_keys(&self.until_finished, Side::Server);
        self.wire.writes = Some(mine);
    }

    /// The honest rest after the hello.
    pub(crate) fn proves(&mut self, identity: &Identity) {
        self.says_extensions(&Self::extensions());
        self.asks_for_proof();
        self.shows(&identity.chain);
        self.signs(identity);
        self.finishes();
    }

    /// What the client says of all that: its proof, or how it turned away.
    pub(crate) fn hears_proof(&mut self) -> Result<Vec<Vec<u8>>, Heard> {
        let mut proof = Vec::new();
        loop {
            match self.wire.hears() {
                Heard::Message(message) => {
                    let is_last = message[0] == FINISHED;
                    proof.push(message);
                    if is_last {
                        let schedule = self.schedule.as_ref().unwrap();
                        let [_, theirs] = schedule.application_keys(&self.until_finished, Side::Server);
                        self.wire.reads = Some(theirs);
                        return Ok(proof);
                    }
                }
                other => return Err(other),
            }
        }
    }

    /// Waits for the end of the connection. Whether the client had finished its handshake, which it must not have logged in
    /// after.
    pub(crate) fn is_left(&mut self) -> bool {
        let has_finished = self.schedule.is_some() && self.hears_proof().is_ok();
        assert!(self.wire.socket_ends());
        has_finished
    }

    /// An honest connection up to a log-in that is answered.
    pub(crate) fn lets_in(listener: &TcpListener, identity: &Identity) -> Self {
        let mut host = Self::accept(listener);
        host.greets(|hello| hello);
        host.proves(identity);
        host.hears_proof().unwrap();
        assert!(matches!(host.hears_frame(), ToServer::Login(_)));
        host.says_frame(&ToClient::LoggedIn("localhost".parse().unwrap()));
        host
    }

    pub(crate) fn says_frame(&mut self, frame: &ToClient) {
        let frame = frame.encode().unwrap();
        let bytes = [&u16::try_from(frame.len()).unwrap().to_be_bytes()[..], &frame].concat();
        self.wire.sends(APPLICATION_DATA, &bytes);
    }

    /// The next frame; clients write each in a record of its own while they have but one to send.
    pub(crate) fn hears_frame(&mut self) -> ToServer {
        match self.wire.hears() {
            Heard::Data(data) => ToServer::decode(&data[2..]).unwrap(),
            other => panic!("{other:02x?}"),
        }
    }
}

/// A CertificateRequest with this context.
pub(crate) fn proof_wanted(context: &[u8]) -> Vec<u8> {
    let wanted = encode(&[(SIGNATURES, list16(&[ED25519]))]);
    message(CERTIFICATE_REQUEST, &[vector8(context), vector16(&wanted)].concat())
}
