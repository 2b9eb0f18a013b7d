//! One run: clients come, processes go from step to step, a policy says where.

use izna_core::placement::Speed;

use super::{
    beacons::Beacon,
    clients::{Clients, FIRST},
    cluster::{Cluster, Process, moment, seconds},
    event::{Event, Id, Moment},
    policy::{self, Policy, Verdict, paper},
    random::{mix, named, unit},
    scenario::{Fault, Ingress, Scenario, TellsSpeed},
    tally::{Results, window},
    world::World,
};

/// Run one policy in one world.
pub(super) fn run(scenario: &Scenario, world: &World, seed: u64, policy: &str) -> Results {
    let mut cluster = Cluster::new(scenario, world, seed);
    let policy = policy::make(policy, &mut cluster);
    let duration = moment(scenario.duration_s);
    let clients = Clients::new(scenario, world, seed);
    let shares = Shares::new(&world.shares, scenario.hot_factor);
    let run = Run { cluster, policy, duration, clients, shares, hot: false };
    run.play()
}

struct Run<'a> {
    cluster: Cluster<'a>,
    policy: Box<dyn Policy>,
    duration: Moment,
    clients: Clients,
    shares: Shares,
    /// The first class is hot.
    hot: bool,
}

/// The classes' shares, summed up, usually and while the first is hot.
struct Shares {
    usual: Vec<f64>,
    hot: Vec<f64>,
}

impl Shares {
    fn new(shares: &[f64], factor: f64) -> Self {
        let sums = |first: f64| {
            let mut sum = 0.0;
            let mut sums: Vec<f64> = Vec::new();
            for (class, share) in shares.iter().enumerate() {
                sum += if class == 0 { share * first } else { *share };
                sums.push(sum);
            }
            sums.iter().map(|part| part / sum).collect::<Vec<f64>>()
        };
        Self { usual: sums(1.0), hot: sums(factor) }
    }
}

