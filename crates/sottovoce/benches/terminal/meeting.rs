//! The way into a chat, from the acceptance on.

use std::time::Duration;

use crate::{
    common::{Client, World, now},
    rows::Figure,
};

const WARM_UP: usize = 10;

/// With a key that is known, and with one that both pin first, which is written to the disk.
pub(crate) fn measure(chats: usize) -> Vec<Figure> {
    // Nobody asks as often as this.
    let world = World::with("request_rate = 1000000\nrequest_burst = 1000000");
    ["alice", "bob"].iter().for_each(|name| world.user(name));
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| world.log_in(name));
    let mut times =
        |is_first| -> Vec<_> { (0..WARM_UP + chats).map(|_| meet(&mut alice, &mut bob, is_first)).collect() };
    let (known, first) = (times(false), times(true));
    vec![Figure::times("accept-to-chat", WARM_UP, &known), Figure::times("accept-to-first-chat", WARM_UP, &first)]
}

fn meet(alice: &mut Client, bob: &mut Client, is_first: bool) -> Duration {
    if is_first {
        for (client, peer) in [(&mut *alice, "bob"), (bob, "alice")] {
            client.types(&format!("/forget {peer}"));
            client.expect("forgotten");
        }
    }
    alice.types("--r bob");
    bob.expect("request");
    let begin = now();
    bob.types("--y");
    let told = [alice.expect("chat_started"), bob.expect("chat_started")];
    let time = begin.elapsed();
    assert_eq!(told[0]["safety_number"], told[1]["safety_number"]);
    alice.types("/leave");
    bob.expect("chat_closed");
    alice.expect("logged_in");
    time
}
