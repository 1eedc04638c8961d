use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::SystemTime,
};

use identity::{
    Negotiated, Roots, TlsError, client_config, client_key, is_untrusted, negotiated, server_config, server_goes_by,
    tls_error,
};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, HandshakeKind, NamedGroup,
    PeerIncompatible, ServerConfig, ServerConnection,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::{Acceptor, ServerSessionMemoryCache},
    sign::CertifiedKey,
};

use crate::{
    certificate::forge,
    common::{DAY, Issued, issued, key, now, server},
    rogue::{OURS, claim, rogue, spki},
};

pub(crate) fn server_of(issued: &Issued) -> Arc<ServerConfig> {
    server_config(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap()
}

fn roots_of(issued: &Issued) -> Roots {
    Roots::Pem(issued.authority.certificate_pem.clone().into_bytes())
}

pub(crate) fn client_of(issued: &Issued) -> Arc<ClientConfig> {
    client_config(&key(1), roots_of(issued)).unwrap()
}

/// A handshake in memory that both sides finished, or the error of the side that broke it off first.
pub(crate) struct Pair {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Broken {
    ByClient(Error),
    ByServer(Error),
}

pub(crate) fn connect(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> Result<Pair, Broken> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut pair = Pair {
        client: ClientConnection::new(client.clone(), name).unwrap(),
        server: ServerConnection::new(server.clone()).unwrap(),
    };
    while pair.client.is_handshaking() || pair.server.is_handshaking() {
        pair.client_to_server().map_err(Broken::ByServer)?;
        pair.server_to_client().map_err(Broken::ByClient)?;
    }
    Ok(pair)
}

impl Pair {
    fn client_to_server(&mut self) -> Result<(), Error> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            self.server.read_tls(&mut bytes).unwrap();
            self.server.process_new_packets()?;
        }
        Ok(())
    }

    fn server_to_client(&mut self) -> Result<(), Error> {
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).unwrap();
        }
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).unwrap();
            self.client.process_new_packets()?;
        }
        Ok(())
    }
}

pub(crate) fn broken(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> Broken {
    connect(client, server, name).err().expect("no handshake")
}

#[test]
fn both_sides_know_what_they_agreed_on() {
    let issued = issued("relay.example", now());
    let mut pair = connect(&client_of(&issued), &server_of(&issued), "relay.example").unwrap();

    assert_eq!(client_key(&pair.server).unwrap(), key(1).public());
    let agreed = negotiated(&pair.client).unwrap();
    assert_eq!(agreed, Negotiated { group: "X25519MLKEM768".into(), suite: "TLS13_AES_256_GCM_SHA384".into() });
    assert_eq!(pair.server.alpn_protocol(), Some(b"sottovoce/1".as_slice()));
    assert_eq!(pair.server.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
    assert_eq!(format!("{:?}", pair.server.negotiated_cipher_suite().unwrap().suite()), agreed.suite);
    assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Full), "in one round trip");

    assert!(!pair.server.wants_write(), "no tickets");
    pair.server.writer().write_all(b"hello").unwrap();
    pair.server_to_client().unwrap();
    assert_eq!(pair.client.tls13_tickets_received(), 0);
}

#[test]
fn another_connection_is_another_handshake() {
    let issued = issued("relay.example", now());
    let (client, server) = (client_of(&issued), server_of(&issued));
    // Two who would spare themselves the second handshake, each with one of ours and with each other.
    let proof = claim(spki(key(5).public().as_bytes()), 5).proof();
    let hopeful = Arc::new(rogue(&issued, OURS, Some(proof)));
    let mut generous = ServerConfig::clone(&server);
    generous.send_tls13_tickets = 2;
    generous.session_storage = ServerSessionMemoryCache::new(8);
    let generous = Arc::new(generous);

    let second = |client: &Arc<ClientConfig>, server: &Arc<ServerConfig>| {
        connect(client, server, "relay.example").unwrap();
        let pair = connect(client, server, "relay.example").unwrap();
        (pair.client.handshake_kind().unwrap(), pair.client.tls13_tickets_received())
    };
    assert_eq!(second(&client, &server), (HandshakeKind::Full, 0));
    assert_eq!(second(&hopeful, &server), (HandshakeKind::Full, 0));
    assert_eq!(second(&client, &generous), (HandshakeKind::Full, 2));
    assert_eq!(second(&hopeful, &generous), (HandshakeKind::Resumed, 2));
}

