//! The table of processes: what this node holds, in which stage each is, and the run queue with its
//! slots and its work. Only this file changes a stage, and [`Processes::go`] is where it does.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use izna_proto::{ComponentId, Digest, Home, LEFT_MAX, NodeId, Outcome, Process, TRAIL_MAX};

use crate::{
    config::Config,
    effects::{Effects, Timer},
    held_id::HeldId,
    inflow::Inflow,
    placement::{Explanation, Waiting},
    sabotage::Sabotage,
    stage::{Stage, Telling},
    time::{Duration, Time, micros},
};

/// A process that this node holds. Others read it; what changes it is below.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) process: Process,
    pub(crate) born: Time,
    pub(crate) deadline: Time,
    pub(crate) stage: Stage,
    /// The expected processor time of its next step, in microseconds, while it counts as work.
    pub(crate) demand_us: f64,
    /// Moves since its last step, out of a run queue or instead of one.
    pub(crate) queue_moves: u8,
    /// Since when it waits in the run queue, or its step runs.
    since: Time,
    /// Why it is where it is, or goes where it goes.
    pub(crate) why: Explanation,
    /// Nodes that did not take it since it was last placed.
    pub(crate) tried: Vec<NodeId>,
    /// Since when no node could be found for it.
    unplaced: Option<Time>,
    /// A delivery of it was not answered: another node may have it too, and may have run it.
    copied: bool,
    /// Its next step runs here and nowhere else: it is between the two sides of a local link.
    pub(crate) stays: bool,
}

/// What is due for a process whose timer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// It is placed again.
    Place,
    /// Its gateway is told again.
    Tell,
}

/// What a step that has ended was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    /// The code that ran.
    pub(crate) digest: Option<Digest>,
    /// It was the first of its process.
    pub(crate) is_first: bool,
    /// The deadline of its process has come.
    pub(crate) is_late: bool,
}

#[derive(Debug)]
pub(crate) struct Processes {
    held: BTreeMap<HeldId, Held>,
    next: u64,
    runs: Runs,
    inflow: Inflow,
}

/// What runs or waits for a core: the run queue, the slots, and their work.
#[derive(Debug, Default)]
struct Runs {
    /// Oldest birth first.
    queue: BTreeSet<(Time, HeldId)>,
    /// Steps that run within a slot, and steps that run without.
    running: usize,
    sliced: usize,
    /// The expected processor time of all of them, in microseconds.
    work_us: f64,
}

impl Held {
    /// The component of its active entry.
    pub(crate) fn component(&self) -> Option<ComponentId> {
        self.process.entry().map(|entry| component_of(&self.process, entry))
    }

    /// Whether it has been at a node, or was offered to it in vain, since it was last placed.
    pub(crate) fn has_been_at(&self, node: NodeId) -> bool {
        self.process.left.contains(&node) || self.tried.contains(&node)
    }

    /// Whether it has waited for a node as long as it may.
    pub(crate) fn has_waited(&self, fx: &Effects) -> bool {
        self.unplaced.is_some_and(|since| fx.now.since(since) >= fx.config.unplaced_max)
    }

    /// Whether nothing of it has run and it is nowhere else, so that refusing it loses nothing.
    pub(crate) fn is_fresh(&self, config: &Config) -> bool {
        let process = &self.process;
        let new = process.steps == 0 && process.hops == 0 && process.attempt == 0;
        new && !self.copied && is_home(&process.home, config)
    }

    /// The process as it goes to another node.
    pub(crate) fn outgoing(&self, fx: &Effects) -> Process {
        let mut process = self.process.clone();
        process.hops = process.hops.saturating_add(1);
        if process.left.len() < LEFT_MAX {
            let forgets = fx.sabotaged(Sabotage::ForgetPath);
            process.left.push(if forgets { NodeId(u64::MAX) } else { fx.config.node });
        }
        process.age_us = micros(fx.now.since(self.born));
        process.budget_us = micros(self.deadline.since(fx.now));
        process
    }
}

/// Add to a figure that another node may have set to anything.
fn add(figure: &mut u64, more: u64) {
    *figure = figure.saturating_add(more);
}

/// The component that an entry of a process runs.
pub(crate) fn component_of(process: &Process, entry: &izna_proto::Entry) -> ComponentId {
    ComponentId::of(&process.app, &entry.component, &entry.digest)
}

/// Whether the client of a process waits at this incarnation of this node.
pub(crate) fn is_home(home: &Home, config: &Config) -> bool {
    home.node == config.node && home.incarnation == config.incarnation
}

