//! `izna node`: a node with its gateway, from its start until it is told to stop.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, CommandFactory};
use izna_gateway::{Bound, Config, Gateway, Limits, deploy::check_label};
use izna_node::{Identity, Multicast, Node, NodeConfig, Tune};
use izna_proto::{LABELS_MAX, Traits};
use izna_runtime::{Allowance, Ending, PartsMax};
use serde_json::json;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use super::compile;
use crate::{
    Izna,
    bridge::{self, Bridge},
    log::Log,
    output::{self, Format},
    quantity::Size,
    settings::{self, Adoption, Context, LimitsFile, MANAGE_DEFAULT, NodeFile},
    trouble::{Exit, Trouble, plain},
};

const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const PEER_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const ARTIFACT_BYTES_MAX: usize = 64 << 20;
/// How long threads may take that still do something when all else has ended.
const END_MAX: Duration = Duration::from_secs(5);
/// How long a node that was told to stop hands over its processes.
const DRAIN_MAX: Duration = Duration::from_secs(30);

pub(crate) const AFTER_HELP: &str = "Each option can also be set by an environment \
    variable (IZNA_NODE_IDENTITY and so on) or in the settings file: --body-max is body_max under \
    [node]. Under [limits] there are more.";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The node's identity, made by `izna cluster add-node`
    #[arg(long, value_name = "FILE", env = "IZNA_NODE_IDENTITY", hide_env = true)]
    identity: Option<PathBuf>,
    /// Data directory of the node [default: .izna/data/NODE]
    #[arg(long, value_name = "DIR", env = "IZNA_NODE_DATA", hide_env = true)]
    data: Option<PathBuf>,
    /// Address for clients (HTTP); 0.0.0.0:8080 is all of the machine's networks, port 0 chooses a
    /// free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", env = "IZNA_NODE_LISTEN", hide_env = true)]
    listen: Option<SocketAddr>,
    /// Management address, a loopback address [default: 127.0.0.1:9070]
    #[arg(long, value_name = "ADDR", env = "IZNA_NODE_MANAGE", hide_env = true)]
    manage: Option<SocketAddr>,
    /// Address for other nodes, of a network that they reach: the default is for nodes of this
    /// machine only [default: 127.0.0.1:0, a free port]
    #[arg(long, value_name = "ADDR", env = "IZNA_NODE_PEER", hide_env = true)]
    peer: Option<SocketAddr>,
    /// Multicast group for beacons, or none [default: 239.73.78.65:7373]
    #[arg(long, value_name = "GROUP:PORT|none", env = "IZNA_NODE_MULTICAST", hide_env = true)]
    multicast: Option<String>,
    /// Network interface for multicast, by its address [default: the address of --peer]
    #[arg(long, value_name = "IP", env = "IZNA_NODE_INTERFACE", hide_env = true)]
    interface: Option<IpAddr>,
    /// The --peer address of another node, where multicast does not reach it; may be repeated
    #[arg(long, value_name = "HOST:PORT", env = "IZNA_NODE_SEED", hide_env = true)]
    #[arg(value_delimiter = ',')]
    seed: Option<Vec<String>>,
    /// Zone of the node: nodes of a zone receive each other's beacons [default: default]
    #[arg(long, value_name = "NAME", env = "IZNA_NODE_ZONE", hide_env = true)]
    zone: Option<String>,
    /// Address under which nodes of other zones reach this one [default: the address of --peer]
    #[arg(long, value_name = "ADDR", env = "IZNA_NODE_ADVERTISE", hide_env = true)]
    advertise: Option<SocketAddr>,
    /// Number of threads that run components [default: the usable cores]
    #[arg(long, value_name = "N", env = "IZNA_NODE_CORES", hide_env = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    cores: Option<u16>,
    /// A label, such as gpu, that components can require; may be repeated
    #[arg(long, value_name = "NAME", env = "IZNA_NODE_LABEL", hide_env = true)]
    #[arg(value_delimiter = ',')]
    label: Option<Vec<String>>,
    /// Maximum number of components that this node adopts from busy holders; 0 disables adoption
    /// [default: 64]
    #[arg(long, value_name = "N", env = "IZNA_NODE_ADOPT_MAX", hide_env = true)]
    adopt_max: Option<usize>,
    /// Milliseconds after which an adopted component that is not needed is released
    /// [default: 60000]
    #[arg(long, value_name = "MS", env = "IZNA_NODE_UNNEEDED_MS", hide_env = true)]
    unneeded_ms: Option<u64>,
    /// Exchange compiled code with other nodes of the cluster; only for nodes that trust each other
    /// with their machines
    #[arg(long, env = "IZNA_NODE_SHARE_COMPILED", hide_env = true)]
    share_compiled: bool,
    /// Maximum memory for compiling a component [default: 2GiB]
    #[arg(long, value_name = "SIZE", env = "IZNA_NODE_COMPILE_MEMORY_MAX", hide_env = true)]
    compile_memory_max: Option<Size>,
    /// Maximum CPU time for compiling a component, in seconds [default: 120]
    #[arg(long, value_name = "SECONDS", env = "IZNA_NODE_COMPILE_SECONDS_MAX", hide_env = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    compile_seconds_max: Option<u32>,
    /// Log filter of levels and targets; `info,placement=debug` adds every placement decision
    /// [default: info]
    #[arg(long, value_name = "FILTER", env = "IZNA_NODE_LOG", hide_env = true)]
    log: Option<String>,
    /// Log format [default: text]
    #[arg(long, value_name = "FORMAT", env = "IZNA_NODE_LOG_FORMAT", hide_env = true)]
    log_format: Option<Format>,
    /// Maximum size of a request body [default: 4032KiB]
    #[arg(long, value_name = "SIZE", env = "IZNA_NODE_BODY_MAX", hide_env = true)]
    body_max: Option<Size>,
    /// Maximum number of concurrent requests [default: 4096]
    #[arg(long, value_name = "N", env = "IZNA_NODE_REQUESTS_MAX", hide_env = true)]
    requests_max: Option<usize>,
    /// Maximum number of client connections [default: 4096]
    #[arg(long, value_name = "N", env = "IZNA_NODE_CONNECTIONS_MAX", hide_env = true)]
    connections_max: Option<usize>,
    /// Maximum number of suspended functions kept in memory; 0 keeps none [default: 256]
    #[arg(long, value_name = "N", env = "IZNA_NODE_WARM_MAX", hide_env = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(..=2048))]
    warm_max: Option<u16>,
    /// Record what the node decides and on what grounds, to be played again by the simulator; grows
    /// by megabytes each second under load
    #[arg(long, value_name = "FILE", env = "IZNA_NODE_RECORD", hide_env = true)]
    record: Option<PathBuf>,
    /// Maximum number of live steps, waiting ones included; each reserves 8 GiB of address space
    /// [default: 1000 or more by the cores, fewer where `ulimit -v` is lower]
    #[arg(long, value_name = "N", env = "IZNA_NODE_LIVE_STEPS_MAX", hide_env = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=5000))]
    live_steps_max: Option<u16>,
    /// Maximum number of core instances of a component [default: 200]
    #[arg(long, value_name = "N", env = "IZNA_NODE_INSTANCES_MAX", hide_env = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    instances_max: Option<u32>,
    /// Maximum number of memories of a component; each live one reserves 4 GiB of address space
    /// [default: 16]
    #[arg(long, value_name = "N", env = "IZNA_NODE_MEMORIES_MAX", hide_env = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    memories_max: Option<u32>,
    /// Maximum number of tables of a component [default: 64]
    #[arg(long, value_name = "N", env = "IZNA_NODE_TABLES_MAX", hide_env = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    tables_max: Option<u32>,
    /// Maximum number of elements of a table; each takes 8 bytes of address space in each table
    /// [default: 100000]
    #[arg(long, value_name = "N", env = "IZNA_NODE_TABLE_ELEMENTS_MAX", hide_env = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    table_elements_max: Option<u32>,
}

