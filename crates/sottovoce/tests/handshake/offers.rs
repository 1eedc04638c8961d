//! What a client offers in its first message, and what the server makes of it.

use crate::{
    alert::{
        DECODE_ERROR, HANDSHAKE_FAILURE, ILLEGAL_PARAMETER, MISSING_EXTENSION, NO_APPLICATION_PROTOCOL,
        PROTOCOL_VERSION, UNEXPECTED_MESSAGE,
    },
    bent::{
        APPLICATION_DATA, CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, ENCRYPTED_EXTENSIONS, FINISHED, Heard,
        caller::{Answer, Caller, Signer},
        hello::{
            AES_256, ALPN, CHACHA20, CLIENT_CERTIFICATE_TYPE, COMPRESSED_CERTIFICATES, COOKIE, ClientHello, EARLY_DATA,
            GROUPS, HYBRID, KEY_EXCHANGE_MODES, KEY_SHARE, PADDING, POST_HANDSHAKE_AUTH, PRE_SHARED_KEY,
            SERVER_CERTIFICATE_TYPE, SERVER_NAME, SIGNATURES, ServerHello, VERSIONS, list16, protocols, shares,
            versions,
        },
        record, vector8, vector16,
    },
    common::World,
};

/// What comes of a hello that is bent. Whatever the server agrees on is the one version, group and protocol, one of two
/// suites, and no session of before.
fn answer(world: &World, bend: impl FnOnce(ClientHello) -> ClientHello) -> Answer {
    let (mut caller, hello) = Caller::new(world);
    let hello = bend(hello);
    let answer = caller.offers(&hello);
    if let Answer::Hello(agreed) | Answer::Retry(agreed) = &answer {
        assert_is_strong(agreed, &hello);
    }
    answer
}

fn assert_is_strong(agreed: &ServerHello, offered: &ClientHello) {
    assert_eq!(agreed.version, [3, 3], "what TLS 1.3 says here");
    assert_eq!(agreed.extension(VERSIONS), Some(&[3, 4][..]), "{agreed:02x?}");
    assert_eq!(agreed.group(), Some(HYBRID), "{agreed:02x?}");
    assert!([AES_256, CHACHA20].contains(&agreed.suite) && offered.suites.contains(&agreed.suite), "{agreed:02x?}");
    assert_eq!(agreed.extension(PRE_SHARED_KEY), None, "{agreed:02x?}");
    assert_eq!((&agreed.session, agreed.compression), (&offered.session, 0));
    let downgrade = [b"DOWNGRD\x00", b"DOWNGRD\x01"];
    assert!(!downgrade.contains(&agreed.random[24..].try_into().unwrap()), "{agreed:02x?}");
}

fn goes_on(answer: &Answer) -> bool {
    matches!(answer, Answer::Hello(_))
}

/// How a handshake of this hello ends, which is to be refused after the server's hello.
fn refused_later(world: &World, bend: impl FnOnce(ClientHello) -> ClientHello) -> Heard {
    let (mut caller, hello) = Caller::new(world);
    let Answer::Hello(hello) = caller.offers(&bend(hello)) else { panic!("refused too early") };
    caller.agrees(&hello).expect_err("the server goes on")
}

/// The share of an honest hello.
fn share_of(hello: &ClientHello) -> Vec<u8> {
    hello.extensions.iter().find(|extension| extension.0 == KEY_SHARE).unwrap().1[6..].to_vec()
}

fn honest_users_get_in(world: &World) {
    let alice = Signer::registered(world, "alice", 7);
    let caller = Caller::logged_in(world, &alice);
    assert!(caller.was_shown_x509(world));
    let flight: Vec<_> = caller.flight.iter().map(|message| message[0]).collect();
    assert_eq!(flight, [ENCRYPTED_EXTENSIONS, CERTIFICATE_REQUEST, CERTIFICATE, CERTIFICATE_VERIFY, FINISHED]);
}

