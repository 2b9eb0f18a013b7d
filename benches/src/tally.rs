//! What came of a load: counts and latencies, in all and by bins of time.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

pub(crate) const LATENCY_US_MAX: u64 = 60_000_000;
/// Of a bin's latencies: two digits, so that a run of minutes stays small.
const BIN_DIGITS: u8 = 2;

/// What came of a load, so far or in all.
#[derive(Debug, Clone)]
pub struct Report {
    /// Latencies of the requests that went well, in microseconds. In an open loop they count from
    /// the intended start.
    pub latency_us: Histogram<u64>,
    /// How long it has run.
    pub elapsed: Duration,
    /// The width of a bin.
    pub bin: Duration,
    /// What happened in each bin of time.
    pub bins: Vec<Bin>,
    /// How many requests failed, by kind: `status 503`, or what the connection did.
    pub failures: BTreeMap<String, u64>,
    /// The first response that was no success, or what the connection did.
    pub first_failure: Option<String>,
    /// Requests that were sent once more, to another gateway, because theirs was gone.
    pub resent: u64,
    /// Replies of a process that had replied before, and bytes that nobody had asked for.
    pub repeated: u64,
}

/// A stretch of time. What ends in it counts.
#[derive(Debug, Clone)]
pub struct Bin {
    /// Requests that went well.
    pub done: u64,
    /// Requests that were refused at once, with 503.
    pub refused: u64,
    /// Requests that failed in any other way.
    pub failed: u64,
    /// Steps that each node ran for them.
    pub steps: BTreeMap<String, u64>,
    /// Latencies of those that went well, in microseconds.
    pub latency_us: Histogram<u32>,
}

/// How a request ended.
#[derive(Debug)]
pub(crate) enum End {
    Done {
        latency: Duration,
        nodes: Vec<String>,
    },
    /// And after what time the client may come again.
    Refused {
        detail: String,
        retry_after: Duration,
    },
    Failed {
        kind: String,
        detail: String,
    },
}

impl Report {
    pub(crate) fn new(bin: Duration) -> Result<Self> {
        Ok(Self {
            latency_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?,
            elapsed: Duration::ZERO,
            bin,
            bins: Vec::new(),
            failures: BTreeMap::new(),
            first_failure: None,
            resent: 0,
            repeated: 0,
        })
    }

    /// A request ended so long after the start of the load.
    pub(crate) fn note(&mut self, at: Duration, end: End) -> Result<()> {
        let index = bin(at, self.bin);
        while self.bins.len() <= index {
            self.bins.push(Bin::new()?);
        }
        let Some(bin) = self.bins.get_mut(index) else { return Ok(()) };
        let (kind, detail) = match end {
            End::Done { latency, nodes } => {
                let micros = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX);
                let micros = micros.clamp(1, LATENCY_US_MAX);
                self.latency_us.saturating_record(micros);
                bin.latency_us.saturating_record(micros);
                bin.done += 1;
                for node in nodes {
                    *bin.steps.entry(node).or_default() += 1;
                }
                return Ok(());
            }
            End::Refused { detail, .. } => {
                bin.refused += 1;
                ("status 503".to_owned(), detail)
            }
            End::Failed { kind, detail } => {
                bin.failed += 1;
                (kind, detail)
            }
        };
        *self.failures.entry(kind).or_default() += 1;
        self.first_failure.get_or_insert(detail);
        Ok(())
    }

    /// Requests that went well.
    pub fn done(&self) -> u64 {
        self.latency_us.len()
    }

    /// Requests that did not.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Requests that were refused at once, with 503.
    pub fn refused(&self) -> u64 {
        self.bins.iter().map(|bin| bin.refused).sum()
    }

    /// Requests a second that went well.
    pub fn per_second(&self) -> f64 {
        self.done() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The latency that this share of requests kept to, in microseconds.
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        self.latency_us.value_at_quantile(quantile)
    }

    /// Steps that `node` ran in the bins from `first` on.
    pub fn steps_of(&self, node: &str, first: usize) -> u64 {
        self.bins.iter().skip(first).filter_map(|bin| bin.steps.get(node)).sum()
    }

    /// All that ended in the bins that lie wholly between two times.
    pub fn between(&self, from: Duration, to: Duration) -> Result<Bin> {
        let mut sum = Bin::new()?;
        let first = from.as_secs_f64() / self.bin.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
        let first = (first - 1e-6).ceil().max(0.0) as usize;
        for bin in self.bins.iter().take(bin(to, self.bin)).skip(first) {
            sum.add(bin)?;
        }
        Ok(sum)
    }

    /// Requests a second that went well between two times, rounded to bins.
    pub fn rate_between(&self, from: Duration, to: Duration) -> Result<f64> {
        let first = (from.as_secs_f64() / self.bin.as_secs_f64() - 1e-6).ceil();
        let bins = bin(to, self.bin) as f64 - first;
        Ok(self.between(from, to)?.done as f64 / (bins * self.bin.as_secs_f64()).max(1e-9))
    }
}

