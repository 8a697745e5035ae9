//! Deliberate faults: each breaks one promise, so that it can be seen that the checks find it.

/// What is done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A document loses one message.
    DropFrame,
    /// An agent tells its consumer of a message twice.
    RepeatMessage,
    /// A message comes with the payload of another.
    SwapPayload,
    /// Messages of one document change places.
    SwapFrames,
    /// `last` names a place behind what the agent has.
    WrongLast,
    /// An agent is never told that its session is gone.
    SessionLossIgnored,
    /// An agent is never told that a line for commands was lost.
    FailureIgnored,
    /// A resource never gets a send that was answered `taken`.
    TakenUndelivered,
    /// A resource gets a send twice.
    DeliveredTwice,
    /// The gap that a consumer is told of is too small by one.
    WrongMissing,
    /// A consumer is not told of a gap.
    GapUnsaid,
    /// A silent document is never noticed, because time stands still for the agent.
    HeartbeatIgnored,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::DropFrame,
        Self::RepeatMessage,
        Self::SwapPayload,
        Self::SwapFrames,
        Self::WrongLast,
        Self::SessionLossIgnored,
        Self::FailureIgnored,
        Self::TakenUndelivered,
        Self::DeliveredTwice,
        Self::WrongMissing,
        Self::GapUnsaid,
        Self::HeartbeatIgnored,
    ];
}
