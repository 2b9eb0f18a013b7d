//! The same two services in each language: deployed, called, calling one another across nodes, and
//! moved while they wait.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests say what is wrong by panicking"
)]

use izna_bench::{Cluster, Node, Options, Response, http, wait};
use serde_json::{Value, json};

const LANGUAGES: [&str; 5] = ["rust", "c", "js", "python", "go"];

/// A renderer of each language on `b`, and for each of them a cache of each language on `a`.
fn pages() -> String {
    let mut app = "[app]\nname = \"pages\"\n".to_owned();
    for language in LANGUAGES {
        app += &format!(
            "[component.renderer-{language}]\nsource = \"GUESTS/{language}-renderer.wasm\"\n\
             nodes = [\"b\"]\n"
        );
        for renderer in LANGUAGES {
            app += &format!(
                "[component.cache-{language}-{renderer}]\n\
                 source = \"GUESTS/{language}-cache.wasm\"\nnodes = [\"a\"]\n\
                 links = {{ renderer = \"renderer-{renderer}\" }}\n"
            );
        }
    }
    app
}

fn call(node: &Node, component: &str, function: &str, args: Value) -> Response {
    let call = json!({
        "app": "pages", "component": component, "function": function, "args": args,
        "deadline_ms": 20_000,
    });
    let address = node.addresses().unwrap().manage;
    http::post(address, "/v1/call", "application/json", call.to_string().as_bytes()).unwrap()
}

/// What a renderer makes of a line.
fn picture(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" height="24"><text y="18">{escaped}</text></svg>"#
    )
}

/// If this fails, components in some language cannot be deployed or called, or do not understand
/// those in another when they are on different nodes.
#[test]
fn each_language_calls_each_other_across_nodes() {
    let cluster = Cluster::start(Options::nodes(&["a", "b"])).unwrap();
    let app = cluster.app("pages", &pages()).unwrap();
    cluster.deploy(&app, &["--wait", "300"]).unwrap();
    let node = cluster.node("a").unwrap();
    let lines = ["a < b & c", "Grüße, 世界 🙂", "", "a < b & c"];
    for renderer in LANGUAGES {
        let component = format!("renderer-{renderer}");
        for text in lines {
            let rendered = call(node, &component, "renderer.render", json!([text]));
            assert_eq!(rendered.status, 200, "{component}: {}", rendered.text());
            let rendered = rendered.json().unwrap();
            assert_eq!(rendered["result"], json!(base64(&picture(text))), "{component}");
            assert_eq!(rendered["nodes"], json!(["b"]), "{component}");
        }
        for cache in LANGUAGES {
            let component = format!("cache-{cache}-{renderer}");
            let shown = call(node, &component, "show", json!([lines]));
            assert_eq!(shown.status, 200, "{component}: {}", shown.text());
            let shown = shown.json().unwrap();
            let svg: String = lines.map(picture).concat();
            let page = json!({ "ok": { "svg": base64(&svg), "drawn": 3, "kept": 1 } });
            assert_eq!(shown["result"], page, "{component}");
            assert_eq!(shown["nodes"], json!(["a", "b", "a", "b", "a", "b", "a"]), "{component}");
            let none = call(node, &component, "cache.show", json!([[]]));
            let error = json!({ "err": "there are no lines" });
            assert_eq!(none.json().unwrap()["result"], error, "{component}");
        }
    }
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut coded = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            coded.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    coded
}

/// A cache in that language on `a` and `c`, and a renderer that takes long on `b` and `c`.
fn slow_pages(language: &str) -> String {
    format!(
        "[app]\nname = \"pages\"\n\
         [component.cache]\nsource = \"GUESTS/{language}-cache.wasm\"\nnodes = [\"a\", \"c\"]\n\
         [component.renderer]\nsource = \"GUESTS/slow-renderer.wasm\"\nnodes = [\"b\", \"c\"]\n\
         limits = {{ cpu_ms = 120000 }}\n\
         [[route]]\npath = \"/show\"\ncomponent = \"cache\"\nfunction = \"cache.show\"\n\
         deadline_ms = 300000\n"
    )
}

/// The state that node `at` gives node `seen`.
fn state(cluster: &Cluster, at: &str, seen: &str) -> Option<String> {
    let nodes = cluster.node(at).ok()?.manage("/v1/nodes").ok()?;
    let node = nodes.as_array()?.iter().find(|node| node["name"] == seen)?.clone();
    node["state"].as_str().map(str::to_owned)
}

/// Something when node `at` runs the renderer.
fn renders(cluster: &Cluster, at: &str) -> Option<()> {
    let processes = cluster.node(at).ok()?.manage("/v1/processes").ok()?;
    let runs =
        |process: &Value| process["component"] == "renderer" && process["state"] == "running";
    processes.as_array()?.iter().any(runs).then_some(())
}

