//! A thousand people at once on one server (S15).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a test may panic, and tells how long things took"
)]

mod common;
mod people;

use std::sync::Arc;

use client::{Account, Ending, Event};
use common::World;
use people::{Person, Registry, chat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    sync::{Barrier, Semaphore},
    task::JoinSet,
    time::Instant,
};

const PAIRS: usize = 500;
/// What each of the thousand says.
const MESSAGES: u64 = 20;
/// Log-ins and set-ups that are under way together: their time limits are made for two cores and a crowd, but not for
/// a debug build with a thousand of both in the same second.
const AT_ONCE: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_chat_in_pairs() {
    // A socket each, and the test's own files.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();

    let world = World::new();
    let registry = Registry::of(&world).await;
    let start = Instant::now();
    let mut accounts = Vec::new();
    for number in 0..PAIRS {
        let (caller, accepter) = (format!("caller-{number}"), format!("accepter-{number}"));
        accounts.push([registry.register(&caller).await, registry.register(&accepter).await]);
    }
    println!("{} users registered in {:.1?}", 2 * PAIRS, start.elapsed());

    let stages = Arc::new(Stages { barrier: Barrier::new(PAIRS + 1), places: Semaphore::new(AT_ONCE) });
    let mut pairs = JoinSet::new();
    for pair in accounts {
        pairs.spawn(meet_and_part(pair, stages.clone()));
    }
    for stage in ["logged in", "found each other", "said all and had it delivered"] {
        let start = Instant::now();
        // A pair that fails is told of at once, instead of leaving the others at the barrier.
        tokio::select! {
            biased;
            _ = stages.barrier.wait() => {}
            failed = pairs.join_next() => panic!("before all {stage}: {failed:?}"),
        }
        println!("{} {stage} in {:.1?}", 2 * PAIRS, start.elapsed());
    }
    let start = Instant::now();
    let mut left = 0;
    while let Some(pair) = pairs.join_next().await {
        pair.unwrap();
        left += 2;
    }
    assert_eq!(left, 2 * PAIRS);
    println!("{left} left with a goodbye in {:.1?}", start.elapsed());
}

struct Stages {
    /// All pairs and the test end each stage together.
    barrier: Barrier,
    places: Semaphore,
}

async fn meet_and_part(pair: [Account; 2], stages: Arc<Stages>) {
    let [mut caller, mut accepter] = {
        let _place = stages.places.acquire().await.unwrap();
        let [one, other] = pair.each_ref().map(Person::log_in);
        let (one, other) = tokio::join!(one, other);
        [one, other]
    };
    stages.barrier.wait().await;

    {
        let _place = stages.places.acquire().await.unwrap();
        chat(&mut caller, &mut accepter).await;
    }
    stages.barrier.wait().await;

    for n in 0..MESSAGES {
        caller.types(&format!("caller says {n}")).await;
        accepter.types(&format!("accepter says {n}")).await;
    }
    let (one, other) = tokio::join!(hear(&mut caller, "accepter"), hear(&mut accepter, "caller"));
    assert_eq!([one, other], [MESSAGES; 2]);
    stages.barrier.wait().await;

    caller.types("--ex").await;
    let closed = accepter.until(|event| matches!(event, Event::ChatClosed { .. })).await;
    assert!(matches!(closed, Event::ChatClosed { reason: Ending::Goodbye, undelivered: 0, .. }), "{closed:?}");
    let (_, result) = caller.ended().await;
    assert_eq!(result, Ok(()));
    accepter.leaves().await;
}

/// Takes in events until all that the other says has come and all of one's own is delivered; how much came.
async fn hear(person: &mut Person, other: &str) -> u64 {
    let (mut heard, mut sent, mut delivered) = (0, 0, 0);
    while heard < MESSAGES || delivered < MESSAGES {
        match person.next().await.expect("the client stays") {
            Event::Message { from, text, n } => {
                assert!(from.starts_with(other) && n == heard, "{}: {n} from {from} after {heard}", person.name);
                assert_eq!(text.as_str(), format!("{other} says {n}"));
                heard += 1;
            }
            Event::Sent { n } => {
                assert_eq!(n, sent, "{}", person.name);
                sent += 1;
            }
            Event::Delivered { n } => {
                assert!(n >= delivered && n < sent, "{}: {n} delivered after {delivered}", person.name);
                delivered = n + 1;
            }
            other => panic!("{}: {other:?}", person.name),
        }
    }
    heard
}
