//! A node, as those see it who run it: start, submit, deploy, look, drain, stop.

use std::{
    fmt,
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use izna_core::{Assignment, Change, Core, Holder, Input, Reply, Submission};
use izna_proto::{
    App, ComponentId, Digest, Failure, FailureKind, NodeId, Payload, ProcessId, SlotId, TableEntry,
    Trail, Traits,
};
use izna_runtime::{Description, Executor, Runtime};
use izna_store::Store;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::{mpsc, oneshot, watch},
    task::spawn_blocking,
    time::{interval, timeout},
};

use crate::{
    Error, Identity, Multicast,
    artifacts::{self, Artifacts},
    beacon::Seal,
    control::{self, PLACEMENT},
    identity::zone_id,
    inbound,
    load::Gauge,
    net,
    radio::{self, Radio},
    shell::{self, Parts, Shell, TableLines, Who},
    status::{Peer, SNAPSHOT_PROCESSES_MAX, Snapshot},
    tls, wiring,
    writer::Flush,
};

/// Between two measurements of the node's own load.
const MEASURE_INTERVAL: Duration = Duration::from_millis(250);
/// Live steps that the engine has room for beyond those that core hands out.
const STEPS_SPARE: usize = 16;

/// Changes the settings of a node's core before it starts.
pub type Tune = Box<dyn FnOnce(&mut izna_core::Config) + Send>;

/// What a node is started with.
pub struct NodeConfig {
    /// Who it is.
    pub identity: Identity,
    /// Its own directory.
    pub data: PathBuf,
    /// Where it takes links, and beacons by unicast. With port 0 the system chooses one.
    pub listen: SocketAddr,
    /// Beacons by multicast, or none.
    pub multicast: Option<Multicast>,
    /// Nodes to send beacons to by unicast, as `HOST:PORT`.
    pub seeds: Vec<String>,
    /// Where nodes of other zones reach this one, if that is not where it listens.
    pub advertise: Option<SocketAddr>,
    /// The threads for steps; none: the usable cores, rounded up.
    pub threads: Option<usize>,
    /// What components may ask of it. Nodes of one zone hear each other's beacons, and know of other
    /// zones what these tell.
    pub traits: Traits,
    /// Whether it gives what it has compiled to nodes of its cluster with the same engine, and runs
    /// what they have compiled: each then trusts all others with its own machine.
    pub shares_code: bool,
    /// The engine. Without a cache in it, it is in the data directory.
    pub runtime: izna_runtime::Config,
    /// Changes core's defaults, limits and intervals mostly. Who and where the node is, and what
    /// it can do, is set before.
    pub tune: Option<Tune>,
    /// Where what its core is told and puts out is recorded, to be played again.
    pub record: Option<File>,
}

