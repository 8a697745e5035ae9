//! An authority, and what it certifies: processes that are dialled and dial.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

use ahm::reactor::beyond::Papers;
use ahm::resource::protection::Protection;

/// One. Its directory goes with it.
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ahm-links-{}-{count}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    /// Its own certificate.
    pub fn file(&self) -> String {
        self.path("ca.pem")
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_string()
    }

    /// The files of a certificate for a process of that name or address, and of its key.
    pub fn issue(&self, file: &str, name: &str) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.try_into().unwrap()),
        }];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = (self.path(&format!("{file}.pem")), self.path(&format!("{file}.key")));
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    /// TLS of a process of that name, which believes this authority on both sides.
    pub fn protection(&self, name: &str) -> Protection {
        let (chain, key) = self.issue(&format!("of-{name}"), name);
        let papers = Papers {
            authorities: Some(self.file().into()),
            server_name: None,
            certificate: Some(chain.into()),
            key: Some(key.into()),
        };
        Protection::read(&papers, Some(self.file().as_ref())).unwrap()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // What cannot be removed is in the directory for such things.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