#[test]
fn no_version_but_1_3_is_agreed_on_however_it_is_asked_for() {
    let world = World::new();
    let refused = Answer::Alert(PROTOCOL_VERSION);
    // A hello of TLS 1.2 and of all that was before it, by the old field and by the new list.
    for version in [[3, 3], [3, 2], [3, 1], [3, 0], [2, 0], [0, 0], [3, 4], [3, 5], [0xfe, 0xfd], [0xff, 0xff]] {
        let old = |hello: ClientHello| ClientHello { version, ..hello }.without(VERSIONS);
        assert_eq!(answer(&world, old), refused, "{version:02x?}");
        let suites = [0xc02b, 0xc02c, 0xc02f, 0x009c, 0x002f, 0x0005, 0x00ff];
        assert_eq!(answer(&world, |hello| old(hello).with_suites(&suites)), refused, "{version:02x?}");
        // The old field says nothing where the new list is there.
        assert!(goes_on(&answer(&world, |hello| ClientHello { version, ..hello })), "{version:02x?}");
    }
    for listed in [&[0x0303][..], &[0x0303, 0x0302, 0x0301, 0x0300], &[0x0200], &[0x7f1c, 0x7f1a], &[0x0305], &[0x0a0a]]
    {
        assert_eq!(answer(&world, |hello| hello.with(VERSIONS, versions(listed))), refused, "{listed:04x?}");
    }
    for listed in [[0x0303, 0x0304], [0x0304, 0x0300], [0x0a0a, 0x0304], [0x0305, 0x0304]] {
        assert!(goes_on(&answer(&world, |hello| hello.with(VERSIONS, versions(&listed)))), "{listed:04x?}");
    }
    assert_eq!(answer(&world, |hello| hello.with(VERSIONS, versions(&[]))), Answer::Alert(DECODE_ERROR));
    // SSL 2, whose hello has no record around it.
    let (mut caller, _) = Caller::new(&world);
    let ssl2 = [&[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80][..], &[0x5a; 34]].concat();
    caller.wire.sends_raw(&ssl2);
    assert!(matches!(caller.answer(), Answer::Alert(DECODE_ERROR | UNEXPECTED_MESSAGE) | Answer::Closed));
    honest_users_get_in(&world);
}

/// By numbers of IANA's list: P-256, P-384, P-521, X25519, X448, finite fields of 2048 to 8192 bits, ML-KEM alone in three
/// sizes, ML-KEM with P-256 and P-384, drafts with Kyber, and what nobody has.
const OTHER_GROUPS: [(u16, usize); 19] = [
    (23, 65),
    (24, 97),
    (25, 133),
    (29, 32),
    (30, 56),
    (256, 256),
    (257, 384),
    (258, 512),
    (259, 768),
    (260, 1024),
    (0x0200, 800),
    (0x0201, 1184),
    (0x0202, 1568),
    (0x11eb, 1249),
    (0x11ed, 1665),
    (0x6399, 1216),
    (0xfe30, 1216),
    (0x0a0a, 1),
    (0, 32),
];

#[test]
fn no_group_but_the_hybrid_is_agreed_on() {
    let world = World::new();
    let refused = Answer::Alert(HANDSHAKE_FAILURE);
    for (group, length) in OTHER_GROUPS {
        let share = vec![4; length];
        let alone =
            |hello: ClientHello| hello.with(GROUPS, list16(&[group])).with(KEY_SHARE, shares(&[(group, &share)]));
        assert_eq!(answer(&world, alone), refused, "{group:#x}");
        // A share of the hybrid that the list does not have, and a list of it alone with another's share first.
        assert_eq!(answer(&world, |hello| hello.with(GROUPS, list16(&[group]))), refused, "{group:#x}");
        let beside = answer(&world, |hello| {
            let hybrid = share_of(&hello);
            let both = shares(&[(group, &share), (HYBRID, &hybrid)]);
            hello.with(GROUPS, list16(&[group, HYBRID])).with(KEY_SHARE, both)
        });
        assert!(goes_on(&beside), "{group:#x}: {beside:02x?}");
        // Both listed, and the other's share alone: the server asks again, for the hybrid.
        let asked = answer(&world, |hello| {
            hello.with(GROUPS, list16(&[group, HYBRID])).with(KEY_SHARE, shares(&[(group, &share)]))
        });
        assert!(matches!(asked, Answer::Retry(_)), "{group:#x}: {asked:02x?}");
    }
    let none = |number| answer(&world, |hello| hello.without(number));
    assert_eq!((none(GROUPS), none(KEY_SHARE)), (refused.clone(), refused));
    honest_users_get_in(&world);
}

