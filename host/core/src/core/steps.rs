//! Steps: handing them out while slots are free, what follows when one has ended, and the end of a
//! process.

use alloc::format;

use izna_proto::{ComponentId, Failure, FailureKind, Outcome, StepEnd, Warm};

use super::Core;
use crate::{
    held_id::HeldId,
    io::{Output, Step},
    life::{self, Next, unknown_revision},
    placement::{DEMAND_US_FIRST, is_brief},
    processes::is_home,
    sabotage::Sabotage,
    stage::Stage,
    time::Duration,
};

impl Core {
    /// It stays here: into the run queue.
    pub(super) fn enqueue(&mut self, id: HeldId) {
        let Some(held) = self.processes.get(id) else { return };
        let digest = held.process.entry().map(|entry| entry.digest);
        let demand_us = digest.map_or(DEMAND_US_FIRST, |of| self.components.demand_us(&of));
        if let Some(component) = held.component() {
            self.components.arrived(&component, demand_us);
        }
        self.processes.enqueue(&mut self.fx, id, demand_us);
    }

    /// Hand out steps while slots are free, oldest birth first.
    pub(super) fn hand_out(&mut self) {
        while self.processes.has_slot(&self.fx.config) {
            let Some(id) = self.processes.first(&self.fx) else { return };
            if !self.is_ready_for(id) {
                // Its component was given up while it waited.
                self.processes.dequeue(&mut self.fx, id);
                self.place(id);
                continue;
            }
            match self.step(id) {
                Ok(step) => {
                    self.processes.start(&mut self.fx, id);
                    self.fx.put(Output::Run(step));
                }
                Err(failure) => {
                    self.processes.dequeue(&mut self.fx, id);
                    self.end(id, Err(failure));
                }
            }
        }
    }

    fn is_ready_for(&self, id: HeldId) -> bool {
        self.active_component(id).is_some_and(|component| self.components.is_ready(&component))
    }

    /// The component whose step is next, or runs.
    pub(super) fn active_component(&self, id: HeldId) -> Option<ComponentId> {
        self.processes.get(id)?.component()
    }

    fn step(&self, id: HeldId) -> Result<Step, Failure> {
        let gone = || Failure::new(FailureKind::Other, "a process left the queue unseen");
        let held = self.processes.get(id).ok_or_else(gone)?;
        let process = &held.process;
        let entry = process.entry().ok_or_else(gone)?;
        let app = self.catalog.app(&process.app, process.revision);
        let app = app.ok_or_else(|| unknown_revision(process))?;
        let spec = app.component(&entry.component);
        Ok(Step {
            held: id,
            process: process.id,
            app: process.app.clone(),
            component: entry.component.clone(),
            digest: entry.digest,
            function: entry.function.clone(),
            run: life::run(entry).ok_or_else(gone)?,
            limits: spec.map(|spec| spec.limits).unwrap_or_default(),
            grants: spec.map(|spec| spec.grants.clone()).unwrap_or_default(),
            has_links: spec.is_some_and(|spec| !spec.links.is_empty()),
            brief: self.processes.is_alone() && is_brief(held.demand_us),
        })
    }

    /// A step has ended, and its function is kept here, or is not: a hint for whoever places it when
    /// its call has ended. What it would take elsewhere is all that it has computed so far.
    pub(super) fn keep_warm(&mut self, id: HeldId, used: Duration, warm: bool) {
        let node = self.fx.config.node;
        let Some(process) = self.processes.process_mut(id) else { return };
        let Some(entry) = process.entries.active_mut() else { return };
        let used_us = u32::try_from(used.as_micros()).unwrap_or(u32::MAX);
        // One that was kept elsewhere has just computed all of it again.
        let before = entry.warm.filter(|warm| warm.node == node).map_or(0, |warm| warm.replay_us);
        let replay_us = before.saturating_add(used_us);
        entry.warm = warm.then_some(Warm { node, replay_us });
    }

    /// A step has ended.
    pub(super) fn stepped(&mut self, id: HeldId, end: StepEnd, used: Duration, took: Duration) {
        self.meter.stepped(used, took);
        let Some(ended) = self.processes.stepped(&mut self.fx, id, took) else { return };
        self.fx.counters.steps += 1;
        self.meter.journeyed(used, ended.is_first);
        if let Some(digest) = ended.digest {
            self.components.ran(&digest, used);
        }
        if ended.is_late {
            return self.expire(id);
        }
        let end = life::within(end, self.fx.config.payload_bytes_max);
        if let StepEnd::Failed(failure) = &end
            && self.fx.sabotaged(Sabotage::EndAtFailure)
        {
            return self.end(id, Err(failure.clone()));
        }
        let Some(process) = self.processes.process_mut(id) else { return };
        let app = self.catalog.app(&process.app, process.revision);
        let next = life::advance(process, end, app);
        self.go_on(id, next);
        self.ask_for_work();
    }

    /// What follows when the active entry has ended its step.
    pub(super) fn go_on(&mut self, id: HeldId, next: Next) {
        let stays = match next {
            Next::Ended(outcome) => return self.end(id, outcome),
            Next::Ready => false,
            Next::Here => true,
        };
        if let Some(failure) = self.over_limit(id) {
            return self.end(id, Err(failure));
        }
        self.processes.set_stays(id, stays);
        self.place(id);
    }

    fn over_limit(&self, id: HeldId) -> Option<Failure> {
        let process = &self.processes.get(id)?.process;
        let (bytes, bytes_max) = (process.payload_bytes(), self.fx.config.process_bytes_max);
        let message = if process.steps >= self.fx.config.steps_max {
            format!("the process has run {} steps", process.steps)
        } else if bytes > bytes_max {
            format!("the process holds {bytes} bytes of payload, over the limit of {bytes_max}")
        } else {
            return None;
        };
        Some(Failure::new(FailureKind::Limit, message))
    }

    /// A process has ended: its client is told, here or by its gateway.
    pub(super) fn end(&mut self, id: HeldId, outcome: Outcome) {
        let Some(held) = self.processes.get(id) else { return };
        let home = held.process.home;
        if home.node != self.fx.config.node {
            return self.finish(id, outcome);
        }
        let Some(held) = self.processes.release(&mut self.fx, id) else { return };
        if is_home(&home, &self.fx.config) {
            self.reply(home.slot, outcome, held.process.trail);
        }
    }

    /// The deadline of a held process has come. Its client was told by the gateway.
    pub(super) fn expire(&mut self, id: HeldId) {
        let Some(held) = self.processes.get(id) else { return };
        // A running step comes back by its own limit, a delivery by its answer; both then find the
        // deadline passed.
        if matches!(held.stage, Stage::Running { .. } | Stage::Leaving { .. }) {
            return;
        }
        self.fx.counters.expired += 1;
        self.release(id);
    }

    /// Let a process go, without a word to anyone. A delivery of it tells no more of it.
    pub(super) fn release(&mut self, id: HeldId) {
        let held = self.processes.release(&mut self.fx, id);
        if let Some(delivery) = held.and_then(|held| held.stage.delivery()) {
            self.transfer.forget_held(delivery);
        }
    }
}
