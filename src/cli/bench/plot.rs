//! A record as a picture: latency by percentile, and rates over time, as one SVG.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::cli::bench::record::Record;
use crate::cli::bench::table::grouped;
use crate::cli::bench::tally::Mode;
use crate::cli::bench::timeline::Second;

const NAMESPACE: &str = "http://www.w3.org/2000/svg";
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 440.0;
/// Colours by class, so that a dark page can have its own; a viewer that knows of no such thing
/// shows the light ones on their own ground.
const STYLE: &str = "\
svg{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',Arial,sans-serif}\
.ground{fill:#fff;stroke:#d0d7de}.t{fill:#1f2328}.q{fill:#59636e}.h{font-size:15px;font-weight:600}\
.e{text-anchor:end}.m{text-anchor:middle}.v{font-size:11px}\
.g{stroke:#d8dee4;fill:none}.f{stroke:#eaeef2;fill:none}.x{stroke:#8c959f;fill:none}\
.l{stroke:#0969da;fill:none;stroke-width:2;stroke-linejoin:round}.d{fill:#0969da}\
.a{fill:#0969da;fill-opacity:.12}.p{stroke:#bc4c00;fill:none;stroke-width:2}\
.b{fill:#bc4c00;fill-opacity:.12}.bad{fill:#cf222e}.w{fill:#8c959f;fill-opacity:.12}\
@media(prefers-color-scheme:dark){\
.ground{fill:#0d1117;stroke:#30363d}.t{fill:#e6edf3}.q{fill:#9198a1}\
.g{stroke:#30363d}.f{stroke:#21262d}.x{stroke:#6e7681}.l{stroke:#4493f8}.d,.a{fill:#4493f8}\
.p{stroke:#f0883e}.b{fill:#f0883e}.bad{fill:#ff7b72}}";

/// What the value of the largest latency takes.
const LABEL_WIDTH: f64 = 64.0;

/// The percentiles that are named, with 1 / (1 - p) of each.
const NAMED: [(&str, f64); 8] = [
    ("0", 1.0),
    ("50", 2.0),
    ("90", 10.0),
    ("99", 100.0),
    ("99.9", 1e3),
    ("99.99", 1e4),
    ("99.999", 1e5),
    ("99.9999", 1e6),
];

/// A rectangle of the picture in which something is drawn to a scale.
#[derive(Clone, Copy)]
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Frame {
    /// From parts of width and height, counted from the left and from below.
    fn point(&self, x: f64, y: f64) -> (f64, f64) {
        (self.left + x * self.width, self.bottom() - y * self.height)
    }

    fn bottom(&self) -> f64 {
        self.top + self.height
    }

    fn right(&self) -> f64 {
        self.left + self.width
    }
}

/// The elements so far.
struct Picture(String);

