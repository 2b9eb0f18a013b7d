//! Migration: delivering a process or the end of one, and taking one in. A source keeps a process
//! until the target has accepted it; whatever else happens, it is placed again.

use alloc::vec::Vec;

use izna_proto::{Delivery, DeliveryId, Finish, Load, Message, NodeId, Outcome, Process, Refusal};

use super::{Core, Drain};
use crate::{
    held_id::HeldId,
    io::Output,
    membership::Peer,
    processes::{Due, component_of},
    sabotage::Sabotage,
    stage::{Stage, Telling},
    time::{Duration, micros},
    transfer::{Delivered, Parcel},
};

/// The longest time that a process is taken to have left.
const BUDGET_MAX: Duration = Duration::from_secs(24 * 3600);

impl Core {
    /// The timer of a waiting or finishing process has come.
    pub(super) fn retry(&mut self, id: HeldId) {
        match self.processes.retry(&mut self.fx, id) {
            Some(Due::Place) => self.place(id),
            Some(Due::Tell) => self.tell_end(id, None),
            None => {}
        }
    }

    fn begin_delivery(&mut self, peer: NodeId, parcel: Parcel) -> DeliveryId {
        // As far as is known now; kept, so that the timer is found again.
        let far = self.membership.peer(peer).map(Peer::patience).unwrap_or_default();
        let delivery = self.transfer.begin(&mut self.fx, peer, parcel, far);
        self.membership.awaits(peer, self.transfer.oldest(peer));
        delivery
    }

    /// Send a process to another node.
    pub(super) fn deliver(&mut self, id: HeldId, target: NodeId) {
        self.explain(id);
        let Some(held) = self.processes.get(id) else { return };
        let (home, bytes) = (held.process.home.node, held.process.payload_bytes());
        let (component, queue_moves) = (held.component(), held.queue_moves);
        let process = held.outgoing(&self.fx);
        self.introduce(target, home);
        self.membership.sent(&mut self.fx, target, true, component);
        let parcel = Parcel { held: id, is_process: true, bytes };
        let delivery = self.begin_delivery(target, parcel);
        self.processes.leave(&mut self.fx, id, delivery.0);
        self.fx.counters.deliveries += 1;
        let load = self.load();
        let message = Delivery { id: delivery, load, queue_moves, process };
        self.fx.send(target, Message::Deliver(message));
        if self.fx.sabotaged(Sabotage::ForgetBeforeAccepted) {
            self.release(id);
        }
    }

    /// A process has ended whose client waits at another node.
    pub(super) fn finish(&mut self, id: HeldId, outcome: Outcome) {
        self.tell_end(id, Some(outcome));
    }

    /// Tell the gateway's node that a process has ended, until it acknowledges. With an outcome, for
    /// the first time.
    fn tell_end(&mut self, id: HeldId, outcome: Option<Outcome>) {
        let Some(held) = self.processes.get(id) else { return };
        let home = held.process.home;
        let peer = self.membership.peer(home.node);
        if peer.is_some_and(|peer| peer.incarnation > home.incarnation) {
            // The gateway restarted: nobody waits any more.
            self.fx.counters.orphans += 1;
            return self.release(id);
        }
        if !peer.is_some_and(|peer| peer.linked) {
            if self.membership.connecting(&self.fx, home.node) {
                self.fx.put(Output::Connect(home.node));
            }
            return self.tell_later(id, outcome);
        }
        let told = match (&outcome, &held.stage) {
            (Some(outcome), _) | (None, Stage::Finishing { outcome, .. }) => outcome.clone(),
            (None, _) => return,
        };
        let (process, trail) = (held.process.id, held.process.trail.clone());
        self.membership.sent(&mut self.fx, home.node, false, None);
        let parcel = Parcel { held: id, is_process: false, bytes: 0 };
        let delivery = self.begin_delivery(home.node, parcel);
        self.set_telling(id, outcome, Telling::Sent { delivery: delivery.0 });
        let load = self.load();
        let finish = Finish { id: delivery, load, process, home, outcome: told, trail };
        self.fx.send(home.node, Message::Finish(finish));
    }

    fn tell_later(&mut self, id: HeldId, outcome: Option<Outcome>) {
        let again = self.fx.now + self.fx.config.retry_interval;
        self.set_telling(id, outcome, Telling::Later { again });
    }

