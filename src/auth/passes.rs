//! Who may do what on the private listener: tokens and certificates, with the rights of each.

use std::fmt;

use ring::digest;
use subtle::ConstantTimeEq as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::auth::certificate::Certificate;
use crate::auth::pattern::Pattern;
use crate::base::limits::USER_BYTES_MAX;

/// Bytes of the shortest token; shorter ones can be guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// Holders of one file.
const HOLDERS_MAX: usize = 10_000;

/// What may be done on the private listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right<'t> {
    /// To publish on that topic.
    Publish(&'t str),
    /// To make sessions for clients, to end them, and to ask for them.
    Control,
    /// To read what was counted.
    Metrics,
}

impl fmt::Display for Right<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(topic) => write!(f, "publish:{topic}"),
            Self::Control => f.write_str("control"),
            Self::Metrics => f.write_str("metrics"),
        }
    }
}

/// By what a holder is known.
#[derive(Clone, PartialEq, Eq)]
enum Proof {
    /// The SHA-256 of its token.
    Token([u8; 32]),
    /// The common name of its certificate.
    Certificate(String),
}

#[derive(Clone, PartialEq, Eq)]
struct Holder {
    name: String,
    proof: Proof,
    publish: Vec<Pattern>,
    control: bool,
    metrics: bool,
}

/// The place of a holder among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HolderId(usize);

/// Everybody who may do something.
///
/// One line each: a name, what is shown, and rights. `#` begins a comment.
///
/// ```
/// use ahm::auth::passes::{Passes, Right};
/// let passes = Passes::parse(
///     "rates   correct-horse-battery  publish:fx/* publish:quotes/EUR*\n\
///      website sha256:d4b5b4d4bb1c0c0c3cd8f1e3b5fbb4a5b0b8fb3c1e0a4a1c2a4b0c8a1fb4e1b2 control\n\
///      watch   cert:monitor.example   metrics\n",
/// )
/// .unwrap();
/// let rates = passes.by_token(b"correct-horse-battery").unwrap();
/// assert!(passes.has(rates, Right::Publish("fx/EURUSD")));
/// assert!(!passes.has(rates, Right::Publish("quotes/USDEUR")));
/// assert!(!passes.has(rates, Right::Control));
/// assert!(passes.by_token(b"correct-horse-cattery").is_none());
/// assert_eq!(passes.name(rates), "rates");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Passes {
    holders: Vec<Holder>,
}

impl Passes {
    /// Reads a file of them.
    ///
    /// # Errors
    ///
    /// Which line is wrong and how, without what is secret in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut passes = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let words: Vec<_> =
                line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
            let Some((name, rest)) = words.split_first() else { continue };
            let holder = read(name, rest).map_err(|what| format!("line {number}: {what}"))?;
            let twice = |other: &Holder| match other {
                other if other.name == holder.name => Some("name"),
                other if other.proof == holder.proof => Some("token or certificate"),
                _ => None,
            };
            if let Some(what) = passes.holders.iter().find_map(twice) {
                return Err(format!("line {number}: this {what} is there already"));
            }
            if passes.holders.len() >= HOLDERS_MAX {
                return Err(format!("line {number}: more than {HOLDERS_MAX} lines"));
            }
            passes.holders.push(holder);
        }
        match passes.holders.is_empty() {
            true => Err("there is no line in it: nobody could do anything".into()),
            false => Ok(passes),
        }
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    /// Whose token that is. How long it takes says nothing of how much of a token is right.
    pub fn by_token(&self, shown: &[u8]) -> Option<HolderId> {
        let shown = digest::digest(&digest::SHA256, shown);
        let mut found = None;
        for (at, holder) in self.holders.iter().enumerate() {
            if let Proof::Token(digest) = &holder.proof
                && bool::from(digest.as_slice().ct_eq(shown.as_ref()))
            {
                found = Some(HolderId(at));
            }
        }
        found
    }

    /// Whose certificate that is, by the only common name of its subject.
    pub fn by_certificate(&self, shown: &Certificate) -> Option<HolderId> {
        let name = common_name(&shown.der)?;
        let is_it =
            |holder: &Holder| matches!(&holder.proof, Proof::Certificate(known) if *known == name);
        self.holders.iter().position(is_it).map(HolderId)
    }

    /// The name of a holder.
    pub fn name(&self, holder: HolderId) -> &str {
        self.holders.get(holder.0).map_or("", |holder| &holder.name)
    }

    /// Whether a holder has that right.
    pub fn has(&self, holder: HolderId, right: Right<'_>) -> bool {
        let Some(holder) = self.holders.get(holder.0) else { return false };
        match right {
            Right::Publish(topic) => holder.publish.iter().any(|pattern| pattern.matches(topic)),
            Right::Control => holder.control,
            Right::Metrics => holder.metrics,
        }
    }
}

