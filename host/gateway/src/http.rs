//! HTTP and components that take it as it is, by `wasi:http`: a request goes in whole, as the map
//! that `docs/wasi.md` has, and a response comes out as one. What comes out is of a guest, and
//! trusted in nothing.

use std::convert::Infallible;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request::Parts},
    response::Response,
};
use bytes::Bytes;
use futures_util::stream::iter;
use http_body_util::StreamBody;
use hyper::body::Frame;
use izna_proto::http::{self as wire, Field};

use crate::{exchange, headers, refusal::Refusal};

/// The interface whose function is called so.
const HANDLER: &str = "wasi:http/incoming-handler";

/// Whether the function of a route is one that takes requests as they are.
pub(crate) fn is_http(function: &str) -> bool {
    function.strip_prefix(HANDLER).is_some_and(|rest| rest.starts_with(['@', '.']))
}

/// A request as the arguments of a call.
pub(crate) fn request(parts: &Parts, body: &[u8], trailers: &HeaderMap) -> Bytes {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let request = wire::Request {
        authority: parts.uri.authority().map(|authority| authority.as_str()).or(host),
        headers: fields(&parts.headers),
        body,
        trailers: fields(trailers),
        ..wire::Request::new(parts.method.as_str(), path)
    };
    request.to_arguments()
}

fn fields(map: &HeaderMap) -> Vec<Field<'_>> {
    headers::of_the_request(map).map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// The response that a result is, to a request of these parts.
