//! The load figure of a node: what travels on beacons, delivery headers and acknowledgements.

use crate::layout::{Plain, record};

/// How loaded a node is, as it knows itself. Small, because it rides on everything a node sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// When it was so, in microseconds on the node's own steady clock: of two loads of one node the
    /// higher is the newer. Never compared between nodes or incarnations.
    pub at_us: u64,
    /// How long a step that arrives now is expected to wait before it runs, in microseconds:
    /// queueing for a core, and what memory pressure and a busy network add.
    pub wait_us: u32,
    /// Cores that nothing runs on.
    pub idle: u16,
    /// Usable cores times measured speed, in thousandths of a core of speed one.
    pub capacity_milli: u32,
    /// The speed of one core, in thousandths; 0 when it was not told.
    pub speed_milli: u32,
    /// Steps that run or are runnable, and processes in the run queue.
    pub queued: u32,
    /// Work that comes in, in thousandths of a core of speed one.
    pub inflow_milli: u32,
    /// Busy share of the usable cores over the last interval, in thousandths.
    pub cpu_permille: u16,
    /// Used share of the memory limit, in thousandths.
    pub memory_permille: u16,
    /// Used share of the network link, in thousandths.
    pub network_permille: u16,
    /// Whether the node takes new processes: not while it drains or its memory is nearly full.
    pub accepting: bool,
}

record! {
    Load {
        at_us: Plain,
        wait_us: Plain,
        idle: Plain,
        capacity_milli: Plain,
        speed_milli: Plain,
        queued: Plain,
        inflow_milli: Plain,
        cpu_permille: Plain,
        memory_permille: Plain,
        network_permille: Plain,
        accepting: Plain,
    }
}
