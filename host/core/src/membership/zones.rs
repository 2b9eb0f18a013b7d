//! The other zones: what their bulletins told, what the last acknowledgements from there told, and
//! how far they are. Knows nothing of links and messages.

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};

use izna_proto::{Bulletin, DOORS_MAX, Door, NodeId, SummaryLine, ZoneId, ZonePath, pack, unpack};

use crate::{
    placement::{Path, Summary, ZoneBelief, is_stale},
    time::{Duration, Time},
};

/// Nodes that may have spoken for one zone: what an earlier one said is not taken again.
const SPEAKERS_MAX: usize = 16;
/// Components of one zone that are remembered.
const COMPONENTS_MAX: usize = 4096;
/// Bulletins of one zone that are kept to be passed on.
const KEPT_MAX: usize = 64;

/// All other zones that were heard of.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    zones: BTreeMap<ZoneId, Zone>,
}

/// One other zone.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    pub(crate) name: String,
    pub(crate) heard: Time,
    /// What each that spoke for it said last.
    stamps: BTreeMap<NodeId, (u64, u64)>,
    /// A sum over its app table.
    pub(crate) table: u64,
    pub(crate) doors: Vec<Door>,
    lines: BTreeMap<u32, Line>,
    beliefs: BTreeMap<u32, ZoneBelief>,
    /// The way there as measured from here, and as this zone's speaker told it.
    path: Path,
    told: Option<ZonePath>,
    /// The newest bulletins, to be passed on.
    pub(crate) kept: VecDeque<Bulletin>,
}

/// The room for one component.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) summary: Summary,
    /// The doors that hold it, and the others.
    pub(crate) holders: Vec<Door>,
    pub(crate) others: Vec<Door>,
}

impl Zones {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ZoneId, &Zone)> + Clone {
        self.zones.iter().map(|(id, zone)| (*id, zone))
    }

    pub(crate) fn len(&self) -> usize {
        self.zones.len()
    }

    pub(crate) fn zone(&self, id: ZoneId) -> Option<&Zone> {
        self.zones.get(&id)
    }

    pub(crate) fn zone_mut(&mut self, id: ZoneId) -> Option<&mut Zone> {
        self.zones.get_mut(&id)
    }

    /// A defect: whatever a zone tells next is news.
    pub(crate) fn forget_stamps(&mut self, zone: ZoneId) {
        self.zones.entry(zone).or_default().stamps.clear();
    }

    /// Take in what a zone tells of itself; false if it is old, repeated, or of one zone too many.
    pub(crate) fn told(&mut self, now: Time, bulletin: &Bulletin, zones_max: usize) -> bool {
        if self.zones.len() >= zones_max && !self.zones.contains_key(&bulletin.zone) {
            return false;
        }
        self.zones.entry(bulletin.zone).or_default().told(now, bulletin)
    }

    /// How far this zone's speaker says the others are.
    pub(crate) fn told_paths(&mut self, paths: &[ZonePath]) {
        for path in paths {
            if let Some(zone) = self.zones.get_mut(&path.zone) {
                zone.told = Some(*path);
            }
        }
    }

    /// Forget figures that are too old, and zones that were silent for `forget_after`.
    pub(crate) fn expire(&mut self, now: Time, interval: Duration, forget_after: Duration) {
        for zone in self.zones.values_mut() {
            zone.lines.retain(|_, line| !is_stale(&line.summary, now, interval));
            let lines = &zone.lines;
            zone.beliefs.retain(|component, _| lines.contains_key(component));
            if now.since(zone.heard) > interval * 7 / 2 {
                zone.kept.clear();
            }
        }
        self.zones.retain(|_, zone| now.since(zone.heard) < forget_after);
    }

    /// How far the zones are that are in reach, for this zone's own bulletin.
    pub(crate) fn paths(&self) -> Vec<ZonePath> {
        let told = self.zones.iter().filter_map(|(id, zone)| {
            let round_trip_us = zone.path.round_trip_us()?;
            // Bytes a microsecond here, bytes a millisecond there.
            let rate = zone.path.rate().map_or(0, |rate| packed(rate * 1000.0));
            Some(ZonePath { zone: *id, round_trip: packed(round_trip_us), rate })
        });
        told.collect()
    }
}

