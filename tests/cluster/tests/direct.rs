//! Ordinary components that call each other across nodes, and are moved while they wait.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests say what is wrong by panicking"
)]

use izna_bench::{Cluster, Node, Options, Response, http, wait};
use izna_tests_cluster::error;
use serde_json::{Value, json};

/// An album on some nodes and the painter that it calls on others.
fn album(albums: &[&str], painters: &[&str]) -> String {
    let route = |path: &str, component: &str, function: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\ncomponent = \"{component}\"\nfunction = \"{function}\"\n\
             deadline_ms = 120000\n"
        )
    };
    format!(
        "[app]\nname = \"album\"\n\n\
         [component.album]\nsource = \"GUESTS/album.wasm\"\nnodes = {}\n\n\
         [component.painter]\nsource = \"GUESTS/painter.wasm\"\nnodes = {}\n\
         limits = {{ cpu_ms = 120000 }}\n\n{}{}{}",
        json!(albums),
        json!(painters),
        route("/page/{title}", "album", "album.page"),
        route("/slow", "album", "demo:album/album@0.1.0.slow"),
        route("/draw", "painter", "draw"),
    )
}

fn post(node: &Node, path: &str, body: &Value) -> Response {
    let address = node.addresses().unwrap().gateway;
    http::post(address, path, "application/json", body.to_string().as_bytes()).unwrap()
}

fn call(node: &Node, app: &str, component: &str, function: &str, args: Value) -> Response {
    let call = json!({
        "app": app, "component": component, "function": function, "args": args,
        "deadline_ms": 20_000,
    });
    let address = node.addresses().unwrap().manage;
    http::post(address, "/v1/call", "application/json", call.to_string().as_bytes()).unwrap()
}

/// If this fails, ordinary components cannot call each other across machines, or HTTP and the
/// command line cannot reach them.
#[test]
fn typed_components_call_each_other_across_nodes() {
    let cluster = Cluster::start(Options::nodes(&["a", "b"])).unwrap();
    let app = cluster.app("album", &album(&["a"], &["b"])).unwrap();
    cluster.deploy(&app, &[]).unwrap();
    for name in ["a", "b"] {
        let node = cluster.node(name).unwrap();
        let body = json!({ "size": { "width": 2, "height": 1 }, "colors": [1, 2] });
        let page = post(node, "/page/blue", &body);
        assert_eq!(page.status, 200, "at {name}: {}", page.text());
        let pixels = |color: u8| if color == 1 { "AQE=" } else { "AgI=" };
        let picture = |color: u8| {
            json!({
                "title": format!("blue {color}"),
                "size": { "width": 2, "height": 1 },
                "pixels": pixels(color),
            })
        };
        assert_eq!(page.json().unwrap(), json!([picture(1), picture(2)]), "at {name}");
        assert_eq!(page.nodes(), ["a", "b", "a", "b", "a"], "at {name}");
    }
    // It is its own node that it comes back to: there it waits, and is not started again.
    let a = cluster.node("a").unwrap();
    assert_eq!(a.metric("izna_warm_resumed_total").unwrap(), 4);
    assert_eq!(a.metric("izna_replayed_total").unwrap(), 0);
    assert_eq!(a.metric("izna_warm").unwrap(), 0);

    let empty = a.get("/draw?title=none&color=1").unwrap();
    assert_eq!(empty.status, 400, "{}", empty.text());
    assert!(error(&empty).unwrap().1.ends_with("argument `size` is missing"), "{}", empty.text());
    let body = json!({ "title": "none", "size": { "width": 0, "height": 0 }, "color": 1 });
    let refused = post(a, "/draw", &body);
    assert_eq!((refused.status, refused.text().as_str()), (422, "empty"));

    let manage = format!("http://{}", a.addresses().unwrap().manage);
    let typed = r#"painter.draw("dot", {width: 1, height: 1}, 255)"#;
    let words = ["call", "--node", &manage, "--output", "json", "album/painter", typed];
    let said: Value = serde_json::from_str(&cluster.izna(&words).unwrap()).unwrap();
    assert_eq!(said["result"]["ok"]["pixels"], json!("/w=="), "{said}");
}

