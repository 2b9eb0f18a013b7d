//! The shell of an Izna node: sockets, TLS, clock, threads, files. It drives [`izna_core`], which
//! decides everything; an `if` about policy here is a defect.
//!
//! **Contract.** [`Node::start`] starts a node from its [`Identity`] and its data directory;
//! [`Node::submit`] runs a process to its end, wherever in the cluster that is.
//!
//! **Invariant.** No byte of another machine is decoded before that machine has proved to be a node
//! of the cluster: by its certificate on a link, by the cluster's seal on a beacon.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod artifacts;
mod authority;
mod beacon;
mod book;
mod control;
mod error;
pub mod identity;
mod inbound;
mod links;
mod load;
mod net;
mod node;
mod outbound;
mod quiet;
mod radio;
mod record;
mod secret;
mod shell;
mod status;
mod tls;
mod wiring;
mod writer;

pub use authority::{Authority, Bundle};
pub use control::told as grounds_told;
pub use error::Error;
pub use identity::Identity;
pub use izna_core::{
    Assignment, Counters, Holder, PeerState, PeerStatus, ProcessState, ProcessStatus, Reason,
    Reply, ZoneStatus,
};
pub use izna_runtime::{CacheCounts, Description, WarmCounts};
pub use net::{Error as NetError, Multicast};
pub use node::{NewProcess, Node, NodeConfig, Tune};
pub use status::{Peer, SNAPSHOT_PROCESSES_MAX, Snapshot};
pub use tls::Error as TlsError;
pub use wiring::check_host;
