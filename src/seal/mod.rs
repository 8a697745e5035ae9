//! The session seal: what is said between client and server, readable and changeable by nobody
//! between them, whatever carries it.
