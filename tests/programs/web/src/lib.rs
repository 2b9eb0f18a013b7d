//! Serves HTTP, and asks others by HTTP. Plain `wasip2`: nothing of Izna is in it.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingRequest, Method, OutgoingBody,
    OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
};
use wasip2::io::poll;
use wasip2::io::streams::StreamError;

struct Web;

wasip2::http::proxy::export!(Web);

impl Guest for Web {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        // The path may be under a prefix that the route has.
        match path.rsplit('/').next().unwrap_or_default() {
            "echo" => echo(request, out),
            "big" => reply(out, 200, vec![b'x'; query.parse().unwrap_or(0)].as_slice()),
            "get" => reply_with(out, fetch(Method::Get, query, &[])),
            "post" => {
                let (body, _) = body_of(request.consume());
                reply_with(out, fetch(Method::Post, query, &body));
            }
            "both" => both(query, out),
            "trap" => core::arch::wasm32::unreachable(),
            "none" => {}
            "unfinished" => unfinished(out, query),
            "forgotten" => unfinished(out, "open"),
            "exit" => exit(out, query),
            "trailers" => trailers(out),
            "timing" => plain(out, Some(("server-timing", "db;dur=5")), None),
            "sleep" => {
                let nanos = query.parse::<u64>().unwrap_or(0).saturating_mul(1_000_000);
                wasip2::clocks::monotonic_clock::subscribe_duration(nanos).block();
                reply(out, 200, b"awake");
            }
            "error" => ResponseOutparam::set(out, Err(ErrorCode::LoopDetected)),
            _ => reply(out, 200, b"hello"),
        }
    }
}

/// `done`, with a header or a trailer.
fn plain(out: ResponseOutparam, header: Option<(&str, &str)>, trailer: Option<(&str, &str)>) {
    let fields = |pair: (&str, &str)| {
        let fields = Fields::new();
        fields.append(pair.0, pair.1.as_bytes()).unwrap();
        fields
    };
    let response = OutgoingResponse::new(header.map_or_else(Fields::new, fields));
    let outgoing = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    write(&outgoing, b"done");
    OutgoingBody::finish(outgoing, trailer.map(fields)).unwrap();
}

/// The request as it came, in headers; its body and trailers.
fn echo(request: IncomingRequest, out: ResponseOutparam) {
    let headers = Fields::new();
    let add = |name: &str, value: &str| headers.append(name, value.as_bytes()).unwrap();
    add("x-method", &format!("{:?}", request.method()));
    add("x-target", &request.path_with_query().unwrap_or_default());
    add("x-scheme", &format!("{:?}", request.scheme()));
    add("x-authority", &request.authority().unwrap_or_default());
    for (name, value) in request.headers().entries() {
        if name.starts_with("x-a-") {
            headers.append(&name, &value).unwrap();
        }
    }
    headers.append("set-cookie", b"a=1").unwrap();
    headers.append("set-cookie", b"b=2").unwrap();
    let (body, trailers) = body_of(request.consume());
    let response = OutgoingResponse::new(headers);
    response.set_status_code(201).unwrap();
    let outgoing = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    write(&outgoing, &body);
    OutgoingBody::finish(outgoing, trailers).unwrap();
}

fn reply(out: ResponseOutparam, status: u16, body: &[u8]) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).unwrap();
    let outgoing = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    write(&outgoing, body);
    OutgoingBody::finish(outgoing, None).unwrap();
}

fn reply_with(out: ResponseOutparam, fetched: Result<(u16, Vec<u8>), ErrorCode>) {
    match fetched {
        Ok((status, body)) => {
            let mut text = format!("{status}: ").into_bytes();
            text.extend(body);
            reply(out, 200, &text);
        }
        Err(code) => reply(out, 502, format!("{code:?}").as_bytes()),
    }
}

/// A reply whose body is given up, or kept open to the end as if more were to come.
fn unfinished(out: ResponseOutparam, how: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let outgoing = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    if how == "empty" {
        return core::mem::forget(outgoing);
    }
    write(&outgoing, b"half");
    match how {
        "open" => core::mem::forget(outgoing),
        _ => drop(outgoing),
    }
}

/// A whole reply, or half a one, and then the end of the program.
fn exit(out: ResponseOutparam, how: &str) {
    match how {
        "whole" | "" => reply(out, 200, b"done"),
        "half" => unfinished(out, "open"),
        "failed" => reply(out, 200, b"done"),
        _ => {}
    }
    let status = if how == "failed" { Err(()) } else { Ok(()) };
    wasip2::cli::exit::exit(status);
}

fn trailers(out: ResponseOutparam) {
    let headers = Fields::new();
    headers.append("server-timing", b"db;dur=5").unwrap();
    let response = OutgoingResponse::new(headers);
    let outgoing = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    write(&outgoing, b"done");
    let trailers = Fields::new();
    trailers.append("x-end", b"1").unwrap();
    OutgoingBody::finish(outgoing, Some(trailers)).unwrap();
}

fn write(body: &OutgoingBody, bytes: &[u8]) {
    let stream = body.write().unwrap();
    for piece in bytes.chunks(4096) {
        // The host closes it when it takes no more.
        if stream.blocking_write_and_flush(piece).is_err() {
            return;
        }
    }
}

fn body_of(body: Result<IncomingBody, ()>) -> (Vec<u8>, Option<Fields>) {
    let body = body.unwrap();
    let mut bytes = Vec::new();
    let stream = body.stream().unwrap();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(piece) => bytes.extend(piece),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => panic!("{}", error.to_debug_string()),
        }
    }
    drop(stream);
    let trailers = IncomingBody::finish(body);
    trailers.subscribe().block();
    let trailers = trailers.get().unwrap().unwrap().unwrap();
    (bytes, trailers.map(|fields| fields.clone()))
}

fn ask(method: Method, url: &str, body: &[u8]) -> Result<FutureIncomingResponse, ErrorCode> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let request = OutgoingRequest::new(Fields::new());
    request.set_method(&method).unwrap();
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(Some(&format!("/{path}"))).unwrap();
    let outgoing = request.body().unwrap();
    let response = outgoing_handler::handle(request, None)?;
    write(&outgoing, body);
    OutgoingBody::finish(outgoing, None)?;
    Ok(response)
}

fn answer(response: FutureIncomingResponse) -> Result<(u16, Vec<u8>), ErrorCode> {
    response.subscribe().block();
    let response = response.get().unwrap().unwrap()?;
    let status = response.status();
    let (body, _) = body_of(response.consume());
    Ok((status, body))
}

fn fetch(method: Method, url: &str, body: &[u8]) -> Result<(u16, Vec<u8>), ErrorCode> {
    answer(ask(method, url, body)?)
}

/// Two requests at the same time, answered in the order in which they come.
fn both(urls: &str, out: ResponseOutparam) {
    let asked = urls.split('|').map(|url| ask(Method::Get, url, &[]).unwrap());
    let mut asked: Vec<FutureIncomingResponse> = asked.collect();
    let mut text = String::new();
    while !asked.is_empty() {
        let ready = {
            let pollables: Vec<_> = asked.iter().map(|one| one.subscribe()).collect();
            poll::poll(&pollables.iter().collect::<Vec<_>>())
        };
        let one = asked.remove(ready[0] as usize);
        match answer(one) {
            Ok((status, body)) => {
                text += &format!("{status}: {}\n", String::from_utf8_lossy(&body));
            }
            Err(code) => text += &format!("{code:?}\n"),
        }
    }
    reply(out, 200, text.as_bytes());
}
