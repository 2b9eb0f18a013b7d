//! Components that serve HTTP by `wasi:http`, and ask others by it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests say what is wrong by panicking"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use izna_bench::{Cluster, Node, Options, Response, http};
use izna_tests_cluster::error;

fn manifest(front: &str, back: &str) -> String {
    format!(
        "[app]\nname = \"web\"\n\n\
         [component.front]\nsource = \"GUESTS/web.wasm\"\n{front}\n\n\
         [component.back]\nsource = \"GUESTS/web.wasm\"\n{back}\n\n\
         [[route]]\npath = \"/...\"\ncomponent = \"front\"\n\n\
         [[route]]\npath = \"/back/...\"\ncomponent = \"back\"\n"
    )
}

fn ask(node: &Node, bytes: &[u8]) -> Response {
    http::exchange(node.addresses().unwrap().gateway, bytes).unwrap()
}

/// If this fails, an ordinary wasi:http component does not serve, not everywhere, or not what was
/// asked for.
#[test]
fn a_component_serves_requests_as_they_are_on_any_node() {
    let cluster = Cluster::start(Options::nodes(&["a", "b"])).unwrap();
    let app = cluster.app("web", &manifest("nodes = [\"b\"]", "nodes = [\"a\"]")).unwrap();
    cluster.deploy(&app, &[]).unwrap();
    let a = cluster.node("a").unwrap();
    for path in ["/", "/hello", "/some/deep/path"] {
        let hello = a.get(path).unwrap();
        assert_eq!((hello.status, hello.text().as_str()), (200, "hello"), "{path}");
        assert_eq!(hello.nodes(), ["b"], "{path}");
    }
    for path in ["/back", "/back/", "/back/x"] {
        assert_eq!(a.get(path).unwrap().nodes(), ["a"], "{path}");
    }

    let headers = [("X-A-One", "1"), ("connection", "x-a-two"), ("x-a-two", "2")];
    let echo = ask(a, &http::request("PATCH", "/echo?q=%2F&r", &headers, b"body"));
    assert_eq!(echo.status, 201, "{}", echo.text());
    assert_eq!(echo.text(), "body");
    let host = a.addresses().unwrap().gateway.to_string();
    for (name, value) in [
        ("x-method", "Method::Patch"),
        ("x-target", "/echo?q=%2F&r"),
        ("x-scheme", "Some(Scheme::Http)"),
        ("x-a-one", "1"),
    ] {
        assert_eq!(echo.header(name), Some(value), "{echo:?}");
    }
    assert!(echo.header("x-a-two").is_none(), "{echo:?}");
    assert!(echo.header("x-authority").is_some_and(|name| !name.is_empty()), "{host}: {echo:?}");

    let manage = format!("http://{}", a.addresses().unwrap().manage);
    let said = cluster
        .izna(&["call", "--node", &manage, "web/front", "handle", r#"{"path": "/hello"}"#])
        .unwrap();
    assert!(said.contains("200"), "{said}");
}

/// If this fails, a body is cut off, fills a node's memory, or ends in something unclear.
#[test]
fn bodies_are_taken_up_to_the_payload_limit() {
    let cluster = Cluster::start(Options::nodes(&["a"])).unwrap();
    cluster.deploy(&cluster.app("web", &manifest("", "")).unwrap(), &[]).unwrap();
    let a = cluster.node("a").unwrap();
    let large = vec![b'y'; 4_000_000];
    let echo = ask(a, &http::request("POST", "/echo", &[], &large));
    assert_eq!((echo.status, echo.body.len()), (201, large.len()));
    assert_eq!(
        ask(a, b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5000000\r\n\r\n").status,
        413
    );

    let over = a.get("/big?5000000").unwrap();
    assert_eq!(over.status, 500);
    let (code, message) = error(&over).unwrap();
    assert_eq!(code, "limit");
    assert_eq!(message, "payload limit of 4 MiB reached: the reply's body has more");

    for (path, expected) in [
        ("/none", "the component ended without a reply"),
        ("/unfinished", "the reply's body was not finished"),
        ("/error", "the component replied with ErrorCode::LoopDetected"),
        ("/trap", "trapped in `wasi:http/incoming-handler"),
    ] {
        let failed = a.get(path).unwrap();
        assert_eq!(failed.status, 500, "{path}");
        let (_, message) = error(&failed).unwrap();
        assert!(message.contains(expected), "{path}: {message}");
    }
    assert_eq!(a.get("/hello").unwrap().status, 200);
}

/// A server that answers each request with its first line and its body's length.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    let (head, length) = loop {
        let count = stream.read(&mut piece).unwrap();
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .to_ascii_lowercase()
                .split_once("content-length: ")
                .map_or(0, |f| f.1.split("\r\n").next().unwrap().parse::<usize>().unwrap());
            if body.len() >= length {
                break (head.to_owned(), length);
            }
        }
        assert!(count > 0, "{text}");
    };
    let line = head.lines().next().unwrap();
    let reply = match line.contains("/redirect") {
        true => "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\n\
                 content-length: 0\r\n\r\n"
            .to_owned(),
        false if line.contains("/long") => {
            "HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n".to_owned()
        }
        false => {
            let text = format!("{line} {length}");
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())
        }
    };
    stream.write_all(reply.as_bytes()).unwrap();
}

