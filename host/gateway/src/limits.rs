//! What a listener takes from its clients. Every limit has a test that reaches it.

use std::time::Duration;

/// What a process carries as its arguments at most.
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;

/// The bounds of one listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The bytes of a request's body.
    pub body_bytes_max: usize,
    /// The bytes of a request's arguments: its body and what else of it goes to a component.
    pub payload_bytes_max: usize,
    /// The memory of all bodies that are read or in work, and of all answers that are not sent.
    pub memory_bytes_max: usize,
    /// The same of the clients at one address.
    pub client_memory_bytes_max: usize,
    /// The bytes of a request's header section, the request line not counted.
    pub header_bytes_max: usize,
    /// The header fields of a request.
    pub headers_max: usize,
    /// The bytes of a request's target.
    pub uri_bytes_max: usize,
    /// Requests in work at the same time.
    pub requests_max: usize,
    /// Open connections.
    pub connections_max: usize,
    /// From the first byte of a request until its headers are complete.
    pub header_timeout: Duration,
    /// From the headers of a request until its body is complete.
    pub body_timeout: Duration,
    /// How long a client may send nothing more of a body.
    pub body_pause_timeout: Duration,
    /// How long a client may take nothing of what is written to it.
    pub write_timeout: Duration,
    /// How long a connection may be open between two requests.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // With its headers it is a payload of a process, which has 4 MiB at most.
            body_bytes_max: (4 << 20) - (64 << 10),
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            memory_bytes_max: 96 << 20,
            client_memory_bytes_max: 64 << 20,
            header_bytes_max: 32 << 10,
            headers_max: 100,
            uri_bytes_max: 8 << 10,
            requests_max: 4096,
            connections_max: 4096,
            header_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(30),
            body_pause_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// The bounds of a management listener, which takes artifacts of up to `artifact_bytes_max`.
    pub fn management(artifact_bytes_max: usize) -> Self {
        Self {
            body_bytes_max: artifact_bytes_max,
            memory_bytes_max: 2 * artifact_bytes_max,
            client_memory_bytes_max: 2 * artifact_bytes_max,
            requests_max: 64,
            connections_max: 128,
            body_timeout: Duration::from_secs(120),
            ..Self::default()
        }
    }
}
