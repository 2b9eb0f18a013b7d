//! Transfer: whether a process leaves. It is placed once after each step; while it then waits for a
//! core it may be moved a little more, by a target that passes it on or an idle node that asks.

use super::{Costs, Estimate};

/// A process stays, or its move is not repaired, unless another node is better by this factor.
/// Without it, 1.2 times the capacity makes 6.6 moves a process on 100 nodes (facts of placement,
/// section 0); with it 3.0, and no less throughput.
const FACTOR: f64 = 1.1;
/// To leave, another node must be better also by this share of the step's demand...
const STAY_DEMAND: f64 = 0.2;
/// ...to be passed on at arrival by this...
const BOUNCE_DEMAND: f64 = 0.1;
/// ...and by this many times what a migration costs: where moves are dear, fewer pay.
pub(super) const MOVES_PAID: f64 = 6.0;
/// To be passed on must be worth two more ways, too: the one it came and the one it goes.
const BOUNCE_HOPS: f64 = 2.0;

/// Moves of one process between two steps, out of a run queue or instead of one: passed on at
/// arrival, or taken by a node that asked. More repair little and cost much.
pub const QUEUE_MOVES_MAX: u8 = 2;
/// Moves of one process between two steps at all: the one that places it, and those.
pub const MOVES_MAX: usize = 3;

/// Whether a process that is to be placed stays here, given the least expected time elsewhere.
pub fn stays(here: &Estimate, best_us: f64, costs: &Costs) -> bool {
    let margin = STAY_DEMAND * costs.demand() + MOVES_PAID * costs.move_us;
    here.time_us <= FACTOR * best_us + margin
}

/// Whether a process that has just arrived is passed on, given the least expected time elsewhere.
pub fn bounces(here: &Estimate, best_us: f64, costs: &Costs) -> bool {
    let margin = BOUNCE_DEMAND * costs.demand() + MOVES_PAID * costs.move_us;
    here.time_us > FACTOR * best_us + margin + BOUNCE_HOPS * costs.hop_us
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs { hop_us: 100.0, move_us: 30.0, demand_us: 1000.0 };

    fn here(time_us: f64) -> Estimate {
        Estimate { time_us, idle: 0.0, capacity: 2.0 }
    }

    /// If this fails, processes leave a node that is as good as any, or stay on one that is
    /// markedly worse.
    #[test]
    fn staying_has_hysteresis() {
        // 1.1 * 1130 + 200 + 180
        assert!(stays(&here(1623.0), 1130.0, &COSTS));
        assert!(!stays(&here(1624.0), 1130.0, &COSTS));
    }

    /// If this fails, arrivals are passed on for nothing, or stay where they wait long.
    #[test]
    fn passing_on_has_hysteresis() {
        // 1.1 * 1130 + 100 + 180 + 200
        assert!(!bounces(&here(1723.0), 1130.0, &COSTS));
        assert!(bounces(&here(1724.0), 1130.0, &COSTS));
    }

    /// If this fails, dear moves are made for small gains: 200 us instead of 30 must widen both
    /// margins by six times the difference.
    #[test]
    fn the_margins_carry_the_cost_of_a_move() {
        let dear = Costs { move_us: 200.0, ..COSTS };
        assert!(stays(&here(1623.0 + 1020.0), 1130.0, &dear));
        assert!(!bounces(&here(1723.0 + 1020.0), 1130.0, &dear));
    }
}
