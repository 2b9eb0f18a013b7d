//! The goals, and whether they hold. Each is a figure that is to be within a bound.

use super::{Figure, Outcome, Part, geometric};
use crate::placement::{Fault, Order, Results};

/// One goal, measured.
#[derive(Debug, Clone)]
pub struct Goal {
    /// Its number.
    pub name: &'static str,
    /// What is to hold.
    pub what: String,
    /// The figure: `None` if nothing of the grid that ran shows it.
    pub measured: Option<f64>,
    /// The bound.
    pub bound: f64,
    at_least: bool,
}

impl Goal {
    fn at_most(name: &'static str, what: impl Into<String>, is: Option<f64>, bound: f64) -> Self {
        let measured = is.filter(|is| is.is_finite());
        Self { name, what: what.into(), measured, bound, at_least: false }
    }

    fn at_least(name: &'static str, what: impl Into<String>, is: Option<f64>, bound: f64) -> Self {
        Self { at_least: true, ..Self::at_most(name, what, is, bound) }
    }

    /// Whether it holds; none if it was not measured.
    pub fn holds(&self) -> Option<bool> {
        let measured = self.measured?;
        Some(if self.at_least { measured >= self.bound } else { measured <= self.bound })
    }

    /// On one line.
    pub fn told(&self) -> String {
        let sign = if self.at_least { ">=" } else { "<=" };
        let Some(measured) = self.measured else {
            return format!("{:4} not run  {}", self.name, self.what);
        };
        let word = if self.holds() == Some(true) { "holds " } else { "FAILS " };
        let by = (measured / self.bound - 1.0) * 100.0;
        let bound = self.bound;
        if bound == 0.0 {
            return format!("{:4} {word} {}: {measured:.4} {sign} 0", self.name, self.what);
        }
        format!(
            "{:4} {word} {}: {measured:.3} {sign} {bound:.3} ({by:+.1} %)",
            self.name, self.what
        )
    }
}

const MEAN: Figure = |results| results.mean_ms;
const P99: Figure = |results| results.p99_ms;
const P999: Figure = |results| results.p999_ms;

/// All goals.
pub fn goals(outcomes: &[Outcome]) -> Vec<Goal> {
    let mut goals = Vec::new();
    goals.extend(against_the_bound(outcomes));
    goals.extend(against_others(outcomes));
    goals.extend(beacons(outcomes));
    goals.extend(moves(outcomes));
    goals.extend(overload(outcomes));
    goals.extend(faults(outcomes));
    goals.extend(zones(outcomes));
    goals.extend(adoption(outcomes));
    goals
}

fn of(outcomes: &[Outcome], part: impl Fn(Part) -> bool) -> Vec<&Outcome> {
    outcomes.iter().filter(|outcome| part(outcome.cell.part)).collect()
}

fn ratios(of: &[&Outcome], policy: &str, over: &str, figure: Figure) -> Vec<f64> {
    of.iter().filter_map(|outcome| outcome.ratio(policy, over, figure)).collect()
}

fn worst(values: Vec<f64>) -> Option<f64> {
    values.into_iter().reduce(f64::max)
}

fn whole(values: Vec<f64>) -> Option<f64> {
    (!values.is_empty()).then(|| geometric(values.into_iter()))
}

fn against_the_bound(outcomes: &[Outcome]) -> Vec<Goal> {
    let loads = of(outcomes, |part| part == Part::Load);
    let to_jsq = |figure| ratios(&loads, "izna", "jsq", figure);
    vec![
        Goal::at_most("G1", "worst cell, mean / JSQ", worst(to_jsq(MEAN)), 1.10),
        Goal::at_most("G1", "worst cell, p99 / JSQ", worst(to_jsq(P99)), 1.15),
        Goal::at_most("G1", "worst cell, p999 / JSQ", worst(to_jsq(P999)), 1.25),
        Goal::at_most("G1", "whole grid, mean / JSQ", whole(to_jsq(MEAN)), 1.03),
        Goal::at_most("G1", "whole grid, p99 / JSQ", whole(to_jsq(P99)), 1.06),
    ]
}

