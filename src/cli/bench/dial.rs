//! From a socket to the first bytes of a document: connect, request, head of the answer.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::base::limits;
use crate::cli::bench::address::Server;
use crate::cli::bench::lines::{Lines, Shape};
use crate::http::response::{ResponseFraming, parse_response};
use crate::reactor::dialer::bind_source;

/// Bytes of a refusal that are told.
const REFUSAL_BYTES_SHOWN: usize = 300;

/// Begins a connection to `address`, from `source` if one is given, with a receive buffer of so
/// many bytes if that is given.
///
/// # Errors
/// The system has no socket, no port or no way to the server.
pub fn connect(
    address: SocketAddr,
    source: Option<IpAddr>,
    receive_buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_buffer {
        // Before the connection stands: the window that is offered first depends on it.
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        bind_source(&socket, source)?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// The field by which a document is asked for.
pub const HTML: &str = "Accept: text/html\r\n";

/// The request for `target`, with the fields `more`.
pub fn request(server: &Server, target: &str, more: &str) -> Vec<u8> {
    let authority = &server.authority;
    format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: ahm-bench\r\n{more}\r\n")
        .into_bytes()
}

/// Sends `request`, the first bytes of its connection. False: it does not stand yet.
///
/// # Errors
/// A sentence: the connection came to nothing.
pub fn ask(stream: &mut TcpStream, server: &Server, request: &[u8]) -> Result<bool, String> {
    match stream.write(request) {
        Ok(count) if count == request.len() => Ok(true),
        // A fresh socket's buffer holds far more than the longest target allowed.
        Ok(_) => Err("the request did not fit into an empty socket".to_owned()),
        // The one while it is under way, the other before it has begun.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
        {
            Ok(false)
        }
        Err(error) => Err(format!("connect to {}: {error}", server.address)),
    }
}

/// Sends `reply` on a stream that has been asked for: a few bytes, for which there is room unless
/// the server has stopped reading.
///
/// # Errors
/// A sentence.
pub fn say(stream: &mut TcpStream, reply: &[u8]) -> Result<(), String> {
    stream.write_all(reply).map_err(|error| format!("reply: {error}"))
}

/// The decoder of a document, which has the status `wanted`, and the length of its head; `None`
/// while the head, or what the server says instead of a document, is not complete.
///
/// # Errors
/// A sentence: the answer is no document.
pub fn document(head: &[u8], wanted: u16) -> Result<Option<(Lines, usize)>, String> {
    let parsed = parse_response(head).map_err(|error| format!("answer: {error:?}"))?;
    let Some((parts, consumed)) = parsed else {
        let fits = head.len() <= limits::HEAD_BYTES_MAX;
        return if fits { Ok(None) } else { Err("answer: the head has no end".to_owned()) };
    };
    if parts.status != wanted {
        let body = &head[consumed..];
        if let ResponseFraming::Length(length) = parts.framing
            && (body.len() as u64) < length.min(REFUSAL_BYTES_SHOWN as u64)
        {
            return Ok(None); // the words of the refusal may come a moment later
        }
        let body = &body[..body.len().min(REFUSAL_BYTES_SHOWN)];
        let body = String::from_utf8_lossy(body);
        return Err(format!("the server answered {}: {}", parts.status, body.trim()));
    }
    let chunked = matches!(parts.framing, ResponseFraming::Chunked);
    let shape = if chunked { Shape::Chunked } else { Shape::Plain };
    Ok(Some((Lines::new(shape), consumed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_with_its_words_however_it_is_split() {
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nwords";
        for end in 0..answer.len() {
            assert!(matches!(document(&answer[..end], 200), Ok(None)), "{end}");
        }
        assert!(document(answer, 200).unwrap_err().ends_with("404: words"));
    }
}
