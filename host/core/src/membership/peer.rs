//! One other node as this one sees it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use izna_proto::{ComponentId, Grounds, Load, NodeId, Traits, ZoneId};

use crate::{
    config::Config,
    placement::{Belief, Costs, Path},
    time::{Duration, Time},
};

/// The longest way there and back that anything waits for, and that a node of the own zone is taken
/// to have.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(500);
const LATE_MAX: Duration = Duration::from_millis(5);

/// How long a node that was full is not asked about new processes: what it has in hand then takes
/// about as long.
const FULL_FOR: Duration = Duration::from_millis(50);

/// A node whose reaction takes longer is asked for it again when nothing else goes there.
const SLOW_US: f64 = 10_000.0;
const TIMED_EVERY: Duration = Duration::from_millis(200);
/// An answer that takes longer is not waited for.
const ANSWERED_IN: Duration = Duration::from_secs(2);

/// One other node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) name: Arc<str>,
    /// What components may ask of it.
    pub(crate) traits: Traits,
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
    /// Its load as last told, and what was sent to it since.
    pub(crate) belief: Belief,
    /// When a beacon or any message last came from it.
    pub(crate) heard: Time,
    /// The own link is up, to the incarnation that is believed in.
    pub(crate) linked: bool,
    pub(crate) connecting: bool,
    pub(crate) inventory: Inventory,
    /// Since when the oldest delivery to it waits for its answer.
    pub(crate) awaited: Option<Time>,
    /// It left a delivery unanswered. Beacons do not clear it of that, a message does.
    pub(crate) suspect: bool,
    /// When it last refused a process because it was full.
    pub(crate) full: Option<Time>,
    pub(crate) probed: Option<Time>,

    /// It is of another zone: no beacon of it is heard here, and the zone's bulletins stand for it.
    pub(crate) zone: Option<ZoneId>,
    /// It has said something since the link is up, so its own link to here is up too.
    pub(crate) answers: bool,
    /// The way to it, and when it was last asked how soon it answers, if it has not.
    pub(crate) path: Path,
    pub(crate) timed: Option<Time>,
    /// Nodes of other zones whose address it was told.
    pub(crate) introduced: BTreeSet<NodeId>,
}

/// What a node has told of what it holds.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    /// Each component that it holds, and why it took it in, if it did so by itself.
    pub(crate) holds: BTreeMap<ComponentId, Option<Grounds>>,
    /// A sum over its app table.
    pub(crate) table: u64,
    /// The epoch that its beacons had when both were learned, and when that was.
    pub(crate) epoch: Option<(u16, Time)>,
    /// For which epoch it was last asked for this, for which tables it was last sent a summary, and
    /// when.
    pub(crate) asked: Option<(u64, Time)>,
    pub(crate) asked_table: Option<(u64, Time)>,
}

/// How a node stands in the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// It may be given processes.
    Live,
    /// Linked, but silent, or late to answer a delivery: left out until it is heard again.
    Avoided,
    /// It takes nothing new: it drains, or is out of memory.
    Closed,
    /// Heard, but without a link.
    Unlinked,
}

impl Peer {
    pub(crate) fn new(node: NodeId, now: Time) -> Self {
        Self {
            node,
            name: Arc::from(""),
            traits: Traits::default(),
            incarnation: 0,
            sequence: 0,
            belief: Belief::new(Load::default(), now),
            heard: now,
            linked: false,
            connecting: false,
            inventory: Inventory::default(),
            awaited: None,
            suspect: false,
            full: None,
            probed: None,
            zone: None,
            answers: false,
            path: Path::default(),
            timed: None,
            introduced: BTreeSet::new(),
        }
    }

    /// Its way was not measured for a while, or it answered late and nothing has gone there since:
    /// only a question tells.
    pub(crate) fn is_to_be_timed(&self, now: Time) -> bool {
        let late = self.is_slow() && now.since(self.belief.reacted()) > TIMED_EVERY;
        // The answer is lost when the other side's link to here was not up yet.
        let waits = self.timed.is_some_and(|asked| now.since(asked) < ANSWERED_IN);
        !waits && (late || self.path.is_stale(now))
    }

    /// It took long to answer of late.
    pub(crate) fn is_slow(&self) -> bool {
        self.belief.reaction_us() > SLOW_US
    }

    /// It was full a moment ago: asking it about every new process would cost both sides what they
    /// do not have then.
    pub(crate) fn refuses_new(&self, now: Time) -> bool {
        self.full.is_some_and(|full| now.since(full) < FULL_FOR)
    }

    /// It is linked, and of this node's zone.
    pub(crate) fn is_near(&self) -> bool {
        self.linked && self.zone.is_none()
    }

    /// What a step costs with the way to this node, as far as that was measured.
    pub(crate) fn costs(&self, costs: Costs) -> Costs {
        Costs { hop_us: self.path.hop_us().unwrap_or(costs.hop_us), ..costs }
    }

    /// The way there and back; nothing while it was not measured. What was measured while the other
    /// was stopped is no way: there is none longer than half a second.
    pub(crate) fn round_trip(&self) -> Duration {
        let round_trip_us = self.path.round_trip_us().unwrap_or(0.0);
        Duration::from_secs_f64(round_trip_us * 1e-6).min(ROUND_TRIP_MAX)
    }

    /// How much later than from a node of the own zone an answer may come.
    pub(crate) fn patience(&self) -> Duration {
        if self.zone.is_some() { self.round_trip() * 2 } else { Duration::ZERO }
    }

    /// Whether it owes an answer for longer than the way there and back explains.
    pub(crate) fn is_late(&self, now: Time, config: &Config) -> bool {
        self.belief.is_late(now, config.late_after + self.round_trip().min(LATE_MAX) * 2)
    }

    /// How it stands now.
    pub(crate) fn state(&self, now: Time, config: &Config) -> PeerState {
        if !self.linked {
            return PeerState::Unlinked;
        }
        let patience = config.suspect_after + self.patience();
        let late = self.awaited.is_some_and(|sent| now.since(sent) > patience);
        // No beacons come from other zones; what a link is worth there, probes tell.
        let silent = match self.zone {
            None => now.since(self.heard) > config.silent_after,
            Some(_) => !self.answers,
        };
        if late || self.suspect || silent {
            return PeerState::Avoided;
        }
        if self.belief.load().accepting { PeerState::Live } else { PeerState::Closed }
    }

    pub(crate) fn holds_count(&self) -> usize {
        self.inventory.holds.len()
    }

    pub(crate) fn holds(&self, component: &ComponentId) -> bool {
        self.inventory.holds.contains_key(component)
    }

    /// Why it holds a component that it took in by itself.
    pub(crate) fn adopted(&self, component: &ComponentId) -> Option<Grounds> {
        *self.inventory.holds.get(component)?
    }
}
