//! A load in time beside what was done to the nodes meanwhile: one run, its figure, its dips.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::setting::{Setting, Use};
use crate::tally::{Bin, bin};
use crate::timetable::{Done, Timetable};
use crate::{Cluster, Load, Plan, Report};
use izna_sim::plot::{Figure, Line, Look, Panel};

/// The width of a bin.
pub(crate) const BIN: Duration = Duration::from_millis(500);

/// One load, with what was done meanwhile.
#[derive(Debug)]
pub(crate) struct Timeline {
    pub(crate) report: Report,
    pub(crate) done: Vec<Done>,
    pub(crate) used: Use,
    end: Duration,
}

impl Timeline {
    /// Load `cluster` by `plan` until the last deed of `timetable`.
    pub(crate) fn record(cluster: &mut Cluster, plan: Plan, timetable: Timetable) -> Result<Self> {
        let before = Use::of(cluster.nodes())?;
        let load = Load::start(plan)?;
        let done = timetable.play(cluster, &load)?;
        let end = load.elapsed();
        let used = Use::of(cluster.nodes())?.since(&before);
        let report = load.end()?;
        if let Some(failure) = &report.first_failure {
            eprintln!("{:?}; the first: {failure}", report.failures);
        }
        Ok(Self { report, done, used, end })
    }

    /// Throughput and latency over time.
    pub(crate) fn figure(&self, names: &[&str]) -> Figure {
        let bins = self.bins();
        let width = BIN.as_secs_f64();
        let line = |name: &str, value: &dyn Fn(usize) -> f64| {
            let points = (0..bins).map(|index| ((index as f64 + 0.5) * width, value(index)));
            Line { name: name.into(), look: Look::Solid, points: points.collect() }
        };
        let at = |index: usize| self.report.bins.get(index);
        let rate =
            |index, of: &dyn Fn(&Bin) -> u64| at(index).map_or(0.0, |bin| of(bin) as f64 / width);
        let latency = |index, quantile| match at(index).filter(|bin| bin.done > 0) {
            Some(bin) => bin.quantile_ms(quantile),
            None => f64::NAN,
        };
        let mut lines = vec![line("handled", &|index| rate(index, &|bin| bin.done))];
        if self.report.refused() > 0 {
            lines.push(line("refused at once", &|index| rate(index, &|bin| bin.refused)));
        }
        let panels = vec![
            Panel::even("requests/s", lines),
            Panel::even(
                "latency, ms",
                vec![line("p50", &|i| latency(i, 0.5)), line("p99", &|i| latency(i, 0.99))],
            ),
        ];
        let marks = self.done.iter().filter(|done| names.iter().any(|name| done.is(name)));
        let marks = marks.map(|done| (done.until.as_secs_f64(), done.deed.to_string())).collect();
        Figure { marks, ..Figure::even("seconds", 0.0..bins as f64 * width, panels) }
    }

    /// Whole bins.
    fn bins(&self) -> usize {
        bin(self.end, BIN)
    }

    /// How long after `at` it took until handled requests stayed at or above `least` a second for
    /// two bins; counted to the start of the first of these, at the earliest the bin after `at`.
    pub(crate) fn recovered(&self, at: Duration, least: f64) -> Option<Duration> {
        let good = |bin: &Bin| bin.done as f64 / BIN.as_secs_f64() >= least;
        self.first_good(at, good)
    }

    /// The same for a 99th percentile at or below `most` milliseconds.
    pub(crate) fn calm(&self, at: Duration, most: f64) -> Option<Duration> {
        self.first_good(at, |bin| bin.done > 0 && bin.quantile_ms(0.99) <= most)
    }

    /// How long after `at` it took until `node` ran this share of the steps that it runs in a bin
    /// from two seconds later until `to`; counted to the end of that bin.
    pub(crate) fn works(
        &self,
        node: &str,
        at: Duration,
        to: Duration,
        share: f64,
    ) -> Option<Duration> {
        let steps = |bin: &Bin| bin.steps.get(node).copied().unwrap_or(0) as f64;
        let [first, last] = [at, to].map(|time| bin(time, BIN));
        let later = self.report.bins.get(first + 4..last)?;
        let mean = later.iter().map(steps).sum::<f64>() / later.len().max(1) as f64;
        let bins = self.report.bins.iter().enumerate().skip(first);
        let index =
            bins.filter(|(_, bin)| steps(bin) >= mean * share).map(|(i, _)| i + 1).next()?;
        Some((BIN * u32::try_from(index).unwrap_or(u32::MAX)).saturating_sub(at))
    }

    /// The fewest requests a second that a whole bin between two times handled.
    pub(crate) fn least(&self, from: Duration, to: Duration) -> f64 {
        let mut least = f64::INFINITY;
        for index in bin(from, BIN)..bin(to, BIN) {
            let done = self.report.bins.get(index).map_or(0, |bin| bin.done);
            least = least.min(done as f64 / BIN.as_secs_f64());
        }
        least
    }

    fn first_good(&self, at: Duration, good: impl Fn(&Bin) -> bool) -> Option<Duration> {
        let bins = self.report.bins.get(..self.bins()).unwrap_or(&self.report.bins);
        let first = bin(at, BIN) + 1;
        let pairs = bins.windows(2).enumerate().skip(first);
        let found = pairs.filter(|(_, pair)| pair.iter().all(&good)).map(|(index, _)| index).next();
        found.map(|index| (BIN * u32::try_from(index).unwrap_or(u32::MAX)).saturating_sub(at))
    }

    /// For the record.
    pub(crate) fn json(&self, setting: &Setting) -> Value {
        let bins = self.report.bins.iter().take(self.bins()).map(|bin| {
            json!({
                "done": bin.done, "refused": bin.refused, "failed": bin.failed,
                "p50_ms": bin.quantile_ms(0.5), "p99_ms": bin.quantile_ms(0.99),
                "steps": bin.steps,
            })
        });
        json!({
            "share": setting.share(), "bin_s": BIN.as_secs_f64(),
            "done": self.done.iter().map(Done::json).collect::<Vec<_>>(),
            "failures": self.report.failures, "resent": self.report.resent,
            "repeated": self.report.repeated, "started_again": self.used.started_again,
            "late_ends": self.used.late_ends, "unclear": self.used.unclear,
            "bins": bins.collect::<Vec<_>>(),
        })
    }
}

/// What one node of the setting handles: measured, not assumed.
pub(crate) fn capacity_of(setting: &Setting, cluster: &Cluster, nodes: usize) -> Result<f64> {
    let mut plan = super::setting::plan(cluster, super::setting::CONNECTIONS_PER_NODE * nodes);
    plan.requests = crate::Requests::Numbered(super::formulas::different, 500_000);
    let load = Load::start(plan)?;
    std::thread::sleep(setting.seconds(2.0));
    let from = load.elapsed();
    std::thread::sleep(setting.seconds(4.0).max(Duration::from_secs(2)));
    let to = load.elapsed();
    load.end()?.rate_between(from, to)
}
