//! Draft.
pub mod links;
pub mod mapping;
