//! Speaking with other zones. One node of a zone, its leader, that of the lowest id of those that
//! live, tells the others each second what room the zone has; when it is lost, the next lowest does,
//! and nobody is asked or told. What came from another zone is passed on inside this one by the node
//! that got it.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use izna_proto::{
    Beacon, Bulletin, ComponentId, DOORS_MAX, Digest, Door, LINES_MAX, Message, NodeId, PATHS_MAX,
    SummaryLine, ZoneId, ZonePath,
};
use rand::RngExt;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Core, Drain, place::Situation};
use crate::{
    held_id::HeldId,
    io::{Audience, Output},
    membership,
    placement::{self, Candidates, DEMAND_US_FIRST, Estimate, Summary, ZONES_MAX},
    sabotage::Sabotage,
};

/// Doors of another zone that are told directly: one may be lost.
const DOORS_TOLD: usize = 2;

impl Core {
    fn is_alone_in_zone(&self) -> bool {
        self.membership.zone_count() == 0
    }

    /// Whether this node speaks for its zone: no live one has a lower id.
    pub(super) fn is_speaker(&self) -> bool {
        if self.fx.sabotaged(Sabotage::SpeakAlways) {
            return true;
        }
        let own = self.fx.config.node;
        let near = self.membership.present(&self.fx);
        self.drain == Drain::No && near.into_iter().all(|node| node > own)
    }

    /// Once a second: forget what is old; the speaker speaks.
    pub(super) fn speak(&mut self) {
        let next = self.fx.now + self.fx.config.summary_interval;
        self.membership.speak_at(&mut self.fx, next);
        self.membership.expire_zones(&self.fx);
        if self.is_alone_in_zone() || !self.is_speaker() {
            return;
        }
        self.fx.counters.bulletins += 1;
        let others: Vec<ZoneId> = self.membership.zones().map(|(id, _)| id).collect();
        let lines = self.summaries();
        for zone in &others {
            self.keep_a_link(*zone);
            let audience = self.doors_of(*zone);
            for bulletin in self.bulletins(*zone, &lines) {
                self.fx.put(Output::Bulletin { audience: audience.clone(), bulletin });
            }
        }
        self.pass_on(&others);
        let paths = self.membership.paths();
        for paths in paths.chunks(PATHS_MAX) {
            let bulletin = self.bulletin(Vec::new(), Vec::new(), paths.to_vec());
            self.fx.put(Output::Bulletin { audience: Audience::Zone, bulletin });
        }
    }

    /// Some doors of a zone, others each time.
    fn doors_of(&mut self, zone: ZoneId) -> Audience {
        let turn = usize::try_from(self.membership.bulletins()).unwrap_or(0);
        let doors = self.membership.zone(zone).map(|zone| &zone.doors);
        let doors = doors.map(Vec::as_slice).unwrap_or_default();
        let some = doors.iter().cycle().skip(turn % doors.len().max(1));
        let some = some.take(doors.len().min(DOORS_TOLD));
        Audience::Nodes(some.map(|door| door.node).collect())
    }

    /// A link to each zone tells how far it is, and carries the app table.
    fn keep_a_link(&mut self, zone: ZoneId) {
        let Some(known) = self.membership.zone(zone) else { return };
        let (table, doors) = (known.table, known.doors.clone());
        let linked = doors
            .iter()
            .find(|door| self.membership.peer(door.node).is_some_and(|p| p.linked && p.answers));
        match linked {
            Some(door) if table != self.catalog.sum() => {
                let summary = self.catalog.summary();
                self.fx.send(door.node, Message::TableSummary(summary));
            }
            Some(_) => {}
            None => self.connect_one_of(&doors),
        }
    }

    pub(super) fn connect_one_of(&mut self, doors: &[Door]) {
        let known = doors.iter().filter(|door| door.node != self.fx.config.node);
        let known: Vec<NodeId> = known.map(|door| door.node).collect();
        if known.is_empty() {
            return;
        }
        let drawn = self.fx.random.random_range(0..known.len());
        if let Some(node) = known.get(drawn)
            && self.membership.connecting(&self.fx, *node)
        {
            self.fx.put(Output::Connect(*node));
        }
    }

