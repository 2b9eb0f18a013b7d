//! Answers every request with a few bytes, as a wasi:http 0.2 component: what `bench-peers` gives
//! to `wasmtime serve`. It is no part of Izna.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Hello;

impl Guest for Hello {
    fn handle(_: IncomingRequest, out: ResponseOutparam) {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("a body");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("a stream");
        stream.blocking_write_and_flush(b"Hello, world").expect("a client that reads");
        drop(stream);
        OutgoingBody::finish(body, None).expect("a whole body");
    }
}

wasip2::http::proxy::export!(Hello);
