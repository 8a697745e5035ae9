//! Outputs and events of agents in few words, for people who read a trace.

use crate::client::event::{Event, Output, Request};

/// An output in words.
pub fn output(output: &Output) -> String {
    let of = |request: &Request| {
        let body = request.body.as_deref().map(text).unwrap_or_default();
        format!("{} {body}", request.target)
    };
    match output {
        Output::OpenStream { stream, route, request } => {
            format!("s{} opens over route {}: {}", stream.0, route.0, of(request))
        }
        Output::CloseStream { stream } => format!("s{} is closed", stream.0),
        Output::Login { call, route, request } | Output::Call { call, route, request } => {
            format!("c{} over route {}: {}", call.0, route.0, of(request))
        }
    }
}

/// An event in words.
pub fn event(event: &Event) -> String {
    match event {
        Event::Message { channel, ep, n, folded, payload, .. } => {
            format!("* {} message {ep}:{n} (+{folded}) {}", channel.0, text(payload))
        }
        Event::Opened { channel, ep, n, head } => {
            format!("* {} opened {ep}:{n} head {head}", channel.0)
        }
        Event::Gap { channel, ep, n, missing } => {
            format!("* {} gap {ep}:{n} missing {missing:?}", channel.0)
        }
        other => format!("* {other:?}"),
    }
}

/// Bytes as text, not too long, and without the head that every document has.
pub fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(1_500)]);
    match (text.find("HTTP/1.1 200 OK\r\n"), text.find("<title>mux</title><body>")) {
        (Some(0), Some(end)) => format!("HEAD..{}", &text[end..]),
        _ => text.into_owned(),
    }
}
