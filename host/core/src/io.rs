//! What goes into a core and what comes out: the whole of what the shell must do.

use alloc::{string::String, sync::Arc, vec::Vec};

use izna_proto::{
    App, Beacon, Bulletin, DeliveryId, Digest, Grants, Grounds, Limits, MemoryAnswer,
    MemoryOperation, Message, NodeId, Outcome, Payload, ProcessId, Run, SlotId, StepEnd,
    TableEntry, Trail, Traits, ZoneId,
};

use crate::{held_id::HeldId, placement::Explanation, table_error::TableError, time::Duration};

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A client's request. Answered by exactly one [`Output::Reply`] for its slot.
    Submit(Submission),
    /// The client of this slot is gone: no reply is wanted.
    Abandon(SlotId),
    /// A step has ended. Answers one [`Output::Run`].
    Stepped {
        /// Which process.
        held: HeldId,
        /// What it ended with.
        end: StepEnd,
        /// The processor time it used.
        used: Duration,
        /// How long it was on a core or kept from it by others there, waiting for the host not
        /// included.
        took: Duration,
        /// It has suspended, and its function is kept here as it stands.
        warm: bool,
    },
    /// A running step has been on a core for long or waits for the host: its slot is free. At most
    /// once a step.
    Sliced(HeldId),
    /// A beacon that is authentic.
    Heard(Beacon),
    /// A bulletin of a zone that is authentic.
    Told {
        /// What it says.
        bulletin: Bulletin,
        /// It came from another zone, not from a node of this one that passed it on.
        from_abroad: bool,
    },
    /// A node of another zone, which has proved its name, has made a link to here.
    Called {
        /// Which node.
        peer: NodeId,
        /// Its zone.
        zone: ZoneId,
        /// Its count of restarts.
        incarnation: u64,
    },
    /// The own link to a node is up, and the node has proved its name.
    LinkUp {
        /// Which node.
        peer: NodeId,
        /// Its count of restarts.
        incarnation: u64,
        /// Its name, for messages.
        name: Arc<str>,
        /// What components may ask of it.
        traits: Traits,
        /// Its zone: the traits have the name of that.
        zone: ZoneId,
    },
    /// The own link to a node is down, or could not be made.
    LinkDown(NodeId),
    /// A message from a node, over its link. Links deliver in order and not twice; messages on a
    /// link that went down may be lost.
    Received {
        /// From whom.
        peer: NodeId,
        /// What.
        message: Message,
    },
    /// A delivery from a node that cannot be read here: it is refused.
    Unreadable {
        /// From whom.
        peer: NodeId,
        /// Its number.
        delivery: DeliveryId,
    },
    /// What the node measured of itself.
    Measured(Measurement),
    /// Someone changes an app here. Answered by exactly one [`Output::Changed`].
    Change {
        /// To tell the answer; unique among the changes of this node.
        request: u64,
        /// What is to change.
        change: Change,
    },
    /// Lines of the app table as they were on disk, at the start.
    Restore(Vec<TableEntry>),
    /// A component is compiled and ready to run.
    Ready {
        /// Which.
        digest: Digest,
        /// The processor time of compiling it; none when it was compiled before.
        cost: Option<Duration>,
    },
    /// A component could not be had: why. It is tried again later.
    NotReady(Digest, String),
    /// A node asked for the artifact of a component that is not here.
    Lacked {
        /// Which node.
        peer: NodeId,
        /// What it asked for.
        digest: Digest,
    },
    /// A step asks for cluster memory. Answered by exactly one [`Output::MemoryAnswer`].
    Memory {
        /// To tell the answer; unique among the local requests.
        request: u64,
        /// The app.
        app: Arc<str>,
        /// The key.
        key: String,
        /// What to do.
        operation: MemoryOperation,
    },
    /// Take nothing new, hand over what is here, then say [`Output::Drained`].
    Drain,
}

/// A change of an app: a new revision of it, that every node takes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This revision of it.
    Deploy(App),
    /// None any more.
    Undeploy(Arc<str>),
    /// The same with a node added to the holders of a component, or removed.
    Assign {
        /// The app.
        app: Arc<str>,
        /// The component, by its name in the app.
        component: Arc<str>,
        /// Which node.
        node: NodeId,
        /// What is to become of it.
        assignment: Assignment,
    },
}

/// What is to become of a node that somebody names for a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// It holds the component from now on.
    Holds,
    /// It does not.
    DoesNotHold,
}

/// A client's request.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Where the client waits; never used again in this incarnation.
    pub slot: SlotId,
    /// The process that it becomes.
    pub id: ProcessId,
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

/// What a node measures of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measurement {
    /// Usable cores times speed, in thousandths: a quota counts.
    pub capacity_milli: u32,
    /// Processor time that this node's process used since the last measurement, steps included, in
    /// microseconds.
    pub own_cpu_us: u64,
    /// Busy share of them, in thousandths.
    pub cpu_permille: u16,
    /// Used share of memory, in thousandths.
    pub memory_permille: u16,
    /// Used share of the network, in thousandths.
    pub network_permille: u16,
    /// How long it takes to send what waits in the links, in microseconds.
    pub unsent_us: u32,
}

