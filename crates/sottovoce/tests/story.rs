//! What issue-level stories tell, between real processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;

use common::{World, talk};

#[test]
fn two_talk_and_part() {
    let world = World::new();
    world.user("alice");
    world.user("bob");
    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    let (at_alice, at_bob) = talk(&mut alice, &mut bob, "bob");
    assert_eq!(at_alice["safety_number"], at_bob["safety_number"]);
    alice.says("hello");
    assert_eq!(bob.expect("message")["text"], "hello");
    alice.types("--ex");
    assert_eq!(bob.expect("chat_closed")["reason"], "goodbye");
    assert_eq!(alice.ended().0, Some(0));
}
