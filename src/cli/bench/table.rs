//! A record for the eyes: the table at the end of a run, and the percentiles as a file.

use std::fmt::Write as _;

use clap::ValueEnum as _;
use hdrhistogram::Histogram;

use crate::cli::bench::copies::Doubled;
use crate::cli::bench::peer::Peer;
use crate::cli::bench::process::{Machine, Memory, MemoryEach};
use crate::cli::bench::profile::Played;
use crate::cli::bench::record::{Delivery, Percentiles, Record, Usage};
use crate::cli::bench::sampler::{Growth, Sample};
use crate::cli::bench::scenario::{Scenario, Stalled, Storm, Unread, Woken};
use crate::cli::bench::tally::{Mode, Tally};

/// The record as text, ending with the machine.
pub fn table(record: &Record) -> String {
    let mut rows = Rows(String::new());
    settings(&mut rows, record);
    opening(&mut rows, record);
    if !record.settings.idle {
        delivery(&mut rows, record);
        percentiles(&mut rows, "latency, ms", &record.latency_ms);
        percentiles(&mut rows, "publisher late, ms", &record.publishing.late_ms);
    }
    match &record.scenario {
        Some(Scenario::Stalled(stalled)) => stalling(&mut rows, stalled),
        Some(Scenario::Storm(storm)) => storming(&mut rows, storm),
        Some(Scenario::Doubled(doubled)) => doubling(&mut rows, doubled),
        None => {}
    }
    if let Some(usage) = &record.server {
        server(&mut rows, usage);
    }
    samples(&mut rows, &record.samples);
    growth(&mut rows, record.growth.as_ref());
    rows.row("driver", format!("{:.2} cores", record.driver_cores));
    rows.row("packets dropped", grouped(record.packets_dropped));
    machine(&mut rows, &record.machine);
    for failure in record.failures() {
        rows.row("FAILED", failure);
    }
    rows.0
}

struct Rows(String);

impl Rows {
    fn row(&mut self, name: &str, value: impl AsRef<str>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name:<20} {}", value.as_ref());
    }
}

fn settings(rows: &mut Rows, record: &Record) {
    let settings = &record.settings;
    let mut text = match settings.peer.to_possible_value() {
        Some(peer) if settings.peer != Peer::Ahm => format!("{}: ", peer.get_name()),
        _ => String::new(),
    };
    text += &format!("subscribers {}", grouped(settings.subscribers as u64));
    if settings.stalled > 0 {
        text += &format!(", stalled {}", grouped(settings.stalled as u64));
        if let Some(bytes) = settings.receive_buffer {
            text += &format!(" (receive buffer {bytes} B)");
        }
        if let Some(ms) = settings.heartbeat {
            text += &format!(" (heartbeat {ms} ms)");
        }
        if let Some(after) = settings.wake_after {
            text += &format!(" (for {after} s)");
        }
    }
    if settings.storm > 0 {
        text += &format!(", cut and back {}", grouped(settings.storm as u64));
    }
    if settings.servers > 1 {
        text += &format!(", each on {} servers", settings.servers);
    }
    text += &format!(", topics {}", grouped(settings.topics as u64));
    text += &format!(", for each subscriber {}", settings.topics_per_subscriber);
    if settings.idle {
        text += &format!(", idle for {} s", settings.seconds);
    } else {
        let mode = if settings.mode == Mode::Latest { "latest" } else { "queue" };
        let flush = settings.flush.map(|ms| format!(", flush {ms} ms")).unwrap_or_default();
        let pace = match &settings.profile {
            None => format!("{} msg/s, {} B", settings.rate, settings.size),
            Some(_) => format!("{:.0} msg/s, {} B (means)", settings.rate, settings.size),
        };
        text += &format!(
            ", {pace}, {} s after {} s of warm-up, mode {mode}{flush}",
            settings.seconds, settings.warmup
        );
    }
    rows.row("run", text);
    if let Some(played) = &settings.profile {
        profile(rows, played);
    }
}

fn profile(rows: &mut Rows, played: &Played) {
    let Played { name, speed, ticks, seconds, second_max, passes, .. } = played;
    let text = format!(
        "{name}: {} ticks in {seconds:.1} s; {passes:.2} passes at speed {speed}, at most {} in \
         one second",
        grouped(*ticks as u64),
        grouped(*second_max as u64),
    );
    rows.row("profile", text);
}

fn opening(rows: &mut Rows, record: &Record) {
    let opening = &record.opening;
    let mut text = format!(
        "{} streams in {:.2} s ({}/s), p50 {:.2} ms, p99 {:.2} ms",
        grouped(opening.streams),
        opening.seconds,
        grouped(opening.rate as u64),
        opening.latency_ms.p50,
        opening.latency_ms.p99
    );
    if let Some(micros) = opening.cpu_us_per_stream {
        text += &format!(", server CPU {micros:.1} us each");
    }
    rows.row("opened", text);
    rows.row("heartbeats", grouped(record.delivery.tally.heartbeats));
}

