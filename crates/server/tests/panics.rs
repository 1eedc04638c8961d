//! A fault in the program that one client runs into: a panic in its connection's task, which nobody else may notice.
//!
//! The fault is put in from outside, with nothing in the server made for it: what a task does it also logs, and here the
//! log's receiver panics, once, where it is told to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use std::{
    fmt,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use identity::{Roots, UserKey, client_config};
use protocol::{
    Accept, ChatHeader, ChatId, ClientId, Establish, Held, List, Login, Message, Page, Request, Resume, ServerError,
    ToClient, ToServer,
};
use rustls::ClientConfig;
use server::{
    Server,
    config::Config,
    directory::Directory,
    setup::{self, init},
};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::{
    codec::{Framed, LengthDelimitedCodec},
    sync::CancellationToken,
};
use tracing::{Event, Level, Metadata, Subscriber, field::Field, span};

const PATIENCE: Duration = Duration::from_secs(30);
/// What the fault says of itself. Messages of panics often hold what the program was working on.
const SECRET: &str = "alice said rosebud";

#[tokio::test]
async fn a_panic_in_a_chat_ends_that_connection_alone_and_leaves_nothing_behind() {
    let trap = Trap::lay();
    let world = World::new(5).await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let (carol, dora) = (world.user("carol").await, world.user("dora").await);
    let [mut a, mut b] = world.chat([&alice, &bob], FIRST).await;
    let [mut c, mut d] = world.chat([&carol, &dora], SECOND).await;

    trap.arm("message");
    a.say(message(FIRST)).await;
    assert_eq!(a.hear_all().await, [], "the connection ends");
    trap.has_sprung();

    // Nobody finds a ghost: not in the list, and not by asking.
    let mut erin = world.user("erin").await.log_in().await;
    let names = ["bob", "carol", "dora"].map(|name| name.parse().unwrap()).to_vec();
    assert_eq!(erin.ask(ToServer::List(Page::default())).await, ToClient::List(List { names, more: false }));
    let request = Request { peer: "alice".parse().unwrap(), chat: THIRD };
    assert_eq!(erin.ask(ToServer::RequestToTalk(request)).await, ToClient::UserNotFound(THIRD));

    // The others go on.
    c.say(message(SECOND)).await;
    assert_eq!(d.hear().await, ToClient::Message(sealed(SECOND)));

    // So does the chat itself, once its lost half is back: there is a place for it, and it comes back as itself.
    b.say(message(FIRST)).await;
    assert_eq!(b.hear().await, ToClient::PeerAway(FIRST));
    b.say(ToServer::Resume(Resume { chat: FIRST, expected: 0 })).await;
    let mut a = alice.connect().await;
    let held = Held { peer: "bob".parse().unwrap(), resume: Resume { chat: FIRST, expected: 1 } };
    a.say(ToServer::Login(Login { held: Some(held), ..alice.login() })).await;
    assert!(matches!(a.hear().await, ToClient::LoggedIn(_)));
    assert_eq!(a.hear().await, ToClient::Resume(Resume { chat: FIRST, expected: 0 }));
    assert_eq!(b.hear().await, ToClient::Resume(Resume { chat: FIRST, expected: 1 }));
    b.say(message(FIRST)).await;
    assert_eq!(a.hear().await, ToClient::Message(sealed(FIRST)));
}

#[tokio::test]
async fn connections_that_panic_in_the_handshake_give_their_places_back() {
    let trap = Trap::lay();
    let places = 3;
    let world = World::new(places).await;
    let alice = world.user("alice").await;
    for _ in 0..2 * places {
        trap.arm("handshake failed");
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, world.port)).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        // However it ends: a socket that is closed with bytes unread resets the connection.
        let _ = timeout(PATIENCE, socket.read_to_end(&mut Vec::new())).await.expect("the connection ends");
        trap.has_sprung();
    }
    alice.log_in().await;
}

