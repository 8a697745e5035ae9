//! The connection of a blocking publisher, by TLS where its server is spoken to so.

use std::io;

use crate::base::time::Span;
use crate::reactor::beyond::{Beyond, Papers, Trust, unproved};
use crate::resource::batch::Batch;
use crate::resource::caller::Caller;
use crate::resource::outcome::PostError;
use crate::resource::post::Publisher;

impl Publisher {
    /// By TLS believes, and shows, what `trust` says; else what the system believes, and nothing.
    #[must_use]
    pub fn trusting(mut self, trust: Option<Trust>) -> Self {
        self.trust = trust;
        self
    }

    /// A connection with nothing outstanding.
    pub(crate) fn connect(&mut self, batch: &mut Batch) -> Result<&mut Caller, PostError> {
        if self.caller.as_ref().is_some_and(Caller::is_stale) {
            self.caller = None;
        }
        while self.caller.is_none() {
            let beyond = self.beyond().map_err(|error| PostError::GaveUp(error.to_string()))?;
            match Caller::connect(&self.server, beyond.clone(), self.settings.timeout) {
                Ok(caller) => self.caller = Some(caller),
                Err(error) => {
                    if let Some(words) = beyond.and_then(|beyond| unproved(&beyond, &error)) {
                        return Err(PostError::GaveUp(words));
                    }
                    let why = format!("{}: {error}", self.server);
                    self.wait(batch, Span::ZERO, &why)?;
                }
            }
        }
        self.caller.as_mut().ok_or_else(|| PostError::GaveUp("no connection".into()))
    }

    /// Who is spoken to by TLS, if the server is.
    fn beyond(&mut self) -> io::Result<Option<Beyond>> {
        if !self.server.is_secure() {
            return Ok(None);
        }
        let trust = match self.trust.take() {
            Some(trust) => trust,
            None => Trust::new(&Papers::default())?,
        };
        self.trust.insert(trust).beyond(self.server.host()).map(Some)
    }
}
