//! HTTP requests and responses of this process's types, to and from the values that a process
//! carries (`izna_proto::http`). Whoever wrote one is trusted in nothing.

use std::future::ready;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use izna_proto::cbor::Misfit;
use izna_proto::http::{self as wire, Field, Query};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use wasmtime_wasi_http::{Error, WasiBody};

/// Who is asked where the request does not say: no more than a name, for there is but one.
const AUTHORITY: &str = "localhost";
/// What is not the same in any URL.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A body that is all there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whole {
    /// Its bytes.
    pub data: Bytes,
    /// The headers after it.
    pub trailers: HeaderMap,
}

impl Whole {
    /// The same for who reads a body piece by piece.
    pub(crate) fn into_body(self) -> WasiBody {
        let data = Full::new(self.data).map_err(Error::from);
        match self.trailers.is_empty() {
            true => data.boxed_unsync(),
            false => data.with_trailers(ready(Some(Ok(self.trailers)))).boxed_unsync(),
        }
    }
}

/// The arguments of a call: a request, alone.
pub(crate) fn write_request(request: &Request<Whole>) -> Bytes {
    let (uri, body) = (request.uri(), request.body());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let written = wire::Request {
        scheme: uri.scheme_str().unwrap_or("http"),
        authority: uri.authority().map(Authority::as_str),
        headers: fields(request.headers()),
        body: &body.data,
        trailers: fields(&body.trailers),
        ..wire::Request::new(request.method().as_str(), path)
    };
    written.to_arguments()
}

/// A result: a response.
pub(crate) fn write_response(response: &Response<Whole>) -> Bytes {
    let body = response.body();
    let written = wire::Response {
        status: response.status().as_u16().into(),
        headers: fields(response.headers()),
        body: &body.data,
        trailers: fields(&body.trailers),
    };
    written.to_result()
}

fn fields(headers: &HeaderMap) -> Vec<Field<'_>> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// The request that the arguments of a call are.
pub(crate) fn read_request(bytes: &Bytes) -> Result<Request<Whole>, Misfit> {
    let wire::Request { method, path, query, scheme, authority, headers, body, trailers } =
        wire::Request::of_arguments(bytes)?;
    let bad = |part: &str| Misfit::new(format!("it is not a valid {part}")).within(part);
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| bad("method"))?;
    let scheme = Scheme::try_from(scheme).map_err(|_| bad("scheme"))?;
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority.unwrap_or(AUTHORITY))
        .path_and_query(path_and_query(path, &query))
        .build();
    let uri = uri.map_err(|error| Misfit::new(error.to_string()).within("path or authority"))?;
    let trailers = header_map(&trailers).map_err(|misfit| misfit.within("trailers"))?;
    let mut request = Request::new(Whole { data: bytes.slice_ref(body), trailers });
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = header_map(&headers).map_err(|misfit| misfit.within("headers"))?;
    Ok(request)
}

/// The response that a result is.
pub(crate) fn read_response(bytes: &Bytes) -> Result<Response<Whole>, Misfit> {
    let wire::Response { status, headers, body, trailers } = wire::Response::of_result(bytes)?;
    let status = u16::try_from(status).ok().and_then(|n| StatusCode::from_u16(n).ok());
    let status = status.ok_or_else(|| Misfit::new("it is not a valid status").within("status"))?;
    let trailers = header_map(&trailers).map_err(|misfit| misfit.within("trailers"))?;
    let mut response = Response::new(Whole { data: bytes.slice_ref(body), trailers });
    *response.status_mut() = status;
    *response.headers_mut() = header_map(&headers).map_err(|misfit| misfit.within("headers"))?;
    Ok(response)
}

fn path_and_query(path: &str, query: &Query<'_>) -> String {
    let query = match query {
        Query::Text(text) => (*text).to_owned(),
        Query::Pairs(pairs) => {
            let escaped = |text| utf8_percent_encode(text, RESERVED);
            let pairs = pairs.iter().map(|(n, v)| format!("{}={}", escaped(n), escaped(v)));
            pairs.collect::<Vec<_>>().join("&")
        }
    };
    match (query.is_empty(), path.contains('?')) {
        (true, _) => path.to_owned(),
        (false, false) => format!("{path}?{query}"),
        (false, true) => format!("{path}&{query}"),
    }
}

