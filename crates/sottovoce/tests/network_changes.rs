//! A network that goes away and comes back, in a network namespace (network_namespaces(7)) of the test's own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    reason = "a test may panic, and says on stderr what it skips"
)]

mod common;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use common::{World, now, ok, talk};

/// The link of the namespace, which takes its addresses with it.
fn set_link(state: &str) {
    ok(Command::new("ip").args(["link", "set", "lo", state]));
}

#[test]
fn clients_are_back_as_soon_as_the_network_is() {
    let mut inside = Command::new("unshare");
    inside.args(["--user", "--map-root-user", "--net"]);
    let allowed = Command::new(inside.get_program())
        .args(inside.get_args())
        .args(["ip", "link", "set", "lo", "up"])
        .stderr(Stdio::null())
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there are no unshare and ip, or the system does not let them make a network");
        return;
    }
    let test = std::env::current_exe().unwrap();
    ok(inside.arg(test).args(["--exact", "in_a_network_of_its_own", "--ignored", "--nocapture"]));
}

#[test]
#[ignore = "changes the network; the test above runs it in one of its own"]
fn in_a_network_of_its_own() {
    set_link("up");
    let world = World::of(["alice", "bob"]);
    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    talk(&mut alice, &mut bob, "bob");

    set_link("down");
    let cut = now();
    for client in [&mut alice, &mut bob] {
        client.expect("reconnecting");
    }
    // An idle connection is looked after without it in 14 s at most.
    assert!(cut.elapsed() < Duration::from_secs(5), "the system's word was not heard: {:?}", cut.elapsed());
    // As long as it takes until the system itself would try for the next time only in several seconds.
    ok(Command::new("sleep").arg("4"));
    alice.says("when the network is back");

    set_link("up");
    let back = now();
    assert_eq!(bob.expect("message")["text"], "when the network is back");
    alice.expect("delivered");
    assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
}
