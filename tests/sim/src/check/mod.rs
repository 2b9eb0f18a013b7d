//! The checkers, each a type named for what it checks, and what they are told.

mod adoption;
mod bound;
mod core;
mod links;
mod memory;
mod order;
mod outcome;
mod ownership;
mod queue;
mod table;
mod view;
mod waiters;
mod zones;

use izna_core::Input;
use izna_proto::{Message, ProcessId};

pub(crate) use self::{core::guarded, memory::Write, ownership::Copies};

use crate::{
    World,
    clients::{Request, request_of},
    event::Moment,
    node::Effects,
    world::index,
};

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which checker found it.
    pub checker: &'static str,
    /// When, in microseconds of virtual time.
    pub at: u64,
    /// The process, if it is about one.
    pub process: Option<ProcessId>,
    /// The node, by its number.
    pub node: Option<usize>,
    /// What is wrong.
    pub message: String,
}

/// Something that looks whether what must hold does.
pub(crate) trait Checker {
    /// What its findings are told by.
    const NAME: &'static str;
}

/// The names of all checkers.
pub const CHECKERS: [&str; 13] = [
    adoption::Adoption::NAME,
    bound::Bound::NAME,
    core::Invariants::NAME,
    links::Links::NAME,
    memory::Memory::NAME,
    order::Order::NAME,
    outcome::Outcomes::NAME,
    ownership::Ownership::NAME,
    queue::Queue::NAME,
    table::Tables::NAME,
    view::Views::NAME,
    waiters::Waiters::NAME,
    zones::Zones::NAME,
];

/// What the checkers remember.
#[derive(Debug)]
pub(crate) struct Checkers {
    pub(crate) adoption: adoption::Adoption,
    pub(crate) links: links::Links,
    pub(crate) memory: memory::Memory,
    pub(crate) order: order::Order,
    pub(crate) ownership: ownership::Ownership,
    pub(crate) view: view::Views,
    pub(crate) waiters: waiters::Waiters,
    pub(crate) zones: zones::Zones,
}

impl Checkers {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            adoption: adoption::Adoption::default(),
            links: links::Links::new(nodes),
            memory: memory::Memory::new(nodes),
            order: order::Order::new(nodes),
            ownership: ownership::Ownership::new(nodes),
            view: view::Views::default(),
            waiters: waiters::Waiters::new(nodes),
            zones: zones::Zones::default(),
        }
    }

    /// A node is gone, and its next life knows nothing of this one.
    pub(crate) fn crashed(&mut self, n: usize) {
        self.adoption.crashed(n);
        self.links.crashed(n);
        self.memory.crashed(n);
        self.waiters.crashed(n);
        self.zones.crashed(n);
    }
}

/// What a core was told, as far as the checkers need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Submit { process: ProcessId },
    Deliver { from: usize, delivery: u64, process: ProcessId, attempt: u32, hops: u32 },
    Accepted { delivery: u64 },
    Refused { delivery: u64 },
    Finish { from: usize, delivery: u64 },
    Stepped,
    Beacon,
    Tick,
    Other,
}

impl Cause {
    /// The cause that an input is; notes when a request was taken in, or given up.
    pub(crate) fn of(
        input: &Input,
        requests: &mut [Request],
        now: Moment,
        incarnation: u64,
    ) -> Self {
        match input {
            Input::Submit(submission) => {
                let request = &mut requests[request_of(submission.id)];
                request.submitted = Some(now);
                request.deadline = now + request.deadline_us;
                request.incarnation = incarnation;
                Self::Submit { process: submission.id }
            }
            Input::Abandon(slot) => {
                requests[slot.0 as usize].abandoned = true;
                Self::Other
            }
            Input::Heard(_) => Self::Beacon,
            Input::Stepped { .. } => Self::Stepped,
            Input::Received { peer, message } => match message {
                Message::Deliver(delivery) => Self::Deliver {
                    from: index(*peer),
                    delivery: delivery.id.0,
                    process: delivery.process.id,
                    attempt: delivery.process.attempt,
                    hops: delivery.process.hops,
                },
                Message::Accepted { delivery, .. } => Self::Accepted { delivery: delivery.0 },
                Message::Refused { delivery, .. } => Self::Refused { delivery: delivery.0 },
                Message::Finish(finish) => {
                    Self::Finish { from: index(*peer), delivery: finish.id.0 }
                }
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

impl World {
    /// Note the first thing that is wrong.
    pub(crate) fn fail<C: Checker>(
        &mut self,
        process: Option<ProcessId>,
        node: usize,
        message: String,
    ) {
        if self.violation.is_none() {
            let (checker, node) = (C::NAME, Some(node));
            self.violation = Some(Violation { checker, at: self.now, process, node, message });
        }
    }

    /// What a node is told, before its core acts on it.
    pub(crate) fn check_input(&mut self, n: usize, input: &Input, cause: &Cause) {
        // What a beacon of another zone has, as one with a seed here sends, is not believed of its node.
        let is_far = matches!(input, Input::Heard(beacon)
            if self.zone(index(beacon.node)) != self.zone(n));
        if !is_far {
            self.checkers.ownership.tell(n, input);
        }
        self.note_answers(n, cause);
        match input {
            Input::Heard(beacon) if !is_far => {
                self.before_beacon(n, beacon);
                self.note_link(n, input);
            }
            Input::Told { bulletin, .. } => self.before_bulletin(n, bulletin),
            Input::Called { .. } | Input::LinkUp { .. } | Input::LinkDown(_) => {
                self.note_link(n, input)
            }
            Input::Received { .. } | Input::Memory { .. } => {
                self.checkers.memory.asked(input);
            }
            Input::Submit(_) | Input::Abandon(_) => self.note_waiter(n, input),
            _ => {}
        }
    }

    /// Look whether all is well at a node after something happened there, before what it puts out is
    /// done.
    pub(crate) fn check(&mut self, n: usize, cause: &Cause, effects: &Effects) {
        self.check_ownership(n, cause, effects);
        self.check_bounds(n);
        self.check_queue(n, effects);
        self.check_memory(n, effects);
        self.check_view(n);
        self.check_zones(n);
    }

    /// The same after it is done.
    pub(crate) fn check_after(&mut self, n: usize) {
        self.check_waiters(n);
        self.check_core(n);
    }

    /// Look whether all has come true in the end.
    pub(crate) fn check_end(&mut self) {
        self.check_replies();
        self.check_requests();
        self.check_rest();
        self.check_tables();
        self.check_speakers();
        self.check_views();
    }
}
