//! Readers without a server between: each connects to the publisher, a resource server, and reads
//! by the resource protocol. What the way through a communication server adds is the difference.

use crate::base::id::{Cid, Mid};
use crate::base::time::Span;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::sink::Sink;
use crate::wire::resource::{Alias, Frame, InstanceId, Role, VERSION, Who};
use crate::wire::resource_decode::Decoder;
use crate::wire::resource_encode::put_frame;

/// Readers say nothing between; the publisher waits three times as long for a sign of life.
const HEARTBEAT: Span = Span::from_secs(3_600);
/// No frame of a run is longer.
const FRAME_BYTES_MAX: usize = 128 * 1024;

/// The decoder of such a stream.
pub fn decoder() -> Decoder {
    Decoder::new(FRAME_BYTES_MAX)
}

/// What is said for stream `number`: who reads, and what. The number of a topic is its alias.
pub fn hello(plan: &Plan, number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let instance = InstanceId(u64::from(plan.run) << 32 | number as u64);
    let (version, role, heartbeat, name, key) = (VERSION, Role::Consumer, HEARTBEAT, "bench", "");
    put_frame(&mut out, &Frame::Hello { version, role, instance, heartbeat, name, key });
    for topic in (0..plan.per).map(|at| plan.topic(number, at)) {
        let subject = format!("t{topic}");
        let Some(session) = Mid::from_number(number as u64 + 1) else { continue };
        let (cid, address, user) = (Cid(1), "", "");
        let who = Who { session, cid, address, user, parameters: Vec::new() };
        let (alias, resource) = (Alias(topic as u32), plan.resource.as_str());
        put_frame(&mut out, &Frame::Open { alias, resource, subject: &subject, last: None, who });
    }
    out
}

/// Hands what `bytes` complete to `sink`; what must be answered goes to `replies`.
///
/// # Errors
/// A sentence: the stream is over or of no more use.
pub fn push(
    decoder: &mut Decoder,
    bytes: &[u8],
    sink: &mut Sink<'_>,
    replies: &mut Vec<u8>,
) -> Result<(), String> {
    let mut over = None;
    let decoded = decoder.push(bytes, |frame| match frame {
        Frame::Publish { alias, n, payload, .. } => sink.message(cid(alias), n.0, payload),
        Frame::Accept { alias, ep, next, .. } => {
            let name = format!("{}/t{}", sink.plan.resource, alias.0);
            sink.opened(cid(alias), &name, ep.0, next.0.saturating_sub(1));
        }
        Frame::Begin { alias, next, .. } => sink.gap(cid(alias), next.0.saturating_sub(1)),
        Frame::Ping { stamp, .. } => put_frame(replies, &Frame::Pong { stamp }),
        Frame::Deny { detail, .. } => over = Some(format!("the publisher refuses: {detail}")),
        Frame::Close { .. } => over = Some("the publisher has closed a topic".to_owned()),
        Frame::Bye { reason } => over = Some(format!("the publisher has left: {reason}")),
        _ => {}
    });
    decoded.map_err(|error| format!("not the resource protocol: {error}"))?;
    over.map_or(Ok(()), Err)
}

/// The number of a topic's channel on all streams: none has the number 0.
const fn cid(alias: Alias) -> u32 {
    alias.0.wrapping_add(1)
}
