//! Who holds a component: nodes that take it in by themselves, and what people say by hand.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests say what is wrong by panicking"
)]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use izna_bench::quota::Quotas;
use izna_bench::timetable::gateways;
use izna_bench::{Cluster, Load, Network, Node, Options, Plan, skipped, wait};
use izna_tests_cluster::{call, echo};
use serde_json::{Value, json};

/// Everything takes its time on a few hundredths of a core.
const PATIENCE: Duration = Duration::from_secs(60);

/// A component that computes for as long as it is told, on these nodes.
fn spinner(rest: &str) -> String {
    format!(
        "[app]\nname = \"spin\"\n\n[component.painter]\nsource = \"GUESTS/painter.wasm\"\n{rest}\n\
         [[route]]\npath = \"/spin\"\ncomponent = \"painter\"\nfunction = \"spin\"\n"
    )
}

fn url(node: &Node) -> String {
    format!("http://{}", node.addresses().unwrap().manage)
}

/// The nodes that hold the one component, as `node` sees it, each with the reason.
fn held(node: &Node) -> Vec<(String, String)> {
    let components = node.manage("/v1/components").unwrap();
    let word = |reason: &Value, key: &str| reason[key].as_str().unwrap_or_default().to_owned();
    let reasons = components[0]["reasons"].as_array().cloned().unwrap_or_default();
    reasons.iter().map(|reason| (word(reason, "node"), word(reason, "reason"))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(node, why)| ((*node).to_owned(), (*why).to_owned())).collect()
}

fn wait_held(node: &Node, expected: &[(&str, &str)]) {
    let same = || {
        let mut held = held(node);
        held.sort();
        (held == pairs(expected)).then_some(())
    };
    let waited = wait::within(PATIENCE, &format!("{} to see {expected:?}", node.name()), same);
    waited.unwrap_or_else(|error| panic!("{error}: {:?}", held(node)));
}

/// If this fails, a component that has become popular stays where it was deployed and its clients
/// wait or are refused, nobody can tell why another node has it, or it is never given up.
#[test]
fn a_full_component_is_adopted_and_given_up() {
    let Some(_) = skipped::without("CPU quotas", Quotas::new()) else { return };
    let names = ["a", "b", "c", "d", "e", "f"];
    let network = Network::best();
    let options = Options { cores: Some(0.2), network, ..Options::nodes(&names) };
    let options = options.arguments(&["--unneeded-ms", "1500"]);
    let cluster = Cluster::start(options).unwrap();
    let app = cluster.app("spin", &spinner("nodes = [\"a\"]")).unwrap();
    cluster.deploy(&app, &[]).unwrap();
    wait_held(cluster.node("c").unwrap(), &[("a", "deployed")]);

    let first = gateways(&cluster, &[]);
    let mut plan = Plan::get(first[0], "/spin?seed=1&millions=3", 60);
    (plan.gateways, plan.place) = (first, cluster.clients());
    let load = Load::start(plan).unwrap();
    let works = |name: &&&str| load.report().steps_of(name, 0) > 20;
    let spread = || (names.iter().filter(works).count() >= 3).then_some(());
    let waited = wait::within(PATIENCE, "others to work", spread);
    waited.unwrap_or_else(|error| {
        let report = load.report();
        panic!(
            "{error}: {:?}, {} done, {} refused",
            report.first_failure,
            report.done(),
            report.refused()
        )
    });

    let node = cluster.node("b").unwrap();
    let adopted = || held(node).into_iter().find(|(_, reason)| reason == "adopted");
    let (adopter, _) = wait::within(PATIENCE, "b to hear of it", adopted).unwrap();
    let a = cluster.node("a").unwrap();
    let listed = cluster.izna(&["components", "--node", &url(a)]).unwrap();
    assert!(listed.contains("spin/painter"), "{listed}");
    assert!(
        listed.contains("cores are in demand at 1 holders, each with a wait of over"),
        "{listed}"
    );
    let line = cluster.node(&adopter).unwrap().wait_log(&["adopts a component"]).unwrap();
    assert!(line.contains("cores are in demand"), "{line}");
    let report = load.end().unwrap();
    assert_eq!(report.failed() - report.refused(), 0, "{:?}", report.first_failure);

    wait_held(node, &[("a", "deployed")]);
    cluster.node(&adopter).unwrap().wait_log(&["gives up a component"]).unwrap();
    assert!(cluster.node(&adopter).unwrap().metric("izna_given_up_total").unwrap() > 0);
}

/// The file of the one artifact of a node.
fn artifact(cluster: &Cluster, node: &str) -> PathBuf {
    let files = fs::read_dir(cluster.data(node).join("artifacts")).unwrap();
    files.map(|file| file.unwrap().path()).next().unwrap()
}

