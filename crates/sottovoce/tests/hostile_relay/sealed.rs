//! Sealed frames changed, and made up.

use sim::hostile_relay::Attack;

use crate::{
    common::Client,
    stage::{Stage, chat_fails, shown, tells_nothing, until, until_told},
};

/// A chat in which alice says a word once the attack has begun.
fn says_under(attack: Attack) -> (Stage, Client, Client) {
    let stage = Stage::with("grace_period = \"2s\"", ["alice", "bob"]);
    let [mut alice, bob] = stage.talking();
    stage.attack(attack);
    alice.says("not this");
    (stage, alice, bob)
}

/// The frame is no frame any more: bob's client ends, with one sentence that blames the server.
fn ends_the_client(attack: Attack) {
    let (stage, mut alice, mut bob) = says_under(attack);
    assert_eq!(until(&mut bob, "logged_out"), ["chat_closed lost", "logged_out"]);
    assert_eq!(bob.failed().0, "protocol");
    stage.be_honest();
    let told = until(&mut alice, "chat_closed");
    assert_eq!(told.last().unwrap(), "chat_closed lost undelivered 1", "{told:?}");
    stage.all_is_well(alice, stage.log_in("bob"));
}

/// The frame does not open: bob's chat ends, nothing is shown, nothing is marked delivered, and both can go on.
fn ends_the_chat(attack: Attack) {
    let (stage, mut alice, mut bob) = says_under(attack);
    chat_fails(&mut bob);
    assert_eq!(until(&mut alice, "chat_closed"), ["chat_closed error undelivered 1"]);
    stage.all_is_well(alice, bob);
}

#[test]
fn a_sealed_frame_cut_short_ends_the_client() {
    ends_the_client(Attack::TruncateFrame);
}

#[test]
fn a_sealed_frame_with_more_behind_it_ends_the_client() {
    ends_the_client(Attack::ExtendFrame);
}

#[test]
fn a_flipped_code_ends_the_client() {
    ends_the_client(Attack::FlipCode);
}

#[test]
fn a_flipped_version_ends_the_client() {
    ends_the_client(Attack::FlipVersion);
}

#[test]
fn what_is_sealed_cut_short_ends_the_chat() {
    ends_the_chat(Attack::TruncateSealed);
}

#[test]
fn what_is_sealed_with_more_behind_it_ends_the_chat() {
    ends_the_chat(Attack::ExtendSealed);
}

#[test]
fn a_flipped_acknowledgement_ends_the_chat() {
    ends_the_chat(Attack::FlipAck);
}

#[test]
fn a_flipped_bit_under_the_seal_ends_the_chat() {
    ends_the_chat(Attack::FlipSealed);
}

#[test]
fn a_flipped_chat_is_another_chat_and_dropped() {
    let (stage, mut alice, mut bob) = says_under(Attack::FlipChat);
    tells_nothing(&mut alice);
    tells_nothing(&mut bob);
    stage.be_honest();
    alice.says("and this");
    // It shows what is missing, and that comes again as it was.
    assert_eq!(shown(&until_told(&mut bob, "message and this")), ["message not this", "message and this"]);
    stage.goes_on(alice, bob);
}

#[test]
fn a_flipped_counter_ends_the_chat() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.in_a_chat();
    stage.attack(Attack::FlipCounter);
    alice.says("not this");
    let told = until(&mut bob, "chat_closed");
    assert_eq!(told.last().unwrap(), "chat_closed error");
    assert!(!told.iter().any(|told| told.starts_with("message")), "{told:?}");
    assert_eq!(until(&mut alice, "chat_closed").last().unwrap(), "chat_closed error undelivered 1");
    stage.all_is_well(alice, bob);
}

#[test]
fn a_frame_under_anothers_counter_ends_the_chat() {
    let (stage, mut alice, mut bob) = says_under(Attack::Renumber);
    tells_nothing(&mut bob);
    alice.says("nor this");
    chat_fails(&mut bob);
    assert_eq!(until(&mut alice, "chat_closed"), ["chat_closed error undelivered 2"]);
    stage.all_is_well(alice, bob);
}

#[test]
fn delivered_cannot_be_faked() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.in_a_chat();
    stage.attack(Attack::RaiseAck);
    alice.says("is it there?");
    tells_nothing(&mut alice);
    tells_nothing(&mut bob);
    bob.says("hello");
    assert_eq!(until(&mut alice, "chat_closed"), ["error protocol", "chat_closed error undelivered 1"]);
    assert_eq!(until(&mut bob, "chat_closed"), ["chat_closed error undelivered 1"]);
    stage.all_is_well(alice, bob);
}

/// Something is made up about a chat, to both sides.
fn made_up(attack: Attack) {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(attack);
    chat_fails(&mut alice);
    chat_fails(&mut bob);
    stage.all_is_well(alice, bob);
}

#[test]
fn random_bytes_under_a_head_that_fits_end_the_chat() {
    made_up(Attack::ForgeFrame);
}

#[test]
fn a_text_from_a_group_of_the_relays_own_is_not_shown() {
    made_up(Attack::ForgeGroup);
}

#[test]
fn a_goodbye_cannot_be_faked() {
    made_up(Attack::ForgeGoodbye);
}
