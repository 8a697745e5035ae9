//! Encoding of the frames of the resource side.

use crate::base::id::{Cid, Mid, Offset};
use crate::wire::fields::{NUMBER_BYTES_MAX, put_bytes, put_number};
use crate::wire::resource::{Alias, Frame, Grant, Handle, Role, Terms, Who};

/// Appends a frame.
///
/// ```
/// use ahm::base::id::Offset;
/// use ahm::wire::resource::{Alias, Frame};
/// use ahm::wire::resource_encode::put_frame;
/// let mut out = Vec::new();
/// let (alias, n) = (Alias(3), Offset(300));
/// put_frame(&mut out, &Frame::Publish { alias, n, snapshot: false, payload: b"1.09" });
/// // Length, kind, alias, offset, flags, payload.
/// assert_eq!(out, [9, 19, 3, 0xac, 0x02, 0, b'1', b'.', b'0', b'9']);
/// ```
pub fn put_frame(out: &mut Vec<u8>, frame: &Frame<'_>) {
    // The length is known when the rest stands there; most frames are short, and have room for it.
    let start = out.len();
    out.push(0);
    put_body(out, frame);
    let size = (out.len() - start - 1) as u64;
    if size < 0x80 {
        out[start] = size as u8;
        return;
    }
    let mut head = Vec::with_capacity(NUMBER_BYTES_MAX);
    put_number(&mut head, size);
    out.splice(start..=start, head);
}

fn put_body(out: &mut Vec<u8>, frame: &Frame<'_>) {
    match frame {
        Frame::Hello { .. } | Frame::Ping { .. } | Frame::Pong { .. } | Frame::Bye { .. } => {
            put_link(out, frame);
        }
        Frame::Register { resource, handle } => {
            out.push(5);
            put_text(out, resource);
            put_handle(out, handle);
        }
        Frame::Withdraw { resource } => {
            out.push(6);
            put_text(out, resource);
        }
        Frame::Load { resource, consumers } => {
            out.push(7);
            put_text(out, resource);
            put_number(out, *consumers);
        }
        Frame::Part { part } => {
            out.push(8);
            put_number(out, u64::from(*part));
        }
        Frame::Parts { parts } => {
            out.push(9);
            put_number(out, u64::from(*parts));
        }
        Frame::Open { .. }
        | Frame::Accept { .. }
        | Frame::Deny { .. }
        | Frame::Publish { .. }
        | Frame::Begin { .. }
        | Frame::Close { .. } => put_subject(out, frame),
        Frame::Send { .. }
        | Frame::Skipped { .. }
        | Frame::Taken { .. }
        | Frame::Metrics { .. } => put_consumer(out, frame),
        _ => put_registry(out, frame),
    }
}

fn put_link(out: &mut Vec<u8>, frame: &Frame<'_>) {
    match frame {
        Frame::Hello { version, role, instance, heartbeat, name, key } => {
            out.push(1);
            out.extend_from_slice(b"ahm");
            put_number(out, u64::from(*version));
            out.push(match role {
                Role::Resource => 1,
                Role::Consumer => 2,
                Role::Registry => 3,
            });
            out.extend_from_slice(&instance.0.to_be_bytes());
            put_number(out, heartbeat.as_millis());
            put_text(out, name);
            put_text(out, key);
        }
        Frame::Ping { heartbeat, stamp } => {
            out.push(2);
            put_number(out, heartbeat.as_millis());
            put_number(out, *stamp);
        }
        Frame::Pong { stamp } => {
            out.push(3);
            put_number(out, *stamp);
        }
        Frame::Bye { reason } => {
            out.push(4);
            put_text(out, reason);
        }
        _ => {}
    }
}

fn put_subject(out: &mut Vec<u8>, frame: &Frame<'_>) {
    match frame {
        Frame::Open { alias, resource, subject, last, who } => {
            put_kind(out, 16, *alias);
            put_text(out, resource);
            put_text(out, subject);
            out.push(u8::from(last.is_some()));
            if let Some((ep, n)) = last {
                out.extend_from_slice(&ep.0.to_be_bytes());
                put_number(out, n.0);
            }
            put_who(out, who);
        }
        Frame::Accept { alias, grant, ep, next, terms } => {
            put_kind(out, 17, *alias);
            match grant {
                Grant::Shared => out.push(1),
                Grant::Private => out.push(2),
                Grant::Other(subject) => {
                    out.push(3);
                    put_text(out, subject);
                }
            }
            out.extend_from_slice(&ep.0.to_be_bytes());
            put_number(out, next.0);
            put_terms(out, terms);
        }
        Frame::Deny { alias, code, detail } => {
            put_kind(out, 18, *alias);
            put_text(out, code.word());
            put_text(out, detail);
        }
        Frame::Publish { alias, n, snapshot, payload } => {
            put_publish(out, *alias, *n, *snapshot, payload);
        }
        Frame::Begin { alias, ep, next } => {
            put_kind(out, 20, *alias);
            out.extend_from_slice(&ep.0.to_be_bytes());
            put_number(out, next.0);
        }
        Frame::Close { alias, end } => {
            put_kind(out, 21, *alias);
            put_text(out, end.word());
        }
        _ => {}
    }
}

