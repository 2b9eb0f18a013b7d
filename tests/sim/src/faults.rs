//! What goes wrong, and when it is right again.

use std::rc::Rc;

use izna_core::{Input, Measurement};
use rand::{RngExt, seq::SliceRandom};

use crate::{
    World,
    event::{Event, Moment},
    options::BEGIN_MS,
};

/// Something goes wrong, or right again.
#[derive(Debug)]
pub(crate) enum Fault {
    /// One link breaks.
    Break {
        from: usize,
        to: usize,
    },
    /// The packets of these nodes do not reach those.
    Block(Rc<[(usize, usize)]>),
    Unblock(Rc<[(usize, usize)]>),
    /// What goes into a link comes out later.
    Clog {
        from: usize,
        to: usize,
    },
    /// A node is stopped, and goes on as if nothing had been.
    Pause(usize),
    Resume(usize),
    /// A node is gone with all that it knew but its disk.
    Crash(usize),
    Restart(usize),
    /// A node is told to drain, and starts again when it has.
    Drain(usize),
    /// A node's memory is nearly full.
    Tight(usize),
    Loose(usize),
}

impl World {
    /// Draw all that will go wrong.
    pub(crate) fn plan_faults(&mut self) {
        let options = self.options.clone();
        let nodes = options.nodes;
        self.plan(options.breaks_per_second, |world| {
            let (from, to) = world.pair();
            Fault::Break { from, to }
        });
        self.plan(options.clogs_per_second, |world| {
            let (from, to) = world.pair();
            Fault::Clog { from, to }
        });
        self.plan(options.pauses_per_second, |world| {
            Fault::Pause(world.random.random_range(0..nodes))
        });
        self.plan(options.crashes_per_second, |world| {
            Fault::Crash(world.random.random_range(0..nodes))
        });
        self.plan(options.drains_per_second, |world| {
            Fault::Drain(world.random.random_range(0..nodes))
        });
        self.plan(options.partitions_per_second, Self::partition);
        for _ in 0..options.deaf.min(nodes * nodes) {
            let (from, to) = self.pair();
            self.network.deafen(from, to);
        }
        let slow_nodes = options.slow_nodes.min(nodes / 2);
        for _ in 0..slow_nodes {
            let node = self.random.random_range(0..nodes);
            self.nodes[node].slowness = self.random.random_range(3.0..10.0);
        }
        for _ in 0..options.tight_nodes {
            let node = self.random.random_range(0..nodes);
            let at = self.within_faults();
            self.queue.push(at, Event::Fault(Box::new(Fault::Tight(node))));
        }
    }

    fn plan(&mut self, per_second: f64, mut draw: impl FnMut(&mut Self) -> Fault) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small")]
        let count = (per_second * self.options.faults_ms as f64 / 1000.0).ceil() as u64;
        for _ in 0..count {
            let at = self.within_faults();
            let fault = draw(self);
            self.queue.push(at, Event::Fault(Box::new(fault)));
        }
    }

    pub(crate) fn within_faults(&mut self) -> Moment {
        self.random.random_range(BEGIN_MS * 1000..self.options.heal_at())
    }

    fn pair(&mut self) -> (usize, usize) {
        let nodes = self.options.nodes;
        let from = self.random.random_range(0..nodes);
        (from, (from + self.random.random_range(1..nodes.max(2))) % nodes)
    }

    /// Two sides, of any size; both ways or one.
    fn partition(&mut self) -> Fault {
        let mut all: Vec<usize> = (0..self.options.nodes).collect();
        all.shuffle(&mut self.random);
        let (one, other) = all.split_at(self.random.random_range(1..=self.options.nodes / 2));
        let both = !self.random.random_bool(self.options.asymmetric);
        let mut pairs = Vec::new();
        for from in one {
            for to in other {
                pairs.push((*from, *to));
                if both {
                    pairs.push((*to, *from));
                }
            }
        }
        self.seen.count(if both { "partition" } else { "one-way partition" });
        Fault::Block(pairs.into())
    }

    /// It goes wrong now.
    pub(crate) fn fault(&mut self, fault: Fault) {
        let while_us = self.random.random_range(50_000..1_200_000);
        let later = self.now + while_us;
        let mut after = |fault| self.queue.push(later, Event::Fault(Box::new(fault)));
        match fault {
            Fault::Break { from, to } => {
                let lossy = self.random.random_bool(0.7);
                self.seen.count("link broken");
                self.break_link(from, to, lossy, while_us / 20);
            }
            Fault::Block(pairs) => {
                after(Fault::Unblock(Rc::clone(&pairs)));
                pairs.iter().for_each(|(from, to)| self.block(*from, *to));
            }
            Fault::Unblock(pairs) => pairs.iter().for_each(|(from, to)| self.unblock(*from, *to)),
            Fault::Clog { from, to } => {
                self.seen.count("link clogged");
                self.clog(from, to, while_us);
            }
            Fault::Pause(node) if self.nodes[node].core.is_some() => {
                after(Fault::Resume(node));
                self.seen.count("pause");
                self.nodes[node].paused = true;
            }
            Fault::Resume(node) => self.resume(node),
            Fault::Crash(node) if self.nodes[node].core.is_some() => {
                after(Fault::Restart(node));
                self.seen.count("crash");
                self.crash(node);
            }
            Fault::Restart(node) => self.start(node),
            Fault::Drain(node) => {
                self.seen.count("drain");
                self.input(node, Input::Drain);
            }
            Fault::Tight(node) => {
                after(Fault::Loose(node));
                self.seen.count("memory tight");
                let memory_permille = self.random.random_range(820..1000);
                self.measure(node, memory_permille);
            }
            Fault::Loose(node) => self.measure(node, 300),
            Fault::Pause(_) | Fault::Crash(_) => {}
        }
    }

    fn measure(&mut self, node: usize, memory_permille: u16) {
        let measured = Measurement {
            own_cpu_us: 0,
            capacity_milli: self.nodes[node].config.capacity_milli,
            cpu_permille: 0,
            memory_permille,
            network_permille: 0,
            unsent_us: 0,
        };
        self.input(node, Input::Measured(measured));
    }

    /// Everything is made right.
    pub(crate) fn heal(&mut self) {
        self.healed = true;
        self.network.heal();
        for node in 0..self.nodes.len() {
            self.nodes[node].slowness = 1.0;
            self.resume(node);
            self.start(node);
            self.measure(node, 300);
        }
        let half = self.options.heal_ms * 1000;
        self.queue.push(self.now + 100_000, Event::LastDeploys);
        self.queue.push(self.now + half, Event::LastArrivals);
    }
}
