//! The view: what this node believes of the others. It hears beacons, loads that ride on messages,
//! links going up and down; from these it tells who may be given a process, and whom to probe.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use izna_proto::{Beacon, ComponentCopy, ComponentId, Grounds, Load, NodeId, Traits};

use crate::{Config, Duration, Time, placement::Belief};

/// How long a node that was full is not asked about new processes: what it has in hand then takes
/// about as long.
const FULL_FOR: Duration = Duration::from_millis(50);

/// One other node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) name: Arc<str>,
    /// What components may ask of it.
    pub(crate) traits: Traits,
    pub(crate) incarnation: u64,
    sequence: u64,
    /// Its load as last told, and what was sent to it since.
    pub(crate) belief: Belief,
    /// When a beacon or any message last came from it.
    pub(crate) heard: Time,
    /// The own link is up, to the incarnation that is believed in.
    pub(crate) linked: bool,
    connecting: bool,
    /// What it holds, and the sum that its beacons had when that was learned.
    holds: BTreeMap<ComponentId, Option<Grounds>>,
    inventory: u64,
    asked_inventory: Option<(u64, Time)>,
    asked_table: Option<(u64, Time)>,
    /// The sum of its app table, as its last beacon told.
    pub(crate) table: u64,
    /// Deliveries to it that it has not answered, oldest first.
    pub(crate) outstanding: BTreeMap<u64, (Time, Parcel)>,
    /// It left a delivery unanswered. Beacons do not clear it of that, a message does.
    suspect: bool,
    /// When it last refused a process because it was full.
    full: Option<Time>,
    probed: Option<Time>,
    /// When it was last asked how soon it answers, if it has not.
    timed: Option<Time>,
}

/// What a delivery carries: a process adds to its target's load, the end of one does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parcel {
    Process,
    End,
}

/// What a beacon calls for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) connect: bool,
    pub(crate) ask_inventory: bool,
    pub(crate) send_table: bool,
    pub(crate) restarted: bool,
    /// Deliveries that the incarnation before did not answer.
    pub(crate) unclear: Vec<u64>,
}

/// What the passing of time calls for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Probe(NodeId),
    Dead(NodeId),
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

/// A node whose reaction takes longer is asked for it again when nothing else goes there.
const LATE_US: f64 = 10_000.0;
const TIMED_EVERY: Duration = Duration::from_millis(200);

/// Between two askings of one node for the same thing.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(crate) struct View {
    peers: Vec<Peer>,
    index: BTreeMap<NodeId, usize>,
    holders: BTreeMap<ComponentId, Vec<usize>>,
}

impl View {
    pub(crate) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    pub(crate) fn peer(&self, node: NodeId) -> Option<&Peer> {
        self.peers.get(*self.index.get(&node)?)
    }

