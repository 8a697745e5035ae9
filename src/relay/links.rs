//! Links in pages: rewritten while the page streams through, whatever the pieces it comes in.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use lol_html::send::{Element, ElementContentHandlers, HtmlRewriter, Settings};
use lol_html::{AsciiCompatibleEncoding, MemorySettings, Selector};

use crate::relay::mapping::{Rule, Way};

/// Attributes that hold one URL.
const URLS: [&str; 11] = [
    "href",
    "src",
    "action",
    "formaction",
    "poster",
    "data",
    "cite",
    "background",
    "manifest",
    "longdesc",
    "xlink:href",
];
/// Attributes that hold several, each with a word on when it is meant.
const SETS: [&str; 2] = ["srcset", "imagesrcset"];
/// Bytes that the rewriter of one page may hold: a tag that is longer breaks the page off.
const BYTES_MAX: usize = 256 * 1024;

/// A [`Way`] of its own, which outlives the request.
#[derive(Clone, Debug)]
pub struct Journey {
    /// All rules.
    pub rules: Arc<[Rule]>,
    /// The index of the one that the request was mapped by.
    pub used: Option<usize>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host that the client has asked for.
    pub client_host: String,
    /// The host that the web server was asked for.
    pub inner_host: String,
}

impl Journey {
    /// The same, lent.
    pub fn way(&self) -> Way<'_> {
        Way {
            rules: &self.rules,
            used: self.used.and_then(|at| self.rules.get(at)),
            scheme: self.scheme,
            client_host: &self.client_host,
            inner_host: &self.inner_host,
        }
    }
}

/// Why a page cannot be rewritten any further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

type Sink = Box<dyn FnMut(&[u8]) + Send>;

/// The rewriter of one page.
pub struct Links {
    rewriter: HtmlRewriter<'static, Sink>,
    out: Arc<Mutex<Vec<u8>>>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}

impl Links {
    /// Whether an answer of this `Content-Type` is a page that can be rewritten, and in which
    /// encoding; `None`: it is passed on as it is.
    pub fn encoding(content_type: &str) -> Option<AsciiCompatibleEncoding> {
        let mut parts = content_type.split(';').map(str::trim);
        let is_page = parts.next().is_some_and(|kind| {
            kind.eq_ignore_ascii_case("text/html")
                || kind.eq_ignore_ascii_case("application/xhtml+xml")
        });
        let charset = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
        });
        if !is_page {
            return None;
        }
        match charset {
            None => Some(AsciiCompatibleEncoding::utf_8()),
            Some(label) => {
                AsciiCompatibleEncoding::new(encoding_rs::Encoding::for_label(label.as_bytes())?)
            }
        }
    }

    /// A rewriter of pages that came on this way.
    ///
    /// # Errors
    ///
    /// Never in practice: the selector is a constant.
    pub fn new(journey: Journey, encoding: AsciiCompatibleEncoding) -> Result<Self, Broken> {
        let selector: Selector = "*".parse().map_err(|error| Broken(format!("{error}")))?;
        let rewrite = move |element: &mut Element<'_, '_>| {
            rewrite(element, &journey.way());
            Ok(())
        };
        let handlers = ElementContentHandlers::default().element(rewrite);
        let settings = Settings {
            element_content_handlers: vec![(Cow::Owned(selector), handlers)],
            encoding,
            memory_settings: MemorySettings {
                preallocated_parsing_buffer_size: 1_024,
                max_allowed_memory_usage: BYTES_MAX,
            },
            // What browsers read in two ways is not guessed at, and not touched.
            strict: false,
            ..Settings::new_send()
        };
        let out = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&out);
        let sink: Sink = Box::new(move |bytes: &[u8]| {
            into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        });
        Ok(Self { rewriter: HtmlRewriter::new(settings, sink), out })
    }

    /// Takes a piece of the page, and appends what of it is settled.
    ///
    /// # Errors
    ///
    /// A tag is too long; nothing more of the page can be told.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let outcome = self.rewriter.write(bytes);
        out.append(&mut self.out.lock().unwrap_or_else(PoisonError::into_inner));
        outcome.map_err(|error| Broken(error.to_string()))
    }

    /// The page is over: appends the rest.
    ///
    /// # Errors
    ///
    /// As [`Links::push`].
    pub fn end(self, out: &mut Vec<u8>) -> Result<(), Broken> {
        let outcome = self.rewriter.end();
        out.append(&mut self.out.lock().unwrap_or_else(PoisonError::into_inner));
        outcome.map_err(|error| Broken(error.to_string()))
    }
}

