//! A node: one core, the shell around it as far as it matters, and a disk.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use izna_core::{Config, Core, Input, Output, Time, record::Recorder};
use izna_proto::{Digest, Message, NodeId, ProcessId, TableEntry};
use rand::RngExt;

use crate::{
    World,
    check::Cause,
    event::{Event, Fetch, Moment},
    executor::Executor,
    world::{index, node_id},
};

/// A simulated node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) core: Option<Core>,
    pub(crate) config: Config,
    pub(crate) incarnation: u64,
    /// What its clock shows when the world begins. No two nodes' clocks agree.
    offset: i64,
    pub(crate) paused: bool,
    pub(crate) resumed_at: Moment,
    /// What came while it was stopped.
    inbox: VecDeque<Input>,
    late: Vec<Event>,
    wake_at: Option<Moment>,
    pub(crate) executor: Executor,
    /// How many times longer steps take than they should.
    pub(crate) slowness: f64,
    /// Components that the shell has, or is getting (by which attempt).
    pub(crate) holds: BTreeMap<Digest, Hold>,
    /// The processes that it held when it was last looked at.
    pub(crate) copies: Vec<(ProcessId, u32)>,

    /// Of this life, if it is recorded.
    pub(crate) recorder: Option<Recorder>,

    /// The disk: lines of the app table, and artifacts.
    pub(crate) table: BTreeMap<Arc<str>, TableEntry>,
    pub(crate) artifacts: BTreeSet<Digest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    Fetching(u64),
    Ready,
}

impl Node {
    pub(crate) fn new(config: Config, offset: i64) -> Self {
        Self {
            core: None,
            executor: Executor::new(usize::from(config.cores)),
            config,
            incarnation: 0,
            offset,
            paused: false,
            resumed_at: 0,
            inbox: VecDeque::new(),
            late: Vec::new(),
            wake_at: None,
            slowness: 1.0,
            holds: BTreeMap::new(),
            copies: Vec::new(),
            recorder: None,
            table: BTreeMap::new(),
            artifacts: BTreeSet::new(),
        }
    }

    pub(crate) fn local(&self, now: Moment) -> Time {
        Time::from_micros(self.offset + i64::try_from(now).expect("a moment of a run is small"))
    }

    fn world_time(&self, at: Time) -> Moment {
        u64::try_from(at.as_micros() - self.offset).unwrap_or(0)
    }

    /// Whether an event of `incarnation` still concerns it.
    pub(crate) fn lives(&self, incarnation: u64) -> bool {
        self.core.is_some() && self.incarnation == incarnation
    }
}

impl World {
    /// A node starts, unless it runs.
    pub(crate) fn start(&mut self, n: usize) {
        let seed = self.random.random();
        let node = &mut self.nodes[n];
        if node.core.is_some() {
            return;
        }
        node.incarnation += 1;
        let incarnation = node.incarnation;
        let config = Config { incarnation, seed, ..node.config.clone() };
        let now = node.local(self.now);
        let recorder = self.recorder(&config, now);
        let node = &mut self.nodes[n];
        node.recorder = recorder;
        node.core = Some(Core::new(config, now));
        node.executor = Executor::new(usize::from(node.config.cores));
        node.paused = false;
        let lines: Vec<TableEntry> = node.table.values().cloned().collect();
        self.trace(None, Some(n), || format!("starts as incarnation {incarnation}"));
        self.input(n, Input::Restore(lines));
    }

    /// A node is gone.
    pub(crate) fn crash(&mut self, n: usize) {
        self.trace(None, Some(n), || String::from("is gone"));
        let node = &mut self.nodes[n];
        if let Some(core) = node.core.take() {
            self.seen.add(core.counters());
        }
        node.paused = false;
        node.inbox.clear();
        node.late.clear();
        node.wake_at = None;
        node.holds.clear();
        let copies = std::mem::take(&mut node.copies);
        self.keep_recording(n);
        self.checkers.ownership.crashed(n, &copies, &mut self.requests);
        self.checkers.crashed(n);
        self.unplug(n);
    }

    pub(crate) fn resume(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if !node.paused {
            return;
        }
        self.trace(None, Some(n), || String::from("goes on"));
        let node = &mut self.nodes[n];
        (node.paused, node.resumed_at) = (false, self.now);
        for event in std::mem::take(&mut node.late) {
            self.queue.push(self.now, event);
        }
        let inbox = std::mem::take(&mut node.inbox);
        if self.random.random_bool(0.5) {
            self.tick(n);
        }
        for input in inbox {
            self.input(n, input);
        }
        self.tick(n);
    }

