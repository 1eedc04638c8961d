//! What an operator sees of a running server: metrics, health and status, which move with what people do and name none of
//! them (B8).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

mod common;
mod people;
mod raw;
mod watch;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    process::{Command, Stdio},
};

use bytes::Bytes;
use common::{PROGRAM, World, fails, now, read_to_end, run_server_telling, signal, talk};
use protocol::{Accept, ChatHeader, ChatId, Establish, Request, ServerError, ToClient, ToServer};
use raw::{Holder, Raw, drain, socket};
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use watch::{ANY_PORT, answer, ask, connect, get, port, run_status, samples, status, until};

#[test]
fn the_figures_follow_what_people_do() {
    let world = World::with(ANY_PORT);
    world.user("alice");
    world.user("bob");
    let port = port(&world);
    let first = until(port, |now| now["sottovoce_ready"] == 1.0);
    let version = format!("sottovoce_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(first[&version], 1.0);
    for quiet in ["connections", "connections_pending", "sessions", "chat_sides", "log_ins_total", "draining"] {
        assert_eq!(first[&format!("sottovoce_{quiet}")], 0.0, "{quiet}");
    }
    assert_eq!(first["sottovoce_directory_readable"], 1.0);
    assert!(first["sottovoce_directory_read_age_seconds"] < 15.0);

    let (mut alice, mut bob) = (world.log_in("alice"), world.log_in("bob"));
    let online = until(port, |now| now["sottovoce_sessions"] == 2.0);
    assert_eq!((online["sottovoce_connections"], online["sottovoce_connections_pending"]), (2.0, 0.0));
    assert_eq!(online["sottovoce_log_ins_total"], 2.0);
    assert_eq!(online["sottovoce_handshakes_total{result=\"done\"}"], 2.0);
    assert_eq!((online["sottovoce_chat_sides"], relayed(&online, "sent", "frames")), (0.0, 0.0));

    talk(&mut alice, &mut bob, "bob");
    until(port, |now| now["sottovoce_chat_sides"] == 2.0);
    for n in 0..20 {
        alice.says(&format!("this is {n}"));
        assert_eq!(bob.expect("message")["n"], n);
    }
    let said = until(port, |now| relayed(now, "sent", "frames") >= 20.0);
    for direction in ["received", "sent"] {
        let (frames, bytes) = (relayed(&said, direction, "frames"), relayed(&said, direction, "bytes"));
        assert!(frames >= 20.0 && bytes >= frames * 256.0, "{direction}: {said:#?}");
    }

    // Who is nobody, what is nothing, and who does not say.
    let mut stranger = Holder::stranger(&world, "carol").connect();
    let waiting = until(port, |now| now["sottovoce_connections_pending"] == 1.0);
    assert_eq!((waiting["sottovoce_connections"], waiting["sottovoce_sessions"]), (3.0, 2.0));
    stranger.say(&ToServer::Login(common::first_login("carol")));
    assert_eq!(stranger.hear_all(), [ToClient::Error(ServerError::UnknownUser)]);
    let mut garbage = socket(people::port_of(&world));
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    drain(&mut garbage);
    let refused = until(port, |now| now["sottovoce_refusals_total{cause=\"handshake\"}"] == 1.0);
    assert_eq!(refused["sottovoce_refusals_total{cause=\"unknown_user\"}"], 1.0);
    assert_eq!(refused["sottovoce_handshakes_total{result=\"done\"}"], 3.0);
    assert_eq!(refused["sottovoce_handshakes_total{result=\"failed\"}"], 1.0);
    assert_eq!(refused["sottovoce_log_ins_total"], 2.0);

    let (told, code) = status(&world.server_dir());
    assert_eq!(
        (code, &told["running"], &told["ready"], &told["reason"]),
        (0, &json!(true), &json!(true), &Value::Null)
    );
    assert_eq!((&told["sessions"], &told["chat_sides"]), (&json!(2), &json!(2)));
    assert_eq!((&told["refusals"]["unknown_user"], &told["refusals"]["full"]), (&json!(1), &json!(0)));
    assert_eq!(told["cluster"], Value::Null);

    bob.types("--ex");
    assert_eq!(alice.expect_closed(), "goodbye");
    until(port, |now| now["sottovoce_chat_sides"] == 0.0 && now["sottovoce_sessions"] == 1.0);
    alice.process.kill().unwrap();
    let last = until(port, |now| now["sottovoce_connections"] == 0.0);
    assert_eq!(last["sottovoce_sessions"], 0.0);
    assert!(last["sottovoce_log_ins_total"] == 2.0 && relayed(&last, "sent", "frames") >= 20.0, "counters only go up");
}

#[test]
fn a_mailbox_that_fills_up_is_seen() {
    let world = World::with(ANY_PORT);
    let (alice, bob) = (Holder::registered(&world, "alice"), Holder::registered(&world, "bob"));
    let (mut alice, bob, chat) = chat(&alice, &bob);
    let port = port(&world);
    assert_eq!(until(port, |_| true)["sottovoce_mailbox_letters"], 0.0);
    // Bob reads nothing. When the sockets are full, all else waits for him.
    let mut frame = ChatHeader::new(chat, 0, 0).aad().unwrap();
    let sealed = vec![7; 16 * 1024];
    frame.extend_from_slice(&u16::try_from(sealed.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&sealed);
    let letters = loop {
        (0..32).for_each(|_| alice.send(&frame));
        let page = until(port, |_| true);
        if page["sottovoce_mailbox_letters"] > 0.0 {
            break page;
        }
        assert_eq!(page["sottovoce_chat_sides"], 2.0, "the chat ended before: {page:#?}");
    };
    assert!(letters["sottovoce_mailbox_letters_max"] > 0.0, "{letters:#?}");
    drop(bob);
    until(port, |now| now["sottovoce_mailbox_letters"] == 0.0 && now["sottovoce_mailbox_letters_max"] == 0.0);
}

#[test]
fn nobody_is_named() {
    const NAMES: [&str; 2] = ["zebulon", "quixote"];
    let world = World::with(ANY_PORT);
    NAMES.iter().for_each(|name| world.user(name));
    let [mut zebulon, mut quixote] = NAMES.map(|name| world.log_in(name));
    talk(&mut zebulon, &mut quixote, NAMES[1]);
    zebulon.says("the treasure of the sierra");
    quixote.expect("message");
    let port = port(&world);
    until(port, |now| now["sottovoce_chat_sides"] == 2.0);
    let mut seen: Vec<String> = ["/metrics", "/healthz", "/readyz", "/zebulon"]
        .map(|path| {
            let answer = get(port, path);
            format!("{:?}{}", answer.headers, answer.body)
        })
        .into();
    let dir = world.server_dir();
    seen.extend([run_status(&dir, &[]).0, run_status(&dir, &["--json"]).0]);
    for text in seen {
        let lower = text.to_lowercase();
        for word in NAMES.iter().chain(&["treasure", "localhost", "127.", "::1", "ssh-"]) {
            assert!(!lower.contains(word), "{word}: {text}");
        }
        // And nothing that looks like a key or an id.
        let longest = text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::len).max().unwrap();
        assert!(longest < 24, "{text}");
    }
}

#[test]
fn a_server_says_whether_it_should_get_connections() {
    let mut world = World::with(&format!("{ANY_PORT}\ndirectory_poll = \"100ms\"\ndrain_delay = \"10m\""));
    world.user("alice");
    let (port, dir) = (port(&world), world.server_dir());
    is_ready(port, "ready\n");
    assert_eq!(status(&dir).1, 0);

    // The directory of users is lost, and found again.
    change(&world, "ALTER TABLE revision RENAME TO aside");
    is_ready(port, "directory of users cannot be read");
    let (told, code) = status(&dir);
    assert_eq!((code, &told["ready"], &told["reason"]), (1, &json!(false), &json!("directory")));
    assert_eq!(told["directory"]["readable"], false);
    let (stdout, _, why) = run_status(&dir, &[]);
    assert!(why.contains("not ready: the directory of users cannot be read"), "{why}");
    assert!(stdout.contains("NOT readable"), "{stdout}");
    assert_eq!(until(port, |_| true)["sottovoce_ready"], 0.0);
    change(&world, "ALTER TABLE aside RENAME TO revision");
    is_ready(port, "ready\n");

    // It is told to stop, and given ten minutes for it, in which people still come in.
    signal(&world.server, Signal::TERM);
    is_ready(port, "draining");
    assert_eq!(get(port, "/healthz").status, 200);
    let (told, code) = status(&dir);
    assert_eq!((code, &told["reason"], &told["draining"]), (1, &json!("draining"), &json!(true)));
    let mut alice = world.log_in("alice");
    assert_eq!(until(port, |_| true)["sottovoce_draining"], 1.0);
    // Whoever is in a hurry says so.
    signal(&world.server, Signal::TERM);
    assert_eq!(alice.expect_error(), "unreachable");
    assert_eq!(world.server.wait().unwrap().code(), Some(0));
    assert!(!server::operator::status::path(&dir).exists(), "the socket goes with the server");

    let (told, code) = status(&dir);
    assert_eq!((code, told), (1, json!({ "running": false, "ready": false })));
    assert!(run_status(&dir, &[]).2.contains("no server is running in"));
    let nowhere = world.dir.path().join("nowhere");
    assert!(run_status(&nowhere, &[]).2.contains("`sottovoce server init` makes one"));
}

#[test]
fn a_status_is_that_of_the_server_in_the_folder() {
    let (mut one, other) = (World::with(ANY_PORT), World::with(ANY_PORT));
    one.user("alice");
    let _alice = one.log_in("alice");
    let path = server::operator::status::path(&one.server_dir());
    let found = fs::symlink_metadata(&path).unwrap();
    assert!(found.file_type().is_socket() && found.permissions().mode() & 0o777 == 0o600, "its owner's alone");
    assert_eq!(status(&one.server_dir()).0["sessions"], 1);
    assert_eq!(status(&other.server_dir()).0["sessions"], 0);

    // A socket that a server has left behind is no server, and in nobody's way.
    one.goes(Signal::KILL);
    assert!(path.exists());
    assert_eq!(status(&one.server_dir()), (json!({ "running": false, "ready": false }), 1));
    one.is_back();
    assert_eq!(status(&one.server_dir()).0["running"], true);

    // Of two servers in one folder it is the newer one that answers, and the older one leaves its socket alone.
    let (mut newer, _) = common::run_server(&one.server_dir(), "127.0.0.1:0");
    let (before, newer_port) = (port(&other), port(&one));
    assert_ne!(before, newer_port);
    one.goes(Signal::TERM);
    assert_eq!(port(&one), newer_port);
    signal(&newer, Signal::TERM);
    newer.wait().unwrap();
    assert!(!path.exists());

    // A server that is stopped in its tracks is asked in vain, and that does not take for ever.
    signal(&other.server, Signal::STOP);
    let begin = now();
    let (told, code) = status(&other.server_dir());
    assert_eq!((code, told), (1, json!({ "running": true, "ready": false })));
    assert!(begin.elapsed() < common::PATIENCE);
    signal(&other.server, Signal::CONT);
}

#[test]
fn servers_start_where_the_usual_port_is_taken_and_not_where_their_own_is() {
    // Held by this test, or by whoever has it already.
    let _taken = TcpListener::bind(server::config::Metrics::DEFAULT_ADDRESS);
    let world = World::new();
    let mut other = run_server_telling(&world.server_dir(), "127.0.0.1:0", Stdio::piped()).0;
    assert_eq!(status(&world.server_dir()).0["metrics_port"], Value::Null);
    let log = read_to_end(other.stderr.take().unwrap());
    signal(&other, Signal::TERM);
    other.wait().unwrap();
    let log = log.recv_timeout(common::PATIENCE).unwrap();
    assert!(log.contains("WARN") && log.contains("no metrics are served"), "{log}");

    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = server::setup::config_path(&world.server_dir());
    let text = fs::read_to_string(&config).unwrap();
    let run = |setting: &str| {
        fs::write(&config, format!("{text}\nmetrics = \"{setting}\"\n")).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["server", "run", "--listen", "127.0.0.1:0", "--dir"]).arg(world.server_dir());
        command
    };
    let why = fails(&mut run(&address));
    assert!(why.contains(&address) && why.contains("metrics") && why.contains("server.toml"), "{why}");
    run("off");
    let (mut off, _) = common::run_server(&world.server_dir(), "127.0.0.1:0");
    let (told, _) = status(&world.server_dir());
    assert_eq!((&told["running"], &told["metrics_port"]), (&json!(true), &Value::Null));
    off.kill().unwrap();
    off.wait().unwrap();
}

