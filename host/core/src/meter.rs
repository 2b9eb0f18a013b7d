//! What this node measures of itself, and the load figure that it makes of that.

use izna_proto::Load;

use crate::{
    config::Config,
    effects::Effects,
    io::Measurement,
    placement::{
        DEMAND_US_FIRST, Journey, MEMORY_FULL, Overhead, Overload, Speed, Waiting, memory_wait_us,
        network_wait_us,
    },
    time::{Duration, Time, micros},
};

#[derive(Debug)]
pub(crate) struct Meter {
    began: Time,
    measured: Measurement,
    measured_at: Time,
    overhead: Overhead,
    /// The share of a core that steps get when they want one.
    speed: Speed,
    journey: Journey,
    overload: Overload,
}

impl Meter {
    pub(crate) fn new(fx: &Effects) -> Self {
        let measured = Measurement {
            capacity_milli: fx.config.capacity_milli,
            own_cpu_us: 0,
            cpu_permille: 0,
            memory_permille: 0,
            network_permille: 0,
            unsent_us: 0,
        };
        Self {
            began: fx.now,
            measured,
            measured_at: fx.now,
            overhead: Overhead::default(),
            speed: Speed::new(1.0),
            journey: Journey::default(),
            overload: Overload::default(),
        }
    }

    pub(crate) fn measured(&mut self, fx: &Effects, measured: Measurement) {
        let passed = fx.now.since(self.measured_at);
        self.speed.pass(passed.as_secs_f64());
        self.overhead.measured(measured.own_cpu_us, passed.as_secs_f64() * 1e6);
        (self.measured, self.measured_at) = (measured, fx.now);
    }

    /// A step has used so much of a core, in so long.
    pub(crate) fn stepped(&mut self, used: Duration, took: Duration) {
        let used_us = used.as_secs_f64() * 1e6;
        self.speed.ran(used_us, took.as_secs_f64() * 1e6);
        self.overhead.stepped(used_us);
    }

    /// It was a step of a process held here.
    pub(crate) fn journeyed(&mut self, used: Duration, is_first: bool) {
        self.journey.stepped(used.as_secs_f64() * 1e6, is_first);
    }

    /// The wait here beside the least wait elsewhere.
    pub(crate) fn compare(&mut self, fx: &mut Effects, waits: (f64, f64), mean_us: f64) {
        let (wait_us, least_us) = waits;
        let was = self.overload.is_on();
        let is = least_us.is_finite() && self.overload.update(wait_us, least_us, mean_us);
        fx.counters.overloads += u64::from(is && !was);
    }

    pub(crate) fn memory_permille(&self) -> u16 {
        self.measured.memory_permille
    }

    pub(crate) fn capacity_milli(&self) -> u32 {
        self.measured.capacity_milli
    }

    /// What the processes that began of late took until they ended, in microseconds.
    pub(crate) fn process_us(&self) -> f64 {
        self.journey.process_us()
    }

    /// What is left of a node's cores for steps, if it needs as much for itself as this one.
    pub(crate) fn left_of(&self, capacity: f64) -> f64 {
        self.overhead.left_of(capacity)
    }

    /// What the cores of this node are worth now, in cores: what the machine or a quota gives, and
    /// no more than steps get of what others leave.
    fn capacity(&self, config: &Config) -> f64 {
        let given = f64::from(self.measured.capacity_milli) / 1000.0;
        let got = f64::from(config.cores.max(1)) * self.speed.value();
        given.min(got).max(0.001)
    }

    /// What of it works off the queue: not what the node itself needs for requests and messages.
    pub(crate) fn capacity_for_steps(&self, config: &Config) -> f64 {
        self.overhead.left_of(self.capacity(config))
    }

    /// This node's load, with so much running or waiting, and so much coming in.
    pub(crate) fn load(&self, fx: &Effects, waiting: &Waiting, inflow: f64, open: bool) -> Load {
        let cores = usize::from(fx.config.cores.max(1));
        let capacity = self.capacity(&fx.config);
        let mean_us = if waiting.queued == 0 { DEMAND_US_FIRST } else { waiting.mean_us() };
        let Measurement { memory_permille: memory, network_permille: network, .. } = self.measured;
        let wait_us = waiting.wait_us(cores, self.capacity_for_steps(&fx.config))
            + memory_wait_us(memory, mean_us)
            + network_wait_us(network, self.measured.unsent_us, mean_us);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        Load {
            at_us: micros(fx.now.since(self.began)),
            wait_us: wait_us as u32,
            idle: u16::try_from(cores.saturating_sub(waiting.queued)).unwrap_or(u16::MAX),
            capacity_milli: (capacity * 1000.0) as u32,
            speed_milli: (capacity * 1000.0 / cores as f64) as u32,
            queued: u32::try_from(waiting.queued).unwrap_or(u32::MAX),
            inflow_milli: (inflow * 1000.0) as u32,
            cpu_permille: self.measured.cpu_permille,
            memory_permille: memory,
            network_permille: network,
            accepting: open && memory < MEMORY_FULL,
        }
    }
}
