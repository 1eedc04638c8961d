//! What people at the ends wait for, and what a face costs them, held against the goals. The rows are those of
//! `cargo bench -p sottovoce --bench terminal`.

use std::fmt::Write as _;

use serde::Deserialize;

use super::Summary;

/// The file of the rows.
pub(super) const FILE: &str = "people.jsonl";

/// What is read of a row.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Row {
    work: String,
    /// Of a run that shows whether there can be figures, and gives none.
    quick: bool,
    /// Processors that others on the machine kept busy.
    others_cores: f64,
    p50: f64,
    p99: f64,
}

/// A bound for what 99 of 100 wait at most, or for memory, of which each run has one figure.
struct Goal {
    what: &'static str,
    work: &'static str,
    most: f64,
    unit: &'static str,
}

const fn wait(what: &'static str, work: &'static str, most: f64) -> Goal {
    Goal { what, work, most, unit: "ms" }
}

const fn memory(what: &'static str, work: &'static str) -> Goal {
    Goal { what, work, most: 40.0, unit: "MB" }
}

/// All goals, in the order in which they are shown.
const GOALS: &[Goal] = &[
    wait("a message from Enter to the peer's screen", "key-to-peers-screen", 5.0),
    wait("acceptance to `chat_started` on both sides", "accept-to-chat", 25.0),
    wait("the same, with keys that are pinned meanwhile", "accept-to-first-chat", 25.0),
    wait("10,000 are online: from a key to the first page on the screen", "list-of-10000", 20.0),
    memory("the most memory of the full-screen face in a chat of 10,000 messages", "memory-full-screen"),
    memory("the same of the face for programs", "memory-json"),
    wait("start to password prompt, full screen", "start-full-screen", 50.0),
    wait("start to password prompt, plain lines", "start-line", 50.0),
    wait("back after a cut of 300 ms, with all that was said", "back-after-300-ms", 1000.0),
    wait("back after a cut of 2 s", "back-after-2-s", 1000.0),
    wait("back after a cut of 20 s", "back-after-20-s", 1000.0),
    wait("back after 20 s without a link, of which the system tells", "back-after-20-s-without-link", 1000.0),
];

/// A table of the goals, those that nothing was measured for among them.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = String::from("| for the people at the ends | goal | measured | met |\n|---|---|---|---|\n");
    for goal in GOALS {
        let (measured, met) = goal.outcome(rows);
        let kind = if goal.unit == "ms" { "p99 " } else { "" };
        let _ = writeln!(text, "| {} | {kind}≤ {} {} | {measured} | {met} |", goal.what, goal.most, goal.unit);
    }
    if let Some(others) = Summary::of(rows.iter().map(|row| row.others_cores).collect()) {
        let _ = writeln!(
            text,
            "\nMedians of the runs, and in brackets the least and the most. Beside what was measured, others on the machine \
             took {:.2} cores ({:.2}–{:.2}).",
            others.median, others.least, others.most
        );
    }
    text
}

impl Goal {
    fn outcome(&self, rows: &[Row]) -> (String, &'static str) {
        let rows: Vec<_> = rows.iter().filter(|row| row.work == self.work).collect();
        let of =
            |value: fn(&Row) -> f64| Summary::of(rows.iter().filter(|row| !row.quick).map(|row| value(row)).collect());
        let (Some(most), Some(half)) = (of(|row| row.p99), of(|row| row.p50)) else {
            return (if rows.is_empty() { "not measured" } else { "only a quick run" }.to_owned(), "–");
        };
        let unit = self.unit;
        let mut measured = format!("{:.1} {unit} ({:.1}–{:.1})", most.median, most.least, most.most);
        if unit == "ms" {
            let _ = write!(measured, ", p50 {:.1} {unit}", half.median);
        }
        let _ = write!(measured, ", {} {}", most.runs, if most.runs == 1 { "run" } else { "runs" });
        (measured, if most.median <= self.most { "yes" } else { "**no**" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(work: &str, p99: f64) -> Row {
        Row { work: work.to_owned(), quick: false, others_cores: 0.5, p50: 1.0, p99 }
    }

    #[track_caller]
    fn has(rows: &[Row], line: &str) {
        let text = table(rows);
        assert!(text.lines().any(|there| there == line), "{line}\nis not in\n{text}");
    }

    #[test]
    fn a_goal_is_met_by_the_median_of_its_runs() {
        let rows = [4.0, 9.0, 5.0].map(|p99| row("key-to-peers-screen", p99));
        let line = "a message from Enter to the peer's screen | p99 ≤ 5 ms | 5.0 ms (4.0–9.0), p50 1.0 ms, 3 runs";
        has(&rows, &format!("| {line} | yes |"));
        has(
            &[row("memory-json", 12.5)],
            "| the same of the face for programs | ≤ 40 MB | 12.5 MB (12.5–12.5), 1 run | yes |",
        );
        assert!(table(&rows).contains("others on the machine took 0.50 cores (0.50–0.50)"));
    }

    #[test]
    fn a_goal_that_is_missed_says_so() {
        let rows = [4.0, 9.0, 5.1].map(|p99| row("key-to-peers-screen", p99));
        let line = "a message from Enter to the peer's screen | p99 ≤ 5 ms | 5.1 ms (4.0–9.0), p50 1.0 ms, 3 runs";
        has(&rows, &format!("| {line} | **no** |"));
    }

    #[test]
    fn what_was_not_measured_says_so_and_a_quick_run_gives_no_figure() {
        has(&[], "| start to password prompt, plain lines | p99 ≤ 50 ms | not measured | – |");
        assert_eq!(table(&[]).matches("| not measured | – |").count(), GOALS.len());
        let quick = Row { quick: true, ..row("start-line", 0.1) };
        has(&[quick], "| start to password prompt, plain lines | p99 ≤ 50 ms | only a quick run | – |");
    }

    #[test]
    fn every_goal_has_a_work_of_its_own() {
        let mut works: Vec<_> = GOALS.iter().map(|goal| goal.work).collect();
        works.sort_unstable();
        works.dedup();
        assert_eq!(works.len(), GOALS.len());
    }
}
