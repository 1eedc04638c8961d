//! The connection, the line of a chat, and the end of both.

use sim::hostile_relay::Attack;

use crate::{
    common::Client,
    stage::{Stage, count_up, messages, shown, tells_nothing, until, until_told},
};

#[test]
fn what_is_said_to_have_arrived_and_has_not_ends_the_chat() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    // What is on its way when the line breaks, and then is said to have arrived.
    stage.attack(Attack::DropAll);
    count_up(&mut alice, 3);
    tells_nothing(&mut alice);
    stage.attack(Attack::ResumeTooHigh);
    let told = until(&mut bob, "chat_closed");
    assert_eq!(shown(&told), [""; 0], "{told:?}");
    assert_eq!(told[told.len() - 2..], ["error protocol", "chat_closed error"]);
    let told = until(&mut alice, "chat_closed");
    assert_eq!(told.last().unwrap(), "chat_closed error undelivered 3");
    assert!(!told.iter().any(|told| told.starts_with("delivered")), "{told:?}");
    stage.all_is_well(alice, bob);
}

#[test]
fn a_peer_that_is_said_to_expect_the_first_frame_is_shown_nothing_twice() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    // What has arrived she says again, since she has not heard so: his last receipt is held back, as is what she said last.
    stage.attack_with(Attack::HoldLast, Attack::ResumeTooLow);
    count_up(&mut alice, 3);
    assert_eq!(shown(&until_told(&mut bob, "message 1")), messages(2));
    until_told(&mut alice, "peer_back");
    stage.be_honest();
    assert_eq!(shown(&until_told(&mut bob, "message 2")), ["message 2"]);
    assert_eq!(shown(&until_told(&mut alice, "delivered 3")), [""; 0]);
    stage.goes_on(alice, bob);
}

#[test]
fn a_line_that_flaps_loses_and_repeats_nothing() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(Attack::AwayFlapping);
    count_up(&mut alice, 10);
    let told = until_told(&mut bob, "message 9");
    assert_eq!(shown(&told), messages(10));
    let of_the_line: Vec<_> = told.iter().filter(|told| told.starts_with("peer_")).collect();
    assert!(of_the_line.windows(2).all(|pair| pair[0] != pair[1]), "away and back in turns: {told:?}");
    until_told(&mut alice, "delivered 10");
    stage.be_honest();
    stage.cut_and(Attack::ResumeTooLow);
    stage.goes_on(alice, bob);
}

#[test]
fn a_peer_that_is_said_to_be_away_leaves_the_chat_standing_still() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(Attack::AwayForEver);
    assert_eq!(until(&mut alice, "peer_away"), ["peer_away"]);
    assert_eq!(until(&mut bob, "peer_away"), ["peer_away"]);
    alice.says("is there anybody?");
    tells_nothing(&mut alice);
    tells_nothing(&mut bob);
    alice.types("--ex");
    let told = until(&mut alice, "logged_out");
    assert_eq!(told, ["error unreachable", "chat_closed lost undelivered 1", "logged_out"]);
    assert_eq!(alice.failed().0, "unreachable");
    assert_eq!(until(&mut bob, "chat_closed"), ["chat_closed lost"], "not goodbye");
    stage.all_is_well(stage.log_in("alice"), bob);
}

/// The server says that it is over: both are free, and neither takes it for a goodbye.
fn ends_as(attack: Attack, reason: &str) {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(attack);
    assert_eq!(until(&mut alice, "chat_closed"), [format!("chat_closed {reason}")]);
    assert_eq!(until(&mut bob, "chat_closed"), [format!("chat_closed {reason}")]);
    stage.all_is_well(alice, bob);
}

#[test]
fn that_the_peer_has_left_is_lost_and_not_goodbye() {
    ends_as(Attack::CloseLeft, "lost");
}

#[test]
fn that_a_chat_was_called_off_is_lost() {
    ends_as(Attack::CloseCalledOff, "lost");
}

#[test]
fn that_a_chat_has_expired_is_lost() {
    ends_as(Attack::CloseExpired, "lost");
}

#[test]
fn that_the_peer_is_busy_is_lost() {
    ends_as(Attack::CloseBusy, "lost");
}

#[test]
fn that_the_other_client_has_failed_is_an_error() {
    ends_as(Attack::CloseFailed, "error");
}

#[test]
fn that_too_much_was_sent_is_an_error() {
    ends_as(Attack::CloseOverrun, "error");
}

/// Both are put out for good: the chat is lost, and the client ends with this code.
fn ends_the_client(attack: Attack, code: &str) {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(attack);
    for client in [&mut alice, &mut bob] {
        assert_eq!(until(client, "logged_out"), ["chat_closed lost", "logged_out"]);
        assert_eq!(client.failed().0, code);
    }
    stage.be_honest();
    stage.all_is_well(stage.log_in("alice"), stage.log_in("bob"));
}

