//! A cluster of nodes on this machine that hears nobody else's beacons, in a folder of its own.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::machine::{Machine, Share};
use crate::node::{Launch, Node};
use crate::quota::Quotas;
use crate::segment::{Place, Segment};
use crate::undo::Undo;
use crate::{shipped, skipped, wait};

/// How a cluster is begun.
#[derive(Debug, Clone)]
pub struct Options {
    /// The names of its first nodes.
    pub nodes: Vec<String>,
    /// How nodes find each other.
    pub discovery: Discovery,
    /// How much of the machine it needs.
    pub machine: Machine,
    /// Further arguments of every `izna node`.
    pub arguments: Vec<String>,
    /// Added to every node's environment.
    pub environment: Vec<(String, String)>,
    /// What stands before every node's command; see [`Launch::wrapper`].
    pub wrapper: Vec<String>,
    /// The cores that each node may use, such as 0.2; none: all.
    pub cores: Option<f64>,
    /// What carries bytes between nodes.
    pub network: Network,
    /// A data folder with nothing but compiled components, of which every node gets a copy.
    pub compiled: Option<PathBuf>,
}

/// What carries bytes between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The loopback of the machine; nodes differ by port.
    Loopback,
    /// A bridge of this cluster's own; nodes differ by address.
    Bridge,
}

impl Network {
    /// A bridge where there can be one; otherwise loopback, which is told.
    pub fn best() -> Self {
        match skipped::without("network namespaces, nodes are on loopback", Segment::new()) {
            Some(_) => Self::Bridge,
            None => Self::Loopback,
        }
    }
}

/// How nodes find each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// By multicast, in a group and on a port that nobody else here uses.
    Multicast,
    /// By unicast, each node told of the first.
    Seeds,
}

impl Options {
    /// Nodes of these names, and defaults.
    pub fn nodes(names: &[&str]) -> Self {
        Self {
            nodes: names.iter().map(|name| (*name).to_owned()).collect(),
            discovery: Discovery::Multicast,
            machine: Machine::Shared,
            arguments: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            cores: None,
            network: Network::Loopback,
            compiled: None,
        }
    }

    /// The same with the whole machine for itself.
    #[must_use]
    pub fn alone(self) -> Self {
        Self { machine: Machine::Alone, ..self }
    }

    /// The same with these further arguments of every node.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }
}

/// A cluster. Dropping it kills its nodes, and prints their logs if the test has failed.
#[derive(Debug)]
pub struct Cluster {
    options: Options,
    multicast: String,
    // In the order of their dropping: nodes before what they run in.
    nodes: Vec<Node>,
    quotas: Option<Quotas>,
    segment: Option<Segment>,
    folder: TempDir,
    _undo: Undo,
    _machine: Share,
}

impl Cluster {
    /// Begin a cluster: its identity, its nodes, until each is linked to each.
    pub fn start(options: Options) -> Result<Self> {
        let machine = options.machine.take()?;
        let folder = TempDir::with_prefix("izna-")?;
        let undo = Undo::new({
            let path = folder.path().to_owned();
            move || drop(fs::remove_dir_all(path))
        });
        let multicast = match options.discovery {
            Discovery::Multicast => free_group()?,
            Discovery::Seeds => "none".to_owned(),
        };
        let names = options.nodes.clone();
        let segment = match options.network {
            Network::Loopback => None,
            Network::Bridge => Some(Segment::new()?),
        };
        let quotas = options.cores.map(|_| Quotas::new()).transpose()?;
        let (nodes, _undo, _machine) = (Vec::new(), undo, machine);
        let mut cluster =
            Self { options, multicast, nodes, quotas, segment, folder, _undo, _machine };
        let home = cluster.home();
        cluster.izna(&["cluster", "init", &home.to_string_lossy()])?;
        for name in &names {
            cluster.begin_node(name)?;
            // The others are told of the first one's address.
            if cluster.options.discovery == Discovery::Seeds && cluster.nodes.len() == 1 {
                cluster.wait_ready()?;
            }
        }
        cluster.wait_ready()?;
        cluster.wait_linked()?;
        Ok(cluster)
    }