#[test]
fn a_key_share_that_is_not_one_ends_the_handshake() {
    let world = World::new();
    let with = |bend: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        answer(&world, |hello| {
            let share = bend(share_of(&hello));
            hello.with(KEY_SHARE, shares(&[(HYBRID, &share)]))
        })
    };
    let illegal = Answer::Alert(ILLEGAL_PARAMETER);
    // ML-KEM's 1184 bytes come first, X25519's 32 last.
    assert_eq!(with(&|share| share[..1215].to_vec()), illegal, "short");
    assert_eq!(with(&|share| share[..1184].to_vec()), illegal, "ML-KEM alone");
    assert_eq!(with(&|share| share[1184..].to_vec()), illegal, "X25519 alone");
    assert_eq!(with(&|share| [&share[1184..], &share[..1184]].concat()), illegal, "the other way round");
    assert_eq!(with(&|share| [&share[..], &[0]].concat()), illegal, "long");
    assert_eq!(with(&|_| vec![]), Answer::Alert(DECODE_ERROR), "empty");
    for first in [0, 1] {
        let point = [&[first][..], &[0; 31]].concat();
        assert_eq!(with(&|share| [&share[..1184], &point].concat()), illegal, "a point that gives all the same secret");
    }
    assert_eq!(with(&|share| [&[0xff; 1152], &share[1152..]].concat()), illegal, "coefficients beyond the modulus");
    let twice = answer(&world, |hello| {
        let share = share_of(&hello);
        hello.with(KEY_SHARE, shares(&[(HYBRID, &share), (HYBRID, &share)]))
    });
    assert_eq!(twice, illegal);
    let trailing = answer(&world, |hello| {
        let body = [shares(&[(HYBRID, &share_of(&hello))]), vec![0]].concat();
        hello.with(KEY_SHARE, body)
    });
    assert_eq!(trailing, Answer::Alert(DECODE_ERROR));
    honest_users_get_in(&world);
}

#[test]
fn a_second_hello_has_to_be_what_the_server_asked_for() {
    let world = World::new();
    let alice = Signer::registered(&world, "alice", 7);
    let second = |bend: &dyn Fn(ClientHello) -> ClientHello| {
        let (mut caller, hello) = Caller::new(&world);
        let first = hello.clone().with(KEY_SHARE, shares(&[]));
        let Answer::Retry(retry) = caller.offers(&first) else { panic!("no share was enough") };
        assert_is_strong(&retry, &first);
        (caller.offers(&bend(hello.clone())), caller, hello)
    };
    let illegal = Answer::Alert(ILLEGAL_PARAMETER);
    assert_eq!(second(&|hello| hello.with(KEY_SHARE, shares(&[]))).0, illegal, "no share again");
    let x25519 = |hello: ClientHello| hello.with(KEY_SHARE, shares(&[(29, &[9; 32])]));
    assert_eq!(second(&x25519).0, illegal, "another group's");
    let talked_down = |hello: ClientHello| x25519(hello.with(GROUPS, list16(&[29])));
    assert!(matches!(second(&talked_down).0, Answer::Alert(_)));
    let older = |hello: ClientHello| hello.with(VERSIONS, versions(&[0x0303]));
    assert_eq!(second(&older).0, Answer::Alert(PROTOCOL_VERSION));
    let weaker = |hello: ClientHello| hello.with_suites(&[0x1301]);
    assert!(matches!(second(&weaker).0, Answer::Alert(_)));
    let early = |hello: ClientHello| hello.with(EARLY_DATA, vec![]);
    assert!(matches!(second(&early).0, Answer::Alert(_)));

    // The transcript begins with a stand-in for the first hello then (section 4.4.1), and all is well.
    let (answer, mut caller, _) = second(&|hello| hello);
    let Answer::Hello(hello) = answer else { panic!("{answer:02x?}") };
    caller.stands_in_for_the_first_hello();
    caller.agrees(&hello).unwrap();
    caller.proves(&alice);
    caller.logs_in(&alice.name);
    assert!(caller.hears_frame().is_some());
}

