//! The core itself: its state, its three doors, and the list of all that can wake it. What it does
//! when woken is in the files beside: `gateway` (slots and replies), `steps` (run queue and steps),
//! `place` (where a process goes), `pull` (asking others for work), `migrate` (deliveries), `peers`
//! (beacons, links, app table), `recall` (cluster memory).

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    vec::Vec,
};

use izna_proto::{ComponentId, Digest, Load, Message, NodeId, Outcome, Process, SlotId};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

use crate::{
    Config, Counters, Duration, HeldId, Input, Measurement, Note, Output, TableError, Time,
    adopt::Adoptions,
    gateway::{Budget, Slot},
    holding::OwnCopy,
    memory::{Part, Requests},
    migrate::{Leaving, Recent, micros},
    placement::{
        Candidates, DEMAND_US_FIRST, Explanation, Journey, MEMORY_FULL, Overhead, Overload, Speed,
        Waiting, memory_wait_us, network_wait_us,
    },
    pull::Pulls,
    table::Table,
    view::View,
    zones::Zones,
};

/// A node's decisions. See the crate's documentation for its contract.
#[derive(Debug)]
pub struct Core {
    pub(crate) config: Config,
    pub(crate) now: Time,
    began: Time,
    pub(crate) random: Xoshiro256PlusPlus,
    outputs: VecDeque<Output>,
    pub(crate) timers: BTreeSet<(Time, Timer)>,

    pub(crate) table: Table,
    /// Why the last deploy, undeploy or assignment here left no line.
    pub(crate) not_deployed: Option<TableError>,
    pub(crate) view: View,
    pub(crate) zones: Zones,
    /// Bulletins of this node so far, and when it last answered a zone that was not known.
    pub(crate) told: u64,
    pub(crate) answered: Option<Time>,
    /// The components that this node holds or is getting, and their code.
    pub(crate) copies: BTreeMap<ComponentId, OwnCopy>,
    pub(crate) components: BTreeMap<Digest, Component>,
    pub(crate) adoptions: Adoptions,

    pub(crate) held: BTreeMap<HeldId, Held>,
    pub(crate) next_held: u64,
    /// The run queue: oldest birth first.
    pub(crate) queue: BTreeSet<(Time, HeldId)>,
    /// Steps that run within a slot, and steps that run without.
    pub(crate) running: usize,
    pub(crate) sliced: usize,
    /// The expected processor time of all that runs or is queued, in microseconds.
    pub(crate) work_us: f64,

    /// Deliveries on their way.
    pub(crate) deliveries: BTreeMap<u64, Leaving>,
    pub(crate) next_delivery: u64,
    pub(crate) recent: Recent,
    pub(crate) pulls: Pulls,
    /// Kept between decisions, so that none allocates.
    pub(crate) candidates: Candidates<NodeId>,
    pub(crate) inflow: Inflow,
    pub(crate) journey: Journey,
    pub(crate) overload: Overload,
    /// The speed of the fastest node that is known, and one way to a node of the zone.
    pub(crate) fastest: f64,
    pub(crate) hop_us: f64,

    pub(crate) slots: BTreeMap<SlotId, Slot>,
    pub(crate) budget: Budget,
    /// When lost processes were last looked for.
    pub(crate) looked: Time,

    pub(crate) part: Part,
    pub(crate) requests: Requests,

    pub(crate) measured: Measurement,
    pub(crate) measured_at: Time,
    pub(crate) overhead: Overhead,
    /// The share of a core that steps get when they want one.
    pub(crate) speed: Speed,
    pub(crate) sequence: u64,
    pub(crate) draining: bool,
    drained: bool,
    pub(crate) counters: Counters,
}

/// A process that this node holds.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) process: Process,
    pub(crate) born: Time,
    pub(crate) deadline: Time,
    pub(crate) place: Place,
    /// The expected processor time of its next step, in microseconds, as counted in the core's
    /// work.
    pub(crate) demand_us: f64,
    /// Moves since its last step, out of a run queue or instead of one.
    pub(crate) queue_moves: u8,
    /// Since when it waits in the run queue, or its step runs.
    pub(crate) since: Time,
    /// Why it is where it is, or goes where it goes.
    pub(crate) why: Explanation,
    /// Nodes that did not take it since it was last placed.
    pub(crate) tried: Vec<NodeId>,
    /// Since when no node could be found for it.
    pub(crate) homeless: Option<Time>,
    /// A delivery of it was not answered: another node may have it too, and may have run it.
    pub(crate) copied: bool,
    /// Its next step runs here and nowhere else: it is between the two sides of a local link.
    pub(crate) stays: bool,
}

