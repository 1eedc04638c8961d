//! What a server lets through to its sessions, and what it answers to those who do not keep to the protocol (S2, S3,
//! S12, S13, B1): against a real server process, by clients made by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may panic, and say what it left out"
)]

mod common;
mod people;
mod raw;

use std::{
    env,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{World, first_login};
use people::port_of;
use protocol::{
    Accept, Accepted, ChatHeader, ChatId, Close, CloseReason, Code, Establish, Established, Held, List, Login, Message,
    Page, Request, Resume, ServerError, ToClient, ToServer,
};
use raw::{Holder, Raw, drain, is_timeout, now, socket};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore,
    client::{AlwaysResolvesClientRawPublicKeys, ClientSessionMemoryCache, ClientSessionStore, Resumption},
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject as _},
    sign::CertifiedKey,
    version::TLS13,
};

/// The server's limits in the tests of time: the least that the configuration takes, or a second.
const TIMES: &str = "handshake_timeout = \"1s\"\nlogin_timeout = \"1s\"\nidle_timeout = \"10s\"";
/// Far longer than a limit of one second, on the slowest machine.
const MUCH_LATER: Duration = Duration::from_secs(30);
/// Bytes of the longest frame that a server takes before the log-in: a `Login` with the longest names and a chat.
const MAX_FIRST_FRAME: usize = 112;
/// In a `Login`: a client's id, and that it is its first.
const ATTEMPT: [u8; 20] = [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 0];