    fn peer_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.peers.get_mut(*self.index.get(&node)?)
    }

    fn add(&mut self, now: Time, node: NodeId, peers_max: usize) -> Option<&mut Peer> {
        let index = match self.index.get(&node) {
            Some(index) => *index,
            None if self.peers.len() >= peers_max => return None,
            None => {
                self.index.insert(node, self.peers.len());
                self.peers.push(Peer::new(node, now));
                self.peers.len() - 1
            }
        };
        self.peers.get_mut(index)
    }

    /// Take in a beacon; none if it is old, repeated, or of one node too many.
    pub(crate) fn heard(
        &mut self,
        now: Time,
        beacon: &Beacon,
        own_table: u64,
        config: &Config,
    ) -> Option<Calls> {
        let peer = self.add(now, beacon.node, config.peers_max)?;
        if (beacon.incarnation, beacon.sequence) <= (peer.incarnation, peer.sequence) {
            return None;
        }
        let restarted = peer.incarnation != 0 && beacon.incarnation > peer.incarnation;
        let mut unclear = Vec::new();
        if beacon.incarnation > peer.incarnation {
            peer.incarnation = beacon.incarnation;
            peer.inventory = 0;
            peer.suspect = false;
            peer.belief.restarted(now);
        }
        if restarted {
            (peer.linked, peer.connecting, peer.timed) = (false, false, None);
            unclear = core::mem::take(&mut peer.outstanding).into_keys().collect();
        }
        peer.sequence = beacon.sequence;
        peer.heard = now;
        if !peer.suspect {
            peer.probed = None;
        }
        peer.belief.told(now, beacon.load);
        peer.table = beacon.table;
        let connect = !peer.linked && !peer.connecting;
        peer.connecting |= connect;
        let due = |asked: &mut Option<(u64, Time)>, sum: u64| {
            let again = asked.is_none_or(|(old, at)| old != sum || now.since(at) > ASK_INTERVAL);
            if again {
                *asked = Some((sum, now));
            }
            again
        };
        let linked = peer.linked;
        let ask_inventory = linked
            && peer.inventory != beacon.inventory
            && due(&mut peer.asked_inventory, beacon.inventory);
        let send_table = linked
            && own_table != beacon.table
            && due(&mut peer.asked_table, beacon.table ^ own_table);
        Some(Calls { connect, ask_inventory, send_table, restarted, unclear })
    }

    /// The own link to a node is up; false if the view is full.
    pub(crate) fn link_up(
        &mut self,
        now: Time,
        node: NodeId,
        incarnation: u64,
        (name, traits): (Arc<str>, Traits),
        peers_max: usize,
    ) -> bool {
        let Some(peer) = self.add(now, node, peers_max) else { return false };
        if incarnation > peer.incarnation {
            (peer.incarnation, peer.sequence) = (incarnation, 0);
            peer.belief.restarted(now);
        }
        (peer.name, peer.traits) = (name, traits);
        peer.linked = incarnation == peer.incarnation;
        peer.connecting = false;
        peer.heard = now;
        peer.probed = None;
        peer.inventory = 0;
        (peer.asked_inventory, peer.asked_table) = (None, None);
        true
    }

    /// The own link to a node is down; gives the deliveries that it had not answered.
    pub(crate) fn link_down(&mut self, node: NodeId) -> Vec<u64> {
        let Some(peer) = self.peer_mut(node) else { return Vec::new() };
        (peer.linked, peer.connecting, peer.timed) = (false, false, None);
        peer.belief.forgiven();
        core::mem::take(&mut peer.outstanding).into_keys().collect()
    }

    /// A message came: the node lives, and its link to here works.
    pub(crate) fn spoke(&mut self, now: Time, node: NodeId) {
        if let Some(peer) = self.peer_mut(node) {
            peer.heard = now;
            peer.suspect = false;
            peer.probed = None;
        }
    }

    /// A load that came with a message.
    pub(crate) fn told_load(&mut self, now: Time, node: NodeId, load: Load) {
        if let Some(peer) = self.peer_mut(node) {
            peer.belief.told(now, load);
        }
    }

    /// A node answered a probe.
    pub(crate) fn alive(&mut self, now: Time, node: NodeId, load: Load) {
        self.told_load(now, node, load);
        if let Some(peer) = self.peer_mut(node)
            && let Some(asked) = peer.timed.take()
        {
            peer.belief.reacts(now, now.since(asked));
        }
    }

    /// How long a node takes from a message to its answer.
    pub(crate) fn reaction_us(&self, node: NodeId) -> f64 {
        self.peer(node).map_or(0.0, |peer| peer.belief.reaction_us())
    }

    pub(crate) fn connecting(&mut self, now: Time, node: NodeId, peers_max: usize) -> bool {
        let Some(peer) = self.add(now, node, peers_max) else { return false };
        let connect = !peer.linked && !peer.connecting;
        peer.connecting |= connect;
        connect
    }

    pub(crate) fn delivering(&mut self, now: Time, node: NodeId, delivery: u64, parcel: Parcel) {
        if let Some(peer) = self.peer_mut(node) {
            peer.outstanding.insert(delivery, (now, parcel));
            if parcel == Parcel::Process {
                peer.belief.sent(now);
            }
        }
    }

    pub(crate) fn answered(&mut self, now: Time, node: NodeId, delivery: u64) {
        if let Some(peer) = self.peer_mut(node)
            && let Some((sent, Parcel::Process)) = peer.outstanding.remove(&delivery)
        {
            peer.belief.answered(now);
            peer.belief.reacts(now, now.since(sent));
        }
    }

    /// A node did not answer a delivery in time.
    pub(crate) fn unanswered(&mut self, now: Time, node: NodeId, delivery: u64) {
        self.answered(now, node, delivery);
        if let Some(peer) = self.peer_mut(node) {
            peer.suspect = true;
        }
    }

    /// Replace what a node holds.
    pub(crate) fn told_inventory(&mut self, node: NodeId, copies: Vec<ComponentCopy>) {
        let Some(&index) = self.index.get(&node) else { return };
        let Some(peer) = self.peers.get_mut(index) else { return };
        let new: BTreeMap<ComponentId, Option<Grounds>> =
            copies.into_iter().map(|copy| (copy.component, copy.adopted)).collect();
        for gone in peer.holds.keys().filter(|held| !new.contains_key(held)) {
            if let Some(holders) = self.holders.get_mut(gone) {
                holders.retain(|holder| *holder != index);
                if holders.is_empty() {
                    self.holders.remove(gone);
                }
            }
        }
        for added in new.keys().filter(|held| !peer.holds.contains_key(held)) {
            self.holders.entry(*added).or_default().push(index);
        }
        peer.inventory = inventory_sum(new.iter().map(|(id, adopted)| (id, adopted.is_some())));
        peer.holds = new;
        peer.asked_inventory = None;
    }

    /// A node refused a new process because it is full.
    pub(crate) fn told_full(&mut self, now: Time, node: NodeId) {
        if let Some(peer) = self.peer_mut(node) {
            peer.full = Some(now);
        }
    }

    /// A node said that it does not hold a component after all.
    pub(crate) fn does_not_hold(&mut self, node: NodeId, component: &ComponentId) {
        let Some(peer) = self.peer_mut(node) else { return };
        let copies = peer.holds.iter().filter(|(held, _)| *held != component);
        let copies =
            copies.map(|(id, adopted)| ComponentCopy { component: *id, adopted: *adopted });
        let copies = copies.collect();
        self.told_inventory(node, copies);
    }

    /// The nodes that hold a component, however they stand.
    pub(crate) fn holders_of(&self, component: &ComponentId) -> impl Iterator<Item = &Peer> {
        let holders = self.holders.get(component).map(Vec::as_slice).unwrap_or_default();
        holders.iter().filter_map(|index| self.peers.get(*index))
    }

    /// The nodes that hold a component and may be given a process.
    pub(crate) fn candidates<'a>(
        &'a self,
        now: Time,
        component: &ComponentId,
        config: &'a Config,
    ) -> impl Iterator<Item = &'a Peer> {
        self.holders_of(component).filter(move |peer| peer.state(now, config) == PeerState::Live)
    }

    /// The linked nodes that hold a component, whatever their load: where its artifact can be had.
    pub(crate) fn holders(&self, component: &ComponentId) -> Vec<NodeId> {
        self.holders_of(component).filter(|peer| peer.linked).map(|peer| peer.node).collect()
    }

    /// The nodes that are there as far as is known: cluster memory is spread over these.
    pub(crate) fn present(&self, now: Time, config: &Config) -> impl Iterator<Item = NodeId> {
        let present =
            move |peer: &&Peer| peer.linked && now.since(peer.heard) < config.silent_after;
        self.peers.iter().filter(present).map(|peer| peer.node)
    }

    /// Whom to probe and who is dead; nodes that were gone for long are forgotten.
    pub(crate) fn check(&mut self, now: Time, config: &Config) -> Vec<Check> {
        let mut checks = Vec::new();
        for peer in &mut self.peers {
            let silent = now.since(peer.heard);
            if peer.is_to_be_timed(now) {
                peer.timed = Some(now);
                checks.push(Check::Probe(peer.node));
            }
            if !peer.linked || (silent < config.probe_after && !peer.suspect) {
                continue;
            }
            match peer.probed {
                None => {
                    peer.probed = Some(now);
                    checks.push(Check::Probe(peer.node));
                }
                Some(at) if now.since(at) >= config.dead_after => {
                    checks.push(Check::Dead(peer.node))
                }
                Some(_) => {}
            }
        }
        let stale = |peer: &Peer| !peer.linked && now.since(peer.heard) > config.forget_after;
        if self.peers.iter().any(stale) {
            self.peers.retain(|peer| !stale(peer));
            self.reindex();
        }
        checks
    }

    fn reindex(&mut self) {
        self.index.clear();
        self.holders.clear();
        for (index, peer) in self.peers.iter().enumerate() {
            self.index.insert(peer.node, index);
            for component in peer.holds.keys() {
                self.holders.entry(*component).or_default().push(index);
            }
        }
    }
}

