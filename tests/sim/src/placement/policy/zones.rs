//! Izna over zones and time: summaries of zones, processes sent into them, and components that
//! nodes take in.

use izna_core::{
    Duration,
    placement::{
        Adoption, Candidates, Costs, Demand, Estimate, Holder, Spare, Summary, ZONES_MAX,
        ZoneBelief, inside, is_stale,
    },
};

use super::{
    Signal,
    izna::{Izna, time, way},
};
use crate::placement::{
    cluster::{Cluster, moment},
    event::{Event, Id},
    random::{named, unit},
    scenario::Scenario,
};

/// What marks a candidate as a zone.
const ZONE: u32 = 1 << 31;

#[derive(Debug)]
pub(super) struct Zones {
    count: usize,
    components: usize,
    /// For each zone and component the last two summaries: the newer one is on its way for a while.
    summaries: Vec<[Summary; 2]>,
    made: Vec<u64>,
    /// For each node and zone.
    beliefs: Vec<ZoneBelief>,
}

impl Zones {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let (count, components) = (scenario.zones(), scenario.components);
        Self {
            count,
            components,
            summaries: vec![[Summary::default(); 2]; count * components],
            made: vec![0; count],
            beliefs: vec![ZoneBelief::default(); scenario.nodes * count],
        }
    }

    pub(super) fn begin(&mut self, cluster: &mut Cluster<'_>) {
        let interval_s = cluster.scenario.summary_ms * 1e-3;
        for zone in 0..self.count {
            let at = moment(interval_s * unit(named(cluster.seed, zone as u64, 4)));
            cluster.events.push(at, Event::Summary { zone: zone as u32 });
        }
    }

    pub(super) fn zone_of(candidate: u32) -> Option<usize> {
        (candidate & ZONE != 0).then_some((candidate & !ZONE) as usize)
    }

    /// Some other zones, each as one candidate.
    pub(super) fn add_candidates(
        &self,
        cluster: &mut Cluster<'_>,
        at: usize,
        id: Id,
        costs: &Costs,
        candidates: &mut Candidates<u32>,
    ) {
        let (own, component) = (cluster.zone(at), cluster.component(id));
        let hop_us = cluster.scenario.hop_zone_us;
        let interval = Duration::from_secs_f64(cluster.scenario.summary_ms * 1e-3);
        let now = time(cluster.now);
        let first = cluster.random.below(self.count);
        let others = (0..self.count).map(|n| (first + n) % self.count).filter(|zone| *zone != own);
        for zone in others.take(ZONES_MAX) {
            let kept = &self.summaries[zone * self.components + component];
            let newest = &kept[(self.made[zone] as usize + 1) % 2];
            let come = now.since(newest.at).as_micros() as f64 >= hop_us;
            let summary = if come { newest } else { &kept[self.made[zone] as usize % 2] };
            if is_stale(summary, now, interval) {
                continue;
            }
            let belief = &self.beliefs[at * self.count + zone];
            let members = cluster.scenario.zone_nodes;
            candidates.push(zone as u32 | ZONE, belief.there(summary, members, hop_us, costs));
        }
    }

    /// A node of a zone for a process that goes there.
    pub(super) fn enter(cluster: &mut Cluster<'_>, zone: usize, id: Id) -> Option<usize> {
        let drawn = cluster.random.unit();
        let holders = cluster.holders_in(cluster.component(id), zone);
        let capacity = |node: &u32| {
            let figures = &cluster.figures[*node as usize];
            (*node as usize, f64::from(figures.cores) * figures.told_speed)
        };
        let node = inside(holders.iter().map(capacity), drawn);
        cluster.process(id).relayed = true;
        node
    }

    pub(super) fn sent(&mut self, at: usize, zone: usize) {
        self.beliefs[at * self.count + zone].sent();
    }

    pub(super) fn signal(&mut self, cluster: &Cluster<'_>, at: usize, from: usize, signal: Signal) {
        let belief = &mut self.beliefs[at * self.count + cluster.zone(from)];
        match signal {
            Signal::Level(level_us) => {
                let made = cluster.now.saturating_sub(way(cluster, at, from));
                belief.answered(time(made), level_us);
            }
            Signal::Failed => belief.failed(),
            _ => {}
        }
    }

    /// Sum up a zone from the last beacons of its nodes.
    pub(super) fn sum_up(&mut self, cluster: &mut Cluster<'_>, zone: usize) {
        let now = time(cluster.now);
        for component in 0..self.components {
            let mut holders: Vec<(Estimate, f64)> = cluster
                .holders_in(component, zone)
                .iter()
                .filter_map(|node| cluster.board.newest(*node as usize))
                .filter(|beacon| !cluster.board.is_silent(beacon.at, cluster.now))
                .map(|beacon| {
                    let load = &beacon.load;
                    let estimate = Estimate {
                        time_us: f64::from(load.wait_us),
                        idle: f64::from(load.idle),
                        capacity: f64::from(load.capacity_milli) / 1000.0,
                    };
                    (estimate, f64::from(load.speed_milli) / 1000.0)
                })
                .collect();
            let kept = &mut self.summaries[zone * self.components + component];
            kept[self.made[zone] as usize % 2] = Summary::of(now, &mut holders);
        }
        self.made[zone] += 1;
        cluster.tally.messages += 1;
        let jitter = 0.95 + 0.1 * unit(named(cluster.seed, zone as u64, self.made[zone]));
        let when = cluster.after(cluster.scenario.summary_ms * 1e-3 * jitter);
        cluster.events.push(when, Event::Summary { zone: zone as u32 });
    }
}

