//! Bytes from strangers, on every listener that a node has.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests say what is wrong by panicking"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use izna_bench::{Cluster, Node, Options};
use izna_proto::{BEACON_BYTES, BEACON_MAGIC, BULLETIN_MAGIC};
use izna_tests_cluster::echo;

const ROUNDS: u64 = 40;

/// Bytes that are the same in every run.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

/// What is sent: noise alone, and noise after what makes a listener go on reading.
fn shapes() -> Vec<Vec<u8>> {
    let starts: [&[u8]; 7] = [
        b"",
        b"GET /echo HTTP/1.1\r\nhost: localhost\r\n",
        b"POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999999999999999999999\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nfffffffff\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        // A TLS 1.2 record that says it is a hello.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\x00\x00\x10",
    ];
    let rounds = (0..ROUNDS).zip(starts.iter().cycle());
    rounds
        .map(|(seed, start)| [start, &noise(seed + 1, 700 + 97 * seed as usize)[..]].concat())
        .collect()
}

fn tcp(address: SocketAddr) {
    for bytes in shapes() {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // The other side may close while this one still writes: that is an answer too.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

fn udp(address: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (seed, bytes) in shapes().iter().enumerate() {
        let _ = socket.send_to(bytes, address);
        // What a beacon and a bulletin begin with, and then not; a beacon of the right length.
        for start in [BEACON_MAGIC, BULLETIN_MAGIC] {
            for length in [60 + seed, BEACON_BYTES - start.len()] {
                let rest = noise((seed + 99) as u64, length);
                let _ = socket.send_to(&[&start[..], &rest].concat(), address);
            }
        }
    }
}

fn warnings(node: &Node) -> usize {
    node.log().lines().filter(|line| line.contains("WARN")).count()
}

/// If this fails, anybody who reaches a port can end a node, or fill its disk with log lines.
#[test]
fn noise_on_every_listener_changes_nothing() {
    let cluster = Cluster::start(Options::nodes(&["a", "b"])).unwrap();
    cluster.deploy(&cluster.app("echo", &echo(&["b"])).unwrap(), &[]).unwrap();
    let addresses = cluster.node("a").unwrap().addresses().unwrap();
    let group: SocketAddr = cluster.multicast().parse().unwrap();

    tcp(addresses.gateway);
    tcp(addresses.manage);
    tcp(addresses.peer);
    udp(addresses.peer);
    udp(group);

    let response = cluster.node("a").unwrap().post("/echo", b"well").unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "well"));
    cluster.wait_linked().unwrap();
    for node in cluster.nodes() {
        assert!(!node.log().contains("panicked"), "{}", node.log());
    }
    let node = cluster.node("a").unwrap();
    node.wait_log(&["WARN", "refused a connection"]).unwrap();
    node.wait_log(&["WARN", "beacon"]).unwrap();
    // Hundreds of bad messages are a few lines.
    assert!(warnings(node) < 12, "{} warnings: {}", warnings(node), node.log());
}
