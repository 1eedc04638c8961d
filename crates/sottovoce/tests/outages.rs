//! Programs that are frozen, connections that carry nothing, networks that go down: a chat waits for their end, loses
//! nothing, and goes on at once (B3).
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

use cable::{Cable, Passage, outage, pass};
use common::{Client, World, now, signal, talk};
use ledger::{Ledger, check};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use rustix::process::Signal;

/// Far beyond the 15 s after which a server takes a client for gone, and within the 60 s that a chat waits.
const FROZEN: Duration = Duration::from_secs(40);
/// From the last sign of a client to the word that it is away, and from the death of a connection to an attempt at
/// another.
const NOTICED: Duration = Duration::from_secs(15);
/// How exact that is on a machine that has much to do.
const SLACK: Duration = Duration::from_secs(2);
/// How many messages a client keeps for a peer who is away before it takes no more, and what is in flight.
const WAITING: usize = 300;

const PAIRS: usize = 20;
/// Of each pair.
const CUTS: usize = 10;
/// Between two outages: longer than it takes clients to count a network as there again.
const CALM: Duration = Duration::from_millis(600);
/// The longest outage, in milliseconds.
const OUTAGE: u32 = 1000;
/// From the return of the network until each has heard the other, and knows that it was heard.
const LIMIT: Duration = Duration::from_secs(1);
const SEED: u64 = 0x0a7a;

#[test]
fn a_client_frozen_for_forty_seconds_loses_nothing() {
    let world = World::of(["alice", "bob"]);
    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    talk(&mut alice, &mut bob, "bob");
    let (mut told_alice, mut told_bob) = (Ledger::default(), Ledger::default());
    let mut said_by_alice = says(&mut alice, "alice", 0..20);
    let mut said_by_bob = says(&mut bob, "bob", 0..20);
    told_alice.listen(&mut alice, 20, 20);
    told_bob.listen(&mut bob, 20, 20);

    signal(&bob.process, Signal::STOP);
    let begin = now();
    said_by_bob.extend(says(&mut bob, "bob", 20..40));
    let mut away = None;
    let pace = FROZEN / u32::try_from(WAITING).unwrap();
    for n in 0..WAITING {
        said_by_alice.extend(says(&mut alice, "alice", 20 + n..21 + n));
        while let Some(event) = alice.next_by(begin + pace * u32::try_from(n + 1).unwrap()) {
            if event["event"] == "peer_away" {
                away = Some(begin.elapsed());
            }
            assert!(!["delivered", "chat_closed", "error"].contains(&event["event"].as_str().unwrap()), "{event}");
            told_alice.note(&event);
        }
    }
    let away = away.expect("alice is told that bob is away");
    assert!(away <= NOTICED + SLACK, "{away:?}");

    signal(&bob.process, Signal::CONT);
    let back = now();
    said_by_bob.extend(says(&mut bob, "bob", 40..60));
    told_alice.listen(&mut alice, said_by_bob.len(), said_by_alice.len());
    told_bob.listen(&mut bob, said_by_alice.len(), said_by_bob.len());
    println!("frozen for {FROZEN:?}: told after {away:.1?}, all there {:.0?} after the end of it", back.elapsed());
    check(&said_by_alice, &told_alice, &told_bob);
    check(&said_by_bob, &told_bob, &told_alice);
    assert_eq!((told_alice.events["peer_away"], told_alice.events["peer_back"]), (1, 1));
}

/// The heartbeat: nothing says that the connection is dead, and its client finds out whenever that happens.
#[test]
fn a_connection_that_dies_in_silence_is_noticed_and_replaced() {
    const PAIRS: u32 = 6;
    let world = World::new();
    let noticed: Vec<_> = thread::scope(|scope| {
        // Spread over the time between two pings.
        let pair = |pair| {
            scope.spawn({
                let world = &world;
                move || dies_in_silence(world, pair, Duration::from_secs(pair.into()))
            })
        };
        let pairs: Vec<_> = (0..PAIRS).map(pair).collect();
        pairs.into_iter().map(|pair| pair.join().unwrap()).collect()
    });
    println!("connections that died in silence were noticed after {noticed:.1?}");
}

