//! `ahm publish --registry` or `--dial`: lines go to whoever reads their subjects, from a resource
//! server of their own.

use std::io::{self, Write};
use std::sync::mpsc::sync_channel;
use std::thread;

use crate::cli::publish::{Args, LINES_AHEAD, read_lines, split};
use crate::reactor::clock::Clock;
use crate::resource::publisher::Publisher;
use crate::wire::resource::Terms;

/// Runs the subcommand until the input ends.
///
/// # Errors
/// A sentence: nothing can be served, or lines were refused.
pub fn run(args: &Args) -> Result<(), String> {
    let terms = Terms { state: args.state, latest: args.latest, ..Terms::default() };
    let publisher =
        args.serving.start(std::slice::from_ref(&args.resource), terms, &args.papers)?;
    let (sender, lines) = sync_channel(LINES_AHEAD);
    thread::spawn(move || read_lines(io::stdin().lock(), &sender));
    let clock = Clock::start();
    let (mut number, mut refused) = (0, 0);
    let mut failed = None;
    while let Ok(first) = lines.recv() {
        for line in std::iter::once(first).chain(lines.try_iter()) {
            number += 1;
            match line {
                Ok(line) => {
                    if let Err(why) = publish(&publisher, args.subject.as_deref(), &line) {
                        refused += 1;
                        let _ = writeln!(io::stderr(), "ahm publish: line {number}: {why}");
                    }
                }
                Err(error) => failed = Some(format!("standard input: {error}")),
            }
        }
    }
    let seconds = clock.now().as_nanos() as f64 / 1e9;
    let counts = args.serving.end(publisher).unwrap_or_default();
    if !args.quiet {
        let (published, sent) = (counts.published, counts.sent);
        let _ = writeln!(
            io::stderr(),
            "ahm publish: {published} published in {seconds:.1} s, {sent} sent to servers"
        );
    }
    match (failed, refused) {
        (Some(error), _) => Err(error),
        (None, 0) => Ok(()),
        (None, bad) => Err(format!("{bad} of {number} lines were not published")),
    }
}

fn publish(publisher: &Publisher, subject: Option<&str>, line: &[u8]) -> Result<(), String> {
    let (subject, payload) = split(subject, line)?;
    publisher.publish(subject, payload).map_err(|error| error.to_string())
}
