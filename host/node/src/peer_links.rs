//! The own links: one to each node that is spoken to. A link carries messages one way; what the
//! other answers comes on its own link to here ([`acceptor`](crate::acceptor)).
//!
//! Core says when to connect; this delays an attempt after one that failed. A link whose queue is
//! full is broken: it is closed, and what was in it is lost.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use izna_core::Input;
use izna_proto::{Hello, Message, NodeId};
use rustls::ClientConfig;
use tokio::{sync::Notify, time::sleep};
use tokio_util::{codec::FramedParts, sync::CancellationToken};

use crate::{
    addresses::SharedAddresses,
    driver::Driver,
    handshake::{Broken, dial},
    link_writer::{Ended, Flush, Full, Place, Writer},
    names::Names,
    own::Own,
};

const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(2);
/// A link that was up for less counts as a failed attempt.
const STEADY: Duration = Duration::from_secs(5);
/// Between two warnings about one node that cannot be reached.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// The links to other nodes.
#[derive(Debug)]
pub(crate) struct PeerLinks {
    own: Arc<Own>,
    driver: Arc<Driver>,
    names: Arc<Names>,
    addresses: Arc<SharedAddresses>,
    tls: Arc<ClientConfig>,
    states: States,
    /// A link has come up.
    came_up: Notify,
}

/// The state of each link, apart from how it comes about.
#[derive(Debug, Default)]
struct States(Mutex<HashMap<NodeId, Peer>>);

#[derive(Debug)]
struct Peer {
    /// Ends the attempt or link; one that was ended by a newer one tells nobody.
    stop: CancellationToken,
    attempt: u64,
    state: LinkState,
    failures: u32,
    warned: Option<Instant>,
}

#[derive(Debug)]
enum LinkState {
    Down,
    Connecting,
    Up { link: Arc<Writer>, hello: Arc<Hello>, since: Instant },
}

impl PeerLinks {
    pub(crate) fn new(
        own: Arc<Own>,
        driver: Arc<Driver>,
        names: Arc<Names>,
        addresses: Arc<SharedAddresses>,
        tls: Arc<ClientConfig>,
    ) -> Self {
        let (states, came_up) = (States::default(), Notify::new());
        Self { own, driver, names, addresses, tls, states, came_up }
    }

    /// Take the next place of the link to a node, to be filled by [`fill`]; none if there is no
    /// link to it. Within the lock of core this keeps the order in which core decides.
    pub(crate) fn reserve(&self, peer: NodeId) -> Option<Place> {
        self.states.reserve(peer)
    }

    /// Send a message to a node whose place in the order does not matter; false if there is no link
    /// to it.
    pub(crate) fn send(&self, peer: NodeId, message: &Message, flush: Flush) -> bool {
        self.reserve(peer).is_some_and(|place| fill(place, message, flush))
    }

    /// Bytes that wait to be sent, in all links.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.states.unsent_bytes()
    }

    /// The nodes whose link is up, each with the number of its link: a new link has another one.
    pub(crate) fn up(&self) -> Vec<(NodeId, u64)> {
        self.states.up()
    }

    /// Wait until a link comes up that was not up when this was called the last time.
    pub(crate) async fn came_up(&self) {
        self.came_up.notified().await;
    }

    /// Close the link to a node, or end the attempt.
    pub(crate) fn disconnect(&self, peer: NodeId) {
        self.states.disconnect(peer);
    }

    /// Make a link to a node, as core asked for.
    pub(crate) fn connect(self: &Arc<Self>, peer: NodeId) {
        let incarnation = self.addresses.lock().incarnation(peer);
        match self.states.begin(peer, incarnation) {
            Begin::UnderWay => {}
            Begin::IsUp(hello) => self.link_up(peer, &hello),
            Begin::Attempt { attempt, stop, delay } => {
                let links = self.clone();
                self.driver.tasks.spawn("link to a node", async move {
                    let ended = stop.run_until_cancelled(links.run(peer, attempt, delay)).await;
                    if let Some(warn) = links.states.is_down(peer, attempt) {
                        if let Some(Err(error)) = ended {
                            links.report(peer, warn, &error);
                        }
                        links.driver.feed(Input::LinkDown(peer));
                    }
                });
            }
        }
    }

    async fn run(&self, peer: NodeId, attempt: u64, delay: Duration) -> Result<(), Broken> {
        sleep(delay).await;
        let address = self.addresses.lock().address(peer).ok_or(Broken::Unknown)?;
        let (frames, hello) = dial(self.tls.clone(), &self.own, peer, address).await?;
        // After its greeting the other side says nothing here, but it can close.
        let FramedParts { io, read_buf, write_buf, .. } = frames.into_parts();
        if !read_buf.is_empty() || !write_buf.is_empty() {
            return Err(Broken::Unexpected);
        }
        let (link, hello) = (Arc::new(Writer::new(io)), Arc::new(hello));
        if !self.states.is_up(peer, attempt, link.clone(), hello.clone()) {
            return Ok(());
        }
        self.link_up(peer, &hello);
        Err(match link.run().await {
            Ended::Closed => Broken::Closed,
            Ended::Unexpected => Broken::Unexpected,
            Ended::Failed(error) => Broken::Transport(error),
        })
    }

    fn link_up(&self, peer: NodeId, hello: &Hello) {
        let name: Arc<str> = hello.name.as_str().into();
        self.names.set(peer, name.clone());
        if let Some(address) = hello.advertise {
            self.addresses.lock().advertised(peer, address);
        }
        self.driver.feed(Input::LinkUp {
            peer,
            incarnation: hello.incarnation,
            name,
            traits: hello.traits.clone(),
            zone: self.own.zone_of(hello),
        });
        self.came_up.notify_one();
    }

    fn report(&self, peer: NodeId, warn: bool, error: &Broken) {
        let name = self.names.get(peer);
        let name = name.as_deref().unwrap_or("?");
        let error: &dyn std::error::Error = error;
        if warn {
            tracing::warn!(%peer, name, error, "beacons of a node are heard, but no link lasts");
        } else {
            tracing::debug!(%peer, name, error, "a link has ended");
        }
    }
}