/// Something to do. The list is closed: a shell that does these is a node.
#[derive(Debug, Clone)]
pub enum Output {
    /// Run this step, then [`Input::Stepped`].
    Run(Step),
    /// Say this to a node over the own link to it. Dropped if the link is down.
    Send {
        /// To whom.
        peer: NodeId,
        /// What.
        message: Message,
    },
    /// Make a link to this node, of which a beacon was heard, then [`Input::LinkUp`] or
    /// [`Input::LinkDown`]. It takes the place of one that is there, of which nothing more is told.
    Connect(NodeId),
    /// Close the link to this node, then [`Input::LinkDown`].
    Disconnect(NodeId),
    /// Tell everyone in this zone.
    Beacon(Beacon),
    /// Tell this of a zone. Doors of the own zone are told with their addresses, as far as these
    /// are known.
    Bulletin {
        /// Whom.
        audience: Audience,
        /// What.
        bulletin: Bulletin,
    },
    /// Tell `peer` over the own link to it where `node` takes links, if that is known.
    Introduce {
        /// Whom.
        peer: NodeId,
        /// Whose address.
        node: NodeId,
    },
    /// Give this to the client.
    Reply(Reply),
    /// Get and compile this component, from the own store or else from one of these nodes, then
    /// [`Input::Ready`] or [`Input::NotReady`].
    Hold {
        /// Which.
        digest: Digest,
        /// Who may have it, best first.
        holders: Vec<NodeId>,
    },
    /// Get the artifact of this component from one of these nodes, and keep it for others without
    /// running it. Nothing is told of what comes of it.
    Keep {
        /// Which.
        digest: Digest,
        /// Who may have it.
        holders: Vec<NodeId>,
    },
    /// Nothing needs this component any more.
    Release(Digest),
    /// Keep this line of the app table on disk, in place of the app's older ones. Routes may have
    /// changed.
    Store(TableEntry),
    /// What came of an [`Input::Change`]: the app's line in the table, to be kept by the
    /// [`Output::Store`] before this, or why there is none.
    Changed {
        /// Which change.
        request: u64,
        /// What came of it.
        result: Result<TableEntry, TableError>,
    },
    /// Remove the line of this app, which was undeployed long ago, from the app table on disk.
    Forget(Arc<str>),
    /// What came of a step's request to cluster memory.
    MemoryAnswer {
        /// Which request.
        request: u64,
        /// What came of it.
        answer: MemoryAnswer,
    },
    /// Nothing is left here after [`Input::Drain`].
    Drained,
    /// Something an operator should read.
    Note(Note),
}

/// To whom a bulletin goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// All nodes of the own zone.
    Zone,
    /// These nodes, of other zones.
    Nodes(Vec<NodeId>),
}

/// A step to run.
#[derive(Debug, Clone)]
pub struct Step {
    /// Which held process; comes back with [`Input::Stepped`].
    pub held: HeldId,
    /// The process, for logs and traces.
    pub process: ProcessId,
    /// The app, whose part of cluster memory the step sees.
    pub app: Arc<str>,
    /// The component's name, for logs.
    pub component: Arc<str>,
    /// Its code.
    pub digest: Digest,
    /// The function.
    pub function: Arc<str>,
    /// What it is given.
    pub run: Run,
    /// What it may use.
    pub limits: Limits,
    /// What it is given beside that.
    pub grants: Arc<Grants>,
    /// Whether it may call others.
    pub has_links: bool,
    /// Nothing else runs here, and it is expected to end sooner than another thread would wake: the
    /// thread that hands it out may run it itself.
    pub brief: bool,
}

/// The end of a process, for its client.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Where the client waits.
    pub slot: SlotId,
    /// The process.
    pub process: ProcessId,
    /// How it ended.
    pub outcome: Outcome,
    /// Where it was and what became of its time.
    pub trail: Trail,
    /// Time since its client asked.
    pub took: Duration,
}

/// Something an operator should read.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// A node is in the view and linked.
    Joined(NodeId),
    /// A node is dead, or its link broke.
    Left(NodeId),
    /// A node of the same name started again.
    Restarted(NodeId),
    /// Two nodes claim one name.
    Twin(NodeId),
    /// Processes of this gateway were lost and, if they may, started again.
    Lost {
        /// How many were started again.
        again: usize,
        /// How many were answered with "outcome unknown".
        unknown: usize,
    },
    /// A component cannot be had.
    NotReady(Digest, String),
    /// Where a process goes on, if [`Config::explains`](crate::Config::explains).
    Placed {
        /// The process.
        process: ProcessId,
        /// Its app.
        app: Arc<str>,
        /// The component that is to run.
        component: Arc<str>,
        /// What decided, by which figures.
        why: Explanation,
    },
    /// This node has decided that others take a component in.
    Spreads {
        /// The component.
        component: Arc<str>,
        /// Its app.
        app: Arc<str>,
        /// Who is to take it in.
        targets: Vec<NodeId>,
        /// Why.
        grounds: Grounds,
    },
    /// This node takes a component in, or has it ready now, or gives it up.
    Adoption {
        /// The component.
        component: Arc<str>,
        /// Its app.
        app: Arc<str>,
        /// What becomes of it.
        stage: AdoptionStage,
    },
}

/// What becomes of a component that a node took in by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdoptionStage {
    /// It is got.
    Begun(Grounds),
    /// It can run.
    Ready,
    /// It is not held any more: the other holders suffice, or memory is short.
    GivenUp,
    /// It could not be had.
    Failed,
}
