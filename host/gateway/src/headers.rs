//! Which header fields go in and out: not those of one connection, nor any that a component has in
//! the gateway's name.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};
use izna_proto::http::is_of_the_connection;

use crate::{cluster::Reply, refusal::Refusal};

const PROCESS: HeaderName = HeaderName::from_static("x-izna-process");
const NODES: HeaderName = HeaderName::from_static("x-izna-nodes");
/// <https://www.w3.org/TR/server-timing/>: browsers show it beside the request.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// The namespace of the gateway's own headers.
const OWN_PREFIX: &str = "x-izna-";

/// The headers of a request that are for the component.
pub(crate) fn of_the_request(
    headers: &HeaderMap,
) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let nominated: Vec<&str> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let own = headers.iter().filter(|(name, _)| !is_reserved(name));
    own.filter(move |(name, _)| !nominated.iter().any(|n| n.eq_ignore_ascii_case(name.as_str())))
}

/// Whether a field is the gateway's to say, or belongs to one connection.
fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().starts_with(OWN_PREFIX) || is_of_the_connection(name.as_str())
}

/// Add a component's header, if it is its to say.
pub(crate) fn add(headers: &mut HeaderMap, name: &str, value: &[u8]) -> Result<(), Refusal> {
    let name = HeaderName::from_bytes(name.as_bytes());
    let name = name.map_err(|_| Refusal::bad_response("a header with an invalid name"))?;
    let value = HeaderValue::from_bytes(value);
    let value = value.map_err(|_| Refusal::bad_response("a header with an invalid value"))?;
    if !is_reserved(&name) {
        let added = headers.try_append(name, value);
        added.map_err(|_| Refusal::bad_response("too many headers"))?;
    }
    Ok(())
}

/// Say which process it was, where it ran and what became of its time. The component may have told
/// times of its own.
pub(crate) fn label(response: &mut Response, reply: &Reply) {
    let headers = response.headers_mut();
    if let Ok(process) = HeaderValue::from_str(&reply.process.to_string()) {
        headers.insert(PROCESS, process);
    }
    if let Ok(nodes) = HeaderValue::from_str(&reply.trail.join(", ")) {
        headers.insert(NODES, nodes);
    }
    if let Ok(timing) = HeaderValue::from_str(&reply.timing.to_string()) {
        let _ = headers.try_append(SERVER_TIMING, timing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Timing;
    use axum::body::Body;
    use izna_proto::ProcessId;

    /// If this failed, what a component tells browsers about its time would be lost, or its word
    /// taken for the node's.
    #[test]
    fn a_component_may_tell_times_of_its_own() {
        let mut response = Response::new(Body::empty());
        add(response.headers_mut(), "server-timing", b"db;dur=5").unwrap();
        add(response.headers_mut(), "x-izna-nodes", b"mine").unwrap();
        let trail = vec!["node-1".into()];
        let (process, timing) = (ProcessId(1), Timing::default());
        let outcome = Ok(bytes::Bytes::new().into());
        label(&mut response, &Reply { process, outcome, trail, timing });
        let told: Vec<_> = response.headers().get_all("server-timing").iter().collect();
        assert_eq!(told.len(), 2);
        assert!(told[0] == "db;dur=5" && told[1].to_str().unwrap().starts_with("queue;dur="));
        assert_eq!(response.headers()["x-izna-nodes"], "node-1");
    }
}
