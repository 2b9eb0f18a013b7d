//! Processes on real nodes: here, there, and when nodes or clients go away.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Cluster, app, guest, linked, request, until};
use izna_node::{Error, Node};
use izna_proto::{FailureKind, Spread};

/// The arguments `[42]`, and `42`.
const ONE: &[u8] = b"\x81\x18\x2a";
const ANSWER: &[u8] = b"\x18\x2a";

async fn deploy(node: &Node, name: &str, spread: Spread) {
    let (digest, description) = node.admit(guest("echo")).await.unwrap();
    assert!(description.exports.iter().any(|export| export.name.starts_with("izna:process/")));
    let entry = node.deploy(app(name, digest, spread)).await.unwrap();
    assert_eq!(&*entry.name, name);
}

async fn holds(nodes: &[&Node]) {
    let all = || nodes.iter().all(|node| !node.status().unwrap().components.holds.is_empty());
    until("the component is ready", all).await;
}

/// If this fails, a node alone runs nothing, or encodes processes that stay.
#[tokio::test]
async fn a_process_that_stays_is_never_encoded() {
    let cluster = Cluster::new();
    let node = cluster.start("a", &[]).await;
    deploy(&node, "shop", Spread::all()).await;
    holds(&[&node]).await;
    let reply = node.submit(request("shop", "value", ONE)).await;
    assert_eq!(reply.outcome.unwrap().inline(), ANSWER);
    assert_eq!(reply.trail.nodes, [node.id()]);
    // Ten calls and what comes back of each, one after the other.
    let reply = node.submit(request("shop", "hops", b"\x81\x0a")).await;
    assert_eq!(reply.outcome.unwrap().inline(), &b"\x0a"[..]);
    assert_eq!(reply.trail.nodes.len(), 21);
    let status = node.status().unwrap();
    assert_eq!((status.host.process_encoded, status.counters.steps), (0, 22));
    node.shutdown().await;
}

