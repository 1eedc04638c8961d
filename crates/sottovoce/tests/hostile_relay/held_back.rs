//! Sealed frames left out, held back, repeated, and put elsewhere.

use sim::hostile_relay::Attack;

use crate::{
    common::talk,
    stage::{Stage, chat_fails, count_up, messages, short, shown, tells_nothing, until, until_told},
};

/// What is said arrives, in order and once, whatever else is told of; then the chat goes on.
fn arrives_in_order_and_once(attack: Attack) {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(attack);
    count_up(&mut alice, 10);
    let told = until_told(&mut bob, "message 9");
    assert_eq!(shown(&told), messages(10), "{told:?}");
    assert!(!told.iter().any(|told| told.starts_with("error") || told.starts_with("chat_closed")), "{told:?}");
    assert_eq!(until_told(&mut alice, "delivered 10").iter().filter(|told| told.starts_with("message")).count(), 0);
    stage.goes_on(alice, bob);
}

#[test]
fn what_is_left_out_once_is_sent_again() {
    arrives_in_order_and_once(Attack::Drop);
}

#[test]
fn what_is_late_arrives_late() {
    arrives_in_order_and_once(Attack::Delay);
}

#[test]
fn what_changed_places_is_shown_in_order() {
    arrives_in_order_and_once(Attack::Reorder);
}

#[test]
fn receipts_that_change_places_all_the_time_end_the_chat() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(Attack::ReorderReceipts);
    // Each of bob's receipts waits for the next, and then confirms nothing.
    let told = (0..50_000).find_map(|number| {
        alice.says(&number.to_string());
        let told = std::iter::repeat_with(|| short(&bob.next().unwrap())).flatten().next().unwrap();
        (told != format!("message {number}")).then_some(told)
    });
    assert_eq!(told.unwrap(), "chat_closed error");
    let told = until(&mut alice, "chat_closed");
    assert_eq!(told[told.len() - 2], "error protocol", "{told:?}");
    stage.all_is_well(alice, bob);
}

#[test]
fn counted_frames_that_are_repeated_are_shown_once() {
    arrives_in_order_and_once(Attack::Replay);
}

#[test]
fn frames_of_an_earlier_chat_change_nothing() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    alice.types("/leave");
    bob.expect("chat_closed");
    alice.expect("logged_in");
    talk(&mut alice, &mut bob, "bob");
    stage.attack(Attack::ReplayOldChat);
    count_up(&mut alice, 3);
    assert_eq!(until_told(&mut bob, "message 2"), messages(3));
    stage.goes_on(alice, bob);
}

#[test]
fn frames_of_an_earlier_chat_under_this_ones_head_end_it() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    alice.types("/leave");
    bob.expect("chat_closed");
    alice.expect("logged_in");
    talk(&mut alice, &mut bob, "bob");
    stage.attack(Attack::ReplayOldChatRenamed);
    alice.says("not this");
    chat_fails(&mut bob);
    assert_eq!(until(&mut alice, "chat_closed"), ["chat_closed error undelivered 1"]);
    stage.all_is_well(alice, bob);
}

#[test]
fn one_frame_that_never_comes_ends_the_chat() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(Attack::DropOne);
    alice.says("before it");
    assert_eq!(until(&mut bob, "message"), ["message before it"]);
    assert_eq!(until(&mut alice, "delivered"), ["delivered 1"]);
    alice.says("this");
    alice.says("behind it");
    let told = until(&mut bob, "chat_closed");
    assert_eq!(shown(&told), [""; 0], "nothing comes behind what is missing");
    assert_eq!(told[told.len() - 2..], ["error protocol", "chat_closed error"]);
    let told = until(&mut alice, "chat_closed");
    assert_eq!(told.last().unwrap(), "chat_closed error undelivered 2", "{told:?}");
    assert!(!told.iter().any(|told| told.starts_with("delivered")), "{told:?}");
    stage.all_is_well(alice, bob);
}

#[test]
fn where_nothing_passes_nothing_is_marked_delivered() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(Attack::DropAll);
    count_up(&mut alice, 3);
    tells_nothing(&mut alice);
    tells_nothing(&mut bob);
    alice.types("--ex");
    assert_eq!(until(&mut alice, "logged_out"), ["chat_closed goodbye undelivered 3", "logged_out"]);
    assert_eq!(alice.failed().0, "unreachable", "what was said may be lost");
    assert_eq!(until(&mut bob, "chat_closed"), ["chat_closed lost"], "no goodbye came");
    stage.all_is_well(stage.log_in("alice"), bob);
}

