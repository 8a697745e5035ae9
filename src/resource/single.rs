//! Publishing one message by itself.

use crate::base::name::TopicName;
use crate::base::time::Span;
use crate::resource::batch::Batch;
use crate::resource::caller::Response;
use crate::resource::outcome::{PostError, Reply, position};
use crate::resource::post::Publisher;
use crate::wire::command::{Position, encode_query};

impl Publisher {
    /// Publishes one message and waits for its place. With `at` the publisher numbers, and the
    /// message is repeated until its fate is known; the flag tells that it was taken before.
    ///
    /// # Errors
    /// [`PostError`]; without `at` a lost connection is [`PostError::Unknown`].
    pub fn publish(
        &mut self,
        name: &TopicName,
        payload: &[u8],
        at: Option<Position>,
        snapshot: bool,
    ) -> Result<(Position, bool), PostError> {
        self.flush()?;
        let (epoch, n) = (at.map(|at| at.ep.to_string()), at.map(|at| at.n.to_string()));
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        pairs.extend(epoch.as_deref().map(|epoch| ("epoch", epoch)));
        pairs.extend(n.as_deref().map(|n| ("n", n)));
        pairs.extend(snapshot.then_some(("snapshot", "1")));
        let subject = encode_query(&[("", name.subject())]);
        let subject = subject.strip_prefix('=').unwrap_or(&subject).replace('/', "%2F");
        let query = encode_query(&pairs);
        let mark = if query.is_empty() { "" } else { "?" };
        let target = format!("publish/{}/{subject}{mark}{query}", name.resource());
        let request = self.request(&target, payload);
        let mut trial = Batch { backoff: self.settings.backoff, ..Batch::default() };
        loop {
            let response = match self.exchange(&request, &mut trial) {
                Ok(response) => response,
                Err(PostError::Unknown(why)) if at.is_some() => {
                    self.wait(&mut trial, Span::ZERO, &why)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let answer = Reply::parse(&response);
            match answer.refusal {
                None => {
                    let place = answer.value.as_object().and_then(position);
                    let place = place.ok_or_else(|| PostError::Unknown("no place".into()))?;
                    return Ok((place, answer.value.get("dup").is_some()));
                }
                Some((_, detail)) if answer.pressed => {
                    self.wait(&mut trial, response.retry_after, &detail)?;
                }
                Some((_, detail)) if !answer.ours && at.is_none() => {
                    return Err(PostError::Unknown(detail));
                }
                Some((error, detail)) => {
                    let last = answer.value.as_object().and_then(position);
                    return Err(PostError::Refused { error, detail, last });
                }
            }
        }
    }

    fn exchange(&mut self, request: &[u8], trial: &mut Batch) -> Result<Response, PostError> {
        loop {
            let caller = self.connect(trial)?;
            let sent = caller.write(request);
            // Also where it could not be written whole: the server may have said why.
            let outcome = caller.read();
            if !matches!(&outcome, Ok(response) if response.persistent && sent.is_ok()) {
                self.caller = None;
            }
            let refused = self.caller.as_ref().and_then(|caller| caller.unproved());
            if let Some(words) = refused.map(str::to_owned) {
                self.caller = None;
                return Err(PostError::GaveUp(words));
            }
            match (outcome, sent) {
                (Ok(response), _) => return Ok(response),
                (Err(why), Ok(())) => return Err(PostError::Unknown(why)),
                (Err(_), Err(error)) => self.wait(trial, Span::ZERO, &error.to_string())?,
            }
        }
    }
}
