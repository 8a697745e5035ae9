//! URLs that clients know and those that web servers know: the one becomes the other on the way in,
//! and the other way round on the way out.

use std::fmt;
use std::str::FromStr;

use crate::http::target::Authority;

/// Where URLs begin, on one side: `HOST/PATH/` or `/PATH/` on every host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The host, in lower case, with its port if one is written; `None` for every host.
    pub host: Option<String>,
    /// The path; begins and ends with a slash.
    pub path: String,
}

/// What clients ask for under one prefix is found under another one by the web server.
///
/// ```
/// use ahm::relay::mapping::Rule;
/// let rule: Rule = "partner.example/shop/ => /app/".parse().unwrap();
/// assert_eq!(rule.inner.path, "/app/");
/// assert!("/shop => /app/".parse::<Rule>().is_err(), "prefixes end with a slash");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What clients know.
    pub public: Prefix,
    /// What the web server knows.
    pub inner: Prefix,
}

/// A text is no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError(String);

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(
            f,
            "{text:?} is no rule: give [HOST]/PATH/ => [HOST]/PATH/, each with its last slash"
        )
    }
}

impl std::error::Error for RuleError {}

impl FromStr for Prefix {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (host, path) = text.split_at(text.find('/').ok_or(())?);
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\\\"<>".contains(&byte);
        let has_dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
        let fits = path.ends_with('/') && !path.contains("//") && path.bytes().all(is_plain);
        if !fits || has_dots || (!host.is_empty() && Authority::parse(host).is_none()) {
            return Err(());
        }
        let host = (!host.is_empty()).then(|| host.to_ascii_lowercase());
        Ok(Self { host, path: path.to_string() })
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let wrong = || RuleError(text.to_string());
        let (public, inner) = text.split_once("=>").ok_or_else(wrong)?;
        let prefix = |text: &str| text.trim().parse().map_err(|()| wrong());
        Ok(Self { public: prefix(public)?, inner: prefix(inner)? })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host.as_deref().unwrap_or_default(), self.path)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} => {}", self.public, self.inner)
    }
}

impl Prefix {
    fn has_host(&self, host: &str) -> bool {
        self.host.as_deref().is_none_or(|own| is_same_host(own, host))
    }

    /// What of `path` follows the prefix; the prefix without its slash counts too.
    fn rest_of<'p>(&self, path: &'p str) -> Option<&'p str> {
        let bare = &self.path[..self.path.len() - 1];
        let is_bare = path.len() == bare.len() && !bare.is_empty() && path == bare;
        if is_bare { Some("") } else { path.strip_prefix(self.path.as_str()) }
    }

    /// The path of what follows; without the last slash where the other one had none.
    fn join(&self, rest: &str, bare: bool) -> String {
        let own = if bare && self.path.len() > 1 {
            &self.path[..self.path.len() - 1]
        } else {
            self.path.as_str()
        };
        format!("{own}{rest}")
    }
}

/// Whether an authority names this host: by its name alone where the rule says no port.
fn is_same_host(own: &str, other: &str) -> bool {
    if own.eq_ignore_ascii_case(other) {
        return true;
    }
    let (own, other) = (Authority::parse(own), Authority::parse(other));
    let (Some(own), Some(other)) = (own, other) else { return false };
    own.port.is_none() && own.host.eq_ignore_ascii_case(other.host)
}

/// A request as the web server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The path.
    pub path: String,
    /// The host, where the rule has one.
    pub host: Option<String>,
}

/// The index of the rule that holds for a request, if any: of those that fit the one with the
/// longest prefix, and among those one that names a host.
pub fn rule_for(rules: &[Rule], host: Option<&str>, path: &str) -> Option<usize> {
    let fits = |(_, rule): &(usize, &Rule)| {
        rule.public.rest_of(path).is_some() && rule.public.has_host(host.unwrap_or_default())
    };
    let fitting = rules.iter().enumerate().filter(fits);
    let best = fitting.max_by_key(|(_, rule)| (rule.public.path.len(), rule.public.host.is_some()));
    best.map(|(at, _)| at)
}

impl Rule {
    /// How the web server is asked for `path`, which the rule fits.
    pub fn inward(&self, path: &str) -> Mapped {
        let rest = self.public.rest_of(path).unwrap_or_default();
        let path = self.inner.join(rest, !path.ends_with('/') && rest.is_empty());
        Mapped { path, host: self.inner.host.clone() }
    }
}

/// What a request was, for what comes back.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// All rules.
    pub rules: &'a [Rule],
    /// The rule that the request was mapped by, if any.
    pub used: Option<&'a Rule>,
    /// `http` or `https`: how the client has asked.
    pub scheme: &'a str,
    /// The host that the client has asked for.
    pub client_host: &'a str,
    /// The host that the web server was asked for.
    pub inner_host: &'a str,
}

