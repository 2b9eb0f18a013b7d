//! The names of nodes, for logs and for people: of those that were ever linked, and of this one.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use izna_proto::NodeId;

/// Names of nodes.
#[derive(Debug)]
pub(crate) struct Names(RwLock<HashMap<NodeId, Arc<str>>>);

impl Names {
    pub(crate) fn new(own: NodeId, name: Arc<str>) -> Self {
        Self(RwLock::new([(own, name)].into()))
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<Arc<str>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// Its name, or its id if that is not known.
    pub(crate) fn name_or_id(&self, node: NodeId) -> Arc<str> {
        self.get(node).unwrap_or_else(|| node.to_string().into())
    }

    pub(crate) fn set(&self, node: NodeId, name: Arc<str>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(node, name);
    }
}
