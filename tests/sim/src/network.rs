//! The network: links as ordered reliable streams that can break, beacons as datagrams that can do
//! anything.

use std::rc::Rc;

use izna_core::{Audience, Input};
use izna_proto::{Beacon, Bulletin, Message, NodeId};
use rand::RngExt;

use crate::{
    World,
    event::{Event, Moment, Parcel},
    world::{index, node_id, zone_id},
};

/// How a link stands in the eyes of its dialer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Down,
    Connecting,
    Up,
}

/// A link from one node to another.
#[derive(Debug, Clone, Default)]
struct Link {
    state: State,
    /// Rises with each attempt to make it.
    generation: u32,
    /// What is on its way on this or an earlier one is lost.
    lost: u32,
    /// It will break, and its dialer does not know yet.
    doomed: bool,
    /// What is sent on it from now on is lost.
    lossy: bool,
    /// When what was sent last comes out, so that nothing overtakes it.
    last: Moment,
    clogged_until: Moment,
    /// Messages so far.
    sent: u64,
}

/// All links, and who cannot reach whom.
#[derive(Debug)]
pub(crate) struct Network {
    nodes: usize,
    links: Vec<Link>,
    /// How many partitions keep the packets of one from the other.
    blocked: Vec<u16>,
    /// Who never hears the beacons of whom.
    deaf: Vec<bool>,
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        let pairs = nodes * nodes;
        let (links, blocked) = (vec![Link::default(); pairs], vec![0; pairs]);
        Self { nodes, links, blocked, deaf: vec![false; pairs] }
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.nodes + to]
    }

    fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked[from * self.nodes + to] > 0
    }

    /// Whether a stream can be set up.
    pub(crate) fn is_reachable(&self, from: usize, to: usize) -> bool {
        !self.is_blocked(from, to) && !self.is_blocked(to, from)
    }

    pub(crate) fn deafen(&mut self, from: usize, to: usize) {
        self.deaf[from * self.nodes + to] = true;
    }

    pub(crate) fn heal(&mut self) {
        self.blocked.fill(0);
        self.deaf.fill(false);
    }
}

impl World {
    fn delay(&mut self) -> Moment {
        let [low, high] = self.options.delay_us;
        self.random.random_range(low..=high)
    }

    /// How long something takes of which the order with what goes other ways is not promised.
    fn delay_overtaken(&mut self) -> Moment {
        let overtaken = self.options.overtaken;
        let delay = self.delay();
        if self.healed || overtaken <= 0.0 || self.random.random::<f64>() >= overtaken {
            return delay;
        }
        self.seen.count("message overtaken");
        delay + self.random.random_range(0..=self.options.overtaken_us_max)
    }

    /// A node tells everyone.
    pub(crate) fn send_beacon(&mut self, from: usize, beacon: Beacon) {
        let at = self.now + self.options.delay_us[0];
        self.queue.push(at, Event::Beacon { from, beacon: Rc::new(beacon) });
    }

    /// A beacon reaches all who are there, as far as it does.
    pub(crate) fn beacon(&mut self, from: usize, beacon: &Rc<Beacon>) {
        let faults = !self.healed;
        let (loss, duplicates, late) =
            (self.options.beacon_loss, self.options.beacon_duplicates, self.options.beacon_late);
        let overtaken = self.options.overtaken;
        for to in 0..self.nodes.len() {
            let pair = from * self.network.nodes + to;
            let is_near = self.zone(to) == self.zone(from);
            let is_seed = self.seed_of(from) == Some(to);
            let is_deaf = self.network.blocked[pair] > 0 || self.network.deaf[pair];
            if to == from || is_deaf || !(is_near || is_seed) {
                continue;
            }
            if faults && loss > 0.0 && self.random.random::<f64>() < loss {
                self.seen.count("beacon lost");
                continue;
            }
            if faults && duplicates > 0.0 && self.random.random::<f64>() < duplicates {
                self.seen.count("beacon duplicated");
                self.straggle(from, to, beacon);
            }
            if faults && late > 0.0 && self.random.random::<f64>() < late {
                self.seen.count("beacon late");
                self.straggle(from, to, beacon);
                continue;
            }
            if faults && overtaken > 0.0 && self.random.random::<f64>() < overtaken {
                self.seen.count("beacon overtaken");
                let at = self.now + self.delay_overtaken();
                self.queue.push(at, Event::Straggler { from, to, beacon: Rc::clone(beacon) });
                continue;
            }
            self.input(to, Input::Heard(Beacon::clone(beacon)));
        }
    }

