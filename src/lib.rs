//! `ahm`: an asynchronous hypertext messaging server.
//!
//! Real-time data travels to many clients along one never-ending HTML document each, through
//! every firewall and proxy that lets ordinary HTTP pass. A topic is a log of frames that were
//! encoded once; a document holds cursors into such logs; a slow client is a cursor that lags.
//!
//! The house has floors; a module imports only from floors below its own, by full path:
//!
//! | floor | rooms | what they are |
//! | --- | --- | --- |
//! | 7 | `cli` | the face: one file per subcommand |
//! | 6 | [`server`] | the process: configuration, start, publishing from any thread, shutdown |
//! | 5 | [`shard`] | one thread that drives [`proto`] with [`reactor`] |
//! | 4 | [`resource`], [`client`] | the far ends: sources of data, consumers of data |
//! | 3 | [`proto`], [`reactor`] | the whole server without sockets; sockets without HTTP |
//! | 3 | [`link`] | registry, resource server and consumer, likewise without sockets |
//! | 3 | [`relay`] | requests that go on to a web server, likewise; [`proto`] sees it |
//! | 3 | [`auth`] | who a client is, and what it may read; [`proto`] and [`relay`] see it |
//! | 2 | [`http`], [`html`], [`wire`], [`seal`] | codecs: none imports another |
//! | 1 | [`mem`] | containers |
//! | 0 | [`base`] | words: identifiers, integer time, limits, reasons |
//!
//! Start with [`manual`], or with [`server`] to embed a server.

pub mod auth;
pub mod base;
pub mod cli;
pub mod client;
pub mod files;
pub mod html;
pub mod http;
pub mod link;
pub mod manual;
pub mod mem;
pub mod proto;
pub mod reactor;
pub mod relay;
pub mod resource;
pub mod seal;
pub mod server;
pub mod shard;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
pub mod wire;
