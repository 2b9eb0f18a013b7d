//! The body of a request, read whole within its limits.

use std::time::Duration;

use axum::http::{HeaderMap, header, request::Parts};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::{limits::Limits, refusal::Refusal};

/// How much of a body that is too long is read so that its sender comes to read the answer, for how
/// long, and with what pauses.
const DISCARDED_BYTES_MAX: usize = 32 << 20;
const DISCARD_MAX: Duration = Duration::from_secs(2);
const DISCARD_PAUSE_MAX: Duration = Duration::from_millis(100);

/// Read a body within its limits.
pub(crate) async fn read(
    parts: &Parts,
    mut body: Incoming,
    limits: &Limits,
) -> Result<(Bytes, HeaderMap), Refusal> {
    let max = limits.body_bytes_max;
    let waits = parts.headers.contains_key(header::EXPECT);
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > max) {
        if !waits {
            discard(&mut body).await;
        }
        return Err(Refusal::BodyTooLong { max });
    }
    let seconds = limits.body_timeout.as_secs();
    let read = timeout(limits.body_timeout, Limited::new(&mut body, max).collect()).await;
    match read.map_err(|_| Refusal::Slow { what: "body", seconds })? {
        Ok(body) => {
            let trailers = body.trailers().cloned().unwrap_or_default();
            Ok((body.to_bytes(), trailers))
        }
        Err(error) if error.is::<LengthLimitError>() => {
            discard(&mut body).await;
            Err(Refusal::BodyTooLong { max })
        }
        Err(_) => Err(Refusal::bad("the body ends early")),
    }
}

/// Read on and forget, so much and so long at most: who sends all before it reads would find the
/// connection closed, not the answer.
async fn discard(body: &mut Incoming) {
    let read = async {
        let mut left = DISCARDED_BYTES_MAX;
        while let Ok(Some(Ok(frame))) = timeout(DISCARD_PAUSE_MAX, body.frame()).await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // Who is slower, or sends more, may miss the answer.
    let _ = timeout(DISCARD_MAX, read).await;
}
