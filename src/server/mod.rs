//! The process: configuration, start, publishing from any thread, shutdown.

pub mod builder;
pub mod config;
pub mod config_check;
pub mod config_file;
pub mod config_key;
pub mod config_keys;
mod config_keys_private;
mod config_keys_registry;
mod config_keys_relay;
pub mod config_listen;
pub mod config_load;
pub mod config_print;
pub mod config_problem;
pub mod config_sources;
pub mod config_value;
pub mod handle;
mod private;
mod reception;
pub mod registry;
pub mod relay;
pub mod running;
