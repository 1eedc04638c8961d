//! What may come after the handshake, or in place of it, on the level of records: a second handshake, tickets, floods,
//! records that are empty, giant or cut up. Whoever does it loses a connection; others notice nothing.

use std::net::Shutdown;

use protocol::{Code, ToClient, ToServer};

use crate::{
    alert::{BAD_RECORD_MAC, DECODE_ERROR, ILLEGAL_PARAMETER, RECORD_OVERFLOW, UNEXPECTED_MESSAGE},
    bent::{
        ALERT, APPLICATION_DATA, CERTIFICATE_REQUEST, CHANGE_CIPHER_SPEC, CLOSE_NOTIFY, FINISHED, HANDSHAKE, Heard,
        KEY_UPDATE, MAX_PLAIN, NEW_SESSION_TICKET, SERVER_HELLO,
        caller::{Answer, Caller, Signer},
        certificate,
        hello::ClientHello,
        message, record, vector8, vector16,
    },
    common::World,
};

/// A server with bob in it, who has to be as well off afterwards as before, and alice, who misbehaves.
struct Scene {
    world: World,
    alice: Signer,
    bob: Caller,
}

impl Scene {
    fn new() -> Self {
        Self::with("")
    }

    /// With these settings of the server.
    fn with(settings: &str) -> Self {
        let world = World::with(settings);
        let alice = Signer::registered(&world, "alice", 7);
        let bob = Signer::registered(&world, "bob", 8);
        let bob = Caller::logged_in(&world, &bob);
        Self { world, alice, bob }
    }

    /// How the connection of alice, who is logged in, ends after what she does.
    fn ends(&self, does: impl FnOnce(&mut Caller)) -> Heard {
        let mut alice = Caller::logged_in(&self.world, &self.alice);
        does(&mut alice);
        alice.wire.is_turned_away()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            answers(&mut self.bob);
            answers(&mut Caller::logged_in(&self.world, &self.alice));
        }
    }
}

fn answers(caller: &mut Caller) {
    caller.says_frame(&ToServer::Ping);
    assert_eq!(caller.hears_frame(), Some(ToClient::Pong));
}

#[test]
fn nothing_is_negotiated_again() {
    let scene = Scene::new();
    let unexpected = Heard::Alert(UNEXPECTED_MESSAGE);
    let hello = || Caller::new(&scene.world).1.message();
    let again = scene.ends(|alice| alice.wire.says(&hello()));
    assert_eq!(again, unexpected, "a hello under the keys");
    // TLS 1.2's request for it, and all other messages that have no place here.
    for message_type in [0, SERVER_HELLO, 8, CERTIFICATE_REQUEST, 14, 16, FINISHED, 22, 254] {
        let ended = scene.ends(|alice| alice.wire.says(&message(message_type, &[0; 8])));
        assert!(matches!(ended, Heard::Alert(UNEXPECTED_MESSAGE | DECODE_ERROR)), "{message_type}: {ended:?}");
    }
    for content in
        [record(HANDSHAKE, &hello()), record(APPLICATION_DATA, &[0, 1, Code::Ping as u8]), record(ALERT, &[1, 100])]
    {
        let mut alice = Caller::logged_in(&scene.world, &scene.alice);
        alice.wire.sends_raw(&content);
        assert!(matches!(alice.wire.is_turned_away(), Heard::Alert(_)), "in clear: {content:02x?}");
    }
    // While it is still going on: a second hello, in clear and under the keys.
    for is_sealed in [false, true] {
        let mut half = Caller::half_way(&scene.world);
        if !is_sealed {
            half.wire.writes = None;
        }
        half.wire.sends(HANDSHAKE, &hello());
        assert!(half.wire.socket_ends());
    }
}