/// Adoption, decided by the first node once a beacon interval.
#[derive(Debug, Default)]
pub(super) struct Adoptions {
    components: Vec<Adoption>,
}

impl Adoptions {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let on = scenario.adoption_s > 0.0;
        let count = if on { scenario.components } else { 0 };
        Self { components: vec![Adoption::default(); count] }
    }

    pub(super) fn begin(&self, cluster: &mut Cluster<'_>) {
        if !self.components.is_empty() {
            let when = cluster.after(cluster.scenario.beacon_ms * 1e-3);
            cluster.events.push(when, Event::Adoption);
        }
    }

    pub(super) fn look(&mut self, cluster: &mut Cluster<'_>, izna: &mut Izna) {
        let scenario = cluster.scenario;
        let now = time(cluster.now);
        for component in 0..self.components.len() {
            let demand = Demand {
                demand_us: cluster.world.believed_s[component] * 1e6,
                inflow: f64::INFINITY,
                refused: 0.0,
                load_seconds: scenario.adoption_s,
                period: Duration::from_secs_f64(scenario.beacon_ms * 1e-3),
            };
            let (holders, mut spares) = figures(cluster, izna, component);
            let targets = self.components[component].look(now, &demand, &holders, &mut spares);
            for node in targets {
                adopt(cluster, node, component);
            }
        }
        self.begin(cluster);
    }
}

/// What the first node has of the holders of a component, and of those that could be.
fn figures(
    cluster: &mut Cluster<'_>,
    izna: &mut Izna,
    component: usize,
) -> (Vec<Holder>, Vec<Spare<usize>>) {
    let (mut holders, mut spares) = (Vec::new(), Vec::new());
    for node in 0..cluster.scenario.nodes {
        let load = match node {
            0 => super::Policy::load(izna, cluster, 0),
            _ => match izna.belief(cluster, 0, node) {
                Some(belief) => *belief.load(),
                None => continue,
            },
        };
        let (inflow, capacity) =
            (f64::from(load.inflow_milli) / 1000.0, f64::from(load.capacity_milli) / 1000.0);
        if cluster.holds(node, component) {
            holders.push(Holder { wait_us: f64::from(load.wait_us), inflow, capacity });
        } else if load.idle > 0 && !cluster.nodes[node].adopting {
            spares.push(Spare { node, inflow, capacity });
        }
    }
    (holders, spares)
}

/// A node takes a component in, on one of its cores.
fn adopt(cluster: &mut Cluster<'_>, node: usize, component: usize) {
    cluster.count_busy(node);
    cluster.nodes[node].adopting = true;
    cluster.nodes[node].running += 1;
    cluster.figures[node].queued += 1;
    let when = cluster.after(cluster.scenario.adoption_s);
    let event = Event::Adopted { at: node as u32, component: component as u16 };
    cluster.events.push(when, event);
}
