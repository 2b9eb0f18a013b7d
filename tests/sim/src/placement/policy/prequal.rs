//! Prequal (NSDI 2024), in both forms. *Sync*: ask three, wait for the answers, take the best.
//! *Async*: probes go out with each decision, their answers wait in a pool; of the pool the nodes
//! with many steps are hot, and the quickest of the cold ones is taken. Tuned for steps of
//! milliseconds: one pool for all components, 32 answers, 20 ms old at most. Answering costs no
//! processor time here.

use std::collections::BTreeMap;

use super::{Hearsay, Policy, Signal, Verdict, any_holder, nobody, since_s};
use crate::placement::{
    cluster::{Cluster, Figures, moment},
    event::{Id, Moment},
};

/// How many are asked.
const PROBES: usize = 3;
const DRAWS_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Sync {
    hearsay: Hearsay,
    asked: BTreeMap<Id, Vec<usize>>,
}

impl Policy for Sync {
    fn place(&mut self, cluster: &mut Cluster<'_>, at: usize, id: Id) -> Verdict {
        let component = cluster.component(id);
        let holds = cluster.holds(at, component);
        if let Some(asked) = self.asked.remove(&id) {
            return decide(cluster, at, id, holds, &asked);
        }
        let alone = holds && cluster.holders_in(component, cluster.zone(at)).len() == 1;
        let mut asked = Vec::new();
        let mut way_s: f64 = 0.0;
        for _ in 0..DRAWS_MAX {
            if asked.len() == PROBES || alone {
                break;
            }
            let Some(node) = any_holder(cluster, at, component) else { continue };
            if !asked.contains(&node) && self.hearsay.of(cluster, at, node).is_some() {
                asked.push(node);
                way_s = way_s.max(2.0 * cluster.hop_s(at, node));
                cluster.tally.messages += 2;
            }
        }
        if holds && (alone || cluster.figures[at].idle() > 0) {
            return Verdict::Stay;
        }
        if asked.is_empty() && !holds {
            return nobody(cluster);
        }
        self.asked.insert(id, asked);
        Verdict::Later(moment(way_s))
    }

    fn signal(&mut self, cluster: &mut Cluster<'_>, at: usize, from: usize, signal: Signal) {
        if matches!(signal, Signal::Failed) {
            self.hearsay.failed(cluster.now, at, from);
        }
    }
}

/// The answers are there: the best of them and of the own node.
fn decide(cluster: &Cluster<'_>, at: usize, id: Id, holds: bool, asked: &[usize]) -> Verdict {
    let step_s = cluster.processes[id as usize].believed_s;
    let time_s = |node: usize, way_s: f64, coming: u32, coming_s: f64| {
        let figures = &cluster.figures[node];
        let cores = f64::from(figures.cores);
        let queued = f64::from(figures.queued + coming);
        let capacity = cores * figures.speed;
        way_s
            + Figures::wait_s(queued, figures.work_s + coming_s, cores, capacity)
            + step_s / figures.speed
    };
    let own = &cluster.figures[at];
    let mut best = holds.then(|| (time_s(at, 0.0, own.coming, own.coming_s), at));
    for node in asked.iter().copied().filter(|node| cluster.figures[*node].alive) {
        let way_s = cluster.hop_s(at, node) + cluster.scenario.move_us * 1e-6;
        let time_s = time_s(node, way_s, 0, 0.0);
        if best.is_none_or(|(least, _)| time_s < least) {
            best = Some((time_s, node));
        }
    }
    match best {
        Some((_, node)) if node == at => Verdict::Stay,
        Some((_, node)) => Verdict::Go(node),
        None => nobody(cluster),
    }
}

/// Answers kept, how old they may be, and how often one is used.
const POOL_MAX: usize = 32;
const AGE_S_MAX: f64 = 0.02;
const USES_MAX: u8 = 4;
/// A node with more steps than this share of the pool's has is hot.
const HOT_QUANTILE: f64 = 0.84;
/// Loads for which what a step takes is kept apart.
const LEVELS: usize = 64;

#[derive(Debug)]
pub(super) struct Async {
    hearsay: Hearsay,
    pools: Vec<Vec<Answer>>,
    /// For each node, what a step took when so many were there.
    took_s: Vec<[f64; LEVELS]>,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    node: usize,
    steps: f64,
    took_s: f64,
    came: Moment,
    uses: u8,
}

impl Async {
    pub(super) fn new(cluster: &Cluster<'_>) -> Self {
        let count = cluster.scenario.nodes;
        Self {
            hearsay: Hearsay::default(),
            pools: vec![Vec::new(); count],
            took_s: vec![[0.0; LEVELS]; count],
        }
    }

    /// What a step takes on a node with so many: as measured with as many, or with nearly as many.
    fn expected_s(&self, cluster: &Cluster<'_>, node: usize, steps: u32) -> f64 {
        let steps = (steps as usize).min(LEVELS - 1);
        let took = &self.took_s[node];
        for distance in 0..8 {
            let near = [steps.checked_sub(distance), Some(steps + distance)];
            let known = near.into_iter().flatten().filter_map(|level| took.get(level));
            if let Some(known) = known.copied().find(|took| *took > 0.0) {
                return known;
            }
        }
        let figures = &cluster.figures[node];
        let (queued, cores) = (f64::from(figures.queued), f64::from(figures.cores));
        let wait_s = Figures::wait_s(queued, figures.work_s, cores, cores * figures.speed);
        cluster.scenario.service.mean_s() / figures.speed + wait_s
    }

