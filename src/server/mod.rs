//! The process: configuration, start, publishing from any thread, shutdown.
