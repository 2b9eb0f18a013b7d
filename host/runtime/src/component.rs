//! A component that can run, and one step of it. Not when or how often it runs.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use izna_proto::cbor::{self, Form as CborForm};
use izna_proto::{Call, Digest, Failure, FailureKind, ProcessId, Run, StepEnd, typed};
use wasmtime::{PoolConcurrencyLimitError, Store, UpdateDeadline};
use wasmtime_wasi::runtime::with_ambient_tokio_runtime;

use crate::bindings::ExplicitPre;
use crate::bindings::izna::process::types as wit;
use crate::bounds::{Bounds, Bytes as Size, Reached};
use crate::direct::Direct;
use crate::http::{self, Outgoing};
use crate::log::Budget;
use crate::meter::{Meter, Spent};
use crate::record::Recorder;
use crate::state::State;
use crate::warm::Key;
use crate::{BoxFuture, Host, Runtime, failure, names};

/// The longest name of a called component or function, in bytes: the wire takes no longer ones.
const NAME_BYTES_MAX: usize = 256;

/// A component of this node, ready to run; cheap to clone.
#[derive(Clone)]
pub struct Component {
    inner: Arc<Inner>,
    cost: Option<Duration>,
}

struct Inner {
    runtime: Runtime,
    digest: Digest,
    form: Form,
    uses: Uses,
    output: Arc<Budget>,
}

/// What it imports that a step must be ready for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Uses {
    /// Anything of WASI.
    pub(crate) wasi: bool,
    /// Requests by HTTP.
    pub(crate) requests: bool,
}

/// How it is called.
pub(crate) enum Form {
    Explicit(ExplicitPre<State>),
    Direct(Direct),
}

/// How much one step may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepLimits {
    /// Linear memory of all its memories together; the runtime's own `memory_bytes_max` holds as
    /// well.
    pub memory_bytes_max: u64,
    /// Time on a core, in milliseconds, to about two ticks. Waiting for the host does not count.
    pub cpu_ms_max: u32,
    /// Each payload that it gives over: a result, a continuation, the input of a call.
    pub payload_bytes_max: u64,
}

/// A step that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stepped {
    /// How.
    pub end: StepEnd,
    /// The processor time that it used.
    pub used: Duration,
    /// How long it was on a thread, waiting for the host not included: longer than `used` where
    /// others had the core meanwhile.
    pub took: Duration,
    /// It has suspended, and is kept here as it stands.
    pub warm: bool,
}

impl Stepped {
    fn new(end: StepEnd, Spent { used, took }: Spent) -> Self {
        Self { end, used, took, warm: false }
    }
}

/// A running step. Dropping it ends the guest where it stands and frees its instance.
pub struct Step {
    stage: Stage,
    component: Arc<Inner>,
    function: Arc<str>,
    process: Option<ProcessId>,
}

enum Stage {
    Ready(Box<Begin>),
    Running(Running),
    Over(Spent),
}

/// What a step begins with.
struct Begin {
    run: Run,
    limits: StepLimits,
    host: Arc<dyn Host>,
}

/// A guest that has begun.
pub(crate) struct Running {
    future: BoxFuture<StepEnd>,
    meter: Arc<Meter>,
    /// Of a direct function that can be suspended.
    recorder: Option<Arc<Recorder>>,
    payload_bytes_max: u64,
}

impl Component {
    pub(crate) fn new(runtime: Runtime, digest: Digest, form: Form, uses: Uses) -> Self {
        let output = Arc::new(Budget::new());
        let inner = Arc::new(Inner { runtime, digest, form, uses, output });
        Self { inner, cost: None }
    }

    pub(crate) fn that_cost(self, cost: Option<Duration>) -> Self {
        Self { cost, ..self }
    }

    /// The processor time of compiling it; none when that was done before.
    pub fn cost(&self) -> Option<Duration> {
        self.cost
    }

    /// The digest that it was loaded under.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// One step, in a fresh instance if it is not kept warm. Nothing happens before the first poll,
    /// which may be on any thread.
    ///
    /// It never fails and never panics: what goes wrong is a [`StepEnd::Failed`]. It gives way once
    /// a tick, so that a poll takes one and a half at most, and waits for nothing but `host`'s
    /// answers and WASI's clock.
    pub fn step(
        &self,
        function: Arc<str>,
        run: Run,
        limits: StepLimits,
        host: Arc<dyn Host>,
    ) -> Step {
        let stage = Stage::Ready(Box::new(Begin { run, limits, host }));
        Step { stage, component: self.inner.clone(), function, process: None }
    }
}