    /// The folder of the cluster's own identity.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    /// A folder that is gone with the cluster.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The group and port of its beacons, or `none`.
    pub fn multicast(&self) -> &str {
        &self.multicast
    }

    /// Make the identity of a node; the file that it is in.
    pub fn identity(&self, name: &str) -> Result<PathBuf> {
        let (home, to) = (self.home(), self.folder.path().join("identities"));
        let (home, to) = (home.to_string_lossy(), to.to_string_lossy());
        let words = ["--output", "json", "cluster", "add-node", name, "--cluster", &home];
        let said = self.izna(&[&words[..], &["--to", &to]].concat())?;
        let said: Value = serde_json::from_str(&said)?;
        let path = said.get("identity").and_then(Value::as_str);
        path.map(PathBuf::from).with_context(|| format!("no identity in {said}"))
    }

    /// How a node of this name and identity is started.
    pub fn launch(&self, name: &str, identity: &Path) -> Result<Launch> {
        let data = self.data(name);
        let place = self.segment.as_ref().map(Segment::place).transpose()?;
        let address = place.as_ref().map_or(Ipv4Addr::LOCALHOST, Place::address);
        let any = format!("{address}:0");
        let mut arguments: Vec<String> = ["--output", "json", "node"]
            .into_iter()
            .chain(["--identity", &identity.to_string_lossy()])
            .chain(["--data", &data.to_string_lossy()])
            .chain(["--listen", &any, "--manage", "127.0.0.1:0"])
            .chain(["--peer", &any, "--interface", &address.to_string()])
            .chain(["--multicast", &self.multicast])
            .map(str::to_owned)
            .collect();
        let seed = self.nodes.first().filter(|_| self.options.discovery == Discovery::Seeds);
        if let Some(seed) = seed {
            arguments.extend(["--seed".to_owned(), seed.addresses()?.peer.to_string()]);
        }
        arguments.extend(self.options.arguments.iter().cloned());
        let (wrapper, environment) =
            (self.options.wrapper.clone(), self.options.environment.clone());
        let limits = self.quotas.as_ref().zip(self.options.cores);
        let group = limits.map(|(quotas, cores)| quotas.group(name, cores)).transpose()?;
        Ok(Launch { wrapper, arguments, environment, place, group: group.map(Arc::new) })
    }

