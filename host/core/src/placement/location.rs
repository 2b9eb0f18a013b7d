//! Location: which node gets a process. A draw at random, weighted by room at the best level: fresh
//! figures are used, stale ones do not make a herd.

use alloc::vec::Vec;

use izna_proto::Load;

use super::Belief;

/// The width of the draw, as a share of the step's demand: nodes whose expected times differ by
/// less count as equal. Simulated: 0.03 to 0.1 are alike, 0.3 costs one per cent of the mean, 1.0
/// eight (facts of placement, 3.2).
const WIDTH: f64 = 0.1;
/// A node that is worse than the best by this many widths is not drawn: its weight would be less
/// than a thousand millionth of the best one's.
const WIDTHS_MAX: f64 = 20.0;
/// No demand is taken to be less, in microseconds: below it, the clock's grain decides.
const DEMAND_US_MIN: f64 = 5.0;
/// What a step of an unknown component is taken to need, in microseconds.
pub const DEMAND_US_FIRST: f64 = 500.0;

/// What a process meets on one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The expected time of the step there, in microseconds.
    pub time_us: f64,
    /// Cores that would take it at once.
    pub idle: f64,
    /// Cores times speed.
    pub capacity: f64,
}

/// What a step and getting it to another node cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// The way to another node, in microseconds.
    pub hop_us: f64,
    /// The processor time of a migration, in microseconds.
    pub move_us: f64,
    /// The processor time that the step is expected to take at speed one, in microseconds.
    pub demand_us: f64,
}

impl Costs {
    pub(super) fn demand(&self) -> f64 {
        self.demand_us.max(DEMAND_US_MIN)
    }
}

/// The estimate for this node, from its exact load.
pub fn here(load: &Load, costs: &Costs) -> Estimate {
    Estimate {
        time_us: f64::from(load.wait_us) + costs.demand() / speed(load),
        idle: f64::from(load.idle),
        capacity: capacity(load),
    }
}

/// The estimate for another node: its load as last told, and on top the deliveries that this cannot
/// cover yet. They take the idle cores first; the next one waits, and so do those after it.
pub fn there(belief: &Belief, costs: &Costs) -> Estimate {
    let load = belief.load();
    let (uncovered, idle) = (f64::from(belief.uncovered()), f64::from(load.idle));
    let capacity = capacity(load);
    let waiting = if load.idle == 0 { uncovered } else { (uncovered - idle + 1.0).max(0.0) };
    let wait_us = f64::from(load.wait_us) + waiting * costs.demand() / capacity;
    Estimate {
        time_us: costs.hop_us + costs.move_us + wait_us + costs.demand() / speed(load),
        idle: (idle - uncovered).max(0.0),
        capacity,
    }
}

/// The least that any other node could offer, if the fastest had an idle core.
pub fn least_us(fastest: f64, costs: &Costs) -> f64 {
    costs.hop_us + costs.move_us + costs.demand() / fastest.max(0.001)
}

fn capacity(load: &Load) -> f64 {
    f64::from(load.capacity_milli.max(1)) / 1000.0
}

/// A node that does not tell its speed has that of the reference.
pub(crate) fn speed(load: &Load) -> f64 {
    if load.speed_milli == 0 { 1.0 } else { f64::from(load.speed_milli) / 1000.0 }
}

/// The candidates of one decision. Kept and cleared between decisions, it allocates nothing.
#[derive(Debug, Clone)]
pub struct Candidates<T> {
    targets: Vec<T>,
    estimates: Vec<Estimate>,
    weights: Vec<f64>,
    best_us: f64,
}

impl<T> Default for Candidates<T> {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            estimates: Vec::new(),
            weights: Vec::new(),
            best_us: f64::INFINITY,
        }
    }
}

impl<T: Copy> Candidates<T> {
    /// Begin a decision.
    pub fn clear(&mut self) {
        self.targets.clear();
        self.estimates.clear();
        self.best_us = f64::INFINITY;
    }

    /// One more candidate.
    pub fn push(&mut self, target: T, estimate: Estimate) {
        self.best_us = self.best_us.min(estimate.time_us);
        self.targets.push(target);
        self.estimates.push(estimate);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.estimates.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.estimates.is_empty()
    }

    /// The least expected time, in microseconds.
    pub fn best_us(&self) -> Option<f64> {
        (!self.is_empty()).then_some(self.best_us)
    }

    /// The candidates with their estimates.
    pub fn iter(&self) -> impl Iterator<Item = (T, &Estimate)> {
        self.targets.iter().copied().zip(&self.estimates)
    }

