//! What each run came to: a line of JSON for each, kept beside the report.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The figures that are kept of a record, and where they are in it.
const FIGURES: [(&str, &str); 26] = [
    ("deliveries", "/delivery/deliveries"),
    ("expected", "/delivery/expected"),
    ("lost", "/delivery/lost"),
    ("repeated", "/delivery/repeated"),
    ("out_of_order", "/delivery/out_of_order"),
    ("folded", "/delivery/folded"),
    ("ended", "/delivery/ended"),
    ("rate", "/delivery/rate"),
    ("refused", "/publishing/refused"),
    ("late_p99", "/publishing/late_ms/p99"),
    ("p50", "/latency_ms/p50"),
    ("p99", "/latency_ms/p99"),
    ("p99_9", "/latency_ms/p99_9"),
    ("published_rate", "/settings/rate"),
    ("streams", "/opening/streams"),
    ("opening_rate", "/opening/rate"),
    ("opening_cpu", "/opening/cpu_us_per_stream"),
    ("cpu", "/server/cpu_us_per_delivery"),
    ("cores", "/server/cores"),
    ("bytes", "/server/bytes_per_stream/pss"),
    ("bytes_after", "/server/bytes_per_stream_after/pss"),
    ("driver_cores", "/driver_cores"),
    ("packets_dropped", "/packets_dropped"),
    ("stalled", "/scenario/stalled/streams"),
    ("stalled_dropped", "/scenario/stalled/dropped"),
    ("memory_grew", "/growth/pss"),
];

/// The figures of a record that it has.
pub fn figures(record: &Value) -> BTreeMap<String, f64> {
    let number = |pointer| record.pointer(pointer).and_then(Value::as_f64);
    let known = FIGURES.iter().filter_map(|(name, at)| Some(((*name).to_owned(), number(at)?)));
    known.collect()
}

/// One run, or the beginning of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub scenario: String,
    /// Empty at the beginning of a scenario.
    pub server: String,
    pub round: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
    /// At the beginning of a scenario: how it was run. Of a run without figures: why it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

impl Note {
    /// The run of `server` in `round` that came to `record`, or to none for the reason `what`.
    pub fn new(
        scenario: &str,
        server: &str,
        round: u32,
        record: Option<&Value>,
        what: &str,
    ) -> Self {
        let figures = record.map(figures).unwrap_or_default();
        let text = if figures.is_empty() { what.to_owned() } else { String::new() };
        Self { scenario: scenario.into(), server: server.into(), round, figures, text }
    }

    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.get(name).copied()
    }

    /// Adds it to the file.
    pub fn append(&self, path: &str) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{path}: {error}");
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        file.write_all(self.line()?.as_bytes()).map_err(failed)
    }

    fn line(&self) -> Result<String, String> {
        let line = serde_json::to_string(self).map_err(|error| format!("a note: {error}"))?;
        Ok(line + "\n")
    }
}

/// All runs, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes(pub Vec<Note>);

