//! Requests by HTTP: what is served, from where, and what becomes of components that misbehave.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests say what is wrong by panicking"
)]

use izna_bench::{Cluster, Options, shipped};
use izna_tests_cluster::{MISBEHAVE, call, echo, error};
use serde_json::json;

const FRACTION: &str = "/tex?f=%5Cfrac%7Ba%7D%7Bb%7D";

/// If this fails, the demo draws nothing, or draws every formula again on every node.
#[test]
fn a_formula_is_drawn_once_and_remembered_by_all() {
    let cluster = Cluster::start(Options::nodes(&["a", "b", "c"])).unwrap();
    cluster.deploy(&shipped::root().join("components/tex"), &[]).unwrap();

    let drawn = cluster.node("a").unwrap().get(FRACTION).unwrap();
    assert_eq!(drawn.status, 200, "{}", drawn.text());
    assert_eq!(drawn.header("content-type"), Some("image/svg+xml"));
    assert_eq!(drawn.header("x-cache"), Some("miss"));
    assert!(drawn.header("x-izna-process").is_some_and(|id| !id.is_empty()), "{drawn:?}");
    // The cache's step, the renderer's, and the cache's again.
    assert_eq!(drawn.nodes().len(), 3, "{drawn:?}");
    assert_is_fraction(&drawn.text());

    for name in ["a", "b", "c"] {
        let again = cluster.node(name).unwrap().get(FRACTION).unwrap();
        assert_eq!(again.header("x-cache"), Some("hit"), "at {name}: {again:?}");
        assert_eq!(again.body, drawn.body, "at {name}");
        assert_eq!(again.nodes().len(), 1, "at {name}: {again:?}");
    }
    let page = cluster.node("b").unwrap().get("/").unwrap();
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{page:?}");
}

/// A drawing with a numerator, a bar and a denominator, of a size.
fn assert_is_fraction(svg: &str) {
    let document = roxmltree::Document::parse(svg).unwrap();
    let image = document.root_element();
    assert_eq!(image.tag_name().name(), "svg");
    let view: Vec<f64> = image
        .attribute("viewBox")
        .unwrap()
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    assert!(matches!(view[..], [_, _, width, height] if width > 5.0 && height > width), "{view:?}");
    let shapes = ["path", "rect", "line"];
    let drawn = document.descendants().filter(|node| shapes.contains(&node.tag_name().name()));
    assert!(drawn.count() >= 3, "{svg}");
}

/// If this fails, a component must be everywhere, or a client must know where it is.
#[test]
fn a_component_on_one_node_is_reached_from_every_gateway() {
    let cluster = Cluster::start(Options::nodes(&["a", "b", "c"])).unwrap();
    let app = cluster.app("echo", &echo(&["c"])).unwrap();
    cluster.deploy(&app, &[]).unwrap();
    for name in ["a", "b", "c"] {
        let response = cluster.node(name).unwrap().post("/echo", b"hello").unwrap();
        assert_eq!(response.status, 200, "at {name}: {}", response.text());
        assert_eq!(response.text(), "hello");
        assert_eq!(response.nodes(), ["c"], "at {name}");
    }
    for (name, encoded) in [("a", 1), ("b", 1)] {
        let node = cluster.node(name).unwrap();
        assert_eq!(node.metric("izna_migrations_total").unwrap(), 1, "from {name}");
        assert_eq!(node.metric("izna_processes_encoded_total").unwrap(), encoded, "at {name}");
    }
    assert_eq!(cluster.node("c").unwrap().metric("izna_steps_total").unwrap(), 3);
}

/// If this fails, a call between two components of one node costs what a migration costs.
#[test]
fn a_process_that_stays_is_never_encoded() {
    let cluster = Cluster::start(Options::nodes(&["a"])).unwrap();
    let app = cluster.app("echo", &echo(&[])).unwrap();
    cluster.deploy(&app, &[]).unwrap();
    let node = cluster.node("a").unwrap();
    let before = node.metric("izna_steps_total").unwrap();
    let response = node.get("/walk?n=50").unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "50"));
    // The forwarding step, and two more for each call.
    assert!(node.metric("izna_steps_total").unwrap() >= before + 101);
    assert_eq!(node.metric("izna_processes_encoded_total").unwrap(), 0);
    assert_eq!(node.metric("izna_migrations_total").unwrap(), 0);
}

