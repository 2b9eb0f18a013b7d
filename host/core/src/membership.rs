//! Who else there is: the nodes of this zone and those of others that this one has to do with
//! (`view`, `peer`), the other zones (`zones`), and how this node stands among them.

mod peer;
mod view;
mod zones;

use alloc::{sync::Arc, vec::Vec};

use izna_proto::{
    Beacon, Bulletin, ComponentCopy, ComponentId, Load, NodeId, Traits, ZoneId, ZonePath,
};

pub use self::peer::PeerState;
pub(crate) use self::{
    peer::Peer,
    view::{Calls, Check, epoch, inventory_sum},
    zones::{Zone, line},
};
use self::{view::View, zones::Zones};
use crate::{
    effects::{Effects, Timer},
    placement,
    sabotage::Sabotage,
    time::{Duration, Time},
    transfer::Delivered,
};

#[derive(Debug)]
pub(crate) struct Membership {
    view: View,
    zones: Zones,
    /// The speed of the fastest node that is known, and one way to a node of the zone.
    fastest: f64,
    hop_us: f64,
    /// Beacons and bulletins of this node so far.
    sequence: u64,
    bulletins: u64,
    /// When it last answered a zone that was not known.
    answered: Option<Time>,
    /// When other zones are told of this one next.
    speaks: Time,
}

impl Membership {
    pub(crate) fn new(fx: &mut Effects) -> Self {
        let speaks = fx.now + fx.config.summary_interval;
        fx.arm(speaks, Timer::Speak);
        Self {
            speaks,
            view: View::default(),
            zones: Zones::default(),
            fastest: 1.0,
            hop_us: fx.config.hop_cost.as_secs_f64() * 1e6,
            sequence: 0,
            bulletins: 0,
            answered: None,
        }
    }

    pub(crate) fn peers(&self) -> &[Peer] {
        self.view.peers()
    }

    pub(crate) fn peer(&self, node: NodeId) -> Option<&Peer> {
        self.view.peer(node)
    }

    pub(crate) fn is_linked(&self, node: NodeId) -> bool {
        self.peer(node).is_some_and(|peer| peer.linked)
    }

    /// Whether a node may be given processes.
    pub(crate) fn is_live(&self, fx: &Effects, node: NodeId) -> bool {
        let live = |peer: &Peer| peer.state(fx.now, &fx.config) == PeerState::Live;
        self.peer(node).is_some_and(live)
    }

    /// The nodes of this zone that are there as far as is known.
    pub(crate) fn present(&self, fx: &Effects) -> Vec<NodeId> {
        self.view.present(fx.now, &fx.config).collect()
    }

    /// The nodes that hold a component, however they stand.
    pub(crate) fn holders(&self, component: &ComponentId) -> impl Iterator<Item = &Peer> {
        self.view.holders(component)
    }

    /// The linked nodes that hold a component: where its artifact can be had.
    pub(crate) fn linked_holders(&self, component: &ComponentId) -> Vec<NodeId> {
        let linked = self.view.holders(component).filter(|peer| peer.linked);
        linked.map(|peer| peer.node).collect()
    }

