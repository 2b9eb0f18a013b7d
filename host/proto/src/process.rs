//! The process: one request in flight, as a value that can be on any node.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

use bytes::Bytes;

use crate::{Entries, Entry, Error, NodeId, Payload, ProcessId, Reader, SlotId, Wire, Writer};

/// The longest trail that a process keeps; later nodes are not noted.
pub const TRAIL_MAX: usize = 64;
/// The most nodes that a process leaves between two steps.
pub const LEFT_MAX: usize = 4;
/// The longest name of an app, component or function, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 256;
/// The longest failure message, in bytes; longer ones are cut.
const MESSAGE_BYTES_MAX: usize = 4096;
/// A payload over this is refused by the wire, whatever a node's own limit: a frame is not larger.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// One request in flight. Everything that is to know about it is here; nothing about it is kept
/// elsewhere but by the gateway's slot that waits for its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its name.
    pub id: ProcessId,
    /// The app whose component it runs.
    pub app: Arc<str>,
    /// The app's revision that it began with and stays with.
    pub revision: u64,
    /// How often its gateway had started it before: 0 for the first.
    pub attempt: u32,
    /// How often it has migrated.
    pub hops: u32,
    /// How many steps it has run.
    pub steps: u32,
    /// Time since its birth at the gateway, in microseconds, when it was sent.
    pub age_us: u64,
    /// Time until its deadline, in microseconds, when it was sent. No two clocks are compared.
    pub budget_us: u64,
    /// Who waits for its end. (The entry 0 of the design: it names no component, so it is not among
    /// the entries.)
    pub home: Home,
    /// The W3C trace context it belongs to.
    pub traceparent: Option<Arc<str>>,
    /// Where it was and what became of its time.
    pub trail: Trail,
    /// Its calls.
    pub entries: Entries,
    /// The nodes that it has left since its last step, up to [`LEFT_MAX`]: it does not go back to
    /// one.
    pub left: Vec<NodeId>,
}

/// Where a process was and what became of its time, as the nodes of its steps measured it. What is
/// missing to the time that its client waited went into moving.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trail {
    /// The node of each step, in order, up to [`TRAIL_MAX`].
    pub nodes: Vec<NodeId>,
    /// Time in run queues, in microseconds.
    pub queued_us: u64,
    /// Time of its steps on a core, or kept from it by others there, in microseconds.
    pub ran_us: u64,
    /// Time that its running steps waited for the host or for their turn after a slice, in
    /// microseconds.
    pub waited_us: u64,
}

/// Who waits for the end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Home {
    /// The node of the gateway.
    pub node: NodeId,
    /// Its incarnation then: a restarted gateway waits for nothing.
    pub incarnation: u64,
    /// Where at that gateway.
    pub slot: SlotId,
}

/// What a step is given to run: here are all its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Begin the function.
    Start {
        /// A CBOR array of arguments.
        input: Bytes,
    },
    /// Go on after a call.
    Resume {
        /// What the component had put aside.
        continuation: Bytes,
        /// How the call ended.
        outcome: Outcome<Bytes>,
    },
}

/// A call that a component makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The name under which the caller's manifest links the component.
    pub component: Arc<str>,
    /// The function.
    pub function: Arc<str>,
    /// A CBOR array of arguments.
    pub input: Payload,
}

/// What a step ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEnd {
    /// The entry is finished; a CBOR value.
    Done(Payload),
    /// The entry has failed.
    Failed(Failure),
    /// The entry waits for a call.
    Suspend {
        /// The call.
        call: Call,
        /// What the entry needs to go on.
        continuation: Payload,
    },
    /// The call takes the entry's place.
    Forward(Call),
}

/// How an entry or a process ended: a CBOR value or a failure.
pub type Outcome<T = Payload> = Result<T, Failure>;

/// Why an entry or a process ended without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What sort of failure.
    pub kind: FailureKind,
    /// One sentence for a person; at most 4 KiB.
    pub message: String,
}

/// What sort of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The component said so.
    Failed,
    /// The runtime stopped the component.
    Trapped,
    /// A limit was reached.
    Limit,
    /// The arguments are not of the function's types: nothing of it has run.
    Invalid,
    /// No such component or function.
    NotFound,
    /// The deadline passed.
    Deadline,
    /// No node could take it, or the node that ran it was lost and it must not run twice.
    Unavailable,
    /// The cluster is full, and nothing of the process has run: it may be tried again.
    Busy,
    /// None of the above.
    Other,
}

