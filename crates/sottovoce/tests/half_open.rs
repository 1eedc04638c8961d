//! Thousands of connections that never log in, and garbage: what two who chat notice of it, in figures (S15).
//!
//! The attack runs on a thread of its own that has the lowest priority, since it would otherwise measure how the machine
//! shares its cores among processes: in the field, attackers bring their own. Its rates are the constants below.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a test may panic, and tells how long things took"
)]

mod common;
mod people;
mod storm;

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use people::Person;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use storm::{Attacker, Scene};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{interval, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// Connections that are held open, or would be.
const HALF_OPEN: usize = 5_000;
/// The addresses that they come from: 127.0.0.1, which is that of everybody else too, and more.
const ADDRESSES: usize = 10;
/// Whole hellos in a second, each from the next of more addresses, with no answer to what the server says to them.
const HELLOS_IN_A_SECOND: usize = 1_000;
const ADDRESSES_OF_HELLOS: usize = 200;
/// New half-open connections in a second while they are being made, and from then on in place of those that end.
const OPENED_IN_A_SECOND: usize = 1_000;
const OPENED_AGAIN_IN_A_SECOND: usize = 300;
/// Connections with garbage in a second, of up to 2,000 bytes each.
const GARBAGE_IN_A_SECOND: usize = 200;
/// Round trips in a window; its p99 is one figure.
const WINDOW: usize = 500;
/// Windows, of which the best one counts, in quiet as in the storm: what else goes on in the machine can only disturb, and
/// the storm goes on through all of them.
const WINDOWS: usize = 5;
/// How much slower the round trips of which 99 in 100 are faster may be.
const MOST: u32 = 3;

/// All of them really stand: each bound is set so that none of them has to make room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_half_open_connections_and_garbage_do_not_slow_down_a_chat() {
    let settings = "max_pending = 6000\nmax_pending_per_address = 1000\nhandshake_timeout = \"10m\"";
    let (standing, _) = besieged(settings, Kind::HalfOpen).await;
    assert!(standing >= HALF_OPEN, "{standing} stood");
}

/// With the defaults, which let 2,000 stand and no longer than 10 s, and which the attack has to get round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_attack_on_a_server_as_it_is_set_up_is_pushed_out_by_itself() {
    let (standing, refused) = besieged("", Kind::HalfOpen).await;
    assert!(standing <= 2_000, "{standing} stood");
    assert!(refused.count("crowded_out") >= 1_000, "{refused:?}");
}

/// Each hello costs the server what a log-in costs it, and the attacker, who sends the same one again, next to nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_hellos_does_not_slow_down_a_chat() {
    let (_, refused) = besieged("", Kind::Hellos).await;
    assert!(refused.count("crowded_out") >= 1_000, "{refused:?}");
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    HalfOpen,
    Hellos,
}

/// How many connections stood at the same time, and what was refused. One siege at a time, for they are measured.
async fn besieged(settings: &str, kind: Kind) -> (usize, storm::Refused) {
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut scene = Scene::with(settings).await;
    let quiet = windows(&mut scene).await;
    let attack = Attack::begin(&scene, kind);
    let standing = attack.reaches_its_height().await;
    let stormy = windows(&mut scene).await;
    let (mut fastest, mut slowest) = (Duration::MAX, Duration::ZERO);
    for n in 0..20 {
        let account = scene.registry.register(&format!("newcomer-{n}")).await;
        let begin = common::now();
        let person = Person::log_in(&account).await;
        let time = begin.elapsed();
        (fastest, slowest) = (fastest.min(time), slowest.max(time));
        person.leaves().await;
    }
    let grown = scene.grown();
    let opened = attack.ends();
    let refused = scene.ends().await;
    println!("p99 of round trips in quiet: {quiet:.1?}, in the storm: {stormy:.1?}; the best of each ...");
    let [quiet, stormy] = [quiet, stormy].map(|windows| windows.into_iter().min().unwrap());
    println!(
        "... {quiet:.1?} and {stormy:.1?}; log-ins from the attacker's address took {fastest:.1?} to {slowest:.1?}"
    );
    println!("{standing} connections stood, {opened} were made; the server has grown by {grown} KiB; {refused:?}");
    assert!(stormy <= quiet * MOST, "{stormy:?} in the storm, {quiet:?} in quiet");
    assert!(grown <= 40 * HALF_OPEN, "by {grown} KiB");
    assert!(refused.count("handshake") > 0, "{refused:?}");
    (standing, refused)
}

/// The p99 of round trips, window by window.
async fn windows(scene: &mut Scene) -> Vec<Duration> {
    let mut windows = Vec::new();
    for _ in 0..WINDOWS {
        let mut times = Vec::new();
        for _ in 0..WINDOW {
            times.push(scene.round_trip().await);
        }
        times.sort();
        windows.push(times[WINDOW * 99 / 100]);
    }
    windows
}

