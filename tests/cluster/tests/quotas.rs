//! Nodes that may use a share of a core: what they say of themselves, and that work is shared.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests say what is wrong by panicking"
)]

use izna_bench::quota::Quotas;
use izna_bench::timetable::gateways;
use izna_bench::{Cluster, Load, Network, Options, Plan, skipped, wait};
use izna_tests_cluster::echo;

/// A cluster whose nodes may use a quarter of a core each, on a bridge where there can be one; none
/// where there are no quotas.
fn cluster(names: &[&str]) -> Option<Cluster> {
    skipped::without("CPU quotas", Quotas::new())?;
    let network = Network::best();
    let options = Options { cores: Some(0.25), network, ..Options::nodes(names) };
    Some(Cluster::start(options).unwrap())
}

/// If this fails, a node in a container takes itself for the whole machine: others send it too
/// much.
#[test]
fn a_quota_is_the_capacity() {
    let Some(cluster) = cluster(&["a", "b"]) else { return };
    for node in cluster.nodes() {
        let nodes = node.manage("/v1/nodes").unwrap();
        let capacity = |node: &serde_json::Value| node["load"]["capacity_milli"].as_u64();
        let told: Vec<_> = nodes.as_array().unwrap().iter().map(capacity).collect();
        assert_eq!(told, [Some(250), Some(250)], "{nodes}");
        node.wait_log(&["node started", "threads=1"]).unwrap();
    }
}

/// If this fails, nodes of a bench cluster do not reach each other, or one does all the work.
#[test]
fn nodes_with_quotas_share_the_work() {
    let Some(cluster) = cluster(&["a", "b"]) else { return };
    cluster.deploy(&cluster.app("echo", &echo(&[])).unwrap(), &[]).unwrap();
    let [first, ..] = gateways(&cluster, &[])[..] else { unreachable!("two nodes") };
    let plan = Plan { place: cluster.clients(), ..Plan::get(first, "/walk?n=50", 16) };
    let load = Load::start(plan).unwrap();
    let works = |name| load.report().steps_of(name, 0) > 100;
    wait::until("both to work", || (works("a") && works("b")).then_some(())).unwrap();
    let report = load.end().unwrap();
    assert_eq!((report.failed(), report.repeated), (0, 0), "{:?}", report.first_failure);
}
