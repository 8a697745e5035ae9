//! The frames of the resource side: golden bytes, every split, and bytes that are none.

use std::fmt::Write as _;

use ahm::base::id::{Cid, Epoch, Mid, Offset};
use ahm::base::random::Random;
use ahm::base::reason::{ChannelEnd, ErrorCode};
use ahm::base::time::Span;
use ahm::wire::fields::BinaryError;
use ahm::wire::resource::{Alias, Frame, Grant, Handle, InstanceId, Role, Terms, Who};
use ahm::wire::resource_decode::{Decoder, take_frame};
use ahm::wire::resource_encode::put_frame;

const GOLDEN: &str = include_str!("resource_frames/golden.txt");

fn handle() -> Handle<'static> {
    Handle {
        addresses: vec!["10.0.0.7:9100", "unix:/run/quotes"],
        capacity: 5_000,
        weight: 100,
        takes_messages: true,
        replicas: true,
        conversations: true,
        access: vec!["user:desk-*"],
        labels: vec!["site=east"],
    }
}

fn who() -> Who<'static> {
    Who {
        session: Mid::from_number(1 << 40).expect("below 2^53"),
        cid: Cid(9),
        address: "192.0.2.1:50000",
        user: "alice",
        parameters: vec!["depth=5"],
    }
}

/// One of each kind, and the shapes that a kind has.
fn frames() -> Vec<Frame<'static>> {
    let (alias, ep, session) =
        (Alias(3), Epoch(0xabcd), Mid::from_number(1 << 40).expect("below 2^53"));
    let (instance, heartbeat) = (InstanceId(0x0102_0304_0506_0708), Span::from_millis(5_000));
    let (resource, subject) = ("fx", "EUR/USD");
    let terms = Terms { state: true, changed: true, ..Terms::default() };
    let history = Some((128, 65_536, Span::from_secs(60)));
    let kept = Terms { history, reopen: true, ..Terms::default() };
    let last = Some((ep, Offset(41)));
    let hello = |role, name, key| Frame::Hello { version: 1, role, instance, heartbeat, name, key };
    vec![
        hello(Role::Resource, "quotes-1", "s3cret"),
        hello(Role::Registry, "", ""),
        Frame::Ping { heartbeat, stamp: 77 },
        Frame::Pong { stamp: 77 },
        Frame::Bye { reason: "draining" },
        Frame::Register { resource, handle: handle() },
        Frame::Withdraw { resource },
        Frame::Load { resource, consumers: 300 },
        Frame::Part { part: 300 },
        Frame::Parts { parts: 1_024 },
        Frame::Open { alias, resource, subject, last: None, who: who() },
        Frame::Open { alias, resource, subject, last, who: who() },
        Frame::Accept { alias, grant: Grant::Shared, ep, next: Offset(42), terms },
        Frame::Accept { alias, grant: Grant::Private, ep, next: Offset(1), terms: kept },
        Frame::Accept { alias, grant: Grant::Other("EURUSD"), ep, next: Offset(1), terms },
        Frame::Deny { alias, code: ErrorCode::Forbidden, detail: "not today" },
        Frame::Publish { alias, n: Offset(300), snapshot: false, payload: b"1.0912 1.0914" },
        Frame::Publish { alias, n: Offset(1), snapshot: true, payload: b"" },
        Frame::Begin { alias, ep, next: Offset(1) },
        Frame::Close { alias, end: ChannelEnd::Gone },
        Frame::Send { alias, session, cid: Cid(9), n: 1, id: Some("order-7"), payload: b"buy" },
        Frame::Send { alias, session, cid: Cid(9), n: 2, id: None, payload: b"sell" },
        Frame::Skipped { alias, session, cid: Cid(9), from: 3, to: 5 },
        Frame::Taken { count: 200 },
        Frame::Metrics { alias, consumers: 12, round_trip: 850, behind: 0 },
        Frame::Resolve { ask: 1, resource, subject, private: false, without: Vec::new() },
        Frame::Resolve { ask: 2, resource, subject, private: true, without: vec![instance] },
        Frame::Resolved { ask: 1, instance, handle: handle() },
        Frame::Unresolved { ask: 2, code: ErrorCode::NoInstance },
        Frame::Changed { resource },
        Frame::List { ask: 4 },
        Frame::Entry {
            ask: 4,
            resource,
            instance,
            name: "quotes-1",
            handle: handle(),
            consumers: 17,
            heard: Span::from_millis(40),
            since: Span::from_secs(3_600),
        },
        Frame::ListEnd { ask: 4 },
    ]
}

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    put_frame(&mut out, frame);
    out
}

fn decode(decoder: &mut Decoder, bytes: &[u8], seen: &mut String) -> Result<(), BinaryError> {
    decoder.push(bytes, |frame| {
        let _ = writeln!(seen, "{frame:?}");
    })
}