#[test]
fn no_cipher_of_less_than_256_bits_is_agreed_on() {
    let world = World::new();
    // AES-128 with GCM and CCM, those of TLS 1.2 and before, those that encrypt nothing, marks, and what nobody has.
    let weak = [
        0x1301, 0x1304, 0x1305, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0x009c, 0x009f, 0x0035, 0x000a, 0x0005, 0x0000,
        0xc0b4, 0xc0b5, 0x00ff, 0x5600, 0x1306, 0x0a0a,
    ];
    for suite in weak {
        assert_eq!(answer(&world, |hello| hello.with_suites(&[suite])), Answer::Alert(HANDSHAKE_FAILURE), "{suite:#x}");
        for ours in [AES_256, CHACHA20] {
            assert!(goes_on(&answer(&world, |hello| hello.with_suites(&[suite, ours]))), "{suite:#x}, {ours:#x}");
        }
    }
    assert_eq!(answer(&world, |hello| hello.with_suites(&weak)), Answer::Alert(HANDSHAKE_FAILURE));
    assert_eq!(answer(&world, |hello| hello.with_suites(&[])), Answer::Alert(DECODE_ERROR));
    honest_users_get_in(&world);
}

#[test]
fn a_made_up_session_is_not_resumed_and_nothing_is_taken_early() {
    let world = World::new();
    let alice = Signer::registered(&world, "alice", 7);
    let psk = |ticket: &[u8], binder: usize| {
        let identity = [vector16(ticket), vec![0; 4]].concat();
        [vector16(&identity), vector16(&vector8(&vec![0x22; binder]))].concat()
    };
    // With and without a key exchange, by itself and with early data.
    for modes in [&[0][..], &[1], &[0, 1], &[1, 0], &[9]] {
        for is_early in [false, true] {
            for (ticket, binder) in [(&[0x11; 32][..], 48), (&[0x11; 32], 32), (&[0x11; 400], 64), (b"imported", 48)] {
                let (mut caller, mut hello) = Caller::new(&world);
                hello = hello.with(KEY_EXCHANGE_MODES, vector8(modes));
                if is_early {
                    hello = hello.with(EARLY_DATA, vec![]);
                }
                hello = hello.with(PRE_SHARED_KEY, psk(ticket, binder));
                let Answer::Hello(agreed) = caller.offers(&hello) else { panic!("{modes:?}") };
                assert_is_strong(&agreed, &hello);
                if is_early {
                    // What is brought early cannot be read by anybody, and is dropped.
                    caller.wire.sends_raw(&record(APPLICATION_DATA, &[0x5a; 64]));
                }
                caller.agrees(&agreed).unwrap();
                let told = caller.told(ENCRYPTED_EXTENSIONS).unwrap();
                assert!(!told.windows(4).any(|four| four == [0, 42, 0, 0]), "early data is not accepted: {told:02x?}");
                assert!(caller.told(CERTIFICATE).is_some(), "a whole handshake");
                caller.proves(&alice);
                caller.logs_in(&alice.name);
                assert!(caller.hears_frame().is_some());
            }
        }
    }
    let without_modes = answer(&world, |hello| hello.with(PRE_SHARED_KEY, psk(&[1; 32], 48)));
    assert_eq!(without_modes, Answer::Alert(MISSING_EXTENSION));
    let not_last = answer(&world, |hello| {
        hello.with(KEY_EXCHANGE_MODES, vector8(&[1])).with(PRE_SHARED_KEY, psk(&[1; 32], 48)).with(0x1234, vec![])
    });
    assert_eq!(not_last, Answer::Alert(ILLEGAL_PARAMETER));
}

