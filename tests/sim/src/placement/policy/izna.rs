//! Izna: the functions that ship, `izna_core::placement`, in a loop without anything else. What a
//! node has of each other is one [`Belief`]; the rules, weights and margins are not repeated here.

use izna_core::{
    Duration, Time,
    placement::{
        Belief, Candidates, Costs, Estimate, Puller, QUEUE_MOVES_MAX, SAMPLE_MAX, Tokens, Waiting,
        appeal_us, bounces, gift_max, here, is_worth_giving, stays, there,
    },
};
use izna_proto::Load;

use super::{Policy, Signal, Verdict, nobody, zones::Zones};
use crate::placement::{
    cluster::{Cluster, moment},
    event::{Event, Id, Moment},
};

/// A node that owes an acknowledgement is late after this and two ways there and back.
const LATE_US: f64 = 2000.0;
/// Nodes with a component in common that a node may ask for work.
const PEERS_MAX: usize = 64;
/// Queued processes looked at for one asking.
const LOOKED_AT_MAX: usize = 64;

/// Which parts are on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    /// Loads on deliveries and acknowledgements.
    acks: bool,
    /// Passing on at arrival, and pulling.
    repair: bool,
}

impl Parts {
    pub(super) const ALL: Self = Self { acks: true, repair: true };
    pub(super) const WITHOUT_ACKS: Self = Self { acks: false, repair: true };
    pub(super) const WITHOUT_REPAIR: Self = Self { acks: true, repair: false };
}

/// What one node has of another in its zone.
#[derive(Debug, Clone, Copy)]
struct Pair {
    belief: Belief,
    /// Up to which of its beacons all is known.
    beacons: u32,
    /// When it last gave a sign of life, and when a delivery to it last failed.
    heard: Moment,
    failed: Moment,
}

#[derive(Debug)]
pub(super) struct Izna {
    parts: Parts,
    pairs: Vec<Pair>,
    /// Pairs of one node: as many as its zone has nodes.
    width: usize,
    /// The loads that travel with processes.
    headers: Vec<Load>,
    pub(super) candidates: Candidates<u32>,
    pullers: Vec<Puller>,
    tokens: Vec<Tokens<u32>>,
    peers: Vec<Vec<u32>>,
    /// Nodes with a timer that is yet to go off.
    timed: Vec<bool>,
    zones: Option<Zones>,
    adoption: super::zones::Adoptions,
}

/// Virtual time as the shipped code takes it.
pub(super) fn time(now: Moment) -> Time {
    Time::from_micros((now / 1000) as i64)
}

impl Izna {
    pub(super) fn new(cluster: &mut Cluster<'_>, parts: Parts) -> Self {
        let scenario = cluster.scenario;
        let (count, width) = (scenario.nodes, scenario.zone_nodes);
        let pair = Pair {
            belief: Belief::new(Load::default(), time(0)),
            beacons: u32::MAX,
            heard: 0,
            failed: 0,
        };
        Self {
            parts,
            pairs: vec![pair; count * width],
            width,
            headers: Vec::new(),
            candidates: Candidates::default(),
            pullers: vec![Puller::default(); count],
            tokens: vec![Tokens::default(); count],
            peers: (0..count).map(|at| peers(cluster, at)).collect(),
            timed: vec![false; count],
            zones: (scenario.zones() > 1).then(|| Zones::new(scenario)),
            adoption: super::zones::Adoptions::new(scenario),
        }
    }

    fn pair(&mut self, at: usize, node: usize) -> &mut Pair {
        &mut self.pairs[at * self.width + node % self.width]
    }

    /// What `at` has of `node`, with the beacons that have reached it by now; none if it is silent,
    /// or was not there when last sent to.
    pub(super) fn belief(
        &mut self,
        cluster: &Cluster<'_>,
        at: usize,
        node: usize,
    ) -> Option<&Belief> {
        let now = cluster.now;
        let sent = cluster.board.sent(node);
        let pair = &mut self.pairs[at * self.width + node % self.width];
        if pair.beacons != sent {
            let hop_s = cluster.hop_s(at, node);
            let (beacon, coming) = cluster.board.heard(at, node, now, hop_s);
            let beacon = beacon?;
            pair.belief.told(time(now), beacon.load);
            pair.heard = pair.heard.max(beacon.at);
            if !coming {
                pair.beacons = sent;
            }
        }
        let gone = pair.failed > pair.heard || cluster.board.is_silent(pair.heard, now);
        (!gone).then_some(&pair.belief)
    }

