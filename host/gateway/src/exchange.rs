//! HTTP to CBOR and back: the one argument that a route's function gets, and the response that its
//! result stands for. Results come from guests and are trusted in nothing.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use bytes::Bytes;
use ciborium::Value;
use izna_proto::cbor::Output;

use crate::{headers, json, refusal::Refusal, url};

/// A request as the CBOR array of one argument, a map in the deterministic order of its keys.
pub(crate) fn request(
    parts: &Parts,
    params: Vec<(String, String)>,
    body: &[u8],
) -> Result<Bytes, Refusal> {
    let query = url::pairs(parts.uri.query().unwrap_or_default())?;
    let params = params
        .into_iter()
        .map(|(name, value)| Ok((name, url::decode(&value, "path parameter")?.into_owned())));
    let params = params.collect::<Result<_, Refusal>>()?;
    let mut output = Output(Vec::with_capacity(body.len() + 1024));
    output.array(1);
    output.map(6);
    output.text("body");
    output.bytes(body);
    output.text("path");
    output.text(parts.uri.path());
    output.text("query");
    write_map(&mut output, query);
    output.text("method");
    output.text(parts.method.as_str());
    output.text("params");
    write_map(&mut output, params);
    output.text("headers");
    let text = |value: &[u8]| std::str::from_utf8(value).map(str::to_owned).ok();
    let kept: Vec<_> = headers::of_the_request(&parts.headers)
        .filter_map(|(name, value)| Some((name.as_str(), text(value.as_bytes())?)))
        .collect();
    output.array(kept.len());
    for (name, value) in kept {
        output.array(2);
        output.text(name);
        output.text(&value);
    }
    Ok(Bytes::from(output.0))
}

/// A map of texts; of pairs with one name the last counts.
fn write_map(output: &mut Output, mut pairs: Vec<(String, String)>) {
    pairs.reverse();
    pairs.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    pairs.dedup_by(|(later, _), (earlier, _)| later == earlier);
    output.map(pairs.len());
    for (name, value) in pairs {
        output.text(&name);
        output.text(&value);
    }
}

/// The response that a result stands for.
pub(crate) fn response(result: &[u8]) -> Result<Response, Refusal> {
    response_of(value(result)?)
}

/// The value that a result is.
pub(crate) fn value(result: &[u8]) -> Result<Value, Refusal> {
    json::decode(result).map_err(|_| Refusal::bad_response("an invalid CBOR value"))
}

/// The response that a value stands for.
pub(crate) fn response_of(value: Value) -> Result<Response, Refusal> {
    match value {
        Value::Map(pairs) if is_response(&pairs) => from_map(pairs),
        value => Ok(shown(value)),
    }
}

/// The response that shows a value.
pub(crate) fn shown(value: Value) -> Response {
    match value {
        Value::Bytes(bytes) => page("application/octet-stream", bytes),
        Value::Text(text) => page("text/plain; charset=utf-8", text.into_bytes()),
        value => page("application/json", json::from_cbor(value).to_string().into_bytes()),
    }
}

/// Whether a map is a response rather than a value to show: it has a status and a body.
fn is_response(pairs: &[(Value, Value)]) -> bool {
    let field = |name| pairs.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, v)| v);
    let body = field("body").is_some_and(|body| body.is_bytes() || body.is_text());
    body && field("status").is_some_and(Value::is_integer)
}

fn page(content_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    let value = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

fn from_map(pairs: Vec<(Value, Value)>) -> Result<Response, Refusal> {
    let mut response = Response::new(Body::empty());
    for (key, value) in pairs {
        match (key.as_text(), value) {
            (Some("status"), Value::Integer(number)) => {
                *response.status_mut() = status(number)?;
            }
            (Some("body"), Value::Bytes(body)) => *response.body_mut() = Body::from(body),
            (Some("body"), Value::Text(body)) => *response.body_mut() = Body::from(body),
            (Some("headers"), Value::Array(list)) => {
                for pair in list {
                    let pair = pair.into_array().unwrap_or_default();
                    let [Value::Text(name), Value::Text(value)] = pair.as_slice() else {
                        return Err(Refusal::bad_response("a header that is not a pair of texts"));
                    };
                    headers::add(response.headers_mut(), name, value.as_bytes())?;
                }
            }
            (Some("headers"), _) => {
                return Err(Refusal::bad_response("headers that are not an array"));
            }
            // Whatever else a component says of its response means nothing to HTTP.
            _ => {}
        }
    }
    // The length is that of the body.
    response.headers_mut().remove(header::CONTENT_LENGTH);
    Ok(response)
}

/// A component's status.
pub(crate) fn status(number: impl TryInto<u16>) -> Result<StatusCode, Refusal> {
    let number = number.try_into().ok().filter(|number| (200..=599).contains(number));
    let status = number.and_then(|number| StatusCode::from_u16(number).ok());
    status.ok_or_else(|| Refusal::bad_response("an invalid status: expected 200 to 599"))
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
        assert_eq!(refused.to_string(), "invalid query: expected percent-encoded UTF-8");
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
}
