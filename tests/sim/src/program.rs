//! What the simulated components do: scripts of steps, calls, tail calls and failures, and the
//! outcome that each must have.

use bytes::{BufMut, Bytes, BytesMut};
use izna_proto::{Call, Failure, FailureKind, Outcome, Payload, Run, StepEnd};
use rand::{Rng, RngExt};
use std::sync::Arc;

use crate::Options;

/// One call's script. A script runs as one step more than it makes calls.
#[derive(Debug)]
struct Script {
    component: u32,
    work_us: Vec<u32>,
    /// What it does in cluster memory before each step's end.
    memory: Vec<Option<MemoryUse>>,
    calls: Vec<u32>,
    end: End,
    /// What its call must come to.
    outcome: Outcome,
}

/// What a step does in cluster memory.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MemoryUse {
    Put(u8),
    Get(u8),
    Remove(u8),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Done,
    Failed,
    Forward(u32),
    /// A call of a component that there is no link to.
    Astray,
}

/// All scripts of a run; a payload names one.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    scripts: Vec<Script>,
}

/// What a step does: it works, may use cluster memory, and ends.
#[derive(Debug)]
pub(crate) struct Act {
    pub(crate) work_us: u64,
    pub(crate) memory: Option<MemoryUse>,
    pub(crate) end: StepEnd,
}

impl Programs {
    /// Draw a program: what `component` is called with, and what must come of it.
    pub(crate) fn draw(
        &mut self,
        random: &mut impl Rng,
        options: &Options,
        component: u32,
    ) -> (Bytes, Outcome) {
        let script = self.script(random, options, component, options.depth_max);
        (payload(script, 0, u64::from(script)), self.at(script).outcome.clone())
    }

    fn at(&self, script: u32) -> &Script {
        &self.scripts[script as usize]
    }

    fn script(&mut self, r: &mut impl Rng, options: &Options, component: u32, depth: u32) -> u32 {
        let mut calls = Vec::new();
        let others = u32::try_from(options.components).unwrap_or(u32::MAX);
        if depth > 0 {
            for _ in 0..r.random_range(0..=options.calls_max) {
                let callee = r.random_range(0..others);
                calls.push(self.script(r, options, callee, depth - 1));
            }
        }
        let end = match r.random_range(0..20) {
            0 => End::Failed,
            1 => End::Astray,
            2..=4 if depth > 0 => {
                let callee = r.random_range(0..others);
                End::Forward(self.script(r, options, callee, depth - 1))
            }
            _ => End::Done,
        };
        let steps = calls.len() + 1;
        let work_us = (0..steps).map(|_| work_us(r, options.step_us)).collect();
        let memory = (0..steps).map(|_| memory(r, options.memory)).collect();
        let number = u32::try_from(self.scripts.len()).expect("fewer than 2^32 scripts");
        let outcome = self.outcome(number, &calls, end);
        self.scripts.push(Script { component, work_us, memory, calls, end, outcome });
        number
    }

    fn outcome(&self, number: u32, calls: &[u32], end: End) -> Outcome {
        let mut sum = u64::from(number);
        for call in calls {
            sum = mixed(sum, self.at(*call).outcome.as_ref().map(Payload::inline));
        }
        match end {
            End::Done => Ok(value(sum).into()),
            End::Failed => Err(failed(sum)),
            End::Forward(callee) => self.at(callee).outcome.clone(),
            End::Astray => Err(Failure::new(FailureKind::NotFound, "")),
        }
    }

    /// What a step does that is given `run`.
    pub(crate) fn act(&self, run: &Run) -> Act {
        let (script, step, sum) = match run {
            Run::Start { input } => read(input),
            Run::Resume { continuation, outcome } => {
                let (script, step, sum) = read(continuation);
                (script, step + 1, mixed(sum, outcome.as_ref()))
            }
        };
        let number = script;
        let script = self.at(number);
        let at = step as usize;
        let end = match script.calls.get(at) {
            Some(callee) => StepEnd::Suspend {
                call: self.call(*callee),
                continuation: payload(number, step, sum).into(),
            },
            None => match script.end {
                End::Done => StepEnd::Done(value(sum).into()),
                End::Failed => StepEnd::Failed(failed(sum)),
                End::Forward(callee) => StepEnd::Forward(self.call(callee)),
                End::Astray => {
                    let (component, function) = (Arc::from("nobody"), Arc::from("run"));
                    StepEnd::Forward(Call { component, function, input: Payload::default() })
                }
            },
        };
        Act { work_us: u64::from(script.work_us[at]), memory: script.memory[at], end }
    }

    fn call(&self, callee: u32) -> Call {
        let component = component_name(self.at(callee).component);
        let input = payload(callee, 0, u64::from(callee)).into();
        Call { component, function: Arc::from("run"), input }
    }
}

/// Mostly short, now and then long enough to give up the slot.
fn work_us(random: &mut impl Rng, mean: f64) -> u32 {
    let exponential = -random.random::<f64>().max(1e-6).ln();
    let long = if random.random_bool(0.02) { 10.0 } else { 1.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small")]
    let micros = (mean * exponential * long).clamp(1.0, 50_000.0) as u32;
    micros
}

fn memory(random: &mut impl Rng, share: f64) -> Option<MemoryUse> {
    let key = random.random_range(0..60);
    random.random_bool(share).then(|| match random.random_range(0..5) {
        0 => MemoryUse::Remove(key),
        1 | 2 => MemoryUse::Get(key),
        _ => MemoryUse::Put(key),
    })
}

/// The value of that number, to be put under a key. Some are over the limit.
pub(crate) fn remembered(key: u8, number: u64) -> Bytes {
    let mut bytes = BytesMut::from(&number.to_be_bytes()[..]);
    bytes.resize(bytes.len().max(usize::from(key) * 20), key);
    bytes.freeze()
}

pub(crate) fn component_name(component: u32) -> Arc<str> {
    Arc::from(format!("c{component}"))
}

fn payload(script: u32, step: u32, sum: u64) -> Bytes {
    let mut bytes = BytesMut::with_capacity(16);
    bytes.put_u32(script);
    bytes.put_u32(step);
    bytes.put_u64(sum);
    bytes.freeze()
}

fn read(bytes: &Bytes) -> (u32, u32, u64) {
    let word = |at: usize| bytes[at..at + 4].try_into().map(u32::from_be_bytes).expect("4 bytes");
    (word(0), word(4), bytes[8..16].try_into().map(u64::from_be_bytes).expect("8 bytes"))
}

fn value(sum: u64) -> Bytes {
    Bytes::copy_from_slice(&sum.to_be_bytes())
}

fn failed(sum: u64) -> Failure {
    Failure::new(FailureKind::Failed, format!("{sum:016x}"))
}

/// What an outcome makes of the sum of its caller. Of a host's failures only the kind counts.
fn mixed(sum: u64, outcome: Result<&Bytes, &Failure>) -> u64 {
    let bytes = match outcome {
        Ok(value) => &value[..],
        Err(failure) if failure.kind == FailureKind::Failed => failure.message.as_bytes(),
        Err(failure) => failure.kind.as_str().as_bytes(),
    };
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, sum)
}
