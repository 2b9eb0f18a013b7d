//! Paths and queries: what is equal in them, and what they mean.

use std::borrow::Cow;

use axum::http::StatusCode;
use percent_encoding::percent_decode_str;

use crate::refusal::Refusal;

/// The decoded pairs of a query, in order.
pub(crate) fn pairs(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let plain = |text: &str| {
            let spaced = text.replace('+', " ");
            decode(&spaced, "query").map(Cow::into_owned)
        };
        Ok((plain(name)?, plain(value)?))
    };
    parts.map(pair).collect()
}

/// Undo percent-encoding. What is no escape stays as it is; what is no UTF-8 is refused.
pub(crate) fn decode<'a>(text: &'a str, what: &'static str) -> Result<Cow<'a, str>, Refusal> {
    percent_decode_str(text).decode_utf8().map_err(|_| {
        let message = format!("invalid {what}: expected percent-encoded UTF-8");
        Refusal::other(StatusCode::BAD_REQUEST, "bad-request", message)
    })
}
