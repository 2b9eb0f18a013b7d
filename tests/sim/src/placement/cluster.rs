//! The cluster of a run: nodes, processes, what is on its way. It knows how things go, not where
//! they should: that is the policy's.

use std::collections::VecDeque;

use izna_core::placement::Speed;

use super::{
    beacons::Board,
    event::{Event, Id, Moment, Queue},
    policy::Signal,
    random::Stream,
    scenario::{Order, Scenario},
    tally::Tally,
    world::World,
};

/// Nodes that a process remembers to have left since its last step.
pub(super) const LEFT_MAX: usize = 4;

/// A process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Process {
    pub(super) born: Moment,
    pub(super) number: u64,
    pub(super) class: u16,
    pub(super) step: u8,
    pub(super) measured: bool,
    /// The processor time of its step at speed one, and what moving it costs, in seconds.
    pub(super) work_s: f64,
    pub(super) moved_s: f64,
    /// What a policy believes of the step: what it is counted with.
    pub(super) believed_s: f64,
    pub(super) left: [u32; LEFT_MAX],
    pub(super) left_count: u8,
    /// Moves since its last step that were not to place it first.
    pub(super) queue_moves: u8,
    /// Drawn for a zone: to be drawn again there.
    pub(super) relayed: bool,
    /// Where and when it was last sent or taken in, and how many were there.
    pub(super) source: u32,
    pub(super) sent: Moment,
    pub(super) queued: Moment,
    pub(super) before: u32,
}

impl Process {
    pub(super) fn left(&self) -> &[u32] {
        &self.left[..usize::from(self.left_count)]
    }
}

/// What decisions look at of a node: kept together, because the all-knowing look at all of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    /// Steps that run or wait, and their believed work in seconds.
    pub(super) queued: u32,
    pub(super) work_s: f64,
    /// The same on their way here.
    pub(super) coming: u32,
    pub(super) coming_s: f64,
    pub(super) cores: u32,
    /// As it is, and as it is told.
    pub(super) speed: f64,
    pub(super) told_speed: f64,
    pub(super) alive: bool,
    pub(super) zone: u32,
}

impl Figures {
    /// The expected wait, in seconds, of a step that comes to a node with so much.
    pub(super) fn wait_s(queued: f64, work_s: f64, cores: f64, capacity: f64) -> f64 {
        if queued < cores {
            return 0.0;
        }
        (queued - cores + 1.0) * (work_s / queued.max(1.0)) / capacity
    }

    pub(super) fn idle(&self) -> u32 {
        self.cores.saturating_sub(self.queued)
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) queue: VecDeque<Id>,
    pub(super) running: u32,
    /// Counts crashes: a step of an earlier life never ends.
    pub(super) life: u32,
    pub(super) measured: Speed,
    /// Busy core time since the last beacon, in seconds, up to `counted`.
    pub(super) busy_s: f64,
    pub(super) counted: Moment,
    /// Work that came in since the last beacon.
    pub(super) came_s: f64,
    /// What the last beacon told: the rate of the work, and the share of use, both smoothed.
    pub(super) told: Moment,
    pub(super) inflow: f64,
    pub(super) used: f64,
    /// Takes a component in, on one core.
    pub(super) adopting: bool,
}

pub(super) struct Cluster<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) world: &'a World,
    pub(super) seed: u64,
    pub(super) now: Moment,
    pub(super) events: Queue,
    pub(super) figures: Vec<Figures>,
    pub(super) nodes: Vec<Node>,
    pub(super) board: Board,
    pub(super) holders: Vec<Vec<u32>>,
    holds: Vec<u64>,
    words: usize,
    pub(super) processes: Vec<Process>,
    pub(super) free: Vec<Id>,
    pub(super) random: Stream,
    pub(super) tally: Tally,
}

pub(super) fn seconds(moment: Moment) -> f64 {
    moment as f64 * 1e-9
}

pub(super) fn moment(seconds: f64) -> Moment {
    (seconds * 1e9).round().max(0.0) as Moment
}

