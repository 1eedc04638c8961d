//! How a chat ends when connections and servers come and go: with the goodbye that was said, or as lost (B3).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a test may panic, and tells how long things took"
)]

mod cable;
mod common;
mod ledger;

use std::{thread, time::Duration};

use cable::{Cable, Passage, pass};
use common::{Client, World, now, signal, talk};
use ledger::{Ledger, check};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::json;

const SEED: u64 = 0xb1e;

/// Longer than it takes a client to count its connection as one that holds. The way back is short then, and within the
/// 5 s that one who leaves waits for it.
const CALM: Duration = Duration::from_millis(600);
/// How exact times are on a machine that has much to do.
const SLACK: Duration = Duration::from_secs(1);

/// Whatever becomes of the connections at that moment, the leaver's or the peer's or both.
#[test]
fn a_goodbye_just_before_a_cut_is_still_a_goodbye() {
    const PAIRS: usize = 8;
    const GOODBYES: usize = 9;
    let world = World::new();
    let ends: Vec<_> = thread::scope(|scope| {
        let goodbyes = |pair| {
            scope.spawn({
                let world = &world;
                move || goodbyes(world, pair, GOODBYES)
            })
        };
        let pairs: Vec<_> = (0..PAIRS).map(goodbyes).collect();
        pairs.into_iter().flat_map(|pair| pair.join().unwrap()).collect()
    });
    assert_eq!(ends.len(), PAIRS * GOODBYES);
    let unsure = ends.iter().filter(|undelivered| **undelivered > 0).count();
    println!("{} goodbyes around a cut; {unsure} times the leaver did not hear that all had arrived", ends.len());
}

/// What the leaver of each chat was told to be undelivered.
fn goodbyes(world: &World, pair: usize, count: usize) -> Vec<u64> {
    let names = ["leaver", "peer"].map(|name| format!("{name}-{pair}"));
    let cables = [Cable::to(world), Cable::to(world)];
    for (name, cable) in names.iter().zip(&cables) {
        world.user_at(name, &cable.dial());
    }
    let mut rng = ChaCha8Rng::seed_from_u64(SEED + pair as u64);
    let mut peer = world.log_in(&names[1]);
    let goodbye = |n: usize| {
        let mut leaver = world.log_in(&names[0]);
        talk(&mut leaver, &mut peer, &names[1]);
        pass(CALM);
        let mut within_50_ms = || Duration::from_millis(u64::from(rng.next_u32() % 50));
        let cut = [&cables[..], &cables[..1], &cables[1..]][n % 3];
        let cuts: Vec<_> = cut.iter().map(|cable| cable.cut_in(within_50_ms())).collect();
        pass(within_50_ms());
        leaver.types("mind how you go");
        leaver.types("--ex");
        let heard = peer.up_to("chat_closed");
        let told = leaver.rest();
        assert!(heard.iter().any(|event| event["text"] == "mind how you go"), "{n} {heard:?}\nleaver: {told:?}");
        assert!(told.iter().any(|event| event["event"] == "logged_out"), "{told:?}");
        let end = told.iter().find(|event| event["event"] == "chat_closed").unwrap();
        let has_failed = end["undelivered"] != 0;
        assert_eq!(leaver.ended().0, Some(i32::from(has_failed)), "{told:?}");
        for (end, told) in [(end, &told), (heard.last().unwrap(), &heard)] {
            assert_eq!(end["reason"], "goodbye", "{told:?}");
        }
        cable::finish(cuts);
        let is_peer_back = heard.iter().any(|event| event["event"] == "reconnected");
        if n % 3 != 1 && !is_peer_back {
            peer.expect("reconnected");
        }
        end["undelivered"].as_u64().unwrap()
    };
    (0..count).map(goodbye).collect()
}

