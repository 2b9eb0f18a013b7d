//! Clusters of real `izna` processes on this machine, and load for them. What is measured with them
//! is in the benches and binaries beside, what is proved with them in `tests/cluster`.
//!
//! Nothing is built here: the binary is the one that ships, named by `IZNA_BIN` or found beside the
//! caller in the target folder. Nothing waits for a fixed time either: see [`wait::until`].

pub mod arrivals;
pub mod cluster;
pub mod http;
pub mod load;
pub mod machine;
pub mod node;
pub mod paper;
pub mod quota;
pub mod relay;
pub mod report;
pub mod segment;
pub mod shipped;
pub mod skipped;
pub mod spinner;
pub mod tally;
pub mod timetable;
pub mod undo;
pub mod usage;
pub mod wait;
pub mod zones;

pub use arrivals::Pace;
pub use cluster::{Cluster, Discovery, Network, Options};
pub use http::Response;
pub use load::{Load, Plan, Requests};
pub use node::Node;
pub use tally::Report;