fn rewrite(element: &mut Element<'_, '_>, way: &Way<'_>) {
    for name in URLS {
        change(element, name, |value| way.outward(value.trim()));
    }
    for name in SETS {
        change(element, name, |value| set(value, way));
    }
    change(element, "ping", |value| {
        let urls: Vec<_> =
            value.split_ascii_whitespace().map(|url| (url, way.outward(url))).collect();
        let any = urls.iter().any(|(_, mapped)| mapped.is_some());
        any.then(|| {
            let urls = urls.into_iter().map(|(url, mapped)| mapped.unwrap_or_else(|| url.into()));
            urls.collect::<Vec<_>>().join(" ")
        })
    });
    let refreshes = element.get_attribute("http-equiv");
    if refreshes.is_some_and(|what| what.trim().eq_ignore_ascii_case("refresh")) {
        change(element, "content", |value| way.refresh(value));
    }
}

fn change(element: &mut Element<'_, '_>, name: &str, map: impl FnOnce(&str) -> Option<String>) {
    // In the source, ampersands may be written as references; both look alike to a prefix.
    let Some(value) = element.get_attribute(name) else { return };
    if let Some(mapped) = map(&value) {
        // Only fails for a name that is none.
        let _ = element.set_attribute(name, &mapped);
    }
}

/// `srcset`: URLs, each with a descriptor, joined by commas with white space.
fn set(value: &str, way: &Way<'_>) -> Option<String> {
    let mut any = false;
    let parts: Vec<String> = value
        .split(", ")
        .map(|part| {
            let part = part.trim();
            let (url, rest) = part.split_at(part.find(char::is_whitespace).unwrap_or(part.len()));
            match way.outward(url) {
                Some(mapped) => {
                    any = true;
                    mapped + rest
                }
                None => part.to_string(),
            }
        })
        .collect();
    any.then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        let rules = ["/shop/ => in.example/app/"].map(|text| text.parse().unwrap());
        let journey = Journey {
            rules: rules.into(),
            used: Some(0),
            scheme: "http",
            client_host: "www.example".into(),
            inner_host: "in.example".into(),
        };
        Links::new(journey, AsciiCompatibleEncoding::utf_8()).unwrap()
    }

    const PAGE: &str = "<!doctype html><base href='/app/'><a href=/app/x?a=1&amp;b=2>/app/x</a>\
        <img src=\"http://in.example/app/i.png\" srcset='/app/1.png 1x, /app/2.png 2x'>\
        <meta http-equiv=Refresh content='5; url=/app/y'><meta name=x content=/app/y>\
        <form action=/app/send><button formaction=/other/z></button></form>\
        <a href=https://else.example/app/ ping='/app/p /q'>ä</a><!-- /app/x -->\
        <script>location='/app/x'</script><a href='relative?/app/'>";
    const SEEN: &str = "<!doctype html>\
        <base href=\"/shop/\"><a href=\"/shop/x?a=1&amp;b=2\">/app/x</a>\
        <img src=\"http://www.example/shop/i.png\" srcset=\"/shop/1.png 1x, /shop/2.png 2x\">\
        <meta http-equiv=Refresh content=\"5; url=/shop/y\"><meta name=x content=/app/y>\
        <form action=\"/shop/send\"><button formaction=/other/z></button></form>\
        <a href=https://else.example/app/ ping=\"/shop/p /q\">ä</a><!-- /app/x -->\
        <script>location='/app/x'</script><a href='relative?/app/'>";

    #[test]
    fn links_are_what_clients_know_whatever_the_pieces() {
        for piece in [1, 2, 3, 7, 64, PAGE.len()] {
            let (mut links, mut out) = (links(), Vec::new());
            for bytes in PAGE.as_bytes().chunks(piece) {
                links.push(bytes, &mut out).unwrap();
            }
            links.end(&mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), SEEN, "pieces of {piece}");
        }
    }

    #[test]
    fn a_tag_without_an_end_does_not_fill_the_memory() {
        let (mut links, mut out) = (links(), Vec::new());
        links.push(b"<p>so far</p><a href='", &mut out).unwrap();
        let piece = [b'x'; 1_024];
        let broken = (0..BYTES_MAX / 1_024 + 1).find_map(|_| links.push(&piece, &mut out).err());
        assert!(broken.is_some());
        assert!(out.starts_with(b"<p>so far</p>"));
    }

    #[test]
    fn pages_are_told_by_their_type() {
        for (kind, is_page) in [
            ("text/html", true),
            ("Text/HTML; charset=ISO-8859-1", true),
            ("application/xhtml+xml;charset=\"utf-8\"", true),
            ("text/html; charset=utf-16", false),
            ("text/html; charset=none-such", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(Links::encoding(kind).is_some(), is_page, "{kind}");
        }
    }
}
