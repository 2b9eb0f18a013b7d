//! The world: nodes, network, clients, and the loop that lets one thing happen after another.

use std::sync::Arc;

use izna_core::{Config, Duration, Time, record::Recorder};
use izna_proto::{NodeId, ProcessId, ZoneId};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use crate::{
    Options, Report,
    check::{Checkers, Violation, guarded},
    clients::Request,
    deploys::AppModel,
    event::{Event, Moment, Queue},
    network::Network,
    node::{Effects, Node},
    options::BEGIN_MS,
    program::Programs,
    recordings::Recording,
    report::Watch,
    seen::Seen,
};

/// All there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) now: Moment,
    pub(crate) queue: Queue,
    pub(crate) random: Xoshiro256PlusPlus,
    pub(crate) nodes: Vec<Node>,
    pub(crate) names: Vec<Arc<str>>,
    pub(crate) network: Network,
    pub(crate) apps: Vec<AppModel>,
    pub(crate) programs: Programs,
    pub(crate) requests: Vec<Request>,
    pub(crate) healed: bool,
    pub(crate) fetches: u64,

    pub(crate) checkers: Checkers,
    pub(crate) seen: Seen,
    pub(crate) effects: Effects,
    pub(crate) scratch: Vec<(ProcessId, u32)>,
    /// The node that was told something last.
    pub(crate) acting: usize,
    pub(crate) violation: Option<Violation>,
    pub(crate) watch: Watch,
    pub(crate) tracing: bool,
    pub(crate) lines: Vec<String>,
    /// Whether what the cores are told is recorded, and the recordings of those that are gone.
    recording: bool,
    pub(crate) recordings: Vec<Recording>,
    /// Folds all that happened, in order: equal runs have equal hashes.
    hash: u64,
    pub(crate) events: u64,
    /// Looks at the invariants of a core that were asked for.
    pub(crate) checks: usize,
}

pub(crate) fn node_id(index: usize) -> NodeId {
    NodeId(index as u64 + 1)
}

pub(crate) fn zone_id(zone: usize) -> ZoneId {
    ZoneId(u32::try_from(zone).unwrap_or(u32::MAX) + 1)
}

pub(crate) fn index(node: NodeId) -> usize {
    usize::try_from(node.0 - 1).expect("only simulated nodes are named")
}

impl World {
    pub(crate) fn new(options: &Options, seed: u64, watch: Watch) -> Self {
        let options = options.clone();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut nodes = Vec::new();
        for n in 0..options.nodes {
            let cores = random.random_range(1..=options.cores_max);
            let offset = random.random_range(-1_000_000_000..1_000_000_000);
            nodes.push(Node::new(config(&options, n, cores), offset));
        }
        Self {
            now: 0,
            queue: Queue::default(),
            names: (0..options.nodes).map(|n| Arc::from(format!("node-{n}"))).collect(),
            network: Network::new(options.nodes),
            apps: Vec::new(),
            programs: Programs::default(),
            requests: Vec::new(),
            healed: false,
            fetches: 0,
            checkers: Checkers::new(options.nodes),
            seen: Seen::default(),
            effects: Effects::default(),
            scratch: Vec::new(),
            acting: 0,
            violation: None,
            tracing: watch != Watch::Nothing,
            watch,
            lines: Vec::new(),
            recording: false,
            recordings: Vec::new(),
            hash: 0,
            events: 0,
            checks: 0,
            nodes,
            random,
            options,
        }
    }

    /// The same, with a recording of each core.
    pub(crate) fn recorded(mut self) -> Self {
        self.recording = true;
        self
    }

    /// A recorder for a core that begins, if there is to be one.
    pub(crate) fn recorder(&self, config: &Config, now: Time) -> Option<Recorder> {
        self.recording.then(|| Recorder::new(config, now))
    }

    /// Let it all happen.
    pub(crate) fn run(mut self) -> Report {
        self.begin();
        let heal = self.options.heal_at();
        let end = heal + self.options.heal_ms * 1000 + crate::clients::LAST_US;
        self.queue.push(heal, Event::Heal);
        while let Some((at, event)) = self.queue.pop() {
            if at > end || self.violation.is_some() {
                break;
            }
            self.now = at;
            self.events += 1;
            self.happen_guarded(event);
        }
        if self.violation.is_none() {
            self.now = end;
            self.check_end();
        }
        for n in 0..self.nodes.len() {
            if let Some(core) = &self.nodes[n].core {
                self.seen.add(core.counters());
            }
            self.keep_recording(n);
        }
        Report {
            hash: self.hash,
            events: self.events,
            requests: self.requests.len(),
            violation: self.violation,
            seen: self.seen,
            lines: self.lines,
            recordings: self.recordings,
        }
    }

