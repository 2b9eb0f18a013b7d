//! The paper's rule, as far as it is told: beacons with a mean of shares of use; a draw weighted by
//! what is not used; a node that is markedly over the mean gives away, and pushes half of its queue
//! at each beacon. The paper gives no formula, so the weights are an assumption.

use super::{Hearsay, Policy, Signal, Verdict, nobody};
use crate::placement::{beacons::Beacon, cluster::Cluster, event::Id};

/// Of processor, memory and network.
const SHARES: (f64, f64, f64) = (0.6, 0.2, 0.2);
/// The memory that an idle node uses, and how many steps a core has room for.
const MEMORY_IDLE: f64 = 0.2;
const STEPS_PER_CORE: f64 = 40.0;
/// By how much over the mean a node is markedly more loaded.
const MARKEDLY: f64 = 0.15;
/// No weight is less.
const WEIGHT_MIN: f64 = 0.01;
/// How many others the mean is taken over.
const SAMPLE: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Paper {
    hearsay: Hearsay,
}

/// What a beacon tells of a node's use.
pub(in crate::placement) fn use_share(cluster: &Cluster<'_>, at: usize) -> f64 {
    let figures = &cluster.figures[at];
    let steps = f64::from(figures.queued) / (STEPS_PER_CORE * f64::from(figures.cores));
    let memory = (MEMORY_IDLE + steps).min(1.0);
    let network = 0.0;
    SHARES.0 * cluster.nodes[at].used + SHARES.1 * memory + SHARES.2 * network
}

impl Paper {
    fn is_over(&self, cluster: &mut Cluster<'_>, at: usize) -> bool {
        let count = cluster.scenario.nodes;
        let stride = (count / SAMPLE).max(1);
        let first = cluster.random.below(stride);
        let (mut sum, mut heard) = (0.0, 0.0);
        for node in (first..count).step_by(stride).filter(|node| *node != at) {
            if let Some(beacon) = self.hearsay.of(cluster, at, node) {
                sum += beacon.use_share;
                heard += 1.0;
            }
        }
        let sent = cluster.board.sent(at) > 0;
        let own = cluster.board.newest(at).filter(|_| sent).map_or(0.0, |own| own.use_share);
        heard > 0.0 && own > sum / heard + MARKEDLY
    }

    fn draw(&self, cluster: &mut Cluster<'_>, at: usize, component: usize) -> Option<usize> {
        let weight = |beacon: &Beacon| (1.0 - f64::from(beacon.use_share as f32)).max(WEIGHT_MIN);
        self.hearsay.draw(cluster, at, component, |_, beacon| weight(beacon))
    }
}

impl Policy for Paper {
    fn place(&mut self, cluster: &mut Cluster<'_>, at: usize, id: Id) -> Verdict {
        let component = cluster.component(id);
        let holds = cluster.holds(at, component);
        let over = self.is_over(cluster, at);
        if holds && !over {
            return Verdict::Stay;
        }
        match self.draw(cluster, at, component) {
            Some(node) => Verdict::Go(node),
            None if holds => Verdict::Stay,
            None => nobody(cluster),
        }
    }

    fn after_beacon(&mut self, cluster: &mut Cluster<'_>, at: usize) {
        if !self.is_over(cluster, at) {
            return;
        }
        for _ in 0..cluster.nodes[at].queue.len().div_ceil(2) {
            let last = cluster.nodes[at].queue.len() - 1;
            let component = cluster.component(cluster.nodes[at].queue[last]);
            let Some(to) = self.draw(cluster, at, component) else { return };
            let Some(id) = cluster.take_out(at, last) else { return };
            cluster.send(at, to, id, true);
        }
    }

    fn signal(&mut self, cluster: &mut Cluster<'_>, at: usize, from: usize, signal: Signal) {
        if matches!(signal, Signal::Failed) {
            self.hearsay.failed(cluster.now, at, from);
        }
    }
}
