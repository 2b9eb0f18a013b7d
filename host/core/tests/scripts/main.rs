//! The core's rules as scripts: inputs in, outputs as text. `machine` says how a script is read.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of it is a test"
)]

mod admission;
mod adoption;
mod calls;
mod gateway;
mod machine;
mod memory;
mod migration;
mod peers;
mod placement;
mod print;
mod pull;
mod queue;
mod table;
mod words;
mod zones;
