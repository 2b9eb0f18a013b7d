//! What a node refuses to start with: one clear sentence, an exit code, and nothing changed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests say what is wrong by panicking"
)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use izna_bench::{Cluster, Options};

/// Run a node that should not start; how it ended.
fn refused(cluster: &Cluster, identity: &Path, changes: &[(&str, &str)]) -> (i32, String) {
    let mut arguments = cluster.launch("x", identity).unwrap().arguments;
    for (flag, value) in changes {
        let at = arguments.iter().position(|argument| argument == flag).unwrap() + 1;
        arguments[at] = (*value).to_owned();
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Output { status, stderr, .. } = cluster.izna_output(&words).unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

/// If this fails, an operator does not learn why a node does not start, or it starts and does harm.
#[test]
fn a_node_that_cannot_start_says_why() {
    let mut cluster = Cluster::start(Options::nodes(&["a"])).unwrap();
    let identity = cluster.identity("x").unwrap();
    let folder = cluster.folder().to_path_buf();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let old = folder.join("newer.data");
    copy_data(&folder.join("a.data"), &old);
    let format = fs::read_to_string(old.join("format")).unwrap();
    let word = format.trim_end().trim_end_matches(|char: char| char.is_ascii_digit());
    fs::write(old.join("format"), format!("{word}999\n")).unwrap();
    let not_identity = folder.join("noise");
    fs::write(&not_identity, "not a key\n").unwrap();

    let text = |path: &Path| path.to_string_lossy().into_owned();
    let in_use = text(&folder.join("a.data"));
    let (newer, noise, nowhere) = (text(&old), text(&not_identity), text(&folder.join("none")));
    let cases: [(&[(&str, &str)], &str); 9] = [
        (&[("--listen", &taken)], "in use"),
        (&[("--manage", &taken)], "in use"),
        (&[("--peer", &taken)], "in use"),
        (&[("--data", &in_use)], "in use"),
        (&[("--data", &newer)], "format 999"),
        (&[("--multicast", "10.1.2.3:7000")], "not a multicast address"),
        (&[("--interface", "192.0.2.1")], "192.0.2.1"),
        (&[("--identity", &nowhere)], "none"),
        (&[("--identity", &noise)], "noise"),
    ];
    let mut wrong = Vec::new();
    for (changes, words) in cases {
        let (code, said) = refused(&cluster, &identity, changes);
        let lines = said.lines().filter(|line| line.contains(words)).count();
        if code == 0 || lines == 0 || said.contains("panicked") {
            wrong.push(format!("{changes:?}: exit {code}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cluster.node_mut("a").unwrap().alive());
}

/// A node's data, without what only it may hold.
fn copy_data(source: &Path, target: &Path) {
    fs::create_dir_all(target).unwrap();
    for entry in fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), target.join(entry.file_name())).unwrap();
        }
    }
}

/// If this fails, somebody else's node can be given work, or an operator cannot tell why it is not.
#[test]
fn a_node_of_another_cluster_does_not_join() {
    let other = Cluster::start(Options::nodes(&[])).unwrap();
    let cluster = Cluster::start(Options::nodes(&["a", "b"])).unwrap();
    let identity = other.identity("x").unwrap();
    let mut launch = cluster.launch("x", &identity).unwrap();
    // It hears the others' beacons, and names one of them too.
    let peer = cluster.node("a").unwrap().addresses().unwrap().peer.to_string();
    launch.arguments.extend(["--seed".to_owned(), peer]);
    let mut stranger = izna_bench::Node::start("x", cluster.folder(), launch).unwrap();
    stranger.wait_ready().unwrap();

    stranger.wait_log(&["INFO", "does not have this cluster's beacon key", "do not join"]).unwrap();
    let warned = ["WARN", "does not have this cluster's beacon key", "seeds", "cannot join"];
    cluster.node("a").unwrap().wait_log(&warned).unwrap();
    for node in [&stranger, cluster.node("a").unwrap(), cluster.node("b").unwrap()] {
        let nodes = node.manage("/v1/nodes").unwrap();
        let count = if node.name() == "x" { 1 } else { 2 };
        assert_eq!(nodes.as_array().unwrap().len(), count, "{} sees {nodes}", node.name());
    }
    cluster.wait_linked().unwrap();
}
