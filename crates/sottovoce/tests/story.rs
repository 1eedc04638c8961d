//! What two people, and a third, go through with each other, between real processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;

use std::time::Duration;

use common::{Client, World, now, signal, talk};
use rustix::process::Signal;
use serde_json::{Value, json};

const MAX_TEXT: usize = 16_384;

/// Who is lost is not waited for much longer than a moment.
const BRIEF: &str = "grace_period = \"1s\"";

/// A world where these are registered and online.
fn online<const N: usize>(names: [&str; N]) -> (World, [Client; N]) {
    online_at("", names)
}

/// The same at a server with these settings.
fn online_at<const N: usize>(settings: &str, names: [&str; N]) -> (World, [Client; N]) {
    let world = World::with(settings);
    for name in names {
        world.user(name);
    }
    let clients = names.map(|name| world.log_in(name));
    (world, clients)
}

/// All events up to the next `message`, which comes last.
fn up_to_message(client: &mut Client) -> Vec<Value> {
    let mut seen = Vec::new();
    loop {
        let event = client.next().expect("a message comes");
        let is_message = event["event"] == "message";
        seen.push(event);
        if is_message {
            return seen;
        }
    }
}

fn says_and_hears(from: &mut Client, to: &mut Client, text: &str) {
    from.says(text);
    assert_eq!(to.expect("message")["text"], text);
}

#[test]
fn two_talk_and_part() {
    let (_world, [mut alice, mut bob]) = online(["alice", "bob"]);
    talk(&mut alice, &mut bob, "bob");
    alice.says("hello");
    let message = bob.expect("message");
    assert_eq!(message, json!({ "event": "message", "from": "alice", "text": "hello", "n": message["n"] }));
    let n = alice.expect("sent")["n"].clone();
    assert_eq!((&message["n"], &alice.expect("delivered")["n"]), (&n, &n));
    alice.types("--ex");
    assert_eq!(bob.expect_closed(), "goodbye");
    assert_eq!(alice.expect_closed(), "goodbye");
    assert_eq!(alice.rest().pop().unwrap(), json!({ "event": "logged_out" }));
    assert_eq!(alice.ended(), (Some(0), String::new()));
    bob.types("--ex");
    bob.expect("logged_out");
    assert_eq!(bob.ended(), (Some(0), String::new()));
}

