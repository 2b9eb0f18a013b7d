//! The core itself: its machines, its three doors, and what wakes it. Each machine is the only writer
//! of its state and knows none of the others; the files below `core/` are the wiring, one for each
//! part of the way of a process, in this order:
//!
//! `clients` (a request comes, its end goes back) -> `place` (where it goes next) -> `steps` (the run
//! queue, a step, what follows) or `deliver` (to another node, and in from one) and `steal` (work for
//! idle nodes). Beside that way: `peers` and `zones` (who else there is), `deploy`, `copies` and
//! `adopt` (which components are here), `memory`, `status`.

mod adopt;
mod clients;
mod copies;
mod deliver;
mod deploy;
mod memory;
mod peers;
mod place;
mod status;
mod steal;
mod steps;
mod zones;

pub use self::status::{Fill, Holder, PeerStatus, ProcessState, ProcessStatus, Reason, ZoneStatus};

use izna_proto::{Message, NodeId, Refusal};

use crate::{
    adoption::Adoption,
    catalog::Catalog,
    components::Components,
    config::Config,
    effects::{Effects, Timer},
    io::{Input, Output},
    membership::Membership,
    memory::Memory,
    meter::Meter,
    placement::Candidates,
    processes::Processes,
    stealing::Stealing,
    time::Time,
    transfer::Transfer,
    waiters::Waiters,
};

/// A node's decisions. See the crate's documentation for its contract.
#[derive(Debug)]
pub struct Core {
    /// Time, configuration, randomness, outputs, timers, counters: what each machine is given.
    fx: Effects,
    /// The clients that wait for the end of a process.
    waiters: Waiters,
    /// The processes held here: their stages, the run queue, the slots, the work.
    processes: Processes,
    /// The deliveries under way, and those taken in lately.
    transfer: Transfer,
    /// What was asked of others for an idle core here, and by others.
    stealing: Stealing,
    /// The other nodes and zones.
    membership: Membership,
    /// Which apps there are.
    catalog: Catalog,
    /// The components here and their code.
    components: Components,
    /// The demand for components, and the decisions that are this node's.
    adoption: Adoption,
    /// Cluster memory: the part kept here, and what others were asked.
    memory: Memory,
    /// What the node measures of itself.
    meter: Meter,
    /// Kept between decisions, so that none allocates.
    candidates: Candidates<NodeId>,
    drain: Drain,
}

/// Whether the node is leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    No,
    /// It takes nothing new.
    Begun,
    /// Nothing is left, and that was said.
    Done,
}

impl Core {
    /// A core at `now`. It sends its first beacon at once.
    pub fn new(config: Config, now: Time) -> Self {
        let mut fx = Effects::new(config, now);
        fx.arm(now, Timer::Beacon);
        fx.arm(now, Timer::Holding);
        fx.arm(now + fx.config.adoption_interval, Timer::Adoption);
        Self {
            waiters: Waiters::new(now),
            processes: Processes::new(now),
            transfer: Transfer::new(fx.config.incarnation),
            stealing: Stealing::default(),
            membership: Membership::new(&mut fx),
            catalog: Catalog::default(),
            components: Components::default(),
            adoption: Adoption::default(),
            memory: Memory::new(&fx.config),
            meter: Meter::new(&fx),
            candidates: Candidates::default(),
            drain: Drain::No,
            fx,
        }
    }