impl Zone {
    fn told(&mut self, now: Time, bulletin: &Bulletin) -> bool {
        let stamp = (bulletin.incarnation, bulletin.sequence);
        if self.stamps.get(&bulletin.speaker).is_some_and(|last| *last >= stamp) {
            return false;
        }
        if self.stamps.len() >= SPEAKERS_MAX && !self.stamps.contains_key(&bulletin.speaker) {
            // The one that spoke least lately; its next word is news again.
            let oldest = self.stamps.iter().min_by_key(|(_, stamp)| **stamp);
            let oldest = oldest.map(|(speaker, _)| *speaker);
            oldest.map(|speaker| self.stamps.remove(&speaker));
        }
        self.stamps.insert(bulletin.speaker, stamp);
        self.heard = now;
        self.name.clone_from(&bulletin.name);
        self.table = bulletin.table;
        self.doors.clone_from(&bulletin.doors);
        for told in &bulletin.lines {
            if self.lines.len() < COMPONENTS_MAX || self.lines.contains_key(&told.component) {
                self.lines.insert(told.component, Line::new(now, told, &bulletin.doors));
            }
        }
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(bulletin.clone());
        true
    }

    pub(crate) fn line(&self, component: u32) -> Option<&Line> {
        self.lines.get(&component)
    }

    pub(crate) fn components(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn belief(&self, component: u32) -> ZoneBelief {
        self.beliefs.get(&component).copied().unwrap_or_default()
    }

    pub(crate) fn belief_mut(&mut self, component: u32) -> &mut ZoneBelief {
        self.beliefs.entry(component).or_default()
    }

    /// Something was answered from there.
    pub(crate) fn measured(&mut self, now: Time, took: Duration, bytes: usize) {
        self.path.answered(now, took, bytes);
    }

    /// One way there, in microseconds: as measured, or else as told.
    pub(crate) fn hop_us(&self) -> Option<f64> {
        let told = self.told.map(|told| f64::from(unpack(told.round_trip)) / 2.0);
        self.path.hop_us().or(told)
    }

    /// Bytes a microsecond.
    pub(crate) fn rate(&self) -> Option<f64> {
        let told = self.told.filter(|told| told.rate > 0);
        self.path.rate().or(told.map(|told| f64::from(unpack(told.rate)) / 1000.0))
    }
}

impl Line {
    fn new(now: Time, told: &SummaryLine, doors: &[Door]) -> Self {
        let figure = |packed: u16| f64::from(unpack(packed));
        let holds = |(nth, _): &(usize, &Door)| told.doors >> nth & 1 == 1;
        let (holders, others): (Vec<_>, Vec<_>) =
            doors.iter().take(DOORS_MAX).enumerate().partition(holds);
        let doors = |doors: Vec<(usize, &Door)>| doors.into_iter().map(|(_, door)| *door).collect();
        Self {
            summary: Summary {
                at: now,
                idle: f64::from(told.idle),
                capacity: figure(told.capacity) / 1000.0,
                wait_us: figure(told.wait),
                speed: figure(told.speed) / 1000.0,
            },
            holders: doors(holders),
            others: doors(others),
        }
    }
}

/// A summary for the wire. `doors` has a bit for each door that holds the component.
pub(crate) fn line(component: u32, doors: u8, summary: &Summary) -> SummaryLine {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let idle = summary.idle as u16;
    SummaryLine {
        component,
        doors,
        idle,
        capacity: packed(summary.capacity * 1000.0),
        wait: packed(summary.wait_us),
        speed: packed(summary.speed * 1000.0),
    }
}

fn packed(figure: f64) -> u16 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    pack(figure as u32)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn at(millis: i64) -> Time {
        Time::from_micros(millis * 1000)
    }

    fn bulletin(speaker: u64, sequence: u64, wait_us: f64) -> Bulletin {
        let door = |node| Door { node: NodeId(node), capacity_milli: 1000, address: None };
        let summary = Summary { at: at(0), idle: 3.0, capacity: 8.0, wait_us, speed: 1.25 };
        Bulletin {
            zone: ZoneId(9),
            name: String::from("east"),
            speaker: NodeId(speaker),
            incarnation: 1,
            sequence,
            table: 4,
            doors: vec![door(1), door(2), door(3)],
            lines: vec![line(77, 0b101, &summary)],
            paths: vec![],
        }
    }