    /// Something happens at a node.
    pub(crate) fn input(&mut self, n: usize, input: Input) {
        let node = &mut self.nodes[n];
        if node.core.is_none() {
            return;
        }
        if node.paused {
            node.inbox.push_back(input);
            return;
        }
        let at = node.local(self.now);
        let cause = Cause::of(&input, &mut self.requests, self.now, node.incarnation);
        self.check_input(n, &input, &cause);
        if self.tracing {
            self.trace_input(n, &input);
        }
        if let Some(recorder) = &mut self.nodes[n].recorder {
            recorder.input(at, &input);
        }
        self.acting = n;
        if let Some(core) = &mut self.nodes[n].core {
            core.handle(at, input);
        }
        self.settle(n, cause);
    }

    /// A core's deadline has come.
    pub(crate) fn wake(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if node.wake_at != Some(self.now) {
            return;
        }
        node.wake_at = None;
        if node.paused {
            return;
        }
        self.tick(n);
    }

    fn tick(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let at = node.local(self.now);
        if let Some(recorder) = &mut node.recorder {
            recorder.tick(at);
        }
        self.acting = n;
        if let Some(core) = &mut node.core {
            core.tick(at);
        }
        self.settle(n, Cause::Tick);
    }

    /// Do what the core says, look whether all is well, and set the clock.
    fn settle(&mut self, n: usize, cause: Cause) {
        let mut effects = std::mem::take(&mut self.effects);
        effects.collect(&mut self.nodes[n], &cause);
        // Most beacons change nothing, and most of all that happens is beacons.
        let held = self.nodes[n].core.as_ref().map_or(0, |core| core.held().0);
        let idle = effects.outputs.is_empty() && held == self.nodes[n].copies.len();
        let looks = cause != Cause::Beacon || !idle || self.checkers.view.looks();
        if looks {
            self.check(n, &cause, &effects);
        }
        let drained = effects.drained;
        for output in effects.outputs.drain(..) {
            self.perform(n, output);
        }
        self.effects = effects;
        if looks {
            self.check_after(n);
        }
        let node = &mut self.nodes[n];
        let Some(core) = &node.core else { return };
        if let Some(at) = core.deadline() {
            let at = node.world_time(at).max(self.now);
            if node.wake_at.is_none_or(|wake_at| at < wake_at) {
                node.wake_at = Some(at);
                self.queue.push(at, Event::Wake { node: n });
            }
        }
        if drained {
            self.drained(n);
        }
    }

    /// A drained node stops, and starts again.
    fn drained(&mut self, n: usize) {
        self.seen.count("drained");
        self.crash(n);
        let restart = Box::new(crate::faults::Fault::Restart(n));
        self.queue.push(self.now + 50_000, Event::Fault(restart));
    }

    fn perform(&mut self, n: usize, output: Output) {
        if self.tracing {
            self.trace_output(n, &output);
        }
        match output {
            Output::Run(step) => {
                self.ran(n, &step);
                self.run_step(n, step);
            }
            Output::Send { peer, message } => {
                self.check_link(n, peer, &message);
                self.sends(n, peer, &message);
                self.send(n, peer, message);
            }
            Output::Connect(peer) => {
                self.check_connect(n, peer);
                self.connect(n, peer);
            }
            Output::Disconnect(peer) => self.disconnect(n, peer),
            Output::Beacon(beacon) => self.send_beacon(n, beacon),
            Output::Bulletin { audience, bulletin } => self.send_bulletin(n, &audience, &bulletin),
            Output::Keep { digest, holders } => {
                if self.source(n, digest, &holders).is_some() {
                    self.seen.count("artifact kept for another zone");
                    self.nodes[n].artifacts.insert(digest);
                }
            }
            Output::Reply(reply) => {
                self.answered(n, &reply);
                self.judge(n, &reply);
            }
            Output::Hold { digest, holders } => self.fetch(n, digest, &holders),
            Output::Release(digest) => {
                self.seen.count("component released");
                self.nodes[n].holds.remove(&digest);
            }
            Output::Store(entry) => {
                self.check_stored(n, &entry);
                self.nodes[n].table.insert(entry.name.clone(), entry);
            }
            Output::Forget(name) => {
                self.nodes[n].table.remove(&name);
            }
            Output::MemoryAnswer { request, answer } => self.remembered(n, request, &answer),
            Output::Note(note) => self.check_adoption(n, &note),
            // Addresses are always known here.
            Output::Introduce { .. } | Output::Changed { .. } | Output::Drained => {}
        }
    }

