//! The checkers, each named for what it checks, and what they are told.

mod bound;
mod outcome;
mod ownership;
mod table;
mod view;

use izna_core::Input;
use izna_proto::{Message, ProcessId};

pub(crate) use ownership::{Copies, Ownership};

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
        node: usize,
        incarnation: u64,
    ) -> Self {
        let _ = node;
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
    pub(crate) fn fail(
        &mut self,
        checker: &'static str,
        process: Option<ProcessId>,
        node: usize,
        message: String,
    ) {
        if self.violation.is_none() {
            let node = Some(node);
            self.violation = Some(Violation { checker, at: self.now, process, node, message });
        }
    }

    /// Look whether all is well at a node after something happened there.
    pub(crate) fn check(&mut self, n: usize, cause: &Cause, effects: &Effects) {
        self.check_ownership(n, cause, effects);
        self.check_bounds(n);
    }

    /// Look whether all has come true in the end.
    pub(crate) fn check_end(&mut self) {
        self.check_replies();
        self.check_rest();
        self.check_tables();
        self.check_views();
    }
}
