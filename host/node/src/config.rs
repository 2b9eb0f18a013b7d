//! What a node is started with.

use std::{
    fmt,
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use izna_proto::Traits;

use crate::{Identity, Multicast};

/// Changes the settings of a node's core before it starts.
pub type Tune = Box<dyn FnOnce(&mut izna_core::Config) + Send>;

/// What a node is started with.
pub struct NodeConfig {
    /// Who it is.
    pub identity: Identity,
    /// Its own directory.
    pub data: PathBuf,
    /// Where it takes links, and beacons by unicast. With port 0 the system chooses one.
    pub listen: SocketAddr,
    /// Beacons by multicast, or none.
    pub multicast: Option<Multicast>,
    /// Nodes to send beacons to by unicast, as `HOST:PORT`.
    pub seeds: Vec<String>,
    /// Where nodes of other zones reach this one, if that is not where it listens.
    pub advertise: Option<SocketAddr>,
    /// The threads for steps; none: the usable cores, rounded up.
    pub threads: Option<usize>,
    /// What components may ask of it. Nodes of one zone hear each other's beacons, and know of
    /// other zones what these tell.
    pub traits: Traits,
    /// Whether it gives what it has compiled to nodes of its cluster with the same engine, and runs
    /// what they have compiled: each then trusts all others with its own machine.
    pub shares_code: bool,
    /// The engine. Without a cache in it, it is in the data directory.
    pub runtime: izna_runtime::Config,
    /// Changes core's defaults, limits and intervals mostly. Who and where the node is, and what
    /// it can do, is set before.
    pub tune: Option<Tune>,
    /// Where what its core is told and puts out is recorded, to be played again.
    pub record: Option<File>,
}

impl NodeConfig {
    /// The defaults: multicast on this machine's loopback interface, any port.
    pub fn new(identity: Identity, data: impl Into<PathBuf>) -> Self {
        Self {
            identity,
            data: data.into(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            multicast: Some(Multicast::default()),
            seeds: Vec::new(),
            advertise: None,
            threads: None,
            traits: Traits::default(),
            shares_code: false,
            runtime: izna_runtime::Config::default(),
            tune: None,
            record: None,
        }
    }
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeConfig")
            .field("identity", &self.identity)
            .field("data", &self.data)
            .field("listen", &self.listen)
            .field("multicast", &self.multicast)
            .field("seeds", &self.seeds)
            .finish_non_exhaustive()
    }
}
