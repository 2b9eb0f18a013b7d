//! How nodes find each other, and what they say when they do not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests say what is wrong by panicking"
)]

use izna_bench::{Cluster, Discovery, Options};
use izna_tests_cluster::echo;

/// If this fails, Izna needs a network with multicast.
#[test]
fn seeds_form_a_cluster_without_multicast() {
    let options = Options { discovery: Discovery::Seeds, ..Options::nodes(&["a", "b", "c"]) };
    // Each was told of the first only; the start waits until all see all.
    let cluster = Cluster::start(options).unwrap();
    cluster.deploy(&cluster.app("echo", &echo(&["c"])).unwrap(), &[]).unwrap();
    let response = cluster.node("b").unwrap().post("/echo", b"hello").unwrap();
    assert_eq!((response.text().as_str(), response.nodes()), ("hello", vec!["c".to_owned()]));
}

/// If this fails, a node that is cut off looks like one that is well.
#[test]
fn a_node_that_hears_nobody_says_so() {
    let cluster = Cluster::start(Options::nodes(&[])).unwrap();
    let identity = cluster.identity("x").unwrap();
    let mut launch = cluster.launch("x", &identity).unwrap();
    let at = launch.arguments.iter().position(|argument| argument == "--multicast").unwrap() + 1;
    launch.arguments[at] = "none".to_owned();
    launch.arguments.extend(["--seed".to_owned(), "127.0.0.1:1".to_owned()]);
    let mut node = izna_bench::Node::start("x", cluster.folder(), launch).unwrap();
    node.wait_ready().unwrap();
    node.wait_log(&["WARN", "no beacon was heard", "127.0.0.1:1"]).unwrap();
    cluster.wait_linked().unwrap();
}