    /// The other holders in the zone that may be given a process.
    fn find_candidates(&mut self, cluster: &Cluster<'_>, at: usize, id: Id, costs: &Costs) {
        let component = cluster.component(id);
        let process = &cluster.processes[id as usize];
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        let late_after = Duration::from_micros((LATE_US + 4.0 * costs.hop_us) as u64);
        let now = time(cluster.now);
        let mut late = Vec::new();
        for node in cluster.holders_in(component, cluster.zone(at)) {
            if *node as usize == at || process.left().contains(node) {
                continue;
            }
            let Some(belief) = self.belief(cluster, at, *node as usize) else { continue };
            if belief.is_late(now, late_after) {
                late.push((*node, there(belief, costs)));
            } else {
                candidates.push(*node, there(belief, costs));
            }
        }
        if candidates.is_empty() {
            late.into_iter().for_each(|(node, estimate)| candidates.push(node, estimate));
        }
        self.candidates = candidates;
    }

    fn own(&self, cluster: &Cluster<'_>, at: usize, id: Id, costs: &Costs) -> Option<Estimate> {
        let holds = cluster.holds(at, cluster.component(id)) && cluster.figures[at].alive;
        holds.then(|| here(&self.load(cluster, at), costs))
    }

    fn draw(&mut self, cluster: &mut Cluster<'_>, costs: &Costs) -> Option<u32> {
        let unit = cluster.random.unit();
        self.candidates.draw(costs, unit)
    }

    /// An idle node asks another for work.
    fn ask(&mut self, cluster: &mut Cluster<'_>, at: usize) {
        let figures = &cluster.figures[at];
        let now = time(cluster.now);
        let may = figures.alive && figures.idle() > 0 && self.pullers[at].may_ask(now);
        if !may || !self.parts.repair || self.peers[at].is_empty() {
            return;
        }
        let count = self.peers[at].len();
        let (first, stride) = (cluster.random.below(count), (count / SAMPLE_MAX).max(1));
        let hop_us = cluster.scenario.hop_us;
        let (mut best, mut any) = (None, None);
        for step in 0..count.min(SAMPLE_MAX) {
            let node = self.peers[at][(first + step * stride) % count] as usize;
            let Some(belief) = self.belief(cluster, at, node) else { continue };
            any = any.or(Some(node));
            let appeal = appeal_us(belief, now, hop_us);
            if let Some(appeal) = appeal
                && best.is_none_or(|(most, _)| appeal > most)
            {
                best = Some((appeal, node));
            }
        }
        let Some(node) = best.map(|(_, node)| node).or(any) else { return };
        self.pullers[at].ask();
        let load = self.load(cluster, at);
        cluster.say(at, node, Signal::Pull(load));
    }

    /// Another node asks for work.
    fn give(&mut self, cluster: &mut Cluster<'_>, at: usize, to: usize, load: &Load) {
        let mut given = 0;
        let queued = cluster.nodes[at].queue.len();
        let max = gift_max(usize::from(load.idle), queued);
        let figures = cluster.figures[at];
        let capacity = f64::from(figures.cores) * figures.told_speed;
        let (mut ahead, mut place) = (Waiting::default(), 0);
        while place < cluster.nodes[at].queue.len().min(LOOKED_AT_MAX) && usize::from(given) < max {
            let id = cluster.nodes[at].queue[place];
            let costs = costs(cluster, id);
            let with =
                Waiting { queued: ahead.queued + 1, work_us: ahead.work_us + costs.demand_us };
            let process = &cluster.processes[id as usize];
            let free = process.queue_moves < QUEUE_MOVES_MAX
                && !process.left().contains(&(to as u32))
                && cluster.holds(to, cluster.component(id));
            if free && figures.alive && is_worth_giving(&with, capacity, &costs) {
                cluster.take_out(at, place);
                self.sends(cluster, at, to, id);
                cluster.send(at, to, id, true);
                given += 1;
            } else {
                ahead = with;
                place += 1;
            }
        }
        if given == 0 {
            self.tokens[at].keep(time(cluster.now), to as u32);
        }
        let load = self.load(cluster, at);
        cluster.say(at, to, Signal::Pulled(load, given));
    }

