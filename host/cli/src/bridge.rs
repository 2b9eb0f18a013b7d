//! Joins node and gateway, which do not know each other: the node as the gateway's cluster, and the
//! node's errors as troubles with an exit code.

use std::sync::Arc;

use bytes::Bytes;
use izna_gateway::{BoxFuture, Cluster, Metric, MetricKind, Reply, Request, Table, Timing, api};
use izna_node::{
    Assignment, Description, Error, Holder, NetError, NewProcess, Node, Peer, PeerState, Reason,
    Snapshot, ZoneStatus, explain_grounds,
    identity::{self, node_id},
};
use izna_proto::{App, ComponentSpec, NodeId, Revision};
use tokio::sync::watch;

use crate::{
    log::Losses,
    requests::{Line, Requests},
    trouble::{Exit, Trouble},
};

/// A node, as its gateway sees it.
pub(crate) struct Bridge {
    pub(crate) node: Node,
    pub(crate) log: Losses,
    pub(crate) requests: Arc<Requests>,
}

/// How long `/v1/drain` takes at most.
const DRAIN_MAX: std::time::Duration = std::time::Duration::from_secs(60);

impl Cluster for Bridge {
    fn submit(&self, request: Request) -> BoxFuture<Reply> {
        let (node, requests) = (self.node.clone(), self.requests.clone());
        let line = Line::of(&request);
        let new = NewProcess {
            app: request.app,
            component: request.component,
            function: request.function,
            input: request.input,
            idempotent: request.idempotent,
            deadline: request.deadline,
            traceparent: request.traceparent,
        };
        Box::pin(async move {
            let reply = node.submit(new).await;
            let trail = reply.trail.nodes.iter().map(|id| name(&node, *id)).collect();
            let (took, timing) = (reply.took, timing(&reply));
            let reply = Reply { process: reply.process, outcome: reply.outcome, trail, timing };
            requests.ended(&line, &reply, took, &node.table().borrow());
            reply
        })
    }

    fn table(&self) -> watch::Receiver<Table> {
        self.node.table()
    }

    fn name(&self) -> Arc<str> {
        self.node.name()
    }

    fn node_id(&self, name: &str) -> NodeId {
        node_id(name)
    }

    fn node_name(&self, node: NodeId) -> Arc<str> {
        name(&self.node, node)
    }

    fn nodes(&self) -> Vec<api::Node> {
        let Some(snapshot) = self.node.status() else { return Vec::new() };
        let here = api::Node {
            name: snapshot.name.to_string(),
            id: snapshot.node.to_string(),
            state: "here".to_owned(),
            incarnation: snapshot.incarnation,
            address: Some(snapshot.address.to_string()),
            load: snapshot.load.into(),
            components: snapshot.components.holds.len(),
            zone: snapshot.traits.zone_name().to_owned(),
            labels: snapshot.traits.labels.iter().map(ToString::to_string).collect(),
            round_trip_us: None,
        };
        let zone_of = |zone: Option<izna_proto::ZoneId>| match zone {
            None => snapshot.traits.zone_name().to_owned(),
            Some(id) => {
                let known = snapshot.zones.iter().find(|zone| zone.zone == id);
                known.map_or_else(|| id.to_string(), |zone| zone.name.clone())
            }
        };
        let peer = |Peer { status, address }: &Peer| api::Node {
            name: name(&self.node, status.node).to_string(),
            id: status.node.to_string(),
            state: status.state.as_str().to_owned(),
            incarnation: status.incarnation,
            address: address.map(|address| address.to_string()),
            load: status.load.into(),
            components: status.holds,
            zone: zone_of(status.zone),
            labels: status.traits.labels.iter().map(ToString::to_string).collect(),
            round_trip_us: status.round_trip_us.map(micros),
        };
        [here].into_iter().chain(snapshot.peers.iter().map(peer)).collect()
    }

