//! Threads that find out who clients are where that takes time, so that no shard waits: slow
//! hashes, scripts on the web server, programs.
//!
//! Both are bounded, the threads and the queue before them; and so is the time of each question,
//! from the moment when it was asked.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::auth::answer::{self, Answer};
use crate::auth::basic::Basic;
use crate::auth::evidence::Evidence;
use crate::auth::office::{HelperKind, Matter, Office, Way};
use crate::auth::verdict::{Proof, Refusal, Verdict};
use crate::base::time::{Instant, Span};
use crate::link::address::Address;
use crate::reactor::beyond::Beyond;
use crate::reactor::clock::Clock;
use crate::server::desk_program;
use crate::server::desk_script;
use crate::server::handle::put;
use crate::shard::asking::{Asking, Errand};
use crate::shard::mail::Mail;
use crate::shard::mailbox::Sender;

/// How often whoever waits looks whether the server ends.
const LOOK_EVERY: Span = Span::from_millis(100);
/// How long the end of the server waits for what is being asked.
const END_WITHIN: Duration = Duration::from_secs(2);
/// What a client hears of whoever says nothing.
const SILENT: &str = "whoever must say who you are does not answer";

/// What the desk works with.
#[derive(Clone, Debug)]
pub(crate) struct DeskSettings {
    /// How many threads.
    pub(crate) threads: usize,
    /// How many questions may wait for them.
    pub(crate) queue: usize,
    /// Where scripts are.
    pub(crate) servers: Vec<Address>,
    /// How they are spoken to by TLS, if they are.
    pub(crate) beyond: Option<Arc<Beyond>>,
    /// What web servers see as `Host`; `None`: what the client sent.
    pub(crate) host: Option<String>,
    /// How long a connect may take.
    pub(crate) connect_timeout: Span,
}

/// Until when something must be done, and whether it is still wanted.
#[derive(Clone, Copy)]
pub(crate) struct Until<'a> {
    clock: Clock,
    at: Instant,
    ended: &'a AtomicBool,
}

impl Until<'_> {
    /// How long one wait may be; `None` when the time is over.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let left = self.at.since(self.clock.now());
        let wanted = left > Span::ZERO && !self.ended.load(Ordering::Relaxed);
        wanted.then(|| Duration::from_nanos(left.min(LOOK_EVERY).as_nanos()))
    }

    /// All of the time that is left.
    pub(crate) fn left(&self) -> Duration {
        Duration::from_nanos(self.at.since(self.clock.now()).as_nanos())
    }
}

/// Common to the threads.
struct Shared {
    settings: DeskSettings,
    clock: Clock,
    shards: Vec<Sender<Mail>>,
    errands: Mutex<Receiver<Errand>>,
    ended: AtomicBool,
    /// How many threads are at work.
    busy: Mutex<usize>,
    rest: Condvar,
}

/// The threads. Dropping it ends what is being asked.
pub(crate) struct Desk(Arc<Shared>);

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Desk {
    /// Starts the threads. They end when the queue to them has no sender any more.
    pub(crate) fn start(
        settings: DeskSettings,
        clock: Clock,
        shards: Vec<Sender<Mail>>,
    ) -> io::Result<(Self, Asking)> {
        let (asking, errands) = sync_channel(settings.queue);
        let threads = settings.threads;
        let shared = Arc::new(Shared {
            settings,
            clock,
            shards,
            errands: Mutex::new(errands),
            ended: AtomicBool::new(false),
            busy: Mutex::new(0),
            rest: Condvar::new(),
        });
        for index in 0..threads {
            let shared = Arc::clone(&shared);
            let named = std::thread::Builder::new().name(format!("desk-{index}"));
            named.spawn(move || shared.work())?;
        }
        Ok((Self(shared), asking))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
        // Programs that were started are killed by those who wait for them.
        let busy = lock(&self.0.busy);
        let waited = self.0.rest.wait_timeout_while(busy, END_WITHIN, |busy| *busy > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn work(&self) {
        loop {
            let Ok(errand) = lock(&self.errands).recv() else { return };
            *lock(&self.busy) += 1;
            let verdict = self.judge(&errand);
            *lock(&self.busy) -= 1;
            self.rest.notify_all();
            let finding = errand.question.found(verdict);
            if let Some(shard) = self.shards.get(errand.shard.index()) {
                // One that is gone has no client that waits.
                let _ = put(shard, Errand::answer(finding));
            }
        }
    }

    fn judge(&self, errand: &Errand) -> Verdict {
        let question = &errand.question;
        let at = errand.asked + question.office.patience;
        let until = Until { clock: self.clock, at, ended: &self.ended };
        if until.wait().is_none() {
            return Err(Refusal::Busy);
        }
        match &question.matter {
            Matter::Password(shown, _) => question.office.prove(shown),
            Matter::Helper(index, evidence) => {
                self.ask(&question.office, *index, evidence, question.unix_seconds, until)
            }
        }
    }

    fn ask(
        &self,
        office: &Office,
        index: usize,
        evidence: &Evidence,
        unix_seconds: u64,
        until: Until<'_>,
    ) -> Verdict {
        let Some(helper) = office.helpers.get(index) else { return Err(Refusal::Silent(SILENT)) };
        let said = match &helper.kind {
            HelperKind::Script { target, post } => {
                let script = desk_script::Script { target, post: *post, settings: &self.settings };
                script.ask(evidence, until)
            }
            HelperKind::Program { path } => desk_program::run(path, evidence, until),
        };
        let said = said.and_then(|said| match said {
            Said::Answer(bytes) => answer::parse(&bytes, unix_seconds),
            Said::Refused(bytes, unproved) => match answer::parse(&bytes, unix_seconds) {
                Ok(refused @ Answer::Refused(_)) if !unproved => Ok(refused),
                Ok(Answer::Refused(reason)) => Ok(Answer::Unproved(reason)),
                _ if unproved => Ok(Answer::Unproved("you are not known".into())),
                _ => Ok(Answer::Refused("you may not".into())),
            },
        });
        match said {
            Ok(Answer::User { identity, password, key }) => {
                if let Some(password) = password {
                    office.prove(&Basic { user: identity.user.clone(), password })?;
                }
                Ok(Proof { identity: Arc::new(identity), key })
            }
            Ok(Answer::Refused(reason)) => Err(Refusal::Forbidden(reason)),
            Ok(Answer::Unproved(reason)) => Err(office.unproved(&[Way::Helper(index)], &reason)),
            Err(what) => {
                log::warn!("auth: {}: {what}", helper.name);
                Err(Refusal::Silent(SILENT))
            }
        }
    }
}

/// What came back from a script or a program.
pub(crate) enum Said {
    /// Its answer.
    Answer(Vec<u8>),
    /// That the client is not let in, maybe with the reason; and whether that is because it has
    /// proved nothing.
    Refused(Vec<u8>, bool),
}