    /// The nodes that hold a component and may be given a process.
    pub(crate) fn candidates<'a>(
        &'a self,
        fx: &'a Effects,
        component: &ComponentId,
    ) -> impl Iterator<Item = &'a Peer> {
        let live = |peer: &&Peer| peer.state(fx.now, &fx.config) == PeerState::Live;
        self.view.holders(component).filter(live)
    }

    /// How fast the fastest other node is, at speed one.
    pub(crate) fn fastest(&self) -> f64 {
        self.fastest
    }

    /// One way to a node of the zone, in microseconds.
    pub(crate) fn hop_us(&self) -> f64 {
        self.hop_us
    }

    /// How this node stands among the others, and how far they are. Gives the least wait elsewhere,
    /// in microseconds; infinite without others.
    pub(crate) fn compare(&mut self, fx: &Effects) -> f64 {
        let (mut fastest, mut least_us) = (0.0, f64::INFINITY);
        let (mut hops_us, mut measured) = (0.0, 0.0);
        for peer in self.peers().iter().filter(|peer| peer.is_near()) {
            let load = peer.belief.load();
            fastest = f64::max(fastest, placement::speed(load));
            least_us = least_us.min(f64::from(load.wait_us));
            if let Some(hop_us) = peer.path.hop_us() {
                (hops_us, measured) = (hops_us + hop_us, measured + 1.0);
            }
        }
        self.fastest = fastest;
        self.hop_us = match measured > 0.0 {
            true => hops_us / measured,
            false => fx.config.hop_cost.as_secs_f64() * 1e6,
        };
        least_us
    }

    /// The number of the beacon that goes out at `at_us` of this node's clock.
    pub(crate) fn next_beacon(&mut self, at_us: u64) -> u64 {
        self.sequence = Beacon::sequence_at(at_us).max(self.sequence + 1);
        self.sequence
    }

    /// A beacon of another node of this zone: what it calls for, or none if it is no news.
    pub(crate) fn heard(&mut self, fx: &mut Effects, beacon: &Beacon, table: u64) -> Option<Calls> {
        if fx.sabotaged(Sabotage::BelieveOldBeacon) {
            self.view.forget_incarnation(beacon);
        }
        let calls = self.view.heard(fx.now, beacon, table, &fx.config);
        match calls {
            Some(_) => fx.counters.beacons += 1,
            None => fx.counters.beacons_dropped += 1,
        }
        calls
    }

    /// The own link to a node is up; false if there is no room for the node.
    pub(crate) fn link_up(
        &mut self,
        fx: &Effects,
        node: NodeId,
        incarnation: u64,
        known: (Arc<str>, Traits, Option<ZoneId>),
    ) -> bool {
        self.view.link_up(fx.now, node, incarnation, known, fx.config.peers_max)
    }

    /// The own link to a node is down; whether it was up.
    pub(crate) fn link_down(&mut self, node: NodeId) -> bool {
        self.view.link_down(node)
    }

    /// A node of another zone has made a link to here; whether it started again since it was heard
    /// last, or none if there is no room for it.
    pub(crate) fn called(
        &mut self,
        fx: &Effects,
        node: (NodeId, ZoneId),
        incarnation: u64,
    ) -> Option<bool> {
        self.view.called(fx.now, node, incarnation, fx.config.peers_max)
    }

    /// A link to a node is wanted; whether it is to be made, and is not being made already.
    pub(crate) fn connecting(&mut self, fx: &Effects, node: NodeId) -> bool {
        let connects = self.view.connecting(fx.now, node, fx.config.peers_max);
        connects || (fx.sabotaged(Sabotage::ConnectTwice) && !self.is_linked(node))
    }

    /// A message came from a node.
    pub(crate) fn spoke(&mut self, fx: &Effects, node: NodeId) {
        self.view.spoke(fx.now, node);
    }

    /// A load that came with a message.
    pub(crate) fn told_load(&mut self, fx: &Effects, node: NodeId, load: Load) {
        self.view.told_load(fx.now, node, load);
    }

    /// A node answered a probe, which tells how far it is, and by that its zone.
    pub(crate) fn alive(&mut self, fx: &Effects, node: NodeId, load: Load) {
        if let Some(asked) = self.view.alive(fx.now, node, load) {
            self.measured_zone(fx, node, asked, 0);
        }
    }

    /// What a node said of itself: its table, what it holds, and the epoch of both.
    pub(crate) fn told_inventory(
        &mut self,
        fx: &Effects,
        node: NodeId,
        (epoch, table): (u16, u64),
        mut copies: Vec<ComponentCopy>,
    ) {
        if fx.sabotaged(Sabotage::ForgetHolder) {
            copies.pop();
        }
        self.view.told_inventory(node, copies);
        self.view.told_epoch(fx.now, node, epoch, table);
    }

    /// A node said that it does not hold a component after all.
    pub(crate) fn does_not_hold(&mut self, node: NodeId, component: &ComponentId) {
        self.view.does_not_hold(node, component);
    }

    /// A node refused a new process because it is full.
    pub(crate) fn told_full(&mut self, fx: &Effects, node: NodeId) {
        self.view.told_full(fx.now, node);
    }

    /// Whom to probe and who is dead; nodes that were gone for long are forgotten.
    pub(crate) fn look_after(&mut self, fx: &Effects) -> Vec<Check> {
        self.view.check(fx.now, &fx.config)
    }

    /// A delivery goes to a node: a process, or the end of one. A process for another zone is
    /// counted there.
    pub(crate) fn sent(
        &mut self,
        fx: &mut Effects,
        node: NodeId,
        is_process: bool,
        component: Option<ComponentId>,
    ) {
        self.view.sent(fx.now, node, is_process);
        if let Some(component) = component
            && let Some(zone) = self.zone_of(node)
        {
            fx.counters.crossings += 1;
            if let Some(zone) = self.zones.zone_mut(zone) {
                zone.belief_mut(component.key()).sent();
            }
        }
    }

    /// Since when the oldest delivery to a node waits for its answer.
    pub(crate) fn awaits(&mut self, node: NodeId, oldest: Option<Time>) {
        self.view.awaits(node, oldest);
    }

    /// A node has answered a delivery, which tells how far it is, and by that its zone.
    pub(crate) fn answered(&mut self, fx: &Effects, delivered: &Delivered) {
        self.view.ended(fx.now, delivered);
        self.view.measured(fx.now, delivered);
        self.measured_zone(fx, delivered.peer, delivered.sent, delivered.bytes);
    }

    /// A node has not answered a delivery in time.
    pub(crate) fn unanswered(&mut self, fx: &Effects, delivered: &Delivered) {
        self.view.ended(fx.now, delivered);
        self.view.suspects(delivered.peer);
    }

    /// Another zone has taken a process for a component, and so much waits there for it; or it has
    /// not.
    pub(crate) fn answered_abroad(
        &mut self,
        fx: &Effects,
        peer: NodeId,
        component: ComponentId,
        level_us: Option<u32>,
    ) {
        let zone = self.zone_of(peer);
        let Some(zone) = zone.and_then(|zone| self.zones.zone_mut(zone)) else { return };
        let belief = zone.belief_mut(component.key());
        match level_us {
            Some(level_us) => belief.answered(fx.now, f64::from(level_us)),
            None => belief.failed(),
        }
    }

    fn measured_zone(&mut self, fx: &Effects, peer: NodeId, sent: Time, bytes: usize) {
        let zone = self.zone_of(peer);
        if let Some(zone) = zone.and_then(|zone| self.zones.zone_mut(zone)) {
            zone.measured(fx.now, fx.now.since(sent), bytes);
        }
    }

    /// Note that `node` is told where `other` is; false if it was before.
    pub(crate) fn introduce(&mut self, node: NodeId, other: NodeId) -> bool {
        self.view.introduce(node, other)
    }

    /// The other zones.
    pub(crate) fn zones(&self) -> impl Iterator<Item = (ZoneId, &Zone)> + Clone {
        self.zones.iter()
    }

    pub(crate) fn zone(&self, zone: ZoneId) -> Option<&Zone> {
        self.zones.zone(zone)
    }

    pub(crate) fn zone_count(&self) -> usize {
        self.zones.len()
    }

    /// The other zone that a node is of.
    pub(crate) fn zone_of(&self, node: NodeId) -> Option<ZoneId> {
        self.view.peer(node)?.zone
    }

    /// How far the zones are that are in reach, for this zone's own nodes.
    pub(crate) fn paths(&self) -> Vec<ZonePath> {
        self.zones.paths()
    }

    /// How much longer an answer may take because nodes of other zones are far.
    pub(crate) fn farthest(&self) -> Duration {
        let far = self.peers().iter().filter(|peer| peer.zone.is_some() && peer.linked);
        far.map(Peer::round_trip).max().unwrap_or_default()
    }

    /// What a zone tells of itself; false if it is old, repeated, or of one zone too many.
    pub(crate) fn told_zone(&mut self, fx: &mut Effects, bulletin: &Bulletin) -> bool {
        if fx.sabotaged(Sabotage::BelieveOldBulletin) {
            self.zones.forget_stamps(bulletin.zone);
        }
        let is_news = self.zones.told(fx.now, bulletin, fx.config.zones_max);
        match is_news {
            true => fx.counters.bulletins_heard += 1,
            false => fx.counters.bulletins_dropped += 1,
        }
        is_news
    }

    /// How far this zone's leader says the others are.
    pub(crate) fn told_paths(&mut self, paths: &[ZonePath]) {
        self.zones.told_paths(paths);
    }

    /// Forget what zones told too long ago.
    pub(crate) fn expire_zones(&mut self, fx: &Effects) {
        let (interval, forget_after) = (fx.config.summary_interval, fx.config.forget_after);
        self.zones.expire(fx.now, interval, forget_after);
    }

    /// Other zones are told of this one then, and not when they were to be told before.
    pub(crate) fn speak_at(&mut self, fx: &mut Effects, at: Time) {
        fx.disarm(self.speaks, Timer::Speak);
        fx.arm(at, Timer::Speak);
        self.speaks = at;
    }

    /// Bulletins of this node so far, and one more.
    pub(crate) fn next_bulletin(&mut self) -> u64 {
        self.bulletins += 1;
        self.bulletins
    }

    pub(crate) fn bulletins(&self) -> u64 {
        self.bulletins
    }

    /// Whether a zone that was heard by chance is to be told of this one: it is not known, and none
    /// was answered just now.
    pub(crate) fn answers_zone(&mut self, fx: &Effects, zone: ZoneId) -> bool {
        let interval = fx.config.summary_interval;
        let is_known = self.zone(zone).is_some_and(|zone| {
            !zone.doors.is_empty() && fx.now.since(zone.heard) < interval * 7 / 2
        });
        let just_answered = self.answered.is_some_and(|at| fx.now.since(at) < interval);
        let answers = !is_known && !just_answered;
        if answers {
            self.answered = Some(fx.now);
        }
        answers
    }

    /// What must hold between two inputs. Panics with what does not.
    pub(crate) fn check(&mut self, fx: &Effects) {
        assert!(
            fx.is_armed(self.speaks, Timer::Speak),
            "the other zones are told nothing any more"
        );
        assert!(self.peers().len() <= fx.config.peers_max, "too many nodes in the view");
        assert!(self.zones.len() <= fx.config.zones_max, "too many zones are known");
        self.view.check_index();
    }
}
