//! What a pilot knows of its agent's sealed sessions, so that it can read along; and somebody who
//! does not, and meddles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::base::id::Mid;
use crate::base::random::Random;
use crate::client::event::{CallId, Request};
use crate::client::sealed::Unsealer;
use crate::seal::key::{Algorithm, Keys, Secret};

/// Bytes of a sealed line at most.
const LINE_BYTES_MAX: usize = 1 << 20;

/// The keys of the sessions that an agent has logged in for.
#[derive(Debug, Default)]
pub struct Keyring {
    logins: BTreeSet<CallId>,
    keys: BTreeMap<u64, Arc<Keys>>,
}

impl Keyring {
    /// The agent logs in.
    pub fn expect(&mut self, login: CallId) {
        self.logins.insert(login);
    }

    /// A command was answered; if it is a login, its keys are on the ring from now on.
    pub fn learn(&mut self, call: CallId, body: &[u8]) {
        if self.logins.remove(&call) {
            self.add(body);
        }
    }

    fn add(&mut self, body: &[u8]) -> Option<()> {
        let answer: Value = serde_json::from_slice(body).ok()?;
        let text = |name: &str| answer.get(name)?.as_str();
        let mid = Mid::parse(text("mid")?)?;
        let algorithm = Algorithm::from_word(text("seal")?)?;
        let secret = Secret::parse(text("secret")?)?;
        self.keys.insert(mid.get(), Arc::new(Keys::new(algorithm, secret, mid)));
        Some(())
    }

    fn of(&self, request: &Request) -> Option<(Arc<Keys>, u64)> {
        let value = |name: &str| {
            let pairs = request.target.split(['?', '&']).filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
        };
        Some((Arc::clone(self.keys.get(&value("mid")?)?), value("q")?))
    }

    /// What opens the document that was asked for so; `None` where it is not sealed.
    pub fn unsealer(&self, request: &Request) -> Option<Unsealer> {
        let (keys, q) = self.of(request)?;
        Some(Unsealer::new(keys, q, LINE_BYTES_MAX))
    }

    /// The request with its payload opened.
    ///
    /// # Panics
    ///
    /// If it is not sealed as the protocol says.
    pub fn opened(&self, request: &Request) -> Request {
        let mut request = request.clone();
        if let Some((keys, q)) = self.of(&request)
            && let Some(body) = &mut request.body
        {
            let length = keys.payload().open(q, body).map(<[u8]>::len);
            body.truncate(length.expect("what the agent seals can be opened"));
        }
        request
    }
}

/// Changes something in the bytes of a document.
pub fn meddle(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len() as u64) as usize;
    match random.below(6) {
        0 => bytes[at] ^= 1 + random.below(255) as u8,
        1 => drop(bytes.remove(at)),
        2 => bytes.insert(at, random.below(256) as u8),
        3 => {
            let again = bytes[at..].to_vec();
            bytes.extend_from_slice(&again);
        }
        4 => {
            let line = b"<p c=1048576 n=1>nobody has said this\n";
            bytes.splice(at..at, line.iter().copied());
        }
        _ => {
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            let count = lines.len() as u64;
            lines.swap(random.below(count) as usize, random.below(count) as usize);
            *bytes = lines.concat();
        }
    }
}
