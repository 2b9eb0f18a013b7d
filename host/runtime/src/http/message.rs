//! HTTP requests and responses as CBOR: what a process carries to a wasi:http component and back.
//! `docs/wasi.md` has the form. Whoever wrote it is trusted in nothing.

use std::future::ready;

use bytes::Bytes;
use ciborium_ll::Header;
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::value::cbor::{Input, Output, name};
use crate::value::{Fault, Misfit};

/// The most header fields of a message.
const HEADERS_MAX: usize = 1024;
/// Who is asked where the request does not say: no more than a name, for there is but one.
const AUTHORITY: &str = "localhost";

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
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let has_trailers = !body.trailers.is_empty();
    let mut output = Output(Vec::with_capacity(body.data.len() + 512));
    output.array(1);
    output.map(5 + usize::from(authority.is_some()) + usize::from(has_trailers));
    // The deterministic order: shorter keys first.
    output.text("body");
    output.bytes(&body.data);
    output.text("path");
    output.text(uri.path_and_query().map_or("/", |path| path.as_str()));
    output.text("method");
    output.text(request.method().as_str());
    output.text("scheme");
    output.text(uri.scheme_str().unwrap_or("http"));
    write_headers(&mut output, "headers", request.headers());
    if has_trailers {
        write_headers(&mut output, "trailers", &body.trailers);
    }
    if let Some(authority) = authority {
        output.text("authority");
        output.text(authority);
    }
    output.0.into()
}

/// A result: a response.
pub(crate) fn write_response(response: &Response<Whole>) -> Bytes {
    let body = response.body();
    let has_trailers = !body.trailers.is_empty();
    let mut output = Output(Vec::with_capacity(body.data.len() + 256));
    output.map(3 + usize::from(has_trailers));
    output.text("body");
    output.bytes(&body.data);
    output.text("status");
    output.unsigned(response.status().as_u16().into());
    write_headers(&mut output, "headers", response.headers());
    if has_trailers {
        write_headers(&mut output, "trailers", &body.trailers);
    }
    output.0.into()
}

fn write_headers(output: &mut Output, key: &str, headers: &HeaderMap) {
    output.text(key);
    output.array(headers.len());
    for (name, value) in headers {
        output.array(2);
        output.text(name.as_str());
        output.bytes(value.as_bytes());
    }
}

/// The parts of a message that its map has.
#[derive(Default)]
struct Parts {
    body: Whole,
    path: Option<String>,
    query: String,
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<String>,
    status: Option<StatusCode>,
    headers: HeaderMap,
}

/// The request that the arguments of a call are.
pub(crate) fn read_request(bytes: &Bytes) -> Result<Request<Whole>, Misfit> {
    arguments(bytes).map_err(misfit)
}

fn arguments(bytes: &Bytes) -> Result<Request<Whole>, Fault> {
    let mut input = Input::new(bytes);
    let whole = match input.head()? {
        Header::Array(length) => input.enter(length, 1)?,
        other => return Err(Fault::wanted("an array of one request", name(other))),
    };
    if whole.length != 1 {
        return Err(Fault::wanted("an array of one request", format!("{} values", whole.length)));
    }
    let parts = read_parts(bytes, &mut input)?;
    input.leave(whole)?;
    input.end()?;
    let path = parts.path.ok_or_else(|| Fault::misfit("it is missing").within("path"))?;
    let path = match (parts.query.is_empty(), path.contains('?')) {
        (true, _) => path,
        (false, false) => format!("{path}?{}", parts.query),
        (false, true) => format!("{path}&{}", parts.query),
    };
    let uri = Uri::builder()
        .scheme(parts.scheme.unwrap_or(Scheme::HTTP))
        .authority(parts.authority.as_deref().unwrap_or(AUTHORITY))
        .path_and_query(path)
        .build();
    let uri = uri.map_err(|error| Fault::misfit(error.to_string()).within("path or authority"))?;
    let mut request = Request::new(parts.body);
    *request.method_mut() = parts.method.unwrap_or_default();
    *request.uri_mut() = uri;
    *request.headers_mut() = parts.headers;
    Ok(request)
}

/// The response that a result is.
pub(crate) fn read_response(bytes: &Bytes) -> Result<Response<Whole>, Misfit> {
    let read = || {
        let mut input = Input::new(bytes);
        let parts = read_parts(bytes, &mut input)?;
        input.end()?;
        let status = parts.status.ok_or_else(|| Fault::misfit("it is missing").within("status"))?;
        let mut response = Response::new(parts.body);
        *response.status_mut() = status;
        *response.headers_mut() = parts.headers;
        Ok(response)
    };
    read().map_err(misfit)
}

