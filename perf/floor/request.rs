//! As much HTTP as the load driver says to the floor.

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'b> {
    /// A stream of these topics, with commas between.
    Subscribe(&'b [u8]),
    /// A message to this topic.
    Publish(&'b [u8], &'b [u8]),
}

/// The request at the front of `bytes` and its length; `None` while it is not complete.
///
/// # Errors
/// What is not understood.
pub fn request(bytes: &[u8]) -> Result<Option<(Request<'_>, usize)>, &'static str> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = &bytes[..end];
    let line = &head[..find(head, b"\r\n").unwrap_or(end)];
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or(line), words.next().ok_or("no target")?);
    let begin = end + 4;
    if method == b"GET" {
        let topics = target.strip_prefix(b"/sub/").ok_or("not /sub/TOPIC")?;
        return Ok(Some((Request::Subscribe(topics), begin)));
    }
    let topic = target.strip_prefix(b"/pub/").ok_or("not /pub/TOPIC")?;
    let at = find(head, b"Content-Length: ").ok_or("no Content-Length")?;
    let digits = head[at + b"Content-Length: ".len()..].iter().take_while(|b| b.is_ascii_digit());
    let length = digits.fold(0_usize, |value, b| value.wrapping_mul(10) + usize::from(b - b'0'));
    let message = bytes.get(begin..).and_then(|rest| rest.get(..length));
    Ok(message.map(|message| (Request::Publish(topic, message), begin + length)))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_once_they_are_complete() {
        let get = b"GET /sub/a,b HTTP/1.1\r\nHost: x\r\n\r\n";
        let post = b"POST /pub/a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        for (bytes, wanted) in
            [(&get[..], Request::Subscribe(b"a,b")), (&post[..], Request::Publish(b"a", b"abc"))]
        {
            for end in 0..bytes.len() {
                assert_eq!(request(&bytes[..end]), Ok(None), "{end}");
            }
            let more = [bytes, b"GET "].concat();
            assert_eq!(request(&more), Ok(Some((wanted, bytes.len()))));
        }
        assert!(request(b"GET /\r\n\r\n").is_err());
        assert!(request(b"POST /pub/a HTTP/1.1\r\n\r\n").is_err());
    }
}
