//! Puts a node together from its parts and starts them: the place where it is seen who knows whom.

use std::{
    fs::File,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{Duration, Instant},
};

use izna_core::{Input, Output, Reply};
use izna_proto::{SlotId, TableEntry};
use izna_runtime::{Executor, Runtime};
use izna_store::Store;
use rustls::{ClientConfig, ServerConfig};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::mpsc,
    time::interval,
};

use crate::{
    Error, Identity, Multicast, NodeConfig,
    acceptor::{self, Acceptor},
    addresses::SharedAddresses,
    app_table::{self, AppTable, ForDisk},
    artifact_fetch::ArtifactFetch,
    artifact_serve::{self, ArtifactServe},
    artifacts::Artifacts,
    datagrams::Seal,
    discovery::{self, Discovery},
    driver::{Driver, Perform},
    identity::zone_id,
    measure::Gauge,
    names::Names,
    notes::PLACEMENT,
    open_store::OpenStore,
    own::Own,
    peer_links::PeerLinks,
    performer::{self, Performer},
    sockets,
    step_host::Steps,
    tls,
    waiters::Waiters,
};

/// Between two measurements of the node's own load.
const MEASURE_INTERVAL: Duration = Duration::from_millis(250);
/// Live steps that the engine has room for beyond those that core hands out.
const STEPS_SPARE: usize = 16;

/// The parts of a running node.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) own: Arc<Own>,
    pub(crate) driver: Arc<Driver>,
    pub(crate) names: Arc<Names>,
    pub(crate) addresses: Arc<SharedAddresses>,
    pub(crate) links: Arc<PeerLinks>,
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) table: Arc<AppTable>,
    pub(crate) artifacts: Arc<Artifacts>,
    pub(crate) steps: Arc<Steps>,
    pub(crate) performer: Arc<Performer>,
    pub(crate) replies: Arc<Waiters<SlotId, Reply>>,
    pub(crate) slots: AtomicU64,
    pub(crate) runtime: Runtime,
    pub(crate) executor: Mutex<Option<Executor>>,
    pub(crate) store: Arc<OpenStore>,
    pub(crate) draining: AtomicBool,
}

/// Start a node: see [`Node::start`](crate::Node::start).
pub(crate) async fn start(config: NodeConfig) -> Result<Arc<Parts>, Error> {
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
    let own = Own {
        name: identity.name,
        node: identity.node,
        cluster: identity.cluster,
        incarnation: store.incarnation(),
        traits: core.traits.clone(),
        zone,
        address: sockets.address,
        advertise,
    };
    let seal = Seal::new(&identity.beacon_key);
    let network = Network { tls, sockets, multicast, seal, seeds };
    let engine = Engine { runtime, threads, shares_code: config.shares_code };
    let core = (core, config.record);
    let parts = assemble(own, core, (store, entries, damaged.is_empty()), network, engine)?;
    parts.driver.tasks.supervise("measuring", measure(parts.clone(), gauge));
    let Own { name, node, cluster, address, traits, .. } = &*parts.own;
    let zone = traits.zone_name();
    tracing::info!(%name, %node, %cluster, zone, %address, threads, "node started");
    Ok(parts)
}

/// What a node needs to meet others.
struct Network {
    tls: tls::Configs,
    sockets: Sockets,
    multicast: Option<Multicast>,
    seal: Seal,
    seeds: Vec<String>,
}

/// What a node needs to run steps.
struct Engine {
    runtime: Runtime,
    threads: usize,
    shares_code: bool,
}

/// What most parts are given.
struct Ground {
    own: Arc<Own>,
    driver: Arc<Driver>,
    names: Arc<Names>,
    addresses: Arc<SharedAddresses>,
    store: Arc<OpenStore>,
}

impl Ground {
    fn new(
        own: Own,
        (core, record): (izna_core::Config, Option<File>),
        store: Store,
        executor: &Executor,
    ) -> Self {
        Self {
            names: Arc::new(Names::new(own.node, own.name.clone())),
            addresses: Arc::new(SharedAddresses::new(own.zone)),
            own: Arc::new(own),
            driver: Arc::new(Driver::new(core, record, executor.spawner())),
            store: Arc::new(OpenStore::new(store)),
        }
    }

    fn links(&self, tls: Arc<ClientConfig>) -> Arc<PeerLinks> {
        let (own, driver) = (self.own.clone(), self.driver.clone());
        let (names, addresses) = (self.names.clone(), self.addresses.clone());
        Arc::new(PeerLinks::new(own, driver, names, addresses, tls))
    }

    fn artifact_serve(&self, tls: Arc<ClientConfig>, engine: &Engine) -> Arc<ArtifactServe> {
        Arc::new(ArtifactServe::new(artifact_serve::Parts {
            own: self.own.clone(),
            driver: self.driver.clone(),
            names: self.names.clone(),
            addresses: self.addresses.clone(),
            store: self.store.clone(),
            runtime: engine.runtime.clone(),
            tls,
            shares_code: engine.shares_code,
        }))
    }

