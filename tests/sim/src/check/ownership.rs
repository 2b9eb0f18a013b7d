//! *Ownership*: a process is held by one node or is on its way between two. A second copy comes
//! only of a delivery that stayed unclear through no fault of the core, and a copy goes only by
//! being handed over, ended, late, or with its node.

use std::collections::{BTreeMap, BTreeSet};

use izna_core::{Input, Step};
use izna_proto::{Message, NodeId, ProcessId};

use super::{Cause, Checker};
use crate::{
    World,
    clients::{Request, request_of},
    event::Moment,
    node::{Effects, Hold},
    world::index,
};

/// Where one attempt of a process is.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// Its nodes; one that is being handed over is at both.
    held: Vec<usize>,
    /// Deliveries that were unclear: so many copies more there may be.
    unclear: usize,
    handovers: Vec<Handover>,
    /// The nodes that it left since its last step, and since when it is at the one where it is.
    left: Vec<usize>,
    since: Moment,
}

/// A delivery that its source has not heard of.
#[derive(Debug)]
struct Handover {
    source: usize,
    target: usize,
    delivery: u64,
    sent: Moment,
    /// How often the source had learned that its link to the target was made or broken.
    told: u64,
    taken: bool,
}

/// What is to be known beside the copies.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    /// What each life of each node took: node, incarnation, process, attempt, hops.
    taken: BTreeSet<(usize, u64, ProcessId, u32, u32)>,
    /// Ends of processes on their way, by source and delivery; true once the gateway has it.
    finishes: BTreeMap<(usize, u64), bool>,
    /// By source and target: how often the source learned that the link was made or broken or that
    /// the target started again, and the incarnation that it knows of.
    told: Vec<Vec<(u64, u64)>>,
}

impl Checker for Ownership {
    const NAME: &'static str = "ownership";
}

impl Ownership {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { told: vec![vec![(0, 0); nodes]; nodes], ..Self::default() }
    }

    fn told(&self, source: usize, target: usize) -> u64 {
        self.told[source][target].0
    }

    /// A node learns something of its link to another.
    pub(crate) fn tell(&mut self, source: usize, input: &Input) {
        let (peer, incarnation) = match input {
            Input::LinkUp { peer, incarnation, .. } => (*peer, Some(*incarnation)),
            Input::LinkDown(peer) => (*peer, None),
            Input::Heard(beacon) => {
                if self.told[source][index(beacon.node)].1 >= beacon.incarnation {
                    return;
                }
                (beacon.node, Some(beacon.incarnation))
            }
            // Beacons of other zones tell nothing: that a node there began anew, its own link tells.
            Input::Called { peer, incarnation, .. } => {
                if self.told[source][index(*peer)].1 >= *incarnation {
                    return;
                }
                (*peer, Some(*incarnation))
            }
            _ => return,
        };
        let told = &mut self.told[source][index(peer)];
        told.0 += 1;
        told.1 = told.1.max(incarnation.unwrap_or(0));
    }

    /// A node is gone, with all that it held.
    pub(crate) fn crashed(
        &mut self,
        n: usize,
        copies: &[(ProcessId, u32)],
        requests: &mut [Request],
    ) {
        for (process, attempt) in copies {
            requests[request_of(*process)].copies(*attempt).drop_at(n);
        }
    }
}

impl Request {
    fn copies(&mut self, attempt: u32) -> &mut Copies {
        let attempt = attempt as usize;
        if self.attempts.len() <= attempt {
            self.attempts.resize_with(attempt + 1, Copies::default);
        }
        &mut self.attempts[attempt]
    }
}

impl Copies {
    fn drop_at(&mut self, n: usize) {
        if let Some(at) = self.held.iter().position(|held| *held == n) {
            self.held.swap_remove(at);
        }
        if !self.held.contains(&n) {
            self.handovers.retain(|handover| handover.source != n);
        }
    }

    /// How many there are: one that is handed over counts once.
    fn count(&self) -> usize {
        let over = |h: &&Handover| h.taken && self.held.contains(&h.source);
        self.held.len().saturating_sub(self.handovers.iter().filter(over).count())
    }

    fn is_one_at(&self, n: usize) -> bool {
        self.held.iter().filter(|held| **held == n).count() == 1
    }

    fn handover(&mut self, source: usize, delivery: u64) -> Option<&mut Handover> {
        self.handovers.iter_mut().find(|h| h.source == source && h.delivery == delivery)
    }
}

