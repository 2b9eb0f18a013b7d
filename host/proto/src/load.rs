//! The load figure of a node: what travels on beacons, delivery headers and acknowledgements.

use crate::{Error, Reader, Wire, Writer};

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

impl Wire for Load {
    fn write(&self, writer: &mut Writer) {
        writer.array(11);
        writer.unsigned(self.at_us);
        writer.unsigned(self.wait_us);
        writer.unsigned(self.idle);
        writer.unsigned(self.capacity_milli);
        writer.unsigned(self.speed_milli);
        writer.unsigned(self.queued);
        writer.unsigned(self.inflow_milli);
        writer.unsigned(self.cpu_permille);
        writer.unsigned(self.memory_permille);
        writer.unsigned(self.network_permille);
        writer.boolean(self.accepting);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(11, |r| {
            Ok(Self {
                at_us: r.unsigned()?,
                wait_us: r.narrow()?,
                idle: r.narrow()?,
                capacity_milli: r.narrow()?,
                speed_milli: r.narrow()?,
                queued: r.narrow()?,
                inflow_milli: r.narrow()?,
                cpu_permille: r.narrow()?,
                memory_permille: r.narrow()?,
                network_permille: r.narrow()?,
                accepting: r.boolean()?,
            })
        })
    }
}
