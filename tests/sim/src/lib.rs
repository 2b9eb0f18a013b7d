//! A simulator of a cluster: many cores, the very ones that ship, in virtual time, with everything
//! around them made up. Equal seeds give equal runs.
//!
//! A run has two phases. In the first, faults happen, and checkers look after every event whether
//! what must always hold does hold. Then everything is made right, and what must come true has to
//! come true: every client is answered, every process has ended, all nodes agree.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a simulator that goes wrong is a failed test"
)]
#![allow(
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "virtual time is a few seconds"
)]

mod check;
mod clients;
mod deploys;
mod event;
mod executor;
mod faults;
mod network;
mod node;
mod options;
pub mod placement;
mod play;
pub mod plot;
mod program;
mod recordings;
mod report;
#[cfg(feature = "sabotage")]
mod sabotage;
mod seen;
mod sweep;
mod world;

pub use check::{CHECKERS, Violation};
pub use options::Options;
pub use play::{Difference, Played, play};
pub use recordings::{Recording, keep};
pub use report::{Report, Watch, explain};
#[cfg(feature = "sabotage")]
pub use sabotage::{Found, SABOTAGE_SEEDS, find, sabotaged};
pub use seen::{SOMETIMES, Seen};
pub use sweep::{Sweep, sweep};
pub(crate) use world::World;

/// Let `seed` play out under `options`.
pub fn run(options: &Options, seed: u64, watch: Watch) -> Report {
    World::new(options, seed, watch).run()
}

/// The same, with a recording of what each core was told.
pub fn record(options: &Options, seed: u64, watch: Watch) -> Report {
    World::new(options, seed, watch).recorded().run()
}
