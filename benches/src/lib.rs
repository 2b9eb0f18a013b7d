//! Clusters of real `izna` processes on this machine, and load for them. What is measured with them
//! is in the benches and binaries beside, what is proved with them in `tests/cluster`.
//!
//! Nothing is built here: the binary is the one that ships, named by `IZNA_BIN` or found beside the
//! caller in the target folder. Nothing waits for a fixed time either: see [`wait::until`].

pub mod cluster;
pub mod http;
pub mod load;
pub mod machine;
pub mod node;
pub mod report;
pub mod shipped;
pub mod usage;
pub mod wait;

pub use cluster::{Cluster, Discovery, Options};
pub use http::Response;
pub use load::{Load, Pace, Plan, Report};
pub use node::Node;
