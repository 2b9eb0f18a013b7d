//! The data directory while the node runs. A stop closes it.

use std::sync::{Arc, PoisonError, RwLock};

use izna_store::Store;

use crate::Error;

/// The node's store, until it is closed.
#[derive(Debug)]
pub(crate) struct OpenStore(RwLock<Option<Arc<Store>>>);

impl OpenStore {
    pub(crate) fn new(store: Store) -> Self {
        Self(RwLock::new(Some(Arc::new(store))))
    }

    /// The store, unless the node has stopped.
    pub(crate) fn get(&self) -> Result<Arc<Store>, Error> {
        let store = self.0.read().unwrap_or_else(PoisonError::into_inner);
        store.clone().ok_or(Error::Stopped)
    }

    pub(crate) fn close(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}