    /// Tell one zone of another: two that have no seed of each other find each other so.
    fn pass_on(&mut self, others: &[ZoneId]) {
        let (count, own) = (others.len(), self.fx.config.zone);
        if count < 2 {
            return;
        }
        let first = self.fx.random.random_range(0..count);
        let second = (first + self.fx.random.random_range(1..count)) % count;
        let (Some(of), Some(to)) = (others.get(first), others.get(second)) else { return };
        let kept = self.membership.zone(*of).map(|zone| zone.kept.clone()).unwrap_or_default();
        let audience = self.doors_of(*to);
        for bulletin in kept.into_iter().rev().take(1).filter(|bulletin| bulletin.zone != own) {
            self.fx.put(Output::Bulletin { audience: audience.clone(), bulletin });
        }
    }

    fn bulletin(
        &mut self,
        doors: Vec<Door>,
        lines: Vec<SummaryLine>,
        paths: Vec<ZonePath>,
    ) -> Bulletin {
        let sequence = self.membership.next_bulletin();
        Bulletin {
            zone: self.fx.config.zone,
            name: String::from(self.fx.config.traits.zone_name()),
            speaker: self.fx.config.node,
            incarnation: self.fx.config.incarnation,
            sequence,
            table: self.catalog.sum(),
            doors,
            lines,
            paths,
        }
    }

    /// What this zone tells another one, with the doors that are for that one.
    fn bulletins(&mut self, zone: ZoneId, lines: &[(ComponentId, Summary)]) -> Vec<Bulletin> {
        let doors = self.doors(zone);
        let line = |(component, summary): &(ComponentId, Summary)| {
            let mut held = 0u8;
            for (nth, door) in doors.iter().enumerate().take(DOORS_MAX) {
                held |= u8::from(self.is_held_by(door.node, component)) << nth;
            }
            membership::line(component.key(), held, summary)
        };
        let lines: Vec<SummaryLine> = lines.iter().map(line).collect();
        let mut parts: Vec<Vec<SummaryLine>> = lines.chunks(LINES_MAX).map(<[_]>::to_vec).collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let parts = parts.into_iter();
        parts.map(|lines| self.bulletin(doors.clone(), lines, Vec::new())).collect()
    }

    fn is_held_by(&self, node: NodeId, component: &ComponentId) -> bool {
        if node == self.fx.config.node {
            return self.components.is_ready(component);
        }
        self.membership.peer(node).is_some_and(|peer| peer.holds(component))
    }

    /// The nodes by which another zone enters this one: always the same for as long as they live,
    /// so that links last, and others for each zone, so that all share the work.
    fn doors(&self, zone: ZoneId) -> Vec<Door> {
        let own = (self.fx.config.node, self.meter.capacity_milli());
        let own = (self.drain == Drain::No).then_some(own);
        let near = self
            .membership
            .peers()
            .iter()
            .filter(|peer| peer.zone.is_none() && self.membership.is_live(&self.fx, peer.node));
        let near = near.map(|peer| (peer.node, peer.belief.load().capacity_milli));
        let mut doors: Vec<(u64, Door)> = own
            .into_iter()
            .chain(near)
            .map(|(node, capacity_milli)| {
                let rank = xxh3_64_with_seed(&node.0.to_be_bytes(), u64::from(zone.0));
                (rank, Door { node, capacity_milli, address: None })
            })
            .collect();
        doors.sort_unstable_by_key(|(rank, _)| *rank);
        doors.into_iter().take(DOORS_MAX).map(|(_, door)| door).collect()
    }

