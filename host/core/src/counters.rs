//! What happened so far at a node, counted.

use izna_proto::Trail;

use crate::time::{Duration, micros};

/// What happened so far at this node. Each only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Requests of clients.
    pub submitted: u64,
    /// Requests refused at once: full, draining, or nothing of that name.
    pub not_admitted: u64,
    /// Results given to clients.
    pub replied: u64,
    /// Failures given to clients.
    pub failed: u64,
    /// Clients that went away.
    pub abandoned: u64,
    /// Lost processes that were started again.
    pub started_again: u64,
    /// Ends of processes that nobody waited for any more.
    pub late_ends: u64,
    /// Steps that ended.
    pub steps: u64,
    /// Deliveries sent.
    pub deliveries: u64,
    /// Deliveries that the target accepted.
    pub migrations: u64,
    /// The time from delivery to acceptance, all of these together, in microseconds.
    pub migration_us: u64,
    /// Processes taken in from other nodes.
    pub arrivals: u64,
    /// Of them, those that were sent on at once, because another node was markedly better.
    pub bounced: u64,
    /// Times that this node became overloaded: its wait is markedly longer than another's.
    pub overloads: u64,
    /// Processes handed to a node that had asked before they came.
    pub tokens_used: u64,
    /// Askings of other nodes for work.
    pub pulls: u64,
    /// Of them, those that got some.
    pub pulls_served: u64,
    /// Queued processes given to nodes that asked.
    pub given: u64,
    /// Queued processes that were offered to other nodes and left.
    pub offered: u64,
    /// Deliveries refused here.
    pub refused_here: u64,
    /// Deliveries left alone, because there was no link to answer on.
    pub unanswerable: u64,
    /// Deliveries that other nodes refused.
    pub refused_there: u64,
    /// Deliveries without an answer.
    pub unclear: u64,
    /// Deliveries that had been taken before.
    pub duplicates: u64,
    /// Processes dropped at their deadline.
    pub expired: u64,
    /// Ended processes whose gateway had restarted.
    pub orphans: u64,
    /// Beacons taken in.
    pub beacons: u64,
    /// Beacons that were old or repeated.
    pub beacons_dropped: u64,
    /// Times that this node spoke for its zone.
    pub bulletins: u64,
    /// Bulletins of other zones taken in.
    pub bulletins_heard: u64,
    /// Bulletins that were old, repeated, or of one zone too many.
    pub bulletins_dropped: u64,
    /// Processes delivered to another zone.
    pub crossings: u64,
    /// Processes that came from another zone.
    pub entries: u64,
    /// Requests to cluster memory that another node answers.
    pub memory_requests: u64,
    /// Components taken in because their holders were full.
    pub adopted: u64,
    /// Of these, those given up again.
    pub given_up: u64,
    /// Components that were to be taken in and were not: held already, not allowed, no room.
    pub not_adopted: u64,
    /// What became of the time of the processes that ended at this gateway and were not refused, all
    /// together, in microseconds: in run queues...
    pub queued_us: u64,
    /// ...on a core, or kept from it by others there...
    pub ran_us: u64,
    /// ...in a step that waited for the host...
    pub waited_us: u64,
    /// ...and the rest: on the way between nodes, lost with a node, or waiting for one.
    pub moved_us: u64,
}

impl Counters {
    /// A process has ended, so long after its client asked for it.
    pub(crate) fn ended(&mut self, took: Duration, trail: &Trail) {
        // Other nodes have measured the trail, or say so.
        for (figure, more) in [
            (&mut self.queued_us, trail.queued_us),
            (&mut self.ran_us, trail.ran_us),
            (&mut self.waited_us, trail.waited_us),
            (&mut self.moved_us, micros(took).saturating_sub(trail.measured_us())),
        ] {
            *figure = figure.saturating_add(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, a node that says its processes ran for ever stops the gateways it tells so.
    #[test]
    fn what_others_measured_overflows_nothing() {
        let (mut counters, most) = (Counters::default(), u64::MAX);
        let trail = Trail { queued_us: most, ran_us: most, waited_us: most, ..Trail::default() };
        for _ in 0..3 {
            counters.ended(Duration::from_secs(1), &trail);
        }
        assert_eq!((counters.queued_us, counters.ran_us, counters.moved_us), (most, most, 0));
    }
}
