//! What one run is like: the cluster, its work, its faults and its limits. A seed draws them; a
//! scenario file can name them instead.

use izna_core::Duration;
use rand::{Rng, RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use serde::{Deserialize, Serialize};

/// Steps that no process of a simulated service runs.
const STEPS_MAX: u32 = 100_000;

/// The options of one run. Printed in full with every failure, as a scenario file is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Zones that they are in, as many in each. Seeds draw one: `zones = 3` in a scenario file makes
    /// a world of three.
    pub zones: usize,
    /// Of them, those that have clients.
    pub gateways: usize,
    /// Each node has one to this many cores.
    pub cores_max: u16,
    /// How long things go wrong, after a second to begin in.
    pub faults_ms: u64,
    /// How long the cluster has then to come to rest, before and after the last clients.
    pub heal_ms: u64,

    /// Apps.
    pub apps: usize,
    /// Components of each.
    pub components: usize,
    /// Nodes that hold a component; with none, all do.
    pub holders: usize,
    /// Clients, over all gateways.
    pub arrivals_per_second: f64,
    /// The share of requests that may run twice.
    pub idempotent: f64,
    /// The share of clients that go away.
    pub abandon: f64,
    /// The shortest and the longest deadline.
    pub deadline_ms: [u64; 2],
    /// The mean processor time of a step.
    pub step_us: f64,
    /// The deepest chain of calls, and the most calls of one component.
    pub depth_max: u32,
    pub calls_max: u32,
    /// The share of steps that use cluster memory.
    pub memory: f64,

    /// Between two beacons of a node.
    pub beacon_interval_ms: u64,
    /// Between two bulletins of a zone.
    pub summary_interval_ms: u64,
    /// Of each beacon, per receiver: lost, duplicated, late, and how late.
    pub beacon_loss: f64,
    pub beacon_duplicates: f64,
    pub beacon_late: f64,
    pub beacon_late_ms_max: u64,
    /// Pairs of nodes of which one never hears the other's beacons.
    pub deaf: usize,
    /// The one-way delay of a link.
    pub delay_us: [u64; 2],
    /// The share of messages and datagrams that take longer, by up to that, so that what is sent
    /// later on other links or by other datagrams overtakes them.
    pub overtaken: f64,
    pub overtaken_us_max: u64,
    /// What goes wrong how often.
    pub breaks_per_second: f64,
    pub partitions_per_second: f64,
    pub clogs_per_second: f64,
    pub pauses_per_second: f64,
    pub crashes_per_second: f64,
    pub drains_per_second: f64,
    pub deploys_per_second: f64,
    pub undeploys: bool,
    /// The share of partitions in which one side still hears the other.
    pub asymmetric: f64,
    /// Nodes that run steps many times slower than they say.
    pub slow_nodes: usize,
    /// Nodes whose memory is nearly full for a while.
    pub tight_nodes: usize,
    /// How long it takes to get a component, and how often it fails.
    pub fetch_ms: u64,
    pub fetch_failures: f64,

    /// Limits of the cores that differ from the defaults.
    pub held_max: usize,
    pub admit_max: usize,
    pub hops_max: u32,
    pub steps_max: u32,
    pub retain_revision_ms: u64,
    pub memory_bytes_max: usize,
    pub adopted_max: usize,
    /// How long an adopted component must be unneeded before it is given up.
    pub unneeded_ms: u64,

    /// The deliberate defect that is on, by its name; only with the feature `sabotage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sabotage: Option<String>,
}

impl Default for Options {
    /// A hundred nodes of which nothing goes wrong.
    fn default() -> Self {
        Self {
            nodes: 100,
            zones: 1,
            gateways: 10,
            cores_max: 2,
            faults_ms: 1500,
            heal_ms: 2600,
            apps: 2,
            components: 4,
            holders: 0,
            arrivals_per_second: 800.0,
            idempotent: 0.5,
            abandon: 0.0,
            deadline_ms: [300, 1500],
            step_us: 2000.0,
            depth_max: 3,
            calls_max: 3,
            memory: 0.0,
            beacon_interval_ms: 100,
            summary_interval_ms: 300,
            beacon_loss: 0.0,
            beacon_duplicates: 0.0,
            beacon_late: 0.0,
            beacon_late_ms_max: 1000,
            deaf: 0,
            delay_us: [50, 300],
            overtaken: 0.0,
            overtaken_us_max: 20_000,
            breaks_per_second: 0.0,
            partitions_per_second: 0.0,
            clogs_per_second: 0.0,
            pauses_per_second: 0.0,
            crashes_per_second: 0.0,
            drains_per_second: 0.0,
            deploys_per_second: 0.0,
            undeploys: false,
            asymmetric: 0.5,
            slow_nodes: 0,
            tight_nodes: 0,
            fetch_ms: 20,
            fetch_failures: 0.0,
            held_max: 4096,
            admit_max: 2048,
            hops_max: 64,
            steps_max: STEPS_MAX,
            retain_revision_ms: 300_000,
            memory_bytes_max: 64 << 20,
            adopted_max: 64,
            unneeded_ms: 60_000,
            sabotage: None,
        }
    }
}