/// If this fails, a client that makes a mistake is told that the service has one, or not which it
/// is.
#[test]
fn wrong_calls_are_told_as_the_clients_mistakes() {
    let cluster = Cluster::start(Options::nodes(&["a", "b"])).unwrap();
    cluster.deploy(&cluster.app("album", &album(&["a"], &["b"])).unwrap(), &[]).unwrap();
    let node = cluster.node("a").unwrap();
    let said = |response: Response, status: u16, code: &str, words: &str| {
        assert_eq!(response.status, status, "{}", response.text());
        let (found, message) = error(&response).unwrap();
        assert!(found == code && message.contains(words), "{found}: {message}");
    };
    // Over a route, whose body is JSON.
    let size = |width: Value| json!({ "size": { "width": width, "height": 1 }, "colors": [1] });
    let words = "in `demo:album/album@0.1.0.page` of component `album`: \
                 argument `size`.width: expected u32, found a text";
    said(post(node, "/page/x", &size(json!("wide"))), 400, "invalid", words);
    said(post(node, "/page/x", &json!({ "colors": [1] })), 400, "invalid", "`size` is missing");
    // By the management API, and with arguments in WAVE.
    let words = "argument `color`: expected u8, found 256, out of range";
    let args = json!(["dot", { "width": 1, "height": 1 }, 256]);
    said(call(node, "album", "painter", "draw", args), 400, "invalid", words);
    let few = call(node, "album", "painter", "draw", json!(["dot"]));
    said(few, 400, "invalid", "expected 3 values, found 1");
    let absent = call(node, "album", "painter", "drawn", json!([]));
    said(absent, 404, "not-found", "no function `drawn`; available: `demo:");
    let manage = format!("http://{}", node.addresses().unwrap().manage);
    for (typed, words) in [
        (r#"painter.draw("dot", {width: 1, heigth: 1}, 1)"#, "argument `size`: no field `heigth`"),
        (r#"painter.drawn("dot")"#, "no function `painter.drawn`"),
    ] {
        let output = cluster.izna_output(&["call", "--node", &manage, "album/painter", typed]);
        let output = output.unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(65) && told.contains(words), "{output:?}");
    }
}

/// If this fails, components of one kind cannot call those of the other.
#[test]
fn explicit_and_direct_components_call_each_other() {
    let cluster = Cluster::start(Options::nodes(&["a", "b"])).unwrap();
    let manifest = r#"
[app]
name = "mixed"
[component.echo]
source = "GUESTS/echo.wasm"
links = { echo = "mirror" }
nodes = ["a"]
[component.mirror]
source = "GUESTS/mirror.wasm"
nodes = ["b"]
[component.relay]
source = "GUESTS/relay.wasm"
links = { mirror = "plain" }
nodes = ["a"]
[component.relay2]
source = "GUESTS/relay.wasm"
links = { "demo:values/mirror" = "mirror" }
nodes = ["a"]
[component.plain]
source = "GUESTS/echo.wasm"
nodes = ["a"]
"#;
    cluster.deploy(&cluster.app("mixed", manifest).unwrap(), &[]).unwrap();
    let node = cluster.node("a").unwrap();
    let cases = [
        ("echo", "call", json!([7]), json!(7), &["a", "b", "a"][..]),
        ("echo", "forward", json!([8]), json!(8), &["a", "b"]),
        ("relay", "value", json!([9]), json!(9), &["a", "a", "a"]),
        ("relay2", "mirror.an-option", json!([null]), json!(null), &["a", "b", "a"]),
    ];
    for (component, function, args, expected, nodes) in cases {
        let returned = call(node, "mixed", component, function, args);
        assert_eq!(returned.status, 200, "{component}: {}", returned.text());
        assert_eq!(returned.json().unwrap()["result"], expected, "{component}");
        assert_eq!(returned.json().unwrap()["nodes"], json!(nodes), "{component}");
    }
    // What the explicit component does not take comes back as its caller's failure.
    let refused = call(node, "mixed", "echo", "call", json!(["x"]));
    let (_, message) = error(&refused).unwrap();
    assert!(message.contains("argument `v`: expected u64, found a text"), "{message}");
}

/// If this fails, a call over a local link leaves its node when that is busy, though its values are
/// to stay there.
#[test]
fn a_local_link_stays_on_its_node() {
    let cluster = Cluster::start(Options::nodes(&["a", "b"])).unwrap();
    let on = |nodes: &[&str]| format!("GUESTS/painter.wasm\"\nnodes = {}", json!(nodes));
    let manifest = |painters: &str| {
        let link = "[component.album.links]\n\"demo:paint/painter\" = { component = \"painter\", \
                    local = true }\n\n[component.painter]";
        album(&["a", "b"], &["a", "b"]).replacen("[component.painter]", link, 1).replacen(
            &on(&["a", "b"]),
            painters,
            1,
        )
    };
    let all = manifest(&on(&["a", "b"]));
    cluster.deploy(&cluster.app("album", &all).unwrap(), &[]).unwrap();
    let address = cluster.node("a").unwrap().addresses().unwrap().gateway;
    let clients: Vec<_> = (0..24u64)
        .map(|seed| {
            std::thread::spawn(move || {
                let body = json!({ "seed": seed, "millions": 20 }).to_string();
                let body = body.as_bytes();
                http::post(address, "/slow", "application/json", body).unwrap()
            })
        })
        .collect();
    let mut began = Vec::new();
    for client in clients {
        let response = client.join().unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        let nodes = response.nodes();
        assert!(nodes.len() == 5 && nodes.iter().all(|node| *node == nodes[0]), "{nodes:?}");
        began.push(nodes[0].to_owned());
    }
    assert!(began.iter().any(|node| node == "b"), "a did not give anything away");

    let url = format!("http://{}", cluster.node("a").unwrap().addresses().unwrap().manage);
    let folder = cluster.app("odd", &manifest(&on(&["a"]))).unwrap();
    let folder = folder.to_string_lossy();
    let output = cluster.izna_output(&["deploy", &folder, "--node", &url]).unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = "`album` has a local link to `painter`, which is not on node `b`";
    assert!(!output.status.success() && told.contains(words), "{told}");
}

/// If this fails, what a function saw of clocks and random numbers before a move is not what it
/// sees after it: it sends each to the painter, and compares what comes back with what it has then.
#[test]
fn clocks_and_random_numbers_are_the_same_after_a_move() {
    let options = Options::nodes(&["a", "b"]).arguments(&["--warm-max", "0"]);
    let cluster = Cluster::start(options).unwrap();
    cluster.deploy(&cluster.app("album", &album(&["a"], &["b"])).unwrap(), &[]).unwrap();
    let node = cluster.node("a").unwrap();
    let diary = call(node, "album", "album", "diary", json!([4]));
    assert_eq!(diary.status, 200, "{}", diary.text());
    let diary = diary.json().unwrap();
    assert_eq!(diary["nodes"], json!(["a", "b", "a", "b", "a", "b", "a", "b", "a"]));
    assert_eq!(node.metric("izna_replayed_total").unwrap(), 4);
    let times: Vec<u64> = serde_json::from_value(diary["result"]["times"].clone()).unwrap();
    for (one, next) in times.iter().zip(&times[3..]) {
        assert!(one <= next, "a clock went back: {times:?}");
    }
    let mut numbers: Vec<u64> = serde_json::from_value(diary["result"]["numbers"].clone()).unwrap();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 5, "{numbers:?}");
}