#[test]
fn that_one_is_replaced_ends_the_client() {
    ends_the_client(Attack::ErrorReplaced, "replaced");
}

#[test]
fn that_one_is_removed_ends_the_client() {
    ends_the_client(Attack::ErrorRemoved, "unknown_user");
}

#[test]
fn that_one_has_broken_the_protocol_ends_the_client() {
    ends_the_client(Attack::ErrorProtocol, "protocol");
}

/// It would have the name asked for again, and take what is typed for one.
#[test]
fn that_one_is_unknown_in_the_midst_of_a_session_is_the_servers_fault() {
    ends_the_client(Attack::ErrorUnknownUser, "protocol");
}

#[test]
fn a_log_in_can_be_refused() {
    let stage = Stage::of(["alice", "bob"]);
    stage.attack(Attack::ErrorUnknownUser);
    assert_eq!(stage.world.client("alice").failed().0, "unknown_user");
    stage.be_honest();
    stage.all_is_well(stage.log_in("alice"), stage.log_in("bob"));
}

/// The chat goes on as soon as the server lets it.
fn comes_back_from(attack: Attack) {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(attack);
    for client in [&mut alice, &mut bob] {
        assert_eq!(until(client, "reconnecting"), ["error unreachable", "reconnecting"]);
    }
    alice.says("still there?");
    stage.be_honest();
    assert_eq!(shown(&until_told(&mut bob, "message still there?")), ["message still there?"]);
    stage.goes_on(alice, bob);
}

#[test]
fn that_the_server_stops_loses_nothing() {
    comes_back_from(Attack::ErrorShuttingDown);
}

#[test]
fn that_one_was_idle_loses_nothing() {
    comes_back_from(Attack::ErrorIdle);
}

#[test]
fn that_the_directory_cannot_be_read_loses_nothing() {
    comes_back_from(Attack::ErrorUnavailable);
}

#[test]
fn a_cut_connection_loses_nothing() {
    comes_back_from(Attack::Cut);
}

/// A client that the relay does not let in as it should ends, and shows no one to be logged in.
fn is_not_let_in(attack: Attack, code: &str) {
    let stage = Stage::of(["alice", "bob"]);
    stage.attack(attack);
    let mut alice = stage.world.client("alice");
    assert_eq!(alice.failed().0, code);
    stage.be_honest();
    stage.all_is_well(stage.log_in("alice"), stage.log_in("bob"));
}

#[test]
fn a_server_under_a_name_that_it_has_no_certificate_for_is_not_trusted() {
    is_not_let_in(Attack::OtherName, "untrusted_server");
}

#[test]
fn frames_before_the_answer_to_a_log_in_end_the_client() {
    is_not_let_in(Attack::EarlyFrames, "protocol");
}

/// The relay would wait for an hour.
#[test]
fn a_log_in_that_is_not_answered_ends_the_client() {
    let stage = Stage::with("idle_timeout = \"1h\"", ["alice", "bob"]);
    stage.attack(Attack::NoLogIn);
    let mut alice = stage.world.client("alice");
    assert_eq!(alice.failed().0, "unreachable");
    stage.be_honest();
    stage.all_is_well(stage.log_in("alice"), stage.log_in("bob"));
}

#[test]
fn a_log_in_that_is_answered_twice_ends_the_client() {
    let stage = Stage::of(["alice", "bob"]);
    stage.attack(Attack::LogInTwice);
    let mut alice = stage.world.client("alice");
    assert_eq!(until(&mut alice, "logged_out"), ["logged_in", "logged_out"]);
    assert_eq!(alice.failed().0, "protocol");
    stage.be_honest();
    stage.all_is_well(stage.log_in("alice"), stage.log_in("bob"));
}

/// The user is told, and the client makes another connection, with its chat.
fn falls_silent(attack: Attack) -> (Stage, Client, Client) {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(attack);
    for client in [&mut alice, &mut bob] {
        let told = until(client, "reconnecting");
        // What the other does about it may be told in between.
        let own: Vec<_> = told.iter().filter(|told| !told.starts_with("peer_") && *told != "server_heard").collect();
        assert_eq!(own[0], "server_silent");
        assert_eq!(own[own.len() - 2..], ["error unreachable", "reconnecting"]);
    }
    (stage, alice, bob)
}

#[test]
fn a_server_that_answers_no_ping_is_left_and_come_back_to() {
    let (stage, alice, bob) = falls_silent(Attack::NoPong);
    stage.goes_on(alice, bob);
}

#[test]
fn a_server_that_says_nothing_is_left_and_come_back_to() {
    let (stage, alice, bob) = falls_silent(Attack::Silent);
    stage.goes_on(alice, bob);
}
