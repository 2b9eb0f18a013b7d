//! The stages of a process at a node, and which may follow which.

use core::fmt;

use izna_proto::Outcome;

use crate::time::Time;

/// Where a held process is on its way through this node.
#[derive(Debug)]
pub(crate) enum Stage {
    /// It is being decided where it goes. No process is here once an input is handled.
    Placing,
    /// No node takes it now; it is placed again then.
    Waiting { again: Time },
    /// In the run queue.
    Queued,
    /// Its step runs; within a slot, or sliced: it has given its slot up.
    Running { sliced: bool },
    /// On its way to another node, which has not answered this delivery.
    Leaving { delivery: u64 },
    /// It has ended, and its gateway has not acknowledged that.
    Finishing { outcome: Outcome, telling: Telling },
}

/// How far the gateway of an ended process has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// This delivery tells it, and is not answered.
    Sent { delivery: u64 },
    /// It could not be told; it is tried again then.
    Later { again: Time },
}

impl Stage {
    /// Whether a process may go from this stage to that one. All that moves one does so by these.
    fn may_become(&self, next: &Self) -> bool {
        use Stage::{Finishing, Leaving, Placing, Queued, Running, Waiting};
        match (self, next) {
            (Placing, Waiting { .. } | Queued | Leaving { .. } | Finishing { .. }) => true,
            (Waiting { .. } | Queued | Leaving { .. }, Placing) => true,
            (Queued, Running { sliced: false }) => true,
            (Running { sliced: false }, Running { sliced: true }) => true,
            (Running { .. }, Placing) => true,
            (Finishing { .. }, Finishing { .. }) => true,
            (
                Placing
                | Waiting { .. }
                | Queued
                | Running { .. }
                | Leaving { .. }
                | Finishing { .. },
                _,
            ) => false,
        }
    }

    /// Whether it counts as work of this node: it runs, or waits for a core.
    pub(crate) fn is_work(&self) -> bool {
        matches!(self, Self::Queued | Self::Running { .. })
    }

    /// When the timer of the stage is due, where it has one.
    pub(crate) fn again(&self) -> Option<Time> {
        match self {
            Self::Waiting { again } | Self::Finishing { telling: Telling::Later { again }, .. } => {
                Some(*again)
            }
            Self::Placing
            | Self::Queued
            | Self::Running { .. }
            | Self::Leaving { .. }
            | Self::Finishing { telling: Telling::Sent { .. }, .. } => None,
        }
    }

    /// The delivery that it waits for, where it waits for one.
    pub(crate) fn delivery(&self) -> Option<u64> {
        match self {
            Self::Leaving { delivery }
            | Self::Finishing { telling: Telling::Sent { delivery }, .. } => Some(*delivery),
            Self::Placing
            | Self::Waiting { .. }
            | Self::Queued
            | Self::Running { .. }
            | Self::Finishing { telling: Telling::Later { .. }, .. } => None,
        }
    }

    /// Go on to another stage; gives the one before.
    pub(crate) fn go(&mut self, next: Self) -> Self {
        assert!(self.may_become(&next), "a process cannot go from {self} to {next}");
        core::mem::replace(self, next)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Placing => "placing",
            Self::Waiting { .. } => "waiting",
            Self::Queued => "queued",
            Self::Running { sliced: false } => "running",
            Self::Running { sliced: true } => "sliced",
            Self::Leaving { .. } => "leaving",
            Self::Finishing { .. } => "finishing",
        })
    }
}
