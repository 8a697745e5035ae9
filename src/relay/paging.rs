//! What becomes of an answer's fields and pages where URLs are mapped.

use lol_html::AsciiCompatibleEncoding;

use crate::http::head::Field;
use crate::http::response::ResponseParts;
use crate::relay::fields::put;
use crate::relay::links::{Journey, Links};

/// How the URLs in an answer are mapped, if they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mapping<'a> {
    /// The way of the request; `None`: everything passes as it is.
    pub journey: Option<&'a Journey>,
    /// Whether links in pages are mapped too.
    pub pages: bool,
}

impl<'a> Mapping<'a> {
    /// The way and the encoding of a page whose links are to be mapped; `None`: the answer is none.
    /// Parts of a page stay as they are: where they begin counts in the bytes of the whole.
    pub fn page_of(
        self,
        parts: &ResponseParts<'_>,
    ) -> Option<(&'a Journey, AsciiCompatibleEncoding)> {
        let journey = self.journey.filter(|journey| self.pages && journey.used.is_some())?;
        let coding = parts.field("content-encoding");
        let plain = coding.is_none_or(|coding| coding.eq_ignore_ascii_case("identity"));
        let is_whole = parts.status != 206 && plain;
        let encoding = Links::encoding(parts.field("content-type").filter(|_| is_whole)?)?;
        Some((journey, encoding))
    }

    /// Appends a field, as clients should see it.
    pub fn put(self, out: &mut Vec<u8>, field: Field<'_>) {
        match self.journey.and_then(|journey| mapped(field, journey)) {
            Some(mapped) => put(out, field.name, mapped.as_bytes()),
            None => put(out, field.name, field.value),
        }
    }
}

/// The value of a field that clients should see instead, where it names URLs.
fn mapped(field: Field<'_>, journey: &Journey) -> Option<String> {
    let (way, is) = (journey.way(), |name: &str| field.name.eq_ignore_ascii_case(name));
    let value = || std::str::from_utf8(field.value).ok();
    match field.name.len() {
        4 if is("link") => way.link(value()?),
        7 if is("refresh") => way.refresh(value()?),
        8 if is("location") => way.outward(value()?),
        10 if is("set-cookie") => way.cookie(value()?),
        16 if is("content-location") => way.outward(value()?),
        _ => None,
    }
}

/// Appends a field of a page whose links are mapped, where it is about the bytes of the page as it
/// was; false: it is not.
pub fn put_of_page(out: &mut Vec<u8>, field: Field<'_>) -> bool {
    const ABOUT_BYTES: [&str; 5] =
        ["accept-ranges", "content-md5", "digest", "content-digest", "repr-digest"];
    if ABOUT_BYTES.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
        return true;
    }
    let is_strong = field.name.eq_ignore_ascii_case("etag") && field.value.starts_with(b"\"");
    if is_strong {
        // It means the same as before, and is not the same byte for byte.
        put(out, field.name, &[b"W/", field.value].concat());
    }
    is_strong
}