#[test]
fn an_end_that_is_held_back_is_missing_and_said_to_be() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    stage.attack(Attack::HoldLast);
    count_up(&mut alice, 3);
    assert_eq!(until_told(&mut bob, "message 1"), messages(2));
    alice.types("--ex");
    assert_eq!(until_told(&mut bob, "message 2"), ["message 2"], "the goodbye is held back in its place");
    let told = until(&mut alice, "logged_out");
    assert!(!told.iter().any(|told| told == "delivered 3"), "{told:?}");
    assert!(told.iter().any(|told| told.starts_with("chat_closed goodbye undelivered")), "{told:?}");
    assert_eq!(alice.failed().0, "unreachable");
    assert_eq!(until(&mut bob, "chat_closed"), ["chat_closed lost"]);
    stage.all_is_well(stage.log_in("alice"), bob);
}

#[test]
fn a_receipt_that_is_repeated_ends_the_chat() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.in_a_chat();
    stage.attack(Attack::Duplicate);
    alice.says("hello");
    assert_eq!(until(&mut bob, "message"), ["message hello"], "a counted frame comes twice unseen");
    // His receipt comes twice.
    assert_eq!(until(&mut alice, "chat_closed"), ["delivered 0", "error protocol", "chat_closed error"]);
    assert_eq!(until(&mut bob, "chat_closed"), ["chat_closed error"]);
    stage.all_is_well(alice, bob);
}

#[test]
fn ones_own_frames_sent_back_end_the_chat() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.in_a_chat();
    stage.attack(Attack::Reflect);
    alice.says("who said this?");
    assert_eq!(until(&mut alice, "chat_closed"), ["error protocol", "chat_closed error undelivered 1"]);
    assert_eq!(until(&mut bob, "chat_closed"), ["chat_closed error"]);
    stage.all_is_well(alice, bob);
}

#[test]
fn what_was_sent_before_a_cut_is_not_shown_again_and_a_receipt_of_then_ends_the_chat() {
    let stage = Stage::of(["alice", "bob"]);
    let [mut alice, mut bob] = stage.talking();
    count_up(&mut alice, 3);
    until_told(&mut bob, "message 2");
    until_told(&mut alice, "delivered 3");
    stage.cut_and(Attack::ReplayAfterReturn);
    // Of what she sent, all was counted.
    let told = until(&mut bob, "chat_closed");
    assert_eq!(shown(&told), [""; 0], "{told:?}");
    // Of what he sent, there are receipts with the counter that is still the next.
    let told = until(&mut alice, "chat_closed");
    assert_eq!(shown(&told), [""; 0], "{told:?}");
    assert_eq!(told[told.len() - 2..], ["error protocol", "chat_closed error"]);
    stage.all_is_well(alice, bob);
}

#[test]
fn frames_of_another_chat_are_not_looked_at() {
    let stage = Stage::of(["alice", "bob", "carol", "dave"]);
    let [mut alice, mut bob] = stage.in_a_chat();
    let (mut carol, mut dave) = (stage.log_in("carol"), stage.log_in("dave"));
    talk(&mut carol, &mut dave, "dave");
    stage.attack(Attack::Splice);
    alice.says("for bob alone");
    carol.says("for dave alone");
    for client in [&mut alice, &mut carol, &mut bob, &mut dave] {
        tells_nothing(client);
    }
    stage.be_honest();
    // What was left out comes when the next shows that it is missing.
    alice.says("really");
    assert_eq!(shown(&until_told(&mut bob, "message really")), ["message for bob alone", "message really"]);
    carol.says("really");
    assert_eq!(shown(&until_told(&mut dave, "message really")), ["message for dave alone", "message really"]);
    stage.goes_on(alice, bob);
}

#[test]
fn frames_of_another_chat_under_this_ones_head_end_it() {
    let stage = Stage::of(["alice", "bob", "carol", "dave"]);
    let [mut alice, mut bob] = stage.in_a_chat();
    let (mut carol, mut dave) = (stage.log_in("carol"), stage.log_in("dave"));
    talk(&mut carol, &mut dave, "dave");
    stage.attack(Attack::SpliceRenamed);
    alice.says("for bob alone");
    chat_fails(&mut dave);
    assert_eq!(until(&mut carol, "chat_closed"), ["chat_closed error"]);
    tells_nothing(&mut bob);
    carol.types("--ex");
    dave.types("--ex");
    assert_eq!((carol.ended().0, dave.ended().0), (Some(0), Some(0)));
    stage.be_honest();
    alice.says("really");
    assert_eq!(shown(&until_told(&mut bob, "message really")), ["message for bob alone", "message really"]);
    stage.goes_on(alice, bob);
}
