//! How much memory the bodies of clients take, and the answers to them that are not sent yet: all
//! together, and those of one address. Counted is what is set aside, not what is used of it.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use hyper::body::{Frame, SizeHint};
use prometheus_client::metrics::gauge::Gauge;

use crate::{limits::Limits, refusal::Refusal};

/// Answers of up to so many bytes are not counted: a connection has one at a time.
const SMALL_BYTES_MAX: usize = 16 << 10;

/// The memory of a listener's clients.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes_max: usize,
    client_bytes_max: usize,
    used: Mutex<Used>,
    /// Shows what is used.
    gauge: Gauge,
}

#[derive(Debug, Default)]
struct Used {
    total: usize,
    clients: HashMap<IpAddr, usize>,
}

/// What one request has of it; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<Memory>,
    client: IpAddr,
    bytes: usize,
}

impl Memory {
    pub(crate) fn new(limits: &Limits, gauge: Gauge) -> Arc<Self> {
        let (bytes_max, client_bytes_max) =
            (limits.memory_bytes_max, limits.client_memory_bytes_max);
        Arc::new(Self { bytes_max, client_bytes_max, used: Mutex::default(), gauge })
    }

    /// A share of nothing yet, for a request of `client`.
    pub(crate) fn share(self: &Arc<Self>, client: IpAddr) -> Share {
        Share { memory: Arc::clone(self), client, bytes: 0 }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Have `bytes` in all, if that is within the limits.
    ///
    /// # Errors
    /// When it is not; the share is as before.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.bytes);
        let mut used = self.memory.used();
        let own = used.clients.get(&self.client).copied().unwrap_or(0);
        let limits = [
            (used.total, self.memory.bytes_max, "bytes of memory for requests"),
            (own, self.memory.client_bytes_max, "bytes of memory for requests of one address"),
        ];
        for (used, max, what) in limits {
            if used.saturating_add(more) > max {
                return Err(Refusal::Full { what, max });
            }
        }
        self.change(&mut used, bytes);
        drop(used);
        self.bytes = bytes;
        Ok(())
    }

    /// Have `bytes` in all, whatever the limits are: they are there already.
    pub(crate) fn set(&mut self, bytes: usize) {
        self.change(&mut self.memory.used(), bytes);
        self.bytes = bytes;
    }

    fn change(&self, used: &mut Used, bytes: usize) {
        used.change(self.client, self.bytes, bytes);
        self.memory.gauge.set(i64::try_from(used.total).unwrap_or(i64::MAX));
    }

    /// Whether an answer can be held beside what there is.
    ///
    /// # Errors
    /// When it cannot.
    pub(crate) fn has_room(&mut self, body: &Body) -> Result<(), Refusal> {
        match length(body) {
            0..=SMALL_BYTES_MAX => Ok(()),
            length => self.grow(self.bytes.max(length)),
        }
    }

    /// The same body, which has this share until all of it is sent, whatever the limits are.
    pub(crate) fn hold(mut self, body: Body) -> Body {
        match length(&body) {
            0..=SMALL_BYTES_MAX => body,
            length => {
                self.set(length);
                Body::new(Held { body, share: Some(self) })
            }
        }
    }
}

/// How long a body is; the least that it may be, where that is not known.
fn length(body: &Body) -> usize {
    usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX)
}

impl Used {
    fn change(&mut self, client: IpAddr, before: usize, after: usize) {
        self.total = (self.total + after).saturating_sub(before);
        let own = self.clients.entry(client).or_default();
        *own = (*own + after).saturating_sub(before);
        if *own == 0 {
            self.clients.remove(&client);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// An answer that is not sent yet. Its data comes in one piece.
struct Held {
    body: Body,
    share: Option<Share>,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            let share = self.share.take();
            Ok(frame?.map_data(|data| Bytes::from_owner(Sent { data, _share: share })))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes on their way into a socket.
struct Sent {
    data: Bytes,
    _share: Option<Share>,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn memory() -> (Arc<Memory>, IpAddr, IpAddr) {
        let limits = Limits {
            memory_bytes_max: 100_000,
            client_memory_bytes_max: 60_000,
            ..Limits::default()
        };
        (
            Memory::new(&limits, Gauge::default()),
            IpAddr::from([10, 0, 0, 1]),
            IpAddr::from([10, 0, 0, 2]),
        )
    }

    /// If this failed, one client could take the memory of all, or all of them that of the node.
    #[test]
    fn memory_is_shared_within_limits() {
        let (memory, one, two) = memory();
        let (mut a, mut b, mut c) = (memory.share(one), memory.share(one), memory.share(two));
        assert!(a.grow(30_000).is_ok() && a.grow(40_000).is_ok() && b.grow(20_000).is_ok());
        let said = b.grow(20_001).unwrap_err().to_string();
        assert!(said.contains("one address"), "{said}");
        assert!(c.grow(40_000).is_ok());
        let said = c.grow(40_001).unwrap_err().to_string();
        assert!(!said.contains("one address"), "{said}");
        drop(a);
        assert!(b.grow(50_000).is_ok());
        drop((b, c));
        assert!(memory.used().clients.is_empty() && memory.used().total == 0);
    }

    /// If this failed, answers that nobody reads would be held without a limit, or be counted for
    /// ever.
    #[test]
    fn answers_are_counted_until_they_are_sent() {
        let (memory, one, _) = memory();
        let body = |length: usize| Body::from(vec![0; length]);
        let mut large = memory.share(one).hold(body(50_000));
        let small = memory.share(one).hold(body(5));
        assert_eq!(memory.used().total, 50_000);
        assert!(memory.share(one).has_room(&body(20_000)).is_err());
        assert!(memory.share(one).has_room(&body(SMALL_BYTES_MAX)).is_ok());
        assert_eq!(large.size_hint().exact(), Some(50_000));
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut large).poll_frame(&mut cx) else {
            panic!("no data")
        };
        let part = frame.into_data().unwrap().slice(..10);
        drop(large);
        assert_eq!(memory.used().total, 50_000);
        drop((part, small));
        assert_eq!(memory.used().total, 0);
    }
}
