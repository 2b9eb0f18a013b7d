//! What a machine may use beside its own state: the time, the configuration, randomness, and the ways
//! to be heard: outputs, timers, counters. Each method of a machine takes it first.

use alloc::collections::{BTreeSet, VecDeque};

use izna_proto::{Digest, Message, NodeId, SlotId};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

use crate::{
    config::Config,
    counters::Counters,
    held_id::HeldId,
    io::{Note, Output},
    sabotage::Sabotage,
    time::Time,
};

/// The context of one input.
#[derive(Debug)]
pub(crate) struct Effects {
    /// When the input came.
    pub(crate) now: Time,
    /// What the node was told once. Nothing writes it.
    pub(crate) config: Config,
    pub(crate) random: Xoshiro256PlusPlus,
    pub(crate) counters: Counters,
    outputs: VecDeque<Output>,
    timers: BTreeSet<(Time, Timer)>,
}

/// Every reason to wake up though nothing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Send a beacon, look after the view, offer queued processes to others.
    Beacon,
    /// Tell other zones how this one is.
    Speak,
    /// Tell gateways what is held here; look for lost processes.
    Holding,
    /// The deadline of a held process.
    Expire(HeldId),
    /// Try again to place a process, or to deliver its end.
    Retry(HeldId),
    /// A delivery without an answer.
    Acknowledge(u64),
    /// The deadline of a client.
    Slot(SlotId),
    /// A request to another node's part of cluster memory.
    Memory(u64),
    /// Ask again for a component.
    Component(Digest),
    /// Look whether to ask another node for work.
    Pull,
    /// A request for work without an answer.
    Asked(u64),
    /// Measure components, and decide which are to be adopted or given up.
    Adoption,
}

impl Effects {
    pub(crate) fn new(config: Config, now: Time) -> Self {
        Self {
            now,
            random: Xoshiro256PlusPlus::seed_from_u64(config.seed),
            counters: Counters::default(),
            outputs: VecDeque::new(),
            timers: BTreeSet::new(),
            config,
        }
    }

    pub(crate) fn put(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn send(&mut self, peer: NodeId, message: Message) {
        self.put(Output::Send { peer, message });
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.put(Output::Note(note));
    }

    /// The next thing to do.
    pub(crate) fn take_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn arm(&mut self, at: Time, timer: Timer) {
        self.timers.insert((at, timer));
    }

    pub(crate) fn disarm(&mut self, at: Time, timer: Timer) {
        self.timers.remove(&(at, timer));
    }

    pub(crate) fn is_armed(&self, at: Time, timer: Timer) -> bool {
        self.timers.contains(&(at, timer))
    }

    /// The next timer that is due.
    pub(crate) fn take_due(&mut self) -> Option<Timer> {
        let is_due = self.timers.first().is_some_and(|(at, _)| *at <= self.now);
        if is_due { self.timers.pop_first().map(|(_, timer)| timer) } else { None }
    }

    /// When the next timer is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(crate) fn timers(&self) -> usize {
        self.timers.len()
    }

    /// Whether a deliberate defect is on. Always false in a shipped binary.
    #[cfg(feature = "sabotage")]
    pub(crate) fn sabotaged(&self, sabotage: Sabotage) -> bool {
        self.config.sabotage == Some(sabotage)
    }

    #[cfg(not(feature = "sabotage"))]
    #[expect(clippy::unused_self, reason = "with the feature it looks into the configuration")]
    pub(crate) const fn sabotaged(&self, _: Sabotage) -> bool {
        false
    }
}

/// Numbers on the wire begin elsewhere in each incarnation, so that an answer to an earlier one is
/// told from an answer to this one.
pub(crate) const fn first_number(incarnation: u64) -> u64 {
    (incarnation & 0xff_ffff) << 40
}