    /// Which of the zones a node is in.
    pub(crate) fn zone(&self, node: usize) -> usize {
        node % self.options.zones.max(1)
    }

    /// The node of another zone that is among the seeds of a node: one in ten has one, in the next
    /// zone.
    fn seed_of(&self, node: usize) -> Option<usize> {
        let zones = self.options.zones;
        let has_seed = zones > 1 && (node / zones).is_multiple_of(10);
        has_seed
            .then(|| (node + 1) % self.nodes.len())
            .filter(|seed| self.zone(*seed) != self.zone(node))
    }

    /// A node tells what a zone has to tell.
    pub(crate) fn send_bulletin(&mut self, from: usize, audience: &Audience, bulletin: &Bulletin) {
        let near = |to: &usize| *to != from && self.zone(*to) == self.zone(from);
        let to: Vec<usize> = match audience {
            Audience::Zone => (0..self.nodes.len()).filter(near).collect(),
            Audience::Nodes(nodes) => nodes.iter().map(|node| index(*node)).collect(),
        };
        let loss = if self.healed { 0.0 } else { self.options.beacon_loss };
        for to in to {
            let pair = from * self.network.nodes + to;
            if self.network.blocked[pair] > 0 || self.random.random::<f64>() < loss {
                self.seen.count("bulletin lost");
                continue;
            }
            self.seen.count("bulletin");
            let from_abroad = self.zone(to) != self.zone(from);
            let incarnation = self.nodes[to].incarnation;
            for at in self.arrivals() {
                let told = Input::Told { bulletin: bulletin.clone(), from_abroad };
                self.queue.push(at, Event::Tell { node: to, incarnation, input: Box::new(told) });
            }
        }
    }

    /// When a bulletin arrives, which may be late, and may be more than once.
    fn arrivals(&mut self) -> Vec<Moment> {
        let (faults, late_us_max) = (!self.healed, self.options.beacon_late_ms_max * 1000);
        let (duplicates, late) = (self.options.beacon_duplicates, self.options.beacon_late);
        let at = self.now + self.delay_overtaken();
        let mut arrivals = vec![at];
        if faults && duplicates > 0.0 && self.random.random::<f64>() < duplicates {
            self.seen.count("bulletin duplicated");
            arrivals.push(at + self.random.random_range(0..=late_us_max));
        }
        if faults && late > 0.0 && self.random.random::<f64>() < late {
            self.seen.count("bulletin late");
            arrivals[0] += self.random.random_range(0..=late_us_max);
        }
        arrivals
    }

    fn straggle(&mut self, from: usize, to: usize, beacon: &Rc<Beacon>) {
        let late = self.random.random_range(0..=self.options.beacon_late_ms_max * 1000);
        let beacon = Rc::clone(beacon);
        self.queue.push(self.now + late, Event::Straggler { from, to, beacon });
    }

    /// A node begins to make a link, in place of one that is there.
    pub(crate) fn connect(&mut self, from: usize, to: NodeId) {
        let to = index(to);
        let delay = self.delay();
        let reachable = self.network.is_reachable(from, to);
        let patience = self.random.random_range(300_000..1_000_000);
        let target = &self.nodes[to];
        let wait = if reachable && !target.paused { 3 * delay } else { patience };
        let incarnation = self.nodes[from].incarnation;
        let link = self.network.link(from, to);
        link.generation += 1;
        link.state = State::Connecting;
        (link.doomed, link.lossy) = (false, false);
        link.last = self.now;
        let generation = link.generation;
        self.queue.push(self.now + wait, Event::Connected { from, to, generation, incarnation });
    }

    /// An attempt to make a link has ended.
    pub(crate) fn connected(&mut self, from: usize, to: usize, generation: u32, incarnation: u64) {
        let target = &self.nodes[to];
        let there = target.core.is_some() && !target.paused;
        let up = there && self.network.is_reachable(from, to);
        let peer = target.incarnation;
        let link = self.network.link(from, to);
        let current = link.generation == generation && link.state == State::Connecting;
        if !current || self.nodes[from].incarnation != incarnation {
            return;
        }
        link.state = if up { State::Up } else { State::Down };
        let name = self.names[to].clone();
        if up && self.zone(from) != self.zone(to) {
            self.seen.count("link between zones");
            let zone = zone_id(self.zone(from));
            self.input(to, Input::Called { peer: node_id(from), zone, incarnation });
        }
        let zone = zone_id(self.zone(to));
        let input = match up {
            true => Input::LinkUp {
                peer: node_id(to),
                incarnation: peer,
                name,
                traits: self.nodes[to].config.traits.clone(),
                zone,
            },
            false => Input::LinkDown(node_id(to)),
        };
        self.input(from, input);
    }