    fn begin(&mut self) {
        let nodes = self.options.nodes;
        for n in 0..nodes {
            let at = self.random.random_range(0..150_000);
            let start = Box::new(crate::faults::Fault::Restart(n));
            self.queue.push(at, Event::Fault(start));
        }
        self.plan_deploys();
        self.plan_faults();
        self.queue.push(BEGIN_MS * 1000, Event::Arrival);
    }

    /// Note that something happened, so that two runs can be compared.
    pub(crate) fn fold(&mut self, what: u64, node: usize) {
        let word = self.now ^ (what << 56) ^ ((node as u64) << 40);
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Let it happen; a core that finds a contradiction in itself is found by that.
    fn happen_guarded(&mut self, event: Event) {
        if let Err(text) = guarded(|| self.happen(event)) {
            self.contradiction(self.acting, text);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { node } => {
                self.fold(1, node);
                self.wake(node);
            }
            Event::Beacon { from, beacon } => {
                self.fold(2, from);
                self.beacon(from, &beacon);
            }
            Event::Straggler { from, to, beacon } => {
                self.fold(3, from);
                let beacon = izna_proto::Beacon::clone(&beacon);
                self.input(to, izna_core::Input::Heard(beacon));
            }
            Event::Message { from, to, generation, incarnation, parcel } => {
                self.fold(4, to);
                self.arrive((from, to), generation, incarnation, *parcel);
            }
            Event::Connected { from, to, generation, incarnation } => {
                self.fold(5, from);
                self.connected(from, to, generation, incarnation);
            }
            Event::Broken { from, to, generation } => {
                self.fold(6, from);
                self.broken(from, to, generation);
            }
            event @ (Event::Turn { node, incarnation, .. }
            | Event::Rest { node, incarnation, .. }
            | Event::Fetched { node, incarnation, .. }
            | Event::Tell { node, incarnation, .. }) => {
                self.fold(7, node);
                self.happen_inside(node, incarnation, event);
            }
            Event::Arrival => self.arrival(),
            Event::Abandon { request } => self.abandon(request),
            Event::Deploy { app, undeploy } => self.deploy(app, undeploy),
            Event::Fault(fault) => self.fault(*fault),
            Event::Heal => self.heal(),
            Event::LastDeploys => self.last_deploys(),
            Event::LastArrivals => self.last_arrivals(),
        }
    }

    /// What happens within one life of a node, and waits while the node is stopped.
    fn happen_inside(&mut self, node: usize, incarnation: u64, event: Event) {
        if !self.nodes[node].lives(incarnation) {
            return;
        }
        match self.postpone(node, event) {
            Some(Event::Turn { held, .. }) => self.turn(node, held),
            Some(Event::Rest { held, .. }) => self.worked(node, held),
            Some(Event::Fetched { fetch, .. }) => self.fetched(node, *fetch),
            Some(Event::Tell { input, .. }) => self.input(node, *input),
            _ => {}
        }
    }
}

fn config(options: &Options, n: usize, cores: u16) -> Config {
    let mut config = Config::new(node_id(n), 0, cores);
    config.held_max = options.held_max;
    config.admit_max = options.admit_max;
    config.hops_max = options.hops_max;
    config.steps_max = options.steps_max;
    config.retain_revision = options.retain_revision();
    config.adopted_max = options.adopted_max;
    config.unneeded_after = Duration::from_millis(options.unneeded_ms);
    config.memory_bytes_max = options.memory_bytes_max;
    config.memory_value_bytes_max = 1000;
    let zone = n % options.zones.max(1);
    config.zone = zone_id(zone);
    config.traits.zone = Some(Arc::from(format!("zone-{zone}")));
    config.summary_interval = Duration::from_millis(options.summary_interval_ms);
    config.beacon_interval = Duration::from_millis(options.beacon_interval_ms);
    config.silent_after = config.beacon_interval * 7 / 2;
    config.forget_after = Duration::from_secs(2);
    config.recent_max = 4096;
    #[cfg(feature = "sabotage")]
    {
        config.sabotage = options.sabotage();
    }
    config
}