/// If this fails, a brief step on an idle node waits for another thread to wake, or the sockets'
/// thread does the work of all when many come.
#[tokio::test]
async fn the_sockets_thread_runs_one_brief_step_after_each_sleep() {
    let cluster = Cluster::new();
    let node = cluster.start("a", &[]).await;
    deploy(&node, "shop", Spread::all()).await;
    holds(&[&node]).await;
    let lent = || node.status().unwrap().host.lent;
    // How short the steps are must be known first.
    let one_by_one = async {
        while lent() == 0 {
            node.submit(request("shop", "value", ONE)).await.outcome.unwrap();
            // For a timer the thread sleeps.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), one_by_one).await.unwrap();

    let before = lent();
    let all = (0..20).map(|_| node.submit(request("shop", "value", ONE)));
    for reply in futures_util::future::join_all(all).await {
        reply.outcome.unwrap();
    }
    assert!(lent() - before <= 1, "{} of 20", lent() - before);
    node.shutdown().await;
}

/// If this fails, a process does not run where its component is, or its result is lost on the way.
#[tokio::test]
async fn a_process_runs_on_another_node() {
    let cluster = Cluster::with_multicast();
    let a = cluster.start("a", &[]).await;
    let b = cluster.start("b", &[]).await;
    linked(&[&a, &b]).await;
    // Admitted at one node, to be held by the other only: it must take the bytes from there.
    deploy(&a, "shop", Spread::nodes(vec![b.id()])).await;
    holds(&[&b]).await;
    let reply = a.submit(request("shop", "value", ONE)).await;
    assert_eq!(reply.outcome.unwrap().inline(), ANSWER);
    assert_eq!(reply.trail.nodes, [b.id()]);
    assert_eq!(a.status().unwrap().host.process_encoded, 1);
    assert!(a.status().unwrap().components.holds.is_empty());
    let mut table = b.table();
    assert_eq!(table.borrow_and_update().len(), 1);
    b.undeploy("shop").await.unwrap();
    until("the app is gone everywhere", || {
        a.table().borrow().iter().all(|entry| entry.app.is_none())
    })
    .await;
    let reply = a.submit(request("shop", "value", ONE)).await;
    assert_eq!(reply.outcome.unwrap_err().kind, FailureKind::NotFound);
    let again = b.undeploy("shop").await.unwrap_err();
    assert!(matches!(again, Error::NotDeployed { .. }), "{again}");
    a.shutdown().await;
    b.shutdown().await;
}

/// If this fails, a restart forgets what was deployed.
#[tokio::test]
async fn a_restart_forgets_nothing() {
    let cluster = Cluster::new();
    let node = cluster.start("a", &[]).await;
    deploy(&node, "shop", Spread::all()).await;
    node.shutdown().await;
    let stopped = node.submit(request("shop", "value", ONE)).await;
    assert_eq!(stopped.outcome.unwrap_err().message, "the node has stopped");
    let node = cluster.start("a", &[]).await;
    holds(&[&node]).await;
    let reply = node.submit(request("shop", "value", ONE)).await;
    assert_eq!(reply.outcome.unwrap().inline(), ANSWER);
    assert_eq!(node.status().unwrap().host.cache.hits, 1);
    node.shutdown().await;
}

/// If this fails, a node that is to stop takes processes along, or never says that it may.
#[tokio::test]
async fn a_drained_node_is_empty() {
    let cluster = Cluster::new();
    let a = cluster.start("a", &[]).await;
    let b = cluster.start("b", &[&a]).await;
    linked(&[&a, &b]).await;
    deploy(&a, "shop", Spread::all()).await;
    holds(&[&a, &b]).await;
    let mut running: Vec<_> = (0..20)
        .map(|_| {
            let node = b.clone();
            tokio::spawn(async move { node.submit(request("shop", "hops", b"\x81\x18\x64")).await })
        })
        .collect();
    until("processes run", || b.status().unwrap().counters.submitted == 20).await;
    assert!(b.drain(Duration::from_secs(60)).await);
    assert!(!b.is_ready());
    let status = b.status().unwrap();
    assert_eq!((status.held, status.waiting), (0, 0));
    for process in running.drain(..) {
        assert_eq!(process.await.unwrap().outcome.unwrap().inline(), &b"\x18\x64"[..]);
    }
    let refused = b.submit(request("shop", "value", ONE)).await;
    assert!(refused.outcome.is_err());
    a.shutdown().await;
    b.shutdown().await;
}

/// If this fails, a client that goes away leaves its slot behind for good.
#[tokio::test]
async fn a_client_may_go_away() {
    let cluster = Cluster::new();
    let node = cluster.start("a", &[]).await;
    deploy(&node, "shop", Spread::all()).await;
    holds(&[&node]).await;
    let process = node.submit(request("shop", "hops", b"\x81\x19\xff\xff"));
    assert!(tokio::time::timeout(Duration::from_millis(20), process).await.is_err());
    let status = node.status().unwrap();
    assert_eq!((status.waiting, status.counters.abandoned), (0, 1));
    node.shutdown().await;
}

/// If this fails, someone learns only by the first request that a component cannot run.
#[tokio::test]
async fn bad_components_are_refused() {
    let cluster = Cluster::new();
    let node = cluster.start("a", &[]).await;
    let refused = node.admit(&b"<!DOCTYPE html>"[..]).await.unwrap_err().to_string();
    assert!(refused.contains("not a WebAssembly file: it starts with `<!DO`"), "{refused}");
    let unknown = izna_proto::Digest([7; 32]);
    let refused = node.deploy(app("shop", unknown, Spread::all())).await.unwrap_err();
    assert!(matches!(refused, Error::NotAdmitted { .. }), "{refused}");
    assert_eq!(node.table().borrow().len(), 0);
    node.shutdown().await;
}