/// A node that is about to start, everything decided.
pub(crate) struct Plan {
    pub(crate) identity: Identity,
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) manage: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) multicast: Option<Multicast>,
    pub(crate) seeds: Vec<String>,
    pub(crate) advertise: Option<SocketAddr>,
    pub(crate) cores: Option<u16>,
    pub(crate) traits: Traits,
    pub(crate) tune: Option<Tune>,
    pub(crate) record: Option<File>,
    pub(crate) shares_code: bool,
    pub(crate) allowance: Allowance,
    pub(crate) limits: Limits,
    pub(crate) warm_max: Option<u16>,
    pub(crate) live_steps_max: Option<u16>,
    pub(crate) parts: PartsMax,
}

/// A node that runs.
pub(crate) struct Running {
    pub(crate) node: Node,
    pub(crate) gateway: Gateway,
    /// Of its compiler.
    ending: Ending,
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> Result<(), Trouble> {
    let file = &context.file.node;
    let format = arguments.log_format.or(file.log_format).unwrap_or_default();
    let filter = arguments.log.as_ref().or(file.log.as_ref());
    let log = Log::start(filter.map_or("info", |filter| filter), format)?;
    settings::check_variables(&Izna::command())?;
    let plan = plan(arguments, file, &context.file.limits)?;
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let mut stop = Stop::new()?;
        let running = plan.start(&log).await?;
        announce(context.format, &running);
        running.until_stopped(&mut stop).await
    });
    // What blocks a thread, such as a disk that hangs, must not keep the program.
    runtime.shutdown_timeout(END_MAX);
    ended
}

