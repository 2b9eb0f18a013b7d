//! What the gateway answers when it does not answer with a component's result: a status beside each
//! reason, and one shape of body.

use std::time::SystemTime;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use izna_proto::{Failure, FailureKind, ProcessId};
use serde_json::json;

use crate::{api, cluster::Reply};

/// Why a request was not handed to a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are no request that every server would read alike.
    #[error("invalid request: {what}")]
    Bad {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The target is too long.
    #[error("request target exceeds the limit of {max} bytes")]
    UriTooLong {
        /// The limit.
        max: usize,
    },
    /// The header section is too long.
    #[error("request headers exceed the limit of {max} bytes")]
    HeadersTooLong {
        /// The limit.
        max: usize,
    },
    /// There are too many headers.
    #[error("request exceeds the limit of {max} headers")]
    TooManyHeaders {
        /// The limit.
        max: usize,
    },
    /// Some other part is too long.
    #[error("{what} exceeds the limit of {max} bytes")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The body is too long.
    #[error("request body exceeds the limit of {max} bytes")]
    BodyTooLong {
        /// The limit.
        max: usize,
    },
    /// The headers or the body did not come in time.
    #[error("request {what} not received within {seconds} s")]
    Slow {
        /// Which part.
        what: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// There are too many requests or connections.
    #[error("limit of {max} {what} reached")]
    Full {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// Any other.
    #[error("{message}")]
    Other {
        /// The status.
        status: StatusCode,
        /// A word for programs.
        code: &'static str,
        /// One sentence for a person.
        message: String,
    },
}

impl Refusal {
    pub(crate) fn bad(what: &'static str) -> Self {
        Self::Bad { what }
    }

    pub(crate) fn other(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::Other { status, code, message: message.into() }
    }

    /// That a component returned what is no response.
    pub(crate) fn bad_response(what: &str) -> Self {
        let message = format!("the component returned {what}");
        Self::other(StatusCode::BAD_GATEWAY, "bad-response", message)
    }

    /// The status that says it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Bad { .. } | Self::TooLong { .. } => StatusCode::BAD_REQUEST,
            Self::UriTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLong { .. } | Self::TooManyHeaders { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::BodyTooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Full { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Other { status, .. } => *status,
        }
    }

    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bad { .. } | Self::TooLong { .. } => "bad-request",
            Self::UriTooLong { .. } => "target-too-long",
            Self::HeadersTooLong { .. } | Self::TooManyHeaders { .. } => "headers-too-long",
            Self::BodyTooLong { .. } => "body-too-long",
            Self::Slow { .. } => "slow",
            Self::Full { .. } => "busy",
            Self::Other { code, .. } => code,
        }
    }

    /// Whether the client may send more on its connection: not once it is unclear what it means.
    fn closes(&self) -> bool {
        !matches!(self, Self::Full { .. } | Self::Other { .. })
    }

    /// The whole response as bytes, for a client whose request hyper never saw.
    pub(crate) fn to_http(&self) -> Vec<u8> {
        let status = self.status();
        let body = body(self.code(), &self.to_string(), None);
        let (code, length) = (status.as_u16(), body.len());
        let reason = status.canonical_reason().unwrap_or_default();
        let date = httpdate::fmt_http_date(SystemTime::now());
        let retry = if matches!(self, Self::Full { .. }) { "retry-after: 1\r\n" } else { "" };
        format!(
            "HTTP/1.1 {code} {reason}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\ndate: {date}\r\n{retry}connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let text = body(self.code(), &self.to_string(), None);
        let mut response = json_response(self.status(), text);
        let headers = response.headers_mut();
        if self.closes() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The response for a process that ended without a result after steps on the nodes of its trail.
pub(crate) fn failure_response(failure: &Failure, reply: &Reply) -> Response {
    let process = reply.process;
    let text = body(failure.kind.as_str(), &failure.message, Some(process));
    // What a later step was given came from another component: the client is not at fault.
    let status = match failure.kind {
        FailureKind::Invalid if reply.trail.len() > 1 => StatusCode::INTERNAL_SERVER_ERROR,
        kind => failure_status(kind),
    };
    let mut response = json_response(status, text);
    if failure.kind == FailureKind::Busy {
        // Spread what was refused together: one to three seconds, by the process's random bits.
        let seconds = 1 + process.0 % 3;
        if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
    }
    response
}

fn failure_status(kind: FailureKind) -> StatusCode {
    match kind {
        FailureKind::Invalid => StatusCode::BAD_REQUEST,
        FailureKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        FailureKind::Deadline => StatusCode::GATEWAY_TIMEOUT,
        FailureKind::Unavailable => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The response for a process whose result cannot be one.
pub(crate) fn with_process(refusal: &Refusal, process: ProcessId) -> Response {
    json_response(refusal.status(), body(refusal.code(), &refusal.to_string(), Some(process)))
}

/// Names for a sentence: `a`, `b` or `c`.
pub(crate) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// A response whose body is this JSON.
pub(crate) fn json_response(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The one shape of an error's body, [`api::ErrorBody`].
fn body(code: &str, message: &str, process: Option<ProcessId>) -> String {
    let process = process.map(|process| process.to_string());
    let error = api::Error { code: code.to_owned(), message: message.to_owned(), process };
    json!(api::ErrorBody { error }).to_string() + "\n"
}
