//! Spoils the frames of a document on purpose, so that checks can be seen to find it.

use crate::base::random::Random;
use crate::testing::sabotage::Sabotage;

/// What one document's body goes through.
#[derive(Debug)]
pub struct Tamper {
    sabotage: Option<Sabotage>,
    /// Messages to let pass first.
    after: u64,
    line: Vec<u8>,
    held: Vec<u8>,
    status: u16,
}

impl Tamper {
    /// Does what `sabotage` says of frames, once; `None`: nothing.
    pub fn new(sabotage: Option<Sabotage>, random: &mut Random) -> Self {
        let after = random.below(10);
        Self { sabotage, after, line: Vec::new(), held: Vec::new(), status: 0 }
    }

    /// The answer has this status.
    pub fn begin(&mut self, status: u16) {
        self.status = status;
    }

    /// Whether the answer is no document.
    pub fn is_refusal(&self) -> bool {
        self.status != 200
    }

    /// The bytes that come instead of `bytes`.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        use Sabotage::{DropFrame, SwapFrames, SwapPayload};
        let frames = matches!(self.sabotage, Some(DropFrame | SwapFrames | SwapPayload));
        if !frames || self.is_refusal() {
            return bytes.to_vec();
        }
        let mut out = Vec::new();
        for &byte in bytes {
            self.line.push(byte);
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.spoil(line, &mut out);
            }
        }
        out
    }

    fn spoil(&mut self, mut line: Vec<u8>, out: &mut Vec<u8>) {
        if !line.starts_with(b"<p c=") {
            out.append(&mut line);
            return;
        }
        if self.after > 0 {
            self.after -= 1;
            out.append(&mut line);
            return;
        }
        match self.sabotage {
            Some(Sabotage::DropFrame) => self.sabotage = None,
            Some(Sabotage::SwapPayload) => {
                let at = line.iter().position(|byte| *byte == b'>').map_or(line.len(), |at| at + 1);
                line.truncate(at);
                line.extend_from_slice(b"another\n");
                out.append(&mut line);
            }
            _ if self.held.is_empty() => self.held = line,
            _ => {
                out.append(&mut line);
                out.append(&mut self.held);
            }
        }
    }
}

/// The target with every place that `last` names moved two messages ahead.
pub fn wrong_last(target: &str) -> String {
    let Some((head, tail)) = target.split_once("last=") else { return target.to_string() };
    let (value, rest) = tail.find('&').map_or((tail, ""), |at| tail.split_at(at));
    let value = value.replace("%3A", ":").replace("%2C", ",");
    let places = value.split(',').map(|place| match place.rsplit_once(':') {
        Some((start, n)) => format!("{start}:{}", n.parse::<u64>().map_or(0, |n| n + 2)),
        None => place.to_string(),
    });
    format!("{head}last={}{rest}", places.collect::<Vec<_>>().join(","))
}
