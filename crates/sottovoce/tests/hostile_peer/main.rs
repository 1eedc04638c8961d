//! A peer with a registered key and a program of its own, against a real server and a real client: whatever it sends,
//! the chat ends with an error or goes on as if nothing were, and its victim is free for others.
//!
//! In each test mallory is the peer, victor the one who talks to it, and wendy somebody honest.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../people/mod.rs"]
mod people;
#[path = "../raw/mod.rs"]
mod raw;

mod commits;
mod counters;
mod floods;
mod frames;
mod meddler;
mod peer;
mod setup;
mod stock;

use common::{Client, World, talk};
use peer::{Peer, Rogue};
use serde_json::Value;

/// A peer at work may take its time, and call again and again.
const PATIENT: &str = "idle_timeout = \"10m\"\nrequest_timeout = \"10m\"\nrequest_burst = 1000";

/// A server, the peer, and its victim.
struct Scene {
    world: World,
    mallory: Peer,
    victor: Client,
}

/// What the error about the end of a chat has to say.
enum Blames {
    /// That it was the peer, whose signature proves it.
    Peer(&'static str),
    /// What happened; the server can have done it as well.
    Either(&'static str),
}

impl Scene {
    fn new() -> Self {
        Self::with("")
    }

    fn with(settings: &str) -> Self {
        let world = World::with(&format!("{PATIENT}\n{settings}"));
        world.user("victor");
        let mallory = Peer::log_in(&world, "mallory");
        let victor = world.log_in("victor");
        Self { world, mallory, victor }
    }

    /// Mallory calls victor, or has him call, and does something that ends the chat.
    #[track_caller]
    fn ends(&mut self, blames: Blames, misdeed: impl FnOnce(&mut Rogue<'_>)) {
        let mut rogue = self.mallory.calls(&mut self.victor, "victor");
        self.victor.says("words that nobody confirms");
        misdeed(&mut rogue);
        is_over(&mut self.victor, blames);
        assert_eq!(rogue.hears_the_end(), protocol::CloseReason::Failed);
    }

    /// Mallory calls victor and does something, and the chat goes on.
    #[track_caller]
    fn goes_on(&mut self, misdeed: impl FnOnce(&mut Rogue<'_>, &mut Client)) {
        let mut rogue = self.mallory.calls(&mut self.victor, "victor");
        misdeed(&mut rogue, &mut self.victor);
        rogue.tells("the chat goes on");
        hears(&mut self.victor, "mallory", "the chat goes on");
        rogue.takes_leave(&mut self.victor);
    }

    /// Victor is as free as ever, and talks with somebody honest.
    #[track_caller]
    fn victor_is_free(mut self) {
        self.world.user("wendy");
        let mut wendy = self.world.log_in("wendy");
        talk(&mut wendy, &mut self.victor, "victor");
        wendy.says("hello victor");
        hears(&mut self.victor, "wendy", "hello victor");
        self.victor.says("hello wendy");
        hears(&mut wendy, "victor", "hello wendy");
        assert_eq!(self.victor.ended(), (Some(0), String::new()));
    }
}

/// The next message must be this.
#[track_caller]
fn hears(listener: &mut Client, from: &str, text: &str) {
    let message = listener.expect("message");
    assert_eq!((&message["from"], &message["text"]), (&from.into(), &text.into()));
}

/// The chat with mallory ends with an error that says why, and nothing false was told before.
#[track_caller]
fn is_over(victor: &mut Client, blames: Blames) {
    let told = victor.up_to("chat_closed");
    let closed = told.last().unwrap();
    assert_eq!((&closed["peer"], &closed["reason"]), (&"mallory".into(), &"error".into()), "{told:#?}");
    for event in &told {
        assert!(!["message", "delivered", "renewed"].contains(&event["event"].as_str().unwrap()), "{told:#?}");
    }
    let errors: Vec<_> = told.iter().filter(|event| event["event"] == "error").collect();
    let [error] = errors.as_slice() else { panic!("one error: {told:#?}") };
    assert_eq!(error["code"], "protocol", "{error}");
    let (culprit, words) = match blames {
        Blames::Peer(words) => ("mallory".into(), words),
        Blames::Either(words) => (Value::Null, words),
    };
    assert_eq!(error["peer"], culprit, "{error}");
    assert!(error["message"].as_str().unwrap().contains(words), "{words:?}: {error}");
}
