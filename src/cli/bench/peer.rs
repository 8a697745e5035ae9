//! Other servers under the same load: how a stream is asked for, how its bytes are cut into
//! messages, and how a message is published, for each program that `--peer` names.
//!
//! Sockets, clock, accounts and publisher are the same for all of them, so that figures differ by
//! the servers alone. Only our own server numbers its messages and names their channel; for all
//! others the payload says the topic, and the publisher's own number stands for the offset.

pub mod courier;
pub mod feed;
pub mod mqtt;
pub mod nats;
pub mod packets;
pub mod straight;
pub mod websocket;

use serde::Serialize;

use crate::cli::bench::Args;
use crate::cli::bench::address::Server;
use crate::cli::bench::dial;
use crate::cli::bench::peer::feed::Feed;
use crate::cli::bench::plan::{Plan, check};
use crate::cli::bench::stamp::ADDRESSED_BYTES;
use crate::cli::bench::tally::Mode;

/// What the server is, and so what is spoken with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// An AHM server
    #[default]
    Ahm,
    /// The floor programs: GET /sub/TOPIC,TOPIC and POST /pub/TOPIC, a line for each message
    Floor,
    /// nginx with nchan: the same, chunked
    Nchan,
    /// nats-server, its own protocol
    Nats,
    /// nats-server: subscribers by WebSocket, the publisher by its own protocol
    NatsWs,
    /// An MQTT 3.1.1 broker, QoS 0
    Mqtt,
    /// The same: subscribers by WebSocket, the publisher by TCP
    MqttWs,
}

impl Peer {
    /// The schemes of the URL where subscribers connect, and of that where messages are published.
    pub fn schemes(self) -> [&'static str; 2] {
        match self {
            Self::Ahm | Self::Floor | Self::Nchan => ["http", "http"],
            Self::Nats | Self::Mqtt => ["tcp", "tcp"],
            Self::NatsWs | Self::MqttWs => ["ws", "tcp"],
        }
    }

    /// Whether each message ends with LF, and the server passes that on.
    pub fn is_lines(self) -> bool {
        matches!(self, Self::Floor | Self::Nchan)
    }

    /// Refuses options that only our own server knows.
    ///
    /// # Errors
    /// A sentence that names the option.
    pub fn check(self, args: &Args) -> Result<(), String> {
        if self == Self::Ahm {
            return Ok(());
        }
        check(args.mode == Mode::Queue, "--mode latest: only --peer ahm knows it")?;
        check(args.flush.is_none(), "--flush: only --peer ahm knows it")?;
        check(args.heartbeat.is_none(), "--heartbeat: only --peer ahm knows it")?;
        check(args.dup.is_none(), "--dup: only --peer ahm numbers its messages")?;
        check(args.storm == 0, "--storm: only with --peer ahm do streams come back")?;
        check(args.topics <= 1 << 16, "--topics must be at most 65536 with other servers")?;
        let least = format!("--size must be at least {ADDRESSED_BYTES} with other servers");
        check(args.size >= ADDRESSED_BYTES, &least)
    }

    /// What is said for stream `number` when its connection stands.
    pub fn hello(self, plan: &Plan, number: usize) -> Vec<u8> {
        let server = plan.server_of(number);
        match self {
            Self::Ahm => dial::request(server, &plan.target(number), dial::HTML),
            Self::Floor | Self::Nchan => {
                let target = format!("{}/sub/{}", server.path, topics(plan, number).join(","));
                dial::request(server, &target, "TE: chunked\r\n")
            }
            Self::NatsWs => websocket::upgrade(server, ""),
            Self::MqttWs => websocket::upgrade(server, "Sec-WebSocket-Protocol: mqtt\r\n"),
            Self::Nats => nats::subscribe(&topics(plan, number)),
            Self::Mqtt => mqtt::subscribe(&topics(plan, number)),
        }
    }

