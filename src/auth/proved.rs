//! Passwords that were proved a while ago, so that the same need not be hashed slowly each time.
//!
//! No password is held: what is kept is a keyed hash of name and password, under a key that exists
//! only in this process.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use ring::hmac;

use crate::auth::basic::Basic;
use crate::auth::identity::Identity;
use crate::base::time::{Instant, Span};

/// What stands for a name with its password.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag([u8; 32]);

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag(..)")
    }
}

/// A bounded number of them, each for a while.
#[derive(Debug)]
pub struct Proved {
    key: hmac::Key,
    lifetime: Span,
    count_max: usize,
    known: HashMap<Tag, (Arc<Identity>, Instant)>,
    /// In the order in which they were proved, which is that in which they end.
    order: VecDeque<(Tag, Instant)>,
}

impl Proved {
    /// None yet; `key` is random and known to nobody else.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use ahm::auth::basic::Basic;
    /// use ahm::auth::identity::{Identity, Means};
    /// use ahm::auth::proved::Proved;
    /// use ahm::base::time::{Instant, Span};
    ///
    /// let mut proved = Proved::new(&[7; 32], Span::from_secs(60), 1_000);
    /// let shown = Basic { user: "anna".into(), password: "secret".into() };
    /// let (tag, now) = (proved.tag(&shown), Instant::ZERO);
    /// assert!(proved.find(&tag, now).is_none());
    /// let anna = Identity::new("anna", Means::Basic).unwrap();
    /// proved.keep(tag, Arc::new(anna), now);
    /// assert_eq!(proved.find(&tag, now).unwrap().user, "anna");
    /// assert!(proved.find(&tag, now + Span::from_secs(60)).is_none());
    /// ```
    pub fn new(key: &[u8; 32], lifetime: Span, count_max: usize) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            lifetime,
            count_max,
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// What stands for these.
    pub fn tag(&self, shown: &Basic) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        // The length comes first, so that no two pairs are the same bytes.
        context.update(&(shown.user.len() as u64).to_le_bytes());
        context.update(shown.user.as_bytes());
        context.update(shown.password.expose().as_bytes());
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        Tag(tag)
    }

    /// Whose they are, if that was proved not long ago.
    pub fn find(&self, tag: &Tag, now: Instant) -> Option<Arc<Identity>> {
        let (identity, until) = self.known.get(tag)?;
        (now < *until).then(|| Arc::clone(identity))
    }

    /// They were proved now. Where there is no more room, the oldest goes.
    pub fn keep(&mut self, tag: Tag, identity: Arc<Identity>, now: Instant) {
        if self.lifetime == Span::ZERO || self.count_max == 0 {
            return;
        }
        while let Some(&(oldest, until)) = self.order.front() {
            if now < until && self.order.len() < self.count_max {
                break;
            }
            self.order.pop_front();
            // Proved again since, it stands further behind too.
            if self.known.get(&oldest).is_some_and(|(_, newer)| *newer == until) {
                self.known.remove(&oldest);
            }
        }
        let until = now + self.lifetime;
        self.known.insert(tag, (identity, until));
        self.order.push_back((tag, until));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::identity::Means;

    fn shown(user: &str, password: &str) -> Basic {
        Basic { user: user.into(), password: password.into() }
    }

    fn somebody() -> Arc<Identity> {
        Arc::new(Identity::new("x", Means::Basic).unwrap())
    }

    #[test]
    fn a_pair_is_known_by_both_its_parts_and_under_its_key() {
        let proved = Proved::new(&[1; 32], Span::from_secs(1), 10);
        let tag = proved.tag(&shown("ab", "c"));
        assert_eq!(tag, proved.tag(&shown("ab", "c")));
        for other in [shown("a", "bc"), shown("ab", "d"), shown("abc", ""), shown("ab", "c\0")] {
            assert_ne!(tag, proved.tag(&other));
        }
        let elsewhere = Proved::new(&[2; 32], Span::from_secs(1), 10);
        assert_ne!(tag, elsewhere.tag(&shown("ab", "c")));
        assert_eq!(format!("{tag:?}"), "Tag(..)");
    }

    #[test]
    fn there_are_never_more_than_allowed_and_the_oldest_goes_first() {
        let mut proved = Proved::new(&[1; 32], Span::from_secs(10), 3);
        let tags: Vec<_> = (0..50).map(|n| proved.tag(&shown("anna", &n.to_string()))).collect();
        let mut now = Instant::ZERO;
        for (n, tag) in tags.iter().enumerate() {
            proved.keep(*tag, somebody(), now);
            // The first is proved again and again: it takes places, but never more than all.
            proved.keep(tags[0], somebody(), now);
            assert!(proved.len() <= 3 && proved.order.len() <= 3, "after {n}");
            assert!(proved.find(tag, now).is_some() && proved.find(&tags[0], now).is_some());
            now += Span::from_millis(1);
        }
        assert!(proved.find(&tags[40], now).is_none());
        let later = now + Span::from_secs(10);
        assert!(tags.iter().all(|tag| proved.find(tag, later).is_none()));
        proved.keep(tags[1], somebody(), later);
        assert_eq!((proved.len(), proved.order.len()), (1, 1));
        assert!(!proved.is_empty());
    }

    #[test]
    fn without_a_lifetime_nothing_is_kept() {
        for (lifetime, count) in [(Span::ZERO, 10), (Span::from_secs(1), 0)] {
            let mut proved = Proved::new(&[1; 32], lifetime, count);
            let tag = proved.tag(&shown("a", "b"));
            proved.keep(tag, somebody(), Instant::ZERO);
            assert!(proved.is_empty() && proved.find(&tag, Instant::ZERO).is_none());
        }
    }
}
