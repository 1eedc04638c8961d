//! Strangers and users who mean ill, each kind by itself: two go on chatting, others get in, the server's memory stays
//! bounded, and its counters say what it has refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a test may panic, and tells how busy a server was"
)]

mod common;
mod people;
mod storm;

use std::time::Duration;

use client::Account;
use common::first_login;
use protocol::{
    Accept, Asked, ChatHeader, ChatId, Close, CloseReason, Code, Establish, Held, Login, Message, Page, Request,
    Resume, ServerError, ToClient, ToServer, TooFast,
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use storm::{Attacker, Scene, end_of, hear, send};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::{interval, timeout},
};

/// KiB that a connection before its log-in may take, and more than it ever does.
const EACH: usize = 40;
/// KiB by which a server may grow whatever happens: what the system's allocator keeps, and the two who chat.
const SLACK: usize = 24 << 10;

async fn attacker(scene: &Scene, host: u8, name: &str) -> Attacker {
    Attacker { host, port: scene.port, account: scene.registry.unregistered(name) }
}

async fn user(scene: &Scene, host: u8, name: &str) -> Attacker {
    Attacker { host, port: scene.port, account: scene.registry.register(name).await }
}

fn login(account: &Account) -> Vec<u8> {
    ToServer::Login(first_login(account.user.as_str())).encode().unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_handshakes_and_slow_log_ins_end_in_time() {
    const EACH_KIND: usize = 100;
    let mut scene = Scene::with("handshake_timeout = \"1s\"\nlogin_timeout = \"1s\"").await;
    let mallory = attacker(&scene, 2, "mallory").await;
    let storm = async move {
        let mut slow = JoinSet::new();
        for n in 0..3 * EACH_KIND {
            let mallory = mallory.clone();
            slow.spawn(async move {
                match n % 3 {
                    // A byte now and then.
                    0 => {
                        let mut socket = mallory.connect().await.unwrap();
                        let mut now_and_then = interval(Duration::from_millis(20));
                        for byte in mallory.hello() {
                            now_and_then.tick().await;
                            if socket.write_all(&[byte]).await.is_err() {
                                break;
                            }
                        }
                        end_of(&mut socket).await;
                    }
                    // A hello, and no answer to what the server says to it.
                    1 => {
                        let mut socket = mallory.connect().await.unwrap();
                        socket.write_all(&mallory.hello()).await.unwrap();
                        end_of(&mut socket).await;
                    }
                    // No word about who it is.
                    _ => {
                        let mut stream = mallory.shake_hands().await.unwrap();
                        assert_eq!(hear(&mut stream).await, Some(ToClient::Error(ServerError::Idle)));
                    }
                }
            });
        }
        while let Some(done) = slow.join_next().await {
            done.unwrap();
        }
    };
    scene.during(storm).await;
    scene.lets_in("carol").await;
    assert!(scene.grown() < 3 * EACH_KIND * EACH + SLACK, "{} KiB", scene.grown());
    let refused = scene.ends().await;
    refused.are(&["slow_handshake", "slow_log_in"]);
    assert_eq!((refused.count("slow_handshake"), refused.count("slow_log_in")), (2 * EACH_KIND, EACH_KIND));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_without_end_is_not_listened_to() {
    let mut scene = Scene::with("").await;
    let mallory = attacker(&scene, 2, "mallory").await;
    let storm = async move {
        let mut storm = JoinSet::new();
        for _ in 0..100 {
            let mallory = mallory.clone();
            storm.spawn(async move {
                let mut socket = mallory.connect().await.unwrap();
                // A hello of 60,000 bytes, in records of 1,000: TLS allows it. No more of it comes than a little beyond
                // what is listened to.
                let mut bytes = vec![1, 0, 0xea, 0x60, 3, 3];
                bytes.resize(60_000, 7);
                for part in bytes.chunks(1_000).take(17) {
                    let record = [&[22, 3, 3][..], &u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat();
                    if socket.write_all(&record).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                assert!(end_of(&mut socket).await.is_empty(), "no answer");
            });
        }
        storm.join_all().await;
    };
    scene.during(storm).await;
    scene.lets_in("carol").await;
    assert!(scene.grown() < 100 * EACH + SLACK, "{} KiB", scene.grown());
    let refused = scene.ends().await;
    refused.are(&["handshake"]);
    assert_eq!(refused.count("handshake"), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_connections_use_up_the_rate_of_their_own_addresses() {
    const BURST: usize = 50;
    const FLOOD: usize = 400;
    let mut scene =
        Scene::with(&format!("connection_rate_per_address = 60\nconnection_burst_per_address = {BURST}")).await;
    let mallory = attacker(&scene, 2, "mallory").await;
    let neighbour = mallory.clone();
    let storm = async move {
        let begin = common::now();
        let mut floods = JoinSet::new();
        for host in 2..6 {
            let mallory = Attacker { host, ..mallory.clone() };
            floods.spawn(async move {
                let mut let_in = 0;
                for _ in 0..FLOOD {
                    // Whether a connection is let in shows only by its being served.
                    let_in += usize::from(mallory.shake_hands().await.is_ok());
                }
                let_in
            });
        }
        (floods.join_all().await, begin.elapsed())
    };
    let (let_in, time) = scene.during(storm).await;
    let most = BURST + usize::try_from(time.as_secs()).unwrap() + 1;
    assert!(let_in.iter().all(|count| (BURST..=most).contains(count)), "{let_in:?} in {time:?}");
    scene.lets_in("carol").await;
    // Who shares an address with a flood is turned away with it, but for one a second.
    let mut turned_away = 0;
    for _ in 0..10 {
        turned_away += usize::from(neighbour.shake_hands().await.is_err());
    }
    assert!(turned_away >= 5, "{turned_away} of 10");
    let refused = scene.ends().await;
    let expected = 4 * FLOOD - let_in.iter().sum::<usize>() + turned_away;
    assert_eq!(refused.count("connection_rate"), expected, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_connections_open_pushes_out_nobody_but_himself() {
    const PENDING: usize = 60;
    let mut scene = Scene::with(&format!("max_pending = {PENDING}\nmax_pending_per_address = 40")).await;
    let mallory = attacker(&scene, 2, "mallory").await;
    // Carol takes her time: her connection is older than all of the flood.
    let carol = user(&scene, 9, "carol").await;
    let mut waiting = carol.shake_hands().await.unwrap();
    let storm = async move {
        let mut held = Vec::new();
        for n in 0..1_000u16 {
            let host = if n < 500 { 2 } else { 2 + u8::try_from(n % 4).unwrap() };
            held.push(Attacker { host, ..mallory.clone() }.connect().await.unwrap());
        }
        held
    };
    let held = scene.during(storm).await;
    scene.lets_in("dave").await;
    send(&mut waiting, &[login(&carol.account)]).await.unwrap();
    assert_eq!(hear(&mut waiting).await, Some(ToClient::LoggedIn("localhost".parse().unwrap())));
    drop(waiting);
    let mut open = 0;
    for socket in &held {
        // A socket that the server has ended has its end to be read.
        open +=
            usize::from(socket.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    }
    assert!(open <= PENDING, "{open} are still open");
    drop(held);
    let refused = scene.ends().await;
    assert!(refused.count("crowded_out_by_its_address") >= 400 && refused.count("crowded_out") >= 400, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_thrown_away() {
    const FLOOD: usize = 1_000;
    let mut scene = Scene::with("").await;
    let mallory = attacker(&scene, 2, "mallory").await;
    let storm = async move {
        let mut rng = ChaCha8Rng::seed_from_u64(0x6a7ba6e);
        for n in 0..FLOOD {
            let mut socket = mallory.connect().await.unwrap();
            let mut bytes = vec![0; 1 + rng.next_u32() as usize % 5_000];
            rng.fill_bytes(&mut bytes);
            if n % 2 == 0 {
                // As a record that may begin a handshake.
                let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                bytes.splice(0..0, [22, 3, 1, length[0], length[1]]);
            }
            // The server may have had enough before all is there; what it has not judged yet is cut off here.
            let _ = socket.write_all(&bytes).await;
            let _ = socket.shutdown().await;
            let mut answer = Vec::new();
            let _ = socket.read_to_end(&mut answer).await;
            assert!(answer.len() < 100, "an alert at most");
        }
    };
    scene.during(storm).await;
    scene.lets_in("carol").await;
    assert!(scene.grown() < SLACK, "{} KiB", scene.grown());
    let refused = scene.ends().await;
    refused.are(&["handshake"]);
    assert_eq!(refused.count("handshake"), FLOOD);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storms_of_log_ins_let_in_nobody_who_should_not_be_and_everybody_else() {
    const EACH_KIND: usize = 300;
    let mut scene = Scene::with("refusal_delay = \"100ms\"").await;
    let mallory = attacker(&scene, 2, "mallory").await;
    let storm = async move {
        let mut storm = JoinSet::new();
        for lane in 0..10 {
            let mallory = mallory.clone();
            storm.spawn(async move {
                for n in (lane..2 * EACH_KIND).step_by(10) {
                    // Names that nobody has, and names of those who are there.
                    let name = match n % 2 {
                        0 => format!("nobody-{n}"),
                        _ => ["alice", "bob"][n / 2 % 2].to_owned(),
                    };
                    let mut stream = mallory.shake_hands().await.unwrap();
                    let login = ToServer::Login(first_login(&name));
                    send(&mut stream, &[login.encode().unwrap().to_vec()]).await.unwrap();
                    assert_eq!(hear(&mut stream).await, Some(ToClient::Error(ServerError::UnknownUser)));
                }
            });
        }
        storm.join_all().await;
    };
    scene.during(storm).await;
    scene.lets_in("carol").await;
    // One user takes their own place again and again: of all sessions the last one stays.
    let eve = user(&scene, 2, "eve").await;
    let storm = async move {
        let mut newest = None;
        for _ in 0..EACH_KIND {
            let mut stream = eve.shake_hands().await.unwrap();
            send(&mut stream, &[login(&eve.account)]).await.unwrap();
            assert_eq!(hear(&mut stream).await, Some(ToClient::LoggedIn("localhost".parse().unwrap())));
            if let Some(mut before) = newest.replace(stream) {
                assert_eq!(hear(&mut before).await, Some(ToClient::Error(ServerError::Replaced)));
            }
        }
        let mut newest = newest.unwrap();
        send(&mut newest, &[vec![Code::Ping as u8]]).await.unwrap();
        assert_eq!(hear(&mut newest).await, Some(ToClient::Pong));
    };
    scene.during(storm).await;
    assert!(scene.grown() < SLACK, "{} KiB", scene.grown());
    let refused = scene.ends().await;
    refused.are(&["unknown_user"]);
    assert_eq!(refused.count("unknown_user"), 2 * EACH_KIND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_requests_to_talk_is_passed_on_as_often_as_the_operator_allows() {
    const FLOOD: usize = 2_000;
    let mut scene = Scene::with("request_burst = 5\nrequest_rate = 6").await;
    let (mallory, carol) = (user(&scene, 2, "mallory").await, user(&scene, 9, "carol").await);
    let storm = async move {
        let mut victim = carol.shake_hands().await.unwrap();
        send(&mut victim, &[login(&carol.account)]).await.unwrap();
        hear(&mut victim).await.unwrap();
        let mut stream = mallory.shake_hands().await.unwrap();
        send(&mut stream, &[login(&mallory.account)]).await.unwrap();
        hear(&mut stream).await.unwrap();
        // Each request is taken back at once, so that the next may be made; half of them are for one who is busy.
        for n in 0..FLOOD {
            let chat = ChatId::from_bytes([u8::try_from(n % 200).unwrap(); 16]);
            let peer = if n % 2 == 0 { "carol" } else { "alice" };
            let request = ToServer::RequestToTalk(Request { peer: peer.parse().unwrap(), chat });
            let back = Close { chat, reason: CloseReason::CalledOff };
            let frames = [request, ToServer::ChatClosed(back)].map(|frame| frame.encode().unwrap().to_vec());
            send(&mut stream, &frames).await.unwrap();
        }
        send(&mut stream, &[vec![Code::Ping as u8]]).await.unwrap();
        let mut too_fast = 0;
        loop {
            match hear(&mut stream).await.unwrap() {
                ToClient::Pong => break,
                ToClient::TooFast(TooFast { asked: Asked::RequestToTalk(_), retry_in_ms }) => {
                    assert!((1..=10_000).contains(&retry_in_ms));
                    too_fast += 1;
                }
                ToClient::UserNotFound(_) => {}
                other => panic!("{other:?}"),
            }
        }
        send(&mut victim, &[vec![Code::Ping as u8]]).await.unwrap();
        let mut rings = 0;
        loop {
            match hear(&mut victim).await.unwrap() {
                ToClient::Pong => break,
                ToClient::RequestToTalk(_) => rings += 1,
                ToClient::ChatClosed(_) => {}
                other => panic!("{other:?}"),
            }
        }
        (too_fast, rings)
    };
    let (too_fast, rings) = scene.during(storm).await;
    assert!((FLOOD - 15..=FLOOD - 5).contains(&too_fast) && (1..=15).contains(&rings), "{too_fast}, {rings}");
    scene.lets_in("dave").await;
    assert!(scene.grown() < SLACK, "{} KiB", scene.grown());
    let refused = scene.ends().await;
    refused.are(&["request"]);
    assert_eq!(refused.count("request"), too_fast);
}

/// Each log-in had the whole burst anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_logs_in_anew_has_no_more_requests_and_lists_than_before() {
    const LOG_INS: usize = 30;
    let mut scene = Scene::with("request_burst = 5\nrequest_rate = 1\nlist_burst = 5\nlist_rate = 1").await;
    let mallory = user(&scene, 2, "mallory").await;
    let storm = async move {
        let (mut requests, mut lists, mut streams) = (0, 0, Vec::new());
        for n in 0..LOG_INS {
            let mut stream = mallory.shake_hands().await.unwrap();
            send(&mut stream, &[login(&mallory.account)]).await.unwrap();
            assert!(matches!(hear(&mut stream).await.unwrap(), ToClient::LoggedIn(_)));
            let chat = ChatId::from_bytes([u8::try_from(n).unwrap(); 16]);
            let request = ToServer::RequestToTalk(Request { peer: "nobody".parse().unwrap(), chat });
            let frames = [request, ToServer::List(Page::default())].map(|frame| frame.encode().unwrap().to_vec());
            send(&mut stream, &frames).await.unwrap();
            for _ in 0..2 {
                match hear(&mut stream).await.unwrap() {
                    ToClient::UserNotFound(_) => requests += 1,
                    ToClient::List(_) => lists += 1,
                    ToClient::TooFast(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            // Some log off, and some are replaced.
            if n % 2 == 0 {
                streams.push(stream);
            }
        }
        (requests, lists)
    };
    let (requests, lists) = scene.during(storm).await;
    assert!((5..=6).contains(&requests) && (5..=6).contains(&lists), "{requests}, {lists}");
    scene.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_that_his_session_has_ended_makes_room() {
    let mut scene = Scene::with("max_connections_per_address = 2\nshutdown_timeout = \"600s\"").await;
    let mallory = user(&scene, 2, "mallory").await;
    let storm = async move {
        let mut unread = Vec::new();
        for _ in 0..4 {
            let mut stream = mallory.shake_hands().await.expect("what has ended makes room");
            send(&mut stream, &[login(&mallory.account)]).await.unwrap();
            assert!(matches!(hear(&mut stream).await, Some(ToClient::LoggedIn(_))), "room");
            let lists = vec![ToServer::List(Page::default()).encode().unwrap().to_vec(); 1_000];
            // Until the server reads no more, since it can write no more.
            while let Ok(sent) = timeout(Duration::from_secs(1), send(&mut stream, &lists)).await {
                sent.unwrap();
            }
            unread.push(stream);
        }
        unread
    };
    let before = scene.sockets();
    let unread = scene.during(storm).await;
    let mut tick = interval(Duration::from_millis(10));
    let begin = common::now();
    while scene.sockets() > before + 2 {
        assert!(begin.elapsed() < common::PATIENCE, "what made room stays open");
        tick.tick().await;
    }
    drop(unread);
    let refused = scene.ends().await;
    refused.are(&["crowded_out_by_its_address", "list"]);
    assert_eq!(refused.count("crowded_out_by_its_address"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_lists_is_answered_as_often_as_the_operator_allows() {
    const FLOOD: usize = 20_000;
    const BURST: usize = 10;
    let mut scene = Scene::with(&format!("list_burst = {BURST}\nlist_rate = 60")).await;
    let mallory = user(&scene, 2, "mallory").await;
    let storm = async move {
        let mut stream = mallory.shake_hands().await.unwrap();
        send(&mut stream, &[login(&mallory.account)]).await.unwrap();
        hear(&mut stream).await.unwrap();
        let list = ToServer::List(Page::default()).encode().unwrap().to_vec();
        let (mut lists, mut too_fast) = (0, 0);
        for _ in 0..FLOOD / 100 {
            send(&mut stream, &vec![list.clone(); 100]).await.unwrap();
            // Each has its answer, in turn.
            for _ in 0..100 {
                match hear(&mut stream).await.unwrap() {
                    ToClient::List(page) => {
                        assert!(page.names.len() >= 2);
                        lists += 1;
                    }
                    ToClient::TooFast(TooFast { asked: Asked::List, retry_in_ms: 1..=1_000 }) => too_fast += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        (lists, too_fast)
    };
    let begin = common::now();
    let (lists, too_fast) = scene.during(storm).await;
    let most = BURST + 1 + usize::try_from(begin.elapsed().as_secs()).unwrap();
    assert!((BURST..=most).contains(&lists) && lists + too_fast == FLOOD, "{lists}, {too_fast}");
    scene.lets_in("carol").await;
    assert!(scene.grown() < SLACK, "{} KiB", scene.grown());
    let refused = scene.ends().await;
    refused.are(&["list"]);
    assert_eq!(refused.count("list"), too_fast);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames_that_lead_nowhere_reach_nobody() {
    const USERS: usize = 4;
    const FLOOD: usize = 300;
    let mut scene = Scene::with("").await;
    let mut users = Vec::new();
    for n in 0..USERS {
        users.push(user(&scene, 2, &format!("mallory-{n}")).await);
    }
    let storm = async move {
        let mut floods = JoinSet::new();
        for user in users {
            floods.spawn(async move {
                // A chat with alice, who has none with this user.
                let chat = ChatId::from_bytes([7; 16]);
                let resume = Resume { chat, expected: 0 };
                let held = Some(Held { peer: "alice".parse().unwrap(), resume });
                let mut stream = user.shake_hands().await.unwrap();
                let login = ToServer::Login(Login { held, ..first_login(user.account.user.as_str()) });
                send(&mut stream, &[login.encode().unwrap().to_vec()]).await.unwrap();
                hear(&mut stream).await.unwrap();
                let mut over = 0;
                let message = Message { header: ChatHeader::new(chat, 0, 0), sealed: vec![7; 300].into() };
                let frames = [
                    ToServer::Message(message),
                    ToServer::Accept(Accept { chat, key_package: vec![7; 300].into() }),
                    ToServer::SessionEstablishment(Establish { chat, welcome: vec![7; 300].into() }),
                    ToServer::Refuse(chat),
                    ToServer::ChatClosed(Close { chat, reason: CloseReason::Left }),
                    ToServer::Resume(resume),
                    ToServer::Ping,
                ];
                // Not before the server has said that there is no such chat.
                while over == 0 {
                    match hear(&mut stream).await.unwrap() {
                        ToClient::ChatClosed(Close { reason: CloseReason::Left, .. }) => over += 1,
                        ToClient::PeerAway(_) => {}
                        other => panic!("{other:?}"),
                    }
                }
                let frames = frames.map(|frame| frame.encode().unwrap().to_vec());
                let frames: Vec<_> = std::iter::repeat_n(frames, 20).flatten().collect();
                for _ in 0..FLOOD {
                    send(&mut stream, &frames).await.unwrap();
                    for _ in 0..20 {
                        assert_eq!(hear(&mut stream).await, Some(ToClient::Pong));
                    }
                }
            });
        }
        floods.join_all().await;
    };
    scene.during(storm).await;
    scene.lets_in("carol").await;
    assert!(scene.grown() < SLACK, "{} KiB", scene.grown());
    scene.ends().await.are(&[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_open_few_files_says_so_and_keeps_to_them() {
    // Of 100 files 64 are for other things than connections.
    const ROOM: usize = 36;
    let mut scene = Scene::with_files("", 100).await;
    assert!(scene.log().contains("too few for max_connections"), "{}", scene.log());
    assert!(scene.log().contains("files=100 connections=36"), "{}", scene.log());
    let mut users = Vec::new();
    // Alice and bob are there already.
    for n in 2..ROOM {
        users.push(user(&scene, 2, &format!("user-{n}")).await);
    }
    let mallory = attacker(&scene, 3, "mallory").await;
    let storm = async move {
        let mut there = Vec::new();
        for user in &users {
            // Strangers come in between, and are in nobody's way.
            let _stranger = mallory.connect().await.unwrap();
            let mut stream = user.shake_hands().await.unwrap();
            send(&mut stream, &[login(&user.account)]).await.unwrap();
            assert_eq!(hear(&mut stream).await, Some(ToClient::LoggedIn("localhost".parse().unwrap())));
            there.push((stream, mallory.connect().await.unwrap()));
        }
        // The stranger who came behind the last of them was one too many already.
        for _ in 1..50 {
            assert!(mallory.shake_hands().await.is_err(), "there is no room left");
        }
        there
    };
    let there = scene.during(storm).await;
    drop(there);
    let refused = scene.ends().await;
    assert_eq!((refused.count("full"), refused.count("no_socket")), (50, 0), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_sockets_goes_on_and_does_not_run_hot() {
    let mut scene = Scene::with("").await;
    let server = Pid::from_child(&scene.world.server);
    let limit = getrlimit(Resource::Nofile);
    // As the system's own limit, for all processes, can run out at any time.
    prlimit(Some(server), Resource::Nofile, Rlimit { current: Some(64), maximum: limit.maximum }).unwrap();
    let mallory = attacker(&scene, 2, "mallory").await;
    let storm = async move {
        let mut held = Vec::new();
        for _ in 0..300 {
            held.push(mallory.connect().await.unwrap());
        }
        held
    };
    let held = scene.during(storm).await;
    // Those at the door give up their sockets to those who come, so people get in all the same.
    scene.lets_in("carol").await;
    // Users fill what there is: now nobody can make room, and who comes is turned away.
    let mut users = Vec::new();
    for n in 0..64 {
        users.push(user(&scene, 2, &format!("user-{n}")).await);
    }
    let storm = async move {
        let (mut there, mut turned_away) = (Vec::new(), 0);
        for user in &users {
            let Ok(mut stream) = user.shake_hands().await else {
                turned_away += 1;
                continue;
            };
            send(&mut stream, &[login(&user.account)]).await.unwrap();
            assert_eq!(hear(&mut stream).await, Some(ToClient::LoggedIn("localhost".parse().unwrap())));
            there.push(stream);
        }
        // And it stays so for a while.
        let mut pause = interval(Duration::from_millis(100));
        for _ in 0..20 {
            pause.tick().await;
            assert!(users[0].shake_hands().await.is_err());
        }
        (there, turned_away)
    };
    let (begin, busy) = (common::now(), scene.busy());
    let (there, turned_away) = scene.during(storm).await;
    let (busy, all) = (scene.busy() - busy, begin.elapsed().as_millis() / 10);
    assert!(there.len() >= 20 && turned_away >= 10, "{} and {turned_away}", there.len());
    println!("{} logged in; the server computed for {busy} of {all} hundredths of a second", there.len());
    assert!(u128::from(busy) < all / 2, "{busy} of {all}");
    drop((held, there));
    scene.lets_in("dave").await;
    let refused = scene.ends().await;
    assert!(refused.count("no_socket") >= 200, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_told_apart_at_every_border() {
    let mut scene = Scene::with("refusal_delay = \"10ms\"").await;
    let (short, long) = ("z", "z".repeat(32));
    let users = [user(&scene, 2, short).await, user(&scene, 2, &long).await];
    let storm = async move {
        let frame = |name: &[u8]| {
            let mut frame = vec![Code::Login as u8, u8::try_from(name.len()).unwrap()];
            frame.extend(name);
            // Which log-in of which client it is, and no chat.
            frame.extend([7; 20]);
            frame.push(0);
            frame
        };
        for user in &users {
            let mut stream = user.shake_hands().await.unwrap();
            send(&mut stream, &[frame(user.account.user.as_str().as_bytes())]).await.unwrap();
            assert_eq!(hear(&mut stream).await, Some(ToClient::LoggedIn("localhost".parse().unwrap())));
        }
        let longest = "y".repeat(32);
        let unknown = ["a", "0", "a.b_c-9", "alice", "z0", &"z".repeat(31), &longest];
        let forbidden: [&[u8]; 16] = [
            b"",
            &[b'z'; 33],
            &[b'z'; 112 - 23],
            &[b'z'; 255],
            b"Z",
            b"Alice",
            b".z",
            b"-z",
            b"_z",
            b"z z",
            b"z\0",
            b"z@localhost",
            b"z'--",
            "\u{e9}ve".as_bytes(),
            &[0xff, 0xfe],
            b"z\n",
        ];
        for name in unknown {
            let mut stream = users[0].shake_hands().await.unwrap();
            send(&mut stream, &[frame(name.as_bytes())]).await.unwrap();
            assert_eq!(hear(&mut stream).await, Some(ToClient::Error(ServerError::UnknownUser)), "{name}");
        }
        for name in forbidden {
            let mut stream = users[0].shake_hands().await.unwrap();
            send(&mut stream, &[frame(name)]).await.unwrap();
            let heard = hear(&mut stream).await;
            assert_eq!(heard, Some(ToClient::Error(ServerError::Protocol)), "{}", name.escape_ascii());
        }
        (unknown.len(), forbidden.len())
    };
    let (unknown, forbidden) = scene.during(storm).await;
    let refused = scene.ends().await;
    refused.are(&["protocol", "unknown_user"]);
    assert_eq!((refused.count("unknown_user"), refused.count("protocol")), (unknown, forbidden));
}
