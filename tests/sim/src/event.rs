//! What is to happen, in the order of time; what is to happen at one moment, in the order of entry.

use std::{cmp::Ordering, collections::BinaryHeap, rc::Rc};

use izna_core::{HeldId, Input};
use izna_proto::{Beacon, Digest, Message};

use crate::faults::Fault;

/// Microseconds of virtual time since the world began.
pub(crate) type Moment = u64;

/// Something that is to happen. `incarnation` tells of which life of a node it is a part.
#[derive(Debug)]
pub(crate) enum Event {
    /// A core's deadline.
    Wake {
        node: usize,
    },
    /// A beacon reaches everyone who is to get it in time.
    Beacon {
        from: usize,
        beacon: Rc<Beacon>,
    },
    /// A beacon reaches one node late, or once more.
    Straggler {
        from: usize,
        to: usize,
        beacon: Rc<Beacon>,
    },
    /// A message comes out of a link.
    Message {
        from: usize,
        to: usize,
        generation: u32,
        incarnation: u64,
        parcel: Box<Parcel>,
    },
    /// An attempt to make a link ends.
    Connected {
        from: usize,
        to: usize,
        generation: u32,
        incarnation: u64,
    },
    /// The dialer sees that a link is broken.
    Broken {
        from: usize,
        to: usize,
        generation: u32,
    },
    /// A step has used its time on a core.
    Turn {
        node: usize,
        incarnation: u64,
        held: HeldId,
    },
    /// A step without a slot, or one that waited for the host, ends.
    Rest {
        node: usize,
        incarnation: u64,
        held: HeldId,
    },
    /// A component was fetched and compiled, or not.
    Fetched {
        node: usize,
        incarnation: u64,
        fetch: Box<Fetch>,
    },
    /// The shell has something to tell its core.
    Tell {
        node: usize,
        incarnation: u64,
        input: Box<Input>,
    },
    /// The next client comes.
    Arrival,
    /// A client goes away.
    Abandon {
        request: usize,
    },
    /// Someone deploys.
    Deploy {
        app: usize,
        undeploy: bool,
    },
    /// Something goes wrong, or right again.
    Fault(Box<Fault>),
    /// Everything that is wrong is made right, and nothing goes wrong any more.
    Heal,
    /// All apps are deployed once more, and some last clients come.
    LastDeploys,
    LastArrivals,
}

/// A message in a link.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// The how manieth of the link it is.
    pub(crate) number: u64,
    pub(crate) message: Message,
}

/// An attempt to get a component.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetch {
    pub(crate) digest: Digest,
    /// Which attempt.
    pub(crate) generation: u64,
    pub(crate) ok: bool,
}

/// The events to come.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    at: Moment,
    order: u64,
    event: Event,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Moment, event: Event) {
        self.next += 1;
        self.heap.push(Entry { at, order: self.next, event });
    }

    pub(crate) fn pop(&mut self) -> Option<(Moment, Event)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives its greatest first.
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}
