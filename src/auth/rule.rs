//! One rule of an access list: a line of text, made ready to be compared.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::auth::access::Asking;
use crate::auth::pattern::Pattern;
use crate::base::limits::{RULE_BYTES_MAX, USER_BYTES_MAX};

/// What a rule says to those whom it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They may read, within these bounds.
    Allow(Bounds),
    /// They may not.
    Deny,
    /// They may not as they are; they possibly may once they have said more of who they are.
    More,
}

/// How far somebody may go who may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages a second at most; 0 for no bound.
    pub rate: u16,
    /// Whether it may also send.
    pub sends: bool,
}

impl Bounds {
    /// None at all.
    pub const NONE: Self = Self { rate: 0, sends: true };

    /// Both.
    ///
    /// ```
    /// use ahm::auth::rule::Bounds;
    /// let (slow, reads) = (Bounds { rate: 5, sends: true }, Bounds { rate: 0, sends: false });
    /// assert_eq!(slow.and(reads), Bounds { rate: 5, sends: false });
    /// ```
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { rate: self.limit(other.rate), sends: self.sends && other.sends }
    }

    /// The rate of a channel that asks for `rate`, 0 being as much as there is.
    pub fn limit(self, rate: u16) -> u16 {
        match (self.rate, rate) {
            (0, rate) | (rate, 0) => rate,
            (most, rate) => most.min(rate),
        }
    }
}

/// Why a rule does not mean somebody: the first of its conditions that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The topic is another.
    Topic,
    /// The user is none of those.
    User,
    /// The user is in none of those groups.
    Group,
    /// The address is in none of those networks.
    From,
    /// The connection is not protected by TLS.
    Tls,
    /// The session has no seal.
    Seal,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "another topic",
            Self::User => "another user",
            Self::Group => "not in the group",
            Self::From => "another address",
            Self::Tls => "no TLS",
            Self::Seal => "no seal",
        })
    }
}

/// Names, and patterns of names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Names {
    /// In order.
    exact: Box<[Box<str>]>,
    patterns: Box<[Pattern]>,
}

impl Names {
    fn new(all: Vec<Pattern>) -> Self {
        let (exact, patterns): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|pattern| pattern.literal().is_some());
        let mut exact: Vec<Box<str>> =
            exact.iter().filter_map(|pattern| pattern.literal().map(Into::into)).collect();
        exact.sort_unstable();
        Self { exact: exact.into(), patterns: patterns.into() }
    }

    fn have(&self, name: &str) -> bool {
        self.exact.binary_search_by(|one| (**one).cmp(name)).is_ok()
            || self.patterns.iter().any(|pattern| pattern.matches(name))
    }
}

/// What is wrong with a rule, and where: the character, counted from 1.
///
/// ```
/// use ahm::auth::rule::{Rule, Scope};
/// let error = Rule::parse("allow quotes/* form:10.0.0.0/8", Scope::Server).unwrap_err();
/// assert_eq!(error.column, 16);
/// assert!(error.to_string().starts_with("column 16: \"form:10.0.0.0/8\" is no condition"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Where it begins.
    pub column: usize,
    /// In words.
    pub what: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.what)
    }
}

impl std::error::Error for RuleError {}

/// What the patterns of a list are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `RESOURCE/SUBJECT`.
    Server,
    /// The subjects of one resource.
    Resource,
}

/// A rule.
///
/// ```
/// use ahm::auth::rule::{Rule, Scope};
/// let text = "allow quotes/* group:traders,desk from:10.0.0.0/8,2001:db8::/32 tls rate:10";
/// assert_eq!(Rule::parse(text, Scope::Server).unwrap().text(), text);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    text: Box<str>,
    verdict: Verdict,
    pattern: Pattern,
    users: Option<Names>,
    groups: Option<Names>,
    from: Option<Box<[IpNet]>>,
    tls: bool,
    seal: bool,
}

