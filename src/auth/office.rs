//! By which ways clients may prove who they are, and what each proves.
//!
//! An office is made once from the configuration and changed by nobody; with other files there is
//! another office.

use std::sync::Arc;

use crate::auth::basic::{self, Basic, Scheme, Shown};
use crate::auth::certificate::{Naming, Secured};
use crate::auth::evidence::Evidence;
use crate::auth::guard::is_under;
use crate::auth::htpasswd::Htpasswd;
use crate::auth::identity::{Identity, Means};
use crate::auth::proved::Tag;
use crate::auth::token::Tokens;
use crate::auth::verdict::{Proof, Refusal, Verdict};
use crate::base::id::ConnKey;
use crate::base::time::Span;

/// How a client may prove who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A name and a password of the file.
    Basic,
    /// A signed token.
    Token,
    /// The certificate of its connection.
    Certificate,
    /// What the helper of that index says.
    Helper(usize),
}

/// The ways that clients need not name.
pub const DIRECT: [Way; 3] = [Way::Basic, Way::Token, Way::Certificate];

/// Who is asked about clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// What clients call it.
    pub name: String,
    /// What it is.
    pub kind: HelperKind,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelperKind {
    /// A script on the web server: its path, and whether it gets the body of a form.
    Script {
        /// Its path, maybe with a query.
        target: String,
        /// Whether by POST, else by GET.
        post: bool,
    },
    /// A program on this machine.
    Program {
        /// Its file.
        path: String,
    },
}

/// A prefix of the web site's paths, and the ways into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// It begins and ends with a slash.
    pub prefix: String,
    /// One of them is enough.
    pub ways: Vec<Way>,
}

/// Everything that says who a client is.
#[derive(Debug, Default)]
pub struct Office {
    /// Whether nobody gets a session without being known.
    pub required: bool,
    /// What clients are told that they need a name for.
    pub realm: String,
    /// Names and passwords.
    pub users: Option<Htpasswd>,
    /// Keys of tokens.
    pub tokens: Option<Tokens>,
    /// What certificates prove.
    pub naming: Naming,
    /// Scripts and programs.
    pub helpers: Vec<Helper>,
    /// What of the web site is guarded.
    pub guards: Vec<Guard>,
    /// How long it may take to find out who somebody is.
    pub patience: Span,
    /// How long before its end a client is told of it.
    pub warning: Span,
    /// How long a password is not hashed again.
    pub remember: Span,
    /// How many such passwords, on each shard.
    pub remember_max: usize,
}

/// What came of a first look.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing was shown that would prove anybody.
    Nothing,
    /// It was told at once.
    Told(Verdict),
    /// A password, which takes time.
    Password(Basic),
    /// Somebody must be asked.
    Ask(usize),
}

/// What takes time to find out.
#[derive(Debug)]
pub struct Question {
    /// Whose connection waits.
    pub conn: ConnKey,
    /// Which of the questions about it this is.
    pub serial: u32,
    /// By whose rules.
    pub office: Arc<Office>,
    /// Now, in seconds since 1970.
    pub unix_seconds: u64,
    /// What is asked.
    pub matter: Matter,
}

/// What is asked.
#[derive(Debug)]
pub enum Matter {
    /// Whether a password is right, and under which tag it is remembered then.
    Password(Basic, Tag),
    /// What the helper of that index says of a client.
    Helper(usize, Box<Evidence>),
}

/// What was found.
#[derive(Debug)]
pub struct Finding {
    /// Whose connection waits.
    pub conn: ConnKey,
    /// Of which question.
    pub serial: u32,
    /// Under which a right password is remembered.
    pub tag: Option<Tag>,
    /// What it is.
    pub verdict: Verdict,
}

impl Question {
    /// The answer to it.
    pub fn found(&self, verdict: Verdict) -> Finding {
        let tag = match &self.matter {
            Matter::Password(_, tag) => Some(*tag),
            Matter::Helper(..) => None,
        };
        Finding { conn: self.conn, serial: self.serial, tag, verdict }
    }
}

impl Office {
    /// The way that a client names by `auth=`.
    ///
    /// # Errors
    ///
    /// When there is no such script or program.
    pub fn way_named(&self, name: &str) -> Result<Way, Refusal> {
        let index = self.helpers.iter().position(|helper| helper.name == name);
        let unknown = || Refusal::Unknown("auth names no script or program of this server".into());
        index.map(Way::Helper).ok_or_else(unknown)
    }

