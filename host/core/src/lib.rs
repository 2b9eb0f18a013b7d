//! Every decision of an Izna node: the view of the others, placement, migration, the life of a
//! process, admission, the app table, cluster memory.
//!
//! [`Core`] is a state machine with three doors: [`Core::handle`] takes what happened and the time,
//! [`Core::poll`] gives what to do until there is nothing more, [`Core::deadline`] says when to
//! come again though nothing happened. It reads no clock, owns no socket, starts no task, and draws
//! its randomness from a seed: equal inputs give equal outputs. The simulator drives thousands of
//! these in virtual time; what it proves is what ships.
//!
//! **Invariant.** Drain [`Core::poll`] to none before the next [`Core::handle`].
#![no_std]
#![deny(missing_docs)]
#![forbid(unsafe_code)]

extern crate alloc;

mod abroad;
mod adopt;
mod check;
mod config;
mod core;
mod gateway;
mod holding;
mod io;
mod life;
mod memory;
mod migrate;
pub mod outbound;
mod peer;
mod peers;
mod place;
pub mod placement;
mod pull;
mod recall;
pub mod record;
#[cfg(feature = "sabotage")]
mod sabotage;
mod status;
mod steps;
mod table;
mod time;
mod view;
mod zones;

pub use self::core::Core;
pub use config::Config;
pub use io::{
    AdoptionStage, Assignment, Audience, Input, Measurement, Note, Output, Reply, Step, Submission,
};
pub use peer::PeerState;
#[cfg(feature = "sabotage")]
pub use sabotage::Sabotage;
pub use status::{
    Counters, Fill, Holder, PeerStatus, ProcessState, ProcessStatus, Reason, ZoneStatus,
};
pub use table::Error as TableError;
pub use time::{Duration, Time};

/// A process that this node holds, by its place here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldId(pub u64);
