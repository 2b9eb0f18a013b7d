//! The others: beacons out and in, links, probes, and this node's load.

use alloc::{sync::Arc, vec::Vec};

use izna_proto::{Beacon, ComponentCopy, Load, Message, NodeId, Traits, ZoneId};
use rand::RngExt;

use super::{Core, Drain};
use crate::{
    effects::Timer,
    io::{Note, Output},
    membership::{self, Check},
};

impl Core {
    /// This node's load now.
    pub fn load(&self) -> Load {
        let (waiting, inflow) = (self.processes.waiting(), self.processes.inflow());
        self.meter.load(&self.fx, &waiting, inflow, self.drain == Drain::No)
    }

    /// Send a beacon, and do what is done at its pace.
    pub(super) fn beacon(&mut self) {
        self.processes.measure_inflow(self.fx.now);
        let least_us = self.membership.compare(&self.fx);
        let (wait_us, mean_us) = (self.load().wait_us, self.processes.waiting().mean_us());
        self.meter.compare(&mut self.fx, (f64::from(wait_us), least_us), mean_us);
        let load = self.load();
        let config = &self.fx.config;
        let beacon = Beacon {
            zone: config.zone,
            node: config.node,
            incarnation: config.incarnation,
            sequence: self.membership.next_beacon(load.at_us),
            peer_port: config.peer_port,
            load,
            epoch: self.epoch(),
        };
        self.fx.put(Output::Beacon(beacon));
        let jitter = self.fx.random.random_range(0.9..1.1);
        let again = self.fx.now + self.fx.config.beacon_interval.mul_f64(jitter);
        self.fx.arm(again, Timer::Beacon);
        for check in self.membership.look_after(&self.fx) {
            match check {
                Check::Probe(peer) => self.probe(peer),
                Check::Dead(peer) => self.fx.put(Output::Disconnect(peer)),
            }
        }
        self.offer_queued();
    }

    fn probe(&mut self, peer: NodeId) {
        let load = self.load();
        self.fx.send(peer, Message::Probe { load });
    }

    /// What changes when its components or its app table do.
    pub(super) fn epoch(&self) -> u16 {
        membership::epoch(self.inventory_sum(), self.catalog.sum())
    }

    pub(super) fn heard(&mut self, beacon: &Beacon) {
        let Beacon { node, incarnation, zone, .. } = *beacon;
        if node == self.fx.config.node {
            if incarnation != self.fx.config.incarnation {
                self.fx.note(Note::Twin(node));
            }
            return;
        }
        if zone != self.fx.config.zone {
            return self.heard_abroad(beacon);
        }
        let Some(calls) = self.membership.heard(&mut self.fx, beacon, self.catalog.sum()) else {
            return;
        };
        if calls.restarted {
            self.fx.note(Note::Restarted(node));
            self.lose(node);
        }
        if calls.connect {
            self.fx.put(Output::Connect(node));
        }
        if calls.ask_inventory {
            self.fx.send(node, Message::AskInventory);
        }
        if calls.send_table {
            let summary = self.catalog.summary();
            self.fx.send(node, Message::TableSummary(summary));
        }
    }

    pub(super) fn link_up(
        &mut self,
        peer: NodeId,
        incarnation: u64,
        (name, traits): (Arc<str>, Traits),
        zone: ZoneId,
    ) {
        let abroad = (zone != self.fx.config.zone).then_some(zone);
        let known = (name, traits, abroad);
        if !self.membership.link_up(&self.fx, peer, incarnation, known) {
            return;
        }
        self.fx.note(Note::Joined(peer));
        // It may have what nobody else has.
        for digest in self.components.failed() {
            self.components.ask_soon(&mut self.fx, digest);
        }
        if abroad.is_none() {
            // Whether the tables differ, the next beacon tells.
            self.fx.send(peer, Message::AskInventory);
        }
        // Tells how far it is, and that this side can be answered.
        self.probe(peer);
    }

    pub(super) fn link_down(&mut self, peer: NodeId) {
        if self.membership.link_down(peer) {
            self.fx.note(Note::Left(peer));
        }
        self.lose(peer);
        self.stealing.lost(&mut self.fx, peer);
    }

    /// What was on its way to a node, or asked of it, will not be answered.
    pub(super) fn lose(&mut self, peer: NodeId) {
        self.lose_deliveries(peer);
        self.memory.lost(&mut self.fx, peer);
    }

    /// A node tells its table's sum and what it holds.
    pub(super) fn told_inventory(
        &mut self,
        peer: NodeId,
        told: (u16, u64),
        copies: Vec<ComponentCopy>,
    ) {
        let failed = self.components.failed().into_iter();
        let before: Vec<_> = failed.map(|digest| (digest, self.runners(&digest))).collect();
        self.membership.told_inventory(&self.fx, peer, told, copies);
        // Others run what could not be obtained than did before: it is asked for soon.
        for (digest, runners) in before {
            if self.runners(&digest) != runners {
                self.components.ask_soon(&mut self.fx, digest);
            }
        }
    }
}
