//! Migration: delivering a process, and taking one in. A source keeps a process until the target has
//! accepted it; whatever else happens, it is placed again.

use alloc::{
    collections::{BTreeSet, VecDeque},
    vec::Vec,
};

use izna_proto::{
    ComponentId, Delivery, DeliveryId, Finish, LEFT_MAX, Load, Message, NodeId, Process, ProcessId,
    Refusal,
};

use crate::{
    Core, Duration, HeldId, Output, Time,
    core::{Place, Timer},
    holding::component_of,
    peer::{Parcel, Peer},
};

/// The longest time that a process is taken to have left.
const BUDGET_MAX: Duration = Duration::from_secs(24 * 3600);

/// A delivery that is not answered yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaving {
    pub(crate) peer: NodeId,
    pub(crate) id: HeldId,
    pub(crate) sent: Time,
    /// When its answer is not waited for any more.
    pub(crate) until: Time,
}

/// Deliveries that were accepted lately, to tell a repeated one.
#[derive(Debug)]
pub(crate) struct Recent {
    seen: BTreeSet<(ProcessId, u32, u32)>,
    order: VecDeque<(ProcessId, u32, u32)>,
    max: usize,
}

impl Recent {
    pub(crate) fn new(max: usize) -> Self {
        Self { seen: BTreeSet::new(), order: VecDeque::new(), max }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    fn contains(&self, process: &Process) -> bool {
        self.seen.contains(&(process.id, process.attempt, process.hops))
    }

    fn add(&mut self, process: &Process) {
        let key = (process.id, process.attempt, process.hops);
        if self.seen.insert(key) {
            self.order.push_back(key);
        }
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
    }
}

impl Core {
    pub(crate) fn retry(&mut self, id: HeldId) {
        match self.held.get(&id).map(|held| &held.place) {
            Some(Place::Homeless) => self.place(id),
            Some(Place::Finishing(_)) => self.send_finish(id),
            _ => {}
        }
    }

    fn next_delivery(
        &mut self,
        id: HeldId,
        peer: NodeId,
        (is_process, bytes): (bool, usize),
    ) -> DeliveryId {
        self.next_delivery += 1;
        let delivery = self.next_delivery;
        let parcel = Parcel { sent: self.now, is_process, bytes };
        self.view.delivering(peer, delivery, parcel);
        // As far as is known now; kept, so that the timer is found again.
        let far = self.view.peer(peer).map(Peer::patience).unwrap_or_default();
        let until = self.now + self.config.acknowledge_timeout + far;
        self.deliveries.insert(delivery, Leaving { peer, id, sent: self.now, until });
        self.arm(until, Timer::Acknowledge(delivery));
        DeliveryId(delivery)
    }

    pub(crate) fn deliver(&mut self, id: HeldId, target: NodeId) {
        self.explain(id);
        let Some(held) = self.held.get(&id) else { return };
        let component = held.process.entry().map(|entry| component_of(&held.process, entry));
        let (home, bytes) = (held.process.home, held.process.payload_bytes());
        self.introduce(target, home.node);
        if let Some(component) = component {
            self.sent_abroad(target, component);
        }
        let delivery = self.next_delivery(id, target, (true, bytes));
        let (now, node) = (self.now, self.config.node);
        let Some(held) = self.held.get_mut(&id) else { return };
        held.place = Place::Leaving;
        held.homeless = None;
        let mut process = held.process.clone();
        process.hops = process.hops.saturating_add(1);
        #[cfg(feature = "sabotage")]
        let node = if self.config.sabotage == Some(crate::Sabotage::ForgetPath) {
            NodeId(u64::MAX)
        } else {
            node
        };
        if process.left.len() < LEFT_MAX {
            process.left.push(node);
        }
        process.age_us = micros(now.since(held.born));
        process.budget_us = micros(held.deadline.since(now));
        let queue_moves = held.queue_moves;
        self.counters.deliveries += 1;
        let load = self.load();
        let delivery = Delivery { id: delivery, load, queue_moves, process };
        self.send(target, Message::Deliver(delivery));
        #[cfg(feature = "sabotage")]
        if self.sabotaged(crate::Sabotage::ForgetBeforeAccepted) {
            self.release(id);
        }
    }

    /// Tell the gateway's node that a process has ended, until it acknowledges.
    pub(crate) fn send_finish(&mut self, id: HeldId) {
        let Some(held) = self.held.get(&id) else { return };
        let Place::Finishing(outcome) = &held.place else { return };
        let home = held.process.home;
        let peer = self.view.peer(home.node);
        if peer.is_some_and(|peer| peer.incarnation > home.incarnation) {
            // The gateway restarted: nobody waits any more.
            self.counters.orphans += 1;
            self.release(id);
            return;
        }
        if !peer.is_some_and(|peer| peer.linked) {
            if self.view.connecting(self.now, home.node, &self.config) {
                self.put(Output::Connect(home.node));
            }
            self.arm(self.now + self.config.retry_interval, Timer::Retry(id));
            return;
        }
        let (process, trail, outcome) =
            (held.process.id, held.process.trail.clone(), outcome.clone());
        let delivery = self.next_delivery(id, home.node, (false, 0));
        let load = self.load();
        let finish = Finish { id: delivery, load, process, home, outcome, trail };
        self.send(home.node, Message::Finish(finish));
    }

