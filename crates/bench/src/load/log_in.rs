//! Users who log in and off, some at a time.

use std::sync::Arc;

use futures_util::future::try_join_all;
use rustls::ClientConfig;
use tokio::runtime::Runtime;

use crate::{
    clock,
    fault::Fault,
    figures::{Figures, LoggedIn},
    load::{Target, enter},
    process::Meter,
    wire::Protocol,
};

/// Who logs in.
pub(super) struct Crowd {
    /// How often somebody does.
    pub(super) count: u64,
    /// How many are at it at once.
    pub(super) at_a_time: usize,
    /// How many there are.
    pub(super) users: u64,
    /// Whether each has logged in once before it is measured.
    pub(super) have_been_here: bool,
}

/// What that costs the server. A log-in ends when the server has ended its connection.
pub(super) fn run<P: Protocol>(
    protocol: &P,
    target: &Target,
    runtime: &Runtime,
    crowd: Crowd,
) -> Result<Figures, Fault> {
    // Made before, so that the generator does not wait for itself.
    let tls = |user| Ok((user, protocol.tls().client(user, &target.authority)?));
    let lanes = lanes(&crowd)?;
    let lanes = lanes.into_iter().map(|lane| {
        let users = lane.users.into_iter().map(tls).collect::<Result<Vec<_>, Fault>>()?;
        Ok((users, lane.visits))
    });
    let lanes = lanes.collect::<Result<Vec<_>, Fault>>()?;

    if crowd.have_been_here {
        let all = lanes.iter().map(|(users, _)| visits(protocol, target, users, users.len()));
        runtime.block_on(try_join_all(all))?;
    }
    let (resident, meter, start) = (target.process.resident()?, Meter::start(&target.process)?, clock::now());
    let all = lanes.iter().map(|(users, count)| visits(protocol, target, users, *count));
    runtime.block_on(try_join_all(all))?;
    let seconds = clock::now().saturating_duration_since(start).as_secs_f64();
    let used = meter.stop()?;
    let resident = [resident, target.process.resident()?];
    Ok(Figures::LoggedIn(LoggedIn::new(crowd.count, crowd.at_a_time, seconds, used, resident)))
}

/// One user after the other comes, and the first again after the last, so often.
async fn visits<P: Protocol>(
    protocol: &P,
    target: &Target,
    users: &[(u64, Arc<ClientConfig>)],
    count: usize,
) -> Result<(), Fault> {
    for (user, config) in users.iter().cycle().take(count) {
        visit(protocol, target, *user, config.clone()).await?;
    }
    Ok(())
}

async fn visit<P: Protocol>(protocol: &P, target: &Target, user: u64, config: Arc<ClientConfig>) -> Result<(), Fault> {
    let mut line = enter(protocol, target, user, config).await?;
    protocol.log_off(&mut line).await?;
    line.end().await
}

/// Users who come one after the other, again and again. No user is in two lanes, so nobody comes twice at once.
#[derive(Debug, PartialEq, Eq)]
struct Lane {
    users: Vec<u64>,
    visits: usize,
}

fn lanes(Crowd { count, at_a_time, users, .. }: &Crowd) -> Result<Vec<Lane>, Fault> {
    let width = u64::try_from(*at_a_time).unwrap_or(u64::MAX);
    if width == 0 || *users < width {
        return Err(Fault::Asked(format!("{at_a_time} at a time, one at least, need as many users, not {users}")));
    }
    let lanes = (0..width).map(|lane| Lane {
        users: (lane..*users).step_by(*at_a_time).collect(),
        visits: (lane..*count).step_by(*at_a_time).count(),
    });
    Ok(lanes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(count: u64, at_a_time: usize, users: u64) -> Crowd {
        Crowd { count, at_a_time, users, have_been_here: true }
    }

    #[test]
    fn nobody_is_in_two_lanes_and_all_visits_are_made() {
        for (count, at_a_time, users) in [(5000, 16, 2000), (100, 7, 10), (3, 8, 8), (10, 1, 1)] {
            let lanes = lanes(&crowd(count, at_a_time, users)).unwrap();
            assert_eq!(lanes.len(), at_a_time);
            assert_eq!(lanes.iter().map(|lane| lane.visits as u64).sum::<u64>(), count);
            let mut all: Vec<_> = lanes.into_iter().flat_map(|lane| lane.users).collect();
            all.sort_unstable();
            assert_eq!(all, (0..users).collect::<Vec<_>>());
        }
        assert!(lanes(&crowd(1, 2, 1)).is_err());
        assert!(lanes(&crowd(1, 0, 1)).is_err());
    }
}
