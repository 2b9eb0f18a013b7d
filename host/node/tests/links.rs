//! How nodes find each other, lose each other, and keep others out; over real sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{io::ErrorKind, time::Duration};

use common::{Cluster, linked, live, until};
use izna_node::{Error, NetError, Node, PeerState};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

/// If this fails, a network without multicast has no cluster.
#[tokio::test]
async fn one_seed_makes_a_cluster() {
    let cluster = Cluster::new();
    let a = cluster.start("a", &[]).await;
    let b = cluster.start("b", &[&a]).await;
    let c = cluster.start("c", &[&a]).await;
    linked(&[&a, &b, &c]).await;
    let seen = b.status().unwrap();
    let names: Vec<_> = seen.peers.iter().map(|peer| &*peer.status.name).collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(seen.peers[1].address, Some(c.address()));
    assert_eq!(b.name_of(c.id()).as_deref(), Some("c"));
    for node in [a, b, c] {
        assert!(node.is_ready());
        node.shutdown().await;
    }
}

/// If this fails, nodes on one network need to be told of each other.
#[tokio::test]
async fn multicast_makes_a_cluster() {
    let cluster = Cluster::with_multicast();
    let a = cluster.start("a", &[]).await;
    until("the node hears itself", || a.is_ready()).await;
    assert_eq!(live(&a), 0);
    let b = cluster.start("b", &[]).await;
    linked(&[&a, &b]).await;
    a.shutdown().await;
    b.shutdown().await;
}

/// If this fails, two clusters on one network mix.
#[tokio::test]
async fn clusters_do_not_mix() {
    let ours = Cluster::with_multicast();
    let theirs = Cluster { multicast: ours.multicast, ..Cluster::new() };
    let a = ours.start("a", &[]).await;
    let stranger = theirs.start("b", &[&a]).await;
    let b = ours.start("b", &[&stranger]).await;
    linked(&[&a, &b]).await;
    assert_eq!(stranger.status().unwrap().peers.len(), 0);
    assert_eq!(a.status().unwrap().peers.len(), 1);
    for node in [a, b, stranger] {
        node.shutdown().await;
    }
}

/// If this fails, a node that restarts stays outside, or a dead one inside.
#[tokio::test]
async fn a_node_comes_back() {
    let cluster = Cluster::new();
    let a = cluster.start("a", &[]).await;
    let b = cluster.start("b", &[&a]).await;
    linked(&[&a, &b]).await;
    let before = b.status().unwrap().incarnation;
    b.shutdown().await;
    until("the node is missed", || live(&a) == 0).await;
    let b = cluster.start("b", &[&a]).await;
    linked(&[&a, &b]).await;
    let seen = a.status().unwrap().peers.remove(0).status;
    assert!(seen.incarnation > before && seen.state == PeerState::Live);
    a.shutdown().await;
    b.shutdown().await;
}

/// If this fails, bytes from anywhere stop a node, or it says something to strangers.
#[tokio::test]
async fn strangers_get_nothing() {
    let cluster = Cluster::new();
    let a = cluster.start("a", &[]).await;
    let b = cluster.start("b", &[&a]).await;
    linked(&[&a, &b]).await;
    let random: Vec<u8> =
        (0..50_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    // What TLS begins with, then nonsense.
    let half = [&[0x16, 3, 1, 0xff, 0xff][..], &random].concat();
    let greetings: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\0\0\0\x04\x81\0", &random, &half, &[0x16]];
    for greeting in greetings {
        let mut stream = TcpStream::connect(a.address()).await.unwrap();
        let mut answer = Vec::new();
        // The other side may close before all is written.
        let _ = stream.write_all(greeting).await;
        let _ = stream.shutdown().await;
        match stream.read_to_end(&mut answer).await {
            // An alert of TLS at most: record type 21, seven bytes.
            Ok(_) => {
                assert!(answer.is_empty() || answer[0] == 21 && answer.len() == 7, "{answer:x?}")
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for length in [0, 1, 12, 28, 100, 1200, 1201, 50_000] {
        socket.send_to(&random[..length], a.address()).await.unwrap();
    }
    let before = a.status().unwrap().counters.beacons;
    until("beacons go on", || a.status().unwrap().counters.beacons > before + 3).await;
    assert_eq!((live(&a), a.status().unwrap().peers.len()), (1, 1));
    a.shutdown().await;
    b.shutdown().await;
}

/// If this fails, silent connections use up the node's sockets.
#[tokio::test]
async fn silent_connections_are_bounded() {
    let cluster = Cluster::new();
    let a = cluster.start("a", &[]).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(a.address()).await.unwrap());
    }
    // Those over the limit are closed at once, the others after the time of a handshake.
    let mut closed = 0;
    for stream in &mut silent {
        let ended = stream.read_u8().await.unwrap_err().kind();
        assert!(
            matches!(ended, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
            "{ended:?}"
        );
        closed += 1;
    }
    assert_eq!(closed, 40);
    let b = cluster.start("b", &[&a]).await;
    linked(&[&a, &b]).await;
    a.shutdown().await;
    b.shutdown().await;
}

/// If this fails, an operator is not told why a node does not start, or a failed start leaves
/// something behind.
#[tokio::test]
async fn what_is_in_use_is_told() {
    let cluster = Cluster::new();
    let a = cluster.start("a", &[]).await;
    let mut config = cluster.config("b", &[]);
    config.listen = a.address();
    let refused = Node::start(config).await.unwrap_err();
    assert!(matches!(refused, Error::Net(NetError::InUse { .. })), "{refused}");
    let refused = Node::start(cluster.config("a", &[])).await.unwrap_err();
    assert!(refused.to_string().contains("is in use by process"), "{refused}");
    for seed in ["", "a", "a:", ":1", "a:0", "a:70000"] {
        let mut config = cluster.config("b", &[]);
        config.seeds = vec![seed.to_string()];
        let refused = Node::start(config).await.unwrap_err();
        assert!(matches!(refused, Error::Seed { .. }), "{seed}: {refused}");
    }
    a.shutdown().await;
    // All is free again.
    let mut config = cluster.config("a", &[]);
    config.listen = a.address();
    let again = Node::start(config).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(10), a.stopped()).await.is_ok());
    again.shutdown().await;
}
