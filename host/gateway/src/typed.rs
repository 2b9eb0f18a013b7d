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
use izna_proto::typed::{self as wire, Case, Told};
use serde_json::Value as Json;

use crate::{exchange, json, refusal::Refusal, url};

/// Whether the function of a route is one of a direct component.
pub(crate) fn is_direct(function: &str) -> bool {
    function.contains(':') || function.starts_with("$root.")
}

/// Arguments by their names: the fields of a JSON object or a form in the body, or the body itself
/// as `body`; over them what the query has, over that what the path has. Of a form, a query and a
/// path all is text, which the function's types turn into numbers and lists.
pub(crate) fn arguments(
    parts: &Parts,
    params: Vec<(String, String)>,
    body: &[u8],
) -> Result<Bytes, Refusal> {
    let mut named = BTreeMap::new();
    if !body.is_empty() {
        named.extend(of_body(parts, body)?);
    }
    named.extend(texts(url::pairs(parts.uri.query().unwrap_or_default())?));
    for (name, value) in params {
        let value = url::decode(&value, "path parameter")?.into_owned();
        named.insert(name, Value::Text(value));
    }
    let pairs = named.into_iter().map(|(name, value)| (Value::Text(name), value));
    let marked = Value::Tag(wire::TAG, Box::new(Value::Map(pairs.collect())));
    Ok(Bytes::from(json::encode(&marked)))
}

/// The arguments that a body has.
fn of_body(parts: &Parts, body: &[u8]) -> Result<BTreeMap<String, Value>, Refusal> {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    let whole = |value| BTreeMap::from([("body".to_owned(), value)]);
    if kind == "application/x-www-form-urlencoded" {
        // What is no form all the same is the body itself.
        let form = std::str::from_utf8(body).ok().filter(|form| form.contains('='));
        let pairs = form.map(url::pairs).transpose()?;
        return Ok(pairs.map_or_else(|| whole(Value::Bytes(body.to_vec())), texts));
    }
    if kind != "application/json" && !kind.ends_with("+json") {
        return Ok(whole(Value::Bytes(body.to_vec())));
    }
    let found = serde_json::from_slice(body).map_err(|error| {
        let message = format!("invalid JSON body: {error}");
        Refusal::other(StatusCode::BAD_REQUEST, "bad-json", message)
    })?;
    match found {
        Json::Object(fields) => {
            fields.into_iter().map(|(name, value)| Ok((name, cbor(value)?))).collect()
        }
        other => Ok(whole(cbor(other)?)),
    }
}

/// Texts by their names. Whether a name that is there several times is a list, or its last text
/// counts, the function's types say.
fn texts(pairs: Vec<(String, String)>) -> BTreeMap<String, Value> {
    let mut named: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (name, value) in pairs {
        named.entry(name).or_default().push(Value::Text(value));
    }
    let marked = |values| Value::Tag(wire::TAG, Box::new(Value::Array(values)));
    let value = |mut values: Vec<Value>| match values.len() {
        1 => values.pop().unwrap_or(Value::Null),
        _ => marked(values),
    };
    named.into_iter().map(|(name, values)| (name, value(values))).collect()
}

fn cbor(value: Json) -> Result<Value, Refusal> {
    json::to_cbor(value).map_err(|error| {
        Refusal::other(StatusCode::BAD_REQUEST, "bad-arguments", error.to_string())
    })
}

/// The response for a result, by its type: of a `result` the value in `ok`, or that in `err` with
/// status 422; of a record that is a response what it says; of all else the value.
pub(crate) fn response(result: &[u8]) -> Result<Response, Refusal> {
    let told = Told::of_bytes(result).map_err(|_| Refusal::bad_response("an invalid value"))?;
    // A component without types may stand behind such a function.
    let Some(told) = told else { return exchange::response(result) };
    let value = exchange::value(told.value)?;
    let mut response = match told.is_response {
        true => exchange::response_of(value)?,
        false => exchange::shown(value),
    };
    match told.case {
        Case::None | Case::Ok => {}
        Case::Err if response.status() == StatusCode::OK => {
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        }
        Case::Err => {}
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
        let form = "application/x-www-form-urlencoded";
        assert_eq!(named(post(form), &[], b"a=b+c&title=f"), json!({"title": "q", "a": "b c"}));
        assert_eq!(named(post(form), &[], b"{}"), json!({"title": "q", "body": "e30="}));
        assert_eq!(
            named(post("application/json"), &[], b"null"),
            json!({"title": "q", "body": null})
        );
        let twice = Request::get("/?a=1&b=2&a=3").body(()).unwrap();
        assert_eq!(named(twice, &[], b""), json!({"a": ["1", "3"], "b": "2"}));
        let refused =
            arguments(&post("application/json").into_parts().0, vec![], b"{").unwrap_err();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    }

    /// If this failed, a function's error would look like a success, or its picture like JSON.
    #[test]
    fn results_become_responses_by_their_type() {
        let said = |case: Case, is_response: bool, value: Json| {
            let value = json::encode(&json::to_cbor(value).unwrap());
            let response = response(&Told { case, is_response, value: &value }.to_bytes()).unwrap();
            let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
            (response.status().as_u16(), kind)
        };
        let (bytes, text) = ("application/octet-stream", "text/plain; charset=utf-8");
        let json = "application/json";
        let told = |status, kind: &str| (status, kind.to_owned());
        assert_eq!(said(Case::Ok, false, json!({"$bytes": "AA=="})), told(200, bytes));
        assert_eq!(said(Case::Err, false, json!("no")), told(422, text));
        assert_eq!(said(Case::Err, false, json!({"empty": 1})), told(422, json));
        assert_eq!(said(Case::Err, false, json!(null)), told(422, json));
        assert_eq!(said(Case::Ok, false, json!(null)), told(200, json));
        for record in [json!({"ok": false}), json!({"err": null}), json!({"err": 7})] {
            assert_eq!(said(Case::None, false, record), told(200, json));
        }
        let page = json!({"status": 404, "body": "", "headers": [["content-type", "a/b"]]});
        assert_eq!(said(Case::Err, true, page.clone()), told(404, "a/b"));
        assert_eq!(said(Case::None, true, page.clone()), told(404, "a/b"));
        assert_eq!(said(Case::None, false, page), told(200, json));
        // Of a component without types.
        let page = json!({"status": 201, "body": "x", "headers": [["content-type", "a/b"]]});
        let bytes = json::encode(&json::to_cbor(page).unwrap());
        assert_eq!(response(&bytes).unwrap().status(), 201);
    }

    /// If this failed, a function would be called with another kind of argument than it takes.
    #[test]
    fn whole_names_tell_what_is_called() {
        assert!(is_direct("demo:tex/render@1.0.0.svg") && is_direct("$root.run"));
        assert!(!is_direct("render") && !is_direct("render.svg"));
    }
}
