//! Consumer side: the client agent without sockets, its link over TCP, its back-off.
