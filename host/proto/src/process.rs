//! The process: one request in flight, as a value that can be on any node.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

use bytes::Bytes;

use crate::{Digest, Error, NodeId, Payload, ProcessId, Reader, SlotId, Wire, Writer};

/// The deepest chain of calls.
pub const ENTRIES_MAX: usize = 64;
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
    /// Its calls: an entry's caller stands before it.
    pub entries: Vec<Entry>,
    /// The nodes that it has left since its last step, up to [`LEFT_MAX`]: it does not go back to
    /// one.
    pub left: Vec<NodeId>,
    /// The index of the entry that runs next.
    pub active: u16,
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

/// One call in a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The component's name in the app.
    pub component: Arc<str>,
    /// The component's code, fixed when the call was made.
    pub digest: Digest,
    /// The function that was called.
    pub function: Arc<str>,
    /// The index of the entry that made the call; none for the first.
    pub caller: Option<u16>,
    /// How far it is.
    pub state: State,
    /// Where its function waits as it stands, if it does.
    pub warm: Option<Warm>,
}

/// A suspended function that a node keeps. A hint: it may be gone, and everywhere else it starts
/// again from its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warm {
    /// The node.
    pub node: NodeId,
    /// What it takes to come as far elsewhere, in microseconds: what its steps have taken so far.
    pub replay_us: u32,
}

/// How far an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has not begun.
    Start {
        /// A CBOR array of arguments.
        input: Payload,
    },
    /// It waits for the call that it made.
    Waiting {
        /// What it needs to go on.
        continuation: Payload,
    },
    /// Its call has ended.
    Resume {
        /// What it needs to go on.
        continuation: Payload,
        /// How the call ended.
        outcome: Outcome,
    },
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
        self.entries.get(usize::from(self.active))
    }

    /// The bytes of all payloads in it: what its size is, give or take a few hundred bytes.
    pub fn payload_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.state.payload_bytes()).sum()
    }
}

impl State {
    fn payload_bytes(&self) -> usize {
        match self {
            Self::Start { input } => input.len(),
            Self::Waiting { continuation } => continuation.len(),
            Self::Resume { continuation, outcome } => {
                continuation.len() + outcome.as_ref().map_or(0, Payload::len)
            }
        }
    }
}

fn write_name(name: &str, writer: &mut Writer) {
    writer.text(name);
}

pub(crate) fn read_name(reader: &mut Reader) -> Result<Arc<str>, Error> {
    reader.text(NAME_BYTES_MAX).map(Arc::from)
}

impl Wire for Process {
    fn write(&self, writer: &mut Writer) {
        writer.array(14);
        self.id.write(writer);
        write_name(&self.app, writer);
        writer.unsigned(self.revision);
        writer.unsigned(self.attempt);
        writer.unsigned(self.hops);
        writer.unsigned(self.steps);
        writer.unsigned(self.age_us);
        writer.unsigned(self.budget_us);
        self.home.write(writer);
        writer.option(self.traceparent.as_ref(), |text, writer| writer.text(text));
        self.trail.write(writer);
        writer.list(&self.entries);
        writer.list(&self.left);
        writer.unsigned(self.active);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        let process = reader.tuple(14, |r| {
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
                entries: r.list(ENTRIES_MAX)?,
                left: r.list(LEFT_MAX)?,
                active: r.narrow()?,
            })
        })?;
        let at = reader.offset();
        let callers_stand_before = (0u16..)
            .zip(&process.entries)
            .all(|(index, entry)| entry.caller.map_or(index == 0, |caller| caller < index));
        if !callers_stand_before {
            return Err(Error::Shape {
                at,
                expected: "callers to stand before the entries they called",
            });
        }
        if process.entry().is_none_or(|entry| matches!(entry.state, State::Waiting { .. })) {
            return Err(Error::Shape { at, expected: "the active entry to be one that can run" });
        }
        Ok(process)
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

impl Wire for Entry {
    fn write(&self, writer: &mut Writer) {
        writer.array(6);
        write_name(&self.component, writer);
        self.digest.write(writer);
        write_name(&self.function, writer);
        writer.option(self.caller.as_ref(), |caller, writer| writer.unsigned(*caller));
        self.state.write(writer);
        writer.option(self.warm.as_ref(), |warm, writer| warm.write(writer));
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(6, |r| {
            Ok(Self {
                component: read_name(r)?,
                digest: Digest::read(r)?,
                function: read_name(r)?,
                caller: r.option(Reader::narrow)?,
                state: State::read(r)?,
                warm: r.option(Warm::read)?,
            })
        })
    }
}

impl Wire for Warm {
    fn write(&self, writer: &mut Writer) {
        writer.array(2);
        self.node.write(writer);
        writer.unsigned(self.replay_us);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(2, |r| Ok(Self { node: NodeId::read(r)?, replay_us: r.narrow()? }))
    }
}

impl Wire for State {
    fn write(&self, writer: &mut Writer) {
        let (kind, payload, outcome) = match self {
            Self::Start { input } => (0u8, input, None),
            Self::Waiting { continuation } => (1, continuation, None),
            Self::Resume { continuation, outcome } => (2, continuation, Some(outcome)),
        };
        writer.array(3);
        writer.unsigned(kind);
        payload.write(writer);
        writer.option(outcome, |outcome, writer| outcome.write(writer));
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        let at = reader.offset();
        let (kind, payload, outcome) = reader
            .tuple(3, |r| Ok((r.unsigned()?, Payload::read(r)?, r.option(Outcome::read)?)))?;
        match (kind, outcome) {
            (0, None) => Ok(Self::Start { input: payload }),
            (1, None) => Ok(Self::Waiting { continuation: payload }),
            (2, Some(outcome)) => Ok(Self::Resume { continuation: payload, outcome }),
            _ => Err(Error::Shape { at, expected: "the state of an entry" }),
        }
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