    /// A node closes its link.
    pub(crate) fn disconnect(&mut self, from: usize, to: NodeId) {
        let (to, lose) = (index(to), self.random.random_bool(0.5));
        let incarnation = self.nodes[from].incarnation;
        let link = self.network.link(from, to);
        link.state = State::Down;
        if lose {
            link.lost = link.generation;
        }
        self.seen.count("link closed to a dead node");
        let input = Box::new(Input::LinkDown(node_id(to)));
        self.queue.push(self.now, Event::Tell { node: from, incarnation, input });
    }

    /// A node says something over its link.
    pub(crate) fn send(&mut self, from: usize, to: NodeId, message: Message) {
        let to = index(to);
        let (delay, now) = (self.delay_overtaken(), self.now);
        let incarnation = self.nodes[to].incarnation;
        let link = self.network.link(from, to);
        if link.state != State::Up {
            return;
        }
        if link.lossy {
            self.seen.count("message lost");
            return;
        }
        link.sent += 1;
        link.last = link.last.max(now + delay).max(link.clogged_until);
        let (at, generation) = (link.last, link.generation);
        #[cfg(feature = "sabotage")]
        let at = if self.options.sabotage() == Some(izna_core::Sabotage::SwapMessages) {
            now + delay
        } else {
            at
        };
        let parcel = Box::new(Parcel { number: link.sent, message });
        self.queue.push(at, Event::Message { from, to, generation, incarnation, parcel });
    }

    /// A message comes out of a link.
    pub(crate) fn arrive(
        &mut self,
        (from, to): (usize, usize),
        generation: u32,
        incarnation: u64,
        Parcel { number, message }: Parcel,
    ) {
        let lost = self.network.link(from, to).lost >= generation;
        if lost || self.nodes[to].incarnation != incarnation {
            self.seen.count("message lost");
            return;
        }
        self.check_order((from, to), generation, number);
        self.input(to, Input::Received { peer: node_id(from), message });
    }

    /// The dialer sees that its link is broken.
    pub(crate) fn broken(&mut self, from: usize, to: usize, generation: u32) {
        let link = self.network.link(from, to);
        if link.generation == generation && link.state == State::Up {
            link.state = State::Down;
            self.input(from, Input::LinkDown(node_id(to)));
        }
    }

    /// A link breaks; what is on its way on it is lost, if `lossy`.
    pub(crate) fn break_link(&mut self, from: usize, to: usize, lossy: bool, after: Moment) {
        let link = self.network.link(from, to);
        if link.state != State::Up {
            return;
        }
        if lossy {
            link.lost = link.generation;
            link.lossy = true;
        }
        if !link.doomed {
            link.doomed = true;
            let generation = link.generation;
            self.queue.push(self.now + after, Event::Broken { from, to, generation });
        }
    }

    /// No packet goes from one to the other, so no stream between them lives, either way.
    pub(crate) fn block(&mut self, from: usize, to: usize) {
        self.network.blocked[from * self.network.nodes + to] += 1;
        let (after, back) = (
            self.random.random_range(20_000..1_500_000),
            self.random.random_range(20_000..1_500_000),
        );
        self.break_link(from, to, true, after);
        // What the other says still comes through, but it is never acknowledged.
        self.break_link(to, from, false, back);
    }

    pub(crate) fn unblock(&mut self, from: usize, to: usize) {
        let blocked = &mut self.network.blocked[from * self.network.nodes + to];
        *blocked = blocked.saturating_sub(1);
    }

    pub(crate) fn clog(&mut self, from: usize, to: usize, for_us: Moment) {
        let until = self.now + for_us;
        let link = self.network.link(from, to);
        link.clogged_until = link.clogged_until.max(until);
    }

    /// All links of a node that is gone.
    pub(crate) fn unplug(&mut self, node: usize) {
        let silently = self.random.random_bool(0.3);
        for other in 0..self.nodes.len() {
            let lose = self.random.random_bool(0.5);
            let after = if silently { 1_500_000 } else { 20_000 };
            let after = self.random.random_range(1_000..after);
            let link = self.network.link(node, other);
            link.state = State::Down;
            if lose {
                link.lost = link.generation;
            }
            self.break_link(other, node, true, after);
        }
    }
}
