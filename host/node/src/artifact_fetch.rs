//! Taking artifacts, and code compiled from them, from other nodes, in pieces. A piece is asked for
//! over a link and comes over the other side's bulk connection to here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use izna_proto::{Digest, Message, NodeId};
use tokio::{sync::oneshot, time::timeout};

use crate::{Error, link_writer::Flush, names::Names, peer_links::PeerLinks, waiters::Waiters};

/// The bytes of one piece.
pub(crate) const PIECE_BYTES: u64 = 256 << 10;
/// The largest artifact taken from another node.
const ARTIFACT_BYTES_MAX: u64 = 64 << 20;
/// The most compiled code taken from another node.
const CODE_BYTES_MAX: u64 = 512 << 20;
/// Pieces that are asked for and not yet there.
const PIECES_IN_FLIGHT: usize = 2;
/// How long a piece may take.
const PIECE_MAX: Duration = Duration::from_secs(5);
/// A piece that has not come for this long, and for longer than others took, is asked for again.
const PIECE_AGAIN: Duration = Duration::from_millis(500);

/// A piece of an artifact, or of what was compiled from it for an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Piece {
    pub(crate) digest: Digest,
    /// None for the artifact's own bytes.
    pub(crate) engine: Option<Digest>,
    pub(crate) offset: u64,
}

/// Takes artifacts from other nodes.
#[derive(Debug)]
pub(crate) struct ArtifactFetch {
    links: Arc<PeerLinks>,
    names: Arc<Names>,
    pieces: Arc<Waiters<(NodeId, Piece), (u64, Bytes)>>,
}

/// Why an artifact cannot be obtained.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Missing {
    #[error("it is not on this node, and no other node that has it is known")]
    Nowhere,
    #[error("{0} does not have it")]
    Gone(Arc<str>),
    #[error("{0} did not send it in time")]
    Late(Arc<str>),
    #[error("{0} sent something else than was requested")]
    Odd(Arc<str>),
    #[error("{name} has {length} bytes of it, over the limit of {max}")]
    Large { name: Arc<str>, length: u64, max: u64 },
    #[error("what {name} sent has the digest {found} and was rejected")]
    Poisoned { name: Arc<str>, found: Digest },
    #[error("no node sends it: {0}")]
    Refused(String),
    #[error(transparent)]
    Other(#[from] Error),
}

impl ArtifactFetch {
    pub(crate) fn new(links: Arc<PeerLinks>, names: Arc<Names>) -> Self {
        Self { links, names, pieces: Arc::default() }
    }

    /// A piece came; one that nobody waits for is dropped.
    pub(crate) fn arrived(&self, peer: NodeId, piece: Piece, length: u64, bytes: Bytes) {
        self.pieces.answer(&(peer, piece), (length, bytes));
    }

    /// Take an artifact from the first node that has it: from one that holds the component, else
    /// from any, for the node where an app was deployed has the bytes even if it is not to hold it.
    pub(crate) async fn artifact(
        &self,
        digest: Digest,
        holders: &[NodeId],
    ) -> Result<Bytes, Missing> {
        let linked = self.links.up().into_iter().map(|(peer, _)| peer);
        let others: Vec<NodeId> = linked.filter(|peer| !holders.contains(peer)).collect();
        let mut refused = Vec::new();
        for holder in holders.iter().chain(&others) {
            let fetched = self.fetch_from(digest, None, *holder).await.and_then(|bytes| {
                let found = izna_store::digest(&bytes);
                let name = || self.names.name_or_id(*holder);
                if found == digest {
                    Ok(bytes)
                } else {
                    Err(Missing::Poisoned { name: name(), found })
                }
            });
            match fetched {
                Ok(bytes) => return Ok(bytes),
                Err(why) => {
                    if matches!(why, Missing::Poisoned { .. }) {
                        tracing::error!(%digest, peer = %holder, %why, "rejected an artifact");
                    }
                    refused.push(why.to_string());
                }
            }
        }
        let refused = refused.join("; ");
        Err(if refused.is_empty() { Missing::Nowhere } else { Missing::Refused(refused) })
    }