    fn probe(&self, cluster: &mut Cluster<'_>, at: usize, component: usize) {
        let count = cluster.holders_in(component, cluster.zone(at)).len();
        for _ in 0..PROBES.min(count) {
            let Some(node) = any_holder(cluster, at, component) else { continue };
            if self.hearsay.of(cluster, at, node).is_some() {
                cluster.say(at, node, Signal::Probe);
            }
        }
    }

    /// The best of the pool and the own node by the hot-cold rule; none if too few are known.
    fn choose(&mut self, cluster: &Cluster<'_>, at: usize, component: usize) -> Option<usize> {
        let holds = cluster.holds(at, component);
        let mut known: Vec<Answer> = self.pools[at]
            .iter()
            .copied()
            .filter(|answer| cluster.holds(answer.node, component))
            .map(|answer| Answer {
                steps: answer.steps / f64::from(cluster.figures[answer.node].cores),
                took_s: answer.took_s + cluster.hop_s(at, answer.node),
                ..answer
            })
            .collect();
        if holds {
            let queued = cluster.figures[at].queued;
            let steps = f64::from(queued) / f64::from(cluster.figures[at].cores);
            let took_s = self.expected_s(cluster, at, queued);
            known.push(Answer { node: at, steps, took_s, came: cluster.now, uses: 0 });
        }
        let holders = cluster.holders_in(component, cluster.zone(at)).len();
        if known.len() < holders.min(2) {
            return None;
        }
        let mut steps: Vec<f64> = known.iter().map(|answer| answer.steps).collect();
        steps.sort_by(f64::total_cmp);
        let hot = steps[((steps.len() - 1) as f64 * HOT_QUANTILE) as usize];
        let cold = known.iter().filter(|answer| answer.steps <= hot);
        cold.min_by(|a, b| a.took_s.total_cmp(&b.took_s)).map(|answer| answer.node)
    }

    /// An answer was used: it counts itself, and lasts for some uses.
    fn used(&mut self, cluster: &Cluster<'_>, at: usize, node: usize) {
        let figures = &cluster.figures[node];
        let capacity = f64::from(figures.cores) * figures.speed;
        let mean_s = cluster.scenario.service.mean_s();
        if let Some(answer) = self.pools[at].iter_mut().find(|answer| answer.node == node) {
            answer.uses += 1;
            answer.steps += 1.0;
            if answer.steps > f64::from(figures.cores) {
                answer.took_s += mean_s / capacity;
            }
        }
    }

    /// Take one out when the pool is half full: the oldest or the one with the most steps.
    fn thin_out(&mut self, cluster: &mut Cluster<'_>, at: usize) {
        if self.pools[at].len() <= POOL_MAX / 2 {
            return;
        }
        let worst = cluster.random.below(2) == 0;
        let rank = |answer: &Answer| match worst {
            true => -answer.steps / f64::from(cluster.figures[answer.node].cores),
            false => answer.came as f64,
        };
        let least =
            |(_, a): &(usize, &Answer), (_, b): &(usize, &Answer)| rank(a).total_cmp(&rank(b));
        if let Some((place, _)) = self.pools[at].iter().enumerate().min_by(least) {
            self.pools[at].swap_remove(place);
        }
    }
}

impl Policy for Async {
    fn place(&mut self, cluster: &mut Cluster<'_>, at: usize, id: Id) -> Verdict {
        let component = cluster.component(id);
        self.probe(cluster, at, component);
        let now = cluster.now;
        self.pools[at]
            .retain(|answer| since_s(now, answer.came) < AGE_S_MAX && answer.uses < USES_MAX);
        let chosen = self.choose(cluster, at, component);
        if let Some(node) = chosen {
            self.used(cluster, at, node);
        }
        self.thin_out(cluster, at);
        match chosen {
            Some(node) if node == at => Verdict::Stay,
            Some(node) => Verdict::Go(node),
            None if cluster.holds(at, component) => Verdict::Stay,
            None => {
                let capacity = |figures: &Figures| f64::from(figures.cores) * figures.told_speed;
                let drawn =
                    self.hearsay.draw(cluster, at, component, |figures, _| capacity(figures));
                drawn.map_or_else(|| nobody(cluster), Verdict::Go)
            }
        }
    }

    fn ended(&mut self, cluster: &mut Cluster<'_>, at: usize, id: Id) {
        let process = &cluster.processes[id as usize];
        let took_s = since_s(cluster.now, process.queued);
        let known = &mut self.took_s[at][(process.before as usize).min(LEVELS - 1)];
        *known = if *known == 0.0 { took_s } else { *known * 0.9 + took_s * 0.1 };
    }

    fn signal(&mut self, cluster: &mut Cluster<'_>, at: usize, from: usize, signal: Signal) {
        match signal {
            Signal::Probe if cluster.figures[at].alive => {
                let queued = cluster.figures[at].queued;
                let took_s = self.expected_s(cluster, at, queued);
                // What is being renewed is not used any more.
                self.pools[from].retain(|answer| answer.node != at);
                cluster.say(at, from, Signal::Answer(f64::from(queued), took_s));
            }
            Signal::Answer(steps, took_s) => {
                let pool = &mut self.pools[at];
                pool.retain(|answer| answer.node != from);
                if pool.len() >= POOL_MAX {
                    let oldest = pool.iter().enumerate().min_by_key(|(_, answer)| answer.came);
                    if let Some(oldest) = oldest.map(|(place, _)| place) {
                        pool.swap_remove(oldest);
                    }
                }
                pool.push(Answer { node: from, steps, took_s, came: cluster.now, uses: 0 });
            }
            Signal::Failed => self.hearsay.failed(cluster.now, at, from),
            _ => {}
        }
    }
}
