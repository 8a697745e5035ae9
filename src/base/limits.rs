//! Every fixed limit of the server, with the relations between them checked at compile time.
//! What an operator may change is in `proto::settings`; these are its defaults and outer bounds.

use crate::base::time::Span;

/// Bytes of a request head; beyond: 431.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a request target; beyond: 414.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Header fields of a request; beyond: 431.
pub const FIELDS_MAX: usize = 96;
/// Bytes of the extensions of one chunk; beyond: 400.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 256;
/// Bytes of the trailer section of a chunked body; beyond: 431.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a message's payload; beyond: 413.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the body of a batch (commands or messages); beyond: 413.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Answers that one connection may have outstanding before its further requests wait.
pub const PIPELINE_MAX: usize = 64;
/// Bytes of answers that one connection may have unsent before its further requests wait.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the name of a user, or of a group.
pub const USER_BYTES_MAX: usize = 128;
/// Bytes of one rule of an access list.
pub const RULE_BYTES_MAX: usize = 2 * 1024;
/// Rules of one access list.
pub const RULES_MAX: usize = 10_000;
/// Documents a session may have at a time.
pub const DOCUMENTS_MAX: usize = 4;
/// Channels a session may have at most, whatever is configured.
pub const CHANNELS_MAX: usize = 10_000;
/// Bytes of a document's own frames that may wait for its socket; beyond, it is dropped as stale.
pub const NOTES_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Channel numbers of a session on which numbered sends are remembered.
pub const INBOXES_MAX: usize = 16_384;
/// Bytes of frames in one run, unless a single frame is larger.
pub const RUN_BYTES_MAX: usize = 64 * 1024;
/// Bytes of frames that a document puts into one chunk, unless a single frame is larger.
pub const CHUNK_BYTES_MAX: usize = 32 * 1024;
/// Slices of one vectored write.
pub const SLICES_MAX: usize = 64;
/// A slice of at most this many bytes is copied into the shard's scratch; a larger one is pointed
/// at where it lies. Below this many, copying is never the dearer way: `benches/slices.rs` finds
/// that to point pays from about 2 KiB on with sixteen slices in a write, from 5 KiB on with four
/// and from 16 KiB on with one, because one piece of memory is a cheaper system call than three.
/// More would save little, and what a stalled reader has not taken it then holds alone.
pub const COPY_BYTES_MAX: usize = 2 * 1024;
/// Documents whose writes are gathered before the first of them goes out. The kernel's own work for
/// a write takes most of the nearest cache: what all of them read, the hub and the logs, is fetched
/// once for so many.
pub const WRITES_AT_ONCE: usize = 32;
/// Once so many bytes were copied for them, they go out, however few they are.
pub const SCRATCH_BYTES: usize = 16 * 1024;
/// No heartbeat of the resource protocol counts as shorter, whatever the other end says.
pub const LINK_HEARTBEAT_MIN: Span = Span::from_millis(10);
/// Shards of one process: the width of the shard in a `mid`.
pub const SHARDS_MAX: usize = 64;
/// Parcels of runs that a follower shard may have on the way at once.
pub const FOLLOW_CREDITS: u32 = 4;
/// Documents written in one turn before mail and timers have their turn.
pub const WRITES_PER_TURN: usize = 256;

const _: () = assert!(TARGET_BYTES_MAX < HEAD_BYTES_MAX);
const _: () = assert!(PAYLOAD_BYTES_MAX <= BATCH_BYTES_MAX);
const _: () = assert!(COPY_BYTES_MAX < CHUNK_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES_MAX <= RUN_BYTES_MAX);
const _: () = assert!(SHARDS_MAX <= 256);
const _: () = assert!(DOCUMENTS_MAX >= 2, "make before break needs two");
