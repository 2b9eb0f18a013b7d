//! The shell: the one lock around core, and the doing of what core puts out.
//!
//! Sockets' tasks and step threads call [`Shell::feed`] alike. Within the lock core decides and its
//! outputs are taken; they are done after it, on the calling thread: a step whose successor runs
//! here too never leaves its thread. What must keep its order whoever calls (links, components, the
//! table) goes through one queue to [`control`](crate::control).

use std::{
    cell::RefCell,
    collections::HashMap,
    fs::File,
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use hyper::Response;
use izna_core::{Core, Input, Output, Reply, Step, Time};
use izna_proto::{
    ClusterId, Failure, FailureKind, Grants, Hello, MemoryAnswer, MemoryError, MemoryOperation,
    Message, NodeId, PROTOCOL, PeerAddress, SlotId, StepEnd, TableEntry, Traits, ZoneId,
};
use izna_runtime::{
    BoxFuture, Executor, Fetch, FetchError, FetchErrorKind, Host, Level, Runtime, Spawner,
    StepLimits, Stepped, Stream, Whole,
};
use izna_store::Store;
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use crate::{
    Error, artifacts::Artifacts, book::Book, identity::zone_id, inbound::Inbound, links::Links,
    outbound::Outbound, radio::Radio, record::Recorded, tls, writer::Flush,
};

pub(crate) type Background = Pin<Box<dyn Future<Output = ()> + Send>>;
/// The newest line of each app, in the order of their names.
pub(crate) type TableLines = Arc<Vec<TableEntry>>;

/// Who this node is.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) name: Arc<str>,
    pub(crate) node: NodeId,
    pub(crate) cluster: ClusterId,
    /// What components may ask of it, and the zone that its traits name.
    pub(crate) traits: Traits,
    pub(crate) zone: ZoneId,
    /// Where nodes of other zones reach it, if that is not where it listens.
    pub(crate) advertise: Option<SocketAddr>,
}

/// All of a running node.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) who: Who,
    pub(crate) incarnation: u64,
    /// Where links and unicast beacons are taken.
    pub(crate) address: SocketAddr,
    pub(crate) tls: tls::Configs,
    pub(crate) links: Links,
    pub(crate) inbound: Inbound,
    pub(crate) radio: Radio,
    pub(crate) artifacts: Artifacts,
    pub(crate) runtime: Runtime,
    pub(crate) table: watch::Sender<TableLines>,
    pub(crate) drained: watch::Sender<bool>,
    pub(crate) draining: AtomicBool,
    pub(crate) payload_bytes_max: u64,
    /// Processes that were encoded to be sent. A step whose successor runs here adds none.
    pub(crate) process_encoded: AtomicU64,
    /// How often the sockets' thread lent itself to a step.
    pub(crate) lent: AtomicU64,

    core: Mutex<Recorded>,
    pub(crate) began: Instant,
    alarm: Alarm,
    pub(crate) control: mpsc::UnboundedSender<Output>,
    pub(crate) book: Mutex<Book>,
    pub(crate) names: RwLock<HashMap<NodeId, Arc<str>>>,
    pub(crate) replies: Mutex<HashMap<SlotId, oneshot::Sender<Reply>>>,
    pub(crate) slots: AtomicU64,
    pub(crate) memory: Mutex<HashMap<u64, oneshot::Sender<MemoryAnswer>>>,
    memory_requests: AtomicU64,
    /// Who waits for what comes of a change of an app.
    pub(crate) changes: Mutex<HashMap<u64, Change>>,
    pub(crate) change_requests: AtomicU64,
    spawner: Spawner,
    pub(crate) executor: Mutex<Option<Executor>>,
    pub(crate) store: RwLock<Option<Arc<Store>>>,

    io: Handle,
    /// How often the sockets' thread had slept when it was last asked.
    sleeps: AtomicU64,
    outbound: Outbound,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// Who waits for what comes of a change of an app.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) app: Arc<str>,
    pub(crate) changed: oneshot::Sender<Result<TableEntry, Error>>,
}

/// When core wants to be woken, and when the task that does it will look.
#[derive(Debug)]
pub(crate) struct Alarm {
    at: AtomicI64,
    looks_at: AtomicI64,
    earlier: Notify,
}

thread_local! {
    /// Kept from call to call for its room.
    static OUTPUTS: RefCell<Vec<Output>> = const { RefCell::new(Vec::new()) };
}