fn put_publish(out: &mut Vec<u8>, alias: Alias, n: Offset, snapshot: bool, payload: &[u8]) {
    put_kind(out, 19, alias);
    put_number(out, n.0);
    out.push(u8::from(snapshot));
    out.extend_from_slice(payload);
}

fn put_consumer(out: &mut Vec<u8>, frame: &Frame<'_>) {
    match frame {
        Frame::Send { alias, session, cid, n, id, payload } => {
            put_kind(out, 22, *alias);
            put_channel(out, *session, *cid);
            put_number(out, *n);
            out.push(u8::from(id.is_some()));
            if let Some(id) = id {
                put_text(out, id);
            }
            out.extend_from_slice(payload);
        }
        Frame::Skipped { alias, session, cid, from, to } => {
            put_kind(out, 23, *alias);
            put_channel(out, *session, *cid);
            put_number(out, *from);
            put_number(out, *to);
        }
        Frame::Taken { count } => {
            out.push(24);
            put_number(out, *count);
        }
        Frame::Metrics { alias, consumers, round_trip, behind } => {
            put_kind(out, 25, *alias);
            put_number(out, *consumers);
            put_number(out, *round_trip);
            put_number(out, *behind);
        }
        _ => {}
    }
}

fn put_registry(out: &mut Vec<u8>, frame: &Frame<'_>) {
    match frame {
        Frame::Resolve { ask, resource, subject, private, without } => {
            out.push(32);
            put_number(out, *ask);
            put_text(out, resource);
            put_text(out, subject);
            out.push(u8::from(*private));
            put_number(out, without.len() as u64);
            without.iter().for_each(|one| out.extend_from_slice(&one.0.to_be_bytes()));
        }
        Frame::Resolved { ask, instance, handle } => {
            out.push(33);
            put_number(out, *ask);
            out.extend_from_slice(&instance.0.to_be_bytes());
            put_handle(out, handle);
        }
        Frame::Unresolved { ask, code } => {
            out.push(34);
            put_number(out, *ask);
            put_text(out, code.word());
        }
        Frame::Changed { resource } => {
            out.push(35);
            put_text(out, resource);
        }
        Frame::List { ask } => {
            out.push(36);
            put_number(out, *ask);
        }
        Frame::Entry { ask, resource, instance, name, handle, consumers, heard, since } => {
            out.push(37);
            put_number(out, *ask);
            put_text(out, resource);
            out.extend_from_slice(&instance.0.to_be_bytes());
            put_text(out, name);
            put_handle(out, handle);
            put_number(out, *consumers);
            put_number(out, heard.as_millis());
            put_number(out, since.as_millis());
        }
        Frame::ListEnd { ask } => {
            out.push(38);
            put_number(out, *ask);
        }
        _ => {}
    }
}

fn put_kind(out: &mut Vec<u8>, kind: u8, alias: Alias) {
    out.push(kind);
    put_number(out, u64::from(alias.0));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

fn put_texts(out: &mut Vec<u8>, texts: &[&str]) {
    put_number(out, texts.len() as u64);
    texts.iter().for_each(|text| put_text(out, text));
}

fn put_channel(out: &mut Vec<u8>, session: Mid, cid: Cid) {
    put_number(out, session.get());
    put_number(out, u64::from(cid.0));
}

fn put_who(out: &mut Vec<u8>, who: &Who<'_>) {
    put_channel(out, who.session, who.cid);
    put_text(out, who.address);
    put_text(out, who.user);
    put_texts(out, &who.parameters);
}

fn put_handle(out: &mut Vec<u8>, handle: &Handle<'_>) {
    put_texts(out, &handle.addresses);
    put_number(out, handle.capacity);
    put_number(out, u64::from(handle.weight));
    let marks = [handle.takes_messages, handle.replicas, handle.conversations];
    out.push(marks.iter().rev().fold(0, |byte, mark| byte << 1 | u8::from(*mark)));
    put_texts(out, &handle.access);
    put_texts(out, &handle.labels);
}

fn put_terms(out: &mut Vec<u8>, terms: &Terms) {
    let Terms { state, latest, ask_each, changed, reopen, history } = *terms;
    let flags = [state, latest, ask_each, changed, history.is_some(), reopen];
    out.push((0..).zip(flags).fold(0, |byte, (bit, flag)| byte | u8::from(flag) << bit));
    if let Some((messages, bytes, age)) = history {
        put_number(out, u64::from(messages));
        put_number(out, u64::from(bytes));
        put_number(out, age.as_millis());
    }
}
