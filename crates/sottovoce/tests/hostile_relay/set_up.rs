//! Key packages, welcomes and names that belong elsewhere.

use sim::hostile_relay::Attack;

use crate::{
    common::{Client, talk},
    stage::{Stage, tells_nothing, until},
};

/// Two who talk, and then do no more.
fn talk_and_leave(caller: &mut Client, accepter: &mut Client, name: &str) {
    talk(caller, accepter, name);
    caller.types("/leave");
    accepter.expect("chat_closed");
    caller.expect("logged_in");
}

/// Alice asks bob to talk, and he accepts; at her side it ends, for a fault of protocol, and he is told so.
fn fails_at_the_caller(stage: Stage, mut alice: Client, mut bob: Client) {
    alice.types("--r bob");
    bob.expect("request");
    bob.types("--y");
    assert_eq!(until(&mut alice, "chat_closed"), ["calling", "error protocol", "chat_closed error"]);
    assert_eq!(until(&mut bob, "chat_closed"), ["chat_closed error"]);
    tells_nothing(&mut alice);
    stage.all_is_well(alice, bob);
}

/// The same, at his side.
fn fails_at_the_accepter(stage: Stage, mut alice: Client, mut bob: Client) {
    alice.types("--r bob");
    bob.expect("request");
    bob.types("--y");
    assert_eq!(until(&mut bob, "chat_closed"), ["error protocol", "chat_closed error"]);
    assert_eq!(until(&mut alice, "chat_closed"), ["calling", "chat_closed error"]);
    tells_nothing(&mut bob);
    stage.all_is_well(alice, bob);
}

/// Alice and bob, who have never talked; carol has accepted a chat with dave, and so have the two others if they are
/// to know each other.
fn four(acquainted: bool) -> (Stage, Client, Client) {
    let stage = Stage::of(["alice", "bob", "carol", "dave"]);
    let (mut alice, mut bob) = (stage.log_in("alice"), stage.log_in("bob"));
    if acquainted {
        talk_and_leave(&mut alice, &mut bob, "bob");
    }
    let (mut carol, mut dave) = (stage.log_in("carol"), stage.log_in("dave"));
    talk_and_leave(&mut dave, &mut carol, "carol");
    (stage, alice, bob)
}

#[test]
fn anothers_key_and_package_are_refused_at_first_contact() {
    let (stage, alice, bob) = four(false);
    stage.attack(Attack::OthersPackage);
    fails_at_the_caller(stage, alice, bob);
}

#[test]
fn anothers_registered_key_for_an_acquaintance_is_key_changed() {
    let (stage, mut alice, mut bob) = four(true);
    stage.attack(Attack::OthersPackage);
    alice.types("--r bob");
    bob.expect("request");
    bob.types("--y");
    assert_eq!(until(&mut alice, "error"), ["calling", "error key_changed"]);
    assert_eq!(until(&mut bob, "chat_closed"), ["chat_closed error"]);
    stage.all_is_well(alice, bob);
}

#[test]
fn anothers_package_under_the_true_key_is_refused() {
    let (stage, alice, bob) = four(false);
    stage.attack(Attack::OthersPackageTrueKey);
    fails_at_the_caller(stage, alice, bob);
}

#[test]
fn a_package_of_the_relays_own_under_the_true_key_is_refused() {
    let (stage, alice, bob) = four(false);
    stage.attack(Attack::ForgePackage);
    fails_at_the_caller(stage, alice, bob);
}

#[test]
fn a_welcome_of_the_relays_own_under_the_true_key_is_refused() {
    let (stage, alice, bob) = four(false);
    stage.attack(Attack::ForgeWelcome);
    fails_at_the_accepter(stage, alice, bob);
}

#[test]
fn a_welcome_that_was_made_for_another_does_not_open() {
    let (stage, alice, bob) = four(false);
    stage.attack(Attack::OthersWelcome);
    fails_at_the_accepter(stage, alice, bob);
}

#[test]
fn a_package_from_an_earlier_chat_leads_to_a_welcome_that_does_not_open() {
    let (stage, alice, bob) = four(true);
    stage.attack(Attack::OldPackage);
    fails_at_the_accepter(stage, alice, bob);
}

#[test]
fn a_welcome_from_an_earlier_chat_does_not_open() {
    let (stage, alice, bob) = four(true);
    stage.attack(Attack::OldWelcome);
    fails_at_the_accepter(stage, alice, bob);
}

#[test]
fn nobody_is_let_into_a_chat_with_oneself() {
    let stage = Stage::of(["alice", "bob"]);
    let (mut alice, mut bob) = (stage.log_in("alice"), stage.log_in("bob"));
    // She makes a package, which the relay keeps; no chat comes of it, and nothing is pinned.
    stage.attack(Attack::ForgeWelcome);
    bob.types("--r alice");
    alice.expect("request");
    alice.types("--y");
    alice.expect("chat_closed");
    bob.expect("chat_closed");
    stage.attack(Attack::OwnPackage);
    fails_at_the_caller(stage, alice, bob);
}

#[test]
fn a_flipped_bit_in_a_package_is_noticed() {
    let (stage, alice, bob) = four(false);
    stage.attack(Attack::FlipSetUp);
    fails_at_the_caller(stage, alice, bob);
}

#[test]
fn ones_own_set_up_frames_are_not_looked_at() {
    let stage = Stage::of(["alice", "bob"]);
    stage.attack(Attack::ReflectSetUp);
    let [alice, bob] = stage.talking();
    stage.goes_on(alice, bob);
}

#[test]
fn set_up_frames_that_come_twice_change_nothing() {
    let stage = Stage::of(["alice", "bob"]);
    stage.attack(Attack::DuplicateSetUp);
    let [alice, bob] = stage.talking();
    stage.goes_on(alice, bob);
}

#[test]
fn a_call_that_is_put_through_to_another_leads_to_no_chat() {
    let stage = Stage::of(["alice", "bob", "carol"]);
    let (mut alice, mut carol) = (stage.log_in("alice"), stage.log_in("carol"));
    stage.attack(Attack::Redirect);
    alice.types("--r bob");
    assert_eq!(until(&mut carol, "request"), ["request alice"]);
    carol.types("--y");
    assert_eq!(until(&mut alice, "chat_closed"), ["calling", "error protocol", "chat_closed error"]);
    assert_eq!(until(&mut carol, "chat_closed"), ["chat_closed error"]);
    stage.be_honest();
    stage.all_is_well(alice, stage.log_in("bob"));
}

#[test]
fn a_request_under_anothers_name_leads_to_no_chat() {
    let stage = Stage::of(["alice", "bob", "carol"]);
    let (mut alice, mut bob) = (stage.log_in("alice"), stage.log_in("bob"));
    stage.attack(Attack::RenameRequest);
    alice.types("--r bob");
    assert_eq!(until(&mut bob, "request"), ["request carol"]);
    bob.types("--y");
    assert_eq!(until(&mut bob, "chat_closed"), ["error protocol", "chat_closed error"]);
    assert_eq!(until(&mut alice, "chat_closed"), ["calling", "chat_closed error"]);
    stage.all_is_well(alice, bob);
}
