//! The core's rules as scripts: inputs in, outputs as text. `machine` says how a script is read.

mod admission;
mod calls;
mod gateway;
mod machine;
mod memory;
mod migration;
mod peers;
mod placement;
mod print;
mod queue;
mod table;
mod words;