/// The node that is told something on a link.
fn told(output: &Output) -> Option<NodeId> {
    match output {
        Output::Send { peer, .. } | Output::Introduce { peer, .. } => Some(*peer),
        _ => None,
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a shell is made of that can be wrong.
pub(crate) struct Parts {
    pub(crate) who: Who,
    pub(crate) address: SocketAddr,
    pub(crate) tls: tls::Configs,
    pub(crate) radio: Radio,
    pub(crate) artifacts: Artifacts,
    pub(crate) runtime: Runtime,
    pub(crate) executor: Executor,
    pub(crate) core: izna_core::Config,
    pub(crate) record: Option<File>,
    pub(crate) store: Store,
    pub(crate) control: mpsc::UnboundedSender<Output>,
}

impl Shell {
    /// A shell with a new core. Must be called on the sockets' runtime, where its tasks will be.
    pub(crate) fn new(parts: Parts) -> Self {
        let zone = parts.who.zone;
        Self {
            names: RwLock::new([(parts.who.node, parts.who.name.clone())].into()),
            who: parts.who,
            incarnation: parts.store.incarnation(),
            address: parts.address,
            tls: parts.tls,
            links: Links::default(),
            inbound: Inbound::default(),
            radio: parts.radio,
            artifacts: parts.artifacts,
            runtime: parts.runtime,
            table: watch::Sender::new(TableLines::default()),
            drained: watch::Sender::new(false),
            draining: AtomicBool::new(false),
            payload_bytes_max: parts.core.payload_bytes_max as u64,
            process_encoded: AtomicU64::new(0),
            lent: AtomicU64::new(0),
            core: Mutex::new(Recorded::new(parts.core, Time::default(), parts.record)),
            began: Instant::now(),
            alarm: Alarm::new(),
            control: parts.control,
            book: Mutex::new(Book::new(zone)),
            replies: Mutex::default(),
            slots: AtomicU64::new(0),
            memory: Mutex::default(),
            memory_requests: AtomicU64::new(0),
            changes: Mutex::default(),
            change_requests: AtomicU64::new(0),
            spawner: parts.executor.spawner(),
            executor: Mutex::new(Some(parts.executor)),
            store: RwLock::new(Some(Arc::new(parts.store))),
            io: Handle::current(),
            sleeps: AtomicU64::new(u64::MAX),
            outbound: Outbound::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Tell core what happened, and do what it wants done. Short; from any thread.
    pub(crate) fn feed(self: &Arc<Self>, input: Input) {
        self.drive(Flush::Later, |core, now| core.handle(now, input));
    }

    /// The same, for who does not go on with more of the like: what is sent leaves at once.
    pub(crate) fn feed_now(self: &Arc<Self>, input: Input) {
        self.drive(Flush::Now, |core, now| core.handle(now, input));
    }

    /// The same on the sockets' thread. If that slept until this came, it has nothing else to do, and
    /// a brief step that this brings about is run at once: what is sent goes out together with what
    /// it sends, or after what it replies. Otherwise this is flushed as `otherwise` says.
    pub(crate) fn feed_here(self: &Arc<Self>, input: Input, otherwise: Flush) {
        let decided = self.decide(|core, now| core.handle(now, input));
        let Some(((), mut outputs)) = decided else { return };
        let is_brief = |output: &Output| matches!(output, Output::Run(step) if step.brief);
        if outputs.iter().any(is_brief) && self.has_slept() {
            self.lent.fetch_add(1, Ordering::Relaxed);
            let told: Vec<NodeId> = outputs.iter().filter_map(told).collect();
            self.spawner.lend(|| self.perform_all(&mut outputs, Flush::Held));
            told.into_iter().for_each(|peer| self.links.wake(peer));
        } else {
            self.perform_all(&mut outputs, otherwise);
        }
        OUTPUTS.replace(outputs);
    }

    /// Whether the sockets' thread has come to the end of what it had to do since it was last asked:
    /// what it does now it was woken for, and it is not one of many. A sleep that ended at once
    /// counts.
    fn has_slept(&self) -> bool {
        let sleeps = self.io.metrics().worker_park_count(0);
        self.sleeps.swap(sleeps, Ordering::Relaxed) != sleeps
    }

    /// Look at core.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Core) -> T) -> Option<T> {
        self.lock_core().map(|core| look(&core))
    }

    fn drive<T>(
        self: &Arc<Self>,
        flush: Flush,
        input: impl FnOnce(&mut Recorded, Time) -> T,
    ) -> Option<T> {
        let (result, mut outputs) = self.decide(input)?;
        self.perform_all(&mut outputs, flush);
        OUTPUTS.replace(outputs);
        Some(result)
    }

    /// Let core decide; what it puts out, but for what goes to `control`.
    fn decide<T>(&self, input: impl FnOnce(&mut Recorded, Time) -> T) -> Option<(T, Vec<Output>)> {
        let mut outputs = OUTPUTS.take();
        let result = {
            let mut core = self.lock_core()?;
            let result = input(&mut core, self.now());
            while let Some(output) = core.poll() {
                match output {
                    Output::Run(_)
                    | Output::Send { .. }
                    | Output::Introduce { .. }
                    | Output::Reply(_)
                    | Output::MemoryAnswer { .. } => outputs.push(output),
                    ordered => {
                        // With nobody to receive it, the node has stopped.
                        let _ = self.control.send(ordered);
                    }
                }
            }
            self.alarm.set(core.deadline());
            result
        };
        // A woken step may take this thread's core: what others wait for goes out before.
        outputs.sort_by_key(|output| matches!(output, Output::Run(_)));
        Some((result, outputs))
    }

    fn perform_all(self: &Arc<Self>, outputs: &mut Vec<Output>, flush: Flush) {
        outputs.drain(..).for_each(|output| self.perform(output, flush));
    }

    /// None once core has failed: then nothing that it says can be trusted, and the node stops.
    fn lock_core(&self) -> Option<MutexGuard<'_, Recorded>> {
        match self.core.lock() {
            Ok(core) => Some(core),
            Err(_) => {
                if !self.stop.is_cancelled() {
                    tracing::error!("this node found a contradiction in its own state and stops");
                    self.stop.cancel();
                }
                None
            }
        }
    }

    fn perform(self: &Arc<Self>, output: Output, flush: Flush) {
        match output {
            Output::Run(step) => self.run(step),
            Output::Send { peer, message } => {
                let is_process = matches!(message, Message::Deliver(_));
                if self.links.send(peer, &message, flush) && is_process {
                    self.process_encoded.fetch_add(1, Ordering::Relaxed);
                }
            }
            Output::Introduce { peer, node } => {
                let address = match node == self.who.node {
                    true => self.reached_at().map(|address| PeerAddress {
                        node,
                        zone: self.who.zone,
                        address,
                    }),
                    false => self.lock_book().reach(node),
                };
                if let Some(address) = address {
                    self.links.send(peer, &Message::Peers(vec![address]), flush);
                }
            }
            Output::Reply(reply) => {
                if let Some(waiting) = lock(&self.replies).remove(&reply.slot) {
                    let _ = waiting.send(reply);
                }
            }
            Output::MemoryAnswer { request, answer } => {
                if let Some(waiting) = lock(&self.memory).remove(&request) {
                    let _ = waiting.send(answer);
                }
            }
            // All others went to `control`.
            _ => {}
        }
    }

    fn run(self: &Arc<Self>, step: Step) {
        let (shell, held) = (self.clone(), step.held);
        let Some(component) = self.artifacts.component(&step.digest) else {
            let why = format!("{} is not here any more", step.digest);
            let end = StepEnd::Failed(Failure::new(FailureKind::Unavailable, why));
            // Not at once: it could be a long chain of entries that all fail here.
            self.spawner.spawn(async move {
                let (used, took, warm) = (Duration::ZERO, Duration::ZERO, false);
                shell.feed_now(Input::Stepped { held, end, used, took, warm });
            });
            return;
        };
        let limits = StepLimits {
            memory_bytes_max: step.limits.memory_bytes_max,
            cpu_ms_max: step.limits.cpu_ms_max,
            payload_bytes_max: self.payload_bytes_max,
        };
        let (function, run) = (step.function.clone(), step.run.clone());
        let host = StepHost { shell: self.clone(), step: Scene::of(&step) };
        let mut running = component.step(function, run, limits, Arc::new(host)).of(step.process);
        let mut sliced = false;
        self.spawner.spawn(poll_fn(move |ctx| {
            let Poll::Ready(stepped) = Pin::new(&mut running).poll(ctx) else {
                if !sliced && running.gives_way() {
                    sliced = true;
                    shell.feed_now(Input::Sliced(held));
                }
                return Poll::Pending;
            };
            let Stepped { end, used, took, warm } = stepped;
            shell.feed_now(Input::Stepped { held, end, used, took, warm });
            Poll::Ready(())
        }));
    }

    /// The time as core is told it.
    pub(crate) fn now(&self) -> Time {
        let micros = self.began.elapsed().as_micros();
        Time::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// What this node says at the start of a link.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            protocol: PROTOCOL,
            cluster: self.who.cluster,
            node: self.who.node,
            incarnation: self.incarnation,
            name: self.who.name.to_string(),
            peer_port: self.address.port(),
            traits: self.who.traits.clone(),
            advertise: self.who.advertise,
            features: Vec::new(),
        }
    }

    /// The zone of the node that says this.
    pub(crate) fn zone_of(&self, hello: &Hello) -> ZoneId {
        zone_id(self.who.cluster, hello.traits.zone_name())
    }

    /// Where nodes of other zones reach this one, if it can be said.
    pub(crate) fn reached_at(&self) -> Option<SocketAddr> {
        let own = Some(self.address).filter(|address| !address.ip().is_unspecified());
        self.who.advertise.or(own)
    }

    pub(crate) fn lock_book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// The data directory, unless the node has stopped.
    pub(crate) fn store(&self) -> Result<Arc<Store>, Error> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        store.clone().ok_or(Error::Stopped)
    }

    pub(crate) fn name_of(&self, node: NodeId) -> Option<Arc<str>> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(&node).cloned()
    }

    pub(crate) fn set_name(&self, node: NodeId, name: Arc<str>) {
        self.names.write().unwrap_or_else(PoisonError::into_inner).insert(node, name);
    }

    /// Go on with `future` on the sockets' thread until the node stops.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let task = async move {
            let _ = stop.run_until_cancelled(future).await;
        };
        self.tasks.spawn_on(task, &self.io);
    }

    /// Do what waits for the disk or computes for long elsewhere. A stop waits for its end.
    pub(crate) fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.tasks.spawn_blocking_on(work, &self.io)
    }
}

