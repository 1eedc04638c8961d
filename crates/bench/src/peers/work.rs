//! What the servers are put to, and which of them.

use clap::ValueEnum;

use crate::system::System;

/// A kind of work, as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// 20,000 messages a second over 50 pairs: evenly spread, and together each millisecond.
    Relay,
    /// As many messages as the server passes on, 32 under way in each of 50 pairs.
    Saturated,
    /// Log-ins and log-offs, server and generator each on a core of its own.
    LogIn,
    /// 10,000 users who do nothing.
    Idle,
    /// The relay with many pairs against few, beside the bare pipe, and with many registered users against few.
    Growth,
    /// 500 pairs that talk beside 10,000 users who do nothing, sixty times as long as other messages are relayed: whether
    /// the memory stays as it is. The relay alone.
    Hold,
}

/// One thing to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// What a row calls it.
    pub(crate) name: &'static str,
    /// What the load generator is told, without what depends on the server.
    pub(crate) load: Vec<String>,
    /// Users that the server has to know.
    pub(crate) users: u64,
    /// Whether server and generator are each kept on a core of their own.
    pub(crate) is_pinned: bool,
}

impl Work {
    /// Rounds that its figures need, if nobody asks for another number: batches form in another way each time.
    pub(crate) fn rounds(self) -> usize {
        match self {
            Self::Saturated => 6,
            Self::Hold => 1,
            _ => 3,
        }
    }

    /// Whether `system` is put to it.
    pub(crate) fn includes(self, system: System) -> bool {
        match self {
            Self::Relay | Self::Saturated => system != System::PipeClassical,
            Self::LogIn | Self::Idle => system != System::PipeGathering,
            Self::Growth => matches!(system, System::Sottovoce | System::Pipe),
            Self::Hold => system == System::Sottovoce,
        }
    }

    /// What is measured of it. `seconds` is how long messages are relayed.
    pub(crate) fn tasks(self, system: System, seconds: u32) -> Vec<Task> {
        let mut tasks = self.all_tasks(seconds);
        if system != System::Sottovoce {
            // No other has a directory of users that could grow.
            tasks.retain(|task| !task.name.ends_with("-users"));
        }
        if system.package().is_some() {
            // Theirs is not looked into.
            tasks.retain(|task| task.name != "first-log-in");
        }
        tasks
    }

    fn all_tasks(self, seconds: u32) -> Vec<Task> {
        let task = |name, load: &str, users, is_pinned| {
            let relays = load.starts_with("relay") || load.starts_with("saturated");
            let mut load: Vec<_> = load.split(' ').map(str::to_owned).collect();
            if relays {
                let seconds = if self == Self::Hold { seconds.saturating_mul(60) } else { seconds };
                load.extend(["--seconds".to_owned(), seconds.to_string()]);
            }
            Task { name, load, users, is_pinned }
        };
        match self {
            // Once as many people are, which shows what waking costs, and once with 20 messages at a time, which shows what
            // the messages do.
            Self::Relay => {
                vec![task("relay", "relay", 100, false), task("relay-in-bursts", "relay --tick 1", 100, false)]
            }
            Self::Saturated => vec![task("saturated", "saturated", 100, false)],
            Self::LogIn => vec![
                task("log-in", "log-in", 2000, true),
                task("first-log-in", "log-in --first --count 2000", 2000, true),
            ],
            Self::Idle => vec![task("idle", "idle", 10_000, false)],
            Self::Growth => vec![
                task("50-pairs", "relay --pairs 50", 10_000, false),
                task("5000-pairs", "relay --pairs 5000", 10_000, false),
                task("10-users", "relay --pairs 5", 10, false),
                task("100000-users", "relay --pairs 5", 100_000, false),
                task("log-in-of-10-users", "log-in --users 10 --at-a-time 5", 10, true),
                task("log-in-of-100000-users", "log-in --users 2000 --at-a-time 5", 100_000, true),
            ],
            Self::Hold => vec![task("hold", "relay --pairs 500 --idle 10000", 11_000, false)],
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::Arguments;

    #[test]
    fn the_load_generator_understands_every_task_and_no_two_have_a_name() {
        let mut names = Vec::new();
        for task in Work::value_variants().iter().flat_map(|work| work.all_tasks(7)) {
            let begin = "bench load --system pipe --address 127.0.0.1:1 --authority a --pid 1";
            let arguments = begin.split(' ').map(str::to_owned).chain(task.load);
            Arguments::try_parse_from(arguments).unwrap();
            names.push(task.name);
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn only_the_relay_is_given_users_to_register() {
        let names = |system| Work::Growth.tasks(system, 7).into_iter().map(|task| task.name).collect::<Vec<_>>();
        assert_eq!(names(System::Pipe), ["50-pairs", "5000-pairs"]);
        assert_eq!(names(System::Sottovoce).len(), 6);
    }
}
