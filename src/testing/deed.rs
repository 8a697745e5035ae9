//! What is done to the large world, and by it: faults and actions, drawn before anything runs.
//!
//! A deed says everything about itself: when, to whom, and, in its own dice, what else chance has
//! to decide. So one deed can be left out and all others stay what they are, which is what makes a
//! failing run shrink.

use crate::base::random::Random;
use crate::base::time::{Instant, Span};

/// What a deed does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// One connection of an agent is reset, at any byte in either direction.
    Cut {
        /// The agent.
        agent: usize,
    },
    /// An agent's side of a connection is gone and the server is never told.
    ClientVanishes {
        /// The agent.
        agent: usize,
    },
    /// The server's side of a connection is gone and the agent is never told.
    ServerVanishes {
        /// The agent.
        agent: usize,
    },
    /// Nothing moves on one connection, in either direction.
    Stall {
        /// The agent.
        agent: usize,
        /// For how long.
        span: Span,
    },
    /// The connections of an agent have this latency from now on.
    Lag {
        /// The agent.
        agent: usize,
        /// Each way.
        span: Span,
    },
    /// The next command of an agent reaches its server twice, the second time over another
    /// connection and later, as through a proxy that retries.
    Twice {
        /// The agent.
        agent: usize,
    },
    /// A message that was published is published again under its number.
    PublishTwice {
        /// The topic.
        topic: usize,
    },
    /// The publishers' connections to a server are reset.
    CutPublisher {
        /// The server.
        site: usize,
    },
    /// A server ends and another process takes its place.
    Restart {
        /// The server.
        site: usize,
        /// Whether it says so to its clients.
        graceful: bool,
        /// How long nobody is there.
        down: Span,
        /// Whether meanwhile connecting is not even refused.
        dark: bool,
        /// How many messages of each topic its publishers publish again.
        again: u64,
    },
    /// A server asks its clients to go elsewhere, and then ends.
    Drain {
        /// The server.
        site: usize,
        /// How long they have.
        within: Span,
        /// How long nobody is there afterwards.
        down: Span,
        /// How many messages of each topic its publishers publish again.
        again: u64,
    },
    /// A server cannot be reached, and lives on.
    Partition {
        /// The server.
        site: usize,
        /// For how long.
        span: Span,
        /// Whether its connections fall silent; else they are reset.
        dark: bool,
    },
    /// A server's clock jumps ahead: its machine was suspended.
    SiteJump {
        /// The server.
        site: usize,
        /// How far.
        span: Span,
    },
    /// An agent's clock jumps ahead.
    AgentJump {
        /// The agent.
        agent: usize,
        /// How far.
        span: Span,
    },
    /// Messages are published.
    Publish {
        /// The topic.
        topic: usize,
        /// How many.
        count: u64,
    },
    /// The publisher of a topic begins a new epoch.
    NewEpoch {
        /// The topic.
        topic: usize,
    },
    /// The publisher of a topic passes over numbers.
    Hole {
        /// The topic.
        topic: usize,
        /// How many.
        count: u64,
    },
    /// A consumer asks for one of its channels.
    Subscribe {
        /// The agent.
        agent: usize,
        /// The channel in the agent's plan.
        channel: usize,
    },
    /// A consumer leaves one of its channels.
    Unsubscribe {
        /// The agent.
        agent: usize,
        /// The channel in the agent's plan.
        channel: usize,
    },
    /// A consumer sends.
    Send {
        /// The agent.
        agent: usize,
        /// The channel in the agent's plan.
        channel: usize,
        /// How many messages.
        count: u64,
        /// Whether the last one has the resource end the channel.
        bye: bool,
    },
    /// An agent is asked to refresh its documents.
    Refresh {
        /// The agent.
        agent: usize,
    },
    /// An agent is asked to measure the round trip.
    Ping {
        /// The agent.
        agent: usize,
    },
}

impl What {
    /// The agent that it is about.
    pub const fn agent(self) -> Option<usize> {
        match self {
            Self::Cut { agent }
            | Self::ClientVanishes { agent }
            | Self::ServerVanishes { agent }
            | Self::Stall { agent, .. }
            | Self::Lag { agent, .. }
            | Self::Twice { agent }
            | Self::AgentJump { agent, .. }
            | Self::Subscribe { agent, .. }
            | Self::Unsubscribe { agent, .. }
            | Self::Send { agent, .. }
            | Self::Refresh { agent }
            | Self::Ping { agent } => Some(agent),
            _ => None,
        }
    }

    /// The topic whose publisher it is about.
    pub const fn topic(self) -> Option<usize> {
        match self {
            Self::PublishTwice { topic }
            | Self::Publish { topic, .. }
            | Self::NewEpoch { topic }
            | Self::Hole { topic, .. } => Some(topic),
            _ => None,
        }
    }

    /// Whether it is something that goes wrong.
    pub const fn is_fault(self) -> bool {
        !matches!(
            self,
            Self::Publish { .. }
                | Self::Subscribe { .. }
                | Self::Unsubscribe { .. }
                | Self::Send { .. }
                | Self::Refresh { .. }
                | Self::Ping { .. }
        )
    }
}

/// One thing that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deed {
    /// When.
    pub at: Instant,
    /// What.
    pub what: What,
    /// What chance has to decide about it.
    pub dice: u64,
}

impl Deed {
    /// Its own source of chance.
    pub fn random(&self) -> Random {
        Random::from_number(self.dice)
    }
}
