//! Placing: what `placement` decides, done. A process is placed after each step, when it arrives,
//! and again while it waits.

use alloc::{format, vec::Vec};

use izna_proto::{
    ComponentId, Digest, Failure, FailureKind, LEFT_MAX, Load, NodeId, Process, State, Warm,
};
use rand::RngExt;

use super::{Core, Drain};
use crate::{
    held_id::HeldId,
    io::Note,
    life,
    membership::Peer,
    placement::{
        self, Candidates, Costs, Estimate, Explanation, MOVES_MAX, QUEUE_MOVES_MAX, Rule,
        soonest_us, speed,
    },
    processes::{Held, component_of},
    stage::Stage,
};

/// A process that this many nodes did not take waits a while before it is offered again.
const TRIED_MAX: usize = 8;
/// Moves that each step of a process allows it, beyond `hops_max`.
#[expect(clippy::cast_possible_truncation, reason = "it is four")]
const HOPS_PER_STEP: u32 = LEFT_MAX as u32;
/// Queued processes that are offered to others at one time, at most half of the queue: a wrong
/// belief about the others cannot empty it.
const OFFERED_MAX: usize = 32;

/// Why a process is to be placed: what its moving is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// Its next step is to begin.
    Step,
    /// It has come from another node.
    Arrival,
    /// It has come from another zone, to a node that was drawn blindly.
    Entry,
    /// It waits here.
    Queue,
}

/// What is known when a process is placed.
pub(super) struct Situation {
    pub(super) component: ComponentId,
    /// What must be held with it.
    company: Vec<ComponentId>,
    pub(super) costs: Costs,
    load: Load,
    occasion: Occasion,
    /// Where its function waits as it stands.
    warm: Option<Warm>,
    /// Its component is here.
    here: bool,
    /// Nothing of it has run.
    pub(super) fresh: bool,
    /// It cannot stay: this node drains, or takes nothing new.
    sent_away: bool,
}

impl Core {
    /// Decide where a process goes next, and send it there.
    pub(super) fn place(&mut self, id: HeldId) {
        self.place_on(id, Occasion::Step);
    }

    /// The same for one that has just come.
    pub(super) fn place_arrival(&mut self, id: HeldId) {
        self.place_on(id, Occasion::Arrival);
    }

    /// The same for one that has just come from another zone.
    pub(super) fn place_from_abroad(&mut self, id: HeldId) {
        self.place_on(id, Occasion::Entry);
    }

    fn place_on(&mut self, id: HeldId, occasion: Occasion) {
        let Some(held) = self.processes.get(id) else { return };
        if self.fx.now >= held.deadline {
            return self.expire(id);
        }
        if held.stays && self.place_here(id) {
            return;
        }
        let Some(held) = self.processes.get(id) else { return };
        let Some(situation) = self.situation(held, occasion) else { return };
        let own = situation.own(self.fx.config.node);
        if own.is_some_and(|own| self.is_unbeatable(&own, &situation)) {
            return self.stay(id, Explanation::plain(Rule::Idle, own));
        }
        if held.process.hops >= self.hops_max(&held.process) {
            return self.moved_enough(id, &situation);
        }
        if own.is_some_and(|own| self.hand_to_token(id, &own, &situation)) {
            return;
        }
        let mut candidates = core::mem::take(&mut self.candidates);
        self.decide(id, &situation, &mut candidates);
        self.candidates = candidates;
    }

    /// A process between the two sides of a local link: it stays, whatever the load. False when it
    /// may go elsewhere after all: its callee has ended, and its own component is here no more.
    fn place_here(&mut self, id: HeldId) -> bool {
        let Some(held) = self.processes.get(id) else { return true };
        let Some(entry) = held.process.entry() else { return true };
        let (digest, component) = (entry.digest, component_of(&held.process, entry));
        if self.components.is_ready(&component) {
            let own = placement::here(&self.load(), &self.costs(&digest));
            self.stay(id, Explanation::plain(Rule::Local, Some(own)));
            return true;
        }
        let comes = self.components.get(&component).is_some() && !held.has_waited(&self.fx);
        match (&entry.state, comes) {
            (State::Start { .. }, true) => self.wait_for_place(id),
            (State::Start { .. }, false) => {
                let component = &entry.component;
                let message = format!(
                    "component {component} of app {} is not on this node, where its caller is \
                     and to which the link between them is local",
                    held.process.app
                );
                self.end_call(id, Failure::new(FailureKind::Unavailable, message));
            }
            _ => return false,
        }
        true
    }

