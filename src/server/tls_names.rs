//! The names in a certificate of ours, and how long it is good.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// From so many days before its end on the operator is told.
const WARN_DAYS: i64 = 14;

/// What a certificate says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// The DNS names that it is for, `*.` for any one label.
    pub(crate) dns: Vec<String>,
    /// When it begins and ends to be good, in seconds since 1970.
    valid: (i64, i64),
}

/// Reads a certificate (DER, RFC 5280).
pub(crate) fn read_names(der: &[u8]) -> Result<Names, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let mut dns = Vec::new();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            if let GeneralName::DNSName(name) = name {
                dns.push((*name).to_string());
            }
        }
    }
    let valid = certificate.validity();
    Ok(Names { dns, valid: (valid.not_before.timestamp(), valid.not_after.timestamp()) })
}

impl Names {
    /// Tells the operator of a certificate that is not good any more, or soon.
    pub(crate) fn warn_of_age(&self, path: &str) {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = since.map_or(0, |since| since.as_secs() as i64);
        if let Some(what) = self.complaint(now) {
            log::warn!("{path}: {what}");
        }
    }

    fn complaint(&self, now: i64) -> Option<String> {
        let (from, to) = self.valid;
        let days = (to - now) / 86_400;
        if now < from {
            Some("the certificate is not good yet: clients will refuse it".into())
        } else if now > to {
            Some("the certificate is not good any more: clients will refuse it".into())
        } else if days < WARN_DAYS {
            Some(format!("the certificate ends in {days} days"))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_certificate_is_told() {
        let names = Names { dns: vec![], valid: (100, 100 + 100 * 86_400) };
        assert!(names.complaint(99).unwrap().contains("not good yet"));
        assert_eq!(names.complaint(100), None);
        assert_eq!(names.complaint(100 + 95 * 86_400).unwrap(), "the certificate ends in 5 days");
        assert!(names.complaint(101 + 100 * 86_400).unwrap().contains("not good any more"));
    }

    #[test]
    fn names_are_those_of_the_certificate() {
        let made = rcgen::generate_simple_self_signed(vec![
            "a.example".into(),
            "*.b.example".into(),
            "127.0.0.1".into(),
        ]);
        let names = read_names(made.unwrap().cert.der()).unwrap();
        assert_eq!(names.dns, ["a.example", "*.b.example"]);
        for end in 0..40 {
            assert!(read_names(&vec![0x30; end]).is_err());
        }
    }
}
