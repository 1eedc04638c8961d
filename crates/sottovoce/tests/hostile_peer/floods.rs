//! More than anybody asked for, and less than is owed: what it costs the victim, the server and those beside them.

use std::fs;

use bytes::Bytes;
use e2e::MAX_FORWARD;
use protocol::{
    ChatHeader, CloseReason, Content, Message, Text, ToServer,
    limits::{MAX_TEXT, WINDOW_FRAMES},
};
use tls_codec::Serialize as _;

use crate::{
    Blames, Scene,
    common::{Client, now, talk},
    hears, is_over,
    peer::Rogue,
};

/// By how much victim and server may grow, in KiB, while many times as much comes in: mailbox and socket buffers.
const GROWTH: usize = 16 << 10;

/// What a process has cost so far.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// The most memory that it has had, in KiB.
    memory: usize,
    /// Time of a processor, in hundredths of a second.
    processor: usize,
}

impl Cost {
    fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let memory = most.trim().trim_end_matches(" kB").parse().unwrap();
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        // proc_pid_stat(5): utime and stime are the fields 14 and 15, of which the first two are gone.
        let processor = fields[11..13].iter().map(|ticks| ticks.parse::<usize>().unwrap()).sum();
        Self { memory, processor }
    }
}

/// Seals so many frames that each bear the next counter, or none if they are receipts.
fn sealed(rogue: &mut Rogue<'_>, content: &Content, count: usize) -> Vec<Bytes> {
    let plain = content.tls_serialize_detached().unwrap();
    let mut frames = Vec::with_capacity(count);
    for _ in 0..count {
        let header = rogue.header();
        let sealed = rogue.seals(&header, |group, provider, own| group.create_message(provider, own, &plain).unwrap());
        frames.push(ToServer::Message(Message { header, sealed }).encode().unwrap());
        rogue.next += u64::from(*content != Content::Receipt);
    }
    frames
}

fn long_text() -> Content {
    Content::Text(Text::try_from("x".repeat(MAX_TEXT)).unwrap())
}

/// All that comes up to the end of the chat: the counters of the messages among it.
fn counters(victor: &mut Client) -> Vec<u64> {
    let begin = now();
    let mut counters = Vec::new();
    loop {
        let event = victor.next().unwrap();
        match event["event"].as_str().unwrap() {
            "message" => {
                assert_eq!(event["from"], "mallory");
                counters.push(event["n"].as_u64().unwrap());
            }
            "chat_closed" => {
                assert_eq!((&event["peer"], &event["reason"]), (&"mallory".into(), &"error".into()));
                return counters;
            }
            _ => {}
        }
        assert!(begin.elapsed() < crate::common::PATIENCE, "no end");
    }
}

/// More than any window, faster than victor reads; xavier and yvonne chat beside it.
#[test]
fn a_flood_that_ignores_the_window_ends_its_own_chat_and_slows_down_nobody_else() {
    const FRAMES: usize = 4000;
    let mut scene = Scene::new();
    ["xavier", "yvonne"].iter().for_each(|name| scene.world.user(name));
    let [mut xavier, mut yvonne] = ["xavier", "yvonne"].map(|name| scene.world.log_in(name));
    talk(&mut xavier, &mut yvonne, "yvonne");
    let mut rogue = scene.mallory.calls(&mut scene.victor, "victor");
    let frames = sealed(&mut rogue, &long_text(), FRAMES);
    let bytes: usize = frames.iter().map(Bytes::len).sum();
    let (victor, server) = (scene.victor.process.id(), scene.world.server.id());
    let before = [victor, server].map(Cost::of);

    let (counters, round_trips) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            frames.iter().for_each(|frame| rogue.raw.send(frame));
            rogue.hears_the_end()
        });
        let victims = scope.spawn(|| counters(&mut scene.victor));
        let mut round_trips = 0;
        while round_trips < 20 || !flood.is_finished() {
            xavier.says(&format!("all quiet, {round_trips}?"));
            hears(&mut yvonne, "xavier", &format!("all quiet, {round_trips}?"));
            yvonne.says(&format!("all quiet, {round_trips}"));
            hears(&mut xavier, "yvonne", &format!("all quiet, {round_trips}"));
            round_trips += 1;
        }
        assert_eq!(flood.join().unwrap(), CloseReason::Overrun);
        (victims.join().unwrap(), round_trips)
    });

    let after = [victor, server].map(Cost::of);
    println!("{bytes} bytes sent, {} frames taken in, {round_trips} round trips beside", counters.len());
    println!("victim and server before {before:?}, after {after:?}");
    assert!(counters.iter().copied().eq(0..counters.len() as u64), "in order, each once");
    for (before, after) in before.iter().zip(after) {
        assert!(after.memory - before.memory < GROWTH, "{before:?} {after:?}");
    }
    scene.victor_is_free();
}

