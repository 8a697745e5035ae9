//! Certificates that are replaced while the server runs: their files are watched, and read again
//! when they have changed or somebody asks for it. Whoever is connected notices nothing. Passwords
//! and keys of tokens are read again when somebody asks for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::base::time::Span;
use crate::reactor::front::Front;
use crate::server::config::{AuthConfig, Config, Listen, TlsConfig};
use crate::server::handle::put;
use crate::shard::mail::Mail;
use crate::shard::mailbox::Sender;

/// What is needed to read them again.
#[derive(Debug)]
pub(crate) struct Renewal {
    tls: TlsConfig,
    auth: AuthConfig,
    listen: Vec<Listen>,
    pub(crate) shards: Vec<Sender<Mail>>,
}

impl Renewal {
    pub(crate) fn new(config: &Config, shards: Vec<Sender<Mail>>) -> Self {
        let (tls, auth) = (config.tls.clone(), config.auth.clone());
        Self { tls, auth, listen: config.listen.clone(), shards }
    }

    /// What the listeners do, as the files are now.
    pub(crate) fn fronts(&self) -> io::Result<Arc<[Option<Arc<Front>>]>> {
        self.tls.fronts(&self.listen)
    }

    fn is_needed(&self) -> bool {
        self.listen.iter().any(|one| one.tls.is_some())
    }

    /// Reads all files again; where one cannot be used everything stays as it was.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let office = self.auth.office()?;
        if self.is_needed() {
            self.renew_fronts()?;
        }
        let Some(office) = office else { return Ok(()) };
        for shard in &self.shards {
            // Likewise.
            let _ = put(shard, Mail::Office(Arc::clone(&office)));
        }
        log::info!("passwords and keys of tokens were read again");
        Ok(())
    }

    fn renew_fronts(&self) -> io::Result<()> {
        let fronts = self.fronts()?;
        for shard in &self.shards {
            // One that is gone needs none.
            let _ = put(shard, Mail::Certificates(Arc::clone(&fronts)));
        }
        log::info!("certificates were read again");
        Ok(())
    }

    /// Looks at the files now and then, until that is dropped; `None` where there is nothing to
    /// look at.
    pub(crate) fn watch(self: &Arc<Self>) -> io::Result<Option<Watch>> {
        if !self.is_needed() || self.tls.watch == Span::ZERO {
            return Ok(None);
        }
        let (renewal, over) = (Arc::clone(self), Arc::new(AtomicBool::new(false)));
        let until = Arc::clone(&over);
        let thread = std::thread::Builder::new()
            .name("certificates".into())
            .spawn(move || renewal.look_until(&until))?;
        Ok(Some(Watch { over, thread: Some(thread) }))
    }

    fn look_until(&self, over: &AtomicBool) {
        let every = Duration::from_nanos(self.tls.watch.as_nanos());
        let mut known = self.tls.files();
        while !over.load(Ordering::Acquire) {
            std::thread::park_timeout(every);
            let found = self.tls.files();
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
