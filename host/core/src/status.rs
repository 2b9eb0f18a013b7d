//! What an operator may look at. Nothing here changes anything.

use alloc::{string::String, sync::Arc, vec::Vec};

use izna_proto::{
    ComponentId, ComponentSpec, Digest, Grounds, Load, NodeId, ProcessId, TableEntry, Trail,
    Traits, ZoneId,
};

use crate::{
    Core, Duration, HeldId, TableError,
    core::{Held, Place},
    migrate::micros,
    peer::{Peer, PeerState},
    placement::Explanation,
};

/// What happened so far at this node. Each only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Requests of clients.
    pub submitted: u64,
    /// Requests refused at once: full, draining, or nothing of that name.
    pub not_admitted: u64,
    /// Results given to clients.
    pub replied: u64,
    /// Failures given to clients.
    pub failed: u64,
    /// Clients that went away.
    pub abandoned: u64,
    /// Lost processes that were started again.
    pub started_again: u64,
    /// Ends of processes that nobody waited for any more.
    pub late_ends: u64,
    /// Steps that ended.
    pub steps: u64,
    /// Deliveries sent.
    pub deliveries: u64,
    /// Deliveries that the target accepted.
    pub migrations: u64,
    /// The time from delivery to acceptance, all of these together, in microseconds.
    pub migration_us: u64,
    /// Processes taken in from other nodes.
    pub arrivals: u64,
    /// Of them, those that were sent on at once, because another node was markedly better.
    pub bounced: u64,
    /// Times that this node became overloaded: its wait is markedly longer than another's.
    pub overloads: u64,
    /// Processes handed to a node that had asked before they came.
    pub tokens_used: u64,
    /// Askings of other nodes for work.
    pub pulls: u64,
    /// Of them, those that got some.
    pub pulls_served: u64,
    /// Queued processes given to nodes that asked.
    pub given: u64,
    /// Queued processes that were offered to other nodes and left.
    pub offered: u64,
    /// Deliveries refused here.
    pub refused_here: u64,
    /// Deliveries left alone, because there was no link to answer on.
    pub unanswerable: u64,
    /// Deliveries that other nodes refused.
    pub refused_there: u64,
    /// Deliveries without an answer.
    pub unclear: u64,
    /// Deliveries that had been taken before.
    pub duplicates: u64,
    /// Processes dropped at their deadline.
    pub expired: u64,
    /// Ended processes whose gateway had restarted.
    pub orphans: u64,
    /// Beacons taken in.
    pub beacons: u64,
    /// Beacons that were old or repeated.
    pub beacons_dropped: u64,
    /// Times that this node spoke for its zone.
    pub bulletins: u64,
    /// Bulletins of other zones taken in.
    pub bulletins_heard: u64,
    /// Bulletins that were old, repeated, or of one zone too many.
    pub bulletins_dropped: u64,
    /// Processes delivered to another zone.
    pub crossings: u64,
    /// Processes that came from another zone.
    pub entries: u64,
    /// Requests to cluster memory that another node answers.
    pub memory_requests: u64,
    /// Components taken in because their holders were full.
    pub adopted: u64,
    /// Of these, those given up again.
    pub given_up: u64,
    /// Components that were to be taken in and were not: held already, not allowed, no room.
    pub not_adopted: u64,
    /// What became of the time of the processes that ended at this gateway and were not refused, all
    /// together, in microseconds: in run queues...
    pub queued_us: u64,
    /// ...on a core, or kept from it by others there...
    pub ran_us: u64,
    /// ...in a step that waited for the host...
    pub waited_us: u64,
    /// ...and the rest: on the way between nodes, lost with a node, or waiting for one.
    pub moved_us: u64,
}

impl Counters {
    /// A process has ended, so long after its client asked for it.
    pub(crate) fn ended(&mut self, took: Duration, trail: &Trail) {
        self.queued_us += trail.queued_us;
        self.ran_us += trail.ran_us;
        self.waited_us += trail.waited_us;
        self.moved_us += micros(took).saturating_sub(trail.measured_us());
    }
}

/// A node that is ready to run a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The node.
    pub node: NodeId,
    /// Why it holds the component.
    pub reason: Reason,
}

/// Why a node holds a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// By its deploy.
    Deployed,
    /// Somebody added it.
    ByHand,
    /// It took it in by itself, because of these figures.
    Adopted(Grounds),
    /// It does not need to any more, and will give it up once others have it.
    Kept,
}

