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
const AT_ONCE: usize = 32;

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
    let mut left = 0;
    for stage in ["logged in", "found each other", "said all and had it delivered"] {
        let start = Instant::now();
        let all = stages.barrier.wait();
        tokio::pin!(all);
        // A pair that fails is told of at once, instead of leaving the others at the barrier. One that is through the last
        // can be at its end before this hears that all are there.
        loop {
            tokio::select! {
                biased;
                _ = &mut all => break,
                ended = pairs.join_next() => match ended {
                    Some(Ok(())) => left += 2,
                    failed => panic!("before all {stage}: {failed:?}"),
                },
            }
        }
        println!("{} {stage} in {:.1?}", 2 * PAIRS, start.elapsed());
    }
    let start = Instant::now();
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

    let (mut at_caller, mut at_accepter) = (Heard::default(), Heard::default());
    // A word and its answer: all at once would keep two cores from each client for longer than a server may be silent.
    for n in 1..=MESSAGES {
        caller.types(&format!("caller says {n}")).await;
        at_accepter.listen(&mut accepter, "caller", n).await;
        accepter.types(&format!("accepter says {n}")).await;
        at_caller.listen(&mut caller, "accepter", n).await;
    }
    at_caller.settle(&mut caller).await;
    at_accepter.settle(&mut accepter).await;
    stages.barrier.wait().await;

    caller.types("--ex").await;
    let closed = accepter.until(|event| matches!(event, Event::ChatClosed { .. })).await;
    assert!(matches!(closed, Event::ChatClosed { reason: Ending::Goodbye, undelivered: 0, .. }), "{closed:?}");
    let (_, result) = caller.ended().await;
    assert_eq!(result, Ok(()));
    accepter.leaves().await;
}

/// What one of the pair has been told of the messages.
#[derive(Debug, Default)]
struct Heard {
    messages: u64,
    sent: u64,
    last_heard: Option<u64>,
    last_sent: Option<u64>,
    last_delivered: Option<u64>,
}

impl Heard {
    /// Takes in events until the other's message number `n` has come.
    async fn listen(&mut self, person: &mut Person, other: &str, n: u64) {
        while self.messages < n {
            self.take_in(person, other).await;
        }
    }

    /// Takes in events until all of one's own is delivered.
    async fn settle(&mut self, person: &mut Person) {
        while self.sent < MESSAGES || self.last_delivered < self.last_sent {
            self.take_in(person, "nobody").await;
        }
        assert_eq!((self.messages, self.sent), (MESSAGES, MESSAGES), "{}", person.name);
    }

    async fn take_in(&mut self, person: &mut Person, other: &str) {
        match person.next().await.expect("the client stays") {
            // Renewals count as messages do, so a counter may be left out.
            Event::Message { from, text, n } => {
                self.messages += 1;
                assert!(from.starts_with(other) && Some(n) > self.last_heard, "{}: {n} from {from}", person.name);
                assert_eq!(text.as_str(), format!("{other} says {}", self.messages));
                self.last_heard = Some(n);
            }
            Event::Sent { n } => {
                self.sent += 1;
                assert!(Some(n) > self.last_sent, "{}: {n} sent, {self:?}", person.name);
                self.last_sent = Some(n);
            }
            Event::Delivered { n } => {
                let is_new = Some(n) > self.last_delivered && Some(n) <= self.last_sent;
                assert!(is_new, "{}: {n} delivered, {self:?}", person.name);
                self.last_delivered = Some(n);
            }
            // On a slow machine there is time for it.
            Event::Renewed { .. } => {}
            other => panic!("{}: {other:?}", person.name),
        }
    }
}