#[test]
fn the_list_is_sorted_and_paged_and_leaves_oneself_out() {
    let world = World::with("list_page = 2");
    for name in ["dave", "alice", "bob", "anna", "carol", "absent"] {
        world.user(name);
    }
    let _others = ["dave", "bob", "carol"].map(|name| world.log_in(name));
    let (mut alice, mut anna) = (world.log_in("alice"), world.log_in("anna"));
    let mut list = |line: &str, users: &[&str], more: bool| {
        alice.types(line);
        assert_eq!(alice.expect("users"), json!({ "event": "users", "users": users, "more": more }), "{line}");
    };
    list("--l", &["anna", "bob"], true);
    list("/list", &["anna", "bob"], true);
    list(r#"{"list":{"prefix":"","after":"bob"}}"#, &["carol", "dave"], false);
    list(r#"{"list":{"after":"b"}}"#, &["bob", "carol"], true);
    list(r#"{"list":{"prefix":"a","after":""}}"#, &["anna"], false);
    list(r#"{"list":{"prefix":"A"}}"#, &["anna"], false);
    list(r#"{"list":{"prefix":"a","after":"anna"}}"#, &[], false);
    list(r#"{"list":{"prefix":"c","after":"a"}}"#, &["carol"], false);
    list("--l ca", &["carol"], false);
    list("/list x", &[], false);
    list(r#"{"list":{"prefix":"alicea"}}"#, &[], false);
    list(r#"{"list":{}}"#, &["anna", "bob"], true);

    for bad in ["--l b@d", r#"{"list":{"prefix":"b d"}}"#, r#"{"list":{"after":"\n"}}"#] {
        alice.types(bad);
        assert_eq!(alice.expect_error(), "bad_name", "{bad}");
    }
    assert_eq!(anna.lists(), ["alice", "bob"], "oneself is left out, whoever asks");
    anna.types("--ex");
    alice.lists_at_last(&["bob", "carol"]);
}

#[test]
fn who_cannot_be_asked_is_not_found_and_the_caller_stays_free() {
    let (world, [mut alice, mut bob, mut carol]) = online(["alice", "bob", "carol"]);
    world.user("absent");
    talk(&mut bob, &mut carol, "carol");
    for name in ["nobody", "absent", "bob", "carol", "alice", "ALICE"] {
        alice.types(&format!("--r {name}"));
        let peer = name.to_lowercase();
        assert_eq!(alice.next().unwrap(), json!({ "event": "calling", "peer": peer }));
        assert_eq!(alice.next().unwrap(), json!({ "event": "user_not_found", "peer": peer }));
    }
    for (line, code) in [("--r", "blank_field"), ("--r b@b", "bad_name"), ("--r -bob", "bad_name")] {
        alice.types(line);
        assert_eq!(alice.expect_error(), code, "{line}");
    }
    // Those two noticed nothing.
    carol.says("still here");
    assert_eq!(up_to_message(&mut bob).len(), 1);

    // Somebody who is being asked is as busy, and so is somebody who asks.
    world.user("dora");
    let mut dora = world.log_in("dora");
    carol.types("--ex");
    bob.expect("chat_closed");
    bob.types("--r dora");
    dora.expect("request");
    for name in ["bob", "dora"] {
        alice.types(&format!("--r {name}"));
        alice.expect("user_not_found");
    }
}

#[test]
fn a_refusal_reaches_the_caller_and_both_are_free() {
    let (_world, [mut alice, mut bob]) = online(["alice", "bob"]);
    alice.types("--r bob");
    assert_eq!(alice.next().unwrap(), json!({ "event": "calling", "peer": "bob" }));
    assert_eq!(bob.next().unwrap(), json!({ "event": "request", "from": "alice" }));
    bob.types("--n");
    assert_eq!(alice.next().unwrap(), json!({ "event": "refused", "peer": "bob" }));

    // Taken back by who asked.
    alice.types("--r bob");
    bob.expect("request");
    alice.types("--n");
    let ended = |peer: &str| json!({ "event": "request_ended", "peer": peer, "reason": "called_off" });
    assert_eq!(alice.expect("request_ended"), ended("bob"));
    assert_eq!(bob.next().unwrap(), ended("alice"));

    talk(&mut bob, &mut alice, "alice");
    says_and_hears(&mut alice, &mut bob, "now it suits me");
}

#[test]
fn a_yes_that_names_somebody_accepts_nobody_else() {
    let (_world, [mut alice, mut bob, mut carol]) = online(["alice", "bob", "carol"]);
    bob.types("--r alice");
    alice.expect("request");
    bob.types("--n");
    alice.expect("request_ended");
    carol.types("--r alice");
    alice.expect("request");

    // Typed before it was seen that bob had gone.
    alice.types("--y bob");
    assert_eq!(alice.expect_error(), "not_in_chat");
    alice.types("--y carol");
    carol.expect("chat_started");
    alice.expect("chat_started");
    says_and_hears(&mut alice, &mut carol, "you it is");
}

#[test]
fn a_request_that_nobody_answers_ends_for_both() {
    let world = World::with(r#"request_timeout = "1s""#);
    for name in ["alice", "bob"] {
        world.user(name);
    }
    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    alice.types("--r bob");
    bob.expect("request");
    for (client, peer) in [(&mut alice, "bob"), (&mut bob, "alice")] {
        let ended = client.expect("request_ended");
        assert_eq!(ended, json!({ "event": "request_ended", "peer": peer, "reason": "expired" }));
    }
    bob.types("--y");
    assert_eq!(bob.expect_error(), "not_in_chat");
    talk(&mut bob, &mut alice, "alice");
}

#[test]
fn both_see_the_same_safety_number_and_trust_grows() {
    let world = World::new();
    for name in ["alice", "bob"] {
        world.user(name);
    }
    let mut alice = world.client("alice");
    assert_eq!(alice.next().unwrap(), json!({ "event": "connecting" }));
    assert_eq!(alice.next().unwrap(), json!({ "event": "connected" }));
    let logged_in = alice.next().unwrap();
    assert_eq!(
        logged_in,
        json!({
            "event": "logged_in", "user": "alice", "server": "localhost",
            "group": "X25519MLKEM768", "suite": logged_in["suite"],
        })
    );
    assert!(logged_in["suite"].as_str().unwrap().starts_with("TLS13_"), "{logged_in}");
    let mut bob = world.log_in("bob");
    let (at_alice, at_bob) = talk(&mut alice, &mut bob, "bob");
    let number = at_alice["safety_number"].as_str().unwrap().to_owned();
    let groups: Vec<_> = number.split(' ').collect();
    assert_eq!(groups.len(), 12, "{number}");
    assert!(groups.iter().all(|group| group.len() == 5 && group.bytes().all(|b| b.is_ascii_digit())), "{number}");
    let suite = at_alice["suite"].as_str().unwrap().to_owned();
    assert!(suite.contains("XWING"), "{suite}");
    let started = |peer: &str, trust: &str| {
        json!({
            "event": "chat_started", "peer": peer, "suite": suite, "safety_number": number, "trust": trust,
        })
    };
    assert_eq!((at_alice, at_bob), (started("bob", "new"), started("alice", "new")));
    assert!(world.pins("alice", &["list"]).contains(&number));

    // Logged off and straight on again, without the password: the next chat finds the key that is pinned.
    alice.types("/leave");
    for event in ["chat_closed", "logged_out", "connecting", "connected", "logged_in"] {
        assert_eq!(alice.next().unwrap()["event"], event);
    }
    assert_eq!(bob.expect_closed(), "goodbye");
    let second = talk(&mut bob, &mut alice, "alice");
    assert_eq!(second, (started("alice", "pinned"), started("bob", "pinned")));
    says_and_hears(&mut alice, &mut bob, "the second chat works");

    world.pins("alice", &["verify", "bob"]);
    bob.types("/leave");
    alice.expect("chat_closed");
    bob.expect("logged_in");
    let third = talk(&mut alice, &mut bob, "bob");
    assert_eq!(third, (started("bob", "verified"), started("alice", "pinned")), "who verified is who sees it");

    world.pins("alice", &["forget", "bob@localhost"]);
    alice.types("/leave");
    bob.expect("chat_closed");
    alice.expect("logged_in");
    let fourth = talk(&mut alice, &mut bob, "bob");
    assert_eq!(fourth, (started("bob", "new"), started("alice", "pinned")));
}

#[test]
fn one_chat_at_a_time() {
    let (_world, [mut alice, mut bob, mut carol]) = online(["alice", "bob", "carol"]);
    for line in ["is anybody there?", "--y", "--n"] {
        alice.types(line);
        assert_eq!(alice.expect_error(), "not_in_chat", "{line}");
    }
    alice.types("--r bob");
    bob.expect("request");
    for client in [&mut alice, &mut bob] {
        client.types("--r carol");
        assert_eq!(client.expect_error(), "busy", "a request is pending");
        client.types("too early");
        assert_eq!(client.expect_error(), "not_in_chat");
    }
    bob.types("--y");
    for client in [&mut alice, &mut bob] {
        client.expect("chat_started");
        for name in ["carol", "alice", "bob"] {
            client.types(&format!("--r {name}"));
            assert_eq!(client.expect_error(), "busy", "in a chat");
        }
        for line in ["--y", "--n"] {
            client.types(line);
            assert_eq!(client.expect_error(), "not_in_chat", "{line}");
        }
        assert_eq!(client.lists().len(), 2, "a list is there also in a chat");
    }
    carol.says("nobody hears this");
    assert_eq!(carol.next().unwrap()["code"], "not_in_chat", "no request ever reached carol");
    says_and_hears(&mut alice, &mut bob, "as if nothing had been");
}

#[test]
fn any_text_arrives_as_it_was_said() {
    let (_world, [mut alice, mut bob]) = online(["alice", "bob"]);
    talk(&mut alice, &mut bob, "bob");
    let longest = "x".repeat(MAX_TEXT);
    let longest_of_four = "𝄞".repeat(MAX_TEXT / 4);
    let longest_escaped = "\u{1}".repeat(MAX_TEXT);
    let all_ascii: String = (0u8..128).map(char::from).collect();
    let said = [
        "--ex",
        "--y",
        "/leave",
        "//x",
        " leading and trailing ",
        "\n",
        "\r\n",
        " ",
        "\t",
        "\0",
        "line\nline\r\nline\r",
        "{\"say\":\"x\"}",
        "\\u0041 \\",
        "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m",
        "\u{202e}override\u{2066}isolate\u{2069}",
        "👩‍👩‍👧‍👦 👩🏽‍💻 🏳️‍🌈 🇺🇳",
        "e\u{301} é ﷽ עברית العربية हिन्दी ไทย 漢字",
        "\u{feff}\u{200b}\u{e0001}\u{10ffff}\u{fffe}",
        "\u{2028}\u{85}",
        &all_ascii,
        &longest,
        &longest_of_four,
        &longest_escaped,
    ];
    for text in said {
        says_and_hears(&mut alice, &mut bob, text);
    }
    // What is typed goes up to the line feed, or to a carriage return and line feed.
    for line in [
        "--example",
        "  leading",
        "trailing  ",
        "   ",
        "\u{1b}[31m\u{202e}\0\t",
        "a\rb",
        "\u{2028}",
        "-- y",
        "--Ex",
        "👩‍💻é",
        &longest,
        &longest_of_four,
    ] {
        alice.types(line);
        assert_eq!(bob.expect("message")["text"], line, "typed");
    }
    for (line, text) in
        [("//etc/passwd", "/etc/passwd"), ("///", "//"), ("with a carriage return\r", "with a carriage return")]
    {
        alice.types(line);
        assert_eq!(bob.expect("message")["text"], text);
    }
}

#[test]
fn what_cannot_be_said_is_an_error_and_nothing_else_is_lost() {
    let (_world, [mut alice, mut bob]) = online(["alice", "bob"]);
    talk(&mut alice, &mut bob, "bob");
    let too_long = "x".repeat(MAX_TEXT + 1);
    let too_long_in_bytes = format!("{}é", "x".repeat(MAX_TEXT - 1));
    let far_too_long = "x".repeat(40 * MAX_TEXT);
    let cases: [(Vec<u8>, &str); 17] = [
        (too_long.clone().into(), "too_long"),
        (too_long_in_bytes.clone().into(), "too_long"),
        (json!({ "say": too_long }).to_string().into(), "too_long"),
        (json!({ "say": too_long_in_bytes }).to_string().into(), "too_long"),
        (far_too_long.clone().into(), "too_long"),
        (json!({ "say": far_too_long }).to_string().into(), "too_long"),
        (b"\xff".into(), "bad_command"),
        (b"half a character \xf0\x9f\x98".into(), "bad_command"),
        (b"a surrogate \xed\xa0\x80".into(), "bad_command"),
        (b"{\"say\":\"\xc3\"}".into(), "bad_command"),
        (br#"{"say":"\ud800"}"#.into(), "bad_command"),
        (br#"{"say":""}"#.into(), "blank_field"),
        (br#"{"say":"x""#.into(), "bad_command"),
        (br#"{"say":"x","list":{}}"#.into(), "bad_command"),
        (br#"{"sing":"x"}"#.into(), "bad_command"),
        (b"/leaves".into(), "bad_command"),
        (b"--ex now".into(), "bad_command"),
    ];
    for (n, (line, code)) in cases.into_iter().enumerate() {
        // The line and what comes after it in one write, as a pipe would bring them.
        let after = format!("after {n}");
        alice.writes(&[line.as_slice(), b"\n\n", after.as_bytes(), b"\n"].concat());
        assert_eq!(alice.expect_error(), code, "{:?}", String::from_utf8_lossy(&line[..line.len().min(40)]));
        assert_eq!(bob.expect("message")["text"], after);
    }
    let last = alice.expect("sent")["n"].clone();
    alice.types("--ex");
    let errors = alice.rest().iter().filter(|event| event["event"] == "error").count();
    assert_eq!(errors, 0, "an empty line is nothing");
    assert!(last.is_u64());
}

#[test]
fn bursts_both_ways_arrive_in_order_and_keys_are_renewed_on_the_way() {
    const COUNT: u64 = 300;
    let (_world, [mut alice, mut bob]) = online(["alice", "bob"]);
    talk(&mut alice, &mut bob, "bob");
    let burst = |name: &str| (0..COUNT).fold(String::new(), |all, n| all + &format!("{name} {n}\n"));
    alice.writes(burst("alice").as_bytes());
    bob.writes(burst("bob").as_bytes());
    let mut epochs = Vec::new();
    for (client, peer) in [(&mut alice, "bob"), (&mut bob, "alice")] {
        let (mut sent, mut heard, mut delivered, mut renewed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        // What was heard last, and what was confirmed last, may come in either order.
        while heard.len() < 300 || sent.len() < 300 || delivered.last() != sent.last() {
            let event = client.next().unwrap();
            let n = event["n"].as_u64();
            match event["event"].as_str().unwrap() {
                "sent" => sent.push(n.unwrap()),
                "delivered" => delivered.push(n.unwrap()),
                "renewed" => renewed.push(event["epoch"].as_u64().unwrap()),
                "message" => {
                    assert_eq!(event["text"], format!("{peer} {}", heard.len()));
                    heard.push(n.unwrap());
                }
                "peer_behind" | "peer_caught_up" => {}
                _ => panic!("{event}"),
            }
        }
        for counters in [&sent, &heard, &delivered, &renewed] {
            assert!(counters.is_sorted_by(|one, next| one < next), "{counters:?}");
        }
        epochs.push(renewed);
    }
    alice.types("--ex");
    let more = |client: &mut Client| {
        let events = std::iter::from_fn(|| client.next().filter(|event| event["event"] != "chat_closed"));
        events.filter_map(|event| event["epoch"].as_u64()).collect::<Vec<_>>()
    };
    epochs[0].extend(more(&mut alice));
    epochs[1].extend(more(&mut bob));
    let [at_alice, at_bob] = &epochs[..] else { panic!() };
    // The last of bob's renewals may have come when alice had gone.
    assert!(at_bob.starts_with(at_alice) && at_bob.len() <= at_alice.len() + 1, "{at_alice:?} {at_bob:?}");
    assert!(at_alice.len() >= 3 && at_alice.windows(2).all(|two| two[1] == two[0] + 1), "{at_alice:?}");
}

#[test]
fn a_goodbye_and_a_lost_peer_are_told_apart_and_one_is_free_at_once() {
    let (_world, [mut alice, mut bob, mut carol]) = online_at(BRIEF, ["alice", "bob", "carol"]);
    talk(&mut alice, &mut bob, "bob");
    alice.types("--ex");
    let closed = bob.expect("chat_closed");
    assert_eq!(closed, json!({ "event": "chat_closed", "peer": "alice", "reason": "goodbye", "undelivered": 0 }));
    talk(&mut bob, &mut carol, "carol");
    says_and_hears(&mut bob, &mut carol, "alice said goodbye");

    // Who is lost may come back, and is waited for.
    bob.process.kill().unwrap();
    let told = carol.up_to("chat_closed");
    let [away, closed] = &told[..] else { panic!("{told:?}") };
    assert_eq!(*away, json!({ "event": "peer_away", "peer": "bob" }));
    assert_eq!(*closed, json!({ "event": "chat_closed", "peer": "bob", "reason": "lost", "undelivered": 0 }));
    carol.types("are you there?");
    assert_eq!(carol.expect_error(), "not_in_chat");
    carol.types("--r bob");
    carol.expect("user_not_found");
}

#[test]
fn whoever_lost_a_peer_can_be_asked_at_once() {
    let (world, [mut alice, mut bob, mut carol]) = online_at(BRIEF, ["alice", "bob", "carol"]);
    talk(&mut alice, &mut bob, "bob");
    alice.process.kill().unwrap();
    assert_eq!(bob.expect_closed(), "lost");
    talk(&mut carol, &mut bob, "bob");
    says_and_hears(&mut carol, &mut bob, "was that alice?");
    // And who was killed can come back.
    let mut alice = world.log_in("alice");
    alice.types("--r bob");
    alice.expect("user_not_found");
}

/// A chat is kept by the two programs alone: one that was killed has none, and says so by coming back without.
#[test]
fn a_peer_who_is_back_without_the_chat_ends_it() {
    let (world, [mut alice, mut bob]) = online(["alice", "bob"]);
    talk(&mut alice, &mut bob, "bob");
    alice.process.kill().unwrap();
    bob.expect("peer_away");
    bob.says("are you there?");
    let mut alice = world.log_in("alice");
    let closed = bob.next().unwrap();
    assert_eq!(closed, json!({ "event": "chat_closed", "peer": "alice", "reason": "lost", "undelivered": 1 }));
    talk(&mut bob, &mut alice, "alice");
    says_and_hears(&mut bob, &mut alice, "are you there?");
}

#[test]
fn who_goes_in_the_middle_of_a_request_leaves_the_other_free() {
    let (world, [mut alice, mut bob, mut carol]) = online(["alice", "bob", "carol"]);
    alice.types("--r bob");
    bob.expect("request");
    alice.process.kill().unwrap();
    let ended = bob.expect("request_ended");
    assert_eq!(ended, json!({ "event": "request_ended", "peer": "alice", "reason": "lost" }));

    carol.types("--r bob");
    bob.expect("request");
    bob.process.kill().unwrap();
    carol.expect("user_not_found");
    let mut bob = world.log_in("bob");
    talk(&mut carol, &mut bob, "bob");
}

#[test]
fn leaving_brings_one_back_for_another_chat() {
    let (_world, [mut alice, mut bob, mut carol]) = online(["alice", "bob", "carol"]);
    // Also with nobody to take leave of.
    alice.types("/leave");
    for event in ["logged_out", "connecting", "connected", "logged_in"] {
        assert_eq!(alice.next().unwrap()["event"], event);
    }
    talk(&mut alice, &mut bob, "bob");
    alice.types("the last word");
    alice.types("/leave");
    assert_eq!(bob.expect("message")["text"], "the last word");
    assert_eq!(bob.expect_closed(), "goodbye");
    assert_eq!(alice.expect("chat_closed")["undelivered"], 0);
    for event in ["logged_out", "connecting", "connected", "logged_in"] {
        assert_eq!(alice.next().unwrap()["event"], event);
    }
    talk(&mut carol, &mut alice, "alice");
    says_and_hears(&mut carol, &mut alice, "the first word");
    // In the middle of a request.
    alice.types("/leave");
    carol.expect("chat_closed");
    alice.expect("logged_in");
    bob.types("--r alice");
    alice.expect("request");
    bob.types("/leave");
    bob.expect("logged_in");
    assert_eq!(alice.expect("request_ended")["reason"], "lost");
    talk(&mut bob, &mut alice, "alice");
}

#[test]
fn a_goodbye_gets_through_while_the_peer_talks() {
    let (_world, [mut alice, mut bob]) = online(["alice", "bob"]);
    let flood = format!("{}\n", "x".repeat(1000)).repeat(200);
    for _ in 0..5 {
        talk(&mut alice, &mut bob, "bob");
        bob.writes(flood.as_bytes());
        alice.expect("message");
        alice.types("/leave");
        assert_eq!(bob.expect_closed(), "goodbye");
        alice.expect("logged_in");
    }
}

#[test]
fn the_end_of_input_waits_until_all_is_delivered() {
    let (_world, [mut alice, mut bob]) = online(["alice", "bob"]);
    talk(&mut alice, &mut bob, "bob");
    let many = (0..400).fold(String::new(), |all, n| all + &format!("line {n}\n"));
    alice.writes(many.as_bytes());
    // No line feed at the end, as many a file has none.
    alice.writes(b"the end");
    let (code, stderr) = alice.ended();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for n in 0..400 {
        assert_eq!(bob.expect("message")["text"], format!("line {n}"));
    }
    assert_eq!(bob.expect("message")["text"], "the end");
    assert_eq!(bob.expect_closed(), "goodbye");
    let events = alice.rest();
    let last = |name: &str| events.iter().rev().find(|event| event["event"] == name).unwrap();
    assert_eq!(last("sent")["n"], last("delivered")["n"]);
    assert_eq!(last("chat_closed")["undelivered"], 0);
    assert_eq!(events.last(), Some(&json!({ "event": "logged_out" })));
}

#[test]
fn the_end_of_input_waits_no_longer_than_five_seconds() {
    let (_world, [mut alice, mut bob]) = online(["alice", "bob"]);
    talk(&mut alice, &mut bob, "bob");
    signal(&bob.process, Signal::STOP);
    let begin = now();
    alice.types("one");
    alice.types("two");
    assert_eq!(alice.ended().0, Some(1));
    let took = begin.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(15)).contains(&took), "{took:?}");
    let closed = alice.expect("chat_closed");
    assert_eq!(closed, json!({ "event": "chat_closed", "peer": "bob", "reason": "goodbye", "undelivered": 2 }));
    // What could not be confirmed arrives nevertheless.
    signal(&bob.process, Signal::CONT);
    assert_eq!(bob.expect("message")["text"], "one");
    assert_eq!(bob.expect("message")["text"], "two");
    assert_eq!(bob.expect_closed(), "goodbye");
}

/// `caller` and `accepter`, one of whom holds another key than the other has pinned, try to talk.
fn no_chat_starts(warned: &mut Client, rekeyed: &mut Client, warned_calls: bool) {
    let (caller, accepter, name) =
        if warned_calls { (&mut *warned, &mut *rekeyed, "bob") } else { (&mut *rekeyed, &mut *warned, "alice") };
    caller.types(&format!("--r {name}"));
    accepter.expect("request");
    accepter.types("--y");
    accepter.types("to whoever this is");
    caller.types("to whoever this is");
    let up_to = |client: &mut Client, last: fn(&Value) -> bool| {
        let mut seen = Vec::new();
        while !seen.last().is_some_and(last) {
            seen.push(client.next().expect("the chat fails to start"));
        }
        seen
    };
    let at_warned = up_to(warned, |event| event["code"] == "key_changed");
    let at_rekeyed = up_to(rekeyed, |event| event["event"] == "chat_closed");
    assert_eq!(at_rekeyed.last().unwrap()["reason"], "error");
    for event in at_warned.iter().chain(&at_rekeyed) {
        assert!(event["event"] != "chat_started" && event["event"] != "message" && event["event"] != "sent", "{event}");
    }
    // What was typed meanwhile went nowhere.
    let message = at_warned.last().unwrap()["message"].as_str().unwrap();
    assert!(message.contains("bob") && message.contains("pins forget bob"), "{message}");
    for client in [warned, rekeyed] {
        client.types("anybody?");
        while client.expect("error")["code"] != "not_in_chat" {}
    }
}

#[test]
fn a_changed_key_stops_the_chat_before_a_word_is_said() {
    let (world, [mut alice, mut bob, mut carol]) = online(["alice", "bob", "carol"]);
    let (first, _) = talk(&mut alice, &mut bob, "bob");
    world.pins("alice", &["verify", "bob"]);
    world.profile_at("new-bob", "bob", &world.dial());
    world.administer("replace", "bob", Some("new-bob"));
    // Who has the old key is put out.
    assert_eq!(bob.failed().0, "unknown_user");
    assert_eq!(alice.expect_closed(), "lost");

    let mut bob = world.log_in("new-bob");
    no_chat_starts(&mut alice, &mut bob, true);
    no_chat_starts(&mut alice, &mut bob, false);
    // Both are free, for each other as for anybody else.
    talk(&mut carol, &mut bob, "bob");
    says_and_hears(&mut carol, &mut bob, "your new key is fine with me");
    bob.types("/leave");
    carol.expect("chat_closed");
    bob.expect("logged_in");
    // An answer from the server shows that it knows the chat to be over.
    carol.lists();
    talk(&mut alice, &mut carol, "carol");
    carol.types("/leave");
    alice.expect("chat_closed");

    // Asked by another way, bob says that it is so.
    world.pins("alice", &["forget", "bob"]);
    let (at_alice, at_bob) = talk(&mut alice, &mut bob, "bob");
    assert_eq!((&at_alice["trust"], &at_bob["trust"]), (&json!("new"), &json!("new")));
    assert_eq!(at_alice["safety_number"], at_bob["safety_number"]);
    assert_ne!(at_alice["safety_number"], first["safety_number"]);
    says_and_hears(&mut bob, &mut alice, "it is me");
}