/// Where a held process is.
#[derive(Debug)]
pub(crate) enum Place {
    /// In the run queue.
    Queued,
    /// Its step runs.
    Running {
        /// It has given up its slot.
        sliced: bool,
    },
    /// On its way to another node, which has not answered.
    Leaving,
    /// No node takes it now; a timer tries again.
    Homeless,
    /// It has ended, and its gateway has not acknowledged that.
    Finishing(Outcome),
}

/// The code of components that this node holds or is getting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Component {
    pub(crate) state: ComponentState,
    /// The processor time of one step here, smoothed, in microseconds, and whether one has run.
    pub(crate) demand_us: f64,
    pub(crate) ran: bool,
    /// What getting it has cost, where it was compiled here.
    pub(crate) cost: Option<Duration>,
    /// How long it was not asked for after it could not be had the last time.
    pub(crate) delay: Duration,
    /// Why it could not be had the last time.
    pub(crate) trouble: Option<String>,
}

impl Component {
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.state, ComponentState::Failed { .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ComponentState {
    Asked,
    /// It is asked for again then.
    Failed {
        again: Time,
    },
    Ready,
}

/// Every reason to wake up though nothing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Send a beacon, look after the view, offer queued processes to others.
    Beacon,
    /// Tell other zones how this one is.
    Speak,
    /// Tell gateways what is held here; look for lost processes.
    Holding,
    /// The deadline of a held process.
    Expire(HeldId),
    /// Try again to place a process, or to deliver its end.
    Retry(HeldId),
    /// A delivery without an answer.
    Acknowledge(u64),
    /// The deadline of a client.
    Slot(SlotId),
    /// A request to another node's part of cluster memory.
    Memory(u64),
    /// Ask again for a component.
    Component(Digest),
    /// Look whether to ask another node for work.
    Pull,
    /// An asking for work without an answer.
    Asked(u64),
    /// Measure components, and decide which are to be adopted or given up.
    Adoption,
}

/// The work that comes in: how much, smoothed over some beacons.
#[derive(Debug)]
pub(crate) struct Inflow {
    since: Time,
    work_us: f64,
    /// Processor seconds at speed one per second.
    pub(crate) rate: f64,
}

/// How fast the inflow follows the latest beacon interval.
const INFLOW_SMOOTHING: f64 = 0.3;

impl Inflow {
    pub(crate) fn new(since: Time) -> Self {
        Self { since, work_us: 0.0, rate: 0.0 }
    }

    pub(crate) fn add(&mut self, work_us: f64) {
        self.work_us += work_us;
    }

    pub(crate) fn measure(&mut self, now: Time) {
        let elapsed_us = now.since(self.since).as_micros() as f64;
        if elapsed_us > 0.0 {
            self.rate += INFLOW_SMOOTHING * (self.work_us / elapsed_us - self.rate);
            (self.since, self.work_us) = (now, 0.0);
        }
    }
}

/// Numbers on the wire begin elsewhere in each incarnation, so that an answer to an earlier one is
/// told from an answer to this one.
fn first_number(incarnation: u64) -> u64 {
    (incarnation & 0xff_ffff) << 40
}

impl Core {
    /// A core at `now`. It sends its first beacon at once.
    pub fn new(config: Config, now: Time) -> Self {
        let measured = Measurement {
            capacity_milli: config.capacity_milli,
            own_cpu_us: 0,
            cpu_permille: 0,
            memory_permille: 0,
            network_permille: 0,
            unsent_us: 0,
        };
        Self {
            now,
            random: Xoshiro256PlusPlus::seed_from_u64(config.seed),
            outputs: VecDeque::new(),
            timers: BTreeSet::from([
                (now, Timer::Beacon),
                (now, Timer::Holding),
                (now + config.summary_interval, Timer::Speak),
                (now + config.adoption_interval, Timer::Adoption),
            ]),
            began: now,
            table: Table::default(),
            not_deployed: None,
            view: View::default(),
            zones: Zones::default(),
            told: 0,
            answered: None,
            copies: BTreeMap::new(),
            components: BTreeMap::new(),
            adoptions: Adoptions::default(),
            held: BTreeMap::new(),
            next_held: 0,
            queue: BTreeSet::new(),
            running: 0,
            sliced: 0,
            work_us: 0.0,
            deliveries: BTreeMap::new(),
            next_delivery: first_number(config.incarnation),
            recent: Recent::new(config.recent_max),
            pulls: Pulls::default(),
            candidates: Candidates::default(),
            inflow: Inflow::new(now),
            journey: Journey::default(),
            overload: Overload::default(),
            fastest: 1.0,
            hop_us: config.hop_cost.as_secs_f64() * 1e6,
            slots: BTreeMap::new(),
            budget: Budget::new(now),
            looked: now,
            part: Part::new(config.memory_bytes_max, config.memory_value_bytes_max),
            requests: Requests::new(first_number(config.incarnation)),
            measured,
            measured_at: now,
            overhead: Overhead::default(),
            speed: Speed::new(1.0),
            sequence: 0,
            draining: false,
            drained: false,
            counters: Counters::default(),
            config,
        }
    }

