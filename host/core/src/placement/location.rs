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
/// than a hundred thousandth of the best one's.
const WIDTHS_MAX: f64 = 12.0;
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
    let capacity = capacity(load);
    let mut time_us = soonest_us(belief, costs) + f64::from(load.wait_us);
    let (uncovered, idle) = (belief.uncovered(), u32::from(load.idle));
    if uncovered > 0 && uncovered >= idle {
        let waiting = if idle == 0 { uncovered } else { uncovered - idle + 1 };
        time_us += f64::from(waiting) * costs.demand() / capacity;
    }
    Estimate { time_us, idle: f64::from(idle.saturating_sub(uncovered)), capacity }
}

/// The least that a node could offer, with an idle core: a node that is late with its answers will
/// be as late with the step.
pub fn soonest_us(belief: &Belief, costs: &Costs) -> f64 {
    let way_us = (costs.hop_us + costs.move_us).max(belief.reaction_us());
    way_us + costs.demand() / speed(belief.load())
}

/// What a node tells of itself, for the summary of its zone: its wait, idle cores and capacity, and
/// its speed.
pub fn occupancy(load: &Load) -> (Estimate, f64) {
    let (time_us, idle) = (f64::from(load.wait_us), f64::from(load.idle));
    (Estimate { time_us, idle, capacity: capacity(load) }, speed(load))
}

impl Estimate {
    /// The same for a function that waits at another node, and so must first be started again.
    pub fn with_replay(self, replay_us: u32, load: &Load) -> Self {
        Self { time_us: self.time_us + f64::from(replay_us) / speed(load), ..self }
    }
}

/// The least that any other node could offer, if the fastest had an idle core.
pub fn least_us(fastest: f64, costs: &Costs) -> f64 {
    costs.hop_us + costs.move_us + costs.demand() / fastest.max(0.001)
}

fn capacity(load: &Load) -> f64 {
    f64::from(load.capacity_milli.max(1)) * 0.001
}

/// A node that does not tell its speed has that of the reference.
pub(crate) fn speed(load: &Load) -> f64 {
    if load.speed_milli == 0 { 1.0 } else { f64::from(load.speed_milli) * 0.001 }
}

/// The candidates of one decision. Kept and cleared between decisions, it allocates nothing.
#[derive(Debug, Clone)]
pub struct Candidates<T> {
    entries: Vec<Entry<T>>,
    best_us: f64,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    target: T,
    estimate: Estimate,
    weight: f64,
}

impl<T> Default for Candidates<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), best_us: f64::INFINITY }
    }
}

impl<T: Copy> Candidates<T> {
    /// Begin a decision.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.best_us = f64::INFINITY;
    }

    /// One more candidate.
    pub fn push(&mut self, target: T, estimate: Estimate) {
        self.best_us = self.best_us.min(estimate.time_us);
        self.entries.push(Entry { target, estimate, weight: 0.0 });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The least expected time, in microseconds.
    pub fn best_us(&self) -> Option<f64> {
        (!self.is_empty()).then_some(self.best_us)
    }

    /// The candidates with their estimates.
    pub fn iter(&self) -> impl Iterator<Item = (T, &Estimate)> {
        self.entries.iter().map(|entry| (entry.target, &entry.estimate))
    }

    /// One of them, drawn with weight `room * exp(-(time - best) / width)`: room is idle cores
    /// first and capacity next, and what is worse than the best counts exponentially less. `unit`
    /// is uniform in [0, 1).
    pub fn draw(&mut self, costs: &Costs, unit: f64) -> Option<T> {
        let mut left = unit * self.weigh(costs);
        let mut last = None;
        for entry in &self.entries {
            if entry.weight > 0.0 {
                last = Some(entry.target);
                left -= entry.weight;
                if left < 0.0 {
                    break;
                }
            }
        }
        last
    }

    /// Set the weights; gives their sum.
    fn weigh(&mut self, costs: &Costs) -> f64 {
        let (demand, best) = (costs.demand(), self.best_us);
        let width = WIDTH * demand;
        let (worst, per_width) = (best + WIDTHS_MAX * width, 1.0 / width);
        let mut total = 0.0;
        for Entry { estimate, weight, .. } in &mut self.entries {
            *weight = 0.0;
            if estimate.time_us <= worst {
                let room = estimate.idle * demand + width * estimate.capacity.max(0.001);
                *weight = room * falloff((estimate.time_us - best) * per_width);
                total += *weight;
            }
        }
        total
    }
}

/// `exp(-x)` for `x` from 0 to [`WIDTHS_MAX`], up to two per cent less at the far end: there is one
/// for each candidate of each decision, and no weight needs more.
fn falloff(x: f64) -> f64 {
    // (1 - x/n)^n with n = 2^12, which is exp(-x) but for a share of x^2/2n.
    let mut power = 1.0 - x * (1.0 / 4096.0);
    for _ in 0..12 {
        power *= power;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;

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

    /// If this fails, what is worse is drawn too often or too seldom.
    #[test]
    fn the_falloff_is_exponential() {
        for step in 0..=120 {
            let x = f64::from(step) / 10.0;
            let exact = libm::exp(-x);
            assert!((falloff(x) / exact - 1.0).abs() < 0.02, "{x}");
        }
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