impl Run<'_> {
    fn play(mut self) -> Results {
        self.begin();
        let last = self.duration * 3 + moment(10.0);
        while let Some((at, event)) = self.cluster.events.pop() {
            self.cluster.now = at;
            if at > self.duration && (self.cluster.tally.live == 0 || at > last) {
                break;
            }
            self.happen(event);
        }
        let window = window(self.duration);
        let window_s = seconds(window.end - window.start);
        self.cluster.tally.results(window_s, self.cluster.world.rate_max)
    }

    fn begin(&mut self) {
        let (scenario, seed) = (self.cluster.scenario, self.cluster.seed);
        let part = |share: f64| moment(scenario.duration_s * share);
        let begins = |at: Moment| (at, Event::Fault { begins: true });
        let faults = match scenario.fault {
            Fault::None => vec![],
            Fault::Slow => vec![begins(part(0.4)), (part(0.7), Event::Fault { begins: false })],
            Fault::Crash | Fault::Hang | Fault::Join => vec![begins(part(0.4))],
            Fault::HotClass => vec![begins(part(0.3)), (part(0.8), Event::Fault { begins: false })],
        };
        for (at, event) in faults {
            self.cluster.events.push(at, event);
        }
        if scenario.fault == Fault::Join {
            for node in joining(scenario.nodes) {
                self.cluster.figures[node].alive = false;
            }
        }
        let interval_s = scenario.beacon_ms * 1e-3;
        for node in 0..scenario.nodes {
            if self.cluster.figures[node].alive {
                let load = self.policy.load(&self.cluster, node);
                let hello = Beacon { use_share: 0.3, load, ..Beacon::default() };
                self.cluster.board.introduce(node, hello);
                let at = moment(interval_s * unit(named(seed, node as u64, 3)));
                self.cluster.events.push(at, Event::Beacon { at: node as u32 });
            }
        }
        self.policy.begin(&mut self.cluster);
        self.cluster.events.push(FIRST, Event::Arrival);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival => self.client(),
            Event::Arrives { process, at, from } => {
                self.arrives(process, at as usize, from as usize)
            }
            Event::Ended { process, at, life, took } => {
                self.ended(process, at as usize, life, took);
            }
            Event::Beacon { at } => self.beacon(at as usize),
            Event::Again { process, at } => self.place_or_lose(process, at as usize),
            Event::Signal { at, from, signal } => {
                self.policy.signal(&mut self.cluster, at as usize, from as usize, signal);
            }
            Event::Timer { at } => self.policy.timer(&mut self.cluster, at as usize),
            Event::Summary { zone } => self.policy.summary(&mut self.cluster, zone as usize),
            Event::Fault { begins } => self.fault(begins),
            Event::Adoption => self.policy.adoption(&mut self.cluster),
            Event::Adopted { at, component } => self.adopted(at as usize, usize::from(component)),
        }
    }

    /// A client comes, and the next one is on its way.
    fn client(&mut self) {
        let (now, seed) = (self.cluster.now, self.cluster.seed);
        if now >= self.duration {
            return;
        }
        let number = self.cluster.tally.arrived;
        self.cluster.tally.arrived += 1;
        let shares = if self.hot { &self.shares.hot } else { &self.shares.usual };
        let drawn = unit(named(seed ^ 0xC1, number, 1));
        let class = shares.partition_point(|sum| *sum < drawn).min(shares.len() - 1);
        let at = self.ingress(named(seed ^ 0xC2, number, 2));
        let measured = now >= moment(self.cluster.scenario.warm_up_s);
        let process =
            Process { born: now, number, class: class as u16, measured, ..Process::default() };
        let id = match self.cluster.free.pop() {
            Some(id) => {
                self.cluster.processes[id as usize] = process;
                id
            }
            None => {
                self.cluster.processes.push(process);
                self.cluster.processes.len() as Id - 1
            }
        };
        self.cluster.tally.live += 1;
        self.begin_step(id);
        self.place(id, at);
        let gap_s = self.clients.gap_s(now);
        self.cluster.events.push(self.cluster.after(gap_s), Event::Arrival);
    }

    /// The node that a client comes to.
    fn ingress(&self, hash: u64) -> usize {
        let (scenario, drawn) = (self.cluster.scenario, mix(hash));
        let count = scenario.nodes;
        let mut at = match scenario.ingress {
            Ingress::TwoNodes if hash % 10 < 6 => drawn % 2,
            Ingress::OneZone if hash & 1 == 0 => drawn % scenario.zone_nodes as u64,
            _ => drawn % count as u64,
        } as usize;
        for _ in 0..count {
            if self.cluster.figures[at].alive {
                break;
            }
            at = (at + 1) % count;
        }
        at
    }

    fn begin_step(&mut self, id: Id) {
        let (world, seed) = (self.cluster.world, self.cluster.seed);
        let service = self.cluster.scenario.service;
        let component = self.cluster.component(id);
        let process = self.cluster.process(id);
        process.work_s = world.step_s(service, seed, process.number, process.step, component);
        process.believed_s = world.believed_s[component];
        process.moved_s = 0.0;
        process.left_count = 0;
        process.queue_moves = 0;
        process.relayed = false;
    }

    fn place(&mut self, id: Id, at: usize) {
        match self.policy.place(&mut self.cluster, at, id) {
            Verdict::Stay => self.take_in(id, at, true),
            Verdict::Go(to) => {
                self.policy.sends(&mut self.cluster, at, to, id);
                self.cluster.send(at, to, id, false);
            }
            Verdict::Later(delay) => {
                let when = self.cluster.now + delay;
                self.cluster.events.push(when, Event::Again { process: id, at: at as u32 });
            }
        }
    }

    fn place_or_lose(&mut self, id: Id, at: usize) {
        if self.cluster.figures[at].alive { self.place(id, at) } else { self.lose(id) }
    }

    /// A process is at a node that holds its component: it waits there, or a repair moves it.
    fn take_in(&mut self, id: Id, at: usize, here: bool) {
        if !self.cluster.figures[at].alive {
            return self.lose(id);
        }
        if self.cluster.figures[at].idle() == 0
            && let Some(to) = self.policy.divert(&mut self.cluster, at, id, here)
        {
            self.policy.sends(&mut self.cluster, at, to, id);
            return self.cluster.send(at, to, id, true);
        }
        self.cluster.take_in(at, id, here);
    }

    fn arrives(&mut self, id: Id, at: usize, from: usize) {
        let component = self.cluster.component(id);
        let believed_s = self.cluster.processes[id as usize].believed_s;
        self.cluster.figures[at].coming -= 1;
        self.cluster.figures[at].coming_s -= believed_s;
        let alive = self.cluster.figures[at].alive;
        if !alive || !self.cluster.holds(at, component) {
            return self.not_taken(id, at, from, alive);
        }
        self.policy.arrives(&mut self.cluster, at, from, id);
        if self.cluster.processes[id as usize].relayed {
            self.cluster.process(id).relayed = false;
            if let Some(to) = self.policy.relay(&mut self.cluster, at, from, id) {
                self.policy.sends(&mut self.cluster, at, to, id);
                return self.cluster.send(at, to, id, true);
            }
        }
        self.take_in(id, at, false);
        self.policy.taken(&mut self.cluster, at, from);
    }

    /// The target is gone: its sender learns of it, at once or when it gives up.
    fn not_taken(&mut self, id: Id, at: usize, from: usize, alive: bool) {
        let hangs = self.cluster.scenario.fault == Fault::Hang && !alive;
        let delay_s = match hangs {
            true => self.cluster.scenario.hang_ms * 1e-3,
            false => self.cluster.hop_s(at, from),
        };
        self.cluster.tally.failed += 1;
        self.cluster.process(id).relayed = false;
        let when = self.cluster.after(delay_s);
        let signal = policy::Signal::Failed;
        self.cluster.events.push(when, Event::Signal { at: from as u32, from: at as u32, signal });
        self.cluster.events.push(when, Event::Again { process: id, at: from as u32 });
    }

    fn ended(&mut self, id: Id, at: usize, life: u32, took: Moment) {
        if self.cluster.nodes[at].life != life {
            return;
        }
        self.cluster.count_busy(at);
        self.cluster.nodes[at].running -= 1;
        let believed_s = self.cluster.processes[id as usize].believed_s;
        self.cluster.nodes[at].measured.ran(believed_s * 1e6, seconds(took) * 1e6);
        if self.cluster.scenario.speed == TellsSpeed::Measured {
            self.cluster.figures[at].told_speed = self.cluster.nodes[at].measured.value();
        }
        self.cluster.leaves(at, id);
        self.policy.ended(&mut self.cluster, at, id);
        if let Some(next) = self.cluster.nodes[at].queue.pop_front() {
            self.cluster.start(at, next);
        }
        let world = self.cluster.world;
        let process = self.cluster.process(id);
        process.step += 1;
        let steps = world.classes[usize::from(process.class)].len();
        if usize::from(process.step) >= steps {
            self.finish(id);
        } else {
            self.begin_step(id);
            self.place(id, at);
        }
        if self.cluster.figures[at].idle() > 0 {
            self.policy.idle(&mut self.cluster, at);
        }
    }

    fn finish(&mut self, id: Id) {
        let process = self.cluster.processes[id as usize];
        let tally = &mut self.cluster.tally;
        tally.ended += u64::from(window(self.duration).contains(&self.cluster.now));
        if process.measured {
            tally.responses_s.push(seconds(self.cluster.now - process.born) as f32);
        }
        tally.live -= 1;
        self.cluster.forget(id);
    }

    fn lose(&mut self, id: Id) {
        self.cluster.tally.live -= 1;
        self.cluster.tally.lost += u64::from(self.cluster.processes[id as usize].measured);
        self.cluster.forget(id);
    }

    fn beacon(&mut self, at: usize) {
        if !self.cluster.figures[at].alive {
            return;
        }
        let (now, interval_s) = (self.cluster.now, self.cluster.scenario.beacon_ms * 1e-3);
        self.cluster.measure(at);
        let load = self.policy.load(&self.cluster, at);
        let figures = self.cluster.figures[at];
        let beacon = Beacon {
            at: now,
            queued: f64::from(figures.queued),
            work_s: figures.work_s,
            use_share: paper::use_share(&self.cluster, at),
            load,
        };
        self.cluster.board.send(at, beacon);
        self.cluster.tally.messages += 1;
        self.policy.after_beacon(&mut self.cluster, at);
        let sent = u64::from(self.cluster.board.sent(at));
        let jitter = 0.95 + 0.1 * unit(named(self.cluster.seed, at as u64, sent));
        let when = self.cluster.after(interval_s * jitter);
        self.cluster.events.push(when, Event::Beacon { at: at as u32 });
    }

    fn fault(&mut self, begins: bool) {
        let count = self.cluster.scenario.nodes;
        let tenth = (0..(count / 10).max(1)).map(|n| (n * 10 + 3) % count);
        match self.cluster.scenario.fault {
            Fault::None => {}
            Fault::Slow => tenth.for_each(|node| {
                let speed = self.cluster.world.speeds[node];
                self.cluster.figures[node].speed = if begins { speed / 4.0 } else { speed };
            }),
            Fault::Crash | Fault::Hang => tenth.for_each(|node| self.crash(node)),
            Fault::Join => joining(count).for_each(|node| {
                self.cluster.figures[node].alive = true;
                self.cluster.nodes[node].counted = self.cluster.now;
                self.cluster.nodes[node].told = self.cluster.now;
                self.cluster.nodes[node].measured = Speed::new(self.cluster.world.speeds[node]);
                self.cluster.events.push(self.cluster.now, Event::Beacon { at: node as u32 });
            }),
            Fault::HotClass => self.hot = begins,
        }
    }

    fn crash(&mut self, at: usize) {
        self.cluster.figures[at].alive = false;
        self.cluster.nodes[at].life += 1;
        while let Some(id) = self.cluster.nodes[at].queue.pop_front() {
            self.lose(id);
        }
        let running = u64::from(std::mem::take(&mut self.cluster.nodes[at].running));
        self.cluster.tally.live -= running;
        self.cluster.tally.lost += running;
        self.cluster.figures[at].queued = 0;
        self.cluster.figures[at].work_s = 0.0;
    }

    /// A node has taken a component in: the core that it took is free again.
    fn adopted(&mut self, at: usize, component: usize) {
        self.cluster.nodes[at].adopting = false;
        self.cluster.count_busy(at);
        self.cluster.nodes[at].running -= 1;
        self.cluster.figures[at].queued -= 1;
        self.cluster.add_holder(at, component);
        self.cluster.tally.adopted += 1;
        if let Some(next) = self.cluster.nodes[at].queue.pop_front() {
            self.cluster.start(at, next);
        }
    }
}

/// The nodes that come later.
fn joining(count: usize) -> impl Iterator<Item = usize> {
    (0..(count / 5).max(1)).map(move |n| (n * 5 + 2) % count)
}
