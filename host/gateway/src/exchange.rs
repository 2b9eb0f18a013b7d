//! HTTP to CBOR and back: the one argument that a route's function gets, and the response that its
//! result stands for. Results come from guests and are trusted in nothing.

use std::{borrow::Cow, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use bytes::Bytes;
use ciborium::Value;

use crate::{json, refusal::Refusal};

/// Headers that belong to one connection and not to the request or response.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// The namespace of the gateway's own headers.
const OWN_PREFIX: &str = "x-izna-";

/// A request as the CBOR array of one argument, a map in the deterministic order of its keys.
pub(crate) fn request(
    parts: &Parts,
    params: Vec<(String, String)>,
    body: &[u8],
) -> Result<Bytes, Refusal> {
    let query = pairs(parts.uri.query().unwrap_or_default())?;
    let params = params
        .into_iter()
        .map(|(name, value)| Ok((name, decode(&value, "a path parameter")?.into_owned())));
    let params = params.collect::<Result<_, Refusal>>()?;
    let mut writer = Writer { bytes: Vec::with_capacity(body.len() + 1024) };
    writer.head(ARRAY, 1);
    writer.head(MAP, 6);
    writer.text("body");
    writer.head(BYTES, body.len());
    writer.bytes.extend_from_slice(body);
    writer.text("path");
    writer.text(parts.uri.path());
    writer.text("query");
    writer.map(query);
    writer.text("method");
    writer.text(parts.method.as_str());
    writer.text("params");
    writer.map(params);
    writer.text("headers");
    writer.headers(&parts.headers);
    Ok(Bytes::from(writer.bytes))
}

/// The decoded pairs of a query.
pub(crate) fn pairs(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let plain = |text: &str| {
            let spaced = text.replace('+', " ");
            decode(&spaced, "the query").map(Cow::into_owned)
        };
        Ok((plain(name)?, plain(value)?))
    };
    parts.map(pair).collect()
}

/// Undo percent-encoding. What is no escape stays as it is; what is no UTF-8 is refused.
pub(crate) fn decode<'a>(text: &'a str, what: &'static str) -> Result<Cow<'a, str>, Refusal> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped =
            after.first_chunk::<2>().filter(|_| *first == b'%').and_then(|[high, low]| {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
            });
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    let text = String::from_utf8(bytes).map(Cow::Owned);
    text.map_err(|_| {
        let message = format!("{what} is not UTF-8 once it is decoded");
        Refusal::other(StatusCode::BAD_REQUEST, "bad-request", message)
    })
}

pub(crate) const BYTES: u8 = 2;
const TEXT: u8 = 3;
pub(crate) const ARRAY: u8 = 4;
pub(crate) const MAP: u8 = 5;

/// Writes deterministic CBOR. (The protocol's own writer has no maps: messages have none.)
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn head(&mut self, major: u8, length: usize) {
        let major = major << 5;
        let be = (length as u64).to_be_bytes();
        let [.., a, b, c, d] = be;
        match length {
            0..=23 => self.bytes.push(major | d),
            24..=0xff => self.bytes.extend([major | 24, d]),
            0x100..=0xffff => self.bytes.extend([major | 25, c, d]),
            0x1_0000..=0xffff_ffff => self.bytes.extend([major | 26, a, b, c, d]),
            _ => {
                self.bytes.push(major | 27);
                self.bytes.extend(be);
            }
        }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.head(TEXT, text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A map of texts; of pairs with one name the last counts.
    fn map(&mut self, mut pairs: Vec<(String, String)>) {
        pairs.reverse();
        pairs.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
        pairs.dedup_by(|(later, _), (earlier, _)| later == earlier);
        self.head(MAP, pairs.len());
        for (name, value) in pairs {
            self.text(&name);
            self.text(&value);
        }
    }

    fn headers(&mut self, headers: &HeaderMap) {
        let kept: Vec<(&str, &str)> = of_the_request(headers)
            .filter_map(|(name, value)| {
                Some((name.as_str(), std::str::from_utf8(value.as_bytes()).ok()?))
            })
            .collect();
        self.head(ARRAY, kept.len());
        for (name, value) in kept {
            self.head(ARRAY, 2);
            self.text(name);
            self.text(value);
        }
    }
}

/// The headers that are for the component: not those of the connection, nor any in the gateway's
/// name.
pub(crate) fn of_the_request(
    headers: &HeaderMap,
) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let nominated: Vec<&str> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let own = headers.iter().filter(|(name, _)| !is_ours_or_hop_by_hop(name));
    own.filter(move |(name, _)| !nominated.iter().any(|n| n.eq_ignore_ascii_case(name.as_str())))
}