#[test]
fn nothing_is_known_before_the_end() {
    let issued = issued("relay.example", now());
    let name = ServerName::try_from("relay.example").unwrap();
    let mut pair = Pair {
        client: ClientConnection::new(client_of(&issued), name).unwrap(),
        server: ServerConnection::new(server_of(&issued)).unwrap(),
    };
    for _ in 0..2 {
        assert!(matches!(client_key(&pair.server), Err(TlsError::Unfinished)));
        assert!(matches!(negotiated(&pair.client), Err(TlsError::Unfinished)));
        assert!(!server_goes_by(&pair.client, &server("relay.example")));
        pair.client_to_server().unwrap();
    }
}

#[test]
fn the_first_message_offers_one_way_alone() {
    let issued = issued("relay.example", now());
    let name = ServerName::try_from("relay.example").unwrap();
    let mut client = ClientConnection::new(client_of(&issued), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut bytes.as_slice()).unwrap();
    let accepted = acceptor.accept().ok().flatten().expect("a whole ClientHello");
    let hello = accepted.client_hello();
    assert_eq!(hello.named_groups(), Some([NamedGroup::X25519MLKEM768].as_slice()));
    assert_eq!(hello.alpn().unwrap().collect::<Vec<_>>(), [b"sottovoce/1"]);
    // The last is no suite but a mark that says "no renegotiation" to servers older than TLS 1.3.
    let suites: Vec<_> = hello.cipher_suites().iter().map(|suite| format!("{suite:?}")).collect();
    assert_eq!(suites[..2], ["TLS13_AES_256_GCM_SHA384", "TLS13_CHACHA20_POLY1305_SHA256"]);
    assert!(suites[2..].iter().all(|suite| suite == "TLS_EMPTY_RENEGOTIATION_INFO_SCSV"), "{suites:?}");
}

#[test]
fn over_a_socket_too() {
    let issued = issued("localhost", now());
    let (client, server) = (client_of(&issued), server_of(&issued));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut connection = ServerConnection::new(server).unwrap();
        let mut stream = rustls::Stream::new(&mut connection, &mut socket);
        let mut word = [0; 5];
        stream.read_exact(&mut word).unwrap();
        stream.write_all(&word).unwrap();
        client_key(&connection).unwrap()
    });
    let mut socket = TcpStream::connect(address).unwrap();
    let mut connection = ClientConnection::new(client, ServerName::from(address.ip())).unwrap();
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    stream.write_all(b"hello").unwrap();
    let mut word = [0; 5];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"hello");
    assert_eq!(served.join().unwrap(), key(1).public());
    assert_eq!(negotiated(&connection).unwrap().group, "X25519MLKEM768");
}

#[test]
fn a_server_goes_by_the_names_on_its_certificate() {
    let issued = issued("localhost", now());
    let pair = connect(&client_of(&issued), &server_of(&issued), "localhost").unwrap();
    for good in ["localhost", "LOCALHOST", "127.0.0.1", "::1"] {
        assert!(server_goes_by(&pair.client, &server(good)), "{good}");
    }
    for bad in ["localhost.", "0:0:0:0:0:0:0:1", "local", "a.localhost", "127.0.0.2", "relay.example", "*", "!"] {
        assert!(!server_goes_by(&pair.client, &server(bad)), "{bad}");
    }
}

#[test]
fn a_server_that_is_not_the_one_meant_is_untrusted() {
    let relay = issued("relay.example", now());
    let other = issued("relay.example", now());
    let expired = issued("relay.example", now() - 3654 * DAY);
    let early = issued("relay.example", now() + 2 * DAY);
    let (forged, forged_key) = forge(&relay.authority, "relay.example", "bank.example");
    let forged = server_config(forged.as_bytes(), forged_key.as_bytes()).unwrap();

    let cases = [
        ("of another authority", broken(&client_of(&relay), &server_of(&other), "relay.example")),
        ("by another name", broken(&client_of(&relay), &server_of(&relay), "other.example")),
        ("by its address", broken(&client_of(&relay), &server_of(&relay), "192.0.2.7")),
        ("expired", broken(&client_of(&expired), &server_of(&expired), "relay.example")),
        ("not valid yet", broken(&client_of(&early), &server_of(&early), "relay.example")),
        ("outside of the authority's constraints", broken(&client_of(&relay), &forged, "bank.example")),
    ];
    for (case, broken) in cases {
        let Broken::ByClient(error) = broken else { panic!("{case}: {broken:?}") };
        assert!(is_untrusted(&error), "{case}: {error}");
    }
}

