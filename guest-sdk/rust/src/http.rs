//! HTTP as a component sees it: a route's function takes one [`Request`] and may return a
//! [`Response`].
//!
//! The function may as well return any other value: the gateway then answers with it as JSON.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A request that the gateway took in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// What the route's path parameters matched.
    pub params: BTreeMap<String, String>,
    /// The query, decoded.
    pub query: BTreeMap<String, String>,
    /// Names and values, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What the gateway answers with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names and values.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

impl Response {
    /// A response with a body of the given content type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Response { status, headers: Vec::new(), body: body.into() }
            .header("content-type", content_type)
    }

    /// A plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Response::new(status, "text/plain; charset=utf-8", text.into())
    }

    /// An HTML page.
    pub fn html(page: impl Into<String>) -> Self {
        Response::new(200, "text/html; charset=utf-8", page.into())
    }

    /// With one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Value, cbor};

    fn text(value: &str) -> Value {
        Value::Text(value.into())
    }

    /// The gateway's requests would not be understood.
    #[test]
    fn a_request_is_a_map_of_six_keys() {
        let pair = |key: &str, value: &str| (text(key), text(value));
        let map = Value::Map(vec![
            pair("method", "GET"),
            pair("path", "/tex"),
            (text("params"), Value::Map(vec![pair("id", "7")])),
            (text("query"), Value::Map(vec![pair("f", "x^2")])),
            (text("headers"), Value::Array(vec![Value::Array(vec![text("Host"), text("izna")])])),
            (text("body"), Value::Bytes(vec![0, 255])),
        ]);
        let request: Request = cbor::decode(&cbor::encode(&map).unwrap()).unwrap();
        assert_eq!(request.query.get("f").map(String::as_str), Some("x^2"));
        assert_eq!(request.params.get("id").map(String::as_str), Some("7"));
        assert_eq!(request.header("host"), Some("izna"));
        assert_eq!(request.body, [0, 255]);
        assert_eq!(cbor::encode(&request), cbor::encode(&map));
    }

    /// The gateway would answer with JSON in place of the page.
    #[test]
    fn a_response_is_a_map_with_status_and_byte_body() {
        let bytes = cbor::encode(&Response::text(404, "no")).unwrap();
        let map: BTreeMap<String, Value> = cbor::decode(&bytes).unwrap();
        assert_eq!(map.get("status"), Some(&Value::from(404)));
        assert_eq!(map.get("body"), Some(&Value::Bytes(b"no".to_vec())));
    }
}
