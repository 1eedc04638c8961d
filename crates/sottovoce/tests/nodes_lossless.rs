//! A chat goes on at several nodes while connections are cut, nodes are killed, and what the nodes share goes and comes back,
//! and nothing in it is lost, repeated or put out of order (B3, B9).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may panic, and tells how much it went through"
)]

mod common;
mod ledger;

use std::{io::Write as _, process::ChildStdin, sync::mpsc, thread, time::Duration};

use common::{
    PATIENCE, World, now,
    several::postgres::{Postgres, Stop},
    talk,
};
use ledger::{Ledger, check};
use rustix::process::Signal;
use serde_json::json;

const MESSAGES: usize = 3000;
/// Between two messages of one speaker: it makes all of them take 48 s.
const PACE: Duration = Duration::from_millis(16);
/// Between two blows.
const BLOW: Duration = Duration::from_millis(500);

/// What happens at which blow. Half a second lies between two.
#[derive(Clone, Copy, Debug)]
enum Blow {
    CutAll,
    Kill(usize),
    Back(usize),
    NatsGone,
    NatsBack,
    DatabaseGone,
    DatabaseBack,
}

use Blow::{Back, CutAll, DatabaseBack, DatabaseGone, Kill, NatsBack, NatsGone};

/// Three nodes, each killed in turn; NATS restarted twice, which remembers nothing; PostgreSQL gone for 20 s, and a node killed
/// meanwhile, whose user cannot log in before the database is back.
const BLOWS: [(usize, Blow); 22] = [
    (2, CutAll),
    (4, Kill(0)),
    (5, Back(0)),
    (8, Kill(1)),
    (10, Back(1)),
    (12, NatsGone),
    (14, NatsBack),
    (18, Kill(2)),
    (20, CutAll),
    (21, Back(2)),
    (24, DatabaseGone),
    (34, Kill(0)),
    (44, NatsGone),
    (45, NatsBack),
    (64, DatabaseBack),
    (66, Back(0)),
    (68, Kill(1)),
    (69, Kill(2)),
    (72, Back(1)),
    (73, Back(2)),
    (78, CutAll),
    (82, Kill(0)),
];

#[test]
fn thousands_of_messages_arrive_once_and_in_order_whatever_goes_and_comes_back() {
    let Some(mut postgres) = Postgres::start() else { return };
    let Some(mut world) = World::of_nodes_with(&postgres, "localhost", 3, "") else { return };
    world.user("alice");
    world.user("bob");
    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    talk(&mut alice, &mut bob, "bob");

    let said = ["alice", "bob"].map(|name| {
        (0..MESSAGES).map(|n| format!("{name} says {n}: {}", "x".repeat(n * 7919 % 300))).collect::<Vec<_>>()
    });
    let begin = now();
    let (done, is_done) = mpsc::channel();
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
        let (mut left, mut blows) = (ledgers.len(), BLOWS.iter().peekable());
        for time in 1_usize.. {
            match is_done.recv_timeout(BLOW) {
                Ok(()) => left -= 1,
                Err(_) => assert!(begin.elapsed() < 3 * PATIENCE, "some of it never comes"),
            }
            if left == 0 {
                break;
            }
            while let Some((_, blow)) = blows.next_if(|(at, _)| *at <= time) {
                match *blow {
                    CutAll => world.several().balancer.cuts_all(),
                    Kill(node) => world.node_goes(node, Signal::KILL),
                    Back(node) => world.node_is_back(node),
                    NatsGone => world.nats_goes(Signal::KILL),
                    NatsBack => world.nats_is_back(),
                    DatabaseGone => postgres.stop(Stop::Immediate),
                    DatabaseBack => postgres.is_back(),
                }
            }
        }
        assert!(blows.next().is_none(), "it was over before all had happened");
        ledgers.map(|ledger| ledger.join().unwrap())
    });
    check(&said[0], &heard_by_alice, &heard_by_bob);
    check(&said[1], &heard_by_bob, &heard_by_alice);
    println!("{MESSAGES} messages each way in {:.1?}", begin.elapsed());
    println!("alice was told {:?}", heard_by_alice.events);
    println!("bob was told {:?}", heard_by_bob.events);
    for told in [&heard_by_alice.events, &heard_by_bob.events] {
        assert!(told.get("reconnected").is_some_and(|times| *times >= 5), "{told:?}");
    }
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
