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
use protocol::{
    Accept, ChatHeader, ChatId, ClientId, Close, CloseReason, Establish, Held, Login, Machine as _, Message, Request,
    Resume, ToClient, ToServer,
};
use relay::{
    Noticed, Relay, Way, server_name,
    telling::{in_a_chat, logged_in, short, start_chat},
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

/// A pipe that had all of its lines there filled the memory with what waited for the way back.
#[test]
fn what_waits_for_the_way_back_of_a_leave_is_bounded_whatever_is_left() {
    let mut relay = logged_in(&["alice", "bob"]);
    relay.types(ALICE, "--r bob");
    relay.settle();
    relay.types(BOB, "--y");
    // Her client has made the group; bob's has not shown that it has it.
    for way in [Way::Server(BOB), Way::Session(ALICE), Way::Client(ALICE)] {
        assert!(relay.take_on(way));
    }
    relay.users[ALICE].unreachable = u64::MAX;
    relay.cut(ALICE, Noticed::Both);
    relay.types(ALICE, "/leave");
    let mut taken = 0;
    while relay.users[ALICE].client.is_ready() {
        relay.types(ALICE, "--l");
        taken += 1;
        assert!(taken <= 256, "memory is bounded");
    }
    relay.wait(Duration::from_secs(5));
    assert!(relay.users[ALICE].client.is_ready(), "and it is not for ever");
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

const MALLORY: usize = 2;
const CAROL: usize = 2;

/// What somebody does who knows the id of another's chat.
#[derive(Clone, Debug)]
enum Mischief {
    /// Logs in anew, with a chat or without.
    LogIn(Option<(&'static str, bool)>),
    /// Sends a frame: its number in a list, about that chat or another, to or about this user.
    Send(usize, bool, &'static str),
    /// Is gone without a word.
    Cut,
    /// Something that is on its way arrives.
    Take(usize),
    /// Time goes by, in milliseconds.
    Wait(u64),
    /// One of the two says something.
    Say(usize),
}

fn mischief() -> impl Strategy<Value = Vec<Mischief>> {
    let who = || prop::sample::select(vec!["alice", "bob", "carol", "mallory"]);
    let step = prop_oneof![
        6 => prop::option::weighted(0.9, (who(), any::<bool>())).prop_map(Mischief::LogIn),
        12 => (0..12_usize, any::<bool>(), who()).prop_map(|(frame, is_theirs, who)| Mischief::Send(frame, is_theirs, who)),
        4 => Just(Mischief::Cut),
        40 => any::<usize>().prop_map(Mischief::Take),
        3 => (0..3000_u64).prop_map(Mischief::Wait),
        6 => (0..2_usize).prop_map(Mischief::Say),
    ];
    prop::collection::vec(step, 0..200)
}

fn does(relay: &mut Relay, user: usize, theirs: ChatId, said: &mut [usize; 2], mischief: &Mischief) {
    let about = |is_theirs| if is_theirs { theirs } else { ChatId::from_bytes([9; 16]) };
    match mischief {
        Mischief::LogIn(held) => {
            relay.cut(user, Noticed::Client);
            relay.connects(user);
            let held = held.map(|(peer, is_theirs)| Held {
                peer: peer.parse().unwrap(),
                resume: Resume { chat: about(is_theirs), expected: 0 },
            });
            let name = relay.users[user].name.clone();
            let login = Login::first(name, ClientId::from_bytes([7; 16]));
            relay.sends(user, &ToServer::Login(Login { held, ..login }));
        }
        Mischief::Send(which, is_theirs, peer) => {
            let (chat, peer) = (about(*is_theirs), peer.parse().unwrap());
            let some = Bytes::from_static(b"some");
            let frame = match which {
                0 => ToServer::Exit,
                1 => ToServer::RequestToTalk(Request { peer, chat }),
                2 => ToServer::Accept(Accept { chat, key_package: some }),
                3 => ToServer::Refuse(chat),
                4 | 5 => ToServer::Message(Message { header: ChatHeader::new(chat, 0, 0), sealed: some }),
                6 => ToServer::SessionEstablishment(Establish { chat, welcome: some }),
                7 => ToServer::ChatClosed(Close { chat, reason: CloseReason::Left }),
                8 => ToServer::ChatClosed(Close { chat, reason: CloseReason::Failed }),
                _ => ToServer::Resume(Resume { chat, expected: 0 }),
            };
            relay.sends(user, &frame);
        }
        Mischief::Cut => relay.cut(user, Noticed::Server),
        Mischief::Take(which) => {
            let ways = relay.ways();
            if let Some(way) = ways.get(which % ways.len().max(1)) {
                relay.take_on(*way);
            }
        }
        Mischief::Wait(time) => {
            relay.settle();
            relay.wait(Duration::from_millis(*time));
        }
        Mischief::Say(user) => {
            relay.types(*user, &said[*user].to_string());
            said[*user] += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whoever is not in a chat gets nothing to those who are, and nothing from them, though he names it.
    #[test]
    fn a_stranger_who_names_a_chat_changes_nothing_in_it(steps in mischief()) {
        let mut relay = logged_in(&["alice", "bob", "mallory"]);
        start_chat(&mut relay);
        let theirs = ChatHeader::chat_of(&relay.users[BOB].sealed().pop().unwrap()).unwrap();
        let mut said = [0; 2];
        for step in &steps {
            does(&mut relay, MALLORY, theirs, &mut said, step);
        }
        relay.settle();
        relay.wait(Duration::from_secs(1));
        for (user, peer) in [(ALICE, BOB), (BOB, ALICE)] {
            let events = relay.news(user);
            let arrived: Vec<_> = messages(&events).into_iter().map(|(_, text)| text).collect();
            prop_assert_eq!(arrived, (0..said[peer]).map(|text| text.to_string()).collect::<Vec<_>>());
            let told: Vec<_> = events.iter().filter_map(short).collect();
            let others = told.iter().find(|told| !told.starts_with("message") && !told.starts_with("renewed"));
            prop_assert_eq!(others, None);
        }
    }

    /// Whatever the peer of a chat says about it but what is sealed: who wants to leave does, and is free.
    #[test]
    fn nobody_is_held_in_a_chat(steps in mischief(), is_cut in any::<bool>()) {
        let mut relay = logged_in(&["alice", "bob", "carol"]);
        start_chat(&mut relay);
        let theirs = ChatHeader::chat_of(&relay.users[BOB].sealed().pop().unwrap()).unwrap();
        // From here on bob's client is of his own making.
        let blank = relay.users[BOB].client_again();
        relay.users[BOB].client = blank;
        for step in &steps {
            match step {
                Mischief::Say(_) if !relay.users[ALICE].client.is_ready() => {}
                step => does(&mut relay, BOB, theirs, &mut [0; 2], step),
            }
        }
        if is_cut {
            relay.cut(ALICE, Noticed::Client);
        }
        relay.news(ALICE);
        relay.types(ALICE, "/leave");
        relay.settle();
        relay.wait(Duration::from_secs(6));
        // Bob may ask them to talk meanwhile, as anybody may.
        for user in [ALICE, CAROL] {
            relay.types(user, "--n");
        }
        relay.settle();
        relay.types(ALICE, "--r carol");
        relay.settle();
        relay.types(CAROL, "--y");
        relay.settle();
        let told: Vec<_> = relay.news(ALICE).iter().filter_map(short).collect();
        prop_assert!(told.last().unwrap().starts_with("chat_started carol"), "{:?}", told);
    }
}