/// Another node as this one sees it.
#[derive(Debug, Clone)]
pub struct PeerStatus {
    /// The node.
    pub node: NodeId,
    /// Its name; empty until a link was up.
    pub name: Arc<str>,
    /// Its count of restarts.
    pub incarnation: u64,
    /// How it stands.
    pub state: PeerState,
    /// Its load as last told.
    pub load: Load,
    /// Its zone, if that is another one.
    pub zone: Option<ZoneId>,
    /// There and back, as measured, in microseconds.
    pub round_trip_us: Option<f64>,
    /// How many components it holds.
    pub holds: usize,
    /// What components may ask of it.
    pub traits: Traits,
    /// Since when nothing came from it.
    pub silent: Duration,
    /// Deliveries to it without an answer.
    pub outstanding: usize,
}

/// Another zone as this node sees it.
#[derive(Debug, Clone)]
pub struct ZoneStatus {
    /// The zone.
    pub zone: ZoneId,
    /// Its name.
    pub name: String,
    /// Since when nothing was heard of it.
    pub silent: Duration,
    /// One way there, as measured, in microseconds.
    pub hop_us: Option<f64>,
    /// What the way carries, in bytes a microsecond.
    pub rate: Option<f64>,
    /// Nodes by which it may be entered.
    pub doors: usize,
    /// Components of which its room is known.
    pub components: usize,
    /// Of the app table's, those that it holds.
    pub holds: Vec<ComponentId>,
}

/// A process held here.
#[derive(Debug, Clone)]
pub struct ProcessStatus {
    /// The process.
    pub id: ProcessId,
    /// Its app.
    pub app: Arc<str>,
    /// The component whose step is next or runs.
    pub component: Arc<str>,
    /// The function.
    pub function: Arc<str>,
    /// Where it is.
    pub state: ProcessState,
    /// Time since its birth.
    pub age: Duration,
    /// Starts before this one.
    pub attempt: u32,
    /// Steps it ran.
    pub steps: u32,
    /// Migrations.
    pub hops: u32,
    /// Its calls.
    pub entries: usize,
    /// The gateway's node.
    pub home: NodeId,
    /// Why it is where it is, or goes where it goes.
    pub why: Explanation,
}

/// Where a held process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// In the run queue.
    Queued,
    /// Its step runs.
    Running,
    /// On its way to another node.
    Leaving,
    /// No node takes it now.
    Homeless,
    /// It has ended, and its gateway is being told.
    Finishing,
}

/// How full a node is: each number stands against a limit of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fill {
    /// Processes held.
    pub held: usize,
    /// Of them, in the run queue.
    pub queued: usize,
    /// Of them, running within a slot.
    pub running: usize,
    /// Of them, running without.
    pub sliced: usize,
    /// Clients that wait.
    pub waiting: usize,
    /// Deliveries remembered.
    pub recent: usize,
    /// Nodes in the view.
    pub peers: usize,
    /// Other zones.
    pub zones: usize,
    /// Apps in the table.
    pub apps: usize,
    /// Bytes of cluster memory.
    pub memory_bytes: usize,
    /// Operations on cluster memory that wait for other nodes.
    pub memory_requests: usize,
    /// Reasons to wake up though nothing happens.
    pub timers: usize,
}

impl ProcessState {
    /// The word for it in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Leaving => "leaving",
            Self::Homeless => "homeless",
            Self::Finishing => "finishing",
        }
    }
}

impl PeerState {
    /// The word for it in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Avoided => "avoided",
            Self::Closed => "closed",
            Self::Unlinked => "unlinked",
        }
    }
}

