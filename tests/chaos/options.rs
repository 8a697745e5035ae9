//! The command line of the chaos run.

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub clients: usize,
    pub seconds: u64,
    pub seed: u64,
    /// Only this run.
    pub run: Option<usize>,
}

impl Options {
    /// Reads the arguments; `None`: they are those of a test harness and ask for no run.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self { clients: 40, seconds: 4, seed: 1, run: None };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
                value.filter(|value| *value > 0).ok_or_else(|| format!("{argument} wants a number"))
            };
            match argument.as_str() {
                "--clients" => options.clients = number()? as usize,
                "--seconds" => options.seconds = number()?,
                "--seed" => options.seed = number()?,
                "--run" => options.run = Some(number()? as usize),
                // What `cargo test` hands to every test, meant for its own harness.
                "--list" => return Ok(None),
                "--test-threads" | "--format" | "--color" | "--skip" => drop(arguments.next()),
                "--nocapture" | "--no-capture" | "--quiet" | "-q" | "--exact" | "--show-output"
                | "--include-ignored" => {}
                _ if argument.starts_with("--test-threads=") => {}
                _ if argument.starts_with('-') => {
                    let known = "--clients N, --seconds S, --seed K, --run 1 to 3";
                    return Err(format!("{argument}: expected {known}"));
                }
                _ if "chaos".contains(argument.as_str()) => {}
                _ => return Ok(None), // the name of another test
            }
        }
        Ok(Some(options))
    }
}