#[test]
fn a_client_that_does_not_offer_a_raw_key_alone_or_asks_for_the_servers_is_refused_or_gets_x509() {
    let world = World::new();
    let alice = Signer::registered(&world, "alice", 7);
    for types in [&[0][..], &[1], &[255], &[0, 1]] {
        let refused = refused_later(&world, |hello| hello.with(CLIENT_CERTIFICATE_TYPE, vector8(types)));
        assert_eq!(refused, Heard::Alert(HANDSHAKE_FAILURE), "{types:?}");
    }
    assert_eq!(refused_later(&world, |hello| hello.without(CLIENT_CERTIFICATE_TYPE)), Heard::Alert(HANDSHAKE_FAILURE));
    assert_eq!(answer(&world, |hello| hello.with(CLIENT_CERTIFICATE_TYPE, vector8(&[]))), Answer::Alert(DECODE_ERROR));
    // Where both are offered, in whatever order, the raw key is what the server takes.
    for types in [[0, 2], [2, 0]] {
        let (mut caller, hello) = Caller::new(&world);
        let Answer::Hello(hello) = caller.offers(&hello.with(CLIENT_CERTIFICATE_TYPE, vector8(&types))) else {
            panic!("{types:?}")
        };
        caller.agrees(&hello).unwrap();
        let told = caller.told(ENCRYPTED_EXTENSIONS).unwrap();
        assert!(told.windows(5).any(|window| window == [0, 19, 0, 1, 2]), "{told:02x?}");
        caller.proves(&alice);
        caller.logs_in(&alice.name);
        assert!(caller.hears_frame().is_some());
    }
    // The server has no raw key to show.
    for types in [&[2][..], &[2, 0], &[0, 2], &[0], &[1]] {
        let (mut caller, hello) = Caller::new(&world);
        let hello = hello.with(SERVER_CERTIFICATE_TYPE, vector8(types));
        let Answer::Hello(agreed) = caller.offers(&hello) else { panic!("{types:?}") };
        if caller.agrees(&agreed).is_ok() {
            assert!(caller.was_shown_x509(&world), "{types:?}");
        }
    }
}

#[test]
fn no_other_protocol_is_agreed_on() {
    let world = World::new();
    for names in
        [&[&b"h2"[..], b"http/1.1"][..], &[b"sottovoce/2", b"sottovoce"], &[b"SOTTOVOCE/1"], &[b"sottovoce/1 "]]
    {
        let refused = refused_later(&world, |hello| hello.with(ALPN, protocols(names)));
        assert_eq!(refused, Heard::Alert(NO_APPLICATION_PROTOCOL), "{names:?}");
    }
    for body in [protocols(&[]), protocols(&[b""]), vec![]] {
        assert_eq!(answer(&world, |hello| hello.with(ALPN, body)), Answer::Alert(DECODE_ERROR));
    }
    let alice = Signer::registered(&world, "alice", 7);
    let with = |bend: &dyn Fn(ClientHello) -> ClientHello| {
        let (mut caller, hello) = Caller::new(&world);
        let Answer::Hello(hello) = caller.offers(&bend(hello)) else { panic!("refused") };
        caller.agrees(&hello).unwrap();
        caller.proves(&alice);
        caller.logs_in(&alice.name);
        caller
    };
    // Among many it is ours; and who says nothing of it is not heard, whoever it is.
    let many: Vec<&[u8]> = [&b"h2"[..]; 99].into_iter().chain([protocol::ALPN]).collect();
    assert!(with(&|hello| hello.with(ALPN, protocols(&many))).hears_frame().is_some());
    assert!(matches!(with(&|hello| hello.without(ALPN)).wire.is_turned_away(), Heard::Alert(_) | Heard::Closed));
}