    /// Take what a node has compiled from an artifact for this engine.
    pub(crate) async fn code(
        &self,
        digest: Digest,
        engine: Digest,
        holder: NodeId,
    ) -> Result<Bytes, Missing> {
        self.fetch_from(digest, Some(engine), holder).await
    }

    async fn fetch_from(
        &self,
        digest: Digest,
        engine: Option<Digest>,
        holder: NodeId,
    ) -> Result<Bytes, Missing> {
        let name = || self.names.name_or_id(holder);
        let first = Piece { digest, engine, offset: 0 };
        let patience = &Patience::new(PIECE_AGAIN);
        let (length, bytes) = self.piece(first, holder, patience).await?;
        if length == 0 {
            return Err(Missing::Gone(name()));
        }
        let max = if engine.is_some() { CODE_BYTES_MAX } else { ARTIFACT_BYTES_MAX };
        if length > max {
            return Err(Missing::Large { name: name(), length, max });
        }
        let check = |offset: u64, told: u64, bytes: Bytes| {
            let right = PIECE_BYTES.min(length.saturating_sub(offset));
            if told == length && bytes.len() as u64 == right {
                return Ok(bytes);
            }
            Err(Missing::Odd(name()))
        };
        let mut whole = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
        whole.extend_from_slice(&check(0, length, bytes)?);
        let offsets = (1..length.div_ceil(PIECE_BYTES)).map(|index| index * PIECE_BYTES);
        let check = &check;
        let mut pieces = stream::iter(offsets)
            .map(|offset| async move {
                let piece = Piece { offset, ..first };
                let (told, bytes) = self.piece(piece, holder, patience).await?;
                check(offset, told, bytes)
            })
            .buffered(PIECES_IN_FLIGHT);
        while let Some(bytes) = pieces.try_next().await? {
            whole.extend_from_slice(&bytes);
        }
        drop(pieces);
        Ok(whole.freeze())
    }

    async fn piece(
        &self,
        piece: Piece,
        holder: NodeId,
        patience: &Patience,
    ) -> Result<(u64, Bytes), Missing> {
        let mut waiting = self.pieces.wait((holder, piece));
        let Piece { digest, engine, offset } = piece;
        let request = Message::AskArtifact { digest, engine, offset };
        let send = || self.links.send(holder, &request, Flush::Later);
        match timeout(PIECE_MAX, patience.ask(&mut waiting.answer, send)).await {
            Ok(Some(piece)) => Ok(piece),
            Ok(None) => Err(Missing::Gone(self.names.name_or_id(holder))),
            Err(_) => Err(Missing::Late(self.names.name_or_id(holder))),
        }
    }
}

/// How long pieces from one node are waited for before they are asked for again: a request is lost
/// where too many wait. On a slow network, asking again would only make it slower.
struct Patience(AtomicU64);

impl Patience {
    fn new(first: Duration) -> Self {
        Self(AtomicU64::new(micros(first)))
    }

    /// Ask until there is an answer; none when it cannot be asked.
    async fn ask<T>(
        &self,
        mut answer: &mut oneshot::Receiver<T>,
        mut ask: impl FnMut() -> bool,
    ) -> Option<T> {
        let began = Instant::now();
        let mut times = 1;
        loop {
            if !ask() {
                return None;
            }
            let wait = Duration::from_micros(self.0.load(Ordering::Relaxed)).saturating_mul(times);
            if let Ok(answer) = timeout(wait, &mut answer).await {
                self.0.fetch_max(micros(began.elapsed()).saturating_mul(2), Ordering::Relaxed);
                return answer.ok();
            }
            times = times.saturating_mul(2);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, one request that was lost costs a whole artifact, and some seconds.
    #[tokio::test]
    async fn a_piece_is_asked_for_until_it_comes() {
        let patience = Patience::new(Duration::from_millis(1));
        let (sender, mut receiver) = oneshot::channel();
        let (mut sender, mut asked) = (Some(sender), 0);
        let ask = || {
            asked += 1;
            if asked == 3 {
                let _ = sender.take().unwrap().send("piece");
            }
            true
        };
        assert_eq!(patience.ask(&mut receiver, ask).await, Some("piece"));
        assert_eq!(asked, 3);
        let (_sender, mut receiver) = oneshot::channel::<()>();
        assert_eq!(patience.ask(&mut receiver, || false).await, None, "there is no link");
    }
}
