//! Speaks HTTP itself, in Rust: answers each request with its path.

wit_bindgen::generate!({ world: "hello-service", path: "../../hello-wit", generate_all });

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

impl Guest for Hello {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_else(|| "/".into());
        let headers = Fields::new();
        let text = b"text/plain; charset=utf-8";
        headers.append("content-type", text).expect("a header that may be set");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("the body, once");
        ResponseOutparam::set(answer, Ok(response));
        let stream = body.write().expect("the stream, once");
        let hello = format!("Hello from Rust at {path}\n");
        stream.blocking_write_and_flush(hello.as_bytes()).expect("a client that reads");
        drop(stream);
        OutgoingBody::finish(body, None).expect("a whole body");
    }
}

export!(Hello);
