//! Adoption, the decisions: when holders cannot serve a component, who else takes it in, and when
//! a copy is given up. Placement balances what is there; only this changes what is there.

use alloc::vec::Vec;

use crate::time::{Duration, Time};

/// Even the best holder lets a step wait for as long as this many take...
const WAIT_STEPS: f64 = 4.0;
/// ...and work comes in faster than this share of what the holders can do...
const LOAD_SHARE: f64 = 0.9;
/// ...in as many measurements one after the other: one may be a burst.
pub const MEASURE_PERIODS: u32 = 2;
/// The share of their capacity that holders are to be brought down to.
const TARGET_SHARE: f64 = 0.85;
/// What has piled up is to be worked off within this time.
const BACKLOG_SECONDS: f64 = 4.0;
/// Nodes that take a component in at one time.
const TARGETS_MAX: usize = 8;
/// What is gained in this time must be worth...
const PAYBACK_SECONDS: f64 = 10.0;
/// ...this many times what it costs to take it in.
const PAYBACK_FACTOR: f64 = 2.0;
/// After adding, as many measurements pass before the new holders are seen in the figures.
const COOL_DOWN_PERIODS: u32 = 3;
/// The least that is added for, as a share of the holders' capacity: less would not be seen.
const EXCESS_SHARE_MIN: f64 = 0.05;
/// A copy is given up when the others would be loaded less than this without it for a while.
const UNNEEDED_SHARE: f64 = 0.6;

/// A node that holds the component.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Holder {
    /// Its wait, in microseconds.
    pub wait_us: f64,
    /// Work that comes to it, in processor seconds at speed one per second.
    pub inflow: f64,
    /// Cores times speed.
    pub capacity: f64,
}

/// A node that does not hold it, may, and has an idle core.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spare<T> {
    /// Which node.
    pub node: T,
    /// Work that comes to it.
    pub inflow: f64,
    /// Cores times speed.
    pub capacity: f64,
}

impl<T> Spare<T> {
    fn spare(&self) -> f64 {
        self.capacity - self.inflow
    }
}

/// A component: what a step of it takes, and what taking it in costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// The expected processor time of a step, in microseconds.
    pub demand_us: f64,
    /// Work for it that comes to its holders, in processor seconds at speed one per second; more
    /// than this cannot move to others.
    pub inflow: f64,
    /// Work for it that was turned away because its holders are full, in the same unit.
    pub refused: f64,
    /// What taking it in costs, in processor seconds: fetching, verifying, compiling.
    pub load_seconds: f64,
    /// Between two measurements.
    pub period: Duration,
}

/// The state of one component's adoption at the node that decides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Adoption {
    hot_periods: u32,
    not_before: Time,
}

impl Adoption {
    /// Look at the figures once a period; gives the nodes that are to take the component in.
    pub fn look<T: Copy>(
        &mut self,
        now: Time,
        demand: &Demand,
        holders: &[Holder],
        spares: &mut [Spare<T>],
    ) -> Vec<T> {
        self.hot_periods = if is_hot(demand, holders) { self.hot_periods + 1 } else { 0 };
        if self.hot_periods < MEASURE_PERIODS || now < self.not_before {
            return Vec::new();
        }
        let targets = targets(excess(demand, holders), demand, spares);
        if !targets.is_empty() {
            let loading = Duration::from_secs_f64(demand.load_seconds.clamp(0.0, 3600.0));
            self.not_before = now + loading + demand.period * COOL_DOWN_PERIODS;
        }
        targets
    }
}

/// Trigger: all holders are full, and it is not a passing crowd.
fn is_hot(demand: &Demand, holders: &[Holder]) -> bool {
    let least = holders.iter().map(|holder| holder.wait_us).reduce(f64::min);
    let (inflow, capacity) = totals(holders);
    least.is_some_and(|least| is_full(least, demand.demand_us))
        && inflow + demand.refused > LOAD_SHARE * capacity
}

/// Whether a wait, in microseconds, is one of a full holder of a component with this demand.
pub fn is_full(wait_us: f64, demand_us: f64) -> bool {
    wait_us > WAIT_STEPS * demand_us
}

/// The work that comes to holders, and what they can do.
pub fn totals(holders: &[Holder]) -> (f64, f64) {
    let inflow = holders.iter().map(|holder| holder.inflow).sum();
    let capacity = holders.iter().map(|holder| holder.capacity).sum();
    (inflow, capacity)
}

/// The work that must find other cores: what comes in over the target share, or what has piled up;
/// no more than the component's own.
fn excess(demand: &Demand, holders: &[Holder]) -> f64 {
    let (inflow, capacity) = totals(holders);
    let waits: f64 = holders.iter().map(|holder| holder.wait_us).sum();
    let backlog = waits / 1e6 / holders.len().max(1) as f64 * capacity;
    let over = inflow + demand.refused - TARGET_SHARE * capacity;
    let excess = over.max(backlog / BACKLOG_SECONDS).max(EXCESS_SHARE_MIN * capacity);
    excess.min(demand.inflow + demand.refused)
}

/// Who takes it in: the nodes with the most to spare, until the excess is covered, as long as each
/// pays for itself.
fn targets<T: Copy>(mut excess: f64, demand: &Demand, spares: &mut [Spare<T>]) -> Vec<T> {
    spares.sort_by(|a, b| b.spare().total_cmp(&a.spare()));
    let mut targets = Vec::new();
    for spare in spares.iter().take(TARGETS_MAX) {
        let gained = excess.min(spare.spare()) * PAYBACK_SECONDS;
        if excess <= 0.0 || gained <= PAYBACK_FACTOR * demand.load_seconds {
            break;
        }
        excess -= spare.spare();
        targets.push(spare.node);
    }
    targets
}

