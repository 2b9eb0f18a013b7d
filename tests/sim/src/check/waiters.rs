//! *Waiters*: each client that a gateway took in waits there, as the only one of its kind, until its
//! one reply, which comes in time; and no other does.

use std::collections::BTreeSet;

use izna_core::{Input, Reply};

use super::Checker;
use crate::{
    World,
    clients::{process_id, request_of},
    event::Moment,
};

/// An answer may be this much late: a timer's grain.
const GRACE_US: u64 = 1_000;

/// Who waits at each gateway, by deadline.
#[derive(Debug)]
pub(crate) struct Waiters {
    waiting: Vec<BTreeSet<(Moment, usize)>>,
}

impl Checker for Waiters {
    const NAME: &'static str = "waiters";
}

impl Waiters {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { waiting: vec![BTreeSet::new(); nodes] }
    }

    pub(crate) fn crashed(&mut self, n: usize) {
        self.waiting[n].clear();
    }
}

impl World {
    /// A client comes, or goes.
    pub(crate) fn note_waiter(&mut self, n: usize, input: &Input) {
        let waiting = &mut self.checkers.waiters.waiting[n];
        match input {
            Input::Submit(submission) => {
                let number = request_of(submission.id);
                waiting.insert((self.requests[number].deadline, number));
            }
            Input::Abandon(slot) => {
                let number = slot.0 as usize;
                waiting.remove(&(self.requests[number].deadline, number));
            }
            _ => {}
        }
    }

    /// A gateway answers a client.
    pub(crate) fn answered(&mut self, n: usize, reply: &Reply) {
        let (now, resumed_at) = (self.now, self.nodes[n].resumed_at);
        let incarnation = self.nodes[n].incarnation;
        let number = request_of(reply.process);
        let request = &mut self.requests[number];
        request.replies += 1;
        let latest = request.deadline.max(resumed_at) + GRACE_US;
        let wrong = if request.gateway != n || request.incarnation != incarnation {
            Some(String::from("a gateway answers a request that it was not asked"))
        } else if request.replies > 1 {
            Some(String::from("a client is answered twice"))
        } else if request.abandoned {
            Some(String::from("a client that went away is answered"))
        } else if now > latest {
            Some(format!("a client is answered {} us late", now - request.deadline))
        } else {
            None
        };
        self.checkers.waiters.waiting[n].remove(&(request.deadline, number));
        if let Some(wrong) = wrong {
            self.fail::<Waiters>(Some(reply.process), n, wrong);
        }
    }

    /// As many wait as are to, and none of them for too long.
    pub(crate) fn check_waiters(&mut self, n: usize) {
        let Some(core) = &self.nodes[n].core else { return };
        let waiting = &self.checkers.waiters.waiting[n];
        let (_, kept) = core.held();
        if let Some((_, number)) = waiting.first().filter(|(deadline, _)| *deadline <= self.now) {
            let process = process_id(*number);
            let message = String::from("a client is not answered at its deadline");
            return self.fail::<Waiters>(Some(process), n, message);
        }
        if kept != waiting.len() {
            let message = format!("keeps {kept} clients waiting, and {} do", waiting.len());
            self.fail::<Waiters>(None, n, message);
        }
    }

    /// In the end no client waits.
    pub(crate) fn check_replies(&mut self) {
        for n in 0..self.nodes.len() {
            if let Some((_, number)) = self.checkers.waiters.waiting[n].first() {
                let process = process_id(*number);
                let message = String::from("a client is never answered");
                self.fail::<Waiters>(Some(process), n, message);
            }
        }
    }
}