pub(crate) fn is_ours_or_hop_by_hop(name: &HeaderName) -> bool {
    name.as_str().starts_with(OWN_PREFIX) || HOP_BY_HOP.contains(&name.as_str())
}

/// The response that a result stands for.
pub(crate) fn response(result: &[u8]) -> Result<Response, Refusal> {
    response_of(value(result)?)
}

/// The value that a result is.
pub(crate) fn value(result: &[u8]) -> Result<Value, Refusal> {
    json::decode(result).map_err(|_| bad("a value that is no valid CBOR"))
}

/// The response that a value stands for.
pub(crate) fn response_of(value: Value) -> Result<Response, Refusal> {
    match value {
        Value::Map(pairs) if is_response(&pairs) => from_map(pairs),
        Value::Bytes(bytes) => Ok(typed("application/octet-stream", bytes)),
        Value::Text(text) => Ok(typed("text/plain; charset=utf-8", text.into_bytes())),
        value => Ok(typed("application/json", json::from_cbor(value).to_string().into_bytes())),
    }
}

/// Whether a map is a response rather than a value to show: it has a status and a body.
fn is_response(pairs: &[(Value, Value)]) -> bool {
    let field = |name| pairs.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, v)| v);
    let body = field("body").is_some_and(|body| body.is_bytes() || body.is_text());
    body && field("status").is_some_and(Value::is_integer)
}

fn typed(content_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    let value = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

fn from_map(pairs: Vec<(Value, Value)>) -> Result<Response, Refusal> {
    let mut response = Response::new(Body::empty());
    for (key, value) in pairs {
        match (key.as_text(), value) {
            (Some("status"), Value::Integer(status)) => {
                let number = u16::try_from(status).ok().filter(|n| (200..=599).contains(n));
                let status = number.and_then(|n| StatusCode::from_u16(n).ok());
                *response.status_mut() = status.ok_or(bad("a status that is not 200 to 599"))?;
            }
            (Some("body"), Value::Bytes(body)) => *response.body_mut() = Body::from(body),
            (Some("body"), Value::Text(body)) => *response.body_mut() = Body::from(body),
            (Some("headers"), Value::Array(headers)) => {
                headers.iter().try_for_each(|pair| add_header(pair, response.headers_mut()))?;
            }
            (Some("headers"), _) => return Err(bad("headers that are no array")),
            _ => {}
        }
    }
    Ok(response)
}

/// Add a guest's header. Those of one connection, the length and the gateway's own are not its to
/// say.
fn add_header(pair: &Value, headers: &mut HeaderMap) -> Result<(), Refusal> {
    let pair = pair.as_array().map(Vec::as_slice);
    let Some([Value::Text(name), Value::Text(value)]) = pair else {
        return Err(bad("a header that is no pair of texts"));
    };
    let name = HeaderName::from_bytes(name.as_bytes());
    let name = name.map_err(|_| bad("a header whose name is not valid"))?;
    let value = HeaderValue::from_str(value);
    let value = value.map_err(|_| bad("a header whose value is not valid"))?;
    if !is_ours_or_hop_by_hop(&name) && name != header::CONTENT_LENGTH {
        let added = headers.try_append(name, value);
        added.map_err(|_| bad("too many headers"))?;
    }
    Ok(())
}

pub(crate) fn bad(what: &str) -> Refusal {
    let message = format!("the component returned {what}");
    Refusal::other(StatusCode::BAD_GATEWAY, "bad-response", message)
}

/// The trace context of a request: the client's if it is one, else a new one.
pub(crate) fn traceparent(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get("traceparent").and_then(|value| value.to_str().ok());
    given.filter(|text| is_traceparent(text)).map_or_else(new_traceparent, Arc::from)
}

fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let some = |part: &str| part.bytes().any(|b| b != b'0');
    matches!(parts.as_slice(), [version, trace, span, flags]
        if *version == "00" && hex(trace, 32) && some(trace) && hex(span, 16) && some(span)
            && hex(flags, 2))
}

