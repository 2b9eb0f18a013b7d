//! A component that can run, and one step of it. Not when or how often it runs.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use izna_proto::{Call, Digest, Failure, FailureKind, Run, StepEnd};
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::runtime::with_ambient_tokio_runtime;

use crate::bindings::ExplicitPre;
use crate::bindings::izna::process::types as wit;
use crate::bounds::{Bounds, Bytes as Size, Reached};
use crate::failure::{self, Scene};
use crate::log::Budget;
use crate::meter::Meter;
use crate::state::State;
use crate::{BoxFuture, Host, Runtime};

/// The longest name of a called component or function, in bytes: the wire takes no longer ones.
const NAME_BYTES_MAX: usize = 256;

/// A component of this node, ready to run; cheap to clone.
#[derive(Clone)]
pub struct Component {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Runtime,
    digest: Digest,
    pre: ExplicitPre<State>,
    uses_wasi: bool,
    output: Arc<Budget>,
}

/// How much one step may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepLimits {
    /// Linear memory of all its memories together; the runtime's own `memory_bytes_max` holds as
    /// well.
    pub memory_bytes_max: u64,
    /// Time on a core, in milliseconds, to about a tick. Waiting for the host does not count.
    pub cpu_ms_max: u32,
    /// Each payload that it gives over: a result, a continuation, the input of a call.
    pub payload_bytes_max: u64,
}

/// A step that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stepped {
    /// How.
    pub end: StepEnd,
    /// How long it was on a core, waiting not included.
    pub used: Duration,
}

/// A running step. Dropping it ends the guest where it stands and frees its instance.
pub struct Step {
    future: Option<BoxFuture<StepEnd>>,
    component: Arc<Inner>,
    function: Arc<str>,
    meter: Arc<Meter>,
}

impl Component {
    pub(crate) fn new(
        runtime: Runtime,
        digest: Digest,
        pre: ExplicitPre<State>,
        uses_wasi: bool,
    ) -> Self {
        let output = Arc::new(Budget::new());
        Self { inner: Arc::new(Inner { runtime, digest, pre, uses_wasi, output }) }
    }

    /// The digest that it was loaded under.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// One step in a fresh instance. Nothing happens before the first poll, which may be on any
    /// thread.
    ///
    /// It never fails and never panics: what goes wrong is a [`StepEnd::Failed`]. It gives way once
    /// a tick, so that a poll takes about a tick at most, and waits for nothing but `host`'s
    /// answers and WASI's clock.
    pub fn step(
        &self,
        function: Arc<str>,
        run: Run,
        limits: StepLimits,
        host: Arc<dyn Host>,
    ) -> Step {
        let meter = Arc::new(Meter::new());
        let component = self.inner.clone();
        let future = Box::pin(step(component, function.clone(), run, limits, host, meter.clone()));
        Step { future: Some(future), component: self.inner.clone(), function, meter }
    }
}

impl Future for Step {
    type Output = Stepped;

    fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Stepped> {
        let this = &mut *self;
        let Some(future) = this.future.as_mut() else {
            let failure = Failure::new(FailureKind::Other, "the step has ended before");
            return Poll::Ready(Stepped {
                end: StepEnd::Failed(failure),
                used: this.meter.slice_ends(),
            });
        };
        let _running = this.component.runtime.ticker().running();
        this.meter.slice_begins();
        // The future is not polled again after a panic, so that nobody sees what it left half done.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            if this.component.uses_wasi {
                with_ambient_tokio_runtime(|| future.as_mut().poll(ctx))
            } else {
                future.as_mut().poll(ctx)
            }
        }));
        let end = match polled {
            Ok(Poll::Pending) => {
                this.meter.slice_ends();
                return Poll::Pending;
            }
            Ok(Poll::Ready(end)) => end,
            Err(panic) => StepEnd::Failed(failure::panicked(&*panic, &this.function)),
        };
        let future = this.future.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
        Poll::Ready(Stepped { end, used: this.meter.slice_ends() })
    }
}

