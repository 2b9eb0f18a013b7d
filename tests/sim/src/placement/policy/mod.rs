//! Who decides. Each policy sees of the cluster what its like would see in earnest; only the
//! all-knowing one looks at what is so.

mod blind;
mod choices;
mod ewma;
mod izna;
mod knowing;
pub(super) mod paper;
mod prequal;
mod zones;

use std::collections::BTreeMap;

use izna_proto::Load;

use super::{
    beacons::Beacon,
    cluster::{Cluster, Figures, seconds},
    event::{Id, Moment},
};

/// The policies, by name.
pub const NAMES: [&str; 11] = [
    "jsq",
    "random",
    "capacity",
    "paper",
    "p2c",
    "peak-ewma",
    "prequal-sync",
    "prequal-async",
    "izna",
    "izna-without-acks",
    "izna-without-repair",
];

/// Where a process goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Stay,
    Go(usize),
    /// Nobody can say now: ask again after so many nanoseconds.
    Later(Moment),
}

/// A policy's own messages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Signal {
    /// A process that was sent was not taken: its target is gone.
    Failed,
    /// A process was taken; the load with it.
    Accepted(Load),
    /// An idle node asks for work; what it got.
    Pull(Load),
    Pulled(Load, u16),
    /// How it looks in the zone to which a process was sent for this component, in microseconds.
    Level(f64),
    /// A step has taken so long, the way included.
    Feedback(f64),
    /// "How are you?", and the answer: steps there, and how long one takes then, in seconds.
    Probe,
    Answer(f64, f64),
}

