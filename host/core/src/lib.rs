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

mod adoption;
mod catalog;
mod components;
mod config;
mod core;
mod counters;
mod effects;
mod held_id;
mod inflow;
mod io;
mod life;
mod membership;
mod memory;
mod meter;
pub mod outbound;
pub mod placement;
mod processes;
pub mod record;
mod sabotage;
mod stage;
mod stealing;
mod table_error;
mod time;
mod transfer;
mod waiters;

pub use self::core::{
    Core, Fill, Holder, PeerStatus, ProcessState, ProcessStatus, Reason, ZoneStatus,
};
pub use config::Config;
pub use counters::Counters;
pub use held_id::HeldId;
pub use io::{
    AdoptionStage, Assignment, Audience, Change, Input, Measurement, Note, Output, Reply, Step,
    Submission,
};
pub use membership::PeerState;
pub use sabotage::Sabotage;
pub use table_error::TableError;
pub use time::{Duration, Time};
