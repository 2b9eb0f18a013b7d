//! Deliberate defects. A simulator that does not catch them proves nothing by its silence.

/// One defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// A source forgets a process when it sends it, not when the target has accepted it.
    ForgetBeforeAccepted,
    /// A repeated delivery is taken as a new one.
    TakeTwice,
    /// A process that a target refused is dropped.
    DropRefused,
    /// Lost processes are started again though they must not run twice.
    RepeatAll,
    /// A slot stays after its reply.
    ReplyTwice,
    /// The limits on held processes and on moves are not kept.
    NoBounds,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ForgetBeforeAccepted,
        Self::TakeTwice,
        Self::DropRefused,
        Self::RepeatAll,
        Self::ReplyTwice,
        Self::NoBounds,
    ];
}