    /// Take in what happened at `now`, and do what is due by then. Time must not go back.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.fx.now = self.fx.now.max(now);
        match input {
            Input::Submit(submission) => self.submit(submission),
            Input::Abandon(slot) => self.waiters.abandon(&mut self.fx, slot),
            Input::Stepped { held, end, used, took, warm } => {
                self.keep_warm(held, used, warm);
                self.stepped(held, end, used, took);
            }
            Input::Sliced(held) => self.processes.slice(&mut self.fx, held),
            Input::Heard(beacon) => self.heard(&beacon),
            Input::Told { bulletin, from_abroad } => self.told_bulletin(bulletin, from_abroad),
            Input::Called { peer, zone, incarnation } => self.called(peer, zone, incarnation),
            Input::LinkUp { peer, incarnation, name, traits, zone } => {
                self.link_up(peer, incarnation, (name, traits), zone);
            }
            Input::LinkDown(peer) => self.link_down(peer),
            Input::Received { peer, message } => self.received(peer, message),
            Input::Unreadable { peer, delivery } => self.refuse(peer, delivery, Refusal::Hops),
            Input::Measured(measured) => self.meter.measured(&self.fx, measured),
            Input::Change { request, change } => self.change(request, change),
            Input::Restore(entries) => self.restore(entries),
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
        self.fx.now = self.fx.now.max(now);
        self.settle();
    }

    /// The next thing to do. Worth calling after each [`Core::handle`] or [`Core::tick`], until
    /// none.
    #[must_use]
    pub fn poll(&mut self) -> Option<Output> {
        self.fx.take_output()
    }

    /// When [`Core::tick`] is to be called if nothing happens before.
    pub fn deadline(&self) -> Option<Time> {
        self.fx.deadline()
    }

    fn settle(&mut self) {
        self.wake();
        self.hand_out();
        let is_empty = self.processes.len() == 0 && self.waiters.len() == 0;
        if self.drain == Drain::Begun && is_empty {
            self.drain = Drain::Done;
            self.fx.put(Output::Drained);
        }
    }

    fn wake(&mut self) {
        while let Some(timer) = self.fx.take_due() {
            match timer {
                Timer::Beacon => self.beacon(),
                Timer::Holding => self.tell_holding(),
                Timer::Speak => self.speak(),
                Timer::Expire(held) => self.expire(held),
                Timer::Retry(held) => self.retry(held),
                Timer::Acknowledge(delivery) => self.unanswered(delivery),
                Timer::Slot(slot) => self.waiters.late(&mut self.fx, slot),
                Timer::Memory(request) => self.memory.late(&mut self.fx, request),
                Timer::Component(digest) => self.ask_again(digest),
                Timer::Pull => self.ask_for_work(),
                Timer::Asked(number) => self.stealing.unanswered(&mut self.fx, number),
                Timer::Adoption => self.look_after_components(),
            }
        }
    }

    fn received(&mut self, peer: NodeId, message: Message) {
        self.membership.spoke(&self.fx, peer);
        match message {
            Message::Deliver(delivery) => self.delivered(peer, delivery),
            Message::Finish(finish) => self.finished(peer, finish),
            Message::Accepted { delivery, load, level_us } => {
                self.accepted(peer, delivery, load, level_us);
            }
            Message::Refused { delivery, load, refusal } => {
                self.refused(peer, delivery, load, refusal);
            }
            Message::Holding(held) => self.told_holding(&held),
            Message::AskInventory => self.send_inventory(peer),
            Message::Inventory { epoch, table, copies } => {
                self.told_inventory(peer, (epoch, table), copies);
            }
            Message::TableSummary(summary) => self.table_summary(peer, &summary),
            Message::TableEntries(entries) => self.merge(entries),
            Message::Memory { request, key, operation } => {
                let answer = self.memory.apply(&self.fx, key, operation);
                self.fx.send(peer, Message::MemoryAnswer { request, answer });
            }
            Message::MemoryAnswer { request, answer } => {
                self.memory.answered(&mut self.fx, peer, request, answer);
            }
            Message::Probe { load } => {
                self.membership.told_load(&self.fx, peer, load);
                let load = self.load();
                self.fx.send(peer, Message::Alive { load });
            }
            Message::Alive { load } => self.membership.alive(&self.fx, peer, load),
            Message::Pull { load } => self.asked_for_work(peer, load),
            Message::Pulled { load, given } => {
                self.membership.told_load(&self.fx, peer, load);
                self.stealing.answered(&mut self.fx, peer, given);
            }
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
}
