//! What people at two terminals on one machine wait for, and what the full-screen face costs them: `cargo bench -p
//! sottovoce --bench terminal`. Real processes, real pseudo-terminals, an emulator that reads them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a benchmark may panic and prints its figures"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{fs, process::Child, sync::mpsc, time::Duration};

use common::{
    World, now,
    screen::{Screen, USUAL, ctrl},
};

const MESSAGES: usize = 1000;
const MANY: usize = 10_000;
const KEYS: usize = 500;
const IDLE: Duration = Duration::from_secs(20);

fn main() {
    let world = World::new();
    for name in ["alice", "bob", "carol"] {
        world.user(name);
    }
    let alice = Screen::logged_in(&world, "alice", USUAL);
    let empty = memory(&alice.process);
    let bob = Screen::logged_in(&world, "bob", USUAL);
    meet(&alice, &bob, "bob", "alice");

    let mut times = Vec::new();
    for number in 0..MESSAGES {
        let token = format!("word{number:05}");
        alice.types(&token);
        alice.expect(&format!("> {token}"));
        let begin = now();
        alice.types("\r");
        bob.expect(&format!("┃ {token}"));
        times.push(begin.elapsed());
    }
    report(&format!("Enter to the peer's screen, {MESSAGES} messages"), times);

    let before = [&alice, &bob].map(|screen| processor(&screen.process));
    wait(IDLE);
    for (name, screen, before) in [("alice", &alice, before[0]), ("bob", &bob, before[1])] {
        let used = processor(&screen.process) - before;
        println!("idle in a chat for {IDLE:?}, {name}: {:.3} % of a core", used / IDLE.as_secs_f64() * 100.0);
    }
    bob.types(&ctrl('q'));
    alice.expect("ended with a goodbye");

    // Ten thousand messages, said by a program.
    let mut carol = world.log_in("carol");
    carol.types("--r alice");
    alice.expect("carol ASKS TO TALK");
    alice.types(&ctrl('y'));
    carol.expect("chat_started");
    let words = "about as long as what people write to each other in one go, give or take";
    for number in 0..MANY {
        carol.says(&format!("{number:05} {words}"));
    }
    alice.expect(&format!("{:05} about", MANY - 1));
    println!(
        "memory after {MANY} messages of {} bytes: {:.1} MB resident, {:.1} MB at the most, {empty:.1} MB before",
        words.len() + 6,
        memory(&alice.process),
        most_memory(&alice.process)
    );
    let mut times = Vec::new();
    let mut typed = String::new();
    for letter in ('a'..='z').cycle().take(KEYS) {
        typed.push(letter);
        let begin = now();
        alice.types(&letter.to_string());
        alice.expect(&format!("> {typed}"));
        times.push(begin.elapsed());
        if typed.len() == 40 {
            alice.types(&ctrl('u'));
            alice.expect_gone(&typed);
            typed.clear();
        }
    }
    report(&format!("a key to one's own screen, {MANY} messages above it"), times);
}

fn meet(caller: &Screen, accepter: &Screen, name: &str, own: &str) {
    caller.types(&format!("--r {name}\r"));
    accepter.expect(&format!("{own} ASKS TO TALK"));
    accepter.types(&ctrl('y'));
    caller.expect(&format!("you talk to {name}"));
    accepter.expect(&format!("you talk to {own}"));
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
    println!("{what}: p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms", at(0.5), at(0.99), at(1.0));
}

fn wait(time: Duration) {
    let (_sender, never) = mpsc::channel::<()>();
    assert!(never.recv_timeout(time).is_err());
}

/// Seconds of processor time that a process has used.
fn processor(process: &Child) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

/// Megabytes that a process holds.
fn memory(process: &Child) -> f64 {
    status(process, "VmRSS:")
}

fn most_memory(process: &Child) -> f64 {
    status(process, "VmHWM:")
}

fn status(process: &Child, row: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let row = status.lines().find_map(|line| line.strip_prefix(row)).unwrap();
    row.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
