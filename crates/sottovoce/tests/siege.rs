//! Two chat while sixty connections throw at their server whatever they can think of (S15).
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

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use client::{Account, Event};
use common::{World, first_login};
use people::{Person, Registry, chat, port_of, tell};
use protocol::{ToServer, UserName};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng as _};
use rustls::{ClientConnection, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::interval,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const ATTACKERS: usize = 60;
/// What each of the two says while the siege goes on.
const MESSAGES: usize = 1000;
/// Rounds that the attackers together must have got through by the end, so that it was a siege.
const ROUNDS: usize = 10 * ATTACKERS;
const SEED: u64 = 0x51e6e;

#[derive(Clone, Copy, Debug)]
enum Attack {
    /// Random bytes, and more of them.
    Noise,
    /// The head of a TLS record, then random bytes in the length that it names.
    NoiseInRecords,
    /// The first half of a hello, then nothing.
    HalfHello,
    /// A hello with a bit or two wrong.
    BentHello,
    /// A whole hello, then nothing, whatever the server says.
    HelloAndSilence,
    /// Not a byte.
    Silence,
    /// A byte now and then.
    Drip,
    /// Connects and is gone.
    KnockAndRun,
    /// A whole handshake with a key that the server does not know, then random bytes inside TLS.
    NoiseInside,
    /// A whole handshake, then the name of one of the two.
    WrongName,
    /// A user who logs in, then sends frames that are none.
    BadUser,
    /// A user who logs in, asks for the list as fast as it can, and reads none of it.
    DeafUser,
}

const ATTACKS: [Attack; 12] = [
    Attack::Noise,
    Attack::NoiseInRecords,
    Attack::HalfHello,
    Attack::BentHello,
    Attack::HelloAndSilence,
    Attack::Silence,
    Attack::Drip,
    Attack::KnockAndRun,
    Attack::NoiseInside,
    Attack::WrongName,
    Attack::BadUser,
    Attack::DeafUser,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_siege_does_not_reach_those_who_chat() {
    // Short limits let the attackers come back all the sooner; and they come from the address of those inside, who would
    // pay for it if that could be used up. Lists are answered, so that who does not read them can be seen.
    let mut world = World::with(
        "handshake_timeout = \"500ms\"\nlogin_timeout = \"500ms\"\nrefusal_delay = \"100ms\"\n\
         connection_rate_per_address = 1000000\nlist_rate = 1000000\nlist_burst = 1000000",
    );
    let registry = Registry::of(&world).await;
    let process = world.server.id();
    let mut alice = Person::log_in(&registry.register("alice").await).await;
    let mut bob = Person::log_in(&registry.register("bob").await).await;
    chat(&mut alice, &mut bob).await;

    let begun = Arc::new(watch::Sender::new(0));
    let rounds = Arc::new(AtomicUsize::new(0));
    let mut siege = JoinSet::new();
    for number in 0..ATTACKERS {
        let name = format!("mallory-{number}");
        let attack = ATTACKS[number % ATTACKS.len()];
        let is_user = matches!(attack, Attack::BadUser | Attack::DeafUser);
        let account = if is_user { registry.register(&name).await } else { registry.unregistered(&name) };
        let attacker =
            Attacker { attack, account, port: port_of(&world), rng: ChaCha8Rng::seed_from_u64(SEED + number as u64) };
        siege.spawn(attacker.go_on(begun.clone(), rounds.clone()));
    }
    begun.subscribe().wait_for(|begun| *begun == ATTACKERS).await.unwrap();

    // Back and forth, so that each message has to come through the siege; and in the end both at once.
    let mut said = 0;
    while said < MESSAGES || rounds.load(Ordering::SeqCst) < ROUNDS {
        tell(&mut alice, &mut bob, &format!("all quiet, {said}?")).await;
        tell(&mut bob, &mut alice, &format!("all quiet, {said}")).await;
        said += 1;
    }
    for n in 0..100 {
        alice.types(&format!("from alice {n}")).await;
        bob.types(&format!("from bob {n}")).await;
    }
    for n in 0..100 {
        for (listener, speaker) in [(&mut bob, "alice"), (&mut alice, "bob")] {
            let event = listener.until(|event| matches!(event, Event::Message { .. } | Event::ChatClosed { .. })).await;
            let Event::Message { from, text, .. } = event else { panic!("{event:?}") };
            assert_eq!((from.as_str(), text.as_str()), (speaker, format!("from {speaker} {n}").as_str()));
        }
    }

    // Those outside get in as ever, the siege still going on and when it is over.
    let mut carol = Person::log_in(&registry.register("carol").await).await;
    assert_eq!(siege.len(), ATTACKERS, "all attackers are still there");
    siege.shutdown().await;
    carol.types("--r alice").await;
    carol.until(|event| matches!(event, Event::UserNotFound { .. })).await;
    let mut dave = Person::log_in(&registry.register("dave").await).await;
    chat(&mut dave, &mut carol).await;
    tell(&mut dave, &mut carol, "was there something?").await;
    alice.types("--ex").await;
    let closed = bob.until(|event| matches!(event, Event::ChatClosed { .. })).await;
    assert!(matches!(closed, Event::ChatClosed { reason: client::Ending::Goodbye, .. }), "{closed:?}");
    for person in [alice, bob, carol, dave] {
        person.leaves().await;
    }
    assert_eq!(world.server.try_wait().unwrap(), None, "the server runs");
    assert_eq!(world.server.id(), process);
}

struct Attacker {
    attack: Attack,
    account: Account,
    port: u16,
    rng: ChaCha8Rng,
}

impl Attacker {
    /// Attacks again and again. The server may do to an attacker what it likes.
    async fn go_on(mut self, begun: Arc<watch::Sender<usize>>, rounds: Arc<AtomicUsize>) {
        // A pause, so that the machine's two cores are not all the attackers'.
        let mut pause = interval(Duration::from_millis(20));
        let mut is_first = true;
        loop {
            pause.tick().await;
            let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await;
            if std::mem::take(&mut is_first) {
                connected.as_ref().expect("the server listens");
                begun.send_modify(|begun| *begun += 1);
            }
            if let Ok(socket) = connected {
                // How it ends is the server's choice.
                let _ = self.attack(socket).await;
            }
            rounds.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn attack(&mut self, mut socket: TcpStream) -> io::Result<()> {
        match self.attack {
            Attack::Noise => loop {
                socket.write_all(&noise(&mut self.rng, 900)).await?;
            },
            Attack::NoiseInRecords => loop {
                let bytes = noise(&mut self.rng, 300);
                let kind = 20 + bytes[0] % 5;
                socket.write_all(&[kind, 3, 3]).await?;
                socket.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).await?;
                socket.write_all(&bytes).await?;
            },
            Attack::HalfHello => {
                let hello = self.hello();
                socket.write_all(&hello[..hello.len() / 2]).await?;
                to_the_end(&mut socket).await
            }
            Attack::BentHello => {
                let mut hello = self.hello();
                for _ in 0..2 {
                    let place = self.rng.next_u32() as usize % (hello.len() - 5) + 5;
                    hello[place] ^= 1 << (self.rng.next_u32() % 8);
                }
                socket.write_all(&hello).await?;
                to_the_end(&mut socket).await
            }
            Attack::HelloAndSilence => {
                socket.write_all(&self.hello()).await?;
                to_the_end(&mut socket).await
            }
            Attack::Silence => to_the_end(&mut socket).await,
            Attack::Drip => {
                let mut now_and_then = interval(Duration::from_millis(10));
                for byte in self.hello() {
                    now_and_then.tick().await;
                    socket.write_all(&[byte]).await?;
                }
                Ok(())
            }
            Attack::KnockAndRun => Ok(()),
            Attack::NoiseInside => {
                let mut stream = self.handshake(socket).await?;
                stream.write_all(&noise(&mut self.rng, 5000)).await?;
                stream.flush().await?;
                to_the_end(&mut stream).await
            }
            Attack::WrongName => {
                let mut stream = self.handshake(socket).await?;
                log_in(&mut stream, &"alice".parse().unwrap()).await?;
                to_the_end(&mut stream).await
            }
            Attack::BadUser => {
                let mut stream = self.handshake(socket).await?;
                log_in(&mut stream, &self.account.user).await?;
                let bytes = noise(&mut self.rng, 2000);
                stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).await?;
                stream.write_all(&bytes).await?;
                stream.flush().await?;
                to_the_end(&mut stream).await
            }
            Attack::DeafUser => {
                let mut stream = self.handshake(socket).await?;
                log_in(&mut stream, &self.account.user).await?;
                let list = ToServer::List(protocol::Page::default()).encode().unwrap();
                let length = u16::try_from(list.len()).unwrap().to_be_bytes();
                let lists = [&length[..], &list].concat().repeat(100);
                for _ in 0..100 {
                    // Blocks once the server reads no more from who does not read.
                    tokio::time::timeout(Duration::from_millis(200), stream.write_all(&lists)).await??;
                }
                Ok(())
            }
        }
    }

    fn hello(&self) -> Vec<u8> {
        let mut connection = ClientConnection::new(self.account.tls.clone(), localhost()).unwrap();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();
        hello
    }

    async fn handshake(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(self.account.tls.clone()).connect(localhost(), socket).await
    }
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// Up to so many random bytes, and one at least.
fn noise(rng: &mut ChaCha8Rng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.next_u32() as usize % most + 1];
    rng.fill_bytes(&mut bytes);
    bytes
}

async fn log_in(stream: &mut TlsStream<TcpStream>, name: &UserName) -> io::Result<()> {
    let login = ToServer::Login(first_login(name.as_str())).encode().unwrap();
    stream.write_all(&u16::try_from(login.len()).unwrap().to_be_bytes()).await?;
    stream.write_all(&login).await?;
    stream.flush().await
}

/// Reads until the server has had enough.
async fn to_the_end(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut bytes = [0; 4096];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}