impl Rule {
    /// Reads a rule: what it says, a pattern of topics, and conditions that must all hold.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn parse(text: &str, scope: Scope) -> Result<Self, RuleError> {
        let mut words = Words(text);
        if text.len() > RULE_BYTES_MAX {
            return Err(at(text, text, format!("a rule has at most {RULE_BYTES_MAX} bytes")));
        }
        if let Some(place) = text.find(|byte: char| byte.is_control() && byte != '\t') {
            return Err(at_byte(text, place, "a rule is one line of text"));
        }
        let known = "a rule begins with allow, deny or more";
        let first = words.next().ok_or_else(|| at(text, text, format!("{known}, and is empty")))?;
        let verdict = match first {
            "allow" => Verdict::Allow(Bounds::NONE),
            "deny" => Verdict::Deny,
            "more" => Verdict::More,
            other => return Err(at(text, other, format!("{known}, not with {other:?}"))),
        };
        let topics = words.next().ok_or_else(|| {
            at_byte(
                text,
                text.len(),
                format!("after {first} the topics are named, as in \"{first} *\""),
            )
        })?;
        let mut rule = Self {
            text: text.trim().into(),
            verdict,
            pattern: topic_pattern(text, topics, scope)?,
            users: None,
            groups: None,
            from: None,
            tls: false,
            seal: false,
        };
        let mut seen: Vec<&str> = Vec::new();
        for word in words {
            let name = word.split_once(':').map_or(word, |(name, _)| name);
            if seen.contains(&name) {
                let what = format!("{name} stands twice; several values are divided by commas");
                return Err(at(text, word, what));
            }
            seen.push(name);
            rule.add(text, word)?;
        }
        Ok(rule)
    }

    /// Takes one condition, or bound.
    fn add(&mut self, text: &str, word: &str) -> Result<(), RuleError> {
        match word.split_once(':') {
            Some(("user", list)) => self.users = Some(names(text, list)?),
            Some(("group", list)) => self.groups = Some(names(text, list)?),
            Some(("from", list)) => self.from = Some(networks(text, list)?),
            Some(("rate", number)) => {
                let rate = number.parse().ok().filter(|rate| *rate > 0).ok_or_else(|| {
                    let what = format!("{number:?} is no rate: 1 to 65535 messages a second");
                    at(text, number, what)
                })?;
                self.bounds(text, word)?.rate = rate;
            }
            None if word == "tls" => self.tls = true,
            None if word == "seal" => self.seal = true,
            None if word == "read" => self.bounds(text, word)?.sends = false,
            _ => {
                let what = format!(
                    "{word:?} is no condition: user:NAMES, group:NAMES, from:NETWORKS, tls, seal; \
                     or bound: read, rate:N"
                );
                return Err(at(text, word, what));
            }
        }
        Ok(())
    }

    fn bounds(&mut self, text: &str, word: &str) -> Result<&mut Bounds, RuleError> {
        match &mut self.verdict {
            Verdict::Allow(bounds) => Ok(bounds),
            Verdict::Deny | Verdict::More => {
                let what = format!("{word} bounds those who may read: it stands in allow only");
                Err(at(text, word, what))
            }
        }
    }

    /// The rule as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says to those whom it means.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The topics that it means.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Why it does not mean this client and topic; `None` if it does.
    pub fn misses(&self, asking: &Asking, name: &str) -> Option<Miss> {
        if self.pattern.matches(name) { self.misses_client(asking) } else { Some(Miss::Topic) }
    }

    /// Why it does not mean this client, whatever the topic.
    pub fn misses_client(&self, asking: &Asking) -> Option<Miss> {
        let identity = asking.identity.as_deref();
        let is_one = |names: &Names| identity.is_some_and(|who| names.have(&who.user));
        let is_member = |names: &Names| {
            identity.is_some_and(|who| who.groups.iter().any(|group| names.have(group)))
        };
        let address = asking.address.to_canonical();
        if !self.users.as_ref().is_none_or(is_one) {
            Some(Miss::User)
        } else if !self.groups.as_ref().is_none_or(is_member) {
            Some(Miss::Group)
        } else if !self.from.as_ref().is_none_or(|all| all.iter().any(|n| n.contains(&address))) {
            Some(Miss::From)
        } else if self.tls && !asking.tls {
            Some(Miss::Tls)
        } else if self.seal && !asking.seal {
            Some(Miss::Seal)
        } else {
            None
        }
    }
}

/// The words of a text, each a part of it.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let begin = self.0.trim_start_matches([' ', '\t']);
        let end = begin.find([' ', '\t']).unwrap_or(begin.len());
        let (word, rest) = begin.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// An error at `part`, which is a part of `text`.
fn at(text: &str, part: &str, what: impl Into<String>) -> RuleError {
    at_byte(text, (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize), what)
}

