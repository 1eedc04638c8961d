//! What was measured, for people: a table of the goals, a table for each figure, and a plot of it.

mod goal;
mod metric;
mod people;
mod plot;
mod summary;

use std::{collections::BTreeMap, fmt::Write as _, fs, io::ErrorKind, path::Path};

use serde::de::DeserializeOwned;

use self::{
    goal::GOALS,
    metric::{METRICS, Metric},
    summary::Summary,
};
use crate::{
    fault::Fault,
    figures::{Figures, Row},
    say,
};

/// Figures of one metric, by system.
type BySystem = BTreeMap<String, Summary>;

/// Writes `report.md` and the plots beside the rows in `dir`.
///
/// # Errors
/// [`Fault::File`] when the rows cannot be read or the report not be written.
pub(crate) fn write(dir: &Path) -> Result<(), Fault> {
    let (rows, people) = (read::<Row>(&dir.join("rows.jsonl")), read::<people::Row>(&dir.join(people::FILE)));
    // What was not measured is missing; what was must be readable.
    let (rows, people) = match (rows?, people?) {
        (None, None) if !dir.is_dir() => return Err(Fault::file(dir, "is no folder")),
        (None, None) => return Err(Fault::file(dir, "holds no rows; `bench peers run` makes some")),
        (rows, people) => (rows.unwrap_or_default(), people.unwrap_or_default()),
    };
    let refused = fs::read_to_string(dir.join("refused.jsonl")).unwrap_or_default();

    let put = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|error| Fault::file(&path, error))
    };
    for metric in METRICS {
        let figures = by_system(metric, &rows);
        if figures.len() > 1 {
            put(&metric.plot(), &plot::bars(metric, &figures))?;
        }
    }
    put("report.md", &document(&rows, &people, refused.lines().count()))?;
    say(format_args!("{}", people::table(&people)));
    say(format_args!("{}", dir.join("report.md").display()));
    Ok(())
}

