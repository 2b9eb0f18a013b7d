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

mod acceptor;
mod addresses;
mod app_linking;
mod app_table;
mod artifact_fetch;
mod artifact_serve;
mod artifacts;
mod assembly;
mod authority;
mod config;
mod datagrams;
mod discovery;
mod driver;
mod error;
mod handshake;
mod http_client;
pub mod identity;
mod identity_error;
mod link_writer;
mod log_limit;
mod measure;
mod names;
mod node;
mod notes;
mod open_store;
mod ordered;
mod own;
mod peer_links;
mod performer;
mod record;
mod secret;
mod snapshot;
mod sockets;
mod step_host;
mod supervision;
mod tls;
mod waiters;

pub use app_linking::check_host;
pub use authority::{Authority, Bundle};
pub use config::{NodeConfig, Tune};
pub use error::Error;
pub use identity::Identity;
pub use izna_core::{
    Assignment, Counters, Holder, PeerState, PeerStatus, ProcessState, ProcessStatus, Reason,
    Reply, ZoneStatus,
};
pub use izna_runtime::{CacheCounts, Description, WarmCounts};
pub use node::{NewProcess, Node};
pub use notes::explain as explain_grounds;
pub use snapshot::{Components, HostCounts, Peer, SNAPSHOT_PROCESSES_MAX, Snapshot};
pub use sockets::{Error as NetError, Multicast};
pub use tls::Error as TlsError;
