//! What proves commands and answers: HMAC with SHA-256 (RFC 2104).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::hmac;
use subtle::ConstantTimeEq as _;

use crate::seal::wiped::Wiped;

/// Bytes of a code.
pub const CODE_BYTES: usize = 32;
/// Characters of a code as it is written.
pub const CODE_CHARS: usize = 43;
/// The last parameter of a command, and what stands before its code.
const LAST: &str = "&mac=";
/// What stands behind that in a line, before the body.
const BODY: &str = "&body=";
/// The last member of an answer, and what stands before its code.
const MEMBER: &str = ",\"mac\":\"";

/// What a code proves; comparing is for [`Mac::proves`].
pub type Code = [u8; CODE_BYTES];

/// One key.
pub struct Mac(Wiped<hmac::Key>);

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mac(..)")
    }
}

/// A command as it travels, up to its code.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// `GET`, `HEAD` or `POST`. A line is what it would be in HTTP: `POST` with a body, else `GET`.
    pub method: &'a str,
    /// Its name, a question mark and its parameters up to `&mac=`.
    pub target: &'a str,
    /// The body as it travels; empty where there is none.
    pub body: &'a [u8],
}

impl Mac {
    /// Proves with that key.
    pub(in crate::seal) fn new(key: hmac::Key) -> Self {
        Self(Wiped::new(key))
    }

    /// The code of `parts`, one behind the other.
    pub(in crate::seal) fn sign(&self, parts: &[&[u8]]) -> Code {
        let mut context = hmac::Context::with_key(self.0.get());
        parts.iter().for_each(|part| context.update(part));
        let mut code = [0; CODE_BYTES];
        code.copy_from_slice(context.sign().as_ref());
        code
    }

    /// The code of a command: of its method, a line feed, its target, a line feed, and the SHA-256
    /// of its body.
    pub fn command(&self, command: &Command<'_>) -> Code {
        let body = digest(&SHA256, command.body);
        let (method, target) = (command.method.as_bytes(), command.target.as_bytes());
        self.sign(&[method, b"\n", target, b"\n", body.as_ref()])
    }

    /// The target of a command with its code behind it.
    ///
    /// ```
    /// use ahm::base::id::Mid;
    /// use ahm::seal::key::{Algorithm, Keys, Secret};
    /// use ahm::seal::mac::{Command, divide};
    /// let mid = Mid::parse("7").unwrap();
    /// let mac = Keys::new(Algorithm::Aes256Gcm, Secret::new([7; 32]), mid).command();
    /// let target = mac.prove("GET", "ping?scs=a&mid=7&q=1", b"");
    /// let (target, code) = divide(&target).unwrap();
    /// assert_eq!(target, "ping?scs=a&mid=7&q=1");
    /// assert!(mac.proves(&Command { method: "GET", target, body: b"" }, code).is_some());
    /// assert!(mac.proves(&Command { method: "POST", target, body: b"" }, code).is_none());
    /// ```
    pub fn prove(&self, method: &str, target: &str, body: &[u8]) -> String {
        let code = self.command(&Command { method, target, body });
        format!("{target}{LAST}{}", URL_SAFE_NO_PAD.encode(code))
    }

    /// The command's code, if `code` is its text.
    pub fn proves(&self, command: &Command<'_>, code: &str) -> Option<Code> {
        let expected = self.command(command);
        is_same(&expected, code).then_some(expected)
    }

    /// Makes the JSON object of an answer its own proof: a last member `mac`, the code of the
    /// command's `q`, a line feed, the `line` of a batch that it answers (from 1 on, else 0), a
    /// line feed, and the object without that member.
    ///
    /// ```
    /// use ahm::base::id::Mid;
    /// use ahm::seal::key::{Algorithm, Keys, Secret};
    /// let mid = Mid::parse("7").unwrap();
    /// let mac = Keys::new(Algorithm::Aes256Gcm, Secret::new([7; 32]), mid).answer();
    /// let mut json = r#"{"ok":true}"#.to_string();
    /// mac.sign_answer(1, 0, &mut json);
    /// assert!(mac.is_answer(1, 0, json.as_bytes()));
    /// assert!(!mac.is_answer(2, 0, json.as_bytes()));
    /// ```
    pub fn sign_answer(&self, q: u64, line: usize, json: &mut String) {
        let code = URL_SAFE_NO_PAD.encode(self.answer(q, line, json.as_bytes()));
        if json.pop().is_some() {
            json.push_str(MEMBER);
            json.push_str(&code);
            json.push_str("\"}");
        }
    }

    /// Whether it is the answer to that command, as [`Mac::sign_answer`] has made it.
    pub fn is_answer(&self, q: u64, line: usize, json: &[u8]) -> bool {
        let Some((text, code)) = divide_answer(json) else { return false };
        is_same(&self.answer(q, line, &[text, b"}"].concat()), code)
    }

    fn answer(&self, q: u64, line: usize, json: &[u8]) -> Code {
        self.sign(&[q.to_string().as_bytes(), b"\n", line.to_string().as_bytes(), b"\n", json])
    }
}

