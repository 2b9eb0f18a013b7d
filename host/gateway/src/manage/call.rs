//! `POST /v1/call`: one call of a function, whose values are JSON.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use ciborium::Value;
use izna_proto::{FailureKind, typed::TAG};
use tokio::time::Instant;

use super::state::{Shared, component, parse};
use crate::{
    api,
    cluster::{Reply, Request},
    deploy::DEADLINE_MS,
    headers, json,
    refusal::{self, Refusal},
    trace,
};

/// The longest name of a function that a process carries, in bytes.
const FUNCTION_BYTES_MAX: usize = 256;

pub(super) async fn call(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let call: api::Call = parse(&body)?;
    let app = shared.app(&call.app)?;
    component(&app, &call.component)?;
    let (length, max) = (call.function.len(), FUNCTION_BYTES_MAX);
    if length > max {
        let message = format!("a function name of {length} bytes exceeds the limit of {max}");
        return Err(Refusal::other(StatusCode::BAD_REQUEST, "bad-arguments", message));
    }
    let args = call.args.into_iter().map(json::to_cbor).collect::<Result<Vec<_>, _>>();
    let args = args.map_err(|error| {
        Refusal::other(StatusCode::BAD_REQUEST, "bad-arguments", error.to_string())
    })?;
    let (min, max) = DEADLINE_MS;
    let request = Request {
        app: Arc::clone(&app.name),
        component: Arc::from(call.component),
        function: Arc::from(call.function),
        input: json::encode(&Value::Tag(TAG, Box::new(Value::Array(args)))).into(),
        idempotent: call.idempotent,
        deadline: Duration::from_millis(call.deadline_ms.clamp(min, max).into()),
        traceparent: Some(trace::context(&headers)),
    };
    let began = Instant::now();
    let reply = shared.cluster.submit(request).await;
    shared.metrics.replied(&reply.outcome);
    Ok(returned(&reply, began.elapsed()))
}

fn returned(reply: &Reply, elapsed: Duration) -> Response {
    let mut response = match &reply.outcome {
        Ok(result) => match json::decode(result.inline()) {
            Ok(value) => Json(api::Returned {
                process: reply.process.to_string(),
                nodes: reply.trail.iter().map(ToString::to_string).collect(),
                elapsed_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
                result: json::from_cbor_exactly(value),
            })
            .into_response(),
            Err(error) => {
                let message = format!("the component returned an invalid value: {error}");
                let bad = Refusal::other(StatusCode::BAD_GATEWAY, "bad-response", message);
                refusal::with_process(&bad, reply.process)
            }
        },
        Err(failure) => {
            let mut response = refusal::failure_response(failure, reply);
            if failure.kind == FailureKind::NotFound && reply.trail.len() <= 1 {
                *response.status_mut() = StatusCode::NOT_FOUND;
            }
            response
        }
    };
    headers::label(&mut response, reply);
    response
}
