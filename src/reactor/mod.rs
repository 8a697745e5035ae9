//! Sockets, clock and waker, without any HTTP.
