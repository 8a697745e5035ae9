//! What is read of strangers and of files, changed in every way: whole things that are almost as
//! they should be get deeper into a reader than chance does.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

mod edits;
mod hellos;
mod holders;
mod introductions;
mod passwords;
mod tokens;
