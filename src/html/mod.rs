//! The document's codec: escaping, frames, incremental scanning.