fn new_traceparent() -> Arc<str> {
    use std::hash::{BuildHasher, RandomState};
    // The standard library's keys are random: that is enough for names that only must differ.
    let random = || RandomState::new().hash_one(0) | 1;
    let text = format!("00-{:016x}{:016x}-{:016x}-00", random(), random(), random());
    Arc::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use izna_proto::cbor::{self, Form};
    use serde_json::{Value as Json, json};

    fn encoded(request: Request<()>, params: &[(&str, &str)], body: &[u8]) -> Json {
        let params = params.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        let bytes = super::request(&request.into_parts().0, params, body).unwrap();
        cbor::check(&bytes, Form::Deterministic, &cbor::Limits::default()).unwrap();
        json::from_cbor(json::decode(&bytes).unwrap())
    }

    /// If this fails, components get other requests than were made, or could be lied to in the
    /// gateway's name.
    #[test]
    fn a_request_is_one_map_without_hop_by_hop_headers() {
        let request = Request::get("/a/x%2Fy?f=%5Cfrac+1&g&f=2&%zz=%C3%A9")
            .header("accept", "*/*")
            .header("connection", "close, x-private")
            .header("x-private", "1")
            .header("x-izna-process", "p-1")
            .header("x-latin", HeaderValue::from_bytes(b"\xe9").unwrap())
            .body(())
            .unwrap();
        let seen = encoded(request, &[("name", "x%2Fy")], &[0; 300]);
        assert_eq!(seen[0]["query"], json!({"f": "2", "g": "", "%zz": "é"}));
        assert_eq!(seen[0]["params"], json!({"name": "x/y"}));
        assert_eq!(seen[0]["path"], json!("/a/x%2Fy"));
        assert_eq!(seen[0]["headers"], json!([["accept", "*/*"]]));
        assert_eq!(seen[0].as_object().unwrap().len(), 6);
    }

    /// If this fails, a query can bring text into a component that is none.
    #[test]
    fn a_query_that_is_no_text_is_refused() {
        let request = Request::get("/?a=%ff").body(()).unwrap();
        let refused = super::request(&request.into_parts().0, Vec::new(), &[]).unwrap_err();
        assert_eq!(refused.to_string(), "the query is not UTF-8 once it is decoded");
    }

    fn said(value: Json) -> (u16, String) {
        let bytes = json::encode(&json::to_cbor(value).unwrap());
        match response(&bytes) {
            Ok(response) => {
                let kind = response.headers().get(header::CONTENT_TYPE);
                let kind = kind.map_or("", |kind| kind.to_str().unwrap());
                (response.status().as_u16(), kind.to_owned())
            }
            Err(refusal) => (refusal.status().as_u16(), refusal.to_string()),
        }
    }

    /// If this fails, a component's page is shown as JSON, or its JSON as a page.
    #[test]
    fn results_become_responses() {
        let body = json!({"$bytes": ""});
        assert_eq!(said(json!({"status": 404, "body": body})), (404, String::new()));
        let svg = json!([["content-type", "image/svg+xml"], ["connection", "close"]]);
        let whole = json!({"status": 200, "body": "<svg/>", "headers": svg});
        assert_eq!(said(whole), (200, "image/svg+xml".into()));
        assert_eq!(said(json!({"status": 200})), (200, "application/json".into()));
        assert_eq!(said(json!(7)), (200, "application/json".into()));
        assert_eq!(said(json!("x")).1, "text/plain; charset=utf-8");
        assert_eq!(said(body).1, "application/octet-stream");
    }

    /// If this fails, a guest can end the gateway or speak in HTTP's own words.
    #[test]
    fn bad_results_are_named() {
        let bad = |status: Json, headers: Json| {
            said(json!({"status": status, "body": "", "headers": headers}))
        };
        let texts = [
            bad(json!(99), json!([])),
            bad(json!(101), json!([])),
            bad(json!(-1), json!([])),
            bad(json!(70000), json!([])),
            bad(json!(200), json!([["a b", "c"]])),
            bad(json!(200), json!([["a", "b\r\nc: d"]])),
            bad(json!(200), json!([["a"]])),
            bad(json!(200), json!({})),
        ];
        for (status, text) in texts {
            assert_eq!(status, 502, "{text}");
            assert!(text.starts_with("the component returned"), "{text}");
        }
        assert_eq!(response(&[0xff]).unwrap_err().status(), 502);
    }

    /// If this fails, a trace breaks at the gateway, or anything at all is passed on as one.
    #[test]
    fn trace_contexts_are_checked() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static(good));
        assert_eq!(&*traceparent(&headers), good);
        headers.insert("traceparent", HeaderValue::from_static("00-0-0-0"));
        assert!(is_traceparent(&traceparent(&headers)));
    }
}