#[test]
fn no_tickets_come_and_none_are_taken_and_nobody_is_asked_to_prove_himself_later() {
    let scene = Scene::new();
    let mut alice = Caller::logged_in(&scene.world, &scene.alice);
    // All that a server says of its own accord after a handshake would have come before the answers.
    for _ in 0..3 {
        answers(&mut alice);
    }
    let ticket = [&[0; 8][..], &vector8(&[1]), &vector16(&[2; 32]), &vector16(&[])].concat();
    let ended = scene.ends(|alice| alice.wire.says(&message(NEW_SESSION_TICKET, &ticket)));
    assert_eq!(ended, Heard::Alert(UNEXPECTED_MESSAGE));
    let shown = scene.alice.spki();
    let ended = scene.ends(|alice| alice.wire.says(&certificate(&shown)));
    assert_eq!(ended, Heard::Alert(UNEXPECTED_MESSAGE), "another proof");
}

#[test]
fn keys_are_updated_when_asked_and_a_flood_of_it_ends_the_connection() {
    let scene = Scene::new();
    let update = |alice: &mut Caller, asks: u8| {
        alice.wire.sends(HANDSHAKE, &message(KEY_UPDATE, &[asks]));
        let next = alice.wire.writes.as_ref().map(crate::bent::keys::Keys::next);
        alice.wire.writes = next;
    };
    let mut alice = Caller::logged_in(&scene.world, &scene.alice);
    update(&mut alice, 0);
    answers(&mut alice);
    update(&mut alice, 1);
    alice.says_frame(&ToServer::Ping);
    assert_eq!(alice.wire.hears(), Heard::Message(message(KEY_UPDATE, &[0])), "the server's keys, too");
    let next = alice.wire.reads.as_ref().map(crate::bent::keys::Keys::next);
    alice.wire.reads = next;
    assert_eq!(alice.hears_frame(), Some(ToClient::Pong));
    answers(&mut alice);

    let mut alice = Caller::logged_in(&scene.world, &scene.alice);
    for _ in 0..10_000 {
        update(&mut alice, 1);
    }
    // The answers are under keys that change with each of them.
    assert!(alice.wire.socket_ends());
    // Nor with empty data in between, after which the library begins to count anew.
    let mut alice = Caller::logged_in(&scene.world, &scene.alice);
    for _ in 0..1000 {
        for _ in 0..20 {
            update(&mut alice, 0);
        }
        alice.wire.sends(APPLICATION_DATA, &[]);
    }
    assert!(alice.wire.socket_ends());
    for body in [&[2][..], &[], &[0, 0]] {
        let ended = scene.ends(|alice| alice.wire.sends(HANDSHAKE, &message(KEY_UPDATE, body)));
        assert!(matches!(ended, Heard::Alert(ILLEGAL_PARAMETER | DECODE_ERROR)), "{body:?}: {ended:?}");
    }
    // An update has to be the last that is under the old keys.
    let two = [message(KEY_UPDATE, &[0]), message(KEY_UPDATE, &[0])].concat();
    assert_eq!(scene.ends(|alice| alice.wire.sends(HANDSHAKE, &two)), Heard::Alert(UNEXPECTED_MESSAGE));
    // Going on under the old keys is as good as forging.
    let stale = scene.ends(|alice| {
        alice.wire.sends(HANDSHAKE, &message(KEY_UPDATE, &[0]));
        alice.says_frame(&ToServer::Ping);
    });
    assert_eq!(stale, Heard::Alert(BAD_RECORD_MAC));
}

