//! Who a client is, once it has proved it.

use crate::base::limits::USER_BYTES_MAX;

/// How a client has proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Means {
    /// A certificate, when its TLS connection was made.
    Certificate,
    /// A name and a password: HTTP Basic (RFC 7617).
    Basic,
    /// A signed bearer token (RFC 6750, RFC 7519).
    Token,
    /// What a script on the web server, or a local program, has said of it.
    Script,
    /// The web server has made the session for it, over the private listener.
    Control,
}

impl Means {
    /// The word in logs and answers.
    ///
    /// ```
    /// use ahm::auth::identity::Means;
    /// assert_eq!(Means::Basic.word(), "basic");
    /// ```
    pub const fn word(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Basic => "basic",
            Self::Token => "token",
            Self::Script => "script",
            Self::Control => "control",
        }
    }
}

/// Who a client is. It holds no secret: passwords and tokens end where they are checked.
///
/// ```
/// use ahm::auth::identity::{Identity, Means};
/// let anna = Identity::new("anna", Means::Basic).unwrap();
/// assert!(anna.groups.is_empty() && anna.rights.is_none());
/// assert!(Identity::new("", Means::Basic).is_none());
/// assert!(Identity::new("two\nlines", Means::Basic).is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name: 1 to [`USER_BYTES_MAX`] bytes without control characters.
    pub user: String,
    /// The groups that it belongs to, by the same rule.
    pub groups: Vec<String>,
    /// Patterns of the topics that it may open at all, `RESOURCE/SUBJECT` with `*` for any run of
    /// characters; `None` leaves that to the access lists, which are asked in any case.
    pub rights: Option<Vec<String>>,
    /// When it ends, in seconds since 1970; `None`: with its session.
    pub expires: Option<u64>,
    /// How it was proved.
    pub means: Means,
}

impl Identity {
    /// Somebody of that name, without groups; `None` if that is no name.
    pub fn new(user: impl Into<String>, means: Means) -> Option<Self> {
        let user = user.into();
        let is_name =
            !user.is_empty() && user.len() <= USER_BYTES_MAX && !user.chars().any(char::is_control);
        is_name.then_some(Self { user, groups: Vec::new(), rights: None, expires: None, means })
    }
}
