//! What a long chat costs the faces of both.

use crate::{
    common::{
        World,
        screen::{Screen, USUAL, ctrl},
    },
    process::{memory, most_memory},
    rows::Figure,
};

const WORDS: &str = "about as long as what people write to each other in one go, give or take";

/// The most that each had. So many messages are said by a program and seen on a screen.
pub(crate) fn measure(messages: usize) -> Vec<Figure> {
    let world = World::of(["alice", "carol"]);
    let alice = Screen::logged_in(&world, "alice", USUAL);
    let empty = memory(&alice.process);
    let mut carol = world.log_in("carol");
    carol.types("--r alice");
    alice.expect("carol ASKS TO TALK");
    alice.types(&ctrl('y'));
    carol.expect("chat_started");
    let mut last = 0;
    for number in 0..messages {
        carol.says(&format!("{number:05} {WORDS}"));
        last = carol.expect("sent")["n"].as_u64().unwrap();
    }
    // The order is that of the counters, so with the last of them all have come.
    alice.expect(&format!("{:05} about", messages - 1));
    while carol.expect("delivered")["n"].as_u64().unwrap() < last {}
    println!("memory before the chat: {:.1} MB", empty as f64 / 1e6);
    vec![
        Figure::bytes("memory-full-screen", most_memory(&alice.process)),
        Figure::bytes("memory-json", most_memory(&carol.process)),
    ]
}
