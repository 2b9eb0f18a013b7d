//! Steps: the run queue, handing out steps while slots are free, and what follows when one has
//! ended.

use alloc::{format, vec::Vec};

use izna_proto::{Failure, FailureKind, Outcome, Process, StepEnd, TRAIL_MAX, Warm};

use crate::{
    Core, Duration, HeldId, Output, Step, Time,
    core::{Held, Place, Timer},
    holding::component_of,
    life::{self, Next, unknown_revision},
    migrate::micros,
    placement::{DEMAND_US_FIRST, Explanation, is_brief},
};

/// How fast the demand of a component follows its latest steps.
const DEMAND_SMOOTHING: f64 = 0.1;

impl Core {
    /// Take a process in. It has no place until it is placed or ended.
    pub(crate) fn hold(&mut self, process: Process, born: Time, deadline: Time) -> HeldId {
        self.next_held += 1;
        let id = HeldId(self.next_held);
        let (place, tried) = (Place::Homeless, Vec::new());
        let held = Held {
            process,
            born,
            deadline,
            place,
            demand_us: 0.0,
            queue_moves: 0,
            since: self.now,
            why: Explanation::default(),
            tried,
            homeless: None,
            copied: false,
            stays: false,
        };
        self.held.insert(id, held);
        self.arm(deadline, Timer::Expire(id));
        id
    }

    /// Let a process go, without a word to anyone.
    pub(crate) fn release(&mut self, id: HeldId) -> Option<Held> {
        let held = self.held.remove(&id)?;
        self.disarm(held.deadline, Timer::Expire(id));
        if matches!(held.place, Place::Queued) {
            self.queue.remove(&(held.born, id));
            self.work_us -= held.demand_us;
        }
        Some(held)
    }

