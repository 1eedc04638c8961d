//! How many instructions the two paths take that a relay lives on: a message's, and a log-in's. `scripts/instructions`
//! runs this and compares the counts with those in `instructions.toml`.
//!
//! Counted by callgrind, which runs the program on a processor of its own making: the counts of one binary are the same
//! on any machine, however busy. Each benchmark does a number of operations, so that what happens once in a while, such
//! as a new block of a mailbox, is spread over them; the number stands in its name.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    missing_docs,
    unused_qualifications,
    reason = "a benchmark may panic; its macros make items that nobody sees, and end the process"
)]

mod stage;

use std::hint::black_box;

use bytes::Bytes;
use gungraun::{Callgrind, EntryPoint, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use protocol::{Machine as _, ToClient, ToServer};
use server::session::{Input, Session};

use stage::{
    ACCEPTER, CALLER, frames,
    handshake::{Ends, sealed},
    relay::{Relay, session, short_message},
};

/// A relay on which everything that is made at first use has been made.
fn chatting() -> (Relay, Bytes) {
    let (mut relay, message) = (Relay::chatting(), short_message());
    for _ in 0..64 {
        relay.receive(CALLER, &message);
        relay.deliver(ACCEPTER);
        relay.flush(ACCEPTER, |_| {});
    }
    (relay, message)
}

// Messages one by one: bytes of a frame in at one session, its signal through the mailbox, in at the other
// session, and bytes out.
#[library_benchmark]
#[bench::messages_1000(setup = chatting)]
fn relay((mut relay, message): (Relay, Bytes)) -> Relay {
    for _ in 0..1000 {
        relay.receive(CALLER, black_box(&message));
        relay.deliver(ACCEPTER);
        relay.flush(ACCEPTER, |bytes| _ = black_box(bytes));
    }
    relay
}

// The same with 20 messages in one read, and one write for them.
#[library_benchmark]
#[bench::messages_1000(setup = chatting)]
fn relay_in_bursts((mut relay, message): (Relay, Bytes)) -> Relay {
    let burst = message.repeat(20);
    for _ in 0..50 {
        relay.receive(CALLER, black_box(&burst));
        relay.deliver(ACCEPTER);
        relay.flush(ACCEPTER, |bytes| _ = black_box(bytes));
    }
    relay
}

/// A relay whose two connections go over TLS, and records that the caller sends, a message in each.
fn chatting_over_tls() -> (Relay, Vec<Vec<u8>>) {
    let (ends, (mut relay, message)) = (Ends::new(), chatting());
    let [(mut caller, callers), (mut accepter, accepters)] = [(); 2].map(|()| ends.handshake());
    relay.go_on_over(CALLER, callers);
    relay.go_on_over(ACCEPTER, accepters);
    relay.receive(CALLER, &sealed(&mut caller, &message));
    relay.deliver(ACCEPTER);
    relay.flush(ACCEPTER, |mut bytes| _ = accepter.read_tls(&mut bytes).unwrap());
    assert_eq!(accepter.process_new_packets().unwrap().plaintext_bytes_to_read(), message.len());
    (relay, (0..1000).map(|_| sealed(&mut caller, &message)).collect())
}

// Messages one by one, from record to record: the whole way between two calls to the system, tasks left out.
#[library_benchmark]
#[bench::messages_1000(setup = chatting_over_tls)]
fn relay_over_tls((mut relay, records): (Relay, Vec<Vec<u8>>)) -> (Relay, Vec<Vec<u8>>) {
    for record in &records {
        relay.receive(CALLER, black_box(record));
        relay.deliver(ACCEPTER);
        relay.flush(ACCEPTER, |bytes| _ = black_box(bytes));
    }
    (relay, records)
}

// What a client does with a message's frame on its way out: fields to bytes.
#[library_benchmark]
#[bench::messages_1000(frames::message(frames::SHORT))]
fn encode(message: ToServer) -> ToServer {
    for _ in 0..1000 {
        black_box(black_box(&message).encode().unwrap());
    }
    message
}

// What a client does with a message's frame when it comes: bytes to fields.
#[library_benchmark]
#[bench::messages_1000(frames::message(frames::SHORT).encode().unwrap())]
fn decode(message: Bytes) -> Bytes {
    for _ in 0..1000 {
        black_box(ToClient::decode(black_box(&message)).unwrap());
    }
    message
}

/// Sessions whose users are to log in, and the frame with which they do.
fn at_the_door() -> (Vec<Session>, Bytes) {
    let now = stage::now();
    ((0..100).map(|_| session(CALLER, now)).collect(), frames::log_in(CALLER).encode().unwrap())
}

// A session from its log-in's frame to the answer, the directory's part left out.
#[library_benchmark]
#[bench::log_ins_100(setup = at_the_door)]
fn log_in((mut sessions, frame): (Vec<Session>, Bytes)) -> Vec<Session> {
    let (now, key) = (stage::now(), stage::key(CALLER).public());
    let mut out = Vec::new();
    for session in &mut sessions {
        session.handle(Input::Frame(frame.clone()), now, &mut out);
        session.handle(Input::Registered(Some(Some(key))), now, &mut out);
        black_box(&mut out).clear();
    }
    sessions
}

// TLS 1.3 with X25519MLKEM768, a certificate and a raw public key: both ends.
#[library_benchmark]
#[bench::handshakes_10(Ends::new())]
fn handshake(ends: Ends) -> Ends {
    for _ in 0..10 {
        black_box(ends.handshake());
    }
    ends
}

// What the server does of them.
#[library_benchmark(
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::default().entry_point(EntryPoint::Custom("*stage::handshake::server_*".to_owned())))
)]
#[bench::handshakes_10(Ends::new())]
fn handshake_of_server(ends: Ends) -> Ends {
    for _ in 0..10 {
        black_box(ends.handshake());
    }
    ends
}

library_benchmark_group!(name = messages, benchmarks = [relay, relay_in_bursts, relay_over_tls, encode, decode]);
library_benchmark_group!(name = log_ins, benchmarks = [log_in, handshake, handshake_of_server]);
main!(library_benchmark_groups = [messages, log_ins]);
