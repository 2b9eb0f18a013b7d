//! Components that speak HTTP: a request in, a response out, and what they ask of others between.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what is wrong by panicking"
)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ciborium::{Value, cbor};
use common::{LIMITS, block_on, guest, runtime};
use http::Response;
use izna_proto::{FailureKind, MemoryAnswer, MemoryOperation, ProcessId, Run, StepEnd};
use izna_runtime::{BoxFuture, Component, Fetch, FetchError, Host, StepLimits, Stream, Whole};

/// An app `web` that links to others, and an outside that echoes the path.
#[derive(Default)]
struct Linked {
    fetched: AtomicUsize,
    lines: Mutex<Vec<String>>,
}

impl Host for Linked {
    fn memory(&self, _: String, _: MemoryOperation) -> BoxFuture<MemoryAnswer> {
        Box::pin(async { Ok(None) })
    }

    fn log(&self, stream: Stream, line: &str) {
        self.lines.lock().unwrap().push(format!("{stream}: {line}"));
    }

    fn app(&self) -> Arc<str> {
        "web".into()
    }

    fn has_links(&self) -> bool {
        true
    }

    fn fetch(&self, fetch: Fetch) -> BoxFuture<Result<Response<Whole>, FetchError>> {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let path = fetch.request.uri().path().to_owned();
        let body = Whole { data: path.into(), ..Whole::default() };
        Box::pin(async { Ok(Response::new(body)) })
    }
}

fn encoded(value: &Value) -> Bytes {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes.into()
}

fn request(path: &str) -> Bytes {
    encoded(&cbor!([{ "path" => path }]).unwrap())
}

fn response(body: &str) -> Bytes {
    let body = Value::Bytes(body.as_bytes().to_vec());
    encoded(&cbor!({ "status" => 200, "headers" => [], "body" => body }).unwrap())
}

fn run(component: &Component, host: &Arc<Linked>, run: Run, process: Option<u128>) -> StepEnd {
    let step = component.step("handle".into(), run, LIMITS, host.clone());
    block_on(match process {
        Some(process) => step.of(ProcessId(process)),
        None => step,
    })
    .end
}

fn body(end: StepEnd) -> String {
    let StepEnd::Done(result) = end else { panic!("{end:?}") };
    let value: Value = ciborium::from_reader(&result.inline()[..]).unwrap();
    let body = value.into_map().unwrap().remove(0);
    assert_eq!(body.0.as_text(), Some("body"));
    String::from_utf8(body.1.into_bytes().unwrap()).unwrap()
}

/// A request that asks two components and one host outside, to its end.
fn both(process: Option<u128>) -> (String, usize) {
    let runtime = runtime();
    let web = guest(&runtime, "web");
    let host = Arc::new(Linked::default());
    let urls = "http://store.web.internal/a|http://outside.example/o|http://store.web.internal/b";
    let mut end =
        run(&web, &host, Run::Start { input: request(&format!("/both?{urls}")) }, process);
    for path in ["/a", "/b"] {
        let StepEnd::Suspend { call, continuation } = end else { panic!("{end:?}") };
        assert_eq!(&*call.component, "store");
        assert_eq!(&*call.function, "wasi:http/incoming-handler.handle");
        assert!(call.input.inline().windows(path.len()).any(|bytes| bytes == path.as_bytes()));
        let outcome = Ok(response(&format!("of {path}")));
        end = run(
            &web,
            &host,
            Run::Resume { continuation: continuation.into_inline(), outcome },
            process,
        );
    }
    (body(end), host.fetched.load(Ordering::Relaxed))
}

/// If this failed, a component that waits for another would end otherwise elsewhere, or ask the
/// world outside twice.
#[test]
fn what_was_asked_is_not_asked_again_elsewhere() {
    let expected = "200: /o\n200: of /a\n200: of /b\n".to_owned();
    assert_eq!(both(Some(7)), (expected.clone(), 1));
    assert_eq!(both(None), (expected, 1));
}

/// If this failed, a large body would fill the node's memory.
#[test]
fn bodies_are_bounded() {
    let runtime = runtime();
    let web = guest(&runtime, "web");
    let limits = StepLimits { payload_bytes_max: 10_000, ..LIMITS };
    let ended = |path: &str| {
        let (run, host) = (Run::Start { input: request(path) }, Arc::new(Linked::default()));
        block_on(web.step("handle".into(), run, limits, host)).end
    };
    assert_eq!(body(ended("/big?9000")).len(), 9000);
    let StepEnd::Failed(failure) = ended("/big?20000") else { panic!("no limit") };
    assert_eq!(failure.kind, FailureKind::Limit);
    assert!(failure.message.ends_with("the reply's body has more"), "{}", failure.message);
}

/// If this failed, one step could open requests without end.
#[test]
fn requests_on_their_way_are_bounded() {
    let runtime = runtime();
    let web = guest(&runtime, "web");
    let host = Arc::new(Linked::default());
    let urls = vec!["http://outside.example/o"; 65].join("|");
    let end = run(&web, &host, Run::Start { input: request(&format!("/both?{urls}")) }, None);
    let text = body(end);
    assert_eq!(text.lines().filter(|line| *line == "200: /o").count(), 64, "{text}");
    assert!(text.contains("ErrorCode::ConnectionLimitReached"), "{text}");
}

fn ended(web: &Component, path: &str) -> Result<String, String> {
    let end = run(web, &Arc::new(Linked::default()), Run::Start { input: request(path) }, None);
    match end {
        StepEnd::Failed(failure) => Err(failure.message),
        end => Ok(body(end)),
    }
}

/// If this failed, half a reply would be taken for a whole one.
#[test]
fn a_reply_that_is_not_finished_is_none() {
    let runtime = runtime();
    let web = guest(&runtime, "web");
    for how in ["dropped", "open", "empty"] {
        let said = ended(&web, &format!("/unfinished?{how}")).unwrap_err();
        assert!(said.starts_with("the reply's body was not finished"), "{how}: {said}");
    }
}

/// If this failed, a program that ends by itself after its reply would not have replied, or one that
/// gives up would have.
#[test]
fn a_program_may_end_after_its_reply() {
    let runtime = runtime();
    let web = guest(&runtime, "web");
    assert_eq!(ended(&web, "/exit?whole"), Ok("done".to_owned()));
    for how in ["half", "none", "failed"] {
        let said = ended(&web, &format!("/exit?{how}")).unwrap_err();
        assert!(said.contains("exited with code"), "{how}: {said}");
    }
}

/// If this failed, someone who asks for something else would not learn what is wrong with it.
#[test]
fn requests_that_are_none_are_told() {
    let runtime = runtime();
    let web = guest(&runtime, "web");
    let input = encoded(&cbor!([{ "method" => "GET" }]).unwrap());
    let end = run(&web, &Arc::new(Linked::default()), Run::Start { input }, None);
    let StepEnd::Failed(failure) = end else { panic!("{end:?}") };
    assert_eq!(failure.message, "the request cannot be read: path: it is missing");
}
