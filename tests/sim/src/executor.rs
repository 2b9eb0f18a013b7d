//! The cores of a node: steps take turns on them, give up their slot when they take long, and may
//! wait for cluster memory.

use std::collections::{BTreeMap, VecDeque};

use izna_core::{Duration, HeldId, Input, Step};
use izna_proto::{MemoryAnswer, MemoryError, MemoryOperation, StepEnd};

use crate::{
    World,
    check::Write,
    event::{Event, Moment},
    program::{self, MemoryUse},
};

/// What a step may use before it gives up its slot.
const SLICE_US: u64 = 10_000;

/// The steps that a node runs.
#[derive(Debug)]
pub(crate) struct Executor {
    cores: usize,
    busy: usize,
    ready: VecDeque<HeldId>,
    steps: BTreeMap<HeldId, Running>,
    /// Steps that wait for cluster memory, by request.
    waiting: BTreeMap<u64, Waiting>,
    requests: u64,
}

#[derive(Debug)]
struct Waiting {
    held: HeldId,
    there: Write,
    operation: MemoryOperation,
}

#[derive(Debug)]
struct Running {
    app: std::sync::Arc<str>,
    left_us: u64,
    used_us: u64,
    memory: Option<MemoryUse>,
    end: StepEnd,
    sliced: bool,
}

impl Executor {
    pub(crate) fn new(cores: usize) -> Self {
        let (ready, steps, waiting) = (VecDeque::new(), BTreeMap::new(), BTreeMap::new());
        Self { cores, busy: 0, ready, steps, waiting, requests: 0 }
    }

    /// How many steps wait for cluster memory.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

impl World {
    pub(crate) fn run_step(&mut self, n: usize, step: Step) {
        let act = self.programs.act(&step.run);
        let executor = &mut self.nodes[n].executor;
        let running = Running {
            app: step.app,
            left_us: act.work_us,
            used_us: 0,
            memory: act.memory,
            end: act.end,
            sliced: false,
        };
        let before = executor.steps.insert(step.held, running);
        assert!(before.is_none(), "the core runs one step of a process at a time");
        executor.ready.push_back(step.held);
        self.dispatch(n);
    }

    /// Let steps onto free cores.
    fn dispatch(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let executor = &mut node.executor;
        while executor.busy < executor.cores {
            let Some(held) = executor.ready.pop_front() else { return };
            let Some(step) = executor.steps.get(&held) else { continue };
            executor.busy += 1;
            let turn = stretched(step.left_us.min(SLICE_US), node.slowness);
            let incarnation = node.incarnation;
            self.queue.push(self.now + turn, Event::Turn { node: n, incarnation, held });
        }
    }

    /// A step has used its turn.
    pub(crate) fn turn(&mut self, n: usize, held: HeldId) {
        let node = &mut self.nodes[n];
        let slowness = node.slowness;
        let executor = &mut node.executor;
        executor.busy -= 1;
        let Some(step) = executor.steps.get_mut(&held) else { return };
        let turn = step.left_us.min(SLICE_US);
        step.left_us -= turn;
        step.used_us += turn;
        if step.left_us == 0 {
            self.worked(n, held);
        } else {
            // It goes on beside the others, at half the speed.
            let rest = stretched(2 * step.left_us, slowness);
            step.used_us += step.left_us;
            step.left_us = 0;
            step.sliced = true;
            let incarnation = node.incarnation;
            self.queue.push(self.now + rest, Event::Rest { node: n, incarnation, held });
            self.seen.count("step sliced");
            self.input(n, Input::Sliced(held));
        }
        self.dispatch(n);
    }

    /// A step has done its work: it waits for cluster memory, or ends.
    pub(crate) fn worked(&mut self, n: usize, held: HeldId) {
        let executor = &mut self.nodes[n].executor;
        let Some(step) = executor.steps.get_mut(&held) else { return };
        let Some(wanted) = step.memory.take() else { return self.stepped(n, held) };
        executor.requests += 1;
        let request = executor.requests;
        let (app, sliced) = (step.app.clone(), std::mem::replace(&mut step.sliced, true));
        let (MemoryUse::Put(key) | MemoryUse::Get(key) | MemoryUse::Remove(key)) = wanted;
        let there = Write { app: app.clone(), key };
        let operation = match wanted {
            MemoryUse::Put(_) => {
                let number = self.checkers.memory.write(there.clone());
                MemoryOperation::Put(program::remembered(key, number))
            }
            MemoryUse::Get(_) => MemoryOperation::Get,
            MemoryUse::Remove(_) => MemoryOperation::Remove,
        };
        let waiting = Waiting { held, there, operation: operation.clone() };
        executor.waiting.insert(request, waiting);
        if !sliced {
            self.input(n, Input::Sliced(held));
        }
        let key = format!("key-{key}");
        self.input(n, Input::Memory { request, app, key, operation });
    }

    /// Cluster memory answered.
    pub(crate) fn remembered(&mut self, n: usize, request: u64, answer: &MemoryAnswer) {
        let waiting = self.nodes[n].executor.waiting.remove(&request);
        let Some(Waiting { held, there, operation }) = waiting else {
            return self.answered_twice(n, request);
        };
        self.check_answer(n, &there, &operation, answer);
        self.seen.count(match answer {
            Ok(Some(_)) => "memory found",
            Ok(None) => "memory empty",
            Err(MemoryError::Unavailable) => "memory unavailable",
            Err(_) => "memory too large",
        });
        let node = &self.nodes[n];
        let event = Event::Rest { node: n, incarnation: node.incarnation, held };
        self.queue.push(self.now + 5, event);
    }

    fn stepped(&mut self, n: usize, held: HeldId) {
        let Some(step) = self.nodes[n].executor.steps.remove(&held) else { return };
        let used = Duration::from_micros(step.used_us);
        // Suspended functions are kept, as if all components were direct.
        let warm = matches!(step.end, izna_proto::StepEnd::Suspend { .. });
        self.input(n, Input::Stepped { held, end: step.end, used, took: used, warm });
    }
}

fn stretched(micros: u64, slowness: f64) -> Moment {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small")]
    let stretched = (micros as f64 * slowness) as Moment;
    stretched
}
