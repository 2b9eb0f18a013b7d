//! The gateway's side: a slot for each client that waits, from the request to the one reply. Here
//! processes are born, missed, started again, and ended.

use alloc::{format, vec, vec::Vec};

use izna_proto::{
    DeliveryId, Entry, Failure, FailureKind, Finish, Held as HeldProcess, Home, Message, NodeId,
    Outcome, Process, SlotId, State, Trail,
};

use crate::{
    Core, Duration, Note, Output, Reply, Submission, Time,
    core::{Held, Timer},
    life::{payload_over, unknown_component},
};

/// A client that waits.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) submission: Submission,
    revision: u64,
    born: Time,
    pub(crate) deadline: Time,
    /// How often its process was started again.
    pub(crate) attempt: u32,
    /// When a node last said that it holds the process.
    heard: Time,
}

/// How many lost processes may be started again: a share of the new ones, so that repeats cannot
/// feed on themselves.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: f64,
    at: Time,
}

impl Budget {
    const SHARE: f64 = 0.2;
    const PER_SECOND: f64 = 10.0;
    const MAX: f64 = 512.0;

    pub(crate) fn new(at: Time) -> Self {
        Self { tokens: Self::MAX, at }
    }

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

impl Core {
    /// A client's request.
    pub(crate) fn submit(&mut self, submission: Submission) {
        self.counters.submitted += 1;
        self.budget.submitted();
        let (slot, id) = (submission.slot, submission.id);
        let refuse = |core: &mut Self, failure: Failure| {
            core.counters.not_admitted += 1;
            core.put(Output::Reply(Reply {
                slot,
                process: id,
                outcome: Err(failure),
                trail: Trail::default(),
                took: Duration::ZERO,
            }));
        };
        if self.draining {
            return refuse(self, Failure::new(FailureKind::Busy, "this node drains"));
        }
        if self.slots.len() >= self.config.waiting_max {
            let message = format!("{} clients wait at this gateway", self.slots.len());
            return refuse(self, Failure::new(FailureKind::Busy, message));
        }
        if self.held.len() >= self.config.held_max {
            let message = format!("this node holds {} processes", self.held.len());
            return refuse(self, Failure::new(FailureKind::Busy, message));
        }
        let (bytes, bytes_max) = (submission.input.len(), self.config.payload_bytes_max);
        if bytes > bytes_max {
            return refuse(self, payload_over(bytes, bytes_max));
        }
        let entry = self.table.entry(&submission.app).filter(|entry| entry.app.is_some());
        let Some((revision, app)) = entry.and_then(|e| Some((e.revision, e.app.as_ref()?))) else {
            let message = format!("no app {:?} is deployed", submission.app);
            return refuse(self, Failure::new(FailureKind::NotFound, message));
        };
        if app.component(&submission.component).is_none() {
            let failure = unknown_component(app, &submission.component);
            return refuse(self, failure);
        }
        let (born, deadline) = (self.now, self.now + submission.deadline);
        let waiting = Slot { submission, revision, born, deadline, attempt: 0, heard: born };
        self.slots.insert(slot, waiting);
        self.arm(deadline, Timer::Slot(slot));
        self.start(slot);
    }

    /// Make the process of a slot and place it.
    fn start(&mut self, slot: SlotId) {
        let Some(waiting) = self.slots.get(&slot) else { return };
        let submission = &waiting.submission;
        let app = self.table.app(&submission.app, waiting.revision);
        let Some(spec) = app.and_then(|app| app.component(&submission.component)) else {
            let (name, revision) = (&submission.app, waiting.revision);
            let newest = self.table.entry(name).and_then(|entry| entry.app.as_ref());
            let message = match newest {
                Some(_) => format!(
                    "revision {revision} of app {name}, with which this request began, is not known \
                     any more: newer ones were deployed meanwhile"
                ),
                None => format!("app {name} was undeployed meanwhile"),
            };
            let failure = Failure::new(FailureKind::Unavailable, message);
            return self.reply(slot, Err(failure), Trail::default());
        };
        let entry = Entry {
            component: spec.name.clone(),
            digest: spec.digest,
            function: submission.function.clone(),
            caller: None,
            state: State::Start { input: submission.input.clone() },
            warm: None,
        };
        let process = Process {
            id: submission.id,
            app: submission.app.clone(),
            revision: waiting.revision,
            attempt: waiting.attempt,
            hops: 0,
            steps: 0,
            age_us: 0,
            budget_us: 0,
            home: Home { node: self.config.node, incarnation: self.config.incarnation, slot },
            traceparent: submission.traceparent.clone(),
            trail: Trail::default(),
            entries: vec![entry],
            left: vec![],
            active: 0,
        };
        let (born, deadline) = (waiting.born, waiting.deadline);
        let held = self.hold(process, born, deadline);
        self.place(held);
    }

    /// Whether this process waits here for its first step and is nowhere else, so that refusing it
    /// loses nothing.
    pub(crate) fn is_fresh(&self, held: &Held) -> bool {
        let process = &held.process;
        let new = process.steps == 0 && process.hops == 0 && process.attempt == 0;
        new && !held.copied && self.is_home(&process.home)
    }

    pub(crate) fn is_home(&self, home: &Home) -> bool {
        home.node == self.config.node && home.incarnation == self.config.incarnation
    }

