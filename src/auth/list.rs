//! An access list: rules of which the first that means a client and a topic decides.

use std::collections::HashMap;
use std::fmt;

use crate::auth::access::Asking;
use crate::auth::pattern::Reach;
use crate::auth::rule::{Bounds, Rule, RuleError, Scope, Verdict};
use crate::base::limits::RULES_MAX;

/// What is wrong with a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListError {
    /// Which rule, from 1.
    pub rule: usize,
    /// What is wrong with it.
    pub error: RuleError,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}, {}", self.rule, self.error)
    }
}

impl std::error::Error for ListError {}

/// An access list, made ready: which of its rules can mean a resource is looked up by its name.
/// Nothing is allocated when it is asked.
///
/// ```
/// use ahm::auth::access::Asking;
/// use ahm::auth::list::List;
/// use ahm::auth::rule::{Scope, Verdict};
///
/// let rules = ["deny fx/secret*", "allow fx/* from:10.0.0.0/8"];
/// let list = List::parse(rules, Scope::Server).unwrap();
/// let asking = Asking::from_address("10.1.2.3".parse().unwrap());
/// let (verdict, rule) = list.decide(&asking, "fx/EURUSD");
/// assert!(matches!(verdict, Verdict::Allow(_)));
/// assert_eq!(rule.map(|rule| rule.text()), Some("allow fx/* from:10.0.0.0/8"));
/// assert_eq!(list.decide(&asking, "board/lobby"), (Verdict::Deny, None));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    scope: Scope,
    rules: Box<[Rule]>,
    /// The rules that can mean a topic of a resource that some of them name, in order.
    by_resource: HashMap<Box<str>, Box<[u32]>>,
    /// Those that can mean any other.
    general: Box<[u32]>,
}

impl List {
    /// Reads a list, a rule a text.
    ///
    /// # Errors
    ///
    /// The first rule that is none.
    pub fn parse<'a>(
        texts: impl IntoIterator<Item = &'a str>,
        scope: Scope,
    ) -> Result<Self, ListError> {
        let mut rules = Vec::new();
        for (index, text) in texts.into_iter().enumerate() {
            let failed = |error| ListError { rule: index + 1, error };
            if index >= RULES_MAX {
                let what = format!("a list has at most {RULES_MAX} rules");
                return Err(failed(RuleError { column: 1, what }));
            }
            rules.push(Rule::parse(text, scope).map_err(failed)?);
        }
        Ok(Self::new(rules, scope))
    }

    /// A list that lets nobody read.
    pub fn closed() -> Self {
        Self::new(Vec::new(), Scope::Resource)
    }

    fn new(rules: Vec<Rule>, scope: Scope) -> Self {
        let resource_of = |rule: &Rule| match scope {
            Scope::Server => rule.pattern().resource().map(Box::<str>::from),
            Scope::Resource => None,
        };
        let mut by_resource: HashMap<Box<str>, Vec<u32>> =
            rules.iter().filter_map(resource_of).map(|name| (name, Vec::new())).collect();
        let mut general = Vec::new();
        for (index, rule) in (0..).zip(&rules) {
            match resource_of(rule) {
                Some(name) => by_resource.entry(name).or_default().push(index),
                None => {
                    general.push(index);
                    by_resource.values_mut().for_each(|own| own.push(index));
                }
            }
        }
        let by_resource = by_resource.into_iter().map(|(name, own)| (name, own.into())).collect();
        Self { scope, rules: rules.into(), by_resource, general: general.into() }
    }

    /// Its rules, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What its patterns are compared with.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether it was made of these texts.
    pub fn is_of<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        self.rules.iter().map(Rule::text).eq(texts.into_iter().map(str::trim))
    }

    /// What it says to a client about a topic (`RESOURCE/SUBJECT`, or the subject alone in the list
    /// of one resource), and the rule that says so; without one nobody may who is not meant by any.
    pub fn decide(&self, asking: &Asking, name: &str) -> (Verdict, Option<&Rule>) {
        let resource = name.split_once('/').map_or(name, |(resource, _)| resource);
        let mut candidates = self.candidates(resource);
        let decides = |rule: &&Rule| rule.misses(asking, name).is_none();
        match candidates.find(decides) {
            Some(rule) => (rule.verdict(), Some(rule)),
            None => (Verdict::Deny, None),
        }
    }

    /// The same about the topics that begin with `prefix`, where the client has not said which of
    /// them it means: it may if it may read any of them.
    pub fn decide_any(&self, asking: &Asking, prefix: &str) -> (Verdict, Option<&Rule>) {
        let resource = prefix.split_once('/').map_or(prefix, |(resource, _)| resource);
        let mut refusal = (Verdict::Deny, None);
        for rule in self.candidates(resource) {
            let reach = rule.pattern().reach(prefix);
            if reach == Reach::None || rule.misses_client(asking).is_some() {
                continue;
            }
            match rule.verdict() {
                Verdict::Allow(_) => return (Verdict::Allow(Bounds::NONE), Some(rule)),
                // To say more of who one is may help with some of them.
                Verdict::More if refusal.0 == Verdict::Deny => {
                    refusal = (Verdict::More, Some(rule));
                }
                Verdict::More | Verdict::Deny => {}
            }
            if reach == Reach::All {
                return match refusal {
                    (Verdict::More, _) => refusal,
                    _ => (rule.verdict(), Some(rule)),
                };
            }
        }
        refusal
    }

    /// The rules that can mean a topic of that resource, in order.
    fn candidates(&self, resource: &str) -> impl Iterator<Item = &Rule> {
        let own = self.by_resource.get(resource).unwrap_or(&self.general);
        own.iter().filter_map(|index| self.rules.get(*index as usize))
    }
}
