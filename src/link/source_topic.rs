//! What a source keeps by subject, and what it keeps by resource.

use std::collections::HashMap;
use std::sync::Arc;

use crate::auth::list::List;
use crate::auth::rule::Scope;
use crate::base::id::{Epoch, Key};
use crate::base::name;
use crate::base::reason::ChannelEnd;
use crate::base::time::Instant;
use crate::link::handler::{Consumer, Handler};
use crate::link::source_error::SourceError;
use crate::link::source_log::{History, Log};
use crate::mem::slab::Slots;
use crate::wire::resource::{Alias, Handle, Terms};

/// The weights that a resource may have.
const WEIGHT_MAX: u32 = 1_000;

/// A resource that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its name.
    pub name: String,
    /// Consumers at a time at most; 0 for no bound.
    pub capacity: u64,
    /// Its share among the instances of the resource, 1 to 1,000.
    pub weight: u32,
    /// Who may read it: rules of `manual::access`; empty for everybody.
    pub access: Vec<String>,
    /// `KEY=VALUE`, for operators.
    pub labels: Vec<String>,
    /// Whether consumers may send to it.
    pub takes_messages: bool,
    /// Whether its instances number a subject alike. They then need an [`Served::epoch`] that they
    /// share, and the same messages in the same order, or offsets that are given with them.
    pub replicas: bool,
    /// Whether every channel to it is a private one: each goes to the least loaded instance then,
    /// the first ones too.
    pub conversations: bool,
    /// The epoch of its shared subjects; without it each has one of its own, at random. Whoever
    /// gives one and is started anew must not give the same, unless it gives the offsets too.
    pub epoch: Option<Epoch>,
}

impl Served {
    /// A resource that takes any number of readers, and no messages.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            capacity: 0,
            weight: 1,
            access: Vec::new(),
            labels: Vec::new(),
            takes_messages: false,
            replicas: false,
            conversations: false,
            epoch: None,
        }
    }

    /// Whether it can be served.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), SourceError> {
        name::check_resource(&self.name).map_err(SourceError::Name)?;
        if !(1..=WEIGHT_MAX).contains(&self.weight) {
            return Err(SourceError::Weight(self.weight));
        }
        let rules = self.access.iter().map(String::as_str);
        List::parse(rules, Scope::Resource).map_err(SourceError::Access)?;
        if self.replicas && self.epoch.is_none() {
            return Err(SourceError::Replicas(self.name.clone()));
        }
        Ok(())
    }

    /// What registries are told.
    pub(crate) fn handle<'a>(&'a self, addresses: &'a [String]) -> Handle<'a> {
        Handle {
            addresses: addresses.iter().map(String::as_str).collect(),
            capacity: self.capacity,
            weight: self.weight,
            takes_messages: self.takes_messages,
            replicas: self.replicas,
            conversations: self.conversations,
            access: self.access.iter().map(String::as_str).collect(),
            labels: self.labels.iter().map(String::as_str).collect(),
        }
    }
}

/// A resource, its subjects, and how many read them.
#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) served: Served,
    pub(crate) handler: Arc<dyn Handler>,
    /// Shared subjects.
    pub(crate) topics: HashMap<String, Key>,
    /// Consumers at present.
    pub(crate) consumers: u64,
    /// Shared subjects that were closed; a subject that is begun anew has another epoch by it.
    pub(crate) closed: u64,
    /// When those that still read it lose it; `None` unless it was withdrawn.
    pub(crate) withdrawn: Option<Instant>,
}

impl Office {
    pub(crate) fn new(served: Served, handler: Arc<dyn Handler>) -> Self {
        Self { served, handler, topics: HashMap::new(), consumers: 0, closed: 0, withdrawn: None }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.served.capacity > 0 && self.consumers >= self.served.capacity
    }

    /// The epoch of a shared subject that begins now, if it is given.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.served.epoch.map(|ep| Epoch(ep.0.wrapping_add(self.closed)))
    }
}

/// A subject, or the private channel of one consumer.
#[derive(Debug)]
pub(crate) struct Topic {
    /// The index of its resource.
    pub(crate) office: usize,
    pub(crate) subject: String,
    pub(crate) terms: Terms,
    pub(crate) history: History,
    pub(crate) log: Log,
    /// Who reads it: connection and alias.
    pub(crate) readers: Vec<(Key, Alias)>,
    /// Whose it is, if it is private.
    pub(crate) consumer: Option<Consumer>,
    /// Set when nothing more will come.
    pub(crate) ended: Option<ChannelEnd>,
    /// True exactly when its readers are to be told at the next pull.
    pub(crate) touched: bool,
    /// True exactly when its history is to be trimmed at the end of the turn.
    pub(crate) grown: bool,
    /// True exactly when a timer is set for its oldest message.
    pub(crate) timed: bool,
}

impl Topic {
    pub(crate) fn new(
        office: usize,
        subject: &str,
        terms: Terms,
        default: History,
        ep: Epoch,
    ) -> Self {
        let given = |(messages, bytes, age)| History { messages, bytes, age };
        Self {
            office,
            subject: subject.to_string(),
            terms,
            history: terms.history.map_or(default, given),
            log: Log::new(ep),
            readers: Vec::new(),
            consumer: None,
            ended: None,
            touched: false,
            grown: false,
            timed: false,
        }
    }

    /// Whether it may be forgotten: nobody reads it, and nobody would miss its numbering.
    pub(crate) fn is_idle(&self) -> bool {
        self.readers.is_empty()
            && (self.consumer.is_some() || self.ended.is_some() || self.log.is_empty())
    }
}

/// All subjects.
pub(crate) type Topics = Slots<Topic>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_checked() {
        let good = Served::new("rates");
        assert_eq!(good.check(), Ok(()));
        let heavy = Served { weight: 1_001, ..good.clone() };
        assert_eq!(heavy.check(), Err(SourceError::Weight(1_001)));
        let weightless = Served { weight: 0, ..good.clone() };
        assert_eq!(weightless.check(), Err(SourceError::Weight(0)));
        assert!(Served::new("no spaces").check().is_err());
        let closed = Served { access: vec!["allow".into()], ..good.clone() };
        let error = closed.check().unwrap_err().to_string();
        assert!(error.starts_with("the access list: rule 1, column 6: after allow"), "{error}");
        let alone = Served { replicas: true, ..good };
        assert_eq!(alone.check(), Err(SourceError::Replicas("rates".into())));
        assert_eq!(Served { epoch: Some(Epoch(1)), ..alone }.check(), Ok(()));
    }
}
