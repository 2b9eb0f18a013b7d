//! The process: one request in flight, as a value that can be on any node.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

use bytes::Bytes;

use crate::{
    Entries, Entry, Error, NodeId, Payload, ProcessId, Reader, Rest, SlotId, Unfit, Wire, Writer,
    layout::{Many, Maybe, Plain, Text, record},
    limits::{LEFT_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, TRAIL_MAX, WORD_BYTES_MAX},
};

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
    /// What a newer version says of it: nothing, when it began here.
    pub rest: Rest,
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

macro_rules! words {
    ($($kind:ident $word:literal)*) => {
        impl FailureKind {
            /// The word for it, as on the wire, in logs and in JSON.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $word,)*
                }
            }

            fn of(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$kind),)*
                    _ => None,
                }
            }
        }
    };
}
words! {
    Failed "failed"
    Trapped "trapped"
    Limit "limit"
    Invalid "invalid"
    NotFound "not-found"
    Deadline "deadline"
    Unavailable "unavailable"
    Busy "busy"
    Other "other"
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

record! {
    Process {
        id: Plain,
        app: NAME,
        revision: Plain,
        attempt: Plain,
        hops: Plain,
        steps: Plain,
        age_us: Plain,
        budget_us: Plain,
        home: Plain,
        traceparent: Maybe(NAME),
        trail: Plain,
        entries: Plain,
        left: Many(LEFT_MAX, Plain),
    }
    keeps rest
}

const NAME: Text = Text(NAME_BYTES_MAX);

record! {
    Trail {
        nodes: Many(TRAIL_MAX, Plain),
        queued_us: Plain,
        ran_us: Plain,
        waited_us: Plain,
    }
}

record! {
    Home { node: Plain, incarnation: Plain, slot: Plain }
}

/// A failure is an array, which a payload is not.
impl<T: Wire> Wire for Outcome<T> {
    fn write(&self, w: &mut Writer) {
        match self {
            Ok(result) => result.write(w),
            Err(failure) => failure.write(w),
        }
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        if r.is_array() { Failure::read(r).map(Err) } else { T::read(r).map(Ok) }
    }

    fn measure(&self) -> Result<usize, Unfit> {
        match self {
            Ok(result) => result.measure(),
            Err(failure) => failure.measure(),
        }
    }
}

record! {
    Failure { kind: Plain, message: Text(MESSAGE_BYTES_MAX) }
}

/// A kind that a newer node knows is still a failure here.
impl Wire for FailureKind {
    fn write(&self, w: &mut Writer) {
        w.text(self.as_str());
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        let word = r.text(WORD_BYTES_MAX)?;
        Ok(Self::of(&word).unwrap_or(Self::Other))
    }

    fn measure(&self) -> Result<usize, Unfit> {
        Ok(1 + self.as_str().len())
    }
}
