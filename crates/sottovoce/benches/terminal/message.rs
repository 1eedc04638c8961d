//! A message on its way from a key of one to the screen of the other.

use std::{process::Child, time::Duration};

use crate::{
    cable::pass,
    common::{
        World, now,
        screen::{Screen, USUAL, ctrl},
    },
    process::used,
    rows::Figure,
};

const WARM_UP: usize = 100;
const IDLE: Duration = Duration::from_secs(20);

/// From Enter to the peer's screen; from a letter to one's own, below what was said until then.
pub(crate) fn measure(messages: usize, keys: usize) -> Vec<Figure> {
    let world = World::of(["alice", "bob"]);
    let [alice, bob] = ["alice", "bob"].map(|name| Screen::logged_in(&world, name, USUAL));
    alice.types("--r bob\r");
    bob.expect("alice ASKS TO TALK");
    bob.types(&ctrl('y'));
    alice.expect("you talk to bob");
    bob.expect("you talk to alice");

    let time = |number: usize| {
        let token = format!("word{number:05}");
        alice.types(&token);
        alice.expect(&format!("> {token}"));
        let begin = now();
        alice.types("\r");
        bob.expect(&format!("┃ {token}"));
        begin.elapsed()
    };
    let times: Vec<_> = (0..WARM_UP + messages).map(time).collect();
    let seen = Figure::times("key-to-peers-screen", WARM_UP, &times);

    // What two who say nothing cost.
    let processes: [&Child; 2] = [&alice.process, &bob.process];
    let before = processes.map(used);
    pass(IDLE);
    for (process, before) in processes.into_iter().zip(before) {
        let part = (used(process) - before).as_secs_f64() / IDLE.as_secs_f64();
        println!("idle in a chat for {IDLE:?}: {:.3} % of a core", 100.0 * part);
    }

    let mut typed = String::new();
    let mut time = |letter| {
        typed.push(letter);
        let begin = now();
        alice.types(&letter.to_string());
        alice.expect(&format!("> {typed}"));
        let time = begin.elapsed();
        if typed.len() == 40 {
            alice.types(&ctrl('u'));
            alice.expect_gone(&typed);
            typed.clear();
        }
        time
    };
    let times: Vec<_> = ('a'..='z').cycle().take(keys).map(&mut time).collect();
    vec![seen, Figure::times("key-to-own-screen", keys / 10, &times)]
}