fn delivery(rows: &mut Rows, record: &Record) {
    let Delivery { expected, lost, tally, rate } = &record.delivery;
    let publishing = &record.publishing;
    let taken = grouped(publishing.accepted);
    rows.row("published", format!("{taken}, refused {}", publishing.refused));
    let deliveries = grouped(tally.deliveries);
    rows.row("deliveries", format!("{deliveries} of {}", grouped(*expected)));
    rows.row("rate", format!("{}/s", grouped(*rate as u64)));
    rows.row("lost", grouped(*lost));
    rows.row("repeated", grouped(tally.repeated));
    rows.row("out of order", grouped(tally.out_of_order));
    rows.row("wrong offset", grouped(tally.misnumbered));
    rows.row("silent gaps", format!("{} messages", grouped(tally.silent)));
    let declared = grouped(tally.gap_messages);
    rows.row("declared gaps", format!("{}, {declared} messages", grouped(tally.gap_frames)));
    if record.settings.mode == Mode::Latest {
        rows.row("folded", grouped(tally.folded));
    }
    if tally.foreign > 0 {
        rows.row("of others", grouped(tally.foreign));
    }
}

fn percentiles(rows: &mut Rows, name: &str, values: &Percentiles) {
    let Percentiles { p50, p90, p99, p99_9, p99_99, max, .. } = values;
    let text = format!(
        "p50 {p50:.3}  p90 {p90:.3}  p99 {p99:.3}  p99.9 {p99_9:.3}  p99.99 {p99_99:.3}  \
         max {max:.3}"
    );
    rows.row(name, text);
}

fn stalling(rows: &mut Rows, stalled: &Stalled) {
    let (dropped, streams) = (grouped(stalled.dropped), grouped(stalled.streams));
    let mut text = format!("{dropped} of {streams}");
    if stalled.dropped > 0 {
        let Percentiles { p50, p99, max, .. } = stalled.dropped_ms;
        let [p50, p99, max] = [p50, p99, max].map(|ms| ms / 1e3);
        text += &format!(", after p50 {p50:.1}  p99 {p99:.1}  max {max:.1} s");
    }
    rows.row("stalled, dropped", text);
    if let Some(unread) = &stalled.unread {
        let Unread { connected, bytes, bytes_min, connected_at_end, moved } = unread;
        let mean = bytes / (*connected).max(1);
        let [connected, at_end] = [connected, connected_at_end].map(|count| grouped(*count));
        let each = format!("{} B each, {} at least", grouped(mean), grouped(*bytes_min));
        rows.row("  unread when full", format!("{connected} connected, {each}"));
        rows.row("  at the end", format!("{at_end} connected, {moved} of them received more"));
    }
    let Some(woken) = &stalled.woken else { return };
    let Woken { streams, fresh, never, bytes_max, bytes_p50, tally, .. } = woken;
    rows.row(
        "woken",
        format!(
            "{}, fresh within 256 KiB {}, never {never}; bytes to it p50 {}  max {}",
            grouped(*streams),
            grouped(*fresh),
            grouped(*bytes_p50),
            grouped(*bytes_max)
        ),
    );
    percentiles(rows, "  fresh after, ms", &woken.fresh_ms);
    percentiles(rows, "  its age, ms", &woken.fresh_age_ms);
    percentiles(rows, "  age of first, ms", &woken.first_age_ms);
    wrong(rows, tally, 0);
}

fn storming(rows: &mut Rows, storm: &Storm) {
    let (back, streams) = (grouped(storm.back), grouped(storm.streams));
    let mut text = format!("{back} of {streams} back");
    if let Some(seconds) = storm.seconds {
        text += &format!(" after {seconds:.2} s");
    }
    let Storm { spread, cut_seconds, attempts_failed, .. } = storm;
    text += &format!(", spread {spread} s, cut in {cut_seconds:.3} s, repeated {attempts_failed}");
    rows.row("storm", text);
    percentiles(rows, "  reopened in, ms", &storm.reopen_ms);
    let deliveries = grouped(storm.tally.unique);
    rows.row("  deliveries", format!("{deliveries} of {}", grouped(storm.expected)));
    wrong(rows, &storm.tally, storm.lost);
    percentiles(rows, "running: before, ms", &storm.before_ms);
    percentiles(rows, "  during, ms", &storm.during_ms);
    percentiles(rows, "  coming back, ms", &storm.returning_ms);
    percentiles(rows, "  after, ms", &storm.after_ms);
    rows.row("  p99, times before", format!("{:.2}", storm.slowdown()));
}

fn doubling(rows: &mut Rows, doubled: &Doubled) {
    let Doubled { first, dropped, out_of_order, silent, killed, cut, streams, .. } = doubled;
    let (first, dropped) = (grouped(*first), grouped(*dropped));
    rows.row("first copies", format!("{first}, out of order {out_of_order}, silent {silent}"));
    rows.row("second copies", format!("{dropped}, dropped by their number"));
    if let Some(server) = killed {
        let text = format!("server {server}; streams cut {cut} of {}", grouped(*streams));
        rows.row("killed", text);
    }
    percentiles(rows, "first: before, ms", &doubled.before_ms);
    percentiles(rows, "  through, ms", &doubled.through_ms);
    percentiles(rows, "  after, ms", &doubled.after_ms);
}

