//! The public listener: each request becomes a process, each outcome a response.

use std::{
    fmt::Write as _,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    body::Body,
    http::{Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::{Request, body::Incoming};
use izna_proto::{Failure, FailureKind, Route};
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use crate::{
    body,
    cluster::{self, Cluster},
    exchange, headers, http,
    limits::Limits,
    memory::Memory,
    methods::{self, Verdict},
    metrics::Metrics,
    refusal::{self, Refusal},
    routes::Routes,
    server::Handler,
    trace, typed,
};

/// The node answers at the deadline; this much later the gateway does it in its place.
const DEADLINE_SLACK: Duration = Duration::from_secs(2);

/// What is turned into another form on the sockets' thread, in bytes: some tenths of a millisecond.
const TURNED_BYTES_MAX: usize = 32 << 10;
/// How many larger ones are turned at the same time.
const TURNED_AT_ONCE_MAX: usize = 2;
/// Longer paths are not compared with the routes.
const COMPARED_BYTES_MAX: usize = 128;

/// The public listener's handler.
#[derive(Debug)]
pub(crate) struct Public {
    cluster: Arc<dyn Cluster>,
    routes: RwLock<Arc<Routes>>,
    limits: Limits,
    requests: Semaphore,
    memory: Arc<Memory>,
    turning: Turning,
    metrics: Arc<Metrics>,
}

impl Public {
    pub(crate) fn new(cluster: Arc<dyn Cluster>, limits: Limits, metrics: Arc<Metrics>) -> Self {
        let requests = Semaphore::new(limits.requests_max);
        let routes = RwLock::new(Arc::new(Routes::new(&cluster.table().borrow())));
        let memory = Memory::new(&limits, metrics.memory_bytes.clone());
        let turning = Turning(Semaphore::new(TURNED_AT_ONCE_MAX));
        Self { cluster, routes, limits, requests, memory, turning, metrics }
    }

    /// Keep the routes those of the app table, for ever.
    pub(crate) async fn follow(&self) {
        let mut table = self.cluster.table();
        loop {
            let entries = Arc::clone(&table.borrow_and_update());
            let routes = Arc::new(Routes::new(&entries));
            *self.routes.write().unwrap_or_else(PoisonError::into_inner) = routes;
            if table.changed().await.is_err() {
                return;
            }
        }
    }

    fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        if path == "*" {
            return Ok(methods::of_the_server());
        }
        let routes = self.routes();
        let (target, params) = routes.find(path).ok_or_else(|| no_route(path, &routes))?;
        let call = Call::of(&target.route.function);
        match methods::judge(&parts.method, &target.route, matches!(call, Call::Typed)) {
            Verdict::Call => {}
            Verdict::Answer(response) => return Ok(response),
        }
        let mut share = self.memory.share(client);
        let body = body::read(&parts, body, &self.limits, &mut share).await?;
        // Who sends slowly is not in work yet.
        let max = self.limits.requests_max;
        let full = |_| Refusal::Full { what: "requests", max };
        let _permit = self.requests.try_acquire().map_err(full)?;
        let length = body.data.len();
        let convert = move || {
            let input = match call {
                Call::Http => Ok(http::request(&parts, &body.data, &body.trailers)),
                Call::Typed => typed::arguments(&parts, params, &body.data),
                Call::Plain => exchange::request(&parts, params, &body.data),
            };
            (parts, input)
        };
        let (parts, input) = self.turning.run(length, convert).await?;
        let input = input?;
        let max = self.limits.payload_bytes_max;
        if input.len() > max {
            return Err(Refusal::BodyTooLong { max });
        }
        share.set(input.len());
        let deadline = Duration::from_millis(u64::from(target.route.deadline_ms));
        let request = cluster::Request {
            app: Arc::clone(&target.app),
            component: Arc::clone(&target.route.component),
            function: Arc::clone(&target.route.function),
            input: input.into(),
            idempotent: is_idempotent(&parts, &target.route),
            deadline,
            traceparent: Some(trace::context(&parts.headers)),
        };
        let reply = timeout(deadline + DEADLINE_SLACK, self.cluster.submit(request)).await;
        let reply = reply.map_err(|_| {
            let message = format!("deadline of {} ms exceeded", target.route.deadline_ms);
            Refusal::other(StatusCode::GATEWAY_TIMEOUT, "deadline", message)
        })?;
        self.metrics.replied(&reply.outcome);
        let length = reply.outcome.as_ref().map_or(0, |result| result.inline().len());
        let is_safe = parts.method.is_safe();
        let convert = move || respond(&reply, call, &parts);
        let response = self.turning.run(length, convert).await?;
        // What ran once for good is told, whatever it takes to hold the answer.
        if is_safe {
            share.has_room(response.body())?;
        }
        Ok(response.map(|body| share.hold(body)))
    }
}

impl Handler for Public {
    async fn handle(&self, request: Request<Incoming>, client: IpAddr) -> Response {
        let began = Instant::now();
        self.metrics.in_work.inc();
        let _in_work = InWork(&self.metrics);
        let answer = self.answer(request, client).await;
        let response = answer.unwrap_or_else(IntoResponse::into_response);
        self.metrics.answered(response.status(), began.elapsed());
        response
    }
}

/// How the function of a route is called.
#[derive(Debug, Clone, Copy)]
enum Call {
    /// With the request as it is.
    Http,
    /// With its parts as arguments.
    Typed,
    /// With a request whose parts are taken apart.
    Plain,
}

impl Call {
    fn of(function: &str) -> Self {
        match (http::is_http(function), typed::is_direct(function)) {
            (true, _) => Self::Http,
            (false, true) => Self::Typed,
            (false, false) => Self::Plain,
        }
    }
}

/// Turns many bytes into something else on threads of their own, for the sockets' thread has others
/// to serve; and few at a time, for the values in between take many times the memory.
#[derive(Debug)]
struct Turning(Semaphore);

impl Turning {
    async fn run<T: Send + 'static>(
        &self,
        length: usize,
        turn: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        if length <= TURNED_BYTES_MAX {
            return Ok(turn());
        }
        let _place = self.0.acquire().await;
        spawn_blocking(turn).await.map_err(|_| {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Refusal::other(status, "failed", "the request could not be converted")
        })
    }
}

