//! Placement: where a process goes next. Three policies, all pure: **transfer** (whether it
//! leaves), **selection** (which of the queued ones leaves) and **location** (to which node).
//!
//! The figure that all three compare is the *expected time* of the next step on a node: what it
//! takes to get there, to wait there and to run there, in microseconds.

use alloc::vec::Vec;

use izna_proto::Load;

/// The width of the draw, as a share of the step's demand: nodes whose expected times differ by
/// less count as equal. Smaller herds on stale figures, larger wastes good ones
/// (docs/decisions/0004).
const WIDTH: f64 = 0.1;
/// A node leaves a process alone unless the best other is better by this factor...
const STAY_FACTOR: f64 = 1.1;
/// ...and by this share of the step's demand...
const STAY_DEMAND: f64 = 0.2;
/// ...and by this many times what a migration costs.
const STAY_MOVES: f64 = 6.0;
/// No demand is taken to be less: below it, the clock's grain decides.
const DEMAND_US_MIN: f64 = 5.0;

/// What a process meets on one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    /// The expected time of the step there, in microseconds.
    pub(crate) time_us: f64,
    /// Cores that would take it at once.
    pub(crate) idle: f64,
    /// Cores times speed.
    pub(crate) capacity: f64,
}

/// What getting to another node costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    pub(crate) hop_us: f64,
    pub(crate) move_us: f64,
    /// The processor time that the step is expected to take.
    pub(crate) demand_us: f64,
}

impl Costs {
    fn demand(&self) -> f64 {
        self.demand_us.max(DEMAND_US_MIN)
    }
}

/// The estimate for this node, from its exact load.
pub(crate) fn here(load: &Load, costs: &Costs) -> Estimate {
    Estimate {
        time_us: f64::from(load.wait_us) + costs.demand(),
        idle: f64::from(load.idle),
        capacity: f64::from(load.capacity_milli) / 1000.0,
    }
}

/// The estimate for another node, from the load it last told and the deliveries that this figure
/// cannot cover yet.
pub(crate) fn there(load: &Load, uncovered: u32, costs: &Costs) -> Estimate {
    let capacity = f64::from(load.capacity_milli.max(1)) / 1000.0;
    let uncovered = f64::from(uncovered);
    let idle = f64::from(load.idle);
    let queued = (uncovered - idle).max(0.0);
    let cores = capacity.max(1.0);
    let wait_us = f64::from(load.wait_us) + queued * costs.demand() / cores;
    Estimate {
        time_us: costs.hop_us + costs.move_us + wait_us + costs.demand(),
        idle: (idle - uncovered).max(0.0),
        capacity,
    }
}

/// Transfer: whether the process stays, given the best that others offer.
pub(crate) fn stays(here: &Estimate, best_us: f64, costs: &Costs) -> bool {
    let margin = STAY_DEMAND * costs.demand() + STAY_MOVES * costs.move_us;
    here.time_us <= STAY_FACTOR * best_us + margin
}

/// The least expected time among `estimates`.
pub(crate) fn best_us(estimates: &[Estimate]) -> Option<f64> {
    estimates.iter().map(|estimate| estimate.time_us).reduce(f64::min)
}

/// Location: an index drawn at random, weighted by room at the best level: idle cores first,
/// capacity next, and exponentially less for what is worse. `unit` is uniform in [0, 1).
pub(crate) fn draw(estimates: &[Estimate], costs: &Costs, unit: f64) -> Option<usize> {
    let best = best_us(estimates)?;
    let width = WIDTH * costs.demand();
    let weight = |estimate: &Estimate| {
        let room = estimate.idle * costs.demand() + width * estimate.capacity.max(0.001);
        room * libm::exp(-(estimate.time_us - best) / width)
    };
    let total: f64 = estimates.iter().map(weight).sum();
    let mut left = unit * total;
    let mut last = None;
    for (index, estimate) in estimates.iter().enumerate() {
        let weight = weight(estimate);
        if weight > 0.0 {
            last = Some(index);
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
    }
    last
}

/// Selection: how many of the queued processes may leave at one time. Half, so that a wrong belief
/// about the others cannot empty the queue.
pub(crate) fn selection_max(queued: usize) -> usize {
    queued.div_ceil(2).min(32)
}

/// The candidates of one decision: estimates with what they stand for.
#[derive(Debug, Default)]
pub(crate) struct Candidates<T> {
    pub(crate) estimates: Vec<Estimate>,
    pub(crate) targets: Vec<T>,
}

impl<T> Candidates<T> {
    pub(crate) fn new() -> Self {
        Self { estimates: Vec::new(), targets: Vec::new() }
    }

    pub(crate) fn push(&mut self, target: T, estimate: Estimate) {
        self.targets.push(target);
        self.estimates.push(estimate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs { hop_us: 100.0, move_us: 30.0, demand_us: 1000.0 };

    fn load(wait_us: u32, idle: u16) -> Load {
        Load { wait_us, idle, capacity_milli: 2000, accepting: true, ..Load::default() }
    }

    /// If this fails, processes leave a node that is as good as any, or stay on one that is
    /// markedly worse.
    #[test]
    fn transfer_has_hysteresis() {
        let best = there(&load(0, 1), 0, &COSTS).time_us;
        assert!(stays(&here(&load(0, 0), &COSTS), best, &COSTS));
        assert!(stays(&here(&load(400, 0), &COSTS), best, &COSTS));
        assert!(!stays(&here(&load(2000, 0), &COSTS), best, &COSTS));
    }

    /// If this fails, own deliveries are forgotten until the target tells of them, and everyone
    /// herds on one node.
    #[test]
    fn uncovered_deliveries_count() {
        let fresh = there(&load(0, 2), 0, &COSTS);
        let one = there(&load(0, 2), 1, &COSTS);
        let many = there(&load(0, 2), 10, &COSTS);
        assert_eq!((fresh.idle, one.idle, many.idle), (2.0, 1.0, 0.0));
        assert!(many.time_us > fresh.time_us + 3000.0);
    }

    /// If this fails, the draw is not weighted by room: idle cores must get nearly all, equals
    /// equal shares.
    #[test]
    fn location_draws_by_room() {
        let estimates = [
            there(&load(0, 2), 0, &COSTS),
            there(&load(0, 2), 0, &COSTS),
            there(&load(5000, 0), 0, &COSTS),
        ];
        let mut counts = [0; 3];
        for n in 0..1000 {
            let index = draw(&estimates, &COSTS, f64::from(n) / 1000.0).unwrap();
            counts[index] += 1;
        }
        assert_eq!(counts, [500, 500, 0]);
        assert_eq!(draw(&[], &COSTS, 0.5), None);
    }

    /// If this fails, a hopeless field of candidates (weights that vanish) gives no target though
    /// there are some.
    #[test]
    fn location_always_finds_one() {
        let estimates =
            [there(&load(u32::MAX, 0), 0, &COSTS), there(&load(u32::MAX, 0), 0, &COSTS)];
        for unit in [0.0, 0.5, 0.999_999] {
            assert!(draw(&estimates, &COSTS, unit).is_some());
        }
    }
}
