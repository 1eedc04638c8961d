//! How soon two chat again once the network is back (B3).
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

use std::{thread, time::Duration};

use cable::{Cable, Passage, outage, pass};
use common::{World, talk};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

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
        let passage = if cut % 2 == 0 { Passage::Refused } else { Passage::Held };
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