impl World {
    /// A node says something: a process leaves, or ended.
    pub(crate) fn sends(&mut self, n: usize, peer: NodeId, message: &Message) {
        match message {
            Message::Deliver(delivery) => {
                let (process, target) = (&delivery.process, index(peer));
                self.check_process(n, process);
                self.acts(n, process.id, process.attempt);
                self.check_delivery(n, peer, process);
                let told = self.checkers.ownership.told(n, target);
                let handover = Handover {
                    source: n,
                    target,
                    delivery: delivery.id.0,
                    sent: self.now,
                    told,
                    taken: false,
                };
                let copies = self.requests[request_of(process.id)].copies(process.attempt);
                copies.handovers.push(handover);
            }
            Message::Finish(finish) => {
                self.checkers.ownership.finishes.insert((n, finish.id.0), false);
            }
            Message::Refused { refusal, .. } => self.seen.count(match refusal {
                izna_proto::Refusal::Full => "refused: full",
                izna_proto::Refusal::Component => "refused: component",
                izna_proto::Refusal::Draining => "refused: draining",
                izna_proto::Refusal::Hops => "refused: hops",
                izna_proto::Refusal::Revision => "refused: revision",
            }),
            _ => {}
        }
    }

    /// A step of a process runs.
    pub(crate) fn ran(&mut self, n: usize, step: &Step) {
        if self.nodes[n].holds.get(&step.digest) != Some(&Hold::Ready) {
            let message = format!("runs {} without having it", step.component);
            return self.fail::<Ownership>(Some(step.process), n, message);
        }
        let status = self.nodes[n].core.as_ref().and_then(|core| core.process(step.held));
        let Some(status) = status else {
            let message = String::from("runs a step of a process that it does not hold");
            return self.fail::<Ownership>(Some(step.process), n, message);
        };
        self.acts(n, status.id, status.attempt);
        let now = self.now;
        let request = &mut self.requests[request_of(status.id)];
        request.ran = true;
        let copies = request.copies(status.attempt);
        copies.left.clear();
        copies.since = now;
    }

    /// A node does something with a process that it had sent away: it must have had to give up on
    /// that delivery.
    fn acts(&mut self, n: usize, process: ProcessId, attempt: u32) {
        let now = self.now;
        let patience = u64::try_from(self.nodes[n].config.acknowledge_timeout.as_micros());
        let patience = patience.expect("a short time");
        let ownership = &self.checkers.ownership;
        let given_up = |handover: &Handover| {
            now - handover.sent >= patience || ownership.told(n, handover.target) != handover.told
        };
        let copies = self.requests[request_of(process)].copies(attempt);
        let open = copies.handovers.len();
        copies.handovers.retain(|handover| handover.source != n || !given_up(handover));
        copies.unclear += open - copies.handovers.len();
        let early = copies.handovers.iter().find(|handover| handover.source == n);
        if let Some(early) = early.filter(|_| copies.is_one_at(n)) {
            let delivery = early.delivery;
            let message = format!("acts on it while delivery-{delivery} may still be answered");
            self.fail::<Ownership>(Some(process), n, message);
        }
    }

    fn check_delivery(&mut self, n: usize, peer: NodeId, process: &izna_proto::Process) {
        let (now, target) = (self.now, index(peer));
        let retry = u64::try_from(self.nodes[n].config.retry_interval.as_micros());
        let copies = self.requests[request_of(process.id)].copies(process.attempt);
        if now - copies.since >= retry.expect("a short time") {
            // It found no node for a while, and may try again those that it has left.
            copies.left.clear();
        }
        let back = copies.unclear == 0 && copies.left.contains(&target);
        if back || process.left.contains(&peer) {
            let message = format!("goes back to node {target}, which it left since its last step");
            self.fail::<super::bound::Bound>(Some(process.id), n, message);
        }
    }

    /// Compare what a node holds with what it held before.
    pub(crate) fn check_ownership(&mut self, n: usize, cause: &Cause, effects: &Effects) {
        let Some(core) = &self.nodes[n].core else { return };
        let mut before = std::mem::take(&mut self.scratch);
        before.clear();
        before.extend(core.copies());
        let mut came = false;
        if before != self.nodes[n].copies {
            std::mem::swap(&mut before, &mut self.nodes[n].copies);
            let (gone, new) = difference(&before, &self.nodes[n].copies);
            for copy in gone {
                self.went(n, copy, cause, effects);
            }
            for copy in new {
                came = true;
                self.came(n, copy, cause);
            }
        }
        self.scratch = before;
        if effects.accepted && !came {
            self.accepted_nothing(n, cause);
        }
    }

    /// What an answer says of a delivery, before the core acts on it.
    pub(crate) fn note_answers(&mut self, n: usize, cause: &Cause) {
        match cause {
            Cause::Finish { from, delivery } => {
                if let Some(arrived) = self.checkers.ownership.finishes.get_mut(&(*from, *delivery))
                {
                    *arrived = true;
                }
            }
            Cause::Refused { delivery } => {
                for at in 0..self.nodes[n].copies.len() {
                    let (process, attempt) = self.nodes[n].copies[at];
                    let copies = self.requests[request_of(process)].copies(attempt);
                    copies.handovers.retain(|h| h.source != n || h.delivery != *delivery);
                }
            }
            _ => {}
        }
    }

