//! Hellos, field by field (RFC 8446 section 4.1).

use super::{CLIENT_HELLO, SERVER_HELLO, message, vector8, vector16};

/// Numbers of extensions.
pub(crate) const SERVER_NAME: u16 = 0;
pub(crate) const GROUPS: u16 = 10;
pub(crate) const SIGNATURES: u16 = 13;
pub(crate) const ALPN: u16 = 16;
pub(crate) const CLIENT_CERTIFICATE_TYPE: u16 = 19;
pub(crate) const SERVER_CERTIFICATE_TYPE: u16 = 20;
pub(crate) const PADDING: u16 = 21;
pub(crate) const COMPRESSED_CERTIFICATES: u16 = 27;
pub(crate) const PRE_SHARED_KEY: u16 = 41;
pub(crate) const EARLY_DATA: u16 = 42;
pub(crate) const VERSIONS: u16 = 43;
pub(crate) const COOKIE: u16 = 44;
pub(crate) const KEY_EXCHANGE_MODES: u16 = 45;
pub(crate) const POST_HANDSHAKE_AUTH: u16 = 49;
pub(crate) const KEY_SHARE: u16 = 51;

pub(crate) const HYBRID: u16 = 0x11ec;
pub(crate) const AES_256: u16 = 0x1302;
pub(crate) const CHACHA20: u16 = 0x1303;
pub(crate) const ED25519: u16 = 0x0807;
pub(crate) const ECDSA_P256: u16 = 0x0403;
/// The random of a hello that asks the client to try again (section 4.1.3).
pub(crate) const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

pub(crate) type Extension = (u16, Vec<u8>);

/// What a client says first.
#[derive(Clone, Debug)]
pub(crate) struct ClientHello {
    /// In the head of the record.
    pub(crate) record_version: [u8; 2],
    pub(crate) version: [u8; 2],
    pub(crate) random: [u8; 32],
    pub(crate) session: Vec<u8>,
    pub(crate) suites: Vec<u16>,
    pub(crate) compressions: Vec<u8>,
    pub(crate) extensions: Vec<Extension>,
}

impl ClientHello {
    /// An honest one, which owes nothing to a library; `share` is the public half of its key exchange.
    pub(crate) fn honest(share: &[u8]) -> Self {
        let extensions = vec![
            (SERVER_NAME, vector16(&[&[0], &vector16(b"localhost")[..]].concat())),
            (VERSIONS, versions(&[0x0304])),
            (GROUPS, list16(&[HYBRID])),
            (SIGNATURES, list16(&[ECDSA_P256, ED25519, 0x0804])),
            (KEY_SHARE, shares(&[(HYBRID, share)])),
            (ALPN, protocols(&[protocol::ALPN])),
            (CLIENT_CERTIFICATE_TYPE, vector8(&[2])),
        ];
        Self {
            record_version: [3, 1],
            version: [3, 3],
            random: [0x5a; 32],
            session: vec![0x77; 32],
            suites: vec![AES_256],
            compressions: vec![0],
            extensions,
        }
    }

    /// With another body of an extension, in its place or at the end.
    pub(crate) fn with(mut self, number: u16, body: Vec<u8>) -> Self {
        match self.extensions.iter_mut().find(|extension| extension.0 == number) {
            Some(extension) => extension.1 = body,
            None => self.extensions.push((number, body)),
        }
        self
    }

    pub(crate) fn without(mut self, number: u16) -> Self {
        self.extensions.retain(|extension| extension.0 != number);
        self
    }

    pub(crate) fn with_suites(mut self, suites: &[u16]) -> Self {
        self.suites = suites.to_vec();
        self
    }

    /// The handshake message.
    pub(crate) fn message(&self) -> Vec<u8> {
        let mut body = self.version.to_vec();
        body.extend(self.random);
        body.extend(vector8(&self.session));
        body.extend(list16(&self.suites));
        body.extend(vector8(&self.compressions));
        body.extend(vector16(&encode(&self.extensions)));
        message(CLIENT_HELLO, &body)
    }
}

/// What a server says first, or what it asks a client to try again with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerHello {
    pub(crate) version: [u8; 2],
    pub(crate) random: [u8; 32],
    pub(crate) session: Vec<u8>,
    pub(crate) suite: u16,
    pub(crate) compression: u8,
    pub(crate) extensions: Vec<Extension>,
}

impl ServerHello {
    /// An honest answer to a client's hello.
    pub(crate) fn honest(session: &[u8], share: &[u8]) -> Self {
        let extensions =
            vec![(VERSIONS, vec![3, 4]), (KEY_SHARE, [&HYBRID.to_be_bytes()[..], &vector16(share)].concat())];
        Self {
            version: [3, 3],
            random: [0xa5; 32],
            session: session.to_vec(),
            suite: AES_256,
            compression: 0,
            extensions,
        }
    }