impl Peer {
    fn new(node: NodeId, now: Time) -> Self {
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
            holds: BTreeMap::new(),
            inventory: 0,
            asked_inventory: None,
            asked_table: None,
            table: 0,
            outstanding: BTreeMap::new(),
            suspect: false,
            full: None,
            probed: None,
            timed: None,
        }
    }

    /// It answered late, and nothing has gone there since: only a question tells when it is better.
    fn is_to_be_timed(&self, now: Time) -> bool {
        self.linked
            && !self.suspect
            && self.timed.is_none()
            && self.belief.reaction_us() > LATE_US
            && now.since(self.belief.reacted()) > TIMED_EVERY
    }

    /// It was full a moment ago: asking it about every new process would cost both sides what they
    /// do not have then.
    pub(crate) fn refuses_new(&self, now: Time) -> bool {
        self.full.is_some_and(|full| now.since(full) < FULL_FOR)
    }

    /// How it stands now.
    pub(crate) fn state(&self, now: Time, config: &Config) -> PeerState {
        if !self.linked {
            return PeerState::Unlinked;
        }
        let late = self.outstanding.values().next();
        let late = late.is_some_and(|(sent, _)| now.since(*sent) > config.suspect_after);
        if late || self.suspect || now.since(self.heard) > config.silent_after {
            return PeerState::Avoided;
        }
        if self.belief.load().accepting { PeerState::Live } else { PeerState::Closed }
    }

    pub(crate) fn holds_count(&self) -> usize {
        self.holds.len()
    }

    pub(crate) fn holds(&self, component: &ComponentId) -> bool {
        self.holds.contains_key(component)
    }

    /// Why it holds a component that it took in by itself.
    pub(crate) fn adopted(&self, component: &ComponentId) -> Option<Grounds> {
        *self.holds.get(component)?
    }
}