impl Processes {
    pub(crate) fn new(now: Time) -> Self {
        let (held, runs, inflow) = (BTreeMap::new(), Runs::default(), Inflow::new(now));
        Self { held, next: 0, runs, inflow }
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn get(&self, id: HeldId) -> Option<&Held> {
        self.held.get(&id)
    }

    /// All, in the order in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (HeldId, &Held)> {
        self.held.iter().map(|(id, held)| (*id, held))
    }

    /// What a process carries. Its stage, birth and deadline are not in it.
    pub(crate) fn process_mut(&mut self, id: HeldId) -> Option<&mut Process> {
        self.held.get_mut(&id).map(|held| &mut held.process)
    }

    /// Take a process in. It is to be placed or ended within the same input.
    pub(crate) fn hold(
        &mut self,
        fx: &mut Effects,
        process: Process,
        (born, deadline): (Time, Time),
        queue_moves: u8,
    ) -> HeldId {
        self.next += 1;
        let id = HeldId(self.next);
        let held = Held {
            process,
            born,
            deadline,
            stage: Stage::Placing,
            demand_us: 0.0,
            queue_moves,
            since: fx.now,
            why: Explanation::default(),
            tried: Vec::new(),
            unplaced: None,
            copied: false,
            stays: false,
        };
        self.held.insert(id, held);
        fx.arm(deadline, Timer::Expire(id));
        id
    }

    /// Let a process go, without a word to anyone.
    pub(crate) fn release(&mut self, fx: &mut Effects, id: HeldId) -> Option<Held> {
        let held = self.held.remove(&id)?;
        fx.disarm(held.deadline, Timer::Expire(id));
        self.runs.left(&held.stage, (held.born, id));
        if held.stage.is_work() {
            self.runs.done(held.demand_us);
        }
        if let Some(again) = held.stage.again() {
            fx.disarm(again, Timer::Retry(id));
        }
        Some(held)
    }