    /// The active entry fails without having run.
    fn end_call(&mut self, id: HeldId, failure: Failure) {
        let Some(process) = self.processes.process_mut(id) else { return };
        let app = self.catalog.app(&process.app, process.revision);
        let next = life::finish(process, Err(failure), app);
        self.go_on(id, next);
    }

    /// Whether no other node can be markedly better, whatever its load: a core here is idle, and
    /// none is so much faster that the way there would pay. One that has come stays in any case.
    fn is_unbeatable(&self, own: &Estimate, situation: &Situation) -> bool {
        let idle = situation.load.wait_us == 0 && situation.load.idle > 0;
        let has_come = matches!(situation.occasion, Occasion::Arrival | Occasion::Entry);
        idle && (has_come
            || placement::stays(
                own,
                placement::least_us(self.membership.fastest(), &situation.costs),
                &situation.costs,
            ))
    }

    /// Transfer and location: stay, or go to one of the candidates.
    fn decide(&mut self, id: HeldId, situation: &Situation, candidates: &mut Candidates<NodeId>) {
        let Some(held) = self.processes.get(id) else { return };
        self.find_candidates(held, situation, candidates);
        // One that has moved enough stays in the zone: else it goes from door to door for as long as
        // the holders behind these do not take it.
        let may_leave = held.tried.len() < TRIED_MAX && held.process.left.len() < MOVES_MAX;
        let mut unlinked = Vec::new();
        if situation.occasion == Occasion::Step && may_leave {
            unlinked = self.add_zones(id, situation, candidates);
            self.connect_one_of(&unlinked);
        }
        let Some(held) = self.processes.get(id) else { return };
        let (own, costs) = (situation.own(self.fx.config.node), &situation.costs);
        if let (Some(own), Some(best)) = (&own, candidates.best_us()) {
            let is_repair = matches!(situation.occasion, Occasion::Arrival | Occasion::Queue);
            let settled = held.process.left.len() >= MOVES_MAX
                || (is_repair && held.queue_moves >= QUEUE_MOVES_MAX);
            if settled || !situation.leaves(own, best) {
                let rule = if settled { Rule::Settled } else { Rule::Stays };
                let here = Some(*own);
                return self.stay(id, Explanation::among(rule, here, candidates));
            }
        }
        let (has_waited, unit) = (held.has_waited(&self.fx), self.fx.random.random::<f64>());
        let Some(target) = candidates.draw(costs, unit) else {
            return match own {
                // A link to a zone that has room is being made.
                None if !unlinked.is_empty() && !has_waited => self.wait_for_place(id),
                _ => self.without_target(id, situation),
            };
        };
        let is_repair = matches!(situation.occasion, Occasion::Arrival | Occasion::Queue);
        let moves_queued = own.is_some() && is_repair;
        let bounced = own.is_some() && situation.occasion == Occasion::Arrival;
        let rule = if bounced { Rule::Bounced } else { Rule::Drawn };
        self.fx.counters.bounced += u64::from(bounced);
        let mut why = Explanation::among(rule, own, candidates);
        why.draw = Some((unit, target));
        self.processes.decided(id, why, moves_queued);
        self.deliver(id, target);
    }

    fn stay(&mut self, id: HeldId, why: Explanation) {
        self.processes.decided(id, why, false);
        self.explain(id);
        self.enqueue(id);
    }

    /// Tell why a process stays or goes, if anyone wants to know.
    pub(super) fn explain(&mut self, id: HeldId) {
        if !self.fx.config.explains {
            return;
        }
        let Some(held) = self.processes.get(id) else { return };
        let Some(entry) = held.process.entry() else { return };
        self.fx.note(Note::Placed {
            process: held.process.id,
            app: held.process.app.clone(),
            component: entry.component.clone(),
            why: held.why,
        });
    }

    fn situation(&self, held: &Held, occasion: Occasion) -> Option<Situation> {
        let (entry, component) = (held.process.entry()?, held.component()?);
        let (load, fresh) =
            (self.load(), held.is_fresh(&self.fx.config) && occasion != Occasion::Queue);
        // What waits here was admitted: it is not turned away because the node is full by now.
        let sent_away = self.drain != Drain::No || (fresh && self.is_full(&load));
        let company = self.company(held);
        let is_ready = |component: &ComponentId| self.components.is_ready(component);
        let here = is_ready(&component) && company.iter().all(is_ready);
        let costs = self.costs(&entry.digest);
        let warm = entry.warm.filter(|_| matches!(entry.state, State::Resume { .. }));
        Some(Situation { component, company, costs, load, occasion, warm, here, fresh, sent_away })
    }