/// If this fails, an app is deployed whose calls lead nowhere, or nobody learns why it is not.
#[test]
fn what_does_not_fit_is_refused_at_deploy() {
    let cluster = Cluster::start(Options::nodes(&["a"])).unwrap();
    let url = format!("http://{}", cluster.node("a").unwrap().addresses().unwrap().manage);
    let refused = |manifest: &str| {
        let folder = cluster.app("odd", manifest).unwrap();
        let folder = folder.to_string_lossy();
        let output = cluster.izna_output(&["deploy", &folder, "--node", &url]).unwrap();
        assert!(!output.status.success(), "{manifest}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let component =
        |name: &str, guest: &str| format!("[component.{name}]\nsource = \"GUESTS/{guest}.wasm\"\n");
    let app = "[app]\nname = \"odd\"\n".to_owned();
    let alone = refused(&(app.clone() + &component("album", "album")));
    assert!(
        alone.contains(
            "component `album` imports `demo:paint/painter@0.2.0`, which no other component of \
             the app exports"
        ),
        "{alone}"
    );
    let two = [("one", "painter"), ("two", "painter"), ("album", "album")];
    let two: String = two.iter().map(|(name, guest)| component(name, guest)).collect();
    let said = refused(&(app.clone() + &two));
    assert!(said.contains("which `one` and `two` export; choose one: links = {"), "{said}");
    let odd = component("album", "album") + "links = { painter = \"mirror\" }\n";
    let said = refused(&(app.clone() + &component("mirror", "mirror") + &odd));
    let words = "component `album` is linked to `mirror` for `demo:paint/painter@0.2.0`, which \
                 `mirror` does not export; it exports `demo:values/mirror";
    assert!(said.contains(words), "{said}");
    let odd = component("painter", "painter") + "links = { mirror = \"painter\" }\n";
    let said = refused(&(app.clone() + &odd));
    assert!(said.contains("has a link `mirror`, but imports nothing of that name"), "{said}");
    let route = "[[route]]\npath = \"/\"\ncomponent = \"painter\"\nfunction = \"paint\"\n";
    let said = refused(&(app + &component("painter", "painter") + route));
    assert!(said.contains("invalid route `/`: no function `paint`; available: `demo:"), "{said}");
}

/// If this fails, an ordinary function that waits for a call dies with the node where it began.
#[test]
fn a_waiting_function_outlives_the_nodes_that_it_ran_on() {
    let mut cluster = Cluster::start(Options::nodes(&["g", "a", "b", "c"])).unwrap();
    let app = cluster.app("album", &album(&["a", "c"], &["b", "c"])).unwrap();
    cluster.deploy(&app, &[]).unwrap();
    // Only a can begin the function, and only b its first call.
    cluster.node("c").unwrap().freeze().unwrap();
    let state = |of: &Cluster, at: &str, seen: &str| {
        let nodes = of.node(at).ok()?.manage("/v1/nodes").ok()?;
        let node = nodes.as_array()?.iter().find(|node| node["name"] == seen)?.clone();
        node["state"].as_str().map(str::to_owned)
    };
    for at in ["g", "a"] {
        let gone = || (state(&cluster, at, "c")? != "live").then_some(());
        wait::until("c to be missed", gone).unwrap();
    }
    let (seed, millions) = (42u64, 2000u32);
    let address = cluster.node("g").unwrap().addresses().unwrap().gateway;
    let body = json!({ "seed": seed, "millions": millions }).to_string();
    let client = std::thread::spawn(move || {
        http::post(address, "/slow", "application/json", body.as_bytes()).unwrap()
    });
    let runs = |of: &Cluster, at: &str, component: &str| {
        let processes = of.node(at).ok()?.manage("/v1/processes").ok()?;
        let found = processes
            .as_array()?
            .iter()
            .any(|process| process["component"] == component && process["state"] == "running");
        found.then_some(())
    };
    wait::until("the first call to run on b", || runs(&cluster, "b", "painter")).unwrap();
    assert_eq!(cluster.node("a").unwrap().metric("izna_warm").unwrap(), 1);
    cluster.node("c").unwrap().thaw().unwrap();
    let back = || (state(&cluster, "b", "c")? == "live").then_some(());
    wait::until("c to be back", back).unwrap();
    cluster.node_mut("a").unwrap().kill().unwrap();
    runs(&cluster, "b", "painter").unwrap_or_else(|| panic!("the call was over too early"));

    wait::until("the second call to run on c", || runs(&cluster, "c", "painter")).unwrap();
    let replayed = cluster.node("c").unwrap().metric("izna_replayed_total").unwrap();
    assert_eq!(replayed, 1, "the function was not started again from its record on c");
    cluster.node_mut("b").unwrap().kill().unwrap();
    let response = client.join().unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.text(), spin(spin(seed, millions), millions).to_string());
    assert_eq!(response.nodes(), ["a", "b", "c", "c", "c"]);
}

/// What the painter's function of that name computes.
fn spin(seed: u64, millions: u32) -> u64 {
    let mut state = seed | 1;
    for _ in 0..u64::from(millions) * 1_000_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}
