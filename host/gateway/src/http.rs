//! HTTP and components that take it as it is, by `wasi:http`: a request goes in whole, as the map
//! that `docs/wasi.md` has, and a response comes out as one. What comes out is of a guest, and
//! trusted in nothing.

use std::future::ready;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::Response,
};
use bytes::Bytes;
use ciborium::Value;
use http_body_util::{BodyExt, Full};

use crate::{
    exchange::{self, ARRAY, BYTES, MAP, Writer, bad, is_ours_or_hop_by_hop},
    refusal::Refusal,
};

/// The interface whose function is called so.
const HANDLER: &str = "wasi:http/incoming-handler";

/// Whether the function of a route is one that takes requests as they are.
pub(crate) fn is_http(function: &str) -> bool {
    function.strip_prefix(HANDLER).is_some_and(|rest| rest.starts_with(['@', '.']))
}

/// A request as the CBOR array of one argument, a map in the deterministic order of its keys.
pub(crate) fn request(parts: &Parts, body: &[u8], trailers: &HeaderMap) -> Bytes {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = parts.uri.authority().map(|authority| authority.as_str()).or(host);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut writer = Writer { bytes: Vec::with_capacity(body.len() + 1024) };
    writer.head(ARRAY, 1);
    let optional = usize::from(authority.is_some()) + usize::from(!trailers.is_empty());
    writer.head(MAP, 5 + optional);
    writer.text("body");
    writer.head(BYTES, body.len());
    writer.bytes.extend_from_slice(body);
    writer.text("path");
    writer.text(path);
    writer.text("method");
    writer.text(parts.method.as_str());
    writer.text("scheme");
    writer.text("http");
    write_headers(&mut writer, "headers", &parts.headers);
    if !trailers.is_empty() {
        write_headers(&mut writer, "trailers", trailers);
    }
    if let Some(authority) = authority {
        writer.text("authority");
        writer.text(authority);
    }
    writer.bytes.into()
}

fn write_headers(writer: &mut Writer, key: &str, headers: &HeaderMap) {
    let kept: Vec<(&HeaderName, &HeaderValue)> = exchange::of_the_request(headers).collect();
    writer.text(key);
    writer.head(ARRAY, kept.len());
    for (name, value) in kept {
        writer.head(ARRAY, 2);
        writer.text(name.as_str());
        writer.head(BYTES, value.as_bytes().len());
        writer.bytes.extend_from_slice(value.as_bytes());
    }
}

/// The response that a result is, to a request of this method.
pub(crate) fn response(result: &[u8], method: &Method) -> Result<Response, Refusal> {
    let Value::Map(parts) = exchange::value(result)? else { return Err(bad("no response")) };
    let mut response = Response::new(Body::empty());
    let (mut data, mut trailers, mut length) = (Bytes::new(), HeaderMap::new(), None);
    let mut has_status = false;
    for (key, value) in parts {
        match (key.as_text(), value) {
            (Some("status"), Value::Integer(status)) => {
                let number = u16::try_from(status).ok().filter(|n| (200..=599).contains(n));
                let status = number.and_then(|n| StatusCode::from_u16(n).ok());
                *response.status_mut() = status.ok_or(bad("a status that is not 200 to 599"))?;
                has_status = true;
            }
            (Some("body"), Value::Bytes(body)) => data = body.into(),
            (Some("headers"), Value::Array(list)) => {
                let mut headers = headers(list)?;
                length = headers.remove(header::CONTENT_LENGTH);
                *response.headers_mut() = headers;
            }
            (Some("trailers"), Value::Array(list)) => trailers = headers(list)?,
            _ => {}
        }
    }
    if !has_status {
        return Err(bad("no response"));
    }
    // Of an answer to HEAD the length is that of the body which a GET would have got.
    if let Some(length) = length.filter(|_| *method == Method::HEAD && data.is_empty()) {
        response.headers_mut().insert(header::CONTENT_LENGTH, length);
    }
    if trailers.is_empty() {
        *response.body_mut() = Body::from(data);
        return Ok(response);
    }
    let names: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
    if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
        response.headers_mut().insert(header::TRAILER, names);
    }
    let whole = Full::new(data).with_trailers(ready(Some(Ok(trailers))));
    *response.body_mut() = Body::new(whole);
    Ok(response)
}