impl Failure {
    /// A failure; a message over 4 KiB is cut.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            let end = (0..=MESSAGE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at));
            message.truncate(end.unwrap_or(0));
        }
        Self { kind, message }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl core::error::Error for Failure {}

impl FailureKind {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Failed, "failed"),
        (Self::Trapped, "trapped"),
        (Self::Limit, "limit"),
        (Self::Invalid, "invalid"),
        (Self::NotFound, "not-found"),
        (Self::Deadline, "deadline"),
        (Self::Unavailable, "unavailable"),
        (Self::Busy, "busy"),
        (Self::Other, "other"),
    ];

    /// The word for it, as on the wire, in logs and in JSON.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("other", |(_, word)| word)
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Trail {
    /// The time that its nodes measured, in microseconds.
    pub fn measured_us(&self) -> u64 {
        self.queued_us.saturating_add(self.ran_us).saturating_add(self.waited_us)
    }
}

impl Process {
    /// The entry that runs next.
    pub fn entry(&self) -> Option<&Entry> {
        self.entries.active()
    }

    /// The bytes of all payloads in it: what its size is, give or take a few hundred bytes.
    pub fn payload_bytes(&self) -> usize {
        self.entries.payload_bytes()
    }
}

pub(crate) fn read_name(reader: &mut Reader) -> Result<Arc<str>, Error> {
    reader.text(NAME_BYTES_MAX).map(Arc::from)
}

impl Wire for Process {
    fn write(&self, writer: &mut Writer) {
        writer.array(13);
        self.id.write(writer);
        writer.text(&self.app);
        writer.unsigned(self.revision);
        writer.unsigned(self.attempt);
        writer.unsigned(self.hops);
        writer.unsigned(self.steps);
        writer.unsigned(self.age_us);
        writer.unsigned(self.budget_us);
        self.home.write(writer);
        writer.option(self.traceparent.as_ref(), |text, writer| writer.text(text));
        self.trail.write(writer);
        self.entries.write(writer);
        writer.list(&self.left);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(13, |r| {
            Ok(Self {
                id: ProcessId::read(r)?,
                app: read_name(r)?,
                revision: r.unsigned()?,
                attempt: r.narrow()?,
                hops: r.narrow()?,
                steps: r.narrow()?,
                age_us: r.unsigned()?,
                budget_us: r.unsigned()?,
                home: Home::read(r)?,
                traceparent: r.option(read_name)?,
                trail: Trail::read(r)?,
                entries: Entries::read(r)?,
                left: r.list(LEFT_MAX)?,
            })
        })
    }
}

impl Wire for Trail {
    fn write(&self, writer: &mut Writer) {
        writer.array(4);
        writer.list(&self.nodes);
        writer.unsigned(self.queued_us);
        writer.unsigned(self.ran_us);
        writer.unsigned(self.waited_us);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(4, |r| {
            Ok(Self {
                nodes: r.list(TRAIL_MAX)?,
                queued_us: r.unsigned()?,
                ran_us: r.unsigned()?,
                waited_us: r.unsigned()?,
            })
        })
    }
}

impl Wire for Home {
    fn write(&self, writer: &mut Writer) {
        writer.array(3);
        self.node.write(writer);
        writer.unsigned(self.incarnation);
        self.slot.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(3, |r| {
            Ok(Self { node: NodeId::read(r)?, incarnation: r.unsigned()?, slot: SlotId::read(r)? })
        })
    }
}

impl<T: Wire> Wire for Outcome<T> {
    fn write(&self, writer: &mut Writer) {
        match self {
            Ok(result) => result.write(writer),
            Err(failure) => {
                writer.array(2);
                writer.text(failure.kind.as_str());
                writer.text(&failure.message);
            }
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        if !reader.is_array()? {
            return T::read(reader).map(Ok);
        }
        reader.tuple(2, |r| {
            let word = r.text(32)?;
            // A kind that a newer node knows is still a failure here.
            let known = FailureKind::ALL.iter().find(|(_, known)| *known == word);
            let kind = known.map_or(FailureKind::Other, |(kind, _)| *kind);
            Ok(Err(Failure { kind, message: r.text(MESSAGE_BYTES_MAX)? }))
        })
    }
}
