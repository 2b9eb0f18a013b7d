//! A node beside a peer that is played by the test, message by message.

use std::{path::Path, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use izna_proto::{Beacon, Load, Message, NodeId, Wire, ZoneId};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::*;
use crate::{
    Authority, Identity,
    datagrams::Seal,
    handshake::{Frames, dial, frames, hear_hello, say_hello},
    identity::zone_id,
    own::Own,
    tls,
};

const PATIENCE: Duration = Duration::from_secs(60);
const PIECE_BYTES: usize = 256 << 10;

/// A node that was started, alone.
async fn node(identity: Identity, place: &Path) -> Node {
    let mut config = NodeConfig::new(identity, place.join("data"));
    config.multicast = None;
    config.threads = Some(1);
    config.runtime.steps_max = 64;
    config.tune = Some(Box::new(|core| {
        core.cores = 1;
        core.slots_max = 4;
        core.sliced_max = 16;
    }));
    Node::start(config).await.unwrap()
}

/// A peer that the test plays.
struct Played {
    own: Arc<Own>,
    tls: tls::Configs,
    listener: TcpListener,
    seal: Seal,
}

impl Played {
    async fn new(identity: Identity) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = Own {
            name: identity.name.clone(),
            node: identity.node,
            cluster: identity.cluster,
            incarnation: 1,
            traits: izna_proto::Traits::default(),
            zone: zone_id(identity.cluster, izna_proto::Traits::default().zone_name()),
            address: listener.local_addr().unwrap(),
            advertise: None,
        };
        let (tls, seal) = (tls::configs(&identity).unwrap(), Seal::new(&identity.beacon_key));
        Self { own: Arc::new(own), tls, listener, seal }
    }

    /// Send beacons to a node for as long as the test lasts.
    async fn beacons(&self, to: std::net::SocketAddr) {
        let Own { node, zone, address, .. } = &*self.own;
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for sequence in 1.. {
            let beacon = beacon(*node, *zone, address.port(), sequence);
            socket.send_to(&self.seal.beacon(&beacon), to).await.unwrap();
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The next connection of the node to here, greeted; and whether it is a bulk connection.
    async fn accept(&self) -> (Frames<TlsStream<TcpStream>>, bool) {
        let (stream, _) = self.listener.accept().await.unwrap();
        let stream = TlsAcceptor::from(self.tls.server.clone()).accept(stream).await.unwrap();
        let session = stream.get_ref().1;
        let is_bulk = session.alpn_protocol() == Some(tls::BULK);
        let proved = tls::peer(session.peer_certificates(), self.own.cluster).unwrap();
        let mut frames = frames(stream);
        hear_hello(&mut frames, &proved).await.unwrap();
        say_hello(&mut frames, &self.own).await.unwrap();
        (frames, is_bulk)
    }
}

fn beacon(node: NodeId, zone: ZoneId, peer_port: u16, sequence: u64) -> Beacon {
    let load = Load { accepting: true, capacity_milli: 1000, ..Load::default() };
    Beacon { zone, node, incarnation: 1, sequence, peer_port, load, epoch: 0 }
}

/// If this fails, an acknowledgement is not sent before the artifacts that were asked for earlier.
#[tokio::test]
async fn no_message_waits_behind_an_artifact() {
    let place = tempfile::tempdir().unwrap();
    let authority = Authority::create(&place.path().join("authority"), "test").unwrap();
    let identity = |name| {
        Identity::load(&authority.issue(name).unwrap().write(place.path()).unwrap()).unwrap()
    };
    let node = node(identity("a"), place.path()).await;
    let peer = Played::new(identity("b")).await;
    let content = vec![7; 16 * PIECE_BYTES];
    let digest = node.parts.store.get().unwrap().put(&content).unwrap();

    let play = async {
        let (mut heard, is_bulk) = peer.accept().await;
        assert!(!is_bulk, "a link comes first");
        let dialled = dial(peer.tls.client.clone(), &peer.own, node.id(), node.address()).await;
        let (mut link, _) = dialled.unwrap();
        for piece in 0..16 {
            let offset = piece * PIECE_BYTES as u64;
            let ask = Message::AskArtifact { digest, engine: None, offset };
            link.send(ask.to_bytes()).await.unwrap();
        }
        // Nothing of what comes over the bulk connection is read until the node has answered a
        // message that it was sent after.
        let (mut bulk, is_bulk) = peer.accept().await;
        assert!(is_bulk);
        link.send(Message::Probe { load: Load::default() }.to_bytes()).await.unwrap();
        loop {
            let frame = heard.next().await.unwrap().unwrap();
            match Message::from_bytes(frame.freeze()).unwrap() {
                Message::Alive { .. } => break,
                Message::Artifact { .. } => panic!("an artifact before the answer"),
                _ => {}
            }
        }
        for piece in 0..16 {
            let frame = bulk.next().await.unwrap().unwrap();
            let message = Message::from_bytes(frame.freeze()).unwrap();
            let Message::Artifact { offset, length, piece: bytes, .. } = message else {
                panic!("{message:?} over a bulk connection");
            };
            assert_eq!((offset, length), (piece * PIECE_BYTES as u64, content.len() as u64));
            assert_eq!(bytes, content[..PIECE_BYTES]);
        }
        // And nothing else may carry one.
        link.send(
            Message::Artifact { digest, engine: None, offset: 0, length: 0, piece: Bytes::new() }
                .to_bytes(),
        )
        .await
        .unwrap();
        assert!(link.next().await.is_none_or(|frame| frame.is_err()), "the link goes on");
    };
    tokio::select! {
        () = peer.beacons(node.address()) => {}
        played = timeout(PATIENCE, play) => played.unwrap(),
    }
    node.shutdown().await;
}

/// If this fails, a node that has lost a part of itself says that it is ready, or not why it ends.
#[tokio::test]
async fn a_failed_task_ends_the_node_with_a_reason() {
    let place = tempfile::tempdir().unwrap();
    let authority = Authority::create(&place.path().join("authority"), "test").unwrap();
    let path = authority.issue("a").unwrap().write(place.path()).unwrap();
    let node = node(Identity::load(&path).unwrap(), place.path()).await;
    assert!(node.is_ready());
    node.parts.driver.tasks.supervise("effects", async { panic!("out of order") });
    let why = timeout(PATIENCE, node.stopped()).await.unwrap();
    assert_eq!(why.as_deref(), Some("the task \"effects\" panicked: out of order"));
    assert!(!node.is_ready());
    timeout(PATIENCE, node.shutdown()).await.unwrap();

    let node = self::node(Identity::load(&path).unwrap(), place.path()).await;
    let driver = node.parts.driver.clone();
    let panics = move || driver.look(|_| -> () { panic!("one and one are three") });
    assert!(spawn_blocking(panics).await.is_err());
    let why = timeout(PATIENCE, node.stopped()).await.unwrap().unwrap();
    assert!(why.contains("contradiction"), "{why}");
    assert!(node.status().is_none());
    timeout(PATIENCE, node.shutdown()).await.unwrap();
}