    /// Put a process into the run queue.
    pub(crate) fn enqueue(&mut self, id: HeldId) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let entry = held.process.entry();
        let component = entry.and_then(|entry| self.components.get(&entry.digest));
        held.demand_us = component.map_or(DEMAND_US_FIRST, |component| component.demand_us);
        let id_of = |entry| component_of(&held.process, entry);
        if let Some(copy) = entry.map(id_of).and_then(|id| self.copies.get_mut(&id)) {
            copy.inflow.add(held.demand_us);
        }
        held.place = Place::Queued;
        held.since = self.now;
        held.homeless = None;
        held.tried.clear();
        self.work_us += held.demand_us;
        self.inflow.add(held.demand_us);
        self.queue.insert((held.born, id));
    }

    /// Take a process out of the run queue, to place it elsewhere.
    pub(crate) fn dequeue(&mut self, id: HeldId) {
        if let Some(held) = self.held.get_mut(&id)
            && matches!(held.place, Place::Queued)
        {
            self.queue.remove(&(held.born, id));
            self.work_us -= held.demand_us;
            held.place = Place::Homeless;
            held.process.trail.queued_us += micros(self.now.since(held.since));
        }
    }

    /// Hand out steps while slots are free, oldest birth first.
    pub(crate) fn pump(&mut self) {
        // A step that has its slot may give it up at any time, so it counts for both limits.
        while self.running < self.config.slots_max
            && self.running + self.sliced < self.config.sliced_max
        {
            let Some((born, id)) = self.next_in_queue() else { return };
            if !self.is_ready_for(id) {
                // Its component was given up while it waited.
                self.dequeue(id);
                self.place(id);
                continue;
            }
            match self.step(id) {
                Ok(step) => {
                    self.queue.remove(&(born, id));
                    self.running += 1;
                    self.put(Output::Run(step));
                }
                Err(failure) => {
                    self.dequeue(id);
                    self.end(id, Err(failure));
                }
            }
        }
    }

    /// The oldest birth.
    fn next_in_queue(&self) -> Option<(Time, HeldId)> {
        #[cfg(feature = "sabotage")]
        if self.sabotaged(crate::Sabotage::RunNewestFirst) {
            return self.queue.last().copied();
        }
        self.queue.first().copied()
    }

    fn is_ready_for(&self, id: HeldId) -> bool {
        let held = self.held.get(&id);
        let entry = held.and_then(|held| Some(component_of(&held.process, held.process.entry()?)));
        entry.is_some_and(|entry| self.is_ready(&entry))
    }

    fn step(&mut self, id: HeldId) -> Result<Step, Failure> {
        let gone = || Failure::new(FailureKind::Other, "a process left the queue unseen");
        let held = self.held.get_mut(&id).ok_or_else(gone)?;
        let process = &held.process;
        let entry = process.entry().ok_or_else(gone)?;
        let app = self.table.app(&process.app, process.revision);
        let app = app.ok_or_else(|| unknown_revision(process))?;
        let spec = app.component(&entry.component);
        let alone = self.running + self.sliced == 0 && self.queue.len() == 1;
        let step = Step {
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
            brief: alone && is_brief(held.demand_us),
        };
        held.process.trail.queued_us += micros(self.now.since(held.since));
        held.since = self.now;
        held.place = Place::Running { sliced: false };
        Ok(step)
    }

    /// A step has used up its slice or waits for the host.
    pub(crate) fn step_sliced(&mut self, id: HeldId) {
        if let Some(held) = self.held.get_mut(&id)
            && let Place::Running { sliced } = &mut held.place
            && !*sliced
        {
            *sliced = true;
            self.running -= 1;
            self.sliced += 1;
        }
    }

    /// A step has ended, and its function is kept here, or is not: a hint for whoever places it when
    /// its call has ended. What it would take elsewhere is all that it has computed so far.
    pub(crate) fn keep_warm(&mut self, id: HeldId, used: Duration, warm: bool) {
        let node = self.config.node;
        let process = self.held.get_mut(&id).map(|held| &mut held.process);
        let Some(process) = process else { return };
        let active = usize::from(process.active);
        let Some(entry) = process.entries.get_mut(active) else { return };
        let used_us = u32::try_from(used.as_micros()).unwrap_or(u32::MAX);
        // One that was kept elsewhere has just computed all of it again.
        let before = entry.warm.filter(|warm| warm.node == node).map_or(0, |warm| warm.replay_us);
        let replay_us = before.saturating_add(used_us);
        entry.warm = warm.then_some(Warm { node, replay_us });
    }

    /// A step has ended.
    pub(crate) fn stepped(&mut self, id: HeldId, end: StepEnd, used: Duration, took: Duration) {
        let used_us = used.as_secs_f64() * 1e6;
        self.speed.ran(used_us, took.as_secs_f64() * 1e6);
        self.overhead.stepped(used_us);
        let Some(held) = self.held.get_mut(&id) else { return };
        let Place::Running { sliced } = held.place else { return };
        if sliced {
            self.sliced -= 1;
        } else {
            self.running -= 1;
        }
        held.place = Place::Homeless;
        self.work_us -= held.demand_us;
        if self.running + self.sliced + self.queue.len() == 0 {
            // Nothing is left, so neither is work: sums of floats drift.
            self.work_us = 0.0;
        }
        self.counters.steps += 1;
        let end = life::within(end, self.config.payload_bytes_max);
        let process = &mut held.process;
        self.journey.stepped(used_us, process.steps == 0);
        process.steps += 1;
        process.left.clear();
        held.tried.clear();
        held.queue_moves = 0;
        let trail = &mut process.trail;
        trail.ran_us += micros(took);
        trail.waited_us += micros(self.now.since(held.since).saturating_sub(took));
        if trail.nodes.len() < TRAIL_MAX {
            trail.nodes.push(self.config.node);
        }
        if let Some(entry) = process.entry()
            && let Some(component) = self.components.get_mut(&entry.digest)
        {
            component.demand_us += DEMAND_SMOOTHING * (used_us - component.demand_us);
            component.ran = true;
        }
        if self.now >= held.deadline {
            return self.expire(id);
        }
        #[cfg(feature = "sabotage")]
        if let StepEnd::Failed(failure) = &end
            && self.config.sabotage == Some(crate::Sabotage::EndAtFailure)
        {
            let failure = failure.clone();
            return self.end(id, Err(failure));
        }
        let app = self.table.app(&process.app, process.revision);
        let next = life::advance(process, end, app);
        self.go_on(id, next);
        self.ask_for_work();
    }

    /// What follows when the active entry has ended its step.
    pub(crate) fn go_on(&mut self, id: HeldId, next: Next) {
        let stays = match next {
            Next::Ended(outcome) => return self.end(id, outcome),
            Next::Ready => false,
            Next::Here => true,
        };
        if let Some(failure) = self.over_limit(id) {
            return self.end(id, Err(failure));
        }
        if let Some(held) = self.held.get_mut(&id) {
            held.stays = stays;
        }
        self.place(id);
    }

    fn over_limit(&self, id: HeldId) -> Option<Failure> {
        let process = &self.held.get(&id)?.process;
        let (bytes, bytes_max) = (process.payload_bytes(), self.config.process_bytes_max);
        let message = if process.steps >= self.config.steps_max {
            format!("the process has run {} steps", process.steps)
        } else if bytes > bytes_max {
            format!("the process holds {bytes} bytes of payload, over the limit of {bytes_max}")
        } else {
            return None;
        };
        Some(Failure::new(FailureKind::Limit, message))
    }

    /// A process has ended: tell its gateway.
    pub(crate) fn end(&mut self, id: HeldId, outcome: Outcome) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let home = held.process.home;
        if home.node == self.config.node {
            let trail = core::mem::take(&mut held.process.trail);
            let current = home.incarnation == self.config.incarnation;
            self.release(id);
            if current {
                self.reply(home.slot, outcome, trail);
            }
        } else {
            held.place = Place::Finishing(outcome);
            self.send_finish(id);
        }
    }

    /// The deadline of a held process has come. Its client was told by the gateway.
    pub(crate) fn expire(&mut self, id: HeldId) {
        let Some(held) = self.held.get(&id) else { return };
        // A running step comes back by its own limit, a delivery by its answer; both then find the
        // deadline passed.
        if matches!(held.place, Place::Running { .. } | Place::Leaving) {
            return;
        }
        self.counters.expired += 1;
        self.release(id);
    }
}
