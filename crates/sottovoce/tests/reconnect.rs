//! A server that goes away and comes back, and what its clients make of it, all as real processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;

use std::{fs, io::Read as _, net::TcpListener, process::Command, time::Duration};

use common::{Client, PROGRAM, World, lines::Lines, now, ok, run_server, signal, talk};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Longer than it takes to end, shorter than any time limit of the client's or the system's for a connection.
const AT_ONCE: Duration = Duration::from_secs(2);

fn talk_and_say(alice: &mut Client, bob: &mut Client) {
    talk(alice, bob, "bob");
    alice.says("so we meet again");
    assert_eq!(bob.expect("message")["text"], "so we meet again");
    alice.expect("delivered");
}

#[test]
fn clients_of_a_server_that_was_killed_come_back_with_it() {
    let mut world = World::of(["alice", "bob", "carol"]);
    let (mut alice, mut bob, mut carol) = (world.log_in("alice"), world.log_in("bob"), world.log_in("carol"));
    talk_and_say(&mut alice, &mut bob);
    world.goes(Signal::KILL);
    for client in [&mut alice, &mut bob, &mut carol] {
        // Whose connection ends first is told by the server's last word to the other.
        let mut why = client.next().unwrap();
        if why["event"] == "peer_away" {
            why = client.next().unwrap();
        }
        assert_eq!(why["code"], "unreachable");
        assert_eq!(why["message"], "the connection to the server ended; if that happens again, check the network");
        assert_eq!(client.next().unwrap(), json!({ "event": "reconnecting", "in_ms": 0 }), "and the chat goes on");
        let next = client.next().unwrap();
        assert_eq!(next["event"], "reconnecting");
        assert!((75..=125).contains(&next["in_ms"].as_u64().unwrap()), "{next}");
    }
    for (line, code) in [
        ("--l", "unreachable"),
        ("--r bob", "unreachable"),
        ("still there?", "not_in_chat"),
        ("/verify", "not_in_chat"),
    ] {
        carol.types(line);
        assert_eq!(carol.expect_error(), code, "{line}");
    }
    for line in ["--l", "--r carol", "--y"] {
        alice.types(line);
        assert_eq!(alice.expect_error(), "unreachable", "{line}");
    }
    carol.types("/leave");
    // What needs no connection is done, and what is said is kept.
    alice.types("/verify");
    assert_eq!(alice.expect("verified")["peer"], "bob");
    alice.types("still there?");
    bob.types("where else?");
    world.is_back();
    for client in [&mut alice, &mut bob, &mut carol] {
        let told = client.up_to("reconnected");
        assert!(told.iter().rev().skip(1).all(|told| told["event"] == "reconnecting"), "{told:?}");
    }
    for (client, from, text, n) in [(&mut alice, "bob", "where else?", 0), (&mut bob, "alice", "still there?", 1)] {
        let mut told = Vec::new();
        while !["message", "delivered"].iter().all(|event| told.iter().any(|told: &Value| told["event"] == *event)) {
            told.push(client.next().expect("the client stays"));
        }
        let message = json!({ "event": "message", "from": from, "text": text, "n": n });
        assert!(told.contains(&message), "{told:?}");
    }
    assert_eq!(alice.lists(), ["bob", "carol"]);
    assert_eq!(bob.lists(), ["alice", "carol"]);
    for (mut client, peer) in [(alice, Some(&mut bob)), (carol, None)] {
        client.types("--ex");
        if let Some(peer) = peer {
            assert_eq!(peer.expect_closed(), "goodbye");
        }
        assert_eq!(client.rest().pop().unwrap(), json!({ "event": "logged_out" }));
        assert_eq!(client.ended(), (Some(0), String::new()));
    }
}

#[test]
fn clients_of_a_server_that_is_restarted_in_order_come_back_not_all_at_once() {
    let mut world = World::of(["alice", "bob", "carol"]);
    let mut clients = ["alice", "bob", "carol"].map(|name| world.log_in(name));
    clients[2].types("--r alice");
    clients[0].expect("request");
    world.goes(Signal::TERM);
    world.is_back();
    let mut waits = Vec::new();
    for client in &mut clients {
        let wait = client.expect("reconnecting")["in_ms"].as_u64().unwrap();
        assert!((50..=500).contains(&wait), "{wait}");
        waits.push(wait);
        client.expect("reconnected");
    }
    assert!(waits.windows(2).any(|two| two[0] != two[1]), "{waits:?}");
    assert_eq!(clients[1].lists(), ["alice", "carol"]);
    let [alice, bob, _] = &mut clients;
    talk_and_say(alice, bob);
}