    /// What a node must hold for it beside the component of its active entry.
    pub(super) fn company(&self, held: &Held) -> Vec<ComponentId> {
        let app = self.catalog.app(&held.process.app, held.process.revision);
        app.map(|app| life::company(&held.process, app)).unwrap_or_default()
    }

    /// Whether a process of which nothing has run is not taken any more.
    pub(super) fn is_full(&self, load: &Load) -> bool {
        self.processes.len() > self.fx.config.admit_max || self.waits_too_long(load)
    }

    /// Whether another node is taken to be as full.
    fn is_peer_full(&self, peer: &Peer) -> bool {
        peer.refuses_new(self.fx.now) || self.waits_too_long(peer.belief.load())
    }

    fn is_any_full(&self, component: &ComponentId) -> bool {
        let mut holders = self.membership.candidates(&self.fx, component);
        holders.any(|peer| self.is_peer_full(peer))
    }

    /// Whether a process that begins at a node of this load would wait there for too long. Those
    /// that wait go before it with all their steps, not with the next one only; one for each core
    /// may wait however long they are.
    fn waits_too_long(&self, load: &Load) -> bool {
        let wait_us_max = self.fx.config.admit_wait_max.as_micros();
        if u128::from(load.wait_us) > wait_us_max {
            return true;
        }
        let capacity = f64::from(load.capacity_milli.max(1)) / 1000.0;
        let cores = (capacity / speed(load)).max(1.0);
        let ahead = f64::from(load.queued) + 1.0 - cores;
        // All nodes are taken to need as much for themselves as this one.
        let backlog_us = ahead * self.meter.process_us() / self.meter.left_of(capacity);
        ahead > cores && backlog_us > wait_us_max as f64
    }

    pub(super) fn costs(&self, digest: &Digest) -> Costs {
        Costs {
            hop_us: self.membership.hop_us(),
            move_us: self.fx.config.move_cost.as_secs_f64() * 1e6,
            demand_us: self.components.demand_us(digest),
        }
    }

    /// The holders that may be given it. One that is late to answer is left out while there are
    /// others.
    fn find_candidates(
        &self,
        held: &Held,
        situation: &Situation,
        candidates: &mut Candidates<NodeId>,
    ) {
        candidates.clear();
        if held.tried.len() >= TRIED_MAX {
            return;
        }
        let (company, bytes) = (&situation.company, held.process.payload_bytes());
        for late in [false, true] {
            for peer in self.membership.candidates(&self.fx, &situation.component) {
                let node = peer.node;
                let been = held.has_been_at(node);
                let whole = company.iter().all(|other| peer.holds(other));
                let full = situation.fresh && self.is_peer_full(peer);
                let on_time = peer.is_late(self.fx.now, &self.fx.config) == late;
                if on_time && whole && !been && !full {
                    let mut there = placement::there(&peer.belief, &peer.costs(situation.costs));
                    there.time_us += peer.path.carry_us(bytes);
                    let load = peer.belief.load();
                    candidates.push(node, situation.with_replay(there, node, load));
                }
            }
            if !candidates.is_empty() {
                break;
            }
        }
    }

    /// A node with an idle core asked before this process came: it gets it.
    fn hand_to_token(&mut self, id: HeldId, own: &Estimate, situation: &Situation) -> bool {
        let Some(held) = self.processes.get(id) else { return false };
        if held.queue_moves >= QUEUE_MOVES_MAX || held.process.left.len() >= MOVES_MAX {
            return false;
        }
        let (membership, fx) = (&self.membership, &self.fx);
        let fits = |node: NodeId| {
            let able = |peer: &Peer| {
                let there_us = soonest_us(&peer.belief, &peer.costs(situation.costs));
                let sooner = there_us + situation.replay_us(node) < own.time_us;
                sooner && situation.needed().all(|other| peer.holds(other))
            };
            !held.has_been_at(node)
                && membership.peer(node).is_some_and(able)
                && membership.is_live(fx, node)
        };
        let Some(target) = self.stealing.take(fx, fits) else { return false };
        self.fx.counters.tokens_used += 1;
        self.give(id, target, Rule::Token);
        true
    }

    /// Give a process to a node that asked.
    pub(super) fn give(&mut self, id: HeldId, target: NodeId, rule: Rule) {
        self.processes.decided(id, Explanation::plain(rule, None), true);
        self.deliver(id, target);
    }