impl NodeConfig {
    /// The defaults: multicast on this machine's loopback interface, any port.
    pub fn new(identity: Identity, data: impl Into<PathBuf>) -> Self {
        Self {
            identity,
            data: data.into(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            multicast: Some(Multicast::default()),
            seeds: Vec::new(),
            advertise: None,
            threads: None,
            traits: Traits::default(),
            shares_code: false,
            runtime: izna_runtime::Config::default(),
            tune: None,
            record: None,
        }
    }
}

/// A request of a client, which is to become a process.
#[derive(Debug, Clone)]
pub struct NewProcess {
    /// The app.
    pub app: Arc<str>,
    /// The component, by its name in the app.
    pub component: Arc<str>,
    /// The function.
    pub function: Arc<str>,
    /// A CBOR array of arguments.
    pub input: Payload,
    /// Whether it may run again when its process is lost.
    pub idempotent: bool,
    /// How long it may take.
    pub deadline: Duration,
    /// The W3C trace context.
    pub traceparent: Option<Arc<str>>,
}

/// A running node; cheap to clone. It goes on when all of these are dropped: [`Node::shutdown`]
/// ends it.
#[derive(Clone)]
pub struct Node {
    shell: Arc<Shell>,
}

impl Node {
    /// Start a node. Its tasks run on the runtime that this is called in, which should be a
    /// `current_thread` one on a thread of its own; steps run on threads that this starts.
    ///
    /// # Errors
    /// When its directory, sockets or identity cannot be used: see [`Error`].
    pub async fn start(config: NodeConfig) -> Result<Self, Error> {
        let NodeConfig { identity, data, listen, multicast, seeds, advertise, .. } = config;
        if let Some(seed) = seeds.iter().find(|seed| !is_host_and_port(seed)) {
            return Err(Error::Seed { seed: seed.clone() });
        }
        let zone = zone_id(identity.cluster, config.traits.zone_name());
        // What can be wrong with the configuration is found before anything is changed.
        let tls = tls::configs(&identity)?;
        let sockets = Sockets::open(listen, multicast).await?;
        let gauge = Gauge::new();
        let store = Store::open(&data)?;
        let (entries, damaged) = store.entries()?;
        for error in &damaged {
            let error: &dyn std::error::Error = error;
            tracing::error!(error, "an app of this node's table is lost here");
        }

        let mut core = core_config(&identity, &store, &gauge, sockets.address);
        (core.zone, core.traits) = (zone, config.traits);
        if let Some(tune) = config.tune {
            tune(&mut core);
        }
        let threads = config.threads.unwrap_or(usize::from(core.cores));
        let runtime = Runtime::new(engine_config(config.runtime, &core, &data))?;
        let (control, controls) = mpsc::unbounded_channel();
        let (artifacts, asked) = Artifacts::new(config.shares_code);
        let seal = Seal::new(&identity.beacon_key);
        let multicast = sockets.multicast.zip(multicast);
        let shell = Arc::new(Shell::new(Parts {
            who: Who {
                name: identity.name,
                node: identity.node,
                cluster: identity.cluster,
                traits: core.traits.clone(),
                zone,
                advertise,
            },
            address: sockets.address,
            tls,
            radio: Radio::new(seal, multicast, sockets.beacons, seeds),
            artifacts,
            runtime,
            executor: Executor::new(threads)?,
            core,
            record: config.record,
            store,
            control,
        }));

        entries.iter().for_each(|entry| control::publish(&shell, entry.clone()));
        if damaged.is_empty() {
            artifacts::sweep(&shell)?;
            shell.spawn(artifacts::tidy(shell.clone()));
        }
        shell.feed(Input::Restore(entries));
        shell.spawn(control::run(shell.clone(), controls));
        shell.spawn(shell::wake(shell.clone()));
        shell.spawn(inbound::accept(shell.clone(), sockets.links));
        shell.spawn(artifacts::serve(shell.clone(), asked));
        shell.spawn(measure(shell.clone(), gauge));
        radio::start(&shell);
        let Who { name, node, cluster, .. } = &shell.who;
        let (address, zone) = (shell.address, shell.who.traits.zone_name());
        tracing::info!(%name, %node, %cluster, zone, %address, threads, "node started");
        Ok(Self { shell })
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        self.shell.who.node
    }

    /// Its name.
    pub fn name(&self) -> Arc<str> {
        self.shell.who.name.clone()
    }

    /// Where it takes links and unicast beacons; what others name as a seed.
    pub fn address(&self) -> SocketAddr {
        self.shell.address
    }

    /// Run a process to its end. Dropping the future tells the node that nobody waits any more.
    pub async fn submit(&self, new: NewProcess) -> Reply {
        let slot = SlotId(self.shell.slots.fetch_add(1, Ordering::Relaxed));
        let id = ProcessId(uuid::Uuid::now_v7().as_u128());
        let (sender, receiver) = oneshot::channel();
        lock(&self.shell.replies).insert(slot, sender);
        let waiting = Client { shell: &self.shell, slot };
        let NewProcess { app, component, function, input, idempotent, deadline, traceparent } = new;
        let submission = Input::Submit(Submission {
            slot,
            id,
            app,
            component,
            function,
            input,
            idempotent,
            deadline,
            traceparent,
        });
        self.shell.feed_here(submission, Flush::Later);
        let stopped = || {
            let outcome = Err(Failure::new(FailureKind::Unavailable, "the node has stopped"));
            let (trail, took) = (Trail::default(), Duration::ZERO);
            Reply { slot, process: id, outcome, trail, took }
        };
        let reply = self.shell.stop.run_until_cancelled(receiver).await;
        drop(waiting);
        match reply {
            Some(Ok(reply)) => reply,
            _ => stopped(),
        }
    }

    /// Check a component's bytes, keep them, and compile them, so that what is wrong with them
    /// shows now. The digest, for the app that is to have it, is that of the component; from a
    /// core module one is made first.
    ///
    /// # Errors
    /// When they are no component that can run here, or cannot be kept.
    pub async fn admit(&self, bytes: impl Into<Bytes>) -> Result<(Digest, Description), Error> {
        artifacts::admit(&self.shell, bytes.into()).await
    }

