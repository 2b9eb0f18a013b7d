//! The others: beacons out and in, links, probes, and the app table spread by anti-entropy.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use izna_proto::{
    App, Beacon, Held as HeldProcess, Message, NodeId, Revision, TableEntry, Traits, Wire, ZoneId,
};
use rand::RngExt;

use crate::{
    Core, Note, Output,
    core::Timer,
    placement, table,
    view::{self, Check},
};

/// The most bytes of one message with lines of the table, if it has more than one line...
const PART_BYTES_MAX: usize = 1 << 20;
/// ...and of all that answer one summary.
const ANSWER_BYTES_MAX: usize = 8 << 20;

impl Core {
    /// Send a beacon, and do what is done at its pace.
    pub(crate) fn beacon(&mut self) {
        self.inflow.measure(self.now);
        self.compare();
        let load = self.load();
        self.sequence = Beacon::sequence_at(load.at_us).max(self.sequence + 1);
        let beacon = Beacon {
            zone: self.config.zone,
            node: self.config.node,
            incarnation: self.config.incarnation,
            sequence: self.sequence,
            peer_port: self.config.peer_port,
            load,
            epoch: self.epoch(),
        };
        self.put(Output::Beacon(beacon));
        let jitter = self.random.random_range(0.9..1.1);
        self.arm(self.now + self.config.beacon_interval.mul_f64(jitter), Timer::Beacon);
        for check in self.view.check(self.now, &self.config) {
            match check {
                Check::Probe(peer) => {
                    let load = self.load();
                    self.send(peer, Message::Probe { load });
                }
                Check::Dead(peer) => self.put(Output::Disconnect(peer)),
            }
        }
        self.offer_queued();
    }

    /// What changes when its components or its app table do.
    pub(crate) fn epoch(&self) -> u16 {
        view::epoch(self.inventory_sum(), self.table.sum())
    }

    /// How this node stands among the others, and how far they are.
    fn compare(&mut self) {
        let (mut fastest, mut least_us) = (0.0, f64::INFINITY);
        let (mut hops_us, mut measured) = (0.0, 0.0);
        for peer in self.view.peers().iter().filter(|peer| peer.is_near()) {
            let load = peer.belief.load();
            fastest = f64::max(fastest, placement::speed(load));
            least_us = least_us.min(f64::from(load.wait_us));
            if let Some(hop_us) = peer.path.hop_us() {
                (hops_us, measured) = (hops_us + hop_us, measured + 1.0);
            }
        }
        self.fastest = fastest;
        self.hop_us = match measured > 0.0 {
            true => hops_us / measured,
            false => self.config.hop_cost.as_secs_f64() * 1e6,
        };
        let (wait_us, mean_us) = (f64::from(self.load().wait_us), self.waiting().mean_us());
        let was = self.overload.is_on();
        let is = least_us.is_finite() && self.overload.update(wait_us, least_us, mean_us);
        self.counters.overloads += u64::from(is && !was);
    }

    pub(crate) fn heard(&mut self, beacon: &Beacon) {
        if beacon.node == self.config.node {
            if beacon.incarnation != self.config.incarnation {
                self.note(Note::Twin(beacon.node));
            }
            return;
        }
        if beacon.zone != self.config.zone {
            return self.heard_abroad(beacon);
        }
        let own_table = self.table.sum();
        let Some(calls) = self.view.heard(self.now, beacon, own_table, &self.config) else {
            self.counters.beacons_dropped += 1;
            return;
        };
        self.counters.beacons += 1;
        if calls.restarted {
            self.note(Note::Restarted(beacon.node));
            self.lose(beacon.node, calls.unclear);
        }
        if calls.connect {
            self.put(Output::Connect(beacon.node));
        }
        if calls.ask_inventory {
            self.send(beacon.node, Message::AskInventory);
        }
        if calls.send_table {
            let summary = self.table.summary();
            self.send(beacon.node, Message::TableSummary(summary));
        }
    }

    pub(crate) fn link_up(
        &mut self,
        peer: NodeId,
        incarnation: u64,
        (name, traits): (Arc<str>, Traits),
        zone: ZoneId,
    ) {
        let abroad = (zone != self.config.zone).then_some(zone);
        let known = (name, traits, abroad);
        if !self.view.link_up(self.now, peer, incarnation, known, self.config.peers_max) {
            return;
        }
        self.note(Note::Joined(peer));
        // It may have what nobody else has.
        for (digest, _) in self.failed_code() {
            self.ask_soon(digest);
        }
        if abroad.is_none() {
            // Whether the tables differ, the next beacon tells.
            self.send(peer, Message::AskInventory);
        }
        // Tells how far it is, and that this side can be answered.
        let load = self.load();
        self.send(peer, Message::Probe { load });
    }

    pub(crate) fn link_down(&mut self, peer: NodeId) {
        if self.view.peer(peer).is_some_and(|peer| peer.linked) {
            self.note(Note::Left(peer));
        }
        let unclear = self.view.link_down(peer);
        self.lose(peer, unclear);
        self.asked_is_gone(peer);
    }