    /// The room in this zone for each component that is held in it.
    fn summaries(&self) -> Vec<(ComponentId, Summary)> {
        let mut holders: BTreeMap<ComponentId, Vec<(Estimate, f64)>> = BTreeMap::new();
        let own = self.load();
        if self.drain == Drain::No {
            for component in self.holds() {
                holders.entry(*component).or_default().push(placement::occupancy(&own));
            }
        }
        for peer in self.membership.peers() {
            if self.membership.is_live(&self.fx, peer.node) {
                for component in peer.inventory.holds.keys() {
                    let told = placement::occupancy(peer.belief.load());
                    holders.entry(*component).or_default().push(told);
                }
            }
        }
        let now = self.fx.now;
        holders.into_iter().map(|(id, mut of)| (id, Summary::of(now, &mut of))).collect()
    }

    /// A beacon of a node of another zone, which has a node of this one among its seeds: its zone
    /// is told of this one, and will answer.
    pub(super) fn heard_abroad(&mut self, beacon: &Beacon) {
        if !self.membership.answers_zone(&self.fx, beacon.zone) {
            return;
        }
        let lines = self.summaries();
        for bulletin in self.bulletins(beacon.zone, &lines) {
            let audience = Audience::Nodes(Vec::from([beacon.node]));
            self.fx.put(Output::Bulletin { audience, bulletin });
        }
    }

    /// A bulletin, from a node of this zone or directly from another.
    pub(super) fn told_bulletin(&mut self, bulletin: Bulletin, from_abroad: bool) {
        if bulletin.zone == self.fx.config.zone {
            // A bulletin of the own zone: how far the others are. Its speaker knows that itself.
            if bulletin.speaker != self.fx.config.node {
                self.membership.told_paths(&bulletin.paths);
            }
            return;
        }
        let was_alone = self.is_alone_in_zone();
        if !self.membership.told_zone(&mut self.fx, &bulletin) {
            return;
        }
        if from_abroad {
            self.fx.put(Output::Bulletin { audience: Audience::Zone, bulletin });
        }
        if was_alone {
            // The first other zone: it is answered now.
            let now = self.fx.now;
            self.membership.speak_at(&mut self.fx, now);
        }
    }

    /// A node of another zone has made a link to here: what it says is answered on a link to it.
    pub(super) fn called(&mut self, peer: NodeId, zone: ZoneId, incarnation: u64) {
        let Some(restarted) = self.membership.called(&self.fx, (peer, zone), incarnation) else {
            return;
        };
        if restarted {
            self.lose(peer);
        }
        if self.membership.connecting(&self.fx, peer) {
            self.fx.put(Output::Connect(peer));
        }
    }

    /// Add other zones to the candidates, each by one of its doors. Gives the doors of one that
    /// would be good and has no link yet.
    pub(super) fn add_zones(
        &mut self,
        id: HeldId,
        situation: &Situation,
        candidates: &mut Candidates<NodeId>,
    ) -> Vec<Door> {
        if self.is_alone_in_zone() {
            return Vec::new();
        }
        let wait_us_max = self.fx.config.admit_wait_max.as_secs_f64() * 1e6;
        let zone_hop_us = self.fx.config.zone_hop_cost.as_secs_f64() * 1e6;
        let component = situation.component;
        let count = self.membership.zone_count();
        let skip = if count > ZONES_MAX { self.fx.random.random_range(0..count) } else { 0 };
        let unit = self.fx.random.random::<f64>();
        let Some(held) = self.processes.get(id) else { return Vec::new() };
        let bytes = held.process.payload_bytes();
        let members = 1 + self.membership.peers().iter().filter(|peer| peer.is_near()).count();
        let (mut unlinked, mut least_us) = (Vec::new(), f64::INFINITY);
        let zones = self.membership.zones().cycle().skip(skip).take(count.min(ZONES_MAX));
        for (_, zone) in zones {
            let Some(line) = zone.line(component.key()) else { continue };
            if placement::is_stale(&line.summary, self.fx.now, self.fx.config.summary_interval)
                || (situation.fresh && line.summary.wait_us > wait_us_max)
            {
                continue;
            }
            let hop_us = zone.hop_us().unwrap_or(zone_hop_us);
            let carry_us = zone.rate().map_or(0.0, |rate| bytes as f64 / rate);
            let belief = zone.belief(component.key());
            let there = belief.there(&line.summary, members, hop_us + carry_us, &situation.costs);
            let open = |door: &&Door| {
                !held.has_been_at(door.node) && self.membership.is_live(&self.fx, door.node)
            };
            let through = |doors: &[Door]| {
                let open = doors.iter().filter(open);
                let open = open.map(|door| (door.node, f64::from(door.capacity_milli)));
                placement::inside(open, unit)
            };
            match through(&line.holders).or_else(|| through(&line.others)) {
                Some(door) => candidates.push(door, there),
                None if there.time_us < least_us => {
                    least_us = there.time_us;
                    unlinked.clone_from(match line.holders.is_empty() {
                        true => &line.others,
                        false => &line.holders,
                    });
                }
                None => {}
            }
        }
        let best_us = candidates.best_us().unwrap_or(f64::INFINITY);
        let own_us = situation.own(self.fx.config.node).map_or(f64::INFINITY, |own| own.time_us);
        if least_us < best_us.min(own_us) { unlinked } else { Vec::new() }
    }

