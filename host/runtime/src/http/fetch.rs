//! A request of a guest to somewhere else, and what may come of it.

use std::time::Duration;

use http::Request;
use wasmtime_wasi_http::Error;

use super::Whole;

/// A request that a guest makes.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// The request. Its URL has a scheme and, as far as the guest gave one, a host.
    pub request: Request<Whole>,
    /// How long the guest lets connecting take.
    pub connect_timeout: Option<Duration>,
    /// How long it lets the first byte of the response take.
    pub first_byte_timeout: Option<Duration>,
    /// How long it lets any further byte take.
    pub between_bytes_timeout: Option<Duration>,
}

/// Why a request has no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FetchError {
    /// What sort of failure.
    pub kind: FetchErrorKind,
    /// One sentence for the guest's author.
    pub message: String,
}

/// What sort of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchErrorKind {
    /// The host is not granted.
    Denied,
    /// The host's address is not public and not granted.
    AddressDenied,
    /// The URL names nobody.
    Uri,
    /// The host's name cannot be looked up.
    Dns,
    /// It could not be connected to in time.
    ConnectTimeout,
    /// It could not be connected to.
    Refused,
    /// The connection ended early.
    Terminated,
    /// It is not who it should be, or speaks no TLS.
    Tls,
    /// It did not answer in time.
    ResponseTimeout,
    /// Its reply is over the limit.
    ResponseTooLong,
    /// The request's body is over the limit.
    RequestTooLong,
    /// It does not speak HTTP.
    Protocol,
    /// Too many requests are on their way.
    Busy,
    /// There is no such component.
    NotFound,
    /// The component cannot be reached.
    Unavailable,
    /// None of the above.
    Other,
}

use FetchErrorKind as Kind;

const KINDS: [Kind; 16] = [
    Kind::Denied,
    Kind::AddressDenied,
    Kind::Uri,
    Kind::Dns,
    Kind::ConnectTimeout,
    Kind::Refused,
    Kind::Terminated,
    Kind::Tls,
    Kind::ResponseTimeout,
    Kind::ResponseTooLong,
    Kind::RequestTooLong,
    Kind::Protocol,
    Kind::Busy,
    Kind::NotFound,
    Kind::Unavailable,
    Kind::Other,
];

impl FetchError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl Kind {
    /// Its number in records.
    pub(crate) fn number(self) -> u64 {
        KINDS.iter().position(|kind| *kind == self).unwrap_or_default() as u64
    }

    pub(crate) fn of_number(number: u64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|number| KINDS.get(number).copied())
    }
}

/// As the guest sees it. Not all of its cases have room for the message, which is in its log too.
impl From<FetchError> for Error {
    fn from(error: FetchError) -> Self {
        match error.kind {
            Kind::Denied => Self::HttpRequestDenied,
            Kind::AddressDenied => Self::DestinationIpProhibited,
            Kind::Uri => Self::HttpRequestUriInvalid,
            Kind::Dns => Self::DnsError { rcode: Some(error.message), info_code: None },
            Kind::ConnectTimeout => Self::ConnectionTimeout,
            Kind::Refused => Self::ConnectionRefused,
            Kind::Terminated => Self::ConnectionTerminated,
            Kind::Tls => Self::TlsProtocolError,
            Kind::ResponseTimeout => Self::HttpResponseTimeout,
            Kind::ResponseTooLong => Self::HttpResponseBodySize(None),
            Kind::RequestTooLong => Self::HttpRequestBodySize(None),
            Kind::Protocol => Self::HttpProtocolError,
            Kind::Busy => Self::ConnectionLimitReached,
            Kind::NotFound => Self::DestinationNotFound,
            Kind::Unavailable => Self::DestinationUnavailable,
            Kind::Other => Self::InternalError(Some(error.message)),
        }
    }
}
