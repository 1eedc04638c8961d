//! Users who are logged in and do nothing.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::Runtime;

use crate::{
    fault::Fault,
    figures::{Figures, Idled},
    load::{Target, log_in_all, settle},
    wire::Protocol,
};

/// For what a server clears away once nobody logs in any more.
const SETTLES_IN: Duration = Duration::from_secs(3);

/// How much memory they cost the server. All of them must still be there in the end.
pub(super) fn run<P: Protocol>(
    protocol: &P,
    target: &Target,
    runtime: &Runtime,
    connections: u64,
) -> Result<Figures, Fault> {
    let before = target.process.resident()?;
    let mut lines = runtime.block_on(log_in_all(protocol, target, connections))?;
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