#[test]
fn openssl_gets_in_with_nothing_weaker() {
    let world = World::new();
    if Command::new("openssl").arg("version").stdin(Stdio::null()).output().is_err() {
        assert!(env::var_os("CI").is_none(), "openssl is not installed, and this machine's word counts");
        return eprintln!("left out: openssl is not installed");
    }
    let attempt = |arguments: &[&str]| -> Output {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &world.address, "-servername", "localhost", "-alpn", "sottovoce/1"]);
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    };
    // The alerts of RFC 8446 section 6.2 by their numbers, since their names differ from version to version.
    for (arguments, alert) in [
        // Before 1.2 a hello has no list of signatures, which is missed before the version is.
        (&["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..], "alert number 40"),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "alert number 40"),
        (&["-tls1_2"], "alert number 70"),
        (&["-tls1_2", "-cipher", "ALL:@SECLEVEL=0"], "alert number 70"),
        (&["-tls1_3", "-groups", "X25519"], "alert number 40"),
        (&["-tls1_3", "-groups", "P-256"], "alert number 40"),
        (&["-tls1_3", "-groups", "P-521:P-384:X448"], "alert number 40"),
        (&["-tls1_3", "-groups", "ffdhe2048:ffdhe8192"], "alert number 40"),
        (&["-tls1_3", "-groups", "X25519", "-ciphersuites", "TLS_AES_128_GCM_SHA256"], "alert number 40"),
        // Whichever it offers, 1.3 is what has to be agreed on.
        (&["-groups", "X25519"], "alert number 40"),
    ] {
        let output = attempt(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?} got in");
        assert!(told.contains(alert), "{arguments:?}: {told}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("BEGIN CERTIFICATE"), "{arguments:?} went too far");
    }
    Holder::registered(&world, "alice").log_in().exit();
}

#[test]
fn groups_and_suites_cannot_be_negotiated_down() {
    let world = World::new();
    let alice = Holder::registered(&world, "alice");
    let hybrid: &'static dyn SupportedKxGroup = aws_lc_rs::kx_group::X25519MLKEM768;
    let with = |groups: &[&'static dyn SupportedKxGroup], suites: &[_]| {
        let provider = CryptoProvider {
            kx_groups: groups.to_vec(),
            cipher_suites: suites.to_vec(),
            ..aws_lc_rs::default_provider()
        };
        Raw::connect(port_of(&world), made_by_hand(&world, provider, &Signer::new(7), None))
    };
    let suites = [aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
    for weak in [aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1, aws_lc_rs::kx_group::SECP384R1] {
        with(&[weak], &suites).err().unwrap_or_else(|| panic!("{:?} was accepted", weak.name()));
    }
    with(&[hybrid], &[aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256]).err().expect("128 bits were accepted");
    // Who offers something weaker first is asked to try again, and ends with the hybrid.
    for groups in [&[hybrid][..], &[aws_lc_rs::kx_group::X25519, hybrid], &[aws_lc_rs::kx_group::SECP256R1, hybrid]] {
        let raw = with(groups, &suites).unwrap();
        let group = raw.tls.conn.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
    }
    alice.log_in().exit();
}

#[test]
fn who_speaks_another_protocol_is_not_heard() {
    let world = World::new();
    let alice = Holder::registered(&world, "alice");
    let login = ToServer::Login(first_login("alice")).encode().unwrap();
    for protocols in [&[][..], &["http/1.1"], &["sottovoce/2", "sottovoce"]] {
        let mut config = ClientConfig::clone(&alice.tls);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        // The client may be done with its handshake before it is turned away.
        if let Ok(mut raw) = Raw::connect(port_of(&world), Arc::new(config)) {
            let mut bytes = u16::try_from(login.len()).unwrap().to_be_bytes().to_vec();
            bytes.extend_from_slice(&login);
            let _ = raw.tls.write_all(&bytes).and_then(|()| raw.tls.flush());
            assert_eq!(raw.hear(), None, "{protocols:?}");
        }
    }
    alice.log_in().exit();
}

#[test]
fn only_the_holder_of_a_raw_ed25519_key_gets_in() {
    let world = World::new();
    let alice = Holder::registered(&world, "alice");
    let (mine, port) = (Signer::new(1), port_of(&world));
    let is_turned_away = |config: Arc<ClientConfig>| match Raw::connect(port, config) {
        Ok(mut raw) => raw.hear().is_none(),
        Err(_) => true,
    };
    // Alice's public key with another's signature: it is no secret, so it must not be enough.
    let hers = Signer { public: *alice.key.as_bytes(), ..mine.clone() };
    let provider = aws_lc_rs::default_provider();
    assert!(is_turned_away(made_by_hand(&world, provider.clone(), &hers, None)));
    let mut keyless = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots(&world))
        .with_no_client_auth();
    keyless.alpn_protocols = vec![protocol::ALPN.to_vec()];
    assert!(is_turned_away(Arc::new(keyless)));
    // The same by hand with the right key is heard, and refused for its name alone.
    let mut raw = Raw::connect(port, made_by_hand(&world, provider, &mine, None)).unwrap();
    raw.say(&alice.login());
    assert_eq!(raw.hear_all(), [ToClient::Error(ServerError::UnknownUser)]);
    alice.log_in().exit();
}

#[test]
fn nothing_is_resumed_and_nothing_comes_early() {
    let world = World::new();
    let store = Arc::new(Tickets { inner: ClientSessionMemoryCache::new(8), received: AtomicUsize::new(0) });
    let resumption = Resumption::store(store.clone());
    let config = made_by_hand(&world, aws_lc_rs::default_provider(), &Signer::new(1), Some(resumption));
    for _ in 0..3 {
        let mut connection = ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
        assert!(connection.early_data().is_none());
        drop(connection);
        let mut raw = Raw::connect(port_of(&world), config.clone()).unwrap();
        raw.say(&ToServer::Login(first_login("nobody")));
        // All that the server ever sends has been read after this.
        assert_eq!(raw.hear_all(), [ToClient::Error(ServerError::UnknownUser)]);
        assert_eq!(raw.tls.conn.tls13_tickets_received(), 0);
        assert!(!raw.tls.conn.is_early_data_accepted());
        assert_ne!(raw.tls.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    }
    assert_eq!(store.received.load(Ordering::SeqCst), 0);

    // A hello that says it brings early data, and brings some.
    let mut hello = hello(&world);
    offer_early_data(&mut hello);
    let mut socket = socket(port_of(&world));
    socket.write_all(&hello).unwrap();
    socket.write_all(&[&[23, 3, 3, 0, 48][..], &[0x5a; 48]].concat()).unwrap();
    let answer = drain(&mut socket);
    assert_eq!(answer.first(), Some(&22), "the server goes on with a whole handshake; {answer:02x?}");
    Holder::registered(&world, "alice").log_in().exit();
}

#[test]
fn who_does_not_finish_the_handshake_is_not_waited_for() {
    let world = World::with(TIMES);
    let hello = hello(&world);
    thread::scope(|scope| {
        for sent in [&[][..], &hello[..1], &hello[..hello.len() / 2], &hello, &[0x16, 3, 1, 0x40, 0], &[0x80; 7]] {
            let world = &world;
            scope.spawn(move || {
                let start = now();
                let mut socket = socket(port_of(world));
                socket.write_all(sent).unwrap();
                drain(&mut socket);
                // What is no TLS at all may be turned away at once.
                let is_tls = sent.first().is_none_or(|first| *first == 0x16);
                assert!(!is_tls || start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
                assert!(start.elapsed() < MUCH_LATER);
            });
        }
    });
    // A byte now and then does not buy time.
    let start = now();
    let mut socket = socket(port_of(&world));
    let cut_off = hello.iter().any(|byte| socket.write_all(&[*byte]).is_err() || has_ended(&mut socket, 100));
    assert!(cut_off && start.elapsed() < MUCH_LATER);
}

#[test]
fn who_does_not_log_in_is_not_waited_for() {
    let world = World::with(TIMES);
    let alice = Holder::registered(&world, "alice");
    let start = now();
    let mut raw = alice.connect();
    assert_eq!(raw.hear_all(), [ToClient::Error(ServerError::Idle)]);
    assert!(start.elapsed() >= Duration::from_secs(1) && start.elapsed() < MUCH_LATER, "{:?}", start.elapsed());

    // A part of a frame is no frame, and more parts buy no time.
    let start = now();
    let mut raw = alice.connect();
    let frame = [&[0, 28, Code::Login as u8, 5, b'a', b'l', b'i', b'c', b'e'][..], &ATTEMPT, &[0]].concat();
    raw.write(&frame[..frame.len() - 1]);
    assert_eq!(raw.hear_all(), [ToClient::Error(ServerError::Idle)]);
    assert!(start.elapsed() >= Duration::from_secs(1) && start.elapsed() < MUCH_LATER, "{:?}", start.elapsed());
    let mut raw = alice.connect();
    raw.write(&frame);
    assert_eq!(raw.hear(), Some(ToClient::LoggedIn("localhost".parse().unwrap())));
}

#[test]
fn who_falls_silent_is_logged_off_and_who_pings_is_not() {
    let world = World::with(TIMES);
    let (alice, bob) = (Holder::registered(&world, "alice"), Holder::registered(&world, "bob"));
    let start = now();
    let mut silent = alice.log_in();
    let mut half = bob.log_in();
    let pinging = Holder::registered(&world, "carol");
    let mut pinging = pinging.log_in();
    // Half a frame is as good as silence.
    half.write(&[0, 1]);
    let silent = thread::spawn(move || silent.hear_all());
    let half = thread::spawn(move || half.hear_all());
    pinging.tls.sock.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    while !silent.is_finished() || !half.is_finished() {
        assert_eq!(pinging.hear_what_is_there(), []);
        let mut byte = [0];
        assert!(pinging.tls.read(&mut byte).is_err_and(|error| is_timeout(&error)), "nothing comes unasked");
    }
    assert!(start.elapsed() >= Duration::from_secs(10) && start.elapsed() < 4 * MUCH_LATER, "{:?}", start.elapsed());
    assert_eq!(silent.join().unwrap(), [ToClient::Error(ServerError::Idle)]);
    assert_eq!(half.join().unwrap(), [ToClient::Error(ServerError::Idle)]);
    pinging.say(&ToServer::List(Page::default()));
    assert_eq!(pinging.hear(), Some(ToClient::List(List { names: vec![], more: false })));
}

#[test]
fn before_log_in_there_is_nothing_but_log_in() {
    let world = World::with("login_timeout = \"5s\"");
    let alice = Holder::registered(&world, "alice");
    let chat = ChatId::from_bytes([1; 16]);
    let mut frames: Vec<Vec<u8>> = [
        ToServer::List(Page::default()),
        ToServer::RequestToTalk(Request { peer: "bob".parse().unwrap(), chat }),
        ToServer::Accept(Accept { chat, key_package: vec![1].into() }),
        ToServer::Refuse(chat),
        ToServer::Message(Message { header: ChatHeader::new(chat, 0, 0), sealed: vec![1].into() }),
        ToServer::SessionEstablishment(Establish { chat, welcome: vec![1].into() }),
        ToServer::ChatClosed(Close { chat, reason: CloseReason::Left }),
        ToServer::Resume(Resume { chat, expected: 0 }),
        ToServer::Ping,
    ]
    .map(|frame| frame.encode().unwrap().to_vec())
    .into();
    frames.extend(malformed());
    for frame in &frames {
        let mut raw = alice.connect();
        // What the server does not read, because nobody has that much to say there, may cost its answer.
        let is_long = frame.len() > MAX_FIRST_FRAME;
        let head = &frame[..frame.len().min(40)];
        match raw.try_send(frame).map(|()| raw.hear_all()) {
            Ok(heard) if !is_long => assert_eq!(heard, [ToClient::Error(ServerError::Protocol)], "{head:02x?}"),
            Ok(heard) => assert!(heard.is_empty() || heard == [ToClient::Error(ServerError::Protocol)], "{head:02x?}"),
            Err(error) => assert!(is_long, "{error}: {head:02x?}"),
        }
    }
    // Nobody waits for the rest of what is too long already.
    let mut raw = alice.connect();
    raw.write(&u16::try_from(MAX_FIRST_FRAME + 1).unwrap().to_be_bytes());
    assert_eq!(raw.hear_all(), [ToClient::Error(ServerError::Protocol)]);
    let mut raw = alice.connect();
    raw.write(&u16::try_from(MAX_FIRST_FRAME).unwrap().to_be_bytes());
    assert_eq!(raw.hear_all(), [ToClient::Error(ServerError::Idle)]);
    // The longest that there is, is not.
    let longest = "z".repeat(32);
    let held = Held { peer: longest.parse().unwrap(), resume: Resume { chat, expected: u64::MAX } };
    let login = ToServer::Login(Login { held: Some(held), ..first_login(&longest) });
    assert_eq!(login.encode().unwrap().len(), MAX_FIRST_FRAME);
    let mut raw = alice.connect();
    raw.say(&login);
    assert_eq!(raw.hear_all(), [ToClient::Error(ServerError::UnknownUser)]);
    let mut raw = alice.connect();
    raw.say(&ToServer::Exit);
    assert_eq!(raw.hear_all(), []);
    alice.log_in().exit();
}

/// A connection is made, and given up before its log-in has come through; the next one is there first.
#[test]
fn a_log_in_that_comes_late_does_not_put_out_the_last_one_of_its_client() {
    let world = World::new();
    let (alice, bob) = (Holder::registered(&world, "alice"), Holder::registered(&world, "bob"));
    let resume = Resume { chat: ChatId::from_bytes([1; 16]), expected: 0 };
    let has_chat = |login: Login, peer: &str| {
        ToServer::Login(Login { held: Some(Held { peer: peer.parse().unwrap(), resume }), ..login })
    };
    let logged_in = ToClient::LoggedIn("localhost".parse().unwrap());
    let first = first_login("alice");
    let second = Login { attempt: first.attempt.next(), ..first.clone() };
    let (mut late, mut newest, mut peer) = (alice.connect(), alice.connect(), bob.connect());
    newest.say(&has_chat(second.clone(), "bob"));
    assert_eq!(newest.hear(), Some(logged_in.clone()));
    assert_eq!(newest.hear(), Some(ToClient::PeerAway(resume.chat)));
    peer.say(&has_chat(first_login("bob"), "alice"));
    assert_eq!(peer.hear(), Some(logged_in.clone()));
    assert_eq!([peer.hear(), newest.hear()], [Some(ToClient::Resume(resume)), Some(ToClient::Resume(resume))]);

    // With the same chat, about which it asks bob's session before it is told.
    late.say(&has_chat(first.clone(), "bob"));
    assert_eq!(late.hear_all(), [logged_in.clone(), ToClient::Error(ServerError::Replaced)]);
    for side in [&mut peer, &mut newest] {
        assert_eq!(side.hear(), Some(ToClient::PeerAway(resume.chat)));
        side.say(&ToServer::Resume(resume));
    }
    assert_eq!([peer.hear(), newest.hear()], [Some(ToClient::Resume(resume)), Some(ToClient::Resume(resume))]);
    let message = Message { header: ChatHeader::new(resume.chat, 0, 0), sealed: vec![1].into() };
    peer.say(&ToServer::Message(message.clone()));
    assert_eq!(newest.hear(), Some(ToClient::Message(message)));

    // The same number again, which none but a client has that has used them up; and another client, with a lower one.
    for login in [second, first_login("alice")] {
        let mut next = alice.connect();
        next.say(&ToServer::Login(login));
        assert_eq!(next.hear(), Some(logged_in.clone()));
        assert_eq!(newest.hear_all(), [ToClient::Error(ServerError::Replaced)]);
        newest = next;
    }
    newest.exit();
}

/// Frames that are none, in one way or another.
fn malformed() -> Vec<Vec<u8>> {
    let mut frames = vec![
        vec![],
        // Codes that only a server sends, and codes that nobody does.
        vec![Code::UserNotFound as u8; 17],
        vec![Code::LoggedIn as u8, 1, b'a'],
        vec![Code::Error as u8, 1],
        vec![Code::Pong as u8],
        vec![9],
        vec![15],
        vec![Code::PeerAway as u8; 17],
        vec![23],
        vec![255],
        // Names that nobody can have; too little; too much.
        vec![Code::Login as u8],
        vec![Code::Login as u8, 0],
        vec![Code::Login as u8, 5, b'A', b'l', b'i', b'c', b'e'],
        vec![Code::Login as u8, 5, b'a', b'l', b'i', b'c'],
        vec![Code::Login as u8, 5, b'a', b'l', b'i', b'c', b'e'],
        [&[Code::Login as u8, 5, b'a', b'l', b'i', b'c', b'e'][..], &ATTEMPT[..19]].concat(),
        [&[Code::Login as u8, 5, b'a', b'l', b'i', b'c', b'e'][..], &ATTEMPT].concat(),
        [&[Code::Login as u8, 5, b'a', b'l', b'i', b'c', b'e'][..], &ATTEMPT, &[2]].concat(),
        [&[Code::Login as u8, 5, b'a', b'l', b'i', b'c', b'e'][..], &ATTEMPT, &[0, 0]].concat(),
        // A chat that was kept, without the half of where it stands; with a byte too many.
        [&[Code::Login as u8, 5, b'a', b'l', b'i', b'c', b'e'][..], &ATTEMPT, &[1, 3, b'b', b'o', b'b'], &[7; 23]]
            .concat(),
        [&[Code::Login as u8, 5, b'a', b'l', b'i', b'c', b'e'][..], &ATTEMPT, &[1, 3, b'b', b'o', b'b'], &[7; 25]]
            .concat(),
        vec![Code::Resume as u8; 24],
        vec![Code::Resume as u8; 26],
        vec![Code::Ping as u8, 0],
        vec![Code::Exit as u8, 0],
        vec![Code::List as u8, 0],
        vec![Code::Refuse as u8; 16],
        vec![Code::Refuse as u8; 18],
        vec![Code::Accept as u8; 19],
        vec![Code::ChatClosed as u8; 17],
        [&[Code::ChatClosed as u8][..], &[7; 16], &[6]].concat(),
        [&[Code::Accept as u8][..], &[7; 16], &[0, 0]].concat(),
        vec![Code::Message as u8],
        vec![0x5a; 65_535],
        vec![Code::Ping as u8; 65_535],
    ];
    let mut long_name = vec![Code::Login as u8, 33];
    long_name.extend([b'a'; 33]);
    frames.push(long_name);
    frames
}

#[test]
fn a_frame_may_come_in_pieces_and_many_at_once() {
    let world = World::new();
    let alice = Holder::registered(&world, "alice");
    let mut raw = alice.connect();
    let login = [&[0, 28, Code::Login as u8, 5, b'a', b'l', b'i', b'c', b'e'][..], &ATTEMPT, &[0, 0, 1]].concat();
    for byte in login {
        raw.write(&[byte]);
    }
    raw.write(&[Code::Ping as u8]);
    assert_eq!(raw.hear(), Some(ToClient::LoggedIn("localhost".parse().unwrap())));
    assert_eq!(raw.hear(), Some(ToClient::Pong));
    raw.write(&[0, 1, Code::Ping as u8].repeat(1000));
    for _ in 0..1000 {
        assert_eq!(raw.hear(), Some(ToClient::Pong));
    }
    // The longest frame that is one: a package for a chat that is not there.
    let chat = ChatId::from_bytes([1; 16]);
    let longest = Accept { chat, key_package: vec![7; protocol::limits::MAX_FRAME - 19].into() };
    raw.say(&ToServer::Accept(longest));
    assert_eq!(raw.hear_what_is_there(), []);
}

#[test]
fn malformed_frames_end_a_session() {
    let world = World::new();
    let alice = Holder::registered(&world, "alice");
    for frame in malformed() {
        let mut raw = alice.log_in();
        raw.send(&frame);
        assert_eq!(raw.hear_all(), [ToClient::Error(ServerError::Protocol)], "{:02x?}", &frame[..frame.len().min(40)]);
    }
    alice.log_in().exit();
}

#[test]
fn a_refusal_tells_neither_by_its_bytes_nor_by_its_time_what_was_wrong() {
    let delay = Duration::from_millis(700);
    let world = World::with("refusal_delay = \"700ms\"");
    let alice = Holder::registered(&world, "alice");
    let mallory = Holder::registered(&world, "mallory");
    let stranger = Holder::stranger(&world, "stranger");
    let refused = vec![Code::Error as u8, ServerError::UnknownUser as u8];
    // What is sent with or after the log-in does not hurry the answer: it would tell how long the look-up took.
    let ping: &[u8] = &[0, 1, Code::Ping as u8];
    let exit: &[u8] = &[0, 1, Code::Exit as u8];
    let too_long: &[u8] = &[0xff, 0xff];
    let attempt = &|who: &Holder, name: &str, after: &[u8]| {
        let mut raw = who.connect();
        let login = ToServer::Login(first_login(name)).encode().unwrap();
        let length = u16::try_from(login.len()).unwrap().to_be_bytes();
        let start = now();
        raw.write(&[&length, &login[..], after].concat());
        let answer = raw.receive();
        let took = start.elapsed();
        assert_eq!(answer, Some(refused.clone()), "{} as {name}, then {after:?}", who.name);
        assert_eq!(raw.receive(), None);
        assert!(took >= delay && took < MUCH_LATER, "{} as {name}, then {after:?}: {took:?}", who.name);
    };
    thread::scope(|scope| {
        for (who, name) in [(&stranger, "stranger"), (&stranger, "alice"), (&mallory, "alice"), (&mallory, "nobody")] {
            for after in [&[][..], ping, exit, &[0, 1, 99], too_long] {
                scope.spawn(move || attempt(who, name, after));
            }
        }
    });
    let start = now();
    alice.log_in().exit();
    assert!(start.elapsed() < delay, "who is let in does not wait; {:?}", start.elapsed());
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Calling,
    Ringing,
    Called,
    Accepted,
    Chatting,
}

const CHAT: ChatId = ChatId::from_bytes([7; 16]);
const OTHER: ChatId = ChatId::from_bytes([8; 16]);

/// Brings alice, whose frames are tried out, and bob into `state`.
fn bring(alice: &mut Raw, bob: &mut Raw, state: State, keys: &[protocol::PublicKey; 2]) {
    let request = |peer: &str| Request { peer: peer.parse().unwrap(), chat: CHAT };
    let (package, welcome) = (bytes::Bytes::from_static(b"package"), bytes::Bytes::from_static(b"welcome"));
    let accept = ToServer::Accept(Accept { chat: CHAT, key_package: package.clone() });
    let accepted = |key| Some(ToClient::Accept(Accepted { chat: CHAT, key, key_package: package.clone() }));
    let [alices, bobs] = *keys;
    match state {
        State::Free => {}
        State::Calling | State::Called | State::Chatting => {
            alice.say(&ToServer::RequestToTalk(request("bob")));
            assert_eq!(bob.hear(), Some(ToClient::RequestToTalk(request("alice"))));
        }
        State::Ringing | State::Accepted => {
            bob.say(&ToServer::RequestToTalk(request("alice")));
            assert_eq!(alice.hear(), Some(ToClient::RequestToTalk(request("bob"))));
        }
    }
    match state {
        State::Free | State::Calling | State::Ringing => {}
        State::Called | State::Chatting => {
            bob.say(&accept);
            assert_eq!(alice.hear(), accepted(bobs));
        }
        State::Accepted => {
            alice.say(&accept);
            assert_eq!(bob.hear(), accepted(alices));
        }
    }
    if state == State::Chatting {
        alice.say(&ToServer::SessionEstablishment(Establish { chat: CHAT, welcome: welcome.clone() }));
        let established = Established { chat: CHAT, key: alices, welcome };
        assert_eq!(bob.hear(), Some(ToClient::SessionEstablishment(established)));
    }
}

/// What a frame leads to: what alice and bob hear, and whether alice's connection ends.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    alice: Vec<ToClient>,
    bob: Vec<ToClient>,
    ends: bool,
}

/// What the protocol says that `frame` of alice's leads to in `state`.
fn outcome(state: State, frame: &ToServer, keys: &[protocol::PublicKey; 2]) -> Outcome {
    use State::{Accepted as HasAccepted, Called, Calling, Chatting, Free, Ringing};
    let [alices, _] = *keys;
    let nothing = || Outcome { alice: vec![], bob: vec![], ends: false };
    let alice = |heard: ToClient| Outcome { alice: vec![heard], ..nothing() };
    let bob = |heard: ToClient| Outcome { bob: vec![heard], ..nothing() };
    let closed = |chat, reason| ToClient::ChatClosed(Close { chat, reason });
    // Whoever goes while being asked was not there to be found.
    let left = match state {
        Free => vec![],
        Ringing => vec![ToClient::UserNotFound(CHAT)],
        _ => vec![closed(CHAT, CloseReason::Left)],
    };
    let wrong = || Outcome { alice: vec![ToClient::Error(ServerError::Protocol)], bob: left.clone(), ends: true };
    match (frame, state) {
        (ToServer::Exit, _) => Outcome { alice: vec![], bob: left, ends: true },
        (ToServer::Ping, _) => alice(ToClient::Pong),
        (ToServer::List(_), _) => alice(ToClient::List(List { names: vec!["bob".parse().unwrap()], more: false })),
        (ToServer::Login(_), _) => wrong(),
        (ToServer::RequestToTalk(Request { peer, chat }), Free) => match peer.as_str() {
            "bob" => bob(ToClient::RequestToTalk(Request { peer: "alice".parse().unwrap(), chat: *chat })),
            _ => alice(ToClient::UserNotFound(*chat)),
        },
        // Bob was first, and his request is on its way.
        (ToServer::RequestToTalk(Request { peer, .. }), Ringing) if peer.as_str() == "bob" => nothing(),
        (ToServer::RequestToTalk(Request { chat, .. }), _) => alice(closed(*chat, CloseReason::Busy)),
        (ToServer::Accept(Accept { chat: CHAT, key_package }), Ringing) => {
            let key_package = key_package.clone();
            bob(ToClient::Accept(Accepted { chat: CHAT, key: alices, key_package }))
        }
        (ToServer::Refuse(CHAT), Ringing) => bob(ToClient::Refuse(CHAT)),
        (ToServer::Accept(_) | ToServer::Refuse(_), _) => nothing(),
        (ToServer::Message(message), Chatting) if message.header.chat == CHAT => {
            bob(ToClient::Message(message.clone()))
        }
        (ToServer::Message(_), _) => nothing(),
        // Something was missing: the line is broken until bob's client has said where it stands.
        (ToServer::Resume(Resume { chat: CHAT, .. }), Chatting) => bob(ToClient::PeerAway(CHAT)),
        (ToServer::Resume(_), _) => nothing(),
        (ToServer::SessionEstablishment(Establish { chat: CHAT, welcome }), Called) => {
            let welcome = welcome.clone();
            bob(ToClient::SessionEstablishment(Established { chat: CHAT, key: alices, welcome }))
        }
        // The accepter has no group to let anybody into, and a chat has been set up once.
        (ToServer::SessionEstablishment(Establish { chat: CHAT, .. }), HasAccepted | Chatting) => wrong(),
        (ToServer::SessionEstablishment(_), _) => nothing(),
        // What only a server can know.
        (
            ToServer::ChatClosed(Close {
                reason: CloseReason::Expired | CloseReason::Busy | CloseReason::Overrun, ..
            }),
            _,
        ) => wrong(),
        (ToServer::ChatClosed(Close { chat: OTHER, .. }), _) | (ToServer::ChatClosed(_), Free) => nothing(),
        (ToServer::ChatClosed(Close { reason: CloseReason::Left, .. }), Ringing) => bob(ToClient::UserNotFound(CHAT)),
        (ToServer::ChatClosed(Close { reason, .. }), Calling | Ringing | Called | HasAccepted | Chatting) => {
            bob(closed(CHAT, *reason))
        }
    }
}

#[test]
fn each_frame_in_each_state_does_what_it_should() {
    // More requests than a user has, since each try begins anew.
    let world = World::with("request_rate = 1000000\nrequest_burst = 1000000");
    let holders = [Holder::registered(&world, "alice"), Holder::registered(&world, "bob")];
    let keys = holders.each_ref().map(|holder| holder.key);
    let mut frames = vec![
        ToServer::Exit,
        ToServer::Ping,
        ToServer::List(Page::default()),
        ToServer::Login(first_login("alice")),
        ToServer::Login(first_login("bob")),
        ToServer::Login(Login {
            held: Some(Held { peer: "bob".parse().unwrap(), resume: Resume { chat: CHAT, expected: 0 } }),
            ..first_login("alice")
        }),
    ];
    for peer in ["alice", "bob", "carol"] {
        frames.push(ToServer::RequestToTalk(Request { peer: peer.parse().unwrap(), chat: OTHER }));
    }
    for chat in [CHAT, OTHER] {
        frames.push(ToServer::Accept(Accept { chat, key_package: vec![1; 2000].into() }));
        frames.push(ToServer::Refuse(chat));
        frames.push(ToServer::Message(Message { header: ChatHeader::new(chat, 3, 4), sealed: vec![5; 300].into() }));
        frames.push(ToServer::SessionEstablishment(Establish { chat, welcome: vec![6; 3000].into() }));
        frames.push(ToServer::Resume(Resume { chat, expected: 5 }));
        for reason in [
            CloseReason::Left,
            CloseReason::CalledOff,
            CloseReason::Failed,
            CloseReason::Expired,
            CloseReason::Busy,
            CloseReason::Overrun,
        ] {
            frames.push(ToServer::ChatClosed(Close { chat, reason }));
        }
    }
    for state in [State::Free, State::Calling, State::Ringing, State::Called, State::Accepted, State::Chatting] {
        for frame in &frames {
            let [mut alice, mut bob] = holders.each_ref().map(Holder::log_in);
            bring(&mut alice, &mut bob, state, &keys);
            let expected = outcome(state, frame, &keys);
            alice.say(frame);
            let alice_heard = if expected.ends { alice.hear_all() } else { hear_all_but_pong(&mut alice, frame) };
            // What a session says may overtake what another has to say to it, so bob's is waited for.
            let mut bob_heard: Vec<_> = expected.bob.iter().filter_map(|_| bob.hear()).collect();
            bob_heard.extend(bob.hear_what_is_there());
            let heard = Outcome { alice: alice_heard, bob: bob_heard, ends: expected.ends };
            assert_eq!(heard, expected, "{frame:?} in {state:?}");
            if !expected.ends {
                alice.exit();
            }
            bob.exit();
        }
    }
}

/// What is there after `frame`; the answer to a ping is one of its own.
fn hear_all_but_pong(alice: &mut Raw, frame: &ToServer) -> Vec<ToClient> {
    match frame {
        ToServer::Ping => {
            let pong = alice.hear();
            pong.into_iter().chain(alice.hear_what_is_there()).collect()
        }
        _ => alice.hear_what_is_there(),
    }
}

/// Another version in the head of a chat's frame ends the session, in a chat or not.
#[test]
fn a_message_of_another_version_ends_a_session() {
    let world = World::new();
    let holders = [Holder::registered(&world, "alice"), Holder::registered(&world, "bob")];
    let keys = holders.each_ref().map(|holder| holder.key);
    for state in [State::Free, State::Chatting] {
        for version in [0, 2, 255] {
            let [mut alice, mut bob] = holders.each_ref().map(Holder::log_in);
            bring(&mut alice, &mut bob, state, &keys);
            let header = ChatHeader { version, ..ChatHeader::new(CHAT, 0, 0) };
            alice.say(&ToServer::Message(Message { header, sealed: vec![1].into() }));
            assert_eq!(alice.hear_all(), [ToClient::Error(ServerError::Protocol)]);
            bob.exit();
        }
    }
}

/// Whether the connection has ended; waits this many milliseconds for it.
fn has_ended(socket: &mut TcpStream, milliseconds: u64) -> bool {
    socket.set_read_timeout(Some(Duration::from_millis(milliseconds))).unwrap();
    match socket.read(&mut [0; 4096]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => !is_timeout(&error),
    }
}

/// The hello of a client, with the head of its record.
fn hello(world: &World) -> Vec<u8> {
    let config = Holder::stranger(world, "stranger").tls;
    let mut connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    assert_eq!((hello[0], usize::from(u16::from_be_bytes([hello[3], hello[4]]))), (22, hello.len() - 5));
    hello
}

/// Adds to a hello what a client sends who resumes a session and brings early data (RFC 8446 section 4.2.10).
fn offer_early_data(hello: &mut Vec<u8>) {
    let key_exchange_modes: &[u8] = &[0, 45, 0, 2, 1, 1];
    let has_modes = hello.windows(4).any(|four| four == &key_exchange_modes[..4]);
    let key_exchange_modes = if has_modes { &[] } else { key_exchange_modes };
    let early_data: &[u8] = &[0, 42, 0, 0];
    let ticket: &[u8] = &[0, 38, 0, 32];
    let binder: &[u8] = &[0, 33, 32];
    let psk = [ticket, &[0x11; 32], &[0; 4], binder, &[0x22; 32]].concat();
    let psk_head: &[u8] = &[0, 41, 0, u8::try_from(psk.len()).unwrap()];
    let added = [key_exchange_modes, early_data, psk_head, &psk].concat();

    // Record, handshake and extensions each bear their length: after type and version, after type, after the rest.
    let mut place = 9 + 2 + 32;
    place += 1 + usize::from(hello[place]);
    place += 2 + usize::from(u16::from_be_bytes([hello[place], hello[place + 1]]));
    place += 1 + usize::from(hello[place]);
    for length in [3, 7, place] {
        let longer = usize::from(u16::from_be_bytes([hello[length], hello[length + 1]])) + added.len();
        hello[length..length + 2].copy_from_slice(&u16::try_from(longer).unwrap().to_be_bytes());
    }
    assert_eq!(
        usize::from(u16::from_be_bytes([hello[place], hello[place + 1]])),
        hello.len() + added.len() - place - 2
    );
    hello.extend_from_slice(&added);
}

/// An Ed25519 key as TLS takes it, and the public key that is shown with it, which may be another's.
#[derive(Clone)]
struct Signer {
    seed: [u8; 32],
    public: [u8; 32],
}

impl Signer {
    fn new(seed: u8) -> Self {
        let seed = [seed; 32];
        Self { seed, public: *identity::UserKey::from_seed(&seed).public().as_bytes() }
    }
}

/// A client's configuration that owes nothing to this program's own.
fn made_by_hand(
    world: &World,
    provider: CryptoProvider,
    signer: &Signer,
    resumption: Option<Resumption>,
) -> Arc<ClientConfig> {
    // RFC 8410 sections 4 and 7.
    let pkcs8 = [&b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"[..], &signer.seed].concat();
    let spki = [&b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..], &signer.public].concat();
    let key = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8)).unwrap();
    let shown = CertifiedKey::new(vec![CertificateDer::from(spki)], key);
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots(world))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(shown))));
    config.alpn_protocols = vec![protocol::ALPN.to_vec()];
    if let Some(resumption) = resumption {
        config.resumption = resumption;
        config.enable_early_data = true;
    }
    Arc::new(config)
}

fn roots(world: &World) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(world.server_dir().join("ca.pem")).unwrap()).unwrap();
    roots
}

/// Counts the tickets that come in.
#[derive(Debug)]
struct Tickets {
    inner: ClientSessionMemoryCache,
    received: AtomicUsize,
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.inner.set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.inner.kx_hint(server_name)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: rustls::client::Tls12ClientSessionValue) {
        self.received.fetch_add(1, Ordering::SeqCst);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: rustls::client::Tls13ClientSessionValue) {
        self.received.fetch_add(1, Ordering::SeqCst);
        self.inner.insert_tls13_ticket(name, value);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.inner.take_tls13_ticket(name)
    }
}
