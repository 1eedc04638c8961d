//! What somebody on the wire between clients and server gets to see (S16, B1), and gets to change (S12).
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

use std::{collections::BTreeMap, fs, sync::Arc};

use client::{Account, Ending, Event};
use common::{PATIENCE, World, talk};
use people::{Person, Registry, port_of};
use proxy::{Flip, Proxy, RECORD_HEAD, Records, Way};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

/// As many messages as renew the keys, and then some.
const ENOUGH_TO_RENEW: u64 = protocol::limits::RENEW_AFTER_MESSAGES + 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_on_the_wire_sees_names_texts_lists_or_keys() {
    const NAMES: [&str; 3] =
        ["amalthea-of-the-lighthouse", "bartholomew-from-the-harbour", "clementine-is-online-and-quiet"];
    let world = World::new();
    let proxy = Proxy::before(port_of(&world)).await;
    for name in NAMES {
        world.user_at(name, &format!("localhost:{}", proxy.port));
    }
    let mut caller = world.log_in(NAMES[0]);
    let mut accepter = world.log_in(NAMES[1]);
    let mut bystander = world.log_in(NAMES[2]);

    caller.types("--l");
    assert_eq!(caller.expect("users")["users"], serde_json::json!([NAMES[1], NAMES[2]]));
    caller.types(&format!("--r {}", NAMES[1]));
    accepter.expect("request");
    accepter.types("--n");
    caller.expect("refused");
    let (at_caller, _) = talk(&mut caller, &mut accepter, NAMES[1]);
    let (mut texts, mut renewed) = (Vec::new(), 0);
    for n in 0..=ENOUGH_TO_RENEW / 2 {
        let (question, answer) = (format!("question-{n}-of-the-evening"), format!("answer-{n}-of-the-evening"));
        caller.says(&question);
        assert_eq!(accepter.expect("message")["text"], question.as_str());
        accepter.says(&answer);
        let heard = loop {
            let event = caller.next().expect("the caller stays");
            renewed += u64::from(event["event"] == "renewed");
            if event["event"] == "message" {
                break event;
            }
        };
        assert_eq!(heard["text"], answer.as_str());
        texts.extend([question, answer]);
    }
    assert!(renewed >= 1);
    caller.types("--ex");
    assert_eq!(accepter.expect("chat_closed")["reason"], "goodbye");
    for client in [&mut caller, &mut accepter, &mut bystander] {
        assert_eq!(client.ended().0, Some(0));
    }

    let tapes = proxy.tapes();
    assert_eq!(tapes.len(), 3);
    // That it is the true wire shows in what TLS does not hide: the server's name and the protocol's.
    for tape in &tapes {
        assert!(holds(&tape.to_server, b"localhost") && holds(&tape.to_server, protocol::ALPN));
        assert!(tape.to_client.len() > 1000);
    }
    let messages = tapes[0].to_server.len() + tapes[0].to_client.len();
    assert!(messages > texts.len() * protocol::limits::PADDING, "the tape holds the messages");

    let mut secrets: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    secrets.extend(NAMES.map(|name| name.as_bytes().to_vec()));
    // What is common to all texts, and parts of names: a list or a text in parts would still show.
    secrets.extend([&b"-of-the-evening"[..], b"lighthouse", b"bartholomew", b"clementine"].map(<[u8]>::to_vec));
    let safety_number = at_caller["safety_number"].as_str().unwrap();
    secrets.push(safety_number.as_bytes().to_vec());
    secrets.push(safety_number.split(' ').collect::<String>().into_bytes());
    for name in NAMES {
        let line = fs::read_to_string(world.profile(name).join("key.pub")).unwrap();
        let key = *identity::parse_public_line(&line).unwrap().as_bytes();
        // A part of a key would link its owner as well as all of it.
        secrets.extend([key[..16].to_vec(), key[16..].to_vec()]);
        secrets.extend((0..3).map(|start| base64(&key[start..][..24])));
        secrets.push(line.split(' ').nth(1).unwrap().as_bytes()[..40].to_vec());
    }
    for (number, tape) in tapes.iter().enumerate() {
        for (way, bytes) in [("to the server", &tape.to_server), ("to the client", &tape.to_client)] {
            for secret in &secrets {
                assert!(
                    !holds(bytes, secret),
                    "connection {number} carries {:?} {way} in clear",
                    String::from_utf8_lossy(secret)
                );
            }
        }
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Base64 (RFC 4648 section 4) of a multiple of three bytes.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    assert_eq!(bytes.len() % 3, 0);
    let group = |three: &[u8]| {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| LETTERS[bits >> shift & 63])
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[test]
fn base64_is_what_the_standard_says() {
    assert_eq!(base64(b"foobar"), b"Zm9vYmFy");
}

/// Where in the story a record passes. What is still on its way when a stage ends may count for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    LogIn,
    List,
    Request,
    SetUp,
    Messages,
    Renewal,
    Goodbye,
}

const STAGES: [Stage; 7] =
    [Stage::LogIn, Stage::List, Stage::Request, Stage::SetUp, Stage::Messages, Stage::Renewal, Stage::Goodbye];

/// The byte of a record's head that is there for old middleboxes, and that receivers have to ignore (RFC 8446 section
/// 5.1, `legacy_record_version`).
const IGNORED_BYTE: usize = 2;
/// Stories that are told at the same time. One that waits for a timer costs the others nothing.
const AT_ONCE: usize = 32;
const SEED: u64 = 0x5077_0f0c;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_ends_the_connection_and_delivers_nothing_false() {
    let world = World::with(
        // The same users tell the story again and again.
        "handshake_timeout = \"2s\"\nlogin_timeout = \"2s\"\nrequest_timeout = \"20s\"\ngrace_period = \"10s\"\n\
         request_burst = 10000\nrequest_rate = 6000",
    );
    let registry = Registry::of(&world).await;
    let server = port_of(&world);
    let mut pairs = Vec::new();
    for number in 0..AT_ONCE {
        let (caller, accepter) = (format!("caller-{number}"), format!("accepter-{number}"));
        pairs.push([registry.register(&caller).await, registry.register(&accepter).await]);
    }

    // Once without damage, to know what there is to be damaged.
    let proxies = [Proxy::before(server).await, Proxy::before(server).await];
    let mut undamaged = Story::begin(&pairs[0], &proxies).await;
    assert_eq!(undamaged.tell(Stage::Goodbye).await, Ok(()));
    undamaged.check(None).await;
    let places = spread(&[proxies[0].records(), proxies[1].records()]);
    assert!(places.len() >= 300, "{}", places.len());

    let pairs = Arc::new(std::sync::Mutex::new(pairs));
    let places_free = Arc::new(Semaphore::new(AT_ONCE));
    let mut stories = JoinSet::new();
    for (who, flip) in places {
        let (pairs, places_free) = (pairs.clone(), places_free.clone());
        stories.spawn(async move {
            let _place = places_free.acquire_owned().await.unwrap();
            let pair = pairs.lock().unwrap().pop().unwrap();
            let flipped = tell_with(&pair, server, who, flip).await;
            pairs.lock().unwrap().push(pair);
            (who, flip, flipped)
        });
    }
    let mut flipped = BTreeMap::new();
    while let Some(story) = stories.join_next().await {
        let (who, flip, was_flipped) = story.unwrap();
        if was_flipped {
            *flipped.entry((who, flip.stage, flip.way)).or_insert(0) += 1;
        }
    }
    let total: usize = flipped.values().sum();
    println!("{total} bits flipped:");
    for ((who, stage, way), count) in &flipped {
        println!("  {count:3} of the {}, {:?}, {way:?}", ["caller", "accepter"][*who], STAGES[*stage]);
    }
    assert!(total >= 200, "only {total} bits were flipped");
    // Each kind of place: both ways of log-in, messages and renewal for both, and each step that sets a chat up.
    let (caller, accepter) = (0, 1);
    let mut needed = vec![
        (caller, Stage::List, Way::ToServer),
        (caller, Stage::List, Way::ToClient),
        (caller, Stage::Request, Way::ToServer),
        (accepter, Stage::Request, Way::ToClient),
        (accepter, Stage::SetUp, Way::ToServer),
        (caller, Stage::SetUp, Way::ToClient),
        (caller, Stage::SetUp, Way::ToServer),
        (accepter, Stage::SetUp, Way::ToClient),
        (caller, Stage::Goodbye, Way::ToServer),
        (accepter, Stage::Goodbye, Way::ToClient),
    ];
    for stage in [Stage::LogIn, Stage::Messages, Stage::Renewal] {
        for who in [caller, accepter] {
            needed.extend([(who, stage, Way::ToServer), (who, stage, Way::ToClient)]);
        }
    }
    for (who, stage, way) in needed {
        assert!(flipped.contains_key(&(who, stage as usize, way)), "nothing flipped at {who} {stage:?} {way:?}");
    }
}

/// Places all over the records of an undamaged story: who is hit, and where. In the head of each record, in its first
/// and last byte, and in between.
fn spread(records: &[Records; 2]) -> Vec<(usize, Flip)> {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut places = Vec::new();
    for (who, records) in records.iter().enumerate() {
        for (&(way, stage), lengths) in records {
            for (record, &length) in lengths.iter().enumerate() {
                // Renewal takes as many records as there are messages before it, and they are all alike.
                if stage == Stage::Renewal as usize && record % 12 != 0 && record + 3 < lengths.len() {
                    continue;
                }
                let mut bytes = vec![rng.next_u32() as usize % RECORD_HEAD, RECORD_HEAD, length - 1];
                bytes.extend((0..3).map(|_| RECORD_HEAD + rng.next_u32() as usize % (length - RECORD_HEAD)));
                bytes.sort_unstable();
                bytes.dedup();
                for byte in bytes {
                    let bit = u8::try_from(rng.next_u32() % 8).unwrap();
                    places.push((who, Flip { way, stage, record, byte, bit }));
                }
            }
        }
    }
    // A record whose length has grown waits for a timer, so such stories begin first.
    places.sort_by_key(|(_, flip)| !matches!(flip.byte, 3 | 4));
    places
}

/// Tells the story with one bit flipped on the way to or from one of the two. Whether that bit came by.
async fn tell_with(pair: &[Account; 2], server: u16, who: usize, flip: Flip) -> bool {
    let proxies = if who == 0 {
        [Proxy::flipping(server, flip).await, Proxy::before(server).await]
    } else {
        [Proxy::before(server).await, Proxy::flipping(server, flip).await]
    };
    let mut story = Story::begin(pair, &proxies).await;
    let told = story.tell(STAGES[flip.stage]).await;
    let flipped = proxies[who].has_flipped();
    if !flipped || flip.byte == IGNORED_BYTE {
        assert_eq!(told, Ok(()), "{who} {flip:?}: nothing was damaged; {:?}", story.heard);
    }
    story.check(flipped.then_some((who, flip))).await;
    flipped
}

/// The story did not go on as it should have.
#[derive(Debug, PartialEq, Eq)]
struct Broken;

/// Two who log in, talk and part, each behind a proxy of its own.
struct Story<'a> {
    proxies: &'a [Proxy; 2],
    people: [Person; 2],
    heard: [Vec<Event>; 2],
    /// How many of the events heard have been looked at.
    looked_at: [usize; 2],
    said: [Vec<String>; 2],
    has_ended: [bool; 2],
    stage: Stage,
}

