//! Users who are logged in and do nothing.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::{runtime::Runtime, time::interval};

use crate::{
    clock,
    fault::Fault,
    figures::{Figures, Idled},
    load::{Target, log_in_all, settle},
    wire::{Line, Protocol},
};

/// For what a server clears away once nobody logs in any more.
const SETTLES_IN: Duration = Duration::from_secs(3);
/// Between two signs of life of the same user.
const SHOWS_LIFE_EVERY: Duration = Duration::from_secs(6);

/// How much memory they cost the server. All of them must still be there in the end.
pub(super) fn run<P: Protocol>(
    protocol: &P,
    target: &Target,
    runtime: &Runtime,
    connections: u64,
) -> Result<Figures, Fault> {
    let before = target.process.resident()?;
    let mut lines = runtime.block_on(log_in_all(protocol, target, 0..connections))?;
    settle(runtime, SETTLES_IN);
    let after = target.process.resident()?;
    // Unconstrained, since tokio would have the later ones wait for their turn.
    runtime.block_on(tokio::task::unconstrained(async {
        match lines.iter_mut().find_map(|line| line.closed().now_or_never()) {
            Some(fault) => Err(fault),
            None => Ok(Figures::Idled(Idled::new(connections, [before, after]))),
        }
    }))
}

/// Has users show in turn that they are there, each every [`SHOWS_LIFE_EVERY`], until `end`.
///
/// # Errors
/// [`Fault`] when one is not answered as it should be.
pub(super) async fn stay<P: Protocol>(protocol: &P, lines: &mut [Line], end: Instant) -> Result<(), Fault> {
    let Some(share) = u32::try_from(lines.len()).ok().and_then(|count| SHOWS_LIFE_EVERY.checked_div(count)) else {
        return Ok(());
    };
    // At least a nanosecond: there is no interval of nothing.
    let mut turns = interval(share.max(Duration::from_nanos(1)));
    loop {
        for line in &mut *lines {
            turns.tick().await;
            if clock::now() >= end {
                return Ok(());
            }
            protocol.show_life(line).await?;
        }
    }
}
