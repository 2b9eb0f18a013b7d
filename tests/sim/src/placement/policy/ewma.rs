//! Peak-EWMA, as in Finagle: the better of two random choices by what steps took lately times those
//! under way; a slow step counts at once, quick ones slowly.

use super::{Hearsay, Policy, Signal, Verdict, any_holder, choices::DRAWS_MAX, nobody, since_s};
use crate::placement::{
    cluster::Cluster,
    event::{Id, Moment},
};

const CHOICES: usize = 2;
/// How fast a peak is forgotten.
const DECAY_S: f64 = 1.0;

#[derive(Debug)]
pub(super) struct PeakEwma {
    hearsay: Hearsay,
    pairs: Vec<Pair>,
    count: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    took_s: f64,
    under_way: u32,
    told: Moment,
}

impl PeakEwma {
    pub(super) fn new(cluster: &Cluster<'_>) -> Self {
        let count = cluster.scenario.nodes;
        Self { hearsay: Hearsay::default(), pairs: vec![Pair::default(); count * count], count }
    }

    fn pair(&mut self, at: usize, node: usize) -> &mut Pair {
        &mut self.pairs[at * self.count + node]
    }

    fn cost(&mut self, at: usize, node: usize, step_s: f64) -> f64 {
        let pair = self.pair(at, node);
        let took_s = if pair.took_s > 0.0 { pair.took_s } else { step_s };
        took_s * f64::from(pair.under_way + 1)
    }

    fn told(&mut self, now: Moment, at: usize, node: usize, took_s: f64) {
        let pair = self.pair(at, node);
        pair.under_way = pair.under_way.saturating_sub(1);
        let kept = (-since_s(now, pair.told) / DECAY_S).exp();
        pair.told = now;
        pair.took_s =
            if took_s > pair.took_s { took_s } else { pair.took_s * kept + took_s * (1.0 - kept) };
    }
}

impl Policy for PeakEwma {
    fn place(&mut self, cluster: &mut Cluster<'_>, at: usize, id: Id) -> Verdict {
        let component = cluster.component(id);
        let step_s = cluster.processes[id as usize].believed_s;
        let mut best = None;
        if cluster.holds(at, component) {
            best = Some((self.cost(at, at, step_s), at));
        }
        let few = cluster.holders_in(component, cluster.zone(at)).len() <= 2;
        let (mut chosen, mut last) = (0, None);
        for _ in 0..DRAWS_MAX {
            let Some(node) = any_holder(cluster, at, component) else { continue };
            if last == Some(node) && !few {
                continue;
            }
            let Some(beacon) = self.hearsay.of(cluster, at, node) else { continue };
            // A beacon is news of the node as an answer is: the peak is forgotten from then on.
            let pair = self.pair(at, node);
            pair.told = pair.told.max(beacon.at);
            (chosen, last) = (chosen + 1, Some(node));
            let cost = self.cost(at, node, step_s);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, node));
            }
            if chosen == CHOICES {
                break;
            }
        }
        match best {
            Some((_, node)) if node == at => {
                self.pair(at, at).under_way += 1;
                Verdict::Stay
            }
            Some((_, node)) => Verdict::Go(node),
            None => nobody(cluster),
        }
    }

    fn sends(&mut self, _cluster: &mut Cluster<'_>, at: usize, to: usize, _id: Id) {
        self.pair(at, to).under_way += 1;
    }

    fn ended(&mut self, cluster: &mut Cluster<'_>, at: usize, id: Id) {
        let process = &cluster.processes[id as usize];
        let took_s = since_s(cluster.now, process.sent);
        let source = process.source as usize;
        if source == at {
            self.told(cluster.now, at, at, took_s);
        } else {
            let took_s = took_s + cluster.hop_s(at, source);
            cluster.say(at, source, Signal::Feedback(took_s));
        }
    }

    fn signal(&mut self, cluster: &mut Cluster<'_>, at: usize, from: usize, signal: Signal) {
        match signal {
            Signal::Feedback(took_s) => self.told(cluster.now, at, from, took_s),
            Signal::Failed => {
                self.hearsay.failed(cluster.now, at, from);
                let pair = self.pair(at, from);
                pair.under_way = pair.under_way.saturating_sub(1);
            }
            _ => {}
        }
    }
}