#[tokio::test]
async fn a_panic_in_the_watch_on_the_directory_puts_no_end_to_the_watch() {
    let trap = Trap::lay();
    let world = World::new(3).await;
    let user = world.user("alice").await;
    let mut alice = user.log_in().await;
    let database = setup::directory_path(&world.dir.path().join("server"));
    let database = SqlitePool::connect_with(SqliteConnectOptions::new().filename(database)).await.unwrap();
    let change = async |sql: &'static str| sqlx::query(sql).execute(&database).await.unwrap();
    trap.arm("the directory cannot be read; removals wait");
    change("ALTER TABLE revision RENAME TO aside").await;
    // Who was removed at that moment would not be noticed, so nobody stays.
    assert_eq!(alice.hear_all().await, [ToClient::Error(ServerError::Unavailable)]);
    trap.has_sprung();
    change("ALTER TABLE aside RENAME TO revision").await;

    let mut alice = user.log_in().await;
    world.directory.remove(&"alice".parse().unwrap()).await.unwrap();
    assert_eq!(alice.hear_all().await, [ToClient::Error(ServerError::Removed)]);
}

#[tokio::test]
async fn what_a_panic_says_is_not_logged_but_where_it_happened_is() {
    let trap = Trap::lay();
    server::log_panics_by_place();
    let world = World::new(3).await;
    let [alice, bob] = [world.user("alice").await, world.user("bob").await];
    let [mut alice, _bob] = world.chat([&alice, &bob], FIRST).await;
    trap.arm("message");
    alice.say(message(FIRST)).await;
    assert_eq!(alice.hear_all().await, []);
    trap.has_sprung();
    let told = trap.told();
    assert!(told.iter().any(|line| line.contains("panics.rs:")), "{told:#?}");
    assert!(told.iter().all(|line| !line.contains("rosebud") && !line.contains("alice")), "{told:#?}");
}

const FIRST: ChatId = ChatId::from_bytes([1; 16]);
const SECOND: ChatId = ChatId::from_bytes([2; 16]);
const THIRD: ChatId = ChatId::from_bytes([3; 16]);

fn sealed(chat: ChatId) -> Message {
    Message { header: ChatHeader::new(chat, 0, 0), sealed: Bytes::from_static(b"sealed") }
}

fn message(chat: ChatId) -> ToServer {
    ToServer::Message(sealed(chat))
}

/// A server in the test's own process.
struct World {
    dir: TempDir,
    directory: Directory,
    port: u16,
    stop: CancellationToken,
    _running: JoinHandle<()>,
}

