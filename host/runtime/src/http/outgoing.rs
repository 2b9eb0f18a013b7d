//! The requests that a guest makes while it runs: their bodies are taken as it writes them, then
//! they are sent, or become calls of other components.
//!
//! What comes back reaches a guest whose calls are recorded only while it waits, one after the
//! other, so that the record has all of it in the order in which the guest met it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body::Body as _;
use izna_proto::{Call, FailureKind, Outcome};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::fetch::{Fetch, FetchError, FetchErrorKind as Kind};
use super::message::{read_response, write_request, write_response};
use super::{HANDLE, Whole};
use crate::component::Scene;
use crate::log::{self, Budget};
use crate::record::Recorder;
use crate::state::State;
use crate::{BoxFuture, Host, Level};

/// The most requests of one step that are on their way.
const REQUESTS_MAX: usize = 64;
/// The end of hosts that are components.
const INTERNAL: &str = ".internal";

pub(crate) type Fetched = Result<Response<Whole>, FetchError>;
type Sent = Result<(Response<WasiBody>, Io), Error>;
type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// Where the guest's requests wait for the step's driver; the guest has one end of it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    new: Mutex<Vec<Draft>>,
    /// The linear memory of the instance when it last asked.
    memory_bytes: AtomicU64,
}

/// A request whose body may still be written.
#[derive(Debug)]
struct Draft {
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
    sender: oneshot::Sender<Result<Response<Whole>, Error>>,
    /// The task that hands the response to the guest.
    task: Option<AbortHandle>,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Vec<Draft>> {
        self.0.new.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest has asked: `task` will hand it the response to its newest request.
    pub(crate) fn asked(&self, task: AbortHandle, memory_bytes: u64) {
        self.0.memory_bytes.store(memory_bytes, Ordering::Relaxed);
        if let Some(draft) = self.lock().last_mut()
            && draft.task.is_none()
        {
            draft.task = Some(task);
        }
    }
}

impl WasiHttpHooks for Outbox {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (sender, receiver) = oneshot::channel();
        self.lock().push(Draft { request, options, sender, task: None });
        Box::new(async move {
            let gone = |_| Error::InternalError(Some("the step has ended".into()));
            let response = receiver.await.map_err(gone)??;
            let done: Io = Box::new(async { Ok(()) });
            Ok((response.map(Whole::into_body), done))
        })
    }
}

/// What becomes of a step's requests.
pub(crate) struct Outgoing {
    outbox: Outbox,
    output: Arc<Budget>,
    host: Arc<dyn Host>,
    recorder: Option<Arc<Recorder>>,
    bytes_max: u64,
    drafts: Vec<Writing>,
    /// To hosts outside, in the order in which they were complete.
    outside: Vec<Outside>,
    /// To other components.
    calls: VecDeque<Pending<Call>>,
    /// The call that the step was suspended for.
    called: Option<Pending<()>>,
    /// Responses on their way into the guest.
    handed: Vec<AbortHandle>,
}

/// A request whose body is being written.
struct Writing {
    draft: Draft,
    whole: Whole,
    data: Vec<u8>,
}

/// A request that is complete, and how its response gets into the guest.
struct Pending<T> {
    what: T,
    sender: oneshot::Sender<Result<Response<Whole>, Error>>,
    task: Option<AbortHandle>,
}

struct Outside {
    pending: Pending<Option<Fetch>>,
    digest: [u8; 16],
    sent: Option<BoxFuture<Fetched>>,
}

impl Outgoing {
    pub(crate) fn new(state: &mut State, scene: &Scene) -> Self {
        Self {
            outbox: state.outbox(),
            output: state.output.clone(),
            host: scene.host.clone(),
            recorder: scene.recorder.clone(),
            bytes_max: scene.limits.payload_bytes_max,
            drafts: Vec::new(),
            outside: Vec::new(),
            calls: VecDeque::new(),
            called: None,
            handed: Vec::new(),
        }
    }

    /// The step goes on after a suspension: give the guest what it was suspended for.
    pub(crate) fn resume(&mut self) {
        if self.called.is_some()
            && let Some(outcome) = self.recorder.as_ref().and_then(|r| r.take_outcome())
            && let Some(called) = self.called.take()
        {
            self.hand(called, response_of(outcome));
        }
    }

    /// The guest waits. Whether something has moved on that it may wait for.
    pub(crate) fn advance(&mut self, ctx: &mut Context<'_>) -> wasmtime::Result<bool> {
        self.take_new();
        if self.take_bodies(ctx) {
            return Ok(true);
        }
        let Some(recorder) = &self.recorder else { return Ok(self.fetch(ctx)) };
        let before = self.handed.len();
        self.handed.retain(|task| !task.is_finished());
        if self.handed.len() < before {
            return Ok(true);
        }
        if !self.handed.is_empty() {
            // What the guest does with it comes before anything else; that is but a moment.
            ctx.waker().wake_by_ref();
            return Ok(false);
        }
        if recorder.is_replaying() {
            return self.replay();
        }
        if self.fetch(ctx) {
            return Ok(true);
        }
        // A step is not suspended while an answer is on its way to it: it would be asked for again.
        if self.outside.is_empty() && self.called.is_none() {
            return self.call();
        }
        Ok(false)
    }

