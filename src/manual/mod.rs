//! Documentation as modules: compiled, linked and versioned with the code.
//!
//! Start with [`architecture`] to read the code, with [`operating`] to run the server, with
//! [`embedding`] to put it into a program of your own, with [`consuming`] to read from it, with
//! [`publishing`] to write a source of data, with [`relaying`] to put a web site behind it,
//! with [`tls`] to have it encrypted, with [`authentication`] to know who reads, with [`access`] to
//! say who may, with [`sealing`] for sessions that nobody on the way can read.

pub mod http_pitfalls;

#[doc = include_str!("access.md")]
pub mod access {}

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("authentication.md")]
pub mod authentication {}

#[doc = include_str!("changes.md")]
pub mod changes {}

#[doc = include_str!("consuming.md")]
pub mod consuming {}

#[doc = include_str!("embedding.md")]
pub mod embedding {}

#[doc = include_str!("lexicon.md")]
pub mod lexicon {}

#[doc = include_str!("lifecycle.md")]
pub mod lifecycle {}

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("publishing.md")]
pub mod publishing {}

#[doc = include_str!("relaying.md")]
pub mod relaying {}

#[doc = include_str!("sealing.md")]
pub mod sealing {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("tls.md")]
pub mod tls {}
