//! Lines that are broken and opened again at the worst moment, or by somebody who means ill.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod relay;

use std::time::Duration;

use bytes::Bytes;
use client::{Ending, Event, Input, Output};
use proptest::prelude::*;
use protocol::{ChatHeader, ChatId, Close, CloseReason, Machine as _, Resume, ToClient, ToServer};
use relay::{
    Noticed, Relay, Way, server_name,
    telling::{in_a_chat, short, start_chat},
};

const ALICE: usize = 0;
const BOB: usize = 1;

/// The log-in had said that she has the chat. The server took her word for it, and she could not talk to anybody for as
/// long as bob stayed, who saw her back.
#[test]
fn a_chat_that_ends_while_its_client_logs_in_with_it_is_over_at_the_server_too() {
    for noticed in [Noticed::Both, Noticed::Client] {
        for answered in [false, true] {
            let mut relay = in_a_chat();
            relay.cut(ALICE, noticed);
            if answered {
                // The answer is on its way to her.
                assert!(relay.take_on(Way::Server(ALICE)));
            }
            relay.types(ALICE, "/leave");
            relay.types(ALICE, "/leave");
            relay.settle();
            relay.wait(Duration::from_secs(1));
            let told: Vec<_> = relay.news(BOB).iter().filter_map(short).collect();
            assert_eq!(told.last().unwrap(), "chat_closed alice Lost", "{noticed:?} {answered}: {told:?}");
            let told: Vec<_> = relay.news(ALICE).iter().filter_map(short).collect();
            assert_eq!(told.last().unwrap(), "reconnected", "{noticed:?} {answered}: {told:?}");
            start_chat(&mut relay);
            relay.types(ALICE, "hello");
            relay.settle();
            let told: Vec<_> = relay.news(BOB).iter().filter_map(short).collect();
            assert_eq!(told, ["message alice hello"], "{noticed:?} {answered}");
        }
    }
}

/// All but what goes to bob's client, which takes in nothing.
fn settle_but_for_bob(relay: &mut Relay) {
    while let Some(way) = relay.ways().into_iter().find(|way| *way != Way::Client(BOB)) {
        relay.take_on(way);
    }
}

/// Each word of 25 bytes had her send a megabyte, as fast as her line could carry it.
#[test]
fn a_peer_who_has_never_enough_is_sent_it_again_at_a_pace_that_the_server_sets() {
    let mut relay = in_a_chat();
    let chat = ChatHeader::chat_of(&relay.users[BOB].sealed().pop().unwrap()).unwrap();
    for _ in 0..64 {
        relay.types(ALICE, &"a".repeat(16_000));
    }
    settle_but_for_bob(&mut relay);
    let sent = |relay: &Relay| relay.users[ALICE].sealed().iter().map(Bytes::len).sum::<usize>();
    let (whole, before) = (sent(&relay), sent(&relay));
    for _ in 0..100 {
        relay.sends(BOB, &ToServer::Resume(Resume { chat, expected: 0 }));
        settle_but_for_bob(&mut relay);
    }
    let times = (sent(&relay) - before).div_ceil(whole);
    assert!(times <= 16, "alice has sent all again {times} times in no time");
    // Coming back is no faster way.
    let before = sent(&relay);
    for _ in 0..100 {
        relay.cut(BOB, Noticed::Both);
        settle_but_for_bob(&mut relay);
    }
    assert_eq!(sent(&relay), before);
    // It is not for ever that bob has to wait.
    relay.wait(Duration::from_secs(12));
    assert!(sent(&relay) > before);
    let told: Vec<_> = relay.news(BOB).iter().filter_map(short).collect();
    assert_eq!(told.iter().filter(|told| told.starts_with("message alice")).count(), 64, "{told:?}");
}

/// What a server does that means ill, to one of the two or for it.
#[derive(Clone, Debug)]
enum Trick {
    /// Passes on the next frame of the peer's that has not been passed on.
    Pass,
    /// The next so many.
    PassAll(usize),
    /// Leaves the next out.
    Leave,
    /// Passes on one that was sent at any time.
    Replay(usize),
    /// Sends one of its own back.
    Reflect(usize),
    /// Says that the peer is away.
    Away,
    /// Says that the peer expects this, which may be off by a little or by much from the truth.
    Resume(i64),
    /// Cuts the connection, and lets the client in again.
    Cut,
    /// Lets the user say something.
    Say,
    /// Lets time go by, in milliseconds.
    Wait(u64),
    /// Says that it is over.
    Over(CloseReason),
    /// The user leaves.
    Go,
}

