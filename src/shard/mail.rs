//! What a shard finds in its mailbox.

use std::sync::Arc;

use crate::auth::office::{Finding, Office};
use crate::auth::passes::Passes;
use crate::base::time::Span;
use crate::proto::output::Traveller;
use crate::proto::parcel::Parcel;
use crate::reactor::front::Front;
use crate::reactor::transport::Transport;
use crate::shard::guest::Guest;

/// One piece of mail.
#[derive(Debug)]
pub enum Mail {
    /// For the core.
    Parcel(Parcel),
    /// A connection that belongs here.
    Arrival(Box<(Transport, Traveller)>),
    /// What was found out about a client.
    Finding(Box<Finding>),
    /// Clients prove who they are by other rules from now on.
    Office(Arc<Office>),
    /// These may come to the private listeners from now on.
    Passes(Arc<Passes>),
    /// A resource server has dialled this one.
    Guest(Box<Guest>),
    /// How TLS protects the connections of the listeners from now on, in their order.
    Certificates(Arc<[Option<Arc<Front>>]>),
    /// The server stops within this span, and clients go elsewhere until then.
    Drain(Span),
    /// The server stops.
    Stop,
}
