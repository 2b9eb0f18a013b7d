//! Deliberate defects: a simulator that does not find them proves nothing by its silence.

use izna_core::Sabotage;

use crate::{Options, Violation, Watch, run};

/// How many seeds a defect may take to be found.
pub const SABOTAGE_SEEDS: u64 = 100;

/// The first seed that finds a defect, and what was found.
pub fn find(sabotage: Sabotage, seeds: u64) -> Option<(u64, Violation)> {
    (0..seeds).find_map(|seed| {
        let sabotage = Some(format!("{sabotage:?}"));
        let options = Options { sabotage, ..Options::draw(seed) };
        run(&options, seed, Watch::Nothing).violation.map(|violation| (seed, violation))
    })
}