impl Bin {
    fn new() -> Result<Self> {
        Ok(Self {
            done: 0,
            refused: 0,
            failed: 0,
            steps: BTreeMap::new(),
            latency_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, BIN_DIGITS)?,
        })
    }

    fn add(&mut self, other: &Self) -> Result<()> {
        self.done += other.done;
        self.refused += other.refused;
        self.failed += other.failed;
        for (node, steps) in &other.steps {
            *self.steps.entry(node.clone()).or_default() += steps;
        }
        self.latency_us.add(&other.latency_us)?;
        Ok(())
    }

    /// The latency that this share of requests kept to, in milliseconds.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// The number of the bin that a time is in.
pub(crate) fn bin(at: Duration, width: Duration) -> usize {
    usize::try_from(at.as_nanos() / width.as_nanos().max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn done(ms: u32) -> End {
        End::Done { latency: MS * ms, nodes: vec!["a".into()] }
    }

    /// If this fails, a dip is drawn at another time than it was, or not at all.
    #[test]
    fn what_ends_counts_in_its_bin() {
        let mut report = Report::new(MS * 500).unwrap();
        report.note(MS * 499, done(10)).unwrap();
        report.note(MS * 500, done(20)).unwrap();
        report
            .note(MS * 1700, End::Refused { detail: "full".into(), retry_after: Duration::ZERO })
            .unwrap();
        let failed = End::Failed { kind: "status 502".into(), detail: "lost".into() };
        report.note(MS * 1701, failed).unwrap();
        let counts: Vec<_> = report.bins.iter().map(|b| (b.done, b.refused, b.failed)).collect();
        assert_eq!(counts, [(1, 0, 0), (1, 0, 0), (0, 0, 0), (0, 1, 1)]);
        assert_eq!((report.done(), report.refused(), report.failed()), (2, 1, 2));
        assert_eq!(report.steps_of("a", 1), 1);
        assert_eq!(report.first_failure.as_deref(), Some("full"));
    }

    /// If this fails, bins that are not whole are taken for a dip.
    #[test]
    fn only_whole_bins_count_between() {
        let mut report = Report::new(MS * 500).unwrap();
        for at in (0..3000).step_by(100) {
            report.note(MS * at, done(at)).unwrap();
        }
        assert_eq!(report.between(MS * 500, MS * 1500).unwrap().done, 10);
        assert_eq!(report.between(MS * 400, MS * 1700).unwrap().done, 10);
        assert_eq!(report.rate_between(MS * 400, MS * 1700).unwrap(), 10.0);
        let p99 = report.between(MS * 500, MS * 1500).unwrap().quantile_ms(0.99);
        assert!((1395.0..1415.0).contains(&p99), "{p99}");
    }
}