pub(crate) fn response(result: &Bytes, parts: &Parts) -> Result<Response, Refusal> {
    let result_of = wire::Response::of_result(result);
    let found = result_of.map_err(|_| Refusal::bad_response("an invalid HTTP response"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = exchange::status(found.status)?;
    *response.headers_mut() = header_map(&found.headers)?;
    let length = response.headers_mut().remove(header::CONTENT_LENGTH);
    // Of an answer to HEAD the length is that of the body which a GET would have got.
    if let Some(length) = length.filter(|_| parts.method == Method::HEAD && found.body.is_empty()) {
        response.headers_mut().insert(header::CONTENT_LENGTH, length);
    }
    let data = result.slice_ref(found.body);
    let trailers = header_map(&found.trailers)?;
    if trailers.is_empty() || !takes_trailers(parts) {
        *response.body_mut() = Body::from(data);
        return Ok(response);
    }
    let names: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
    if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
        response.headers_mut().insert(header::TRAILER, names);
    }
    let frames = [Ok::<_, Infallible>(Frame::data(data)), Ok(Frame::trailers(trailers))];
    // Of no length that is known, so that it goes out in chunks, which trailers may follow.
    *response.body_mut() = Body::new(StreamBody::new(iter(frames)));
    Ok(response)
}

/// Whether the client reads trailers, and its connection can have them (RFC 9110 section 6.5.1).
fn takes_trailers(parts: &Parts) -> bool {
    let says = |value: &HeaderValue| {
        let words = value.to_str().unwrap_or_default().split(',');
        words.map(|word| word.split(';').next().unwrap_or_default()).any(is_trailers)
    };
    let is_new = parts.version >= Version::HTTP_11 && parts.method != Method::HEAD;
    is_new && parts.headers.get_all(header::TE).iter().any(says)
}

fn is_trailers(word: &str) -> bool {
    word.trim().eq_ignore_ascii_case("trailers")
}

/// A guest's headers, as far as they are its to say.
fn header_map(fields: &[Field<'_>]) -> Result<HeaderMap, Refusal> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        headers::add(&mut map, name, value)?;
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use axum::http::Request;
    use ciborium::Value;
    use hyper::body::Body as _;
    use izna_proto::cbor::{self, Form};
    use serde_json::json as json_of;

    /// If this failed, a component would get another request than was made, or headers that belong
    /// to the connection.
    #[test]
    fn requests_go_in_as_they_are() {
        let request = Request::put("/a%2Fb?c=%20&c")
            .header("host", "shop.example:8080")
            .header("accept", "a")
            .header("accept", HeaderValue::from_bytes(b"\xe9").unwrap())
            .header("te", "trailers")
            .header("connection", "x-private")
            .header("x-private", "1")
            .header("x-izna-process", "p-1")
            .body(())
            .unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("9"));
        trailers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        let bytes = super::request(&request.into_parts().0, b"body", &trailers);
        cbor::check(&bytes, Form::Deterministic, &cbor::Limits::default()).unwrap();
        let seen = json::from_cbor(json::decode(&bytes).unwrap());
        let of = |text: &[u8]| json::from_cbor(Value::Bytes(text.to_vec()));
        let expected = json_of!([{
            "body": of(b"body"),
            "path": "/a%2Fb?c=%20&c",
            "method": "PUT",
            "scheme": "http",
            "headers": [
                ["host", of(b"shop.example:8080")], ["accept", of(b"a")], ["accept", of(b"\xe9")],
            ],
            "trailers": [["x-sum", of(b"9")]],
            "authority": "shop.example:8080",
        }]);
        assert_eq!(seen, expected);
    }

    fn parts(method: &str, te: &str) -> Parts {
        let request = Request::builder().method(method).uri("/").header("te", te);
        request.body(()).unwrap().into_parts().0
    }

    fn result(status: u64, headers: &[Field<'_>], body: &[u8]) -> Bytes {
        let (headers, trailers) = (headers.to_vec(), Vec::new());
        wire::Response { status, headers, body, trailers }.to_result()
    }

    /// If this failed, a guest's reply would change on its way, or speak for the connection.
    #[test]
    fn responses_come_out_as_they_are() {
        let headers: [Field<'_>; 5] = [
            ("set-cookie", b"a=1"),
            ("set-cookie", b"b=\xe9"),
            ("content-length", b"99"),
            ("transfer-encoding", b"chunked"),
            ("x-izna-nodes", b"mine"),
        ];
        let got = response(&result(404, &headers, b"no"), &parts("GET", "")).unwrap();
        assert_eq!(got.status(), 404);
        let cookies: Vec<_> = got.headers().get_all("set-cookie").iter().collect();
        assert_eq!(cookies, [&b"a=1"[..], b"b=\xe9"]);
        assert_eq!(got.headers().len(), 2);
        let head = response(&result(200, &headers, b""), &parts("HEAD", "")).unwrap();
        assert_eq!(head.headers()["content-length"], "99");
    }

    /// If this failed, a guest could end the gateway, or split its response in two.
    #[test]
    fn responses_that_are_none_are_told() {
        let said = |bytes: Bytes| response(&bytes, &parts("GET", "")).unwrap_err().to_string();
        assert!(said(result(101, &[], b"")).ends_with("an invalid status: expected 200 to 599"));
        assert!(said(result(200, &[("a", b"b\r\nc: d")], b"")).ends_with("an invalid value"));
        assert!(said(result(200, &[("a b", b"")], b"")).ends_with("an invalid name"));
        let broken: [&'static [u8]; 3] = [&[0xa0], &[0xf6], &[0xff]];
        for bytes in broken {
            assert!(said(Bytes::from_static(bytes)).ends_with("an invalid HTTP response"));
        }
    }

    /// If this failed, trailers would be announced and not sent, or sent to who does not read them.
    #[test]
    fn trailers_go_to_who_reads_them() {
        let result = wire::Response {
            status: 200,
            headers: Vec::new(),
            body: b"done",
            trailers: vec![("x-end", b"1")],
        };
        let result = result.to_result();
        let announced = |method: &str, te: &str| {
            let response = response(&result, &parts(method, te)).unwrap();
            let is_sized = response.body().size_hint().exact().is_some();
            let trailer = response.headers().get(header::TRAILER).cloned();
            assert_eq!(is_sized, trailer.is_none(), "{method} {te}");
            trailer.is_some()
        };
        assert!(announced("GET", "trailers") && announced("GET", "gzip;q=0.5, Trailers"));
        assert!(!announced("GET", "") && !announced("HEAD", "trailers"));
    }

    /// If this failed, a component would be called with another kind of argument than it takes.
    #[test]
    fn handlers_are_known_by_their_name() {
        assert!(is_http("wasi:http/incoming-handler@0.2.3.handle"));
        assert!(is_http("wasi:http/incoming-handler.handle"));
        assert!(!is_http("wasi:http/incoming-handlers.handle") && !is_http("handle"));
    }
}
