//! Zones: inside, every node is known; each other zone is one candidate. Its figures are a summary
//! that a node of it tells now and then, and the level that came with the last acknowledgement from
//! it.

use super::{Candidates, Costs, Estimate};
use crate::time::{Duration, Time};

/// Other zones looked at in one decision.
pub const ZONES_MAX: usize = 8;
/// A way into another zone ends at a node that is drawn blindly there and may pass the process on:
/// half a way inside, and half a move more.
const INSIDE_HOPS: f64 = 0.5;
const INSIDE_MOVES: f64 = 1.5;
/// A process leaves its zone only for a gain of half a step more than it would leave its node for.
const ZONE_DEMAND: f64 = 0.5;
/// The room of a zone counts for half: other zones see it too.
const ROOM_SHARE: f64 = 0.5;
/// Own processes on their way to a zone count for as many of each of its nodes': all its members
/// send as we do, on the same figures. Half, because what was sent is partly known already.
const SIBLINGS_SHARE: f64 = 0.5;
/// From this level on, in steps, an acknowledgement says that no core is idle any more.
const LEVEL_BUSY: f64 = 0.2;
/// The share of a zone's capacity that is as good as the level it tells, or better: what a draw
/// inside would find.
const QUANTILE: f64 = 0.25;

/// What a zone tells of itself for one component.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Summary {
    /// When it was made.
    pub at: Time,
    /// Idle cores of its holders.
    pub idle: f64,
    /// Cores times speed of its holders.
    pub capacity: f64,
    /// The wait at its better holders: a quarter of the capacity has none longer, in microseconds.
    pub wait_us: f64,
    /// The mean speed of its holders.
    pub speed: f64,
}

impl Summary {
    /// Sum up a zone from what its holders tell: idle cores, capacity, wait, speed. `holders` is
    /// sorted in the course of it.
    pub fn of(at: Time, holders: &mut [(Estimate, f64)]) -> Self {
        let mut summary = Self { at, ..Self::default() };
        for (estimate, speed) in holders.iter() {
            summary.idle += estimate.idle;
            summary.capacity += estimate.capacity;
            summary.speed += estimate.capacity / speed.max(0.001);
        }
        if summary.capacity <= 0.0 {
            return summary;
        }
        summary.speed = summary.capacity / summary.speed;
        holders.sort_unstable_by(|a, b| a.0.time_us.total_cmp(&b.0.time_us));
        let mut seen = 0.0;
        for (estimate, _) in holders.iter() {
            seen += estimate.capacity;
            summary.wait_us = estimate.time_us;
            if seen >= QUANTILE * summary.capacity {
                break;
            }
        }
        summary
    }
}

/// What a node knows of another zone beyond its summaries.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ZoneBelief {
    sent: u32,
    level_us: f64,
    learned: Time,
}

impl ZoneBelief {
    /// A process went there.
    pub fn sent(&mut self) {
        self.sent = self.sent.saturating_add(1);
    }

    /// An acknowledgement came, with the wait that the drawn node saw at the best of its zone.
    pub fn answered(&mut self, now: Time, level_us: f64) {
        self.sent = self.sent.saturating_sub(1);
        self.level_us = level_us;
        self.learned = now;
    }

    /// A process that went there was not taken, or nobody knows.
    pub fn failed(&mut self) {
        self.sent = self.sent.saturating_sub(1);
    }

    /// The zone as one candidate. `hop_us` is the way between zones, `costs` has that inside;
    /// `members` is how many nodes the own zone has.
    pub fn there(&self, summary: &Summary, members: usize, hop_us: f64, costs: &Costs) -> Estimate {
        let demand = costs.demand();
        let fresh = self.learned > summary.at;
        let wait_us = if fresh { self.level_us } else { summary.wait_us };
        let idle = if fresh && wait_us > LEVEL_BUSY * demand { 0.0 } else { summary.idle };
        let sent_us = f64::from(self.sent) * SIBLINGS_SHARE * members as f64 * demand;
        let time_us = hop_us
            + INSIDE_HOPS * costs.hop_us
            + INSIDE_MOVES * costs.move_us
            + wait_us
            + demand / summary.speed.max(0.001)
            + sent_us / summary.capacity.max(0.001)
            + ZONE_DEMAND * demand;
        Estimate {
            time_us,
            idle: ROOM_SHARE * (idle - sent_us / demand).max(0.0),
            capacity: ROOM_SHARE * summary.capacity,
        }
    }
}

