//! A cluster of several zones on this machine: each with a multicast group of its own, and a relay
//! with a delay before every node, by which the nodes of other zones reach it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::{Cluster, Network, Options, free_group};
use crate::node::Node;
use crate::relay::{Relay, free_port};
use crate::segment::{self, Place};
use crate::wait;

/// How long zones may take to find each other: some bulletins, one each second.
const MEETING: Duration = Duration::from_secs(30);

/// How zones are begun.
#[derive(Debug, Clone)]
pub struct Layout {
    /// For each zone, its name and its nodes. Every first node but that of the first zone has the
    /// first zone's first node as a seed.
    pub zones: Vec<(String, Vec<String>)>,
    /// What the way into another zone takes longer than the way inside one.
    pub delay: Duration,
    /// How nodes are started besides.
    pub options: Options,
}

/// Zones that have found each other.
#[derive(Debug)]
pub struct Zones {
    /// The nodes, by zone. In the order of their dropping: before what they run in.
    nodes: Vec<(String, Node)>,
    cluster: Cluster,
    _relays: Vec<Relay>,
}

impl Layout {
    /// Zones of these names and nodes.
    pub fn new(zones: &[(&str, &[&str])], delay: Duration) -> Self {
        let named = |(zone, nodes): &(&str, &[&str])| {
            ((*zone).to_owned(), nodes.iter().map(|node| (*node).to_owned()).collect())
        };
        Self { zones: zones.iter().map(named).collect(), delay, options: Options::nodes(&[]) }
    }
}

impl Zones {
    /// Begin all nodes, and wait until those of a zone see each other and all zones know all.
    pub fn start(layout: Layout) -> Result<Self> {
        let Layout { zones, delay, options } = layout;
        let cluster = Cluster::start(options.clone())?;
        let mut begun = Self { nodes: Vec::new(), cluster, _relays: Vec::new() };
        let mut seed = None;
        for (zone, names) in &zones {
            let group = free_group()?;
            for name in names {
                let first = begun.nodes.iter().all(|(of, _)| of != zone);
                let seed = seed.filter(|_| first);
                begun.begin(zone, name, &group, seed, delay)?;
            }
            seed = seed.or(begun._relays.first().map(Relay::address));
        }
        for (_, node) in &mut begun.nodes {
            node.wait_ready()?;
        }
        begun.wait_met(&zones)?;
        Ok(begun)
    }

    fn begin(
        &mut self,
        zone: &str,
        name: &str,
        group: &str,
        seed: Option<SocketAddr>,
        delay: Duration,
    ) -> Result<()> {
        let identity = self.cluster.identity(name)?;
        let mut launch = self.cluster.launch(name, &identity)?;
        let ip: IpAddr = launch.place.as_ref().map_or(Ipv4Addr::LOCALHOST, Place::address).into();
        let port = segment::within(launch.place.as_ref(), || free_port(ip))?;
        let target = SocketAddr::new(ip, port);
        let clients = self.cluster.clients();
        let relay_ip = clients.as_ref().map_or(ip, |place| place.address().into());
        let relay = segment::within(clients.as_ref(), || Relay::start(relay_ip, target, delay))?;
        for (flag, value) in [("--peer", target.to_string()), ("--multicast", group.to_owned())] {
            let at = launch.arguments.iter().position(|argument| argument == flag);
            let at = at.with_context(|| format!("a node is started without {flag}"))?;
            if let Some(argument) = launch.arguments.get_mut(at + 1) {
                *argument = value;
            }
        }
        let advertise = relay.address().to_string();
        for (flag, value) in [("--zone", zone), ("--advertise", &advertise)] {
            launch.arguments.extend([flag.to_owned(), value.to_owned()]);
        }
        if let Some(seed) = seed {
            launch.arguments.extend(["--seed".to_owned(), seed.to_string()]);
        }
        self._relays.push(relay);
        self.nodes.push((zone.to_owned(), Node::start(name, self.cluster.folder(), launch)?));
        Ok(())
    }

    fn wait_met(&self, zones: &[(String, Vec<String>)]) -> Result<()> {
        for (zone, node) in &self.nodes {
            let near = zones.iter().find(|(name, _)| name == zone).map_or(0, |(_, of)| of.len());
            let all = |told: &Value| {
                let told = told.as_array().map(Vec::as_slice).unwrap_or_default();
                let doors = told.first().and_then(|own| own.get("doors")?.as_u64());
                // Each zone is known, can be entered, and is measured.
                let far = told.iter().skip(1).filter(|zone| {
                    zone.get("doors").and_then(Value::as_u64).is_some_and(|doors| doors > 0)
                        && zone.get("hop_us").is_some()
                });
                doors == Some(near as u64) && far.count() + 1 == zones.len()
            };
            wait::within(MEETING, &format!("node {} to know all zones", node.name()), || {
                node.manage("/v1/zones").ok().filter(all).map(drop)
            })
            .with_context(|| format!("{:?}\n{}", node.manage("/v1/zones"), node.log()))?;
        }
        Ok(())
    }

    /// What all have in common: identities, folders, commands.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        let node = self.nodes.iter().find(|(_, node)| node.name() == name);
        node.map(|(_, node)| node).with_context(|| format!("no node {name}"))
    }

    /// The node of that name, to be ended or begun again.
    pub fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        let node = self.nodes.iter_mut().find(|(_, node)| node.name() == name);
        node.map(|(_, node)| node).with_context(|| format!("no node {name}"))
    }

    /// The nodes of a zone.
    pub fn of(&self, zone: &str) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |(of, _)| of == zone).map(|(_, node)| node)
    }

    /// What `node` says of another zone.
    pub fn seen(&self, node: &str, zone: &str) -> Result<Value> {
        let zones = self.node(node)?.manage("/v1/zones")?;
        let zones = zones.as_array().map(Vec::as_slice).unwrap_or_default();
        let named = |told: &&Value| told.get("name").and_then(Value::as_str) == Some(zone);
        zones.iter().find(named).cloned().with_context(|| format!("{node} knows no zone {zone}"))
    }

    /// Deploy an app by a node; it spreads to all zones.
    pub fn deploy(&self, node: &str, folder: &std::path::Path) -> Result<()> {
        let url = format!("http://{}", self.node(node)?.addresses()?.manage);
        let folder = folder.to_string_lossy().into_owned();
        let node = self.node(node)?;
        node.near(|| self.cluster.izna(&["deploy", &folder, "--node", &url]).map(drop))
    }

    /// Whether nodes are in network namespaces.
    pub fn network(options: &Options) -> &'static str {
        match options.network {
            Network::Loopback => "loopback",
            Network::Bridge => "network namespaces",
        }
    }
}
