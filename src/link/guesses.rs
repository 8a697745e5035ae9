//! Which subjects will be private channels, as far as the past tells: for those the least loaded
//! instance is asked for, for all others the one that their name leads to.

use std::collections::{HashMap, HashSet};

/// Names that are remembered at most; beyond, all are forgotten.
const NAMES_MAX: usize = 65_536;
/// New names of one resource that must have been private one after the other until the next one is
/// believed to be so too.
const IN_A_ROW: u8 = 2;

/// What is known of one resource.
#[derive(Debug, Default)]
struct Resource {
    private: HashSet<String>,
    /// New names since the last shared subject, all of which were private channels.
    in_a_row: u8,
}

/// What is known of all resources.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    resources: HashMap<String, Resource>,
    names: usize,
}

impl Guesses {
    /// Whether a channel to that subject will probably be a private one.
    pub(crate) fn is_private(&self, resource: &str, subject: &str) -> bool {
        let known = self.resources.get(resource);
        known.is_some_and(|it| it.in_a_row >= IN_A_ROW || it.private.contains(subject))
    }

    /// What a channel to that subject has turned out to be.
    pub(crate) fn learn(&mut self, resource: &str, subject: &str, private: bool) {
        if !private {
            let Some(known) = self.resources.get_mut(resource) else { return };
            known.in_a_row = 0;
            self.names -= usize::from(known.private.remove(subject));
            return;
        }
        if self.names >= NAMES_MAX {
            *self = Self::default();
        }
        let known = self.resources.entry(resource.to_string()).or_default();
        if known.private.insert(subject.to_string()) {
            known.in_a_row = known.in_a_row.saturating_add(1);
            self.names += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_it_was() {
        let mut guesses = Guesses::default();
        assert!(!guesses.is_private("r", "desk"));
        guesses.learn("r", "desk", true);
        guesses.learn("r", "desk", true);
        assert!(guesses.is_private("r", "desk"));
        assert!(!guesses.is_private("r", "EURUSD"), "one name says nothing of others");
        guesses.learn("r", "EURUSD", false);
        assert!(guesses.is_private("r", "desk"));
        guesses.learn("r", "desk", false);
        assert!(!guesses.is_private("r", "desk"));
        assert_eq!(guesses.names, 0);
    }

    #[test]
    fn where_several_were_private_the_next_one_is_believed_to_be() {
        let mut guesses = Guesses::default();
        guesses.learn("r", "a", true);
        guesses.learn("r", "b", true);
        assert!(guesses.is_private("r", "c") && !guesses.is_private("other", "c"));
        guesses.learn("r", "c", false);
        assert!(!guesses.is_private("r", "d") && guesses.is_private("r", "a"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut guesses = Guesses::default();
        for name in 0..=NAMES_MAX {
            guesses.learn(&format!("r{}", name % 1_000), &name.to_string(), true);
        }
        assert_eq!((guesses.names, guesses.resources.len()), (1, 1));
    }
}