    /// The ways into a path of the web site; `None` if anybody may see it. Of guards that fit, the
    /// longest counts.
    pub fn ways_into(&self, path: &str) -> Option<&[Way]> {
        let fitting = self.guards.iter().filter(|guard| is_under(path, &guard.prefix));
        fitting.max_by_key(|guard| guard.prefix.len()).map(|guard| &guard.ways[..])
    }

    /// Looks at what a client shows: the value of `Authorization`, and what TLS says.
    pub fn look(
        &self,
        ways: &[Way],
        authorization: Option<&str>,
        secured: Option<&Secured>,
        unix_seconds: u64,
    ) -> Look {
        let asked = ways.iter().find_map(|way| match way {
            Way::Helper(index) => Some(*index),
            _ => None,
        });
        let is_way = |way| ways.contains(&way);
        let shown = authorization.map_or(Shown::Other, basic::read);
        match (shown, &self.users, &self.tokens) {
            (Shown::Basic(basic), Some(_), _) if is_way(Way::Basic) => {
                return Look::Password(basic);
            }
            (Shown::Bearer(token), _, Some(tokens)) if is_way(Way::Token) => {
                let checked = tokens.check(&token, unix_seconds).map(Proof::from);
                let told = checked.map_err(|fault| Refusal::Unproved {
                    challenge: self.challenge(ways, Some(fault.words())),
                    detail: fault.words().into(),
                });
                return Look::Told(told);
            }
            (Shown::Broken(Scheme::Basic), Some(_), _) if is_way(Way::Basic) => {
                return Look::Told(Err(self.unproved(ways, "Authorization is no NAME:PASSWORD")));
            }
            (Shown::Broken(Scheme::Bearer), _, Some(_)) if is_way(Way::Token) => {
                return Look::Told(Err(self.unproved(ways, "Authorization is no token")));
            }
            _ => {}
        }
        if is_way(Way::Certificate)
            && let Some(identity) = self.certified(secured, unix_seconds)
        {
            return Look::Told(Ok(identity.into()));
        }
        asked.map_or(Look::Nothing, Look::Ask)
    }

    /// Whose certificate the connection has shown.
    fn certified(&self, secured: Option<&Secured>, unix_seconds: u64) -> Option<Identity> {
        let identity = secured?.certificate.as_ref()?.identity(self.naming)?;
        identity.expires.is_none_or(|expires| expires > unix_seconds).then_some(identity)
    }

    /// Whether the password is right. Slow.
    pub fn prove(&self, shown: &Basic) -> Verdict {
        let fits =
            self.users.as_ref().is_some_and(|users| users.verify(&shown.user, &shown.password));
        let identity = Identity::new(shown.user.as_str(), Means::Basic).filter(|_| fits);
        let wrong = || self.unproved(&[Way::Basic], "name or password is wrong");
        identity.map(Proof::from).ok_or_else(wrong)
    }

    /// 401 with what would help.
    pub fn unproved(&self, ways: &[Way], detail: &str) -> Refusal {
        Refusal::Unproved { challenge: self.challenge(ways, None), detail: detail.into() }
    }