impl States {
    fn reserve(&self, peer: NodeId) -> Option<Place> {
        match self.lock().get(&peer) {
            Some(Peer { state: LinkState::Up { link, .. }, .. }) => Some(link.reserve()),
            _ => None,
        }
    }

    fn unsent_bytes(&self) -> usize {
        // A link that is being written to is waited for, and core waits for these states.
        let up = |peer: &Peer| match &peer.state {
            LinkState::Up { link, .. } => Some(link.clone()),
            _ => None,
        };
        let links: Vec<Arc<Writer>> = self.lock().values().filter_map(up).collect();
        links.iter().map(|link| link.unsent_bytes()).sum()
    }

    fn up(&self) -> Vec<(NodeId, u64)> {
        let peers = self.lock();
        let up = peers.iter().filter(|(_, peer)| matches!(peer.state, LinkState::Up { .. }));
        up.map(|(node, peer)| (*node, peer.attempt)).collect()
    }

    fn disconnect(&self, peer: NodeId) {
        if let Some(peer) = self.lock().get(&peer) {
            peer.stop.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begin an attempt: its number and delay. None if one is under way, or there is nothing to do.
    fn begin(&self, node: NodeId, incarnation: u64) -> Begin {
        let mut peers = self.lock();
        let peer = peers.entry(node).or_insert_with(|| Peer {
            stop: CancellationToken::new(),
            attempt: 0,
            state: LinkState::Down,
            failures: 0,
            warned: None,
        });
        match &peer.state {
            LinkState::Connecting => return Begin::UnderWay,
            LinkState::Up { hello, .. } if hello.incarnation >= incarnation => {
                return Begin::IsUp(hello.clone());
            }
            // That link leads to a node that has restarted since.
            LinkState::Up { .. } => peer.stop.cancel(),
            LinkState::Down => {}
        }
        peer.attempt += 1;
        peer.stop = CancellationToken::new();
        peer.state = LinkState::Connecting;
        let delay = match peer.failures {
            0 => Duration::ZERO,
            failures => DELAY_MIN.saturating_mul(1 << (failures - 1).min(10)).min(DELAY_MAX),
        };
        Begin::Attempt {
            attempt: peer.attempt,
            stop: peer.stop.clone(),
            delay: delay / 2 + jitter(delay / 2),
        }
    }

    /// The link of this attempt is up; false if a newer attempt has begun.
    fn is_up(&self, node: NodeId, attempt: u64, link: Arc<Writer>, hello: Arc<Hello>) -> bool {
        let mut peers = self.lock();
        let Some(peer) = peers.get_mut(&node).filter(|peer| peer.attempt == attempt) else {
            return false;
        };
        peer.state = LinkState::Up { link, hello, since: Instant::now() };
        true
    }

    /// The link of this attempt is down, or could not be made; none if a newer attempt has begun,
    /// else whether to warn.
    fn is_down(&self, node: NodeId, attempt: u64) -> Option<bool> {
        let mut peers = self.lock();
        let peer = peers.get_mut(&node).filter(|peer| peer.attempt == attempt)?;
        let was_steady =
            matches!(&peer.state, LinkState::Up { since, .. } if since.elapsed() >= STEADY);
        peer.failures = if was_steady { 0 } else { peer.failures.saturating_add(1) };
        peer.state = LinkState::Down;
        let warn =
            peer.failures > 1 && peer.warned.is_none_or(|warned| warned.elapsed() >= WARN_INTERVAL);
        if warn {
            peer.warned = Some(Instant::now());
        }
        Some(warn)
    }
}

/// Encode a message into its place; false if it cannot be sent.
pub(crate) fn fill(place: Place, message: &Message, flush: Flush) -> bool {
    // Outside of every lock: a process can have megabytes.
    let frame = match message.to_frame() {
        Ok(frame) => frame,
        Err(unfit) => {
            tracing::error!(%unfit, "dropped a message that no node would take");
            return false;
        }
    };
    // A link that is full ends by itself.
    !matches!(place.fill(frame, flush), Err(Full))
}

enum Begin {
    UnderWay,
    IsUp(Arc<Hello>),
    Attempt { attempt: u64, stop: CancellationToken, delay: Duration },
}

/// Up to `most`, evenly: nodes that lost the same peer do not all come back at once.
fn jitter(most: Duration) -> Duration {
    let mut byte = [0];
    // Without a random byte there is no jitter, which is no harm.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut byte);
    most.mul_f64(f64::from(byte[0]) / 255.0)
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    fn attempt(links: &States) -> (u64, Duration) {
        match links.begin(NodeId(1), 1) {
            Begin::Attempt { attempt, delay, .. } => (attempt, delay),
            _ => panic!("no attempt"),
        }
    }

    fn hello() -> Hello {
        Hello {
            protocol: izna_proto::PROTOCOL,
            cluster: izna_proto::ClusterId(1),
            node: NodeId(1),
            incarnation: 1,
            name: "one".to_string(),
            peer_port: 1,
            traits: izna_proto::Traits::default(),
            advertise: None,
            features: Vec::new(),
        }
    }

    /// The other end of the link that is up then.
    fn up(links: &States, attempt: u64) -> DuplexStream {
        let (here, there) = duplex(64);
        let link = Arc::new(Writer::new(here));
        assert!(links.is_up(NodeId(1), attempt, link, Arc::new(hello())));
        there
    }

    /// If this fails, a node that cannot be reached is dialled ten times a second by everyone.
    #[test]
    fn attempts_are_delayed_after_failures() {
        let links = States::default();
        let (first, delay) = attempt(&links);
        assert_eq!(delay, Duration::ZERO);
        assert!(matches!(links.begin(NodeId(1), 1), Begin::UnderWay));
        assert_eq!(links.is_down(NodeId(1), first), Some(false));
        let mut last = Duration::ZERO;
        for failures in 1..20u32 {
            let (number, delay) = attempt(&links);
            let full = DELAY_MIN.saturating_mul(1 << (failures - 1).min(10)).min(DELAY_MAX);
            assert!(delay >= full / 2 && delay <= full, "{delay:?} after {failures}");
            assert_eq!(links.is_down(NodeId(1), number), Some(failures == 1));
            last = delay;
        }
        assert!(last >= DELAY_MAX / 2);
    }

    /// If this fails, the end of an old link is taken for the end of the new one.
    #[test]
    fn an_old_attempt_says_nothing() {
        let links = States::default();
        let (first, _) = attempt(&links);
        let _other = up(&links, first);
        assert!(matches!(links.begin(NodeId(1), 1), Begin::IsUp(_)));
        let Begin::Attempt { attempt: second, .. } = links.begin(NodeId(1), 2) else { panic!() };
        assert_eq!(links.is_down(NodeId(1), first), None);
        assert!(links.is_down(NodeId(1), second).is_some());
    }

    /// If this fails, a node that reads slowly is sent ever more.
    #[tokio::test]
    async fn a_full_link_is_closed() {
        let links = States::default();
        let send = |message| {
            links.reserve(NodeId(1)).is_some_and(|place| fill(place, message, Flush::Later))
        };
        assert!(!send(&Message::AskInventory));
        let (attempt, _) = attempt(&links);
        let _other = up(&links, attempt);
        let piece = bytes::Bytes::from(vec![0; 9 << 20]);
        let digest = izna_proto::Digest([0; 32]);
        let large = Message::Artifact { digest, engine: None, offset: 0, length: 9 << 20, piece };
        let fitting = (0..20).take_while(|_| send(&large));
        assert_eq!(fitting.count(), 7);
        let link = links.reserve(NodeId(1)).unwrap().writer().clone();
        let ended = tokio::time::timeout(Duration::from_secs(60), link.run()).await.unwrap();
        assert!(matches!(ended, Ended::Failed(error) if error.to_string().contains("too slowly")));
    }
}