fn against_others(outcomes: &[Outcome]) -> Vec<Goal> {
    let loads = of(outcomes, |part| part == Part::Load);
    let (sync, tuned) = ("prequal-sync", "prequal-async");
    let messages = loads.iter().filter_map(|outcome| outcome.mean("izna", |r| r.messages));
    let mut goals = vec![
        Goal::at_most(
            "G2",
            "grid, mean / Prequal sync",
            whole(ratios(&loads, "izna", sync, MEAN)),
            1.0,
        ),
        Goal::at_most(
            "G2",
            "grid, p99 / Prequal sync",
            whole(ratios(&loads, "izna", sync, P99)),
            1.0,
        ),
        Goal::at_most(
            "G2",
            "worst cell, mean / Prequal sync",
            worst(ratios(&loads, "izna", sync, MEAN)),
            1.03,
        ),
        Goal::at_most("G2", "messages a process, worst cell", worst(messages.collect()), 1.5),
    ];
    for nodes in [16, 100] {
        let of: Vec<&Outcome> =
            loads.iter().copied().filter(|outcome| outcome.cell.scenario.nodes == nodes).collect();
        let what = |figure: &str| format!("N={nodes}, {figure} / Prequal async");
        goals.push(Goal::at_most(
            "G3",
            what("mean"),
            whole(ratios(&of, "izna", tuned, MEAN)),
            0.90,
        ));
        goals.push(Goal::at_most("G3", what("p99"), whole(ratios(&of, "izna", tuned, P99)), 0.95));
    }
    for (nodes, bound) in [(4, 0.35), (16, 0.25), (100, 0.25)] {
        let of: Vec<&Outcome> = loads
            .iter()
            .copied()
            .filter(|outcome| outcome.cell.scenario.nodes == nodes)
            .filter(|outcome| outcome.cell.scenario.load == 0.9)
            .collect();
        let what = format!("N={nodes}, load 0.9, mean / the paper's rule");
        goals.push(Goal::at_most("G4", what, whole(ratios(&of, "izna", "paper", MEAN)), bound));
    }
    goals
}

/// The mean must not depend on the beacons: the largest over the least.
fn beacons(outcomes: &[Outcome]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for nodes in [16, 100] {
        let means = |lossy: bool| -> Vec<f64> {
            of(outcomes, |part| {
                matches!(part, Part::Beacons { interval_ms, loss_percent }
                    if (loss_percent == 20) == lossy && (!lossy || interval_ms == 100))
            })
            .into_iter()
            .filter(|outcome| outcome.cell.scenario.nodes == nodes)
            .filter_map(|outcome| outcome.ratio("izna", "jsq", MEAN))
            .collect()
        };
        let (calm, lossy) = (means(false), means(true));
        let spread = |values: &[f64]| {
            let largest = values.iter().copied().reduce(f64::max)?;
            let least = values.iter().copied().reduce(f64::min)?;
            Some(largest / least)
        };
        let what = format!("N={nodes}, beacons of 50 ms to 1 s, largest mean / least");
        goals.push(Goal::at_most("G5", what, spread(&calm), 1.03));
        let both: Vec<f64> = calm.iter().skip(1).take(1).chain(&lossy).copied().collect();
        let what = format!("N={nodes}, 20 % of beacons lost, larger mean / smaller");
        goals.push(Goal::at_most("G5", what, spread(&both), 1.03));
    }
    goals
}

fn moves(outcomes: &[Outcome]) -> Vec<Goal> {
    let measured = of(outcomes, |part| matches!(part, Part::Load | Part::Zones { .. }));
    let dear = of(outcomes, |part| part == Part::DearMoves);
    let each = |figure: Figure| {
        worst(measured.iter().filter_map(|outcome| outcome.mean("izna", figure)).collect())
    };
    let moves: Figure = |results| results.moves;
    vec![
        Goal::at_most("G6", "repairs back to a node that was left", each(|r| r.returns), 0.0),
        Goal::at_most("G6", "second repairs a process, worst cell", each(|r| r.again), 0.35),
        Goal::at_most("G6", "repairs a process, worst cell", each(|r| r.queue_moves), 1.5),
        Goal::at_most(
            "G6",
            "moves / JSQ's, worst cell",
            worst(ratios(&measured, "izna", "jsq", moves)),
            1.3,
        ),
        Goal::at_most(
            "G6",
            "moves / JSQ's, a move costing 200 us",
            worst(ratios(&dear, "izna", "jsq", moves)),
            1.1,
        ),
    ]
}

fn overload(outcomes: &[Outcome]) -> Vec<Goal> {
    let with = |order: Order| of(outcomes, move |part| part == Part::Overload(order));
    let least = |values: Vec<f64>| values.into_iter().reduce(f64::min);
    let throughput: Figure = |results: &Results| results.throughput;
    let fifo = with(Order::Fifo);
    let own = |order: Order| {
        least(with(order).iter().filter_map(|outcome| outcome.mean("izna", throughput)).collect())
    };
    vec![
        Goal::at_least(
            "G7",
            "throughput / JSQ's at 1.2 times what can be done",
            least(ratios(&fifo, "izna", "jsq", throughput)),
            0.99,
        ),
        Goal::at_most(
            "G7",
            "moves / JSQ's there",
            worst(ratios(&fifo, "izna", "jsq", |r| r.moves)),
            1.1,
        ),
        Goal::at_least(
            "G7",
            "throughput there, fewest steps left first",
            own(Order::FewestLeft),
            1.0,
        ),
        Goal::at_least(
            "G7",
            "throughput there, oldest birth first (what ships)",
            own(Order::Birth),
            0.95,
        ),
    ]
}

