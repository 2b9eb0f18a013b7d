//! Which methods a route takes, and what is said to the others.

use axum::{
    body::Body,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use izna_proto::Route;

use crate::refusal::Refusal;

/// What a typed function is called by, unless its route says otherwise.
const TYPED: &[&str] = &["GET", "POST"];
/// What a server can be asked for; others may be known to a component.
const ANY: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// What becomes of a request by its method.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The function is called.
    Call,
    /// The gateway answers.
    Answer(Response),
}

/// Judge the method of a request for a route. A function without types gets the method with the
/// request and can judge it itself.
pub(crate) fn judge(method: &Method, route: &Route, is_typed: bool) -> Verdict {
    let named: Vec<&str> = route.methods.iter().map(|method| &**method).collect();
    let taken = if named.is_empty() && is_typed { TYPED } else { named.as_slice() };
    // These are for the server, and no component is one.
    let is_ours = [Method::CONNECT, Method::TRACE].contains(method);
    if taken.is_empty() {
        return if is_ours { not_allowed(ANY) } else { Verdict::Call };
    }
    let is_head = *method == Method::HEAD && taken.contains(&"GET");
    if taken.contains(&method.as_str()) || is_head {
        return Verdict::Call;
    }
    let mut allowed = Vec::new();
    for name in taken {
        allowed.push(*name);
        if *name == "GET" && !taken.contains(&"HEAD") {
            allowed.push("HEAD");
        }
    }
    allowed.push("OPTIONS");
    let allowed = allowed.join(", ");
    if *method == Method::OPTIONS { options(&allowed) } else { not_allowed(&allowed) }
}

/// The answer to `OPTIONS *`, which asks for what the server can do.
pub(crate) fn of_the_server() -> Response {
    allowing(StatusCode::NO_CONTENT.into_response(), ANY)
}

/// A preflight of a browser gets this too: no other origin is granted anything.
fn options(allowed: &str) -> Verdict {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Verdict::Answer(allowing(response, allowed))
}

fn not_allowed(allowed: &str) -> Verdict {
    let message = format!("method not allowed: expected {allowed}");
    let refusal = Refusal::other(StatusCode::METHOD_NOT_ALLOWED, "method", message);
    Verdict::Answer(allowing(refusal.into_response(), allowed))
}

fn allowing(mut response: Response, allowed: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status and what is allowed, of what the gateway answers.
    fn judged(method: &str, methods: &[&str], is_typed: bool) -> Option<(u16, String)> {
        let route = Route {
            path: "/".into(),
            component: "c".into(),
            function: "f".into(),
            deadline_ms: 1,
            idempotent: false,
            methods: methods.iter().map(|method| (*method).into()).collect(),
        };
        match judge(&Method::from_bytes(method.as_bytes()).unwrap(), &route, is_typed) {
            Verdict::Call => None,
            Verdict::Answer(response) => {
                let allowed = response.headers()[header::ALLOW].to_str().unwrap().to_owned();
                Some((response.status().as_u16(), allowed))
            }
        }
    }

    /// If this failed, a function would run for a method that nobody meant for it, or not for its
    /// own.
    #[test]
    fn methods_are_judged() {
        let told = |status, allowed: &str| Some((status, allowed.to_owned()));
        let typed = "GET, HEAD, POST, OPTIONS";
        for method in ["GET", "HEAD", "POST"] {
            assert_eq!(judged(method, &[], true), None, "{method}");
        }
        for method in ["DELETE", "PUT", "PATCH", "TRACE", "CONNECT", "FOO"] {
            assert_eq!(judged(method, &[], true), told(405, typed), "{method}");
        }
        assert_eq!(judged("OPTIONS", &[], true), told(204, typed));
        for is_typed in [false, true] {
            assert_eq!(judged("PUT", &["PUT"], is_typed), None);
            assert_eq!(judged("HEAD", &["PUT"], is_typed), told(405, "PUT, OPTIONS"));
            assert_eq!(judged("OPTIONS", &["PUT"], is_typed), told(204, "PUT, OPTIONS"));
            assert_eq!(judged("HEAD", &["GET"], is_typed), None);
            assert_eq!(judged("OPTIONS", &["OPTIONS"], is_typed), None);
        }
        assert_eq!(judged("FOO", &[], false), None);
        assert_eq!(judged("OPTIONS", &[], false), None);
        assert_eq!(judged("TRACE", &[], false), told(405, ANY));
    }
}
