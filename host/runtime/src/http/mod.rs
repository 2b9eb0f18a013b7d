//! Components that export `wasi:http/incoming-handler` of WASI 0.2, unmodified: a request comes in
//! as the argument of a call, and the response goes out as its result. Both are whole: a step has
//! no open connection, so that it can run anywhere.

mod fetch;
mod message;
mod outgoing;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame};
use izna_proto::{Failure, FailureKind};
use wasmtime::Store;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use crate::bounds::Bytes as Size;
use crate::component::Scene;
use crate::state::State;

pub use fetch::{Fetch, FetchError, FetchErrorKind};
pub use message::Whole;
pub(crate) use outgoing::{Fetched, Outbox, Outgoing, recorded, remembered};

/// The interface, in the newest version that is taken.
pub(crate) const HANDLER: &str = "wasi:http/incoming-handler@0.2.12";
/// The interface by which guests make requests.
pub(crate) const OUTGOING: &str = "wasi:http/outgoing-handler@0.2.12";
/// Its one function, as other components call it.
pub(crate) const HANDLE: &str = "wasi:http/incoming-handler.handle";

type Set = Result<Response<WasiBody>, ErrorCode>;

/// Run a request to its response, in a fresh instance.
pub(crate) async fn handle(
    pre: &ProxyPre<State>,
    store: &mut Store<State>,
    input: &Bytes,
    scene: &Scene,
) -> wasmtime::Result<Result<Bytes, Failure>> {
    let request = match message::read_request(input) {
        Ok(request) => request,
        Err(misfit) => {
            let message = format!("the request cannot be read: {misfit}");
            return Ok(Err(Failure::new(FailureKind::Invalid, message)));
        }
    };
    let proxy = pre.instantiate_async(&mut *store).await?;
    let scheme = match request.uri().scheme_str() {
        Some("https") => Scheme::Https,
        Some("http") | None => Scheme::Http,
        Some(other) => Scheme::Other(other.into()),
    };
    let set: Arc<Mutex<Option<Set>>> = Arc::default();
    let setter = set.clone();
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(scheme, request.map(Whole::into_body))?;
    let outparam = http.new_response_outparam_from_callback(move |response| {
        *setter.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
    })?;
    let outgoing = Outgoing::new(store.data_mut(), scene);
    let mut reply = Reply::new(set, scene.limits.payload_bytes_max);

    let handler = proxy.wasi_http_incoming_handler();
    let call = handler.call_handle(&mut *store, request, outparam);
    let ended = drive(call, outgoing, scene, |ctx| reply.take(ctx)).await;
    poll_fn(|ctx| {
        reply.take(ctx);
        Poll::Ready(())
    })
    .await;
    match ended {
        // A program that ends well once its reply is whole has replied.
        Err(error) if !(is_success(&error) && reply.is_whole()) => Err(error),
        _ => Ok(reply.end()),
    }
}

fn is_success(error: &wasmtime::Error) -> bool {
    error.downcast_ref::<I32Exit>().is_some_and(|exit| exit.0 == 0)
}

/// Run a guest's function while what it asks of others goes out and comes back. `take` takes what
/// else it writes, and says whether that was anything.
pub(crate) async fn drive<T>(
    call: impl Future<Output = wasmtime::Result<T>>,
    mut outgoing: Outgoing,
    scene: &Scene,
    mut take: impl FnMut(&mut Context<'_>) -> bool,
) -> wasmtime::Result<T> {
    let mut call = pin!(call);
    poll_fn(|ctx| {
        outgoing.resume();
        loop {
            if let Poll::Ready(ended) = call.as_mut().poll(ctx) {
                return Poll::Ready(ended);
            }
            // A function that was only stopped for a tick waits for nothing yet.
            let ticked = scene.meter.has_ticked();
            let recorder = scene.recorder.as_ref();
            if recorder.is_some_and(|recorder| ticked || recorder.is_wanted()) {
                return Poll::Pending;
            }
            let moved = take(ctx) || outgoing.advance(ctx)?;
            if !moved || ticked {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// What the guest replies, as far as it has written it.
struct Reply {
    set: Arc<Mutex<Option<Set>>>,
    head: Option<Result<Parts, ErrorCode>>,
    /// What is still to come.
    body: Option<WasiBody>,
    data: Vec<u8>,
    trailers: HeaderMap,
    bytes_max: u64,
    /// Why it cannot be a reply any more.
    broken: Option<Failure>,
}

impl Reply {
    fn new(set: Arc<Mutex<Option<Set>>>, bytes_max: u64) -> Self {
        Self {
            set,
            head: None,
            body: None,
            data: Vec::new(),
            trailers: HeaderMap::new(),
            bytes_max,
            broken: None,
        }
    }

    /// Take what was written. Whether something was, so that the guest may go on writing.
    fn take(&mut self, ctx: &mut Context<'_>) -> bool {
        if self.head.is_none() {
            let set = self.set.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.head = set.map(|set| {
                set.map(|response| {
                    let (head, body) = response.into_parts();
                    self.body = Some(body);
                    head
                })
            });
        }
        let mut moved = false;
        while let Some(body) = &mut self.body
            && let Poll::Ready(frame) = Pin::new(body).poll_frame(ctx)
        {
            moved = true;
            match frame.map(|frame| frame.map(Frame::into_data)) {
                None => self.body = None,
                Some(Ok(Ok(piece))) => self.add(&piece),
                Some(Ok(Err(frame))) => {
                    self.trailers = frame.into_trailers().unwrap_or_default();
                }
                Some(Err(error)) => {
                    let message = format!("the reply's body was not finished: {error}");
                    self.end_as(FailureKind::Failed, message);
                }
            }
        }
        moved
    }

    fn add(&mut self, piece: &[u8]) {
        if (self.data.len() + piece.len()) as u64 > self.bytes_max {
            let max = Size(self.bytes_max);
            let message = format!("payload limit of {max} reached: the reply's body has more");
            return self.end_as(FailureKind::Limit, message);
        }
        self.data.extend_from_slice(piece);
    }

    /// Take no more: the guest finds its stream closed.
    fn end_as(&mut self, kind: FailureKind, message: String) {
        self.body = None;
        self.broken = Some(Failure::new(kind, message));
    }

    /// Whether a response is there with all of its body.
    fn is_whole(&self) -> bool {
        matches!(self.head, Some(Ok(_))) && self.body.is_none() && self.broken.is_none()
    }

    /// The guest is done. A body that it left open is not whole: who asked would take it for that.
    fn end(self) -> Result<Bytes, Failure> {
        if let Some(failure) = self.broken {
            return Err(failure);
        }
        let failed = |message: String| Failure::new(FailureKind::Failed, message);
        if self.body.is_some() {
            return Err(failed("the reply's body was not finished".into()));
        }
        let Some(head) = self.head else {
            return Err(failed("the component ended without a reply".into()));
        };
        let head = head.map_err(|code| failed(format!("the component replied with {code:?}")))?;
        let body = Whole { data: self.data.into(), trailers: self.trailers };
        Ok(message::write_response(&Response::from_parts(head, body)))
    }
}