impl<'a> Story<'a> {
    async fn begin(pair: &[Account; 2], proxies: &'a [Proxy; 2]) -> Self {
        let start = |who: usize| Person::start(&Account { port: proxies[who].port, ..pair[who].clone() });
        Self {
            proxies,
            people: [start(0), start(1)],
            heard: Default::default(),
            looked_at: [0; 2],
            said: Default::default(),
            has_ended: [false; 2],
            stage: Stage::LogIn,
        }
    }

    /// Goes from log-in to the goodbye, without what only serves a stage that is not wanted.
    async fn tell(&mut self, wanted: Stage) -> Result<(), Broken> {
        let (caller, accepter) = (0, 1);
        self.until(caller, |event| matches!(event, Event::LoggedIn { .. })).await?;
        self.until(accepter, |event| matches!(event, Event::LoggedIn { .. })).await?;

        self.enter(Stage::List);
        self.people[caller].types("--l").await;
        self.until(caller, |event| matches!(event, Event::Users { .. })).await?;

        self.enter(Stage::Request);
        self.people[caller].types(&format!("--r {}", self.people[accepter].name)).await;
        self.until(accepter, |event| matches!(event, Event::Request { .. })).await?;

        self.enter(Stage::SetUp);
        self.people[accepter].types("--y").await;
        self.until(accepter, |event| matches!(event, Event::ChatStarted { .. })).await?;
        self.until(caller, |event| matches!(event, Event::ChatStarted { .. })).await?;

        self.enter(Stage::Messages);
        self.say(caller, "is the kettle on").await?;
        self.say(accepter, "it is").await?;
        self.say(caller, "then I am on my way").await?;

        if wanted >= Stage::Renewal {
            self.enter(Stage::Renewal);
            for n in 0..ENOUGH_TO_RENEW {
                self.says(caller, &format!("thought {n}")).await?;
            }
            self.until(caller, |event| matches!(event, Event::Renewed { .. })).await?;
            self.say(accepter, "with new keys").await?;
            self.say(caller, "as you say").await?;
        }

        self.enter(Stage::Goodbye);
        self.people[caller].types("--ex").await;
        self.until_closed(accepter).await;
        Ok(())
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.proxies.iter().for_each(|proxy| proxy.enter(stage as usize));
    }