impl Way<'_> {
    /// What a client should see instead of a URL of the web server's; `None`: the same.
    pub fn outward(&self, url: &str) -> Option<String> {
        let (host, path) = take_apart(url)?;
        if host.is_some_and(|host| host.is_empty()) {
            return None;
        }
        let end = path.find(['?', '#']).unwrap_or(path.len());
        let (path, tail) = path.split_at(end);
        let path = if path.is_empty() { "/" } else { path };
        let Some((rule, rest)) = self.rule_back(host, path) else {
            // No rule of ours, but the web server's own name is nothing for clients.
            let own = host.is_some_and(|host| is_same_host(self.inner_host, host));
            let differs = !self.inner_host.eq_ignore_ascii_case(self.client_host);
            let seen = || format!("{}://{}{path}{tail}", self.scheme, self.client_host);
            return (own && differs && self.used.is_some()).then(seen);
        };
        let mapped = rule.public.join(rest, !path.ends_with('/') && rest.is_empty());
        let public = rule.public.host.as_deref();
        let elsewhere = public.filter(|public| !is_same_host(public, self.client_host));
        Some(match (elsewhere, host) {
            (Some(public), _) => format!("{}://{public}{mapped}{tail}", self.scheme),
            (None, Some(_)) => format!("{}://{}{mapped}{tail}", self.scheme, self.client_host),
            (None, None) => format!("{mapped}{tail}"),
        })
    }

    /// The rule whose inner side a URL is of, and what follows its prefix.
    fn rule_back<'p>(&self, host: Option<&str>, path: &'p str) -> Option<(&Rule, &'p str)> {
        let fits = |rule: &&Rule| {
            let of_host = match (&rule.inner.host, host) {
                (Some(own), host) => is_same_host(own, host.unwrap_or(self.inner_host)),
                (None, Some(host)) => is_same_host(self.inner_host, host),
                (None, None) => true,
            };
            of_host && rule.inner.rest_of(path).is_some()
        };
        let is_used = |rule: &Rule| self.used.is_some_and(|used| used == rule);
        let rule = self
            .rules
            .iter()
            .filter(fits)
            .max_by_key(|rule| (rule.inner.path.len(), is_used(rule)))?;
        Some((rule, rule.inner.rest_of(path)?))
    }

    /// The value of `Refresh`: seconds, and a URL.
    pub fn refresh(&self, value: &str) -> Option<String> {
        let at = value.to_ascii_lowercase().find("url=")? + "url=".len();
        let (before, url) = value.split_at(at);
        let bare = url.trim().trim_matches(['"', '\'']);
        self.outward(bare)
            .map(|mapped| url.replacen(bare, &mapped, 1))
            .map(|url| before.to_owned() + &url)
    }

    /// The value of `Link`: URLs in angle brackets.
    pub fn link(&self, value: &str) -> Option<String> {
        let (mut out, mut rest, mut any) = (String::new(), value, false);
        while let Some((before, after)) = rest.split_once('<') {
            let Some((url, behind)) = after.split_once('>') else { break };
            let mapped = self.outward(url);
            any |= mapped.is_some();
            out.push_str(&format!("{before}<{}>", mapped.as_deref().unwrap_or(url)));
            rest = behind;
        }
        out.push_str(rest);
        any.then_some(out)
    }

    /// The value of `Set-Cookie`: its path is one that clients see, and it is of the host that they
    /// have asked.
    pub fn cookie(&self, value: &str) -> Option<String> {
        let rule = self.used?;
        let mut parts = value.split(';');
        let mut out = parts.next()?.to_string();
        let mut any = false;
        for part in parts {
            let (name, text) = part.split_once('=').unwrap_or((part, ""));
            let text = text.trim();
            if name.trim().eq_ignore_ascii_case("path") {
                let mapped = match self.outward(text) {
                    Some(path) if path.starts_with('/') => path,
                    // For more than the prefix: all of it that clients see.
                    _ if rule.inner.path.starts_with(text) => rule.public.path.clone(),
                    _ => text.to_string(),
                };
                any |= mapped != text;
                out.push_str(&format!("; Path={mapped}"));
            } else if name.trim().eq_ignore_ascii_case("domain") && self.is_inner_domain(text) {
                // Without it the cookie is of the host that was asked.
                any = true;
            } else {
                out.push(';');
                out.push_str(part);
            }
        }
        any.then_some(out)
    }

    fn is_inner_domain(&self, domain: &str) -> bool {
        let bare = |host: &str| Authority::parse(host).map(|a| a.host.to_ascii_lowercase());
        let Some(inner) = bare(self.inner_host) else { return false };
        let domain = domain.trim_start_matches('.').to_ascii_lowercase();
        let is_of = |host: &str| {
            host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
        };
        let outside = bare(self.client_host).is_some_and(|client| is_of(&client));
        !domain.is_empty() && is_of(&inner) && !outside
    }
}

