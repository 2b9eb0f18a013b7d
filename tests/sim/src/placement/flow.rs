//! How much work a cluster can do at all: the largest rate at which every component's work still
//! fits onto its holders. No rule can do better, so loads are told as shares of it.

use super::world::World;

/// The unit of flow: capacities are whole numbers of it, so that the search ends.
const UNITS: f64 = 1e12;
/// How often the interval that holds the answer is halved.
const HALVINGS: usize = 24;

/// The largest rate, in processes a second.
pub(super) fn rate_max(world: &World) -> f64 {
    let whole = world.capacity() / world.work_s() * 1.0001;
    let halvings = if world.cores.len() > 2000 { HALVINGS / 2 } else { HALVINGS };
    let (mut low, mut high) = (0.0, whole);
    for _ in 0..halvings {
        let middle = f64::midpoint(low, high);
        if fits(world, middle) { low = middle } else { high = middle }
    }
    low
}

/// Whether the work of `rate` processes a second can be spread over the holders.
fn fits(world: &World, rate: f64) -> bool {
    let scale = UNITS / world.capacity();
    let units = |work: f64| (work * scale) as u64;
    let demands: Vec<u64> = world.demand_s().iter().map(|demand| units(rate * demand)).collect();
    let total: u64 = demands.iter().sum();
    let mut network = Network::new(world, &demands, units);
    // What rounding loses is far below a millionth.
    network.flow() as f64 >= total as f64 * (1.0 - 1e-6)
}

/// Dinic's algorithm on source, components, nodes, sink.
struct Network {
    target: Vec<u32>,
    left: Vec<u64>,
    edges: Vec<Vec<u32>>,
    level: Vec<i32>,
    next: Vec<usize>,
    source: usize,
    sink: usize,
}

impl Network {
    fn new(world: &World, demands: &[u64], units: impl Fn(f64) -> u64) -> Self {
        let (components, nodes) = (demands.len(), world.cores.len());
        let (source, sink) = (components + nodes, components + nodes + 1);
        let vertices = sink + 1;
        let mut network = Self {
            target: Vec::new(),
            left: Vec::new(),
            edges: vec![Vec::new(); vertices],
            level: vec![0; vertices],
            next: vec![0; vertices],
            source,
            sink,
        };
        for (component, demand) in demands.iter().enumerate() {
            network.edge(source, component, *demand);
            for holder in &world.holders[component] {
                network.edge(component, components + *holder as usize, u64::MAX / 4);
            }
        }
        for node in 0..nodes {
            let capacity = f64::from(world.cores[node]) * world.speeds[node];
            network.edge(components + node, sink, units(capacity));
        }
        network
    }

    fn edge(&mut self, from: usize, to: usize, capacity: u64) {
        for (from, to, left) in [(from, to, capacity), (to, from, 0)] {
            self.edges[from].push(self.target.len() as u32);
            self.target.push(to as u32);
            self.left.push(left);
        }
    }

    fn flow(&mut self) -> u64 {
        let mut flow = 0;
        while self.levels() {
            self.next.fill(0);
            loop {
                let pushed = self.push(self.source, u64::MAX / 4);
                if pushed == 0 {
                    break;
                }
                flow += pushed;
            }
        }
        flow
    }

    /// How far each vertex is from the source; whether the sink can be reached.
    fn levels(&mut self) -> bool {
        self.level.fill(-1);
        self.level[self.source] = 0;
        let mut queue = std::collections::VecDeque::from([self.source]);
        while let Some(vertex) = queue.pop_front() {
            for edge in &self.edges[vertex] {
                let to = self.target[*edge as usize] as usize;
                if self.left[*edge as usize] > 0 && self.level[to] < 0 {
                    self.level[to] = self.level[vertex] + 1;
                    queue.push_back(to);
                }
            }
        }
        self.level[self.sink] >= 0
    }

    fn push(&mut self, vertex: usize, most: u64) -> u64 {
        if vertex == self.sink {
            return most;
        }
        while self.next[vertex] < self.edges[vertex].len() {
            let edge = self.edges[vertex][self.next[vertex]] as usize;
            let to = self.target[edge] as usize;
            if self.left[edge] > 0 && self.level[to] == self.level[vertex] + 1 {
                let pushed = self.push(to, most.min(self.left[edge]));
                if pushed > 0 {
                    self.left[edge] -= pushed;
                    self.left[edge ^ 1] += pushed;
                    return pushed;
                }
            }
            self.next[vertex] += 1;
        }
        0
    }
}
