//! Lies in the list of who is online.

use sim::hostile_relay::Attack;

use crate::stage::{Stage, short, tells_nothing, until};

/// A list that is no list ends the client, which says so, and shows no name of it.
fn ends_the_client(attack: Attack, line: &str) {
    let stage = Stage::of(["alice", "bob", "carol"]);
    let (mut alice, bob, _carol) = (stage.log_in("alice"), stage.log_in("bob"), stage.log_in("carol"));
    stage.attack(attack);
    alice.types(line);
    assert_eq!(until(&mut alice, "logged_out"), ["logged_out"], "and no users");
    assert_eq!(alice.failed().0, "protocol");
    stage.all_is_well(stage.log_in("alice"), bob);
}

#[test]
fn a_name_that_is_on_the_list_twice_ends_the_client() {
    ends_the_client(Attack::ListTwice, "--l");
}

#[test]
fn a_list_out_of_order_ends_the_client() {
    ends_the_client(Attack::ListUnsorted, "--l");
}

#[test]
fn another_part_of_the_list_than_was_asked_for_ends_the_client() {
    ends_the_client(Attack::ListOtherPart, r#"{"list":{"prefix":"","after":"b"}}"#);
}

#[test]
fn escape_sequences_in_a_name_end_the_client() {
    ends_the_client(Attack::ListEscapes, "--l");
}

#[test]
fn characters_that_turn_text_round_in_a_name_end_the_client() {
    ends_the_client(Attack::ListBidi, "--l");
}

#[test]
fn a_page_of_too_many_names_ends_the_client() {
    ends_the_client(Attack::ListGiant, "--l");
}

/// By design: who is online is the server's to say.
#[test]
fn an_invented_name_is_shown_and_nobody_answers_to_it() {
    let stage = Stage::of(["alice", "bob"]);
    let (mut alice, bob) = (stage.log_in("alice"), stage.log_in("bob"));
    stage.attack(Attack::ListInvented);
    assert_eq!(alice.lists(), ["bob", "zz-nobody"]);
    alice.types("--r zz-nobody");
    assert_eq!(until(&mut alice, "user_not_found"), ["calling", "user_not_found"]);
    stage.all_is_well(alice, bob);
}

#[test]
fn oneself_is_not_shown_on_the_list() {
    let stage = Stage::of(["alice", "bob"]);
    let (mut alice, bob) = (stage.log_in("alice"), stage.log_in("bob"));
    stage.attack(Attack::ListOneself);
    assert_eq!(alice.lists(), ["bob"]);
    stage.all_is_well(alice, bob);
}

#[test]
fn a_list_without_end_is_asked_for_page_by_page_by_the_user_alone() {
    let stage = Stage::of(["alice", "bob"]);
    let (mut alice, bob) = (stage.log_in("alice"), stage.log_in("bob"));
    stage.attack(Attack::ListEndless);
    for _ in 0..3 {
        alice.types("--l");
        let users = alice.expect("users");
        assert_eq!(users["more"], true);
    }
    // A page that nobody asked for would stand before this answer.
    alice.types("--n");
    assert_eq!(short(&alice.next().unwrap()).unwrap(), "error not_in_chat");
    stage.all_is_well(alice, bob);
}

#[test]
fn a_list_that_nobody_asked_for_is_not_shown() {
    let stage = Stage::of(["alice", "bob"]);
    let (mut alice, bob) = (stage.log_in("alice"), stage.log_in("bob"));
    stage.attack(Attack::ListUnasked);
    // Something that the relay sends behind them.
    alice.types("--r nobody");
    assert_eq!(until(&mut alice, "user_not_found"), ["calling", "user_not_found"]);
    assert_eq!(alice.lists(), ["bob"]);
    stage.all_is_well(alice, bob);
}

#[test]
fn a_list_that_never_comes_keeps_nobody_from_leaving() {
    let stage = Stage::of(["alice", "bob"]);
    let (mut alice, mut bob) = (stage.log_in("alice"), stage.log_in("bob"));
    stage.attack(Attack::ListWithheld);
    alice.types("--l");
    alice.types("--ex");
    assert_eq!(until(&mut alice, "logged_out"), ["logged_out"]);
    assert_eq!(alice.ended(), (Some(0), String::new()));
    stage.be_honest();
    tells_nothing(&mut bob);
    stage.all_is_well(stage.log_in("alice"), bob);
}
