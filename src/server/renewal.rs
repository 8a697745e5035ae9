//! Certificates that are replaced while the server runs: their files are watched, and read again
//! when they have changed or somebody asks for it. Whoever is connected notices nothing. Passwords
//! and tokens are read again when somebody asks for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::base::time::Span;
use crate::link::address::Address;
use crate::resource::protection::Protection;
use crate::server::config::Config;
use crate::server::handle::put;
use crate::server::tls::{Clients, Fronts};
use crate::shard::mail::Mail;
use crate::shard::mailbox::Sender;

/// What is needed to read them again.
#[derive(Debug)]
pub(crate) struct Renewal {
    config: Config,
    /// TLS of the resource protocol.
    protection: Protection,
    pub(crate) shards: Vec<Sender<Mail>>,
}

impl Renewal {
    pub(crate) fn new(config: &Config, shards: Vec<Sender<Mail>>, protection: Protection) -> Self {
        Self { config: config.clone(), protection, shards }
    }

    /// Reads the files of TLS, to say what is wrong with them.
    fn try_files(&self) -> io::Result<()> {
        self.fronts()?;
        self.config.registry.sides(&self.config.tls)?;
        self.config.relay.beyond().map(drop)
    }

    /// What the listeners do, as the files are now.
    pub(crate) fn fronts(&self) -> io::Result<Fronts> {
        let Config { tls, listen, private_listen, .. } = &self.config;
        tls.fronts_of(listen, (private_listen, &Clients::of_private(&self.config)))
    }

    fn is_needed(&self) -> bool {
        let Config { listen, private_listen, registry, .. } = &self.config;
        let doors = registry.listen.iter().chain(&registry.guests);
        listen.iter().chain(private_listen).any(|one| one.tls.is_some())
            || doors.into_iter().any(Address::is_secure)
            || !registry.authorities.is_empty()
    }

    /// Reads all files again; where one cannot be used everything stays as it was.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let (office, passes) = (self.config.auth.office()?, self.config.shared_passes()?);
        if self.is_needed() {
            self.renew_fronts()?;
        }
        if !passes.is_empty() {
            self.tell_all(|| Mail::Passes(Arc::clone(&passes)));
            log::info!("{} was read again", self.config.token_file);
        }
        if let Some(office) = office {
            self.tell_all(|| Mail::Office(Arc::clone(&office)));
            log::info!("passwords and keys of tokens were read again");
        }
        Ok(())
    }

    fn tell_all(&self, mail: impl Fn() -> Mail) {
        for shard in &self.shards {
            // One that is gone needs none.
            let _ = put(shard, mail());
        }
    }

    fn renew_fronts(&self) -> io::Result<()> {
        let (fronts, sides) = (self.fronts()?, self.config.registry.sides(&self.config.tls)?);
        self.protection.replace(sides.0, sides.1);
        self.tell_all(|| Mail::Certificates(Arc::clone(&fronts)));
        log::info!("certificates were read again");
        Ok(())
    }

    /// Looks at the files now and then, until that is dropped; `None` where there is nothing to
    /// look at.
    pub(crate) fn watch(self: &Arc<Self>) -> io::Result<Option<Watch>> {
        if !self.is_needed() || self.config.tls.watch == Span::ZERO {
            return Ok(None);
        }
        let (renewal, over) = (Arc::clone(self), Arc::new(AtomicBool::new(false)));
        let until = Arc::clone(&over);
        let thread = std::thread::Builder::new()
            .name("certificates".into())
            .spawn(move || renewal.look_until(&until))?;
        Ok(Some(Watch { over, thread: Some(thread) }))
    }

    /// All files that are watched, with the moment of their last change.
    fn files(&self) -> Vec<(PathBuf, Option<SystemTime>)> {
        let clients = [Clients::of_public(&self.config.tls), Clients::of_private(&self.config)];
        let of_clients = clients.iter().flat_map(Clients::files);
        let of_links = self.config.registry.files();
        let all = self.config.tls.files().chain(of_clients).chain(of_links).map(|path| {
            let changed = std::fs::metadata(path).and_then(|about| about.modified());
            (path.into(), changed.ok())
        });
        all.collect()
    }

    fn look_until(&self, over: &AtomicBool) {
        let every = Duration::from_nanos(self.config.tls.watch.as_nanos());
        let mut known = self.files();
        while !over.load(Ordering::Acquire) {
            std::thread::park_timeout(every);
            let found = self.files();
            if found == known || over.load(Ordering::Acquire) {
                continue;
            }
            match self.renew_fronts() {
                Ok(()) => known = found,
                // Maybe only one of two files is there yet; they are looked at again.
                Err(error) => log::error!("certificates stay as they are: {error}"),
            }
        }
    }
}

impl Config {
    /// Reads the files of TLS that it names, and forgets them.
    ///
    /// # Errors
    ///
    /// Which cannot be read or used, and why.
    ///
    /// ```
    /// use ahm::server::config::Config;
    /// let mut config = Config::default();
    /// assert!(config.try_tls_files().is_ok());
    /// config.registry.authorities = "/no/such/file".into();
    /// assert!(config.try_tls_files().unwrap_err().to_string().contains("/no/such/file"));
    /// ```
    pub fn try_tls_files(&self) -> io::Result<()> {
        Renewal::new(self, Vec::new(), Protection::default()).try_files()
    }
}

/// A thread that looks at files; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic.
            let _ = thread.join();
        }
    }
}
