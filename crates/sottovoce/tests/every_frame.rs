//! A client's machine and a server that sends what it likes: each frame in each state, and whatever else.
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

use client::{Ending, Event, Input, Output};
use proptest::prelude::*;
use protocol::{
    Accepted, Asked, ChatHeader, ChatId, ClientId, Close, CloseReason, Established, List, Login, Machine as _, Message,
    PublicKey, Request, Resume, ServerError, ToClient, ToServer, TooFast,
};
use relay::{
    Noticed, Relay, Way, server_name,
    telling::{in_a_chat, logged_in, short},
};

const ALICE: usize = 0;
const BOB: usize = 1;
const OTHER: ChatId = ChatId::from_bytes([9; 16]);

/// Where a client can stand: the relay, and who of the two is looked at.
type Place = (&'static str, fn() -> (Relay, usize));

const PLACES: &[Place] = &[
    ("logging in", || {
        let mut relay = Relay::new(&["alice", "bob"]);
        relay.input(ALICE, Input::Start);
        (relay, ALICE)
    }),
    ("free", || (logged_in(&["alice", "bob"]), ALICE)),
    ("asked for the list", || {
        let mut relay = logged_in(&["alice", "bob"]);
        relay.types(ALICE, "--l");
        (relay, ALICE)
    }),
    ("calling", || (calling(), ALICE)),
    ("ringing", || (ringing(), BOB)),
    ("awaiting the welcome", || (accepted(), BOB)),
    ("confirming", || (confirming(), ALICE)),
    ("chatting", || (in_a_chat(), ALICE)),
    ("in a chat with a broken line", || {
        let mut relay = in_a_chat();
        let away = ToClient::PeerAway(chat(&relay, ALICE).unwrap());
        relay.input(ALICE, Input::Frame(away.encode().unwrap()));
        (relay, ALICE)
    }),
    ("leaving", || {
        let mut relay = in_a_chat();
        relay.types(ALICE, "--ex");
        (relay, ALICE)
    }),
    ("coming back with a chat", || {
        let mut relay = in_a_chat();
        relay.cut(ALICE, Noticed::Client);
        (relay, ALICE)
    }),
    ("without a connection", || {
        let mut relay = in_a_chat();
        relay.users[ALICE].unreachable = u64::MAX;
        relay.cut(ALICE, Noticed::Both);
        (relay, ALICE)
    }),
];

fn calling() -> Relay {
    let mut relay = logged_in(&["alice", "bob"]);
    relay.types(ALICE, "--r bob");
    relay
}

fn ringing() -> Relay {
    let mut relay = calling();
    relay.settle();
    relay
}

fn accepted() -> Relay {
    let mut relay = ringing();
    relay.types(BOB, "--y");
    relay
}

/// Alice has made the group, and bob's client has not shown that it has it.
fn confirming() -> Relay {
    let mut relay = accepted();
    for way in [Way::Server(BOB), Way::Session(ALICE), Way::Client(ALICE)] {
        assert!(relay.take_on(way));
    }
    relay
}

/// The chat or request that a client is about, as its own frames say.
fn chat(relay: &Relay, user: usize) -> Option<ChatId> {
    let sent = relay.users.iter().flat_map(|user| &user.outputs).filter_map(|output| match output {
        Output::Send(frame) => ToServer::decode(frame).ok(),
        _ => None,
    });
    let chats = sent.filter_map(|frame| match frame {
        ToServer::RequestToTalk(request) => Some(request.chat),
        _ => None,
    });
    assert!(user < relay.users.len());
    chats.last()
}

/// A frame of each code, of each reason, about the chat that there is and about another, with what it is called.
fn frames(relay: &Relay, user: usize) -> Vec<(&'static str, String, ToClient)> {
    let (key, peers) = (PublicKey::from_bytes([7; 32]), relay.users[1 - user].key.public());
    let junk = |length: usize| vec![5; length].into();
    let name = |name: &str| name.parse().unwrap();
    let mut frames = Vec::new();
    for (about, chat) in [("this chat", chat(relay, user).unwrap_or(ChatId::from_bytes([8; 16]))), ("another", OTHER)] {
        let head = |counter, ack| ChatHeader::new(chat, counter, ack);
        let mut add = |what: &str, frame| frames.push((about, what.to_owned(), frame));
        for (who, peer) in [("oneself", user), ("the peer", 1 - user)] {
            let peer = relay.users[peer].name.clone();
            add(&format!("RequestToTalk by {who}"), ToClient::RequestToTalk(Request { peer, chat }));
        }
        add("RequestToTalk by carol", ToClient::RequestToTalk(Request { peer: name("carol"), chat }));
        for (what, key) in [("made-up", key), ("true", peers)] {
            let accepted = Accepted { chat, key, key_package: junk(2700) };
            add(&format!("Accept with the {what} key"), ToClient::Accept(accepted));
            let established = Established { chat, key, welcome: junk(2700) };
            add(&format!("SessionEstablishment with the {what} key"), ToClient::SessionEstablishment(established));
        }
        add("Refuse", ToClient::Refuse(chat));
        add("UserNotFound", ToClient::UserNotFound(chat));
        add("Message early", ToClient::Message(Message { header: head(7, 0), sealed: junk(352) }));
        add("Message next", ToClient::Message(Message { header: head(0, 0), sealed: junk(352) }));
        add("PeerAway", ToClient::PeerAway(chat));
        let asked = Asked::RequestToTalk(chat);
        add("TooFast for the request", ToClient::TooFast(TooFast { asked, retry_in_ms: u32::MAX }));
        add("Resume at 0", ToClient::Resume(Resume { chat, expected: 0 }));
        add("Resume at the end", ToClient::Resume(Resume { chat, expected: u64::MAX }));
        for reason in [
            CloseReason::Left,
            CloseReason::CalledOff,
            CloseReason::Expired,
            CloseReason::Busy,
            CloseReason::Failed,
            CloseReason::Overrun,
        ] {
            add(&format!("ChatClosed {reason:?}"), ToClient::ChatClosed(Close { chat, reason }));
        }
    }
    let mut add = |what: &str, frame| frames.push(("no chat", what.to_owned(), frame));
    for reason in [
        ServerError::UnknownUser,
        ServerError::Replaced,
        ServerError::Removed,
        ServerError::ShuttingDown,
        ServerError::Idle,
        ServerError::Protocol,
        ServerError::Unavailable,
    ] {
        add(&format!("Error {reason:?}"), ToClient::Error(reason));
    }
    let list = |names: &[&str], more| ToClient::List(List { names: names.iter().copied().map(name).collect(), more });
    add("List", list(&["bob"], false));
    add("List without end", list(&["bob"], true));
    add("List twice the same", list(&["bob", "bob"], false));
    add("TooFast for the list", ToClient::TooFast(TooFast { asked: Asked::List, retry_in_ms: 0 }));
    add("LoggedIn", ToClient::LoggedIn(server_name()));
    add("Pong", ToClient::Pong);
    frames
}

/// What a client does of one input, in words: what it tells its user, what it sends, and whether it ends.
fn deeds(outputs: &[Output]) -> String {
    let words: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send(frame) => Some(format!("sends {}", sent(frame))),
            Output::Event(event) => Some(short(event).unwrap_or_else(|| "tells of progress".to_owned())),
            Output::Quit(None) => Some("ends".to_owned()),
            Output::Quit(Some(failure)) => Some(format!("ends: {}", failure.code.as_str())),
            Output::StorePin(_) => Some("pins the key".to_owned()),
            _ => None,
        })
        .collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn sent(frame: &[u8]) -> String {
    match ToServer::decode(frame) {
        Ok(ToServer::ChatClosed(close)) => format!("ChatClosed {:?}", close.reason),
        Ok(ToServer::Resume(resume)) => format!("Resume at {}", resume.expected),
        Ok(frame) => format!("{frame:?}").split(['(', ' ', '{']).next().unwrap().to_owned(),
        Err(error) => panic!("{error}"),
    }
}