#[test]
fn what_is_no_request_for_metrics_is_refused() {
    let world = World::with(ANY_PORT);
    let port = port(&world);
    let host = format!("Host: 127.0.0.1:{port}");
    let ask = |line: &str, headers: &str| ask(port, &format!("{line} HTTP/1.1\r\n{headers}\r\n\r\n"));

    let metrics = ask("GET /metrics", &host);
    assert_eq!(metrics.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(metrics.headers["cache-control"], "no-store");
    let head = ask("HEAD /metrics", &host);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.headers["content-length"].parse::<usize>().unwrap() > 1000);
    assert_eq!(ask("GET /metrics?of=alice", &host).status, 200);

    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        let refusal = ask(&format!("{method} /metrics"), &format!("{host}\r\nContent-Length: 5\r\n\r\nhello"));
        assert_eq!((refusal.status, refusal.headers["allow"].as_str()), (405, "GET, HEAD"), "{method}");
    }
    for path in ["/", "/metrics/", "/status", "//metrics", "/..", "*"] {
        let refusal = ask(&format!("GET {path}"), &host);
        assert!(matches!(refusal.status, 404 | 400), "{path}: {refusal:?}");
        assert!(!refusal.body.contains("sottovoce_"), "{path}");
    }
    // A name that is somebody else's, as a page in a browser would have it (DNS rebinding).
    for path in ["/metrics", "/healthz", "/readyz"] {
        let refusal = ask(&format!("GET {path}"), &format!("Host: rebound.example:{port}"));
        assert_eq!(refusal.status, 421);
        assert!(refusal.body.contains("Host"), "{refusal:?}");
    }
    assert_eq!(ask(&format!("GET http://rebound.example:{port}/metrics"), &host).status, 421);
    assert_eq!(ask("GET /metrics", "Accept: */*").status, 400, "no host at all");
    let asked_as_balancers_do = self::ask(port, "GET /readyz HTTP/1.0\r\n\r\n");
    assert_eq!((asked_as_balancers_do.status, asked_as_balancers_do.body.as_str()), (200, "ready\n"));
    for host in ["localhost", "LocalHost:1", "[::1]:7479", "192.0.2.7"] {
        assert_eq!(ask("GET /metrics", &format!("Host: {host}")).status, 200, "{host}");
    }

    let long = "x".repeat(64 * 1024);
    let many = "a: b\r\n".repeat(200);
    for headers in [format!("{host}\r\nx: {long}"), format!("{host}\r\n{many}x: y")] {
        let mut socket = connect(port);
        // The server may have had enough before all is sent.
        let _ = socket.write_all(format!("GET /metrics HTTP/1.1\r\n{headers}\r\n\r\n").as_bytes());
        let mut start = [0; 12];
        if socket.read_exact(&mut start).is_ok() {
            assert_eq!(&start, b"HTTP/1.1 431");
        }
    }
    for garbage in [
        "GET /metrics\r\n\r\n",
        "\x16\x03\x01\x00\x01\x01",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /metrics HTTP/7.7\r\n\r\n",
    ] {
        let mut socket = connect(port);
        socket.write_all(garbage.as_bytes()).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let told = String::from_utf8_lossy(&drain(&mut socket)).into_owned();
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 400"), "{garbage:?}: {told}");
    }
    // A connection is good for one answer.
    let mut socket = connect(port);
    let request = format!("GET /healthz HTTP/1.1\r\n{host}\r\n\r\n");
    socket.write_all(format!("{request}{request}").as_bytes()).unwrap();
    let answer = answer(&mut socket);
    assert_eq!((answer.status, answer.body.as_str()), (200, "serving\n"));
    samples(&get(port, "/metrics").body);
}