    fn set_telling(&mut self, id: HeldId, outcome: Option<Outcome>, telling: Telling) {
        match outcome {
            Some(outcome) => self.processes.finish(&mut self.fx, id, outcome, telling),
            None => self.processes.tell(&mut self.fx, id, telling),
        }
    }

    pub(super) fn accept(&mut self, peer: NodeId, delivery: DeliveryId, level_us: Option<u32>) {
        let load = self.load();
        self.fx.send(peer, Message::Accepted { delivery, load, level_us });
    }

    /// The target has a process, or the gateway the end of one.
    pub(super) fn accepted(
        &mut self,
        peer: NodeId,
        delivery: DeliveryId,
        load: Load,
        level_us: Option<u32>,
    ) {
        self.membership.told_load(&self.fx, peer, load);
        let Some(delivered) = self.answered(peer, delivery) else { return };
        let Some(id) = delivered.held else { return };
        if let (Some(level_us), Some(component)) = (level_us, self.active_component(id)) {
            self.membership.answered_abroad(&self.fx, peer, component, Some(level_us));
        }
        if delivered.is_process {
            self.fx.counters.migrations += 1;
            self.fx.counters.migration_us += micros(self.fx.now.since(delivered.sent));
        }
        self.processes.release(&mut self.fx, id);
    }

    pub(super) fn refused(
        &mut self,
        peer: NodeId,
        delivery: DeliveryId,
        load: Load,
        refusal: Refusal,
    ) {
        self.membership.told_load(&self.fx, peer, load);
        let Some(delivered) = self.answered(peer, delivery) else { return };
        let Some(id) = delivered.held else { return };
        self.fx.counters.refused_there += 1;
        if delivered.is_process {
            self.not_taken_abroad(id, peer);
        }
        self.learn(id, peer, refusal);
        if self.fx.sabotaged(Sabotage::DropRefused) {
            return self.release(id);
        }
        self.again(id, &delivered, false);
    }

    /// What a refusal tells of the node that sent it.
    fn learn(&mut self, id: HeldId, peer: NodeId, refusal: Refusal) {
        let Some(held) = self.processes.get(id) else { return };
        match refusal {
            Refusal::Component => {
                if let Some(component) = held.component() {
                    self.membership.does_not_hold(peer, &component);
                }
            }
            Refusal::Full => self.membership.told_full(&self.fx, peer),
            Refusal::Revision => {
                if let Some(line) = self.catalog.entry(&held.process.app).cloned() {
                    self.fx.send(peer, Message::TableEntries(Vec::from([line])));
                }
            }
            Refusal::Draining | Refusal::Hops => {}
        }
    }

    /// A delivery that was not answered in time.
    pub(super) fn unanswered(&mut self, delivery: u64) {
        let Some(delivered) = self.transfer.unanswered(delivery) else { return };
        self.hand_over(&delivered, delivery);
        self.membership.unanswered(&self.fx, &delivered);
        self.unclear(&delivered);
    }

    /// Deliveries that a broken link may or may not have carried.
    pub(super) fn lose_deliveries(&mut self, peer: NodeId) {
        for (delivery, delivered) in self.transfer.lost(&mut self.fx, peer) {
            self.hand_over(&delivered, delivery);
            self.unclear(&delivered);
        }
    }

    /// The target may have taken it, and may not.
    fn unclear(&mut self, delivered: &Delivered) {
        let Some(id) = delivered.held else { return };
        self.fx.counters.unclear += 1;
        if delivered.is_process {
            self.not_taken_abroad(id, delivered.peer);
        }
        self.again(id, delivered, true);
    }

    fn not_taken_abroad(&mut self, id: HeldId, peer: NodeId) {
        if let Some(component) = self.active_component(id) {
            self.membership.answered_abroad(&self.fx, peer, component, None);
        }
    }

    /// What an answer is about; none if it answers nothing.
    fn answered(&mut self, peer: NodeId, delivery: DeliveryId) -> Option<Delivered> {
        let (delivery, delivered) = self.transfer.answered(&mut self.fx, peer, delivery)?;
        self.hand_over(&delivered, delivery);
        self.membership.answered(&self.fx, &delivered);
        Some(delivered)
    }