    /// Get a component from the own disk, or else from the first node that has it.
    fn fetch(&mut self, n: usize, digest: Digest, holders: &[NodeId]) {
        let source = self.source(n, digest, holders);
        if source.is_none() {
            // Whoever was asked tells its core that it could not help.
            for holder in holders.iter().map(|holder| index(*holder)) {
                let incarnation = self.nodes[holder].incarnation;
                if self.zone(holder) != self.zone(n) && self.network.is_reachable(n, holder) {
                    let input = Box::new(Input::Lacked { peer: node_id(n), digest });
                    self.queue.push(self.now, Event::Tell { node: holder, incarnation, input });
                }
            }
        }
        let own = self.nodes[n].artifacts.contains(&digest);
        let failed = !self.healed && self.random.random::<f64>() < self.options.fetch_failures;
        let ok = (own || source.is_some()) && !failed;
        if !ok {
            self.seen.count("component not had");
        }
        let asked = if own { 0 } else { source.unwrap_or(holders.len()) as u64 };
        let fetch_us = self.options.fetch_ms * 1000;
        let took = self.random.random_range(fetch_us / 2..=fetch_us) + asked * 500;
        self.fetches += 1;
        let generation = self.fetches;
        let node = &mut self.nodes[n];
        node.holds.insert(digest, Hold::Fetching(generation));
        let incarnation = node.incarnation;
        let fetch = Box::new(Fetch { digest, generation, ok });
        let event = Event::Fetched { node: n, incarnation, fetch };
        self.queue.push(self.now + took, event);
    }

    /// Which of these nodes gives an artifact.
    fn source(&self, n: usize, digest: Digest, holders: &[NodeId]) -> Option<usize> {
        holders.iter().map(|holder| index(*holder)).position(|holder| {
            let there = self.nodes[holder].core.is_some() && !self.nodes[holder].paused;
            there
                && self.network.is_reachable(n, holder)
                && self.nodes[holder].artifacts.contains(&digest)
        })
    }

    /// A component was fetched and compiled, or not.
    pub(crate) fn fetched(&mut self, n: usize, fetch: Fetch) {
        let node = &mut self.nodes[n];
        let digest = fetch.digest;
        if node.holds.get(&digest) != Some(&Hold::Fetching(fetch.generation)) {
            return;
        }
        if fetch.ok {
            node.holds.insert(digest, Hold::Ready);
            node.artifacts.insert(digest);
            self.input(n, Input::Ready { digest, cost: None });
        } else {
            node.holds.remove(&digest);
            self.input(n, Input::NotReady(digest, String::from("no one has it")));
        }
    }

    /// Put off what a stopped node would do until it goes on.
    pub(crate) fn postpone(&mut self, n: usize, event: Event) -> Option<Event> {
        let node = &mut self.nodes[n];
        if node.paused {
            node.late.push(event);
            return None;
        }
        Some(event)
    }
}

/// What came out of a core for one input.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) outputs: Vec<Output>,
    pub(crate) replies: Vec<ProcessId>,
    /// The delivery that came in was taken, as far as its source is told.
    pub(crate) accepted: bool,
    drained: bool,
}

impl Effects {
    fn collect(&mut self, node: &mut Node, cause: &Cause) {
        self.replies.clear();
        (self.accepted, self.drained) = (false, false);
        let Some(core) = &mut node.core else { return };
        while let Some(output) = core.poll() {
            if let Some(recorder) = &mut node.recorder {
                recorder.output(&output);
            }
            match (&output, cause) {
                (Output::Reply(reply), _) => self.replies.push(reply.process),
                (Output::Drained, _) => self.drained = true,
                (
                    Output::Send { message: Message::Accepted { delivery, .. }, .. },
                    Cause::Deliver { delivery: came, .. },
                ) => self.accepted |= delivery.0 == *came,
                _ => {}
            }
            self.outputs.push(output);
        }
    }
}
