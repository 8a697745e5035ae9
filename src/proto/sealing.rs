//! Sealed sessions (section 5 of `wire::protocol`): commands prove themselves, each is carried out
//! once, and its answer proves itself; documents are sealed line by line.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::verdict::Proof;
use crate::base::id::Key;
use crate::base::reason::ErrorCode;
use crate::proto::answer::{Answer, Content, quote};
use crate::proto::commands::{join_queries, wrong_server};
use crate::proto::hub::Hub;
use crate::proto::parcel::{Forwarded, ReplyTo};
use crate::proto::scratch::Scratch;
use crate::proto::topic::Topics;
use crate::seal::key::{Algorithm, Keys, Secret};
use crate::seal::line::Sealer;
use crate::seal::mac::{self, Command as Covered};
use crate::seal::replay::{Replay, Verdict};
use crate::wire::command::{self, Command, Request};

/// What seals a session.
#[derive(Debug)]
pub struct SessionSeal {
    keys: Arc<Keys>,
    replay: Replay<Answer>,
}

impl SessionSeal {
    /// What seals document `d`, which the command with number `q` has asked for, which begins with
    /// the line `identity`, and of which `clear` bytes go out as they are.
    pub fn document(&self, d: u32, q: u64, identity: &[u8], clear: usize) -> DocumentSeal {
        DocumentSeal { sealer: Sealer::new(self.keys.document(d, q, identity)), clear }
    }

    /// Memory, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<Keys>() + self.replay.bytes()
    }
}

/// What seals a document.
#[derive(Debug)]
pub struct DocumentSeal {
    sealer: Sealer,
    /// Bytes at its beginning that go out as they are: the preamble, the identity, padding.
    clear: usize,
}

impl DocumentSeal {
    /// Seals what was gathered for the document. False where it can carry no more, and ends.
    #[cold]
    pub fn apply(&mut self, scratch: &mut Scratch, topics: &Topics) -> bool {
        let clear = std::mem::take(&mut self.clear);
        scratch.seal(topics, clear, &mut self.sealer)
    }
}

/// A command that has proved itself.
#[derive(Debug)]
pub(crate) struct Proved {
    pub(crate) session: Key,
    pub(crate) q: u64,
    keys: Arc<Keys>,
}

impl Proved {
    /// Lets the answer prove itself.
    pub(crate) fn sign(&self, answer: &mut Answer) {
        if let Content::Json(json) = &mut answer.content {
            if let Some(("Retry-After", seconds)) = &answer.field {
                // Where nobody can change it.
                json.pop();
                json.push_str(&format!(",\"retry_after\":{seconds}}}"));
            }
            self.keys.answer().sign_answer(self.q, 0, json);
        }
    }

    /// Opens a payload; one that is empty and came without a seal is none.
    fn open(&self, mut sealed: Vec<u8>) -> Result<Vec<u8>, Answer> {
        match self.keys.payload().open(self.q, &mut sealed).map(<[u8]>::len) {
            Some(length) => {
                sealed.truncate(length);
                Ok(sealed)
            }
            None => {
                let detail = "the payload is not sealed with the session's key and this q";
                Err(Answer::error(ErrorCode::BadRequest, detail))
            }
        }
    }
}

/// A command whose answer is waited for.
#[derive(Debug)]
struct Waiting {
    proved: Proved,
    /// The line of a batch, from 1 on; 0: the command itself.
    line: usize,
}

/// The answers to the lines of a batch.
#[derive(Debug)]
struct Batch {
    lines: Vec<Option<String>>,
    missing: usize,
}

/// All commands of sealed sessions of a shard whose answers are waited for.
#[derive(Debug, Default)]
pub struct Sealing {
    waiting: HashMap<ReplyTo, Waiting>,
    batches: HashMap<ReplyTo, Batch>,
}

impl Hub {
    /// How a login wants its session sealed, if it may have it so.
    /// `secured`: the connection that asks is no plain one.
    pub(crate) fn check_seal(&mut self, secured: bool, word: &str) -> Result<Algorithm, Answer> {
        let Some(algorithm) = Algorithm::from_word(word) else {
            let [one, other] = Algorithm::ALL.map(Algorithm::word);
            let detail = format!("`seal` is {one} or {other}");
            return Err(Answer::error(ErrorCode::BadRequest, &detail));
        };
        if !secured && !self.settings.seal_without_tls {
            self.stats.seal.refused_login += 1;
            let detail = "the secret of a sealed session is given out over TLS only";
            return Err(Answer::error(ErrorCode::Forbidden, detail));
        }
        Ok(algorithm)
    }