fn dies_in_silence(world: &World, pair: u32, when: Duration) -> Duration {
    let names = ["alice", "bob"].map(|name| format!("{name}-{pair}"));
    let cable = Cable::to(world);
    world.user_at(&names[0], &cable.dial());
    world.user(&names[1]);
    let [mut alice, mut bob] = names.each_ref().map(|name| world.log_in(name));
    talk(&mut alice, &mut bob, &names[1]);
    pass(when);
    cable.loses_all();
    let begin = now();
    // Without a word there is nothing but the heartbeat to find it out.
    let speaks = pair.is_multiple_of(2);
    let mut said = [vec![], vec![]];
    if speaks {
        said = [says(&mut alice, &names[0], 0..10), says(&mut bob, &names[1], 0..10)];
    }
    let (mut told_alice, mut told_bob) = (Ledger::default(), Ledger::default());
    while !told_alice.events.contains_key("reconnecting") {
        told_alice.note(&alice.next().unwrap());
    }
    let noticed = begin.elapsed();
    assert!(noticed <= NOTICED, "{noticed:?}");
    said[0].extend(says(&mut alice, &names[0], 10..20));
    said[1].extend(says(&mut bob, &names[1], 10..20));
    told_alice.listen(&mut alice, said[1].len(), said[0].len());
    told_bob.listen(&mut bob, said[0].len(), said[1].len());
    let resumed = begin.elapsed() - noticed;
    assert!(resumed <= SLACK, "{resumed:?}");
    check(&said[0], &told_alice, &told_bob);
    check(&said[1], &told_bob, &told_alice);
    noticed
}

#[test]
fn once_the_network_is_back_both_chat_again_within_a_second() {
    let world = World::new();
    let mut waits: Vec<_> = thread::scope(|scope| {
        let pairs: Vec<_> = (0..PAIRS)
            .map(|pair| (pair, &world))
            .map(|(pair, world)| scope.spawn(move || waits(world, pair)))
            .collect();
        pairs.into_iter().flat_map(|pair| pair.join().unwrap()).collect()
    });
    waits.sort();
    let at = |percent: usize| waits[(waits.len() * percent).div_ceil(100) - 1];
    println!(
        "{} cuts: half back within {:.0?}, 9 of 10 {:.0?}, 99 of 100 {:.0?}, all {:.0?}",
        waits.len(),
        at(50),
        at(90),
        at(99),
        at(100)
    );
    assert_eq!(waits.len(), PAIRS * CUTS);
    assert!(at(99) <= LIMIT, "{waits:?}");
}

/// How long each of the cuts of one pair's connections made the two wait after the return of the network.
fn waits(world: &World, pair: usize) -> Vec<Duration> {
    let names = ["alice", "bob"].map(|name| format!("{name}-{pair}"));
    let cables = [Cable::to(world), Cable::to(world)];
    for (name, cable) in names.iter().zip(&cables) {
        world.user_at(name, &cable.dial());
    }
    let [mut alice, mut bob] = names.each_ref().map(|name| world.log_in(name));
    talk(&mut alice, &mut bob, &names[1]);
    let mut rng = ChaCha8Rng::seed_from_u64(SEED + pair as u64);
    let one_cut = |cut: usize| {
        let down = [&cables[..], &cables[..1], &cables[1..]][cut % 3];
        let passage = if cut.is_multiple_of(2) { Passage::Refused } else { Passage::Held };
        pass(CALM);
        let back = outage(down, passage, Duration::from_millis(u64::from(rng.next_u32() % OUTAGE)));
        for (client, text) in [(&mut alice, "alice"), (&mut bob, "bob")] {
            client.says(&format!("{text} again, {cut}"));
        }
        let _: [(); 2] = [(&mut alice, "bob"), (&mut bob, "alice")].map(|(client, peer)| {
            let (mut is_heard, mut is_delivered) = (false, false);
            while !(is_heard && is_delivered) {
                let event = client.next().unwrap();
                match event["event"].as_str().unwrap() {
                    "message" => {
                        assert_eq!(event["text"], format!("{peer} again, {cut}"));
                        is_heard = true;
                    }
                    "delivered" => is_delivered = true,
                    _ => {}
                }
            }
        });
        back.elapsed()
    };
    (0..CUTS).map(one_cut).collect()
}

fn says(client: &mut Client, name: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    let texts: Vec<_> = numbers.map(|n| format!("{name} says {n}")).collect();
    for text in &texts {
        client.says(text);
    }
    texts
}
