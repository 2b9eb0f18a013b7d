//! What the gateway needs of a node, as a trait: the node does not know the gateway, nor the other
//! way round. `cli` joins them; tests use a fake.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use izna_proto::{App, NodeId, Outcome, Payload, ProcessId, Revision, TableEntry};
use tokio::sync::watch;

use crate::api;

/// A future in a box.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The app table of a node, newest revision of each app.
pub type Table = Arc<Vec<TableEntry>>;

/// A node, as its gateway sees it.
pub trait Cluster: Send + Sync + 'static {
    /// Run a process to its end. Dropping the future abandons it.
    fn submit(&self, request: Request) -> BoxFuture<Reply>;
    /// The app table, and word of each change.
    fn table(&self) -> watch::Receiver<Table>;
    /// This node's name.
    fn name(&self) -> Arc<str>;
    /// The node of that name, whether or not there is one.
    fn node_id(&self, name: &str) -> NodeId;
    /// The name of that node, or its id where no name is known.
    fn node_name(&self, node: NodeId) -> Arc<str>;
    /// The nodes that this one knows, itself first.
    fn nodes(&self) -> Vec<api::Node>;

    /// The zones that this node knows, its own first.
    fn zones(&self) -> Vec<api::Zone>;
    /// The components of all apps and who holds them.
    fn components(&self) -> Vec<api::Component>;
    /// Processes that this node holds or waits for, oldest first, at most `limit`.
    fn processes(&self, limit: usize) -> Vec<api::Process>;
    /// Take an artifact: checked, compiled and kept. The error is one sentence for its author.
    fn admit(&self, bytes: Bytes) -> BoxFuture<Result<api::Artifact, String>>;
    /// Deploy a new revision of an app that is sound in itself. The error, such as that an artifact
    /// was not given to this node, is one sentence.
    fn deploy(&self, app: App) -> BoxFuture<Result<Revision, String>>;
    /// Add a node to the holders of a component of an app, or remove it.
    fn assign(
        &self,
        app: Arc<str>,
        component: Arc<str>,
        node: NodeId,
        holds: bool,
    ) -> BoxFuture<Result<Revision, String>>;
    /// Undeploy an app that the table has. The error is one sentence.
    fn undeploy(&self, name: Arc<str>) -> BoxFuture<Result<Revision, String>>;
    /// Take nothing new and finish or hand over what is here; whether nothing was left in time.
    fn drain(&self) -> BoxFuture<bool>;
    /// Whether the node is in order and takes work; otherwise why not.
    fn ready(&self) -> Result<(), String>;
    /// The node's figures, for `/metrics`.
    fn metrics(&self) -> Vec<Metric>;
}

/// A process to be.
#[derive(Debug, Clone)]
pub struct Request {
    /// The app.
    pub app: Arc<str>,
    /// The component, by its name in the app.
    pub component: Arc<str>,
    /// The function.
    pub function: Arc<str>,
    /// A CBOR array of arguments.
    pub input: Payload,
    /// Whether it may run again when its process is lost.
    pub idempotent: bool,
    /// How long it may take.
    pub deadline: Duration,
    /// The W3C trace context.
    pub traceparent: Option<Arc<str>>,
}

/// The end of a process.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The process.
    pub process: ProcessId,
    /// How it ended.
    pub outcome: Outcome,
    /// The names of the nodes of its steps, in order.
    pub trail: Vec<Arc<str>>,
    /// What became of its time.
    pub timing: Timing,
}

/// What became of the time of a process, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// In run queues.
    pub queued_us: u64,
    /// On a core, or kept from it by others there.
    pub ran_us: u64,
    /// In a step that waited for the host.
    pub waited_us: u64,
    /// The rest: on the way between nodes, or waiting for one.
    pub moved_us: u64,
}

impl fmt::Display for Timing {
    /// As in the header `server-timing`, in milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queued_us, ran_us, waited_us, moved_us } = self;
        let parts =
            [("queue", queued_us), ("run", ran_us), ("wait", waited_us), ("move", moved_us)];
        for (index, (name, micros)) in parts.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name};dur={}.{:03}", micros / 1000, micros % 1000)?;
        }
        Ok(())
    }
}

/// One figure of a node.
#[derive(Debug, Clone)]
pub struct Metric {
    /// What it counts, such as `izna_steps`. Figures of one name follow each other.
    pub name: &'static str,
    /// One sentence on it.
    pub help: &'static str,
    /// Whether it only rises.
    pub kind: MetricKind,
    /// What tells it from others of its name.
    pub labels: Vec<(&'static str, String)>,
    /// Its value.
    pub value: u64,
}

/// How a figure moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
}

impl fmt::Debug for dyn Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({})", self.name())
    }
}