    /// The value of `WWW-Authenticate` for these ways: those of RFC 7617 and RFC 6750, and for
    /// scripts, to which browsers show nothing that they would understand, a scheme of our own.
    fn challenge(&self, ways: &[Way], token_fault: Option<&str>) -> String {
        let realm = &self.realm;
        let mut challenges = Vec::new();
        for way in ways {
            match way {
                Way::Basic if self.users.is_some() => {
                    challenges.push(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
                }
                Way::Token if self.tokens.is_some() => {
                    let fault = token_fault.map(|words| {
                        format!(", error=\"invalid_token\", error_description=\"{words}\"")
                    });
                    let fault = fault.unwrap_or_default();
                    challenges.push(format!("Bearer realm=\"{realm}\"{fault}"));
                }
                Way::Helper(index) => {
                    let name = self.helpers.get(*index).map_or("", |helper| &helper.name);
                    challenges.push(format!("AHM realm=\"{realm}\", auth=\"{name}\""));
                }
                Way::Basic | Way::Token | Way::Certificate => {}
            }
        }
        if challenges.is_empty() {
            challenges.push(format!("AHM realm=\"{realm}\""));
        }
        challenges.join(", ")
    }

    /// Why somebody who shows nothing gets no session.
    pub fn demand(&self) -> Refusal {
        let helpers = (0..self.helpers.len()).map(Way::Helper);
        let ways: Vec<Way> = DIRECT.into_iter().chain(helpers).collect();
        self.unproved(&ways, "this server wants to know who its clients are")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::token_key::TokenKey;

    fn office() -> Office {
        let hash = bcrypt::hash("secret", 4).unwrap();
        let secret = TokenKey::parse_file(&[b'k'; 40]).unwrap();
        Office {
            realm: "ahm".into(),
            users: Some(Htpasswd::parse(&format!("anna:{hash}")).unwrap()),
            tokens: Some(Tokens {
                keys: vec![secret],
                issuer: None,
                audience: vec![],
                leeway: 0,
                user_claim: "sub".into(),
                groups_claim: "groups".into(),
            }),
            helpers: vec![Helper {
                name: "site".into(),
                kind: HelperKind::Script { target: "/who".into(), post: true },
            }],
            guards: vec![
                Guard { prefix: "/a/".into(), ways: vec![Way::Basic] },
                Guard { prefix: "/a/b/".into(), ways: vec![Way::Helper(0)] },
            ],
            ..Office::default()
        }
    }

    fn challenge(look: Look) -> String {
        match look {
            Look::Told(Err(Refusal::Unproved { challenge, .. })) => challenge,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_scheme_is_looked_at_where_it_is_a_way() {
        let office = office();
        let basic = "Basic YW5uYTpzZWNyZXQ=";
        let look = |ways: &[Way], field: Option<&str>| office.look(ways, field, None, 0);
        assert!(
            matches!(look(&DIRECT, Some(basic)), Look::Password(shown) if shown.user == "anna")
        );
        assert_eq!(look(&[Way::Token], Some(basic)), Look::Nothing);
        assert_eq!(look(&[Way::Helper(0)], Some(basic)), Look::Ask(0));
        assert_eq!(look(&DIRECT, None), Look::Nothing);
        assert_eq!(look(&DIRECT, Some("Digest x")), Look::Nothing);
        assert_eq!(look(&[Way::Basic, Way::Helper(0)], None), Look::Ask(0));
        assert_eq!(
            challenge(look(&DIRECT, Some("Bearer a.b.c"))),
            "Basic realm=\"ahm\", charset=\"UTF-8\", Bearer realm=\"ahm\", \
             error=\"invalid_token\", error_description=\"this is no signed token\""
        );
        assert_eq!(
            challenge(look(&[Way::Basic], Some("Basic !"))),
            "Basic realm=\"ahm\", charset=\"UTF-8\""
        );
        let bare = Office::default();
        assert_eq!(bare.look(&DIRECT, Some(basic), None, 0), Look::Nothing);
        assert_eq!(bare.look(&DIRECT, Some("Bearer a"), None, 0), Look::Nothing);
    }

    #[test]
    fn a_password_is_proved_and_a_wrong_one_is_told() {
        let office = office();
        let shown = |password: &str| Basic { user: "anna".into(), password: password.into() };
        let proof = office.prove(&shown("secret")).unwrap();
        assert_eq!((proof.identity.user.as_str(), proof.identity.means), ("anna", Means::Basic));
        assert!(matches!(office.prove(&shown("other")), Err(Refusal::Unproved { .. })));
    }

    #[test]
    fn the_longest_guard_counts() {
        let office = office();
        assert_eq!(office.ways_into("/c"), None);
        assert_eq!(office.ways_into("/a/x"), Some(&[Way::Basic][..]));
        assert_eq!(office.ways_into("/a/b/x"), Some(&[Way::Helper(0)][..]));
        assert_eq!(office.way_named("site"), Ok(Way::Helper(0)));
        assert!(matches!(office.way_named("other"), Err(Refusal::Unknown(_))));
        let Refusal::Unproved { challenge, .. } = office.demand() else { panic!() };
        assert!(challenge.ends_with("AHM realm=\"ahm\", auth=\"site\""), "{challenge}");
    }
}
