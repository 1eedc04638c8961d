//! Pairs that talk: at a fixed rate, or as fast as the server lets them.

mod talkers;

use std::{
    thread,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hdrhistogram::Histogram;
use tokio::runtime::Runtime;

use self::talkers::{Drive, Heard, Talkers, Window};
use crate::{
    clock,
    fault::Fault,
    figures::{Figures, Latency, Relayed},
    load::{Talk, Target, conversation::Conversation, idle, log_in_all},
    process::{Meter, Used},
    schedule::Schedule,
    wire::{End, Protocol},
};

/// From the set-up of the last pair to the first message.
const BEFORE_START: Duration = Duration::from_millis(100);
/// Between two looks at the server's memory.
const LOOKS_EVERY: Duration = Duration::from_secs(10);

/// Messages at a fixed rate, by one thread, which sleeps in between.
pub(super) fn at_rate<P: Protocol>(
    protocol: &P,
    target: &Target,
    runtime: &Runtime,
    schedule: Schedule,
    talk: &Talk,
) -> Result<Figures, Fault> {
    measure(protocol, target, runtime, Drive::Rate(schedule), 1, talk)
}

/// As many messages as the server passes on, by several threads.
pub(super) fn saturated<P: Protocol>(
    protocol: &P,
    target: &Target,
    runtime: &Runtime,
    in_flight: u64,
    threads: usize,
    talk: &Talk,
) -> Result<Figures, Fault> {
    measure(protocol, target, runtime, Drive::Saturated { in_flight }, threads.max(1), talk)
}

fn measure<P: Protocol>(
    protocol: &P,
    target: &Target,
    runtime: &Runtime,
    drive: Drive,
    threads: usize,
    talk: &Talk,
) -> Result<Figures, Fault> {
    let before = target.process.resident()?;
    let pairs = runtime.block_on(pair_up(protocol, target, talk))?;
    let talkers = talk.pairs.saturating_mul(2);
    let mut others = runtime.block_on(log_in_all(protocol, target, talkers..talkers.saturating_add(talk.idle)))?;
    let per_thread = pairs.len().div_ceil(threads).max(1);
    let (warm_up, seconds) = (Duration::from_secs(talk.warm_up.into()), Duration::from_secs(talk.seconds.into()));
    let window = Window { from: warm_up, to: warm_up.saturating_add(seconds) };

    let mut pairs = pairs.into_iter();
    let mut crews = Vec::new();
    loop {
        let ends: Vec<_> = pairs.by_ref().take(per_thread).flatten().collect();
        if ends.is_empty() {
            break;
        }
        crews.push(Talkers::new(ends, drive, window)?);
    }
    let now = clock::now();
    let start = now.checked_add(BEFORE_START).unwrap_or(now);
    let end = start.checked_add(window.to).unwrap_or(start);
    let (heard, used, meanwhile) = thread::scope(|scope| {
        let crews: Vec<_> = crews.into_iter().map(|crew| scope.spawn(move || crew.talk(start))).collect();
        let others = scope.spawn(|| runtime.block_on(idle::stay(protocol, &mut others, end)));
        let used = used_in(target, start, window);
        let mut heard = Heard::new()?;
        for crew in crews {
            heard.add(crew.join().map_err(panicked)??);
        }
        others.join().map_err(panicked)??;
        let (used, meanwhile) = used?;
        Ok::<_, Fault>((heard, used, meanwhile))
    })?;

    let (seconds, messages) = (seconds.as_secs_f64(), heard.messages);
    Ok(Figures::Relayed(Relayed {
        pairs: talk.pairs,
        idle: talk.idle,
        size: talk.size,
        seconds,
        messages,
        messages_per_second: messages as f64 / seconds,
        cpu_seconds: used.cpu,
        others_cpu_seconds: used.others,
        cpu_per_100k: used.cpu * 100_000.0 / messages as f64,
        latency: Latency::of(&heard.latency),
        lateness: Latency::of(&heard.lateness),
        resident: [before, target.process.resident()?],
        resident_meanwhile: meanwhile,
    }))
}

/// What the server computes in the window, and the memory that it has then.
fn used_in(target: &Target, start: Instant, window: Window) -> Result<(Used, Vec<u64>), Fault> {
    let wait = |offset| clock::wait_until(start.checked_add(offset).unwrap_or(start));
    wait(window.from);
    let meter = Meter::start(&target.process)?;
    let (mut at, mut resident) = (window.from, vec![target.process.resident()?]);
    while at < window.to {
        at = at.saturating_add(LOOKS_EVERY).min(window.to);
        wait(at);
        resident.push(target.process.resident()?);
    }
    Ok((meter.stop()?, resident))
}

fn panicked<T>(_what: T) -> Fault {
    Fault::Said("a thread of the generator panicked".to_owned())
}

/// Both ends of all pairs.
async fn pair_up<P: Protocol>(
    protocol: &P,
    target: &Target,
    talk: &Talk,
) -> Result<Vec<[Conversation<P::Talker>; 2]>, Fault> {
    let lines = log_in_all(protocol, target, 0..talk.pairs.saturating_mul(2)).await?;
    let mut users = (0..).zip(lines);
    let pairs = std::iter::from_fn(|| Some((users.next()?, users.next()?)));
    let pair_up = |((caller, mut caller_line), (callee, mut callee_line))| async move {
        let ends = (End { line: &mut caller_line, user: caller }, End { line: &mut callee_line, user: callee });
        let (caller, callee) = protocol.pair_up(ends.0, ends.1).await?;
        Ok([Conversation::new(caller_line, caller, talk.size)?, Conversation::new(callee_line, callee, talk.size)?])
    };
    stream::iter(pairs).map(pair_up).buffered(target.at_a_time).try_collect().await
}

/// Times from a nanosecond to an hour, to a thousandth.
fn histogram() -> Result<Histogram<u64>, Fault> {
    let longest = u64::try_from(Duration::from_secs(3600).as_nanos()).unwrap_or(u64::MAX);
    Histogram::new_with_max(longest, 3).map_err(|error| Fault::Asked(error.to_string()))
}
