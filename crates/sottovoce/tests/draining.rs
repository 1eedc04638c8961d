//! A server that is told to stop and has other nodes beside it: it lets its clients go one after the other, and their
//! chats go on (B8, B9).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;
mod ledger;
mod people;
mod raw;
mod watch;

use std::{
    net::{Ipv4Addr, TcpStream},
    ops::Range,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use common::{Client, PATIENCE, World, now, signal, talk};
use ledger::{Ledger, check};
use protocol::{ServerError, ToClient, ToServer};
use raw::{Holder, Raw};
use rustix::process::Signal;
use watch::{ANY_PORT, get, port};

const CROWD: u32 = 6;

/// So many who are logged in.
fn crowd(world: &World) -> Vec<Raw> {
    (0..CROWD).map(|n| Holder::registered(world, &format!("user-{n}")).log_in()).collect()
}

/// Who was told that the server stops, and when, one after the other. Until then they show that they are there, and what
/// they hear is that they were heard.
fn told(crowd: Vec<Raw>) -> mpsc::Receiver<(usize, Instant)> {
    let (sender, told) = mpsc::channel();
    for (n, mut raw) in crowd.into_iter().enumerate() {
        let sender = sender.clone();
        thread::spawn(move || {
            assert_eq!(raw.hear_all(), [ToClient::Error(ServerError::ShuttingDown)]);
            sender.send((n, now())).unwrap();
        });
    }
    told
}

#[test]
fn clients_are_told_one_after_the_other() {
    const TIME: Duration = Duration::from_secs(3);
    let mut world = World::with("drain_time = \"3s\"");
    let told = told(crowd(&world));
    let begin = now();
    signal(&world.server, Signal::TERM);
    let told: Vec<_> = (0..CROWD).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
    let who: Vec<_> = told.iter().map(|(n, _)| *n).collect();
    assert_eq!(who, (0..CROWD as usize).collect::<Vec<_>>(), "in the order of their log-ins");
    let after: Vec<_> = told.iter().map(|(_, then)| then.duration_since(begin)).collect();
    // Each has its moment, and is never told before it.
    for (n, after) in (0..CROWD).zip(&after) {
        assert!(*after >= TIME * n / CROWD, "{after:?}");
    }
    assert_eq!(world.server.wait().unwrap().code(), Some(0));
    assert!(begin.elapsed() < TIME + Duration::from_secs(5), "then nothing is waited for: {:?}", begin.elapsed());
}

#[test]
fn a_draining_server_serves_those_it_has_lets_nobody_in_and_can_be_hurried() {
    let mut world = World::with(&format!("{ANY_PORT}\ndrain_time = \"10m\""));
    let metrics = port(&world);
    let mut rest = crowd(&world);
    let first = rest.remove(0);
    signal(&world.server, Signal::TERM);
    let first = told(vec![first]);
    first.recv_timeout(PATIENCE).expect("the first is told at once");
    assert!(get(metrics, "/readyz").body.contains("draining"));
    // Nobody listens any more, so that a client which comes to this address finds another node or nobody.
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, people::port_of(&world)));
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    for raw in &mut rest {
        raw.say(&ToServer::Ping);
        assert_eq!(raw.hear(), Some(ToClient::Pong), "who has not been told is served");
    }
    let rest = told(rest);
    signal(&world.server, Signal::INT);
    for _ in 1..CROWD {
        rest.recv_timeout(PATIENCE).expect("all are told at once");
    }
    assert_eq!(world.server.wait().unwrap().code(), Some(0));
}

#[test]
fn a_chat_goes_on_through_a_drain_with_nothing_lost() {
    let mut world = World::with("drain_delay = \"500ms\"\ndrain_time = \"500ms\"");
    world.user("alice");
    world.user("bob");
    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    talk(&mut alice, &mut bob, "bob");
    let mut said = [Vec::new(), Vec::new()];
    let mut says = |[alice, bob]: [&mut Client; 2], numbers: Range<u32>| {
        for n in numbers {
            for (client, said) in [&mut *alice, &mut *bob].into_iter().zip(&mut said) {
                let text = format!("this is {n}");
                client.says(&text);
                said.push(text);
            }
        }
    };
    says([&mut alice, &mut bob], 0..100);
    signal(&world.server, Signal::TERM);
    // While it lets its clients go, and while nobody is there.
    says([&mut alice, &mut bob], 100..200);
    assert_eq!(world.server.wait().unwrap().code(), Some(0));
    says([&mut alice, &mut bob], 200..250);
    world.is_back();
    says([&mut alice, &mut bob], 250..300);
    let (mut told_alice, mut told_bob) = (Ledger::default(), Ledger::default());
    told_alice.listen(&mut alice, 300, 300);
    told_bob.listen(&mut bob, 300, 300);
    check(&said[0], &told_alice, &told_bob);
    check(&said[1], &told_bob, &told_alice);
    for told in [&told_alice, &told_bob] {
        assert!(told.events["reconnected"] >= 1, "{:?}", told.events);
    }
}
