//! Zones of real nodes: two and three, each with a multicast group of its own, and relays with a
//! delay between them. Where it is allowed, each node is in a network namespace of its own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests say what is wrong by panicking"
)]

use std::time::Duration;

use izna_bench::{
    Network, relay, wait,
    zones::{Layout, Zones},
};
use izna_tests_cluster::echo;
use serde_json::{Value, json};

const DELAY: Duration = Duration::from_millis(10);

fn number(told: &Value, key: &str) -> u64 {
    told.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn layout(zones: &[(&str, &[&str])]) -> Layout {
    let mut layout = Layout::new(zones, DELAY);
    layout.options.network = Network::best();
    layout
}

/// If this fails, zones do not find each other, a process does not find its way into the one that
/// holds its component and its end not back, an app or its code does not reach another zone, or the
/// way between zones is not measured as it is.
#[test]
fn a_process_crosses_to_the_zone_that_holds_its_component() {
    let measured = relay::measure([127, 0, 0, 1].into(), DELAY).unwrap();
    let layout = layout(&[("west", &["w1", "w2", "w3"]), ("east", &["e1", "e2", "e3"])]);
    let zones = Zones::start(layout).unwrap();
    // Held by one node of the zone that it is not deployed in.
    let app = zones.cluster().app("echo", &echo(&["e2"])).unwrap();
    zones.deploy("w1", &app).unwrap();
    for gateway in ["w1", "w2", "w3", "e1"] {
        let node = zones.node(gateway).unwrap();
        let ran = wait::until("a reply of the other zone", || {
            let response = node.post("/echo", b"hello").ok()?;
            (response.status == 200).then_some(response)
        });
        let ran = ran.unwrap_or_else(|error| panic!("{gateway}: {error:#}\n{}", node.log()));
        assert_eq!((ran.text().as_str(), ran.nodes()), ("hello", vec!["e2".to_owned()]));
    }
    let crossed: u64 =
        zones.of("west").map(|node| node.metric("izna_crossings_total").unwrap()).sum();
    assert!(crossed >= 3, "{crossed} processes were delivered to another zone");
    // Each node of the west sees of the east one zone, and how far it is, but no node that it
    // would take for one of its own.
    for node in ["w1", "w2", "w3"] {
        let east = zones.seen(node, "east").unwrap();
        let hop = Duration::from_micros(number(&east, "hop_us"));
        assert!(hop >= DELAY && hop < measured * 3, "{node}: {hop:?}, measured {measured:?}");
        let nodes = zones.node(node).unwrap().manage("/v1/nodes").unwrap();
        let near = nodes.as_array().unwrap().iter().filter(|node| node["zone"] == "west");
        assert_eq!(near.count(), 3);
    }
}

/// If this fails, a zone falls silent with the node that speaks for it, or two go on to speak.
#[test]
fn another_node_speaks_when_the_speaker_is_lost() {
    let layout = layout(&[("west", &["w1", "w2"]), ("east", &["e1", "e2"])]);
    let mut zones = Zones::start(layout).unwrap();
    let speaks = |zones: &Zones, node: &str| {
        let own = zones.node(node).unwrap().manage("/v1/zones").unwrap();
        own[0]["speaks"] == true
    };
    let speaker = ["w1", "w2"].into_iter().find(|node| speaks(&zones, node)).unwrap();
    let other = if speaker == "w1" { "w2" } else { "w1" };
    assert!(!speaks(&zones, other));
    zones.node_mut(speaker).unwrap().kill().unwrap();
    wait::until("the other to speak", || speaks(&zones, other).then_some(())).unwrap();
    // What it says is heard: three intervals after the loss the zone is not silent.
    let spoken = |zones: &Zones| zones.node(other).unwrap().metric("izna_bulletins_total").unwrap();
    let before = spoken(&zones);
    wait::until("bulletins of the other", || (spoken(&zones) > before + 3).then_some(())).unwrap();
    wait::until("the east to hear them", || {
        let west = zones.seen("e1", "west").ok()?;
        (number(&west, "silent_ms") < 2000 && number(&west, "doors") == 1).then_some(())
    })
    .unwrap();
    zones.node_mut(speaker).unwrap().restart().unwrap();
    zones.node_mut(speaker).unwrap().wait_ready().unwrap();
    wait::until("the first to speak again", || {
        (speaks(&zones, speaker) && !speaks(&zones, other)).then_some(())
    })
    .unwrap();
}

/// If this fails, zones that have no seed of each other do not meet, or processes cross though there
/// is room at home.
#[test]
fn three_zones_meet_and_keep_their_work() {
    let west: (&str, &[&str]) = ("west", &["w1", "w2"]);
    let layout = layout(&[west, ("east", &["e1", "e2"]), ("north", &["n1", "n2"])]);
    let zones = Zones::start(layout).unwrap();
    let app = zones.cluster().app("echo", &echo(&[])).unwrap();
    zones.deploy("n1", &app).unwrap();
    for gateway in ["w2", "e2", "n2"] {
        let node = zones.node(gateway).unwrap();
        wait::until("a reply", || {
            let response = node.post("/echo", b"x").ok()?;
            let home =
                response.nodes().iter().all(|ran| ran.as_bytes()[0] == gateway.as_bytes()[0]);
            (response.status == 200 && home).then_some(())
        })
        .unwrap();
        let before = node.metric("izna_crossings_total").unwrap();
        for _ in 0..20 {
            let response = node.post("/echo", b"x").unwrap();
            assert_eq!(response.status, 200, "{}", response.text());
        }
        assert_eq!(node.metric("izna_crossings_total").unwrap(), before, "{gateway}");
    }
}

/// If this fails, a component that must stay in one zone runs in another, or cannot be deployed by a
/// node of another.
#[test]
fn a_component_runs_in_the_zone_that_it_needs() {
    let zones = Zones::start(layout(&[("west", &["w1"]), ("east", &["e1", "e2"])])).unwrap();
    let manifest = echo(&[]).replace("GUESTS/echo.wasm\"", "GUESTS/echo.wasm\"\nzone = \"east\"");
    let app = zones.cluster().app("echo", &manifest).unwrap();
    zones.deploy("w1", &app).unwrap();
    let west = zones.node("w1").unwrap();
    for _ in 0..5 {
        let ran = wait::until("a reply of the east", || {
            let response = west.post("/echo", b"hello").ok()?;
            (response.status == 200).then_some(response.nodes())
        });
        let ran = ran.unwrap_or_else(|error| panic!("{error:#}\n{}", west.log()));
        assert!(ran.iter().all(|node| node.starts_with('e')), "{ran:?}");
    }
    let listed = west.manage("/v1/components").unwrap();
    assert_eq!((&listed[0]["holders"], &listed[0]["zones"]), (&json!([]), &json!(["east"])));
}
