//! Several nodes, which share their users through NATS (B9): what becomes of people when a node, or what connects the nodes,
//! is lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    reason = "a test may panic, and say what it skips"
)]

mod common;
mod people;
mod raw;

use std::{
    fs,
    process::Command,
    sync::{Barrier, mpsc},
    thread,
    time::Duration,
};

use common::{Client, PATIENCE, PROGRAM, World, fails, now, ok, several::nats::Nats, several::set, talk};
use protocol::{ChatId, Request, ServerError, ToClient, ToServer};
use raw::{Holder, Raw};
use rustix::process::Signal;

/// How fast a removed user's session has to end.
const SOON: Duration = Duration::from_secs(5);
/// Log-ins at the same moment.
const ROUNDS: u64 = 1000;

/// So many nodes, with these users registered. The test is over, having said so, where NATS is missing.
macro_rules! nodes {
    ($count:expr, $settings:expr, $($user:expr),*) => {{
        let Some(world) = World::of_nodes($count, $settings) else { return };
        $(world.user($user);)*
        world
    }};
}

/// Logs in by this node.
fn log_in_at(world: &World, node: usize, name: &str) -> Client {
    world.several().balancer.sends_next_to(node);
    world.log_in(name)
}

fn says_and_hears(from: &mut Client, to: &mut Client, text: &str) {
    from.says(text);
    assert_eq!(to.expect("message")["text"], text);
}

/// Waits until both know that the other's line is open: what one says from then on comes at once.
fn speak_both_ways(one: &mut Client, other: &mut Client, text: &str) {
    says_and_hears(one, other, &format!("{text}, one way"));
    says_and_hears(other, one, &format!("{text}, and back"));
}

#[test]
fn of_two_log_ins_at_the_same_moment_one_stays_and_all_nodes_agree_which() {
    let settings = "request_rate = 1000000\nrequest_burst = 1000000\nconnection_rate_per_address = 1000000";
    let Some(world) = World::of_nodes(2, settings) else { return };
    let alice = Holder::registered(&world, "alice");
    let mut callers = [0, 1].map(|node| {
        let holder = Holder::registered(&world, ["carol", "dave"][node]);
        let mut raw = Raw::connect(world.port_of_node(node), holder.tls.clone()).unwrap();
        raw.say(&holder.login());
        assert!(matches!(raw.hear(), Some(ToClient::LoggedIn(_))));
        raw
    });
    for round in 0..ROUNDS {
        let start = Barrier::new(2);
        let chats = [1, 2].map(|caller: u8| {
            let bytes = [[caller; 8], round.to_be_bytes()].concat();
            ChatId::from_bytes(bytes.try_into().unwrap())
        });
        let (told, is_told) = mpsc::channel();
        let ends = thread::scope(|scope| {
            let both = [0, 1].map(|node| {
                let (start, alice, port, told) = (&start, &alice, world.port_of_node(node), told.clone());
                scope.spawn(move || {
                    let mut raw = Raw::connect(port, alice.tls.clone()).unwrap();
                    start.wait();
                    raw.say(&alice.login());
                    assert!(matches!(raw.hear(), Some(ToClient::LoggedIn(_))));
                    let asked = stay(raw);
                    let _ = told.send(asked.is_some());
                    asked
                })
            });
            assert!(!is_told.recv_timeout(PATIENCE).unwrap(), "one is replaced before anybody asks");
            for (caller, chat) in callers.iter_mut().zip(chats) {
                let begin = now();
                // The caller's node may have heard of neither yet.
                loop {
                    caller.say(&ToServer::RequestToTalk(Request { peer: alice.name.clone(), chat }));
                    match caller.hear() {
                        Some(ToClient::Refuse(refused)) if refused == chat => break,
                        Some(ToClient::UserNotFound(_)) => assert!(begin.elapsed() < PATIENCE, "round {round}"),
                        other => panic!("round {round}: {other:?}"),
                    }
                }
            }
            both.map(|one| one.join().unwrap())
        });
        let who = usize::from(ends[1].is_some());
        assert_eq!(ends[who].as_deref(), Some(chats.as_slice()), "round {round}: asked from both nodes");
        assert_eq!(ends[1 - who], None, "round {round}: told that the other one is the newer");
    }
}

/// Refuses whoever asks, up to the second, and then leaves: who asked. `None` if it was replaced.
fn stay(mut raw: Raw) -> Option<Vec<ChatId>> {
    let mut asked = Vec::new();
    loop {
        match raw.hear() {
            Some(ToClient::RequestToTalk(request)) => {
                asked.push(request.chat);
                raw.say(&ToServer::Refuse(request.chat));
                if asked.len() == 2 {
                    raw.say(&ToServer::Exit);
                    assert_eq!(raw.hear(), None);
                    return Some(asked);
                }
            }
            Some(ToClient::Error(ServerError::Replaced)) => return None,
            other => panic!("{other:?} after {asked:?}"),
        }
    }
}

