//! What the relay should reach, and whether it does.

use clap::ValueEnum as _;

use super::{
    BySystem,
    metric::{Metric, metric},
};
use crate::system::System;

/// A bound for one figure of the relay's.
pub(super) struct Goal {
    metric: &'static str,
    /// The figure, for people.
    figure: &'static str,
    bound: Bound,
}

enum Bound {
    /// So many times what the best of the bare pipes has.
    TimesPipe(f64),
    /// Better than all peers.
    EveryPeer,
    /// Better than these.
    Peers(&'static [&'static str]),
    /// No more than this.
    AtMost(f64),
    /// So many times what the relay has of another figure.
    Times(f64, &'static str, &'static str),
}

/// All goals, in the order in which they are shown.
pub(super) const GOALS: &[Goal] = &[
    Goal { metric: "relay-cpu", figure: "Relay at a fixed rate, CPU", bound: Bound::TimesPipe(1.15) },
    Goal { metric: "relay-cpu", figure: "Relay at a fixed rate, CPU", bound: Bound::EveryPeer },
    Goal { metric: "burst-cpu", figure: "Relay in bursts, CPU", bound: Bound::TimesPipe(1.15) },
    Goal { metric: "burst-cpu", figure: "Relay in bursts, CPU", bound: Bound::EveryPeer },
    Goal { metric: "burst-p99", figure: "Relay in bursts, latency p99", bound: Bound::TimesPipe(1.25) },
    Goal { metric: "burst-p99", figure: "Relay in bursts, latency p99", bound: Bound::EveryPeer },
    Goal { metric: "relay-p99", figure: "Relay at a fixed rate, latency p99", bound: Bound::TimesPipe(1.25) },
    Goal { metric: "relay-p99", figure: "Relay at a fixed rate, latency p99", bound: Bound::EveryPeer },
    Goal { metric: "saturated-cpu", figure: "Relay saturated, CPU", bound: Bound::TimesPipe(1.25) },
    Goal { metric: "saturated-cpu", figure: "Relay saturated, CPU", bound: Bound::EveryPeer },
    Goal { metric: "saturated-rate", figure: "Relay saturated, messages/s", bound: Bound::EveryPeer },
    Goal { metric: "log-in-cpu", figure: "Log-in, CPU ms each", bound: Bound::TimesPipe(1.2) },
    Goal { metric: "log-in-cpu", figure: "Log-in, CPU ms each", bound: Bound::Peers(&["mosquitto", "nats-server"]) },
    Goal { metric: "idle-bytes", figure: "Idle connection, bytes each", bound: Bound::AtMost(8000.0) },
    Goal { metric: "5000-pairs", figure: "CPU with 5,000 pairs", bound: Bound::Times(1.2, "50-pairs", "that with 50") },
    Goal {
        metric: "100000-users",
        figure: "CPU with 100,000 registered users",
        bound: Bound::Times(1.2, "10-users", "that with 10"),
    },
    Goal {
        metric: "log-in-of-100000-users",
        figure: "CPU of a log-in with 100,000 registered users",
        bound: Bound::Times(1.2, "log-in-of-10-users", "that with 10"),
    },
    Goal {
        metric: "hold-growth",
        figure: "500 pairs beside 10,000 idle users, growth of memory in MB",
        bound: Bound::AtMost(1.0),
    },
];

/// What came of a goal.
pub(super) struct Outcome {
    /// The figure, and what it was held against.
    pub(super) measured: String,
    /// Whether it is good enough.
    pub(super) is_met: bool,
}

impl Goal {
    /// The goal, for people.
    pub(super) fn text(&self) -> String {
        let metric = metric(self.metric);
        let better = if metric.is_some_and(|metric| metric.more_is_better) { "above" } else { "below" };
        let bound = match self.bound {
            Bound::TimesPipe(times) => format!("at most {times} × the bare pipe"),
            Bound::EveryPeer => format!("{better} every peer"),
            Bound::Peers(peers) => format!("{better} {}", peers.join(", ")),
            Bound::AtMost(most) => {
                format!("at most {}", metric.map_or_else(String::new, |metric| metric.number(most)))
            }
            Bound::Times(times, _, what) => format!("at most {times} × {what}"),
        };
        format!("{}: {bound}", self.figure)
    }

    /// Whether it is met, if enough was measured to say so. `of` has the figures of a metric.
    pub(super) fn outcome(&self, of: impl Fn(&Metric) -> BySystem) -> Option<Outcome> {
        let metric = metric(self.metric)?;
        let figures = of(metric);
        let ours = ours(&figures)?;
        let times = |most: f64, base: f64| {
            let ratio = ours / base;
            Outcome { measured: format!("{ratio:.2} ×"), is_met: ratio <= most }
        };
        match self.bound {
            Bound::TimesPipe(most) => Some(times(most, metric.pipe(&figures)?)),
            Bound::AtMost(most) => Some(Outcome { measured: metric.number(ours), is_met: ours <= most }),
            Bound::Times(most, base, _) => Some(times(most, self::ours(&of(self::metric(base)?))?)),
            Bound::EveryPeer => {
                let peers: Vec<_> =
                    System::value_variants().iter().filter(|system| system.package().is_some()).collect();
                let peers: Vec<_> = peers.into_iter().map(|system| system.name()).collect();
                against(metric, &figures, ours, |system| peers.iter().any(|peer| peer == system))
            }
            Bound::Peers(peers) => against(metric, &figures, ours, |system| peers.contains(&system)),
        }
    }
}

/// Held against the best of some others.
fn against(metric: &Metric, figures: &BySystem, ours: f64, is_peer: impl Fn(&str) -> bool) -> Option<Outcome> {
    let (best, summary) = metric.ranked(figures).into_iter().find(|(system, _)| is_peer(system))?;
    let is_met = if metric.more_is_better { ours > summary.median } else { ours < summary.median };
    Some(Outcome { measured: format!("{}; {best} {}", metric.number(ours), metric.number(summary.median)), is_met })
}

fn ours(figures: &BySystem) -> Option<f64> {
    figures.get(&System::Sottovoce.name()).map(|summary| summary.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_names_figures_that_there_are() {
        for goal in GOALS {
            assert!(metric(goal.metric).is_some(), "{}", goal.metric);
            if let Bound::Times(_, base, _) = goal.bound {
                assert!(metric(base).is_some(), "{base}");
            }
            if let Bound::Peers(peers) = goal.bound {
                assert!(peers.iter().all(|peer| System::from_str(peer, false).is_ok_and(|it| it.package().is_some())));
            }
        }
    }
}