    /// The level that goes with the acknowledgement of a process that came from another zone.
    pub(super) fn level_us(&self, component: &ComponentId) -> u32 {
        let near = self.membership.candidates(&self.fx, component);
        let near = near.map(|peer| placement::occupancy(peer.belief.load()).0.time_us);
        let own = self.components.is_ready(component).then(|| f64::from(self.load().wait_us));
        let least = near.chain(own).fold(f64::INFINITY, f64::min);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let level_us = if least.is_finite() { least as u32 } else { DEMAND_US_FIRST as u32 };
        level_us
    }

    /// A node asked for an artifact that is not here. For one of another zone, which can reach the
    /// doors of this one only, it is got from where it is in this zone.
    pub(super) fn lacked(&mut self, peer: NodeId, digest: Digest) {
        if self.membership.zone_of(peer).is_none() || !self.catalog.knows(&digest) {
            return;
        }
        let holders = self.near_with_code(digest);
        self.fx.put(Output::Keep { digest, holders });
    }

    /// Code that nobody in this zone runs: get links to doors that run it, or else to one of each
    /// zone, since a door gets what its zone has.
    pub(super) fn connect_for(&mut self, digest: Digest) {
        if self.is_alone_in_zone() {
            return;
        }
        let components =
            self.catalog.components().filter(|(_, component)| component.digest == digest);
        let ids: Vec<ComponentId> =
            components.map(|(app, component)| component.id(&app.name)).collect();
        if ids.iter().any(|id| !self.membership.linked_holders(id).is_empty()) {
            return;
        }
        let linked = |door: &Door| self.membership.is_linked(door.node);
        let (mut holders, mut others) = (Vec::new(), Vec::new());
        for (_, zone) in self.membership.zones() {
            let lines = ids.iter().filter_map(|id| zone.line(id.key()));
            let of: Vec<Door> = lines.flat_map(|line| line.holders.iter().copied()).collect();
            let (list, doors) =
                if of.is_empty() { (&mut others, &zone.doors) } else { (&mut holders, &of) };
            list.push(if doors.iter().any(linked) { Vec::new() } else { doors.clone() });
        }
        // Where nobody tells of it, any zone may have it, so each is asked.
        let zones = if holders.is_empty() { others } else { holders };
        let skip = self.fx.random.random_range(0..zones.len().max(1));
        for doors in zones.iter().cycle().skip(skip).take(zones.len().min(ZONES_MAX)) {
            self.connect_one_of(doors);
        }
    }

    /// Tell a node where the gateway of a process is, if that is of another zone than the node and
    /// the node was not told yet.
    pub(super) fn introduce(&mut self, target: NodeId, home: NodeId) {
        let own = self.fx.config.zone;
        let zone = |core: &Self, node| core.membership.zone_of(node).unwrap_or(own);
        let home_is_known = home == self.fx.config.node || self.membership.peer(home).is_some();
        if home == target || !home_is_known || zone(self, target) == zone(self, home) {
            return;
        }
        if self.membership.introduce(target, home) {
            self.fx.put(Output::Introduce { peer: target, node: home });
        }
    }
}
