//! The document's codec: escaping, frames, incremental scanning.

pub mod error;
pub mod escape;
pub mod frame;
pub mod scan;
mod tag;