/// Held against `docs/protocol.md`: the table of what a client takes in, and those of what ends what.
#[test]
fn each_frame_in_each_state_does_what_is_written_down() {
    let mut table = String::new();
    for (place, get_there) in PLACES {
        table.push_str(&format!("{place}\n"));
        let (relay, user) = get_there();
        let mut by_deed: Vec<(String, Vec<(&str, String)>)> = Vec::new();
        for (number, (about, what, _)) in frames(&relay, user).into_iter().enumerate() {
            let (mut relay, user) = get_there();
            let (.., frame) = frames(&relay, user).swap_remove(number);
            let before = relay.users[user].outputs.len();
            relay.input(user, Input::Frame(frame.encode().unwrap()));
            let done = deeds(&relay.users[user].outputs[before..]);
            match by_deed.iter_mut().find(|(deed, _)| *deed == done) {
                Some((_, all)) => all.push((about, what)),
                None => by_deed.push((done, vec![(about, what)])),
            }
        }
        for (deed, all) in by_deed {
            table.push_str(&format!("  {deed}\n"));
            for about in ["this chat", "another", "no chat"] {
                let all = all.iter().filter(|(of, _)| *of == about).map(|(_, what)| what.as_str());
                let all = all.collect::<Vec<_>>().join(", ");
                if !all.is_empty() {
                    table.push_str(&format!("    {about}: {all}\n"));
                }
            }
        }
    }
    insta::assert_snapshot!(table);
}

