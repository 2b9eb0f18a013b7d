//! Giving artifacts, and code compiled from them, to nodes that ask: each over a bulk connection of
//! its own, which is made when the node asks and closed when it asks no more. What waits there is
//! never in front of a message of a link, and a node that reads slowly slows down nobody else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::SinkExt;
use izna_core::Input;
use izna_proto::{Digest, Message, NodeId, Wire};
use izna_runtime::Runtime;
use rustls::ClientConfig;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    addresses::SharedAddresses,
    artifact_fetch::{PIECE_BYTES, Piece},
    driver::Driver,
    handshake::{Broken, dial},
    names::Names,
    open_store::OpenStore,
    own::Own,
    tls,
};

/// Requests of one node that wait here; further ones are dropped, and made again.
const REQUESTS_MAX: usize = 16;
/// Nodes that are served at the same time; requests of others are dropped, and made again.
const NODES_MAX: usize = 64;
/// How long a connection is kept that nothing is asked of.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How long the other side may take to read one piece.
const PIECE_MAX: Duration = Duration::from_secs(30);

/// Gives artifacts to other nodes.
#[derive(Debug)]
pub(crate) struct ArtifactServe {
    own: Arc<Own>,
    driver: Arc<Driver>,
    names: Arc<Names>,
    addresses: Arc<SharedAddresses>,
    store: Arc<OpenStore>,
    runtime: Runtime,
    tls: Arc<ClientConfig>,
    /// Whether compiled code is given to nodes of this cluster.
    shares_code: bool,
    /// Whom it gives something to at the moment.
    nodes: Mutex<HashMap<NodeId, mpsc::Sender<Piece>>>,
    /// What was compiled is checked as a whole, so it is read once for all of its pieces.
    compiled: tokio::sync::Mutex<Option<(Digest, Bytes)>>,
}

/// What [`ArtifactServe`] is made of.
pub(crate) struct Parts {
    pub(crate) own: Arc<Own>,
    pub(crate) driver: Arc<Driver>,
    pub(crate) names: Arc<Names>,
    pub(crate) addresses: Arc<SharedAddresses>,
    pub(crate) store: Arc<OpenStore>,
    pub(crate) runtime: Runtime,
    /// Of bulk connections.
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) shares_code: bool,
}

impl ArtifactServe {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { own, driver, names, addresses, store, runtime, tls, shares_code } = parts;
        let (nodes, compiled) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { own, driver, names, addresses, store, runtime, tls, shares_code, nodes, compiled }
    }

    /// A node asks for a piece.
    pub(crate) fn asked(self: &Arc<Self>, peer: NodeId, piece: Piece) {
        let mut nodes = self.lock();
        let is_served = nodes.get(&peer).is_some_and(|requests| !requests.is_closed());
        if !is_served {
            if nodes.len() >= NODES_MAX {
                drop(nodes);
                return tracing::debug!(%peer, "too many nodes request artifacts: dropped one");
            }
            let (requests, asked) = mpsc::channel(REQUESTS_MAX);
            nodes.insert(peer, requests);
            let serve = self.clone();
            self.driver.tasks.spawn("artifacts for a node", async move {
                if let Err(error) = serve.serve(peer, asked).await {
                    let name = serve.names.name_or_id(peer);
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(%peer, %name, error, "cannot send artifacts to a node");
                }
                let is_last = {
                    let mut nodes = serve.lock();
                    nodes.retain(|_, requests| !requests.is_closed());
                    nodes.is_empty()
                };
                if is_last {
                    *serve.compiled.lock().await = None;
                }
            });
        }
        if let Some(requests) = nodes.get(&peer)
            && requests.try_send(piece).is_err()
        {
            let digest = piece.digest;
            tracing::debug!(%peer, %digest, "too many requests for artifacts: dropped one");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, mpsc::Sender<Piece>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Give one node what it asks for, one piece after the other.
    async fn serve(&self, peer: NodeId, mut asked: mpsc::Receiver<Piece>) -> Result<(), Broken> {
        let address = self.addresses.lock().address(peer).ok_or(Broken::Unknown)?;
        let (mut frames, _) = dial(self.tls.clone(), &self.own, peer, address).await?;
        if frames.get_ref().get_ref().1.alpn_protocol() != Some(tls::BULK) {
            return Err(Broken::NoBulk);
        }
        while let Ok(Some(piece)) = timeout(IDLE_MAX, asked.recv()).await {
            let Piece { digest, engine, offset } = piece;
            let (length, piece) = match engine {
                None => self.artifact(digest, offset).await,
                Some(engine) => self.code(digest, engine, offset).await,
            };
            let lacks = engine.is_none() && length == 0;
            let message = Message::Artifact { digest, engine, offset, length, piece };
            let sent = timeout(PIECE_MAX, frames.send(message.to_bytes())).await;
            sent.map_err(|_| Broken::Late(address))?.map_err(Broken::Transport)?;
            if lacks {
                self.driver.feed(Input::Lacked { peer, digest });
            }
        }
        Ok(())
    }

    async fn artifact(&self, digest: Digest, offset: u64) -> (u64, Bytes) {
        let Ok(store) = self.store.get() else { return (0, Bytes::new()) };
        let read = move || Ok(store.piece(digest, offset, PIECE_BYTES)?);
        match self.driver.tasks.blocking("read an artifact", read).await {
            Ok(Some(piece)) => (piece.length, piece.bytes),
            Ok(None) => (0, Bytes::new()),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(%digest, error, "cannot read an artifact");
                (0, Bytes::new())
            }
        }
    }

    /// What was compiled here for an engine equal to the own one, if it may be given away.
    async fn code(&self, digest: Digest, engine: Digest, offset: u64) -> (u64, Bytes) {
        if !self.shares_code || self.runtime.engine_id().0 != engine.0 {
            return (0, Bytes::new());
        }
        let mut compiled = self.compiled.lock().await;
        if compiled.as_ref().is_none_or(|(of, _)| *of != digest) {
            let runtime = self.runtime.clone();
            let read = move || Ok(runtime.code(digest));
            let code = self.driver.tasks.blocking("read compiled code", read).await;
            *compiled = code.ok().flatten().map(|code| (digest, Bytes::from(code)));
        }
        let piece = compiled.as_ref().map_or((0, Bytes::new()), |(_, code)| cut(code, offset));
        if piece.0 <= offset.saturating_add(PIECE_BYTES) {
            *compiled = None;
        }
        piece
    }
}

fn cut(bytes: &Bytes, offset: u64) -> (u64, Bytes) {
    let length = bytes.len() as u64;
    let at = |offset: u64| usize::try_from(offset.min(length)).unwrap_or(0);
    (length, bytes.slice(at(offset)..at(offset.saturating_add(PIECE_BYTES))))
}