impl Options {
    /// The options that `seed` draws. Each kind of fault is off in about half of the seeds: what
    /// many faults together hide, few show.
    pub fn draw(seed: u64) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x6f70_7469_6f6e_7321);
        let mut options = Self::default();
        options.draw_work(&mut random);
        options.draw_faults(&mut random);
        options.draw_limits(&mut random);
        options
    }

    fn draw_work(&mut self, r: &mut impl Rng) {
        self.gateways = pick(r, &[1, 3, 10, 100]);
        self.cores_max = pick(r, &[1, 2, 4]);
        self.apps = r.random_range(1..=3);
        self.components = r.random_range(1..=5);
        self.holders = pick(r, &[0, 0, 2, 3, 10, 40]);
        self.arrivals_per_second = between(r, 200.0, 1200.0);
        self.idempotent = pick(r, &[0.0, 0.5, 0.5, 1.0]);
        self.abandon = some(r, 0.0, 0.2);
        self.deadline_ms = pick(r, &[[300, 1500], [30, 400], [1000, 1500]]);
        self.step_us = between(r, 200.0, 20_000.0);
        self.depth_max = r.random_range(0..=4);
        self.calls_max = r.random_range(1..=3);
        self.memory = some(r, 0.05, 0.3);
    }

    fn draw_faults(&mut self, r: &mut impl Rng) {
        self.beacon_interval_ms = pick(r, &[100, 200, 250]);
        self.beacon_loss = some(r, 0.02, 0.4);
        self.beacon_duplicates = some(r, 0.01, 0.2);
        self.beacon_late = some(r, 0.01, 0.2);
        self.deaf = pick(r, &[0, 0, 0, 300]);
        self.delay_us = pick(r, &[[50, 300], [50, 300], [500, 5000]]);
        self.breaks_per_second = some(r, 2.0, 200.0);
        self.partitions_per_second = some(r, 0.5, 5.0);
        self.clogs_per_second = some(r, 1.0, 50.0);
        self.pauses_per_second = some(r, 1.0, 20.0);
        self.crashes_per_second = some(r, 1.0, 20.0);
        self.drains_per_second = some(r, 1.0, 10.0);
        self.deploys_per_second = some(r, 1.0, 8.0);
        self.undeploys = r.random_bool(0.3);
        self.slow_nodes = pick(r, &[0, 0, 5, 20]);
        self.tight_nodes = pick(r, &[0, 0, 5, 20]);
        self.fetch_ms = pick(r, &[5, 20, 150]);
        self.fetch_failures = some(r, 0.02, 0.3);
    }

    fn draw_limits(&mut self, r: &mut impl Rng) {
        (self.held_max, self.admit_max) =
            pick(r, &[(4096, 2048), (4096, 2048), (12, 8), (40, 30), (6, 6)]);
        self.hops_max = pick(r, &[64, 64, 64, 3, 8]);
        self.steps_max = pick(r, &[STEPS_MAX, STEPS_MAX, 4]);
        self.retain_revision_ms = pick(r, &[300_000, 300_000, 300]);
        self.memory_bytes_max = pick(r, &[64 << 20, 4096]);
        self.adopted_max = pick(r, &[64, 64, 1, 0]);
        self.unneeded_ms = pick(r, &[60_000, 300, 1000]);
        self.overtaken = some(r, 0.01, 0.3);
        self.overtaken_us_max = pick(r, &[2_000, 20_000, 200_000]);
    }

    /// Whether nothing goes wrong, so that nothing may be lost.
    pub(crate) fn is_calm(&self) -> bool {
        let rates = [
            self.breaks_per_second,
            self.partitions_per_second,
            self.clogs_per_second,
            self.pauses_per_second,
            self.crashes_per_second,
            self.drains_per_second,
            self.deploys_per_second,
        ];
        rates.iter().all(|rate| *rate == 0.0) && !self.is_short()
    }

    /// Whether processes may have so few moves or steps that they reach the limit.
    pub(crate) fn is_short(&self) -> bool {
        self.hops_max < 64 || self.steps_max < STEPS_MAX
    }

    pub(crate) fn heal_at(&self) -> u64 {
        (BEGIN_MS + self.faults_ms) * 1000
    }

    /// Whether so many last requests may be more than the holders of a component admit: these
    /// expect each to take what such took before, and half a second of that is what may wait.
    pub(crate) fn last_are_many(&self, count: usize) -> bool {
        let steps = f64::from(self.depth_max.max(1)) * f64::from(self.calls_max.max(1) + 1);
        let expected_us = count as f64 * self.step_us * steps;
        expected_us > self.holders as f64 * 500_000.0
    }

    #[cfg(feature = "sabotage")]
    pub(crate) fn sabotage(&self) -> Option<izna_core::Sabotage> {
        let named = |sabotage: &izna_core::Sabotage| {
            self.sabotage.as_ref().is_some_and(|name| *name == format!("{sabotage:?}"))
        };
        izna_core::Sabotage::ALL.into_iter().find(named)
    }

    pub(crate) fn retain_revision(&self) -> Duration {
        Duration::from_millis(self.retain_revision_ms)
    }
}

/// Before this no client comes and nothing goes wrong.
pub(crate) const BEGIN_MS: u64 = 900;

fn pick<T: Copy>(random: &mut impl Rng, of: &[T]) -> T {
    of[random.random_range(0..of.len())]
}

/// A number between two, each order of magnitude as likely.
fn between(random: &mut impl Rng, low: f64, high: f64) -> f64 {
    low * (high / low).powf(random.random::<f64>())
}

/// Nothing in half of the cases, else a number between two.
fn some(random: &mut impl Rng, low: f64, high: f64) -> f64 {
    if random.random_bool(0.5) { between(random, low.max(0.01), high) } else { 0.0 }
}
