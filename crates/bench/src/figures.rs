//! What is measured, and how it is kept: a row of JSON for each run.

use serde::{Deserialize, Serialize};

use crate::process::Used;

/// A run, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The server, by the name that `--system` gives it.
    pub(crate) system: String,
    /// What it was put to, by the names of `bench peers run --work`.
    pub(crate) work: String,
    /// Counted from 1.
    pub(crate) round: usize,
    /// When the run began, as RFC 3339 has it.
    pub(crate) began: String,
    /// The command of the load generator, without its path.
    pub(crate) command: String,
    /// What was measured.
    pub(crate) figures: Figures,
}

/// What was measured, by kind of work.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figures {
    /// Of messages that were passed on.
    Relayed(Relayed),
    /// Of users who came and went.
    LoggedIn(LoggedIn),
    /// Of users who were there.
    Idled(Idled),
}

/// Messages were passed on between pairs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Relayed {
    /// Pairs that talked.
    pub(crate) pairs: u64,
    /// Users besides them who were there.
    pub(crate) idle: u64,
    /// Bytes of each payload.
    pub(crate) size: usize,
    /// Seconds that were measured.
    pub(crate) seconds: f64,
    /// Messages that came in that time.
    pub(crate) messages: u64,
    /// Messages that came in a second: less than the rate that was asked for, if the server did not keep up.
    pub(crate) messages_per_second: f64,
    /// Seconds that the server computed in that time.
    pub(crate) cpu_seconds: f64,
    /// Seconds that others than server and generator computed in that time.
    pub(crate) others_cpu_seconds: f64,
    /// Seconds that the server computes for 100,000 messages.
    pub(crate) cpu_per_100k: f64,
    /// From when a message was due to its arrival; at a fixed rate of all that were due in that time.
    pub(crate) latency: Latency,
    /// From when a message was due to when the load generator handed it to the system: how late the generator was.
    pub(crate) lateness: Latency,
    /// Bytes that the server had resident before the first connection, and at the end.
    pub(crate) resident: [u64; 2],
    /// The same in the time that is measured: at its beginning, every ten seconds, and at its end.
    pub(crate) resident_meanwhile: Vec<u64>,
}

/// Microseconds, at some percentiles.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// The median.
    pub(crate) p50_us: f64,
    /// Of a hundred, one takes longer.
    pub(crate) p99_us: f64,
    /// Of a thousand, one takes longer.
    pub(crate) p999_us: f64,
    /// The longest.
    pub(crate) max_us: f64,
}

/// Users logged in and off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LoggedIn {
    /// How often.
    pub(crate) count: u64,
    /// How many were at it at once.
    pub(crate) at_a_time: usize,
    /// Seconds that all took.
    pub(crate) seconds: f64,
    /// Seconds that the server computed.
    pub(crate) cpu_seconds: f64,
    /// Seconds that others than server and generator computed.
    pub(crate) others_cpu_seconds: f64,
    /// Milliseconds that the server computed for each.
    pub(crate) cpu_ms_each: f64,
    /// Log-ins a second.
    pub(crate) per_second: f64,
    /// Bytes that the server had resident before, and at the end.
    pub(crate) resident: [u64; 2],
}

/// Users were logged in and did nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Idled {
    /// How many.
    pub(crate) connections: u64,
    /// Bytes that the server had resident before the first of them, and with all.
    pub(crate) resident: [u64; 2],
    /// Bytes for each.
    pub(crate) bytes_each: f64,
}

impl Figures {
    /// How much of the machine others than server and generator took, as a part of one core, where that was measured.
    pub(crate) fn others(&self) -> Option<f64> {
        match self {
            Self::Relayed(it) => Some(it.others_cpu_seconds / it.seconds),
            Self::LoggedIn(it) => Some(it.others_cpu_seconds / it.seconds),
            Self::Idled(_) => None,
        }
    }
}