/// If this fails, a component reaches what nobody granted it, or not what was granted.
#[test]
fn requests_leave_for_granted_hosts_only() {
    let cluster = Cluster::start(Options::nodes(&["a"])).unwrap();
    let (named, other) = (server(), server());
    let grants = format!(
        "allowed_outbound_hosts = [\"http://{named}\", \"http://localhost:{}\", \"*:*\"]",
        named.port()
    );
    cluster.deploy(&cluster.app("web", &manifest(&grants, "")).unwrap(), &[]).unwrap();
    let a = cluster.node("a").unwrap();
    let get = |url: &str| a.get(&format!("/get?{url}")).unwrap();
    assert_eq!(get(&format!("http://{named}/x")).text(), "200: GET /x HTTP/1.1 0");
    let local = format!("http://localhost:{}/x", named.port());
    assert_eq!(get(&local).text(), "200: GET /x HTTP/1.1 0");
    let post = ask(a, &http::request("POST", &format!("/post?http://{named}/y"), &[], b"12345"));
    assert_eq!(post.text(), "200: POST /y HTTP/1.1 5");
    // What it is sent on to is a request of its own.
    assert_eq!(get(&format!("http://{named}/redirect")).text(), "302: ");

    // `*` is every public host, and these are none, however they are written.
    let port = other.port();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433"] {
        let denied = get(&format!("http://{host}:{port}/"));
        assert_eq!(denied.status, 502, "{host}: {}", denied.text());
        assert!(denied.text().starts_with("ErrorCode::DestinationIpProhibited"), "{host}");
    }
    let line = a.wait_log(&["a request failed", "127.0.0.1", "no public address"]).unwrap();
    assert!(line.contains("component=front"), "{line}");

    let back = |url: &str| a.get(&format!("/back/get?{url}")).unwrap();
    let denied = back(&format!("http://{named}/"));
    assert!(denied.text().starts_with("ErrorCode::HttpRequestDenied"), "{}", denied.text());
    a.wait_log(&["is not granted: it is in no `allowed_outbound_hosts`", "component=back"])
        .unwrap();

    let long = get(&format!("http://{named}/long"));
    assert!(long.text().starts_with("ErrorCode::HttpResponseBodySize"), "{}", long.text());
    let user = get(&format!("http://user@{named}/"));
    assert!(user.text().starts_with("ErrorCode::HttpRequestUriInvalid"), "{}", user.text());
}