    fn pulled(&mut self, cluster: &mut Cluster<'_>, at: usize, given: u16) {
        let now = time(cluster.now);
        let Some(again) = self.pullers[at].answered(now, usize::from(given)) else { return };
        if again <= now {
            self.ask(cluster, at);
        } else if !self.timed[at] {
            self.timed[at] = true;
            let delay = Moment::try_from(again.since(now).as_nanos()).unwrap_or(0);
            cluster.events.push(cluster.now + delay, Event::Timer { at: at as u32 });
        }
    }

    fn told(&mut self, cluster: &Cluster<'_>, at: usize, node: usize, load: Load) {
        let now = cluster.now;
        let pair = self.pair(at, node);
        pair.belief.told(time(now), load);
        pair.heard = pair.heard.max(load.at_us * 1000);
    }
}

impl Policy for Izna {
    fn begin(&mut self, cluster: &mut Cluster<'_>) {
        if let Some(zones) = &mut self.zones {
            zones.begin(cluster);
        }
        self.adoption.begin(cluster);
    }

    fn load(&self, cluster: &Cluster<'_>, at: usize) -> Load {
        let figures = &cluster.figures[at];
        let capacity = f64::from(figures.cores) * figures.told_speed;
        let waiting = Waiting { queued: figures.queued as usize, work_us: figures.work_s * 1e6 };
        Load {
            at_us: cluster.now / 1000,
            wait_us: waiting.wait_us(figures.cores as usize, capacity) as u32,
            idle: figures.idle() as u16,
            capacity_milli: (capacity * 1000.0).round() as u32,
            speed_milli: (figures.told_speed * 1000.0).round() as u32,
            queued: figures.queued,
            inflow_milli: (cluster.nodes[at].inflow * 1000.0) as u32,
            accepting: true,
            ..Load::default()
        }
    }

    fn place(&mut self, cluster: &mut Cluster<'_>, at: usize, id: Id) -> Verdict {
        let costs = costs(cluster, id);
        self.find_candidates(cluster, at, id, &costs);
        if let Some(zones) = &self.zones {
            zones.add_candidates(cluster, at, id, &costs, &mut self.candidates);
        }
        let own = self.own(cluster, at, id, &costs);
        match (own, self.candidates.best_us()) {
            (Some(_), None) => return Verdict::Stay,
            (Some(own), Some(best)) if stays(&own, best, &costs) => return Verdict::Stay,
            _ => {}
        }
        let Some(drawn) = self.draw(cluster, &costs) else { return nobody(cluster) };
        match Zones::zone_of(drawn) {
            None => Verdict::Go(drawn as usize),
            Some(zone) => match Zones::enter(cluster, zone, id) {
                Some(node) => Verdict::Go(node),
                None => nobody(cluster),
            },
        }
    }

    fn sends(&mut self, cluster: &mut Cluster<'_>, at: usize, to: usize, id: Id) {
        if self.headers.len() <= id as usize {
            self.headers.resize(id as usize + 1, Load::default());
        }
        self.headers[id as usize] = self.load(cluster, at);
        if cluster.zone(at) == cluster.zone(to) {
            let now = time(cluster.now);
            self.pair(at, to).belief.sent(now);
        } else if let Some(zones) = &mut self.zones {
            zones.sent(at, cluster.zone(to));
        }
    }

    fn arrives(&mut self, cluster: &mut Cluster<'_>, at: usize, from: usize, id: Id) {
        if cluster.zone(at) == cluster.zone(from) && self.parts.acks {
            self.told(cluster, at, from, self.headers[id as usize]);
        }
    }

    fn relay(
        &mut self,
        cluster: &mut Cluster<'_>,
        at: usize,
        from: usize,
        id: Id,
    ) -> Option<usize> {
        let costs = costs(cluster, id);
        let own = self.own(cluster, at, id, &costs)?;
        self.find_candidates(cluster, at, id, &costs);
        let level_us = izna_core::placement::level_us(&own, &self.candidates, &costs);
        cluster.acknowledge(at, from, Signal::Level(level_us));
        if stays(&own, self.candidates.best_us()?, &costs) {
            return None;
        }
        self.draw(cluster, &costs).map(|node| node as usize)
    }