/// A sum over components and whether each was adopted, for beacons: equal sets have equal sums.
pub(crate) fn inventory_sum<'a>(copies: impl Iterator<Item = (&'a ComponentId, bool)>) -> u64 {
    copies.fold(1, |sum, (component, adopted)| sum ^ component.0.rotate_left(u32::from(adopted)))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const COPY: ComponentCopy = ComponentCopy { component: ComponentId(3), adopted: None };

    fn config() -> Config {
        Config::new(NodeId(1), 1, 2)
    }

    fn at(millis: i64) -> Time {
        Time::from_micros(millis * 1000)
    }

    fn beacon(incarnation: u64, sequence: u64) -> Beacon {
        let load = Load { accepting: true, capacity_milli: 2000, ..Load::default() };
        let node = NodeId(7);
        Beacon { node, incarnation, sequence, peer_port: 1, load, inventory: 0, table: 0 }
    }

    fn linked() -> View {
        let mut view = View::default();
        view.heard(at(0), &beacon(1, 1), 0, &config()).unwrap();
        assert!(view.link_up(at(0), NodeId(7), 1, (Arc::from("seven"), Traits::default()), 10));
        view.told_inventory(NodeId(7), vec![COPY]);
        view
    }

    fn live(view: &View, now: Time) -> usize {
        view.candidates(now, &COPY.component, &config()).count()
    }

    /// If this fails, a captured beacon can be sent again to bring a dead node back or to undo its
    /// news.
    #[test]
    fn repeated_and_old_beacons_are_dropped() {
        let (mut view, config) = (View::default(), config());
        assert!(view.heard(at(0), &beacon(2, 5), 0, &config).is_some());
        assert!(view.heard(at(0), &beacon(2, 5), 0, &config).is_none());
        assert!(view.heard(at(0), &beacon(2, 4), 0, &config).is_none());
        assert!(view.heard(at(0), &beacon(1, 9), 0, &config).is_none());
        let calls = view.heard(at(0), &beacon(3, 1), 0, &config).unwrap();
        assert!(calls.restarted);
    }

    /// If this fails, a silent node is given processes, or one that is heard again is not.
    #[test]
    fn silent_nodes_are_avoided_and_come_back() {
        let mut view = linked();
        assert_eq!(live(&view, at(300)), 1);
        assert_eq!(live(&view, at(400)), 0);
        view.heard(at(500), &beacon(1, 2), 0, &config());
        assert_eq!(live(&view, at(500)), 1);
    }

    /// If this fails, a node that does not answer deliveries goes on to get them.
    #[test]
    fn an_unanswered_delivery_makes_suspect() {
        let mut view = linked();
        view.delivering(at(0), NodeId(7), 1, Parcel::Process);
        assert_eq!(live(&view, at(10)), 1);
        assert_eq!(live(&view, at(30)), 0);
        view.answered(at(30), NodeId(7), 1);
        assert_eq!(live(&view, at(30)), 1);
    }

    /// If this fails, a node is called dead for lost beacons alone, or never.
    #[test]
    fn dead_only_after_a_probe() {
        let (mut view, config) = (linked(), config());
        assert_eq!(view.check(at(900), &config), vec![]);
        assert_eq!(view.check(at(1100), &config), vec![Check::Probe(NodeId(7))]);
        assert_eq!(view.check(at(1200), &config), vec![]);
        assert_eq!(view.check(at(2200), &config), vec![Check::Dead(NodeId(7))]);
        view.spoke(at(2300), NodeId(7));
        assert_eq!(view.check(at(2400), &config), vec![]);
    }

    /// If this fails, forged or plentiful names fill memory.
    #[test]
    fn peers_are_limited() {
        let (mut view, mut config) = (linked(), config());
        config.peers_max = 1;
        let other = Beacon { node: NodeId(8), ..beacon(1, 1) };
        assert!(view.heard(at(0), &other, 0, &config).is_none());
    }

    /// If this fails, the holders of a component are wrong after a node was forgotten.
    #[test]
    fn forgetting_keeps_the_holders_right() {
        let (mut view, config) = (linked(), config());
        let other = Beacon { node: NodeId(8), ..beacon(1, 1) };
        view.heard(at(0), &other, 0, &config);
        view.link_up(at(3_700_000), NodeId(8), 1, (Arc::from("eight"), Traits::default()), 10);
        view.told_inventory(NodeId(8), vec![COPY]);
        view.link_down(NodeId(7));
        view.check(at(3_700_000), &config);
        assert_eq!(view.holders(&COPY.component), vec![NodeId(8)]);
    }
}
