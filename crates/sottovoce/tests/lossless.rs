//! A chat goes on while connections are reset and its server is killed, and nothing in it is lost, repeated or put out of
//! order (B3).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a test may panic, and tells how much it went through"
)]

mod cable;
mod common;
mod ledger;

use std::{io::Write as _, process::ChildStdin, sync::mpsc, thread, time::Duration};

use cable::Cable;
use common::{PATIENCE, World, now, talk};
use ledger::{Ledger, check};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::json;

const MESSAGES: usize = 3000;
/// Between two messages of one speaker: it makes all of them take 18 s.
const PACE: Duration = Duration::from_millis(6);
/// Between two blows. Each second one resets both connections.
const BLOW: Duration = Duration::from_millis(500);
/// The server is killed by each fifth.
const KILL: usize = 5;
const SEED: u64 = 0x1055;

#[test]
fn thousands_of_messages_arrive_once_and_in_order_whatever_is_cut_or_killed() {
    let mut world = World::new();
    let cables = [Cable::to(&world), Cable::to(&world)];
    for (name, cable) in ["alice", "bob"].iter().zip(&cables) {
        world.user_at(name, &cable.dial());
    }
    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    talk(&mut alice, &mut bob, "bob");

    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let said = ["alice", "bob"].map(|name| texts(name, &mut rng));
    let begin = now();
    let (done, is_done) = mpsc::channel();
    let mut kills = 0;
    let [heard_by_alice, heard_by_bob] = thread::scope(|scope| {
        let ledgers = [(&mut alice, &said[0]), (&mut bob, &said[1])].map(|(client, said)| {
            let stdin = client.stdin.take().unwrap();
            scope.spawn(move || say(stdin, said));
            let done = done.clone();
            scope.spawn(move || {
                let mut ledger = Ledger::default();
                ledger.listen(client, MESSAGES, MESSAGES);
                done.send(()).unwrap();
                ledger
            })
        });
        let mut left = ledgers.len();
        for blow in 1_usize.. {
            match is_done.recv_timeout(BLOW) {
                Ok(()) => left -= 1,
                Err(_) => assert!(begin.elapsed() < PATIENCE, "some of it never comes"),
            }
            if left == 0 {
                break;
            }
            if blow.is_multiple_of(2) {
                for cable in &cables {
                    // Anywhere: in the midst of a handshake, of a record, of a frame.
                    cable.cut_after(rng.next_u32() as usize % 4000);
                }
            }
            if blow.is_multiple_of(KILL) {
                world.goes(Signal::KILL);
                world.is_back();
                kills += 1;
            }
        }
        ledgers.map(|ledger| ledger.join().unwrap())
    });
    let took = begin.elapsed();
    let lead = [check(&said[0], &heard_by_alice, &heard_by_bob), check(&said[1], &heard_by_bob, &heard_by_alice)];
    let resets = cables.each_ref().map(Cable::reset);
    println!("{MESSAGES} messages each way in {took:.1?}, {resets:?} connections reset, server killed {kills} times");
    println!("marks before the message was shown by at most {:?}", lead.iter().max().unwrap());
    println!("alice was told {:?}", heard_by_alice.events);
    println!("bob was told {:?}", heard_by_bob.events);
    assert!(took >= Duration::from_secs(15) && resets.iter().all(|resets| *resets >= 10) && kills >= 3);
}

/// Of all lengths, most of them short.
fn texts(name: &str, rng: &mut ChaCha8Rng) -> Vec<String> {
    let text = |n| {
        let most = if rng.next_u32().is_multiple_of(50) { 16_000 } else { 300 };
        format!("{name} says {n}: {}", "x".repeat(rng.next_u32() as usize % most))
    };
    (0..MESSAGES).map(text).collect()
}

fn say(mut stdin: ChildStdin, texts: &[String]) {
    for text in texts {
        pause();
        writeln!(stdin, "{}", json!({ "say": text })).unwrap();
    }
    // Its end would be taken for an exit.
    std::mem::forget(stdin);
}

#[expect(clippy::disallowed_methods, reason = "a person types at a pace, too")]
fn pause() {
    thread::sleep(PACE);
}
