//! What the tests of this crate share: a cluster in one process, over real sockets.
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use izna_node::{Authority, Identity, Multicast, NewProcess, Node, NodeConfig, PeerState};
use izna_proto::{App, ComponentSpec, Digest, Limits, Link, Spread};
use tempfile::TempDir;

/// How long anything may take on a machine that does many things at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster's authority, and a place for its nodes.
pub(crate) struct Cluster {
    pub(crate) place: TempDir,
    pub(crate) authority: Authority,
    pub(crate) multicast: Option<Multicast>,
}

impl Cluster {
    /// One without multicast.
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let authority = Authority::create(&place.path().join("authority"), "test").unwrap();
        Self { place, authority, multicast: None }
    }

    /// One with multicast on the loopback interface.
    pub(crate) fn with_multicast() -> Self {
        Self { multicast: Some(multicast()), ..Self::new() }
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let path = self.authority.issue(name).unwrap().write(self.place.path()).unwrap();
        Identity::load(&path).unwrap()
    }

    /// What a node is started with: seeds, or the cluster's multicast.
    pub(crate) fn config(&self, name: &str, seeds: &[&Node]) -> NodeConfig {
        let data = self.place.path().join(name);
        let runtime = izna_runtime::Config { steps_max: 64, ..izna_runtime::Config::default() };
        NodeConfig {
            multicast: self.multicast,
            seeds: seeds.iter().map(|seed| seed.address().to_string()).collect(),
            threads: Some(2),
            runtime,
            tune: Some(Box::new(|core| {
                core.cores = 2;
                core.slots_max = 4;
                core.sliced_max = 16;
            })),
            ..NodeConfig::new(self.identity(name), data)
        }
    }

    pub(crate) async fn start(&self, name: &str, seeds: &[&Node]) -> Node {
        Node::start(self.config(name, seeds)).await.unwrap()
    }
}

/// A group on the loopback interface with a port that nobody uses.
pub(crate) fn multicast() -> Multicast {
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    Multicast { port, ..Multicast::default() }
}

/// Wait until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it did not come about that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How many other nodes are live for a node.
pub(crate) fn live(node: &Node) -> usize {
    let peers = node.status().unwrap().peers;
    peers.iter().filter(|peer| peer.status.state == PeerState::Live).count()
}

/// Wait until each node has links to all others.
pub(crate) async fn linked(nodes: &[&Node]) {
    let others = nodes.len() - 1;
    until("all nodes are linked", || nodes.iter().all(|node| live(node) == others)).await;
}

/// A guest's bytes.
pub(crate) fn guest(name: &str) -> Bytes {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests");
    match std::fs::read(folder.join(format!("{name}.wasm"))) {
        Ok(bytes) => bytes.into(),
        Err(error) => panic!("guest {name}.wasm is not there ({error}): run 'make guests' first"),
    }
}

/// An app of one component that can call itself.
pub(crate) fn app(name: &str, digest: Digest, spread: Spread) -> App {
    let echo: Arc<str> = "echo".into();
    let links = vec![Link { name: echo.clone(), target: echo.clone(), local: false }];
    let limits = Limits::default();
    let component =
        ComponentSpec { name: echo, digest, links, limits, grants: Arc::default(), spread };
    App { name: name.into(), components: vec![component], routes: Vec::new() }
}

/// A request to the echo component of an app.
pub(crate) fn request(app: &str, function: &str, input: &'static [u8]) -> NewProcess {
    NewProcess {
        app: app.into(),
        component: "echo".into(),
        function: function.into(),
        input: input.into(),
        idempotent: true,
        deadline: Duration::from_secs(30),
        traceparent: None,
    }
}