/// A policy of all nodes. Each call is at one node, `at`.
pub(super) trait Policy {
    /// The run begins.
    fn begin(&mut self, _cluster: &mut Cluster<'_>) {}

    /// What a node tells of its load.
    fn load(&self, _cluster: &Cluster<'_>, _at: usize) -> Load {
        Load::default()
    }

    /// Where a process goes whose next step is to begin.
    fn place(&mut self, cluster: &mut Cluster<'_>, at: usize, id: Id) -> Verdict;

    /// A process leaves for another node.
    fn sends(&mut self, _cluster: &mut Cluster<'_>, _at: usize, _to: usize, _id: Id) {}

    /// A process has come.
    fn arrives(&mut self, _cluster: &mut Cluster<'_>, _at: usize, _from: usize, _id: Id) {}

    /// One that was sent to this zone has come: whom in the zone it is passed on to.
    fn relay(&mut self, _: &mut Cluster<'_>, _at: usize, _from: usize, _: Id) -> Option<usize> {
        None
    }

    /// It would have to wait: whom it is passed on to instead. `here` if it has not just come.
    fn divert(&mut self, _: &mut Cluster<'_>, _at: usize, _: Id, _here: bool) -> Option<usize> {
        None
    }

    /// It runs or waits.
    fn taken(&mut self, _cluster: &mut Cluster<'_>, _at: usize, _from: usize) {}

    /// A step has ended.
    fn ended(&mut self, _cluster: &mut Cluster<'_>, _at: usize, _id: Id) {}

    /// A step has ended, and a core is idle.
    fn idle(&mut self, _cluster: &mut Cluster<'_>, _at: usize) {}

    /// A beacon was sent.
    fn after_beacon(&mut self, _cluster: &mut Cluster<'_>, _at: usize) {}

    /// An own message has come, or a delivery has failed.
    fn signal(&mut self, _: &mut Cluster<'_>, _at: usize, _from: usize, _signal: Signal) {}

    /// An own timer has gone off.
    fn timer(&mut self, _cluster: &mut Cluster<'_>, _at: usize) {}

    /// It is time to sum up a zone.
    fn summary(&mut self, _cluster: &mut Cluster<'_>, _zone: usize) {}

    /// It is time to look whether components are to be taken in.
    fn adoption(&mut self, _cluster: &mut Cluster<'_>) {}
}

pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

pub(super) fn make(name: &str, cluster: &mut Cluster<'_>) -> Box<dyn Policy> {
    match name {
        "jsq" => Box::new(knowing::ShortestWait),
        "random" => Box::new(blind::Blind::random()),
        "capacity" => Box::new(blind::Blind::by_capacity()),
        "paper" => Box::new(paper::Paper::default()),
        "p2c" => Box::new(choices::TwoChoices::default()),
        "peak-ewma" => Box::new(ewma::PeakEwma::new(cluster)),
        "prequal-sync" => Box::new(prequal::Sync::default()),
        "prequal-async" => Box::new(prequal::Async::new(cluster)),
        "izna-without-acks" => Box::new(izna::Izna::new(cluster, izna::Parts::WITHOUT_ACKS)),
        "izna-without-repair" => Box::new(izna::Izna::new(cluster, izna::Parts::WITHOUT_REPAIR)),
        _ => Box::new(izna::Izna::new(cluster, izna::Parts::ALL)),
    }
}

/// What is known from beacons alone, and from deliveries that failed.
#[derive(Debug, Default)]
pub(super) struct Hearsay {
    failed: BTreeMap<(u32, u32), Moment>,
}

impl Hearsay {
    pub(super) fn failed(&mut self, now: Moment, at: usize, node: usize) {
        self.failed.insert((at as u32, node as u32), now);
    }

    /// The newest beacon that `at` has of a node, unless it is silent, or was not there since.
    pub(super) fn of(&self, cluster: &Cluster<'_>, at: usize, node: usize) -> Option<Beacon> {
        let hop_s = cluster.hop_s(at, node);
        let beacon = cluster.board.heard(at, node, cluster.now, hop_s).0?;
        let failed = self.failed.get(&(at as u32, node as u32));
        let gone = failed.is_some_and(|failed| *failed > beacon.at);
        (!gone && !cluster.board.is_silent(beacon.at, cluster.now)).then_some(*beacon)
    }

    /// A live holder other than `at`, each with its weight; none if there is none.
    pub(super) fn draw(
        &self,
        cluster: &mut Cluster<'_>,
        at: usize,
        component: usize,
        weight: impl Fn(&Figures, &Beacon) -> f64,
    ) -> Option<usize> {
        // In single precision, as the reference model draws: equal draws then have equal ends.
        let weighed: Vec<(usize, f32)> = cluster
            .holders_in(component, cluster.zone(at))
            .iter()
            .map(|node| *node as usize)
            .filter(|node| *node != at)
            .filter_map(|node| {
                let beacon = self.of(cluster, at, node)?;
                Some((node, weight(&cluster.figures[node], &beacon) as f32))
            })
            .collect();
        if weighed.is_empty() {
            return None;
        }
        let total: f32 = weighed.iter().map(|(_, weight)| weight).sum();
        let mut left = cluster.random.unit() as f32 * total;
        for (node, weight) in &weighed {
            left -= weight;
            if left <= 0.0 {
                return Some(*node);
            }
        }
        weighed.last().map(|(node, _)| *node)
    }
}

/// A holder in the own zone drawn blindly, other than `at`; none if there is no other.
pub(super) fn any_holder(cluster: &mut Cluster<'_>, at: usize, component: usize) -> Option<usize> {
    let zone = cluster.zone(at);
    let count = cluster.holders_in(component, zone).len();
    if count == 0 {
        return None;
    }
    let drawn = cluster.random.below(count);
    let node = cluster.holders_in(component, zone)[drawn] as usize;
    (node != at).then_some(node)
}

/// Nobody is known that could take it: wait for a beacon.
pub(super) fn nobody(cluster: &Cluster<'_>) -> Verdict {
    Verdict::Later(super::cluster::moment(cluster.scenario.beacon_ms * 1e-3))
}

/// The expected time of a step at its own node, from what that knows of itself, in seconds.
pub(super) fn own_time_s(cluster: &Cluster<'_>, at: usize, id: Id) -> f64 {
    let (figures, step_s) = (&cluster.figures[at], cluster.processes[id as usize].believed_s);
    let cores = f64::from(figures.cores);
    let queued = f64::from(figures.queued);
    let wait_s = Figures::wait_s(queued, figures.work_s, cores, cores * figures.told_speed);
    wait_s + step_s / figures.told_speed
}

/// The same elsewhere, from a beacon.
pub(super) fn beaconed_time_s(
    cluster: &Cluster<'_>,
    at: usize,
    node: usize,
    id: Id,
    beacon: &Beacon,
) -> f64 {
    let (figures, step_s) = (&cluster.figures[node], cluster.processes[id as usize].believed_s);
    let cores = f64::from(figures.cores);
    let speed = cluster.world.speeds[node];
    let wait_s = Figures::wait_s(beacon.queued, beacon.work_s, cores, cores * speed);
    cluster.hop_s(at, node) + cluster.scenario.move_us * 1e-6 + wait_s + step_s / speed
}

pub(super) fn since_s(now: Moment, then: Moment) -> f64 {
    seconds(now.saturating_sub(then))
}
