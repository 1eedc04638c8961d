//! Codes where they do not belong, and sizes that are none.

use sim::hostile_relay::Attack;

use crate::stage::{Stage, chat_fails, count_up, messages, shown, tells_nothing, until, until_told};

#[test]
fn frames_of_every_code_about_no_chat_change_nothing() {
    let stage = Stage::of(["alice", "bob"]);
    stage.attack(Attack::EveryCode);
    let [mut alice, mut bob] = stage.talking();
    count_up(&mut alice, 3);
    assert_eq!(until_told(&mut bob, "message 2"), messages(3));
    tells_nothing(&mut bob);
    stage.goes_on(alice, bob);
}

#[test]
fn frames_of_every_code_about_the_chat_change_nothing_but_the_word_that_the_peer_is_away() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(Attack::EveryCodeInChat);
    count_up(&mut alice, 3);
    let told = until_told(&mut bob, "message 2");
    assert_eq!(shown(&told), messages(3));
    assert!(told.iter().all(|told| told.starts_with("message ") || told.starts_with("peer_")), "{told:?}");
    let told = until_told(&mut alice, "delivered 3");
    assert!(told.iter().all(|told| told.starts_with("delivered ") || told.starts_with("peer_")), "{told:?}");
    stage.goes_on(alice, bob);
}

/// What is no frame of the server's ends the client, in a chat as elsewhere.
fn ends_the_client(attack: Attack) {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(attack);
    for client in [&mut alice, &mut bob] {
        assert_eq!(until(client, "logged_out"), ["chat_closed lost", "logged_out"]);
        assert_eq!(client.failed().0, "protocol");
    }
    stage.be_honest();
    stage.all_is_well(stage.log_in("alice"), stage.log_in("bob"));
}

#[test]
fn a_frame_that_only_clients_send_ends_the_client() {
    ends_the_client(Attack::WrongDirection);
}

#[test]
fn a_code_that_there_is_not_ends_the_client() {
    ends_the_client(Attack::UnknownCode);
}

#[test]
fn an_empty_frame_ends_the_client() {
    ends_the_client(Attack::EmptyFrame);
}

#[test]
fn a_frame_that_is_all_code_ends_the_client() {
    ends_the_client(Attack::OneByteFrame);
}

#[test]
fn a_length_that_is_too_low_ends_the_client() {
    ends_the_client(Attack::LengthTooLow);
}

#[test]
fn a_sealed_frame_of_the_greatest_length_ends_the_chat_that_it_names_and_no_more() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(Attack::LargestFrame);
    chat_fails(&mut alice);
    chat_fails(&mut bob);
    stage.all_is_well(alice, bob);
}

/// What comes is taken for the rest of a long frame, so the server is as good as silent.
#[test]
fn a_length_that_is_too_high_is_a_silence_that_a_new_connection_ends() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(Attack::LengthTooHigh);
    for client in [&mut alice, &mut bob] {
        assert_eq!(until(client, "reconnecting"), ["server_silent", "error unreachable", "reconnecting"]);
    }
    stage.goes_on(alice, bob);
}
