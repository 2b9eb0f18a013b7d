//! Speaking with other zones. One node of a zone, that of the lowest id of those that live, tells
//! the others each second what room the zone has; when it is lost, the next lowest does, and nobody
//! is asked or told. What came from another zone is passed on inside this one by the node that got
//! it.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use izna_proto::{
    Beacon, Bulletin, ComponentId, DOORS_MAX, Digest, Door, LINES_MAX, Message, NodeId, PATHS_MAX,
    SummaryLine, ZoneId, ZonePath,
};
use rand::RngExt;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    Audience, Core, HeldId, Output,
    core::Timer,
    peer::{Peer, PeerState},
    place::Situation,
    placement::{self, Candidates, DEMAND_US_FIRST, Estimate, Summary, ZONES_MAX},
    zones,
};

/// Doors of another zone that are told directly: one may be lost.
const DOORS_TOLD: usize = 2;

impl Core {
    fn is_alone_in_zone(&self) -> bool {
        self.zones.len() == 0
    }

    /// Whether this node speaks for its zone: no live one has a lower id.
    pub(crate) fn is_speaker(&self) -> bool {
        #[cfg(feature = "sabotage")]
        if self.sabotaged(crate::Sabotage::SpeakAlways) {
            return true;
        }
        let own = self.config.node;
        let mut near = self.view.present(self.now, &self.config);
        !self.draining && near.all(|node| node > own)
    }

    /// Once a second: forget what is old; the speaker speaks.
    pub(crate) fn speak(&mut self) {
        self.arm(self.now + self.config.summary_interval, Timer::Speak);
        let (interval, forget_after) = (self.config.summary_interval, self.config.forget_after);
        self.zones.expire(self.now, interval, forget_after);
        if self.is_alone_in_zone() || !self.is_speaker() {
            return;
        }
        self.counters.bulletins += 1;
        let others: Vec<ZoneId> = self.zones.iter().map(|(id, _)| id).collect();
        let lines = self.summaries();
        for zone in &others {
            self.keep_a_link(*zone);
            let audience = self.doors_of(*zone);
            for bulletin in self.bulletins(*zone, &lines) {
                self.put(Output::Bulletin { audience: audience.clone(), bulletin });
            }
        }
        self.pass_on(&others);
        let paths = self.zones.paths();
        for paths in paths.chunks(PATHS_MAX) {
            let bulletin = self.bulletin(Vec::new(), Vec::new(), paths.to_vec());
            self.put(Output::Bulletin { audience: Audience::Zone, bulletin });
        }
    }

    /// Some doors of a zone, others each time.
    fn doors_of(&mut self, zone: ZoneId) -> Audience {
        let turn = usize::try_from(self.told).unwrap_or(0);
        let doors = self.zones.zone(zone).map(|zone| &zone.doors);
        let doors = doors.map(Vec::as_slice).unwrap_or_default();
        let some = doors.iter().cycle().skip(turn % doors.len().max(1));
        let some = some.take(doors.len().min(DOORS_TOLD));
        Audience::Nodes(some.map(|door| door.node).collect())
    }

    /// A link to each zone tells how far it is, and carries the app table.
    fn keep_a_link(&mut self, zone: ZoneId) {
        let Some(known) = self.zones.zone(zone) else { return };
        let (table, doors) = (known.table, known.doors.clone());
        let linked = doors
            .iter()
            .find(|door| self.view.peer(door.node).is_some_and(|peer| peer.linked && peer.answers));
        match linked {
            Some(door) if table != self.table.sum() => {
                let summary = self.table.summary();
                self.send(door.node, Message::TableSummary(summary));
            }
            Some(_) => {}
            None => self.connect_one_of(&doors),
        }
    }

    pub(crate) fn connect_one_of(&mut self, doors: &[Door]) {
        let known = doors.iter().filter(|door| door.node != self.config.node);
        let known: Vec<NodeId> = known.map(|door| door.node).collect();
        if known.is_empty() {
            return;
        }
        let drawn = self.random.random_range(0..known.len());
        if let Some(node) = known.get(drawn)
            && self.view.connecting(self.now, *node, &self.config)
        {
            self.put(Output::Connect(*node));
        }
    }