/// What went wrong on streams beside the running ones.
fn wrong(rows: &mut Rows, tally: &Tally, lost: u64) {
    let text = format!(
        "lost {lost}, repeated {}, out of order {}, silent {}, declared gaps {} ({} messages)",
        tally.repeated, tally.out_of_order, tally.silent, tally.gap_frames, tally.gap_messages
    );
    rows.row("  wrong", text);
}

fn samples(rows: &mut Rows, samples: &[Sample]) {
    let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
    for (at, sample) in samples.iter().enumerate() {
        let Sample { seconds, server, tcp, dropped } = sample;
        let mut text = format!("{seconds:6.1} s  ");
        if let Some(Memory { rss, pss, .. }) = server {
            text += &format!("server RSS {:.1}  PSS {:.1} MiB,  ", mib(*rss), mib(*pss));
        }
        text += &format!(
            "TCP {:.1} MiB, sockets {}, orphans {}, dropped {dropped}",
            mib(tcp.bytes),
            tcp.sockets,
            tcp.orphans
        );
        rows.row(if at == 0 { "memory over time" } else { "" }, text);
    }
}

fn growth(rows: &mut Rows, growth: Option<&Growth>) {
    let Some(Growth { from, to, rss, pss, tcp }) = growth else { return };
    let [rss, pss, tcp] = [rss, pss, tcp].map(|bytes| *bytes as f64 / (1024.0 * 1024.0));
    let text = format!(
        "from {from:.1} to {to:.1} s: server RSS {rss:+.1}  PSS {pss:+.1} MiB,  TCP {tcp:+.1} MiB"
    );
    rows.row("memory grew", text);
}

fn server(rows: &mut Rows, usage: &Usage) {
    let mut text = format!("{:.2} s, {:.2} cores", usage.cpu_seconds, usage.cores);
    if let Some(micros) = usage.cpu_us_per_delivery {
        text += &format!(", {micros:.3} us a delivery");
    }
    rows.row("server CPU", text);
    let whole = |memory: Memory| {
        let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        let Memory { rss, pss, private } = memory;
        format!("RSS {:.1}  PSS {:.1}  private {:.1} MiB", mib(rss), mib(pss), mib(private))
    };
    rows.row("memory before", whole(usage.before));
    rows.row("memory, all open", whole(usage.open));
    rows.row("memory at the end", whole(usage.after));
    let each = |MemoryEach { rss, pss, private }| {
        format!("RSS {rss:.0}  PSS {pss:.0}  private {private:.0}")
    };
    rows.row("bytes a stream", each(usage.bytes_per_stream));
    rows.row("  at the end", each(usage.bytes_per_stream_after));
}

fn machine(rows: &mut Rows, machine: &Machine) {
    let Machine { cpu, cores, kernel, congestion, memory } = machine;
    let gib = *memory as f64 / (1024.0 * 1024.0 * 1024.0);
    let text = format!("{cpu}, {cores} cores, {gib:.1} GiB, {kernel}, TCP {congestion}");
    rows.row("machine", text);
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The percentiles of a histogram of nanoseconds in milliseconds, in the text form that the
/// plotters of HdrHistogram read (`.hgrm`).
pub fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut count = 0;
    for step in histogram.iter_quantiles(5) {
        count += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / 1e6;
        let quantile = step.quantile_iterated_to();
        let line = format!("{value:12.3} {quantile:2.12} {count:10}");
        let inverse = 1.0 / (1.0 - quantile);
        // The last line has no finite inverse and ends without one.
        let end = if inverse.is_finite() { format!(" {inverse:14.2}") } else { String::new() };
        text.push_str(&line);
        text.push_str(&end);
        text.push('\n');
    }
    let (mean, deviation) = (histogram.mean() / 1e6, histogram.stdev() / 1e6);
    let (max, total) = (histogram.max() as f64 / 1e6, histogram.len());
    text += &format!("#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n");
    text += &format!("#[Max     = {max:12.3}, Total count    = {total:12}]\n");
    text += &format!("#[Buckets = {:12}, SubBuckets     = {:12}]\n", histogram.buckets(), 2048);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::sink::histogram;

    #[test]
    fn digits_come_in_threes() {
        let shown = [0, 12, 123, 1234, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "12", "123", "1,234", "1,234,567"]);
    }

    #[test]
    fn the_percentile_file_ends_at_the_largest_value() {
        let mut values = histogram();
        (1..=1000).for_each(|ms| values.saturating_record(ms * 1_000_000));
        let text = hgrm(&values);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let last: Vec<&str> = lines.last().unwrap().split_whitespace().collect();
        assert_eq!(last[1..], ["1.000000000000", "1000"]);
        assert!(last[0].starts_with("1000."), "{}", last[0]);
        assert!(text.contains("Total count    =         1000]"));
    }
}