#[test]
fn hellos_that_are_malformed_or_giant_end_one_connection_each() {
    let world = World::new();
    let illegal = Answer::Alert(ILLEGAL_PARAMETER);
    for compressions in [&[1][..], &[1, 0], &[0, 1], &[0, 0]] {
        let answer = answer(&world, |hello| ClientHello { compressions: compressions.to_vec(), ..hello });
        assert_eq!(answer, illegal, "{compressions:?}");
    }
    assert_eq!(answer(&world, |hello| ClientHello { compressions: vec![], ..hello }), Answer::Alert(DECODE_ERROR));
    for length in [33, 255] {
        let answer = answer(&world, |hello| ClientHello { session: vec![1; length], ..hello });
        assert_eq!(answer, Answer::Alert(DECODE_ERROR), "{length}");
    }
    for number in [GROUPS, KEY_SHARE, VERSIONS, 0x1234] {
        let twice = answer(&world, |mut hello| {
            let again = hello.extensions.iter().find(|extension| extension.0 == number).cloned();
            hello = hello.with(number, again.map_or(vec![], |extension| extension.1));
            let again = hello.extensions.iter().find(|extension| extension.0 == number).cloned().unwrap();
            hello.extensions.push(again);
            hello
        });
        assert_eq!(twice, illegal, "{number}");
    }
    assert_eq!(answer(&world, |hello| hello.without(SIGNATURES)), Answer::Alert(HANDSHAKE_FAILURE));
    assert_eq!(answer(&world, |hello| hello.with(SIGNATURES, list16(&[]))), Answer::Alert(DECODE_ERROR));
    for schemes in [&[0x0201, 0x0203][..], &[0x0401], &[0x0808], &[0x0a0a]] {
        let refused = refused_later(&world, |hello| hello.with(SIGNATURES, list16(schemes)));
        assert_eq!(refused, Heard::Alert(HANDSHAKE_FAILURE), "{schemes:04x?}");
    }
    assert_eq!(answer(&world, |hello| ClientHello { extensions: vec![], ..hello }), Answer::Alert(HANDSHAKE_FAILURE));

    // What is merely odd changes nothing of what is agreed on.
    let odd: [fn(ClientHello) -> ClientHello; 8] = [
        |hello| hello.with(PADDING, vec![0; 10_000]),
        |hello| hello.with(COOKIE, vector16(&[1; 9])),
        |hello| hello.with(POST_HANDSHAKE_AUTH, vec![]),
        |hello| hello.with(COMPRESSED_CERTIFICATES, vec![2, 0, 1]),
        |hello| hello.with(0xff01, vector8(&[1; 12])),
        |hello| hello.with(EARLY_DATA, vec![]),
        |hello| hello.without(SERVER_NAME),
        |hello| ClientHello { session: vec![], ..hello },
    ];
    for odd in odd {
        assert!(goes_on(&answer(&world, odd)));
    }

    // More than anybody has to say before a log-in is not listened to.
    let long = answer(&world, |hello| hello.with(PADDING, vec![0; 20_000]));
    assert!(matches!(long, Answer::Alert(_) | Answer::Closed), "{long:?}");

    // A length beyond all bounds, and a hello that says less than it holds, or more.
    let (mut caller, hello) = Caller::new(&world);
    let honest = hello.message();
    let [head, body] = [&honest[..4], &honest[4..]];
    let mut giant = head.to_vec();
    giant[1..4].fill(0xff);
    let giant = [&giant, body].concat();
    assert!(matches!(caller.offers_raw(&giant, [3, 1]), Answer::Alert(_) | Answer::Closed));
    for change in [-1i32, 1] {
        let (mut caller, _) = Caller::new(&world);
        let mut other = honest.clone();
        let length = u32::try_from(body.len()).unwrap().checked_add_signed(change).unwrap().to_be_bytes();
        other[1..4].copy_from_slice(&length[1..]);
        other.push(0);
        assert!(matches!(caller.offers_raw(&other, [3, 1]), Answer::Alert(_) | Answer::Closed), "{change}");
    }
    honest_users_get_in(&world);
}