fn tricks() -> impl Strategy<Value = Vec<(usize, Trick)>> {
    let trick = prop_oneof![
        40 => Just(Trick::Pass),
        10 => (1..20_usize).prop_map(Trick::PassAll),
        4 => Just(Trick::Leave),
        6 => any::<usize>().prop_map(Trick::Replay),
        1 => any::<usize>().prop_map(Trick::Reflect),
        8 => Just(Trick::Away),
        16 => prop_oneof![4 => Just(0), 2 => -3..4_i64, 1 => any::<i64>()].prop_map(Trick::Resume),
        4 => Just(Trick::Cut),
        40 => Just(Trick::Say),
        8 => (0..400_u64).prop_map(Trick::Wait),
        1 => (0..40_000_u64).prop_map(Trick::Wait),
    ];
    let last = prop_oneof![
        1 => Just(Trick::Over(CloseReason::Left)),
        1 => Just(Trick::Over(CloseReason::Failed)),
        4 => Just(Trick::Go),
    ];
    let trick = prop_oneof![200 => trick, 1 => last];
    prop::collection::vec((0..2_usize, trick), 0..300)
}

/// Two clients in a chat, and nothing between them but a server that means ill.
struct Between {
    relay: Relay,
    chat: ChatId,
    said: [usize; 2],
    /// Frames of each that were passed on or left out.
    passed: [usize; 2],
    left: [bool; 2],
}

impl Between {
    fn new() -> Self {
        let relay = in_a_chat();
        let chat = ChatHeader::chat_of(&relay.users[BOB].sealed().pop().unwrap()).unwrap();
        let passed = [ALICE, BOB].map(|user| relay.users[user].sealed().len());
        Self { relay, chat, said: [0; 2], passed, left: [false; 2] }
    }

    fn hears(&mut self, user: usize, frame: &ToClient) {
        self.relay.input(user, Input::Frame(frame.encode().unwrap()));
    }

    fn pass(&mut self, user: usize) -> bool {
        let peer = 1 - user;
        let frame = self.relay.users[peer].sealed().get(self.passed[peer]).cloned();
        let Some(frame) = frame else { return false };
        self.passed[peer] += 1;
        self.relay.input(user, Input::Frame(frame));
        true
    }

    /// What the user's client last said that it expects next.
    fn expected(&self, user: usize) -> u64 {
        let sent = self.relay.users[user].outputs.iter().filter_map(|output| match output {
            Output::Send(frame) => ToServer::decode(frame).ok(),
            _ => None,
        });
        let expected = sent.filter_map(|frame| match frame {
            ToServer::Resume(resume) => Some(resume.expected),
            ToServer::Login(login) => login.held.map(|held| held.resume.expected),
            ToServer::Message(message) => Some(message.header.ack),
            _ => None,
        });
        expected.last().unwrap_or(0)
    }

    fn play(&mut self, user: usize, trick: &Trick) {
        let peer = 1 - user;
        if self.relay.users[user].quit {
            return;
        }
        match trick {
            Trick::Pass => _ = self.pass(user),
            Trick::PassAll(count) => _ = (0..*count).all(|_| self.pass(user)),
            Trick::Leave => self.passed[peer] = (self.passed[peer] + 1).min(self.relay.users[peer].sealed().len()),
            Trick::Replay(which) => self.replay(user, peer, *which),
            Trick::Reflect(which) => self.replay(user, user, *which),
            Trick::Away => self.hears(user, &ToClient::PeerAway(self.chat)),
            Trick::Resume(off) => self.resume(user, *off),
            Trick::Cut => self.cut(user),
            Trick::Say => {
                if !self.left[user] && self.relay.users[user].client.is_ready() && !self.is_over(user) {
                    self.relay.types(user, &self.said[user].to_string());
                    self.said[user] += 1;
                }
            }
            Trick::Wait(time) => {
                self.relay.now += Duration::from_millis(*time);
                for user in [ALICE, BOB] {
                    if !self.relay.users[user].quit {
                        self.relay.input(user, Input::Tick);
                        self.hears(user, &ToClient::Pong);
                    }
                }
            }
            Trick::Over(reason) => {
                self.hears(user, &ToClient::ChatClosed(Close { chat: self.chat, reason: *reason }));
            }
            Trick::Go => {
                self.left[user] = true;
                self.relay.types(user, "--ex");
            }
        }
    }

    fn replay(&mut self, user: usize, whose: usize, which: usize) {
        let frames = self.relay.users[whose].sealed();
        let frame = frames.get(which % frames.len().max(1)).cloned();
        frame.into_iter().for_each(|frame| self.relay.input(user, Input::Frame(frame)));
    }

    fn resume(&mut self, user: usize, off: i64) {
        let expected = self.expected(1 - user).wrapping_add_signed(off);
        self.hears(user, &ToClient::Resume(Resume { chat: self.chat, expected }));
    }

