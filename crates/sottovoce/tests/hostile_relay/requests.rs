//! Requests to talk that nobody made, and answers that nobody gave.

use sim::hostile_relay::Attack;

use crate::{
    common::Client,
    stage::{Stage, all_told, tells_nothing, until},
};

fn both() -> (Stage, Client, Client) {
    let stage = Stage::of(["alice", "bob"]);
    let (alice, bob) = (stage.log_in("alice"), stage.log_in("bob"));
    (stage, alice, bob)
}

#[test]
fn nobody_is_asked_to_talk_by_oneself() {
    let (stage, mut alice, mut bob) = both();
    stage.attack(Attack::RequestFromOneself);
    tells_nothing(&mut alice);
    tells_nothing(&mut bob);
    stage.all_is_well(alice, bob);
}

#[test]
fn nobody_is_asked_to_talk_while_in_a_chat() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(Attack::RequestFromPeer);
    tells_nothing(&mut alice);
    tells_nothing(&mut bob);
    stage.goes_on(alice, bob);
}

/// By design: a request can be made up. Of a flood, one is shown; the rest is refused.
#[test]
fn of_a_flood_of_requests_one_is_shown_at_a_time() {
    let (stage, mut alice, mut bob) = both();
    stage.attack(Attack::RequestFlood);
    for client in [&mut alice, &mut bob] {
        assert_eq!(all_told(client), ["request u0"]);
        client.types("--n");
        tells_nothing(client);
    }
    stage.all_is_well(alice, bob);
}

/// The client that is told so accepts, as both have said yes, and finds that there is no chat.
#[test]
fn a_call_that_is_answered_by_a_made_up_call_leads_to_no_chat() {
    let (stage, mut alice, mut bob) = both();
    stage.attack(Attack::RequestFromCalled);
    alice.types("--r bob");
    tells_nothing(&mut bob);
    assert_eq!(until(&mut alice, "chat_closed"), ["calling", "chat_closed lost"]);
    stage.all_is_well(alice, bob);
}

#[test]
fn a_call_that_is_answered_by_a_strangers_call_is_said_to_be_off() {
    let stage = Stage::of(["alice", "bob", "carol"]);
    let (mut alice, mut bob) = (stage.log_in("alice"), stage.log_in("bob"));
    stage.attack(Attack::RequestWhileCalling);
    alice.types("--r bob");
    assert_eq!(until(&mut alice, "request"), ["calling", "error busy", "request carol"]);
    alice.types("--n");
    tells_nothing(&mut alice);
    tells_nothing(&mut bob);
    stage.all_is_well(alice, bob);
}

/// By design: the server can say so of anybody.
fn is_said_of_a_call(attack: Attack, said: &str) {
    let (stage, mut alice, mut bob) = both();
    stage.attack(attack);
    alice.types("--r bob");
    assert_eq!(until(&mut alice, said), ["calling", said]);
    tells_nothing(&mut bob);
    stage.all_is_well(alice, bob);
}

#[test]
fn a_refusal_can_be_made_up() {
    is_said_of_a_call(Attack::FakeRefuse, "refused");
}

#[test]
fn an_absence_can_be_made_up() {
    is_said_of_a_call(Attack::FakeNotFound, "user_not_found");
}

/// By design: what is asked for can always be withheld. What was not asked for is not said to be.
#[test]
fn that_everything_is_asked_for_too_often_is_told_and_no_more() {
    let (stage, mut alice, mut bob) = both();
    stage.attack(Attack::TooFast);
    alice.types("--n");
    assert_eq!(until(&mut alice, "error"), ["error not_in_chat"], "nothing was asked for");
    alice.types("--l");
    assert_eq!(until(&mut alice, "error"), ["error too_fast"]);
    alice.types("--r bob");
    assert_eq!(until(&mut alice, "error"), ["calling", "error too_fast"]);
    stage.be_honest();
    tells_nothing(&mut bob);
    stage.all_is_well(alice, bob);
}

#[test]
fn an_acceptance_that_is_made_up_leads_to_no_chat() {
    let (stage, mut alice, mut bob) = both();
    stage.attack(Attack::FakeAccept);
    alice.types("--r bob");
    assert_eq!(until(&mut alice, "chat_closed"), ["calling", "error protocol", "chat_closed error"]);
    tells_nothing(&mut bob);
    stage.all_is_well(alice, bob);
}

#[test]
fn a_call_that_is_not_put_through_can_be_taken_back() {
    let (stage, mut alice, mut bob) = both();
    stage.attack(Attack::DropRequests);
    alice.types("--r bob");
    tells_nothing(&mut bob);
    assert_eq!(all_told(&mut alice), ["calling"]);
    alice.types("--n");
    assert_eq!(until(&mut alice, "request_ended"), ["request_ended called_off"]);
    stage.all_is_well(alice, bob);
}

/// A relay that says nothing of it either: each client waits for so long by itself, and no longer. Both times are up at
/// nearly the same moment; one client may hear of the other's end just before.
#[test]
fn a_welcome_that_does_not_come_leaves_nobody_waiting() {
    let stage = Stage::with("establishment_timeout = \"5m\"", ["alice", "bob"]);
    let (mut alice, mut bob) = (stage.log_in("alice"), stage.log_in("bob"));
    stage.attack(Attack::DropWelcomes);
    alice.types("--r bob");
    bob.expect("request");
    bob.types("--y");
    let ends = [&mut alice, &mut bob].map(|client| until(client, "chat_closed").pop().unwrap());
    assert!(ends.iter().any(|end| end == "chat_closed lost"), "{ends:?}");
    assert!(ends.iter().all(|end| end == "chat_closed lost" || end == "chat_closed error"), "{ends:?}");
    stage.all_is_well(alice, bob);
}