    /// A delivery has ended: both ends of it say the same of what it was.
    fn hand_over(&mut self, delivered: &Delivered, delivery: u64) {
        self.membership.awaits(delivered.peer, self.transfer.oldest(delivered.peer));
        if let Some(id) = delivered.held {
            let stage = self.processes.get(id).map(|held| &held.stage);
            let waits_for = stage.and_then(Stage::delivery);
            assert_eq!(waits_for, Some(delivery), "{id:?} does not wait for this delivery");
        }
    }

    /// Draw again for a process that was not, or may not have been, taken.
    fn again(&mut self, id: HeldId, delivered: &Delivered, unclear: bool) {
        let Delivered { peer, is_process, .. } = *delivered;
        match is_process {
            true => {
                self.processes.came_back(&mut self.fx, id, peer, unclear);
                self.place(id);
            }
            false => self.tell_later(id, None),
        }
    }

    /// A process comes from another node.
    pub(super) fn delivered(&mut self, peer: NodeId, delivery: Delivery) {
        self.membership.told_load(&self.fx, peer, delivery.load);
        if !self.membership.is_linked(peer) {
            // There is no link to say yes or no on: taken, it would be here and there.
            self.fx.counters.unanswerable += 1;
            return;
        }
        let process = delivery.process;
        if self.transfer.was_taken(&self.fx, &process) {
            self.fx.counters.duplicates += 1;
            return self.accept(peer, delivery.id, None);
        }
        let from_abroad = self.membership.zone_of(peer).is_some();
        if let Some(refusal) = self.refusal(&process, from_abroad) {
            return self.refuse(peer, delivery.id, refusal);
        }
        self.transfer.take(&self.fx, &process);
        self.fx.counters.arrivals += 1;
        self.fx.counters.entries += u64::from(from_abroad);
        let born = self.fx.now - Duration::from_micros(process.age_us).min(BUDGET_MAX);
        let deadline = self.fx.now + Duration::from_micros(process.budget_us).min(BUDGET_MAX);
        let times = (born, deadline);
        let id = self.processes.hold(&mut self.fx, process, times, delivery.queue_moves);
        // Placed before the answer goes out, so that the load in it counts the newcomer.
        let component = self.active_component(id).filter(|_| from_abroad);
        let level_us = component.map(|component| self.level_us(&component));
        if from_abroad {
            self.place_from_abroad(id);
        } else {
            self.place_arrival(id);
        }
        let is_leaving = |stage: &Stage| matches!(stage, Stage::Leaving { .. });
        let bounced = self.processes.get(id).is_some_and(|held| is_leaving(&held.stage));
        self.fx.counters.bounced += u64::from(bounced);
        self.accept(peer, delivery.id, level_us);
    }

    /// Say no to a delivery.
    pub(super) fn refuse(&mut self, peer: NodeId, delivery: DeliveryId, refusal: Refusal) {
        self.fx.counters.refused_here += 1;
        let load = self.load();
        self.fx.send(peer, Message::Refused { delivery, load, refusal });
    }

    fn refusal(&self, process: &Process, from_abroad: bool) -> Option<Refusal> {
        let component = process.entry().map(|entry| component_of(process, entry));
        // Of a process that has run nothing, refusing loses nothing: there is room kept for the
        // others.
        let (fresh, config) = (process.steps == 0 && process.attempt == 0, &self.fx.config);
        let held_max = if fresh { config.admit_max } else { config.held_max };
        let waits = fresh && self.is_full(&self.load());
        let unbounded = self.fx.sabotaged(Sabotage::NoBounds);
        if self.drain != Drain::No {
            Some(Refusal::Draining)
        } else if process.hops > self.hops_max(process) && !unbounded {
            Some(Refusal::Hops)
        } else if self.catalog.app(&process.app, process.revision).is_none() {
            Some(Refusal::Revision)
        } else if !component.is_some_and(|component| {
            // An entry node of the zone passes on what it does not hold itself.
            let is_near = || self.membership.candidates(&self.fx, &component).next().is_some();
            self.components.is_ready(&component) || (from_abroad && is_near())
        }) {
            Some(Refusal::Component)
        } else if (self.processes.len() >= held_max || waits) && !unbounded {
            Some(Refusal::Full)
        } else {
            None
        }
    }

    /// Take nothing new, and hand over what waits.
    pub(super) fn drain(&mut self) {
        if self.drain == Drain::No {
            self.drain = Drain::Begun;
        }
        let queued: Vec<HeldId> = self.processes.queue().collect();
        for id in queued {
            self.processes.dequeue(&mut self.fx, id);
            self.place(id);
        }
    }
}