impl World {
    async fn new(max_connections: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("server");
        let name = "localhost".parse().unwrap();
        init(&folder, &name, None, now()).await.unwrap();
        let mut config = Config::new(name);
        config.listen = (Ipv4Addr::LOCALHOST, 0).into();
        config.max_connections = max_connections;
        config.directory_poll = Duration::from_millis(50);
        let read = |path| std::fs::read(path).unwrap();
        let tls =
            identity::server_config(&read(setup::certificate_path(&folder)), &read(setup::key_path(&folder))).unwrap();
        let directory = Directory::open(&setup::directory_path(&folder)).await.unwrap();
        let server = Server::bind(config, tls, directory.clone(), None).await.unwrap();
        let port = server.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(stop.clone()));
        Self { dir, directory, port, stop, _running: running }
    }

    async fn user(&self, name: &str) -> User {
        let key = UserKey::from_seed(&[name.as_bytes()[0]; 32]);
        self.directory.add(&name.parse().unwrap(), &key.public()).await.unwrap();
        let authority = std::fs::read(setup::ca_path(&self.dir.path().join("server"))).unwrap();
        User { name: name.to_owned(), tls: client_config(&key, Roots::Pem(authority)).unwrap(), port: self.port }
    }

    /// Two who are in a chat.
    async fn chat(&self, users: [&User; 2], chat: ChatId) -> [Client; 2] {
        let [caller, accepter] = users;
        let (mut alice, mut bob) = (caller.log_in().await, accepter.log_in().await);
        alice.say(ToServer::RequestToTalk(Request { peer: accepter.name.parse().unwrap(), chat })).await;
        assert!(matches!(bob.hear().await, ToClient::RequestToTalk(_)));
        bob.say(ToServer::Accept(Accept { chat, key_package: Bytes::from_static(b"package") })).await;
        assert!(matches!(alice.hear().await, ToClient::Accept(_)));
        let welcome = Bytes::from_static(b"welcome");
        alice.say(ToServer::SessionEstablishment(Establish { chat, welcome })).await;
        assert!(matches!(bob.hear().await, ToClient::SessionEstablishment(_)));
        [alice, bob]
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct User {
    name: String,
    tls: Arc<ClientConfig>,
    port: u16,
}

impl User {
    async fn connect(&self) -> Client {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        let connector = TlsConnector::from(self.tls.clone());
        let stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
        Client(Framed::new(stream, protocol::frame_codec()))
    }

    fn login(&self) -> Login {
        Login::first(self.name.parse().unwrap(), ClientId::from_bytes([1; 16]))
    }

    async fn log_in(&self) -> Client {
        let mut client = self.connect().await;
        assert!(matches!(client.ask(ToServer::Login(self.login())).await, ToClient::LoggedIn(_)));
        client
    }
}

struct Client(Framed<TlsStream<TcpStream>, LengthDelimitedCodec>);

impl Client {
    async fn say(&mut self, frame: ToServer) {
        self.0.send(frame.encode().unwrap()).await.unwrap();
    }

    async fn ask(&mut self, frame: ToServer) -> ToClient {
        self.say(frame).await;
        self.hear().await
    }

    async fn hear(&mut self) -> ToClient {
        self.next().await.expect("a frame, and not the end of the connection")
    }

    /// All up to the end of the connection, however it ends.
    async fn hear_all(&mut self) -> Vec<ToClient> {
        let mut heard = Vec::new();
        while let Some(frame) = self.next().await {
            heard.push(frame);
        }
        heard
    }

    async fn next(&mut self) -> Option<ToClient> {
        let next = timeout(PATIENCE, self.0.next()).await.expect("nothing came");
        next?.ok().map(|frame| ToClient::decode(&frame).unwrap())
    }
}

/// The log's receiver, which panics at the first event of the text that it is armed with. There is one for the process,
/// so who lays the trap keeps other tests waiting.
struct Trap {
    _turn: MutexGuard<'static, ()>,
}

static ARMED: Mutex<Option<String>> = Mutex::new(None);
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Trap {
    fn lay() -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        static INSTALLED: OnceLock<()> = OnceLock::new();
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        INSTALLED.get_or_init(|| tracing::subscriber::set_global_default(Receiver).unwrap());
        *ARMED.lock().unwrap() = None;
        TOLD.lock().unwrap().clear();
        Self { _turn: turn }
    }

    fn arm(&self, text: &str) {
        *ARMED.lock().unwrap() = Some(text.to_owned());
    }

    fn has_sprung(&self) {
        assert_eq!(*ARMED.lock().unwrap(), None, "nothing panicked");
    }

    /// What was logged at the levels that are shown by default.
    fn told(&self) -> Vec<String> {
        TOLD.lock().unwrap().clone()
    }
}

struct Receiver;

impl Subscriber for Receiver {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        if *event.metadata().level() <= Level::INFO {
            TOLD.lock().unwrap().push(text.whole);
        }
        let springs = ARMED.lock().unwrap().take_if(|armed| *armed == text.message).is_some();
        assert!(!springs, "{SECRET}");
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    whole: String,
}

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
        self.whole.push_str(&format!("{field}={value:?} "));
    }
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}