    /// Every change of a stage, with what depends on it: the queue, the slots, the work, the timer,
    /// and what the trail tells of the time in it.
    fn go(&mut self, fx: &mut Effects, id: HeldId, next: Stage) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let before = held.stage.go(next);
        self.runs.left(&before, (held.born, id));
        if matches!(before, Stage::Queued) {
            let waited_us = micros(fx.now.since(held.since));
            add(&mut held.process.trail.queued_us, waited_us);
        }
        match (before.is_work(), held.stage.is_work()) {
            (false, true) => self.runs.work_us += held.demand_us,
            (true, false) => self.runs.done(held.demand_us),
            (true, true) | (false, false) => {}
        }
        if let Some(again) = before.again() {
            fx.disarm(again, Timer::Retry(id));
        }
        self.runs.entered(&held.stage, (held.born, id));
        if let Some(again) = held.stage.again()
            && !fx.sabotaged(Sabotage::LeaveWithoutTimer)
        {
            fx.arm(again, Timer::Retry(id));
        }
    }

    /// It stays: into the run queue, with what its next step is expected to take.
    pub(crate) fn enqueue(&mut self, fx: &mut Effects, id: HeldId, demand_us: f64) {
        let Some(held) = self.held.get_mut(&id) else { return };
        held.demand_us = demand_us;
        (held.since, held.unplaced) = (fx.now, None);
        held.tried.clear();
        self.inflow.add(demand_us);
        self.go(fx, id, Stage::Queued);
    }

    /// Out of the run queue, to be placed elsewhere. One that is not in it stays as it is.
    pub(crate) fn dequeue(&mut self, fx: &mut Effects, id: HeldId) {
        if self.held.get(&id).is_some_and(|held| matches!(held.stage, Stage::Queued)) {
            self.go(fx, id, Stage::Placing);
        }
    }

    /// Its step is handed out.
    pub(crate) fn start(&mut self, fx: &mut Effects, id: HeldId) {
        self.go(fx, id, Stage::Running { sliced: false });
        if let Some(held) = self.held.get_mut(&id) {
            held.since = fx.now;
        }
    }

    /// Its step gives its slot up: it has used a slice, or waits for the host.
    pub(crate) fn slice(&mut self, fx: &mut Effects, id: HeldId) {
        let held = self.held.get(&id);
        if held.is_some_and(|held| matches!(held.stage, Stage::Running { sliced: false })) {
            self.go(fx, id, Stage::Running { sliced: true });
        }
    }

    /// Its step has ended, after `took` on a core. None if no step of it runs.
    pub(crate) fn stepped(
        &mut self,
        fx: &mut Effects,
        id: HeldId,
        took: Duration,
    ) -> Option<Ended> {
        let held = self.held.get(&id)?;
        if !matches!(held.stage, Stage::Running { .. }) {
            return None;
        }
        self.go(fx, id, Stage::Placing);
        let held = self.held.get_mut(&id)?;
        let process = &mut held.process;
        let ended = Ended {
            digest: process.entry().map(|entry| entry.digest),
            is_first: process.steps == 0,
            is_late: fx.now >= held.deadline,
        };
        process.steps = process.steps.saturating_add(1);
        process.left.clear();
        let waited = fx.now.since(held.since).saturating_sub(took);
        add(&mut process.trail.ran_us, micros(took));
        add(&mut process.trail.waited_us, micros(waited));
        if process.trail.nodes.len() < TRAIL_MAX {
            process.trail.nodes.push(fx.config.node);
        }
        held.tried.clear();
        held.queue_moves = 0;
        Some(ended)
    }

    /// Whether its next step runs here and nowhere else.
    pub(crate) fn set_stays(&mut self, id: HeldId, stays: bool) {
        if let Some(held) = self.held.get_mut(&id) {
            held.stays = stays;
        }
    }

    /// What decided where it goes, and whether that counts as a move out of a queue.
    pub(crate) fn decided(&mut self, id: HeldId, why: Explanation, moves_queued: bool) {
        if let Some(held) = self.held.get_mut(&id) {
            held.why = why;
            held.queue_moves = held.queue_moves.saturating_add(u8::from(moves_queued));
        }
    }

    /// No node takes it now: it is placed again a little later, as one that nobody refused yet.
    pub(crate) fn wait(&mut self, fx: &mut Effects, id: HeldId, why: Explanation) {
        let again = fx.now + fx.config.retry_interval;
        self.go(fx, id, Stage::Waiting { again });
        if let Some(held) = self.held.get_mut(&id) {
            held.why = why;
            held.unplaced.get_or_insert(fx.now);
            held.tried.clear();
            held.process.left.clear();
            held.queue_moves = 0;
        }
    }

    /// The timer of its stage has come.
    pub(crate) fn retry(&mut self, fx: &mut Effects, id: HeldId) -> Option<Due> {
        match self.held.get(&id)?.stage {
            Stage::Waiting { .. } => {
                self.go(fx, id, Stage::Placing);
                Some(Due::Place)
            }
            Stage::Finishing { telling: Telling::Later { .. }, .. } => Some(Due::Tell),
            Stage::Placing
            | Stage::Queued
            | Stage::Running { .. }
            | Stage::Leaving { .. }
            | Stage::Finishing { telling: Telling::Sent { .. }, .. } => None,
        }
    }

    /// It is on its way to another node.
    pub(crate) fn leave(&mut self, fx: &mut Effects, id: HeldId, delivery: u64) {
        self.go(fx, id, Stage::Leaving { delivery });
        if let Some(held) = self.held.get_mut(&id) {
            held.unplaced = None;
        }
    }

    /// The node to which it was on its way has not taken it, as far as is known; `unclear` if it may
    /// have.
    pub(crate) fn came_back(&mut self, fx: &mut Effects, id: HeldId, peer: NodeId, unclear: bool) {
        self.go(fx, id, Stage::Placing);
        if let Some(held) = self.held.get_mut(&id) {
            held.tried.push(peer);
            held.copied |= unclear;
        }
    }

    /// It has ended, and its gateway at another node is being told.
    pub(crate) fn finish(
        &mut self,
        fx: &mut Effects,
        id: HeldId,
        outcome: Outcome,
        telling: Telling,
    ) {
        self.go(fx, id, Stage::Finishing { outcome, telling });
    }

    /// Its gateway is told anew, or will be.
    pub(crate) fn tell(&mut self, fx: &mut Effects, id: HeldId, telling: Telling) {
        let Some(Held { stage: Stage::Finishing { outcome, .. }, .. }) = self.held.get(&id) else {
            return;
        };
        let outcome = outcome.clone();
        self.go(fx, id, Stage::Finishing { outcome, telling });
    }

    /// The one whose step is handed out next.
    pub(crate) fn first(&self, fx: &Effects) -> Option<HeldId> {
        let next = match fx.sabotaged(Sabotage::RunNewestFirst) {
            true => self.runs.queue.last(),
            false => self.runs.queue.first(),
        };
        next.map(|(_, id)| *id)
    }

    /// The run queue, oldest birth first.
    pub(crate) fn queue(&self) -> impl DoubleEndedIterator<Item = HeldId> {
        self.runs.queue.iter().map(|(_, id)| *id)
    }

    pub(crate) fn queued(&self) -> usize {
        self.runs.queue.len()
    }

    /// Steps that run within a slot, and steps that run without.
    pub(crate) fn running(&self) -> (usize, usize) {
        (self.runs.running, self.runs.sliced)
    }

    /// Whether a step may be handed out. One that has its slot may give it up at any time, so it
    /// counts for both limits.
    pub(crate) fn has_slot(&self, config: &Config) -> bool {
        let Runs { running, sliced, .. } = self.runs;
        running < config.slots_max && running + sliced < config.sliced_max
    }

    /// Whether the first in the queue is alone: nothing runs, and nothing waits behind it.
    pub(crate) fn is_alone(&self) -> bool {
        self.runs.running + self.runs.sliced == 0 && self.runs.queue.len() == 1
    }

    /// What runs or waits for a core here.
    pub(crate) fn waiting(&self) -> Waiting {
        Waiting { queued: self.runs.count(), work_us: self.runs.work_us }
    }

    /// The work that comes into the queue, in processor seconds a second.
    pub(crate) fn inflow(&self) -> f64 {
        self.inflow.rate()
    }

    pub(crate) fn measure_inflow(&mut self, now: Time) {
        self.inflow.measure(now);
    }

    /// What must hold between two inputs. Panics with what does not.
    pub(crate) fn check(&self, fx: &Effects) {
        let (mut queued, mut running, mut sliced, mut work_us) = (0, 0, 0, 0.0);
        for (id, held) in &self.held {
            match held.stage {
                Stage::Placing => unreachable!("{id:?} was left unplaced"),
                Stage::Queued => {
                    queued += 1;
                    assert!(self.runs.queue.contains(&(held.born, *id)), "{id:?} is not queued");
                }
                Stage::Running { sliced: is_sliced } => {
                    (running, sliced) =
                        (running + usize::from(!is_sliced), sliced + usize::from(is_sliced));
                }
                Stage::Waiting { .. } | Stage::Leaving { .. } | Stage::Finishing { .. } => {}
            }
            work_us += if held.stage.is_work() { held.demand_us } else { 0.0 };
            let timer = |at, timer| assert!(fx.is_armed(at, timer), "{id:?} has lost {timer:?}");
            if let Some(again) = held.stage.again() {
                timer(again, Timer::Retry(*id));
            }
            if held.deadline > fx.now {
                timer(held.deadline, Timer::Expire(*id));
            }
        }
        let runs = &self.runs;
        assert_eq!(
            (runs.queue.len(), runs.running, runs.sliced),
            (queued, running, sliced),
            "the queue and the slots are counted wrong"
        );
        let drift = (runs.work_us - work_us).abs();
        assert!(drift < 1.0 + work_us * 1e-6, "work of {} us, not {work_us}", runs.work_us);
    }
}

