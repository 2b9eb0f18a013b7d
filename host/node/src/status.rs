//! What an operator may look at.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use izna_core::{Counters, Holder, PeerStatus, ProcessStatus, ZoneStatus};
use izna_proto::{ClusterId, ComponentId, Digest, Load, NodeId, Traits};

/// The most processes that a snapshot lists.
pub const SNAPSHOT_PROCESSES_MAX: usize = 1000;

/// A node at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: Arc<str>,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its count of restarts.
    pub incarnation: u64,
    /// Where it takes links and unicast beacons.
    pub address: SocketAddr,
    /// How long it has run.
    pub uptime: Duration,
    /// Whether it should be sent requests.
    pub ready: bool,
    /// Whether it takes nothing new.
    pub draining: bool,
    /// Its load.
    pub load: Load,
    /// The components that are ready here.
    pub holds: Vec<ComponentId>,
    /// What components may ask of it.
    pub traits: Traits,
    /// For each component of each app the live nodes that are ready to run it, and why.
    pub held_by: Vec<(ComponentId, Vec<Holder>)>,
    /// Code that could not be had here when it was last tried, and why.
    pub troubles: Vec<(Digest, String)>,
    /// The other nodes, by name.
    pub peers: Vec<Peer>,
    /// The other zones.
    pub zones: Vec<ZoneStatus>,
    /// Whether it speaks for its zone.
    pub speaks: bool,
    /// Processes held here, up to [`SNAPSHOT_PROCESSES_MAX`].
    pub processes: Vec<ProcessStatus>,
    /// How many processes are held here.
    pub held: usize,
    /// How many clients wait here.
    pub waiting: usize,
    /// The bytes of cluster memory kept here.
    pub memory_bytes: usize,
    /// What core counts.
    pub counters: Counters,
    /// Processes that were encoded to be sent to another node.
    pub process_encoded: u64,
    /// How often the sockets' thread ran a brief step itself, and what followed it here.
    pub lent: u64,
    /// Compiled components: how often the cache had them.
    pub cache: izna_runtime::CacheCounts,
    /// Suspended functions of direct components.
    pub warm: izna_runtime::WarmCounts,
}

/// Another node.
#[derive(Debug, Clone)]
pub struct Peer {
    /// As core sees it.
    pub status: PeerStatus,
    /// Where its links are taken, if a beacon told.
    pub address: Option<SocketAddr>,
}
