//! Nodes that die, pause, leave and come while there is work for sixteen connections.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests say what is wrong by panicking"
)]

use std::time::{Duration, Instant};

use izna_bench::{Cluster, Load, Options, Plan, Report, Response, wait};
use izna_tests_cluster::{MISBEHAVE, call, echo, error};
use serde_json::json;

const CONNECTIONS: usize = 16;
const BIN: Duration = Duration::from_millis(100);
const BEACON_INTERVAL: Duration = Duration::from_millis(100);
/// TCP, TLS, inventory, and a machine whose two cores are full.
const LINK_SETUP: Duration = Duration::from_millis(400);

/// Three nodes; `a` is the gateway, `holders` do the work.
fn cluster(holders: &[&str]) -> Cluster {
    let cluster = Cluster::start(Options::nodes(&["a", "b", "c"]).alone()).unwrap();
    cluster.deploy(&cluster.app("echo", &echo(holders)).unwrap(), &[]).unwrap();
    cluster
}

fn load(cluster: &Cluster, path: &str) -> Load {
    let address = cluster.node("a").unwrap().addresses().unwrap().gateway;
    Load::start(Plan { bin: BIN, ..Plan::get(address, path, CONNECTIONS) }).unwrap()
}

/// Wait until each of `nodes` has run steps in the bins from `first` on.
fn wait_work(load: &Load, nodes: &[&str], first: usize) {
    let what = format!("{nodes:?} to work");
    let works = |report: &Report| nodes.iter().all(|node| report.steps_of(node, first) > 20);
    let found = wait::until(&what, || works(&load.report()).then_some(()));
    found.unwrap_or_else(|error| panic!("{error:#}: {:?}", load.report().bins));
}

/// Wait until `count` bins after `first` are full.
fn wait_bins(load: &Load, first: usize, count: usize) {
    wait::until("time to pass", || (load.bin() > first + count).then_some(())).unwrap();
}

fn done(report: &Report, from: usize, to: usize) -> u64 {
    report.bins.iter().take(to).skip(from).map(|bin| bin.done).sum()
}

fn assert_no_failure(report: &Report) {
    assert_eq!(report.failed(), 0, "{:?}: {:?}", report.failures, report.first_failure);
}

/// If this fails, a dead node takes requests along, leaves a hole in the service, or stays out.
#[test]
fn a_killed_node_is_missed_by_nobody_and_comes_back() {
    let mut cluster = cluster(&["b", "c"]);
    let load = load(&cluster, "/walk?n=3");
    wait_work(&load, &["b", "c"], 0);
    wait_bins(&load, load.bin(), 15);

    let killed = load.bin();
    cluster.node_mut("b").unwrap().kill().unwrap();
    wait_bins(&load, killed, 21);
    let report = load.report();
    let before = done(&report, killed - 10, killed);
    let after = done(&report, killed + 11, killed + 21);
    println!("requests in the second before the kill {before}, in the second one after {after}");
    assert!(after * 10 >= before * 7, "{:?}", report.bins);

    let node = cluster.node_mut("b").unwrap();
    node.restart().unwrap();
    node.wait_ready().unwrap();
    let (ready, bin) = (Instant::now(), load.bin());
    let works = || (load.report().steps_of("b", bin) > 0).then_some(());
    wait::until("b to work again", works).unwrap();
    let took = ready.elapsed();
    println!("b works {took:?} after it was ready");
    assert!(took < BEACON_INTERVAL * 2 + LINK_SETUP, "{took:?}");
    assert_no_failure(&load.end().unwrap());
}

/// If this fails, a node that only pauses costs requests, or is never used again.
#[test]
fn a_paused_node_is_avoided_and_used_again() {
    let cluster = cluster(&["b", "c"]);
    let load = load(&cluster, "/walk?n=3");
    wait_work(&load, &["b", "c"], 0);

    cluster.node("b").unwrap().freeze().unwrap();
    let frozen = load.bin();
    wait_bins(&load, frozen, 20);
    let served = done(&load.report(), frozen + 10, frozen + 20);
    cluster.node("b").unwrap().thaw().unwrap();
    assert!(served > 0, "nothing was served in the second second of the pause");
    wait_work(&load, &["b"], load.bin());
    assert_no_failure(&load.end().unwrap());
}

/// If this fails, a cluster cannot grow under load, or a new node needs more than its identity.
#[test]
fn a_node_added_under_load_takes_work() {
    let mut cluster = cluster(&[]);
    let load = load(&cluster, "/walk?n=50");
    wait_work(&load, &["a"], 0);
    cluster.add_node("d").unwrap();
    let bin = load.bin();
    wait_work(&load, &["d"], bin);
    assert_no_failure(&load.end().unwrap());
}

/// If this fails, a node cannot be taken out for maintenance while the service runs.
#[test]
fn a_node_that_is_told_to_end_hands_over_and_ends_well() {
    let mut cluster = cluster(&["b", "c"]);
    let load = load(&cluster, "/walk?n=20");
    wait_work(&load, &["b", "c"], 0);
    let node = cluster.node_mut("b").unwrap();
    node.terminate().unwrap();
    let status = node.wait_exit().unwrap();
    assert_eq!(status.code(), Some(0), "{}", node.log());
    let bin = load.bin();
    wait_work(&load, &["c"], bin + 1);
    let report = load.end().unwrap();
    assert_no_failure(&report);
    assert_eq!(report.steps_of("b", bin + 1), 0);
}

