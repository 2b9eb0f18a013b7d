//! The W3C trace context of a request.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use axum::http::HeaderMap;

/// The trace context of a request: the client's if it is one, else a new one.
pub(crate) fn context(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get("traceparent").and_then(|value| value.to_str().ok());
    given.filter(|text| is_traceparent(text)).map_or_else(new, Arc::from)
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

fn new() -> Arc<str> {
    // The standard library's keys are random: that is enough for names that only must differ.
    let random = || RandomState::new().hash_one(0) | 1;
    let text = format!("00-{:016x}{:016x}-{:016x}-00", random(), random(), random());
    Arc::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    /// If this fails, a trace breaks at the gateway, or anything at all is passed on as one.
    #[test]
    fn trace_contexts_are_checked() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static(good));
        assert_eq!(&*context(&headers), good);
        headers.insert("traceparent", HeaderValue::from_static("00-0-0-0"));
        assert!(is_traceparent(&context(&headers)));
    }
}
