//! TLS 1.3 (RFC 8446) by hand, for either side, with nothing that keeps it from doing everything wrong. One group,
//! X25519MLKEM768, and one suite, TLS_AES_256_GCM_SHA384, are done for real; all others can be claimed.
#![allow(dead_code, reason = "each test binary uses a part of this")]

pub(crate) mod caller;
pub(crate) mod hello;
pub(crate) mod host;
pub(crate) mod keys;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use self::keys::{Keys, Schedule, Side};
use crate::{common::PATIENCE, raw::is_timeout};

/// Types of records (section 5.1).
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;

/// Types of handshake messages (section 4).
pub(crate) const CLIENT_HELLO: u8 = 1;
pub(crate) const SERVER_HELLO: u8 = 2;
pub(crate) const NEW_SESSION_TICKET: u8 = 4;
pub(crate) const ENCRYPTED_EXTENSIONS: u8 = 8;
pub(crate) const CERTIFICATE: u8 = 11;
pub(crate) const CERTIFICATE_REQUEST: u8 = 13;
pub(crate) const CERTIFICATE_VERIFY: u8 = 15;
pub(crate) const FINISHED: u8 = 20;
pub(crate) const KEY_UPDATE: u8 = 24;

/// Alerts (section 6).
pub(crate) const CLOSE_NOTIFY: u8 = 0;

/// The most that a record may bear, before encryption (section 5.1).
pub(crate) const MAX_PLAIN: usize = 1 << 14;

/// What came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A handshake message, with its head.
    Message(Vec<u8>),
    Data(Vec<u8>),
    Alert(u8),
    /// The connection is closed, or reset.
    Closed,
}

impl Heard {
    /// The type of a handshake message.
    pub(crate) fn message_type(&self) -> Option<u8> {
        match self {
            Self::Message(message) => message.first().copied(),
            _ => None,
        }
    }
}

/// One end of a connection.
pub(crate) struct Wire {
    pub(crate) socket: TcpStream,
    /// What this side writes under, and what it reads under.
    pub(crate) writes: Option<Keys>,
    pub(crate) reads: Option<Keys>,
    /// All handshake messages so far, both ways.
    pub(crate) transcript: Vec<u8>,
    message: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, writes: None, reads: None, transcript: Vec::new(), message: Vec::new() }
    }

    /// Sends bytes as they are. Who has hung up hears nothing.
    pub(crate) fn sends_raw(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    /// Sends one record of any type, sealed if there are keys. The length is not looked at.
    pub(crate) fn sends(&mut self, record_type: u8, content: &[u8]) {
        let record = match &mut self.writes {
            Some(keys) => keys.seal(record_type, content, 0),
            None => record(record_type, content),
        };
        self.sends_raw(&record);
    }

    /// Sends a handshake message, in as many records as it needs, and notes it.
    pub(crate) fn says(&mut self, message: &[u8]) {
        self.transcript.extend_from_slice(message);
        message.chunks(MAX_PLAIN).for_each(|part| self.sends(HANDSHAKE, part));
    }

    /// The next thing that comes. Handshake messages are noted.
    pub(crate) fn hears(&mut self) -> Heard {
        loop {
            if let Some(message) = self.take_message() {
                self.transcript.extend_from_slice(&message);
                return Heard::Message(message);
            }
            let Some((record_type, content)) = self.receives() else { return Heard::Closed };
            match record_type {
                HANDSHAKE => self.message.extend_from_slice(&content),
                APPLICATION_DATA => return Heard::Data(content),
                ALERT => return Heard::Alert(content[1]),
                CHANGE_CIPHER_SPEC => {}
                other => panic!("a record of type {other}: {content:02x?}"),
            }
        }
    }

    /// All that comes up to an alert or the end, that included.
    pub(crate) fn hears_all(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        loop {
            heard.push(self.hears());
            if matches!(heard.last(), Some(Heard::Alert(_) | Heard::Closed)) {
                return heard;
            }
        }
    }

    /// How it ends: the alert, or `Closed`. Whatever else still comes must not be data.
    pub(crate) fn is_turned_away(&mut self) -> Heard {
        let mut heard = self.hears_all();
        assert!(!heard.iter().any(|heard| matches!(heard, Heard::Data(_))), "{heard:02x?}");
        heard.pop().unwrap()
    }

    /// Whether the connection ends, with nothing on the way that opens as data. What comes may be under keys that this side
    /// does not have.
    pub(crate) fn socket_ends(&mut self) -> bool {
        loop {
            let mut head = [0; 5];
            if self.fill(&mut head).is_none() {
                return true;
            }
            let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
            if self.fill(&mut body).is_none() {
                return true;
            }
            if let Some((APPLICATION_DATA, data)) = self.reads.as_mut().and_then(|keys| keys.open(&head, body)) {
                panic!("{data:02x?}");
            }
        }
    }

    pub(crate) fn hangs_up(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// The secrets of the handshake, once both hellos are in the transcript.
    pub(crate) fn agrees(&mut self, shared: &[u8], side: Side) -> Schedule {
        let schedule = Schedule::of_handshake(shared, &self.transcript);
        let [mine, theirs] = schedule.handshake_keys(side);
        (self.writes, self.reads) = (Some(mine), Some(theirs));
        schedule
    }

    fn receives(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.fill(&mut head)?;
        let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        self.fill(&mut body)?;
        match &mut self.reads {
            // Who does not come to the same keys says so in clear, or hangs up.
            Some(keys) if head[0] == APPLICATION_DATA => keys.open(&head, body),
            _ => Some((head[0], body)),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.socket.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if is_timeout(&error) => panic!("nothing came in {PATIENCE:?}"),
            Err(_) => None,
        }
    }

    fn take_message(&mut self) -> Option<Vec<u8>> {
        let length = self.message.get(1..4).map(|length| u32::from_be_bytes([0, length[0], length[1], length[2]]))?;
        let end = 4 + usize::try_from(length).unwrap();
        (self.message.len() >= end).then(|| self.message.drain(..end).collect())
    }
}

/// A record in clear, as TLS 1.2 would have it.
pub(crate) fn record(record_type: u8, content: &[u8]) -> Vec<u8> {
    [&[record_type, 3, 3], &length16(content)[..], content].concat()
}

/// A handshake message.
pub(crate) fn message(message_type: u8, body: &[u8]) -> Vec<u8> {
    [&[message_type], &length24(body)[..], body].concat()
}

/// A `Certificate` of one entry, a raw public key or a certificate (section 4.4.2).
pub(crate) fn certificate(entry: &[u8]) -> Vec<u8> {
    certificates(&[], &[entry])
}

pub(crate) fn certificates(context: &[u8], entries: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = entries.iter().flat_map(|entry| [&vector24(entry)[..], &[0, 0]].concat()).collect();
    message(CERTIFICATE, &[vector8(context), vector24(&list)].concat())
}

/// A `CertificateVerify` (section 4.4.3).
pub(crate) fn certificate_verify(scheme: u16, signature: &[u8]) -> Vec<u8> {
    message(CERTIFICATE_VERIFY, &[scheme.to_be_bytes().to_vec(), vector16(signature)].concat())
}

pub(crate) fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

pub(crate) fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&length16(bytes)[..], bytes].concat()
}

pub(crate) fn vector24(bytes: &[u8]) -> Vec<u8> {
    [&length24(bytes)[..], bytes].concat()
}

fn length16(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap().to_be_bytes()
}

fn length24(bytes: &[u8]) -> [u8; 3] {
    let [_, high, middle, low] = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [high, middle, low]
}