#[test]
fn the_bytes_are_those_of_the_manual() {
    let mut text = String::new();
    for frame in frames() {
        let hex: Vec<String> = encoded(&frame).iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{frame:?}\n  {}", hex.join(" ")).unwrap();
    }
    assert_eq!(text, GOLDEN, "what is on the wire has changed; if that is meant, so has VERSION");
}

#[test]
fn every_split_gives_the_same_frames() {
    let frames = frames();
    let mut whole = Vec::new();
    frames.iter().for_each(|frame| put_frame(&mut whole, frame));
    let expected: String = frames.iter().map(|frame| format!("{frame:?}\n")).collect();
    for grain in [1, 2, 3, 7, 64, whole.len()] {
        let (mut decoder, mut seen) = (Decoder::new(1_024), String::new());
        for part in whole.chunks(grain) {
            decode(&mut decoder, part, &mut seen).unwrap();
        }
        assert_eq!(seen, expected, "in pieces of {grain}");
    }
    for cut in 0..whole.len() {
        let (mut decoder, mut seen) = (Decoder::new(1_024), String::new());
        decode(&mut decoder, &whole[..cut], &mut seen).unwrap();
        decode(&mut decoder, &whole[cut..], &mut seen).unwrap();
        assert_eq!(seen, expected, "cut at {cut}");
    }
}

#[test]
fn a_frame_cut_short_is_an_error_and_not_another_frame() {
    for frame in frames() {
        let bytes = encoded(&frame);
        let (size, body) = (bytes.len(), &bytes[1..]);
        let long = bytes[0] & 0x80 != 0;
        let body = if long { &bytes[2..] } else { body };
        assert_eq!(take_frame(body).as_ref(), Ok(&frame), "{size} bytes");
        let has_tail = matches!(frame, Frame::Publish { .. } | Frame::Send { .. });
        for cut in 0..body.len() {
            // A payload takes what there is.
            let result = take_frame(&body[..cut]);
            assert!(result.is_err() || has_tail, "{frame:?} cut at {cut}: {result:?}");
        }
        let mut longer = body.to_vec();
        longer.push(0);
        if !has_tail {
            assert_eq!(take_frame(&longer), Err(BinaryError::Trailing), "{frame:?}");
        }
    }
}

#[test]
fn values_that_no_field_has_are_named() {
    for (bytes, error) in [
        (&[][..], BinaryError::Short),
        (&[0], BinaryError::Kind(0)),
        (&[10], BinaryError::Kind(10)),
        (&[9, 0x81, 0x08], BinaryError::Value("parts")),
        (&[8, 0x80, 0x80, 0x80, 0x80, 0x10], BinaryError::Value("part")),
        (&[39], BinaryError::Kind(39)),
        (b"\x01GET / HTTP/1.1", BinaryError::Value("protocol")),
        (b"\x01ahm\x01\x04", BinaryError::Value("role")),
        (&[19, 3, 0, 0], BinaryError::Value("offset")),
        (&[19, 3, 1, 2], BinaryError::Value("mark of a snapshot")),
        (&[21, 3, 4, b'f', b'a', b'd', b'e'], BinaryError::Value("reason of an end")),
        (&[23, 3, 0], BinaryError::Value("session")),
        (&[19, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 0], BinaryError::Value("alias")),
        (&[5, 2, b'f', b'x', 0, 0, 0], BinaryError::Value("weight")),
        (&[4, 1, 0xff], BinaryError::Text),
    ] {
        assert_eq!(take_frame(bytes), Err(error), "{bytes:x?}");
    }
}

#[test]
fn a_decoder_that_has_failed_reads_no_further() {
    let mut decoder = Decoder::new(16);
    let mut seen = String::new();
    decode(&mut decoder, &[2, 3, 9], &mut seen).unwrap();
    assert_eq!(decode(&mut decoder, &[17], &mut seen), Err(BinaryError::Large(17)));
    assert_eq!(decode(&mut decoder, &[2, 3, 9], &mut seen), Err(BinaryError::Large(17)));
    assert_eq!(seen, "Pong { stamp: 9 }\n");
}

/// Frames with bytes changed, left out and put in: whatever comes, it is a frame or an error, and
/// a frame that is read can be written and read again.
#[test]
fn changed_bytes_are_a_frame_or_an_error() {
    let mut random = Random::from_number(5);
    let frames = frames();
    for _ in 0..40_000 {
        let mut bytes = Vec::new();
        for _ in 0..1 + random.below(3) {
            put_frame(&mut bytes, &frames[random.below(frames.len() as u64) as usize]);
        }
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(3) {
                0 => bytes[at] = random.below(256) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.below(256) as u8),
            }
            if bytes.is_empty() {
                break;
            }
        }
        let mut decoder = Decoder::new(256);
        let _ = decoder.push(&bytes, |frame| {
            let again = encoded(&frame);
            let head = 1 + usize::from(again[0] & 0x80 != 0);
            assert_eq!(take_frame(&again[head..]).as_ref(), Ok(&frame));
        });
    }
}