/// What is no frame of the server's ends a client that has a connection, wherever it stands, and is not looked at by
/// one that has none.
#[test]
fn what_is_no_frame_ends_the_client_in_each_state() {
    let login = Login::first("alice".parse().unwrap(), ClientId::from_bytes([7; 16]));
    let others = [ToServer::Exit, ToServer::Ping, ToServer::Login(login)];
    let mut bytes: Vec<Vec<u8>> = others.iter().map(|frame| frame.encode().unwrap().to_vec()).collect();
    let codes = (0..30).chain([127, 128, u8::MAX]).map(|code| vec![code]);
    bytes.extend(codes.filter(|code| ToClient::decode(code).is_err()));
    bytes.push(Vec::new());
    bytes.push([vec![protocol::Code::Pong as u8], vec![0]].concat());
    for (place, get_there) in PLACES {
        let (relay, user) = get_there();
        let frames = frames(&relay, user);
        let cut = frames.iter().map(|(.., frame)| frame.encode().unwrap().to_vec()).filter(|frame| frame.len() > 1);
        let cut = cut.flat_map(|frame| [frame[..frame.len() - 1].to_vec(), [&frame[..], &[0]].concat()]);
        for bytes in bytes.iter().cloned().chain(cut) {
            let (mut relay, user) = get_there();
            let before = relay.users[user].outputs.len();
            relay.input(user, Input::Frame(bytes.clone().into()));
            let outputs = &relay.users[user].outputs[before..];
            if *place == "without a connection" {
                assert_eq!(outputs, [], "{place}: {bytes:02x?}");
                continue;
            }
            assert!(deeds(outputs).ends_with("ends: protocol"), "{place}: {bytes:02x?}: {}", deeds(outputs));
            assert!(!outputs.iter().any(|output| matches!(output, Output::Send(_))), "{place}: {bytes:02x?}");
        }
    }
}