/// A caller in the language begins on `a`, waits there for its first call, which runs on `b`; `a` is
/// killed, the caller goes on at `c` and calls again; `b` is killed, and its result is right.
fn outlives_the_nodes_that_it_ran_on(language: &str) {
    let mut cluster = Cluster::start(Options::nodes(&["g", "a", "b", "c"])).unwrap();
    let app = cluster.app("pages", &slow_pages(language)).unwrap();
    cluster.deploy(&app, &["--wait", "300"]).unwrap();
    // Only a can begin the function, and only b its first call.
    cluster.node("c").unwrap().freeze().unwrap();
    for at in ["g", "a"] {
        let gone = || (state(&cluster, at, "c")? != "live").then_some(());
        wait::until("c to be missed", gone).unwrap();
    }
    let lines = ["42 2000", "43 500", "42 2000"];
    let address = cluster.node("g").unwrap().addresses().unwrap().gateway;
    let body = json!({ "lines": lines }).to_string();
    let client = std::thread::spawn(move || {
        http::post(address, "/show", "application/json", body.as_bytes()).unwrap()
    });
    wait::until("the first call to run on b", || renders(&cluster, "b")).unwrap();
    assert_eq!(cluster.node("a").unwrap().metric("izna_warm").unwrap(), 1);
    cluster.node("c").unwrap().thaw().unwrap();
    let back = || (state(&cluster, "b", "c")? == "live").then_some(());
    wait::until("c to be back", back).unwrap();
    cluster.node_mut("a").unwrap().kill().unwrap();
    renders(&cluster, "b").unwrap_or_else(|| panic!("the call was over too early"));

    wait::until("the second call to run on c", || renders(&cluster, "c")).unwrap();
    let replayed = cluster.node("c").unwrap().metric("izna_replayed_total").unwrap();
    assert_eq!(replayed, 1, "the function was not started again from its record on c");
    cluster.node_mut("b").unwrap().kill().unwrap();
    let response = client.join().unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    let svg: String = lines.map(|line| format!("{};", spin(line))).concat();
    let page = json!({ "svg": base64(&svg), "drawn": 2, "kept": 1 });
    assert_eq!(response.json().unwrap(), page);
    assert_eq!(response.nodes(), ["a", "b", "c", "c", "c"]);
}

/// What the slow renderer computes for a line.
fn spin(line: &str) -> u64 {
    let (seed, millions) = line.split_once(' ').unwrap();
    let (mut state, millions) =
        (seed.parse::<u64>().unwrap() | 1, millions.parse::<u64>().unwrap());
    for _ in 0..millions * 1_000_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}

/// If this fails, a waiting function in Rust dies with the node where it began.
#[test]
fn a_waiting_function_in_rust_outlives_its_nodes() {
    outlives_the_nodes_that_it_ran_on("rust");
}

/// If this fails, a waiting function in C dies with the node where it began.
#[test]
fn a_waiting_function_in_c_outlives_its_nodes() {
    outlives_the_nodes_that_it_ran_on("c");
}

/// If this fails, a waiting function in JavaScript dies with the node where it began.
#[test]
fn a_waiting_function_in_javascript_outlives_its_nodes() {
    outlives_the_nodes_that_it_ran_on("js");
}

/// If this fails, a waiting function in Python dies with the node where it began, or its
/// interpreter does not do the same again.
#[test]
fn a_waiting_function_in_python_outlives_its_nodes() {
    outlives_the_nodes_that_it_ran_on("python");
}

/// If this fails, a waiting function in Go dies with the node where it began, or its runtime does not
/// do the same again.
#[test]
fn a_waiting_function_in_go_outlives_its_nodes() {
    outlives_the_nodes_that_it_ran_on("go");
}

/// If this fails, components in some language that speak HTTP themselves cannot be routed to.
#[test]
fn each_language_serves_http() {
    let names =
        [("rust", "Rust"), ("c", "C"), ("js", "JavaScript"), ("python", "Python"), ("go", "Go")];
    let mut app = "[app]\nname = \"hello\"\n".to_owned();
    for (language, _) in names {
        app += &format!(
            "[component.{language}]\nsource = \"GUESTS/{language}-hello.wasm\"\nnodes = [\"b\"]\n\
             [[route]]\npath = \"/{language}/...\"\ncomponent = \"{language}\"\n"
        );
    }
    let cluster = Cluster::start(Options::nodes(&["a", "b"])).unwrap();
    let app = cluster.app("hello", &app).unwrap();
    cluster.deploy(&app, &["--wait", "300"]).unwrap();
    for (language, name) in names {
        let path = format!("/{language}/some/path?q=1");
        let hello = cluster.node("a").unwrap().get(&path).unwrap();
        assert_eq!(hello.status, 200, "{language}: {}", hello.text());
        assert_eq!(hello.text(), format!("Hello from {name} at {path}\n"));
        assert_eq!(hello.header("content-type"), Some("text/plain; charset=utf-8"), "{language}");
        assert_eq!(hello.nodes(), ["b"], "{language}");
    }
}