    pub(crate) fn accepted(
        &mut self,
        peer: NodeId,
        delivery: DeliveryId,
        load: Load,
        level_us: Option<u32>,
    ) {
        self.view.told_load(self.now, peer, load);
        let Some((id, sent)) = self.take_delivery(peer, delivery) else { return };
        if let Some(level_us) = level_us
            && let Some(component) = self.active_component(id)
        {
            self.answered_abroad(peer, component, Some(level_us));
        }
        match self.held.get(&id).map(|held| &held.place) {
            Some(Place::Leaving) => {
                self.counters.migrations += 1;
                self.counters.migration_us += micros(self.now.since(sent));
                self.release(id);
            }
            Some(Place::Finishing(_)) => {
                self.release(id);
            }
            _ => {}
        }
    }

    pub(crate) fn refused(
        &mut self,
        peer: NodeId,
        delivery: DeliveryId,
        load: Load,
        refusal: Refusal,
    ) {
        self.view.told_load(self.now, peer, load);
        let Some((id, _)) = self.take_delivery(peer, delivery) else { return };
        self.counters.refused_there += 1;
        if let Some(component) = self.active_component(id) {
            self.answered_abroad(peer, component, None);
        }
        if let Some(held) = self.held.get(&id) {
            let entry = self.table.entry(&held.process.app);
            match (refusal, held.process.entry(), entry) {
                (Refusal::Component, Some(entry), _) => {
                    let component = component_of(&held.process, entry);
                    self.view.does_not_hold(peer, &component);
                }
                (Refusal::Full, ..) => self.view.told_full(self.now, peer),
                (Refusal::Revision, _, Some(line)) => {
                    let line = line.clone();
                    self.send(peer, Message::TableEntries(Vec::from([line])));
                }
                _ => {}
            }
        }
        #[cfg(feature = "sabotage")]
        if self.sabotaged(crate::Sabotage::DropRefused) {
            self.release(id);
            return;
        }
        self.again(id, peer);
    }

    /// A delivery that was not answered in time.
    pub(crate) fn unanswered(&mut self, delivery: u64) {
        if let Some(Leaving { peer, id, .. }) = self.deliveries.remove(&delivery) {
            self.view.unanswered(self.now, peer, delivery);
            self.unclear_delivery(id, peer);
        }
    }

    /// Deliveries that the broken link may or may not have carried.
    pub(crate) fn unclear(&mut self, peer: NodeId, deliveries: Vec<u64>) {
        for delivery in deliveries {
            if let Some(Leaving { id, until, .. }) = self.deliveries.remove(&delivery) {
                self.disarm(until, Timer::Acknowledge(delivery));
                self.unclear_delivery(id, peer);
            }
        }
    }

    /// The target may have taken it, and may not.
    fn unclear_delivery(&mut self, id: HeldId, peer: NodeId) {
        self.counters.unclear += 1;
        if let Some(component) = self.active_component(id) {
            self.answered_abroad(peer, component, None);
        }
        if let Some(held) = self.held.get_mut(&id) {
            held.copied = true;
        }
        self.again(id, peer);
    }

    /// What an answer is about, and since when it was awaited.
    fn take_delivery(&mut self, peer: NodeId, delivery: DeliveryId) -> Option<(HeldId, Time)> {
        if let Some(parcel) = self.view.answered(self.now, peer, delivery.0) {
            self.answered_by(peer, parcel);
        }
        #[cfg(feature = "sabotage")]
        let delivery = self.sabotaged_delivery(peer, delivery);
        let leaving = *self.deliveries.get(&delivery.0).filter(|leaving| leaving.peer == peer)?;
        self.deliveries.remove(&delivery.0);
        // Left to themselves these timers would wake the node once for every delivery.
        self.disarm(leaving.until, Timer::Acknowledge(delivery.0));
        Some((leaving.id, leaving.sent))
    }

    /// For an answer that nobody waits for, another delivery to that node.
    #[cfg(feature = "sabotage")]
    fn sabotaged_delivery(&self, peer: NodeId, delivery: DeliveryId) -> DeliveryId {
        let late = !self.deliveries.contains_key(&delivery.0);
        let on = late && self.sabotaged(crate::Sabotage::TakeWrongAnswer);
        let other = self.deliveries.iter().find(|(_, leaving)| on && leaving.peer == peer);
        other.map_or(delivery, |(other, _)| DeliveryId(*other))
    }