impl Picture {
    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x, y), (to_x, to_y)) = (from, to);
        self.put(format_args!(r#"<path class="{class}" d="M{x:.1} {y:.1}L{to_x:.1} {to_y:.1}"/>"#));
    }

    fn path(&mut self, class: &str, points: &[(f64, f64)], closed: bool) {
        let mut d = String::new();
        for (at, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' });
        }
        let end = if closed { "Z" } else { "" };
        self.put(format_args!(r#"<path class="{class}" d="{d}{end}"/>"#));
    }

    fn text(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.put(format_args!(r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#));
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.0, "{element}"); // writing to a string cannot fail
    }
}

/// The record of a run and the latencies in nanoseconds as an SVG.
pub fn svg(record: &Record, latency: &Histogram<u64>) -> String {
    let mut picture = Picture(String::new());
    picture.put(format_args!(
        r#"<svg xmlns="{NAMESPACE}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" "#
    ));
    picture.put(format_args!(r#"height="{HEIGHT}"><style>{STYLE}</style>"#));
    picture.put(format_args!(
        r#"<rect class="ground" x=".5" y=".5" width="{}" height="{}" rx="6"/>"#,
        WIDTH - 1.0,
        HEIGHT - 1.0
    ));
    head(&mut picture, record);
    let left = Frame { left: 70.0, top: 104.0, width: 400.0, height: 280.0 };
    percentiles(&mut picture, left, latency);
    let upper = Frame { left: 570.0, top: 104.0, width: 405.0, height: 170.0 };
    let lower = Frame { top: 304.0, height: 80.0, ..upper };
    rates(&mut picture, upper, lower, record);
    picture.put(format_args!("</svg>"));
    picture.0
}

fn head(picture: &mut Picture, record: &Record) {
    let settings = &record.settings;
    let mode = if settings.mode == Mode::Latest { "latest" } else { "queue" };
    let pace = match &settings.profile {
        Some(played) => format!("recorded ticks of {} at speed {}", played.name, played.speed),
        None => format!("{} msg/s of {} B", settings.rate, settings.size),
    };
    let plural = |count: usize, what: &str| {
        format!("{} {what}{}", grouped(count as u64), if count == 1 { "" } else { "s" })
    };
    let readers = plural(settings.subscribers, "reader");
    let topics = match (settings.topics_per_subscriber, settings.topics) {
        (1, 1) => "one topic".to_owned(),
        (per, all) if per == all => format!("all {all} topics"),
        (per, all) => format!("{per} of {} each", plural(all, "topic")),
    };
    let title = format!("{readers} of {topics}, {pace}, mode {mode}");
    picture.text("t h", (24.0, 32.0), &clipped(&title, 110));
    let failures = record.failures();
    let text = match failures.is_empty() {
        true => format!(
            "{} deliveries, nothing lost, repeated or out of order. {}",
            grouped(record.delivery.tally.deliveries),
            machine(record)
        ),
        false => format!("FAILED: {}", failures.join("; ")),
    };
    let class = if failures.is_empty() { "q" } else { "bad" };
    picture.text(class, (24.0, 54.0), &clipped(&text, 150));
}

fn machine(record: &Record) -> String {
    let machine = &record.machine;
    format!("{}, {} cores, {}", machine.cpu, machine.cores, machine.kernel)
}

/// `text`, cut off where it would leave the picture.
fn clipped(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => text[..at].to_owned() + "...",
        None => text.to_owned(),
    }
}

/// Latency by percentile, both axes logarithmic.
fn percentiles(picture: &mut Picture, frame: Frame, latency: &Histogram<u64>) {
    picture.text("t", (frame.left, frame.top - 14.0), "latency, ms, by percentile");
    if latency.is_empty() {
        picture.text("q", frame.point(0.3, 0.5), "nothing was measured");
        return;
    }
    let ms = |nanos: u64| (nanos.max(1) as f64 / 1e6).max(1e-4);
    let decades = (latency.len() as f64).log10().clamp(2.0, 9.0);
    let low = ms(latency.min()).log10().floor();
    let high = ms(latency.max()).log10().ceil().max(low + 1.0);
    let place = |inverse: f64, nanos: u64| {
        let x = inverse.log10() / decades;
        frame.point(x.min(1.0), (ms(nanos).log10() - low) / (high - low))
    };
    for decade in low as i32..=high as i32 {
        let y = frame.point(0.0, (f64::from(decade) - low) / (high - low)).1;
        if f64::from(decade) < high {
            for step in 2..10 {
                let part = (f64::from(decade) + f64::from(step).log10() - low) / (high - low);
                let y = frame.point(0.0, part).1;
                picture.line("f", (frame.left, y), (frame.right(), y));
            }
        }
        picture.line("g", (frame.left, y), (frame.right(), y));
        picture.text("q e", (frame.left - 8.0, y + 4.0), &short(10f64.powi(decade)));
    }
    let named = NAMED.iter().filter(|(_, inverse)| inverse.log10() <= decades + 1e-9);
    for (name, inverse) in named.clone() {
        let x = frame.point(inverse.log10() / decades, 0.0).0;
        picture.line("g", (x, frame.top), (x, frame.bottom()));
        picture.text("q m", (x, frame.bottom() + 18.0), name);
    }
    let centre = frame.left + frame.width / 2.0;
    picture.text("q m", (centre, frame.bottom() + 38.0), "percentile of deliveries");
    let mut points = vec![place(1.0, latency.min())];
    for step in latency.iter_quantiles(10) {
        let inverse = 1.0 / (1.0 - step.quantile_iterated_to()).max(1e-12);
        points.push(place(inverse.min(10f64.powf(decades)), step.value_iterated_to()));
    }
    picture.path("l", &points, false);
    let largest = place(10f64.powf(decades), latency.max());
    for (name, inverse) in named.skip(1) {
        let value = latency.value_at_quantile(1.0 - 1.0 / inverse);
        let at = place(*inverse, value);
        // The largest value has the last word.
        let room = largest.0 - at.0 > LABEL_WIDTH;
        let text = if room { precise(ms(value)) } else { String::new() };
        dot(picture, frame, at, &text, *name == "50");
    }
    let value = format!("max {}", precise(ms(latency.max())));
    dot(picture, frame, largest, &value, false);
}

/// A point of the curve with its value, above and to the left of it, where nothing of the curve
/// is: it only rises. The first ones have their value below and to the right.
fn dot(picture: &mut Picture, frame: Frame, (x, y): (f64, f64), value: &str, below: bool) {
    picture.put(format_args!(r#"<circle class="d" cx="{x:.1}" cy="{y:.1}" r="3"/>"#));
    if below && y + 18.0 < frame.bottom() {
        picture.text("t v", (x + 4.0, y + 15.0), value);
    } else {
        picture.text("t v e", (x - 3.0, y - 7.0), value);
    }
}

/// Deliveries a second above messages published a second, on one axis of time.
fn rates(picture: &mut Picture, upper: Frame, lower: Frame, record: &Record) {
    let seconds = &record.timeline;
    picture.text("t", (upper.left, upper.top - 14.0), "deliveries a second");
    picture.text("t", (lower.left, lower.top - 10.0), "messages published a second");
    let Some(last) = seconds.last() else {
        picture.text("q", upper.point(0.3, 0.5), "nothing was published");
        return;
    };
    let end = last.end.max(1e-9);
    let warmup = (record.settings.warmup / end).clamp(0.0, 1.0);
    for (frame, line, area, count) in [
        (upper, "l", "a", (|second| second.deliveries) as fn(&Second) -> u64),
        (lower, "p", "b", |second| second.published),
    ] {
        if warmup > 0.0 {
            let [from, to] = [frame.point(0.0, 0.0), frame.point(warmup, 1.0)];
            picture.path("w", &[from, (to.0, from.1), to, (from.0, to.1)], true);
        }
        let rates: Vec<f64> = seconds.iter().map(|second| second.rate(count(second))).collect();
        let top = nice(rates.iter().copied().fold(0.0, f64::max));
        for part in [0.0, 0.5, 1.0] {
            let y = frame.point(0.0, part).1;
            picture.line(if part == 0.0 { "x" } else { "g" }, (frame.left, y), (frame.right(), y));
            picture.text("q e", (frame.left - 8.0, y + 4.0), &short(top * part));
        }
        let mut steps = Vec::new();
        for (second, rate) in seconds.iter().zip(&rates) {
            let begin = (second.end - second.length).max(0.0) / end;
            steps.push(frame.point(begin, rate / top));
            steps.push(frame.point(second.end / end, rate / top));
        }
        let mut ground = vec![frame.point(0.0, 0.0)];
        ground.extend(&steps);
        ground.push(frame.point(1.0, 0.0));
        picture.path(area, &ground, true);
        picture.path(line, &steps, false);
    }
    if warmup > 0.16 {
        let x = upper.point(warmup / 2.0, 0.0).0;
        picture.text("q m v", (x, upper.bottom() - 8.0), "warm-up");
    }
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0];
    let step = steps.into_iter().find(|step| end / step <= 10.0).unwrap_or(36_000.0);
    for at in 0..=(end / step) as u32 {
        let at = f64::from(at) * step;
        let x = lower.point(at / end, 0.0).0;
        picture.line("x", (x, lower.bottom()), (x, lower.bottom() + 4.0));
        picture.text("q m", (x, lower.bottom() + 18.0), &format!("{at}"));
    }
    let centre = lower.left + lower.width / 2.0;
    picture.text("q m", (centre, lower.bottom() + 38.0), "seconds since the first message");
}

/// The smallest number of few digits that is at least `value`.
fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.iter().map(|step| step * power).find(|step| *step >= value * 0.9999).unwrap_or(value)
}

/// `12500` as `12.5k`.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let text = format!("{value:.4}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Three digits that count.
fn precise(value: f64) -> String {
    let decimals = (2.0 - value.log10().floor()).clamp(0.0, 4.0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        let ends = [0.0, 0.9, 1.0, 1.2, 2.2, 3.0, 7.0, 104_000.0].map(nice);
        assert_eq!(ends, [1.0, 1.0, 1.0, 1.5, 2.5, 3.0, 8.0, 150_000.0]);
        let shown = [0.0, 0.01, 2.5, 50.0, 12_500.0, 2e6].map(short);
        assert_eq!(shown, ["0", "0.01", "2.5", "50", "12.5k", "2M"]);
        let shown = [0.01234, 1.234, 12.34, 123.4, 4321.0].map(precise);
        assert_eq!(shown, ["0.0123", "1.23", "12.3", "123", "4321"]);
    }
}
