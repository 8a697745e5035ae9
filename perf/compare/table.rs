//! The report in Markdown.

use std::fmt::Write as _;

use crate::notes::Notes;
use crate::scenarios::{Column, Made, SCENARIOS, Scenario};

/// The report: `chart` is the name of the picture beside it.
pub fn markdown(notes: &Notes, chart: &str, machine: &str, versions: &str) -> String {
    let mut text = format!(
        "# Comparison with other servers\n\n\
         Written by `scripts/compare`; `perf/README.md` says what each figure means, how each \
         server is set up and why. Figures are medians over the rounds; counts (deliveries, lost \
         and so on) are of all rounds together; ratios are medians of the ratios within a round. \
         Servers and load driver share the machine.\n\n{machine}\n\n{}\n\n![chart]({chart})\n",
        versions.trim()
    );
    for scenario in &SCENARIOS {
        if let Some(begun) = notes.begun(scenario.name) {
            section(&mut text, notes, scenario, begun);
        }
    }
    text
}

fn section(text: &mut String, notes: &Notes, scenario: &Scenario, begun: &str) {
    let Scenario { name, title, columns, .. } = scenario;
    // Writing to a string cannot fail.
    let _ = write!(text, "\n## {name}: {title}\n\n{begun}\n\n| server |");
    let columns = || columns.iter().copied().flatten();
    columns().for_each(|column| text.push_str(&format!(" {} |", column.title)));
    text.push_str("\n| --- |");
    columns().for_each(|_| text.push_str(" ---: |"));
    text.push('\n');
    let mut problems = String::new();
    let rounds = |server: &&str| notes.of(name, server).count();
    let servers = notes.servers(name);
    let most = servers.iter().map(rounds).max();
    for server in &servers {
        if Some(rounds(server)) < most {
            let _ = writeln!(problems, "- {server}: {} rounds alone", rounds(server));
        }
    }
    for server in servers {
        let _ = write!(text, "| {server} |");
        for column in columns() {
            let value = value(notes, name, server, column);
            let shown = value.map_or_else(|| "-".to_owned(), |v| number(v, column.decimals));
            let _ = write!(text, " {shown} |");
        }
        text.push('\n');
        for run in notes.of(name, server).filter(|run| run.figures.is_empty()) {
            let _ = writeln!(problems, "- {server}, round {}: {}", run.round, run.text.trim());
        }
    }
    if !problems.is_empty() {
        let _ = write!(text, "\nRuns that are missing or came to nothing:\n\n{problems}");
    }
}

fn value(notes: &Notes, scenario: &str, server: &str, column: &Column) -> Option<f64> {
    match column.made {
        Made::Median => notes.median(scenario, server, column.figure),
        Made::Sum => notes.sum(scenario, server, column.figure),
        Made::Ratio(base) => notes.ratio(scenario, server, column.figure, base),
    }
}

/// `1234567.891` as `1,234,567.89`.
pub fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut shown = String::new();
    for (at, digit) in whole.chars().enumerate() {
        let left = whole.len() - at;
        if at > 0 && left.is_multiple_of(3) && !shown.ends_with('-') {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notes::tests::sample;

    #[test]
    fn numbers_are_grouped() {
        let shown = [0.0, 999.0, 1000.0, -1000.0, -100.0, 1_234_567.0].map(|n| number(n, 0));
        assert_eq!(shown, ["0", "999", "1,000", "-1,000", "-100", "1,234,567"]);
        assert_eq!(number(1234.567, 2), "1,234.57");
    }

    #[test]
    fn the_report_has_a_row_for_each_server_and_tells_what_failed() {
        let text = markdown(&sample(), "c.svg", "a machine", "a 1, b 2");
        let ahm = "| ahm | 2,000 | 3 | - | - | 1.50 | 14.25 | 20.25 | 4.50 | 0.50 | 0.75 |";
        assert!(text.contains(ahm), "{text}");
        assert!(text.contains("## A: 1,000 readers") && !text.contains("## B"));
        assert!(text.contains("- mqtt, round 2: 3 of 9 streams opened"));
        assert!(text.contains("![chart](c.svg)") && text.contains("two rounds"));
    }
}
