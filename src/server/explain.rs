//! Which rule of a configuration decides whether somebody may read a topic, and why, in words.

use std::fmt::Write as _;

use crate::auth::access::{Asking, By, Decision};
use crate::auth::list::List;
use crate::auth::rule::{Bounds, Rule, Scope, Verdict};
use crate::base::name::TopicName;
use crate::server::config::Config;

/// The widest rule that the words behind the rules are lined up with.
const WIDTH_MAX: usize = 48;

/// What the lists say, in words, and whether they allow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// In lines.
    pub text: String,
    /// Whether the client may read the topic.
    pub allowed: bool,
}

/// Explains what the lists of `config` say to a client that asks for a topic.
///
/// # Errors
///
/// What is wrong with the lists.
///
/// ```
/// use ahm::auth::access::Asking;
/// use ahm::base::name::TopicName;
/// use ahm::server::config::Config;
/// use ahm::server::explain::explain;
///
/// let config = Config { access: vec!["allow fx/* tls".into()], ..Config::default() };
/// let asking = Asking::from_address("192.0.2.1".parse().unwrap());
/// let told = explain(&config, &asking, &TopicName::new("fx", "EURUSD").unwrap()).unwrap();
/// assert!(!told.allowed && told.text.contains("allow fx/* tls  no TLS"));
/// ```
pub fn explain(config: &Config, asking: &Asking, name: &TopicName) -> Result<Explanation, String> {
    let lists = config.access_lists()?;
    let mut text = format!("{} asks for {name}\n", client(asking));
    let is_here = config.resources.iter().any(|one| one.name == name.resource());
    let heading = format!("access of the [[resource]] {}", name.resource());
    tell(&mut text, "access.rules", lists.server(), asking, name);
    if is_here {
        tell(&mut text, &heading, lists.of_resource(name.resource()), asking, name);
    }
    let decision = lists.decide(asking, name, None);
    let (allowed, told) = match decision {
        Decision::Allowed(bounds) => (true, format!("allowed{}", bounds_told(bounds))),
        Decision::More(by) => (false, format!("refused by {by}\n  as 401 auth-required")),
        Decision::Denied(by) => (false, format!("refused by {}\n  as 403 forbidden", reason(by))),
    };
    let _ = writeln!(text, "{told}");
    if allowed && lists.server().is_none() && lists.of_resource(name.resource()).is_none() {
        text.push_str("  (no list exists: everybody may read everything)\n");
    }
    if allowed && !is_here {
        let resource = name.resource();
        let _ = writeln!(
            text,
            "  ({resource} is no [[resource]] here: a list of its resource server must allow too)"
        );
    }
    Ok(Explanation { text, allowed })
}

fn reason(by: By<'_>) -> String {
    match by {
        By::NoRule(origin) => format!("{origin}: no rule of it means this, and a list denies then"),
        By::Rights | By::Rule(..) => by.to_string(),
    }
}

fn client(asking: &Asking) -> String {
    let who = match &asking.identity {
        Some(identity) if identity.groups.is_empty() => identity.user.clone(),
        Some(identity) => format!("{} of {}", identity.user, identity.groups.join(", ")),
        None => "somebody who has proved nothing".to_string(),
    };
    let tls = if asking.tls { "with TLS" } else { "without TLS" };
    let seal = if asking.seal { "with a seal" } else { "without a seal" };
    format!("{who}, from {}, {tls}, {seal},", asking.address.to_canonical())
}

fn bounds_told(bounds: Bounds) -> String {
    let mut told = String::new();
    if !bounds.sends {
        told.push_str(", to read only");
    }
    if bounds.rate > 0 {
        let _ = write!(told, ", at most {} messages a second", bounds.rate);
    }
    told
}

/// The rules of one list up to the one that decides, each with why it does not.
fn tell(text: &mut String, heading: &str, list: Option<&List>, asking: &Asking, name: &TopicName) {
    let Some(list) = list else {
        let _ = writeln!(text, "{heading}: there is none");
        return;
    };
    let _ = writeln!(text, "{heading}:");
    let compared = match list.scope() {
        Scope::Server => name.as_str(),
        Scope::Resource => name.subject(),
    };
    let widths = list.rules().iter().map(|rule| rule.text().chars().count());
    let width = widths.max().unwrap_or(0).min(WIDTH_MAX);
    for (number, rule) in (1..).zip(list.rules()) {
        let miss = rule.misses(asking, compared);
        let why = match miss {
            Some(miss) => miss.to_string(),
            None => format!("decides: {}", verdict_told(rule)),
        };
        let _ = writeln!(text, "  {number:>2}  {:<width$}  {why}", rule.text());
        if miss.is_none() {
            return;
        }
    }
    let _ = writeln!(text, "      no rule is left: denied");
}

fn verdict_told(rule: &Rule) -> String {
    match rule.verdict() {
        Verdict::Allow(bounds) => format!("allowed{}", bounds_told(bounds)),
        Verdict::Deny => "denied".to_string(),
        Verdict::More => "possibly, once it has said more of who it is".to_string(),
    }
}