/// If this fails, code other than what was deployed gets into a node, or a node whose first source
/// is bad goes without.
#[test]
fn a_poisoned_artifact_is_refused_by_digest() {
    let cluster = Cluster::start(Options::nodes(&["a", "b", "c", "d"])).unwrap();
    cluster.deploy(&cluster.app("echo", &echo(&["a", "b"])).unwrap(), &[]).unwrap();
    let node = cluster.node("a").unwrap();
    let add = |name: &str, wait: &str| {
        let words = ["component", "add", "echo", name, "--wait", wait, "--node", &url(node)];
        cluster.izna(&words).unwrap()
    };
    // Whom it asks first is not known beforehand: whether it comes to the bad copy or not, it ends
    // with the good one. Below, both are bad.
    fs::write(artifact(&cluster, "a"), b"\0asm, but another one").unwrap();
    let said = add("c", "60");
    assert_eq!(said, "c holds echo/echo as of revision 2\n");
    wait_held(node, &[("a", "deployed"), ("b", "deployed"), ("c", "by hand")]);
    assert_eq!(call(node, "echo", "value", json!([5])).unwrap().status, 200);

    for name in ["b", "c"] {
        fs::write(artifact(&cluster, name), b"\0asm, but another one").unwrap();
    }
    assert_eq!(add("d", "0"), "d will hold echo/echo as of revision 3\n");
    let d = cluster.node("d").unwrap();
    let line = d.wait_log(&["cannot obtain a component", "no node sends it"]).unwrap();
    let refusal = "sent has the digest sha256:";
    assert!(line.contains(refusal) && line.contains("and was rejected"), "{line}");
    let refused = d.wait_log(&["rejected an artifact", "digest=sha256:"]).unwrap();
    assert!(refused.contains("ERROR"), "{refused}");
    assert!(!held(node).iter().any(|(name, _)| name == "d"));
}