/// Call core when it wants to be called though nothing happened.
pub(crate) async fn wake(shell: Arc<Shell>) {
    loop {
        let at = shell.alarm.at.load(Ordering::Acquire);
        let micros = at.saturating_sub(shell.now().as_micros());
        if micros <= 0 {
            shell.drive(Flush::Later, Recorded::tick);
            tokio::task::yield_now().await;
            continue;
        }
        let wait = Duration::from_micros(micros.unsigned_abs()).min(Duration::from_secs(3600));
        shell.alarm.looks_at.store(at, Ordering::Release);
        // What was set to be earlier before the line above told nobody.
        if shell.alarm.at.load(Ordering::Acquire) < at {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shell.alarm.earlier.notified() => {}
        }
    }
}

impl Alarm {
    fn new() -> Self {
        Self { at: AtomicI64::new(0), looks_at: AtomicI64::new(i64::MAX), earlier: Notify::new() }
    }

    /// Called within the lock of core.
    fn set(&self, at: Option<Time>) {
        let at = at.map_or(i64::MAX, Time::as_micros);
        self.at.store(at, Ordering::Release);
        if at < self.looks_at.load(Ordering::Acquire) {
            self.earlier.notify_one();
        }
    }
}

/// What a step's host calls are about.
#[derive(Debug)]
struct Scene {
    app: Arc<str>,
    component: Arc<str>,
    process: izna_proto::ProcessId,
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
    shell: Arc<Shell>,
    step: Scene,
}

/// Ends the wait for an answer of cluster memory when the step ends first.
struct Waiting {
    shell: Arc<Shell>,
    request: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.shell.memory).remove(&self.request);
    }
}

impl Host for StepHost {
    fn memory(&self, key: String, operation: MemoryOperation) -> BoxFuture<MemoryAnswer> {
        let (shell, app) = (self.shell.clone(), self.step.app.clone());
        let request = shell.memory_requests.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        lock(&shell.memory).insert(request, sender);
        let waiting = Waiting { shell: shell.clone(), request };
        shell.feed_now(Input::Memory { request, app, key, operation });
        Box::pin(async move {
            let answer = receiver.await;
            drop(waiting);
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
        let (shell, grants) = (self.shell.clone(), self.step.grants.clone());
        let bytes_max = shell.payload_bytes_max;
        let io = shell.io.clone();
        let task = io.spawn(async move {
            let stopped = || FetchError {
                kind: FetchErrorKind::Unavailable,
                message: "the node has stopped".into(),
            };
            let fetched = shell.outbound.fetch(&grants.hosts, fetch, bytes_max);
            shell.stop.run_until_cancelled(fetched).await.unwrap_or_else(|| Err(stopped()))
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