/// Divides a target into what its code covers, and the code, which must be all the rest.
pub fn divide(target: &str) -> Option<(&str, &str)> {
    let (covered, code) = target.rsplit_once(LAST)?;
    (!code.contains('&')).then_some((covered, code))
}

/// What follows the code of a command that is a line: its body in base64url, where it has one.
/// Everything else is as it was.
///
/// ```
/// use ahm::seal::mac::divide_body;
/// assert_eq!(divide_body("n=1&q=5&mac=x&body=AA"), ("n=1&q=5&mac=x", Some("AA")));
/// assert_eq!(divide_body("body=AA&mac=x"), ("body=AA&mac=x", None));
/// ```
pub fn divide_body(query: &str) -> (&str, Option<&str>) {
    match query.rsplit_once(BODY) {
        Some((rest, body)) if !body.contains('&') && divide(rest).is_some() => (rest, Some(body)),
        _ => (query, None),
    }
}

/// The same the other way round.
///
/// ```
/// use ahm::seal::mac::add_body;
/// assert_eq!(add_body("send?n=1&q=5&mac=x", &[0]), "send?n=1&q=5&mac=x&body=AA");
/// ```
pub fn add_body(target: &str, body: &[u8]) -> String {
    format!("{target}{BODY}{}", URL_SAFE_NO_PAD.encode(body))
}

/// Whether an answer has a code, be it the right one or not.
pub fn is_signed(json: &str) -> bool {
    divide_answer(json.as_bytes()).is_some()
}

/// What the code of an answer covers, without the brace at its end, and the code.
fn divide_answer(json: &[u8]) -> Option<(&[u8], &str)> {
    let start = json.len().checked_sub(MEMBER.len() + CODE_CHARS + 2)?;
    let (text, member) = json.split_at(start);
    let code = member.strip_prefix(MEMBER.as_bytes())?.strip_suffix(b"\"}")?;
    Some((text, std::str::from_utf8(code).ok()?))
}

/// Takes the same time whatever differs.
fn is_same(code: &Code, text: &str) -> bool {
    let mut bytes = [0; CODE_BYTES];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes);
    length == Ok(CODE_BYTES) && bool::from(bytes.ct_eq(code))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::id::Mid;
    use crate::seal::key::{Algorithm, Keys, Secret};

    fn keys() -> Keys {
        Keys::new(Algorithm::Aes256Gcm, Secret::new([1; 32]), Mid::parse("9").unwrap())
    }

    #[test]
    fn a_code_covers_method_target_and_body() {
        let mac = keys().command();
        let good = mac.prove("POST", "send?scs=a&mid=9&cid=1&n=1&q=5", b"body");
        let (target, code) = divide(&good).unwrap();
        assert_eq!(code.len(), CODE_CHARS);
        let proves = |method, target: &str, body: &[u8]| {
            mac.proves(&Command { method, target, body }, code).is_some()
        };
        assert!(proves("POST", target, b"body"));
        assert!(!proves("GET", target, b"body"));
        assert!(!proves("POST", &target.replace("n=1", "n=2"), b"body"));
        assert!(!proves("POST", target, b"bodY"));
        assert!(!proves("POST", target, b""));
        let command = Command { method: "POST", target, body: b"body" };
        for bad in ["", &code[1..], &code.to_ascii_lowercase(), &format!("{code}=")] {
            assert!(mac.proves(&command, bad).is_none(), "{bad}");
        }
        assert!(keys().answer().proves(&command, code).is_none(), "another purpose");
    }

    #[test]
    fn the_code_stands_last_or_nowhere() {
        assert_eq!(divide("ping?q=1&mac=x"), Some(("ping?q=1", "x")));
        assert_eq!(divide("ping?q=1&mac=x&t=1"), None);
        assert_eq!(divide("ping?mac=x"), None);
        assert_eq!(divide("ping?q=1&mac=a&mac=b"), Some(("ping?q=1&mac=a", "b")));
    }

    #[test]
    fn an_answer_belongs_to_its_command_and_line() {
        let mac = keys().answer();
        let mut json = r#"{"ok":true,"cid":7}"#.to_string();
        mac.sign_answer(3, 2, &mut json);
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        assert!(mac.is_answer(3, 2, json.as_bytes()));
        for (q, line) in [(3, 1), (2, 2), (32, 0)] {
            assert!(!mac.is_answer(q, line, json.as_bytes()));
        }
        assert!(!mac.is_answer(3, 2, json.replace("true", "null").as_bytes()));
        assert!(!mac.is_answer(3, 2, br#"{"ok":true,"cid":7}"#));
    }

    proptest! {
        #[test]
        fn nothing_is_taken_for_a_command_or_an_answer(
            target in ".{0,80}",
            json in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            if let Some((covered, code)) = divide(&target) {
                let command = Command { method: "GET", target: covered, body: &json };
                prop_assert!(keys().command().proves(&command, code).is_none());
            }
            prop_assert!(!keys().answer().is_answer(1, 0, &json));
            let framed = [&json, &b",\"mac\":\""[..], &[b'A'; CODE_CHARS], b"\"}"].concat();
            prop_assert!(!keys().answer().is_answer(1, 0, &framed));
        }
    }
}