/// Host, if there is one, and the rest of a URL that names a place by itself.
fn take_apart(url: &str) -> Option<(Option<&str>, &str)> {
    let after = match url.as_bytes() {
        [b'/', b'/', ..] => &url[2..],
        [b'/', ..] => return Some((None, url)),
        _ => {
            let (scheme, after) = url.split_once("://")?;
            let is_web =
                scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
            is_web.then_some(after)?
        }
    };
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    Some((Some(&after[..end]), &after[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn rules_are_read_and_written() {
        for text in ["/shop/ => /", "a.example/ => b.example:8080/app/", "[::1]/x/ => /y/z/"] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "/a/",
            "/a => /b/",
            "/a/ => /b",
            "a => b",
            "/a/ => /b/?x",
            "/a//b/ => /c/",
            "/a/../ => /b/",
            "u@a/ => /b/",
            "/a b/ => /c/",
            "/a/ -> /b/",
            "a,b/ => /c/",
        ] {
            assert!(text.parse::<Rule>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn requests_go_where_the_longest_prefix_leads() {
        let rules =
            rules(&["/shop/ => /", "/shop/old/ => /v1/", "p.example/shop/ => in.example/app/"]);
        for (host, path, expected) in [
            ("a", "/shop/x", Some(("/x", None))),
            ("a", "/shop/", Some(("/", None))),
            ("a", "/shop", Some(("/", None))),
            ("a", "/shop/old/x/y", Some(("/v1/x/y", None))),
            ("a", "/shop/old", Some(("/v1", None))),
            ("P.example:81", "/shop/x", Some(("/app/x", Some("in.example")))),
            ("p.example", "/shop", Some(("/app", Some("in.example")))),
            ("p.example", "/shop/old/x", Some(("/v1/x", None))),
            ("a", "/shopping", None),
            ("a", "/", None),
        ] {
            let mapped = rule_for(&rules, Some(host), path).map(|at| rules[at].inward(path));
            let expected = expected
                .map(|(path, host)| Mapped { path: path.into(), host: host.map(Into::into) });
            assert_eq!(mapped, expected, "{host} {path}");
        }
    }

    fn way<'a>(rules: &'a [Rule], used: usize, inner_host: &'a str) -> Way<'a> {
        let used = rules.get(used);
        Way { rules, used, scheme: "https", client_host: "www.example", inner_host }
    }

    #[test]
    fn what_comes_back_is_what_clients_know() {
        let rules = rules(&["/shop/ => in.example/app/", "p.example/ => in.example/partner/"]);
        let way = way(&rules, 0, "in.example");
        for (url, expected) in [
            ("/app/x?a=/app/#b", Some("/shop/x?a=/app/#b")),
            ("/app", Some("/shop")),
            ("/app?q", Some("/shop?q")),
            ("http://in.example/app/x", Some("https://www.example/shop/x")),
            ("//IN.example/app/x", Some("https://www.example/shop/x")),
            ("http://in.example/partner/y", Some("https://p.example/y")),
            ("/partner/y", Some("https://p.example/y")),
            ("http://in.example/other", Some("https://www.example/other")),
            ("http://in.example?q", Some("https://www.example/?q")),
            ("http://else.example/app/x", None),
            ("/apps", None),
            ("x/y", None),
            ("?q", None),
            ("#top", None),
            ("mailto:a@in.example", None),
            ("javascript://in.example/app/", None),
            ("http:///app/", None),
        ] {
            assert_eq!(way.outward(url).as_deref(), expected, "{url}");
        }
        let to = |value| way.refresh(value);
        assert_eq!(to("5; url=/app/x").as_deref(), Some("5; url=/shop/x"));
        assert_eq!(to("0;URL='/app/x'").as_deref(), Some("0;URL='/shop/x'"));
        assert_eq!(to("5"), None);
        let link = "</app/a.css>; rel=preload, <https://e.example/>; rel=x, </app/b>;rel=\"next\"";
        let mapped =
            "</shop/a.css>; rel=preload, <https://e.example/>; rel=x, </shop/b>;rel=\"next\"";
        assert_eq!(way.link(link).as_deref(), Some(mapped));
        assert_eq!(way.link("<x>; rel=y"), None);
    }

    #[test]
    fn cookies_are_of_the_host_and_path_that_clients_know() {
        let rules = rules(&["/shop/ => in.example/app/"]);
        let way = way(&rules, 0, "in.example:8080");
        for (cookie, expected) in [
            ("a=1; Path=/app/x; HttpOnly", Some("a=1; Path=/shop/x; HttpOnly")),
            ("a=1; path=/app", Some("a=1; Path=/shop")),
            ("a=1; Path=/", Some("a=1; Path=/shop/")),
            ("a=1; Domain=.in.example; Secure", Some("a=1; Secure")),
            ("a=1; Domain=in.example; Path=/app/", Some("a=1; Path=/shop/")),
            ("a=1; Domain=else.org", None),
            ("a=1; Domain=example", None),
            ("a=/app/; Path=/other", None),
            ("a=1", None),
        ] {
            assert_eq!(way.cookie(cookie).as_deref(), expected, "{cookie}");
        }
    }

    #[test]
    fn without_a_rule_nothing_is_changed() {
        let way = way(&[], 0, "in.example");
        assert_eq!(way.outward("http://in.example/x"), None);
        assert_eq!(way.outward("/x"), None);
        assert_eq!(way.cookie("a=1; Path=/; Domain=in.example"), None);
    }
}
