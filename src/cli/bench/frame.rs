//! The one frame that comes a million times a second, taken apart without ceremony.

/// A message frame whose payload is plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'l> {
    /// The channel.
    pub cid: u32,
    /// The message's offset in its topic.
    pub n: u64,
    /// The payload, still escaped; the driver's own payloads hold nothing to escape.
    pub payload: &'l [u8],
}

/// Reads `<p c=CID n=N>PAYLOAD` or `<p c=CID n=N s>PAYLOAD` (a line without its LF). `None` for
/// every other frame and whatever is not quite this: the scanner of the house has the say there.
pub fn message(line: &[u8]) -> Option<Message<'_>> {
    let (cid, rest) = number(line.strip_prefix(b"<p c=")?)?;
    let (n, rest) = number(rest.strip_prefix(b" n=")?)?;
    let rest = rest.strip_prefix(b" s").unwrap_or(rest);
    let payload = rest.strip_prefix(b">")?;
    Some(Message { cid: u32::try_from(cid).ok()?, n, payload })
}

/// The decimal number that `bytes` begin with (at most 18 digits), and what follows it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    let mut digits = 0;
    while let Some(digit) = bytes.get(digits).filter(|b| b.is_ascii_digit()) {
        value = value * 10 + u64::from(digit - b'0');
        digits += 1;
        if digits > 18 {
            return None;
        }
    }
    (digits > 0).then(|| (value, &bytes[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_messages_are_read_and_nothing_else() {
        let read = message(b"<p c=1048633 n=1042>1.09214 1.09217");
        assert_eq!(read, Some(Message { cid: 1_048_633, n: 1042, payload: b"1.09214 1.09217" }));
        assert_eq!(message(b"<p c=1 n=2 s>").unwrap().payload, b"");
        for line in [
            &b"<p c=1 n=2 b>AA=="[..],
            b"<p c=1 n=2",
            b"<p c= n=2>x",
            b"<p c=1>x",
            b"<p h=15000 t=1>",
            b"<p c=4294967296 n=1>x",
            b"<p c=1 n=99999999999999999999>x",
            b"",
        ] {
            assert_eq!(message(line), None, "{line:?}");
        }
    }
}
