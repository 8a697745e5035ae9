//! A client's certificate, as TLS has verified it: what stands in it, and whose it is.

use std::fmt;

use ring::digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::auth::identity::{Identity, Means};

/// What TLS says of a connection. All connections without a certificate can share one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secured {
    /// What the client has shown.
    pub certificate: Option<Certificate>,
}

/// The end entity's certificate of a client whose chain was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// DER (RFC 5280).
    pub der: Box<[u8]>,
}

/// What of a certificate names its user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// Nothing: certificates prove no user.
    #[default]
    Off,
    /// The common name of its subject.
    CommonName,
    /// The first mail address among its alternative names.
    Email,
    /// The first DNS name among its alternative names.
    Dns,
    /// The whole subject, as in `CN=anna, O=Example`.
    Subject,
}

impl Naming {
    /// Every way.
    pub const ALL: [Self; 5] = [Self::Off, Self::CommonName, Self::Email, Self::Dns, Self::Subject];

    /// The word in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::CommonName => "cn",
            Self::Email => "email",
            Self::Dns => "dns",
            Self::Subject => "subject",
        }
    }
}

/// What stands in a certificate, for people and for scripts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its subject, as in `CN=anna, O=Example`.
    pub subject: String,
    /// The only common name of its subject.
    pub common_name: Option<String>,
    /// Whose word it is.
    pub issuer: String,
    /// Its number, in hexadecimal digits.
    pub serial: String,
    /// DNS names among its alternative names.
    pub dns: Vec<String>,
    /// Mail addresses among them.
    pub email: Vec<String>,
    /// URIs among them.
    pub uri: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
}

impl Certificate {
    /// What stands in it; `None` if it is no certificate.
    pub fn facts(&self) -> Option<Facts> {
        let (_, parsed) = X509Certificate::from_der(&self.der).ok()?;
        let subject = parsed.subject();
        let mut names = subject.iter_common_name();
        let common_name = names.next().filter(|_| names.next().is_none());
        let mut facts = Facts {
            subject: subject.to_string(),
            common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
            issuer: parsed.issuer().to_string(),
            serial: hexadecimal(parsed.raw_serial()),
            expires: u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0),
            ..Facts::default()
        };
        let others = parsed.subject_alternative_name().ok().flatten();
        for name in others.into_iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => facts.dns.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => facts.email.push((*name).to_owned()),
                GeneralName::URI(name) => facts.uri.push((*name).to_owned()),
                _ => {}
            }
        }
        Some(facts)
    }

    /// The SHA-256 of its bytes, in hexadecimal digits.
    ///
    /// ```
    /// use ahm::auth::certificate::Certificate;
    /// let nothing = Certificate { der: Box::default() };
    /// assert!(nothing.fingerprint().starts_with("e3b0c44298fc1c14"));
    /// assert!(nothing.facts().is_none());
    /// ```
    pub fn fingerprint(&self) -> String {
        hexadecimal(digest::digest(&digest::SHA256, &self.der).as_ref())
    }

    /// It as PEM (RFC 7468).
    pub fn pem(&self) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(&self.der);
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }

    /// Whose it is; it proves that as long as it is valid.
    pub fn identity(&self, naming: Naming) -> Option<Identity> {
        if naming == Naming::Off {
            return None;
        }
        let facts = self.facts()?;
        let name = match naming {
            Naming::Off => None,
            Naming::CommonName => facts.common_name,
            Naming::Email => facts.email.into_iter().next(),
            Naming::Dns => facts.dns.into_iter().next(),
            Naming::Subject => Some(facts.subject),
        };
        let identity = Identity::new(name?, Means::Certificate)?;
        Some(Identity { expires: Some(facts.expires), ..identity })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, SerialNumber};

    use super::*;

    fn made(edit: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::new(vec!["a.example".into()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "anna");
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.serial_number = Some(SerialNumber::from(vec![0x0a, 0xbc]));
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let email = "anna@example.org".try_into().unwrap();
        params.subject_alt_names.push(SanType::Rfc822Name(email));
        params.subject_alt_names.push(SanType::URI("urn:x:anna".try_into().unwrap()));
        edit(&mut params);
        let key = KeyPair::generate().unwrap();
        Certificate { der: params.self_signed(&key).unwrap().der().to_vec().into() }
    }

    #[test]
    fn a_certificate_says_who_it_is_of_in_each_way() {
        let certificate = made(|_| ());
        let facts = certificate.facts().unwrap();
        assert_eq!(facts.serial, "0abc");
        assert_eq!(facts.uri, ["urn:x:anna"]);
        assert_eq!(facts.expires, 2_208_988_800);
        for (naming, user) in [
            (Naming::Off, None),
            (Naming::CommonName, Some("anna")),
            (Naming::Email, Some("anna@example.org")),
            (Naming::Dns, Some("a.example")),
            (Naming::Subject, Some("CN=anna, O=Example")),
        ] {
            let identity = certificate.identity(naming);
            let found = identity.as_ref().map(|identity| identity.user.as_str());
            assert_eq!(found, user, "{}", naming.word());
            assert!(identity.is_none_or(|identity| identity.expires == Some(facts.expires)));
        }
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.pem().as_bytes()).unwrap();
        assert_eq!((pem.label.as_str(), &pem.contents[..]), ("CERTIFICATE", &*certificate.der));
    }

    #[test]
    fn who_is_named_twice_or_not_at_all_is_nobody() {
        let nameless = made(|params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.subject_alt_names.clear();
        });
        let broken = Certificate { der: Box::from(&b"\x30\x82\x01"[..]) };
        let control = made(|params| {
            params.distinguished_name.push(DnType::CommonName, "an\0na");
        });
        for certificate in [&nameless, &broken] {
            for naming in [Naming::CommonName, Naming::Email, Naming::Dns] {
                assert_eq!(certificate.identity(naming), None);
            }
        }
        assert_eq!(control.identity(Naming::CommonName), None);
    }
}