    /// Deploy a new revision of an app. It is on this node's disk when this returns, and on its way
    /// to the others.
    ///
    /// # Errors
    /// When a component of it was not admitted here, components do not fit together, or the app
    /// cannot be kept.
    pub async fn deploy(&self, app: App) -> Result<TableEntry, Error> {
        let (store, name) = (self.shell.store()?, app.name.clone());
        self.shell.artifacts.spare(app.components.iter().map(|component| component.digest));
        if let Some(missing) = app.components.iter().find(|c| !store.has(c.digest)) {
            let (app, component) = (name.to_string(), missing.name.to_string());
            return Err(Error::NotAdmitted { app, component, digest: missing.digest });
        }
        let app = wiring::wire(&self.shell, app).await?;
        self.change(name, Change::Deploy(app)).await
    }

    /// Undeploy an app.
    ///
    /// # Errors
    /// When no app of that name is deployed, or that it is gone cannot be kept.
    pub async fn undeploy(&self, name: &str) -> Result<TableEntry, Error> {
        let name: Arc<str> = name.into();
        self.change(name.clone(), Change::Undeploy(name)).await
    }

    /// Add a node to the holders of a component, or remove it: a new revision of the app, as
    /// [`Node::deploy`] makes one.
    ///
    /// # Errors
    /// When there is no such app or component, or that cannot be kept.
    pub async fn assign(
        &self,
        app: Arc<str>,
        component: Arc<str>,
        node: NodeId,
        assignment: Assignment,
    ) -> Result<TableEntry, Error> {
        let name = app.clone();
        self.change(name, Change::Assign { app, component, node, assignment }).await
    }

    async fn change(&self, app: Arc<str>, change: Change) -> Result<TableEntry, Error> {
        let request = self.shell.change_requests.fetch_add(1, Ordering::Relaxed);
        let (sender, changed) = oneshot::channel();
        lock(&self.shell.changes).insert(request, shell::Change { app, changed: sender });
        self.shell.feed(Input::Change { request, change });
        let changed = self.shell.stop.run_until_cancelled(changed).await;
        changed.and_then(Result::ok).unwrap_or(Err(Error::Stopped))
    }

    /// The app table, now and whenever it changes: the newest line of each app, undeployed ones
    /// included.
    pub fn table(&self) -> watch::Receiver<TableLines> {
        self.shell.table.subscribe()
    }

    /// The name of a node that was ever linked, and of this one.
    pub fn name_of(&self, node: NodeId) -> Option<Arc<str>> {
        self.shell.name_of(node)
    }

    /// Whether clients should come here: beacons can be heard, and it does not drain or stop.
    pub fn is_ready(&self) -> bool {
        let shell = &self.shell;
        !shell.draining.load(Ordering::Relaxed)
            && !shell.stop.is_cancelled()
            && shell.radio.is_tuned(shell)
    }

    /// The node as it is now; none once it has failed.
    pub fn status(&self) -> Option<Snapshot> {
        let shell = &self.shell;
        let mut snapshot = shell.look(|core| {
            let (held, waiting) = core.held();
            let peers = core.peers().map(|status| Peer { status, address: None });
            Snapshot {
                node: shell.who.node,
                name: shell.who.name.clone(),
                cluster: shell.who.cluster,
                incarnation: shell.incarnation,
                address: shell.address,
                uptime: shell.began.elapsed(),
                ready: false,
                draining: core.draining(),
                load: core.load(),
                holds: core.holds().copied().collect(),
                troubles: core.troubles().map(|(code, why)| (code, why.to_owned())).collect(),
                traits: core.traits().clone(),
                held_by: held_by(core),
                peers: peers.collect(),
                zones: core.zones().collect(),
                speaks: core.speaks(),
                processes: core.processes().take(SNAPSHOT_PROCESSES_MAX).collect(),
                held,
                waiting,
                memory_bytes: core.memory_bytes(),
                counters: *core.counters(),
                process_encoded: shell.process_encoded.load(Ordering::Relaxed),
                lent: shell.lent.load(Ordering::Relaxed),
                cache: izna_runtime::CacheCounts::default(),
                warm: izna_runtime::WarmCounts::default(),
            }
        })?;
        // The rest needs no lock of core.
        snapshot.ready = self.is_ready();
        snapshot.cache = shell.runtime.cache_counts();
        snapshot.warm = shell.runtime.warm_counts();
        let book = shell.lock_book();
        for peer in &mut snapshot.peers {
            peer.address = book.address(peer.status.node);
        }
        snapshot.peers.sort_by(|a, b| a.status.name.cmp(&b.status.name));
        Some(snapshot)
    }

