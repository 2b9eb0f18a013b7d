//! What an operator may look at. Nothing here changes anything.

use alloc::{string::String, sync::Arc, vec::Vec};

use izna_proto::{
    ComponentId, ComponentSpec, Digest, Grounds, Load, NodeId, ProcessId, TableEntry, Traits,
    ZoneId,
};

use super::{Core, Drain};
use crate::{
    counters::Counters,
    held_id::HeldId,
    membership::{Peer, PeerState},
    placement::Explanation,
    processes::Held,
    stage::Stage,
    time::Duration,
};

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
    Waiting,
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
            Self::Waiting => "waiting",
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
        self.membership.peers().iter().map(|peer: &Peer| PeerStatus {
            node: peer.node,
            name: peer.name.clone(),
            incarnation: peer.incarnation,
            state: peer.state(self.fx.now, &self.fx.config),
            load: *peer.belief.load(),
            zone: peer.zone,
            round_trip_us: peer.path.round_trip_us(),
            holds: peer.holds_count(),
            traits: peer.traits.clone(),
            silent: self.fx.now.since(peer.heard),
            outstanding: self.transfer.outstanding(peer.node),
        })
    }

    /// The other zones.
    pub fn zones(&self) -> impl Iterator<Item = ZoneStatus> {
        let components: Vec<ComponentId> =
            self.catalog.components().map(|(app, component)| component.id(&app.name)).collect();
        self.membership.zones().map(move |(id, zone)| ZoneStatus {
            zone: id,
            name: zone.name.clone(),
            silent: self.fx.now.since(zone.heard),
            hop_us: zone.hop_us(),
            rate: zone.rate(),
            doors: zone.doors.len(),
            components: zone.components(),
            holds: components.iter().filter(|c| zone.line(c.key()).is_some()).copied().collect(),
        })
    }

    /// The name of this node's zone.
    pub fn zone(&self) -> &str {
        self.fx.config.traits.zone_name()
    }

    /// Whether this node speaks for its zone.
    pub fn speaks(&self) -> bool {
        self.is_speaker()
    }

    /// A sum over the app table: equal tables have equal sums.
    pub fn table_sum(&self) -> u64 {
        self.catalog.sum()
    }

    /// The processes held here, in the order in which they came.
    pub fn processes(&self) -> impl Iterator<Item = ProcessStatus> {
        self.processes.iter().map(|(_, held)| self.process_status(held))
    }

    fn process_status(&self, held: &Held) -> ProcessStatus {
        let process = &held.process;
        let unnamed = || Arc::from("");
        ProcessStatus {
            id: process.id,
            app: process.app.clone(),
            component: process.entry().map_or_else(unnamed, |entry| entry.component.clone()),
            function: process.entry().map_or_else(unnamed, |entry| entry.function.clone()),
            state: match held.stage {
                Stage::Queued => ProcessState::Queued,
                Stage::Running { .. } => ProcessState::Running,
                Stage::Leaving { .. } => ProcessState::Leaving,
                Stage::Placing | Stage::Waiting { .. } => ProcessState::Waiting,
                Stage::Finishing { .. } => ProcessState::Finishing,
            },
            age: self.fx.now.since(held.born),
            attempt: process.attempt,
            steps: process.steps,
            hops: process.hops,
            entries: process.entries.iter().len(),
            home: process.home.node,
            why: held.why,
        }
    }

    /// How many processes are held here, and how many clients wait at the gateway here.
    pub fn held(&self) -> (usize, usize) {
        (self.processes.len(), self.waiters.len())
    }

    /// How full this node is.
    pub fn fill(&self) -> Fill {
        let (running, sliced) = self.processes.running();
        Fill {
            held: self.processes.len(),
            queued: self.processes.queued(),
            running,
            sliced,
            waiting: self.waiters.len(),
            recent: self.transfer.remembered(),
            peers: self.membership.peers().len(),
            zones: self.membership.zone_count(),
            apps: self.catalog.entries().count(),
            memory_bytes: self.memory.bytes(),
            memory_requests: self.memory.waiting(),
            timers: self.fx.timers(),
        }
    }

    /// A process held here, as its step names it.
    pub fn process(&self, held: HeldId) -> Option<ProcessStatus> {
        self.processes.get(held).map(|held| self.process_status(held))
    }

    /// The processes held here with their attempts: which they are, and no more.
    pub fn copies(&self) -> impl Iterator<Item = (ProcessId, u32)> {
        self.processes.iter().map(|(_, held)| (held.process.id, held.process.attempt))
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
        let peers = self.membership.holders(&id);
        let there = peers.filter(|peer| self.membership.is_live(&self.fx, peer.node));
        let there = there.map(|peer| Holder {
            node: peer.node,
            reason: reason(peer.node, &peer.traits, peer.adopted(&id)),
        });
        let own = self.components.get(&id).filter(|_| self.components.is_ready(&id));
        let (node, traits) = (self.fx.config.node, &self.fx.config.traits);
        let here = own.map(|copy| Holder { node, reason: reason(node, traits, copy.adopted) });
        let mut holders: Vec<Holder> = there.chain(here).collect();
        holders.sort_by_key(|holder| holder.node);
        holders
    }

    /// Code that could not be had here when it was last tried, and why.
    pub fn troubles(&self) -> impl Iterator<Item = (Digest, &str)> {
        self.components.troubles()
    }

    /// What components may ask of this node.
    pub fn traits(&self) -> &Traits {
        &self.fx.config.traits
    }

    /// The newest line of each app.
    pub fn table(&self) -> impl Iterator<Item = &TableEntry> {
        self.catalog.entries()
    }

    /// The bytes of cluster memory kept here.
    pub fn memory_bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.fx.counters
    }

    /// Whether the node takes nothing new.
    pub fn draining(&self) -> bool {
        self.drain != Drain::No
    }

    /// What must hold between two inputs, whatever they are. Panics with what does not. Costs as much
    /// as is held: for scripts and the simulator, not for a node at work.
    ///
    /// 1. Each process is in one stage, and what that stage promises is there: its place in the run
    ///    queue, its slot, its share of the work, its timer.
    /// 2. A process waits for a delivery exactly when that is under way for it, and each delivery has
    ///    a timer.
    /// 3. A client waits exactly once and until a deadline, and so does each request to another node.
    /// 4. A component is here with its code, or its code is being asked for.
    /// 5. What is counted is what is there, and nothing is over its limit.
    pub fn check(&mut self) {
        self.processes.check(&self.fx);
        self.transfer.check(&self.fx);
        self.waiters.check(&self.fx);
        self.stealing.check(&self.fx);
        self.membership.check(&self.fx);
        self.catalog.check(&self.fx);
        self.components.check(&self.fx);
        self.memory.check(&self.fx);
        for (id, held) in self.processes.iter() {
            let delivery = held.stage.delivery().and_then(|id| self.transfer.delivered(id));
            let is_for = delivery.and_then(|delivery| delivery.held);
            let expected = held.stage.delivery().map(|_| id);
            assert_eq!(is_for, expected, "{id:?} waits for a delivery that is not under way");
        }
        for (id, delivery) in self.transfer.held() {
            let stage = self.processes.get(id).map(|held| &held.stage);
            let waits_for = stage.and_then(Stage::delivery);
            assert_eq!(waits_for, Some(delivery), "{id:?} does not wait for its delivery");
        }
        for peer in self.membership.peers() {
            assert_eq!(peer.awaited, self.transfer.oldest(peer.node), "{} owes more", peer.node);
        }
    }
}