    /// Seals a session that has no document yet; returns what the answer that makes it says of it:
    /// `scs`, `mid`, `seal` and the secret, which is told nobody but its client. `None`: the
    /// session is no more.
    pub(crate) fn seal_session(&mut self, key: Key, algorithm: Algorithm) -> Option<String> {
        let mut bytes = [0; 32];
        self.random.fill(&mut bytes);
        let secret = Secret::new(bytes);
        zeroize::Zeroize::zeroize(&mut bytes);
        let (mid, session) = (self.mid_of(key)?, self.sessions.get_mut(key)?);
        let (scs, word, text) = (quote(&self.settings.scs), algorithm.word(), secret.text());
        let keys = Arc::new(Keys::new(algorithm, secret, mid));
        session.seal = Some(Box::new(SessionSeal { keys, replay: Replay::default() }));
        self.stats.seal.sessions += 1;
        let text = text.as_str();
        Some(format!(",\"scs\":{scs},\"mid\":\"{mid}\",\"seal\":\"{word}\",\"secret\":\"{text}\""))
    }

    pub(crate) fn is_sealed(&self, session: Key) -> bool {
        self.sessions.get(session).is_some_and(|session| session.seal.is_some())
    }

    /// The session that a request names, where it is a sealed one of this shard.
    fn sealed_session(&self, request: &Request<'_>) -> Option<Key> {
        let mid = request.mid.filter(|mid| mid.shard() == self.shard)?;
        self.is_sealed(mid.key()).then(|| mid.key())
    }

    /// Whether a command of a sealed session is its client's, and the first with its number.
    /// `name` and `query` make its target.
    fn prove(
        &mut self,
        session: Key,
        request: &Request<'_>,
        (method, name, query): (&str, &str, &str),
        body: &[u8],
    ) -> Result<Proved, Answer> {
        let counts = &mut self.stats.seal;
        let Some(seal) = self.sessions.get_mut(session).and_then(|one| one.seal.as_mut()) else {
            return Err(Answer::error(ErrorCode::NoSession, "the session has ended"));
        };
        let Some(q) = request.q.filter(|_| request.mac.is_some()) else {
            counts.refused_bare += 1;
            let detail = "a command of a sealed session carries `q` and, last, `mac`";
            return Err(Answer::error(ErrorCode::Forbidden, detail));
        };
        let target = format!("{name}?{query}");
        let code = mac::divide(&target).and_then(|(target, code)| {
            seal.keys.command().proves(&Covered { method, target, body }, code)
        });
        let Some(code) = code else {
            counts.refused_forged += 1;
            return Err(Answer::error(ErrorCode::Forbidden, "`mac` does not fit the command"));
        };
        let kept = !matches!(request.command, Command::Document(_));
        match seal.replay.offer(q, &code, kept) {
            Verdict::Fresh => Ok(Proved { session, q, keys: Arc::clone(&seal.keys) }),
            Verdict::Again(answer) => {
                counts.repeated += 1;
                Err(answer)
            }
            Verdict::Waits => {
                Err(Answer::error(ErrorCode::Busy, "the answer to this `q` is on the way"))
            }
            Verdict::Used => {
                counts.refused_replayed += 1;
                Err(Answer::error(ErrorCode::Forbidden, "this `q` was used before"))
            }
        }
    }

