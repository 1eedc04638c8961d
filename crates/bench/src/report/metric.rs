//! The figures that are compared.

use super::{BySystem, Summary};
use crate::figures::{Figures, Relayed};

/// One figure of one kind of work.
pub(super) struct Metric {
    /// How a row calls the work.
    pub(super) work: &'static str,
    /// How its plot is called, and goals name it.
    pub(super) name: &'static str,
    /// What a person reads.
    pub(super) title: &'static str,
    /// The unit, as the head of a column.
    pub(super) unit: &'static str,
    /// The figure of a run.
    pub(super) value: fn(&Figures) -> Option<f64>,
    /// Whether more is better.
    pub(super) more_is_better: bool,
    /// Digits behind the point.
    digits: usize,
    /// The bare pipes that it is held against: the best of them.
    pipes: &'static [&'static str],
}

/// All of them, in the order in which they are shown.
pub(super) const METRICS: &[Metric] = &[
    relayed("relay", "relay-cpu", "Relay at a fixed rate: CPU", "s per 100,000", cpu, 3),
    relayed(
        "relay",
        "relay-p50",
        "Relay at a fixed rate: median latency",
        "p50, µs",
        |it| of_relayed(it).map(|it| it.latency.p50_us),
        0,
    ),
    relayed("relay", "relay-p99", "Relay at a fixed rate: latency", "p99, µs", p99, 0),
    relayed(
        "relay",
        "relay-p999",
        "Relay at a fixed rate: latency of the slowest",
        "p99.9, µs",
        |it| of_relayed(it).map(|it| it.latency.p999_us),
        0,
    ),
    relayed("relay-in-bursts", "burst-cpu", "Relay at a fixed rate, in bursts: CPU", "s per 100,000", cpu, 3),
    relayed("relay-in-bursts", "burst-p99", "Relay at a fixed rate, in bursts: latency", "p99, µs", p99, 0),
    Metric {
        pipes: &[],
        ..relayed(
            "relay",
            "relay-lateness",
            "Relay at a fixed rate: how late the generator was, which the latency includes",
            "p99, µs",
            |it| of_relayed(it).map(|it| it.lateness.p99_us),
            0,
        )
    },
    Metric {
        pipes: &["pipe-gathering"],
        ..relayed("saturated", "saturated-cpu", "Relay saturated: CPU", "s per 100,000", cpu, 3)
    },
    Metric {
        pipes: &["pipe-gathering"],
        more_is_better: true,
        ..relayed(
            "saturated",
            "saturated-rate",
            "Relay saturated: rate",
            "messages/s",
            |it| of_relayed(it).map(|it| it.messages_per_second),
            0,
        )
    },
    logged_in("log-in", "log-in-cpu", "Log-in and log-off: CPU"),
    logged_in("first-log-in", "first-log-in-cpu", "First log-in since the server started: CPU"),
    Metric {
        work: "idle",
        name: "idle-bytes",
        title: "Idle connection: memory",
        unit: "bytes each",
        value: |figures| match figures {
            Figures::Idled(it) => Some(it.bytes_each),
            _ => None,
        },
        more_is_better: false,
        digits: 0,
        pipes: &["pipe"],
    },
    growth("50-pairs", "Growth: CPU with 50 pairs"),
    growth("5000-pairs", "Growth: CPU with 5,000 pairs"),
    growth("10-users", "Growth: CPU with 10 registered users, 5 pairs"),
    growth("100000-users", "Growth: CPU with 100,000 registered users, 5 pairs"),
    growth_of_log_in("log-in-of-10-users", "Growth: log-in with 10 registered users"),
    growth_of_log_in("log-in-of-100000-users", "Growth: log-in with 100,000 registered users"),
    relayed(
        "hold",
        "hold-growth",
        "500 pairs beside 10,000 idle users: growth of memory from the first half of the time to the second",
        "MB",
        |it| of_relayed(it)?.growth().map(|bytes| bytes / 1e6),
        2,
    ),
    relayed("hold", "hold-p99", "500 pairs beside 10,000 idle users: latency", "p99, µs", p99, 0),
    relayed(
        "hold",
        "hold-cpu",
        "500 pairs beside 10,000 idle users: CPU, the idle users' signs of life in it",
        "s per 100,000",
        cpu,
        3,
    ),
];

