//! What happens when people do things at the same moment (S6, S10, S11): nobody is in two chats, and nobody is stuck.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;
mod people;
mod proxy;

use std::time::Duration;

use client::{Account, Ending, ErrorCode, Event, RequestEnding};
use common::{PATIENCE, World};
use people::{Person, Registry, chat, port_of, tell};
use proxy::{Proxy, Way};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

const SEED: u64 = 0xc055;
/// Here people ask faster than people do.
const PATIENT: &str = "request_burst = 10000\nrequest_rate = 6000";
/// Far less than the time limit of a request, and far more than anything that does not wait for one takes.
const PROMPTLY: Duration = Duration::from_secs(20);

fn has_started(event: &Event) -> bool {
    matches!(event, Event::ChatStarted { .. })
}

fn is_closed(event: &Event) -> bool {
    matches!(event, Event::ChatClosed { .. })
}

/// Longer than a command takes to be carried out everywhere.
const LONG: Duration = Duration::from_millis(3);
/// About as long as it takes to get to the server.
const SHORT: Duration = Duration::from_micros(300);

/// Lets some time go by, from none at all to `most`.
async fn a_moment(rng: &mut ChaCha8Rng, most: Duration) {
    let end = Instant::now() + most * (rng.next_u32() % 100) / 100;
    while Instant::now() < end {
        tokio::task::yield_now().await;
    }
}

