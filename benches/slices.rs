//! Whether a slice of a run is better copied into the scratch or pointed at in the vectored write:
//! `cargo bench --bench slices`. What is found is `base::limits::COPY_BYTES_MAX`.
//!
//! Each way makes the chunks of documents as a pull does and sends them on a loopback connection,
//! whose other end is emptied between two measurements. The ways take turns in short bouts, and
//! what is shown is the lower quartile of the bouts: what else the machine does lengthens some.

#![allow(missing_docs, reason = "a program")]

use std::hint::black_box;
use std::io::{IoSlice, Read};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use ahm::base::limits::{CHUNK_BYTES_MAX, COPY_BYTES_MAX, SLICES_MAX};
use ahm::reactor::transport::{Io, Transport};

const SIZES: [usize; 18] = [
    64, 128, 256, 512, 768, 1_024, 1_536, 2_048, 2_560, 3_072, 4_096, 5_120, 6_144, 7_168, 8_192,
    12_288, 16_384, 24_576,
];
const COUNTS: [usize; 3] = [1, 4, 16];
/// Writes of one bout; all of them fit into the socket's buffers.
const WRITES: usize = 16;
const BOUTS: usize = 1_000;
/// As long as those of chunks of a few kilobytes.
const HEADER: &[u8] = b"1000\r\n";
const TAIL: &[u8] = b"\r\n";

type Way = fn(&mut Transport, &mut Vec<u8>, &[&[u8]]);

fn copied(transport: &mut Transport, scratch: &mut Vec<u8>, slices: &[&[u8]]) {
    scratch.clear();
    scratch.extend_from_slice(HEADER);
    slices.iter().for_each(|slice| scratch.extend_from_slice(black_box(slice)));
    scratch.extend_from_slice(TAIL);
    write(transport, &[IoSlice::new(scratch)], scratch.len());
}

fn pointed(transport: &mut Transport, _: &mut Vec<u8>, slices: &[&[u8]]) {
    let mut parts = [IoSlice::new(&[]); SLICES_MAX];
    parts[0] = IoSlice::new(HEADER);
    for (part, slice) in parts[1..].iter_mut().zip(slices) {
        *part = IoSlice::new(black_box(slice));
    }
    let count = slices.len() + 2;
    parts[count - 1] = IoSlice::new(TAIL);
    write(transport, &parts[..count], bytes_of(slices));
}

fn bytes_of(slices: &[&[u8]]) -> usize {
    HEADER.len() + TAIL.len() + slices.iter().map(|slice| slice.len()).sum::<usize>()
}

fn write(transport: &mut Transport, parts: &[IoSlice<'_>], bytes: usize) {
    match transport.write_vectored(parts) {
        Io::Bytes(written) => assert_eq!(written, bytes, "the socket is full"),
        other => panic!("{other:?}"),
    }
}

/// The two ends of one connection.
struct Pair {
    sender: Transport,
    reader: TcpStream,
    room: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("it is bound");
        let sender = TcpStream::connect(address).expect("somebody listens");
        sender.set_nodelay(true).expect("a TCP socket");
        sender.set_nonblocking(true).expect("a socket");
        let (reader, _) = listener.accept().expect("it has connected");
        let sender = Transport::Plain(mio::net::TcpStream::from_std(sender));
        Self { sender, reader, room: Vec::new() }
    }

    /// Nanoseconds of one write, in the mean of a bout.
    fn bout(&mut self, way: Way, scratch: &mut Vec<u8>, slices: &[&[u8]]) -> u64 {
        let bytes = bytes_of(slices);
        // As many as fit into the smallest buffer that a connection begins with.
        let writes = WRITES.min(CHUNK_BYTES_MAX / bytes).max(1);
        let began = Instant::now();
        for _ in 0..writes {
            way(&mut self.sender, scratch, slices);
        }
        let took = began.elapsed();
        self.room.resize(writes * bytes, 0);
        self.reader.read_exact(&mut self.room).expect("all of it has been sent");
        took.as_nanos() as u64 / writes as u64
    }
}

fn quartile(mut nanos: Vec<u64>) -> u64 {
    nanos.sort_unstable();
    nanos[nanos.len() / 4]
}

/// Nanoseconds of one write of `count` slices of `size` bytes: copied, pointed at.
fn compare(pair: &mut Pair, size: usize, count: usize, bouts: usize) -> [u64; 2] {
    // Slices of different runs, which lie apart.
    let runs: Vec<Vec<u8>> = (0..count).map(|run| vec![b'a' + run as u8; size]).collect();
    let slices: Vec<&[u8]> = runs.iter().map(Vec::as_slice).collect();
    let mut scratch = Vec::with_capacity(CHUNK_BYTES_MAX + SLICES_MAX);
    let ways: [Way; 2] = [copied, pointed];
    let mut nanos = [Vec::new(), Vec::new()];
    for bout in 0..bouts {
        for turn in 0..ways.len() {
            let way = (bout + turn) % ways.len();
            nanos[way].push(pair.bout(ways[way], &mut scratch, &slices));
        }
    }
    nanos.map(quartile)
}

fn main() {
    // `cargo test --benches` asks only whether it runs.
    let bouts = if std::env::args().any(|word| word == "--bench") { BOUTS } else { 2 };
    let mut pair = Pair::new();
    compare(&mut pair, 64, 1, bouts);
    println!("nanoseconds of one write on loopback; COPY_BYTES_MAX is {COPY_BYTES_MAX}\n");
    println!("{:>6} {:>6} {:>9} {:>9} {:>17}", "slices", "bytes", "copied", "pointed", "to copied");
    for count in COUNTS {
        let mut crossing = None;
        for size in SIZES.into_iter().filter(|size| size * count <= CHUNK_BYTES_MAX) {
            let [copied, pointed] = compare(&mut pair, size, count, bouts);
            let ratio = pointed as f64 / copied as f64;
            println!("{count:>6} {size:>6} {copied:>9} {pointed:>9} {ratio:>17.3}");
            crossing = if ratio < 1.0 { crossing.or(Some(size)) } else { None };
        }
        match crossing {
            Some(size) => println!("to point is cheaper from {size} bytes a slice\n"),
            None => println!("to point is never cheaper\n"),
        }
    }
}