    /// Take nothing new and hand over what is here; true when nothing is left, false when `limit`
    /// is over first.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.shell.draining.store(true, Ordering::Relaxed);
        let mut drained = self.shell.drained.subscribe();
        self.shell.feed(Input::Drain);
        let wait = timeout(limit, drained.wait_for(|drained| *drained));
        matches!(self.shell.stop.run_until_cancelled(wait).await, Some(Ok(Ok(_))))
    }

    /// Wait until the node has stopped: by [`Node::shutdown`], or because it had to.
    pub async fn stopped(&self) {
        self.shell.stop.cancelled().await;
    }

    /// Stop at once: close all sockets and files, end all steps. Clients that wait get a failure.
    pub async fn shutdown(&self) {
        let shell = &self.shell;
        shell.stop.cancel();
        shell.tasks.close();
        shell.tasks.wait().await;
        shell.radio.close();
        let executor = lock(&shell.executor).take();
        // It waits for the slices that its threads are in.
        let runtime = shell.runtime.clone();
        let end = move || {
            drop(executor);
            runtime.clear();
        };
        let _ = spawn_blocking(end).await;
        lock(&shell.replies).clear();
        lock(&shell.memory).clear();
        shell.store.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Tells core when the client goes away before the reply.
struct Client<'a> {
    shell: &'a Arc<Shell>,
    slot: SlotId,
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        if lock(&self.shell.replies).remove(&self.slot).is_some() {
            self.shell.feed(Input::Abandon(self.slot));
        }
    }
}

struct Sockets {
    address: SocketAddr,
    links: TcpListener,
    beacons: UdpSocket,
    multicast: Option<UdpSocket>,
}

impl Sockets {
    async fn open(listen: SocketAddr, multicast: Option<Multicast>) -> Result<Self, Error> {
        let multicast = multicast.map(|multicast| net::multicast(&multicast)).transpose()?;
        let (links, beacons) = net::listen(listen).await?;
        let address = links.local_addr();
        let operation = "listen at";
        let address =
            address.map_err(|source| net::Error::Io { operation, address: listen, source })?;
        Ok(Self { address, links, beacons, multicast })
    }
}

/// Who is ready to run each component of each app.
fn held_by(core: &Core) -> Vec<(ComponentId, Vec<Holder>)> {
    let apps = core.table().filter_map(|entry| entry.app.as_ref());
    let components = apps.flat_map(|app| app.components.iter().map(move |spec| (app, spec)));
    let held = components.map(|(app, spec)| (spec.id(&app.name), core.holders(&app.name, spec)));
    held.collect()
}

fn core_config(
    identity: &Identity,
    store: &Store,
    gauge: &Gauge,
    address: SocketAddr,
) -> izna_core::Config {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let (cores, capacity_milli) =
        (gauge.cores().ceil() as u16, (gauge.cores() * 1000.0).round() as u32);
    let mut core = izna_core::Config::new(identity.node, store.incarnation(), cores.max(1));
    core.peer_port = address.port();
    core.capacity_milli = capacity_milli;
    core.explains = tracing::enabled!(target: PLACEMENT, tracing::Level::DEBUG);
    core
}

fn engine_config(
    mut engine: izna_runtime::Config,
    core: &izna_core::Config,
    data: &Path,
) -> izna_runtime::Config {
    let steps = core.slots_max.saturating_add(core.sliced_max).saturating_add(STEPS_SPARE);
    engine.steps_max = engine.steps_max.max(steps.saturating_add(engine.warm_max));
    engine.cache = engine.cache.or_else(|| Some(data.join("cache")));
    engine
}

async fn measure(shell: Arc<Shell>, mut gauge: Gauge) {
    let mut interval = interval(MEASURE_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let measured = gauge.measure(Instant::now(), shell.links.unsent_bytes());
        shell.feed(Input::Measured(measured));
        shell.runtime.sweep(measured.memory_permille);
    }
}

fn is_host_and_port(seed: &str) -> bool {
    let parts = seed.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("who", &self.shell.who).finish_non_exhaustive()
    }
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeConfig")
            .field("identity", &self.identity)
            .field("data", &self.data)
            .field("listen", &self.listen)
            .field("multicast", &self.multicast)
            .field("seeds", &self.seeds)
            .finish_non_exhaustive()
    }
}