    /// Asks a client for a share of another group.
    pub(crate) fn retry(session: &[u8], group: u16) -> Self {
        let extensions = vec![(VERSIONS, vec![3, 4]), (KEY_SHARE, group.to_be_bytes().to_vec())];
        Self { random: RETRY, extensions, ..Self::honest(session, &[]) }
    }

    pub(crate) fn with(mut self, number: u16, body: Vec<u8>) -> Self {
        match self.extensions.iter_mut().find(|extension| extension.0 == number) {
            Some(extension) => extension.1 = body,
            None => self.extensions.push((number, body)),
        }
        self
    }

    pub(crate) fn without(mut self, number: u16) -> Self {
        self.extensions.retain(|extension| extension.0 != number);
        self
    }

    pub(crate) fn message(&self) -> Vec<u8> {
        let mut body = self.version.to_vec();
        body.extend(self.random);
        body.extend(vector8(&self.session));
        body.extend(self.suite.to_be_bytes());
        body.push(self.compression);
        body.extend(vector16(&encode(&self.extensions)));
        message(SERVER_HELLO, &body)
    }

    /// Reads one, from a handshake message.
    pub(crate) fn read(message: &[u8]) -> Self {
        assert_eq!(message[0], SERVER_HELLO, "{message:02x?}");
        let mut rest = &message[4..];
        let version = take(&mut rest, 2).try_into().unwrap();
        let random = take(&mut rest, 32).try_into().unwrap();
        let session = take_vector8(&mut rest);
        let suite = take16(&mut rest);
        let compression = take(&mut rest, 1)[0];
        Self { version, random, session, suite, compression, extensions: take_extensions(&mut rest) }
    }

    pub(crate) fn is_retry(&self) -> bool {
        self.random == RETRY
    }

    pub(crate) fn extension(&self, number: u16) -> Option<&[u8]> {
        self.extensions.iter().find(|extension| extension.0 == number).map(|extension| extension.1.as_slice())
    }

    /// The group that it takes, or asks for.
    pub(crate) fn group(&self) -> Option<u16> {
        let share = self.extension(KEY_SHARE)?;
        Some(u16::from_be_bytes([share[0], share[1]]))
    }
}

/// What a client's hello holds that a server answers to: the session's id, and the share of the hybrid.
pub(crate) fn read_client_hello(message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (session, extensions) = session_and_extensions(message);
    let (_, shares) = extensions.into_iter().find(|extension| extension.0 == KEY_SHARE).expect("a key share");
    let mut shares = &shares[2..];
    assert_eq!(take16(&mut shares), HYBRID);
    let length = take16(&mut shares);
    (session, take(&mut shares, usize::from(length)).to_vec())
}

/// Whether a client's hello has an extension.
pub(crate) fn offers(message: &[u8], number: u16) -> bool {
    session_and_extensions(message).1.iter().any(|extension| extension.0 == number)
}

fn session_and_extensions(message: &[u8]) -> (Vec<u8>, Vec<Extension>) {
    assert_eq!(message[0], CLIENT_HELLO, "{message:02x?}");
    let mut rest = &message[4 + 2 + 32..];
    let session = take_vector8(&mut rest);
    let suites = take16(&mut rest);
    take(&mut rest, usize::from(suites));
    take_vector8(&mut rest);
    (session, take_extensions(&mut rest))
}

pub(crate) fn encode(extensions: &[Extension]) -> Vec<u8> {
    extensions.iter().flat_map(|(number, body)| [&number.to_be_bytes()[..], &vector16(body)].concat()).collect()
}

pub(crate) fn versions(versions: &[u16]) -> Vec<u8> {
    vector8(&versions.iter().flat_map(|version| version.to_be_bytes()).collect::<Vec<_>>())
}

pub(crate) fn list16(numbers: &[u16]) -> Vec<u8> {
    vector16(&numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>())
}

pub(crate) fn shares(shares: &[(u16, &[u8])]) -> Vec<u8> {
    let share = |(group, share): &(u16, &[u8])| [&group.to_be_bytes()[..], &vector16(share)].concat();
    vector16(&shares.iter().flat_map(share).collect::<Vec<_>>())
}

pub(crate) fn protocols(names: &[&[u8]]) -> Vec<u8> {
    vector16(&names.iter().flat_map(|name| vector8(name)).collect::<Vec<_>>())
}

fn take_extensions(rest: &mut &[u8]) -> Vec<Extension> {
    take(rest, 2);
    let mut extensions = Vec::new();
    while !rest.is_empty() {
        let number = take16(rest);
        let length = take16(rest);
        extensions.push((number, take(rest, usize::from(length)).to_vec()));
    }
    extensions
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(length);
    *rest = left;
    taken
}

fn take16(rest: &mut &[u8]) -> u16 {
    u16::from_be_bytes(take(rest, 2).try_into().unwrap())
}

fn take_vector8(rest: &mut &[u8]) -> Vec<u8> {
    let length = take(rest, 1)[0];
    take(rest, usize::from(length)).to_vec()
}
