//! Sealed sessions as the agent sees them: it logs in for each, proves its commands, believes no
//! answer that does not prove itself, and takes a document's lines only in the order in which the
//! server has sealed them.

use std::fmt;
use std::sync::Arc;

use crate::base::id::Mid;
use crate::client::agent::Agent;
use crate::client::answer::Answer;
use crate::client::document::Document;
use crate::client::event::Request;
use crate::client::leg::Session;
use crate::html::scan::{Frame, parse_line};
use crate::seal::key::{Algorithm, Keys, Secret};
use crate::seal::line::{Fault, Opener};

/// What seals a session, and how many commands it has had.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    keys: Arc<Keys>,
    last: u64,
}

/// A command of a sealed session that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    keys: Arc<Keys>,
    q: u64,
    /// Whether it is a batch, whose answer has a line for each of its own.
    batch: bool,
}

impl Sealed {
    fn new(keys: Keys) -> Self {
        Self { keys: Arc::new(keys), last: 0 }
    }

    /// Seals the payload of a command, and lets it prove itself.
    pub(crate) fn prove(&mut self, target: &str, body: Option<Vec<u8>>) -> (Request, Proof) {
        self.last += 1;
        let q = self.last;
        let body = body.map(|mut body| {
            self.keys.payload().seal(q, &mut body);
            body
        });
        let method = if body.is_some() { "POST" } else { "GET" };
        let target = format!("{target}&q={q}");
        let proved = self.keys.command().prove(method, &target, body.as_deref().unwrap_or(&[]));
        let batch = target.starts_with("batch?");
        let proof = Proof { keys: Arc::clone(&self.keys), q, batch };
        (Request { target: proved, body, ..Request::default() }, proof)
    }
}

impl Proof {
    /// Whether the server has signed the answer as one to this command.
    pub(crate) fn is_answered_by(&self, body: &[u8]) -> bool {
        let mac = self.keys.answer();
        if mac.is_answer(self.q, 0, body) {
            // So is a batch that was refused as a whole.
            return true;
        }
        if !self.batch {
            return false;
        }
        let mut lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut at = 0;
        lines.all(|line| {
            at += 1;
            mac.is_answer(self.q, at, line)
        }) && at > 0
    }
}

/// Opens a sealed document: bytes in any split become the lines that the server has sealed.
///
/// ```
/// use std::sync::Arc;
/// use ahm::base::id::Mid;
/// use ahm::client::sealed::Unsealer;
/// use ahm::seal::key::{Algorithm, Keys, Secret};
/// use ahm::seal::line::Sealer;
/// let mid = Mid::parse("7").unwrap();
/// let keys = Arc::new(Keys::new(Algorithm::Aes256Gcm, Secret::new([1; 32]), mid));
/// let mut document = b"<p i scs=a mid=7 d=2 h=15000 r=240000 v=1>\n".to_vec();
/// let cipher = keys.document(2, 5, document.strip_suffix(b"\n").unwrap());
/// let heartbeat = b"<p h=15000 t=1>\n";
/// assert!(Sealer::new(cipher).seal_lines(heartbeat, &mut Vec::new(), &mut document));
/// let mut opened = Vec::new();
/// Unsealer::new(keys, 5, 4096).push(&document, &mut opened).unwrap();
/// assert!(opened.ends_with(heartbeat));
/// ```
pub struct Unsealer {
    keys: Arc<Keys>,
    q: u64,
    line_bytes_max: usize,
    opener: Option<Opener>,
    /// The first line, until the next one has proved it.
    identity: Vec<u8>,
    line: Vec<u8>,
    opened: u64,
    fault: Option<Fault>,
}

impl fmt::Debug for Unsealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsealer").field("q", &self.q).field("opened", &self.opened).finish()
    }
}

impl Unsealer {
    /// Opens the document that the session's command `q` has asked for. A line, sealed, has at
    /// most so many bytes.
    pub fn new(keys: Arc<Keys>, q: u64, line_bytes_max: usize) -> Self {
        Self {
            keys,
            q,
            line_bytes_max,
            opener: None,
            identity: Vec::new(),
            line: Vec::new(),
            opened: 0,
            fault: None,
        }
    }

    /// How many lines were opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Takes bytes, and appends the lines that are whole to `out`, opened. The identity, which is
    /// not sealed, comes with the first line that is: before, nobody knows whose it is.
    ///
    /// # Errors
    /// [`Fault`], with the lines before it in `out`; nothing is taken after it.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let read = self.read(bytes, out);
        self.fault = read.err();
        read
    }

    fn read(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + part.len() > self.line_bytes_max {
                return Err(Fault::Forged);
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let mut line = std::mem::take(&mut self.line);
                line.pop();
                self.take(&line, out)?;
                line.clear();
                self.line = line;
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if line.is_empty() || line.starts_with(b"<!") {
            return Ok(());
        }
        let line = match &mut self.opener {
            Some(opener) => {
                let line = opener.open(line)?;
                self.opened += 1;
                out.append(&mut self.identity);
                line
            }
            None => {
                let Ok(Some(Frame::Identity { identity, .. })) = parse_line(line) else {
                    return Err(Fault::Open);
                };
                if identity.mid != self.keys.mid() {
                    return Err(Fault::Forged);
                }
                self.opener = Some(Opener::new(self.keys.document(identity.d, self.q, line)));
                self.identity = [line, b"\n"].concat();
                return Ok(());
            }
        };
        out.extend_from_slice(line);
        out.push(b'\n');
        Ok(())
    }
}

impl Agent {
    /// The request for a document of the leg's session, which proves itself one way or the other.
    pub(crate) fn prove_document(
        &mut self,
        document: &mut Document,
        session: Session,
        target: String,
        body: Option<Vec<u8>>,
    ) -> Request {
        let known = self.leg(document.leg).and_then(|leg| leg.session.as_mut());
        let Some(seal) = known.and_then(|known| known.seal.as_mut()) else {
            return Request { target, key: session.key, body, ..Request::default() };
        };
        let (request, proof) = seal.prove(&target, body);
        document.unseal(proof, self.settings.line_bytes_max);
        request
    }

    /// What is to be done with an answer of a sealed session that the server has not signed: the
    /// word that there is no such session is followed, as nobody could sign it; nothing else is.
    pub(crate) fn is_believed(&mut self, proof: Option<&Proof>, status: u16, body: &[u8]) -> bool {
        let Some(proof) = proof else { return true };
        if proof.is_answered_by(body) {
            return true;
        }
        self.counters.seal_unproved += 1;
        Answer::parse(status, body).is_err_and(|refused| refused.is_of_session())
    }
}

impl Document {
    /// What comes is sealed, and what is refused is signed.
    pub(crate) fn unseal(&mut self, proof: Proof, line_bytes_max: usize) {
        // Base64, a counter, a tag.
        let line_bytes_max = line_bytes_max / 3 * 4 + 256;
        self.unsealer = Some(Unsealer::new(Arc::clone(&proof.keys), proof.q, line_bytes_max));
        self.proof = Some(proof);
    }
}

/// The session that a login was answered with, if it is sealed as was asked for.
pub(crate) fn sealed_session(answer: &Answer, algorithm: Algorithm) -> Option<Session> {
    let mid = answer.text("mid").and_then(Mid::parse)?;
    let secret = answer.text("secret").and_then(Secret::parse)?;
    let fits = answer.text("seal").and_then(Algorithm::from_word) == Some(algorithm);
    let scs = answer.text("scs").filter(|_| fits)?.to_owned();
    let seal = Some(Sealed::new(Keys::new(algorithm, secret, mid)));
    Some(Session { scs, mid, key: None, seal })
}
