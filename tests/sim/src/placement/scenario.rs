//! A scenario: the cluster, its work, what goes wrong, and who decides. Read from a TOML file; a
//! word that is not known is refused. `tests/sim/README.md` has it in full.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::policy;

/// One run for each policy and seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Nodes of a zone; 0 for one zone of all.
    pub zone_nodes: usize,
    /// Components, 0 for as many as suit the nodes.
    pub components: usize,
    /// The mean number of nodes that hold one; 0 for as many as suit the nodes. Each zone has two
    /// of each at least.
    pub replicas: f64,
    /// The capacity of each node, in cores: whole ones, or one that is slower. Empty: drawn.
    pub capacities: Vec<f64>,
    /// The mean processor time of each step of the only class, in milliseconds: each step is of a
    /// component of its own, which all nodes hold. Empty: drawn.
    pub steps_ms: Vec<f64>,
    /// Arrivals as a share of what the best placement could do with these holders.
    pub load: f64,
    /// How the processor time of a step is distributed.
    pub service: Service,
    /// How clients come.
    pub arrivals: Arrivals,
    /// Where they come.
    pub ingress: Ingress,
    /// How long clients come, and from when on they are measured, in seconds; 0 for as long as suits
    /// the nodes.
    pub duration_s: f64,
    pub warm_up_s: f64,
    /// The order of the run queue.
    pub order: Order,
    /// What nodes tell as their speed.
    pub speed: TellsSpeed,
    /// The error of what is expected of each component's demand: up to this much more or less.
    pub demand_error: f64,

    /// Between two beacons of a node, give or take a twentieth.
    pub beacon_ms: f64,
    /// Beacons lost, for each receiver for itself.
    pub beacon_loss: f64,
    /// How much later than the hop a beacon may come.
    pub beacon_jitter_us: f64,
    /// Between two summaries of a zone.
    pub summary_ms: f64,
    /// One way inside a zone, and between zones.
    pub hop_us: f64,
    pub hop_zone_us: f64,
    /// The processor time that a migration costs its target.
    pub move_us: f64,

    /// What goes wrong.
    pub fault: Fault,
    /// How long a sender waits for a node that hangs; only with `fault = "hang"`.
    pub hang_ms: f64,
    /// With `fault = "hot-class"`: how many times as often the first class comes then.
    pub hot_factor: f64,
    /// How long it takes a node to take a component in; 0 for no adoption.
    pub adoption_s: f64,

    /// Who decides, by name. Each runs on the same arrivals and demands.
    pub policies: Vec<String>,
    /// One run for each.
    pub seeds: Vec<u64>,
}

/// How the processor time of a step is distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Exponential, mean 2 ms.
    Exponential,
    /// 1 ms, but one in twenty 50 ms.
    Bimodal,
    /// Bounded Pareto: shape 1.5, from 0.5 ms to 1 s.
    Pareto,
    /// Always 2 ms.
    Fixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    Poisson,
    /// About 100 ms at 1.92 times the rate, about 400 ms at 0.77 times.
    Bursts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ingress {
    /// At any node.
    Uniform,
    /// Six of ten at two nodes.
    TwoNodes,
    /// Half of all in the first zone.
    OneZone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// By arrival at the node.
    Fifo,
    /// By birth: what ships.
    Birth,
    /// The process with the fewest steps left.
    FewestLeft,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TellsSpeed {
    /// What it began with.
    Nominal,
    /// What its last steps took.
    Measured,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    None,
    /// A tenth of the nodes have a quarter of their speed, from 40 % to 70 % of the time.
    Slow,
    /// A tenth of the nodes are gone from 40 % of the time on; who sends there is told at once.
    Crash,
    /// The same, but nobody is told: a sender gives up after `hang_ms`.
    Hang,
    /// A fifth of the nodes come at 40 % of the time.
    Join,
    /// The first class comes `hot_factor` times as often, from 30 % to 80 % of the time.
    HotClass,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            nodes: 16,
            zone_nodes: 0,
            components: 0,
            replicas: 0.0,
            capacities: Vec::new(),
            steps_ms: Vec::new(),
            load: 0.9,
            service: Service::Exponential,
            arrivals: Arrivals::Poisson,
            ingress: Ingress::Uniform,
            duration_s: 0.0,
            warm_up_s: 0.0,
            order: Order::Fifo,
            speed: TellsSpeed::Nominal,
            demand_error: 0.0,
            beacon_ms: 100.0,
            beacon_loss: 0.01,
            beacon_jitter_us: 500.0,
            summary_ms: 250.0,
            hop_us: 100.0,
            hop_zone_us: 2000.0,
            move_us: 30.0,
            fault: Fault::None,
            hang_ms: 50.0,
            hot_factor: 4.0,
            adoption_s: 0.0,
            policies: vec![String::from("jsq"), String::from("izna")],
            seeds: vec![11, 12, 13],
        }
    }
}

/// The most nodes and components that a scenario may name.
const NODES_MAX: usize = 20_000;
const COMPONENTS_MAX: usize = 1024;
const STEPS_MAX: usize = 256;

