//! The head of a request, written anew for a web server.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::base::limits::TARGET_BYTES_MAX;
use crate::http::request::{Framing, Head, Version};
use crate::http::response::put_decimal;
use crate::http::status::Refusal;
use crate::relay::entry::RequestId;
use crate::relay::fields::{Named, is_hop_by_hop, is_ours, is_same, put};
use crate::relay::mapping::Mapped;
use crate::relay::site::{HostRule, Site};

/// What a relayed request is called after us.
const PSEUDONYM: &str = "ahm";
/// What of a name is encoded: all that is not visible ASCII, so that web servers which take fields
/// for Latin-1 read no other name.
const UNSEEN: AsciiSet = CONTROLS.add(b'%').add(b' ');
/// What a request in HTTP/1.0 without Host is said to be for.
pub const NOWHERE: &str = "localhost";

const _: () = assert!(TARGET_BYTES_MAX <= crate::base::limits::HEAD_BYTES_MAX);

/// Where a request came from, and what becomes of it before it goes on.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Who sent it.
    pub peer: SocketAddr,
    /// How it was sent: `http` or `https`.
    pub scheme: &'static str,
    /// Its id.
    pub id: &'a RequestId,
    /// What it is called by the web server, where that differs.
    pub mapped: Option<&'a Mapped>,
    /// Who has sent it, where that was proved.
    pub user: Option<&'a str>,
}

/// Appends the head of a request. Returns which of the site's upgrades it asks for.
///
/// # Errors
/// [`Refusal::BadRequest`] if `Connection` names more fields than anybody needs.
pub fn put_head(
    out: &mut Vec<u8>,
    head: &Head<'_>,
    origin: Origin<'_>,
    site: &Site,
) -> Result<Option<usize>, Refusal> {
    let named = Named::read(head.fields())
        .ok_or(Refusal::BadRequest("Connection names too many fields"))?;
    let Origin { id, mapped, peer, user, .. } = origin;
    let trusted = is_trusted(site, peer.ip());
    let upgrade = upgrade_of(head, &named, site);
    put_line(out, head, mapped.map_or(head.target.path, |mapped| &mapped.path));
    put(out, "Host", host_for(head, mapped, site).as_bytes());
    let as_it_is = site.map_pages && mapped.is_some();
    if as_it_is {
        // Links can be read in a page that is not compressed.
        put(out, "Accept-Encoding", b"identity");
    }
    for field in head.fields() {
        let passes = match field.name.len() {
            4 => !is_same(field.name, "host"),
            5 => !is_same(field.name, "proxy"),
            6 => !is_same(field.name, "expect"),
            7 => !is_same(field.name, "trailer") || head.framing == Framing::Chunked,
            14 => !is_same(field.name, "content-length"),
            15 => !(as_it_is && is_same(field.name, "accept-encoding")),
            _ => true,
        };
        let travels = passes && !is_hop_by_hop(field.name) && !named.has(field.name);
        // Those that are ours are written below.
        let believed = trusted && !is_written(field.name);
        let kept = !is_ours(field.name) || (believed && !(user.is_some() && is_user(field.name)));
        if travels && kept {
            put(out, field.name, field.value);
        }
    }
    put_origin(out, head, origin, trusted);
    if let Some(user) = user {
        let name: Cow<'_, str> = utf8_percent_encode(user, &UNSEEN).into();
        put(out, "X-Forwarded-User", name.as_bytes());
    }
    id.put(out);
    let version = if head.version == Version::Http10 { "1.0" } else { "1.1" };
    let _ = write!(out, "Via: {version} {PSEUDONYM}\r\n");
    put_connection(out, head, upgrade.map(|index| site.upgrades[index].as_str()));
    put_framing(out, head);
    out.extend_from_slice(b"\r\n");
    Ok(upgrade)
}

/// What the web server sees as Host.
pub fn host_for<'a>(head: &Head<'a>, mapped: Option<&'a Mapped>, site: &'a Site) -> &'a str {
    match (mapped.and_then(|mapped| mapped.host.as_deref()), &site.host) {
        (Some(host), _) => host,
        (None, HostRule::Set(host)) => host,
        (None, HostRule::Keep) => head.host.unwrap_or(NOWHERE),
    }
}