    /// Tell one zone of another: two that have no seed of each other find each other so.
    fn pass_on(&mut self, others: &[ZoneId]) {
        let (count, own) = (others.len(), self.config.zone);
        if count < 2 {
            return;
        }
        let first = self.random.random_range(0..count);
        let second = (first + self.random.random_range(1..count)) % count;
        let (Some(of), Some(to)) = (others.get(first), others.get(second)) else { return };
        let kept = self.zones.zone(*of).map(|zone| zone.kept.clone()).unwrap_or_default();
        let audience = self.doors_of(*to);
        for bulletin in kept.into_iter().rev().take(1).filter(|bulletin| bulletin.zone != own) {
            self.put(Output::Bulletin { audience: audience.clone(), bulletin });
        }
    }

    fn bulletin(
        &mut self,
        doors: Vec<Door>,
        lines: Vec<SummaryLine>,
        paths: Vec<ZonePath>,
    ) -> Bulletin {
        self.told += 1;
        Bulletin {
            zone: self.config.zone,
            name: String::from(self.config.traits.zone_name()),
            speaker: self.config.node,
            incarnation: self.config.incarnation,
            sequence: self.told,
            table: self.table.sum(),
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
            zones::line(component.key(), held, summary, 0)
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
        if node == self.config.node {
            return self.is_ready(component);
        }
        self.view.peer(node).is_some_and(|peer| peer.holds(component))
    }

    /// The nodes by which another zone enters this one: always the same for as long as they live,
    /// so that links last, and others for each zone, so that all share the work.
    fn doors(&self, zone: ZoneId) -> Vec<Door> {
        let own = (!self.draining).then_some((self.config.node, self.measured.capacity_milli));
        let near = self.view.peers().iter().filter(|peer| {
            peer.zone.is_none() && peer.state(self.now, &self.config) == PeerState::Live
        });
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
        if !self.draining {
            for component in self.holds() {
                holders.entry(*component).or_default().push(placement::occupancy(&own));
            }
        }
        for peer in self.view.peers() {
            if peer.state(self.now, &self.config) == PeerState::Live {
                for component in peer.holds.keys() {
                    let told = placement::occupancy(peer.belief.load());
                    holders.entry(*component).or_default().push(told);
                }
            }
        }
        let now = self.now;
        holders.into_iter().map(|(id, mut of)| (id, Summary::of(now, &mut of))).collect()
    }

    /// A beacon of a node of another zone, which has a node of this one among its seeds: its zone
    /// is told of this one, and will answer.
    pub(crate) fn heard_abroad(&mut self, beacon: &Beacon) {
        let is_known = self.zones.zone(beacon.zone).is_some_and(|zone| {
            !zone.doors.is_empty()
                && self.now.since(zone.heard) < self.config.summary_interval * 7 / 2
        });
        let just_answered =
            self.answered.is_some_and(|at| self.now.since(at) < self.config.summary_interval);
        if is_known || just_answered {
            return;
        }
        self.answered = Some(self.now);
        let lines = self.summaries();
        for bulletin in self.bulletins(beacon.zone, &lines) {
            let audience = Audience::Nodes(Vec::from([beacon.node]));
            self.put(Output::Bulletin { audience, bulletin });
        }
    }

    /// A bulletin, from a node of this zone or directly from another.
    pub(crate) fn told_bulletin(&mut self, bulletin: Bulletin, from_abroad: bool) {
        if bulletin.zone == self.config.zone {
            // A bulletin of the own zone: how far the others are. Its speaker knows that itself.
            if bulletin.speaker != self.config.node {
                self.zones.told_paths(&bulletin.paths);
            }
            return;
        }
        #[cfg(feature = "sabotage")]
        if self.sabotaged(crate::Sabotage::BelieveOldBulletin) {
            self.zones.forget_stamps(bulletin.zone);
        }
        let was_alone = self.is_alone_in_zone();
        if !self.zones.told(self.now, &bulletin, self.config.zones_max) {
            self.counters.bulletins_dropped += 1;
            return;
        }
        self.counters.bulletins_heard += 1;
        if from_abroad {
            self.put(Output::Bulletin { audience: Audience::Zone, bulletin });
        }
        if was_alone {
            // The first other zone: it is answered now.
            self.arm(self.now, Timer::Speak);
        }
    }

    /// A node of another zone has made a link to here: what it says is answered on a link to it.
    pub(crate) fn called(&mut self, peer: NodeId, zone: ZoneId, incarnation: u64) {
        let (now, peers_max) = (self.now, self.config.peers_max);
        let Some(unclear) = self.view.called(now, (peer, zone), incarnation, peers_max) else {
            return;
        };
        self.lose(peer, unclear);
        if self.view.connecting(now, peer, &self.config) {
            self.put(Output::Connect(peer));
        }
    }

    /// Add other zones to the candidates, each by one of its doors. Gives the doors of one that
    /// would be good and has no link yet.
    pub(crate) fn add_zones(
        &mut self,
        id: HeldId,
        situation: &Situation,
        candidates: &mut Candidates<NodeId>,
    ) -> Vec<Door> {
        if self.is_alone_in_zone() {
            return Vec::new();
        }
        let wait_us_max = self.config.admit_wait_max.as_secs_f64() * 1e6;
        let zone_hop_us = self.config.zone_hop_cost.as_secs_f64() * 1e6;
        let component = situation.component;
        let count = self.zones.len();
        let skip = if count > ZONES_MAX { self.random.random_range(0..count) } else { 0 };
        let unit = self.random.random::<f64>();
        let Some(held) = self.held.get(&id) else { return Vec::new() };
        let bytes = held.process.payload_bytes();
        let members = 1 + self.view.peers().iter().filter(|peer| peer.is_near()).count();
        let (mut unlinked, mut least_us) = (Vec::new(), f64::INFINITY);
        let zones = self.zones.iter().cycle().skip(skip).take(count.min(ZONES_MAX));
        for (_, zone) in zones {
            let Some(line) = zone.line(component.key()) else { continue };
            if placement::is_stale(&line.summary, self.now, self.config.summary_interval)
                || (situation.fresh && line.summary.wait_us > wait_us_max)
            {
                continue;
            }
            let hop_us = zone.hop_us().unwrap_or(zone_hop_us);
            let carry_us = zone.rate().map_or(0.0, |rate| bytes as f64 / rate);
            let belief = zone.belief(component.key());
            let there = belief.there(&line.summary, members, hop_us + carry_us, &situation.costs);
            let open = |door: &&Door| {
                let state = |peer: &Peer| peer.state(self.now, &self.config) == PeerState::Live;
                let been =
                    held.process.left.contains(&door.node) || held.tried.contains(&door.node);
                !been && self.view.peer(door.node).is_some_and(state)
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
        let own_us = situation.own(self.config.node).map_or(f64::INFINITY, |own| own.time_us);
        if least_us < best_us.min(own_us) { unlinked } else { Vec::new() }
    }

    /// A process was sent to another zone.
    pub(crate) fn sent_abroad(&mut self, target: NodeId, component: ComponentId) {
        if let Some(zone) = self.zone_of(target) {
            self.counters.crossings += 1;
            if let Some(zone) = self.zones.zone_mut(zone) {
                zone.belief_mut(component.key()).sent();
            }
        }
    }

    /// Another zone has taken a process, or has not.
    pub(crate) fn answered_abroad(
        &mut self,
        peer: NodeId,
        component: ComponentId,
        level: Option<u32>,
    ) {
        let (zone, now) = (self.zone_of(peer), self.now);
        let Some(zone) = zone.and_then(|zone| self.zones.zone_mut(zone)) else { return };
        match level {
            Some(level_us) => zone.belief_mut(component.key()).answered(now, f64::from(level_us)),
            None => zone.belief_mut(component.key()).failed(),
        }
    }

    /// The other zone that a node is of.
    pub(crate) fn zone_of(&self, node: NodeId) -> Option<ZoneId> {
        self.view.peer(node)?.zone
    }

    /// The level that goes with the acknowledgement of a process that came from another zone.
    pub(crate) fn level_us(&self, component: &ComponentId) -> u32 {
        let near = self.view.candidates(self.now, component, &self.config);
        let near = near.map(|peer| placement::occupancy(peer.belief.load()).0.time_us);
        let own = self.is_ready(component).then(|| f64::from(self.load().wait_us));
        let least = near.chain(own).fold(f64::INFINITY, f64::min);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let level_us = if least.is_finite() { least as u32 } else { DEMAND_US_FIRST as u32 };
        level_us
    }

    /// A node asked for an artifact that is not here. For one of another zone, which can reach the
    /// doors of this one only, it is got from where it is in this zone.
    pub(crate) fn lacked(&mut self, peer: NodeId, digest: Digest) {
        if self.zone_of(peer).is_none() || !self.table.knows(&digest) {
            return;
        }
        let holders = self.near_with_code(digest);
        self.put(Output::Keep { digest, holders });
    }

    /// Code that nobody in this zone runs: get links to doors that run it, or else to one of each
    /// zone, since a door gets what its zone has.
    pub(crate) fn connect_for(&mut self, digest: Digest) {
        if self.is_alone_in_zone() {
            return;
        }
        let components =
            self.table.components().filter(|(_, component)| component.digest == digest);
        let ids: Vec<ComponentId> =
            components.map(|(app, component)| component.id(&app.name)).collect();
        if ids.iter().any(|id| !self.view.holders(id).is_empty()) {
            return;
        }
        let linked = |door: &Door| self.view.peer(door.node).is_some_and(|peer| peer.linked);
        let (mut holders, mut others) = (Vec::new(), Vec::new());
        for (_, zone) in self.zones.iter() {
            let lines = ids.iter().filter_map(|id| zone.line(id.key()));
            let of: Vec<Door> = lines.flat_map(|line| line.holders.iter().copied()).collect();
            let (list, doors) =
                if of.is_empty() { (&mut others, &zone.doors) } else { (&mut holders, &of) };
            list.push(if doors.iter().any(linked) { Vec::new() } else { doors.clone() });
        }
        // Where nobody tells of it, any zone may have it, so each is asked.
        let zones = if holders.is_empty() { others } else { holders };
        let skip = self.random.random_range(0..zones.len().max(1));
        for doors in zones.iter().cycle().skip(skip).take(zones.len().min(ZONES_MAX)) {
            self.connect_one_of(doors);
        }
    }

    /// Whether some node of this zone can be given a process for a component.
    pub(crate) fn is_held_near(&self, component: &ComponentId) -> bool {
        self.view.candidates(self.now, component, &self.config).next().is_some()
    }

    /// Tell a node where the gateway of a process is, if that is of another zone than the node and
    /// the node was not told yet.
    pub(crate) fn introduce(&mut self, target: NodeId, home: NodeId) {
        let own = self.config.zone;
        let zone = |core: &Self, node: NodeId| core.zone_of(node).unwrap_or(own);
        let home_is_known = home == self.config.node || self.view.peer(home).is_some();
        if home == target || !home_is_known || zone(self, target) == zone(self, home) {
            return;
        }
        if self.view.introduce(target, home) {
            self.put(Output::Introduce { peer: target, node: home });
        }
    }

    /// How much longer an answer may take because nodes of other zones are far.
    pub(crate) fn farthest(&self) -> crate::Duration {
        let far = self.view.peers().iter().filter(|peer| peer.zone.is_some() && peer.linked);
        far.map(Peer::round_trip).max().unwrap_or_default()
    }
}
