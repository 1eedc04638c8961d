//! Peers that stop reading: neither the server's memory nor those who talk beside them pay for it (S15).
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
mod raw;

use std::{fs, thread, time::Duration};

use common::{Client, World, now, signal, talk};
use protocol::{
    Accept, ChatHeader, ChatId, Close, CloseReason, Establish, Request, ToClient, ToServer, limits::WINDOW_BYTES,
};
use raw::{Holder, Raw};
use rustix::process::Signal;

/// Pairs of which one client is frozen, and pairs of which one connection is not read.
const DEAF: usize = 4;
const FLOODED: usize = 4;
const MAILBOX: usize = 4 << 20;
/// For each of the deaf a window, for each of the flooded a mailbox, and for each of their connections what is about to
/// be written and read.
const BOUND: usize = FLOODED * MAILBOX + DEAF * WINDOW_BYTES + 2 * (DEAF + FLOODED) * (256 << 10);
const ROUND_TRIPS: usize = 300;
/// For a round trip while senders and server use all of the machine.
const IN_THE_FLOOD: Duration = Duration::from_millis(250);
/// By how much the slowest round trips differ when nothing else does.
const JITTER: Duration = Duration::from_millis(50);
/// The same of ordinary ones.
const LITTLE: Duration = Duration::from_millis(5);
/// Of one speaker, and more than its client keeps in its window.
const LONG_MESSAGES: usize = 150;

/// In front of clients that know when to wait, and of senders that send all the same.
#[test]
fn peers_that_stop_reading_cost_the_server_no_more_than_its_bounds_and_others_nothing() {
    let world = World::with(&format!("mailbox_bytes = {MAILBOX}"));
    let names = ["carol", "dave"];
    names.iter().for_each(|name| world.user(name));
    let [mut carol, mut dave] = names.map(|name| world.log_in(name));
    talk(&mut carol, &mut dave, "dave");
    let mut deaf: Vec<_> = (0..DEAF).map(|pair| Deaf::begin(&world, pair)).collect();
    let flooded: Vec<_> = (0..FLOODED).map(|pair| Flooded::register(&world, pair)).collect();
    let before = memory(&world);
    let mut round_trips = |more: &dyn Fn() -> bool| {
        let mut times = Vec::new();
        while times.len() < ROUND_TRIPS || more() {
            times.push(round_trip(&mut carol, &mut dave, times.len()));
        }
        Times::of(times)
    };
    let alone = round_trips(&|| false);

    for pair in &mut deaf {
        (0..LONG_MESSAGES).for_each(|n| pair.speaker.says(&long_text(n)));
    }
    for pair in &mut deaf {
        pair.speaker.expect("peer_behind");
    }
    for frames in [Frames::Thick, Frames::Thin] {
        let (meanwhile, _connections) = thread::scope(|scope| {
            let floods: Vec<_> = flooded.iter().map(|pair| scope.spawn(move || pair.flood(frames))).collect();
            let meanwhile = round_trips(&|| floods.iter().any(|flood| !flood.is_finished()));
            (meanwhile, floods.into_iter().map(|flood| flood.join().unwrap()).collect::<Vec<_>>())
        });
        let grown = memory(&world) - before;
        let after = round_trips(&|| false);
        println!("{frames:?} frames: round trips alone {alone:?}, in the flood {meanwhile:?}, then {after:?}");
        println!("{frames:?} frames: the server has grown by {grown} KiB of {}", BOUND / 1024);
        assert!(grown <= BOUND / 1024 && meanwhile.p99 <= IN_THE_FLOOD);
        assert!(after.half <= 2 * alone.half + LITTLE && after.p99 <= 2 * alone.p99 + JITTER);
    }
    for pair in &mut deaf {
        signal(&pair.listener.process, Signal::CONT);
        for n in 0..LONG_MESSAGES {
            assert_eq!(pair.listener.expect("message")["text"], long_text(n));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frames {
    /// As many bytes in as few frames as can be.
    Thick,
    /// Small ones, each behind one that is for nobody and takes up the most of what is read in one go.
    Thin,
}

/// How long round trips took.
#[derive(Debug)]
struct Times {
    half: Duration,
    p99: Duration,
    #[allow(dead_code, reason = "printed")]
    most: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self { half: times[times.len() / 2], p99: times[times.len() * 99 / 100], most: times[times.len() - 1] }
    }
}

fn long_text(n: usize) -> String {
    format!("{n}: {}", "x".repeat(16_000))
}

fn round_trip(one: &mut Client, other: &mut Client, n: usize) -> Duration {
    let begin = now();
    let text = format!("are you there, {n}?");
    one.says(&text);
    assert_eq!(other.expect("message")["text"], text);
    other.says(&text);
    assert_eq!(one.expect("message")["text"], text);
    begin.elapsed()
}

/// Two clients, one of which is frozen in the chat.
struct Deaf {
    speaker: Client,
    listener: Client,
}

impl Deaf {
    fn begin(world: &World, pair: usize) -> Self {
        let names = ["speaker", "listener"].map(|name| format!("{name}-{pair}"));
        let [mut speaker, mut listener] = names.each_ref().map(|name| {
            world.user(name);
            world.log_in(name)
        });
        talk(&mut speaker, &mut listener, &names[1]);
        signal(&listener.process, Signal::STOP);
        Self { speaker, listener }
    }
}

/// Two connections made by hand, of which one sends whatever it likes and the other reads nothing.
struct Flooded {
    flooder: Holder,
    victim: Holder,
}

impl Flooded {
    fn register(world: &World, pair: usize) -> Self {
        let [flooder, victim] = ["flooder", "victim"].map(|name| Holder::registered(world, &format!("{name}-{pair}")));
        Self { flooder, victim }
    }

    /// Sends until the server ends the chat: the connections, of which one has still not been read from.
    fn flood(&self, frames: Frames) -> [Raw; 2] {
        let (mut flooder, mut victim) = (self.flooder.log_in(), self.victim.log_in());
        let [chat, none] = [7, 8].map(|id| ChatId::from_bytes([id; 16]));
        flooder.say(&ToServer::RequestToTalk(Request { peer: self.victim.name.clone(), chat }));
        assert!(matches!(victim.hear(), Some(ToClient::RequestToTalk(_))));
        victim.say(&ToServer::Accept(Accept { chat, key_package: vec![1].into() }));
        assert!(matches!(flooder.hear(), Some(ToClient::Accept(_))));
        flooder.say(&ToServer::SessionEstablishment(Establish { chat, welcome: vec![1].into() }));
        assert!(matches!(victim.hear(), Some(ToClient::SessionEstablishment(_))));
        let frames = match frames {
            Frames::Thick => vec![message(chat, 60_000)],
            Frames::Thin => vec![message(none, 8_000), message(chat, 1_000)],
        };
        loop {
            for frame in frames.iter().cycle().take(16) {
                flooder.send(frame);
            }
            let heard = flooder.hear_what_is_there();
            if heard == [ToClient::ChatClosed(Close { chat, reason: CloseReason::Overrun })] {
                return [flooder, victim];
            }
            assert_eq!(heard, []);
        }
    }
}

/// A frame that a server takes for a message.
fn message(chat: ChatId, bytes: u16) -> Vec<u8> {
    let mut frame = ChatHeader::new(chat, 0, 0).aad().unwrap();
    frame.extend(bytes.to_be_bytes());
    frame.resize(frame.len() + usize::from(bytes), 7);
    frame
}

/// The most that the server's process has had in memory, in KiB (proc_pid_status(5)).
fn memory(world: &World) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", world.server.id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    most.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}
