//! What an operator may look at: a node at one moment.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use izna_core::{Core, Counters, Holder, PeerStatus, ProcessStatus, ZoneStatus};
use izna_proto::{ClusterId, ComponentId, Digest, Load, NodeId, Traits};

use crate::own::Own;

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
    /// What components may ask of it.
    pub traits: Traits,
    /// The components.
    pub components: Components,
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
    /// What is counted outside of core.
    pub host: HostCounts,
}

/// The components of a node.
#[derive(Debug, Clone)]
pub struct Components {
    /// Those that are ready here.
    pub holds: Vec<ComponentId>,
    /// For each component of each app the live nodes that are ready to run it, and why.
    pub held_by: Vec<(ComponentId, Vec<Holder>)>,
    /// Code that could not be obtained or compiled here when that was last tried, and why.
    pub troubles: Vec<(Digest, String)>,
}

/// What is counted outside of core.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostCounts {
    /// Processes that were encoded to be sent to another node.
    pub process_encoded: u64,
    /// How often a thread with sockets ran a brief step itself, and what followed it here.
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

impl Snapshot {
    /// What core knows of itself; the rest is as at a start.
    pub(crate) fn of(own: &Own, core: &Core) -> Self {
        let (held, waiting) = core.held();
        let peers = core.peers().map(|status| Peer { status, address: None });
        Self {
            node: own.node,
            name: own.name.clone(),
            cluster: own.cluster,
            incarnation: own.incarnation,
            address: own.address,
            uptime: Duration::ZERO,
            ready: false,
            draining: core.draining(),
            load: core.load(),
            traits: core.traits().clone(),
            components: Components {
                holds: core.holds().copied().collect(),
                held_by: held_by(core),
                troubles: core.troubles().map(|(code, why)| (code, why.to_owned())).collect(),
            },
            peers: peers.collect(),
            zones: core.zones().collect(),
            speaks: core.speaks(),
            processes: core.processes().take(SNAPSHOT_PROCESSES_MAX).collect(),
            held,
            waiting,
            memory_bytes: core.memory_bytes(),
            counters: *core.counters(),
            host: HostCounts::default(),
        }
    }
}

/// Who is ready to run each component of each app.
fn held_by(core: &Core) -> Vec<(ComponentId, Vec<Holder>)> {
    let apps = core.table().filter_map(|entry| entry.app.as_ref());
    let components = apps.flat_map(|app| app.components.iter().map(move |spec| (app, spec)));
    let held = components.map(|(app, spec)| (spec.id(&app.name), core.holders(&app.name, spec)));
    held.collect()
}