/// An error at the byte `offset` of `text`.
fn at_byte(text: &str, offset: usize, what: impl Into<String>) -> RuleError {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    RuleError { column: before.chars().count() + 1, what: what.into() }
}

fn pattern(text: &str, part: &str) -> Result<Pattern, RuleError> {
    Pattern::parse(part)
        .map_err(|(offset, what)| at(text, part.get(offset..).unwrap_or(part), what))
}

fn topic_pattern(text: &str, part: &str, scope: Scope) -> Result<Pattern, RuleError> {
    let pattern = pattern(text, part)?;
    if scope == Scope::Server && pattern.is_literal() && pattern.resource().is_none() {
        let what = format!(
            "{part:?} is no RESOURCE/SUBJECT: write {part}/* for all subjects of that resource"
        );
        return Err(at(text, part, what));
    }
    Ok(pattern)
}

fn names(text: &str, list: &str) -> Result<Names, RuleError> {
    let each = list.split(',').map(|part| match part.len() {
        0 => Err(at(text, part, "a name is missing here")),
        length if length > 3 * USER_BYTES_MAX => Err(at(text, part, "this name is too long")),
        _ => pattern(text, part),
    });
    each.collect::<Result<Vec<_>, _>>().map(Names::new)
}

fn networks(text: &str, list: &str) -> Result<Box<[IpNet]>, RuleError> {
    list.split(',').map(|part| network(part).map_err(|what| at(text, part, what))).collect()
}

/// A network, or one address; one of IPv4 that is written as IPv6 is of IPv4.
fn network(text: &str) -> Result<IpNet, String> {
    let wanted = || format!("{text:?} is no network: 10.0.0.0/8, 2001:db8::/32 or one address");
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| wanted())?,
    };
    if network.trunc() != network {
        return Err(format!("{text} has bits beyond its length: write {}", network.trunc()));
    }
    let mapped = match network.addr().to_canonical() {
        IpAddr::V4(address) if network.addr().is_ipv6() => {
            network.prefix_len().checked_sub(96).map(|length| (address, length))
        }
        _ => None,
    };
    match mapped {
        Some((address, length)) => IpNet::new(address.into(), length).map_err(|_| wanted()),
        None => Ok(network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let cases = [
            ("", 1, "a rule begins with allow, deny or more, and is empty"),
            ("  ", 1, "a rule begins with allow, deny or more, and is empty"),
            ("permit *", 1, "not with \"permit\""),
            ("allow", 6, "as in \"allow *\""),
            ("allow quotes", 7, "write quotes/* for all subjects"),
            ("allow a/50% tls", 11, "%25 is a %"),
            ("allow * tls tls", 13, "tls stands twice"),
            ("allow * user:a user:b", 16, "user stands twice; several values"),
            ("allow * user:", 14, "a name is missing here"),
            ("allow * user:a,,b", 16, "a name is missing here"),
            ("allow * from:10.0.0.0/8,10.1.1.1/8", 25, "write 10.0.0.0/8"),
            ("allow * from:10.0.0.0/33", 14, "\"10.0.0.0/33\" is no network"),
            ("allow * from:example.org", 14, "\"example.org\" is no network"),
            ("allow * rate:0", 14, "\"0\" is no rate: 1 to 65535"),
            ("allow * rate:65536", 14, "is no rate"),
            ("allow * rate", 9, "\"rate\" is no condition"),
            ("deny * rate:5", 8, "it stands in allow only"),
            ("more * read", 8, "it stands in allow only"),
            ("allow * TLS", 9, "\"TLS\" is no condition"),
            ("allow köln/* usr:a", 14, "\"usr:a\" is no condition"),
            ("allow *\ndeny *", 8, "a rule is one line of text"),
        ];
        for (text, column, wanted) in cases {
            let error = Rule::parse(text, Scope::Server).unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.what.contains(wanted), "{text}: {error}");
        }
        let long = format!("allow {}/*", "x".repeat(RULE_BYTES_MAX));
        assert!(Rule::parse(&long, Scope::Server).is_err());
        // A subject has no slash that must be there.
        assert!(Rule::parse("allow quotes", Scope::Resource).is_ok());
    }

    #[test]
    fn networks_of_mapped_addresses_are_of_ipv4() {
        for (text, wanted) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::/0", "::/0"),
            ("192.0.2.7", "192.0.2.7/32"),
        ] {
            assert_eq!(network(text).map(|network| network.to_string()), Ok(wanted.into()));
        }
    }
}