/// The runtime of a node's sockets; steps have threads of their own.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Trouble> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Trouble::new(Exit::Software, "cannot start the runtime").why(error.to_string())
    })
}

/// Decide everything before a socket is opened or a file is made.
fn plan(arguments: Arguments, file: &NodeFile, limits: &LimitsFile) -> Result<Plan, Trouble> {
    let identity = arguments.identity.or_else(|| file.identity.clone()).ok_or_else(|| {
        Trouble::new(Exit::Usage, "missing --identity FILE")
            .why("nodes authenticate each other by identities of their cluster's authority")
            .fix("run `izna cluster init` and `izna cluster add-node NAME`, which makes one")
    })?;
    let peer = arguments.peer.or(file.peer).unwrap_or(PEER_DEFAULT);
    let interface = arguments.interface.or(file.interface);
    let text = arguments.multicast.as_deref().or(file.multicast.as_deref());
    let multicast = multicast(text, interface, peer)?;
    let seeds = arguments.seed.or_else(|| file.seed.clone()).unwrap_or_default();
    let limits = LimitsFile {
        body_max: arguments.body_max.or(file.body_max),
        requests_max: arguments.requests_max.or(file.requests_max),
        connections_max: arguments.connections_max.or(file.connections_max),
        ..*limits
    };
    let limits = limits.resolve()?;
    let manage = match arguments.manage.or(file.manage) {
        Some(manage) => manage,
        None => MANAGE_DEFAULT.parse().unwrap_or(PEER_DEFAULT),
    };
    let adoption = Adoption {
        adopt_max: arguments.adopt_max.or(file.adopt_max),
        unneeded_ms: arguments.unneeded_ms.or(file.unneeded_ms),
    };
    let parts = file.parts();
    let parts = PartsMax {
        instances_max: arguments.instances_max.unwrap_or(parts.instances_max),
        memories_max: arguments.memories_max.unwrap_or(parts.memories_max),
        tables_max: arguments.tables_max.unwrap_or(parts.tables_max),
        table_elements_max: arguments.table_elements_max.unwrap_or(parts.table_elements_max),
    };
    let identity = Identity::load(&identity).map_err(|error| bridge::identity(&error))?;
    let data = arguments.data.or_else(|| file.data.clone());
    Ok(Plan {
        data: data.unwrap_or_else(|| PathBuf::from(".izna/data").join(&*identity.name)),
        identity,
        listen: arguments.listen.or(file.listen).unwrap_or(LISTEN_DEFAULT),
        manage,
        peer,
        multicast,
        seeds,
        advertise: arguments.advertise.or(file.advertise),
        cores: arguments.cores.or(file.cores),
        traits: traits(
            arguments.zone.as_ref().or(file.zone.as_ref()),
            arguments.label.as_ref().or(file.label.as_ref()),
        )?,
        tune: Some(adoption.resolve()?),
        record: arguments
            .record
            .as_deref()
            .or(file.record.as_deref())
            .map(recording)
            .transpose()?,
        shares_code: arguments.share_compiled || file.share_compiled,
        allowance: allowance(
            arguments.compile_memory_max.or(file.compile_memory_max),
            arguments.compile_seconds_max.or(file.compile_seconds_max),
        )?,
        limits,
        warm_max: arguments.warm_max.or(file.warm_max),
        live_steps_max: arguments.live_steps_max.or(file.live_steps_max),
        parts,
    })
}