impl Step {
    /// It is a step of this process. A direct function that it suspends is kept as it stands, and
    /// if it resumes one that is kept, that one goes on. What a step ends with is the same without
    /// it.
    #[must_use]
    pub fn of(mut self, process: ProcessId) -> Self {
        self.process = Some(process);
        self
    }

    fn begin(&self, begin: Begin) -> Result<Running, Failure> {
        let Begin { run, limits, host } = begin;
        let Form::Direct(direct) = &self.component.form else {
            let (call, recorder) = (Activation::Explicit(run), None);
            return Ok(self.start(call, limits, host, recorder));
        };
        let (recorder, input) = match run {
            Run::Start { input } => {
                // A link that is no import is one by HTTP.
                let requests = self.component.uses.requests && host.has_links();
                let calls = direct.recorded || requests;
                (calls.then(|| Recorder::start(&input)), input)
            }
            Run::Resume { continuation, outcome } => {
                if let Some(key) = self.key(&continuation)
                    && let Some(running) = self.component.runtime.warm().take(&key)
                {
                    running.meter.restart();
                    if let Some(recorder) = &running.recorder {
                        recorder.answer(outcome);
                    }
                    return Ok(running);
                }
                let resumed = Recorder::resume(&continuation, outcome);
                let (recorder, input) = resumed.map_err(|error| {
                    let cause = std::error::Error::source(&error).map(|c| format!(": {c}"));
                    let message = format!("{error}{}", cause.unwrap_or_default());
                    Failure::new(FailureKind::Other, message)
                })?;
                (Some(recorder), input)
            }
        };
        Ok(self.start(Activation::Direct(input), limits, host, recorder.map(Arc::new)))
    }

    fn start(
        &self,
        activation: Activation,
        limits: StepLimits,
        host: Arc<dyn Host>,
        recorder: Option<Arc<Recorder>>,
    ) -> Running {
        let tick = Duration::from_millis(self.component.runtime.config().tick_ms.into());
        let meter = Arc::new(Meter::new(tick));
        let scene = Scene { limits, host, meter: meter.clone(), recorder: recorder.clone() };
        let (component, function) = (self.component.clone(), self.function.clone());
        let future = Box::pin(step(component, function, activation, scene));
        Running { future, meter, recorder, payload_bytes_max: limits.payload_bytes_max }
    }

    fn key(&self, continuation: &Bytes) -> Option<Key> {
        let (digest, function) = (self.component.digest, self.function.clone());
        let continuation = continuation.clone();
        self.process.map(|process| Key { process, digest, function, continuation })
    }

    /// The function has called: the step is over, and the function waits.
    fn suspend(&self, running: Running, call: Call) -> StepEnd {
        let (max, recorder) = (running.payload_bytes_max, running.recorder.clone());
        let continuation = recorder.as_ref().map(|r| r.continuation()).unwrap_or_default();
        let memory_bytes = recorder.map_or(0, |recorder| recorder.memory_bytes());
        let checked = payload("call's input", call.input.into_inline(), max).and_then(|input| {
            let record = "record of the function's input and calls";
            let (component, function) = (call.component, call.function);
            let call = Call { component, function, input: input.into() };
            Ok((call, payload(record, continuation, max)?))
        });
        match checked {
            Ok((call, continuation)) => {
                if let Some(key) = self.key(&continuation) {
                    self.component.runtime.warm().put(key, memory_bytes, running);
                }
                StepEnd::Suspend { call, continuation: continuation.into() }
            }
            Err(failure) => StepEnd::Failed(failure),
        }
    }
}

impl Step {
    /// Whether others are to begin beside this step, after a poll that did not end it: it waits for
    /// the host, or has been on a core for 10 milliseconds.
    pub fn gives_way(&self) -> bool {
        matches!(&self.stage, Stage::Running(running) if running.meter.gives_way())
    }
}

impl Future for Step {
    type Output = Stepped;

    fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Stepped> {
        let this = &mut *self;
        let stage = std::mem::replace(&mut this.stage, Stage::Over(Spent::default()));
        let begun = match stage {
            Stage::Ready(begin) => this.begin(*begin),
            Stage::Running(running) => Ok(running),
            Stage::Over(spent) => {
                this.stage = Stage::Over(spent);
                let failure = Failure::new(FailureKind::Other, "the step has already ended");
                return Poll::Ready(Stepped::new(StepEnd::Failed(failure), spent));
            }
        };
        let mut running = match begun {
            Ok(running) => running,
            Err(failure) => {
                let (end, spent) = (StepEnd::Failed(failure), Spent::default());
                return Poll::Ready(Stepped::new(end, spent));
            }
        };
        let component = this.component.clone();
        let _ticking = component.runtime.ticker().running();
        running.meter.slice_begins();
        // The future is not polled again after a panic, so that nobody sees what it left half done.
        let future = &mut running.future;
        let polled = catch_unwind(AssertUnwindSafe(|| {
            if component.uses.wasi {
                with_ambient_tokio_runtime(|| future.as_mut().poll(ctx))
            } else {
                future.as_mut().poll(ctx)
            }
        }));
        let meter = running.meter.clone();
        let mut warm = false;
        let end = match polled {
            Ok(Poll::Pending) => {
                let wanted = running.recorder.as_ref().and_then(|recorder| recorder.take_wanted());
                let Some(call) = wanted else {
                    meter.slice_ends();
                    this.stage = Stage::Running(running);
                    return Poll::Pending;
                };
                let end = this.suspend(running, call);
                warm = this.process.is_some() && matches!(end, StepEnd::Suspend { .. });
                end
            }
            Ok(Poll::Ready(end)) => {
                let _ = catch_unwind(AssertUnwindSafe(|| drop(running)));
                end
            }
            Err(panic) => {
                let _ = catch_unwind(AssertUnwindSafe(|| drop(running)));
                StepEnd::Failed(failure::panicked(&*panic, &this.function))
            }
        };
        let spent = meter.slice_ends();
        this.stage = Stage::Over(spent);
        Poll::Ready(Stepped { warm, ..Stepped::new(end, spent) })
    }
}

/// What a guest is called with.
enum Activation {
    Explicit(Run),
    Direct(Bytes),
}

/// What is around a guest.
pub(crate) struct Scene {
    pub(crate) limits: StepLimits,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) recorder: Option<Arc<Recorder>>,
}

async fn step(
    component: Arc<Inner>,
    function: Arc<str>,
    activation: Activation,
    scene: Scene,
) -> StepEnd {
    let (limits, host) = (scene.limits, scene.host.clone());
    let ended = match activation {
        Activation::Explicit(run) => explicit(&component, &function, run, scene).await,
        Activation::Direct(input) => direct(&component, &function, input, scene).await,
    };
    ended.unwrap_or_else(|error| {
        let runtime = &component.runtime;
        StepEnd::Failed(failure::of(
            &error,
            failure::Scene {
                function: &function,
                component: host.component(),
                stack_bytes_max: runtime.config().stack_bytes_max,
                copied_bytes_max: copied_bytes_max(limits.payload_bytes_max),
                payload_bytes_max: limits.payload_bytes_max,
                steps_max: runtime.config().steps_max,
            },
        ))
    })
}

/// A store with the step's bounds in it.
fn store(component: &Inner, scene: &Scene) -> Store<State> {
    let (runtime, limits) = (&component.runtime, scene.limits);
    let table_elements_max = runtime.config().parts.table_elements_max as usize;
    let bounds = Bounds::new(limits.memory_bytes_max, table_elements_max);
    let (host, output) = (scene.host.clone(), component.output.clone());
    let state = State::new(host, bounds, output, scene.recorder.clone());
    let mut store = Store::new(runtime.engine(), state);
    store.limiter(|state| &mut state.bounds);
    store.set_hostcall_fuel(copied_bytes_max(limits.payload_bytes_max));
    store.set_epoch_deadline(1);
    let meter = scene.meter.clone();
    store.epoch_deadline_callback(move |_| {
        if meter.has_just_begun() {
            return Ok(UpdateDeadline::Continue(1));
        }
        if meter.ticks().used >= Duration::from_millis(limits.cpu_ms_max.into()) {
            return Err(Reached::Cpu { max_ms: limits.cpu_ms_max }.into());
        }
        Ok(UpdateDeadline::Yield(1))
    });
    store
}

async fn direct(
    component: &Inner,
    function: &str,
    input: Bytes,
    scene: Scene,
) -> wasmtime::Result<StepEnd> {
    let Form::Direct(direct) = &component.form else {
        return Err(wasmtime::Error::msg("not a direct component"));
    };
    let mut store = store(component, &scene);
    let mut called = direct.call(&mut store, function, input.clone(), &scene).await;
    while let Err(error) = &called
        && error.is::<PoolConcurrencyLimitError>()
        && component.runtime.warm().make_room()
    {
        // Nothing of it has run: there was no room for its instance, and now there is more.
        store = self::store(component, &scene);
        called = direct.call(&mut store, function, input.clone(), &scene).await;
    }
    let result = match called? {
        Ok(result) => result,
        Err(failure) => return Ok(StepEnd::Failed(failure)),
    };
    if let Some(recorder) = &scene.recorder {
        recorder.check_end()?;
    }
    let checked = payload("result", result, scene.limits.payload_bytes_max);
    Ok(checked.map_or_else(StepEnd::Failed, |result| StepEnd::Done(result.into())))
}

