//! MQTT 3.1.1 as far as QoS 0 needs it.

use crate::cli::bench::peer::feed::Heard;

/// CONNECT: a clean session under a name that the server chooses, without keep-alive.
pub const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";
/// Asks for a sign that everything before has been taken.
pub const PING: &[u8] = b"\xc0\x00";
/// Longest form of a length.
const LENGTH_BYTES_MAX: usize = 4;

/// What a subscriber says.
pub fn subscribe(topics: &[String]) -> Vec<u8> {
    let length = 2 + topics.iter().map(|topic| 2 + topic.len() + 1).sum::<usize>();
    let mut out = CONNECT.to_vec();
    out.push(0x82);
    put_length(length, &mut out);
    out.extend_from_slice(&1_u16.to_be_bytes());
    for topic in topics {
        put_text(topic.as_bytes(), &mut out);
        out.push(0);
    }
    out
}

/// The beginning of a message of `size` bytes to `topic`; its payload follows.
pub fn publish(topic: &[u8], size: usize, out: &mut Vec<u8>) {
    out.push(0x30);
    put_length(2 + topic.len() + size, out);
    put_text(topic, out);
}

fn put_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text);
}

fn put_length(mut length: usize, out: &mut Vec<u8>) {
    while length > 0x7f {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// The length of what follows, and where that begins.
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let mut value = 0;
    for (at, byte) in bytes.iter().skip(1).enumerate().take(LENGTH_BYTES_MAX) {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 2)));
        }
    }
    let fits = bytes.len() <= LENGTH_BYTES_MAX;
    if fits { Ok(None) } else { Err("mqtt: a length without an end".to_owned()) }
}

/// What is at the front of `bytes`, and its length, once it is complete.
///
/// # Errors
/// A sentence: the server refuses, or does not speak this.
pub fn first(bytes: &[u8]) -> Result<Option<(Heard<'_>, usize)>, String> {
    let Some((length, begin)) = length(bytes)? else { return Ok(None) };
    let Some(body) = bytes.get(begin..begin + length) else { return Ok(None) };
    let heard = match (bytes[0] >> 4, body) {
        (3, [high, low, rest @ ..]) if bytes[0] & 0x06 == 0 => {
            let topic = usize::from(u16::from_be_bytes([*high, *low]));
            let payload = rest.get(topic..).ok_or("mqtt: a message without a topic")?;
            Heard::Payload(payload)
        }
        (2, [_, 0]) => Heard::Nothing,
        (2, [_, code]) => return Err(format!("mqtt: connection refused with code {code}")),
        (9, [_, _, codes @ ..]) if codes.iter().all(|code| *code == 0) => Heard::Done,
        (9, _) => return Err("mqtt: a subscription was refused".to_owned()),
        (13, []) => Heard::Done,
        (kind, _) => return Err(format!("mqtt: a packet of type {kind} that has no place here")),
    };
    Ok(Some((heard, begin + length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::peer::packets::Decoder;

    fn heard(pieces: &[&[u8]]) -> Result<Vec<String>, String> {
        let (mut mqtt, mut seen) = (Decoder::new(first), Vec::new());
        for piece in pieces {
            mqtt.push(piece, |heard| seen.push(heard.to_string()))?;
        }
        Ok(seen)
    }

    #[test]
    fn byte_by_byte_is_as_good_as_whole() {
        let mut bytes = b"\x20\x02\x00\x00\x90\x04\x00\x01\x00\x00".to_vec();
        let long = "x".repeat(300);
        for payload in ["", "abc", &long] {
            publish(b"bench.t0", payload.len(), &mut bytes);
            bytes.extend_from_slice(payload.as_bytes());
        }
        bytes.extend_from_slice(b"\xd0\x00");
        let long = format!("payload {long}");
        let expected = ["nothing", "done", "payload ", "payload abc", &long, "done"];
        assert_eq!(heard(&[&bytes]).unwrap(), expected);
        assert_eq!(heard(&bytes.chunks(1).collect::<Vec<_>>()).unwrap(), expected);
    }

    #[test]
    fn refusals_and_nonsense_are_told() {
        for (bytes, wanted) in [
            (&b"\x20\x02\x00\x05"[..], "code 5"),
            (b"\x90\x03\x00\x01\x80", "refused"),
            (b"\x32\x05\x00\x01a\x00\x01", "type 3"),
            (b"\x30\x03\x00\x09a", "without a topic"),
            (b"\x30\xff\xff\xff\xff\x01", "without an end"),
            (b"HT\x00\x00\x00".repeat(20).as_slice(), "type 4"),
        ] {
            let error = heard(&[bytes]).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_subscription_lists_its_topics() {
        let bytes = subscribe(&["a".to_owned(), "bc".to_owned()]);
        let rest = bytes.strip_prefix(CONNECT).unwrap();
        assert_eq!(rest, b"\x82\x0b\x00\x01\x00\x01a\x00\x00\x02bc\x00");
    }
}
