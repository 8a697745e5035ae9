//! Chunked coding, writing side: the header of a chunk and what closes chunk and body.

/// Bytes of the longest chunk header: eight hexadecimal digits, CR LF, for a chunk below 4 GiB.
pub const HEADER_MAX: usize = 10;
/// What follows the bytes of a chunk.
pub const TRAILING: &[u8] = b"\r\n";
/// The last chunk and the empty trailer section: the end of the body.
pub const LAST: &[u8] = b"0\r\n\r\n";

/// Appends the header of a chunk of `len` bytes: lower-case hex without leading zeros, CR LF.
///
/// `len` is not zero (a chunk of no bytes would end the body; see [`LAST`]) and below 4 GiB.
///
/// ```
/// use ahm::http::chunk;
/// let mut out = Vec::new();
/// chunk::put_header(5, &mut out);
/// out.extend_from_slice(b"hello");
/// out.extend_from_slice(chunk::TRAILING);
/// out.extend_from_slice(chunk::LAST);
/// assert_eq!(out, b"5\r\nhello\r\n0\r\n\r\n");
/// ```
pub fn put_header(len: usize, out: &mut Vec<u8>) {
    debug_assert!(len > 0, "an empty chunk ends the body");
    debug_assert!(u32::try_from(len).is_ok(), "a chunk is below 4 GiB");
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..digits).rev().map(|place| b"0123456789abcdef"[(len >> (4 * place)) & 15]));
    out.extend_from_slice(TRAILING);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_the_shortest_hex() {
        for len in [1, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 65_536, u32::MAX as usize] {
            let mut out = Vec::new();
            put_header(len, &mut out);
            assert_eq!(out, format!("{len:x}\r\n").into_bytes());
            assert!(out.len() <= HEADER_MAX);
        }
    }
}
