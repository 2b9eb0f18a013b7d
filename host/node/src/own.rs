//! Who this node is, for those that tell others: all of it is fixed while the node runs.

use std::{net::SocketAddr, sync::Arc};

use izna_proto::{ClusterId, Hello, NodeId, PROTOCOL, Traits, ZoneId};

use crate::identity::zone_id;

/// Who this node is.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) name: Arc<str>,
    pub(crate) node: NodeId,
    pub(crate) cluster: ClusterId,
    /// Its count of restarts.
    pub(crate) incarnation: u64,
    /// What components may ask of it, and the zone that its traits name.
    pub(crate) traits: Traits,
    pub(crate) zone: ZoneId,
    /// Where links and unicast beacons are taken.
    pub(crate) address: SocketAddr,
    /// Where nodes of other zones reach it, if that is not where it listens.
    pub(crate) advertise: Option<SocketAddr>,
}

impl Own {
    /// What this node says at the start of a connection.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            cluster: self.cluster,
            node: self.node,
            incarnation: self.incarnation,
            name: self.name.to_string(),
            peer_port: self.address.port(),
            traits: self.traits.clone(),
            advertise: self.advertise,
            features: Vec::new(),
        }
    }

    /// The zone of the node that says this.
    pub(crate) fn zone_of(&self, hello: &Hello) -> ZoneId {
        zone_id(self.cluster, hello.traits.zone_name())
    }

    /// Where nodes of other zones reach this one, if it can be said.
    pub(crate) fn reached_at(&self) -> Option<SocketAddr> {
        let own = Some(self.address).filter(|address| !address.ip().is_unspecified());
        self.advertise.or(own)
    }
}
