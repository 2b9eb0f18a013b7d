//! The world of a run: nodes, components and where they are, classes of processes. A seed draws it;
//! all policies get the same.

use super::{
    flow,
    random::{Stream, named, unit},
    scenario::{Scenario, Service},
};

/// Classes of processes.
const CLASSES: usize = 20;

/// Nodes, components and classes.
#[derive(Debug)]
pub(super) struct World {
    pub(super) cores: Vec<u16>,
    pub(super) speeds: Vec<f64>,
    /// For each component, the nodes that hold it, in order.
    pub(super) holders: Vec<Vec<u32>>,
    /// For each node, the components that it holds.
    pub(super) holds: Vec<Vec<u16>>,
    /// For each class, the components of its steps.
    pub(super) classes: Vec<Vec<u16>>,
    /// How often each class comes.
    pub(super) shares: Vec<f64>,
    /// For each component, the mean processor time of a step at speed one, in seconds; and what
    /// policies believe it to be.
    pub(super) means_s: Vec<f64>,
    pub(super) believed_s: Vec<f64>,
    /// The most processes a second that any rule could do.
    pub(super) rate_max: f64,
}

impl World {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut random = Stream::new(named(seed, 77, scenario.nodes as u64));
        let (cores, speeds) = match scenario.capacities.as_slice() {
            [] => machines(scenario.nodes, &mut random),
            given => given.iter().map(|capacity| machine(*capacity)).unzip(),
        };
        let mean_s = scenario.service.mean_s();
        let (means_s, (classes, shares)) = if scenario.steps_ms.is_empty() {
            let mut mean = |_| mean_s * (0.5 + random.unit());
            let means_s: Vec<f64> = (0..scenario.components).map(&mut mean).collect();
            (means_s, classes(scenario.components, &mut random))
        } else {
            let class = (0..scenario.components as u16).collect();
            let means_s = scenario.steps_ms.iter().map(|step_ms| step_ms * 1e-3).collect();
            (means_s, (vec![class], vec![1.0]))
        };
        let error = |component: usize| {
            let sign = unit(named(seed, 555, component as u64)) * 2.0 - 1.0;
            (1.0 + scenario.demand_error).powf(sign)
        };
        let believed_s =
            means_s.iter().enumerate().map(|(component, mean)| mean * error(component)).collect();
        let mut world = Self {
            holders: vec![Vec::new(); scenario.components],
            holds: vec![Vec::new(); scenario.nodes],
            cores,
            speeds,
            classes,
            shares,
            means_s,
            believed_s,
            rate_max: 0.0,
        };
        if scenario.steps_ms.is_empty() {
            world.spread(scenario, &mut random);
        } else {
            let (nodes, components) = (scenario.nodes as u32, scenario.components as u16);
            world.holders.fill((0..nodes).collect());
            world.holds.fill((0..components).collect());
        }
        world.rate_max = flow::rate_max(&world);
        world
    }

    /// Give each component its holders: as many as its demand calls for, two in each zone at least,
    /// on the nodes that hold least for their capacity.
    fn spread(&mut self, scenario: &Scenario, random: &mut Stream) {
        let demand = self.demand_s();
        let mean = self.work_s() / scenario.components as f64;
        let zones = scenario.zones();
        let mut held = vec![0u32; scenario.nodes];
        for (component, demand) in demand.iter().enumerate() {
            let wanted = scenario.replicas * demand.max(0.2 * mean) / mean;
            let wanted = wanted.clamp(2.0, scenario.nodes as f64 * 0.8);
            for zone in 0..zones {
                let first = zone * scenario.zone_nodes;
                let end = (first + scenario.zone_nodes).min(scenario.nodes);
                let count = ((wanted / zones as f64).round() as usize).clamp(2, end - first);
                let mut ranked: Vec<(f64, usize)> = (first..end)
                    .map(|node| {
                        let rank = f64::from(held[node]) + random.unit() * 1.5;
                        (rank / self.node_capacity(node).sqrt(), node)
                    })
                    .collect();
                ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
                for (_, node) in ranked.iter().take(count) {
                    self.holders[component].push(*node as u32);
                    self.holds[*node].push(component as u16);
                    held[*node] += 1;
                }
            }
            self.holders[component].sort_unstable();
        }
    }

    /// The processor time of a step at speed one, in seconds.
    pub(super) fn step_s(
        &self,
        service: Service,
        seed: u64,
        number: u64,
        step: u8,
        component: usize,
    ) -> f64 {
        let drawn = unit(named(seed ^ 0xD0, number, u64::from(step)));
        service.draw_s(drawn) * self.means_s[component] / service.mean_s()
    }

    pub(super) fn node_capacity(&self, node: usize) -> f64 {
        f64::from(self.cores[node]) * self.speeds[node]
    }

    /// Cores times speed of all nodes.
    pub(super) fn capacity(&self) -> f64 {
        (0..self.cores.len()).map(|node| self.node_capacity(node)).sum()
    }

    /// The processor time that each component needs for one process of the mix.
    pub(super) fn demand_s(&self) -> Vec<f64> {
        let mut demand = vec![0.0; self.means_s.len()];
        for (class, share) in self.classes.iter().zip(&self.shares) {
            for component in class {
                demand[*component as usize] += share * self.means_s[*component as usize];
            }
        }
        demand
    }

    /// The processor time of one process of the mix.
    pub(super) fn work_s(&self) -> f64 {
        self.demand_s().iter().sum()
    }
}

/// A node of this capacity: whole cores, or one that is slower.
fn machine(capacity: f64) -> (u16, f64) {
    let cores = capacity.ceil().clamp(1.0, f64::from(u16::MAX));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was clamped")]
    let count = cores as u16;
    (count, capacity / cores)
}

/// Cores and speeds: four nodes always the same ones, in another order; more as they come.
fn machines(nodes: usize, random: &mut Stream) -> (Vec<u16>, Vec<f64>) {
    if nodes == 4 {
        let first = random.below(4);
        let (cores, speeds) = ([8, 4, 4, 2], [1.0, 1.5, 1.0, 0.6]);
        let turned = |n: usize| (n + first) % 4;
        return (
            (0..4).map(|n| cores[turned(n)]).collect(),
            (0..4).map(|n| speeds[turned(n)]).collect(),
        );
    }
    let mut machines = (Vec::new(), Vec::new());
    for _ in 0..nodes {
        machines.0.push(match random.unit() {
            share if share < 0.3 => 2,
            share if share < 0.7 => 4,
            _ => 8,
        });
        machines.1.push([0.6, 1.0, 1.0, 1.5][random.below(4)]);
    }
    machines
}

/// Classes of three to five steps, no component twice in one (twice running, where there are few);
/// the n-th comes with a share of one over the root of n.
fn classes(components: usize, random: &mut Stream) -> (Vec<Vec<u16>>, Vec<f64>) {
    let mut classes = Vec::new();
    for _ in 0..CLASSES {
        let length = 3 + random.below(3);
        let mut class: Vec<u16> = Vec::new();
        while class.len() < length {
            let component = random.below(components) as u16;
            let again = class.contains(&component);
            let few = components < 6 && class.last() != Some(&component);
            if components == 1 || !again || few {
                class.push(component);
            }
        }
        classes.push(class);
    }
    let shares: Vec<f64> = (1..=CLASSES).map(|n| 1.0 / (n as f64).sqrt()).collect();
    let total: f64 = shares.iter().sum();
    (classes, shares.iter().map(|share| share / total).collect())
}
