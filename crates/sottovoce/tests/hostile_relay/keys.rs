//! Keys that the relay hands out, and that are not those of the users.

use sim::hostile_relay::Attack;

use crate::{
    common::{Client, talk},
    stage::{Stage, all_told, short, tells_nothing, until},
};

/// Alice and bob, logged in, who have talked before: each has the other's key pinned.
fn acquainted() -> (Stage, Client, Client) {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.in_a_chat();
    alice.types("/leave");
    bob.expect("chat_closed");
    alice.expect("logged_in");
    (stage, alice, bob)
}

/// Alice and bob, logged in, who have never talked.
fn strangers() -> (Stage, Client, Client) {
    let stage = Stage::of(["alice", "bob"]);
    let (alice, bob) = (stage.log_in("alice"), stage.log_in("bob"));
    (stage, alice, bob)
}

/// Alice asks bob to talk, and he accepts.
fn tries(alice: &mut Client, bob: &mut Client) {
    alice.types("--r bob");
    bob.expect("request");
    bob.types("--y");
}

/// By design: at the very first contact there is nothing to hold a key against but the number that both see.
#[test]
fn at_first_contact_a_machine_in_the_middle_reads_all_and_the_safety_numbers_differ() {
    let (stage, mut alice, mut bob) = strangers();
    stage.attack(Attack::SwapKeys);
    let (at_alice, at_bob) = talk(&mut alice, &mut bob, "bob");
    assert_eq!(
        (short(&at_alice).unwrap(), short(&at_bob).unwrap()),
        ("chat_started bob new".into(), "chat_started alice new".into())
    );
    assert_ne!(at_alice["safety_number"], at_bob["safety_number"], "this is what gives it away");
    alice.says("the key is under the mat");
    assert_eq!(until(&mut bob, "message"), ["message the key is under the mat"]);
    assert_eq!(until(&mut alice, "delivered"), ["delivered 0"]);
    assert_eq!(stage.told(), "read: alice says \"the key is under the mat\"");
    bob.says("thanks");
    assert_eq!(until(&mut alice, "message"), ["message thanks"]);
    assert_eq!(stage.told(), "read: bob says \"thanks\"");

    // Bob reads his number to alice over the telephone.
    alice.types(&format!("/verify {}", at_bob["safety_number"].as_str().unwrap()));
    let error = alice.expect("error");
    assert!(error["message"].as_str().unwrap().contains("DIFFERENT"), "{error}");
    alice.types("--ex");
    assert_eq!(until(&mut bob, "chat_closed").last().unwrap(), "chat_closed goodbye");
    assert_eq!(stage.told(), "read: alice says goodbye");
}

/// Renewals go through a machine in the middle like all else, so that it is not seen by them.
#[test]
fn a_machine_in_the_middle_is_not_given_away_by_renewals() {
    let (stage, mut alice, mut bob) = strangers();
    stage.attack(Attack::SwapKeys);
    talk(&mut alice, &mut bob, "bob");
    for number in 0..60 {
        alice.says(&number.to_string());
        assert_eq!(until(&mut bob, "message"), [format!("message {number}")]);
        assert_eq!(stage.told(), format!("read: alice says \"{number}\""));
    }
    bob.says("that is enough");
    assert_eq!(until(&mut alice, "message").last().unwrap(), "message that is enough");
}

#[test]
fn a_machine_in_the_middle_between_acquaintances_is_stopped_before_a_word() {
    let (stage, mut alice, mut bob) = acquainted();
    stage.attack(Attack::SwapKeys);
    tries(&mut alice, &mut bob);
    assert_eq!(until(&mut alice, "error"), ["calling", "error key_changed"]);
    assert_eq!(until(&mut bob, "chat_closed"), ["chat_closed error"]);
    alice.says("a word");
    assert_eq!(until(&mut alice, "error"), ["error not_in_chat"]);
    tells_nothing(&mut bob);
    stage.all_is_well(alice, bob);
}

/// A machine in the middle that began at first contact has to stay: without it each sees another key.
#[test]
fn a_machine_in_the_middle_that_goes_away_is_noticed() {
    let (stage, mut alice, mut bob) = strangers();
    stage.attack(Attack::SwapKeys);
    talk(&mut alice, &mut bob, "bob");
    alice.types("/leave");
    bob.expect("chat_closed");
    alice.expect("logged_in");
    stage.be_honest();
    tries(&mut alice, &mut bob);
    assert_eq!(until(&mut alice, "error"), ["calling", "error key_changed"]);
    assert_eq!(until(&mut bob, "chat_closed"), ["chat_closed error"]);
}