    /// The one reply of a slot; later ends of the same process find none and are dropped.
    pub(crate) fn reply(&mut self, slot: SlotId, outcome: Outcome, trail: Trail) {
        #[cfg(feature = "sabotage")]
        if self.sabotaged(crate::Sabotage::ReplyTwice) {
            if let Some(waiting) = self.slots.get(&slot) {
                let process = waiting.submission.id;
                let took = self.now.since(waiting.born);
                self.put(Output::Reply(Reply { slot, process, outcome, trail, took }));
            }
            return;
        }
        let Some(waiting) = self.slots.remove(&slot) else {
            self.counters.late_ends += 1;
            return;
        };
        self.disarm(waiting.deadline, Timer::Slot(slot));
        let took = self.now.since(waiting.born);
        let busy = |failure: &Failure| failure.kind == FailureKind::Busy;
        if !outcome.as_ref().is_err_and(busy) {
            self.counters.ended(took, &trail);
        }
        match &outcome {
            Ok(_) => self.counters.replied += 1,
            Err(failure) if busy(failure) => self.counters.not_admitted += 1,
            Err(_) => self.counters.failed += 1,
        }
        let process = waiting.submission.id;
        self.put(Output::Reply(Reply { slot, process, outcome, trail, took }));
    }

    pub(crate) fn abandon(&mut self, slot: SlotId) {
        #[cfg(feature = "sabotage")]
        if self.sabotaged(crate::Sabotage::LeakSlot) {
            return;
        }
        if let Some(waiting) = self.slots.remove(&slot) {
            self.disarm(waiting.deadline, Timer::Slot(slot));
            self.counters.abandoned += 1;
        }
    }

    pub(crate) fn slot_deadline(&mut self, slot: SlotId) {
        let Some(waiting) = self.slots.get(&slot) else { return };
        #[cfg(feature = "sabotage")]
        if self.sabotaged(crate::Sabotage::IgnoreDeadline) {
            return;
        }
        let millis = waiting.submission.deadline.as_millis();
        let failure = Failure::new(FailureKind::Deadline, format!("no result after {millis} ms"));
        self.reply(slot, Err(failure), Trail::default());
    }

    /// A process that ended at another node.
    pub(crate) fn finished(&mut self, peer: NodeId, finish: Finish) {
        self.view.told_load(self.now, peer, finish.load);
        let known = self.is_home(&finish.home)
            && self.slots.get(&finish.home.slot).is_some_and(|s| s.submission.id == finish.process);
        if known {
            self.reply(finish.home.slot, finish.outcome, finish.trail);
        } else {
            self.counters.late_ends += 1;
        }
        self.accept(peer, finish.id, None);
    }

    pub(crate) fn accept(&mut self, peer: NodeId, delivery: DeliveryId, level_us: Option<u32>) {
        let load = self.load();
        self.send(peer, Message::Accepted { delivery, load, level_us });
    }

    /// A node tells which processes of this gateway it holds.
    pub(crate) fn holding(&mut self, held: &[HeldProcess]) {
        for HeldProcess { slot, process } in held {
            if let Some(waiting) = self.slots.get_mut(slot)
                && waiting.submission.id == *process
            {
                waiting.heard = self.now;
            }
        }
    }

    /// Look for processes that nobody holds any more.
    pub(crate) fn find_lost(&mut self) {
        let away = self.now.since(self.looked);
        self.looked = self.now;
        if away > self.config.lost_after / 2 {
            // This node was stopped for a while: what the others told it is yet to be read.
            self.slots.values_mut().for_each(|slot| slot.heard = self.now);
        }
        for held in self.held.values() {
            if self.is_home(&held.process.home)
                && let Some(waiting) = self.slots.get_mut(&held.process.home.slot)
            {
                waiting.heard = self.now;
            }
        }
        // What is held far away is told of later, once the link from there is made.
        let (now, lost_after) = (self.now, self.config.lost_after + self.farthest() * 4);
        let lost = self.slots.iter().filter(|(_, slot)| now.since(slot.heard) > lost_after);
        let lost: Vec<SlotId> = lost.map(|(slot, _)| *slot).collect();
        let (mut again, mut unknown) = (0, 0);
        for slot in lost {
            if self.held.len() >= self.config.held_max {
                // There is no room to start it again: later.
                break;
            }
            if self.may_repeat(slot) {
                again += 1;
                self.counters.started_again += 1;
                self.start(slot);
            } else {
                unknown += 1;
                let message = "the process was lost with the node that ran it; outcome unknown";
                let failure = Failure::new(FailureKind::Unavailable, message);
                self.reply(slot, Err(failure), Trail::default());
            }
        }
        if again + unknown > 0 {
            self.note(Note::Lost { again, unknown });
        }
    }

    fn may_repeat(&mut self, slot: SlotId) -> bool {
        let (now, attempts_max) = (self.now, self.config.attempts_max);
        #[cfg(feature = "sabotage")]
        let always = self.sabotaged(crate::Sabotage::RepeatAll);
        #[cfg(not(feature = "sabotage"))]
        let always = false;
        let Some(waiting) = self.slots.get_mut(&slot) else { return false };
        let may = always || waiting.submission.idempotent && waiting.attempt + 1 < attempts_max;
        if !may || !self.budget.take(now) {
            return false;
        }
        waiting.attempt += 1;
        waiting.heard = now;
        true
    }
}
