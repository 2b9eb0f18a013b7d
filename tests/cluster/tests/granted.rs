//! What the manifest grants a component: its environment, its configuration and a log.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests say what is wrong by panicking"
)]

use izna_bench::{Cluster, Node, Options, http, wait};
use serde_json::{Value, json};

const MANIFEST: &str = r#"
[app]
name = "granted"

[component.bare]
source = "GUESTS/settings.wasm"

[component.settings]
source = "GUESTS/settings.wasm"
env = { GREETING = "hello", EMPTY = "" }
config = { ttl = "60", "over all" = "\u00e9" }
"#;

fn call(node: &Node, component: &str, function: &str, args: Value) -> Value {
    let call = json!({
        "app": "granted", "component": component, "function": function, "args": args,
    });
    let address = node.addresses().unwrap().manage;
    let returned =
        http::post(address, "/v1/call", "application/json", call.to_string().as_bytes()).unwrap();
    assert_eq!(returned.status, 200, "{}", returned.text());
    returned.json().unwrap()["result"].clone()
}

/// If this fails, a component cannot be configured, sees what another was given, or its log is lost.
#[test]
fn a_component_gets_what_the_manifest_grants_and_no_more() {
    let cluster = Cluster::start(Options::nodes(&["a", "b"])).unwrap();
    cluster.deploy(&cluster.app("granted", MANIFEST).unwrap(), &[]).unwrap();
    let node = cluster.node("a").unwrap();
    let settings = |function: &str, args: Value| call(node, "settings", function, args);
    let environment = settings("environment", json!([]));
    assert_eq!(environment, json!([["EMPTY", ""], ["GREETING", "hello"]]));
    assert_eq!(settings("all", json!([])), json!([["over all", "é"], ["ttl", "60"]]));
    assert_eq!(settings("get", json!(["ttl"])), json!(["60", 1]));
    assert_eq!(settings("get", json!(["GREETING"])), json!([null, 0]));
    assert_eq!(settings("folders", json!([])), json!(0));
    for function in ["environment", "all"] {
        assert_eq!(call(node, "bare", function, json!([])), json!([]), "{function}");
    }

    settings("log", json!(["low\nbattery"]));
    let found = || {
        let logs = cluster.nodes().iter().map(Node::log);
        let ours =
            |line: &&str| line.contains("settings: battery") && line.contains("component=settings");
        logs.filter_map(|log| log.lines().find(ours).map(str::to_owned)).next()
    };
    let line = wait::until("the component's line in a log", found).unwrap();
    assert!(line.contains("WARN") && line.contains("stream=warn"), "{line}");
    for node in cluster.nodes() {
        assert!(!node.log().contains("DEBUG guest"), "{}", node.log());
    }

    let listed = node.manage("/v1/apps").unwrap();
    assert_eq!(listed[0]["app"]["components"][1]["env"]["GREETING"], json!("hello"), "{listed}");
}

/// If this fails, an app's settings fill the memory of every node.
#[test]
fn settings_over_the_limit_are_refused() {
    let cluster = Cluster::start(Options::nodes(&["a"])).unwrap();
    let url = format!("http://{}", cluster.node("a").unwrap().addresses().unwrap().manage);
    let refused = |settings: &str| {
        let manifest = format!(
            "[app]\nname = \"odd\"\n[component.one]\nsource = \"GUESTS/settings.wasm\"\n{settings}"
        );
        let folder = cluster.app("odd", &manifest).unwrap();
        let folder = folder.to_string_lossy();
        let output = cluster.izna_output(&["deploy", &folder, "--node", &url]).unwrap();
        assert!(!output.status.success(), "{manifest}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused("env = { \"A=B\" = \"c\" }\n");
    assert!(said.contains("env `A=B`: environment variables cannot contain `=`"), "{said}");
    let half = "x".repeat(40 << 10);
    let said = refused(&format!("config = {{ a = \"{half}\", b = \"{half}\" }}\n"));
    assert!(said.contains("have 81922 bytes, which exceeds the limit of 65536"), "{said}");
}