/// The metric of that name.
pub(super) fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

const fn relayed(
    work: &'static str,
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    value: fn(&Figures) -> Option<f64>,
    digits: usize,
) -> Metric {
    Metric { work, name, title, unit, value, more_is_better: false, digits, pipes: &["pipe", "pipe-gathering"] }
}

const fn logged_in(work: &'static str, name: &'static str, title: &'static str) -> Metric {
    Metric { pipes: &["pipe"], ..relayed(work, name, title, "ms each", log_in, 3) }
}

const fn growth(work: &'static str, title: &'static str) -> Metric {
    relayed(work, work, title, "s per 100,000", cpu, 3)
}

const fn growth_of_log_in(work: &'static str, title: &'static str) -> Metric {
    relayed(work, work, title, "ms each", log_in, 3)
}

fn cpu(figures: &Figures) -> Option<f64> {
    of_relayed(figures).map(|it| it.cpu_per_100k)
}

fn p99(figures: &Figures) -> Option<f64> {
    of_relayed(figures).map(|it| it.latency.p99_us)
}

fn of_relayed(figures: &Figures) -> Option<&Relayed> {
    match figures {
        Figures::Relayed(it) => Some(it),
        _ => None,
    }
}

fn log_in(figures: &Figures) -> Option<f64> {
    match figures {
        Figures::LoggedIn(it) => Some(it.cpu_ms_each),
        _ => None,
    }
}

impl Metric {
    /// The file of its plot.
    pub(super) fn plot(&self) -> String {
        format!("{}.svg", self.name)
    }

    /// The median of the bare pipe that did best.
    pub(super) fn pipe(&self, figures: &BySystem) -> Option<f64> {
        let medians = self.pipes.iter().filter_map(|pipe| figures.get(*pipe)).map(|summary| summary.median);
        medians.reduce(if self.more_is_better { f64::max } else { f64::min })
    }

    /// All systems, the best first.
    pub(super) fn ranked<'a>(&self, figures: &'a BySystem) -> Vec<(&'a str, &'a Summary)> {
        let mut ranked: Vec<_> = figures.iter().map(|(system, summary)| (system.as_str(), summary)).collect();
        ranked.sort_by(|(_, a), (_, b)| a.median.total_cmp(&b.median));
        if self.more_is_better {
            ranked.reverse();
        }
        ranked
    }

    /// Median, least and most.
    pub(super) fn shown(&self, summary: &Summary) -> String {
        let [median, least, most] = [summary.median, summary.least, summary.most].map(|value| self.number(value));
        format!("{median} ({least}–{most})")
    }

    /// A value with the digits that it has, thousands parted.
    pub(super) fn number(&self, value: f64) -> String {
        let text = format!("{value:.*}", self.digits);
        let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
        let mut number = String::new();
        for (left, digit) in (0..whole.len()).rev().zip(whole.chars()) {
            number.push(digit);
            if left > 0 && left.is_multiple_of(3) && digit != '-' {
                number.push(',');
            }
        }
        rest.map_or(number.clone(), |rest| format!("{number}.{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_parted() {
        let (bytes, cpu) = (metric("idle-bytes").unwrap(), metric("relay-cpu").unwrap());
        for (value, shown) in [(0.4, "0"), (999.0, "999"), (1000.0, "1,000"), (890_123.0, "890,123"), (-999.0, "-999")]
        {
            assert_eq!(bytes.number(value), shown);
        }
        assert_eq!(cpu.number(1234.5), "1,234.500");
    }

    #[test]
    fn the_best_comes_first_and_the_best_pipe_counts() {
        let of = |value| Summary::of(vec![value]).unwrap();
        let figures = BySystem::from([
            ("pipe".to_owned(), of(2.0)),
            ("pipe-gathering".to_owned(), of(3.0)),
            ("ngircd".to_owned(), of(1.0)),
        ]);
        let (cpu, rate) = (metric("relay-cpu").unwrap(), metric("saturated-rate").unwrap());
        assert_eq!(cpu.ranked(&figures)[0].0, "ngircd");
        assert_eq!(rate.ranked(&figures)[0].0, "pipe-gathering");
        assert_eq!((cpu.pipe(&figures), rate.pipe(&figures)), (Some(2.0), Some(3.0)));
        assert_eq!(cpu.pipe(&BySystem::new()), None);
    }
}