fn faults(outcomes: &[Outcome]) -> Vec<Goal> {
    let mut goals = Vec::new();
    let mut add = |what: &str, part: Part, mean: f64, p99: f64| {
        let of = of(outcomes, |other| other == part);
        for (figure, name, bound) in [(MEAN, "mean", mean), (P99, "p99", p99)] {
            let worst = worst(ratios(&of, "izna", "jsq", figure));
            goals.push(Goal::at_most("G8", format!("{what}, {name} / JSQ, worst"), worst, bound));
        }
    };
    add("a tenth at a quarter of its speed", Part::Fault(Fault::Slow), 1.15, 1.25);
    add("a tenth crashes", Part::Fault(Fault::Crash), 1.12, 1.15);
    add("a tenth hangs", Part::Fault(Fault::Hang), 1.17, 1.35);
    add("a fifth joins", Part::Fault(Fault::Join), 1.08, 1.10);
    add("bursts", Part::Bursts, 1.06, 1.10);
    goals
}

fn zones(outcomes: &[Outcome]) -> Vec<Goal> {
    let with = |hot: bool, nodes: usize| -> Vec<&Outcome> {
        of(outcomes, move |part| part == Part::Zones { hot })
            .into_iter()
            .filter(|outcome| outcome.cell.scenario.nodes == nodes)
            .collect()
    };
    let ratio = |of: &[&Outcome], figure| whole(ratios(of, "izna", "jsq", figure));
    let (plain, hot, huge) = (with(false, 1000), with(true, 1000), with(false, 10_000));
    let crossings = plain.iter().filter_map(|outcome| outcome.mean("izna", |r| r.crossings));
    vec![
        Goal::at_most("G9", "1,000 nodes in 10 zones, mean / JSQ", ratio(&plain, MEAN), 1.20),
        Goal::at_most("G9", "1,000 nodes in 10 zones, p99 / JSQ", ratio(&plain, P99), 1.22),
        Goal::at_most("G9", "moves between zones a process", worst(crossings.collect()), 0.12),
        Goal::at_most("G9", "half of all clients in one zone, mean / JSQ", ratio(&hot, MEAN), 1.35),
        Goal::at_most("G9", "half of all clients in one zone, p99 / JSQ", ratio(&hot, P99), 1.5),
        Goal::at_most("G9", "10,000 nodes in 100 zones, mean / JSQ", ratio(&huge, MEAN), 1.12),
        Goal::at_most("G9", "10,000 nodes in 100 zones, p99 / JSQ", ratio(&huge, P99), 1.15),
    ]
}

fn adoption(outcomes: &[Outcome]) -> Vec<Goal> {
    let hot = |on: bool, nodes: usize| {
        outcomes
            .iter()
            .filter(|outcome| outcome.cell.part == Part::Adoption { on })
            .filter(|outcome| outcome.cell.scenario.fault == Fault::HotClass)
            .find(|outcome| outcome.cell.scenario.nodes == nodes)
    };
    let mut goals = Vec::new();
    for nodes in [16, 100] {
        let with = hot(true, nodes).and_then(|outcome| outcome.mean("izna", MEAN));
        let without = hot(false, nodes).and_then(|outcome| outcome.mean("jsq", MEAN));
        let ratio = with.zip(without).map(|(with, without)| with / without);
        let what = format!("N={nodes}, a hot class, mean with adoption / without (JSQ)");
        goals.push(Goal::at_most("G10", what, ratio, 0.15));
    }
    let enough = of(outcomes, |part| part == Part::Adoption { on: true })
        .into_iter()
        .filter(|outcome| outcome.cell.scenario.fault == Fault::None)
        .filter_map(|outcome| outcome.mean("izna", |results| results.adopted as f64));
    let what = "components taken in where there are enough holders";
    goals.push(Goal::at_most("G10", what, worst(enough.collect()), 0.0));
    goals
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, a goal that is missed is told to hold, or one that did not run.
    #[test]
    fn goals_tell_whether_they_hold() {
        let held = |is| Goal::at_most("G1", "x", is, 1.1).holds();
        assert_eq!(
            (held(Some(1.1)), held(Some(1.11)), held(None)),
            (Some(true), Some(false), None)
        );
        assert_eq!(held(Some(f64::NAN)), None);
        assert_eq!(Goal::at_least("G7", "x", Some(0.98), 0.99).holds(), Some(false));
        assert!(Goal::at_most("G1", "x", Some(1.21), 1.1).told().contains("FAILS"));
    }
}
