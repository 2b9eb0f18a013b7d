//! The body of a request, read whole within its limits.

use std::{error::Error as _, io, time::Duration};

use axum::http::{HeaderMap, header, request::Parts};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::{limits::Limits, memory::Share, refusal::Refusal};

/// How much of a body that is too long is read so that its sender comes to read the answer, for how
/// long, and with what pauses.
const DISCARDED_BYTES_MAX: usize = 32 << 20;
const DISCARD_MAX: Duration = Duration::from_secs(2);
const DISCARD_PAUSE_MAX: Duration = Duration::from_millis(100);

/// How much room a body is given at first: what comes with its head, mostly.
const ROOM_BYTES: usize = 4 << 10;

/// A body that was read.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) data: Bytes,
    pub(crate) trailers: HeaderMap,
}

/// Read a body within its limits and into a share of memory.
pub(crate) async fn read(
    parts: &Parts,
    mut body: Incoming,
    limits: &Limits,
    share: &mut Share,
) -> Result<Whole, Refusal> {
    let max = limits.body_bytes_max;
    let waits = parts.headers.contains_key(header::EXPECT);
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length: Option<usize> = length.and_then(|length| length.parse().ok());
    let mut found = if length.is_some_and(|length| length > max) {
        Err(Refusal::BodyTooLong { max })
    } else {
        let seconds = limits.body_timeout.as_secs();
        let read = collect(&mut body, length.unwrap_or(max).min(max), limits, share);
        let read = timeout(limits.body_timeout, read).await;
        read.unwrap_or(Err(Refusal::Slow { what: "body", seconds }))
    };
    if let Err(Refusal::BodyTooLong { .. } | Refusal::Full { .. }) = found
        && !waits
    {
        discard(&mut body).await;
    }
    if let Ok(whole) = &mut found {
        share.set(whole.data.len());
    }
    found
}

/// Put the pieces together as they come: kept apart, many small ones would take more room than they
/// have bytes. `expected` is how long the whole is, or may be.
async fn collect(
    body: &mut Incoming,
    expected: usize,
    limits: &Limits,
    share: &mut Share,
) -> Result<Whole, Refusal> {
    let (max, pause) = (limits.body_bytes_max, limits.body_pause_timeout);
    let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
    loop {
        let frame = timeout(pause, body.frame()).await;
        let slow = Refusal::Slow { what: "body", seconds: pause.as_secs() };
        let Some(frame) = frame.map_err(|_| slow)? else { break };
        match frame.map_err(|error| why(&error))?.into_data() {
            Ok(piece) => {
                let needed = data.len() + piece.len();
                if needed > max {
                    return Err(Refusal::BodyTooLong { max });
                }
                if needed > data.capacity() {
                    let room = needed.max(data.capacity() * 2).max(ROOM_BYTES);
                    let room = room.min(expected.max(needed));
                    share.grow(room)?;
                    data.reserve_exact(room - data.len());
                }
                data.extend_from_slice(&piece);
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok(Whole { data: Bytes::from(data), trailers })
}

/// Why a body cannot be read: what was found wrong on the way, or else that it is cut off.
fn why(error: &hyper::Error) -> Refusal {
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(refusal) = inner.and_then(|inner| inner.downcast_ref::<Refusal>()) {
            return refusal.clone();
        }
        cause = error.source();
    }
    Refusal::bad("the body ends early")
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