/// The rows of a file, if there is one.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<Vec<T>>, Fault> {
    let failed = |error: &dyn std::fmt::Display| Fault::file(path, error);
    match fs::read_to_string(path) {
        Ok(text) => {
            let rows = text.lines().map(|line| serde_json::from_str(line).map_err(|error| failed(&error)));
            rows.collect::<Result<Vec<T>, _>>().map(Some)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

/// A run in a line.
pub(crate) fn line(row: &Row) -> String {
    let Row { system, work, round, figures, .. } = row;
    let figures = match figures {
        Figures::Relayed(it) => format!(
            "{:.3} s CPU per 100,000, {:.0} messages/s, p50 {:.0} µs, p99 {:.0} µs, p99.9 {:.0} µs",
            it.cpu_per_100k, it.messages_per_second, it.latency.p50_us, it.latency.p99_us, it.latency.p999_us
        ),
        Figures::LoggedIn(it) => format!("{:.3} ms CPU each, {:.0} a second", it.cpu_ms_each, it.per_second),
        Figures::Idled(it) => format!("{:.0} bytes each", it.bytes_each),
    };
    let others = row.figures.others().map_or_else(String::new, |others| format!("; others {others:.2} cores"));
    format!("{work} {system}, round {round}: {figures}{others}")
}

fn by_system(metric: &Metric, rows: &[Row]) -> BySystem {
    let mut values = BTreeMap::<String, Vec<f64>>::new();
    for row in rows.iter().filter(|row| row.work == metric.work) {
        if let Some(value) = (metric.value)(&row.figures) {
            values.entry(row.system.clone()).or_default().push(value);
        }
    }
    values.into_iter().filter_map(|(system, values)| Some((system, Summary::of(values)?))).collect()
}

fn document(rows: &[Row], people: &[people::Row], refused: usize) -> String {
    let mut text = String::from("# What was measured\n\n");
    let _ = writeln!(
        text,
        "Medians, and in brackets the least and the most, of the runs in `rows.jsonl` and `people.jsonl`: {} of them. \
         The machine and all versions are in `machine.jsonl`, for what people wait for in each row. {}\n",
        rows.len().saturating_add(people.len()),
        match refused {
            0 => "No run was refused.".to_owned(),
            refused => format!("{refused} runs were refused, for the reasons in `refused.jsonl`."),
        }
    );
    if let Some(others) = Summary::of(rows.iter().filter_map(|row| row.figures.others()).collect()) {
        let _ = writeln!(
            text,
            "Beside server and generator, others on the machine took {:.2} cores ({:.2}–{:.2}).\n",
            others.median, others.least, others.most
        );
    }
    if !rows.is_empty() {
        text.push_str("| goal | measured | |\n|---|---|---|\n");
    }
    for goal in GOALS {
        if let Some(outcome) = goal.outcome(|metric| by_system(metric, rows)) {
            let met = if outcome.is_met { "met" } else { "**not met**" };
            let _ = writeln!(text, "| {} | {} | {met} |", goal.text(), outcome.measured);
        }
    }
    let _ = write!(text, "\n{}", people::table(people));
    for metric in METRICS {
        let figures = by_system(metric, rows);
        if !figures.is_empty() {
            text.push_str(&table(metric, &figures));
        }
    }
    text
}

/// One figure of all systems, the best first.
fn table(metric: &Metric, figures: &BySystem) -> String {
    let pipe = metric.pipe(figures);
    let mut text = format!("\n## {}\n\n", metric.title);
    if figures.len() > 1 {
        let _ = writeln!(text, "![{}]({})\n", metric.title, metric.plot());
    }
    let _ = writeln!(text, "| system | {} | × pipe | runs |\n|---|---|---|---|", metric.unit);
    for (system, summary) in metric.ranked(figures) {
        let ratio = pipe.map_or_else(String::new, |pipe| format!("{:.2}", summary.median / pipe));
        let _ = writeln!(text, "| {system} | {} | {ratio} | {} |", metric.shown(summary), summary.runs);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        figures::{Idled, LoggedIn},
        process::Used,
    };

    fn rows() -> Vec<Row> {
        let row = |system: &str, work: &str, figures| Row {
            system: system.to_owned(),
            work: work.to_owned(),
            round: 1,
            began: String::new(),
            command: String::new(),
            figures,
        };
        let idle =
            |system, bytes: u64| row(system, "idle", Figures::Idled(Idled::new(1000, [0, bytes.saturating_mul(1000)])));
        let log_in = |system, seconds| {
            row(
                system,
                "log-in",
                Figures::LoggedIn(LoggedIn::new(1000, 16, 1.0, Used { cpu: seconds, others: 0.25 }, [0, 0])),
            )
        };
        vec![
            idle("sottovoce", 9000),
            idle("sottovoce", 7000),
            idle("sottovoce", 9500),
            idle("pipe", 6000),
            log_in("sottovoce", 0.170),
            log_in("pipe", 0.150),
            log_in("mosquitto", 0.200),
            log_in("nats-server", 0.160),
        ]
    }

    #[test]
    fn a_report_has_medians_spreads_ratios_and_goals() {
        let text = document(&rows(), &[], 2);
        let has = |line: &str| assert!(text.lines().any(|there| there == line), "{line}\nis not in\n{text}");
        has("| pipe | 6,000 (6,000–6,000) | 1.00 | 1 |");
        has("| sottovoce | 9,000 (7,000–9,500) | 1.50 | 3 |");
        has("| sottovoce | 0.170 (0.170–0.170) | 1.13 | 1 |");
        has("| Idle connection, bytes each: at most 8,000 | 9,000 | **not met** |");
        has("| Log-in, CPU ms each: at most 1.2 × the bare pipe | 1.13 × | met |");
        has("| Log-in, CPU ms each: below mosquitto, nats-server | 0.170; nats-server 0.160 | **not met** |");
        has("Beside server and generator, others on the machine took 0.25 cores (0.25–0.25).");
        assert!(text.contains("`people.jsonl`: 8 of them.") && text.contains("2 runs were refused"), "{text}");
        has("| start to password prompt, plain lines | p99 ≤ 50 ms | not measured | – |");
        assert!(!text.contains("Saturated"), "nothing is said of what was not measured");
    }

    #[test]
    fn a_folder_may_hold_either_kind_of_rows_and_must_hold_one() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(dir.path()).is_err());
        let row = r#"{"work":"start-line","quick":false,"others_cores":0.1,"p50":3.0,"p99":4.0,"samples":200}"#;
        fs::write(dir.path().join(people::FILE), format!("{row}\n")).unwrap();
        write(dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join("report.md")).unwrap();
        assert!(text.contains("| 4.0 ms (4.0–4.0), p50 3.0 ms, 1 run | yes |"), "{text}");
        fs::write(dir.path().join("rows.jsonl"), "no row\n").unwrap();
        assert!(write(dir.path()).is_err());
    }

    #[test]
    fn a_plot_is_well_formed_and_has_a_bar_for_each_system() {
        let rows = rows();
        let metric = METRICS.iter().find(|metric| metric.work == "log-in").unwrap();
        let plot = plot::bars(metric, &by_system(metric, &rows));
        assert!(plot.starts_with("<svg ") && plot.ends_with("</svg>\n"));
        assert_eq!(plot.matches("<rect class=\"bar").count(), 4);
        assert_eq!(plot.matches('<').count(), plot.matches('>').count());
    }
}