#[test]
fn who_leaves_without_a_connection_is_gone_at_once() {
    let mut world = World::of(["alice", "bob", "carol", "dora"]);
    let mut clients = ["alice", "bob", "carol", "dora"].map(|name| world.log_in(name));
    world.goes(Signal::KILL);
    // What takes its place takes connections, and says nothing.
    let silent = TcpListener::bind(&world.address).unwrap();
    for client in &mut clients {
        client.expect("reconnecting");
    }
    // One at least waits for an answer; others may wait for the time of an attempt.
    let (mut hears_nothing, _) = silent.accept().unwrap();
    hears_nothing.read_exact(&mut [0; 5]).unwrap();
    let begin = now();
    let [alice, bob, carol, dora] = &mut clients;
    alice.types("--ex");
    bob.stdin = None;
    signal(&carol.process, Signal::INT);
    signal(&dora.process, Signal::TERM);
    for client in &mut clients {
        assert_eq!(client.rest().pop().unwrap(), json!({ "event": "logged_out" }));
        assert_eq!(client.ended(), (Some(0), String::new()));
    }
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
}

#[test]
fn what_cannot_be_mended_by_waiting_ends_the_client() {
    let mut world = World::of(["alice", "bob"]);
    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    world.goes(Signal::KILL);
    world.administer("remove", "alice", None);
    world.is_back();
    alice.expect("reconnecting");
    bob.expect("reconnected");
    let told = alice.up_to("logged_out");
    assert!(told.iter().all(|told| told["event"] != "reconnected"), "{told:?}");
    assert_eq!(alice.failed().0, "unknown_user");
}

/// As a stranger's network does that wants people to log in to it first.
#[test]
fn a_chat_outlives_somebody_else_in_the_servers_place() {
    let mut world = World::of(["alice", "bob"]);
    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    talk(&mut alice, &mut bob, "bob");
    world.goes(Signal::KILL);
    let elsewhere = tempfile::tempdir().unwrap();
    let dir = elsewhere.path().join("other");
    ok(Command::new(PROGRAM).args(["server", "init", "--host", "localhost", "--dir"]).arg(&dir));
    world.server = run_server(&dir, &world.address).0;
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.expect("error")["code"], "unreachable");
        assert_eq!(client.expect("error")["code"], "untrusted_server");
        // It is tried again, and told once.
        client.expect("reconnecting");
        assert_eq!(client.next().unwrap()["event"], "reconnecting");
    }
    alice.says("it was not you");
    world.goes(Signal::KILL);
    world.is_back();
    assert_eq!(bob.expect("message")["text"], "it was not you");
    alice.expect("delivered");
}

#[test]
fn a_way_back_after_leave_that_fails_is_tried_again() {
    let mut world = World::of(["alice"]);
    let mut alice = world.log_in("alice");
    // It takes the connection, as the system does for it, and answers nothing.
    signal(&world.server, Signal::STOP);
    alice.types("/leave");
    alice.expect("connecting");
    world.goes(Signal::KILL);
    assert_eq!(alice.expect_error(), "unreachable");
    let next = alice.next().unwrap();
    assert!((75..=125).contains(&next["in_ms"].as_u64().unwrap()), "{next}");
    alice.types("--l");
    assert_eq!(alice.expect_error(), "unreachable");
    world.is_back();
    let told = alice.up_to("logged_in");
    assert!(told.iter().all(|told| told["event"] != "reconnected"), "{told:?}");
    assert!(alice.lists().is_empty());
}

#[test]
fn the_line_face_says_it_in_words() {
    let mut world = World::of(["alice"]);
    let mut command = world.chat("alice", "line");
    command.arg("--password-file").arg(world.password_file());
    let mut alice = Lines::start(command);
    assert!(alice.next().unwrap().starts_with("* logged in to localhost as alice"));
    alice.next();
    world.goes(Signal::KILL);
    alice.shows(&[
        "! the connection to the server ended; if that happens again, check the network",
        "* connecting again",
    ]);
    // The first that is a second or longer: by chance, that before was just shorter.
    let later = alice.next().unwrap();
    let wait = later.strip_prefix("* not connected; trying again in ").and_then(|wait| wait.strip_suffix(" s"));
    assert!(wait.is_some_and(|wait| ["1", "2", "3"].contains(&wait)), "{later}");
    alice.types("hello?");
    while let Some(line) = alice.next()
        && line != "! that was not sent: you are in no chat, and not connected; wait until you are connected again"
    {
        assert!(line.starts_with("* not connected; trying again in "), "{line}");
    }
    world.is_back();
    while let Some(line) = alice.next()
        && line != "* connected again"
    {
        assert!(line.starts_with("* not connected; trying again in "), "{line}");
    }
    alice.types("--l");
    alice.shows(&["* nobody else is online"]);
    alice.types("--ex");
    alice.shows(&["* logged out"]);
    assert_eq!(alice.ended(), (Some(0), String::new()));
}

