//! What a shard finds in its mailbox.

use crate::proto::output::Traveller;
use crate::proto::parcel::Parcel;
use crate::reactor::transport::Transport;

/// One piece of mail.
#[derive(Debug)]
pub enum Mail {
    /// For the core.
    Parcel(Parcel),
    /// A connection that belongs here.
    Arrival(Box<(Transport, Traveller)>),
    /// The server stops.
    Stop,
}