    /// Take in what happened at `now`, and do what is due by then. Time must not go back.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Submit(submission) => self.submit(submission),
            Input::Abandon(slot) => self.abandon(slot),
            Input::Stepped { held, end, used, took, warm } => {
                self.keep_warm(held, used, warm);
                self.stepped(held, end, used, took);
            }
            Input::Sliced(held) => self.step_sliced(held),
            Input::Heard(beacon) => self.heard(&beacon),
            Input::Told { bulletin, from_abroad } => self.told_bulletin(bulletin, from_abroad),
            Input::Called { peer, zone, incarnation } => self.called(peer, zone, incarnation),
            Input::LinkUp { peer, incarnation, name, traits, zone } => {
                self.link_up(peer, incarnation, (name, traits), zone);
            }
            Input::LinkDown(peer) => self.link_down(peer),
            Input::Received { peer, message } => self.received(peer, message),
            Input::Measured(measured) => self.measured(measured),
            Input::Deploy(app) => self.deploy(app.name.clone(), Some(app)),
            Input::Undeploy(name) => self.deploy(name, None),
            Input::Restore(entries) => self.restore(entries),
            Input::Assign { app, component, node, assignment } => {
                self.assign(&app, &component, node, assignment);
            }
            Input::Ready { digest, cost } => self.ready(digest, cost),
            Input::NotReady(digest, why) => self.not_ready(digest, why),
            Input::Lacked { peer, digest } => self.lacked(peer, digest),
            Input::Memory { request, app, key, operation } => {
                self.recall(request, &app, &key, operation);
            }
            Input::Drain => self.drain(),
        }
        self.settle();
    }

    /// Do what is due by `now`, though nothing happened. Call when [`Core::deadline`] has come.
    pub fn tick(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.settle();
    }

    fn settle(&mut self) {
        self.wake();
        self.pump();
        if self.draining && !self.drained && self.held.is_empty() && self.slots.is_empty() {
            self.drained = true;
            self.put(Output::Drained);
        }
    }

    /// The next thing to do. Worth calling after each [`Core::handle`] or [`Core::tick`], until
    /// none.
    #[must_use]
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Core::tick`] is to be called if nothing happens before.
    pub fn deadline(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn received(&mut self, peer: NodeId, message: Message) {
        self.view.spoke(self.now, peer);
        match message {
            Message::Deliver(delivery) => self.delivered(peer, delivery),
            Message::Finish(finish) => self.finished(peer, finish),
            Message::Accepted { delivery, load, level_us } => {
                self.accepted(peer, delivery, load, level_us);
            }
            Message::Refused { delivery, load, refusal } => {
                self.refused(peer, delivery, load, refusal);
            }
            Message::Holding(held) => self.holding(&held),
            Message::AskInventory => self.send_inventory(peer),
            Message::Inventory { epoch, table, copies } => {
                let failed = self.failed_code();
                #[cfg(feature = "sabotage")]
                let forgotten = usize::from(self.sabotaged(crate::Sabotage::ForgetHolder));
                #[cfg(feature = "sabotage")]
                let copies = copies.into_iter().skip(forgotten).collect();
                self.view.told_inventory(peer, copies);
                self.view.told_epoch(self.now, peer, epoch, table);
                self.look_at_holders(failed);
            }
            Message::TableSummary(summary) => self.table_summary(peer, &summary),
            Message::TableEntries(entries) => self.merge(entries),
            Message::Memory { request, key, operation } => {
                #[cfg(feature = "sabotage")]
                if operation == izna_proto::MemoryOperation::Remove
                    && self.sabotaged(crate::Sabotage::KeepRemoved)
                {
                    return self.send(peer, Message::MemoryAnswer { request, answer: Ok(None) });
                }
                let answer = self.part.apply(key, operation);
                self.send(peer, Message::MemoryAnswer { request, answer });
            }
            Message::MemoryAnswer { request, answer } => {
                if let Some(asked) = self.requests.answered(self.now, peer, request) {
                    self.disarm(asked.until, Timer::Memory(request));
                    self.put(Output::MemoryAnswer { request: asked.local, answer });
                }
            }
            Message::Probe { load } => {
                self.view.told_load(self.now, peer, load);
                let load = self.load();
                self.send(peer, Message::Alive { load });
            }
            Message::Alive { load } => {
                if let Some(asked) = self.view.alive(self.now, peer, load) {
                    self.measured_zone(peer, asked, 0);
                }
            }
            Message::Pull { load } => self.pull(peer, load),
            Message::Pulled { load, given } => self.pulled(peer, load, given),
            Message::Demands { load, demands } => self.told_demands(peer, load, demands),
            Message::Adopt { component, grounds } => self.adopt(component, grounds),
            Message::GiveUp { component } => self.give_up(component),
            // The shell's own: it should not have come here.
            Message::Hello(_)
            | Message::AskArtifact { .. }
            | Message::Artifact { .. }
            | Message::Peers(_) => {}
        }
    }

    /// Do all that is due.
    fn wake(&mut self) {
        while let Some(&(at, timer)) = self.timers.first() {
            if at > self.now {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::Beacon => self.beacon(),
                Timer::Holding => self.tell_holding(),
                Timer::Speak => self.speak(),
                Timer::Expire(held) => self.expire(held),
                Timer::Retry(held) => self.retry(held),
                Timer::Acknowledge(delivery) => self.unanswered(delivery),
                Timer::Slot(slot) => self.slot_deadline(slot),
                Timer::Memory(request) => self.recall_late(request),
                Timer::Component(digest) => self.ask_again(digest),
                Timer::Pull => self.ask_for_work(),
                Timer::Asked(asking) => self.not_pulled(asking),
                Timer::Adoption => self.look_after_components(),
            }
        }
    }

    pub(crate) fn put(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn send(&mut self, peer: NodeId, message: Message) {
        self.put(Output::Send { peer, message });
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.put(Output::Note(note));
    }

    pub(crate) fn arm(&mut self, at: Time, timer: Timer) {
        self.timers.insert((at, timer));
    }

    pub(crate) fn disarm(&mut self, at: Time, timer: Timer) {
        self.timers.remove(&(at, timer));
    }

    fn measured(&mut self, measured: Measurement) {
        let passed = self.now.since(self.measured_at);
        self.speed.pass(passed.as_secs_f64());
        self.overhead.measured(measured.own_cpu_us, passed.as_secs_f64() * 1e6);
        (self.measured, self.measured_at) = (measured, self.now);
    }

    /// What the cores of this node are worth now, in cores: what the machine or a quota gives, and
    /// no more than steps get of what others leave.
    fn capacity(&self) -> f64 {
        let given = f64::from(self.measured.capacity_milli) / 1000.0;
        let got = f64::from(self.config.cores.max(1)) * self.speed.value();
        given.min(got).max(0.001)
    }

    /// What of it works off the queue: not what the node itself needs for requests and messages.
    pub(crate) fn capacity_for_steps(&self) -> f64 {
        self.overhead.left_of(self.capacity())
    }

    /// This node's load now.
    pub fn load(&self) -> Load {
        let cores = usize::from(self.config.cores.max(1));
        let capacity = self.capacity();
        let waiting = self.waiting();
        let mean_us = if waiting.queued == 0 { DEMAND_US_FIRST } else { waiting.mean_us() };
        let (memory, network) = (self.measured.memory_permille, self.measured.network_permille);
        let wait_us = waiting.wait_us(cores, self.capacity_for_steps())
            + memory_wait_us(memory, mean_us)
            + network_wait_us(network, self.measured.unsent_us, mean_us);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        Load {
            at_us: micros(self.now.since(self.began)),
            wait_us: wait_us as u32,
            idle: u16::try_from(cores.saturating_sub(waiting.queued)).unwrap_or(u16::MAX),
            capacity_milli: (capacity * 1000.0) as u32,
            speed_milli: (capacity * 1000.0 / cores as f64) as u32,
            queued: u32::try_from(waiting.queued).unwrap_or(u32::MAX),
            inflow_milli: (self.inflow.rate * 1000.0) as u32,
            cpu_permille: self.measured.cpu_permille,
            memory_permille: memory,
            network_permille: network,
            accepting: !self.draining && memory < MEMORY_FULL,
        }
    }

    /// What runs or waits for a core here.
    pub(crate) fn waiting(&self) -> Waiting {
        let queued = self.running + self.sliced + self.queue.len();
        Waiting { queued, work_us: self.work_us }
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether a deliberate defect is on. Always false in a shipped binary.
    #[cfg(feature = "sabotage")]
    pub(crate) fn sabotaged(&self, sabotage: crate::Sabotage) -> bool {
        self.config.sabotage == Some(sabotage)
    }
}