/// Whether the peer's own word on where a request came from is believed.
pub fn is_trusted(site: &Site, peer: IpAddr) -> bool {
    site.trust.iter().any(|network| network.has(peer))
}

/// Whether a field names who has sent the request.
fn is_user(name: &str) -> bool {
    is_same(name, "x-forwarded-user")
}

/// Whether one of our fields is always written by us, also for a peer that is trusted.
fn is_written(name: &str) -> bool {
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"]
        .iter()
        .any(|written| is_same(name, written))
}

/// The request line, in origin form whatever form it came in.
fn put_line(out: &mut Vec<u8>, head: &Head<'_>, path: &str) {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(path.as_bytes());
    if head.target.has_query {
        out.push(b'?');
        out.extend_from_slice(head.target.query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Which of the site's upgrades the request asks for, if it may: in HTTP/1.1, without a body.
fn upgrade_of(head: &Head<'_>, named: &Named<'_>, site: &Site) -> Option<usize> {
    let may = named.upgrade && head.version == Version::Http11 && head.framing == Framing::None;
    if !may {
        return None;
    }
    let offers = head.fields().filter(|field| field.name.eq_ignore_ascii_case("upgrade"));
    let mut words = offers.flat_map(|field| field.value.split(|byte| *byte == b','));
    words.find_map(|word| {
        let word = word.trim_ascii();
        let is_it = |known: &String| known.as_bytes().eq_ignore_ascii_case(word);
        site.upgrades.iter().position(is_it)
    })
}

/// Who asks, for what, and by which scheme; what a trusted peer says of those before it stays.
fn put_origin(out: &mut Vec<u8>, head: &Head<'_>, origin: Origin<'_>, trusted: bool) {
    let Origin { peer, scheme, .. } = origin;
    let said = |name: &'static str| {
        head.fields().filter(move |field| trusted && is_same(field.name, name))
    };
    let ip = peer.ip().to_canonical();
    out.extend_from_slice(b"X-Forwarded-For: ");
    for field in said("x-forwarded-for") {
        out.extend_from_slice(field.value);
        out.extend_from_slice(b", ");
    }
    let _ = write!(out, "{ip}\r\nForwarded: ");
    for field in said("forwarded") {
        out.extend_from_slice(field.value);
        out.extend_from_slice(b", ");
    }
    let _ = match ip {
        IpAddr::V4(ip) => write!(out, "for={ip}"),
        IpAddr::V6(ip) => write!(out, "for=\"[{ip}]\""),
    };
    if let Some(host) = head.host {
        let _ = write!(out, ";host=\"{host}\"");
    }
    let _ = write!(out, ";proto={scheme}\r\n");
    match (said("x-forwarded-host").next(), head.host) {
        (Some(field), _) => put(out, "X-Forwarded-Host", field.value),
        (None, Some(host)) => put(out, "X-Forwarded-Host", host.as_bytes()),
        (None, None) => {}
    }
    let scheme = said("x-forwarded-proto").next().map_or(scheme.as_bytes(), |field| field.value);
    put(out, "X-Forwarded-Proto", scheme);
}

/// What holds between us and the web server alone.
fn put_connection(out: &mut Vec<u8>, head: &Head<'_>, upgrade: Option<&str>) {
    let takes_trailers = head.fields().any(|field| {
        let mut words = field.value.split(|byte| *byte == b',');
        field.name.eq_ignore_ascii_case("te")
            && words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    if takes_trailers {
        put(out, "TE", b"trailers");
    }
    if let Some(upgrade) = upgrade {
        put(out, "Upgrade", upgrade.as_bytes());
    }
    match (takes_trailers, upgrade) {
        (true, Some(_)) => put(out, "Connection", b"TE, Upgrade"),
        (true, None) => put(out, "Connection", b"TE"),
        (false, Some(_)) => put(out, "Connection", b"Upgrade"),
        (false, None) => {}
    }
}

fn put_framing(out: &mut Vec<u8>, head: &Head<'_>) {
    match head.framing {
        Framing::None => {}
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            put_decimal(length, out);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => put(out, "Transfer-Encoding", b"chunked"),
    }
    if head.expect_continue {
        put(out, "Expect", b"100-continue");
    }
}
