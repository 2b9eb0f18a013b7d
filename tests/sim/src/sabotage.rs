//! Deliberate defects: a simulator that does not find them proves nothing by its silence.

use std::collections::BTreeMap;

use izna_core::Sabotage;

use crate::{Options, Violation, Watch, run};

/// How many seeds a defect may take to be found: those of every change.
pub const SABOTAGE_SEEDS: u64 = 200;

/// The seed in which the checker of a defect found it, and what.
#[derive(Debug, Clone)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// What its checker found.
    pub violation: Violation,
}

/// The options of a seed with a defect on.
pub fn sabotaged(sabotage: Sabotage, seed: u64) -> Options {
    // Of zones there is something to see only where there are several.
    let zones = if sabotage.checker() == "zones" { 3 } else { 1 };
    Options { zones, sabotage: Some(format!("{sabotage:?}")), ..Options::draw(seed) }
}

/// The first of so many seeds in which the checker that is to find a defect does.
///
/// # Errors
/// When it does in none: with what others found.
pub fn find(sabotage: Sabotage, seeds: u64) -> Result<Found, String> {
    let checker = sabotage.checker();
    let mut others: BTreeMap<&str, (u64, Violation)> = BTreeMap::new();
    for seed in 0..seeds {
        match run(&sabotaged(sabotage, seed), seed, Watch::Nothing).violation {
            Some(violation) if violation.checker == checker => {
                return Ok(Found { seed, violation });
            }
            Some(violation) => {
                others.entry(violation.checker).or_insert((seed, violation));
            }
            None => {}
        }
    }
    let others = others.values().map(|(seed, violation)| format!("\n  seed {seed}: {violation}"));
    let others: String = others.collect();
    Err(format!("{sabotage:?} is not found by {checker} in {seeds} seeds{others}"))
}