/// As far as the server lets it through, it costs victor's processor and no memory.
#[test]
fn a_flood_that_its_reader_keeps_up_with_costs_no_memory() {
    const ROUNDS: usize = 60;
    let mut scene = Scene::new();
    let victor = scene.victor.process.id();
    let mut rogue = scene.mallory.calls(&mut scene.victor, "victor");
    let before = Cost::of(victor);
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let from = rogue.next;
        let frames = sealed(&mut rogue, &long_text(), WINDOW_FRAMES / 8);
        for frame in &frames {
            rogue.raw.send(frame);
            bytes += frame.len();
        }
        for n in from..rogue.next {
            assert_eq!(scene.victor.expect("message")["n"], n);
        }
    }
    let after = Cost::of(victor);
    println!("{bytes} bytes came in; before {before:?}, after {after:?}");
    assert!(bytes > 24 << 20 && after.memory - before.memory < GROWTH / 2, "{before:?} {after:?}");
    rogue.takes_leave(&mut scene.victor);
    scene.victor_is_free();
}

/// Victor sees none of them, and each costs him as much as a text.
#[test]
fn receipts_for_nothing_end_the_chat_before_they_cost_anything() {
    let mut scene = Scene::new();
    let again = || Blames::Either("again and again came a confirmation of nothing");
    scene.ends(again(), |rogue| {
        for frame in sealed(rogue, &Content::Receipt, 1000) {
            rogue.raw.send(&frame);
        }
    });
    // A sign of life in between does not help.
    let mut rogue = scene.mallory.calls(&mut scene.victor, "victor");
    let mut told = 0;
    while told < 20 {
        for frame in sealed(&mut rogue, &Content::Receipt, 1) {
            rogue.raw.send(&frame);
        }
        rogue.tells("still there");
        told += 1;
    }
    let seen = scene.victor.up_to("chat_closed");
    let messages = seen.iter().filter(|event| event["event"] == "message").count();
    assert!(messages < 20, "{messages}");
    assert_eq!(rogue.hears_the_end(), CloseReason::Failed);
    scene.victor_is_free();
}

/// Keys that were left out are derived, to get at those behind them; they are not kept.
#[test]
fn frames_far_ahead_in_the_ratchet_cost_little_and_nothing_afterwards() {
    const JUMPS: usize = 20;
    let mut scene = Scene::new();
    let victor = scene.victor.process.id();
    let mut rogue = scene.mallory.calls(&mut scene.victor, "victor");
    let mut cost = |rogue: &mut Rogue<'_>, left_out: u32| {
        let mut frames = Vec::new();
        for _ in 0..JUMPS {
            sealed(rogue, &Content::Receipt, left_out as usize);
            frames.extend(sealed(rogue, &Content::Text(Text::try_from("x".to_owned()).unwrap()), 1));
        }
        let before = Cost::of(victor);
        for frame in &frames {
            rogue.raw.send(frame);
            scene.victor.expect("message");
        }
        let after = Cost::of(victor);
        (after.processor - before.processor, after.memory - before.memory)
    };
    let (near, far, afterwards) = (cost(&mut rogue, 0), cost(&mut rogue, MAX_FORWARD), cost(&mut rogue, 0));
    println!("{JUMPS} frames: {near:?}, far ahead {far:?}, afterwards {afterwards:?} (hundredths of a second, KiB)");
    assert!(far.0 < near.0 + 3 * JUMPS, "30 ms each");
    assert!(afterwards.0 <= near.0 + JUMPS / 4, "2.5 ms each");
    assert!(far.1 + afterwards.1 < 4 << 10);
    rogue.takes_leave(&mut scene.victor);
    scene.victor_is_free();
}

