//! Placement: where a process goes next. Pure functions and small values, named as in the
//! textbooks: **transfer** (whether a process leaves), **location** (which node gets it),
//! **selection** (which of the queued ones leaves when another node asks).
//!
//! One figure is compared everywhere: the *expected time* of the next step on a node, in
//! microseconds: the way there, the wait there, the run there. Times can be added; shares of use
//! cannot, and say nothing at the top, where the differences matter (docs/decisions/0004).
//!
//! The core calls these from `core/place.rs` and `core/steal.rs`; the simulator calls the same functions for
//! ten thousand nodes. Nothing here knows of messages, timers or processes.

mod adoption;
mod belief;
mod explain;
mod figure;
mod location;
mod overload;
mod path;
mod pull;
mod transfer;
mod zone;

pub use adoption::{
    Adoption, Demand, Holder, MEASURE_PERIODS, Spare, is_full, is_unneeded, suffice, totals,
};
pub use belief::Belief;
pub use explain::{Explanation, Rule, Weighed};
pub(crate) use figure::MEMORY_FULL;
pub use figure::{Journey, Overhead, Speed, Waiting, is_brief, memory_wait_us, network_wait_us};
pub(crate) use location::speed;
pub use location::{
    Candidates, Costs, DEMAND_US_FIRST, Estimate, here, least_us, occupancy, soonest_us, there,
};
pub use overload::Overload;
pub use path::Path;
pub use pull::{Puller, SAMPLE_MAX, Tokens, appeal_us, gift_max, is_worth_giving};
pub use transfer::{MOVES_MAX, QUEUE_MOVES_MAX, bounces, stays};
pub use zone::{Summary, ZONES_MAX, ZoneBelief, inside, is_stale, level_us};
