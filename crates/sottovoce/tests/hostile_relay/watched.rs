//! What a relay sees that does nothing but look.

use sim::hostile_relay::Attack;

use crate::stage::{Stage, until};

/// By design: this is what it takes to carry a chat. What is said is not among it, nor is its exact length.
#[test]
fn a_relay_sees_who_talks_with_whom_when_and_how_much_and_not_what() {
    let stage = Stage::of(["alice", "bob"]);
    stage.attack(Attack::Watch);
    let [mut alice, mut bob] = stage.in_a_chat();
    let told: Vec<_> = std::iter::repeat_with(|| stage.told()).take(5).collect();
    assert_eq!(
        told,
        [
            "alice logs in",
            "bob logs in",
            "alice asks bob to talk",
            "bob accepts the request of alice",
            "bob to alice: counter 0, ack 0, 352 bytes",
        ]
    );
    for (counter, length, bytes) in [(0, 1, 352), (1, 169, 352), (2, 170, 608)] {
        alice.says(&"x".repeat(length));
        until(&mut bob, "message");
        assert_eq!(stage.told(), format!("alice to bob: counter {counter}, ack 0, {bytes} bytes"));
        until(&mut alice, "delivered");
        // His receipt looks like a short message.
        assert_eq!(stage.told(), format!("bob to alice: counter 0, ack {}, 352 bytes", counter + 1));
    }
    alice.types("--ex");
    until(&mut bob, "chat_closed");
    assert_eq!(stage.told(), "alice to bob: counter 3, ack 0, 352 bytes", "and so does a goodbye");
    stage.all_is_well(stage.log_in("alice"), bob);
}