#[test]
fn a_certificate_without_its_key_proves_nothing() {
    let (relay, other) = (issued("relay.example", now()), issued("relay.example", now()));
    let error = server_config(relay.chain.as_bytes(), other.key.as_bytes()).unwrap_err();
    assert!(matches!(error, TlsError::KeyOfAnother), "{error}");

    // A server that is not as honest.
    let chain = vec![CertificateDer::from_pem_slice(relay.chain.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(other.key.as_bytes()).unwrap();
    let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let mut liar = ServerConfig::clone(&server_of(&relay));
    liar.cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    let Broken::ByClient(error) = broken(&client_of(&relay), &Arc::new(liar), "relay.example") else { panic!() };
    assert_eq!(error, Error::InvalidCertificate(CertificateError::BadSignature));
    assert!(is_untrusted(&error));
}

#[test]
fn other_failures_are_no_matter_of_trust() {
    for error in [
        Error::AlertReceived(AlertDescription::BadCertificate),
        Error::AlertReceived(AlertDescription::UnknownCA),
        Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon),
        Error::NoApplicationProtocol,
        Error::DecryptError,
    ] {
        assert!(!is_untrusted(&error), "{error}");
        assert_eq!(tls_error(&std::io::Error::other(error.clone())), Some(&error));
    }
    assert_eq!(tls_error(&std::io::ErrorKind::UnexpectedEof.into()), None);
    assert_eq!(tls_error(&std::io::Error::other("x")), None);
}

#[test]
fn files_that_are_no_certificates_or_keys() {
    let (issued, another) = (issued("relay.example", now()), issued("other", now()));
    let (chain, held) = (issued.chain.as_bytes(), issued.key.as_bytes());
    assert!(matches!(server_config(b"", held), Err(TlsError::NoCertificate)));
    assert!(matches!(server_config(held, held), Err(TlsError::NoCertificate)));
    assert!(matches!(server_config(chain, b""), Err(TlsError::BadKey(_))));
    assert!(matches!(server_config(chain, chain), Err(TlsError::BadKey(_))));
    assert!(matches!(server_config(&chain[..200], held), Err(TlsError::BadCertificate(_) | TlsError::NoCertificate)));
    let junk = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(server_config(junk, held), Err(TlsError::BadCertificate(_))));

    let with = |pem: &[u8]| client_config(&key(1), Roots::Pem(pem.to_vec())).map(|_| ());
    assert!(matches!(with(b""), Err(TlsError::NoCertificate)));
    assert!(matches!(with(junk), Err(TlsError::BadCertificate(_))));
    assert!(matches!(with(held), Err(TlsError::NoCertificate)));
    let two = [issued.authority.certificate_pem.as_bytes(), another.authority.certificate_pem.as_bytes()].concat();
    assert!(with(&two).is_ok(), "several roots in one file");
}

#[test]
fn the_systems_roots_do_not_vouch_for_a_private_authority() {
    let issued = issued("relay.example", now());
    let client = match client_config(&key(1), Roots::System) {
        Ok(client) => client,
        Err(TlsError::NoSystemRoots(why)) => return eprintln!("SKIPPED: this system has no root certificates: {why}"),
        Err(error) => panic!("{error}"),
    };
    let Broken::ByClient(error) = broken(&client, &server_of(&issued), "relay.example") else { panic!() };
    assert!(is_untrusted(&error), "{error}");
}

#[test]
fn configurations_show_no_secret() {
    let issued = issued("relay.example", SystemTime::UNIX_EPOCH + 20_000 * DAY);
    let seed = format!("{:?}", [1u8; 32]);
    let shown = format!("{:?}", client_of(&issued));
    assert!(!shown.contains(seed.trim_matches(['[', ']'])), "{shown}");
    let shown = format!("{:?}", server_of(&issued));
    let der = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let der = format!("{:?}", &der.secret_der()[36..68]);
    assert!(!shown.contains(der.trim_matches(['[', ']'])), "{shown}");
}