/// Victor's own words wait; he is told so, can leave, and hears what was not confirmed.
#[test]
fn who_never_acknowledges_is_waited_for_and_left() {
    const SAID: usize = WINDOW_FRAMES + 100;
    let mut scene = Scene::new();
    let victor = scene.victor.process.id();
    let mut rogue = scene.mallory.calls(&mut scene.victor, "victor");
    let before = Cost::of(victor);
    for n in 0..SAID {
        scene.victor.says(&format!("{n}"));
    }
    let told = scene.victor.up_to("peer_behind");
    assert!(told.iter().all(|event| event["event"] != "delivered"), "{told:#?}");
    let sent = told.iter().filter(|event| event["event"] == "sent").count();
    // A renewal or two are among the frames of the window.
    assert!(sent <= WINDOW_FRAMES && sent > WINDOW_FRAMES - 10, "{sent}");
    scene.victor.types("/leave");
    let told = scene.victor.up_to("chat_closed");
    assert!(told.iter().all(|event| event["event"] != "delivered"), "{told:#?}");
    assert_eq!(told.last().unwrap()["undelivered"], SAID);
    scene.victor.expect("logged_in");
    let grown = Cost::of(victor).memory - before.memory;
    assert!(grown < 8 << 10, "{grown} KiB");
    rogue.hears_the_end();
    scene.victor_is_free();
}

/// Each break has victor send again what is not acknowledged: the same bytes, and to nobody's gain. How often, the server
/// says (`hostile_lines.rs`).
#[test]
fn who_breaks_the_line_again_and_again_gets_the_same_again() {
    const SAID: u64 = 20;
    let mut scene = Scene::new();
    let mut rogue = scene.mallory.accepts(&mut scene.victor);
    for n in 0..SAID {
        scene.victor.says(&n.to_string());
    }
    let window = |rogue: &mut Rogue<'_>| -> Vec<_> { (0..SAID).map(|_| rogue.gets()).collect() };
    let first = window(&mut rogue);
    for _ in 0..5 {
        rogue.resumes(0);
        rogue.goes_along();
        assert_eq!(window(&mut rogue), first);
        // The receipt that comes with each opening.
        assert_eq!(rogue.gets().header.counter, SAID);
    }
    for message in &first {
        rogue.opens(message);
    }
    rogue.tells("I have it now");
    let told = scene.victor.up_to("message");
    let delivered: Vec<_> = told.iter().filter(|event| event["event"] == "delivered").collect();
    assert_eq!((delivered.len(), &delivered[0]["n"]), (1, &(SAID - 1).into()), "{told:#?}");
    rogue.takes_leave(&mut scene.victor);
    scene.victor_is_free();
}

/// Packages and welcomes are short. One that fills a frame is refused as quickly.
#[test]
fn a_welcome_to_a_crowd_is_refused_in_no_time() {
    let mut scene = Scene::new();
    let victor = scene.victor.process.id();
    let (chat, package) = scene.mallory.asks(&mut scene.victor, "victor");
    let mut rogue = scene.mallory.alone(chat, crate::stock::config());
    let crowd = (0..22).map(|n| {
        let member = crate::stock::own(&format!("member-{n}"));
        crate::stock::build(crate::stock::package(), &member, &crate::meddler::Meddler::new())
    });
    let welcome = rogue.add(&std::iter::once(package).chain(crowd).collect::<Vec<_>>());
    assert!((50_000..65_000).contains(&welcome.len()), "{} bytes", welcome.len());
    let before = Cost::of(victor);
    rogue.establishes(welcome);
    is_over(&mut scene.victor, Blames::Peer("its group is not a new one of two"));
    let after = Cost::of(victor);
    println!("before {before:?}, after {after:?}");
    assert!(after.processor - before.processor < 50 && after.memory - before.memory < 16 << 10);
    rogue.hears_the_end();
    scene.victor_is_free();
}

/// One after the other of chats that are broken off: nothing of them stays behind.
#[test]
fn a_chat_that_ended_leaves_nothing_behind() {
    const CHATS: usize = 150;
    let mut scene = Scene::new();
    let victor = scene.victor.process.id();
    let mut memory = Vec::new();
    for _ in 0..CHATS {
        scene.ends(Blames::Either("not genuine"), |rogue| {
            let header = ChatHeader::new(rogue.chat, 0, 0);
            rogue.sends(header, vec![0; 300]);
        });
        memory.push(Cost::of(victor).memory);
    }
    let grown = memory[CHATS - 1] - memory[CHATS / 5];
    println!("{memory:?} KiB");
    assert!(grown < 1 << 10, "{memory:?} KiB");
    scene.victor_is_free();
}