/// A guest's headers. Those of one connection and the gateway's own are not its to say.
fn headers(list: Vec<Value>) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::new();
    for pair in list {
        let pair = pair.into_array().unwrap_or_default();
        let [Value::Text(name), value] = pair.as_slice() else {
            return Err(bad("a header that is no pair"));
        };
        let value = match value {
            Value::Bytes(value) => HeaderValue::from_bytes(value),
            Value::Text(value) => HeaderValue::from_str(value),
            _ => return Err(bad("a header whose value is not valid")),
        };
        let name = HeaderName::from_bytes(name.as_bytes());
        let name = name.map_err(|_| bad("a header whose name is not valid"))?;
        let value = value.map_err(|_| bad("a header whose value is not valid"))?;
        if !is_ours_or_hop_by_hop(&name) {
            headers.try_append(name, value).map_err(|_| bad("too many headers"))?;
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use axum::http::Request;
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

    fn result(status: i64, headers: &[(&str, &[u8])], body: &[u8]) -> Vec<u8> {
        let headers = headers.iter().map(|(name, value)| {
            Value::Array(vec![Value::Text((*name).into()), Value::Bytes(value.to_vec())])
        });
        let text = |text: &str| Value::Text(text.into());
        json::encode(&Value::Map(vec![
            (text("status"), Value::Integer(status.into())),
            (text("headers"), Value::Array(headers.collect())),
            (text("body"), Value::Bytes(body.to_vec())),
        ]))
    }

    /// If this failed, a guest's reply would change on its way, or speak for the connection.
    #[test]
    fn responses_come_out_as_they_are() {
        let headers: [(&str, &[u8]); 5] = [
            ("set-cookie", b"a=1"),
            ("set-cookie", b"b=\xe9"),
            ("content-length", b"99"),
            ("transfer-encoding", b"chunked"),
            ("x-izna-nodes", b"mine"),
        ];
        let got = response(&result(404, &headers, b"no"), &Method::GET).unwrap();
        assert_eq!(got.status(), 404);
        let cookies: Vec<_> = got.headers().get_all("set-cookie").iter().collect();
        assert_eq!(cookies, [&b"a=1"[..], b"b=\xe9"]);
        assert_eq!(got.headers().len(), 2);
        let head = response(&result(200, &headers, b""), &Method::HEAD).unwrap();
        assert_eq!(head.headers()["content-length"], "99");
    }

    /// If this failed, a guest could end the gateway, or split its response in two.
    #[test]
    fn responses_that_are_none_are_told() {
        let said = |bytes: &[u8]| response(bytes, &Method::GET).unwrap_err().to_string();
        assert!(said(&result(101, &[], b"")).ends_with("a status that is not 200 to 599"));
        assert!(said(&result(200, &[("a", b"b\r\nc: d")], b"")).ends_with("is not valid"));
        assert!(said(&result(200, &[("a b", b"")], b"")).ends_with("is not valid"));
        assert!(said(&json::encode(&Value::Map(vec![]))).ends_with("no response"));
        assert!(said(&json::encode(&Value::Null)).ends_with("no response"));
        assert!(said(&[0xff]).ends_with("no valid CBOR"));
    }

    /// If this failed, a component would be called with another kind of argument than it takes.
    #[test]
    fn handlers_are_known_by_their_name() {
        assert!(is_http("wasi:http/incoming-handler@0.2.3.handle"));
        assert!(is_http("wasi:http/incoming-handler.handle"));
        assert!(!is_http("wasi:http/incoming-handlers.handle") && !is_http("handle"));
    }
}