fn header_map(fields: &[Field<'_>]) -> Result<HeaderMap, Misfit> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes());
        let name = name.map_err(|_| Misfit::new("a name is not valid"))?;
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| Misfit::new("a value is not valid").within(format!("[{name}]")))?;
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(method: &str, uri: &str) -> Request<Whole> {
        let request = Request::builder().method(method).uri(uri);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("9"));
        let body = Whole { data: Bytes::from_static(b"abc"), trailers };
        request
            .header("accept", "*/*")
            .header("cookie", HeaderValue::from_bytes(b"\xe9").unwrap())
            .header("cookie", "2")
            .body(body)
            .unwrap()
    }

    /// If this failed, a component would get another request than was made.
    #[test]
    fn requests_come_back_as_they_went() {
        let sent = request("PATCH", "https://a.example:81/p%20q?x=%2f&y");
        let found = read_request(&write_request(&sent)).unwrap();
        assert_eq!((found.method(), found.uri()), (sent.method(), sent.uri()));
        assert_eq!((found.headers(), found.body()), (sent.headers(), sent.body()));
    }

    /// If this failed, a caller would get another reply than was given.
    #[test]
    fn responses_come_back_as_they_went() {
        let (parts, body) = request("GET", "/").into_parts();
        let mut sent = Response::builder().status(418).body(body).unwrap();
        *sent.headers_mut() = parts.headers;
        let found = read_response(&write_response(&sent)).unwrap();
        assert_eq!((found.status(), found.headers()), (sent.status(), sent.headers()));
        assert_eq!(found.body(), sent.body());
    }

    fn told(value: &ciborium::Value) -> String {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).unwrap();
        read_request(&bytes.into()).map_or_else(|why| why.to_string(), |r| r.uri().to_string())
    }

    /// If this failed, what other components and the command line send as a request would not be
    /// taken for one, or a mistake in it would not be told.
    #[test]
    fn requests_of_other_makers_are_taken() {
        use ciborium::cbor;
        let of = |value: Result<ciborium::Value, _>| told(&value.unwrap());
        assert_eq!(of(cbor!([{"path" => "/a"}])), "http://localhost/a");
        let query = cbor!([{"path" => "/a", "query" => {"b c" => "d&e"}, "params" => {}}]);
        assert_eq!(of(query), "http://localhost/a?b%20c=d%26e");
        assert_eq!(of(cbor!([{"path" => "/a?b", "query" => "c=d"}])), "http://localhost/a?b&c=d");
        assert_eq!(of(cbor!([])), "the value: expected an array of one request, found 0 values");
        assert_eq!(of(cbor!([{"method" => "GET"}])), "path: it is missing");
        assert_eq!(
            of(cbor!([{"method" => "G T", "path" => "/"}])),
            "method: it is not a valid method"
        );
        let split = cbor!([{"path" => "/", "headers" => [["a", "b\r\nc: d"]]}]);
        assert_eq!(of(split), "headers[a]: a value is not valid");
        let many = vec![("a", "b"); wire::FIELDS_MAX + 1];
        let many = cbor!([{"path" => "/", "headers" => many}]);
        assert_eq!(of(many), "headers: 1025 headers are over the limit of 1024");
        assert!(of(cbor!([{"path" => "/ HTTP/1.1\r\n"}])).starts_with("path or authority: "));
    }

    proptest! {
        /// If this failed, bad bytes could end a node.
        #[test]
        fn bad_bytes_are_refused(at in any::<u16>(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut bytes = write_request(&request("POST", "http://a/b?c")).to_vec();
            let at = usize::from(at) % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            let bytes = Bytes::from(bytes);
            let _ = (read_request(&bytes), read_response(&bytes));
        }
    }
}
