//! What was seen to happen, so that a run in which nothing went wrong is not taken for a proof.

use std::collections::BTreeMap;

use izna_core::Counters;

/// How often each thing happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    counts: BTreeMap<&'static str, u64>,
}

/// What must have happened at least once in the default seeds: each kind of fault and each rare
/// branch of the core.
pub const SOMETIMES: &[&str] = &[
    "late end",
    "arrival bounced",
    "attempt started again",
    "beacon duplicated",
    "beacon dropped as old",
    "beacon late",
    "beacon lost",
    "beacon overtaken",
    "client gone",
    "component adopted",
    "component not adopted",
    "component not had",
    "component released",
    "crash",
    "delivery repeated",
    "delivery unanswerable",
    "delivery unclear",
    "deploy",
    "drain",
    "drained",
    "link broken",
    "link clogged",
    "link closed to a dead node",
    "memory empty",
    "memory found",
    "memory of another node",
    "memory tight",
    "memory too large",
    "memory unavailable",
    "message lost",
    "message overtaken",
    "one-way partition",
    "partition",
    "pause",
    "process expired",
    "process orphaned",
    "overload",
    "pull served",
    "pull unserved",
    "queued process given",
    "queued process offered",
    "refused: component",
    "refused: draining",
    "refused: full",
    "refused: revision",
    "reply: busy",
    "reply: deadline",
    "reply: failed",
    "reply: limit",
    "reply: not-found",
    "reply: result",
    "reply: unavailable",
    "step sliced",
    "token used",
    "undeploy",
];

impl Seen {
    pub(crate) fn count(&mut self, what: &'static str) {
        self.count_many(what, 1);
    }

    fn count_many(&mut self, what: &'static str, times: u64) {
        if times > 0 {
            *self.counts.entry(what).or_default() += times;
        }
    }

    /// What a core counted in its life.
    pub(crate) fn add(&mut self, counters: &Counters) {
        self.count_many("late end", counters.late_ends);
        self.count_many("arrival bounced", counters.bounced);
        self.count_many("attempt started again", counters.started_again);
        self.count_many("beacon dropped as old", counters.beacons_dropped);
        self.count_many("delivery repeated", counters.duplicates);
        self.count_many("delivery unanswerable", counters.unanswerable);
        self.count_many("delivery unclear", counters.unclear);
        self.count_many("memory of another node", counters.memory_requests);
        self.count_many("component adopted", counters.adopted);
        self.count_many("component given up", counters.given_up);
        self.count_many("component not adopted", counters.not_adopted);
        self.count_many("migration", counters.migrations);
        self.count_many("process expired", counters.expired);
        self.count_many("process orphaned", counters.orphans);
        self.count_many("overload", counters.overloads);
        self.count_many("pull served", counters.pulls_served);
        self.count_many("pull unserved", counters.pulls - counters.pulls_served);
        self.count_many("queued process given", counters.given);
        self.count_many("queued process offered", counters.offered);
        self.count_many("token used", counters.tokens_used);
        self.count_many("step", counters.steps);
    }

    /// Add what another run saw.
    pub fn merge(&mut self, other: &Self) {
        for (what, times) in &other.counts {
            self.count_many(what, *times);
        }
    }

    /// What must happen sometimes and did not.
    pub fn missing(&self) -> Vec<&'static str> {
        SOMETIMES.iter().copied().filter(|what| !self.counts.contains_key(what)).collect()
    }

    /// All that happened, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(what, times)| (*what, *times))
    }
}