    fn zones(&self) -> Vec<api::Zone> {
        let Some(snapshot) = self.node.status() else { return Vec::new() };
        let near = snapshot.peers.iter().filter(|peer| is_there(peer)).count();
        let here = api::Zone {
            name: snapshot.traits.zone_name().to_owned(),
            id: "here".to_owned(),
            speaks: snapshot.speaks,
            silent_ms: 0,
            hop_us: None,
            bytes_per_ms: None,
            doors: near + 1,
            components: snapshot.components.holds.len(),
        };
        let other = |zone: &ZoneStatus| api::Zone {
            name: zone.name.clone(),
            id: zone.zone.to_string(),
            speaks: false,
            silent_ms: u64::try_from(zone.silent.as_millis()).unwrap_or(u64::MAX),
            hop_us: zone.hop_us.map(micros),
            bytes_per_ms: zone.rate.map(|rate| micros(rate * 1000.0)),
            doors: zone.doors,
            components: zone.components,
        };
        [here].into_iter().chain(snapshot.zones.iter().map(other)).collect()
    }

    fn components(&self) -> Vec<api::Component> {
        let Some(snapshot) = self.node.status() else { return Vec::new() };
        let table = Arc::clone(&self.node.table().borrow());
        let apps: Vec<&App> = table.iter().filter_map(|entry| entry.app.as_ref()).collect();
        let component = |app: &App, spec: &ComponentSpec| {
            let reasons = reasons(&self.node, &snapshot, app, spec);
            let id = spec.id(&app.name);
            let zones = snapshot.zones.iter().filter(|zone| zone.holds.contains(&id));
            api::Component {
                app: app.name.to_string(),
                name: spec.name.to_string(),
                digest: spec.digest.to_string(),
                holders: reasons.iter().map(|reason| reason.node.clone()).collect(),
                reasons,
                wanted: wanted(&snapshot, spec),
                zones: zones.map(|zone| zone.name.clone()).collect(),
                trouble: trouble(&snapshot, spec),
            }
        };
        let of = |app: &App| app.components.iter().map(|c| component(app, c)).collect::<Vec<_>>();
        apps.iter().flat_map(|app| of(app)).collect()
    }

    fn processes(&self, limit: usize) -> Vec<api::Process> {
        let Some(mut snapshot) = self.node.status() else { return Vec::new() };
        snapshot.processes.sort_by_key(|process| std::cmp::Reverse(process.age));
        let named = |node: NodeId| {
            if node == snapshot.node {
                return snapshot.name.to_string();
            }
            let peer = snapshot.peers.iter().find(|peer| peer.status.node == node);
            peer.map_or_else(|| node.to_string(), |peer| peer.status.name.to_string())
        };
        let process = |status: &izna_node::ProcessStatus| api::Process {
            id: status.id.to_string(),
            app: status.app.to_string(),
            component: status.component.to_string(),
            function: status.function.to_string(),
            state: status.state.as_str().to_owned(),
            age_ms: u64::try_from(status.age.as_millis()).unwrap_or(u64::MAX),
            steps: status.steps,
            hops: status.hops,
            why: status.why.told(named),
        };
        snapshot.processes.iter().take(limit).map(process).collect()
    }

    fn admit(&self, bytes: Bytes) -> BoxFuture<Result<api::Artifact, String>> {
        let node = self.node.clone();
        Box::pin(async move {
            let (digest, described) = node.admit(bytes).await.map_err(|error| chain(&error))?;
            let digest = digest.to_string();
            Ok(api::Artifact { digest, description: description(&described) })
        })
    }

    fn deploy(&self, app: App) -> BoxFuture<Result<Revision, String>> {
        let node = self.node.clone();
        Box::pin(async move {
            node.deploy(app).await.map(|entry| entry.revision).map_err(|error| chain(&error))
        })
    }

    fn assign(
        &self,
        app: Arc<str>,
        component: Arc<str>,
        node: NodeId,
        holds: bool,
    ) -> BoxFuture<Result<Revision, String>> {
        let here = self.node.clone();
        let assignment = if holds { Assignment::Holds } else { Assignment::DoesNotHold };
        Box::pin(async move {
            let assigned = here.assign(app, component, node, assignment).await;
            assigned.map(|entry| entry.revision).map_err(|error| chain(&error))
        })
    }

