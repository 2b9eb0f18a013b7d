//! The experiments of the paper's evaluation with the TeX service, and some beyond it. Each starts
//! clusters of nodes that may use a share of a core each, loads them, and gives a table, a figure,
//! and a line for each aim.
//!
//! All nodes together and the load generator must fit into the machine: eight nodes of a fifth of a
//! core need two cores.

pub mod disturbed;
pub mod formulas;
pub mod idle;
pub mod joining;
pub mod losing;
pub mod scaling;
pub mod setting;
mod timeline;

pub use setting::{Finding, Setting};