fn recording(file: &Path) -> Result<File, Trouble> {
    File::create(file).map_err(|error| {
        let what = format!("cannot write the recording {}", file.display());
        Trouble::new(Exit::Config, what).why(error.to_string())
    })
}

/// What compiling may use.
fn allowance(memory: Option<Size>, seconds: Option<u32>) -> Result<Allowance, Trouble> {
    let default = Allowance::default();
    let memory = memory.unwrap_or(Size(default.memory_bytes_max));
    let (min, max) = (Size(16 << 20), Size(1 << 40));
    if !(min..=max).contains(&memory) {
        let what = format!("invalid compile_memory_max {memory}: expected {min} to {max}");
        return Err(Trouble::new(Exit::Config, what));
    }
    let cpu_seconds_max = seconds.unwrap_or(default.cpu_seconds_max).max(1);
    Ok(Allowance { memory_bytes_max: memory.0, cpu_seconds_max, ..default })
}

/// What components may ask of this node.
fn traits(zone: Option<&String>, labels: Option<&Vec<String>>) -> Result<Traits, Trouble> {
    let labels = labels.map(Vec::as_slice).unwrap_or_default();
    let words = labels.iter().map(|label| ("label", label));
    for (what, word) in words.chain(zone.map(|zone| ("zone name", zone))) {
        check_label(what, word).map_err(|error| Trouble::new(Exit::Config, error))?;
    }
    if labels.len() > LABELS_MAX {
        let what = format!("too many labels: {}, the limit is {LABELS_MAX}", labels.len());
        return Err(Trouble::new(Exit::Config, what));
    }
    let labels = labels.iter().map(|label| Arc::from(label.as_str())).collect();
    Ok(Traits { zone: zone.map(|zone| Arc::from(zone.as_str())), labels })
}

fn multicast(
    text: Option<&str>,
    interface: Option<IpAddr>,
    peer: SocketAddr,
) -> Result<Option<Multicast>, Trouble> {
    let default = Multicast::default();
    let (group, port) = match text {
        Some("none") => return Ok(None),
        None => (default.group, default.port),
        Some(text) => {
            let shown = text.escape_debug();
            let what = format!("invalid multicast group `{shown}`: expected ADDRESS:PORT");
            let fix = "use for example 239.73.78.65:7373, or none and --seed";
            let address: SocketAddrV4 =
                text.parse().map_err(|_| Trouble::new(Exit::Config, what).fix(fix))?;
            (*address.ip(), address.port())
        }
    };
    if !group.is_multicast() {
        let what = format!("{group} is not a multicast address");
        let why = "multicast addresses are 224.0.0.0 to 239.255.255.255";
        return Err(Trouble::new(Exit::Config, what).why(why));
    }
    let interface = match interface.unwrap_or(peer.ip()) {
        IpAddr::V4(ip) if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => default.interface,
        IpAddr::V6(ip) => {
            let what = format!("multicast needs an interface with an IPv4 address, not {ip}");
            let fix = "name one with --interface, or use --multicast none and --seed";
            return Err(Trouble::new(Exit::Config, what).fix(fix));
        }
    };
    Ok(Some(Multicast { group, port, interface }))
}

impl Plan {
    /// Open the gateway's listeners, start the node, then serve.
    pub(crate) async fn start(self, log: &Log) -> Result<Running, Trouble> {
        let bound = self.bind()?;
        let mut config = NodeConfig::new(self.identity, self.data);
        config.listen = self.peer;
        config.multicast = self.multicast;
        config.seeds = self.seeds;
        config.advertise = self.advertise;
        config.threads = self.cores.map(usize::from);
        if let Some(warm_max) = self.warm_max {
            config.runtime.warm_max = warm_max.into();
        }
        config.runtime.live_steps_max = self.live_steps_max.map(usize::from);
        config.runtime.parts = self.parts;
        config.traits = self.traits;
        config.tune = self.tune;
        config.record = self.record;
        config.shares_code = self.shares_code;
        let compiler = compile::compiler(self.allowance)?;
        let ending = compiler.ending.clone();
        config.runtime.compiler = Some(compiler);
        let node = Node::start(config).await.map_err(|error| bridge::start(&error))?;
        let (log, requests) = (log.losses(), Arc::default());
        let gateway = bound.serve(Arc::new(Bridge { node: node.clone(), log, requests }));
        let gateway = gateway.map_err(|error| gateway_trouble(&error))?;
        Ok(Running { node, gateway, ending })
    }