    fn undeploy(&self, name: Arc<str>) -> BoxFuture<Result<Revision, String>> {
        let node = self.node.clone();
        Box::pin(async move {
            node.undeploy(&name).await.map(|entry| entry.revision).map_err(|error| chain(&error))
        })
    }

    fn drain(&self) -> BoxFuture<bool> {
        let node = self.node.clone();
        Box::pin(async move { node.drain(DRAIN_MAX).await })
    }

    fn ready(&self) -> Result<(), String> {
        if self.node.is_ready() {
            return Ok(());
        }
        Err(match self.node.status() {
            None => "the node has failed".to_owned(),
            Some(snapshot) if snapshot.draining => "the node is draining".to_owned(),
            Some(_) => "the node does not receive its own beacons yet".to_owned(),
        })
    }

    fn metrics(&self) -> Vec<Metric> {
        let log = [
            counter("izna_log_dropped", "Log lines dropped: too many waited", self.log.dropped()),
            counter("izna_log_failed", "Log lines that could not be written", self.log.failed()),
        ];
        let of_node = self.node.status().map_or_else(Vec::new, |snapshot| metrics(&snapshot));
        of_node.into_iter().chain(log).collect()
    }
}

fn timing(reply: &izna_node::Reply) -> Timing {
    let trail = &reply.trail;
    let took_us = u64::try_from(reply.took.as_micros()).unwrap_or(u64::MAX);
    Timing {
        queued_us: trail.queued_us,
        ran_us: trail.ran_us,
        waited_us: trail.waited_us,
        moved_us: took_us.saturating_sub(trail.measured_us()),
    }
}

fn name(node: &Node, id: NodeId) -> Arc<str> {
    node.name_of(id).unwrap_or_else(|| Arc::from(id.to_string()))
}

/// How many of the nodes that are there should hold a component.
fn wanted(snapshot: &Snapshot, spec: &ComponentSpec) -> usize {
    let peers = snapshot.peers.iter().filter(|peer| is_there(peer)).map(|peer| &peer.status);
    let peers = peers.map(|peer| (peer.node, &peer.traits));
    let all = peers.chain([(snapshot.node, &snapshot.traits)]);
    all.filter(|(node, traits)| spec.spread.includes(*node, traits)).count()
}

/// Why this node cannot hold a component that it should hold.
fn trouble(snapshot: &Snapshot, spec: &ComponentSpec) -> Option<String> {
    let mut troubles =
        snapshot.components.troubles.iter().filter(|(digest, _)| *digest == spec.digest);
    let is_wanted = spec.spread.includes(snapshot.node, &snapshot.traits);
    troubles.next().filter(|_| is_wanted).map(|(_, why)| why.clone())
}

fn micros(figure: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let figure = figure as u64;
    figure
}

fn is_there(peer: &Peer) -> bool {
    peer.status.state == PeerState::Live && peer.status.zone.is_none()
}

/// The nodes that are ready to run a component, and why each holds it.
fn reasons(node: &Node, snapshot: &Snapshot, app: &App, spec: &ComponentSpec) -> Vec<api::Reason> {
    let id = spec.id(&app.name);
    let held = snapshot.components.held_by.iter().find(|(component, _)| *component == id);
    let holders = held.map(|(_, holders)| holders.as_slice()).unwrap_or_default();
    let reason = |holder: &Holder| {
        let (reason, why) = match &holder.reason {
            Reason::Deployed => (api::DEPLOYED, None),
            Reason::ByHand => (api::BY_HAND, None),
            Reason::Adopted(grounds) => ("adopted", Some(explain_grounds(grounds))),
            Reason::Kept => ("until replaced", None),
        };
        api::Reason { node: name(node, holder.node).to_string(), reason: reason.to_owned(), why }
    };
    holders.iter().map(reason).collect()
}