    /// How often a process may have moved by now: each step earns it a few moves, so that one with
    /// many remote calls lives as long as its deadline lets it, and one that only moves does not.
    pub(super) fn hops_max(&self, process: &Process) -> u32 {
        self.fx.config.hops_max.saturating_add(process.steps.saturating_mul(HOPS_PER_STEP))
    }

    /// A process may not move any more.
    fn moved_enough(&mut self, id: HeldId, situation: &Situation) {
        if situation.here {
            return self.without_target(id, situation);
        }
        let Some(held) = self.processes.get(id) else { return };
        let Process { hops, steps, .. } = held.process;
        let message = format!("the process has moved {hops} times for {steps} steps");
        self.end(id, Err(Failure::new(FailureKind::Limit, message)));
    }

    /// No other node takes a process now.
    fn without_target(&mut self, id: HeldId, situation: &Situation) {
        if situation.here && !(situation.fresh && self.is_full(&situation.load)) {
            let own = placement::here(&situation.load, &situation.costs);
            return self.stay(id, Explanation::plain(Rule::Alone, Some(own)));
        }
        let Some(held) = self.processes.get(id) else { return };
        let Some(entry) = held.process.entry() else { return };
        // Other zones do not count: it waits until there is a link to one that holds it.
        let component = &situation.component;
        let anyone = situation.here || !self.membership.linked_holders(component).is_empty();
        // One that had it before, or is not ready yet, may take it soon.
        let full = situation.here || self.is_any_full(component);
        let waited = held.has_waited(&self.fx);
        if situation.fresh && anyone && (full || waited) {
            self.adoption.refused(&self.fx, situation.component, situation.costs.demand_us);
            let message = "no node that could run it takes it now";
            return self.end(id, Err(Failure::new(FailureKind::Busy, message)));
        }
        if !anyone && waited {
            let message = format!(
                "no live node holds component {} of app {}",
                entry.component, held.process.app
            );
            return self.end(id, Err(Failure::new(FailureKind::Unavailable, message)));
        }
        self.wait_for_place(id);
    }

    /// Try again a little later.
    fn wait_for_place(&mut self, id: HeldId) {
        self.processes.wait(&mut self.fx, id, Explanation::plain(Rule::Alone, None));
    }

    /// Offer queued processes to less loaded nodes, newest birth first: those would wait here the
    /// longest. Only what pull does not find is left for it.
    pub(super) fn offer_queued(&mut self) {
        let count = self.processes.queued().div_ceil(2).min(OFFERED_MAX);
        let newest = self.processes.queue().rev().take(count);
        let stays = |id: &HeldId| self.processes.get(*id).is_some_and(|held| held.stays);
        let newest: Vec<HeldId> = newest.filter(|id| !stays(id)).collect();
        for id in newest {
            self.processes.dequeue(&mut self.fx, id);
            self.place_on(id, Occasion::Queue);
            match self.processes.get(id).map(|held| &held.stage) {
                Some(Stage::Queued) => break,
                Some(Stage::Leaving { .. }) => self.fx.counters.offered += 1,
                Some(
                    Stage::Placing
                    | Stage::Waiting { .. }
                    | Stage::Running { .. }
                    | Stage::Finishing { .. },
                )
                | None => {}
            }
        }
    }
}

impl Situation {
    /// All that a node must hold to take it.
    fn needed(&self) -> impl Iterator<Item = &ComponentId> {
        core::iter::once(&self.component).chain(&self.company)
    }

    /// What the process meets here, if it can stay.
    pub(super) fn own(&self, node: NodeId) -> Option<Estimate> {
        let stays = self.here && !self.sent_away;
        let here = || placement::here(&self.load, &self.costs);
        stays.then(|| self.with_replay(here(), node, &self.load))
    }

    /// What it takes at a node to start a function again that waits elsewhere, at speed one.
    fn replay_us(&self, node: NodeId) -> f64 {
        let warm = self.warm.filter(|warm| warm.node != node);
        warm.map_or(0.0, |warm| f64::from(warm.replay_us))
    }

    /// What is expected at a node, with what it costs to start a function again that waits elsewhere.
    fn with_replay(&self, estimate: Estimate, node: NodeId, load: &Load) -> Estimate {
        match self.warm.filter(|warm| warm.node != node) {
            Some(warm) => estimate.with_replay(warm.replay_us, load),
            None => estimate,
        }
    }

    fn leaves(&self, own: &Estimate, best_us: f64) -> bool {
        match self.occasion {
            Occasion::Arrival => placement::bounces(own, best_us, &self.costs),
            Occasion::Step | Occasion::Entry | Occasion::Queue => {
                !placement::stays(own, best_us, &self.costs)
            }
        }
    }
}