    /// Says something, and waits until the other has it and the speaker knows.
    async fn say(&mut self, who: usize, text: &str) -> Result<(), Broken> {
        self.says(who, text).await?;
        self.until(who, |event| matches!(event, Event::Delivered { .. })).await
    }

    /// Says something, and waits until the other has it.
    async fn says(&mut self, who: usize, text: &str) -> Result<(), Broken> {
        self.said[who].push(text.to_owned());
        self.people[who].types(text).await;
        self.until(1 - who, |event| matches!(event, Event::Message { .. })).await
    }

    /// Skips to the event that is waited for; broken as soon as anybody is told that something has ended.
    async fn until(&mut self, who: usize, is_awaited: impl Fn(&Event) -> bool) -> Result<(), Broken> {
        loop {
            while let Some(event) = self.heard[who].get(self.looked_at[who]) {
                self.looked_at[who] += 1;
                if is_awaited(event) {
                    return Ok(());
                }
            }
            if self.has_ended != [false; 2] || self.heard.iter().flatten().any(is_an_end) {
                return Err(Broken);
            }
            self.listen().await;
        }
    }

    async fn until_closed(&mut self, who: usize) {
        while !self.has_ended[who] && !self.heard[who].iter().any(is_an_end) {
            self.listen().await;
        }
    }