/// What a component is, in the API's form.
pub(crate) fn description(description: &Description) -> api::Description {
    let interfaces = |list: &[izna_runtime::Interface]| {
        list.iter()
            .map(|interface| api::Interface {
                name: interface.name.clone(),
                functions: interface.functions.clone(),
                granted: interface.is_granted(),
                extent: interface.extent().filter(|_| interface.is_granted()).map(str::to_owned),
                obstacles: obstacles(interface),
            })
            .collect()
    };
    api::Description {
        kind: match description.kind {
            izna_runtime::Kind::Explicit => "explicit".to_owned(),
            izna_runtime::Kind::Direct => "direct".to_owned(),
            izna_runtime::Kind::Http => "http".to_owned(),
            _ => "other".to_owned(),
        },
        bytes: description.bytes,
        imports: interfaces(&description.imports),
        exports: interfaces(&description.exports),
        memory_bytes: description.memory_bytes,
        modules: description.modules,
        function_bytes: description.function_bytes,
        producers: description.producers.clone(),
    }
}

fn obstacles(interface: &izna_runtime::Interface) -> Vec<String> {
    let items = interface.items.iter();
    items.filter_map(|item| Some(format!("{}: {}", item.name, item.obstacle.as_ref()?))).collect()
}

fn metrics(snapshot: &Snapshot) -> Vec<Metric> {
    let c = &snapshot.counters;
    let gauge = |name, help, value: usize| {
        let value = value as u64;
        Metric { name, help, kind: MetricKind::Gauge, labels: Vec::new(), value }
    };
    let (load, warm) = (&snapshot.load, &snapshot.host.warm);
    vec![
        counter("izna_submitted", "Requests received from clients", c.submitted),
        counter("izna_not_admitted", "Requests rejected at admission", c.not_admitted),
        counter("izna_replied", "Requests answered with a result", c.replied),
        counter("izna_failed", "Requests answered with a failure", c.failed),
        counter("izna_abandoned", "Requests abandoned by their client", c.abandoned),
        counter("izna_started_again", "Lost processes that were restarted", c.started_again),
        counter("izna_late_ends", "Results for which no client was waiting", c.late_ends),
        counter("izna_steps", "Steps completed", c.steps),
        counter("izna_deliveries", "Delivery attempts to other nodes", c.deliveries),
        counter("izna_migrations", "Deliveries accepted by the target node", c.migrations),
        counter("izna_migration_us", "Microseconds until acceptance, summed", c.migration_us),
        counter("izna_queued_us", "Microseconds that ended processes were queued", c.queued_us),
        counter("izna_ran_us", "Microseconds that ended processes executed", c.ran_us),
        counter("izna_waited_us", "Microseconds that steps of ended processes waited", c.waited_us),
        counter("izna_moved_us", "Microseconds of ended processes in transit", c.moved_us),
        counter("izna_arrivals", "Processes received from other nodes", c.arrivals),
        counter("izna_bounced", "Received processes forwarded without running", c.bounced),
        counter("izna_refused_here", "Deliveries rejected by this node", c.refused_here),
        counter("izna_refused_there", "Deliveries rejected by other nodes", c.refused_there),
        counter("izna_unclear", "Deliveries with unknown outcome", c.unclear),
        counter("izna_duplicates", "Duplicate deliveries received", c.duplicates),
        counter("izna_expired", "Processes dropped after their deadline", c.expired),
        counter("izna_orphans", "Results whose entry node had restarted", c.orphans),
        counter("izna_beacons", "Beacons received", c.beacons),
        counter("izna_beacons_dropped", "Beacons discarded: stale or duplicate", c.beacons_dropped),
        counter("izna_memory_requests", "Requests to cluster memory", c.memory_requests),
        counter("izna_processes_encoded", "Processes serialized", snapshot.host.process_encoded),
        counter("izna_steps_lent", "Short steps executed on the I/O thread", snapshot.host.lent),
        counter("izna_warm_resumed", "Suspended functions resumed in place", warm.resumed),
        counter("izna_replayed", "Functions replayed from their record", warm.replayed),
        counter("izna_warm_dropped", "Suspended functions evicted", warm.dropped),
        gauge("izna_warm", "Suspended functions in memory", warm.kept),
        Metric {
            name: "izna_warm_bytes",
            help: "Bytes of linear memory of suspended functions",
            kind: MetricKind::Gauge,
            labels: Vec::new(),
            value: snapshot.host.warm.bytes,
        },
        gauge("izna_processes", "Processes held by this node", snapshot.held),
        gauge("izna_waiting", "Clients waiting for a reply", snapshot.waiting),
        gauge("izna_peers", "Other nodes known", snapshot.peers.len()),
        gauge("izna_components", "Components ready on this node", snapshot.components.holds.len()),
        gauge("izna_memory_bytes", "Bytes of cluster memory on this node", snapshot.memory_bytes),
        gauge("izna_wait_us", "Expected wait of a new step in microseconds", load.wait_us as usize),
        gauge("izna_cpu_permille", "CPU utilization in permille", load.cpu_permille.into()),
        gauge("izna_queued", "Steps running or queued", load.queued as usize),
    ]
    .into_iter()
    .chain(repairs(c))
    .chain(zones(snapshot))
    .collect()
}

