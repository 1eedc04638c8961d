//! What is left of people where they did not put it: in the server's log, as it is set up, and on the disk of a client.
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
mod road;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::mpsc,
};

use common::{Client, PASSWORD, PATIENCE, World, first_login, read_to_end, run_server_telling, signal, talk};
use protocol::{Accept, ChatHeader, ChatId, Code, Establish, Message, Page, Request, ServerError, ToClient, ToServer};
use raw::{Holder, drain, socket};
use road::Road;
use rustix::process::Signal;
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

/// Names, texts and a password that occur in no log by chance.
const NAMES: [&str; 7] = ["zebulon", "quixote", "wilhelmina", "xanthippe", "impostor", "nebuchadnezzar", "yggdrasil"];
const TEXTS: [&str; 4] = ["rosebud", "shibboleth", "abracadabra", PASSWORD];
const CHAT: ChatId = ChatId::from_bytes([0xc7; 16]);
const SEALED: [u8; 48] = [0x9d; 48];

#[test]
fn the_log_at_its_default_level_links_nobody() {
    let (log, people) = story("");
    assert!(log.contains("serving") && log.contains("stopping"), "{log}");
    assert!(log.contains("unavailable:") && log.contains("unknown_user:"), "what goes wrong is counted: {log}");
    people.are_not_in(&log);
}

#[test]
fn the_log_of_warnings_and_errors_links_nobody() {
    for level in ["warn", "error"] {
        let (log, people) = story(&format!("log = \"{level}\""));
        assert!(!log.contains("INFO"), "{log}");
        people.are_not_in(&log);
    }
}

/// What is found here stays out of the log, whatever the story above leaves out: an event that is shown by default may
/// bear counts, places in the source, nodes, and errors of the system, the directory and the router's server, which name no
/// user.
#[test]
fn what_is_logged_by_default_has_no_field_for_a_person() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut events = 0;
    for source in ["protocol", "identity", "e2e", "client", "server", "sottovoce"] {
        for file in rust_files(&crates.join(source).join("src")) {
            let text = fs::read_to_string(&file).unwrap();
            for level in ["info!(", "warn!(", "error!("] {
                for event in text.split(&format!("tracing::{level}")).skip(1) {
                    events += 1;
                    let [fields, message] = event.splitn(3, '"').take(2).collect::<Vec<_>>()[..] else {
                        panic!("an event has a message: {event}");
                    };
                    assert!(!message.contains('{'), "{}: {message}", file.display());
                    for field in fields.split(',').map(str::trim).filter(|field| !field.is_empty()) {
                        let is_known = ["%error", "%why", "place"].contains(&field) || COUNTS.contains(&field);
                        assert!(is_known, "{}: a field {field} of {message:?}", file.display());
                    }
                }
            }
        }
    }
    assert!(events > 8, "only {events} events were found");
}

/// Fields that hold a number of things.
const COUNTS: &[&str] = &[
    "left = connections.len()",
    "files",
    "connections",
    "%refused",
    "refused = %since",
    "sessions = count",
    "users",
    // The server's own.
    "metrics = relay.metrics_port",
    "node = %cluster.router.home()",
    "%node",
    "servers = cluster.settings.servers()",
];

#[test]
fn a_chat_leaves_the_pin_on_the_disk_and_nothing_else() {
    let world = World::of(["zebulon", "quixote"]);
    let before = content(&world.profile("zebulon"));
    let empty = world.dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let mut command = world.chat("zebulon", "json");
    command.arg("--password-file").arg(world.password_file()).current_dir(&empty);
    for variable in
        ["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"]
    {
        command.env(variable, &empty);
    }
    let mut zebulon = Client::start(command);
    zebulon.expect("logged_in");
    let mut quixote = world.log_in("quixote");
    talk(&mut zebulon, &mut quixote, "quixote");
    zebulon.says("rosebud");
    quixote.expect("message");
    quixote.says("shibboleth");
    zebulon.expect("message");
    zebulon.types("--ex");
    assert_eq!(zebulon.ended().0, Some(0));

    let mut after = content(&world.profile("zebulon"));
    let pins = after.remove(Path::new("pins")).expect("quixote is pinned");
    assert_eq!(
        after.remove(Path::new("pins.lock")).as_deref(),
        Some(&[][..]),
        "what keeps two programs apart is empty"
    );
    assert!(after == before, "{:?}", after.keys());
    let pins = String::from_utf8(pins).unwrap();
    assert!(pins.contains("quixote") && TEXTS.iter().all(|text| !pins.contains(text)), "{pins}");
    assert_eq!(content(&empty), BTreeMap::new());
    // Nor does the relay keep anything of it.
    for (path, bytes) in content(&world.server_dir()) {
        for text in &TEXTS[..2] {
            let is_there = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!is_there, "{text} in {}", path.display());
        }
    }
}