    /// What was on its way to a node, or asked of it, will not be answered.
    pub(crate) fn lose(&mut self, peer: NodeId, deliveries: Vec<u64>) {
        self.unclear(peer, deliveries);
        for request in self.requests.lost(peer) {
            self.recall_failed(request);
        }
    }

    /// Tell each gateway which of its processes are here, and look for lost ones of the own.
    pub(crate) fn tell_holding(&mut self) {
        let mut homes: BTreeMap<NodeId, Vec<HeldProcess>> = BTreeMap::new();
        let mut away = BTreeSet::new();
        for held in self.held.values() {
            let home = held.process.home;
            if home.node != self.config.node
                && self.view.peer(home.node).is_none_or(|peer| !peer.linked)
            {
                away.insert(home.node);
            }
            let current = self
                .view
                .peer(home.node)
                .is_some_and(|peer| peer.linked && peer.incarnation == home.incarnation);
            if current {
                let process = held.process.id;
                homes.entry(home.node).or_default().push(HeldProcess { slot: home.slot, process });
            }
        }
        let away: Vec<NodeId> = away.into_iter().collect();
        for home in away {
            if self.view.connecting(self.now, home, &self.config) {
                self.put(Output::Connect(home));
            }
        }
        for (peer, held) in homes {
            self.send(peer, Message::Holding(held));
        }
        self.find_lost();
        self.table.expire(self.now, self.config.retain_revision);
        self.reconcile();
        self.arm(self.now + self.config.holding_interval, Timer::Holding);
    }

    /// A deploy or, without an app, an undeploy at this node.
    pub(crate) fn deploy(&mut self, name: Arc<str>, app: Option<App>) {
        let entry = self.table.next(name, app);
        self.not_deployed = table::check(&entry).err();
        if self.not_deployed.is_none() {
            self.merge(Vec::from([entry.clone()]));
            if self.table.entry(&entry.name) != Some(&entry) {
                self.not_deployed = Some(self.table.full(self.config.apps_max));
            }
        }
        if let Some(why) = &self.not_deployed {
            let why = why.clone();
            return self.note(Note::NotDeployed(entry.name, why));
        }
        let peers: Vec<NodeId> = self.view.present(self.now, &self.config).collect();
        for peer in peers {
            self.send(peer, Message::TableEntries(Vec::from([entry.clone()])));
        }
    }

    /// Lines of the table, from wherever they come.
    pub(crate) fn merge(&mut self, entries: Vec<TableEntry>) {
        for entry in entries {
            if let Some(name) = self.table.make_room(self.now, &entry, self.config.apps_max) {
                self.put(Output::Forget(name));
            }
            #[cfg(feature = "sabotage")]
            if self.sabotaged(crate::Sabotage::MergeOlder) {
                self.table.force(self.now, entry.clone());
                self.put(Output::Store(entry.clone()));
            }
            if self.table.merge(self.now, entry.clone(), self.config.apps_max) {
                // Where it was deployed again its code is.
                let app = entry.app.iter().flat_map(|app| &app.components);
                app.for_each(|component| self.ask_soon(component.digest));
                self.put(Output::Store(entry));
            }
        }
        self.reconcile();
    }

    pub(crate) fn restore(&mut self, entries: Vec<TableEntry>) {
        for entry in entries {
            self.table.merge(self.now, entry, self.config.apps_max);
        }
        self.reconcile();
    }

    /// Send lines of the table, in messages that a link takes. Of more than one answer should have,
    /// some are sent, others each time: those that are taken are not asked for again.
    fn send_lines(&mut self, peer: NodeId, mut lines: Vec<TableEntry>) {
        let bytes = |line: &TableEntry| line.to_bytes().len();
        if lines.iter().map(bytes).sum::<usize>() > ANSWER_BYTES_MAX {
            let first = self.random.random_range(0..lines.len());
            lines.rotate_left(first);
        }
        let (mut part, mut part_bytes, mut sent_bytes) = (Vec::new(), 0, 0);
        for line in lines {
            let bytes = bytes(&line);
            if sent_bytes > 0 && sent_bytes + bytes > ANSWER_BYTES_MAX {
                break;
            }
            if part_bytes > 0 && part_bytes + bytes > PART_BYTES_MAX {
                self.send(peer, Message::TableEntries(core::mem::take(&mut part)));
                part_bytes = 0;
            }
            (part_bytes, sent_bytes) = (part_bytes + bytes, sent_bytes + bytes);
            part.push(line);
        }
        if !part.is_empty() {
            self.send(peer, Message::TableEntries(part));
        }
    }

    pub(crate) fn table_summary(&mut self, peer: NodeId, summary: &[(Arc<str>, Revision)]) {
        let (mut missing, news) = self.table.compare(summary);
        let told = match self.zone_of(peer) {
            None => self.view.peer(peer).map_or(0, |peer| peer.table),
            Some(zone) => self.zones.zone(zone).map_or(0, |zone| zone.table),
        };
        if missing.is_empty() && !news && told != 0 && told != self.table.sum() {
            // Equal revisions that differ: two deployed at once. The bytes decide at the other
            // side.
            missing = self.table.entries().cloned().collect();
        }
        self.send_lines(peer, missing);
        if news {
            let summary = self.table.summary();
            self.send(peer, Message::TableSummary(summary));
        }
    }
}
