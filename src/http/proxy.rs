//! The line that a load balancer puts before a client's bytes to say who the client is: the PROXY
//! protocol, version 1 (text) and version 2 (binary).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of the longest line of version 1, CR LF included.
const LINE_BYTES_MAX: usize = 107;
/// What a line of version 1 begins with.
const LINE_START: &[u8] = b"PROXY ";
/// What a header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of a header of version 2 before the addresses.
const FIXED_BYTES: usize = 16;
/// Bytes that may follow the fixed part: addresses and what else the balancer tells, which is
/// skipped.
const REST_BYTES_MAX: usize = 4_096;

/// What was found before the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Where the client connects from; `None` where the balancer speaks for itself (as in a health
    /// check) or the client has no such address.
    pub client: Option<SocketAddr>,
    /// Bytes that it took.
    pub bytes: usize,
}

/// Reads the introduction at the beginning of `bytes`; `None` if more bytes are needed.
///
/// # Errors
/// What is wrong. There is no request without an introduction where one is expected, so nothing
/// can be answered.
///
/// ```
/// use ahm::http::proxy::introduction;
/// let bytes = b"PROXY TCP4 192.0.2.7 198.51.100.1 41000 443\r\nGET / HTTP/1.1\r\n";
/// let found = introduction(bytes).unwrap().unwrap();
/// assert_eq!(found.client, Some("192.0.2.7:41000".parse().unwrap()));
/// assert!(bytes[found.bytes..].starts_with(b"GET"));
/// assert!(introduction(b"GET / HTTP/1.1\r\n").is_err());
/// ```
pub fn introduction(bytes: &[u8]) -> Result<Option<Introduction>, &'static str> {
    let agrees = |start: &[u8]| {
        let seen = bytes.len().min(start.len());
        bytes[..seen] == start[..seen]
    };
    if agrees(LINE_START) {
        line(bytes)
    } else if agrees(SIGNATURE) {
        header(bytes)
    } else {
        Err("the connection does not begin with an introduction by the PROXY protocol")
    }
}

/// Version 1.
fn line(bytes: &[u8]) -> Result<Option<Introduction>, &'static str> {
    const WRONG: &str = "the line of the PROXY protocol is malformed";
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() < LINE_BYTES_MAX { Ok(None) } else { Err(WRONG) };
    };
    let text = std::str::from_utf8(&window[LINE_START.len()..end]).map_err(|_| WRONG)?;
    let taken = end + 2;
    let words: Vec<&str> = text.split(' ').collect();
    let client = match words[..] {
        ["UNKNOWN", ..] => None,
        [family @ ("TCP4" | "TCP6"), from, to, from_port, to_port] => {
            let address = |text: &str| -> Option<IpAddr> {
                match family {
                    "TCP4" => text.parse().ok().map(IpAddr::V4),
                    _ => text.parse().ok().map(IpAddr::V6),
                }
            };
            let (Some(from), Some(_)) = (address(from), address(to)) else { return Err(WRONG) };
            let (Some(port), Some(_)) = (port(from_port), port(to_port)) else { return Err(WRONG) };
            Some(SocketAddr::new(from, port))
        }
        _ => return Err(WRONG),
    };
    Ok(Some(Introduction { client, bytes: taken }))
}

fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Version 2.
fn header(bytes: &[u8]) -> Result<Option<Introduction>, &'static str> {
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > REST_BYTES_MAX {
        return Err("the header of the PROXY protocol is too long");
    }
    let Some(rest) = bytes[FIXED_BYTES..].get(..length) else { return Ok(None) };
    let client = match (command, family) {
        // The balancer speaks for itself.
        (0x20, _) => None,
        (0x21, 0x11) => Some(v4(rest).ok_or("the addresses of the PROXY protocol are cut")?),
        (0x21, 0x21) => Some(v6(rest).ok_or("the addresses of the PROXY protocol are cut")?),
        // Unix sockets, datagrams, or nothing known.
        (0x21, _) => None,
        _ => return Err("a version or command of the PROXY protocol that is not known"),
    };
    Ok(Some(Introduction { client, bytes: FIXED_BYTES + length }))
}

fn v4(rest: &[u8]) -> Option<SocketAddr> {
    let (from, rest) = rest.split_first_chunk::<4>()?;
    let (_, rest) = rest.split_first_chunk::<4>()?;
    let port = rest.first_chunk::<4>()?;
    let port = u16::from_be_bytes([port[0], port[1]]);
    Some(SocketAddr::new(Ipv4Addr::from(*from).into(), port))
}

fn v6(rest: &[u8]) -> Option<SocketAddr> {
    let (from, rest) = rest.split_first_chunk::<16>()?;
    let (_, rest) = rest.split_first_chunk::<16>()?;
    let port = rest.first_chunk::<4>()?;
    let port = u16::from_be_bytes([port[0], port[1]]);
    Some(SocketAddr::new(Ipv6Addr::from(*from).into(), port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        out.extend([command, family]);
        out.extend((rest.len() as u16).to_be_bytes());
        out.extend(rest);
        out
    }

    /// The verdict of the whole, which no prefix may have but in the same words.
    fn read(bytes: &[u8]) -> Result<Option<Introduction>, &'static str> {
        let whole = introduction(bytes);
        for end in 0..bytes.len() {
            let part = introduction(&bytes[..end]);
            assert!(part == Ok(None) || part == whole, "{end}: {part:?}, then {whole:?}");
        }
        whole
    }

    #[test]
    fn both_versions_tell_the_client() {
        let four = [192, 0, 2, 7, 198, 51, 100, 1, 0xa0, 0x28, 1, 0xbb];
        let mut six = [0; 36];
        (six[15], six[32], six[33]) = (1, 0x1f, 0x90);
        let mut long = four.to_vec();
        long.extend([0x20, 0, 1, 9]);
        for (bytes, wanted) in [
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 41000 443\r\n".to_vec(), Some("192.0.2.7:41000")),
            (b"PROXY TCP6 ::1 ::2 8080 443\r\n".to_vec(), Some("[::1]:8080")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (binary(0x21, 0x11, &four), Some("192.0.2.7:41000")),
            (binary(0x21, 0x11, &long), Some("192.0.2.7:41000")),
            (binary(0x21, 0x21, &six), Some("[::1]:8080")),
            (binary(0x21, 0x31, &[0; 216]), None),
            (binary(0x20, 0x00, &[]), None),
        ] {
            let found = read(&bytes).unwrap().unwrap();
            assert_eq!(found.client, wanted.map(|text| text.parse().unwrap()));
            assert_eq!(found.bytes, bytes.len());
        }
    }

    #[test]
    fn what_is_no_introduction_is_refused() {
        let mut endless = b"PROXY TCP4 ".to_vec();
        endless.resize(LINE_BYTES_MAX, b'1');
        for bad in [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 41000\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::2 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n".to_vec(),
            endless,
            binary(0x21, 0x11, &[0; 11]),
            binary(0x31, 0x11, &[0; 12]),
            binary(0x22, 0x11, &[0; 12]),
        ] {
            assert!(read(&bad).is_err(), "{:?}", String::from_utf8_lossy(&bad));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_introduction_or_none(
            start in prop_oneof![
                Just(&b""[..]), Just(LINE_START), Just(SIGNATURE),
                Just(&b"PROXY TCP4 192.0.2.7 "[..]),
                Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..]),
            ],
            rest in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            let bytes = [start, &rest].concat();
            // In any pieces it is what it is as a whole.
            if let Ok(Some(found)) = read(&bytes) {
                prop_assert!(found.bytes <= bytes.len());
            }
        }
    }
}
