//! What is to happen, in the order of time, and of entry at one moment. The order is kept apart from
//! what happens, so that sorting moves little.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::policy::Signal;

/// Nanoseconds since the run began.
pub(super) type Moment = u64;

/// A process, by its place in the run's list.
pub(super) type Id = u32;

#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// The next client comes.
    Arrival,
    /// A process comes out of a link.
    Arrives {
        process: Id,
        at: u32,
        from: u32,
    },
    /// A step has ended.
    Ended {
        process: Id,
        at: u32,
        life: u32,
        took: Moment,
    },
    /// A node sends a beacon.
    Beacon {
        at: u32,
    },
    /// A process that could not be placed, or not delivered, is placed again.
    Again {
        process: Id,
        at: u32,
    },
    /// A policy's own message.
    Signal {
        at: u32,
        from: u32,
        signal: Signal,
    },
    /// A policy's own timer.
    Timer {
        at: u32,
    },
    /// A zone is summed up.
    Summary {
        zone: u32,
    },
    /// A fault begins or ends.
    Fault {
        begins: bool,
    },
    /// A component is to be looked at for adoption, and one was taken in.
    Adoption,
    Adopted {
        at: u32,
        component: u16,
    },
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<(Moment, u64, u32)>>,
    events: Vec<Event>,
    free: Vec<u32>,
    entered: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Moment, event: Event) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.events[slot as usize] = event;
                slot
            }
            None => {
                self.events.push(event);
                self.events.len() as u32 - 1
            }
        };
        self.entered += 1;
        self.heap.push(Reverse((at, self.entered, slot)));
    }

    pub(super) fn pop(&mut self) -> Option<(Moment, Event)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        Some((at, self.events[slot as usize]))
    }
}
