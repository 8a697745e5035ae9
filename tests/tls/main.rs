//! TLS: the bytes of it, and servers that speak it with curl and OpenSSL.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

mod authority;
mod forms;
mod keys;
mod peers;
mod reading;
mod records;
mod sealed;
mod serving;
mod stapling;
