//! The scenarios of the grid.

use crate::placement::{Arrivals, Fault, Ingress, Order, Scenario, Service, TellsSpeed};

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Some minutes on two cores: fewer loads and distributions, one seed of the largest clusters.
    Reduced,
    /// Everything: about an hour.
    Full,
}

/// What a cell is a part of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    /// All policies at some load.
    Load,
    /// Another beacon interval in milliseconds, or loss.
    Beacons { interval_ms: u32, loss_percent: u32 },
    /// A move costs 200 us.
    DearMoves,
    /// A fifth more than can be done.
    Overload(Order),
    /// Something goes wrong.
    Fault(Fault),
    /// Arrivals in bursts.
    Bursts,
    /// Most clients come to two nodes.
    HotIngress,
    /// Zones; with half of all clients in one of them.
    Zones { hot: bool },
    /// A class becomes twenty times as frequent, with adoption or without.
    Adoption { on: bool },
    /// What each part of the rules brings.
    Parts,
}

#[derive(Debug, Clone)]
pub struct Cell {
    pub part: Part,
    pub scenario: Scenario,
}

/// All policies, and the two of most comparisons.
const ALL: [&str; 9] = [
    "jsq",
    "izna",
    "prequal-sync",
    "prequal-async",
    "peak-ewma",
    "p2c",
    "paper",
    "capacity",
    "random",
];
const PAIR: [&str; 2] = ["jsq", "izna"];

const SEEDS: [u64; 3] = [11, 12, 13];

fn scenario(nodes: usize, load: f64, policies: &[&str]) -> Scenario {
    let policies = policies.iter().map(|name| String::from(*name)).collect();
    Scenario { nodes, load, policies, seeds: SEEDS.to_vec(), ..Scenario::default() }.suited()
}

/// All cells, the long ones first, so that no core waits for the last.
pub(super) fn cells(extent: Extent) -> Vec<Cell> {
    let mut cells = zones(extent);
    cells.extend(loads(extent));
    cells.extend(overload());
    cells.extend(variations());
    cells.extend(adoption());
    cells
}

fn loads(extent: Extent) -> Vec<Cell> {
    let (loads, services): (&[f64], &[Service]) = match extent {
        Extent::Reduced => (&[0.7, 0.9], &[Service::Exponential, Service::Bimodal]),
        Extent::Full => {
            (&[0.5, 0.7, 0.9, 0.95], &[Service::Exponential, Service::Bimodal, Service::Pareto])
        }
    };
    let mut cells = Vec::new();
    for nodes in [100, 16, 4] {
        for load in loads {
            for service in services {
                let scenario = Scenario { service: *service, ..scenario(nodes, *load, &ALL) };
                cells.push(Cell { part: Part::Load, scenario });
            }
        }
    }
    cells
}

/// Beacons, dear moves, faults, bursts, one way in, and the parts, at 16 and 100 nodes.
fn variations() -> Vec<Cell> {
    let mut cells = Vec::new();
    for nodes in [100, 16] {
        let base = scenario(nodes, 0.9, &PAIR);
        for (beacon_ms, loss_percent) in [(50, 1), (100, 1), (250, 1), (1000, 1), (100, 20)] {
            let part = Part::Beacons { interval_ms: beacon_ms, loss_percent };
            let mut scenario = base.clone();
            scenario.beacon_ms = f64::from(beacon_ms);
            scenario.beacon_loss = f64::from(loss_percent) / 100.0;
            scenario.policies.extend(["p2c", "paper"].map(String::from));
            cells.push(Cell { part, scenario });
        }
        let dear = Scenario { move_us: 200.0, ..base.clone() };
        cells.push(Cell { part: Part::DearMoves, scenario: dear });
        let parts = ["jsq", "izna", "izna-without-repair", "izna-without-acks"];
        cells.push(Cell { part: Part::Parts, scenario: scenario(nodes, 0.9, &parts) });
        let calm = scenario(nodes, 0.7, &["jsq", "izna", "prequal-sync", "prequal-async", "paper"]);
        for fault in [Fault::Slow, Fault::Crash, Fault::Hang, Fault::Join, Fault::HotClass] {
            let speed = match fault {
                Fault::Slow => TellsSpeed::Measured,
                _ => TellsSpeed::Nominal,
            };
            let scenario = Scenario { fault, speed, ..calm.clone() };
            cells.push(Cell { part: Part::Fault(fault), scenario });
        }
        let bursts = Scenario { arrivals: Arrivals::Bursts, ..calm.clone() };
        cells.push(Cell { part: Part::Bursts, scenario: bursts });
        let ingress = Scenario { ingress: Ingress::TwoNodes, ..calm.clone() };
        cells.push(Cell { part: Part::HotIngress, scenario: ingress });
    }
    cells
}

fn overload() -> Vec<Cell> {
    let mut cells = Vec::new();
    for nodes in [100, 16, 4] {
        for order in [Order::Fifo, Order::Birth, Order::FewestLeft] {
            let scenario = Scenario { order, ..scenario(nodes, 1.2, &PAIR) };
            cells.push(Cell { part: Part::Overload(order), scenario });
        }
    }
    cells
}

fn zones(extent: Extent) -> Vec<Cell> {
    let seeds = match extent {
        Extent::Reduced => vec![11],
        Extent::Full => SEEDS.to_vec(),
    };
    let zoned = |nodes: usize, load: f64, policies: &[&str]| Scenario {
        zone_nodes: 100,
        seeds: seeds.clone(),
        ..scenario(nodes, load, policies)
    };
    let mut cells = Vec::new();
    if extent == Extent::Full {
        let scenario = Scenario { seeds: vec![11], ..zoned(10_000, 0.9, &PAIR) };
        cells.push(Cell { part: Part::Zones { hot: false }, scenario });
    }
    let scenario = zoned(1000, 0.9, &["jsq", "izna", "prequal-sync"]);
    cells.push(Cell { part: Part::Zones { hot: false }, scenario });
    let scenario = Scenario { ingress: Ingress::OneZone, ..zoned(1000, 0.7, &PAIR) };
    cells.push(Cell { part: Part::Zones { hot: true }, scenario });
    cells
}

/// Few holders, and a class that becomes twenty times as frequent for half of the time: the cells of
/// the facts of placement, section 4.4, to the digit of what JSQ reaches.
fn adoption() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (nodes, replicas, duration_s) in [(16, 2.0, 20.0), (100, 5.0, 8.0)] {
        for on in [false, true] {
            let scenario = Scenario {
                fault: Fault::HotClass,
                hot_factor: 20.0,
                replicas,
                duration_s,
                adoption_s: if on { 0.3 } else { 0.0 },
                ..scenario(nodes, 0.7, if on { &PAIR[1..] } else { &PAIR })
            };
            cells.push(Cell { part: Part::Adoption { on }, scenario });
        }
        // Enough holders: nothing is to be taken in.
        let scenario = Scenario { adoption_s: 0.3, ..scenario(nodes, 0.9, &PAIR[1..]) };
        cells.push(Cell { part: Part::Adoption { on: true }, scenario });
    }
    cells
}