    fn divert(
        &mut self,
        cluster: &mut Cluster<'_>,
        at: usize,
        id: Id,
        here: bool,
    ) -> Option<usize> {
        let process = cluster.processes[id as usize];
        if !self.parts.repair || process.queue_moves >= QUEUE_MOVES_MAX {
            return None;
        }
        let component = cluster.component(id);
        let mut tokens = std::mem::take(&mut self.tokens[at]);
        let token = tokens.take(time(cluster.now), |node| {
            cluster.holds(node as usize, component)
                && !process.left().contains(&node)
                && self.belief(cluster, at, node as usize).is_some()
        });
        self.tokens[at] = tokens;
        if let Some(node) = token {
            return Some(node as usize);
        }
        if here {
            return None;
        }
        let costs = costs(cluster, id);
        let own = self.own(cluster, at, id, &costs)?;
        self.find_candidates(cluster, at, id, &costs);
        if !bounces(&own, self.candidates.best_us()?, &costs) {
            return None;
        }
        self.draw(cluster, &costs).map(|node| node as usize)
    }

    fn taken(&mut self, cluster: &mut Cluster<'_>, at: usize, from: usize) {
        if cluster.zone(at) == cluster.zone(from) {
            let load = self.load(cluster, at);
            cluster.acknowledge(at, from, Signal::Accepted(load));
        }
    }

    fn idle(&mut self, cluster: &mut Cluster<'_>, at: usize) {
        if cluster.nodes[at].queue.is_empty() {
            self.ask(cluster, at);
        }
    }

    fn signal(&mut self, cluster: &mut Cluster<'_>, at: usize, from: usize, signal: Signal) {
        if !cluster.figures[at].alive && !matches!(signal, Signal::Pull(_)) {
            return;
        }
        let same_zone = cluster.zone(at) == cluster.zone(from);
        match signal {
            Signal::Accepted(load) => {
                let now = time(cluster.now);
                self.pair(at, from).belief.answered(now);
                if self.parts.acks {
                    self.told(cluster, at, from, load);
                }
            }
            Signal::Failed if same_zone => {
                let now = cluster.now;
                let pair = self.pair(at, from);
                pair.belief.answered(time(now));
                pair.failed = now;
            }
            Signal::Pull(load) => {
                self.told(cluster, at, from, load);
                self.give(cluster, at, from, &load);
            }
            Signal::Pulled(load, given) => {
                self.told(cluster, at, from, load);
                self.pulled(cluster, at, given);
            }
            other => {
                if let Some(zones) = &mut self.zones {
                    zones.signal(cluster, at, from, other);
                }
            }
        }
    }

    fn timer(&mut self, cluster: &mut Cluster<'_>, at: usize) {
        self.timed[at] = false;
        if cluster.nodes[at].queue.is_empty() {
            self.ask(cluster, at);
        }
    }

    fn summary(&mut self, cluster: &mut Cluster<'_>, zone: usize) {
        if let Some(zones) = &mut self.zones {
            zones.sum_up(cluster, zone);
        }
    }

    fn adoption(&mut self, cluster: &mut Cluster<'_>) {
        let mut adoption = std::mem::take(&mut self.adoption);
        adoption.look(cluster, self);
        self.adoption = adoption;
    }
}

/// What a process' step and moving it cost.
pub(super) fn costs(cluster: &Cluster<'_>, id: Id) -> Costs {
    let scenario = cluster.scenario;
    Costs {
        hop_us: scenario.hop_us,
        move_us: scenario.move_us,
        demand_us: cluster.processes[id as usize].believed_s * 1e6,
    }
}

/// Some nodes of the zone with a component in common.
fn peers(cluster: &mut Cluster<'_>, at: usize) -> Vec<u32> {
    let zone = cluster.zone(at);
    let mut peers: Vec<u32> = cluster.world.holds[at]
        .iter()
        .flat_map(|component| cluster.holders_in(usize::from(*component), zone))
        .copied()
        .filter(|node| *node as usize != at)
        .collect();
    peers.sort_unstable();
    peers.dedup();
    while peers.len() > PEERS_MAX {
        let drawn = cluster.random.below(peers.len());
        peers.swap_remove(drawn);
    }
    peers
}

/// One way in seconds as virtual time.
pub(super) fn way(cluster: &Cluster<'_>, at: usize, node: usize) -> Moment {
    moment(cluster.hop_s(at, node))
}