    fn cut(&mut self, user: usize) {
        self.relay.cut(user, Noticed::Client);
        // Between attempts there is a time to wait, sometimes.
        for _ in 0..4 {
            let last = self.relay.users[user].outputs.iter().rev().find_map(|output| match output {
                Output::Send(frame) => Some(matches!(ToServer::decode(frame), Ok(ToServer::Login(_)))),
                Output::Connect | Output::Abandon => Some(false),
                _ => None,
            });
            if last == Some(true) {
                return self.hears(user, &ToClient::LoggedIn(server_name()));
            }
            self.relay.now =
                self.relay.users[user].client.deadline().map_or(self.relay.now, |at| at.max(self.relay.now));
            self.relay.input(user, Input::Tick);
        }
    }

    fn is_over(&self, user: usize) -> bool {
        self.relay.users[user].events.iter().any(|event| matches!(event, Event::ChatClosed { .. }))
    }

    /// What neither of the two must ever be told, or made to do.
    fn check(&self) {
        for user in [ALICE, BOB] {
            let peer = 1 - user;
            let (events, peers) = (&self.relay.users[user].events, &self.relay.users[peer].events);
            let got: Vec<_> = messages(events).into_iter().map(|(_, text)| text).collect();
            let said: Vec<_> = (0..self.said[peer]).map(|text| text.to_string()).collect();
            assert!(said.starts_with(&got), "{got:?} of {said:?}");
            let arrived: Vec<_> = messages(peers).into_iter().map(|(n, _)| n).collect();
            let mut is_away = false;
            for event in events {
                match event {
                    Event::Delivered { n } => assert!(arrived.contains(n), "{n} is told to be delivered"),
                    Event::PeerAway { .. } => assert!(!std::mem::replace(&mut is_away, true), "away, and away"),
                    Event::PeerBack { .. } => assert!(std::mem::take(&mut is_away), "back, and was not away"),
                    Event::ChatClosed { reason, undelivered, .. } => {
                        assert!(*undelivered as usize + arrived.len() >= self.said[user], "{undelivered} are missing");
                        assert!(*reason != Ending::Goodbye || self.left[user] || self.left[peer], "who took leave?");
                    }
                    _ => {}
                }
            }
            assert!(events.iter().filter(|event| matches!(event, Event::ChatClosed { .. })).count() <= 1);
            self.check_sealed(user);
        }
    }

    /// Of what is sealed with one counter, one frame at most is ever sent twice: the counted one.
    fn check_sealed(&self, user: usize) {
        let mut frames: Vec<_> = self.relay.users[user].sealed();
        frames.sort();
        let repeated = frames.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| counter(&pair[0]));
        let mut distinct: Vec<_> = repeated.collect();
        distinct.dedup();
        let mut whole: Vec<Bytes> =
            frames.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect();
        whole.dedup();
        assert_eq!(distinct.len(), whole.len(), "two frames of one counter were sent again");
    }
}

fn counter(frame: &Bytes) -> u64 {
    match ToServer::decode(frame) {
        Ok(ToServer::Message(message)) => message.header.counter,
        other => panic!("{other:?} is not sealed"),
    }
}

fn messages(events: &[Event]) -> Vec<(u64, String)> {
    let messages = events.iter().filter_map(|event| match event {
        Event::Message { n, text, .. } => Some((*n, text.as_str().to_owned())),
        _ => None,
    });
    messages.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever the server leaves out, repeats, sends back, cuts and says of where the other stands: what arrives is
    /// what was said, in order and once; only what has arrived is told to be delivered; and if nothing has ended the chat,
    /// it goes on as soon as the server does as it should.
    #[test]
    fn a_server_that_means_ill_loses_and_repeats_nothing(tricks in tricks()) {
        let mut between = Between::new();
        for (user, trick) in &tricks {
            let before = between.relay.users[*user].outputs.len();
            between.play(*user, trick);
            prop_assert!(between.relay.users[*user].outputs.len() - before < 400 , "{:?}", trick);
            between.check();
        }
        let ended = [ALICE, BOB].iter().any(|user| between.is_over(*user) || between.left[*user]);
        if !ended {
            for user in [ALICE, BOB] {
                between.cut(user);
            }
            between.passed = [ALICE, BOB].map(|user| between.relay.users[user].sealed().len());
            for user in [ALICE, BOB] {
                between.resume(user, 0);
            }
            for _ in 0..20 {
                while between.pass(ALICE) || between.pass(BOB) {}
                between.play(ALICE, &Trick::Wait(30));
            }
            between.check();
            for user in [ALICE, BOB] {
                prop_assert!(!between.is_over(user), "{:?}", between.relay.users[user].events.last());
                let arrived = messages(&between.relay.users[1 - user].events);
                prop_assert_eq!(arrived.len(), between.said[user]);
                let delivered = between.relay.users[user].events.iter().rev().find_map(|event| match event {
                    Event::Delivered { n } => Some(*n),
                    _ => None,
                });
                prop_assert_eq!(delivered, arrived.last().map(|(n, _)| *n));
            }
        }
    }
}