impl Core {
    /// The other nodes.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> {
        self.view.peers().iter().map(|peer: &Peer| PeerStatus {
            node: peer.node,
            name: peer.name.clone(),
            incarnation: peer.incarnation,
            state: peer.state(self.now, &self.config),
            load: *peer.belief.load(),
            zone: peer.zone,
            round_trip_us: peer.path.round_trip_us(),
            holds: peer.holds_count(),
            traits: peer.traits.clone(),
            silent: self.now.since(peer.heard),
            outstanding: peer.outstanding.len(),
        })
    }

    /// The other zones.
    pub fn zones(&self) -> impl Iterator<Item = ZoneStatus> {
        let components: Vec<ComponentId> =
            self.table.components().map(|(app, component)| component.id(&app.name)).collect();
        self.zones.iter().map(move |(id, zone)| ZoneStatus {
            zone: id,
            name: zone.name.clone(),
            silent: self.now.since(zone.heard),
            hop_us: zone.hop_us(),
            rate: zone.rate(),
            doors: zone.doors.len(),
            components: zone.components(),
            holds: components.iter().filter(|c| zone.line(c.key()).is_some()).copied().collect(),
        })
    }

    /// The name of this node's zone.
    pub fn zone(&self) -> &str {
        self.config.traits.zone_name()
    }

    /// Whether this node speaks for its zone.
    pub fn speaks(&self) -> bool {
        self.is_speaker()
    }

    /// A sum over the app table: equal tables have equal sums.
    pub fn table_sum(&self) -> u64 {
        self.table.sum()
    }

    /// The processes held here, in the order in which they came.
    pub fn processes(&self) -> impl Iterator<Item = ProcessStatus> {
        self.held.values().map(|held| self.process_status(held))
    }

    fn process_status(&self, held: &Held) -> ProcessStatus {
        let process = &held.process;
        let unnamed = || Arc::from("");
        ProcessStatus {
            id: process.id,
            app: process.app.clone(),
            component: process.entry().map_or_else(unnamed, |entry| entry.component.clone()),
            function: process.entry().map_or_else(unnamed, |entry| entry.function.clone()),
            state: match held.place {
                Place::Queued => ProcessState::Queued,
                Place::Running { .. } => ProcessState::Running,
                Place::Leaving => ProcessState::Leaving,
                Place::Homeless => ProcessState::Homeless,
                Place::Finishing(_) => ProcessState::Finishing,
            },
            age: self.now.since(held.born),
            attempt: process.attempt,
            steps: process.steps,
            hops: process.hops,
            entries: process.entries.len(),
            home: process.home.node,
            why: held.why,
        }
    }

    /// How many processes are held here, and how many clients wait at the gateway here.
    pub fn held(&self) -> (usize, usize) {
        (self.held.len(), self.slots.len())
    }

    /// How full this node is.
    pub fn fill(&self) -> Fill {
        Fill {
            held: self.held.len(),
            queued: self.queue.len(),
            running: self.running,
            sliced: self.sliced,
            waiting: self.slots.len(),
            recent: self.recent.len(),
            peers: self.view.peers().len(),
            zones: self.zones.len(),
            apps: self.table.entries().count(),
            memory_bytes: self.part.bytes(),
            memory_requests: self.requests.len(),
            timers: self.timers.len(),
        }
    }

    /// A process held here, as its step names it.
    pub fn process(&self, held: HeldId) -> Option<ProcessStatus> {
        self.held.get(&held).map(|held| self.process_status(held))
    }

    /// The processes held here with their attempts: which they are, and no more.
    pub fn copies(&self) -> impl Iterator<Item = (ProcessId, u32)> {
        self.held.values().map(|held| (held.process.id, held.process.attempt))
    }

    /// The live nodes that are ready to run a component of an app, in the order of their ids, and
    /// why each holds it.
    pub fn holders(&self, app: &str, component: &ComponentSpec) -> Vec<Holder> {
        let (id, spread) = (component.id(app), &component.spread);
        let reason = |node: NodeId, traits: &Traits, adopted: Option<Grounds>| match adopted {
            Some(grounds) => Reason::Adopted(grounds),
            None if !spread.includes(node, traits) => Reason::Kept,
            None if spread.added.contains(&node) => Reason::ByHand,
            None => Reason::Deployed,
        };
        let peers = self.view.holders_of(&id);
        let there = peers.filter(|peer| peer.state(self.now, &self.config) == PeerState::Live);
        let there = there.map(|peer| Holder {
            node: peer.node,
            reason: reason(peer.node, &peer.traits, peer.adopted(&id)),
        });
        let own = self.copies.get(&id).filter(|_| self.is_ready(&id));
        let (node, traits) = (self.config.node, &self.config.traits);
        let here = own.map(|copy| Holder { node, reason: reason(node, traits, copy.adopted) });
        let mut holders: Vec<Holder> = there.chain(here).collect();
        holders.sort_by_key(|holder| holder.node);
        holders
    }

    /// Code that could not be had here when it was last tried, and why.
    pub fn troubles(&self) -> impl Iterator<Item = (Digest, &str)> {
        let failed = self.components.iter();
        failed.filter_map(|(digest, code)| Some((*digest, code.trouble.as_deref()?)))
    }

    /// What components may ask of this node.
    pub fn traits(&self) -> &Traits {
        &self.config.traits
    }

    /// The newest line of each app.
    pub fn table(&self) -> impl Iterator<Item = &TableEntry> {
        self.table.entries()
    }

    /// Why the last deploy, undeploy or assignment at this node was refused; none if it was not.
    pub fn not_deployed(&self) -> Option<&TableError> {
        self.not_deployed.as_ref()
    }

    /// The bytes of cluster memory kept here.
    pub fn memory_bytes(&self) -> usize {
        self.part.bytes()
    }

    /// Whether the wait here was markedly longer than elsewhere at the last beacon.
    pub fn is_overloaded(&self) -> bool {
        self.overload.is_on()
    }

    /// Whether the node takes nothing new.
    pub fn draining(&self) -> bool {
        self.draining
    }
}