    /// Takes the next event of either.
    async fn listen(&mut self) {
        let [caller, accepter] = &mut self.people;
        let next = async {
            tokio::select! {
                event = caller.events.recv(), if !self.has_ended[0] => (0, event),
                event = accepter.events.recv(), if !self.has_ended[1] => (1, event),
            }
        };
        let next = timeout(PATIENCE, next).await;
        match next.unwrap_or_else(|_| panic!("{:?}: both wait for ever; {:?}", self.stage, self.heard)) {
            (who, Some(event)) => self.heard[who].push(event),
            (who, None) => self.has_ended[who] = true,
        }
    }

    /// Whether what both were told is true, and the connection that was damaged, alone, has ended.
    async fn check(mut self, flipped: Option<(usize, Flip)>) {
        let context = format!("{flipped:?}");
        let damaged = flipped.filter(|(_, flip)| flip.byte != IGNORED_BYTE && self.stage < Stage::Goodbye);
        if let Some((who, _)) = damaged {
            while !self.has_ended[who] && !self.heard[who].iter().any(is_a_loss) {
                self.listen().await;
            }
        }
        // One's own goodbye ends a chat as the other's does, and here both say one.
        let before_goodbye = self.heard.each_ref().map(Vec::len);
        for person in &self.people {
            person.types("--ex").await;
        }
        while self.has_ended != [true; 2] {
            self.listen().await;
        }
        let names = self.people.each_ref().map(|person| person.name.clone());
        for (who, person) in self.people.into_iter().enumerate() {
            let (_, result) = person.ended().await;
            match damaged {
                Some((hit, _)) if hit == who => {
                    let has_noticed = result.is_err() || self.heard[who].iter().any(is_a_loss);
                    assert!(has_noticed, "{context}: went on; {:?}", self.heard[who]);
                }
                // In the last stage the damage may come before or after the client is done with the connection.
                _ if flipped.is_some_and(|(hit, _)| hit == who) && self.stage == Stage::Goodbye => {}
                _ => {
                    // Of two goodbyes that cross, one can come before the word that what was said last has arrived.
                    let is_in_order =
                        result.as_ref().map_or_else(|failure| failure.message.contains("was not confirmed"), |()| true);
                    assert!(is_in_order, "{context}: the other client ended too: {result:?}; {:?}", self.heard[who]);
                    let is_whole = !self.heard[who].iter().any(is_a_loss);
                    assert!(is_whole, "{context}: the other connection ended too; {:?}", self.heard[who]);
                }
            }
        }
        for who in [0, 1] {
            let other = &names[1 - who];
            let mut said = self.said[1 - who].iter();
            for (number, event) in self.heard[who].iter().enumerate() {
                let is_true = match event {
                    Event::Users { users, more } => {
                        let are_known = |user: &String| user.starts_with("caller-") || user.starts_with("accepter-");
                        who == 0 && users.contains(other) && users.iter().all(are_known) && !more
                    }
                    Event::Request { from } => who == 1 && from == other,
                    Event::Message { from, text, .. } => {
                        from == other && said.next().is_some_and(|said| said == text.as_str())
                    }
                    Event::Delivered { n } => *n < self.said[who].len() as u64 + 1,
                    Event::ChatClosed { peer, reason, .. } => {
                        let may_part = self.stage == Stage::Goodbye || number >= before_goodbye[who];
                        peer == other && (*reason != Ending::Goodbye || may_part)
                    }
                    Event::Refused { .. } => false,
                    _ => true,
                };
                assert!(is_true, "{context}: {} was told {event:?}; said was {:?}", names[who], self.said[1 - who]);
            }
        }
        let safety_numbers = self.heard.each_ref().map(|heard| {
            heard.iter().find_map(|event| match event {
                Event::ChatStarted { safety_number, .. } => Some(safety_number.clone()),
                _ => None,
            })
        });
        if let [Some(one), Some(other)] = &safety_numbers {
            assert_eq!(one, other, "{context}");
        }
        // A chat outlives the connection that was damaged: all that was said in it arrives.
        if flipped.is_none() || [Stage::Messages, Stage::Renewal].contains(&self.stage) {
            let heard = self
                .heard
                .each_ref()
                .map(|heard| heard.iter().filter(|event| matches!(event, Event::Message { .. })).count());
            assert_eq!(heard, [self.said[1].len(), self.said[0].len()], "{context}: {:?}", self.heard);
            for heard in &self.heard {
                let closed = heard.iter().find(|event| matches!(event, Event::ChatClosed { .. }));
                let is_goodbye = matches!(closed, Some(Event::ChatClosed { reason: Ending::Goodbye, .. }));
                assert!(is_goodbye, "{context}: {:?}", self.heard);
            }
        }
    }
}

/// Whether it tells that the connection of whoever hears it is gone.
fn is_a_loss(event: &Event) -> bool {
    matches!(event, Event::Reconnecting { .. })
}

fn is_an_end(event: &Event) -> bool {
    matches!(
        event,
        Event::RequestEnded { .. }
            | Event::UserNotFound { .. }
            | Event::Refused { .. }
            | Event::ChatClosed { .. }
            | Event::LoggedOut
            | Event::Error { .. }
    )
}