    fn bind(&self) -> Result<Bound, Trouble> {
        let config = Config {
            listen: self.listen,
            manage: self.manage,
            limits: self.limits.clone(),
            manage_limits: Limits::management(ARTIFACT_BYTES_MAX),
        };
        Gateway::bind(config).map_err(|error| gateway_trouble(&error))
    }
}

fn gateway_trouble(error: &izna_gateway::Error) -> Trouble {
    use std::io::ErrorKind;
    let izna_gateway::Error::Listen { address, what, source } = error else {
        let fix = "use an address of 127.0.0.0/8; whoever reaches it can deploy anything";
        return Trouble::new(Exit::Config, error.to_string()).fix(fix);
    };
    let flag = if *what == "HTTP" { "--listen" } else { "--manage" };
    match source.kind() {
        ErrorKind::AddrInUse => {
            let text = format!("address {address} is already in use, perhaps by another node");
            Trouble::new(Exit::Unavailable, text).fix(format!("choose another with {flag}"))
        }
        ErrorKind::PermissionDenied => {
            let text = format!("no permission to listen on {address}");
            Trouble::new(Exit::Permission, text)
                .fix(format!("choose a port above 1023 with {flag}"))
        }
        _ => Trouble::new(Exit::Unavailable, error.to_string())
            .why(plain(source))
            .fix(format!("choose another address with {flag}")),
    }
}

/// Say where the node is reached: programs that gave port 0 learn the real ones.
fn announce(format: Format, Running { node, gateway, .. }: &Running) {
    let (listen, manage) = (gateway.address(), gateway.manage_address());
    let (name, peer) = (node.name(), node.address());
    let announced = match format {
        Format::Json => output::event(&json!({
            "event": "ready",
            "node": &*name,
            "url": format!("http://{listen}"),
            "listen": listen.to_string(),
            "manage": manage.to_string(),
            "peer": peer.to_string(),
        })),
        Format::Text => output::text(&format!(
            "Serving http://{listen}\n  node {name}, managed at http://{manage}, peers at {peer}\n"
        )),
    };
    if let Err(error) = announced {
        // It serves all the same.
        tracing::warn!("cannot announce this node's addresses: {error}");
    }
}

/// Why a node has stopped that was not told to.
pub(crate) fn failed(why: Option<String>) -> Trouble {
    let trouble = Trouble::new(Exit::Software, "the node has failed and was stopped");
    match why {
        Some(why) => trouble.why(why),
        None => trouble,
    }
}

/// The signals that tell a node to stop.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(crate) fn new() -> Result<Self, Trouble> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Trouble::new(Exit::Software, "cannot wait for signals").why(error.to_string())
            })
        };
        let terminate = listen(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: listen(SignalKind::interrupt())? })
    }

    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Running {
    /// Serve until the node is told to stop, which is no error, or has failed.
    pub(crate) async fn until_stopped(self, stop: &mut Stop) -> Result<(), Trouble> {
        tokio::select! {
            () = stop.asked() => {
                self.finish(stop).await;
                Ok(())
            }
            why = self.node.stopped() => {
                // Bounded: of what has failed, something may hang.
                let _ = timeout(END_MAX, self.node.shutdown()).await;
                Err(failed(why))
            }
        }
    }

    /// Finish what clients wait for, hand over the rest, stop; at once when asked again.
    pub(crate) async fn finish(mut self, stop: &mut Stop) {
        tracing::info!("stopping: finishing requests and handing over processes");
        self.ending.end();
        let orderly = async {
            self.gateway.finish().await;
            if !self.node.drain(DRAIN_MAX).await {
                tracing::warn!("stopped with processes that no other node took");
            }
        };
        tokio::select! {
            () = orderly => {}
            () = stop.asked() => tracing::warn!("stopped immediately"),
        }
        self.node.shutdown().await;
        self.gateway.stop().await;
    }
}
