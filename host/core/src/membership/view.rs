//! The view: what this node believes of the others. It hears beacons, loads that ride on messages,
//! links going up and down; from these it tells who may be given a process, and whom to probe.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use izna_proto::{Beacon, ComponentCopy, ComponentId, Grounds, Load, NodeId, Traits, ZoneId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::peer::Peer;
use crate::{
    config::Config,
    time::{Duration, Time},
    transfer::Delivered,
};

/// What a beacon calls for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) connect: bool,
    pub(crate) ask_inventory: bool,
    pub(crate) send_table: bool,
    /// Nothing that the incarnation before was sent will be answered.
    pub(crate) restarted: bool,
}

/// What the passing of time calls for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Probe(NodeId),
    Dead(NodeId),
}

/// How long a node's word is good though its epoch has not changed: once in 65,536 changes it stays
/// the same by chance.
const EPOCH_FOR: Duration = Duration::from_secs(60);
/// Nodes whose address another one was told: after so many it is told again.
const INTRODUCED_MAX: usize = 1024;
/// Between two askings of one node for the same thing.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// So often a check is asked for until it is made.
const CHECKS_PER_INDEX: u64 = 32;

#[derive(Debug, Default)]
pub(crate) struct View {
    peers: Vec<Peer>,
    index: BTreeMap<NodeId, usize>,
    holders: BTreeMap<ComponentId, Vec<usize>>,
    /// Whether the two above have changed since they were checked, and how often that was asked.
    changed: bool,
    checks: u64,
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
                self.changed = true;
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
        if beacon.incarnation > peer.incarnation {
            peer.incarnation = beacon.incarnation;
            peer.inventory.epoch = None;
            peer.suspect = false;
            peer.belief.restarted(now);
        }
        if restarted {
            (peer.linked, peer.connecting, peer.timed) = (false, false, None);
        }
        peer.sequence = beacon.sequence;
        peer.zone = None;
        peer.heard = now;
        if !peer.suspect {
            peer.probed = None;
        }
        peer.belief.told(now, beacon.load);
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
        let is_known = peer
            .inventory
            .epoch
            .is_some_and(|(epoch, told)| epoch == beacon.epoch && now.since(told) < EPOCH_FOR);
        let ask_inventory =
            linked && !is_known && due(&mut peer.inventory.asked, u64::from(beacon.epoch));
        let send_table = linked
            && is_known
            && own_table != peer.inventory.table
            && due(&mut peer.inventory.asked_table, peer.inventory.table ^ own_table);
        Some(Calls { connect, ask_inventory, send_table, restarted })
    }

    /// A defect: a beacon of an earlier life of a node is taken for news.
    pub(crate) fn forget_incarnation(&mut self, beacon: &Beacon) {
        if let Some(peer) = self.peer_mut(beacon.node) {
            peer.incarnation = peer.incarnation.min(beacon.incarnation);
        }
    }

    /// The own link to a node is up; false if the view is full.
    pub(crate) fn link_up(
        &mut self,
        now: Time,
        node: NodeId,
        incarnation: u64,
        (name, traits, zone): (Arc<str>, Traits, Option<ZoneId>),
        peers_max: usize,
    ) -> bool {
        let Some(peer) = self.add(now, node, peers_max) else { return false };
        peer.zone = zone;
        if incarnation > peer.incarnation {
            (peer.incarnation, peer.sequence) = (incarnation, 0);
            peer.belief.restarted(now);
        }
        (peer.name, peer.traits) = (name, traits);
        peer.linked = incarnation == peer.incarnation;
        peer.connecting = false;
        peer.heard = now;
        peer.probed = None;
        peer.inventory.epoch = None;
        (peer.inventory.asked, peer.inventory.asked_table) = (None, None);
        // The greeting of the new link is followed by a probe.
        (peer.answers, peer.timed) = (false, Some(now));
        peer.introduced.clear();
        true
    }

    /// The own link to a node is down; whether it was up.
    pub(crate) fn link_down(&mut self, node: NodeId) -> bool {
        let Some(peer) = self.peer_mut(node) else { return false };
        let was_linked = peer.linked;
        (peer.linked, peer.connecting, peer.timed) = (false, false, None);
        peer.belief.forgiven();
        was_linked
    }

    /// A node of another zone has made a link to here; whether it started again since it was heard
    /// last, or none if there is no room for it.
    pub(crate) fn called(
        &mut self,
        now: Time,
        (node, zone): (NodeId, ZoneId),
        incarnation: u64,
        peers_max: usize,
    ) -> Option<bool> {
        let peer = self.add(now, node, peers_max)?;
        peer.zone = Some(zone);
        let restarted = peer.incarnation != 0 && incarnation > peer.incarnation;
        if restarted {
            (peer.linked, peer.connecting) = (false, false);
            peer.belief.restarted(now);
        }
        peer.incarnation = peer.incarnation.max(incarnation);
        Some(restarted)
    }

    /// Note that `node` is told where `other` is; false if it was before.
    pub(crate) fn introduce(&mut self, node: NodeId, other: NodeId) -> bool {
        let Some(peer) = self.peer_mut(node) else { return false };
        if peer.introduced.len() >= INTRODUCED_MAX {
            peer.introduced.clear();
        }
        peer.introduced.insert(other)
    }

    /// A message came: the node lives, and its link to here works.
    pub(crate) fn spoke(&mut self, now: Time, node: NodeId) {
        if let Some(peer) = self.peer_mut(node) {
            peer.heard = now;
            peer.suspect = false;
            peer.probed = None;
            peer.answers = true;
        }
    }

    /// A load that came with a message.
    pub(crate) fn told_load(&mut self, now: Time, node: NodeId, load: Load) {
        if let Some(peer) = self.peer_mut(node) {
            peer.belief.told(now, load);
        }
    }

    /// A node answered a probe; gives since when that was awaited, if it was to tell how far it is.
    pub(crate) fn alive(&mut self, now: Time, node: NodeId, load: Load) -> Option<Time> {
        let peer = self.peer_mut(node)?;
        peer.belief.told(now, load);
        let asked = peer.timed.take()?;
        let took = now.since(asked);
        // How soon a node answers that nothing goes to, says little of how soon it would otherwise.
        if peer.is_slow() {
            peer.belief.reacts(now, took);
        }
        peer.path.answered(now, took, 0);
        Some(asked)
    }

    pub(crate) fn connecting(&mut self, now: Time, node: NodeId, peers_max: usize) -> bool {
        let Some(peer) = self.add(now, node, peers_max) else { return false };
        let connect = !peer.linked && !peer.connecting;
        peer.connecting |= connect;
        connect
    }

    /// A process, or the end of one, goes to a node.
    pub(crate) fn sent(&mut self, now: Time, node: NodeId, is_process: bool) {
        if let Some(peer) = self.peer_mut(node).filter(|_| is_process) {
            peer.belief.sent(now);
        }
    }

    /// Since when the oldest delivery to a node waits for its answer.
    pub(crate) fn awaits(&mut self, node: NodeId, oldest: Option<Time>) {
        if let Some(peer) = self.peer_mut(node) {
            peer.awaited = oldest;
        }
    }

    /// A delivery was answered, or is not waited for any more.
    pub(crate) fn ended(&mut self, now: Time, delivered: &Delivered) {
        if let Some(peer) = self.peer_mut(delivered.peer).filter(|_| delivered.is_process) {
            peer.belief.answered(now);
            peer.belief.reacts(now, now.since(delivered.sent));
        }
    }

    /// An answer came: it tells how far the node is.
    pub(crate) fn measured(&mut self, now: Time, delivered: &Delivered) {
        if let Some(peer) = self.peer_mut(delivered.peer) {
            peer.path.answered(now, now.since(delivered.sent), delivered.bytes);
        }
    }

    /// A node did not answer a delivery in time.
    pub(crate) fn suspects(&mut self, node: NodeId) {
        if let Some(peer) = self.peer_mut(node) {
            peer.suspect = true;
        }
    }

    /// What a node said of itself, and up to which epoch it holds.
    pub(crate) fn told_epoch(&mut self, now: Time, node: NodeId, epoch: u16, table: u64) {
        if let Some(peer) = self.peer_mut(node) {
            (peer.inventory.epoch, peer.inventory.table) = (Some((epoch, now)), table);
        }
    }

    /// Replace what a node holds.
    pub(crate) fn told_inventory(&mut self, node: NodeId, copies: Vec<ComponentCopy>) {
        let Some(&index) = self.index.get(&node) else { return };
        let Some(peer) = self.peers.get_mut(index) else { return };
        // What nodes of other zones hold, their bulletins tell.
        if peer.zone.is_some() {
            return;
        }
        let new: BTreeMap<ComponentId, Option<Grounds>> =
            copies.into_iter().map(|copy| (copy.component, copy.adopted)).collect();
        for gone in peer.inventory.holds.keys().filter(|held| !new.contains_key(held)) {
            if let Some(holders) = self.holders.get_mut(gone) {
                holders.retain(|holder| *holder != index);
                if holders.is_empty() {
                    self.holders.remove(gone);
                }
            }
        }
        for added in new.keys().filter(|held| !peer.inventory.holds.contains_key(held)) {
            self.holders.entry(*added).or_default().push(index);
        }
        self.changed |= peer.inventory.holds != new;
        peer.inventory.holds = new;
        peer.inventory.asked = None;
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
        let copies = peer.inventory.holds.iter().filter(|(held, _)| *held != component);
        let copies =
            copies.map(|(id, adopted)| ComponentCopy { component: *id, adopted: *adopted });
        let copies = copies.collect();
        self.told_inventory(node, copies);
        if let Some(peer) = self.peer_mut(node) {
            // Its next beacon has another epoch than this, so it is asked again.
            peer.inventory.epoch = None;
        }
    }

    /// The nodes that hold a component, however they stand.
    pub(crate) fn holders(&self, component: &ComponentId) -> impl Iterator<Item = &Peer> {
        let holders = self.holders.get(component).map(Vec::as_slice).unwrap_or_default();
        holders.iter().filter_map(|index| self.peers.get(*index))
    }

    /// The nodes that are there as far as is known: cluster memory is spread over these.
    pub(crate) fn present(&self, now: Time, config: &Config) -> impl Iterator<Item = NodeId> {
        let present =
            move |peer: &&Peer| peer.is_near() && now.since(peer.heard) < config.silent_after;
        self.peers.iter().filter(present).map(|peer| peer.node)
    }

    /// Whom to probe and who is dead; nodes that were gone for long are forgotten.
    pub(crate) fn check(&mut self, now: Time, config: &Config) -> Vec<Check> {
        let mut checks = Vec::new();
        for peer in &mut self.peers {
            let silent = now.since(peer.heard);
            if !peer.linked {
                continue;
            }
            if silent < config.probe_after && !peer.suspect {
                if peer.is_to_be_timed(now) {
                    peer.timed = Some(now);
                    checks.push(Check::Probe(peer.node));
                }
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
        // Of a link that is being made, the end is yet to be told.
        let away = |peer: &Peer| !peer.linked && !peer.connecting;
        let stale = |peer: &Peer| away(peer) && now.since(peer.heard) > config.forget_after;
        if self.peers.iter().any(stale) {
            self.peers.retain(|peer| !stale(peer));
            self.reindex();
        }
        checks
    }

    /// That each node is found by its id, and as a holder of what it holds; not each time, since it
    /// looks at all that all hold. Panics with what is not.
    pub(crate) fn check_index(&mut self) {
        self.checks += 1;
        if !self.changed || !self.checks.is_multiple_of(CHECKS_PER_INDEX) {
            return;
        }
        self.changed = false;
        assert_eq!(self.index.len(), self.peers.len(), "a node is in the view twice");
        let held: usize = self.peers.iter().map(|peer| peer.inventory.holds.len()).sum();
        let mut listed = 0;
        for (component, holders) in &self.holders {
            listed += holders.len();
            for at in holders {
                let holds = self.peers.get(*at).is_some_and(|peer| peer.holds(component));
                assert!(holds, "a holder is listed that does not hold");
            }
        }
        assert_eq!(listed, held, "what a node holds is not listed");
    }

    fn reindex(&mut self) {
        self.changed = true;
        self.index.clear();
        self.holders.clear();
        for (index, peer) in self.peers.iter().enumerate() {
            self.index.insert(peer.node, index);
            for component in peer.inventory.holds.keys() {
                self.holders.entry(*component).or_default().push(index);
            }
        }
    }
}

/// What beacons tell of a node's components and app table: equal sums have equal epochs.
pub(crate) fn epoch(inventory: u64, table: u64) -> u16 {
    let [high, low, ..] = xxh3_64_with_seed(&inventory.to_be_bytes(), table).to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// A sum over components and whether each was adopted, for beacons: equal sets have equal sums.
pub(crate) fn inventory_sum<'a>(copies: impl Iterator<Item = (&'a ComponentId, bool)>) -> u64 {
    copies.fold(1, |sum, (component, adopted)| sum ^ component.0.rotate_left(u32::from(adopted)))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::{super::PeerState, *};

    const COPY: ComponentCopy = ComponentCopy { component: ComponentId(3), adopted: None };

    fn config() -> Config {
        Config::new(NodeId(1), 1, 2)
    }

    fn at(millis: i64) -> Time {
        Time::from_micros(millis * 1000)
    }

    fn beacon(incarnation: u64, sequence: u64) -> Beacon {
        let load = Load { accepting: true, capacity_milli: 2000, ..Load::default() };
        let (zone, node) = (ZoneId::default(), NodeId(7));
        Beacon { zone, node, incarnation, sequence, peer_port: 1, load, epoch: 0 }
    }

    fn linked() -> View {
        let mut view = View::default();
        view.heard(at(0), &beacon(1, 1), 0, &config()).unwrap();
        let known = (Arc::from("seven"), Traits::default(), None);
        assert!(view.link_up(at(0), NodeId(7), 1, known, 10));
        view.told_inventory(NodeId(7), vec![COPY]);
        view
    }

    fn live(view: &View, now: Time) -> usize {
        let live = |peer: &&Peer| peer.state(now, &config()) == PeerState::Live;
        view.holders(&COPY.component).filter(live).count()
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
        assert_eq!(live(&view, at(800)), 1);
        assert_eq!(live(&view, at(900)), 0);
        view.heard(at(1000), &beacon(1, 2), 0, &config());
        assert_eq!(live(&view, at(1000)), 1);
    }

    /// If this fails, a node that does not answer deliveries goes on to get them.
    #[test]
    fn an_unanswered_delivery_makes_suspect() {
        let mut view = linked();
        view.awaits(NodeId(7), Some(at(0)));
        assert_eq!(live(&view, at(10)), 1);
        assert_eq!(live(&view, at(30)), 0);
        view.awaits(NodeId(7), None);
        assert_eq!(live(&view, at(30)), 1);
    }

    /// If this fails, a node is called dead for lost beacons alone, or never.
    #[test]
    fn dead_only_after_a_probe() {
        let (mut view, config) = (linked(), config());
        // The way there is known: nothing else is to be asked.
        for _ in 0..4 {
            view.alive(at(0), NodeId(7), Load::default());
            view.check(at(0), &config);
        }
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
        let known = (Arc::from("eight"), Traits::default(), None);
        view.link_up(at(3_700_000), NodeId(8), 1, known, 10);
        view.told_inventory(NodeId(8), vec![COPY]);
        view.link_down(NodeId(7));
        view.check(at(3_700_000), &config);
        let holders: Vec<NodeId> = view.holders(&COPY.component).map(|peer| peer.node).collect();
        assert_eq!(holders, vec![NodeId(8)]);
        (0..CHECKS_PER_INDEX).for_each(|_| view.check_index());
        assert!(!view.changed, "it was checked");
    }
}