/// If this fails, holders cannot be changed by hand, or the last one goes and nobody is told.
#[test]
fn hands_add_and_remove_holders() {
    let cluster = Cluster::start(Options::nodes(&["a", "b"])).unwrap();
    cluster.deploy(&cluster.app("echo", &echo(&["a"])).unwrap(), &[]).unwrap();
    let node = cluster.node("a").unwrap();
    let said = |words: &[&str]| {
        let output = cluster.izna_output(&[words, &["--node", &url(node)]].concat()).unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let refused = said(&["component", "remove", "echo", "a"]);
    assert!(
        refused.contains("without a no node would hold `echo`: add another first"),
        "{refused}"
    );
    let unknown = said(&["component", "add", "echo", "z"]);
    assert!(unknown.contains("unknown node `z`; this node knows a, b"), "{unknown}");
    let unknown = said(&["component", "add", "echo/other", "b"]);
    assert!(unknown.contains("app `echo` has no component `other`"), "{unknown}");
    let done = |words: &[&str]| cluster.izna(&[words, &["--node", &url(node)]].concat()).unwrap();
    let added = done(&["component", "add", "echo", "b"]);
    assert_eq!(added, "b holds echo/echo as of revision 2\n");
    wait_held(node, &[("a", "deployed"), ("b", "by hand")]);
    let removed = done(&["component", "remove", "echo", "a"]);
    assert_eq!(removed, "a no longer holds echo/echo as of revision 3\n");
    for name in ["a", "b"] {
        wait_held(cluster.node(name).unwrap(), &[("b", "by hand")]);
    }
    let returned = call(node, "echo", "value", json!([6])).unwrap();
    assert_eq!(returned.json().unwrap()["nodes"], json!(["b"]), "{}", returned.text());
}

/// If this fails, a component that needs a device runs on nodes without one, or is deployed where
/// no node has it.
#[test]
fn components_run_where_their_needs_are_met() {
    let cluster = Cluster::start(Options::nodes(&["a", "b"])).unwrap();
    let manifest =
        echo(&[]).replace("GUESTS/echo.wasm\"", "GUESTS/echo.wasm\"\nlabels = [\"gpu\"]");
    let folder = cluster.app("echo", &manifest).unwrap();
    let node = cluster.node("a").unwrap();
    let words = ["deploy", &folder.to_string_lossy(), "--node", &url(node)];
    let output = cluster.izna_output(&words).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    let why = "component `echo` needs a node with label `gpu`, but no node is: a (zone default), \
               b (zone default)";
    assert!(said.contains(why), "{said}");

    let identity = cluster.identity("g").unwrap();
    let mut launch = cluster.launch("g", &identity).unwrap();
    launch.arguments.extend(["--label", "gpu"].map(str::to_owned));
    let mut labelled = Node::start("g", cluster.folder(), launch).unwrap();
    labelled.wait_ready().unwrap();
    let deployed = || {
        let output = cluster.izna_output(&words).ok()?;
        output.status.success().then_some(())
    };
    wait::until("the node with the label to be known", deployed).unwrap();
    wait_held(node, &[("g", "deployed")]);
    let returned = call(node, "echo", "value", json!([7])).unwrap();
    assert_eq!(returned.json().unwrap()["nodes"], json!(["g"]), "{}", returned.text());
    let output = cluster.izna_output(&["component", "add", "echo", "b", "--node", &url(node)]);
    let said = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
    assert!(said.contains("needs a node with label `gpu`; this one is b"), "{said}");
}

/// If this fails, two components of the same code run where only one of them was deployed.
#[test]
fn components_of_the_same_code_are_apart() {
    let cluster = Cluster::start(Options::nodes(&["a", "b"])).unwrap();
    let component = |name: &str, node: &str| {
        format!("[component.{name}]\nsource = \"GUESTS/echo.wasm\"\nnodes = [\"{node}\"]\n")
    };
    let manifest =
        format!("[app]\nname = \"echo\"\n{}{}", component("echo", "a"), component("other", "b"));
    cluster.deploy(&cluster.app("echo", &manifest).unwrap(), &[]).unwrap();
    for at in ["a", "b"] {
        for (component, holder) in [("echo", "a"), ("other", "b")] {
            let asked = json!({
                "app": "echo", "component": component, "function": "value", "args": [1],
                "deadline_ms": 10_000,
            });
            let address = cluster.node(at).unwrap().addresses().unwrap().manage;
            let body = asked.to_string();
            let returned =
                izna_bench::http::post(address, "/v1/call", "application/json", body.as_bytes());
            let returned = returned.unwrap();
            assert_eq!(returned.json().unwrap()["nodes"], json!([holder]), "{component} at {at}");
        }
    }
}

/// If this fails, a component can make a node run out of memory while it is compiled, or nobody
/// learns why it is not deployed.
#[test]
fn compiling_has_limits() {
    let options = Options::nodes(&["a"]).arguments(&["--compile-memory-max", "16MiB"]);
    let cluster = Cluster::start(options).unwrap();
    let folder = cluster.app("echo", &echo(&[])).unwrap();
    let node = cluster.node("a").unwrap();
    let words = ["deploy", &folder.to_string_lossy(), "--node", &url(node)];
    let output = cluster.izna_output(&words).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let why = "it exceeded the memory limit for compiling of 16 MiB";
    assert!(!output.status.success() && said.contains(why), "{said}");
    assert!(node.alive());
}

/// If this fails, nobody learns why a node that should hold a component does not.
#[test]
fn a_node_says_why_it_does_not_hold_a_component() {
    let cluster = Cluster::start(Options::nodes(&["a"])).unwrap();
    cluster.deploy(&cluster.app("echo", &echo(&[])).unwrap(), &[]).unwrap();
    let identity = cluster.identity("small").unwrap();
    let mut launch = cluster.launch("small", &identity).unwrap();
    launch.arguments.extend(["--compile-memory-max", "16MiB"].map(str::to_owned));
    let mut small = Node::start("small", cluster.folder(), launch).unwrap();
    small.wait_ready().unwrap();
    let trouble = || {
        let components = small.manage("/v1/components").ok()?;
        components[0]["trouble"].as_str().map(str::to_owned)
    };
    let why = wait::until("the node to say why", trouble).unwrap();
    assert!(why.contains("exceeded the memory limit for compiling of 16 MiB"), "{why}");
}

/// If this fails, nodes that trust each other compile everything again, or ones that do not take
/// code from each other.
#[test]
fn compiled_code_is_shared_where_that_is_allowed() {
    for shares in [true, false] {
        let mut options = Options::nodes(&["a", "b"]);
        if shares {
            options = options.arguments(&["--share-compiled"]);
        }
        let cluster = Cluster::start(options).unwrap();
        cluster.deploy(&cluster.app("echo", &echo(&["a"])).unwrap(), &[]).unwrap();
        let node = cluster.node("a").unwrap();
        cluster.izna(&["component", "add", "echo", "b", "--node", &url(node)]).unwrap();
        wait_held(node, &[("a", "deployed"), ("b", "by hand")]);
        let log = cluster.node("b").unwrap().log();
        assert_eq!(log.contains("uses code that a node has compiled"), shares, "{log}");
        let returned = call(cluster.node("b").unwrap(), "echo", "value", json!([8])).unwrap();
        assert_eq!(returned.json().unwrap()["result"], json!(8), "{}", returned.text());
    }
}
