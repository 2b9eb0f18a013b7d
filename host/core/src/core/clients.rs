//! The gateway's side: a client's request becomes a process, is missed, started again, and ended.

use alloc::{format, vec};

use izna_proto::{
    Callee, Entries, Failure, FailureKind, Finish, Held as HeldProcess, Home, Message, NodeId,
    Outcome, Process, Rest, SlotId, Trail, check_name,
};

use super::{Core, Drain};
use crate::{
    io::{Note, Output, Reply, Submission},
    life::{name_over, payload_over, unknown_component},
    processes::is_home,
    time::Duration,
};

impl Core {
    /// A client's request.
    pub(super) fn submit(&mut self, submission: Submission) {
        self.waiters.submitted(&mut self.fx);
        match self.admit(&submission) {
            Ok(revision) => {
                let slot = submission.slot;
                self.waiters.admit(&mut self.fx, submission, revision);
                self.start(slot);
            }
            Err(failure) => {
                self.fx.counters.not_admitted += 1;
                self.fx.put(Output::Reply(Reply {
                    slot: submission.slot,
                    process: submission.id,
                    outcome: Err(failure),
                    trail: Trail::default(),
                    took: Duration::ZERO,
                }));
            }
        }
    }

    /// The revision with which its process begins, or why there will be none.
    fn admit(&self, submission: &Submission) -> Result<u64, Failure> {
        if self.drain != Drain::No {
            return Err(Failure::new(FailureKind::Busy, "this node drains"));
        }
        if let Some(failure) = self.waiters.full(&self.fx) {
            return Err(failure);
        }
        if self.processes.len() >= self.fx.config.held_max {
            let message = format!("this node holds {} processes", self.processes.len());
            return Err(Failure::new(FailureKind::Busy, message));
        }
        let (bytes, bytes_max) = (submission.input.len(), self.fx.config.payload_bytes_max);
        if bytes > bytes_max {
            return Err(payload_over(bytes, bytes_max));
        }
        check_name(&submission.function).map_err(name_over)?;
        let entry = self.catalog.entry(&submission.app);
        let Some((revision, app)) = entry.and_then(|e| Some((e.revision, e.app.as_ref()?))) else {
            let message = format!("no app {:?} is deployed", submission.app);
            return Err(Failure::new(FailureKind::NotFound, message));
        };
        if app.component(&submission.component).is_none() {
            return Err(unknown_component(app, &submission.component));
        }
        Ok(revision)
    }

    /// Make the process of a slot and place it.
    fn start(&mut self, slot: SlotId) {
        let Some(waiter) = self.waiters.get(slot) else { return };
        let (submission, revision) = (&waiter.submission, waiter.revision);
        let app = self.catalog.app(&submission.app, revision);
        let Some(spec) = app.and_then(|app| app.component(&submission.component)) else {
            let name = &submission.app;
            let newest = self.catalog.entry(name).and_then(|entry| entry.app.as_ref());
            let message = match newest {
                Some(_) => format!(
                    "revision {revision} of app {name}, with which this request began, is not known \
                     any more: newer ones were deployed meanwhile"
                ),
                None => format!("app {name} was undeployed meanwhile"),
            };
            let failure = Failure::new(FailureKind::Unavailable, message);
            return self.waiters.reply(&mut self.fx, slot, Err(failure), Trail::default());
        };
        let config = &self.fx.config;
        let first = Callee {
            component: spec.name.clone(),
            digest: spec.digest,
            function: submission.function.clone(),
            input: submission.input.clone(),
        };
        let process = Process {
            id: submission.id,
            app: submission.app.clone(),
            revision,
            attempt: waiter.attempt,
            hops: 0,
            steps: 0,
            age_us: 0,
            budget_us: 0,
            home: Home { node: config.node, incarnation: config.incarnation, slot },
            traceparent: submission.traceparent.clone(),
            trail: Trail::default(),
            entries: Entries::new(first),
            left: vec![],
            rest: Rest::default(),
        };
        let times = (waiter.born, waiter.deadline);
        let held = self.processes.hold(&mut self.fx, process, times, 0);
        self.place(held);
    }

    /// A process that began here has ended.
    pub(super) fn reply(&mut self, slot: SlotId, outcome: Outcome, trail: Trail) {
        self.waiters.reply(&mut self.fx, slot, outcome, trail);
    }

    /// A process that began here has ended at another node.
    pub(super) fn finished(&mut self, peer: NodeId, finish: Finish) {
        self.membership.told_load(&self.fx, peer, finish.load);
        let slot = finish.home.slot;
        if is_home(&finish.home, &self.fx.config) && self.waiters.awaits(slot, finish.process) {
            self.reply(slot, finish.outcome, finish.trail);
        } else {
            self.fx.counters.late_ends += 1;
        }
        self.accept(peer, finish.id, None);
    }

    /// A node tells which processes of this gateway it holds.
    pub(super) fn told_holding(&mut self, held: &[HeldProcess]) {
        for HeldProcess { slot, process } in held {
            self.waiters.is_held(&self.fx, *slot, *process);
        }
    }

    /// Tell each gateway which of its processes are here.
    pub(super) fn tell_gateways(&mut self) {
        let mut homes = alloc::collections::BTreeMap::<NodeId, vec::Vec<HeldProcess>>::new();
        let mut away = alloc::collections::BTreeSet::new();
        for (_, held) in self.processes.iter() {
            let home = held.process.home;
            match self.membership.peer(home.node).filter(|peer| peer.linked) {
                Some(peer) if peer.incarnation == home.incarnation => {
                    let process = held.process.id;
                    let told = HeldProcess { slot: home.slot, process };
                    homes.entry(home.node).or_default().push(told);
                }
                Some(_) => {}
                None if home.node == self.fx.config.node => {}
                None => {
                    away.insert(home.node);
                }
            }
        }
        for home in away {
            if self.membership.connecting(&self.fx, home) {
                self.fx.put(Output::Connect(home));
            }
        }
        for (peer, held) in homes {
            self.fx.send(peer, Message::Holding(held));
        }
    }

    /// Look for processes that nobody holds any more.
    pub(super) fn find_lost(&mut self) {
        self.waiters.look(&self.fx);
        for (_, held) in self.processes.iter() {
            let Process { home, id, .. } = held.process;
            if is_home(&home, &self.fx.config) {
                self.waiters.is_held(&self.fx, home.slot, id);
            }
        }
        // What is held far away is told of later, once the link from there is made.
        let lost_after = self.fx.config.lost_after + self.membership.farthest() * 4;
        let (mut again, mut unknown) = (0, 0);
        for slot in self.waiters.lost(&self.fx, lost_after) {
            if self.processes.len() >= self.fx.config.held_max {
                // There is no room to start it again: later.
                break;
            }
            if self.waiters.may_repeat(&mut self.fx, slot) {
                again += 1;
                self.start(slot);
            } else {
                unknown += 1;
                let message = "the process was lost with the node that ran it; outcome unknown";
                let failure = Failure::new(FailureKind::Unavailable, message);
                self.reply(slot, Err(failure), Trail::default());
            }
        }
        if again + unknown > 0 {
            self.fx.note(Note::Lost { again, unknown });
        }
    }
}
