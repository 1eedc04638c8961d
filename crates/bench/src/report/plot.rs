//! A figure of all systems as bars, drawn as SVG.

use std::fmt::Write as _;

use super::{BySystem, metric::Metric};

const WIDTH: f64 = 720.0;
const ROW: f64 = 26.0;
const TOP: f64 = 40.0;
/// Room for names on the left, and for figures on the right.
const LEFT: f64 = 130.0;
const RIGHT: f64 = 230.0;

/// Bars of the medians, with a line from the least to the most.
pub(super) fn bars(metric: &Metric, figures: &BySystem) -> String {
    let ranked = metric.ranked(figures);
    let longest = ranked.iter().map(|(_, summary)| summary.most).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    let height = TOP + ROW * ranked.len() as f64 + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <style>.bar {{ fill: #8fa3b5 }} .ours {{ fill: #2f7d5b }} .pipe {{ fill: #d2b26a }} \
         .spread {{ stroke: #333; stroke-width: 1.5 }} text {{ fill: #222 }}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"22\" font-weight=\"bold\">{} ({})</text>\n",
        metric.title, metric.unit
    );
    for (index, (system, summary)) in ranked.into_iter().enumerate() {
        let y = TOP + ROW * index as f64;
        let (bar, middle, base) = (y + 4.0, y + ROW / 2.0, y + ROW / 2.0 + 4.5);
        let class = match system {
            "sottovoce" => "bar ours",
            system if system.starts_with("pipe") => "bar pipe",
            _ => "bar",
        };
        let at = |value: f64| LEFT + (value * scale).max(0.0);
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{base:.1}\" text-anchor=\"end\">{system}</text>\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{bar:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
             <line class=\"spread\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>\
             <text x=\"{:.1}\" y=\"{base:.1}\">{}</text>",
            LEFT - 8.0,
            at(summary.median) - LEFT,
            ROW - 8.0,
            at(summary.least),
            at(summary.most),
            at(summary.most) + 8.0,
            metric.shown(summary),
        );
    }
    svg.push_str("</svg>\n");
    svg
}
