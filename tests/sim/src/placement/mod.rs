//! Placement at scale: the rules that ship, and the best known others, in one event loop that has
//! nothing else. Where `World` drives whole cores to find what they do wrong, this drives their
//! pure functions to see how good they are (docs/decisions/0010).
//!
//! All policies of a run see the same nodes, arrivals and demands, so that their ratios mean
//! something though their absolute figures depend on the seed.

mod beacons;
mod clients;
mod cluster;
mod event;
mod flow;
pub mod grid;
mod policy;
mod random;
mod run;
mod scenario;
mod tally;
mod world;

pub use clients::{Request, requests};
pub use policy::NAMES;
pub use scenario::{Arrivals, Fault, Ingress, Order, Scenario, Service, TellsSpeed};
pub use tally::Results;
use world::World;

/// Run one policy of a scenario on one seed.
pub fn play(scenario: &Scenario, seed: u64, policy: &str) -> Results {
    let world = World::new(scenario, seed);
    run::run(scenario, &world, seed, policy)
}

/// Run some policies of a scenario on one seed, in the same world.
pub fn play_all(scenario: &Scenario, seed: u64, policies: &[String]) -> Vec<Results> {
    let world = World::new(scenario, seed);
    policies.iter().map(|policy| run::run(scenario, &world, seed, policy)).collect()
}