/// How many there are, and nothing of what they show.
impl fmt::Debug for Passes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passes({} holders)", self.holders.len())
    }
}

fn read(name: &str, rest: &[&str]) -> Result<Holder, String> {
    if name.len() > USER_BYTES_MAX {
        return Err(format!("a name has at most {USER_BYTES_MAX} bytes"));
    }
    let [shown, rights @ ..] = rest else {
        return Err("after the name stands a token, sha256:HEX or cert:NAME".into());
    };
    if rights.is_empty() {
        return Err(
            "after that stand rights: publish:RESOURCE/SUBJECT, control, metrics, all".into()
        );
    }
    let proof = read_proof(shown)?;
    let mut holder =
        Holder { name: name.into(), proof, publish: Vec::new(), control: false, metrics: false };
    for right in rights {
        read_right(&mut holder, right)?;
    }
    Ok(holder)
}

/// What somebody shows is never part of an error, also where it was meant to be something else.
fn read_proof(shown: &str) -> Result<Proof, String> {
    if let Some(digits) = shown.strip_prefix("sha256:") {
        let digest = hexadecimal(digits);
        return digest.map(Proof::Token).ok_or_else(|| {
            "after sha256: stand 64 hexadecimal digits (printf %s TOKEN | sha256sum)".into()
        });
    }
    if let Some(name) = shown.strip_prefix("cert:") {
        let name = percent_encoding::percent_decode_str(name).decode_utf8();
        let name = name.ok().filter(|name| !name.is_empty()).map(std::borrow::Cow::into_owned);
        return name.map(Proof::Certificate).ok_or_else(|| {
            "after cert: stands the common name of a certificate, with %20 for a space".into()
        });
    }
    if shown.len() < TOKEN_BYTES_MIN || !shown.bytes().all(|byte| byte.is_ascii_graphic()) {
        let what = "a token is of 16 or more visible ASCII characters without spaces";
        return Err(what.into());
    }
    let digest = digest::digest(&digest::SHA256, shown.as_bytes());
    digest.as_ref().try_into().map(Proof::Token).map_err(|_| "no token".into())
}

fn read_right(holder: &mut Holder, word: &str) -> Result<(), String> {
    let mut publish = |pattern: &str| match Pattern::parse(pattern) {
        Ok(pattern) => {
            holder.publish.push(pattern);
            Ok(())
        }
        Err((at, what)) => Err(format!("{word:?}: byte {at}: {what}")),
    };
    match word {
        "control" => holder.control = true,
        "metrics" => holder.metrics = true,
        "publish" => publish("*")?,
        "all" => {
            publish("*")?;
            (holder.control, holder.metrics) = (true, true);
        }
        _ => match word.strip_prefix("publish:") {
            Some(pattern) if pattern.contains('/') || pattern == "*" => publish(pattern)?,
            Some(_) => return Err(format!("{word:?}: a topic is RESOURCE/SUBJECT, as in fx/*")),
            // It may be a token that was written with a space.
            None => {
                return Err("a right is publish:RESOURCE/SUBJECT, control, metrics or all".into());
            }
        },
    }
    Ok(())
}

