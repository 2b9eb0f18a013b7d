//! Who waits for the end of a process: clients of this node's gateway, each in a slot from its
//! request to its one reply.

use alloc::{collections::BTreeMap, format, vec::Vec};

use izna_proto::{Failure, FailureKind, Outcome, ProcessId, Revision, SlotId, Trail};

use crate::{
    effects::{Effects, Timer},
    io::{Output, Reply, Submission},
    sabotage::Sabotage,
    time::{Duration, Time},
};

/// A client that waits. Others read it; what changes it is below.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) submission: Submission,
    /// The revision with which its process begins, again and again.
    pub(crate) revision: Revision,
    pub(crate) born: Time,
    pub(crate) deadline: Time,
    /// How often its process was started again.
    pub(crate) attempt: u32,
    /// When a node last said that it holds the process.
    heard: Time,
}

#[derive(Debug)]
pub(crate) struct Waiters {
    waiting: BTreeMap<SlotId, Waiter>,
    restarts: Restarts,
    /// When lost processes were last looked for.
    looked: Time,
}

/// How many lost processes may be started again: a share of the new ones, so that repeats cannot
/// feed on themselves.
#[derive(Debug)]
struct Restarts {
    tokens: f64,
    at: Time,
}

impl Restarts {
    const SHARE: f64 = 0.2;
    const PER_SECOND: f64 = 10.0;
    const MAX: f64 = 512.0;

    fn submitted(&mut self) {
        self.tokens = (self.tokens + Self::SHARE).min(Self::MAX);
    }

    fn take(&mut self, now: Time) -> bool {
        let passed = now.since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * Self::PER_SECOND).min(Self::MAX);
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

impl Waiters {
    pub(crate) fn new(now: Time) -> Self {
        let restarts = Restarts { tokens: Restarts::MAX, at: now };
        Self { waiting: BTreeMap::new(), restarts, looked: now }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn get(&self, slot: SlotId) -> Option<&Waiter> {
        self.waiting.get(&slot)
    }

    /// A request has come, admitted or not.
    pub(crate) fn submitted(&mut self, fx: &mut Effects) {
        fx.counters.submitted += 1;
        self.restarts.submitted();
    }

    /// Why no further client may wait.
    pub(crate) fn full(&self, fx: &Effects) -> Option<Failure> {
        let is_full = self.waiting.len() >= fx.config.waiting_max;
        let message = || format!("{} clients wait at this gateway", self.waiting.len());
        is_full.then(|| Failure::new(FailureKind::Busy, message()))
    }

    /// A client waits from now on.
    pub(crate) fn admit(&mut self, fx: &mut Effects, submission: Submission, revision: Revision) {
        let (slot, born) = (submission.slot, fx.now);
        let deadline = born + submission.deadline;
        let waiter = Waiter { submission, revision, born, deadline, attempt: 0, heard: born };
        self.waiting.insert(slot, waiter);
        fx.arm(deadline, Timer::Slot(slot));
    }

    /// The one reply of a slot; later ends of the same process find none and are dropped.
    pub(crate) fn reply(&mut self, fx: &mut Effects, slot: SlotId, outcome: Outcome, trail: Trail) {
        if fx.sabotaged(Sabotage::ReplyTwice) {
            if let Some(waiter) = self.waiting.get(&slot) {
                let (process, took) = (waiter.submission.id, fx.now.since(waiter.born));
                fx.put(Output::Reply(Reply { slot, process, outcome, trail, took }));
            }
            return;
        }
        let Some(waiter) = self.waiting.remove(&slot) else {
            fx.counters.late_ends += 1;
            return;
        };
        fx.disarm(waiter.deadline, Timer::Slot(slot));
        let took = fx.now.since(waiter.born);
        let busy = |failure: &Failure| failure.kind == FailureKind::Busy;
        if !outcome.as_ref().is_err_and(busy) {
            fx.counters.ended(took, &trail);
        }
        match &outcome {
            Ok(_) => fx.counters.replied += 1,
            Err(failure) if busy(failure) => fx.counters.not_admitted += 1,
            Err(_) => fx.counters.failed += 1,
        }
        let process = waiter.submission.id;
        fx.put(Output::Reply(Reply { slot, process, outcome, trail, took }));
    }

    /// The client of a slot is gone.
    pub(crate) fn abandon(&mut self, fx: &mut Effects, slot: SlotId) {
        if fx.sabotaged(Sabotage::LeakSlot) {
            return;
        }
        if let Some(waiter) = self.waiting.remove(&slot) {
            fx.disarm(waiter.deadline, Timer::Slot(slot));
            fx.counters.abandoned += 1;
        }
    }

    /// The deadline of a client has come.
    pub(crate) fn late(&mut self, fx: &mut Effects, slot: SlotId) {
        let Some(waiter) = self.waiting.get(&slot) else { return };
        if fx.sabotaged(Sabotage::IgnoreDeadline) {
            return;
        }
        let millis = waiter.submission.deadline.as_millis();
        let failure = Failure::new(FailureKind::Deadline, format!("no result after {millis} ms"));
        self.reply(fx, slot, Err(failure), Trail::default());
    }

    /// Whether the client of this process waits in that slot.
    pub(crate) fn awaits(&self, slot: SlotId, process: ProcessId) -> bool {
        self.waiting.get(&slot).is_some_and(|waiter| waiter.submission.id == process)
    }

    /// A node, this one maybe, holds the process of a slot.
    pub(crate) fn is_held(&mut self, fx: &Effects, slot: SlotId, process: ProcessId) {
        if let Some(waiter) = self.waiting.get_mut(&slot)
            && waiter.submission.id == process
        {
            waiter.heard = fx.now;
        }
    }

    /// Lost processes are looked for now. If this node was stopped for a while, what the others told
    /// it is yet to be read: nothing is lost before that.
    pub(crate) fn look(&mut self, fx: &Effects) {
        let away = fx.now.since(self.looked);
        self.looked = fx.now;
        if away > fx.config.lost_after / 2 {
            self.waiting.values_mut().for_each(|waiter| waiter.heard = fx.now);
        }
    }

    /// The slots whose process nobody told of for so long.
    pub(crate) fn lost(&self, fx: &Effects, after: Duration) -> Vec<SlotId> {
        let lost = self.waiting.iter().filter(|(_, waiter)| fx.now.since(waiter.heard) > after);
        lost.map(|(slot, _)| *slot).collect()
    }

    /// Whether a lost process is started again: it may run twice, and there are not too many of
    /// them. If so, it is a new attempt.
    pub(crate) fn may_repeat(&mut self, fx: &mut Effects, slot: SlotId) -> bool {
        let Some(waiter) = self.waiting.get_mut(&slot) else { return false };
        let may = waiter.submission.idempotent && waiter.attempt + 1 < fx.config.attempts_max;
        if !(may || fx.sabotaged(Sabotage::RepeatAll)) || !self.restarts.take(fx.now) {
            return false;
        }
        waiter.attempt += 1;
        waiter.heard = fx.now;
        fx.counters.started_again += 1;
        true
    }

    /// What must hold between two inputs. Panics with what does not.
    pub(crate) fn check(&self, fx: &Effects) {
        for (slot, waiter) in &self.waiting {
            let armed = fx.is_armed(waiter.deadline, Timer::Slot(*slot));
            assert!(armed, "{slot:?} waits without its deadline");
            assert!(
                waiter.attempt < fx.config.attempts_max.max(1) || fx.sabotaged(Sabotage::RepeatAll)
            );
        }
    }
}