impl Runs {
    fn count(&self) -> usize {
        self.running + self.sliced + self.queue.len()
    }

    fn left(&mut self, stage: &Stage, key: (Time, HeldId)) {
        match stage {
            Stage::Queued => {
                let was_there = self.queue.remove(&key);
                assert!(was_there, "a queued process was not in the queue");
            }
            Stage::Running { sliced: false } => self.running -= 1,
            Stage::Running { sliced: true } => self.sliced -= 1,
            Stage::Placing
            | Stage::Waiting { .. }
            | Stage::Leaving { .. }
            | Stage::Finishing { .. } => {}
        }
    }

    fn entered(&mut self, stage: &Stage, key: (Time, HeldId)) {
        match stage {
            Stage::Queued => {
                self.queue.insert(key);
            }
            Stage::Running { sliced: false } => self.running += 1,
            Stage::Running { sliced: true } => self.sliced += 1,
            Stage::Placing
            | Stage::Waiting { .. }
            | Stage::Leaving { .. }
            | Stage::Finishing { .. } => {}
        }
    }

    /// So much work is done, or goes elsewhere. When nothing is left, neither is work: sums of
    /// floats drift.
    fn done(&mut self, work_us: f64) {
        self.work_us = if self.count() == 0 { 0.0 } else { self.work_us - work_us };
    }
}
