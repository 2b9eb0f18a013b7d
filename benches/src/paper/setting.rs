//! What all experiments share: nodes' shares of a core, the length of a run, compiled components,
//! and where results go.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::formulas;
use super::timeline::BIN;
use crate::machine::{Machine, Share};
use crate::quota::Quotas;
use crate::report::{self, Table};
use crate::segment::Segment;
use crate::spinner::Spinner;
use crate::timetable::gateways;
use crate::{Cluster, Network, Node, Options, Pace, Plan, Requests, shipped, usage};
use izna_sim::plot::Figure;

/// Connections for each node's worth of capacity in a closed loop: enough that no node waits for
/// work.
pub const CONNECTIONS_PER_NODE: usize = 12;
/// What an unbounded node counts as, for a machine without quotas.
const UNBOUNDED_CORES: f64 = 1.0;

/// How and where experiments run.
#[derive(Debug)]
pub struct Setting {
    /// The cores that each node may use.
    pub cores: f64,
    /// Multiplies all times; less than one for development.
    pub scale: f64,
    /// The folder for figures and results.
    pub out: PathBuf,
    bounded: bool,
    network: Network,
    compiled: TempDir,
    _machine: Share,
    _spinners: Vec<Spinner>,
}

/// What an experiment has found.
#[derive(Debug, Default)]
pub struct Finding {
    /// Its name, that of its files.
    pub name: &'static str,
    /// Tables, with what they are.
    pub tables: Vec<(String, Table)>,
    /// Figures, with the end of their file's name.
    pub figures: Vec<(&'static str, Figure)>,
    /// A line for each aim.
    pub aims: Vec<String>,
    /// All that was measured.
    pub data: Value,
}

impl Setting {
    /// Look at the machine, and compile the TeX service once for all nodes of all clusters.
    pub fn new(cores: f64, scale: f64, out: PathBuf) -> Result<Self> {
        fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
        let machine = Machine::Alone.take()?;
        let bounded = told(
            "quotas",
            "all nodes share the machine's cores, so that more nodes are \
                            not more capacity: figures show the behaviour and no scaling",
            Quotas::new(),
        );
        let bridged = told("network namespaces", "nodes are on loopback", Segment::new());
        let network = if bridged { Network::Bridge } else { Network::Loopback };
        let compiled = TempDir::with_prefix("izna-compiled-")?;
        let (_machine, _spinners) = (machine, Vec::new());
        let mut setting =
            Self { cores, scale, out, bounded, network, compiled, _machine, _spinners };
        setting.compile()?;
        setting._spinners = Spinner::on_all_cores();
        Ok(setting)
    }

    /// Compile at full speed what nodes of a fifth of a core would take a minute for.
    fn compile(&self) -> Result<()> {
        let options = Options { machine: Machine::Given, ..Options::nodes(&["compiler"]) };
        let cluster = Cluster::start(options)?;
        cluster.deploy(&shipped::root().join("components/tex"), &[])?;
        let (data, to) = (cluster.data("compiler"), self.compiled.path());
        crate::cluster::copy_folder(&data.join("cache"), &to.join("cache"))?;
        // What makes a folder one of a node.
        fs::copy(data.join("format"), to.join("format"))?;
        Ok(())
    }

    /// A cluster of so many nodes, each with its share of a core, that holds the TeX service.
    pub fn cluster(&self, nodes: usize) -> Result<Cluster> {
        self.begin(nodes, self.bounded.then_some(self.cores))
    }

    /// The same, each with the whole machine.
    pub fn unbounded(&self, nodes: usize) -> Result<Cluster> {
        self.begin(nodes, None)
    }