    fn take_new(&mut self) {
        let new = std::mem::take(&mut *self.outbox.lock());
        for draft in new {
            if self.drafts.len() + self.outside.len() + self.calls.len() >= REQUESTS_MAX {
                let message = format!("{REQUESTS_MAX} requests of this step are on their way");
                self.refuse(draft.sender, draft.task, FetchError::new(Kind::Busy, message));
                continue;
            }
            self.drafts.push(Writing { draft, whole: Whole::default(), data: Vec::new() });
        }
    }

    /// Take what was written of bodies.
    fn take_bodies(&mut self, ctx: &mut Context<'_>) -> bool {
        let mut moved = false;
        for mut writing in std::mem::take(&mut self.drafts) {
            let end = loop {
                let body = Pin::new(writing.draft.request.body_mut());
                match body.poll_frame(ctx) {
                    Poll::Pending => break None,
                    Poll::Ready(None) => break Some(Ok(())),
                    Poll::Ready(Some(Err(error))) => {
                        let message = format!("the request's body was not finished: {error}");
                        break Some(Err(FetchError::new(Kind::Other, message)));
                    }
                    Poll::Ready(Some(Ok(frame))) => {
                        moved = true;
                        if let Some(error) = writing.add(frame, self.bytes_max) {
                            break Some(Err(error));
                        }
                    }
                }
            };
            match end {
                None => self.drafts.push(writing),
                Some(Ok(())) => self.complete(writing),
                Some(Err(error)) => {
                    moved = true;
                    self.refuse(writing.draft.sender, writing.draft.task, error);
                }
            }
        }
        moved
    }

    fn complete(&mut self, writing: Writing) {
        let Writing { draft, mut whole, data } = writing;
        let Draft { request, options, sender, task } = draft;
        whole.data = Bytes::from(data);
        let mut request = request.map(|_| whole);
        request.headers_mut().remove(http::header::HOST);
        take_off(request.headers_mut());
        let host = request.uri().host().unwrap_or_default().to_ascii_lowercase();
        if host.ends_with(INTERNAL) {
            match self.call_of(&request) {
                Ok(what) => self.calls.push_back(Pending { what, sender, task }),
                Err(error) => self.refuse(sender, task, error),
            }
            return;
        }
        let digest = xxhash_rust::xxh3::xxh3_128(&write_request(&request)).to_be_bytes();
        let fetch = Fetch {
            request,
            connect_timeout: options.and_then(|options| options.connect_timeout),
            first_byte_timeout: options.and_then(|options| options.first_byte_timeout),
            between_bytes_timeout: options.and_then(|options| options.between_bytes_timeout),
        };
        let pending = Pending { what: Some(fetch), sender, task };
        self.outside.push(Outside { pending, digest, sent: None });
    }

    /// `http://LINK.APP.internal/`: the component that the manifest links under that name.
    fn call_of(&self, request: &Request<Whole>) -> Result<Call, FetchError> {
        let denied = |why: String| FetchError::new(Kind::Denied, why);
        let (uri, app) = (request.uri(), self.host.app());
        let host = uri.host().unwrap_or_default();
        let name = host.get(..host.len() - INTERNAL.len()).unwrap_or_default();
        let link = name.rsplit_once('.').filter(|(_, of)| of.eq_ignore_ascii_case(&app));
        let Some((link, _)) = link else {
            return Err(denied(format!(
                "{host} is no component of app `{app}`: those are at LINK.{app}.internal"
            )));
        };
        if uri.scheme_str() != Some("http") || uri.port_u16().is_some_and(|port| port != 80) {
            return Err(denied(format!("{host} is reached by http:// and no port")));
        }
        if self.recorder.is_none() {
            return Err(denied(format!(
                "{host}: the component has no link `{link}`; name it in its `links`"
            )));
        }
        let (component, function) = (link.into(), HANDLE.into());
        Ok(Call { component, function, input: write_request(request).into() })
    }

    /// Give out of the record what the guest waits for.
    fn replay(&mut self) -> wasmtime::Result<bool> {
        let Some(recorder) = self.recorder.clone() else { return Ok(false) };
        if let Some(digest) = recorder.fetched_next() {
            let found = self.outside.iter().position(|outside| outside.digest == digest);
            let fetched = recorder.fetched(found.is_some())?;
            if let (Some(index), Some(fetched)) = (found, fetched) {
                let outside = self.outside.remove(index);
                self.hand(outside.pending, fetched);
            }
            return Ok(true);
        }
        if recorder.is_call_next() {
            return self.call();
        }
        // It waits for a clock, which goes on by itself.
        Ok(false)
    }

