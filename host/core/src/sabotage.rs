//! Deliberate defects. A simulator that does not catch them proves nothing by its silence. Without the
//! feature `sabotage`, as in every shipped binary, none can be on.

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
    /// A stage that is left by a timer gets none.
    StageWithoutTimer,
    /// The answer of any node is taken as the target's.
    AnyonesAnswer,
    /// A write to cluster memory is acknowledged and not done.
    MemoryNotApplied,
    /// A node gives up the last copy of a component.
    GiveUpLast,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::ForgetBeforeAccepted,
        Self::TakeTwice,
        Self::DropRefused,
        Self::RepeatAll,
        Self::ReplyTwice,
        Self::NoBounds,
        Self::StageWithoutTimer,
        Self::AnyonesAnswer,
        Self::MemoryNotApplied,
        Self::GiveUpLast,
    ];
}
