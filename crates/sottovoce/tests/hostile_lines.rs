//! Lines that are broken and opened again at the worst moment, or by somebody who means ill.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod relay;

use std::time::Duration;

use relay::{
    Noticed,
    telling::{in_a_chat, short, start_chat},
};

const ALICE: usize = 0;
const BOB: usize = 1;

/// The log-in had said that she has the chat. The server took her word for it, and she could not talk to anybody for as
/// long as bob stayed, who saw her back.
#[test]
fn a_chat_that_ends_while_its_client_logs_in_with_it_is_over_at_the_server_too() {
    for noticed in [Noticed::Both, Noticed::Client] {
        for answered in [false, true] {
            let mut relay = in_a_chat();
            relay.cut(ALICE, noticed);
            if answered {
                // The answer is on its way to her.
                assert!(relay.take_on(relay::Way::Server(ALICE)));
            }
            relay.types(ALICE, "/leave");
            relay.types(ALICE, "/leave");
            relay.settle();
            relay.wait(Duration::from_secs(1));
            let told: Vec<_> = relay.news(BOB).iter().filter_map(short).collect();
            assert_eq!(told.last().unwrap(), "chat_closed alice Lost", "{noticed:?} {answered}: {told:?}");
            let told: Vec<_> = relay.news(ALICE).iter().filter_map(short).collect();
            assert_eq!(told.last().unwrap(), "reconnected", "{noticed:?} {answered}: {told:?}");
            start_chat(&mut relay);
            relay.types(ALICE, "hello");
            relay.settle();
            let told: Vec<_> = relay.news(BOB).iter().filter_map(short).collect();
            assert_eq!(told, ["message alice hello"], "{noticed:?} {answered}");
        }
    }
}