/// Ends the chat of the two and leaves both logged in.
async fn part(leaver: &mut Person, other: &mut Person) {
    leaver.types("/leave").await;
    let closed = other.until(is_closed).await;
    assert!(matches!(closed, Event::ChatClosed { reason: Ending::Goodbye, .. }), "{closed:?}");
    leaver.until(|event| matches!(event, Event::LoggedIn { .. })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_ask_each_other_at_once_are_in_one_chat() {
    let world = World::with(PATIENT);
    let registry = Registry::of(&world).await;
    let mut alice = Person::log_in(&registry.register("alice").await).await;
    let mut bob = Person::log_in(&registry.register("bob").await).await;
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    for round in 0..120 {
        let (first, second) = if round % 2 == 0 { (&alice, &bob) } else { (&bob, &alice) };
        first.types(&format!("--r {}", second.name)).await;
        a_moment(&mut rng, LONG).await;
        second.types(&format!("--r {}", first.name)).await;
        // Whoever has seen the other's request before asking has to answer it.
        let started = tokio::join!(into_the_chat(&mut alice), into_the_chat(&mut bob));
        assert_eq!(started.0, started.1, "round {round}: the same chat, by its safety number");
        tell(&mut alice, &mut bob, &format!("{round}, who was first?")).await;
        tell(&mut bob, &mut alice, &format!("{round}, you were")).await;
        if round % 3 == 0 {
            part(&mut bob, &mut alice).await;
        } else {
            part(&mut alice, &mut bob).await;
        }
    }
    for person in [alice, bob] {
        let told = person.leaves().await;
        assert!(!told.iter().any(|event| has_started(event) || is_closed(event)), "a second chat: {told:?}");
    }
}

/// Waits for the start of a chat, accepting the request that may be there.
async fn into_the_chat(person: &mut Person) -> String {
    let mut has_asked_in_vain = false;
    let mut is_asked = false;
    loop {
        match person.until(|event| !matches!(event, Event::Delivered { .. } | Event::Calling { .. })).await {
            Event::ChatStarted { safety_number, .. } => return safety_number,
            Event::Error { code: ErrorCode::Busy, .. } => has_asked_in_vain = true,
            Event::Request { .. } => is_asked = true,
            other => panic!("{}: {other:?}", person.name),
        }
        // Asked before it asked itself; otherwise the two requests are one.
        if has_asked_in_vain && is_asked {
            person.types("--y").await;
            has_asked_in_vain = false;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_who_ask_in_a_ring_all_get_free() {
    let world = World::with(PATIENT);
    let registry = Registry::of(&world).await;
    let mut ring = Vec::new();
    for name in ["alice", "bob", "carol"] {
        ring.push(Person::log_in(&registry.register(name).await).await);
    }
    for round in 0..30 {
        let start = Instant::now();
        let names: Vec<_> = ring.iter().map(|person| person.name.clone()).collect();
        for turn in 0..3 {
            // Each round somebody else is first, and each other round the ring goes the other way round.
            let who = (turn + round) % 3;
            let next = if round % 2 == 0 { (who + 1) % 3 } else { (who + 2) % 3 };
            ring[who].types(&format!("--r {}", names[next])).await;
        }
        for person in &mut ring {
            free(person).await;
        }
        assert!(start.elapsed() < PROMPTLY, "round {round}: somebody waited for a time limit");
    }
    for (one, other) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
        let [one, other] = ring.get_disjoint_mut([one, other]).unwrap();
        chat(one, other).await;
        tell(other, one, "at last").await;
        part(one, other).await;
    }
    for person in ring {
        person.leaves().await;
    }
}

/// Sees to it that a person whose client has taken in all that it was told is neither asking nor asked nor in a chat.
async fn free(person: &mut Person) {
    // The list comes after all that the server had to say, and the client has answered the commands before it.
    loop {
        let mut is_busy = false;
        person.types("--n").await;
        person.types("--l").await;
        loop {
            match person.next().await.expect("the client stays") {
                Event::Users { .. } => break,
                // Was not busy with a request, but may be in a chat or on the way into one.
                Event::Error { code: ErrorCode::NotInChat, .. } => {}
                Event::Request { .. } | Event::Calling { .. } | Event::ChatStarted { .. } => is_busy = true,
                _ => {}
            }
        }
        if !is_busy {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_nobody_answers_ends_for_both() {
    let world = World::with(&format!("{PATIENT}\nrequest_timeout = \"1s\""));
    let registry = Registry::of(&world).await;
    let mut alice = Person::log_in(&registry.register("alice").await).await;
    let mut bob = Person::log_in(&registry.register("bob").await).await;
    for _ in 0..2 {
        let start = Instant::now();
        alice.types("--r bob").await;
        bob.until(|event| matches!(event, Event::Request { .. })).await;
        for (person, other) in [(&mut alice, "bob"), (&mut bob, "alice")] {
            let ended = person.until(|event| matches!(event, Event::RequestEnded { .. })).await;
            assert_eq!(ended, Event::RequestEnded { peer: other.to_owned(), reason: RequestEnding::Expired });
        }
        assert!(start.elapsed() >= Duration::from_secs(1) && start.elapsed() < PROMPTLY, "{:?}", start.elapsed());
        bob.types("--y").await;
        bob.until(|event| matches!(event, Event::Error { code: ErrorCode::NotInChat, .. })).await;
        chat(&mut bob, &mut alice).await;
        part(&mut alice, &mut bob).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_back_meets_accepting() {
    let world = World::with(PATIENT);
    let registry = Registry::of(&world).await;
    let mut alice = Person::log_in(&registry.register("alice").await).await;
    let mut bob = Person::log_in(&registry.register("bob").await).await;
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut endings = [0; 2];
    for round in 0..150 {
        let start = Instant::now();
        alice.types("--r bob").await;
        bob.until(|event| matches!(event, Event::Request { .. })).await;
        bob.types("--y").await;
        a_moment(&mut rng, LONG).await;
        alice.types("--n").await;
        let outcome = alice
            .until(|event| {
                matches!(
                    event,
                    Event::RequestEnded { .. }
                        | Event::Error { code: ErrorCode::NotInChat, .. }
                        | Event::ChatStarted { .. }
                )
            })
            .await;
        if let Event::RequestEnded { peer, reason } = outcome {
            // Taken back in time: bob is told that nothing comes of it.
            assert_eq!((peer.as_str(), reason), ("bob", RequestEnding::CalledOff));
            bob.until(|event| matches!(event, Event::ChatClosed { .. } | Event::RequestEnded { .. })).await;
            endings[0] += 1;
        } else {
            // Too late: there is a chat, or about to be one.
            if !has_started(&outcome) {
                alice.until(has_started).await;
            }
            bob.until(has_started).await;
            tell(&mut bob, &mut alice, "hello all the same").await;
            part(&mut alice, &mut bob).await;
            endings[1] += 1;
        }
        assert!(start.elapsed() < PROMPTLY, "round {round}: somebody waited for a time limit");
    }
    println!("taken back in time {}, too late {}", endings[0], endings[1]);
    chat(&mut alice, &mut bob).await;
    tell(&mut alice, &mut bob, "there you are").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_who_is_asked_leaves() {
    let world = World::with(PATIENT);
    let registry = Registry::of(&world).await;
    let mut alice = Person::log_in(&registry.register("alice").await).await;
    let account = registry.register("bob").await;
    // While it rings: as if nobody had been there.
    let mut bob = Person::log_in(&account).await;
    alice.types("--r bob").await;
    bob.until(|event| matches!(event, Event::Request { .. })).await;
    bob.leaves().await;
    alice.until(|event| matches!(event, Event::UserNotFound { .. })).await;

    // At the moment when the request comes.
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    for round in 0..600 {
        let start = Instant::now();
        let bob = Person::log_in(&account).await;
        let (first, second) =
            if round % 2 == 0 { ((&alice, "--r bob"), (&bob, "--ex")) } else { ((&bob, "--ex"), (&alice, "--r bob")) };
        first.0.types(first.1).await;
        a_moment(&mut rng, SHORT).await;
        second.0.types(second.1).await;
        let ended = bob.ended();
        alice.until(|event| matches!(event, Event::UserNotFound { .. })).await;
        assert_eq!(ended.await.1, Ok(()));
        assert!(start.elapsed() < PROMPTLY, "round {round}: alice waited {:?}", start.elapsed());
    }
    // The same without a goodbye: the client is gone from one moment to the next.
    for round in 0..200 {
        let start = Instant::now();
        let bob = Person::log_in(&account).await;
        alice.types("--r bob").await;
        a_moment(&mut rng, SHORT).await;
        bob.vanishes();
        alice.until(|event| matches!(event, Event::UserNotFound { .. })).await;
        assert!(start.elapsed() < PROMPTLY, "round {round}: alice waited {:?}", start.elapsed());
    }
    let mut bob = Person::log_in(&account).await;
    chat(&mut alice, &mut bob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_log_ins_at_once_one_stays() {
    let world = World::with(PATIENT);
    let registry = Registry::of(&world).await;
    let account = registry.register("alice").await;
    let mut bob = Person::log_in(&registry.register("bob").await).await;
    for round in 0..100 {
        let decided = CancellationToken::new();
        let mut rivals = JoinSet::new();
        for _ in 0..3 {
            rivals.spawn(until_replaced(Person::start(&account), decided.clone()));
        }
        // Two are told that they were replaced, so it is the third who stays.
        for _ in 0..2 {
            let Ok(code) = rivals.join_next().await.unwrap().unwrap() else { panic!("nobody has decided yet") };
            assert_eq!(code, ErrorCode::Replaced, "round {round}");
        }
        decided.cancel();
        let Err(mut alice) = rivals.join_next().await.unwrap().unwrap() else {
            panic!("round {round}: all three were replaced");
        };
        bob.types("--r alice").await;
        alice.until(|event| matches!(event, Event::Request { .. })).await;
        alice.types("--y").await;
        alice.until(has_started).await;
        bob.until(has_started).await;
        tell(&mut alice, &mut bob, "it is me").await;
        part(&mut bob, &mut alice).await;
        alice.leaves().await;
    }
}

/// Why the person's log-in ended; or the person, if it stands when all is decided.
async fn until_replaced(mut person: Person, decided: CancellationToken) -> Result<ErrorCode, Person> {
    let ended = async { while person.events.recv().await.is_some() {} };
    tokio::select! {
        biased;
        () = ended => Ok(person.ended().await.1.unwrap_err().code),
        () = decided.cancelled() => Err(person),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_elsewhere_ends_a_busy_session_and_says_so() {
    let world = World::with(PATIENT);
    let registry = Registry::of(&world).await;
    let account = registry.register("alice").await;
    let mut bob = Person::log_in(&registry.register("bob").await).await;
    for round in 0..30 {
        let mut old = Person::log_in(&account).await;
        chat(&mut bob, &mut old).await;
        // Words are on their way in both directions when it happens.
        let newer = Person::start(&account);
        for n in 0..100 {
            old.types(&format!("old {n}")).await;
            bob.types(&format!("bob {n}")).await;
        }
        let (told, result) = old.ended().await;
        assert_eq!(
            result.as_ref().map_err(|failure| failure.code),
            Err(ErrorCode::Replaced),
            "round {round}: {result:?} {told:?}"
        );
        assert!(told.iter().any(is_closed), "round {round}: {told:?}");
        let closed = bob.until(is_closed).await;
        assert!(matches!(closed, Event::ChatClosed { reason: Ending::Lost, .. }), "round {round}: {closed:?}");
        let mut newer = newer;
        newer.until(|event| matches!(event, Event::LoggedIn { .. })).await;
        newer.leaves().await;
    }
}

/// A request that its caller takes back before one's own has reached the server: the server takes one's own then, and
/// one's client must not have forgotten it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_left_that_only_the_server_knows_of() {
    let world = World::with(PATIENT);
    let registry = Registry::of(&world).await;
    let slow = Proxy::before(port_of(&world)).await;
    let alice = registry.register("alice").await;
    let mut alice = Person::log_in(&Account { port: slow.port, ..alice }).await;
    let mut bob = Person::log_in(&registry.register("bob").await).await;
    let mut carol = Person::log_in(&registry.register("carol").await).await;
    for called in ["bob", "carol"] {
        // What alice says takes long to arrive.
        slow.hold(Way::ToServer);
        alice.types(&format!("--r {called}")).await;
        alice.until(|event| matches!(event, Event::Calling { .. })).await;
        bob.types("--r alice").await;
        bob.types("--n").await;
        bob.until(|event| matches!(event, Event::RequestEnded { .. })).await;
        // She is asked, and hears that it is over: of a request that was to become a chat if it was bob she called.
        alice.until(|event| matches!(event, Event::ChatClosed { .. } | Event::RequestEnded { .. })).await;
        slow.release();
        // She is free as far as she knows, so she has to be.
        alice.types("--r carol").await;
        let talks = async {
            while !matches!(carol.until(|event| has_started(event) || is_asked(event)).await, Event::ChatStarted { .. })
            {
                carol.types("--y").await;
            }
            alice.until(has_started).await;
        };
        timeout(PROMPTLY, talks).await.unwrap_or_else(|_| panic!("who had called {called} is held in that call"));
        tell(&mut alice, &mut carol, "there you are").await;
        part(&mut carol, &mut alice).await;
        // Whom she called first is no longer called.
        free(&mut bob).await;
    }
}

fn is_asked(event: &Event) -> bool {
    matches!(event, Event::Request { .. })
}

/// People do at random what people can do; afterwards each can talk with each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_people_do_nobody_is_stuck() {
    const PEOPLE: usize = 8;
    let world = World::with(PATIENT);
    let registry = Registry::of(&world).await;
    let mut accounts = Vec::new();
    for number in 0..PEOPLE {
        accounts.push(registry.register(&format!("user-{number}")).await);
    }
    let until = Instant::now() + Duration::from_secs(6);
    let mut party = JoinSet::new();
    for (number, account) in accounts.iter().enumerate() {
        party.spawn(mingle(account.clone(), ChaCha8Rng::seed_from_u64(SEED + number as u64), PEOPLE, until));
    }
    let mut people = Vec::new();
    let mut totals = Tally::default();
    while let Some(left) = party.join_next().await {
        let (person, tally) = left.unwrap();
        people.push(person);
        totals.add(&tally);
    }
    println!("{totals:?}");
    assert!(totals.chats > 20 && totals.messages > 20, "it was a party: {totals:?}");
    people.sort_by(|one, other| one.name.cmp(&other.name));

    // Whoever is in a chat leaves it, whoever is asked or asks says no: then all are free.
    let start = Instant::now();
    for person in &mut people {
        person.types("/leave").await;
    }
    for person in &mut people {
        person.until(|event| matches!(event, Event::LoggedIn { .. })).await;
        free(person).await;
    }
    for one in 0..PEOPLE {
        for other in one + 1..PEOPLE {
            let [one, other] = people.get_disjoint_mut([one, other]).unwrap();
            chat(one, other).await;
            tell(one, other, "good night").await;
            tell(other, one, "sleep well").await;
            part(other, one).await;
        }
    }
    assert!(start.elapsed() < PATIENCE, "somebody waited for a time limit: {:?}", start.elapsed());
    for person in people {
        person.leaves().await;
    }
}

#[derive(Debug, Default)]
struct Tally {
    asked: usize,
    chats: usize,
    messages: usize,
    left: usize,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.chats += other.chats;
        self.messages += other.messages;
        self.left += other.left;
    }
}

/// Acts at random until the time has come, and checks that what the client says fits together.
async fn mingle(account: Account, mut rng: ChaCha8Rng, people: usize, until: Instant) -> (Person, Tally) {
    let mut person = Person::log_in(&account).await;
    let mut tally = Tally::default();
    let mut peer: Option<String> = None;
    let mut expected = 0;
    while Instant::now() < until {
        let choice = rng.next_u32() % 100;
        let other = format!("user-{}", rng.next_u32() as usize % people);
        match choice {
            0..40 => person.types(&format!("--r {other}")).await,
            40..65 => person.types("--y").await,
            65..80 => person.types("--n").await,
            80..95 => person.types(&format!("{} says something", person.name)).await,
            95..97 => person.types("/leave").await,
            97..98 => {
                // Gone without a word, and back.
                person.vanishes();
                person = Person::log_in(&account).await;
                (peer, expected) = (None, 0);
                tally.left += 1;
            }
            _ => person.types("--l").await,
        }
        // Takes in what has come so far, and what comes within a moment.
        while let Ok(event) = timeout(Duration::from_millis(u64::from(rng.next_u32() % 12)), person.events.recv()).await
        {
            match event.unwrap_or_else(|| panic!("{}: the client ended", account.user)) {
                Event::Calling { .. } => tally.asked += 1,
                Event::ChatStarted { peer: started, .. } => {
                    assert_eq!(peer, None, "{}: two chats", account.user);
                    (peer, expected) = (Some(started), 0);
                    tally.chats += 1;
                }
                Event::Message { from, text, n } => {
                    assert_eq!(Some(&from), peer.as_ref(), "{}", account.user);
                    assert_eq!(text.as_str(), format!("{from} says something"));
                    assert!(n >= expected, "{}: {n} after {expected}", account.user);
                    expected = n + 1;
                    tally.messages += 1;
                }
                Event::ChatClosed { peer: closed, reason, .. } => {
                    assert_ne!(reason, Ending::Error, "{} with {closed}", account.user);
                    assert!(peer.as_ref().is_none_or(|peer| *peer == closed), "{}: {closed}", account.user);
                    peer = None;
                }
                Event::Error { code: ErrorCode::Busy | ErrorCode::NotInChat, .. } => {}
                // One who left while the other was away.
                Event::Error { code: ErrorCode::Unreachable, peer: Some(away), .. } => {
                    assert_eq!(peer.as_ref(), Some(&away), "{}", account.user);
                }
                Event::Error { code, message, .. } => panic!("{}: {code:?} {message}", account.user),
                _ => {}
            }
        }
    }
    (person, tally)
}