async fn explicit(
    component: &Inner,
    function: &str,
    run: Run,
    scene: Scene,
) -> wasmtime::Result<StepEnd> {
    let Form::Explicit(pre) = &component.form else {
        return Err(wasmtime::Error::msg("not an explicit component"));
    };
    let mut store = store(component, &scene);
    let instantiated = pre.instantiate_async(&mut store).await;
    let instance = match instantiated {
        Err(error)
            if error.is::<PoolConcurrencyLimitError>() && component.runtime.warm().make_room() =>
        {
            store = self::store(component, &scene);
            pre.instantiate_async(&mut store).await?
        }
        other => other?,
    };
    let handler = instance.izna_process_handler();
    // A caller that knows the function by an interface of its own means the function.
    let function = names::plain(function);
    let outgoing = component.uses.requests.then(|| Outgoing::new(store.data_mut(), &scene));
    let call = async {
        match run {
            Run::Start { input } => {
                // It has no types to say what marked arguments mean.
                let input = typed::plain(&input);
                handler.call_start(&mut store, function, &input).await
            }
            Run::Resume { continuation, outcome } => {
                let outcome = outcome.map(Vec::from).map_err(failure_for_guest);
                handler.call_resume(&mut store, function, &continuation, &outcome).await
            }
        }
    };
    let step = match outgoing {
        Some(outgoing) => http::drive(call, outgoing, &scene, |_| false).await?,
        None => call.await?,
    };
    let place = failure::Place { function, component: scene.host.component() };
    Ok(checked(step, place, scene.limits.payload_bytes_max).unwrap_or_else(StepEnd::Failed))
}

/// What a guest may have the host copy in one call: enough to tell how large a payload over the
/// limit was, in all but hostile cases.
fn copied_bytes_max(payload_bytes_max: u64) -> usize {
    const NAMES: u64 = 1 << 20;
    usize::try_from(payload_bytes_max.saturating_mul(4).saturating_add(NAMES)).unwrap_or(usize::MAX)
}

fn checked(step: wit::Step, place: failure::Place<'_>, max: u64) -> Result<StepEnd, Failure> {
    Ok(match step {
        wit::Step::Done(result) => {
            StepEnd::Done(well_formed(payload("result", result, max)?, place)?.into())
        }
        wit::Step::Failed(failure) => StepEnd::Failed(failure_of_guest(failure)),
        wit::Step::Suspend(suspension) => StepEnd::Suspend {
            call: checked_call(suspension.call, max)?,
            continuation: payload("continuation", suspension.continuation, max)?.into(),
        },
        wit::Step::Forward(call) => StepEnd::Forward(checked_call(call, max)?),
    })
}

fn checked_call(call: wit::Call, max: u64) -> Result<Call, Failure> {
    Ok(Call {
        component: name("component", call.component)?,
        function: name("function", call.function)?,
        input: payload("call's input", call.input, max)?.into(),
    })
}

fn payload(what: &str, bytes: impl Into<Bytes>, max: u64) -> Result<Bytes, Failure> {
    let bytes = bytes.into();
    if bytes.len() as u64 > max {
        let (length, max) = (Size(bytes.len() as u64), Size(max));
        let message = format!("payload limit of {max} reached: the {what} has {length}");
        return Err(Failure::new(FailureKind::Limit, message));
    }
    Ok(bytes)
}

/// What is no value would be found by its reader only, on another node.
fn well_formed(result: Bytes, place: failure::Place<'_>) -> Result<Bytes, Failure> {
    // Whoever reads it has limits of its own: here it is about its form.
    let limits = cbor::Limits { values_max: usize::MAX, ..cbor::Limits::default() };
    cbor::check(&result, CborForm::Any, &limits).map_err(|error| {
        let message = format!("the result of {place} is not a CBOR value: {error}");
        Failure::new(FailureKind::Failed, message)
    })?;
    Ok(result)
}

fn name(of: &str, name: String) -> Result<Arc<str>, Failure> {
    if name.len() > NAME_BYTES_MAX {
        let length = name.len();
        return Err(Failure::new(
            FailureKind::Limit,
            format!(
                "the name of the called {of} has {length} bytes; the limit is {NAME_BYTES_MAX}"
            ),
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
        FailureKind::Failed | FailureKind::Invalid => Guest::Failed(failure.message),
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