#[test]
fn records_that_are_giant_empty_or_of_no_type_end_the_connection() {
    let scene = Scene::new();
    // Far beyond 2^14 and what encryption may add, by its head alone.
    for length in [MAX_PLAIN + 2049, 0xffff] {
        let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
        for record_type in [HANDSHAKE, APPLICATION_DATA] {
            let mut stranger = Caller::new(&scene.world).0;
            stranger.wire.sends_raw(&[record_type, 3, 3, high, low]);
            stranger.wire.hangs_up();
            assert!(matches!(stranger.answer(), Answer::Alert(_) | Answer::Closed), "{length}");
            let ended = scene.ends(|alice| alice.wire.sends_raw(&[record_type, 3, 3, high, low]));
            assert!(matches!(ended, Heard::Alert(RECORD_OVERFLOW | DECODE_ERROR)), "{length}: {ended:?}");
        }
    }
    let sealed = |alice: &mut Caller, inner: Vec<u8>| {
        let record = alice.wire.writes.as_mut().unwrap().seal_inner(inner);
        alice.wire.sends_raw(&record);
    };
    let ended = scene.ends(|alice| sealed(alice, [vec![1; MAX_PLAIN + 1], vec![APPLICATION_DATA]].concat()));
    assert_eq!(ended, Heard::Alert(RECORD_OVERFLOW), "too much inside");
    for inner in [vec![], vec![0], vec![0; 300]] {
        let what = format!("no type, {inner:?}");
        // The library has no alert of its own for this, so what the client sees is that the connection is closed.
        let ended = scene.ends(|alice| sealed(alice, inner));
        assert!(matches!(ended, Heard::Alert(UNEXPECTED_MESSAGE) | Heard::Closed), "{what}: {ended:?}");
    }
    for record_type in [0, 19, CHANGE_CIPHER_SPEC, 24, 25, 255] {
        let ended = scene.ends(|alice| alice.wire.sends(record_type, &[1]));
        assert!(matches!(ended, Heard::Alert(UNEXPECTED_MESSAGE | DECODE_ERROR)), "{record_type}: {ended:?}");
    }
    for record_type in [HANDSHAKE, ALERT] {
        // One of a handshake's by itself is passed over.
        let ended = scene.ends(|alice| (0..1000).for_each(|_| alice.wire.sends(record_type, &[])));
        assert!(matches!(ended, Heard::Alert(_) | Heard::Closed), "empty, of type {record_type}: {ended:?}");
    }
    // A bit of a record, and a record said again or left out.
    let ended = scene.ends(|alice| {
        let mut record = alice.wire.writes.as_mut().unwrap().seal(APPLICATION_DATA, &[0, 1, Code::Ping as u8], 0);
        *record.last_mut().unwrap() ^= 1;
        alice.wire.sends_raw(&record);
    });
    assert_eq!(ended, Heard::Alert(BAD_RECORD_MAC));
    let ended = scene.ends(|alice| {
        // Half a frame, so that there is nothing to answer.
        let record = alice.wire.writes.as_mut().unwrap().seal(APPLICATION_DATA, &[0], 0);
        alice.wire.sends_raw(&[&record[..], &record].concat());
    });
    assert_eq!(ended, Heard::Alert(BAD_RECORD_MAC), "said again");
    let ended = scene.ends(|alice| {
        alice.wire.writes.as_mut().unwrap().seal(APPLICATION_DATA, &[0], 0);
        alice.says_frame(&ToServer::Ping);
    });
    assert_eq!(ended, Heard::Alert(BAD_RECORD_MAC), "one left out");
}

#[test]
fn empty_and_padded_records_carry_nothing_and_a_flood_of_them_ends_the_connection() {
    let scene = Scene::new();
    let sends = |alice: &mut Caller, padding: usize| {
        let record = alice.wire.writes.as_mut().unwrap().seal(APPLICATION_DATA, &[], padding);
        alice.wire.sends_raw(&record);
    };
    let mut alice = Caller::logged_in(&scene.world, &scene.alice);
    for padding in [0, 1, 1000] {
        sends(&mut alice, padding);
        answers(&mut alice);
    }
    // A frame in records of one byte each, most of which is padding.
    for byte in [0, 1, Code::Ping as u8] {
        let record = alice.wire.writes.as_mut().unwrap().seal(APPLICATION_DATA, &[byte], 9000);
        alice.wire.sends_raw(&record);
    }
    assert_eq!(alice.hears_frame(), Some(ToClient::Pong));
    let ended = scene.ends(|alice| (0..3000).for_each(|_| sends(alice, 0)));
    assert!(matches!(ended, Heard::Alert(UNEXPECTED_MESSAGE | CLOSE_NOTIFY) | Heard::Closed), "{ended:?}");
}