#[test]
fn another_key_for_the_accepter_is_key_changed_at_the_caller() {
    let (stage, mut alice, mut bob) = acquainted();
    stage.attack(Attack::SwapAcceptersKey);
    tries(&mut alice, &mut bob);
    assert_eq!(until(&mut alice, "error"), ["calling", "error key_changed"]);
    assert_eq!(until(&mut bob, "chat_closed"), ["chat_closed error"]);
    tells_nothing(&mut alice);
    stage.all_is_well(alice, bob);
}

#[test]
fn another_key_for_the_caller_is_key_changed_at_the_accepter() {
    let (stage, mut alice, mut bob) = acquainted();
    stage.attack(Attack::SwapCallersKey);
    tries(&mut alice, &mut bob);
    assert_eq!(until(&mut bob, "error"), ["error key_changed"]);
    assert_eq!(until(&mut alice, "chat_closed"), ["calling", "chat_closed error"]);
    tells_nothing(&mut bob);
    stage.all_is_well(alice, bob);
}

/// With the key of one side alone the relay gets nowhere, even at first contact: no group of the two comes of it.
#[test]
fn another_key_for_one_side_alone_leads_to_no_chat_even_at_first_contact() {
    for (attack, alices, bobs) in [
        (Attack::SwapAcceptersKey, &["calling", "chat_closed error"][..], &["error protocol", "chat_closed error"][..]),
        (Attack::SwapCallersKey, &["calling", "chat_closed error"], &["error protocol", "chat_closed error"]),
    ] {
        let (stage, mut alice, mut bob) = strangers();
        stage.attack(attack);
        tries(&mut alice, &mut bob);
        assert_eq!(until(&mut bob, "chat_closed"), bobs, "{attack:?}");
        assert_eq!(until(&mut alice, "chat_closed"), alices, "{attack:?}");
        // Nothing was pinned.
        stage.be_honest();
        let (at_alice, at_bob) = talk(&mut alice, &mut bob, "bob");
        assert_eq!((&at_alice["trust"], &at_bob["trust"]), (&"new".into(), &"new".into()), "{attack:?}");
        assert_eq!(at_alice["safety_number"], at_bob["safety_number"]);
    }
}

#[test]
fn keys_that_come_in_the_midst_of_a_chat_are_not_looked_at() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(Attack::SwapInChat);
    tells_nothing(&mut alice);
    tells_nothing(&mut bob);
    stage.goes_on(alice, bob);
}

#[test]
fn keys_that_come_with_the_way_back_are_not_looked_at() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.cut_and(Attack::SwapOnReturn);
    alice.expect("reconnected");
    bob.expect("reconnected");
    for client in [&mut alice, &mut bob] {
        let told = all_told(client);
        assert!(told.iter().all(|told| told == "peer_away" || told == "peer_back"), "{told:?}");
    }
    stage.goes_on(alice, bob);
}

/// By design, as with two who have never talked.
#[test]
fn at_first_contact_the_relay_can_talk_in_anothers_name() {
    let stage = Stage::of(["alice", "bob"]);
    let mut alice = stage.log_in("alice");
    stage.attack(Attack::Impersonate);
    assert_eq!(until(&mut alice, "request"), ["request bob"]);
    alice.types("--y");
    assert_eq!(until(&mut alice, "chat_started"), ["chat_started bob new"]);
    alice.says("is that you?");
    assert_eq!(until(&mut alice, "message"), ["delivered 0", "message tell me more"]);
    assert_eq!(stage.told(), "read, as bob: \"is that you?\"");
}

#[test]
fn the_relay_cannot_talk_in_the_name_of_an_acquaintance() {
    let (stage, mut alice, bob) = acquainted();
    stage.attack(Attack::Impersonate);
    assert_eq!(until(&mut alice, "request"), ["request bob"]);
    alice.types("--y");
    assert_eq!(until(&mut alice, "error"), ["error key_changed"]);
    drop(bob);
    stage.be_honest();
    stage.all_is_well(alice, stage.log_in("bob"));
}
