//! Deliberate defects. A simulator that does not catch them proves nothing by its silence.

/// One defect. Each names the checker of the simulator that must find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// A source forgets a process when it sends it, not when the target has accepted it.
    ForgetBeforeAccepted,
    /// A repeated delivery is taken as a new one.
    TakeTwice,
    /// A process that a target refused is dropped.
    DropRefused,
    /// An answer about a delivery that is not waited for any more is taken for another one's.
    TakeWrongAnswer,
    /// Lost processes are started again though they must not run twice.
    RepeatAll,
    /// A slot stays after its reply.
    ReplyTwice,
    /// A slot stays when its client has gone away.
    LeakSlot,
    /// A client is not answered at its deadline.
    IgnoreDeadline,
    /// A process ends when one of its calls fails: the caller is not asked.
    EndAtFailure,
    /// The limits on held processes and on moves are not kept.
    NoBounds,
    /// A process does not know which nodes it left since its last step.
    ForgetPath,
    /// The newest birth runs first.
    RunNewestFirst,
    /// A process that waits for a place is never looked at again.
    LeaveWithoutTimer,
    /// A line of the app table takes the place of a newer one.
    MergeOlder,
    /// One of the components that a node says it holds is not noted.
    ForgetHolder,
    /// A beacon of a node's life before this one is believed.
    BelieveOldBeacon,
    /// A bulletin that is older than what its zone told last is believed.
    BelieveOldBulletin,
    /// Every node speaks for its zone.
    SpeakAlways,
    /// A link is asked for while one is being made.
    ConnectTwice,
    /// What another node is to keep in cluster memory is kept here too.
    KeepTwice,
    /// A value of cluster memory that is removed stays.
    KeepRemoved,
    /// A node gives up the last copy of a component.
    GiveUpLast,
    /// The limit on adopted components is not kept.
    AdoptAll,
    /// Two messages for one node leave in the wrong order. Not a defect of core: of the shell.
    SwapMessages,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::ForgetBeforeAccepted,
        Self::TakeTwice,
        Self::DropRefused,
        Self::TakeWrongAnswer,
        Self::RepeatAll,
        Self::ReplyTwice,
        Self::LeakSlot,
        Self::IgnoreDeadline,
        Self::EndAtFailure,
        Self::NoBounds,
        Self::ForgetPath,
        Self::RunNewestFirst,
        Self::LeaveWithoutTimer,
        Self::MergeOlder,
        Self::ForgetHolder,
        Self::BelieveOldBeacon,
        Self::BelieveOldBulletin,
        Self::SpeakAlways,
        Self::ConnectTwice,
        Self::KeepTwice,
        Self::KeepRemoved,
        Self::GiveUpLast,
        Self::AdoptAll,
        Self::SwapMessages,
    ];

    /// The checker that must find it.
    pub fn checker(self) -> &'static str {
        match self {
            Self::ForgetBeforeAccepted
            | Self::TakeTwice
            | Self::DropRefused
            | Self::TakeWrongAnswer
            | Self::RepeatAll => "ownership",
            Self::ReplyTwice | Self::LeakSlot | Self::IgnoreDeadline => "waiters",
            Self::EndAtFailure => "outcome",
            Self::NoBounds | Self::ForgetPath => "bound",
            Self::RunNewestFirst => "queue",
            Self::LeaveWithoutTimer => "core",
            Self::MergeOlder => "table",
            Self::ForgetHolder | Self::BelieveOldBeacon => "view",
            Self::BelieveOldBulletin | Self::SpeakAlways => "zones",
            Self::ConnectTwice => "links",
            Self::KeepTwice | Self::KeepRemoved => "memory",
            Self::GiveUpLast | Self::AdoptAll => "adoption",
            Self::SwapMessages => "order",
        }
    }
}