#[test]
fn a_handshake_may_be_cut_up_but_nothing_may_come_between() {
    let scene = Scene::new();
    let hello = |caller: &mut Caller, hello: &ClientHello, between: Option<Vec<u8>>| {
        let message = hello.message();
        caller.wire.transcript.extend_from_slice(&message);
        for (number, byte) in message.iter().enumerate() {
            caller.wire.sends_raw(&record(HANDSHAKE, &[*byte]));
            if let Some(between) = between.as_ref().filter(|_| number == 700) {
                caller.wire.sends_raw(between);
            }
        }
        caller.answer()
    };
    let (mut caller, honest) = Caller::new(&scene.world);
    let answer = hello(&mut caller, &honest, None);
    let Answer::Hello(agreed) = answer else { panic!("{answer:02x?}") };
    caller.agrees(&agreed).unwrap();
    caller.proves(&scene.alice);
    caller.logs_in(&scene.alice.name);
    assert!(caller.hears_frame().is_some());

    for between in
        [record(APPLICATION_DATA, &[0; 32]), record(HANDSHAKE, &[]), record(ALERT, &[2, 40]), record(99, &[1])]
    {
        let (mut caller, honest) = Caller::new(&scene.world);
        let answer = hello(&mut caller, &honest, Some(between.clone()));
        assert!(matches!(answer, Answer::Alert(_) | Answer::Closed), "{between:02x?}: {answer:02x?}");
    }
}

#[test]
fn a_flood_of_change_cipher_spec_ends_the_connection() {
    let scene = Scene::new();
    let mark = record(CHANGE_CIPHER_SPEC, &[1]);
    // One is what middleboxes like to see (appendix D.4).
    let (mut caller, hello) = Caller::new(&scene.world);
    let Answer::Hello(agreed) = caller.offers(&hello) else { panic!("refused") };
    caller.wire.sends_raw(&mark);
    caller.agrees(&agreed).unwrap();
    caller.proves(&scene.alice);
    caller.logs_in(&scene.alice.name);
    assert!(caller.hears_frame().is_some());

    let mut caller = Caller::half_way(&scene.world);
    caller.wire.sends_raw(&mark.repeat(1000));
    assert!(caller.wire.socket_ends());
    let mut caller = Caller::half_way(&scene.world);
    caller.wire.sends_raw(&record(CHANGE_CIPHER_SPEC, &[2]));
    assert!(caller.wire.socket_ends());
    let ended = scene.ends(|alice| alice.wire.sends_raw(&mark));
    assert_eq!(ended, Heard::Alert(UNEXPECTED_MESSAGE), "after the handshake there is none");
}

#[test]
fn an_end_half_way_is_an_end() {
    // Who says that this is the end, and does not hang up, is no better off than who says nothing.
    let scene = Scene::with("handshake_timeout = \"2s\"");
    let closes = [1, CLOSE_NOTIFY];
    let (mut caller, _) = Caller::new(&scene.world);
    caller.wire.sends_raw(&record(ALERT, &closes));
    assert!(caller.wire.socket_ends());
    let mut half = Caller::half_way(&scene.world);
    half.wire.sends(ALERT, &closes);
    assert!(half.wire.socket_ends());
    let mut half = Caller::half_way(&scene.world);
    half.wire.hangs_up();
    assert!(half.wire.socket_ends());

    // After the end nothing is heard any more, even if it comes.
    let mut alice = Caller::logged_in(&scene.world, &scene.alice);
    alice.wire.sends(ALERT, &closes);
    alice.says_frame(&ToServer::Ping);
    assert!(matches!(alice.wire.is_turned_away(), Heard::Alert(_) | Heard::Closed));
    let mut alice = Caller::logged_in(&scene.world, &scene.alice);
    alice.wire.socket.shutdown(Shutdown::Write).unwrap();
    assert!(matches!(alice.wire.is_turned_away(), Heard::Alert(CLOSE_NOTIFY) | Heard::Closed));
    for content in [&[2, 80][..], &[1, 90], &[2], &[1, 90, 0], &[3, 3]] {
        let ended = scene.ends(|alice| {
            for _ in 0..100 {
                alice.wire.sends(ALERT, content);
            }
            alice.wire.hangs_up();
        });
        assert!(matches!(ended, Heard::Alert(_) | Heard::Closed), "{content:?}: {ended:?}");
    }
}