/// If this fails, a gateway that is told to end drops the requests that it had taken.
#[test]
fn a_gateway_that_is_told_to_end_answers_first() {
    let mut cluster = cluster(&["c"]);
    let address = cluster.node("b").unwrap().addresses().unwrap().gateway;
    let slow = std::thread::spawn(move || izna_bench::http::get(address, "/walk?n=5000"));
    let busy = || (cluster.node("c").ok()?.metric("izna_steps_total").ok()? > 100).then_some(());
    wait::until("the request to be in work", busy).unwrap();
    let node = cluster.node_mut("b").unwrap();
    node.terminate().unwrap();
    let response = slow.join().unwrap().unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "5000"));
    assert_eq!(node.wait_exit().unwrap().code(), Some(0), "{}", node.log());
}

/// If this fails, an app cannot be changed while it is used.
#[test]
fn a_new_revision_under_load_fails_nobody() {
    let cluster = cluster(&[]);
    let load = load(&cluster, "/walk?n=20");
    wait_work(&load, &["a"], 0);

    let route = "\n[[route]]\npath = \"/new\"\ncomponent = \"echo\"\nfunction = \"echo\"\n";
    let manifest = (echo(&[]) + route).replace("GUESTS/echo.wasm", "echo2.wasm");
    let app = cluster.app("echo2", &manifest).unwrap();
    cluster.variant(&app, "echo", "echo2").unwrap();

    assert_eq!(cluster.node("c").unwrap().get("/new").unwrap().status, 404);
    cluster.deploy(&app, &[]).unwrap();
    for name in ["a", "b", "c"] {
        let new = || cluster.node(name).ok()?.get("/new").ok().filter(|r| r.status == 200);
        wait::until("the new revision", new).unwrap();
    }
    let bin = load.bin();
    wait_work(&load, &["a"], bin + 1);
    assert_no_failure(&load.end().unwrap());
}

/// If this fails, a request that must not run twice is run twice, or its client is told a lie.
#[test]
fn a_lost_post_is_unknown_and_a_lost_get_runs_again() {
    let mut cluster = cluster(&["b"]);
    let address = cluster.node("a").unwrap().addresses().unwrap().gateway;
    let ask = move |method: &'static str| {
        let headers = [("connection", "close")];
        let request = izna_bench::http::request(method, "/walk?n=40000", &headers, &[]);
        std::thread::spawn(move || izna_bench::http::exchange(address, &request).unwrap())
    };
    let (post, get) = (ask("POST"), ask("GET"));
    let busy = || {
        let processes = cluster.node("b").ok()?.manage("/v1/processes").ok()?;
        (processes.as_array()?.len() >= 2).then_some(())
    };
    wait::until("both to be in work", busy).unwrap();
    let node = cluster.node_mut("b").unwrap();
    node.kill().unwrap();
    let post = post.join().unwrap();
    assert_eq!(post.status, 502, "{}", post.text());
    assert!(post.text().contains("unknown"), "{}", post.text());
    node.restart().unwrap();
    node.wait_ready().unwrap();
    let get = get.join().unwrap();
    assert_eq!((get.status, get.text().as_str()), (200, "40000"));
}

/// If this fails, a client waits longer than the app's author allowed.
#[test]
fn a_request_ends_at_its_deadline() {
    let cluster = Cluster::start(Options::nodes(&["a"])).unwrap();
    let route = "\n[[route]]\npath = \"/slow\"\ncomponent = \"echo\"\nfunction = \"walk\"\n\
                 deadline_ms = 300\n";
    cluster.deploy(&cluster.app("echo", &(echo(&[]) + route)).unwrap(), &[]).unwrap();
    let begun = Instant::now();
    let response = cluster.node("a").unwrap().get("/slow?n=99000").unwrap();
    let took = begun.elapsed();
    assert_eq!(response.status, 504, "{}", response.text());
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(2), "{took:?}");
}

/// If this fails, a full cluster makes all its clients wait, or drops what it had taken.
#[test]
fn a_full_cluster_refuses_at_once_and_finishes_what_it_took() {
    let options = Options::nodes(&["a"]).alone().arguments(&["--cores", "1"]);
    let cluster = Cluster::start(options).unwrap();
    cluster.deploy(&cluster.app("misbehave", MISBEHAVE).unwrap(), &[]).unwrap();
    let node = cluster.node("a").unwrap();
    let spin = |millions: u64| call(node, "misbehave", "spin_ms", json!([millions])).unwrap();
    // What a step takes is learned from steps, by the cluster too.
    let elapsed = |response: Response| response.json().unwrap()["elapsed_us"].as_u64().unwrap();
    let millions = 100 * 100_000 / (0..3).map(|_| elapsed(spin(100))).min().unwrap();
    (0..20).for_each(|_| assert_eq!(spin(millions).status, 200));

    let answers = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..60).map(|_| scope.spawn(|| spin(millions))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let (done, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|response| response.status == 200);
    println!("{} of 60 were done, {} refused", done.len(), refused.len());
    assert!(done.len() >= 5 && refused.len() >= 5);
    for response in refused {
        assert_eq!(response.status, 503, "{}", response.text());
        assert_eq!(error(&response).unwrap().0, "busy");
        let retry = response.header("retry-after").and_then(|text| text.parse::<u32>().ok());
        assert!(retry.is_some_and(|seconds| seconds >= 1), "{response:?}");
        // At once: it never waited in a queue, however slow this machine is.
        let timing = response.header("server-timing").unwrap_or_default();
        assert!(timing.starts_with("queue;dur=0.000, run;dur=0.000"), "{timing}");
    }
    assert_eq!(spin(millions).status, 200);
}