/// Whether these holders can easily do all that comes in.
pub fn suffice(inflow: f64, holders: &[Holder]) -> bool {
    inflow < UNNEEDED_SHARE * totals(holders).1
}

/// Whether a copy can be given up: the others suffice, and did so since `since`, for as long as
/// `after`. `without` has the holders but for it.
pub fn is_unneeded(
    now: Time,
    since: Time,
    after: Duration,
    inflow: f64,
    without: &[Holder],
) -> bool {
    suffice(inflow, without) && now.since(since) >= after
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const DEMAND: Demand = Demand {
        demand_us: 1000.0,
        inflow: f64::INFINITY,
        refused: 0.0,
        load_seconds: 0.3,
        period: Duration::from_millis(250),
    };

    fn at(millis: i64) -> Time {
        Time::from_micros(millis * 1000)
    }

    fn holder(wait_us: f64, inflow: f64) -> Holder {
        Holder { wait_us, inflow, capacity: 4.0 }
    }

    fn spares() -> Vec<Spare<u8>> {
        let spare = |node: u8, inflow: f64| Spare { node, inflow, capacity: 4.0 };
        vec![spare(1, 3.9), spare(2, 1.0), spare(3, 2.0), spare(4, 0.0)]
    }

    /// If this fails, a burst of one period makes nodes take components in, or a component whose
    /// holders drown gets no new ones.
    #[test]
    fn hot_is_full_for_two_periods() {
        let mut adoption = Adoption::default();
        let hot = [holder(9000.0, 5.0), holder(5000.0, 5.0)];
        assert_eq!(adoption.look(at(0), &DEMAND, &hot, &mut spares()), vec![]);
        let cool = [holder(9000.0, 5.0), holder(3000.0, 5.0)];
        assert_eq!(adoption.look(at(250), &DEMAND, &cool, &mut spares()), vec![]);
        assert_eq!(adoption.look(at(500), &DEMAND, &hot, &mut spares()), vec![]);
        // 10 come in, 85 % of 8 is 6.8: one node with 4 to spare is enough.
        assert_eq!(adoption.look(at(750), &DEMAND, &hot, &mut spares()), vec![4]);
        // It takes 0.3 s to load, and three periods to be seen.
        assert_eq!(adoption.look(at(1000), &DEMAND, &hot, &mut spares()), vec![]);
        assert_eq!(adoption.look(at(1750), &DEMAND, &hot, &mut spares()), vec![]);
        assert_eq!(adoption.look(at(1850), &DEMAND, &hot, &mut spares()), vec![4]);
    }

    /// If this fails, holders that wait for something else than cores get useless helpers.
    #[test]
    fn waits_without_work_are_not_hot() {
        let mut adoption = Adoption::default();
        let waits = [holder(9000.0, 1.0)];
        for period in 0..5 {
            let targets = adoption.look(at(250 * period), &DEMAND, &waits, &mut spares());
            assert_eq!(targets, vec![]);
        }
    }

    /// If this fails, more nodes than needed take a component in, or ones for which it does not
    /// pay.
    #[test]
    fn targets_cover_the_excess_and_pay() {
        assert_eq!(targets(6.5, &DEMAND, &mut spares()), vec![4, 2]);
        assert_eq!(targets(100.0, &DEMAND, &mut spares()), vec![4, 2, 3, 1]);
        let dear = Demand { load_seconds: 6.0, ..DEMAND };
        // Twelve processor seconds must come back within ten: of the second one only 0.5 a second.
        assert_eq!(targets(4.5, &dear, &mut spares()), vec![4]);
        let many: Vec<Spare<u8>> =
            (0..20).map(|node| Spare { node, inflow: 0.0, capacity: 1.0 }).collect();
        assert_eq!(targets(100.0, &DEMAND, &mut many.clone()).len(), TARGETS_MAX);
    }

    /// If this fails, more nodes take a component in than its own work could keep busy, because its
    /// holders are full of other work; or work that is turned away counts for nothing.
    #[test]
    fn only_a_components_own_work_moves() {
        let full = [holder(9000.0, 4.0), holder(9000.0, 4.4)];
        let small = Demand { inflow: 0.1, ..DEMAND };
        assert_eq!(targets(excess(&small, &full), &small, &mut spares()), vec![4]);
        let tiny = Demand { inflow: 0.01, ..DEMAND };
        assert_eq!(targets(excess(&tiny, &full), &tiny, &mut spares()), vec![]);
        let refused = Demand { inflow: 4.0, refused: 6.0, ..DEMAND };
        assert_eq!(targets(excess(&refused, &full), &refused, &mut spares()), vec![4, 2, 3]);
    }

    /// If this fails, a copy is given up that is needed again at once, or none ever is.
    #[test]
    fn a_copy_is_given_up_when_the_others_suffice() {
        let others = [holder(0.0, 1.0)];
        let unneeded = |millis, inflow, others: &[Holder]| {
            is_unneeded(at(millis), at(0), Duration::from_secs(60), inflow, others)
        };
        assert!(unneeded(60_000, 2.3, &others));
        assert!(!unneeded(59_999, 2.3, &others));
        assert!(!unneeded(60_000, 2.5, &others));
        assert!(!unneeded(60_000, 0.0, &[]));
    }
}
