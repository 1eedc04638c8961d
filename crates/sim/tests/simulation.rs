//! Some of the worlds that continuous integration runs 100,000 of, and that a broken rule is noticed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use sim::{Fault, Options, Sabotage, Tally, run};

#[test]
fn no_rule_is_broken() {
    let mut total = Tally::default();
    for seed in 0..300 {
        let outcome = run(seed, Options::default());
        assert_eq!(outcome.violation, None, "again: cargo run --release -p sim -- --seed {seed}");
        total.add(&outcome.tally);
    }
    // A simulation in which nothing happens breaks no rule either.
    assert!(total.chats > 300 && total.messages > 3_000 && total.resumed > 100 && total.quiet > 100, "{total}");
    for fault in Fault::ALL {
        assert!(total.count(*fault) > 0, "{fault:?} never happened\n{total}");
    }
}

#[test]
fn a_seed_makes_the_same_world_each_time() {
    let traced = Options { traced: true, ..Options::default() };
    for seed in 0..20 {
        let (one, other) = (run(seed, traced), run(seed, traced));
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert!(one.trace.len() > 10 && one.recordings.len() > 3);
        assert_eq!(one.tally, run(seed, Options::default()).tally, "the trace changes nothing");
    }
}

/// Seeds within which each deliberate fault has to be found.
const FOUND_WITHIN: u64 = 100;

/// The first of them. What nodes do wrong shows in few worlds, and in the first thousands it does from here on.
fn first_seed(sabotage: Sabotage) -> u64 {
    match sabotage {
        Sabotage::ComparesNothing => 800,
        Sabotage::NeverBuries => 600,
        Sabotage::CountsNoWords | Sabotage::KeepsLapses => 3200,
        _ => 0,
    }
}

#[test]
fn deliberate_faults_are_found() {
    for sabotage in Sabotage::ALL {
        let nodes = sabotage.is_between_nodes().then_some(3);
        let options = Options { sabotage: Some(*sabotage), nodes, ..Options::default() };
        let first = first_seed(*sabotage);
        let found = (first..first + FOUND_WITHIN).find_map(|seed| Some((seed, run(seed, options).violation?)));
        let (seed, violation) = found.unwrap_or_else(|| panic!("{sabotage:?} was not found"));
        println!("{sabotage:?} is found with seed {seed}: {violation}");
    }
}