    fn acceptor(
        &self,
        tls: Arc<ServerConfig>,
        fetch: Arc<ArtifactFetch>,
        serve: Arc<ArtifactServe>,
    ) -> Arc<Acceptor> {
        Arc::new(Acceptor::new(acceptor::Parts {
            own: self.own.clone(),
            driver: self.driver.clone(),
            names: self.names.clone(),
            addresses: self.addresses.clone(),
            fetch,
            serve,
            tls,
        }))
    }
}

/// Put the parts together and start them, the lowest first: each knows only those before it.
fn assemble(
    own: Own,
    (core, record): (izna_core::Config, Option<File>),
    (store, entries, is_whole): (Store, Vec<TableEntry>, bool),
    Network { tls, sockets, multicast, seal, seeds }: Network,
    engine: Engine,
) -> Result<Arc<Parts>, Error> {
    let executor = Executor::new(engine.threads)?;
    let payload_bytes_max = core.payload_bytes_max as u64;
    let ground = Ground::new(own, (core, record), store, &executor);
    let (table, for_disk) = AppTable::new();
    let table = Arc::new(table);
    let links = ground.links(tls.client);
    let discovery = Arc::new(Discovery::new(discovery::Parts {
        own: ground.own.clone(),
        driver: ground.driver.clone(),
        links: links.clone(),
        addresses: ground.addresses.clone(),
        seal,
        multicast: sockets.multicast.zip(multicast),
        unicast: sockets.beacons,
        seeds,
    }));
    let fetch = Arc::new(ArtifactFetch::new(links.clone(), ground.names.clone()));
    let serve = ground.artifact_serve(tls.bulk, &engine);
    let acceptor = ground.acceptor(tls.server, fetch.clone(), serve);
    let Ground { own, driver, names, addresses, store } = ground;
    let Engine { runtime, shares_code, .. } = engine;
    let code = (store.clone(), runtime.clone());
    let artifacts = Artifacts::new(driver.clone(), table.clone(), fetch, code, shares_code);
    let artifacts = Arc::new(artifacts);
    let spawner = executor.spawner();
    let steps = Steps::new(driver.clone(), artifacts.clone(), spawner, payload_bytes_max);
    let (steps, replies) = (Arc::new(steps), Arc::new(Waiters::default()));
    let (performer, in_order) = Performer::new(performer::Parts {
        own: own.clone(),
        names: names.clone(),
        addresses: addresses.clone(),
        links: links.clone(),
        discovery: discovery.clone(),
        table: table.clone(),
        artifacts: artifacts.clone(),
        steps: steps.clone(),
        replies: replies.clone(),
    });
    let performer = Arc::new(performer);
    let parts = Arc::new(Parts {
        own,
        driver,
        names,
        addresses,
        links,
        discovery,
        table,
        artifacts,
        steps,
        performer,
        replies,
        slots: AtomicU64::new(0),
        runtime,
        executor: Mutex::new(Some(executor)),
        store,
        draining: AtomicBool::new(false),
    });
    parts.start(entries, is_whole, for_disk, in_order)?;
    parts.driver.tasks.supervise("connections of nodes", acceptor.accept(sockets.links));
    Ok(parts)
}

impl Parts {
    /// Begin with the table as it was on disk; if that is the whole of it, artifacts that no app has
    /// are removed.
    fn start(
        &self,
        entries: Vec<TableEntry>,
        is_whole: bool,
        for_disk: mpsc::UnboundedReceiver<ForDisk>,
        in_order: mpsc::UnboundedReceiver<Output>,
    ) -> Result<(), Error> {
        let Self { driver, table, artifacts, performer, store, discovery, .. } = self;
        let tasks = &driver.tasks;
        let perform: Arc<dyn Perform> = performer.clone();
        driver.set_performer(Arc::downgrade(&perform));
        entries.iter().for_each(|entry| table.publish(entry.clone()));
        if is_whole {
            artifacts.sweep()?;
            tasks.supervise("removal of artifacts", artifacts.clone().tidy());
        }
        tasks.supervise(
            "app table",
            app_table::write(table.clone(), store.clone(), tasks.clone(), for_disk),
        );
        driver.feed(Input::Restore(entries));
        tasks.supervise("effects in order", performer.clone().run(in_order));
        tasks.supervise("clock", driver.clone().wake());
        discovery.start();
        Ok(())
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
        let multicast = multicast.map(|multicast| sockets::multicast(&multicast)).transpose()?;
        let (links, beacons) = sockets::listen(listen).await?;
        let address = links.local_addr();
        let operation = "listen at";
        let address =
            address.map_err(|source| sockets::Error::Io { operation, address: listen, source })?;
        Ok(Self { address, links, beacons, multicast })
    }
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

async fn measure(parts: Arc<Parts>, mut gauge: Gauge) {
    let mut interval = interval(MEASURE_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let measured = gauge.measure(Instant::now(), parts.links.unsent_bytes());
        parts.driver.feed(Input::Measured(measured));
        parts.runtime.sweep(measured.memory_permille);
    }
}

fn is_host_and_port(seed: &str) -> bool {
    let parts = seed.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}