    /// One of them, drawn with weight `room * exp(-(time - best) / width)`: room is idle cores
    /// first and capacity next, and what is worse than the best counts exponentially less. `unit`
    /// is uniform in [0, 1).
    pub fn draw(&mut self, costs: &Costs, unit: f64) -> Option<T> {
        let total = self.weigh(costs);
        let mut left = unit * total;
        let mut last = None;
        for (target, weight) in self.targets.iter().zip(&self.weights) {
            if *weight > 0.0 {
                last = Some(*target);
                left -= weight;
                if left < 0.0 {
                    break;
                }
            }
        }
        last
    }

    /// The weights of the draw, in the order in which candidates were pushed.
    pub fn weights(&mut self, costs: &Costs) -> &[f64] {
        self.weigh(costs);
        &self.weights
    }

    fn weigh(&mut self, costs: &Costs) -> f64 {
        let (demand, best) = (costs.demand(), self.best_us);
        let width = WIDTH * demand;
        let worst = best + WIDTHS_MAX * width;
        let mut total = 0.0;
        self.weights.clear();
        self.weights.extend(self.estimates.iter().map(|estimate| {
            if estimate.time_us > worst {
                return 0.0;
            }
            let room = estimate.idle * demand + width * estimate.capacity.max(0.001);
            let weight = room * libm::exp((best - estimate.time_us) / width);
            total += weight;
            weight
        }));
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Time;

    const COSTS: Costs = Costs { hop_us: 100.0, move_us: 30.0, demand_us: 1000.0 };

    fn load(wait_us: u32, idle: u16) -> Load {
        Load { wait_us, idle, capacity_milli: 2000, accepting: true, ..Load::default() }
    }

    fn belief(wait_us: u32, idle: u16, uncovered: u32) -> Belief {
        let now = Time::from_micros(0);
        let mut belief = Belief::new(load(wait_us, idle), now);
        (0..uncovered).for_each(|_| belief.sent(now));
        belief
    }

    fn candidates(of: &[Belief]) -> Candidates<usize> {
        let mut candidates = Candidates::default();
        for (index, belief) in of.iter().enumerate() {
            candidates.push(index, there(belief, &COSTS));
        }
        candidates
    }

    /// If this fails, own deliveries do not count against their target: the first fill its idle
    /// cores, the next one waits for half a step on its two cores, and so on.
    #[test]
    fn uncovered_deliveries_count() {
        let figures = |uncovered: u32| {
            let estimate = there(&belief(0, 2, uncovered), &COSTS);
            (estimate.idle, estimate.time_us)
        };
        assert_eq!(figures(0), (2.0, 1130.0));
        assert_eq!(figures(1), (1.0, 1130.0));
        assert_eq!(figures(2), (0.0, 1630.0));
        assert_eq!(figures(4), (0.0, 2630.0));
        assert_eq!(there(&belief(500, 0, 2), &COSTS).time_us, 2630.0);
    }

    /// If this fails, a slow node's idle core counts for as much as a fast one's.
    #[test]
    fn speed_counts() {
        let slow = Load { speed_milli: 250, ..load(0, 1) };
        assert_eq!(here(&slow, &COSTS).time_us, 4000.0);
        let belief = Belief::new(slow, Time::from_micros(0));
        assert_eq!(there(&belief, &COSTS).time_us, 4130.0);
    }

    /// If this fails, the draw is not weighted by room: idle cores must get nearly all, equals
    /// equal shares.
    #[test]
    fn location_draws_by_room() {
        let mut candidates =
            candidates(&[belief(0, 2, 0), belief(0, 2, 0), belief(5000, 0, 0), belief(0, 1, 0)]);
        let mut counts = [0; 4];
        for n in 0..1000 {
            let index = candidates.draw(&COSTS, f64::from(n) / 1000.0).unwrap();
            counts[index] += 1;
        }
        // Rooms: 2 idle cores and a tenth of the capacity of 2, and 1 idle core and the same.
        assert_eq!(counts, [393, 393, 0, 214]);
        candidates.clear();
        assert_eq!(candidates.draw(&COSTS, 0.5), None);
    }

    /// If this fails, a hopeless field of candidates (weights that vanish) gives no target though
    /// there are some.
    #[test]
    fn location_always_finds_one() {
        let mut candidates = candidates(&[belief(u32::MAX, 0, 0), belief(u32::MAX, 0, 0)]);
        for unit in [0.0, 0.5, 0.999_999] {
            assert!(candidates.draw(&COSTS, unit).is_some());
        }
    }
}