impl Relayed {
    /// Bytes by which the most that the server had resident in the second half of the time is above the most that it had
    /// in the first; below, if negative.
    pub(crate) fn growth(&self) -> Option<f64> {
        let (first, second) = self.resident_meanwhile.split_at(self.resident_meanwhile.len().div_ceil(2));
        Some(*second.iter().max()? as f64 - *first.iter().max()? as f64)
    }
}

impl Latency {
    /// Of times in nanoseconds.
    pub(crate) fn of(times: &hdrhistogram::Histogram<u64>) -> Self {
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
        let at = |quantile| microseconds(times.value_at_quantile(quantile));
        Self { p50_us: at(0.5), p99_us: at(0.99), p999_us: at(0.999), max_us: microseconds(times.max()) }
    }
}

impl LoggedIn {
    /// From what was counted.
    pub(crate) fn new(count: u64, at_a_time: usize, seconds: f64, used: Used, resident: [u64; 2]) -> Self {
        let Used { cpu: cpu_seconds, others: others_cpu_seconds } = used;
        let (cpu_ms_each, per_second) = (1000.0 * cpu_seconds / count as f64, count as f64 / seconds);
        Self { count, at_a_time, seconds, cpu_seconds, others_cpu_seconds, cpu_ms_each, per_second, resident }
    }
}

impl Idled {
    /// From what was counted.
    pub(crate) fn new(connections: u64, resident: [u64; 2]) -> Self {
        let [before, after] = resident;
        Self { connections, resident, bytes_each: (after as f64 - before as f64) / connections as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut times = hdrhistogram::Histogram::<u64>::new(3).unwrap();
        for microseconds in 1..=1000 {
            times.record(microseconds * 1000).unwrap();
        }
        let Latency { p50_us, p99_us, p999_us, max_us } = Latency::of(&times);
        for (got, expected) in [(p50_us, 500.0), (p99_us, 990.0), (p999_us, 999.0), (max_us, 1000.0)] {
            assert!((got / expected - 1.0).abs() < 0.002, "{got} {expected}");
        }
    }

    #[test]
    fn memory_grows_from_the_first_half_to_the_second() {
        let (latency, lateness) = (Latency::default(), Latency::default());
        let relayed = |resident_meanwhile| Relayed {
            pairs: 1,
            idle: 0,
            size: 256,
            seconds: 10.0,
            messages: 1,
            messages_per_second: 0.1,
            cpu_seconds: 1.0,
            others_cpu_seconds: 0.0,
            cpu_per_100k: 1.0,
            latency,
            lateness,
            resident: [0, 0],
            resident_meanwhile,
        };
        assert_eq!(relayed(vec![10, 30, 20, 50, 40]).growth(), Some(20.0));
        assert_eq!(relayed(vec![10, 30, 20, 25]).growth(), Some(-5.0));
        assert_eq!(relayed(vec![10]).growth(), None);
    }

    #[test]
    fn figures_are_of_each_log_in_and_each_connection() {
        let logged_in = LoggedIn::new(2000, 16, 4.0, Used { cpu: 0.5, others: 1.0 }, [0, 0]);
        assert_eq!((logged_in.cpu_ms_each, logged_in.per_second), (0.25, 500.0));
        assert_eq!(Figures::LoggedIn(logged_in).others(), Some(0.25));
        assert_eq!(Idled::new(100, [1000, 801_000]).bytes_each, 8000.0);
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let row = Row {
            system: "pipe".to_owned(),
            work: "idle".to_owned(),
            round: 2,
            began: "2026-01-02T03:04:05Z".to_owned(),
            command: "bench load …".to_owned(),
            figures: Figures::Idled(Idled::new(1, [2, 3])),
        };
        let text = serde_json::to_string(&row).unwrap();
        let read: Row = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert!(matches!(read.figures, Figures::Idled(Idled { resident: [2, 3], .. })));
    }
}