fn misfit(fault: Fault) -> Misfit {
    match fault {
        Fault::Misfit(misfit) => misfit,
        Fault::Engine(error) => Misfit::new(format!("{error:#}")),
    }
}

fn read_parts(bytes: &Bytes, input: &mut Input<'_>) -> Result<Parts, Fault> {
    let map = match input.head()? {
        Header::Map(length) => input.enter(length, 2)?,
        other => return Err(Fault::wanted("a map", name(other))),
    };
    let mut parts = Parts::default();
    for _ in 0..map.length {
        let key = input.text("a text as key")?;
        read_part(bytes, input, key, &mut parts).map_err(|fault| fault.within(key))?;
    }
    input.leave(map)?;
    Ok(parts)
}

/// Keys that mean nothing here are skipped: others may have a use for them.
fn read_part(
    bytes: &Bytes,
    input: &mut Input<'_>,
    key: &str,
    parts: &mut Parts,
) -> Result<(), Fault> {
    let bad = |what: &str| Fault::misfit(format!("it is no {what}"));
    match key {
        "body" => parts.body.data = bytes.slice_ref(string(input)?),
        "path" => parts.path = Some(input.text("a text")?.to_owned()),
        "query" => parts.query = read_query(input)?,
        "method" => {
            let method = Method::from_bytes(input.text("a text")?.as_bytes());
            parts.method = Some(method.map_err(|_| bad("method"))?);
        }
        "scheme" => {
            let scheme = Scheme::try_from(input.text("a text")?);
            parts.scheme = Some(scheme.map_err(|_| bad("scheme"))?);
        }
        "authority" => parts.authority = Some(input.text("a text")?.to_owned()),
        "status" => {
            let Header::Positive(status) = input.head()? else { return Err(bad("status")) };
            let status = u16::try_from(status).ok().and_then(|n| StatusCode::from_u16(n).ok());
            parts.status = Some(status.ok_or_else(|| bad("status"))?);
        }
        "headers" => parts.headers = read_headers(input)?,
        "trailers" => parts.body.trailers = read_headers(input)?,
        _ => drop(input.any()?),
    }
    Ok(())
}

/// The bytes of a byte string or a text.
fn string<'a>(input: &mut Input<'a>) -> Result<&'a [u8], Fault> {
    match input.head()? {
        Header::Bytes(Some(length)) | Header::Text(Some(length)) => input.string(length),
        other => Err(Fault::wanted("a byte string or a text", name(other))),
    }
}

/// A query as it stands, or a map of what it means.
fn read_query(input: &mut Input<'_>) -> Result<String, Fault> {
    let mut query = String::new();
    match input.head()? {
        Header::Text(Some(length)) => query.push_str(input.text_of(length)?),
        Header::Map(length) => {
            let map = input.enter(length, 2)?;
            for index in 0..map.length {
                if index > 0 {
                    query.push('&');
                }
                escape(input.text("a text")?, &mut query);
                query.push('=');
                escape(input.text("a text")?, &mut query);
            }
            input.leave(map)?;
        }
        other => return Err(Fault::wanted("a text or a map", name(other))),
    }
    Ok(query)
}

/// Percent-encode what is not the same in any URL.
fn escape(text: &str, query: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                query.push(byte.into());
            }
            _ => query.push_str(&format!("%{byte:02X}")),
        }
    }
}

fn read_headers(input: &mut Input<'_>) -> Result<HeaderMap, Fault> {
    let list = match input.head()? {
        Header::Array(length) => input.enter(length, 1)?,
        other => return Err(Fault::wanted("an array of pairs", name(other))),
    };
    if list.length > HEADERS_MAX {
        let count = list.length;
        return Err(Fault::misfit(format!("{count} headers are over the limit of {HEADERS_MAX}")));
    }
    let mut headers = HeaderMap::with_capacity(list.length);
    for _ in 0..list.length {
        let pair = match input.head()? {
            Header::Array(length) => input.enter(length, 1)?,
            other => return Err(Fault::wanted("a pair", name(other))),
        };
        if pair.length != 2 {
            return Err(Fault::wanted("a pair", format!("{} values", pair.length)));
        }
        let (key, value) = (string(input)?, string(input)?);
        input.leave(pair)?;
        let key = HeaderName::from_bytes(key).map_err(|_| Fault::misfit("a name is not valid"))?;
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| Fault::misfit("a value is not valid").within(format!("[{key}]")))?;
        headers.append(key, value);
    }
    input.leave(list)?;
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
        assert_eq!(of(cbor!([{"method" => "G T", "path" => "/"}])), "method: it is no method");
        let split = cbor!([{"path" => "/", "headers" => [["a", "b\r\nc: d"]]}]);
        assert_eq!(of(split), "headers[a]: a value is not valid");
        let many = vec![("a", "b"); HEADERS_MAX + 1];
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
