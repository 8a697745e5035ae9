//! The report as a picture: for each scenario two halves, a row for each server.

use std::fmt::Write as _;

use crate::notes::Notes;
use crate::scenarios::{Half, SCENARIOS, Scenario};
use crate::table::number;

const WIDTH: f64 = 980.0;
const ROW: f64 = 20.0;
/// Room above the rows of a scenario, and below them.
const HEAD: f64 = 58.0;
const FOOT: f64 = 22.0;
/// Where the names end, the halves begin, and how wide their scales are.
const NAMES: f64 = 108.0;
const HALVES: [f64; 2] = [120.0, 560.0];
const SCALE: f64 = 300.0;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#333}.t{font-weight:600;font-size:14px;fill:#111}\
.h{fill:#666}.n{text-anchor:end}.g{stroke:#e2e2e2}.ahm{fill:#c2410c;stroke:#c2410c}\
.floor{fill:#9ca3af;stroke:#9ca3af}.peer{fill:#2563eb;stroke:#2563eb}rect{stroke:none}\
.l{stroke-width:3;stroke-linecap:round}.own{font-weight:600;fill:#111}";

/// All scenarios that were run.
pub fn svg(notes: &Notes) -> String {
    let mut body = String::new();
    let mut top = 12.0;
    for scenario in &SCENARIOS {
        let servers = notes.servers(scenario.name);
        if !servers.is_empty() {
            panel(&mut body, notes, scenario, &servers, top);
            top += HEAD + ROW * servers.len() as f64 + FOOT;
        }
    }
    // A ground of its own, so that it can be read wherever it is shown.
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\" \
         viewBox=\"0 0 {WIDTH} {top}\"><style>{STYLE}</style>\
         <rect width=\"{WIDTH}\" height=\"{top}\" rx=\"6\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

fn panel(out: &mut String, notes: &Notes, scenario: &Scenario, servers: &[&str], top: f64) {
    let Scenario { name, title, halves, .. } = scenario;
    // Writing to a string cannot fail.
    let _ =
        writeln!(out, "<text class=\"t\" x=\"12\" y=\"{:.0}\">{name}: {title}</text>", top + 16.0);
    for (row, server) in servers.iter().enumerate() {
        let y = top + HEAD + ROW * row as f64 + 14.0;
        let own = if kind(server) == "ahm" { " own" } else { "" };
        let _ = writeln!(out, "<text class=\"n{own}\" x=\"{NAMES}\" y=\"{y:.0}\">{server}</text>");
    }
    for (half, left) in halves.iter().zip(HALVES) {
        let (title, log) = match half {
            Half::Bar { title, log, .. } => (*title, *log),
            Half::Latency => ("latency, ms: from p50 to p99", true),
        };
        let spans: Vec<_> = servers.iter().map(|server| span(notes, name, server, half)).collect();
        let Some(axis) = Axis::of(&spans, log, matches!(half, Half::Bar { .. })) else { continue };
        let hint = if log { " (logarithmic)" } else { "" };
        let _ = writeln!(
            out,
            "<text class=\"h\" x=\"{left}\" y=\"{:.0}\">{title}{hint}</text>",
            top + 38.0
        );
        axis.grid(out, left, top + HEAD - 12.0, ROW * servers.len() as f64 + 14.0);
        for (row, (server, span)) in servers.iter().zip(&spans).enumerate() {
            mark(out, &axis, left, top + HEAD + ROW * row as f64, kind(server), *span, half);
        }
    }
}

/// What is shown of a server: a bar ends at the second value, a line goes from the first to it.
fn span(notes: &Notes, scenario: &str, server: &str, half: &Half) -> Option<[f64; 2]> {
    let median = |figure| notes.median(scenario, server, figure);
    match half {
        Half::Bar { figure, .. } => median(figure).map(|value| [value, value]),
        Half::Latency => Some([median("p50")?, median("p99")?]),
    }
}

fn mark(
    out: &mut String,
    axis: &Axis,
    left: f64,
    y: f64,
    class: &str,
    span: Option<[f64; 2]>,
    half: &Half,
) {
    let Some([from, to]) = span else {
        let _ = writeln!(out, "<text class=\"h\" x=\"{left}\" y=\"{:.0}\">-</text>", y + 14.0);
        return;
    };
    let end = left + axis.at(to);
    let label = match half {
        Half::Bar { decimals, .. } => {
            let width = (end - left).max(1.0);
            let _ = writeln!(
                out,
                "<rect class=\"{class}\" x=\"{left}\" y=\"{:.0}\" width=\"{width:.1}\" \
                 height=\"14\"/>",
                y + 3.0
            );
            number(to, *decimals)
        }
        Half::Latency => {
            let (begin, middle) = (left + axis.at(from), y + 10.0);
            let _ = writeln!(
                out,
                "<line class=\"l {class}\" x1=\"{begin:.1}\" x2=\"{end:.1}\" y1=\"{middle:.0}\" \
                 y2=\"{middle:.0}\"/><circle class=\"{class}\" cx=\"{begin:.1}\" \
                 cy=\"{middle:.0}\" r=\"4\"/>"
            );
            let decimals = |value| if value < 10.0 { 1 } else { 0 };
            format!("{} to {}", number(from, decimals(from)), number(to, decimals(to)))
        }
    };
    let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{:.0}\">{label}</text>", end + 6.0, y + 14.0);
}

/// Whose it is, as a class of the style.
fn kind(server: &str) -> &'static str {
    match server.split('-').next() {
        Some("ahm") => "ahm",
        Some("floor") => "floor",
        _ => "peer",
    }
}

/// From values to places.
#[derive(Clone, Copy, Debug)]
struct Axis {
    from: f64,
    to: f64,
    log: bool,
}

impl Axis {
    /// An axis that holds `spans`; none if there is nothing to show.
    fn of(spans: &[Option<[f64; 2]>], log: bool, is_bar: bool) -> Option<Self> {
        let values = || spans.iter().flatten().flatten().copied();
        let most = values().fold(0.0, f64::max);
        if most <= 0.0 {
            return None;
        }
        if !log {
            return Some(Self { from: 0.0, to: most, log });
        }
        let positive = values().filter(|value| *value > 0.0);
        let least = positive.fold(most, f64::min);
        // A bar that begins where the least one ends would not be seen.
        let below = if is_bar { least / 2.0 } else { least };
        let from = 10_f64.powf(below.log10().floor());
        Some(Self { from, to: most.max(from * 10.0), log })
    }

    fn at(&self, value: f64) -> f64 {
        let part = if self.log {
            (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
        } else {
            value.max(0.0) / self.to
        };
        part * SCALE
    }

    /// Lines at round values.
    fn grid(&self, out: &mut String, left: f64, top: f64, height: f64) {
        for value in self.ticks() {
            let x = left + self.at(value);
            let decimals = if value >= 1.0 { 0 } else { (-value.log10()).ceil() as usize };
            let label = number(value, if value == 0.0 { 0 } else { decimals });
            let _ = writeln!(
                out,
                "<line class=\"g\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.0}\" y2=\"{:.0}\"/>\
                 <text class=\"h\" style=\"text-anchor:middle;font-size:10px\" x=\"{x:.1}\" \
                 y=\"{:.0}\">{label}</text>",
                top + height,
                top + height + 10.0
            );
        }
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let decades = (self.to / self.from).log10();
            return (0..=decades as i32).map(|at| self.from * 10_f64.powi(at)).collect();
        }
        let power = 10_f64.powf(self.to.log10().floor());
        let steps = [power / 2.0, power, power * 2.0];
        let step = steps.into_iter().find(|step| self.to / step <= 5.0).unwrap_or(power * 2.0);
        (0..).map(|at| f64::from(at) * step).take_while(|value| *value <= self.to).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notes::tests::sample;

    #[test]
    fn values_lie_where_the_axis_says() {
        let axis = Axis::of(&[Some([2.0, 150.0]), None, Some([9.0, 90.0])], true, false).unwrap();
        assert_eq!((axis.from, axis.to, axis.at(1.0)), (1.0, 150.0, 0.0));
        assert!((axis.at(150.0) - SCALE).abs() < 1e-9 && axis.at(0.0).abs() < 1e-9);
        assert_eq!(axis.ticks(), [1.0, 10.0, 100.0]);
        let linear = Axis::of(&[Some([12.0, 12.0])], false, true).unwrap();
        assert_eq!(linear.ticks(), [0.0, 5.0, 10.0]);
        assert!(Axis::of(&[None], false, true).is_none());
    }

    #[test]
    fn the_picture_names_each_server_once_a_scenario() {
        let picture = svg(&sample());
        for server in ["floor-each", "floor-batch", "ahm", "mqtt"] {
            assert_eq!(picture.matches(&format!(">{server}</text>")).count(), 1, "{server}");
        }
        assert!(picture.ends_with("</svg>\n"));
    }
}