    /// Send what is complete, and take what has come.
    fn fetch(&mut self, ctx: &mut Context<'_>) -> bool {
        for outside in &mut self.outside {
            if let Some(fetch) = outside.pending.what.take() {
                outside.sent = Some(self.host.fetch(fetch));
            }
        }
        let mut came = None;
        for (index, outside) in self.outside.iter_mut().enumerate() {
            if let Some(sent) = &mut outside.sent
                && let Poll::Ready(fetched) = sent.as_mut().poll(ctx)
            {
                came = Some((index, fetched));
                break;
            }
        }
        let Some((index, fetched)) = came else { return false };
        let outside = self.outside.remove(index);
        if let Some(recorder) = &self.recorder {
            recorder.fetch(outside.digest, &fetched);
        }
        self.hand(outside.pending, fetched);
        true
    }

    /// Make the next call: it is in the record, or the step is suspended for it.
    fn call(&mut self) -> wasmtime::Result<bool> {
        let Some(recorder) = self.recorder.clone() else { return Ok(false) };
        let Some(Pending { what, sender, task }) = self.calls.pop_front() else {
            return Ok(false);
        };
        let pending = Pending { what: (), sender, task };
        let memory_bytes = self.outbox.0.memory_bytes.load(Ordering::Relaxed);
        match recorder.call(what, memory_bytes)? {
            Some(outcome) => self.hand(pending, response_of(outcome)),
            None => self.called = Some(pending),
        }
        Ok(self.called.is_none())
    }

    fn refuse(
        &mut self,
        sender: oneshot::Sender<Result<Response<Whole>, Error>>,
        task: Option<AbortHandle>,
        error: FetchError,
    ) {
        self.hand(Pending { what: (), sender, task }, Err(error));
    }

    fn hand<T>(&mut self, pending: Pending<T>, fetched: Fetched) {
        if let Err(error) = &fetched
            && !self.recorder.as_ref().is_some_and(|recorder| recorder.is_replaying())
        {
            // The guest's own error code tells less.
            let said = format!("a request failed: {error}");
            log::tell(&*self.host, &self.output, Level::Warn, "", &said);
        }
        // A guest that dropped it wants it no more.
        let _ = pending.sender.send(fetched.map_err(Error::from));
        if self.recorder.is_some() {
            self.handed.extend(pending.task);
        }
    }
}

impl Writing {
    fn add(&mut self, frame: http_body::Frame<Bytes>, max: u64) -> Option<FetchError> {
        match frame.into_data() {
            Ok(piece) if (self.data.len() + piece.len()) as u64 > max => {
                let message = format!("the request's body is over the payload limit of {max}");
                return Some(FetchError::new(Kind::RequestTooLong, message));
            }
            Ok(piece) => self.data.extend_from_slice(&piece),
            Err(frame) => {
                self.whole.trailers = frame.into_trailers().unwrap_or_default();
            }
        }
        None
    }
}

/// Take off the fields of one connection: the request goes over another.
fn take_off(headers: &mut HeaderMap) {
    let own: Vec<HeaderName> =
        headers.keys().filter(|name| is_of_the_connection(name)).cloned().collect();
    for name in own {
        headers.remove(name);
    }
}

fn is_of_the_connection(name: &HeaderName) -> bool {
    izna_proto::http::is_of_the_connection(name.as_str())
}

/// What the call of a component comes to for who asked by HTTP.
fn response_of(outcome: Outcome<Bytes>) -> Fetched {
    let result = outcome.map_err(|failure| {
        let kind = match failure.kind {
            FailureKind::NotFound => Kind::NotFound,
            FailureKind::Unavailable | FailureKind::Busy => Kind::Unavailable,
            FailureKind::Deadline => Kind::ResponseTimeout,
            _ => Kind::Other,
        };
        FetchError::new(kind, failure.message)
    })?;
    read_response(&result)
        .map_err(|misfit| FetchError::new(Kind::Protocol, format!("its reply is none: {misfit}")))
}

/// The form in which what was fetched stands in a record.
pub(crate) fn recorded(fetched: &Fetched) -> Result<Bytes, FetchError> {
    match fetched {
        Ok(response) => Ok(write_response(response)),
        Err(error) => Err(error.clone()),
    }
}

/// What a record has of it.
pub(crate) fn remembered(recorded: Result<Bytes, FetchError>) -> Fetched {
    recorded.and_then(|bytes| {
        read_response(&bytes).map_err(|odd| FetchError::new(Kind::Other, odd.to_string()))
    })
}