/// If this fails, components that speak HTTP cannot ask each other across machines, or one that
/// waits dies with the node where it began.
#[test]
fn components_ask_each_other_by_http_across_nodes() {
    let cluster = Cluster::start(Options::nodes(&["a", "b"])).unwrap();
    let outside = server();
    let front = format!(
        "links = {{ store = \"back\" }}\nnodes = [\"a\"]\n\
         allowed_outbound_hosts = [\"http://{outside}\"]"
    );
    let app = cluster.app("web", &manifest(&front, "nodes = [\"b\"]")).unwrap();
    cluster.deploy(&app, &[]).unwrap();
    let a = cluster.node("a").unwrap();
    let inside = "http://store.web.internal";
    let hello = a.get(&format!("/get?{inside}/hello")).unwrap();
    assert_eq!((hello.status, hello.text().as_str()), (200, "200: hello"), "{hello:?}");
    assert_eq!(hello.nodes(), ["a", "b", "a"]);
    let big = vec![b'z'; 1_000_000];
    let post = ask(a, &http::request("POST", &format!("/post?{inside}/echo?x"), &[], &big));
    assert_eq!((post.status, post.body.len()), (200, big.len() + "201: ".len()));

    // One outside and two inside: each reaches the guest once, in some order.
    let urls = format!("{inside}/hello|http://{outside}/o|{inside}/deep/hello");
    let both = a.get(&format!("/both?{urls}")).unwrap();
    let text = both.text();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["200: GET /o HTTP/1.1 0", "200: hello", "200: hello"], "{both:?}");
    assert_eq!(both.nodes(), ["a", "b", "a", "b", "a"]);
    assert_eq!(a.metric("izna_replayed_total").unwrap(), 0);

    for (url, expected) in [
        ("http://ghost.web.internal/", "ErrorCode::DestinationNotFound"),
        ("http://store.other.internal/", "ErrorCode::HttpRequestDenied"),
        ("https://store.web.internal/", "ErrorCode::HttpRequestDenied"),
        ("http://store.web.internal/trap", "ErrorCode::InternalError"),
    ] {
        let failed = a.get(&format!("/get?{url}")).unwrap();
        assert!(failed.text().starts_with(expected), "{url}: {}", failed.text());
    }
    let back = a.get(&format!("/back/get?{inside}/hello")).unwrap();
    assert!(back.text().starts_with("ErrorCode::HttpRequestDenied"), "{}", back.text());
}

/// If this fails, a mistake in what is granted is found out by the first request.
#[test]
fn mistakes_of_grants_and_routes_are_told_at_deploy() {
    let cluster = Cluster::start(Options::nodes(&["a"])).unwrap();
    let url = format!("http://{}", cluster.node("a").unwrap().addresses().unwrap().manage);
    let refused = |manifest: &str| {
        let folder = cluster.app("odd", manifest).unwrap();
        let folder = folder.to_string_lossy();
        let output = cluster.izna_output(&["deploy", &folder, "--node", &url]).unwrap();
        assert!(!output.status.success(), "{manifest}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused(&manifest("allowed_outbound_hosts = [\"ftp://a\"]", ""));
    assert!(said.contains("allowed_outbound_hosts `ftp://a`: `ftp` is neither"), "{said}");
    let said = refused(&manifest("", "").replace("/back/...", "/..."));
    assert!(said.contains("duplicate route `/...`"), "{said}");
    let painter = "[app]\nname = \"odd\"\n[component.one]\nsource = \"GUESTS/painter.wasm\"\n\
                   [component.two]\nsource = \"GUESTS/web.wasm\"\nlinks = { one = \"one\" }\n";
    let said = refused(painter);
    assert!(said.contains("links by HTTP must lead to components that serve HTTP"), "{said}");
    let route = "[[route]]\npath = \"/\"\ncomponent = \"one\"\n";
    let said = refused(&(painter.replace("links = { one = \"one\" }\n", "") + route));
    assert!(said.contains("invalid route `/`: no function ``"), "{said}");
}
