//! Who may read what: all the lists that a server has, and what they say together.
//!
//! Each list that exists must allow: that of the server, that of the resource in the server's
//! configuration, and that of the resource server; so must the rights of the session, where it has
//! such. Where no list exists, everything is allowed. The manual (`manual::access`) has the
//! grammar.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::auth::identity::Identity;
use crate::auth::list::{List, ListError};
use crate::auth::pattern;
use crate::auth::rule::{Bounds, Rule, Scope, Verdict};
use crate::base::name::TopicName;
use crate::base::reason::ErrorCode;

/// What is known of a client that wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// Who it is; `None` where it has proved nothing.
    pub identity: Option<Arc<Identity>>,
    /// Where its connection comes from.
    pub address: IpAddr,
    /// Whether TLS protects its connection.
    pub tls: bool,
    /// Whether its session is sealed.
    pub seal: bool,
}

impl Asking {
    /// Somebody of whom nothing is known but the address.
    pub fn from_address(address: IpAddr) -> Self {
        Self { identity: None, address, tls: false, seal: false }
    }

    /// Its name; empty where it has proved none.
    pub fn user(&self) -> &str {
        self.identity.as_ref().map_or("", |identity| &identity.user)
    }

    /// Whether the rights of its session let it open that topic.
    pub fn has_right(&self, name: &str) -> bool {
        let rights = self.identity.as_ref().and_then(|identity| identity.rights.as_ref());
        rights.is_none_or(|rights| rights.iter().any(|right| pattern::matches(right, name)))
    }
}

/// Whose list it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The server's own: `access.rules`.
    Server,
    /// That of the resource in the server's configuration.
    Configured,
    /// That of the resource server.
    Resource,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "access.rules",
            Self::Configured => "the access of the [[resource]]",
            Self::Resource => "the list of the resource server",
        })
    }
}

/// What has refused a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By<'a> {
    /// The rights of its session.
    Rights,
    /// This rule.
    Rule(Origin, &'a str),
    /// That there is a list, and that no rule of it means the client.
    NoRule(Origin),
}

impl fmt::Display for By<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rights => f.write_str("the rights of the session"),
            Self::Rule(origin, text) => write!(f, "{origin}: \"{text}\""),
            Self::NoRule(origin) => write!(f, "{origin}: no rule"),
        }
    }
}

/// Whether a client may read a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It may, within these bounds.
    Allowed(Bounds),
    /// It may not; it possibly may once it has said more of who it is.
    More(By<'a>),
    /// It may not.
    Denied(By<'a>),
}

impl<'a> Decision<'a> {
    /// The bounds, or the error that the client gets, and what has refused it.
    ///
    /// # Errors
    ///
    /// If it may not.
    pub fn bounds(self) -> Result<Bounds, (ErrorCode, By<'a>)> {
        match self {
            Self::Allowed(bounds) => Ok(bounds),
            Self::More(by) => Err((ErrorCode::AuthRequired, by)),
            Self::Denied(by) => Err((ErrorCode::Forbidden, by)),
        }
    }
}

/// The lists of a server.
///
/// ```
/// use ahm::auth::access::{Asking, By, Decision, Lists, Origin};
/// use ahm::base::name::TopicName;
///
/// let lists = Lists::parse(&["allow fx/* user:*", "more fx/*"], [("fx", &["allow EUR*"][..])]);
/// let lists = lists.unwrap();
/// let asking = Asking::from_address("192.0.2.1".parse().unwrap());
/// let name = TopicName::new("fx", "EURUSD").unwrap();
/// let by = By::Rule(Origin::Server, "more fx/*");
/// assert_eq!(lists.decide(&asking, &name, None), Decision::More(by));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    server: Option<List>,
    resources: HashMap<Box<str>, List>,
}

impl Lists {
    /// Reads the server's list, and those of resources; an empty one is none.
    ///
    /// # Errors
    ///
    /// The first rule that is none, and whose it is: `None` for the server's.
    pub fn parse<'a, S: AsRef<str> + 'a>(
        server: &[S],
        resources: impl IntoIterator<Item = (&'a str, &'a [S])>,
    ) -> Result<Self, (Option<String>, ListError)> {
        fn read<S: AsRef<str>>(texts: &[S], scope: Scope) -> Result<Option<List>, ListError> {
            let texts = texts.iter().map(AsRef::as_ref);
            let list = List::parse(texts, scope)?;
            Ok(Some(list).filter(|list| !list.rules().is_empty()))
        }
        let server = read(server, Scope::Server).map_err(|error| (None, error))?;
        let mut own = HashMap::new();
        for (name, texts) in resources {
            let list = read(texts, Scope::Resource);
            if let Some(list) = list.map_err(|error| (Some(name.to_string()), error))? {
                own.insert(name.into(), list);
            }
        }
        Ok(Self { server, resources: own })
    }

    /// The list of the server; `None` where there is none.
    pub fn server(&self) -> Option<&List> {
        self.server.as_ref()
    }

    /// The list of that resource in the configuration; `None` where there is none.
    pub fn of_resource(&self, resource: &str) -> Option<&List> {
        self.resources.get(resource)
    }

    /// Whether a client may read a topic; `theirs` is the list of its resource server.
    pub fn decide<'a>(
        &'a self,
        asking: &Asking,
        name: &TopicName,
        theirs: Option<&'a List>,
    ) -> Decision<'a> {
        if !asking.has_right(name.as_str()) {
            return Decision::Denied(By::Rights);
        }
        self.together(name.resource(), theirs, |list| match list.scope() {
            Scope::Server => list.decide(asking, name.as_str()),
            Scope::Resource => list.decide(asking, name.subject()),
        })
    }

    /// Whether a client may read any topic of a resource.
    pub fn decide_resource<'a>(
        &'a self,
        asking: &Asking,
        resource: &str,
        theirs: Option<&'a List>,
    ) -> Decision<'a> {
        // A resource without a subject is no name; its topics begin so.
        let Ok(name) = TopicName::new(resource, "") else {
            return Decision::Allowed(Bounds::NONE);
        };
        let rights = asking.identity.as_ref().and_then(|identity| identity.rights.as_ref());
        let reaches = |right: &String| pattern::reaches(right, name.as_str());
        if rights.is_some_and(|rights| !rights.iter().any(reaches)) {
            return Decision::Denied(By::Rights);
        }
        self.together(resource, theirs, |list| match list.scope() {
            Scope::Server => list.decide_any(asking, name.as_str()),
            Scope::Resource => list.decide_any(asking, ""),
        })
    }

    /// What the lists say together that exist; the first that does not allow decides.
    fn together<'a>(
        &'a self,
        resource: &str,
        theirs: Option<&'a List>,
        mut decide: impl FnMut(&'a List) -> (Verdict, Option<&'a Rule>),
    ) -> Decision<'a> {
        let mut bounds = Bounds::NONE;
        let all = [
            (Origin::Server, self.server.as_ref()),
            (Origin::Configured, self.of_resource(resource)),
            (Origin::Resource, theirs),
        ];
        for (origin, list) in all {
            let Some(list) = list else { continue };
            let (verdict, rule) = decide(list);
            let by = rule.map_or(By::NoRule(origin), |rule| By::Rule(origin, rule.text()));
            match verdict {
                Verdict::Allow(own) => bounds = bounds.and(own),
                Verdict::Deny => return Decision::Denied(by),
                Verdict::More => return Decision::More(by),
            }
        }
        Decision::Allowed(bounds)
    }
}