    /// Proves a request for a document, if its session is sealed, and opens its body. `target`: its
    /// method, name and query.
    pub(crate) fn prove_document(
        &mut self,
        target: (&str, &str, &str),
        (request, proof): (&Request<'_>, Option<&Proof>),
        body: Option<Vec<u8>>,
    ) -> Result<(Option<Proved>, Option<Vec<u8>>), Answer> {
        let session = self.sealed_session(request).filter(|_| !self.is_elsewhere(request));
        let Some(session) = session else { return Ok((None, body)) };
        let content = body.as_deref().unwrap_or_default();
        let proved = self.prove(session, request, target, content)?;
        if let Some(mut refusal) = self.refuse_other(session, proof) {
            proved.sign(&mut refusal);
            return Err(refusal);
        }
        self.stats.seal.documents += 1;
        let opened = body.filter(|body| !body.is_empty()).map(|body| proved.open(body)).transpose();
        match opened {
            Ok(body) => Ok((Some(proved), body)),
            Err(mut answer) => {
                self.stats.seal.refused_payload += 1;
                proved.sign(&mut answer);
                Err(answer)
            }
        }
    }

    /// The session that a command names and proves, and its `data` if that was sealed. The body
    /// is opened where it stands.
    pub(crate) fn prove_command(
        &mut self,
        request: &Request<'_>,
        forwarded: &mut Forwarded,
    ) -> Result<(Key, Option<Vec<u8>>), Answer> {
        if self.is_elsewhere(request) {
            return Err(wrong_server());
        }
        if let Some(session) = forwarded.proved {
            if self.mid_of(session) != request.mid {
                let detail = "the lines of a sealed batch are all of its session";
                return Err(Answer::error(ErrorCode::Forbidden, detail));
            }
            let lives = self.sessions.get(session).is_some();
            let ended = || Answer::error(ErrorCode::NoSession, "the session has ended");
            return lives.then_some((session, None)).ok_or_else(ended);
        }
        let Some(session) = self.sealed_session(request) else {
            let showing = (forwarded.key.as_deref(), forwarded.proof.as_ref());
            return Ok((self.session_of(request, showing)?, None));
        };
        let target = (forwarded.method, forwarded.name.as_str(), forwarded.query.as_str());
        let body = forwarded.body.as_deref().unwrap_or_default();
        let proved = self.prove(session, request, target, body)?;
        let body = forwarded.body.take().filter(|body| !body.is_empty());
        let body = body.map(|body| proved.open(body)).transpose();
        let data = match &request.command {
            Command::Send { data: Some(data), .. } => {
                let sealed = URL_SAFE_NO_PAD.decode(data).unwrap_or_default();
                Some(proved.open(sealed)).transpose()
            }
            _ => Ok(None),
        };
        // From here on the answer is kept, whatever it is.
        self.sealing.waiting.insert(forwarded.reply, Waiting { proved, line: 0 });
        if let Some(refusal) = self.refuse_other(session, forwarded.proof.as_ref()) {
            return Err(refusal);
        }
        let opened = body.and_then(|body| data.map(|data| (body, data)));
        match opened {
            Ok((body, data)) => {
                forwarded.body = body;
                Ok((session, data))
            }
            Err(answer) => {
                self.stats.seal.refused_payload += 1;
                Err(answer)
            }
        }
    }

    /// Carries out the lines of a batch that has proved itself as a whole.
    pub(crate) fn run_sealed_batch(&mut self, session: Key, forwarded: Forwarded) {
        let reply = forwarded.reply;
        let Some(waiting) = self.sealing.waiting.get(&reply) else {
            let detail = "the session is not sealed, and its batches carry no `mac`";
            return self.give(reply, Answer::error(ErrorCode::BadRequest, detail));
        };
        let (q, keys) = (waiting.proved.q, Arc::clone(&waiting.proved.keys));
        let Ok(body) = String::from_utf8(forwarded.body.unwrap_or_default()) else {
            return self.give(reply, Answer::error(ErrorCode::BadRequest, "not UTF-8"));
        };
        let lines: Vec<_> = command::split_batch(&body).collect();
        if lines.is_empty() {
            let empty = Content::Text(String::new());
            return self.give(reply, Answer { content: empty, ..Answer::ok("") });
        }
        let batch = Batch { lines: vec![None; lines.len()], missing: lines.len() };
        self.sealing.batches.insert(reply, batch);
        for (at, (name, query)) in lines.into_iter().enumerate() {
            let part = ReplyTo { part: Some(at as u32), ..reply };
            let proved = Proved { session, q, keys: Arc::clone(&keys) };
            self.sealing.waiting.insert(part, Waiting { proved, line: at + 1 });
            self.run_command(Forwarded {
                reply: part,
                method: forwarded.method,
                proved: Some(session),
                name: name.to_string(),
                query: join_queries(query, &forwarded.query),
                key: None,
                address: forwarded.address,
                proof: forwarded.proof.clone(),
                secured: forwarded.secured.clone(),
                body: None,
            });
        }
    }

    /// Lets an answer prove itself, and keeps it, where it is one to a command of a sealed session;
    /// others are as they were. `None`: it is a part of one that is not complete.
    pub(crate) fn seal_answer(&mut self, reply: ReplyTo, answer: Answer) -> Option<Answer> {
        if self.sealing.waiting.is_empty() {
            return Some(answer);
        }
        let Some(Waiting { proved, line }) = self.sealing.waiting.remove(&reply) else {
            return Some(answer);
        };
        if line > 0 {
            let mut text = answer.into_line();
            proved.keys.answer().sign_answer(proved.q, line, &mut text);
            self.add_line(ReplyTo { part: None, ..reply }, line - 1, text);
            return None;
        }
        let mut answer = answer;
        proved.sign(&mut answer);
        let bytes = match &answer.content {
            Content::Json(text) | Content::Text(text) => text.len(),
            _ => 0,
        };
        let seal = self.sessions.get_mut(proved.session).and_then(|one| one.seal.as_mut());
        if let Some(seal) = seal {
            seal.replay.remember(proved.q, answer.clone(), size_of::<Answer>() + bytes);
        }
        Some(answer)
    }

    fn add_line(&mut self, reply: ReplyTo, at: usize, text: String) {
        let Some(batch) = self.sealing.batches.get_mut(&reply) else { return };
        let Some(place) = batch.lines.get_mut(at) else { return };
        if place.replace(text).is_none() {
            batch.missing -= 1;
        }
        if batch.missing == 0
            && let Some(batch) = self.sealing.batches.remove(&reply)
        {
            let lines = batch.lines.into_iter().flatten();
            let text = lines.map(|line| line + "\n").collect();
            self.give(reply, Answer { content: Content::Text(text), ..Answer::ok("") });
        }
    }
}