    fn begin(&self, nodes: usize, cores: Option<f64>) -> Result<Cluster> {
        let names: Vec<String> = (1..=nodes).map(|number| format!("n{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut options = Options { machine: Machine::Given, ..Options::nodes(&names) };
        if !self.bounded {
            options = options.arguments(&["--cores", "1"]);
        }
        options.cores = cores;
        options.network = self.network;
        options.compiled = Some(self.compiled.path().to_owned());
        let cluster = Cluster::start(options)?;
        cluster.deploy(&shipped::root().join("components/tex"), &[])?;
        Ok(cluster)
    }

    /// So many seconds, or less in a short run.
    pub fn seconds(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.scale)
    }

    /// What a node may use.
    pub fn share(&self) -> f64 {
        if self.bounded { self.cores } else { UNBOUNDED_CORES }
    }

    /// Whether nodes are held to their shares.
    pub fn bounded(&self) -> bool {
        self.bounded
    }

    /// Print what was found, and keep it.
    pub fn keep(&self, finding: &Finding) -> Result<String> {
        let mut text = format!("## {}\n\n", finding.name);
        for (what, table) in &finding.tables {
            text += &format!("{what}\n\n{}\n", table.markdown());
        }
        for aim in &finding.aims {
            text += &format!("    {aim}\n");
        }
        for (end, figure) in &finding.figures {
            let name = format!("{}{end}.svg", finding.name);
            figure.draw(&self.out.join(&name))?;
            text += &format!("figure: {name}\n");
        }
        let tables =
            finding.tables.iter().map(|(what, table)| json!({ "of": what, "rows": table.json() }));
        let setting = json!({ "cores": self.share(), "bounded": self.bounded, "scale": self.scale,
            "bridge": self.network == Network::Bridge });
        report::save_to(
            &self.out.join(finding.name).with_extension("json"),
            &[
                ("setting", setting),
                ("aims", json!(finding.aims)),
                ("tables", tables.collect()),
                ("data", finding.data.clone()),
            ],
        )?;
        Ok(text)
    }
}

/// A closed loop of formulas that all differ, by clients of all nodes.
pub(crate) fn plan(cluster: &Cluster, connections: usize) -> Plan {
    Plan {
        gateways: gateways(cluster, &[]),
        requests: Requests::Numbered(formulas::different, 0),
        connections,
        pace: Pace::Closed,
        bin: BIN,
        place: cluster.clients(),
    }
}

/// Whether there is such a thing; if not, why, and what follows.
fn told<T>(what: &str, follows: &str, found: Result<T>) -> bool {
    if let Err(error) = &found {
        eprintln!("no {what} here: {follows} ({error:#})");
    }
    found.is_ok()
}

/// What all nodes have done and used so far.
#[derive(Debug, Clone, Default)]
pub struct Use {
    /// Processor time, in seconds.
    pub cpu_s: f64,
    /// Of it, that of the threads that run steps.
    pub step_cpu_s: f64,
    /// Processes that ended, and what became of their time.
    pub split: Split,
    /// Periods of their quotas at whose end they were stopped, and all.
    pub stopped: (u64, u64),
    /// Migrations.
    pub migrations: u64,
    /// Deliveries that were sent on at once, and ones that were refused.
    pub bounced: u64,
    /// Deliveries that nobody answered.
    pub unclear: u64,
    /// Lost processes that were started again.
    pub started_again: u64,
    /// Ends that came a second time, and were dropped.
    pub late_ends: u64,
}

impl Use {
    /// Of these nodes, those that run.
    pub fn of<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Result<Self> {
        let mut all = Self::default();
        for node in nodes.into_iter().filter(|node| node.alive()) {
            all.cpu_s += usage::cpu(node.pid()?)?.as_secs_f64();
            all.step_cpu_s += usage::cpu_of(node.pid()?, "izna-step-")?.as_secs_f64();
            if let Some(group) = node.group() {
                let throttled = group.throttled();
                all.stopped.0 += throttled.stopped;
                all.stopped.1 += throttled.periods;
            }
            let metric = |name: &str| node.metric(&format!("izna_{name}_total"));
            all.split.ended += node.metric("izna_replied_total")?;
            for (part, name) in all.split.parts_us.iter_mut().zip(Split::PARTS) {
                *part += node.metric(&format!("izna_{name}_us_total"))?;
            }
            all.migrations += metric("migrations")?;
            all.bounced += metric("bounced")? + metric("refused_there")?;
            all.unclear += metric("unclear")?;
            all.started_again += metric("started_again")?;
            all.late_ends += metric("late_ends")?;
        }
        Ok(all)
    }

    /// What came after `before`. What a node that is gone had counted counts for nothing.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let [stopped, periods] = [
            self.stopped.0.saturating_sub(before.stopped.0),
            self.stopped.1.saturating_sub(before.stopped.1),
        ];
        Self {
            cpu_s: (self.cpu_s - before.cpu_s).max(0.0),
            step_cpu_s: (self.step_cpu_s - before.step_cpu_s).max(0.0),
            split: self.split.since(&before.split),
            stopped: (stopped, periods),
            migrations: self.migrations.saturating_sub(before.migrations),
            bounced: self.bounced.saturating_sub(before.bounced),
            unclear: self.unclear.saturating_sub(before.unclear),
            started_again: self.started_again.saturating_sub(before.started_again),
            late_ends: self.late_ends.saturating_sub(before.late_ends),
        }
    }
}

/// Where processes that ended spent their time: in run queues, on a core or kept from it, in a step
/// that waited for the host, and the rest, which is moving.
#[derive(Debug, Clone, Copy, Default)]
pub struct Split {
    /// How many ended.
    pub ended: u64,
    parts_us: [u64; 4],
}

impl Split {
    const PARTS: [&'static str; 4] = ["queued", "ran", "waited", "moved"];
    /// The columns of a table.
    pub const COLUMNS: [&'static str; 4] = ["queue ms", "run ms", "wait ms", "move ms"];

    fn since(&self, before: &Self) -> Self {
        let mut parts_us = self.parts_us;
        for (part, before) in parts_us.iter_mut().zip(before.parts_us) {
            *part = part.saturating_sub(before);
        }
        Self { ended: self.ended.saturating_sub(before.ended), parts_us }
    }

    /// The mean of one process, in milliseconds, by column.
    pub fn means_ms(&self) -> [Value; 4] {
        self.parts_us.map(|part| json!(part as f64 / 1000.0 / self.ended.max(1) as f64))
    }
}