    /// If this fails, a zone looks to others as it is not, or its figures are believed for ever.
    #[test]
    fn what_a_zone_tells_is_known_for_a_while() {
        let mut zones = Zones::default();
        assert!(zones.told(at(1000), &bulletin(1, 1, 2000.0), 10));
        let known = zones.zone(ZoneId(9)).unwrap();
        let line = known.line(77).unwrap();
        let expected =
            Summary { at: at(1000), idle: 3.0, capacity: 8.0, wait_us: 2000.0, speed: 1.25 };
        assert_eq!(line.summary, expected);
        let nodes = |doors: &[Door]| doors.iter().map(|door| door.node.0).collect::<Vec<_>>();
        assert_eq!((nodes(&line.holders), nodes(&line.others)), (vec![1, 3], vec![2]));
        let (interval, forget) = (Duration::from_secs(1), Duration::from_secs(100));
        zones.expire(at(4000), interval, forget);
        assert!(zones.zone(ZoneId(9)).unwrap().line(77).is_some());
        zones.expire(at(5000), interval, forget);
        assert!(zones.zone(ZoneId(9)).unwrap().line(77).is_none());
        zones.expire(at(200_000), interval, forget);
        assert_eq!(zones.len(), 0);
    }

    /// If this fails, a captured bulletin can be sent again to undo what a zone told since; or a
    /// zone falls silent when another node speaks for it.
    #[test]
    fn old_bulletins_are_dropped_whoever_speaks() {
        let mut zones = Zones::default();
        assert!(zones.told(at(0), &bulletin(1, 5, 0.0), 10));
        assert!(!zones.told(at(0), &bulletin(1, 5, 0.0), 10));
        assert!(zones.told(at(0), &bulletin(2, 1, 0.0), 10));
        assert!(!zones.told(at(0), &bulletin(1, 4, 0.0), 10));
        assert!(zones.told(at(0), &bulletin(1, 6, 0.0), 10));
    }

    /// If this fails, bulletins fill the memory: of zones, of speakers, or to be passed on.
    #[test]
    fn what_is_told_is_bounded() {
        let mut zones = Zones::default();
        assert!(zones.told(at(0), &bulletin(1, 1, 0.0), 1));
        let other = Bulletin { zone: ZoneId(10), ..bulletin(1, 1, 0.0) };
        assert!(!zones.told(at(0), &other, 1));
        for speaker in 0..1000 {
            zones.told(at(0), &bulletin(speaker, speaker + 2, 0.0), 1);
        }
        let zone = zones.zone(ZoneId(9)).unwrap();
        assert_eq!((zone.stamps.len(), zone.kept.len()), (SPEAKERS_MAX, KEPT_MAX));
        for component in 0..10_000 {
            let mut more = bulletin(1, 5000 + u64::from(component), 0.0);
            more.lines[0].component = component;
            zones.told(at(0), &more, 1);
        }
        assert_eq!(zones.zone(ZoneId(9)).unwrap().components(), COMPONENTS_MAX);
    }

    /// If this fails, nodes that never sent anything to a zone take it for near.
    #[test]
    fn a_way_is_measured_or_told() {
        let mut zones = Zones::default();
        zones.told(at(0), &bulletin(1, 1, 0.0), 10);
        assert_eq!(zones.zone(ZoneId(9)).unwrap().hop_us(), None);
        let told = ZonePath { zone: ZoneId(9), round_trip: pack(4000), rate: pack(2000) };
        zones.told_paths(&[told]);
        let zone = zones.zone_mut(ZoneId(9)).unwrap();
        assert_eq!((zone.hop_us(), zone.rate()), (Some(2000.0), Some(2.0)));
        zone.measured(at(1), Duration::from_millis(10), 0);
        assert_eq!(zone.hop_us(), Some(5000.0));
        assert_eq!(zones.paths()[0].round_trip, pack(10_000));
    }
}