/// Which member of another zone a process goes to: by capacity, blindly; it draws again there. The
/// candidates are members with their capacities; `unit` is uniform in [0, 1).
pub fn inside<T: Copy>(members: impl Iterator<Item = (T, f64)> + Clone, unit: f64) -> Option<T> {
    let total: f64 = members.clone().map(|(_, capacity)| capacity).sum();
    let mut left = unit * total;
    let mut last = None;
    for (member, capacity) in members {
        last = Some(member);
        left -= capacity;
        if left < 0.0 {
            break;
        }
    }
    last
}

/// The level that goes on an acknowledgement: the wait at the best of the zone, as a node sees it
/// from its own estimate and its view of the others.
pub fn level_us<T: Copy>(here: &Estimate, others: &Candidates<T>, costs: &Costs) -> f64 {
    let best = others.best_us().map_or(here.time_us, |best| best.min(here.time_us));
    (best - costs.demand()).max(0.0)
}

/// Whether a summary is too old to be used: three of its intervals and a half are missing.
pub fn is_stale(summary: &Summary, now: Time, interval: Duration) -> bool {
    summary.capacity <= 0.0 || now.since(summary.at) > interval * 7 / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs { hop_us: 100.0, move_us: 30.0, demand_us: 1000.0 };

    fn at(micros: i64) -> Time {
        Time::from_micros(micros)
    }

    fn holder(wait_us: f64, idle: f64, capacity: f64) -> (Estimate, f64) {
        (Estimate { time_us: wait_us, idle, capacity }, 1.0)
    }

    /// If this fails, one idle node makes a full zone look empty, or one full node an idle zone
    /// look full.
    #[test]
    fn a_summary_tells_what_a_draw_would_find() {
        let mut holders = [
            holder(9000.0, 0.0, 4.0),
            holder(0.0, 1.0, 1.0),
            holder(500.0, 0.0, 3.0),
            holder(7000.0, 0.0, 4.0),
        ];
        let summary = Summary::of(at(1), &mut holders);
        assert_eq!((summary.idle, summary.capacity, summary.speed), (1.0, 12.0, 1.0));
        assert_eq!(summary.wait_us, 500.0);
        assert!(is_stale(&summary, at(4_000_000), Duration::from_secs(1)));
        assert!(!is_stale(&summary, at(3_000_000), Duration::from_secs(1)));
        assert!(is_stale(&Summary::of(at(1), &mut []), at(1), Duration::from_secs(1)));
    }

    /// If this fails, a zone that has filled up since its last summary goes on to be sent to: the
    /// level on an acknowledgement must win over an older summary, and lose to a newer one.
    #[test]
    fn the_level_on_an_acknowledgement_is_fresher() {
        let summary =
            Summary { at: at(100), idle: 50.0, capacity: 400.0, wait_us: 0.0, speed: 1.0 };
        let mut belief = ZoneBelief::default();
        let empty = belief.there(&summary, 100, 2000.0, &COSTS);
        assert_eq!((empty.idle, empty.capacity), (25.0, 200.0));
        belief.sent();
        let sent = belief.there(&summary, 100, 2000.0, &COSTS);
        assert!(sent.idle == 0.0 && sent.time_us > empty.time_us);
        belief.answered(at(200), 5000.0);
        let full = belief.there(&summary, 100, 2000.0, &COSTS);
        assert!(full.idle == 0.0 && full.time_us == empty.time_us + 5000.0);
        let newer = Summary { at: at(300), ..summary };
        assert_eq!(belief.there(&newer, 100, 2000.0, &COSTS).time_us, empty.time_us);
    }

    /// If this fails, a zone's members do not get processes by their capacity.
    #[test]
    fn inside_a_zone_capacity_counts() {
        let members = [(7, 1.0), (8, 3.0)];
        let drawn = |unit: f64| inside(members.into_iter(), unit);
        assert_eq!(
            (drawn(0.0), drawn(0.24), drawn(0.26), drawn(0.99)),
            (Some(7), Some(7), Some(8), Some(8))
        );
        assert_eq!(inside(core::iter::empty::<(u8, f64)>(), 0.5), None);
    }
}