    /// A node holds what it did not hold before.
    fn came(&mut self, n: usize, (process, attempt): (ProcessId, u32), cause: &Cause) {
        let (now, incarnation) = (self.now, self.nodes[n].incarnation);
        let request = &mut self.requests[request_of(process)];
        let home = request.gateway == n && request.incarnation == incarnation;
        let may_again = request.idempotent;
        let copies = request.copies(attempt);
        copies.held.push(n);
        let wrong = match *cause {
            Cause::Deliver { from, delivery, process: id, attempt: which, hops }
                if (id, which) == (process, attempt) =>
            {
                if let Some(handover) = copies.handover(from, delivery) {
                    handover.taken = true;
                    copies.left.push(from);
                    copies.since = now;
                }
                let new = self.checkers.ownership.taken.insert((n, incarnation, id, which, hops));
                (!new).then(|| String::from("takes a delivery again that it took before"))
            }
            Cause::Submit { process: id } if id == process && attempt == 0 => {
                copies.since = now;
                None
            }
            _ if attempt > 0 && home && copies.held.len() == 1 => {
                copies.since = now;
                let again = "starts a process again that must not run twice";
                (!may_again).then(|| String::from(again))
            }
            _ => Some(format!("holds it for no reason: {cause:?}")),
        };
        let copies = self.requests[request_of(process)].copies(attempt);
        let (count, unclear) = (copies.count(), copies.unclear);
        let wrong = wrong.or_else(|| {
            (count > 1 + unclear).then(|| {
                let held = &copies.held;
                format!("{count} copies at {held:?} after {unclear} unclear deliveries")
            })
        });
        if let Some(wrong) = wrong {
            self.fail::<Ownership>(Some(process), n, wrong);
        }
    }

    /// A node does not hold any more what it held.
    fn went(&mut self, n: usize, copy: (ProcessId, u32), cause: &Cause, effects: &Effects) {
        let (process, attempt) = copy;
        let (now, gateway) = (self.now, self.requests[request_of(process)].gateway);
        let gone = !self.nodes[gateway].lives(self.requests[request_of(process)].incarnation);
        let request = &mut self.requests[request_of(process)];
        let over = effects.replies.contains(&process) || now >= request.deadline || gone;
        let closed = gateway == n && (request.replies > 0 || request.abandoned);
        let ended = matches!(cause, Cause::Stepped) && gateway == n;
        let copies = request.copies(attempt);
        let handed = match *cause {
            Cause::Accepted { delivery } => {
                let taken = copies.handover(n, delivery).is_some_and(|handover| handover.taken);
                copies.handovers.retain(|h| h.source != n || h.delivery != delivery);
                taken || self.checkers.ownership.finishes.get(&(n, delivery)) == Some(&true)
            }
            _ => false,
        };
        copies.drop_at(n);
        if !(over || closed || ended || handed) {
            let message = format!("lets go of it: {cause:?}");
            self.fail::<Ownership>(Some(process), n, message);
        }
    }

    /// A node accepted a delivery and does not hold the process: it had it before, or it is over.
    fn accepted_nothing(&mut self, n: usize, cause: &Cause) {
        let Cause::Deliver { from, delivery, process, attempt, hops } = *cause else { return };
        let incarnation = self.nodes[n].incarnation;
        let known = (n, incarnation, process, attempt, hops);
        let repeated = self.checkers.ownership.taken.contains(&known);
        let now = self.now;
        let request = &mut self.requests[request_of(process)];
        let over = now >= request.deadline || request.gateway == n;
        if let Some(handover) = request.copies(attempt).handover(from, delivery) {
            handover.taken = true;
        }
        if !(repeated || over) {
            let message = String::from("accepts a process without taking it");
            self.fail::<Ownership>(Some(process), n, message);
        }
        self.checkers.ownership.taken.insert(known);
    }
}

type Copy = (ProcessId, u32);

/// What is only in the one and what is only in the other, of two lists that are alike but for a
/// few places.
fn difference(one: &[Copy], other: &[Copy]) -> (Vec<Copy>, Vec<Copy>) {
    let alike = |(a, b): &(&Copy, &Copy)| a == b;
    let head = one.iter().zip(other).take_while(alike).count();
    let (one, other) = (&one[head..], &other[head..]);
    let tail = one.iter().rev().zip(other.iter().rev()).take_while(alike).count();
    let mut gone = one[..one.len() - tail].to_vec();
    let mut new = other[..other.len() - tail].to_vec();
    new.retain(|copy| match gone.iter().position(|old| old == copy) {
        Some(at) => {
            gone.swap_remove(at);
            false
        }
        None => true,
    });
    (gone, new)
}
