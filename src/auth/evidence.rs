//! What a script on the web server, or a local program, is told of a client.

use std::net::SocketAddr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::auth::basic::Basic;
use crate::auth::certificate::Secured;
use crate::auth::secret::Secret;

/// All but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Everything that a client shows of itself with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Where its connection comes from.
    pub address: SocketAddr,
    /// The `Host` that it asked.
    pub host: Option<String>,
    /// What TLS says of its connection; `None` where that is plain.
    pub secured: Option<Arc<Secured>>,
    /// A name and a password.
    pub basic: Option<Basic>,
    /// A bearer token.
    pub token: Option<Secret>,
    /// Its cookies, as the field has them.
    pub cookie: Option<Secret>,
    /// What it calls itself.
    pub agent: Option<String>,
    /// The resource of its `login`.
    pub resource: Option<String>,
    /// The path that it wants of the web site, where that is guarded.
    pub path: Option<String>,
}

/// A name and its value.
pub type Pair = (&'static str, Zeroizing<String>);

impl Evidence {
    /// Names and values, in a fixed order; what there is not is left out. The certificate itself
    /// is long and stands at the end.
    ///
    /// ```
    /// use ahm::auth::evidence::Evidence;
    /// let evidence = Evidence::new("192.0.2.1:5000".parse().unwrap());
    /// let pairs = evidence.pairs();
    /// assert_eq!((pairs[0].0, pairs[0].1.as_str()), ("address", "192.0.2.1"));
    /// let form = "address=192.0.2.1&port=5000&transport=plain";
    /// assert_eq!(evidence.form(), form.to_string().into());
    /// ```
    pub fn pairs(&self) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = Vec::new();
        let mut put = |name, value: Option<&str>| {
            pairs.extend(value.map(|value| (name, Zeroizing::new(value.to_owned()))));
        };
        put("address", Some(&self.address.ip().to_string()));
        put("port", Some(&self.address.port().to_string()));
        put("transport", Some(if self.secured.is_some() { "tls" } else { "plain" }));
        put("host", self.host.as_deref());
        put("agent", self.agent.as_deref());
        put("resource", self.resource.as_deref());
        put("path", self.path.as_deref());
        put("user", self.basic.as_ref().map(|basic| basic.user.as_str()));
        put("password", self.basic.as_ref().map(|basic| basic.password.expose()));
        put("token", self.token.as_ref().map(Secret::expose));
        put("cookie", self.cookie.as_ref().map(Secret::expose));
        let certificate = self.secured.as_ref().and_then(|secured| secured.certificate.as_ref());
        let Some(certificate) = certificate else { return pairs };
        if let Some(facts) = certificate.facts() {
            put("certificate_subject", Some(&facts.subject));
            put("certificate_cn", facts.common_name.as_deref());
            put("certificate_issuer", Some(&facts.issuer));
            put("certificate_serial", Some(&facts.serial));
            let lists = [("dns", &facts.dns), ("email", &facts.email), ("uri", &facts.uri)];
            for (kind, names) in lists {
                let name = match kind {
                    "dns" => "certificate_dns",
                    "email" => "certificate_email",
                    _ => "certificate_uri",
                };
                put(name, Some(names.join(" ").as_str()).filter(|names| !names.is_empty()));
            }
            put("certificate_expires", Some(&facts.expires.to_string()));
        }
        put("certificate_sha256", Some(&certificate.fingerprint()));
        put("certificate_pem", Some(&certificate.pem()));
        pairs
    }

    /// Nothing but where it comes from.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            host: None,
            secured: None,
            basic: None,
            token: None,
            cookie: None,
            agent: None,
            resource: None,
            path: None,
        }
    }

    /// All of it as the body of a form.
    pub fn form(&self) -> Zeroizing<String> {
        encode(&self.pairs())
    }

    /// The same as a query, without the certificate itself, which no target has room for.
    pub fn query(&self) -> Zeroizing<String> {
        let mut pairs = self.pairs();
        pairs.retain(|(name, _)| *name != "certificate_pem");
        encode(&pairs)
    }

    /// The same as variables of a program's environment.
    pub fn environment(&self) -> Vec<(String, Zeroizing<String>)> {
        let pairs = self.pairs().into_iter();
        // The system has no way to say NUL.
        let pairs = pairs.filter(|(_, value)| !value.contains('\0'));
        pairs.map(|(name, value)| (format!("AHM_{}", name.to_uppercase()), value)).collect()
    }
}

fn encode(pairs: &[Pair]) -> Zeroizing<String> {
    let length = pairs.iter().map(|(name, value)| name.len() + 2 + 3 * value.len()).sum();
    // Room for all, so that no copy of a secret is left behind where it grew.
    let mut text = Zeroizing::new(String::with_capacity(length));
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.extend(utf8_percent_encode(value, ENCODED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_encoded_and_what_is_not_left_out() {
        let evidence = Evidence {
            basic: Some(Basic { user: "a&b".into(), password: "p=w d\u{e4}".into() }),
            cookie: Some("sid=1; x=\"2\"".into()),
            path: Some("/private/?q".into()),
            ..Evidence::new("[2001:db8::1]:9".parse().unwrap())
        };
        let wanted = "address=2001%3Adb8%3A%3A1&port=9&transport=plain&path=%2Fprivate%2F%3Fq\
            &user=a%26b&password=p%3Dw%20d%C3%A4&cookie=sid%3D1%3B%20x%3D%222%22";
        assert_eq!(evidence.form().as_str(), wanted);
        assert_eq!(evidence.query().as_str(), wanted);
        let shown = format!("{evidence:?}");
        assert!(!shown.contains("p=w") && !shown.contains("sid"), "{shown}");
        let environment = evidence.environment();
        let find = |name: &str| environment.iter().find(|(is, _)| is == name);
        assert_eq!(find("AHM_PASSWORD").unwrap().1.as_str(), "p=w d\u{e4}");
        assert!(find("AHM_TOKEN").is_none());
    }
}