/// If this fails, one bad component takes a node along, or nobody learns what is wrong with it.
#[test]
fn a_component_that_misbehaves_ends_its_step_and_nothing_else() {
    let cluster = Cluster::start(Options::nodes(&["a"])).unwrap();
    for (name, manifest) in [("misbehave", MISBEHAVE), ("echo", &echo(&[]))] {
        cluster.deploy(&cluster.app(name, manifest).unwrap(), &[]).unwrap();
    }
    let node = cluster.node("a").unwrap();
    let mib = 1 << 20;
    let cases = [
        ("spin", json!([]), "limit", "200 ms"),
        ("hog", json!([]), "limit", "64 MiB"),
        ("trap", json!([]), "trapped", "unreachable"),
        ("panic", json!(["on purpose"]), "trapped", "unreachable"),
        ("fail", json!(["in my own words"]), "failed", "in my own words"),
        ("huge", json!([5 * mib]), "limit", "payload limit"),
        ("deep", json!([]), "trapped", "deeper"),
        (
            "bad_cbor",
            json!([]),
            "failed",
            "`bad_cbor` of component `misbehave` is not a CBOR value",
        ),
        ("loop_call", json!([]), "limit", "64"),
        ("call_huge", json!([5 * mib]), "limit", "payload limit"),
        ("call_unlinked", json!([]), "not-found", "nobody"),
        ("keep_huge", json!([5 * mib]), "limit", "payload limit"),
        ("no_such", json!([]), "not-found", "no_such"),
    ];
    let mut wrong = Vec::new();
    for (function, args, code, words) in cases {
        let response = call(node, "misbehave", function, args).unwrap();
        let (found, message) = error(&response).unwrap();
        if response.status < 400 || found != code || !message.contains(words) {
            wrong.push(format!("{function}: {} {found}: {message}", response.status));
        }
        let well = node.post("/echo", b"still here").unwrap();
        assert_eq!(well.text(), "still here", "after {function}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let twice = call(node, "misbehave", "spin_ms", json!([1])).unwrap();
    assert_eq!(twice.status, 200, "{}", twice.text());
}

/// If this fails, nobody can learn from a node's log why a process went where it went.
#[test]
fn each_decision_of_placement_can_be_logged() {
    let options = Options::nodes(&["a", "b"]).arguments(&["--log", "info,placement=debug"]);
    let cluster = Cluster::start(options).unwrap();
    cluster.deploy(&cluster.app("echo", &echo(&["b"])).unwrap(), &[]).unwrap();
    let reply = cluster.node("a").unwrap().get("/echo").unwrap();
    let process = reply.header("x-izna-process").unwrap().to_owned();
    let went = cluster.node("a").unwrap().wait_log(&["placement: placed", &process]).unwrap();
    assert!(went.contains("component=echo why=drawn among the others; 1 others"), "{went}");
    let stays = cluster.node("b").unwrap().wait_log(&["placement: placed", &process]).unwrap();
    assert!(stays.contains("component=echo why="), "{stays}");
}

/// If this fails, a client can make a node read or keep as much as it likes, or gets no clear
/// answer.
#[test]
fn requests_over_a_limit_are_refused_by_name() {
    let cluster = Cluster::start(Options::nodes(&["a"])).unwrap();
    cluster.deploy(&cluster.app("echo", &echo(&[])).unwrap(), &[]).unwrap();
    let node = cluster.node("a").unwrap();
    let long = format!("/echo?q={}", "x".repeat(9 << 10));
    let cases = [
        (node.get("/nowhere").unwrap(), 404),
        (node.get(&long).unwrap(), 414),
        (node.post("/echo", &vec![0; 5 << 20]).unwrap(), 413),
    ];
    for (response, status) in cases {
        assert_eq!(response.status, status, "{}", response.text());
        assert!(!error(&response).unwrap().1.is_empty());
    }
    assert_eq!(node.get("/echo").unwrap().status, 200);
}