struct Attack {
    /// That have been made, garbage and all.
    made: Arc<AtomicUsize>,
    /// That the server has not ended, when that was last looked at.
    standing: Arc<AtomicUsize>,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Attack {
    fn begin(scene: &Scene, kind: Kind) -> Self {
        let addresses = if kind == Kind::Hellos { ADDRESSES_OF_HELLOS } else { ADDRESSES };
        let attackers: Vec<_> = (1..=addresses)
            .map(|host| Attacker {
                host: u8::try_from(host).unwrap(),
                port: scene.port,
                account: scene.registry.unregistered("mallory"),
            })
            .collect();
        let (made, standing, stop) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, CancellationToken)>::default();
        let (count, stands, end) = (made.clone(), standing.clone(), stop.clone());
        let thread = thread::spawn(move || {
            // On Linux this is the thread's own.
            rustix::process::nice(19).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(end.run_until_cancelled(async {
                match kind {
                    Kind::HalfOpen => {
                        tokio::join!(garbage(&attackers, &count), hold_open(&attackers, &count, &stands));
                    }
                    Kind::Hellos => hellos(&attackers, &count, &stands).await,
                }
            }));
        });
        Self { made, standing, stop, thread: Some(thread) }
    }

    /// Waits until as many connections have been made as are to be held open: how many of them stand.
    async fn reaches_its_height(&self) -> usize {
        let mut now_and_then = interval(Duration::from_millis(50));
        let height = async {
            while self.standing.load(Ordering::SeqCst) == 0 {
                now_and_then.tick().await;
            }
        };
        timeout(common::PATIENCE, height).await.expect("the attack gets on");
        self.standing.load(Ordering::SeqCst)
    }

    fn ends(mut self) -> usize {
        self.stop.cancel();
        self.thread.take().unwrap().join().unwrap();
        self.made.load(Ordering::SeqCst)
    }
}

/// Makes connections and holds them: of three one sends nothing, one half a hello, and one a whole one, to say nothing
/// more. Those that the server ends are made again.
async fn hold_open(attackers: &[Attacker], made: &AtomicUsize, standing: &AtomicUsize) {
    let mut pace = every(OPENED_IN_A_SECOND);
    let mut held: Vec<(usize, TcpStream)> = Vec::new();
    for n in 0..HALF_OPEN {
        pace.tick().await;
        held.push((n, half_open(attackers, n).await.unwrap()));
        made.fetch_add(1, Ordering::SeqCst);
    }
    let mut pace = every(OPENED_AGAIN_IN_A_SECOND);
    loop {
        // Long enough for the server to have ended what it is going to.
        let settled = tokio::time::Instant::now() + Duration::from_millis(500);
        sleep_until(settled).await;
        let mut ended = Vec::new();
        held.retain(|(n, socket)| {
            let is_open = is_open(socket);
            if !is_open {
                ended.push(*n);
            }
            is_open
        });
        standing.store(held.len().max(1), Ordering::SeqCst);
        for n in ended {
            pace.tick().await;
            if let Ok(socket) = half_open(attackers, n).await {
                held.push((n, socket));
            }
            made.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Whether the server has not ended a connection; what it says on it is read.
fn is_open(socket: &TcpStream) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match socket.try_read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

async fn half_open(attackers: &[Attacker], n: usize) -> io::Result<TcpStream> {
    let attacker = &attackers[n % attackers.len()];
    let mut socket = attacker.connect().await?;
    let hello = attacker.hello();
    socket.write_all(&hello[..[0, hello.len() / 2, hello.len()][n % 3]]).await?;
    Ok(socket)
}

async fn hellos(attackers: &[Attacker], made: &AtomicUsize, standing: &AtomicUsize) {
    let hello = attackers[0].hello();
    let mut pace = every(HELLOS_IN_A_SECOND);
    let mut held = VecDeque::new();
    for n in 0.. {
        pace.tick().await;
        if let Ok(mut socket) = attackers[n % attackers.len()].connect().await
            && socket.write_all(&hello).await.is_ok()
        {
            held.push_back(socket);
        }
        made.fetch_add(1, Ordering::SeqCst);
        if held.len() >= HALF_OPEN {
            held.pop_front();
        }
        if n >= 3 * HELLOS_IN_A_SECOND {
            standing.store(held.len(), Ordering::SeqCst);
        }
    }
}

async fn garbage(attackers: &[Attacker], made: &AtomicUsize) {
    let mut rng = ChaCha8Rng::seed_from_u64(0xba6);
    let mut pace = every(GARBAGE_IN_A_SECOND);
    for n in 0.. {
        pace.tick().await;
        let mut bytes = vec![0; 1 + rng.next_u32() as usize % 2_000];
        rng.fill_bytes(&mut bytes);
        if let Ok(mut socket) = attackers[n % attackers.len()].connect().await {
            // The server may have had enough before all is there.
            let _ = socket.write_all(&bytes).await;
        }
        made.fetch_add(1, Ordering::SeqCst);
    }
}

fn every(in_a_second: usize) -> tokio::time::Interval {
    interval(Duration::from_secs(1) / u32::try_from(in_a_second).unwrap())
}
