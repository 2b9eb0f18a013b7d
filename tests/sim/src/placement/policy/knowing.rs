//! Join the shortest wait, with perfect and instant knowledge: the reference. What is on its way
//! counts. It is no strict bound: it commits when it places, and late binding can do better.

use super::{Policy, Verdict, nobody};
use crate::placement::{
    cluster::{Cluster, Figures},
    event::Id,
};

/// In clusters larger than this only the own zone and some nodes elsewhere are looked at.
const ALL_NODES_MAX: usize = 2000;
const ELSEWHERE: usize = 64;
/// Among equals the least loaded.
const TIE_S: f64 = 1e-7;

#[derive(Debug)]
pub(super) struct ShortestWait;

impl Policy for ShortestWait {
    fn place(&mut self, cluster: &mut Cluster<'_>, at: usize, id: Id) -> Verdict {
        let component = cluster.component(id);
        let step_s = cluster.processes[id as usize].believed_s;
        let mut best = None;
        let holds = cluster.holds(at, component) && cluster.figures[at].alive;
        if holds {
            look(cluster, at, at, step_s, &mut best);
        }
        if cluster.scenario.nodes <= ALL_NODES_MAX {
            for node in &cluster.holders[component] {
                look(cluster, at, *node as usize, step_s, &mut best);
            }
        } else {
            for node in cluster.holders_in(component, cluster.zone(at)) {
                look(cluster, at, *node as usize, step_s, &mut best);
            }
            for _ in 0..ELSEWHERE {
                let drawn = cluster.random.below(cluster.holders[component].len());
                let node = cluster.holders[component][drawn] as usize;
                look(cluster, at, node, step_s, &mut best);
            }
        }
        match best {
            Some((_, node)) if node == at => Verdict::Stay,
            Some((_, node)) => Verdict::Go(node),
            None => nobody(cluster),
        }
    }
}

fn look(
    cluster: &Cluster<'_>,
    at: usize,
    node: usize,
    step_s: f64,
    best: &mut Option<(f64, usize)>,
) {
    let figures = &cluster.figures[node];
    if !figures.alive {
        return;
    }
    let time_s = time_s(cluster, at, node, figures, step_s);
    if best.is_none_or(|(least, _)| time_s < least) {
        *best = Some((time_s, node));
    }
}

/// The time of a step on a node, as it is.
fn time_s(cluster: &Cluster<'_>, at: usize, node: usize, figures: &Figures, step_s: f64) -> f64 {
    let way_s = match at == node {
        true => 0.0,
        false => cluster.hop_s(at, node) + cluster.scenario.move_us * 1e-6,
    };
    let queued = f64::from(figures.queued + figures.coming);
    let work_s = figures.work_s + figures.coming_s;
    let cores = f64::from(figures.cores);
    let wait_s = Figures::wait_s(queued, work_s, cores, cores * figures.speed);
    way_s + wait_s + step_s / figures.speed + TIE_S * queued / cores
}