#[test]
fn a_peer_who_never_comes_back_is_lost_after_the_grace_period() {
    const GRACE: Duration = Duration::from_secs(2);
    let mut world = World::with("grace_period = \"2s\"");
    let cable = Cable::to(&world);
    world.user_at("alice", &cable.dial());
    world.user("bob");
    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    talk(&mut alice, &mut bob, "bob");

    cable.becomes(Passage::Refused);
    let begin = now();
    assert_eq!(bob.next(), Some(json!({ "event": "peer_away", "peer": "alice" })));
    let away = begin.elapsed();
    bob.says("are you still there?");
    alice.expect("reconnecting");
    alice.says("can you hear me?");
    let lost = json!({ "event": "chat_closed", "peer": "alice", "reason": "lost", "undelivered": 1 });
    assert_eq!(bob.next(), Some(lost.clone()));
    let closed = begin.elapsed();
    println!("peer away after {away:.0?}, lost after {closed:.1?}");
    assert!(away < SLACK && (GRACE..GRACE + SLACK).contains(&closed), "{away:?}, {closed:?}");
    // Whoever comes back after all finds nobody in the chat.
    cable.becomes(Passage::Open);
    let told = alice.up_to("chat_closed");
    assert!(told.iter().any(|event| event["event"] == "reconnected"), "{told:?}");
    assert_eq!(
        *told.last().unwrap(),
        json!({ "event": "chat_closed", "peer": "bob", "reason": "lost", "undelivered": 1 })
    );

    // The same when it is the server that is gone, and only one of the two comes back to it.
    talk(&mut alice, &mut bob, "bob");
    world.goes(Signal::KILL);
    drop(alice);
    bob.says("and now?");
    world.is_back();
    bob.expect("reconnected");
    let begin = now();
    assert_eq!(bob.next(), Some(json!({ "event": "peer_away", "peer": "alice" })));
    assert_eq!(bob.next(), Some(lost));
    let closed = begin.elapsed();
    assert!((GRACE - SLACK..GRACE + SLACK).contains(&closed), "{closed:?}");
}

#[test]
fn chats_go_on_after_an_orderly_restart_and_their_users_come_back_spread() {
    const PAIRS: usize = 5;
    const MESSAGES: usize = 100;
    let mut world = World::new();
    let mut pairs: Vec<_> = (0..PAIRS)
        .map(|pair| {
            let names = ["alice", "bob"].map(|name| format!("{name}-{pair}"));
            names.iter().for_each(|name| world.user(name));
            let mut clients = names.each_ref().map(|name| world.log_in(name));
            let [alice, bob] = &mut clients;
            talk(alice, bob, &names[1]);
            (names, clients)
        })
        .collect();
    let texts = |name: &str| (0..MESSAGES).map(|n| format!("{name} says {n}")).collect::<Vec<_>>();
    let say = |pairs: &mut Vec<([String; 2], [Client; 2])>, range: std::ops::Range<usize>| {
        for (names, clients) in pairs {
            for (name, client) in names.iter().zip(clients) {
                texts(name)[range.clone()].iter().for_each(|text| client.says(text));
            }
        }
    };
    // Some of it is on its way when the server stops.
    say(&mut pairs, 0..MESSAGES / 2);
    world.goes(Signal::TERM);
    say(&mut pairs, MESSAGES / 2..MESSAGES);
    world.is_back();
    let mut waits = Vec::new();
    for (names, clients) in &mut pairs {
        let ledgers = clients.each_mut().map(|client| {
            let mut ledger = Ledger::default();
            // The first wait. Whoever comes before the server is there again has more of them.
            while !ledger.events.contains_key("reconnecting") {
                let event = client.next().unwrap();
                if event["event"] == "error" {
                    assert_eq!(event["message"], "the server is being stopped; it may be back soon");
                }
                waits.extend(event["in_ms"].as_u64());
                ledger.note(&event);
            }
            ledger.listen(client, MESSAGES, MESSAGES);
            ledger
        });
        let [alice, bob] = &ledgers;
        check(&texts(&names[0]), alice, bob);
        check(&texts(&names[1]), bob, alice);
    }
    waits.sort();
    println!("waits of {} clients after an orderly restart, in ms: {waits:?}", waits.len());
    assert_eq!(waits.len(), 2 * PAIRS);
    assert!(waits.iter().all(|wait| (50..=500).contains(wait)));
    assert!(waits[waits.len() - 1] - waits[0] > 100, "spread: {waits:?}");
}

