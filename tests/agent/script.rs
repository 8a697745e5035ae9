//! Scripted bytes.