/// What repairs placement once a process waits.
fn repairs(c: &izna_node::Counters) -> [Metric; 9] {
    [
        counter("izna_offered", "Queued processes moved to another node", c.offered),
        counter("izna_overloads", "Times this node became overloaded", c.overloads),
        counter("izna_pulls", "Work-stealing requests sent", c.pulls),
        counter("izna_pulls_served", "Work-stealing requests that returned work", c.pulls_served),
        counter("izna_given", "Queued processes given to work-stealing nodes", c.given),
        counter("izna_adopted", "Components adopted from busy holders", c.adopted),
        counter("izna_given_up", "Adopted components released", c.given_up),
        counter("izna_not_adopted", "Components that could not be adopted", c.not_adopted),
        counter("izna_tokens_used", "Processes sent to nodes waiting for work", c.tokens_used),
    ]
}

/// What goes on between zones.
fn zones(snapshot: &Snapshot) -> [Metric; 6] {
    let c = &snapshot.counters;
    let known = Metric {
        name: "izna_zones",
        help: "Other zones known",
        kind: MetricKind::Gauge,
        labels: Vec::new(),
        value: snapshot.zones.len() as u64,
    };
    [
        known,
        counter("izna_bulletins", "Zone summaries sent as zone leader", c.bulletins),
        counter("izna_bulletins_heard", "Zone summaries received", c.bulletins_heard),
        counter("izna_bulletins_dropped", "Zone summaries discarded as stale", c.bulletins_dropped),
        counter("izna_crossings", "Processes sent to other zones", c.crossings),
        counter("izna_entries", "Processes received from other zones", c.entries),
    ]
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Metric {
    Metric { name, help, kind: MetricKind::Counter, labels: Vec::new(), value }
}

/// An error with its causes, in one sentence.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        said = format!("{said}: {cause}");
        next = cause.source();
    }
    said
}

/// What is wrong with an authority or an identity.
pub(crate) fn identity(error: &identity::Error) -> Trouble {
    use identity::Error as E;
    let exit = match error {
        E::Name { .. } => Exit::Usage,
        E::Missing { .. } => Exit::NoInput,
        E::Exists { .. } => Exit::CannotCreate,
        E::Mode { .. } => Exit::Permission,
        E::Io { .. } => Exit::Io,
        E::Make { .. } | E::Random => Exit::Software,
        _ => Exit::Config,
    };
    Trouble::new(exit, error.to_string()).caused(error)
}

/// Why a node does not start.
pub(crate) fn start(error: &Error) -> Trouble {
    let exit = match error {
        Error::Identity(error) => return identity(error),
        Error::Net(NetError::NotMulticast { .. }) | Error::Seed { .. } => Exit::Config,
        Error::Net(_) => Exit::Unavailable,
        Error::Store(izna_store::Error::InUse { .. }) => Exit::Unavailable,
        Error::Store(izna_store::Error::Newer { .. } | izna_store::Error::Foreign { .. }) => {
            Exit::Config
        }
        Error::Store(izna_store::Error::Corrupt { .. }) => Exit::Data,
        Error::Store(_) => Exit::Io,
        _ => Exit::Software,
    };
    Trouble::new(exit, error.to_string()).caused(error)
}