#[test]
fn a_chat_outlives_the_node_of_either_end() {
    for lost in [0, 1] {
        let mut world = nodes!(2, "", "alice", "bob");
        let (mut alice, mut bob) = (log_in_at(&world, 0, "alice"), log_in_at(&world, 1, "bob"));
        talk(&mut alice, &mut bob, "bob");
        speak_both_ways(&mut alice, &mut bob, "before");
        let (gone, stays) = if lost == 0 { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        stays.says("said into the void");
        world.node_goes(lost, Signal::KILL);
        assert_eq!(gone.expect("message")["text"], "said into the void");
        speak_both_ways(gone, stays, "by the other node");
        world.node_is_back(lost);
        world.node_goes(1 - lost, Signal::KILL);
        speak_both_ways(gone, stays, "by the node that is back");
        alice.types("--ex");
        assert_eq!(bob.expect_closed(), "goodbye");
    }
}

#[test]
fn without_what_connects_them_nodes_let_nobody_in_and_keep_the_chats_that_they_have() {
    let mut world = nodes!(2, "", "alice", "anna", "bob", "carol");
    let (mut alice, mut anna) = (log_in_at(&world, 0, "alice"), log_in_at(&world, 0, "anna"));
    let mut bob = log_in_at(&world, 1, "bob");
    talk(&mut alice, &mut anna, "anna");
    bob.lists_at_last(&["alice", "anna"]);
    world.nats_goes(Signal::KILL);
    speak_both_ways(&mut alice, &mut anna, "on one node");
    bob.lists_at_last(&[]);
    bob.types("--r alice");
    bob.expect("user_not_found");
    let mut carol = world.client("carol");
    let (code, message) = carol.failed();
    assert_eq!(code, "unreachable", "{message}");
    speak_both_ways(&mut alice, &mut anna, "still");
    world.nats_is_back();
    bob.lists_at_last(&["alice", "anna"]);
    let mut carol = world.log_in("carol");
    carol.lists_at_last(&["alice", "anna", "bob"]);
    talk(&mut carol, &mut bob, "bob");
    speak_both_ways(&mut carol, &mut bob, "all together");
    speak_both_ways(&mut alice, &mut anna, "and so are these");
}

#[test]
fn who_is_at_a_node_that_is_cut_off_comes_back_through_another_with_the_chat() {
    let world = nodes!(2, "", "alice", "bob");
    let (mut alice, mut bob) = (log_in_at(&world, 0, "alice"), log_in_at(&world, 1, "bob"));
    talk(&mut alice, &mut bob, "bob");
    speak_both_ways(&mut alice, &mut bob, "before");
    let wire = &world.several().wires[0];
    wire.closes();
    // Its health says so, and the balancer sends nobody there.
    world.several().balancer.in_service(0, false);
    alice.expect("reconnected");
    speak_both_ways(&mut alice, &mut bob, "both at one node");
    wire.opens();
    world.several().balancer.in_service(0, true);
    speak_both_ways(&mut alice, &mut bob, "after");
}

#[test]
fn a_node_that_was_asleep_for_too_long_finds_out_who_has_moved() {
    let world = nodes!(2, "", "alice", "bob", "carol");
    let (mut alice, mut bob) = (log_in_at(&world, 0, "alice"), log_in_at(&world, 1, "bob"));
    let mut carol = log_in_at(&world, 1, "carol");
    talk(&mut alice, &mut bob, "bob");
    speak_both_ways(&mut alice, &mut bob, "before");
    world.node_stops(0);
    alice.expect("reconnected");
    speak_both_ways(&mut alice, &mut bob, "both at one node");
    carol.lists_at_last(&["alice", "bob"]);
    world.node_goes_on(0);
    speak_both_ways(&mut alice, &mut bob, "the other is awake");
    let begin = now();
    while !world.log_of_node(0).contains("attached to the other nodes again") {
        assert!(begin.elapsed() < PATIENCE);
        speak_both_ways(&mut alice, &mut bob, "meanwhile");
    }
    carol.types("--ex");
    carol.expect("logged_out");
    let mut carol = log_in_at(&world, 0, "carol");
    carol.lists_at_last(&["alice", "bob"]);
    speak_both_ways(&mut alice, &mut bob, "to the end");
}

#[test]
fn the_newest_log_in_wins_wherever_it_is() {
    let world = nodes!(2, "", "alice", "bob");
    let (mut first, mut bob) = (log_in_at(&world, 0, "alice"), log_in_at(&world, 1, "bob"));
    talk(&mut first, &mut bob, "bob");
    let mut second = log_in_at(&world, 1, "alice");
    assert_eq!(first.failed().0, "replaced");
    assert_eq!(bob.expect_closed(), "lost", "she has no chat");
    talk(&mut second, &mut bob, "bob");
    let mut third = log_in_at(&world, 0, "alice");
    assert_eq!(second.failed().0, "replaced");
    bob.expect_closed();
    talk(&mut third, &mut bob, "bob");
    speak_both_ways(&mut third, &mut bob, "across");
}

#[test]
fn whoever_is_removed_or_gets_another_key_is_out_within_seconds_wherever_they_are() {
    let world = nodes!(2, "", "alice", "anna", "bob", "bert");
    let mut clients = [("alice", 0), ("anna", 1)].map(|(name, node)| log_in_at(&world, node, name));
    world.profile_at("new", "bob", &world.dial());
    let mut others = [("bob", 0), ("bert", 1)].map(|(name, node)| log_in_at(&world, node, name));
    for (client, name) in clients.iter_mut().zip(["alice", "anna"]) {
        let begin = now();
        world.administer("remove", name, None);
        client.failed();
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    }
    let begin = now();
    world.administer("replace", "bob", Some("new"));
    others[0].failed();
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    others[1].lists_at_last(&[]);
}

#[test]
fn a_node_that_is_told_to_stop_leaves_no_one_behind_and_ends_no_chat() {
    let mut world = nodes!(2, "", "alice", "bob", "carol");
    let (mut alice, mut bob) = (log_in_at(&world, 0, "alice"), log_in_at(&world, 1, "bob"));
    let mut carol = log_in_at(&world, 1, "carol");
    talk(&mut alice, &mut bob, "bob");
    speak_both_ways(&mut alice, &mut bob, "before");
    world.node_goes(0, Signal::TERM);
    speak_both_ways(&mut alice, &mut bob, "by the other");
    carol.lists_at_last(&["alice", "bob"]);
    world.node_is_back(0);
    world.node_goes(1, Signal::TERM);
    speak_both_ways(&mut alice, &mut bob, "and back");
    carol.expect("reconnected");
    carol.lists_at_last(&["alice", "bob"]);
    assert!(!world.log_of_node(0).contains("a node is gone"), "each has taken its leave");
}

#[test]
fn a_node_with_wrong_settings_says_which_and_does_not_start() {
    let Some(nats) = Nats::start() else { return };
    let Some(without_jetstream) = Nats::with(|_| String::new()) else { return };
    let Some(guarded) = Nats::with(|dir| {
        format!("jetstream {{ store_dir: {dir:?} }}\nauthorization {{ user: node, password: swordfish }}\n")
    }) else {
        return;
    };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let world = World::new();
    let folder = world.dir.path().join("node");
    let refused = |settings: &str| {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        for file in ["ca.pem", "server.pem", "server.key", "server.toml", "directory.db"] {
            fs::copy(world.server_dir().join(file), folder.join(file)).unwrap();
        }
        fs::write(folder.join("open"), "node\nswordfish\n").unwrap();
        set(&folder, "metrics = \"off\"");
        set(&folder, settings);
        fails(Command::new(PROGRAM).args(["server", "run", "--listen", "127.0.0.1:0", "--dir"]).arg(&folder))
    };
    let says = |settings: &str, parts: &[&str]| {
        let line = refused(settings);
        assert!(parts.iter().all(|part| line.contains(part)), "{settings}: {line}");
        assert!(!line.contains("swordfish"), "{line}");
    };
    says(
        &format!("router = \"nats://127.0.0.1:{nobody}\""),
        &["cannot be reached", &nobody.to_string(), "see that it runs"],
    );
    let silent = silent.local_addr().unwrap();
    says(&format!("router = \"nats://{silent}\""), &["cannot be reached", "see that it runs"]);
    says("router = \"http://127.0.0.1:80\"", &["line ", "router should be \"local\"", "nats://"]);
    says("router = \"nats://node:swordfish@127.0.0.1:4222\"", &["line ", "router_credentials"]);
    says(&format!("router = \"{}\"", without_jetstream.url()), &["needs JetStream"]);
    says(&format!("router = \"{}\"", guarded.url()), &["refuses this node", "router_credentials"]);
    let with = |file: &str| format!("router = \"{}\"\nrouter_credentials = \"{file}\"", guarded.url());
    says(&with("missing"), &["missing", "cannot be read"]);
    says(&with("open"), &["router_credentials", "may be opened by other users", "chmod 600"]);
    says(&format!("router = \"{}\"\nrouter_ca = \"server.toml\"", nats.url()), &["router_ca", "no certificate"]);
    says(&format!("router = \"{}\"\ncluster = \"a.b\"", nats.url()), &["cluster should be"]);
    // Somebody else's cluster of that name.
    let other = World::of_nodes(1, "").unwrap();
    let strange = world.dir.path().join("strange");
    ok(Command::new(PROGRAM).args(["server", "init", "--host", "127.0.0.1", "--dir"]).arg(&strange));
    set(&strange, &format!("metrics = \"off\"\nrouter = \"{}\"", other.several().nats.url()));
    let line = fails(Command::new(PROGRAM).args(["server", "run", "--listen", "127.0.0.1:0", "--dir"]).arg(&strange));
    assert!(line.contains("is that of localhost") && line.contains("a cluster of its own"), "{line}");
}