impl<'a> Cluster<'a> {
    pub(super) fn new(scenario: &'a Scenario, world: &'a World, seed: u64) -> Self {
        let count = scenario.nodes;
        let words = scenario.components.div_ceil(64);
        let figures = (0..count).map(|node| Figures {
            queued: 0,
            work_s: 0.0,
            coming: 0,
            coming_s: 0.0,
            cores: u32::from(world.cores[node]),
            speed: world.speeds[node],
            told_speed: world.speeds[node],
            alive: true,
            zone: (node / scenario.zone_nodes) as u32,
        });
        let nodes = (0..count).map(|node| Node {
            queue: VecDeque::new(),
            running: 0,
            life: 0,
            measured: Speed::new(world.speeds[node]),
            busy_s: 0.0,
            counted: 0,
            came_s: 0.0,
            told: 0,
            used: 0.0,
            inflow: 0.3 * world.node_capacity(node),
            adopting: false,
        });
        let mut cluster = Self {
            figures: figures.collect(),
            nodes: nodes.collect(),
            board: Board::new(scenario, seed),
            holders: world.holders.clone(),
            holds: vec![0; count * words],
            words,
            scenario,
            world,
            seed,
            now: 0,
            events: Queue::default(),
            processes: Vec::new(),
            free: Vec::new(),
            random: Stream::new(super::random::named(seed, 5, 5)),
            tally: Tally::default(),
        };
        for (component, holders) in world.holders.iter().enumerate() {
            holders.iter().for_each(|node| cluster.mark(*node as usize, component));
        }
        cluster
    }

    fn mark(&mut self, node: usize, component: usize) {
        self.holds[node * self.words + component / 64] |= 1 << (component % 64);
    }

    /// Another node holds a component from now on.
    pub(super) fn add_holder(&mut self, node: usize, component: usize) {
        self.mark(node, component);
        let holders = &mut self.holders[component];
        let at = holders.partition_point(|holder| (*holder as usize) < node);
        holders.insert(at, node as u32);
    }

    pub(super) fn holds(&self, node: usize, component: usize) -> bool {
        self.holds[node * self.words + component / 64] >> (component % 64) & 1 == 1
    }

    /// The holders of a component in a zone.
    pub(super) fn holders_in(&self, component: usize, zone: usize) -> &[u32] {
        let holders = &self.holders[component];
        if self.scenario.zones() == 1 {
            return holders;
        }
        let first = (zone * self.scenario.zone_nodes) as u32;
        let end = first + self.scenario.zone_nodes as u32;
        let start = holders.partition_point(|holder| *holder < first);
        let stop = holders.partition_point(|holder| *holder < end);
        &holders[start..stop]
    }

    pub(super) fn zone(&self, node: usize) -> usize {
        self.figures[node].zone as usize
    }

    pub(super) fn component(&self, id: Id) -> usize {
        let process = &self.processes[id as usize];
        usize::from(self.world.classes[usize::from(process.class)][usize::from(process.step)])
    }

    pub(super) fn process(&mut self, id: Id) -> &mut Process {
        &mut self.processes[id as usize]
    }

    /// One way, in seconds.
    pub(super) fn hop_s(&self, from: usize, to: usize) -> f64 {
        match (from == to, self.zone(from) == self.zone(to)) {
            (true, _) => 0.0,
            (_, true) => self.scenario.hop_us * 1e-6,
            (_, false) => self.scenario.hop_zone_us * 1e-6,
        }
    }

    pub(super) fn after(&self, delay_s: f64) -> Moment {
        self.now + moment(delay_s)
    }

    /// A node says something to another, beside the processes that it sends.
    pub(super) fn say(&mut self, from: usize, to: usize, signal: Signal) {
        // After what the node sends at the same moment: messages are news of what came before.
        let at = self.after(self.hop_s(from, to)) + 1;
        self.tally.messages += 1;
        self.events.push(at, Event::Signal { at: to as u32, from: from as u32, signal });
    }

    /// The same for what every protocol says anyway: the acknowledgement of a delivery.
    pub(super) fn acknowledge(&mut self, from: usize, to: usize, signal: Signal) {
        let at = self.after(self.hop_s(from, to));
        self.events.push(at, Event::Signal { at: to as u32, from: from as u32, signal });
    }

