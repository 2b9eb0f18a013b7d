//! The gateway over real sockets, with a cluster that is made up: what good clients get, and what
//! hostile ones do not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test may panic and print"
)]

mod fake;

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use fake::{edge, limits, rest};
use izna_gateway::Limits;

fn status(response: &str) -> u16 {
    response.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

fn body(response: &str) -> serde_json::Value {
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_default()
}

/// If this fails, routes do not lead to functions, or replies do not say where they come from.
#[test]
fn a_request_becomes_a_process() {
    let edge = edge(limits());
    let got = edge.get("/echo/a%20b/c/d?x=%2F");
    assert_eq!(status(&got), 200, "{got}");
    assert!(got.contains("x-izna-process: p-00000000000000000000000000000007\r\n"), "{got}");
    assert!(got.contains("x-izna-nodes: node-1, node-2\r\n"), "{got}");
    let timing =
        "server-timing: queue;dur=1.500, run;dur=0.004, wait;dur=0.000, move;dur=20.030\r\n";
    assert!(got.contains(timing), "{got}");
    assert_eq!(body(&got)["params"], serde_json::json!({"name": "a b", "rest": "c/d"}));
    assert_eq!(body(&got)["query"], serde_json::json!({"x": "/"}));
    let page = edge.get("/page");
    assert!(status(&page) == 201 && page.contains("content-type: text/html"), "{page}");
    assert!(page.ends_with("<p>") && !page.contains("p-1\r\n"), "{page}");
    let head = edge.raw(b"HEAD /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(head.contains("content-length: 3") && head.ends_with("\r\n\r\n"), "{head}");
    let requests = edge.fake.requests.lock().unwrap();
    assert!(requests.iter().all(|request| request.traceparent.is_some()));
}

/// If this fails, clients are told the wrong thing about what they may try again.
#[test]
fn outcomes_have_their_statuses() {
    let edge = edge(limits());
    let cases = [
        ("/busy", 503, "busy"),
        ("/deadline", 504, "deadline"),
        ("/lost", 502, "unavailable"),
        ("/trap", 500, "trapped"),
        ("/nothing", 500, "not-found"),
        ("/invalid", 400, "invalid"),
        ("/passed-on", 500, "invalid"),
        ("/fail", 500, "failed"),
        ("/junk", 502, "bad-response"),
    ];
    for (path, expected, code) in cases {
        let got = edge.get(path);
        assert_eq!(status(&got), expected, "{got}");
        assert_eq!(body(&got)["error"]["code"], code);
        assert!(body(&got)["error"]["process"].as_str().unwrap().starts_with("p-0"), "{got}");
        assert_eq!(got.contains("retry-after: "), expected == 503, "{got}");
    }
    let unknown = edge.get("/ehco");
    assert_eq!(status(&unknown), 404);
    assert_eq!(body(&unknown)["error"]["message"], "no route for `/ehco`; did you mean `/echo`?");
}

/// If this fails, a request runs twice that must not, or is lost that could run again.
#[test]
fn idempotence_is_read_from_the_request() {
    let edge = edge(limits());
    let send = |method: &str, path: &str, more: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{more}");
        edge.raw(format!("{head}\r\n").as_bytes());
        edge.fake.requests.lock().unwrap().last().unwrap().idempotent
    };
    assert!(send("GET", "/echo", "") && send("PUT", "/echo", "") && send("DELETE", "/echo", ""));
    assert!(!send("POST", "/echo", "") && !send("PATCH", "/echo", ""));
    assert!(send("POST", "/page", "") && send("POST", "/echo", "Idempotency-Key: a\r\n"));
}

/// If this fails, a client can make the gateway hold more than it should.
#[test]
fn sizes_are_limited() {
    let edge = edge(limits());
    let refused = |request: String, expected: u16, text: &str| {
        let got = edge.raw(request.as_bytes());
        assert_eq!(status(&got), expected, "{got}");
        let message = body(&got)["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(message, text, "{got}");
        assert!(got.contains("connection: close"), "{got}");
    };
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\n";
    let long = "a".repeat(3000);
    let text = "request body exceeds the limit of 1000 bytes";
    refused(format!("{post}Content-Length: 1001\r\n\r\n{long}"), 413, text);
    refused(format!("{post}Content-Length: 99999999999999\r\n\r\n"), 413, text);
    refused(
        format!("{post}Transfer-Encoding: chunked\r\n\r\nbb8\r\n{long}\r\n0\r\n\r\n"),
        413,
        text,
    );
    let text = "request target exceeds the limit of 500 bytes";
    refused(format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414, text);
    refused(format!("GET /{long}"), 414, text);
    let text = "request headers exceed the limit of 2000 bytes";
    refused(format!("GET / HTTP/1.1\r\nHost: a\r\nx: {long}\r\n\r\n"), 431, text);
    let many = "x: y\r\n".repeat(20);
    refused(
        format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
        431,
        "request exceeds the limit of 20 headers",
    );
    let within =
        format!("{post}Content-Length: 1000\r\nConnection: close\r\n\r\n{}", &long[..1000]);
    assert_eq!(status(&edge.raw(within.as_bytes())), 200);
}

/// If this fails, a slow client holds a connection for as long as it likes.
#[test]
fn waiting_has_an_end() {
    let edge = edge(limits());
    let within = |bytes: &[u8], expected: u16, text: &str| {
        let began = Instant::now();
        let got = edge.raw(bytes);
        assert_eq!(status(&got), expected, "{got}");
        assert!(got.contains(text), "{got}");
        assert!(began.elapsed() < Duration::from_secs(3), "{text}: {:?}", began.elapsed());
    };
    within(b"GET /echo HTTP/1.1\r\nHost:", 408, "request headers not received");
    let body = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
    within(body, 408, "request body not received");
    let slow = fake::edge(Limits { body_timeout: Duration::from_secs(60), ..limits() });
    let got = slow.raw(body);
    assert!(status(&got) == 408 && got.contains("request body not received"), "{got}");
    // Silent from the beginning, and silent after a request: closed without a word.
    within(b"", 0, "");
    within(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n", 201, "<p>");
    // One byte at a time does not help.
    let (mut stream, began) = (edge.connect(), Instant::now());
    while stream.write_all(b"G").is_ok() && began.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

/// If this fails, two servers can read one request in two ways, and the second is the attacker's.
#[test]
fn ambiguous_requests_are_refused_and_the_connection_closed() {
    let edge = edge(limits());
    let hidden = "GET /page HTTP/1.1\r\nHost: a\r\n\r\n";
    let heads = [
        "Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
        "Host: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "Host: a\r\nTransfer-Encoding: xchunked\r\n",
        "Host: a\r\nTransfer-Encoding:\x0bchunked\r\n",
        "Host: a\r\nx: y\n",
        "Host: a\r\n folded: y\r\n",
        "Host: a\r\nHost: b\r\n",
        "Content-Length: 5\r\n",
        "Host: a\r\nx: a\0b\r\n",
    ];
    for head in heads {
        let got =
            edge.raw(format!("POST /echo HTTP/1.1\r\n{head}\r\n0\r\n\r\n{hidden}").as_bytes());
        assert_eq!(status(&got), 400, "{head:?}: {got}");
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{head:?}: {got}");
        assert!(got.contains("connection: close"), "{head:?}: {got}");
    }
    assert!(edge.fake.requests.lock().unwrap().is_empty());
    // What came before a bad request is answered all the same.
    let got = edge.raw(format!("{hidden}{hidden}GET /page\r\n\r\n").as_bytes());
    assert_eq!(got.matches("HTTP/1.1 201").count(), 2, "{got}");
    assert_eq!(got.matches("HTTP/1.1 400").count(), 1, "{got}");
}

/// If this fails, some bytes end the gateway or are taken for a request.
#[test]
fn random_bytes_do_no_harm() {
    let edge = edge(limits());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..200 {
        let mut bytes: Vec<u8> = (0..round)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            })
            .collect();
        // Half of the rounds begin like a request, so that later checks are reached too.
        if round % 2 == 0 {
            bytes.splice(0..0, *b"POST /echo HTTP/1.1\r\nHost: a\r\n");
        }
        let mut stream = edge.connect();
        let _ = stream.write_all(&bytes);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let got = rest(&mut stream);
        assert!(got.is_empty() || status(&got) >= 400, "{got}");
    }
    assert_eq!(status(&edge.get("/page")), 201);
}

/// If this fails, a crowd of clients takes the node down with it.
#[test]
fn crowds_are_turned_away() {
    let edge = edge(Limits { idle_timeout: Duration::from_secs(60), ..limits() });
    let slow = || {
        let mut stream = edge.connect();
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream
    };
    let held = [slow(), slow()];
    while edge.fake.requests.lock().unwrap().len() < 2 {
        std::thread::yield_now();
    }
    let got = edge.get("/page");
    assert_eq!(status(&got), 503, "{got}");
    assert!(got.contains("limit of 2 requests reached"), "{got}");
    assert!(got.contains("retry-after: 1"), "{got}");
    // A client that goes away abandons its process and gives its place back.
    drop(held);
    let again = Instant::now();
    while status(&edge.get("/page")) != 201 {
        assert!(again.elapsed() < Duration::from_secs(5));
    }
    let open: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = edge.connect();
            stream.write_all(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            stream.read_exact(&mut [0; 20]).unwrap();
            stream
        })
        .collect();
    let got = rest(&mut edge.connect());
    assert!(got.contains("limit of 4 connections reached"), "{got}");
    drop(open);
}

/// If this fails, a page in a browser can manage the node, or `/v1` says something else than it is.
#[test]
fn management_is_for_this_machine() {
    let edge = edge(limits());
    let get = |path: &str, headers: &str| edge.manage("GET", path, headers, "");
    for host in ["127.0.0.1:9070", "localhost", "[::1]:1", "127.0.0.1"] {
        let got = get("/healthz", &format!("Host: {host}\r\n"));
        assert_eq!(status(&got), 200, "{host}: {got}");
    }
    for headers in ["Host: evil.example\r\n", "Host: localhost\r\nOrigin: http://a\r\n"] {
        assert_eq!(status(&get("/v1/nodes", headers)), 403);
    }
    let host = "Host: localhost\r\n";
    assert_eq!(body(&get("/v1/nodes", host))[0]["name"], "node-1");
    assert_eq!(body(&get("/v1/apps/app", host))["app"]["name"], "app");
    let missing = body(&get("/v1/apps/ap", host));
    assert_eq!(missing["error"]["message"], "app `ap` is not deployed; did you mean `app`?");
    edge.get("/page");
    let metrics = get("/metrics", host);
    for line in [
        "izna_steps_total 5",
        "izna_gateway_requests_total{status=\"201\"} 1",
        "duration_seconds_b",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let call = r#"{"app":"app","component":"c","function":"echo","args":[{"a":1}]}"#;
    assert_eq!(body(&edge.manage("POST", "/v1/call", host, call))["result"]["a"], 1);
    let call = r#"{"app":"app","component":"d","function":"echo"}"#;
    assert_eq!(status(&edge.manage("POST", "/v1/call", host, call)), 404);
    let artifact = edge.manage("POST", "/v1/artifacts", host, "<!DOCTYPE html>");
    assert_eq!(status(&artifact), 422);
    assert_eq!(body(&artifact)["error"]["message"], "not a WebAssembly file: 15 bytes");
}

/// If this fails, an app is deployed that cannot work, or takes another's paths.
#[test]
fn deploys_are_checked() {
    let edge = edge(limits());
    let digest = "00".repeat(32);
    let app = serde_json::json!({
        "name": "two",
        "components": [{
            "name": "a", "digest": digest, "links": {"b": "a"},
            "memory_bytes_max": 1 << 20, "cpu_ms_max": 10,
        }],
        "routes": [{"path": "/two", "component": "a", "function": "f", "deadline_ms": 1}],
    });
    let put = |app: &serde_json::Value| {
        let text = app.to_string();
        let got = edge.manage("PUT", "/v1/apps/two", "Host: localhost\r\n", &text);
        (status(&got), body(&got)["error"]["message"].as_str().unwrap_or_default().to_owned())
    };
    let with = |pointer: &str, value: serde_json::Value| {
        let mut app = app.clone();
        *app.pointer_mut(pointer).unwrap() = value;
        put(&app)
    };
    let refused = |got: (u16, String), status: u16, text: &str| {
        assert!(got.0 == status && got.1.contains(text), "{got:?} is not {status} {text}");
    };
    refused(with("/components/0/links/b", "x".into()), 422, "links to `x`");
    let local = serde_json::json!({ "component": "x", "local": true });
    refused(with("/components/0/links/b", local), 422, "links to `x`");
    refused(with("/components/0/digest", "11".repeat(32).into()), 409, "no artifact");
    refused(with("/components/0/memory_bytes_max", 5.into()), 422, "invalid memory_bytes_max 5");
    refused(with("/routes/0/component", "x".into()), 422, "leads to `x`");
    refused(with("/routes/0/path", "two".into()), 422, "such as `/api`");
    refused(with("/routes/0/path", "/{*a}/b".into()), 422, "at its end");
    refused(with("/routes/0/path", "/page".into()), 409, "already claimed by app `app`");
    refused(with("/name", "three".into()), 400, "does not match the path, which has `two`");
    let mut twice = app.clone();
    let route = app["routes"][0].clone();
    twice["routes"].as_array_mut().unwrap().push(route);
    refused(put(&twice), 422, "duplicate route `/two`");
    for list in ["nodes", "added", "removed"] {
        let mut many = app.clone();
        let names: Vec<String> = (1..=257).map(|node| format!("node-{node}")).collect();
        many["components"][0][list] = serde_json::json!(names);
        refused(put(&many), 422, &format!("257 nodes in `{list}` exceed the limit of 256"));
    }
    let links: serde_json::Map<String, serde_json::Value> =
        (0..257).map(|link| (format!("b{link}"), "a".into())).collect();
    refused(with("/components/0/links", links.into()), 422, "257 links exceed the limit of 256");
    let mut typo = app.clone();
    typo["componets"] = serde_json::json!([]);
    refused(put(&typo), 400, "unknown field `componets`");
    assert_eq!(put(&app).0, 200);
    // The new route leads somewhere, without anything being started again.
    let began = Instant::now();
    while status(&edge.get("/two")) == 404 {
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    let gone = edge.manage("DELETE", "/v1/apps/two", "Host: localhost\r\n", "");
    assert_eq!(status(&gone), 200, "{gone}");
}

/// If this fails, a component is deployed, or put somewhere by hand, where another that it calls
/// locally may not be; or one is removed from the last node that can run it.
#[test]
fn spreads_are_checked() {
    let edge = edge(limits());
    let said = |method: &str, path: &str, asked: &serde_json::Value| {
        let got = edge.manage(method, path, "Host: localhost\r\n", &asked.to_string());
        (status(&got), body(&got)["error"]["message"].as_str().unwrap_or_default().to_owned())
    };
    let component = |name: &str, labels: &[&str]| {
        serde_json::json!({
            "name": name, "digest": "00".repeat(32), "memory_bytes_max": 1 << 20, "cpu_ms_max": 10,
            "links": { "b": { "component": "b", "local": name == "a" } }, "labels": labels,
        })
    };
    let deploy = |caller: &[&str], callee: &[&str]| {
        let components = [component("a", caller), component("b", callee)];
        said("PUT", "/v1/apps/two", &serde_json::json!({ "name": "two", "components": components }))
    };
    let alone = deploy(&[], &["ssd"]);
    let why = "component `a` has a local link to `b`, and node-2 (zone default) would hold `a` \
               without `b`";
    assert!(alone.0 == 409 && alone.1.starts_with(why), "{alone:?}");
    assert_eq!(deploy(&["ssd"], &[]).0, 200);
    let assign = |component: &str, node: &str, holds: bool| {
        let path = format!("/v1/components/two/{component}");
        said("POST", &path, &serde_json::json!({ "node": node, "holds": holds }))
    };
    let removed = assign("b", "node-1", false);
    let why = "no other node is ready to run `b`: node-2 should hold it and is not ready yet";
    assert!(removed.0 == 409 && removed.1.starts_with(why), "{removed:?}");
    assert_eq!(assign("b", "node-2", false).0, 200);
    assert_eq!(said("DELETE", "/v1/apps/two", &serde_json::Value::Null).0, 200);
    assert_eq!(deploy(&[], &[]).0, 200);
    let alone = assign("b", "node-2", false);
    assert!(alone.0 == 409 && alone.1.contains("a local link to `b`"), "{alone:?}");
}

/// If this fails, stopping a node cuts off answers, or takes for ever.
#[test]
fn stopping_finishes_what_is_in_work() {
    let mut edge = edge(limits());
    let mut idle = edge.connect();
    idle.write_all(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    idle.read_exact(&mut [0; 20]).unwrap();
    let mut gateway = edge.gateway.take().unwrap();
    let address = gateway.address();
    let began = Instant::now();
    edge.runtime.block_on(async {
        gateway.finish().await;
        gateway.stop().await;
    });
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(rest(&mut idle).ends_with("<p>"));
    assert!(std::net::TcpStream::connect(address).is_err());
}

/// The status line and all that follows, of a request that closes its connection.
fn exchange(edge: &fake::Edge, line: &str, more: &str) -> String {
    edge.raw(format!("{line}\r\nHost: a\r\nConnection: close\r\n{more}").as_bytes())
}

/// If this fails, a function runs for a method that it was not made for, or a client is not told
/// which it has.
#[test]
fn methods_are_judged_before_anything_runs() {
    let edge = edge(limits());
    for method in ["DELETE", "PUT", "PATCH", "TRACE", "CONNECT", "FOO"] {
        let got = exchange(&edge, &format!("{method} /typed HTTP/1.1"), "\r\n");
        assert_eq!(status(&got), 405, "{method}: {got}");
        assert!(got.contains("allow: GET, HEAD, POST, OPTIONS\r\n"), "{got}");
    }
    let preflight = "Origin: http://b\r\nAccess-Control-Request-Method: PUT\r\n\r\n";
    let got = exchange(&edge, "OPTIONS /typed HTTP/1.1", preflight);
    assert!(status(&got) == 204 && got.contains("allow: GET, HEAD, POST, OPTIONS\r\n"), "{got}");
    let got = exchange(&edge, "POST /put HTTP/1.1", "Content-Length: 0\r\n\r\n");
    assert!(status(&got) == 405 && got.contains("allow: GET, HEAD, PUT, OPTIONS\r\n"), "{got}");
    let got = exchange(&edge, "OPTIONS * HTTP/1.1", "\r\n");
    assert!(status(&got) == 204 && got.contains("allow: GET, HEAD,"), "{got}");
    assert!(edge.fake.requests.lock().unwrap().is_empty());
    assert_eq!(status(&exchange(&edge, "PUT /put HTTP/1.1", "\r\n")), 201);
    assert_eq!(status(&exchange(&edge, "HEAD /put HTTP/1.1", "\r\n")), 201);
    // A component that takes requests as they are judges for itself.
    for method in ["DELETE", "OPTIONS", "FOO"] {
        assert_eq!(status(&exchange(&edge, &format!("{method} /web HTTP/1.1"), "\r\n")), 200);
    }
    let got = edge.manage("PATCH", "/v1/apps/app", "Host: localhost\r\n", "");
    assert!(status(&got) == 405 && got.to_lowercase().contains("allow: "), "{got}");
}

/// If this fails, a request is refused that every server takes, or means another path than it says.
#[test]
fn equal_requests_are_answered_alike() {
    let edge = edge(limits());
    let got = exchange(&edge, "GET /p%61ge HTTP/1.1", "\r\n");
    assert_eq!(status(&got), 201, "{got}");
    let got = exchange(&edge, "\r\nGET /page HTTP/1.1", "\r\n");
    assert_eq!(status(&got), 201, "{got}");
    let got = exchange(&edge, "GET http://other.example:81/echo?x=1 HTTP/1.1", "\r\n");
    assert_eq!(status(&got), 200, "{got}");
    assert_eq!(body(&got)["path"], "/echo");
    let host = serde_json::json!(["host", "other.example:81"]);
    assert!(body(&got)["headers"].as_array().unwrap().contains(&host), "{got}");
    let got = edge.manage("GET", "http://evil.example/v1/apps", "Host: localhost\r\n", "");
    assert_eq!(status(&got), 403, "{got}");
}

/// If this fails, a client whose body is broken waits for its time to be over.
#[test]
fn broken_bodies_are_told_at_once() {
    let edge = edge(Limits { body_timeout: Duration::from_secs(60), ..limits() });
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, text) in [
        ("x\r\n", "invalid chunk size"),
        ("3\r\nabcd\r\n", "chunk data exceeds its size"),
        ("3\r\nabc\r\n0\r\na b: c\r\n\r\n", "invalid header name"),
        ("3\nabc", "line feed without a carriage return"),
    ] {
        let began = Instant::now();
        let got = edge.raw(format!("{head}{body}").as_bytes());
        assert!(status(&got) == 400 && got.contains(text), "{body:?}: {got}");
        assert!(got.contains("connection: close"), "{got}");
        assert!(began.elapsed() < Duration::from_secs(5), "{body:?}: {:?}", began.elapsed());
    }
}

/// If this fails, trailers are announced that never come, or a component's own word is lost.
#[test]
fn trailers_and_timings_of_components_reach_clients() {
    let edge = edge(limits());
    let got = exchange(&edge, "GET /web HTTP/1.1", "TE: trailers\r\n\r\n");
    assert!(got.contains("trailer: x-end\r\n"), "{got}");
    assert!(got.ends_with("\r\n4\r\ndone\r\n0\r\nx-end: 1\r\n\r\n"), "{got}");
    let got = exchange(&edge, "GET /web HTTP/1.1", "\r\n");
    assert!(!got.contains("trailer:") && got.contains("content-length: 4"), "{got}");
    assert!(got.contains("server-timing: db;dur=5\r\n"), "{got}");
    assert!(got.contains("server-timing: queue;dur="), "{got}");
}

/// If this fails, answers that a client does not read are piled up for it.
#[test]
fn answers_in_a_row_wait_for_their_reader() {
    let limits = Limits { write_timeout: Duration::from_secs(60), ..limits() };
    let edge = edge(limits);
    let mut stream = edge.connect();
    let asked = 200;
    stream.write_all("GET /large HTTP/1.1\r\nHost: a\r\n\r\n".repeat(asked).as_bytes()).unwrap();
    // One answer is on its way; what the sockets hold is a few.
    let began = Instant::now();
    let ran = || edge.fake.requests.lock().unwrap().len();
    let mut seen = ran();
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_millis(500) && began.elapsed() < Duration::from_secs(10)
    {
        if ran() != seen {
            (seen, since) = (ran(), Instant::now());
        }
        std::thread::yield_now();
    }
    assert!((1..60).contains(&seen), "{seen} ran for a client that reads nothing");
    let mut taken = 0;
    let mut piece = vec![0; 1 << 20];
    while taken < asked * 300_000 {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "closed after {taken}");
        taken += count;
    }
    assert_eq!(ran(), asked);
}

/// If this fails, clients can have the gateway hold more than its memory.
#[test]
fn memory_is_limited() {
    let limits = Limits {
        body_bytes_max: 400_000,
        body_timeout: Duration::from_secs(60),
        body_pause_timeout: Duration::from_secs(60),
        connections_max: 20,
        requests_max: 20,
        ..limits()
    };
    let edge = edge(limits);
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = edge.connect();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&[b'x'; 399_999]).unwrap();
        held.push(stream);
    }
    let began = Instant::now();
    while !edge.manage("GET", "/metrics", "Host: localhost\r\n", "").contains("_bytes 800000\n") {
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    let got = edge.raw(format!("{head}{}", "x".repeat(400_000)).as_bytes());
    assert!(status(&got) == 503 && got.contains("bytes of memory"), "{got:.300}");
    assert!(got.contains("retry-after: 1"), "{got:.300}");
    // Others are served, and what was held is given back.
    assert_eq!(status(&edge.get("/page")), 201);
    drop(held);
    let began = Instant::now();
    while status(&edge.raw(format!("{head}{}", "x".repeat(400_000)).as_bytes())) != 200 {
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

/// If this fails, a body in many small pieces takes many times its length of memory.
#[test]
fn small_pieces_are_put_together() {
    let limits = Limits { body_bytes_max: 100_000, memory_bytes_max: 100_000, ..limits() };
    let limits = Limits { body_timeout: Duration::from_secs(60), ..limits };
    let edge = edge(Limits { client_memory_bytes_max: 100_000, ..limits });
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    let chunks = "1\r\na\r\n".repeat(30_000);
    let got =
        edge.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n").as_bytes());
    assert_eq!(status(&got), 200, "{got:.300}");
}