impl Notes {
    /// Those in a file; none if there is no file yet.
    pub fn read(path: &str) -> Result<Self, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|error| format!("{path}: {error}")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("{path}: {error}")),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let note = |(number, line)| {
            serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))
        };
        (1..).zip(text.lines()).map(note).collect::<Result<_, _>>().map(Self)
    }

    pub fn write(&self, path: &str) -> Result<(), String> {
        let lines: Result<String, _> = self.0.iter().map(Note::line).collect();
        std::fs::write(path, lines?).map_err(|error| format!("{path}: {error}"))
    }

    /// Forgets what is known of `scenario`, which begins anew.
    pub fn begin(&mut self, scenario: &str, text: &str) {
        self.0.retain(|note| note.scenario != scenario);
        self.0.push(Note::new(scenario, "", 0, None, text));
    }

    /// How `scenario` was run, if it was.
    pub fn begun(&self, scenario: &str) -> Option<&str> {
        let mut notes = self.0.iter().filter(|note| note.server.is_empty());
        notes.find(|note| note.scenario == scenario).map(|note| note.text.as_str())
    }

    /// The servers of `scenario`, in the order they were first run.
    pub fn servers(&self, scenario: &str) -> Vec<&str> {
        let mut servers = Vec::new();
        for note in self.0.iter().filter(|note| note.scenario == scenario) {
            if !note.server.is_empty() && !servers.contains(&note.server.as_str()) {
                servers.push(note.server.as_str());
            }
        }
        servers
    }

    /// The runs of `server` in `scenario`.
    pub fn of<'n>(
        &'n self,
        scenario: &'n str,
        server: &'n str,
    ) -> impl Iterator<Item = &'n Note> + 'n {
        self.0.iter().filter(move |note| note.scenario == scenario && note.server == server)
    }

    /// The median of a figure over the rounds.
    pub fn median(&self, scenario: &str, server: &str, name: &str) -> Option<f64> {
        median(self.of(scenario, server).filter_map(|run| run.figure(name)).collect())
    }

    /// A figure of all rounds together.
    pub fn sum(&self, scenario: &str, server: &str, name: &str) -> Option<f64> {
        let values = self.of(scenario, server).filter_map(|run| run.figure(name));
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// The median of a figure divided by that of `base` in the same round.
    pub fn ratio(&self, scenario: &str, server: &str, name: &str, base: &str) -> Option<f64> {
        let ratio = |run: &Note| {
            let mut others = self.of(scenario, base).filter(|other| other.round == run.round);
            let other = others.find_map(|other| other.figure(name)).filter(|other| *other > 0.0)?;
            Some(run.figure(name)? / other)
        };
        median(self.of(scenario, server).filter_map(ratio).collect())
    }
}

/// The middle of `values`, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Two rounds of a floor and a server, and a server that came to nothing.
    pub fn sample() -> Notes {
        let mut notes = Notes::default();
        notes.begin("A", "two rounds");
        for (round, factor) in [(1, 1.0), (2, 2.0)] {
            for (server, cpu) in [("floor-each", 6.0), ("floor-batch", 4.0), ("ahm", 3.0)] {
                let record = serde_json::json!({
                    "server": { "cpu_us_per_delivery": cpu * factor },
                    "delivery": { "deliveries": 1000, "lost": round },
                    "latency_ms": { "p50": factor, "p99": 9.5 * factor, "p99_9": 20.25 },
                });
                notes.0.push(Note::new("A", server, round, Some(&record), ""));
            }
            notes.0.push(Note::new("A", "mqtt", round, None, "3 of 9 streams opened | no more"));
        }
        notes
    }

    #[test]
    fn figures_are_medians_and_ratios_of_the_same_round() {
        let notes = sample();
        assert_eq!(notes.servers("A"), ["floor-each", "floor-batch", "ahm", "mqtt"]);
        assert_eq!(notes.median("A", "ahm", "cpu"), Some(4.5));
        assert_eq!(notes.ratio("A", "ahm", "cpu", "floor-each"), Some(0.5));
        assert_eq!(notes.ratio("A", "ahm", "cpu", "nobody"), None);
        assert_eq!(notes.sum("A", "ahm", "lost"), Some(3.0));
        assert_eq!(notes.median("A", "mqtt", "cpu"), None);
        assert_eq!(median(vec![5.0, 1.0, 3.0]), Some(3.0));
    }

    #[test]
    fn notes_survive_the_file_and_a_scenario_begins_anew() {
        let mut notes = sample();
        let text: String = notes.0.iter().map(|note| note.line().unwrap()).collect();
        assert_eq!(Notes::parse(&text).unwrap(), notes);
        assert!(Notes::parse("{").unwrap_err().starts_with("line 1"));
        notes.begin("A", "again");
        assert_eq!((notes.0.len(), notes.begun("A")), (1, Some("again")));
    }
}