    /// What is said for stream `number` when the head of an HTTP answer has come; often nothing.
    pub fn reply(self, plan: &Plan, number: usize) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::NatsWs => websocket::put(&nats::subscribe(&topics(plan, number)), &mut out),
            Self::MqttWs => websocket::put(&mqtt::subscribe(&topics(plan, number)), &mut out),
            _ => {}
        }
        out
    }

    /// The decoder of a stream that does not begin with the head of an HTTP answer.
    pub fn feed(self) -> Option<Feed> {
        match self {
            Self::Nats => Some(Feed::packets(nats::first)),
            Self::Mqtt => Some(Feed::packets(mqtt::first)),
            _ => None,
        }
    }

    /// The decoder of a stream that begins with the head of an HTTP answer, and the length of that
    /// head; `None` while it is not complete.
    ///
    /// # Errors
    /// A sentence: the answer is none that a stream follows.
    pub fn answered(self, head: &[u8]) -> Result<Option<(Feed, usize)>, String> {
        let status = if matches!(self, Self::NatsWs | Self::MqttWs) { 101 } else { 200 };
        let Some((lines, consumed)) = dial::document(head, status)? else { return Ok(None) };
        let feed = match self {
            Self::Floor | Self::Nchan => Feed::Payloads(lines),
            Self::NatsWs => Feed::framed(nats::first),
            Self::MqttWs => Feed::framed(mqtt::first),
            Self::Ahm | Self::Nats | Self::Mqtt => Feed::Document(lines),
        };
        Ok(Some((feed, consumed)))
    }

    /// Where messages are published and streams are opened, from the two URLs.
    ///
    /// # Errors
    /// A sentence: not such a URL, or no such host.
    pub fn servers(self, args: &Args) -> Result<(Server, Option<Server>), String> {
        let [subscribers, publisher] = self.schemes();
        let server = Server::parse_as(subscribers, &args.url)?;
        let private = args.private.as_deref().map(|url| Server::parse_private(publisher, url));
        Ok((server, private.transpose()?))
    }
}

/// The names of the topics that stream `number` reads.
fn topics(plan: &Plan, number: usize) -> Vec<String> {
    (0..plan.per).map(|at| topic(plan, plan.topic(number, at))).collect()
}

/// The name of a topic, fit for all of them.
fn topic(plan: &Plan, topic: usize) -> String {
    format!("{}.t{topic}", plan.resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(peer: Peer, change: impl FnOnce(&mut Args)) -> Result<Plan, String> {
        let [subscribers, publisher] = peer.schemes();
        let url = format!("{subscribers}://127.0.0.1:9");
        let private = Some(format!("{publisher}://127.0.0.1:8"));
        let mut args = Args { peer, url, private, ..Args::default() };
        (args.topics, args.topics_per_subscriber) = (3, 2);
        change(&mut args);
        Plan::new(&args, 7)
    }

    #[test]
    fn streams_are_asked_for_in_the_words_of_each_server() {
        let said = |peer: Peer| {
            let plan = plan(peer, |_| {}).unwrap();
            String::from_utf8_lossy(&peer.hello(&plan, 1)).into_owned()
        };
        assert!(said(Peer::Ahm).starts_with("GET /ahm/mux.html?mid=0&scs=0&open=bench/t2&"));
        assert!(said(Peer::Floor).starts_with("GET /sub/bench.t2,bench.t0 HTTP/1.1\r\n"));
        assert!(said(Peer::Nats).contains("\r\nSUB bench.t2 1\r\nSUB bench.t0 2\r\nPING\r\n"));
        assert!(said(Peer::Mqtt).contains("MQTT"));
        assert!(said(Peer::MqttWs).contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"));
        assert!(said(Peer::NatsWs).contains("\r\nUpgrade: websocket\r\n"));
    }

    /// A change of options, and the one that is named when it is refused.
    type Refused = (fn(&mut Args), &'static str);

    #[test]
    fn options_that_a_server_cannot_know_are_refused_by_name() {
        assert!(plan(Peer::Nats, |_| {}).is_ok());
        let refused: [Refused; 7] = [
            (|args| args.mode = Mode::Latest, "--mode"),
            (|args| args.flush = Some(20), "--flush"),
            (|args| args.heartbeat = Some(500), "--heartbeat"),
            (|args| args.storm = 1, "--storm"),
            (|args| args.size = 32, "--size"),
            (|args| args.url = "http://127.0.0.1:9".into(), "tcp://"),
            (|args| args.private = Some("http://127.0.0.1:9".into()), "tcp://"),
        ];
        for (change, name) in refused {
            let error = plan(Peer::Nats, change).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