    /// The data folder of the node of this name.
    pub fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.data"))
    }

    /// Where clients of the gateways are; none: anywhere on this machine.
    pub fn clients(&self) -> Option<Place> {
        self.segment.as_ref().map(|segment| segment.clients().clone())
    }

    fn begin_node(&mut self, name: &str) -> Result<()> {
        let identity = self.identity(name)?;
        if let Some(compiled) = &self.options.compiled {
            copy_folder(compiled, &self.data(name))?;
        }
        let launch = self.launch(name, &identity)?;
        self.nodes.push(Node::start(name, self.folder.path(), launch)?);
        Ok(())
    }

    /// One node more, ready but perhaps not linked yet.
    pub fn add_node(&mut self, name: &str) -> Result<()> {
        self.begin_node(name)?;
        self.node_mut(name)?.wait_ready()?;
        Ok(())
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        let node = self.nodes.iter().find(|node| node.name() == name);
        node.with_context(|| format!("no node {name}"))
    }

    /// The node of that name, to be ended or begun again.
    pub fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        let node = self.nodes.iter_mut().find(|node| node.name() == name);
        node.with_context(|| format!("no node {name}"))
    }

    /// The nodes, in the order in which they were added.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    fn wait_ready(&mut self) -> Result<()> {
        let mut unready = self.nodes.iter_mut().filter(|node| node.addresses().is_err());
        unready.try_for_each(|node| node.wait_ready().map(drop))
    }

    /// Wait until each node that runs sees each other one that runs as alive.
    pub fn wait_linked(&self) -> Result<()> {
        let mut running = Vec::new();
        for node in &self.nodes {
            if node.alive() {
                running.push(node.name().to_owned());
            }
        }
        for name in &running {
            let node = self.node(name)?;
            wait::until(&format!("node {name} to see {running:?}"), || {
                let seen = alive(&node.manage("/v1/nodes").ok()?);
                running.iter().all(|name| seen.contains(name)).then_some(())
            })
            .with_context(|| format!("{:?}", node.manage("/v1/nodes")))?;
        }
        Ok(())
    }

    /// Run `izna` to its end; an error with what it said if it fails.
    pub fn izna(&self, arguments: &[&str]) -> Result<String> {
        let output = self.izna_output(arguments)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("izna {}: {}: {said}{why}", arguments.join(" "), output.status);
        }
        Ok(said)
    }

    /// Run `izna` to its end, whatever that is.
    pub fn izna_output(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(shipped::binary()?);
        command.args(arguments).stdin(Stdio::null()).current_dir(self.folder.path());
        let mut output = || command.output().context("cannot run izna");
        match self.nodes.first() {
            // It may speak to the first node, which is managed from where it is only.
            Some(first) => first.near(output),
            None => output(),
        }
    }

    /// Deploy the app whose manifest is in `folder` by the first node, with these further
    /// arguments, and wait until every node knows all holders of its components.
    pub fn deploy(&self, folder: &Path, arguments: &[&str]) -> Result<()> {
        let first = self.nodes.first().context("no nodes")?;
        let url = format!("http://{}", first.addresses()?.manage);
        let folder = folder.to_string_lossy();
        let words = [&["deploy", &*folder, "--node", &url], arguments].concat();
        self.izna(&words)?;
        self.wait_held()
    }

    /// Wait until every node that runs sees every component held by all the nodes that should.
    pub fn wait_held(&self) -> Result<()> {
        for node in &self.nodes {
            if !node.alive() {
                continue;
            }
            wait::until(&format!("node {} to see all components held", node.name()), || {
                let components = node.manage("/v1/components").ok()?;
                let components = components.as_array().filter(|list| !list.is_empty())?;
                components.iter().all(held_by_all).then_some(())
            })
            .with_context(|| format!("{:?}", node.manage("/v1/components")))?;
        }
        Ok(())
    }

    /// The guest `name` as `variant` in the folder of an app: the same code with a digest of its
    /// own.
    pub fn variant(&self, app: &Path, name: &str, variant: &str) -> Result<()> {
        let mut bytes = fs::read(shipped::guest(name)?)?;
        let [name_length, length] = [variant.len(), variant.len() + 1].map(u8::try_from);
        // A section of the author's own is no code.
        bytes.extend([0, length?, name_length?]);
        bytes.extend_from_slice(variant.as_bytes());
        fs::write(app.join(variant).with_extension("wasm"), bytes)?;
        Ok(())
    }

    /// An app of this manifest, whose sources are the built guests; the folder to deploy.
    pub fn app(&self, name: &str, manifest: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join(format!("{name}.app"));
        fs::create_dir_all(&folder)?;
        let guests = shipped::root().join("target/guests");
        let text = manifest.replace("GUESTS", &guests.to_string_lossy());
        fs::write(folder.join("izna.toml"), text)?;
        Ok(folder)
    }
}

fn alive(nodes: &Value) -> Vec<String> {
    let word = |node: &Value, key: &str| node.get(key).and_then(Value::as_str).map(str::to_owned);
    let nodes = nodes.as_array().map(Vec::as_slice).unwrap_or_default();
    let alive =
        nodes.iter().filter(|node| matches!(word(node, "state").as_deref(), Some("here" | "live")));
    alive.filter_map(|node| word(node, "name")).collect()
}

fn held_by_all(component: &Value) -> bool {
    let holders = component.get("holders").and_then(Value::as_array).map_or(0, Vec::len);
    // A node may hold the same code for another component.
    component.get("wanted").and_then(Value::as_u64).is_some_and(|wanted| holders as u64 >= wanted)
}

/// A group of this run's own, and a port that is free now.
pub(crate) fn free_group() -> Result<String> {
    let random = RandomState::new().build_hasher().finish().to_le_bytes();
    let [a, b, ..] = random;
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    Ok(format!("239.73.{a}.{b}:{port}"))
}

/// Copy a folder and all that is in it, permissions too.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            fs::copy(&path, &target).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        for node in &self.nodes {
            let log = node.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default();
            eprintln!("--- the log of node {}, its end:\n{}", node.name(), last.join("\n"));
        }
    }
}