    /// An answer tells how far its node is, and by that its zone.
    fn answered_by(&mut self, peer: NodeId, parcel: Parcel) {
        self.view.measured(self.now, peer, parcel);
        self.measured_zone(peer, parcel.sent, parcel.bytes);
    }

    /// The same of the zone that a node is of, if that is another one.
    pub(crate) fn measured_zone(&mut self, peer: NodeId, sent: Time, bytes: usize) {
        let zone = self.zone_of(peer);
        if let Some(zone) = zone.and_then(|zone| self.zones.zone_mut(zone)) {
            zone.measured(self.now, self.now.since(sent), bytes);
        }
    }

    fn active_component(&self, id: HeldId) -> Option<ComponentId> {
        let process = &self.held.get(&id)?.process;
        Some(component_of(process, process.entry()?))
    }

    /// Draw again for a process that `peer` did not, or may not have, taken.
    fn again(&mut self, id: HeldId, peer: NodeId) {
        let Some(held) = self.held.get_mut(&id) else { return };
        match held.place {
            Place::Leaving => {
                held.place = Place::Homeless;
                held.tried.push(peer);
                self.place(id);
            }
            Place::Finishing(_) => {
                self.arm(self.now + self.config.retry_interval, Timer::Retry(id))
            }
            _ => {}
        }
    }

    /// A process comes from another node.
    pub(crate) fn delivered(&mut self, peer: NodeId, delivery: Delivery) {
        self.view.told_load(self.now, peer, delivery.load);
        if !self.view.peer(peer).is_some_and(|peer| peer.linked) {
            // There is no link to say yes or no on: taken, it would be here and there.
            self.counters.unanswerable += 1;
            return;
        }
        let process = delivery.process;
        #[cfg(feature = "sabotage")]
        let repeated =
            !self.sabotaged(crate::Sabotage::TakeTwice) && self.recent.contains(&process);
        #[cfg(not(feature = "sabotage"))]
        let repeated = self.recent.contains(&process);
        if repeated {
            self.counters.duplicates += 1;
            return self.accept(peer, delivery.id, None);
        }
        let from_abroad = self.zone_of(peer).is_some();
        if let Some(refusal) = self.refusal(&process, from_abroad) {
            self.counters.refused_here += 1;
            let load = self.load();
            return self.send(peer, Message::Refused { delivery: delivery.id, load, refusal });
        }
        self.recent.add(&process);
        self.counters.arrivals += 1;
        self.counters.entries += u64::from(from_abroad);
        let born = self.now - Duration::from_micros(process.age_us).min(BUDGET_MAX);
        let deadline = self.now + Duration::from_micros(process.budget_us).min(BUDGET_MAX);
        let id = self.hold(process, born, deadline);
        if let Some(held) = self.held.get_mut(&id) {
            held.queue_moves = delivery.queue_moves;
        }
        // Placed before the answer goes out, so that the load in it counts the newcomer.
        let component = self.active_component(id).filter(|_| from_abroad);
        let level_us = component.map(|component| self.level_us(&component));
        if from_abroad {
            self.place_entry(id);
        } else {
            self.place_arrival(id);
        }
        if matches!(self.held.get(&id).map(|held| &held.place), Some(Place::Leaving)) {
            self.counters.bounced += 1;
        }
        self.accept(peer, delivery.id, level_us);
    }

    fn refusal(&self, process: &Process, from_abroad: bool) -> Option<Refusal> {
        let component = process.entry().map(|entry| component_of(process, entry));
        // Of a process that has run nothing, refusing loses nothing: there is room kept for the
        // others.
        let fresh = process.steps == 0 && process.attempt == 0;
        let held_max = if fresh { self.config.admit_max } else { self.config.held_max };
        let waits = fresh && self.is_full(&self.load());
        #[cfg(feature = "sabotage")]
        let unbounded = self.sabotaged(crate::Sabotage::NoBounds);
        #[cfg(not(feature = "sabotage"))]
        let unbounded = false;
        if self.draining {
            Some(Refusal::Draining)
        } else if process.hops > self.hops_max(process) && !unbounded {
            Some(Refusal::Hops)
        } else if self.table.app(&process.app, process.revision).is_none() {
            Some(Refusal::Revision)
        } else if !component.is_some_and(|component| {
            // A door of the zone passes on what it does not hold itself.
            self.is_ready(&component) || (from_abroad && self.is_held_near(&component))
        }) {
            Some(Refusal::Component)
        } else if (self.held.len() >= held_max || waits) && !unbounded {
            Some(Refusal::Full)
        } else {
            None
        }
    }

    /// Take nothing new, and hand over what waits.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        let queued: Vec<HeldId> = self.queue.iter().map(|(_, id)| *id).collect();
        for id in queued {
            self.dequeue(id);
            self.place(id);
        }
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