/// Counts a request as in work until it is dropped: a client may go away at any time.
struct InWork<'a>(&'a Metrics);

impl Drop for InWork<'_> {
    fn drop(&mut self) {
        self.0.in_work.dec();
    }
}

fn no_route(path: &str, routes: &Routes) -> Refusal {
    if path.len() > COMPARED_BYTES_MAX {
        return Refusal::other(StatusCode::NOT_FOUND, "no-route", "no route for this path");
    }
    let mut message = format!("no route for `{path}`");
    let nearest = routes.nearest(path);
    if !nearest.is_empty() {
        let _ = write!(message, "; did you mean {}?", refusal::listed(&nearest));
    }
    Refusal::other(StatusCode::NOT_FOUND, "no-route", message)
}

fn is_idempotent(parts: &Parts, route: &Route) -> bool {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE];
    route.idempotent
        || safe.contains(&parts.method)
        || parts.headers.contains_key("idempotency-key")
}

fn respond(reply: &cluster::Reply, call: Call, parts: &Parts) -> Response {
    let response = |result: &Bytes| match call {
        Call::Http => http::response(result, parts),
        Call::Typed => typed::response(result),
        Call::Plain => exchange::response(result),
    };
    let mut response = match &reply.outcome {
        Ok(result) => response(result.inline())
            .unwrap_or_else(|bad| refusal::with_process(&bad, reply.process)),
        Err(failure) => refusal::failure_response(&clearer(failure), reply),
    };
    without_body_where_none_may_be(&mut response);
    headers::label(&mut response, reply);
    response
}

/// RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5: these statuses have no body.
fn without_body_where_none_may_be(response: &mut Response) {
    let status = response.status();
    if [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED]
        .contains(&status)
    {
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
}

/// For a client of a route, a function that is not there is the app's mistake and not its own.
fn clearer(failure: &Failure) -> Failure {
    match failure.kind {
        FailureKind::NotFound => {
            let message = format!("the route's function is missing: {}", failure.message);
            Failure::new(failure.kind, message)
        }
        _ => failure.clone(),
    }
}