/// All that happens to a server: people who come, talk, are refused, are lost and come back, and what is no client. The
/// log of it, and what must not be in there.
fn story(settings: &str) -> (String, People) {
    let mut world = World::with(&format!("max_connections = 12\nidle_timeout = \"10s\"\n{settings}"));
    world.goes(Signal::TERM);
    let mut log = begin(&mut world);
    let mut told = String::new();
    // Everybody comes over a road of their own, from an address that nobody else has.
    let roads: BTreeMap<_, _> = (1..).zip(NAMES).map(|(number, name)| (name, Road::to(&world, number))).collect();
    for name in ["zebulon", "quixote", "wilhelmina"] {
        world.user_at(name, &roads[name].dial());
    }
    world.profile_at("xanthippe", "xanthippe", &roads["xanthippe"].dial());
    world.profile_at("impostor", "zebulon", &roads["impostor"].dial());

    let [mut zebulon, mut quixote, mut wilhelmina] =
        ["zebulon", "quixote", "wilhelmina"].map(|name| world.log_in(name));
    zebulon.lists();
    zebulon.types("--r xanthippe");
    zebulon.expect("user_not_found");
    zebulon.types("--r quixote");
    quixote.expect("request");
    quixote.types("--n");
    zebulon.expect("refused");
    talk(&mut zebulon, &mut quixote, "quixote");
    zebulon.says("rosebud");
    assert_eq!(quixote.expect("message")["text"], "rosebud");
    wilhelmina.types("--r quixote");
    wilhelmina.expect("user_not_found");
    for folder in ["xanthippe", "impostor"] {
        assert_eq!(world.client(folder).failed().0, "unknown_user");
    }
    roads["zebulon"].cuts();
    zebulon.expect("reconnected");
    zebulon.says("shibboleth");
    assert_eq!(quixote.expect("message")["text"], "shibboleth");

    let strangers = strangers(&world);
    crowd(&world);
    damaged_directory(&world);

    // The server stops and comes back, and so do they.
    signal(&world.server, Signal::TERM);
    told.push_str(&log.recv_timeout(PATIENCE).expect("the server stops"));
    world.server.wait().unwrap();
    log = begin(&mut world);
    zebulon.expect("reconnected");
    wilhelmina.expect("reconnected");
    zebulon.says("abracadabra");
    assert_eq!(quixote.expect("message")["text"], "abracadabra");
    // Replaced, given another key, and removed.
    let again = world.log_in("wilhelmina");
    assert_eq!(wilhelmina.failed().0, "replaced");
    world.administer("replace", "quixote", Some("xanthippe"));
    assert_eq!(quixote.failed().0, "unknown_user");
    world.administer("remove", "zebulon", None);
    assert_eq!(zebulon.failed().0, "unknown_user");
    drop(again);

    world.goes(Signal::TERM);
    told.push_str(&log.recv_timeout(PATIENCE).expect("the server stops"));
    assert!(!told.contains("panicked"), "{told}");
    let ports = roads.values().flat_map(Road::ports).collect();
    let keys = NAMES[..5].iter().map(|name| key_of(&world.profile(name))).chain(strangers).collect();
    (told, People { keys, ports })
}

/// Starts the world's server; its log.
fn begin(world: &mut World) -> mpsc::Receiver<String> {
    let (mut server, address) = run_server_telling(&world.server_dir(), &world.address, Stdio::piped());
    let log = read_to_end(server.stderr.take().unwrap());
    (world.server, world.address) = (server, address);
    log
}