async fn step(
    component: Arc<Inner>,
    function: Arc<str>,
    run: Run,
    limits: StepLimits,
    host: Arc<dyn Host>,
    meter: Arc<Meter>,
) -> StepEnd {
    let runtime = &component.runtime;
    let bounds = Bounds::new(limits.memory_bytes_max);
    let state = State::new(host, bounds, component.output.clone());
    let mut store = Store::new(runtime.engine(), state);
    let copied_bytes_max = copied_bytes_max(limits.payload_bytes_max);
    store.limiter(|state| &mut state.bounds);
    store.set_hostcall_fuel(copied_bytes_max);
    store.set_epoch_deadline(1);
    let tick = Duration::from_millis(runtime.config().tick_ms.into());
    store.epoch_deadline_callback(move |_| {
        if meter.ticks(tick) >= Duration::from_millis(limits.cpu_ms_max.into()) {
            return Err(Reached::Cpu { max_ms: limits.cpu_ms_max }.into());
        }
        Ok(UpdateDeadline::Yield(1))
    });
    match call(&component, &mut store, &function, run).await {
        Ok(step) => checked(step, limits.payload_bytes_max).unwrap_or_else(StepEnd::Failed),
        Err(error) => StepEnd::Failed(failure::of(
            &error,
            Scene {
                function: &function,
                stack_bytes_max: runtime.config().stack_bytes_max,
                copied_bytes_max,
                payload_bytes_max: limits.payload_bytes_max,
                steps_max: runtime.config().steps_max,
            },
        )),
    }
}

/// What a guest may have the host copy in one call: enough to tell how large a payload over the
/// limit was, in all but hostile cases.
fn copied_bytes_max(payload_bytes_max: u64) -> usize {
    const NAMES: u64 = 1 << 20;
    usize::try_from(payload_bytes_max.saturating_mul(4).saturating_add(NAMES)).unwrap_or(usize::MAX)
}

async fn call(
    component: &Inner,
    store: &mut Store<State>,
    function: &str,
    run: Run,
) -> wasmtime::Result<wit::Step> {
    let instance = component.pre.instantiate_async(&mut *store).await?;
    let handler = instance.izna_process_handler();
    match run {
        Run::Start { input } => handler.call_start(store, function, &input).await,
        Run::Resume { continuation, outcome } => {
            let outcome = outcome.map(Vec::from).map_err(failure_for_guest);
            handler.call_resume(store, function, &continuation, &outcome).await
        }
    }
}

fn checked(step: wit::Step, max: u64) -> Result<StepEnd, Failure> {
    Ok(match step {
        wit::Step::Done(result) => StepEnd::Done(payload("result", result, max)?),
        wit::Step::Failed(failure) => StepEnd::Failed(failure_of_guest(failure)),
        wit::Step::Suspend(suspension) => StepEnd::Suspend {
            call: checked_call(suspension.call, max)?,
            continuation: payload("continuation", suspension.continuation, max)?,
        },
        wit::Step::Forward(call) => StepEnd::Forward(checked_call(call, max)?),
    })
}

fn checked_call(call: wit::Call, max: u64) -> Result<Call, Failure> {
    Ok(Call {
        component: name("component", call.component)?,
        function: name("function", call.function)?,
        input: payload("call's input", call.input, max)?,
    })
}

fn payload(what: &str, bytes: Vec<u8>, max: u64) -> Result<Bytes, Failure> {
    if bytes.len() as u64 > max {
        let (length, max) = (Size(bytes.len() as u64), Size(max));
        let message = format!("payload limit of {max} reached: the {what} has {length}");
        return Err(Failure::new(FailureKind::Limit, message));
    }
    Ok(Bytes::from(bytes))
}

fn name(of: &str, name: String) -> Result<Arc<str>, Failure> {
    if name.len() > NAME_BYTES_MAX {
        let length = name.len();
        return Err(Failure::new(
            FailureKind::Limit,
            format!("the name of the called {of} has {length} bytes; {NAME_BYTES_MAX} are allowed"),
        ));
    }
    Ok(Arc::from(name))
}

fn failure_of_guest(failure: wit::Failure) -> Failure {
    use wit::Failure as Guest;
    let (kind, message) = match failure {
        Guest::Failed(message) => (FailureKind::Failed, message),
        Guest::Trapped(message) => (FailureKind::Trapped, message),
        Guest::Limit(message) => (FailureKind::Limit, message),
        Guest::NotFound(message) => (FailureKind::NotFound, message),
        Guest::Deadline => (FailureKind::Deadline, "the deadline passed".into()),
        Guest::Unavailable(message) => (FailureKind::Unavailable, message),
        Guest::Other(message) => (FailureKind::Other, message),
    };
    Failure::new(kind, message)
}

fn failure_for_guest(failure: Failure) -> wit::Failure {
    use wit::Failure as Guest;
    match failure.kind {
        FailureKind::Failed => Guest::Failed(failure.message),
        FailureKind::Trapped => Guest::Trapped(failure.message),
        FailureKind::Limit => Guest::Limit(failure.message),
        FailureKind::NotFound => Guest::NotFound(failure.message),
        FailureKind::Deadline => Guest::Deadline,
        FailureKind::Unavailable | FailureKind::Busy => Guest::Unavailable(failure.message),
        _ => Guest::Other(failure.message),
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component").field("digest", &self.inner.digest).finish_non_exhaustive()
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("function", &self.function).finish_non_exhaustive()
    }
}
