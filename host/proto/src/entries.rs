//! The entries of a process: what was called, by whom, and how far each is.

use alloc::{sync::Arc, vec::Vec};
use core::mem;

use crate::{
    Digest, EntryId, NodeId, Outcome, Payload, Rest,
    layout::{Many, Maybe, Plain, Text, record, variants},
    limits::{ENTRIES_MAX, NAME_BYTES_MAX},
};

/// The entries of one process. Calls nest: each entry but the active one waits for the one that it
/// called. They are named by ids that no other entry of the process ever has, and what an id names
/// is looked up: there are no positions to go stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    /// In the order of their ids, so a caller stands before the entry that it called.
    all: Vec<Entry>,
    active: EntryId,
    /// How many the process has had: the id of the next.
    made: u32,
}

/// One call in a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    id: EntryId,
    caller: Option<EntryId>,
    /// The component's name in the app.
    pub component: Arc<str>,
    /// The component's code, fixed when the call was made.
    pub digest: Digest,
    /// The function that was called.
    pub function: Arc<str>,
    /// How far it is.
    pub state: State,
    /// Where its function waits as it stands, if it does.
    pub warm: Option<Warm>,
    rest: Rest,
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

/// A function that is to be called: what an entry begins as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callee {
    /// The component's name in the app.
    pub component: Arc<str>,
    /// The component's code.
    pub digest: Digest,
    /// The function.
    pub function: Arc<str>,
    /// A CBOR array of arguments.
    pub input: Payload,
}

/// What it comes to that an entry has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Nobody called it: the process has ended.
    Process(Outcome),
    /// Its caller goes on. Here is what was dropped.
    Entry(Entry),
}

/// Why entries are none of one process, or not any more: nothing that a node makes, but what it
/// could be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the entries of the process do not fit together: {0}")]
pub struct Misfit(&'static str);

const INACTIVE: Misfit = Misfit("none of them is active");

impl Entries {
    /// Those of a process that begins with this call.
    pub fn new(first: Callee) -> Self {
        let active = EntryId(0);
        Self { all: Vec::from([first.called(active, None)]), active, made: 1 }
    }

    /// The entry that runs next.
    pub fn active(&self) -> Option<&Entry> {
        self.get(self.active)
    }

    /// The same, to change it.
    pub fn active_mut(&mut self) -> Option<&mut Entry> {
        self.entry_mut(self.active)
    }

    /// The entry of that id, if it has not ended.
    pub fn get(&self, id: EntryId) -> Option<&Entry> {
        self.at(id).and_then(|at| self.all.get(at))
    }

    fn entry_mut(&mut self, id: EntryId) -> Option<&mut Entry> {
        self.at(id).and_then(|at| self.all.get_mut(at))
    }

    fn at(&self, id: EntryId) -> Option<usize> {
        self.all.binary_search_by_key(&id, |entry| entry.id).ok()
    }

    /// All that have not ended, callers before those they called.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.all.iter()
    }

    /// Whether no more calls can be made in them.
    pub fn are_full(&self) -> bool {
        self.all.len() >= ENTRIES_MAX || self.made == u32::MAX
    }

    /// The active entry calls, and waits with this continuation.
    ///
    /// # Errors
    /// When they are full, which leaves them as they are, or do not fit together.
    pub fn call(&mut self, callee: Callee, continuation: Payload) -> Result<(), Misfit> {
        if self.are_full() {
            return Err(Misfit("there are too many"));
        }
        let caller = self.active_mut().ok_or(INACTIVE)?;
        caller.state = State::Waiting { continuation };
        let caller = caller.id;
        self.push(callee, Some(caller));
        Ok(())
    }

    /// The active entry goes on with this outcome of a call that was never made.
    ///
    /// # Errors
    /// When they do not fit together.
    pub fn refuse_call(&mut self, continuation: Payload, failure: Outcome) -> Result<(), Misfit> {
        let caller = self.active_mut().ok_or(INACTIVE)?;
        caller.state = State::Resume { continuation, outcome: failure };
        Ok(())
    }

    /// A call takes the place of the active entry, which has ended.
    ///
    /// # Errors
    /// When they do not fit together, or an entry has been forwarded four thousand million times.
    pub fn forward(&mut self, callee: Callee) -> Result<(), Misfit> {
        if self.made == u32::MAX {
            return Err(Misfit("there were too many"));
        }
        let at = self.at(self.active).ok_or(INACTIVE)?;
        let ended = self.all.remove(at);
        self.push(callee, ended.caller);
        Ok(())
    }

    /// The active entry has ended: its caller has the outcome and is active now, and the entry is
    /// dropped.
    ///
    /// # Errors
    /// When they do not fit together.
    pub fn end(&mut self, outcome: Outcome) -> Result<Ended, Misfit> {
        let at = self.at(self.active).ok_or(INACTIVE)?;
        let Some(caller) = self.active().and_then(|entry| entry.caller) else {
            return Ok(Ended::Process(outcome));
        };
        let entry = self.entry_mut(caller).ok_or(Misfit("a caller is missing"))?;
        let State::Waiting { continuation } = &mut entry.state else {
            return Err(Misfit("a caller does not wait"));
        };
        let continuation = mem::take(continuation);
        entry.state = State::Resume { continuation, outcome };
        self.active = caller;
        Ok(Ended::Entry(self.all.remove(at)))
    }

    fn push(&mut self, callee: Callee, caller: Option<EntryId>) {
        let id = EntryId(self.made);
        self.made += 1;
        self.all.push(callee.called(id, caller));
        self.active = id;
    }

    /// The bytes of all payloads in them.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.all.iter().map(|entry| entry.state.payload_bytes()).sum()
    }

    /// What holds of all entries that a node makes.
    fn fit_together(&self) -> Result<(), &'static str> {
        let mut last: Option<&Entry> = None;
        for entry in &self.all {
            if entry.caller != last.map(|last| last.id) {
                return Err("a caller is not the entry before");
            }
            if last.is_some_and(|last| last.id >= entry.id) || entry.id.0 >= self.made {
                return Err("an id is not the next");
            }
            if last.is_some_and(|last| !last.state.is_waiting()) {
                return Err("a caller does not wait");
            }
            last = Some(entry);
        }
        match last {
            Some(last) if last.id == self.active && !last.state.is_waiting() => Ok(()),
            _ => Err("the active entry is not the last, or it waits"),
        }
    }
}

impl Entry {
    /// What it is named by while the process lives.
    pub fn id(&self) -> EntryId {
        self.id
    }

    /// The entry that made the call; none for the first.
    pub fn caller(&self) -> Option<EntryId> {
        self.caller
    }
}

impl Callee {
    fn called(self, id: EntryId, caller: Option<EntryId>) -> Entry {
        let Self { component, digest, function, input } = self;
        let (state, rest) = (State::Start { input }, Rest::default());
        Entry { id, caller, component, digest, function, state, warm: None, rest }
    }
}

impl State {
    fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

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

record! {
    Entries { made: Plain, active: Plain, all: Many(ENTRIES_MAX, Plain) }
    holds fit_together
}

const NAME: Text = Text(NAME_BYTES_MAX);

record! {
    Entry {
        id: Plain,
        caller: Maybe(Plain),
        component: NAME,
        digest: Plain,
        function: NAME,
        state: Plain,
        warm: Maybe(Plain),
    }
    keeps rest
}

record! {
    Warm { node: Plain, replay_us: Plain }
}

variants! {
    State, "the state of an entry" {
        0 => Start { input: Plain },
        1 => Waiting { continuation: Plain },
        2 => Resume { continuation: Plain, outcome: Plain },
    }
}