/// What is typed within the program is what `sottovoce pins` does, for the one whose safety number is on the screen.
#[test]
fn keys_are_verified_and_forgotten_from_within() {
    let world = World::of(["alice", "bob"]);
    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    let answer = |alice: &mut Client, line: &str| {
        alice.types(line);
        let mut told = alice.next().unwrap();
        if let Some(told) = told.as_object_mut() {
            told.remove("message");
        }
        told
    };
    let pin = || world.pins("alice", &["list"]).lines().next().map(ToOwned::to_owned);
    assert_eq!(answer(&mut alice, "/verify"), json!({ "event": "error", "code": "not_in_chat" }));
    let none = json!({ "event": "error", "code": "bad_name", "peer": "bob" });
    assert_eq!(answer(&mut alice, "/forget bob"), none);
    let started = talk(&mut alice, &mut bob, "bob").0;
    assert_eq!(started["trust"], "new");
    assert!(pin().is_some_and(|pin| pin.contains("bob") && !pin.contains("verified")), "{:?}", pin());

    let busy = json!({ "event": "error", "code": "busy", "peer": "bob" });
    assert_eq!(answer(&mut alice, "/forget bob"), busy, "the chat rests on it");
    let number = started["safety_number"].as_str().unwrap();
    let (start, last) = number.split_at(number.len() - 1);
    let other = format!("{start}{}", if last == "0" { 1 } else { 0 });
    for wrong in [&other, start, "none"] {
        let error = json!({ "event": "error", "code": "not_in_chat" });
        assert_eq!(answer(&mut alice, &format!("/verify {wrong}")), error, "not the number");
    }
    assert!(pin().is_some_and(|pin| !pin.contains("verified")), "{:?}", pin());
    let verified = json!({ "event": "verified", "peer": "bob" });
    assert_eq!(answer(&mut alice, &format!("/verify {number}")), verified);
    assert_eq!(answer(&mut alice, "/verify"), verified);
    assert_eq!(answer(&mut alice, "/verify"), verified, "again changes nothing");
    assert!(pin().is_some_and(|pin| pin.contains("verified")), "{:?}", pin());

    // A file that cannot be used is told, and the chat goes on.
    let file = world.profile("alice").join("pins");
    let pins = fs::read(&file).unwrap();
    fs::write(&file, "nonsense\n").unwrap();
    let broken = json!({ "event": "error", "code": "bad_file", "peer": "bob" });
    assert_eq!(answer(&mut alice, "/verify"), broken);
    fs::write(&file, pins).unwrap();
    // So is a pin that another program has let go of.
    world.pins("alice", &["forget", "bob"]);
    let changed = json!({ "event": "error", "code": "key_changed", "peer": "bob" });
    assert_eq!(answer(&mut alice, "/verify"), changed);
    assert_eq!(pin(), None, "nothing was noted");
    alice.says("never mind");
    assert_eq!(bob.expect("message")["text"], "never mind");

    // Bob gets another key, which says so before a word is sent, and how to go on.
    alice.types("/leave");
    alice.expect("logged_in");
    bob.expect("chat_closed");
    let started = talk(&mut alice, &mut bob, "bob").0;
    assert_eq!(started["trust"], "new");
    alice.types("/verify");
    alice.expect("verified");
    bob.types("--ex");
    alice.expect("chat_closed");
    world.profile_at("bob2", "bob", &world.dial());
    world.administer("replace", "bob", Some("bob2"));
    let mut bob = world.log_in("bob2");
    alice.types("--r bob");
    bob.expect("request");
    bob.types("--y");
    let error = alice.expect("error");
    assert_eq!((error["code"].as_str(), error["peer"].as_str()), (Some("key_changed"), Some("bob")));
    assert!(error["message"].as_str().unwrap().contains("`/forget bob`"), "{error}");
    bob.expect("chat_closed");
    assert_eq!(answer(&mut alice, "/forget bob"), json!({ "event": "forgotten", "peer": "bob" }));
    assert_eq!(pin(), None);
    let started = talk(&mut alice, &mut bob, "bob").0;
    assert_eq!(started["trust"], "new");
    assert!(pin().is_some_and(|pin| pin.contains("bob")));
}
