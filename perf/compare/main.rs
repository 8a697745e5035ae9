//! The book-keeping of `scripts/compare`: notes what each run came to, and writes the report.

mod chart;
mod notes;
mod scenarios;
mod table;

use std::io::Read as _;
use std::net::TcpListener;
use std::process::ExitCode;

use ahm::cli::bench::process::Machine;
use serde_json::Value;

use crate::notes::{Note, Notes, figures};

const HELP: &str = "\
Book-keeping of scripts/compare. NOTES is a file of JSON lines, one for each run.

  compare ports COUNT                            free ports of 127.0.0.1, one a line
  compare begin NOTES SCENARIO TEXT              forgets earlier runs of this scenario
  compare note NOTES SCENARIO SERVER ROUND WHAT  notes the record of a run, from stdin; where there
                                                 is none, WHAT says why
  compare held                                   whether the record on stdin shows a rate that the
                                                 server held: nothing wrong, p99 below 100 ms
  compare report NOTES TABLE CHART VERSIONS      writes Markdown and SVG; VERSIONS is text";

/// A rate is held only with a p99 below this.
const HELD_MS_MAX: f64 = 100.0;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("compare: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[&str]) -> Result<bool, String> {
    match words {
        ["ports", count] => ports(count.parse().map_err(|_| format!("{count}: not a number"))?)?,
        ["begin", path, scenario, text] => {
            let mut notes = Notes::read(path)?;
            notes.begin(scenario, text);
            notes.write(path)?;
        }
        ["note", path, scenario, server, round, what] => {
            let record = record()?;
            let round = round.parse().map_err(|_| format!("{round}: not a number"))?;
            Note::new(scenario, server, round, record.as_ref(), what).append(path)?;
        }
        ["held"] => return Ok(record()?.is_some_and(|record| is_held(&record))),
        ["report", path, table, chart, versions] => {
            let notes = Notes::read(path)?;
            let machine = machine(&Machine::describe());
            let name = chart.rsplit('/').next().unwrap_or(chart);
            write(table, &table::markdown(&notes, name, &machine, versions))?;
            write(chart, &chart::svg(&notes))?;
        }
        _ => return Err(format!("not understood\n\n{HELP}")),
    }
    Ok(true)
}

fn write(path: &str, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{path}: {error}"))
}

/// Prints free ports. Somebody else may take one before it is used; then the server that was to
/// have it says so.
fn ports(count: usize) -> Result<(), String> {
    let listeners: Result<Vec<_>, _> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    for listener in listeners.map_err(|error| format!("no free port: {error}"))? {
        let address = listener.local_addr().map_err(|error| format!("a port: {error}"))?;
        println!("{}", address.port());
    }
    Ok(())
}

/// The record on stdin; none if there is nothing.
fn record() -> Result<Option<Value>, String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| format!("stdin: {error}"))?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&text).map(Some).map_err(|error| format!("stdin: no record: {error}"))
}

fn is_held(record: &Value) -> bool {
    let figures = figures(record);
    let figure = |name: &str| figures.get(name).copied();
    let wrong = ["lost", "repeated", "out_of_order", "refused", "ended"];
    figure("deliveries") > Some(0.0)
        && wrong.iter().all(|name| figure(name) == Some(0.0))
        && figure("p99") < Some(HELD_MS_MAX)
}

fn machine(machine: &Machine) -> String {
    let Machine { cpu, cores, kernel, congestion, memory } = machine;
    let gib = *memory as f64 / (1024.0 * 1024.0 * 1024.0);
    format!("{cpu}, {cores} cores, {gib:.1} GiB, {kernel}, TCP {congestion}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_held_only_if_nothing_is_wrong() {
        let record = |lost: u64, p99: f64| {
            let text = format!(
                r#"{{"delivery": {{"deliveries": 9, "lost": {lost}, "repeated": 0,
                "out_of_order": 0, "ended": 0}}, "publishing": {{"refused": 0}},
                "latency_ms": {{"p99": {p99}}}}}"#
            );
            serde_json::from_str::<Value>(&text).unwrap()
        };
        assert!(is_held(&record(0, 99.0)));
        assert!(!is_held(&record(1, 99.0)));
        assert!(!is_held(&record(0, 100.0)));
        assert!(!is_held(&Value::Null));
    }

    #[test]
    fn wrong_words_are_answered_with_the_right_ones() {
        assert!(run(&["report"]).unwrap_err().contains("compare report NOTES"));
        assert!(run(&["ports", "x"]).unwrap_err().contains("not a number"));
    }
}
