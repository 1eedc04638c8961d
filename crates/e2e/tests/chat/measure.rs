//! How long things take: `cargo test --release -p e2e --test chat -- --ignored --nocapture measure`.

use std::time::Instant;

use e2e::{Chat, Invitation};

use crate::common::{CHAT, Side, alice, bob, pair, rng, text};

#[expect(clippy::disallowed_methods, reason = "a measurement needs the clock")]
fn micros<T>(runs: usize, mut run: impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    for _ in 0..runs {
        std::hint::black_box(run());
    }
    start.elapsed().as_secs_f64() * 1e6 / runs as f64
}

#[test]
#[ignore = "measurement"]
fn measure() {
    let (alice, bob) = (alice(), bob());
    let mut rng = rng(1);
    let invite = micros(500, || Invitation::new(&bob, &mut rng).unwrap());
    let (_, package) = Invitation::new(&bob, &mut rng).unwrap();
    let (mut chat, welcome) = Chat::create(&alice, CHAT, bob.member(), &package, &mut rng).unwrap();
    let short = chat.seal(&crate::common::header(0, 0), &text("hello"), &mut rng).unwrap();
    let long = chat.seal(&crate::common::header(0, 0), &text(&"x".repeat(16_384)), &mut rng).unwrap();
    println!(
        "bytes: package {}, welcome {}, short text {}, longest {}",
        package.len(),
        welcome.len(),
        short.len(),
        long.len()
    );
    let create = micros(500, || Chat::create(&alice, CHAT, bob.member(), &package, &mut rng).unwrap());
    let whole = micros(500, || {
        let (invitation, package) = Invitation::new(&bob, &mut rng).unwrap();
        let (hers, welcome) = Chat::create(&alice, CHAT, bob.member(), &package, &mut rng).unwrap();
        (hers, invitation.join(CHAT, alice.member(), &welcome, &mut rng).unwrap())
    });
    println!(
        "set-up: both sides {whole:.0} µs; invite {invite:.0}, create {create:.0}, join {:.0}",
        whole - invite - create
    );

    for length in [32, 1_024, 16_384] {
        let (mut sum_seal, mut sum_open) = (0.0, 0.0);
        for seed in 0..20 {
            let (mut hers, mut his) = pair(seed);
            let words = "x".repeat(length);
            let content = text(&words);
            let mut frames = Vec::new();
            sum_seal += micros(50, || frames.push(say(&mut hers, &content)));
            let mut frames = frames.iter();
            sum_open += micros(50, || his.open(frames.next().unwrap()).unwrap());
        }
        println!("text of {length} bytes: seal {:.0} µs, open {:.0} µs", sum_seal / 20.0, sum_open / 20.0);
    }

    let (mut hers, mut his) = pair(1);
    let (mut renew, mut open, mut size) = (0.0, 0.0, 0);
    for _ in 0..100 {
        for swap in [false, true] {
            let (from, to) = if swap { (&mut his, &mut hers) } else { (&mut hers, &mut his) };
            let mut frame = None;
            renew += micros(1, || frame = Some(from.renew()));
            let frame = frame.unwrap();
            size = frame.sealed.len();
            open += micros(1, || to.open(&frame).unwrap());
        }
    }
    println!("renewal of {size} bytes: renew {:.0} µs, open {:.0} µs", renew / 200.0, open / 200.0);
}

fn say(side: &mut Side, content: &protocol::Content) -> crate::common::Frame {
    let header = crate::common::header(side.counter, 0);
    side.counter += 1;
    crate::common::Frame { header, sealed: side.chat.seal(&header, content, &mut side.rng).unwrap() }
}