    /// Send a process to another node.
    pub(super) fn send(&mut self, from: usize, to: usize, id: Id, repair: bool) {
        let component = self.component(id);
        let held = self.holds(from, component);
        let crosses = self.zone(from) != self.zone(to);
        let (now, move_s) = (self.now, self.scenario.move_us * 1e-6);
        let process = self.process(id);
        let back = process.left().contains(&(to as u32));
        process.queue_moves += u8::from(repair);
        let again = repair && process.queue_moves > 1;
        if usize::from(process.left_count) < LEFT_MAX {
            process.left[usize::from(process.left_count)] = from as u32;
            process.left_count += 1;
        }
        process.source = from as u32;
        process.sent = now;
        process.moved_s += move_s;
        let (measured, believed_s) = (process.measured, process.believed_s);
        if measured {
            self.tally.moved(held, repair, back && repair, again, crosses);
        }
        self.figures[to].coming += 1;
        self.figures[to].coming_s += believed_s;
        let at = self.after(self.hop_s(from, to));
        self.events.push(at, Event::Arrives { process: id, at: to as u32, from: from as u32 });
    }

    /// A process waits for a core, or runs at once.
    pub(super) fn take_in(&mut self, at: usize, id: Id, here: bool) {
        let (now, before) = (self.now, self.figures[at].queued);
        let process = self.process(id);
        process.queued = now;
        process.before = before;
        if here {
            process.source = at as u32;
            process.sent = now;
        }
        let believed_s = process.believed_s;
        self.figures[at].queued += 1;
        self.figures[at].work_s += believed_s;
        self.nodes[at].came_s += believed_s;
        if self.nodes[at].running < self.figures[at].cores {
            self.start(at, id);
        } else {
            let place = self.queue_place(at, id);
            self.nodes[at].queue.insert(place, id);
        }
    }

    /// Where in the run queue it goes.
    fn queue_place(&self, at: usize, id: Id) -> usize {
        let key = |id: Id| {
            let process = &self.processes[id as usize];
            match self.scenario.order {
                Order::Fifo => 0,
                Order::Birth => process.born,
                Order::FewestLeft => {
                    let steps = self.world.classes[usize::from(process.class)].len();
                    steps as u64 - u64::from(process.step)
                }
            }
        };
        let new = key(id);
        self.nodes[at].queue.partition_point(|queued| key(*queued) <= new)
    }

    /// Take a process out of the run queue.
    pub(super) fn take_out(&mut self, at: usize, place: usize) -> Option<Id> {
        let id = self.nodes[at].queue.remove(place)?;
        self.leaves(at, id);
        Some(id)
    }

    /// A process is not at a node any more.
    pub(super) fn leaves(&mut self, at: usize, id: Id) {
        let believed_s = self.processes[id as usize].believed_s;
        let figures = &mut self.figures[at];
        figures.queued -= 1;
        figures.work_s = if figures.queued == 0 { 0.0 } else { figures.work_s - believed_s };
    }

    pub(super) fn start(&mut self, at: usize, id: Id) {
        self.count_busy(at);
        self.nodes[at].running += 1;
        let process = &self.processes[id as usize];
        let took = moment(process.work_s / self.figures[at].speed + process.moved_s);
        let life = self.nodes[at].life;
        self.events.push(self.now + took, Event::Ended { process: id, at: at as u32, life, took });
    }

    /// Count the core time used up to now.
    pub(super) fn count_busy(&mut self, at: usize) {
        let (now, node) = (self.now, &mut self.nodes[at]);
        node.busy_s += f64::from(node.running) * seconds(now - node.counted);
        node.counted = now;
    }

    /// Measure what a beacon tells of the time since the last one.
    pub(super) fn measure(&mut self, at: usize) {
        self.count_busy(at);
        let (now, sent, cores) = (self.now, self.board.sent(at), self.figures[at].cores);
        let node = &mut self.nodes[at];
        let elapsed_s = seconds(now - node.told).max(1e-9);
        let used = node.busy_s / elapsed_s / f64::from(cores);
        node.used = if sent == 0 { used } else { f64::midpoint(node.used, used) };
        let inflow = node.came_s / elapsed_s;
        node.inflow = if sent < 2 { inflow } else { 0.7 * node.inflow + 0.3 * inflow };
        (node.busy_s, node.came_s, node.told) = (0.0, 0.0, now);
    }

    pub(super) fn forget(&mut self, id: Id) {
        self.free.push(id);
    }
}