/// Clients made by hand, whose chat has an id that can be looked for, and what is no client at all: their keys.
fn strangers(world: &World) -> Vec<Vec<u8>> {
    let [one, two] = ["nebuchadnezzar", "yggdrasil"].map(|name| Holder::registered(world, name));
    let [mut caller, mut accepter] = [&one, &two].map(Holder::log_in);
    caller.say(&ToServer::RequestToTalk(Request { peer: two.name.clone(), chat: CHAT }));
    accepter.hear();
    accepter.say(&ToServer::Accept(Accept { chat: CHAT, key_package: SEALED.to_vec().into() }));
    caller.hear();
    caller.say(&ToServer::SessionEstablishment(Establish { chat: CHAT, welcome: SEALED.to_vec().into() }));
    accepter.hear();
    let message = ToServer::Message(Message { header: ChatHeader::new(CHAT, 0, 0), sealed: SEALED.to_vec().into() });
    caller.say(&message);
    assert!(matches!(accepter.hear(), Some(ToClient::Message(_))));
    // Frames that are none, in a chat and before a log-in; a name that is none, and another's.
    caller.send(&[Code::Message as u8, 0x9d]);
    assert_eq!(caller.hear_all(), [ToClient::Error(ServerError::Protocol)]);
    let mut raw = one.connect();
    raw.send(&[&[Code::Login as u8, 9][..], b"Yggdrasil", &[7; 20], &[0]].concat());
    assert_eq!(raw.hear_all(), [ToClient::Error(ServerError::Protocol)]);
    let mut raw = one.connect();
    raw.say(&ToServer::Login(first_login("yggdrasil")));
    assert_eq!(raw.hear_all(), [ToClient::Error(ServerError::UnknownUser)]);
    let mut raw = one.connect();
    raw.say(&ToServer::List(Page::default()));
    raw.hear_all();
    drop(accepter);

    let hello_of_tls_1_2 = [&[22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2b, 1, 0]].concat();
    for bytes in [&b"GET /zebulon HTTP/1.1\r\nHost: quixote\r\n\r\n"[..], &[0x16; 300], &hello_of_tls_1_2, b"\0"] {
        let mut socket = socket(people::port_of(world));
        socket.write_all(bytes).unwrap();
        let _ = socket.shutdown(std::net::Shutdown::Write);
        drain(&mut socket);
    }
    [one, two].map(|holder| holder.key.as_bytes().to_vec()).into()
}

/// More connections than there are places.
fn crowd(world: &World) {
    let sockets: Vec<_> = (0..40).map(|_| socket(people::port_of(world))).collect();
    // Whoever found no place is told by the end of the connection.
    let mut last = sockets.into_iter().next_back().unwrap();
    drain(&mut last);
}

/// A log-in while the directory cannot be read.
fn damaged_directory(world: &World) {
    let path = server::setup::directory_path(&world.server_dir());
    let somebody = Holder::stranger(world, "yggdrasil");
    let change = |sql: &'static str| {
        let change = async {
            let database = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path)).await.unwrap();
            sqlx::query(sql).execute(&database).await.unwrap();
            database.close().await;
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(change);
    };
    change("ALTER TABLE users RENAME TO aside");
    let mut raw = somebody.connect();
    raw.say(&somebody.login());
    assert_eq!(raw.hear_all(), [ToClient::Error(ServerError::Unavailable)]);
    change("ALTER TABLE aside RENAME TO users");
}

/// What tells people, and what they do, from each other.
struct People {
    keys: Vec<Vec<u8>>,
    ports: BTreeSet<u16>,
}

impl People {
    fn are_not_in(&self, log: &str) {
        let lower = log.to_lowercase();
        let absent = |what: &str| assert!(!lower.contains(&what.to_lowercase()), "{what}: {log}");
        NAMES.iter().chain(&TEXTS).for_each(|text| absent(text));
        // Addresses: those of the roads, and any of loopback.
        ["127.", "::1", "::ffff", "localhost:"].iter().for_each(|address| absent(address));
        assert!(self.ports.len() > NAMES.len(), "{:?}", self.ports);
        for number in log.split(|c: char| !c.is_ascii_digit()) {
            assert!(!self.ports.iter().any(|port| port.to_string() == number), "a port, {number}: {log}");
        }
        for bytes in self.keys.iter().map(Vec::as_slice).chain([CHAT.as_bytes().as_slice(), &SEALED]) {
            // In part, too: eight bytes are enough to know one by.
            for part in bytes.windows(8) {
                absent(&part.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
                absent(format!("{part:?}").trim_matches(['[', ']']));
            }
        }
        // And whatever may look like a key, an id or ciphertext.
        for (length, is_of) in
            [(16, (|c: char| c.is_ascii_hexdigit()) as fn(char) -> bool), (24, |c| c.is_ascii_alphanumeric())]
        {
            let longest = log.split(|c: char| !is_of(c)).max_by_key(|run| run.len()).unwrap();
            assert!(longest.len() < length, "{longest}: {log}");
        }
    }
}

/// The 32 bytes of a profile's public key.
fn key_of(profile: &Path) -> Vec<u8> {
    let line = fs::read_to_string(profile.join("key.pub")).unwrap();
    identity::parse_public_line(&line).unwrap().as_bytes().to_vec()
}

/// Every file below a folder, by its path in there. A running server's socket has no content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = PathBuf::from(path.file_name().unwrap());
        if path.is_dir() {
            found.extend(content(&path).into_iter().map(|(below, bytes)| (name.join(below), bytes)));
        } else if path.is_file() {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return path.extension().filter(|extension| *extension == "rs").map(|_| path.to_owned()).into_iter().collect();
    }
    fs::read_dir(path).unwrap().flat_map(|entry| rust_files(&entry.unwrap().path())).collect()
}
