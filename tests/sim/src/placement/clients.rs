//! When clients come, and what they ask for: in virtual time, or to be asked of a real cluster.

use std::time::Duration;

use super::{
    cluster::{moment, seconds},
    event::Moment,
    random::{Stream, named},
    scenario::{Arrivals, Scenario},
    world::World,
};

/// When the first one comes.
pub(super) const FIRST: Moment = 1000;
/// A burst and a lull: their mean lengths in seconds, and how much of the mean rate comes in them.
const BURST: (f64, f64) = (0.1, 2.5 / 1.3);
const LULL: (f64, f64) = (0.4, 1.0 / 1.3);

/// The times between clients.
pub(super) struct Clients {
    arrivals: Stream,
    kind: Arrivals,
    rate: f64,
    /// Whether a burst is on, and until when it or the lull lasts.
    burst: Option<(bool, Moment)>,
}

impl Clients {
    pub(super) fn new(scenario: &Scenario, world: &World, seed: u64) -> Self {
        let (arrivals, kind) = (Stream::new(named(seed, 6, 6)), scenario.arrivals);
        Self { arrivals, kind, rate: world.rate_max * scenario.load, burst: None }
    }

    /// The time until the next one, in seconds.
    pub(super) fn gap_s(&mut self, now: Moment) -> f64 {
        let mut rate = self.rate;
        if self.kind == Arrivals::Bursts {
            let (mut on, mut until) = self.burst.unwrap_or((false, 0));
            while now >= until {
                on = !on;
                let (mean_s, _) = if on { BURST } else { LULL };
                until = until.max(now) + moment(self.arrivals.exponential(mean_s));
            }
            self.burst = Some((on, until));
            rate *= if on { BURST.1 } else { LULL.1 };
        }
        self.arrivals.exponential(1.0 / rate)
    }
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// When it comes, from the start of the run.
    pub at: Duration,
    /// The processor time of each step at speed one, in milliseconds.
    pub steps_ms: Vec<f64>,
}

/// What the clients of a run ask for, in the order of time. Only for scenarios with `steps_ms`: then
/// there is one class.
pub fn requests(scenario: &Scenario, seed: u64) -> Vec<Request> {
    let world = World::new(scenario, seed);
    let mut clients = Clients::new(scenario, &world, seed);
    let (mut requests, mut now) = (Vec::new(), FIRST);
    while seconds(now) < scenario.duration_s {
        let number = requests.len() as u64;
        let steps = (0..scenario.steps_ms.len())
            .map(|step| world.step_s(scenario.service, seed, number, step as u8, step) * 1e3);
        requests.push(Request { at: Duration::from_nanos(now), steps_ms: steps.collect() });
        now += moment(clients.gap_s(now));
    }
    requests
}