#[test]
fn slow_visitors_hold_nobody_up() {
    const CROWD: usize = 200;
    let world = World::with(ANY_PORT);
    world.user("alice");
    let port = port(&world);
    let dir = world.server_dir();
    let socket = server::operator::status::path(&dir);
    let slow: Vec<_> = (0..CROWD)
        .map(|n| {
            let mut slow = connect(port);
            // Nothing, a part of a head, or a whole one whose answer is not read.
            let part: &[u8] =
                [&b""[..], b"GET /metrics HTTP/1.1\r\nHost: 127.", b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"]
                    [n % 3];
            slow.write_all(part).unwrap();
            slow
        })
        .collect();
    let deaf: Vec<_> = (0..CROWD).map(|_| std::os::unix::net::UnixStream::connect(&socket).unwrap()).collect();
    assert_eq!(get(port, "/readyz").status, 200);
    samples(&get(port, "/metrics").body);
    assert_eq!(status(&dir).1, 0);
    let mut alice = world.log_in("alice");
    assert_eq!(alice.lists(), [""; 0]);
    // All but the last few have been shown out, without having to take their leave.
    let gone = slow.into_iter().take(CROWD - 8).map(|mut slow| drain(&mut slow)).count();
    assert_eq!(gone, CROWD - 8);
    drop(deaf);
}

fn relayed(samples: &std::collections::BTreeMap<String, f64>, direction: &str, what: &str) -> f64 {
    samples[&format!("sottovoce_relayed_{what}_total{{direction=\"{direction}\"}}")]
}

/// Waits until the server says this about whether it is ready, with the status that belongs to it.
fn is_ready(port: u16, words: &str) {
    let begin = now();
    loop {
        let answer = get(port, "/readyz");
        assert_eq!(answer.status == 200, answer.body == "ready\n", "{answer:?}");
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        if answer.body.contains(words) {
            return;
        }
        assert!(begin.elapsed() < common::PATIENCE, "{answer:?}");
    }
}

fn change(world: &World, sql: &'static str) {
    let path = server::setup::directory_path(&world.server_dir());
    let change = async {
        let database = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path)).await.unwrap();
        sqlx::query(sql).execute(&database).await.unwrap();
        database.close().await;
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(change);
}

/// Two who are in a chat, as far as the server knows.
fn chat(caller: &Holder, accepter: &Holder) -> (Raw, Raw, ChatId) {
    let chat = ChatId::from_bytes([7; 16]);
    let (mut alice, mut bob) = (caller.log_in(), accepter.log_in());
    alice.say(&ToServer::RequestToTalk(Request { peer: accepter.name.clone(), chat }));
    assert!(matches!(bob.hear(), Some(ToClient::RequestToTalk(_))));
    bob.say(&ToServer::Accept(Accept { chat, key_package: Bytes::from_static(b"package") }));
    assert!(matches!(alice.hear(), Some(ToClient::Accept(_))));
    alice.say(&ToServer::SessionEstablishment(Establish { chat, welcome: Bytes::from_static(b"welcome") }));
    assert!(matches!(bob.hear(), Some(ToClient::SessionEstablishment(_))));
    (alice, bob, chat)
}