/// Something that happens to a client at the hands of its server, its user or time.
#[derive(Clone, Debug)]
enum Trick {
    /// One of the frames of each code.
    Frame(usize),
    /// A frame of any bytes behind a code that there is.
    Bytes(u8, Vec<u8>),
    /// A frame that one of the two has sent, to one of the two.
    Passed(usize),
    /// The honest way on, for so many steps.
    HonestSteps(usize),
    Types(&'static str),
    /// Says the next number.
    Says,
    Cut,
    Wait(u64),
}

fn tricks() -> impl Strategy<Value = Vec<(usize, Trick)>> {
    const LINES: &[&str] =
        &["--r bob", "--r alice", "--y", "--n", "--l", "/leave", "/verify", "/forget bob", "/forget alice"];
    let trick = prop_oneof![
        30 => any::<usize>().prop_map(Trick::Frame),
        2 => (0..23_u8, prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(code, bytes)| Trick::Bytes(code, bytes)),
        10 => any::<usize>().prop_map(Trick::Passed),
        20 => (1..12_usize).prop_map(Trick::HonestSteps),
        10 => Just(Trick::Says),
        20 => prop::sample::select(LINES).prop_map(Trick::Types),
        1 => Just(Trick::Types("--ex")),
        2 => Just(Trick::Cut),
        4 => (0..40_000_u64).prop_map(Trick::Wait),
    ];
    prop::collection::vec((0..2_usize, trick), 0..120)
}

fn play(relay: &mut Relay, user: usize, trick: &Trick, truth: &mut Truth) {
    match trick {
        Trick::Frame(which) => {
            let frames = frames(relay, user);
            // Those that end the client would leave nothing to be tried: one of many tries.
            let frame = &frames[which % frames.len()].2;
            if !matches!(frame, ToClient::Error(_) | ToClient::LoggedIn(_)) || which % 7 == 0 {
                relay.input(user, Input::Frame(frame.encode().unwrap()));
            }
        }
        Trick::Bytes(code, bytes) => {
            let frame: Vec<_> = std::iter::once(*code).chain(bytes.iter().copied()).collect();
            relay.input(user, Input::Frame(frame.into()));
        }
        Trick::Passed(which) => {
            let sent = relay.users.iter().flat_map(|user| &user.outputs);
            let sent: Vec<_> = sent
                .filter_map(|output| if let Output::Send(frame) = output { Some(frame.clone()) } else { None })
                .collect();
            if let Some(frame) = sent.get(which % sent.len().max(1))
                && frame.first() == Some(&(protocol::Code::Message as u8))
            {
                relay.input(user, Input::Frame(frame.clone()));
            }
        }
        Trick::HonestSteps(count) => {
            for _ in 0..*count {
                if let Some(way) = relay.ways().first().copied() {
                    relay.take_on(way);
                }
            }
        }
        Trick::Types(line) => {
            if relay.users[user].client.is_ready() {
                relay.types(user, line);
            }
        }
        Trick::Says => {
            if relay.users[user].client.is_ready() {
                relay.types(user, &truth.said[user].to_string());
                truth.said[user] += 1;
            }
        }
        Trick::Cut => relay.cut(user, Noticed::Both),
        Trick::Wait(time) => relay.wait(Duration::from_millis(*time)),
    }
}

/// What the test knows of the two: how far each has counted, and whether one of them has taken leave.
#[derive(Default)]
struct Truth {
    said: [u64; 2],
    left: bool,
}

/// What must hold of all that a user was told.
fn check(relay: &Relay, user: usize, truth: &Truth) {
    let (mut chat, mut got, mut sent) = (None, None, None);
    for event in &relay.users[user].events {
        match event {
            Event::ChatStarted { peer, .. } => {
                assert_eq!(chat.replace(peer.clone()), None, "in two chats");
                sent = None;
            }
            Event::ChatClosed { reason, .. } => {
                assert!(*reason != Ending::Goodbye || truth.left, "a goodbye that nobody said");
                chat = None;
            }
            Event::Message { from, text, .. } => {
                assert_eq!(chat.as_ref(), Some(from), "out of the chat");
                let number: u64 = text.as_str().parse().unwrap();
                assert!(number < truth.said[1 - user], "nobody said {number}");
                assert!(got.replace(number).is_none_or(|before| before < number), "{number} twice or out of order");
            }
            Event::Sent { n } => assert!(sent.replace(*n).is_none_or(|before| before < *n)),
            Event::Delivered { n } => assert!(sent.is_some_and(|sent| *n <= sent), "delivered, and never sent"),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a server makes up, passes on and cuts: nobody is in two chats, is shown what nobody said, or is told of a
    /// goodbye or a delivery that there was not; whoever has ended does nothing more; no key but the true one is pinned.
    #[test]
    fn whatever_a_server_sends_some_things_never_happen(tricks in tricks()) {
        let mut relay = logged_in(&["alice", "bob"]);
        let mut truth = Truth::default();
        for (user, trick) in &tricks {
            if relay.users[*user].quit {
                continue;
            }
            truth.left |= matches!(trick, Trick::Types("/leave" | "--ex"));
            let before = relay.users[*user].outputs.len();
            play(&mut relay, *user, trick, &mut truth);
            let done = &relay.users[*user].outputs[before..];
            prop_assert!(done.len() < 2_000, "{} outputs of {:?}", done.len(), trick);
            if let Some(end) = done.iter().position(|output| matches!(output, Output::Quit(_))) {
                prop_assert!(done[end + 1..].is_empty(), "after the end: {:?}", &done[end + 1..]);
                prop_assert!(relay.users[*user].client.deadline().is_none());
            }
            for user in [ALICE, BOB] {
                check(&relay, user, &truth);
                for (peer, pin) in &relay.users[user].pins {
                    prop_assert_eq!(pin.key, relay.registered[peer]);
                }
            }
        }
    }
}