impl Scenario {
    /// Read one from a file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("bad scenario {}", path.display()))
    }

    /// Read one from text.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        let scenario = scenario.suited();
        scenario.check()?;
        Ok(scenario)
    }

    /// Fill in what suits the number of nodes: components, replicas, duration.
    pub fn suited(mut self) -> Self {
        if !self.capacities.is_empty() {
            self.nodes = self.capacities.len();
        }
        if !self.steps_ms.is_empty() {
            self.components = self.steps_ms.len();
            self.replicas = self.nodes as f64;
        }
        let (components, replicas, duration_s, warm_up_s): (_, _, _, f64) = match self.nodes {
            0..=4 => (6, 2.5, 60.0, 5.0),
            5..=31 => (12, 5.0, 20.0, 2.0),
            32..=299 => (24, 25.0, 5.0, 1.0),
            300..=2000 => (60, 100.0, 1.6, 0.5),
            _ => (60, 1000.0, 0.7, 0.3),
        };
        if self.components == 0 {
            self.components = components;
        }
        if self.replicas == 0.0 {
            self.replicas = replicas;
        }
        if self.duration_s == 0.0 {
            self.duration_s = duration_s;
        }
        if self.warm_up_s == 0.0 {
            self.warm_up_s = warm_up_s.min(self.duration_s / 2.0);
        }
        if self.zone_nodes == 0 {
            self.zone_nodes = self.nodes;
        }
        self
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!((2..=NODES_MAX).contains(&self.nodes), "nodes must be 2 to {NODES_MAX}");
        ensure!(
            (1..=COMPONENTS_MAX).contains(&self.components),
            "components must be 1 to {COMPONENTS_MAX}"
        );
        let all_positive = |figures: &[f64]| figures.iter().all(|figure| *figure > 0.0);
        ensure!(all_positive(&self.capacities), "capacities must be over 0");
        ensure!(all_positive(&self.steps_ms), "steps_ms must be over 0");
        ensure!(self.steps_ms.len() < STEPS_MAX, "steps_ms must be fewer than {STEPS_MAX}");
        ensure!((2..=self.nodes).contains(&self.zone_nodes), "zone_nodes must be 2 to nodes");
        ensure!(self.load > 0.0 && self.load <= 10.0, "load must be over 0, and 10 at most");
        ensure!(self.warm_up_s < self.duration_s, "warm_up_s must be less than duration_s");
        ensure!(self.duration_s <= 600.0, "duration_s must be 600 at most");
        ensure!((0.0..=1.0).contains(&self.beacon_loss), "beacon_loss must be 0 to 1");
        ensure!(self.beacon_ms >= 1.0 && self.summary_ms >= 1.0, "intervals must be 1 ms or more");
        ensure!(!self.seeds.is_empty() && !self.policies.is_empty(), "nothing would run");
        for name in &self.policies {
            ensure!(
                policy::exists(name),
                "no such policy: {name}; there are {}",
                policy::NAMES.join(", ")
            );
        }
        Ok(())
    }

    pub(super) fn zones(&self) -> usize {
        self.nodes.div_ceil(self.zone_nodes)
    }
}

impl Service {
    /// The mean processor time of a step, in seconds.
    pub(super) fn mean_s(self) -> f64 {
        match self {
            Self::Exponential | Self::Fixed => 2e-3,
            Self::Bimodal => 0.95 * 1e-3 + 0.05 * 50e-3,
            Self::Pareto => {
                let Pareto { shape, low, high } = PARETO;
                let tail = (low / high).powf(shape - 1.0);
                shape / (shape - 1.0) * low * (1.0 - tail) / (1.0 - tail * low / high)
            }
        }
    }

    /// A processor time, from a number in (0, 1).
    pub(super) fn draw_s(self, unit: f64) -> f64 {
        match self {
            Self::Exponential => -2e-3 * unit.ln(),
            Self::Fixed => 2e-3,
            Self::Bimodal if unit < 0.95 => 1e-3,
            Self::Bimodal => 50e-3,
            Self::Pareto => {
                let Pareto { shape, low, high } = PARETO;
                let within = 1.0 - (low / high).powf(shape);
                low / (1.0 - unit * within).powf(1.0 / shape)
            }
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exponential => "exponential",
            Self::Bimodal => "bimodal",
            Self::Pareto => "Pareto",
            Self::Fixed => "fixed",
        }
    }
}

struct Pareto {
    shape: f64,
    low: f64,
    high: f64,
}

const PARETO: Pareto = Pareto { shape: 1.5, low: 0.5e-3, high: 1.0 };

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, a typo in a scenario is taken for "nothing of that", or nonsense is run.
    #[test]
    fn typos_and_nonsense_are_refused() {
        let error = |text: &str| format!("{:#}", Scenario::parse(text).unwrap_err());
        assert!(error("node = 4").contains("unknown field `node`"));
        assert!(error("service = \"exponental\"").contains("unknown variant"));
        assert!(error("policies = [\"jsk\"]").contains("no such policy: jsk"));
        assert!(error("nodes = 1").contains("nodes must be"));
        assert!(error("nodes = 20001").contains("nodes must be"));
        assert!(error("components = 1025").contains("components must be"));
        assert!(error("capacities = [1.0, 0.0]").contains("capacities must be"));
        assert!(error("steps_ms = [-1.0]").contains("steps_ms must be"));
        assert!(error(&format!("steps_ms = {:?}", [1.0; 256])).contains("steps_ms must be"));
        assert!(error("seeds = []").contains("nothing would run"));
        assert!(error("duration_s = 1\nwarm_up_s = 2").contains("warm_up_s"));
    }

    /// If this fails, the mean of a distribution is not what its draws have, and all loads are
    /// wrong.
    #[test]
    fn draws_have_the_mean() {
        for service in [Service::Exponential, Service::Bimodal, Service::Pareto, Service::Fixed] {
            let draws = 1_000_000;
            let sum: f64 =
                (0..draws).map(|n| service.draw_s((f64::from(n) + 0.5) / f64::from(draws))).sum();
            let mean = sum / f64::from(draws);
            assert!((mean / service.mean_s() - 1.0).abs() < 0.002, "{service:?} {mean}");
        }
    }
}
