//! *Zones*: a zone's word is never older than what it told before, and not believed for ever; of a
//! zone that is stable one node speaks.

use std::collections::BTreeMap;

use izna_proto::Bulletin;

use super::Checker;
use crate::{
    World,
    event::Moment,
    world::{index, zone_id},
};

/// Nodes that may have spoken for a zone before what one of them said is forgotten.
const SPEAKERS_MAX: usize = 16;

/// What nodes have heard of other zones.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    /// By listener and zone.
    heard: BTreeMap<(usize, usize), Heard>,
    /// What is told now, and how many bulletins the listener had taken in before.
    now: Option<(Told, u64)>,
}

#[derive(Debug, Default)]
struct Heard {
    last: Moment,
    /// By speaker.
    stamps: BTreeMap<usize, (u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    zone: usize,
    speaker: usize,
    stamp: (u64, u64),
}

impl Checker for Zones {
    const NAME: &'static str = "zones";
}

impl Zones {
    pub(crate) fn crashed(&mut self, n: usize) {
        self.heard.retain(|(listener, _), _| *listener != n);
    }
}

impl World {
    pub(crate) fn before_bulletin(&mut self, n: usize, bulletin: &Bulletin) {
        let Some(core) = &self.nodes[n].core else { return };
        let zone = self.zone(index(bulletin.speaker));
        if zone != self.zone(n) {
            let stamp = (bulletin.incarnation, bulletin.sequence);
            let told = Told { zone, speaker: index(bulletin.speaker), stamp };
            self.checkers.zones.now = Some((told, core.counters().bulletins_heard));
        }
    }

    pub(crate) fn check_zones(&mut self, n: usize) {
        let Some((told, heard_before)) = self.checkers.zones.now.take() else { return };
        let node = &self.nodes[n];
        let Some(core) = &node.core else { return };
        let (now, interval) = (self.now, node.config.summary_interval);
        let old = core.zones().find(|zone| zone.silent > interval * 9 / 2 && zone.components > 0);
        let forgotten = u64::try_from(node.config.forget_after.as_micros()).unwrap_or(u64::MAX);
        let mut wrong = old.map(|old| {
            let zone = old.name;
            format!("believes what {zone} told {} ms ago", old.silent.as_millis())
        });
        if core.counters().bulletins_heard > heard_before {
            let heard = self.checkers.zones.heard.entry((n, told.zone)).or_default();
            if now - heard.last >= forgotten {
                heard.stamps.clear();
            }
            heard.last = now;
            let Told { zone, speaker, stamp } = told;
            let last = heard.stamps.insert(speaker, stamp).filter(|last| *last >= stamp);
            let last = last.filter(|_| heard.stamps.len() <= SPEAKERS_MAX);
            wrong = wrong.or_else(|| {
                let last = last?;
                let (of, what) =
                    (format!("node {speaker} of zone {zone}"), "incarnation, sequence");
                Some(format!("takes {stamp:?} ({what}) of {of} for news after {last:?}"))
            });
        }
        if let Some(wrong) = wrong {
            self.fail::<Zones>(None, n, wrong);
        }
    }

    /// In the end all zones know each other, and one node of each speaks for it.
    pub(crate) fn check_speakers(&mut self) {
        for n in 0..self.nodes.len() {
            let Some(core) = &self.nodes[n].core else { continue };
            let (zones, known) = (self.options.zones.max(1) - 1, core.zones().count());
            let far = (known != zones)
                .then(|| format!("knows {known} of {zones} other zones in the end"));
            let first = (0..n).find(|other| self.zone(*other) == self.zone(n));
            let speaks = (core.speaks() != first.is_none()).then(|| {
                format!("speaks for {} in the end: {}", zone_id(self.zone(n)), core.speaks())
            });
            if let Some(wrong) = far.or(speaks) {
                self.fail::<Zones>(None, n, wrong);
            }
        }
    }
}
