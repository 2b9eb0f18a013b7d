//! HTTP and the functions of direct components: a request's parts are arguments by their names, and
//! what comes back is the value. Which functions those are, their whole names tell: an interface
//! has a package, as in `demo:tex/render@1.0.0.svg`.

use std::collections::BTreeMap;

use axum::{
    http::{StatusCode, header, request::Parts},
    response::Response,
};
use bytes::Bytes;
use ciborium::Value;
use serde_json::Value as Json;

use crate::{exchange, json, refusal::Refusal, url};

/// Whether the function of a route is one of a direct component.
pub(crate) fn is_direct(function: &str) -> bool {
    function.contains(':') || function.starts_with("$root.")
}

/// Arguments by their names, as a CBOR map: the fields of a JSON object in the body, or the body
/// itself as `body`; over them what the query has, over that what the path has. Of a query and a
/// path all is text, which the function's types turn into numbers.
pub(crate) fn arguments(
    parts: &Parts,
    params: Vec<(String, String)>,
    body: &[u8],
) -> Result<Bytes, Refusal> {
    let mut named = BTreeMap::new();
    if !body.is_empty() {
        match from_body(parts, body)? {
            Json::Object(fields) => {
                for (name, value) in fields {
                    named.insert(name, cbor(value)?);
                }
            }
            // What is no JSON comes as bytes, which JSON has not.
            Json::Null => drop(named.insert("body".to_owned(), Value::Bytes(body.to_vec()))),
            other => drop(named.insert("body".to_owned(), cbor(other)?)),
        }
    }
    for (name, value) in url::pairs(parts.uri.query().unwrap_or_default())? {
        named.insert(name, Value::Text(value));
    }
    for (name, value) in params {
        let value = url::decode(&value, "path parameter")?.into_owned();
        named.insert(name, Value::Text(value));
    }
    let pairs = named.into_iter().map(|(name, value)| (Value::Text(name), value));
    Ok(Bytes::from(json::encode(&Value::Map(pairs.collect()))))
}

/// The body's JSON; null for a body of another kind.
fn from_body(parts: &Parts, body: &[u8]) -> Result<Json, Refusal> {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if kind != "application/json" && !kind.ends_with("+json") {
        return Ok(Json::Null);
    }
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("invalid JSON body: {error}");
        Refusal::other(StatusCode::BAD_REQUEST, "bad-json", message)
    })
}

fn cbor(value: Json) -> Result<Value, Refusal> {
    json::to_cbor(value).map_err(|error| {
        Refusal::other(StatusCode::BAD_REQUEST, "bad-arguments", error.to_string())
    })
}

/// The response for a result: for the `ok` of one the value in it, for the `err` the same as 422.
pub(crate) fn response(result: &[u8]) -> Result<Response, Refusal> {
    let value = exchange::value(result)?;
    let (name, value) = match value {
        Value::Map(mut pairs) if pairs.len() == 1 => match pairs.pop() {
            Some((Value::Text(name), inner)) if name == "ok" || name == "err" => (name, inner),
            other => return exchange::response_of(Value::Map(other.into_iter().collect())),
        },
        value => return exchange::response_of(value),
    };
    let mut response = exchange::response_of(value)?;
    if name == "err" && response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use serde_json::json;

    fn named(request: Request<()>, params: &[(&str, &str)], body: &[u8]) -> Json {
        let params = params.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        let bytes = arguments(&request.into_parts().0, params, body).unwrap();
        json::from_cbor(json::decode(&bytes).unwrap())
    }

    /// If this failed, a function with ordinary parameters could not be reached over HTTP, or would
    /// get one part of a request for another.
    #[test]
    fn the_parts_of_a_request_are_arguments() {
        let get = Request::get("/draw/9?title=a+b&color=7").body(()).unwrap();
        assert_eq!(named(get, &[("color", "9")], b""), json!({"title": "a b", "color": "9"}),);
        let post =
            |kind: &str| Request::post("/?title=q").header("content-type", kind).body(()).unwrap();
        let body = br#"{"title": "b", "size": {"width": 1}}"#;
        assert_eq!(
            named(post("application/json; charset=utf-8"), &[], body),
            json!({"title": "q", "size": {"width": 1}}),
        );
        assert_eq!(
            named(post("application/vnd.x+json"), &[], b"[1]"),
            json!({"title": "q", "body": [1]}),
        );
        assert_eq!(named(post("image/png"), &[], b"ab"), json!({"title": "q", "body": "YWI="}));
        let refused =
            arguments(&post("application/json").into_parts().0, vec![], b"{").unwrap_err();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    }

    /// If this failed, a function's error would look like a success, or its picture like JSON.
    #[test]
    fn results_are_unwrapped() {
        let said = |value: Json| {
            let bytes = json::encode(&json::to_cbor(value).unwrap());
            let response = response(&bytes).unwrap();
            let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
            (response.status().as_u16(), kind)
        };
        let bytes = "application/octet-stream".to_owned();
        assert_eq!(said(json!({"ok": {"$bytes": "AA=="}})), (200, bytes));
        assert_eq!(said(json!({"err": "no"})), (422, "text/plain; charset=utf-8".into()));
        assert_eq!(said(json!({"err": {"empty": 1}})), (422, "application/json".into()));
        assert_eq!(said(json!({"x": 1})), (200, "application/json".into()));
        let own = json!({"err": {"status": 404, "body": "", "headers": [["content-type", "a/b"]]}});
        assert_eq!(said(own), (404, "a/b".into()));
    }

    /// If this failed, a function would be called with another kind of argument than it takes.
    #[test]
    fn whole_names_tell_what_is_called() {
        assert!(is_direct("demo:tex/render@1.0.0.svg") && is_direct("$root.run"));
        assert!(!is_direct("render") && !is_direct("render.svg"));
    }
}