fn hexadecimal(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] =
            [pair.first()?, pair.get(1)?].map(|digit| char::from(*digit).to_digit(16));
        *byte = (high? << 4 | low?) as u8;
    }
    Some(bytes)
}

fn common_name(der: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let mut names = parsed.subject().iter_common_name();
    let name = names.next().filter(|_| names.next().is_none())?;
    name.as_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(names: &[&str]) -> Certificate {
        let mut params = CertificateParams::new(vec!["a.example".into()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        let key = KeyPair::generate().unwrap();
        Certificate { der: params.self_signed(&key).unwrap().der().to_vec().into() }
    }

    #[test]
    fn each_has_the_rights_of_its_line() {
        let passes = Passes::parse(
            "# who may what\n\n\
             one   0123456789abcdef  publish:fx/EUR* metrics # the first\n\
             two sha256:0f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f publish\n\
             three cert:web%20site   control\n\
             four  fedcba9876543210  all\n",
        )
        .unwrap();
        let rights = [
            Right::Publish("fx/EURUSD"),
            Right::Publish("fx/USDEUR"),
            Right::Control,
            Right::Metrics,
        ];
        for (holder, wanted) in [
            (passes.by_token(b"0123456789abcdef"), [true, false, false, true]),
            (passes.by_certificate(&certificate(&["web site"])), [false, false, true, false]),
            (passes.by_token(b"fedcba9876543210"), [true; 4]),
        ] {
            assert_eq!(rights.map(|right| passes.has(holder.unwrap(), right)), wanted);
        }
        for (names, known) in [(&["web site"][..], true), (&["website"], false), (&[], false)] {
            assert_eq!(passes.by_certificate(&certificate(names)).is_some(), known, "{names:?}");
        }
        let broken = Certificate { der: Box::from(&b"\x30\x82"[..]) };
        assert_eq!(passes.by_certificate(&broken), None);
        assert_eq!(passes.by_token(b""), None);
        assert_eq!(format!("{passes:?}"), "Passes(4 holders)");
    }

    #[test]
    fn a_digest_stands_for_its_token() {
        // printf %s correct-horse-battery | sha256sum
        let hex = digest::digest(&digest::SHA256, b"correct-horse-battery");
        let hex: String = hex.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        let passes = Passes::parse(&format!("a sha256:{hex} metrics")).unwrap();
        assert!(passes.by_token(b"correct-horse-battery").is_some());
        assert!(passes.by_token(hex.as_bytes()).is_none(), "the digest is no token");
    }

    #[test]
    fn what_is_wrong_is_told_without_what_is_secret() {
        for (text, wanted) in [
            ("", "there is no line"),
            ("# only this", "there is no line"),
            ("\na", "line 2: after the name stands a token"),
            ("a sesame-sesame-sesame", "line 1: after that stand rights"),
            ("a sesame all", "line 1: a token is of 16"),
            ("a sha256:sesame all", "line 1: after sha256: stand 64"),
            ("a cert: all", "line 1: after cert: stands"),
            ("a sesame-sesame-sesame sesame", "line 1: a right is publish:RESOURCE/SUBJECT"),
            ("a sesame-sesame-sesame publish:fx", "line 1: \"publish:fx\": a topic is"),
            ("a sesame-sesame-sesame publish:fx/%", "line 1: \"publish:fx/%\": byte 3"),
            ("a sesame-sesame-sesame all\na other-other-other all", "line 2: this name"),
            ("a sesame-sesame-sesame all\nb sesame-sesame-sesame all", "line 2: this token"),
        ] {
            let said = Passes::parse(text).unwrap_err();
            assert!(said.starts_with(wanted) && !said.contains("sesame"), "{text}: {said}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(text: String, shown: Vec<u8>) {
            if let Ok(passes) = Passes::parse(&text) {
                let _ = passes.by_token(&shown);
            }
            let _ = common_name(&shown);
        }
    }
}
