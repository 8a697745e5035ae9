//! Requests as bytes, in the many forms that mean the same.

use crate::base::random::Random;
use crate::wire::command::encode_query;

/// A request on the public door.
#[derive(Clone, Debug, Default)]
pub struct Ask<'a> {
    /// The command.
    pub name: &'a str,
    /// Its parameters, not encoded.
    pub pairs: Vec<(&'a str, String)>,
    /// `scs`, `mid` and the key, where it is a session's.
    pub session: Option<(String, String)>,
    /// The body.
    pub body: Option<Vec<u8>>,
}

impl Ask<'_> {
    /// The request's bytes; chance decides where the key stands and how the body is framed.
    pub fn bytes(mut self, random: &mut Random) -> Vec<u8> {
        let mut fields = String::new();
        if let Some((mid, key)) = self.session.take() {
            if random.below(2) == 0 {
                self.pairs.push(("scs", "sim".into()));
            }
            self.pairs.push(("mid", mid));
            if random.below(2) == 0 {
                self.pairs.push(("k", key));
            } else {
                fields = format!("AHM-Key: {key}\r\n");
            }
        }
        let pairs: Vec<_> = self.pairs.iter().map(|(name, value)| (*name, &value[..])).collect();
        let target = format!("/ahm/{}?{}", self.name, encode_query(&pairs));
        with_body(&target, &fields, self.body.as_deref(), random)
    }

    /// The command as a line of a batch.
    pub fn line(self) -> String {
        let pairs: Vec<_> = self.pairs.iter().map(|(name, value)| (*name, &value[..])).collect();
        format!("{}?{}\n", self.name, encode_query(&pairs))
    }
}

/// A request with these fields, GET without and POST with a body.
pub fn with_body(target: &str, fields: &str, body: Option<&[u8]>, random: &mut Random) -> Vec<u8> {
    let Some(body) = body else {
        let method = if random.below(4) == 0 { "POST" } else { "GET" };
        let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}{length}\r\n");
        return head.into_bytes();
    };
    let expect = if random.below(8) == 0 { "Expect: 100-continue\r\n" } else { "" };
    let start = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{fields}{expect}");
    let mut bytes = start.into_bytes();
    if random.below(3) > 0 {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
        return bytes;
    }
    bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
    let mut rest = body;
    while !rest.is_empty() {
        let count = 1 + random.below(rest.len() as u64) as usize;
        bytes.extend_from_slice(format!("{count:X}\r\n").as_bytes());
        bytes.extend_from_slice(&rest[..count]);
        bytes.extend_from_slice(b"\r\n");
        rest = &rest[count..];
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}
