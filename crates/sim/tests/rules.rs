//! The rules of the relay, in all states that the real session machine can be brought to within written bounds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use sim::rules::{
    Bounds, Fault, Left,
    Person::{Alice, Bob, Carol},
    Relay, Will,
};
use stateright::{Checker as _, Model as _};

fn none() -> Left {
    Left { calls: 0, cuts: 0, logins: 0, losses: 0, gaps: 0, crashes: 0, lies: 0 }
}

fn run(name: &str, bounds: Bounds, fault: Fault) {
    let start = std::time::Instant::now();
    let relay = Relay::new(bounds.clone(), fault).unwrap();
    let checker = relay
        .checker()
        .threads(std::env::var("THREADS").ok().and_then(|v| v.parse().ok()).unwrap_or(2))
        .spawn_bfs()
        .join();
    println!(
        "{name}: {} states, {} steps, depth {}, {:?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        start.elapsed()
    );
    for (name, path) in checker.discoveries() {
        println!("  {name}");
        for (state, action) in path.into_vec() {
            if std::env::args().any(|a| a == "--states") {
                println!("{state:?}");
            }
            if let Some(action) = action {
                println!("    {action}");
            } else {
                println!("{state:?}");
            }
        }
    }
}

#[test]
fn trial() {
    let n = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<usize>().ok()).unwrap_or(0);
    let left = Left {
        calls: n("CALLS") as u8,
        cuts: n("CUTS") as u8,
        logins: n("LOGINS") as u8,
        losses: n("LOSSES") as u8,
        gaps: n("GAPS") as u8,
        crashes: n("CRASHES") as u8,
        lies: n("LIES") as u8,
    };
    let _ = none();
    let bounds = Bounds {
        left,
        will: if n("MEET") > 0 { Will::CallEachOther } else { Will::Any },
        messages: n("SAY") > 0,
        frames: n("SLOW"),
        movers: match n("MOVERS") {
            0 => &[Alice, Bob],
            1 => &[Alice],
            2 => &[Bob],
            3 => &[Carol],
            _ => &[Alice, Bob, Carol],
        },
        pairs: match n("PAIRS") {
            0 => &[(Alice, Bob)],
            1 => &[(Alice, Bob), (Bob, Alice)],
            2 => &[(Alice, Bob), (Carol, Bob)],
            3 => &[(Bob, Carol), (Alice, Bob)],
            _ => &[(Alice, Bob), (Alice, Carol), (Bob, Alice), (Bob, Carol), (Carol, Alice), (Carol, Bob)],
        },
        flights: n("FLIGHTS"),
    };
    run("trial", bounds, Fault::None);
}
