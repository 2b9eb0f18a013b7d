//! Does what core puts out: the effects of its decisions.
//!
//! What is told to a peer takes its place among what that peer is told within the lock of core, is
//! encoded after it on the thread that decided, and so leaves in the order of the decisions. Steps,
//! replies and answers need no order. All else (links, components, the table, beacons, notes) goes
//! through one queue to one task, and is done there in order.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use izna_core::{Output, Reply};
use izna_proto::{Message, NodeId, PeerAddress, SlotId};
use tokio::sync::{mpsc, watch};

use crate::{
    addresses::SharedAddresses,
    app_table::AppTable,
    artifacts::Artifacts,
    discovery::Discovery,
    driver::{Perform, Taken},
    link_writer::Flush,
    log_limit::LogLimit,
    names::Names,
    notes,
    own::Own,
    peer_links::{self, PeerLinks},
    step_host::Steps,
    waiters::Waiters,
};

/// Performs outputs.
#[derive(Debug)]
pub(crate) struct Performer {
    parts: Parts,
    in_order: mpsc::UnboundedSender<Output>,
    drained: watch::Sender<bool>,
    /// Processes that were encoded to be sent. A step whose successor runs here adds none.
    process_encoded: AtomicU64,
}

/// Those that outputs are for.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) own: Arc<Own>,
    pub(crate) names: Arc<Names>,
    pub(crate) addresses: Arc<SharedAddresses>,
    pub(crate) links: Arc<PeerLinks>,
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) table: Arc<AppTable>,
    pub(crate) artifacts: Arc<Artifacts>,
    pub(crate) steps: Arc<Steps>,
    pub(crate) replies: Arc<Waiters<SlotId, Reply>>,
}

impl Performer {
    /// A performer, and what [`Performer::run`] is to be given.
    pub(crate) fn new(parts: Parts) -> (Self, mpsc::UnboundedReceiver<Output>) {
        let (in_order, ordered) = mpsc::unbounded_channel();
        let (drained, process_encoded) = (watch::Sender::new(false), AtomicU64::new(0));
        (Self { parts, in_order, drained, process_encoded }, ordered)
    }

    /// Do what needs order, until the node stops.
    pub(crate) async fn run(self: Arc<Self>, mut ordered: mpsc::UnboundedReceiver<Output>) {
        let duplicates = LogLimit::default();
        while let Some(output) = ordered.recv().await {
            self.perform_in_order(output, &duplicates);
        }
    }

    /// Becomes true when nothing is left here after a drain.
    pub(crate) fn drained(&self) -> watch::Receiver<bool> {
        self.drained.subscribe()
    }

    /// Processes that were encoded to be sent to another node.
    pub(crate) fn process_encoded(&self) -> u64 {
        self.process_encoded.load(Ordering::Relaxed)
    }

    fn perform_in_order(&self, output: Output, duplicates: &LogLimit) {
        let Parts { names, links, discovery, table, artifacts, .. } = &self.parts;
        match output {
            Output::Beacon(beacon) => discovery.send(&beacon),
            Output::Bulletin { audience, bulletin } => discovery.tell(&audience, bulletin),
            Output::Connect(peer) => links.connect(peer),
            Output::Disconnect(peer) => links.disconnect(peer),
            Output::Hold { digest, holders } => artifacts.hold(digest, holders),
            Output::Keep { digest, holders } => artifacts.keep(digest, holders),
            Output::Release(digest) => artifacts.release(digest),
            Output::Store(entry) => table.store(entry),
            Output::Forget(name) => table.forget(name),
            Output::Changed { request, result } => table.changed(request, result),
            Output::Drained => {
                self.drained.send_replace(true);
            }
            Output::Note(note) => notes::log(names, duplicates, note),
            // Performed by the thread that decided: see `take`.
            Output::Run(_)
            | Output::Send { .. }
            | Output::Introduce { .. }
            | Output::Reply(_)
            | Output::MemoryAnswer { .. } => {}
        }
    }

    /// Where a node is, for others.
    fn address_of(&self, node: NodeId) -> Option<PeerAddress> {
        let own = &self.parts.own;
        if node != own.node {
            return self.parts.addresses.lock().reach(node);
        }
        own.reached_at().map(|address| PeerAddress { node, zone: own.zone, address })
    }
}

impl Perform for Performer {
    fn take(&self, output: Output) -> Option<Taken> {
        match output {
            Output::Send { peer, .. } | Output::Introduce { peer, .. } => {
                let place = self.parts.links.reserve(peer)?;
                Some(Taken { output, place: Some(place) })
            }
            Output::Run(_) | Output::Reply(_) | Output::MemoryAnswer { .. } => {
                Some(Taken { output, place: None })
            }
            output => {
                // With nobody to receive it, the node has stopped.
                let _ = self.in_order.send(output);
                None
            }
        }
    }

    fn perform(&self, taken: Taken, flush: Flush) {
        match (taken.output, taken.place) {
            (Output::Run(step), _) => self.parts.steps.run(step),
            (Output::Send { message, .. }, Some(place)) => {
                let is_process = matches!(message, Message::Deliver(_));
                if peer_links::fill(place, &message, flush) && is_process {
                    self.process_encoded.fetch_add(1, Ordering::Relaxed);
                }
            }
            (Output::Introduce { node, .. }, Some(place)) => {
                if let Some(address) = self.address_of(node) {
                    peer_links::fill(place, &Message::Peers(vec![address]), flush);
                }
            }
            (Output::Reply(reply), _) => {
                let slot = reply.slot;
                self.parts.replies.answer(&slot, reply);
            }
            (Output::MemoryAnswer { request, answer }, _) => {
                self.parts.steps.memory_answered(request, answer);
            }
            // Done in order: see `take`.
            _ => {}
        }
    }
}