#[test]
fn who_leaves_without_a_connection_is_told_what_could_not_be_done() {
    const DRAIN: Duration = Duration::from_secs(5);
    let names = ["alice", "bob", "carol", "dave", "erin", "frank"];
    let mut world = World::of(names);
    let [mut alice, mut bob, mut carol, mut dave, mut erin, mut frank] = names.map(|name| world.log_in(name));
    talk(&mut alice, &mut bob, "bob");
    talk(&mut carol, &mut dave, "dave");
    talk(&mut erin, &mut frank, "frank");
    // Her goodbye is sent, and not confirmed.
    signal(&frank.process, Signal::STOP);
    let begin = now();
    erin.types("--ex");
    erin.lists();
    world.goes(Signal::KILL);
    for client in [&mut alice, &mut carol] {
        client.expect("reconnecting");
        client.says("one");
        client.says("two");
        client.types("--ex");
    }
    // For the second time: at once.
    carol.types("--ex");
    let not_sent = "so your goodbye was not sent";
    let not_confirmed = "did not confirm your goodbye";
    for (client, peer, problem, end, wait) in [
        (&mut carol, "dave", not_sent, ("lost", 2), Duration::ZERO),
        (&mut erin, "frank", not_confirmed, ("goodbye", 0), DRAIN),
        (&mut alice, "bob", not_sent, ("lost", 2), DRAIN),
    ] {
        let told = client.up_to("chat_closed");
        let (reason, undelivered) = end;
        let closed = json!({ "event": "chat_closed", "peer": peer, "reason": reason, "undelivered": undelivered });
        assert_eq!(*told.last().unwrap(), closed, "{told:?}");
        let error = &told[told.len() - 2];
        assert_eq!((error["code"].as_str(), error["peer"].as_str()), (Some("unreachable"), Some(peer)), "{told:?}");
        assert!(error["message"].as_str().unwrap().contains(problem), "{error}");
        assert_eq!(client.next(), Some(json!({ "event": "logged_out" })));
        let took = begin.elapsed();
        if undelivered == 0 {
            assert_eq!(client.ended(), (Some(0), String::new()));
        } else {
            let message = format!(
                "your last {undelivered} messages to {peer} were not confirmed and may be lost; ask {peer} what has arrived"
            );
            assert_eq!(client.failed(), ("unreachable".into(), message));
        }
        assert!((wait..wait + SLACK).contains(&took), "{peer}: {took:?}");
    }
}

/// The chat was in the memory of the program that is gone.
#[test]
fn who_starts_the_program_anew_ends_the_chat_that_waited() {
    const TOLD: Duration = Duration::from_secs(2);
    let world = World::of(["alice", "bob"]);
    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    for is_away in [true, false] {
        talk(&mut alice, &mut bob, "bob");
        if is_away {
            alice.process.kill().unwrap();
            assert_eq!(bob.next(), Some(json!({ "event": "peer_away", "peer": "alice" })));
        } else {
            // The server does not know yet that there is nobody at the other end.
            signal(&alice.process, Signal::STOP);
        }
        let begin = now();
        let anew = world.log_in("alice");
        let closed = json!({ "event": "chat_closed", "peer": "alice", "reason": "lost", "undelivered": 0 });
        assert_eq!(bob.next(), Some(closed));
        println!("told {:.0?} after the start of the other program", begin.elapsed());
        assert!(begin.elapsed() < TOLD);
        alice = anew;
    }
}
