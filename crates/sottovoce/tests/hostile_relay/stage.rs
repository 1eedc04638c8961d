//! A hostile relay inside the test, and clients that are processes of their own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::mpsc,
};

use serde_json::Value;
use sim::hostile_relay::{Attack, HostileRelay};

use crate::common::{Client, PATIENCE, World, now, talk};

/// A relay that is honest until it is told otherwise, and its users' profiles.
pub(crate) struct Stage {
    pub(crate) world: World,
    relay: HostileRelay,
    told: mpsc::Receiver<String>,
}

impl Stage {
    /// Users of these names, at a relay that means no ill yet.
    pub(crate) fn of<const N: usize>(names: [&str; N]) -> Self {
        Self::with("", names)
    }

    /// The same, with these settings of the relay.
    pub(crate) fn with<const N: usize>(settings: &str, names: [&str; N]) -> Self {
        // Its own server is honest, and nobody dials it.
        let world = World::with(settings);
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (relay, told) = HostileRelay::start(&world.server_dir(), Some(listen), &[]).unwrap();
        let stage = Self { world, relay, told };
        for name in names {
            stage.world.user_at(name, &format!("localhost:{}", stage.relay.address().port()));
        }
        stage
    }

    /// Has the relay do this from now on.
    pub(crate) fn attack(&self, attack: Attack) {
        self.relay.attack(&[attack]);
    }

    /// Has the relay do both from now on, the second to what the first lets through.
    pub(crate) fn attack_with(&self, first: Attack, second: Attack) {
        self.relay.attack(&[first, second]);
    }

    /// Cuts everybody's connection, and does this to whoever comes back.
    pub(crate) fn cut_and(&self, attack: Attack) {
        self.relay.attack(&[Attack::Cut, attack]);
    }

    /// Has the relay be honest from now on.
    pub(crate) fn be_honest(&self) {
        self.relay.attack(&[]);
    }

    /// What the relay tells its owner next.
    pub(crate) fn told(&self) -> String {
        self.told.recv_timeout(PATIENCE).expect("the relay tells what it has read")
    }

    pub(crate) fn log_in(&self, name: &str) -> Client {
        self.world.log_in(name)
    }

    /// Alice and bob in a chat that she asked for, in which nobody has said a word.
    pub(crate) fn in_a_chat(&self) -> [Client; 2] {
        let (mut alice, mut bob) = (self.log_in("alice"), self.log_in("bob"));
        talk(&mut alice, &mut bob, "bob");
        [alice, bob]
    }

    /// The same, in which each has said a word that has arrived.
    pub(crate) fn talking(&self) -> [Client; 2] {
        let [mut alice, mut bob] = self.in_a_chat();
        alice.says("hello");
        assert_eq!(until(&mut bob, "message"), ["message hello"]);
        assert_eq!(until(&mut alice, "delivered"), ["delivered 0"]);
        bob.says("hello");
        assert_eq!(until(&mut alice, "message"), ["message hello"]);
        assert_eq!(until(&mut bob, "delivered"), ["delivered 0"]);
        [alice, bob]
    }

    /// The relay is honest again: two who are in no chat start one, and both leave as one does.
    pub(crate) fn all_is_well(&self, mut alice: Client, mut bob: Client) {
        self.be_honest();
        talk(&mut alice, &mut bob, "bob");
        self.goes_on(alice, bob);
    }

    /// The relay is honest again: the chat that there is goes on, and both leave as one does.
    pub(crate) fn goes_on(&self, mut alice: Client, mut bob: Client) {
        self.be_honest();
        alice.says("and now?");
        assert_eq!(until(&mut bob, "message").last().unwrap(), "message and now?");
        until(&mut alice, "delivered");
        bob.says("as ever");
        assert_eq!(until(&mut alice, "message").last().unwrap(), "message as ever");
        until(&mut bob, "delivered");
        alice.types("--ex");
        assert_eq!(until(&mut bob, "chat_closed").last().unwrap(), "chat_closed goodbye");
        assert_eq!(alice.ended(), (Some(0), String::new()));
        assert_eq!(bob.ended(), (Some(0), String::new()));
    }
}

/// All that a client tells of up to the next event of this name, in short, without what only tells of progress.
pub(crate) fn until(client: &mut Client, event: &str) -> Vec<String> {
    client.up_to(event).iter().filter_map(short).collect()
}

/// All that a client tells of up to the first thing that is this in short.
pub(crate) fn until_told(client: &mut Client, last: &str) -> Vec<String> {
    let begin = now();
    let mut told = Vec::new();
    while let Some(event) = client.next() {
        told.extend(short(&event));
        if told.last().is_some_and(|told| told == last) {
            return told;
        }
        assert!(begin.elapsed() < PATIENCE, "no {last:?} in {PATIENCE:?}, only {told:#?}");
    }
    panic!("no {last:?}, only {told:#?}");
}

/// All that a client tells of that is on its way when this is called. It asks for the list: what the relay has sent
/// comes before the answer.
pub(crate) fn all_told(client: &mut Client) -> Vec<String> {
    client.types("--l");
    let mut told = until(client, "users");
    told.pop();
    told
}

/// The client must tell of nothing.
#[track_caller]
pub(crate) fn tells_nothing(client: &mut Client) {
    assert_eq!(all_told(client), [""; 0]);
}

/// The client must tell of the end of its chat by an error, and of nothing else.
#[track_caller]
pub(crate) fn chat_fails(client: &mut Client) {
    let told = until(client, "chat_closed");
    assert_eq!(told, ["error protocol", "chat_closed error"]);
    tells_nothing(client);
}

/// An event in short; none for those that only tell of progress.
pub(crate) fn short(event: &Value) -> Option<String> {
    let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let name = text("event");
    Some(match name.as_str() {
        "connecting" | "connected" | "sent" | "renewed" | "peer_behind" | "peer_caught_up" => return None,
        "message" => format!("message {}", text("text")),
        "delivered" => format!("delivered {}", event["n"]),
        "chat_closed" => match event["undelivered"].as_u64() {
            Some(0) => format!("chat_closed {}", text("reason")),
            _ => format!("chat_closed {} undelivered {}", text("reason"), event["undelivered"]),
        },
        "chat_started" => format!("chat_started {} {}", text("peer"), text("trust")),
        "request_ended" => format!("request_ended {}", text("reason")),
        "error" => format!("error {}", text("code")),
        "request" => format!("request {}", text("from")),
        _ => name,
    })
}

/// `message 0` to `message (count - 1)`.
pub(crate) fn messages(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("message {number}")).collect()
}

/// The messages among what was told.
pub(crate) fn shown(told: &[String]) -> Vec<String> {
    told.iter().filter(|told| told.starts_with("message ")).cloned().collect()
}

/// Says `0` to `count - 1`.
pub(crate) fn count_up(client: &mut Client, count: usize) {
    (0..count).for_each(|number| client.says(&number.to_string()));
}
