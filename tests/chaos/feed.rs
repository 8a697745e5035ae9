//! The publisher: numbers its messages itself, one thread for each topic, an open loop.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use ahm::base::backoff::Backoff;
use ahm::base::id::{Epoch, Offset};
use ahm::base::name::TopicName;
use ahm::base::time::Span;
use ahm::client::event::parse_topic;
use ahm::reactor::url::Server;
use ahm::resource::post::{Publisher, Settings};
use ahm::wire::command::Position;

/// The name of topic `topic`.
pub fn name(topic: usize) -> TopicName {
    parse_topic(&format!("feed/t{topic}")).unwrap()
}

/// The epoch of topic `topic`.
pub fn epoch(topic: usize) -> Epoch {
    Epoch(0xfeed_0000 + topic as u64)
}

/// What message `n` of topic `topic` says: nobody else says that.
pub fn payload(topic: usize, n: u64) -> Vec<u8> {
    let mut state = (n << 8 | topic as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut said = format!("t{topic} {n} ").into_bytes();
    let length = if n.is_multiple_of(31) { 5000 } else { state >> 55 };
    for _ in 0..length {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let byte = (state >> 33) as u8;
        said.push(match n % 7 {
            0 => byte, // any bytes: travels as base64
            1 => b"<&>\r\nx"[usize::from(byte) % 6],
            _ => b'a' + byte % 26,
        });
    }
    said
}

/// How fast, how long.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Messages a second of one topic.
    pub rate: u64,
    /// Messages of one topic in all.
    pub count: u64,
}

/// What became of a topic's messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Published {
    /// Answered as taken.
    pub taken: u64,
    /// Of those, known to the server before: the first answer was lost.
    pub repeats: u64,
    /// From when a message was due to when its answer came, at worst.
    pub late: Duration,
}

/// Publishes topic `topic`; `began` hears of the first message. Ends early when `stop` is dropped.
pub fn run(
    address: SocketAddr,
    topic: usize,
    pace: Pace,
    began: &Sender<usize>,
    stop: &Receiver<()>,
) -> Result<Published, String> {
    let url = Server::parse(&format!("http://{address}"), "/").map_err(|e| e.to_string())?;
    let backoff = Backoff { cap: Span::from_millis(300), ..Backoff::default() };
    let settings = Settings { timeout: Span::from_millis(700), backoff, ..Settings::default() };
    let mut publisher = Publisher::new(url, settings, topic as u64);
    let name = name(topic);
    let start = Instant::now();
    let mut published = Published::default();
    for n in 1..=pace.count {
        let due = start + Duration::from_nanos((n - 1) * 1_000_000_000 / pace.rate);
        let wait = due.saturating_duration_since(Instant::now());
        if stop.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
            break;
        }
        let at = Position { ep: epoch(topic), n: Offset(n) };
        let answer = publisher.publish(&name, &payload(topic, n), Some(at), false);
        let (place, repeat) = answer.map_err(|error| format!("{name} {n}: {error}"))?;
        if place != at {
            return Err(format!("{name} {n}: the server calls it {place}"));
        }
        published.taken += 1;
        published.repeats += u64::from(repeat);
        published.late = published.late.max(due.elapsed());
        if n == 1 {
            let _ = began.send(topic);
        }
    }
    Ok(published)
}
