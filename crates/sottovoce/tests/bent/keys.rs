//! The key schedule and the protection of records (RFC 8446 sections 5.2 and 7), for TLS_AES_256_GCM_SHA384.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    digest, hmac,
};

use super::APPLICATION_DATA;

const HASH: usize = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// The secrets of a handshake.
#[derive(Clone)]
pub(crate) struct Schedule {
    handshake: Vec<u8>,
    client: Vec<u8>,
    server: Vec<u8>,
}

impl Schedule {
    /// From the shared secret and the two hellos.
    pub(crate) fn of_handshake(shared: &[u8], transcript: &[u8]) -> Self {
        let early = mac(&[0; HASH], &[0; HASH]);
        let handshake = mac(&derived(&early), shared);
        let secret = |label| expand(&handshake, label, &hash(transcript), HASH);
        Self { client: secret("c hs traffic"), server: secret("s hs traffic"), handshake }
    }

    /// What this side writes under during the handshake, and what it reads under.
    pub(crate) fn handshake_keys(&self, side: Side) -> [Keys; 2] {
        [self.secret(side), self.secret(other(side))].map(Keys::new)
    }

    /// What this side writes under afterwards, and what it reads under; `transcript` ends with the server's Finished.
    pub(crate) fn application_keys(&self, transcript: &[u8], side: Side) -> [Keys; 2] {
        let main = mac(&derived(&self.handshake), &[0; HASH]);
        let keys = |side| {
            let label = if side == Side::Client { "c ap traffic" } else { "s ap traffic" };
            Keys::new(&expand(&main, label, &hash(transcript), HASH))
        };
        [keys(side), keys(other(side))]
    }

    /// What a side's Finished says of all before it.
    pub(crate) fn finished(&self, side: Side, transcript: &[u8]) -> Vec<u8> {
        mac(&expand(self.secret(side), "finished", &[], HASH), &hash(transcript))
    }

    fn secret(&self, side: Side) -> &[u8] {
        if side == Side::Client { &self.client } else { &self.server }
    }
}

/// What records are sealed or opened with, one way.
pub(crate) struct Keys {
    secret: Vec<u8>,
    key: LessSafeKey,
    iv: Vec<u8>,
    number: u64,
}

impl Keys {
    fn new(secret: &[u8]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &expand(secret, "key", &[], 32)).unwrap();
        let iv = expand(secret, "iv", &[], 12);
        Self { secret: secret.to_vec(), key: LessSafeKey::new(key), iv, number: 0 }
    }

    /// Those that follow after a KeyUpdate (section 7.2).
    pub(crate) fn next(&self) -> Self {
        Self::new(&expand(&self.secret, "traffic upd", &[], HASH))
    }

    /// A record of any type, with this many zeros as padding.
    pub(crate) fn seal(&mut self, record_type: u8, content: &[u8], padding: usize) -> Vec<u8> {
        let inner = [content, &[record_type], &vec![0; padding]].concat();
        self.seal_inner(inner)
    }

    /// A record with these bytes inside, which need not end with a type.
    pub(crate) fn seal_inner(&mut self, mut inner: Vec<u8>) -> Vec<u8> {
        let length = u16::try_from(inner.len() + AES_256_GCM.tag_len()).unwrap().to_be_bytes();
        let head = [APPLICATION_DATA, 3, 3, length[0], length[1]];
        let nonce = self.nonce();
        self.key.seal_in_place_append_tag(nonce, Aad::from(head), &mut inner).unwrap();
        [&head[..], &inner].concat()
    }

    /// The type and content of a record.
    pub(crate) fn open(&mut self, head: &[u8; 5], mut body: Vec<u8>) -> Option<(u8, Vec<u8>)> {
        let nonce = self.nonce();
        let length = self.key.open_in_place(nonce, Aad::from(*head), &mut body).ok()?.len();
        body.truncate(length);
        while body.last() == Some(&0) {
            body.pop();
        }
        let record_type = body.pop()?;
        Some((record_type, body))
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.number.to_be_bytes());
        nonce.iter_mut().zip(&self.iv).for_each(|(byte, iv)| *byte ^= iv);
        self.number += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

pub(crate) fn hash(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA384, bytes).as_ref().to_vec()
}

fn other(side: Side) -> Side {
    if side == Side::Client { Side::Server } else { Side::Client }
}

fn mac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA384, key), bytes).as_ref().to_vec()
}

fn derived(secret: &[u8]) -> Vec<u8> {
    expand(secret, "derived", &hash(&[]), HASH)
}

/// HKDF-Expand-Label (section 7.1), for no more than one block of output.
fn expand(secret: &[u8], label: &str, context: &[u8], length: usize) -> Vec<u8> {
    let label = [b"tls13 ", label.as_bytes()].concat();
    let mut info = u16::try_from(length).unwrap().to_be_bytes().to_vec();
    info.extend(super::vector8(&label));
    info.extend(super::vector8(context));
    info.push(1);
    mac(secret, &info)[..length].to_vec()
}
