//! Access lists of instances, at the consumer's end: an instance that has one is asked for a want
//! only once somebody has judged by it who may read.

use std::collections::HashMap;
use std::sync::Arc;

use crate::auth::list::List;
use crate::auth::rule::Scope;
use crate::base::id::Key;
use crate::link::handle::OwnedHandle;
use crate::link::handler::Consumer;
use crate::link::news::News;
use crate::link::seeking::Known;
use crate::link::upstream::{Place, Upstream};

/// A resource, as far as one connection is concerned.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    /// What was registered over the connection; `None` where a registry has told of it.
    pub(crate) handle: Option<OwnedHandle>,
    /// Who may read, if that stands in the handle.
    pub(crate) access: Option<Arc<List>>,
    /// Consumers of this end.
    pub(crate) consumers: u64,
}

/// An instance that serves a want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// One that has dialled this process: its connection.
    Guest(Key),
    /// One that a registry has named.
    Known(Known),
}

/// The lists of resources, made ready once where all instances have the same.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    /// Whether somebody judges by them.
    judged: bool,
    /// The list of the instance that was heard of last, by resource.
    latest: HashMap<String, Arc<List>>,
}

impl Listings {
    /// The list of those rules; `None` if there are none.
    pub(crate) fn read(&mut self, resource: &str, rules: &[&str]) -> Option<Arc<List>> {
        if rules.is_empty() {
            self.latest.remove(resource);
            return None;
        }
        if let Some(known) = self.latest.get(resource)
            && known.is_of(rules.iter().copied())
        {
            return Some(Arc::clone(known));
        }
        let list = List::parse(rules.iter().copied(), Scope::Resource).unwrap_or_else(|error| {
            // Whoever has taken its registration should have refused it.
            log::warn!("{resource}: nobody may read it, its access list is none: {error}");
            List::closed()
        });
        let list = Arc::new(list);
        self.latest.insert(resource.to_string(), Arc::clone(&list));
        Some(list)
    }
}

impl Upstream {
    /// Somebody judges by the access lists of instances from now on: [`News::Found`] is told, and
    /// nothing is asked of an instance that has a list before [`Upstream::admit`].
    pub fn judge(&mut self) {
        self.listings.judged = true;
    }

    /// The access list of a resource, as far as it was heard of here.
    pub fn list_of(&self, resource: &str) -> Option<Arc<List>> {
        self.listings.latest.get(resource).cloned()
    }

    /// The instance that was found for a want may be asked, for `who` where that is somebody else.
    pub fn admit(&mut self, want: Key, who: Option<Consumer>) {
        let Some(wanted) = self.wants.get_mut(want) else { return };
        if let Some(who) = who {
            wanted.who = who;
        }
        match wanted.found.take() {
            Some(Found::Guest(link)) if self.instances.id(link).is_some() => {
                self.attach(want, link);
            }
            Some(Found::Known(known)) => self.go_to(want, known),
            // It was lost meanwhile.
            Some(Found::Guest(_)) => self.seek_for(want),
            None => {}
        }
    }

    /// An instance was found that serves a want: it is asked, unless somebody must judge first.
    pub(crate) fn present(&mut self, want: Key, found: Found, access: Option<Arc<List>>) {
        let Some(wanted) = self.wants.get_mut(want) else { return };
        let must_judge = self.listings.judged && (access.is_some() || wanted.listed);
        (wanted.found, wanted.listed) = (Some(found), access.is_some());
        if must_judge {
            wanted.place = Place::Found;
            self.news.push_back(News::Found { want, access });
        } else {
            self.admit(want, None);
        }
    }

    /// The access list of a guest.
    pub(crate) fn list_of_guest(&self, link: Key, resource: &str) -> Option<Arc<List>> {
        self.instances.offer(link, resource).and_then(|(_, offer)| offer.access.clone())
    }

    /// A guest has registered a resource anew: those who read it there are judged again.
    pub(crate) fn list_at(&mut self, link: Key, resource: &str, access: &Option<Arc<List>>) {
        if !self.listings.judged {
            return;
        }
        for want in self.instances.wants_at(link) {
            let Some(wanted) = self.wants.get_mut(want) else { continue };
            let here = matches!(wanted.place, Place::At(at, _) if at == link);
            if here && wanted.resource == resource && (access.is_some() || wanted.listed) {
                wanted.listed = access.is_some();
                self.news.push_back(News::Listed { want, access: access.clone() });
            }
        }
    }
}
