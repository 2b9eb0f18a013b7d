//! Runs steps on the executor, and gives each what it may ask of the node: cluster memory, requests
//! to hosts outside, the log.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use hyper::Response;
use izna_core::{Input, Step};
use izna_proto::{
    Failure, FailureKind, Grants, MemoryAnswer, MemoryError, MemoryOperation, ProcessId, StepEnd,
};
use izna_runtime::{
    BoxFuture, Fetch, FetchError, FetchErrorKind, Host, Level, Spawner, StepLimits, Stepped,
    Stream, Whole,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{artifacts::Artifacts, driver::Driver, http_client::HttpClient, waiters::Waiters};

/// Runs steps.
#[derive(Debug)]
pub(crate) struct Steps {
    driver: Arc<Driver>,
    artifacts: Arc<Artifacts>,
    spawner: Spawner,
    http: HttpClient,
    payload_bytes_max: u64,
    memory: Arc<Waiters<u64, MemoryAnswer>>,
    memory_requests: AtomicU64,
}

impl Steps {
    pub(crate) fn new(
        driver: Arc<Driver>,
        artifacts: Arc<Artifacts>,
        spawner: Spawner,
        payload_bytes_max: u64,
    ) -> Self {
        Self {
            driver,
            artifacts,
            spawner,
            http: HttpClient::new(),
            payload_bytes_max,
            memory: Arc::default(),
            memory_requests: AtomicU64::new(0),
        }
    }

    /// Run a step; core is told of its end.
    pub(crate) fn run(self: &Arc<Self>, step: Step) {
        let (steps, held) = (self.clone(), step.held);
        let Some(component) = self.artifacts.component(&step.digest) else {
            let why = format!("{} is not on this node any more", step.digest);
            let end = StepEnd::Failed(Failure::new(FailureKind::Unavailable, why));
            // Not at once: it could be a long chain of entries that all fail here.
            self.spawner.spawn(async move {
                let (used, took, warm) = (Duration::ZERO, Duration::ZERO, false);
                steps.driver.feed_now(Input::Stepped { held, end, used, took, warm });
            });
            return;
        };
        let limits = StepLimits {
            memory_bytes_max: step.limits.memory_bytes_max,
            cpu_ms_max: step.limits.cpu_ms_max,
            payload_bytes_max: self.payload_bytes_max,
        };
        let (function, run) = (step.function.clone(), step.run.clone());
        let host = StepHost { steps: self.clone(), step: Scene::of(&step) };
        let mut running = component.step(function, run, limits, Arc::new(host)).of(step.process);
        let mut sliced = false;
        self.spawner.spawn(poll_fn(move |ctx| {
            let Poll::Ready(stepped) = Pin::new(&mut running).poll(ctx) else {
                if !sliced && running.gives_way() {
                    sliced = true;
                    steps.driver.feed_now(Input::Sliced(held));
                }
                return Poll::Pending;
            };
            let Stepped { end, used, took, warm } = stepped;
            steps.driver.feed_now(Input::Stepped { held, end, used, took, warm });
            Poll::Ready(())
        }));
    }

    /// What came of a step's request to cluster memory.
    pub(crate) fn memory_answered(&self, request: u64, answer: MemoryAnswer) {
        self.memory.answer(&request, answer);
    }

    /// No step is going to be answered any more.
    pub(crate) fn clear(&self) {
        self.memory.clear();
    }
}

/// What a step's host calls are about.
#[derive(Debug)]
struct Scene {
    app: Arc<str>,
    component: Arc<str>,
    process: ProcessId,
    grants: Arc<Grants>,
    has_links: bool,
}

impl Scene {
    fn of(step: &Step) -> Self {
        let (app, component) = (step.app.clone(), step.component.clone());
        let (grants, has_links) = (step.grants.clone(), step.has_links);
        Self { app, component, process: step.process, grants, has_links }
    }
}

/// What a step asks of the node.
struct StepHost {
    steps: Arc<Steps>,
    step: Scene,
}

impl Host for StepHost {
    fn memory(&self, key: String, operation: MemoryOperation) -> BoxFuture<MemoryAnswer> {
        let request = self.steps.memory_requests.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.steps.memory.wait(request);
        let app = self.step.app.clone();
        self.steps.driver.feed_now(Input::Memory { request, app, key, operation });
        Box::pin(async move {
            let answer = (&mut waiting.answer).await;
            answer.unwrap_or(Err(MemoryError::Unavailable))
        })
    }

    fn component(&self) -> Option<&str> {
        Some(&self.step.component)
    }

    fn log(&self, stream: Stream, line: &str) {
        let Scene { app, component, process, .. } = &self.step;
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(target: "guest", %app, %component, %process, %stream, "{line}")
            };
        }
        match stream {
            Stream::Log(Level::Trace) => tell!(trace),
            Stream::Log(Level::Debug) => tell!(debug),
            Stream::Log(Level::Warn) => tell!(warn),
            Stream::Log(Level::Error | Level::Critical) => tell!(error),
            Stream::Stdout | Stream::Stderr | Stream::Log(Level::Info) => tell!(info),
        }
    }

    fn grants(&self) -> Arc<Grants> {
        self.step.grants.clone()
    }

    fn app(&self) -> Arc<str> {
        self.step.app.clone()
    }

    fn has_links(&self) -> bool {
        self.step.has_links
    }

    fn fetch(&self, fetch: Fetch) -> BoxFuture<Result<Response<Whole>, FetchError>> {
        let (steps, grants) = (self.steps.clone(), self.step.grants.clone());
        let io = self.steps.driver.tasks.io().clone();
        let task = io.spawn(async move {
            let stopped = || FetchError {
                kind: FetchErrorKind::Unavailable,
                message: "the node has stopped".into(),
            };
            let fetched = steps.http.fetch(&grants.hosts, fetch, steps.payload_bytes_max);
            let fetched = steps.driver.tasks.until_stopped(fetched).await;
            fetched.unwrap_or_else(|| Err(stopped()))
        });
        let task = AbortOnDropHandle::new(task);
        Box::pin(async move {
            task.await.unwrap_or_else(|error| {
                let (kind, message) = (FetchErrorKind::Other, error.to_string());
                Err(FetchError { kind, message })
            })
        })
    }
}
