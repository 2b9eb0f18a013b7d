//! What a direct function needs to go on elsewhere: its input and all that reached it from outside,
//! in order. Its continuation is this record's bytes.
//!
//! Elsewhere the function starts again, and what it asks for is given out of the record as long as
//! there is something in it: results of calls, times, random numbers, cluster memory. It must ask
//! for the same things in the same order; [`Diverged`] says where it did not.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use izna_proto::{Call, MemoryAnswer, MemoryError, MemoryOperation, Outcome, Reader, Wire, Writer};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::Error;
use crate::http::{self, FetchError, FetchErrorKind, Fetched};

/// The version of the record's form, its first number.
const VERSION: u64 = 1;
/// The longest name in a record, in bytes, and the largest payload: what the wire takes.
const NAME_BYTES_MAX: usize = 256;
const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// The longest text of an error, in bytes.
const MESSAGE_BYTES_MAX: usize = 4096;
/// The resolution of a recorded clock: reads within it are one event.
pub(crate) const TICK_NS: u64 = 100_000;

/// What reached a function from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// It called, with arguments of this digest; the outcome follows.
    Call { component: Arc<str>, function: Arc<str>, digest: [u8; 16] },
    /// How the call before ended.
    Outcome(Outcome<Bytes>),
    /// The time, in nanoseconds since 1970, from which its clocks count.
    Base(u64),
    /// Its clocks stood at this count of ticks, for so many reads.
    Time { ticks: u64, reads: u64 },
    /// What its random numbers are made from.
    Seed([u8; 32]),
    /// Cluster memory answered an operation of this digest.
    Memory { digest: [u8; 16], answer: MemoryAnswer },
    /// A host outside answered a request of this digest, or did not.
    Fetched { digest: [u8; 16], answer: Result<Bytes, FetchError> },
}

/// A function that was started again and asked for something else than before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the function is not deterministic: after {calls} calls it came to {found}, where its record \
     has {recorded}; it must do the same with the same arguments and results"
)]
pub(crate) struct Diverged {
    calls: u32,
    found: String,
    recorded: String,
}

/// The record of one running function. Its own thread uses it, and nobody else at the same time.
#[derive(Debug)]
pub(crate) struct Recorder(Mutex<Record>);

#[derive(Debug)]
struct Record {
    /// The record so far, but for `reads`.
    bytes: Vec<u8>,
    /// What is given out again before anything new is asked for.
    replay: VecDeque<Event>,
    calls: u32,
    clock: Clock,
    /// The latest time and how often it was read, not yet in `bytes`.
    reads: Option<(u64, u64)>,
    wanted: Option<Call>,
    outcome: Option<Outcome<Bytes>>,
    diverged: Option<Diverged>,
    /// The linear memory of the instance when it last called.
    memory_bytes: u64,
}

#[derive(Debug, Default)]
struct Clock {
    base_ns: Option<u64>,
    last: u64,
    /// Where the ticks of this node begin, and at how many.
    anchor: Option<(Instant, u64)>,
}

impl Recorder {
    /// A function that begins.
    pub(crate) fn start(input: &Bytes) -> Self {
        let mut writer = Writer::new();
        writer.array(2);
        writer.unsigned(VERSION);
        writer.bytes(input);
        Self::new(writer.finish().into(), VecDeque::new())
    }

    /// A function that goes on after its latest call, and the input that it began with.
    pub(crate) fn resume(
        continuation: &Bytes,
        outcome: Outcome<Bytes>,
    ) -> Result<(Self, Bytes), Error> {
        let broken = |source| Error::Record { source };
        let (input, mut events) = read(continuation).map_err(broken)?;
        let mut bytes = continuation.to_vec();
        let event = Event::Outcome(outcome);
        bytes.extend_from_slice(&event.to_bytes());
        events.push_back(event);
        Ok((Self::new(bytes, events), input))
    }

    fn new(bytes: Vec<u8>, replay: VecDeque<Event>) -> Self {
        Self(Mutex::new(Record {
            bytes,
            replay,
            calls: 0,
            clock: Clock::default(),
            reads: None,
            wanted: None,
            outcome: None,
            diverged: None,
            memory_bytes: 0,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The function calls. The outcome, if it is in the record; else the call is wanted, and
    /// [`Recorder::take_outcome`] has the outcome once it was answered.
    pub(crate) fn call(
        &self,
        call: Call,
        memory_bytes: u64,
    ) -> Result<Option<Outcome<Bytes>>, Diverged> {
        let mut record = self.lock();
        record.calls += 1;
        record.memory_bytes = memory_bytes;
        let digest = xxh3_128(call.input.inline()).to_be_bytes();
        let (component, function) = (call.component.clone(), call.function.clone());
        let event = Event::Call { component, function, digest };
        if record.replay.is_empty() {
            if let Some(diverged) = record.diverged.clone() {
                return Err(diverged);
            }
            record.append(&event);
            record.wanted = Some(call);
            return Ok(None);
        }
        record.expect(|next| *next == event, || event.told())?;
        match record.replay.pop_front() {
            Some(Event::Outcome(outcome)) => Ok(Some(outcome)),
            other => Err(record.diverge("a call".into(), other.as_ref())),
        }
    }

    /// The call that the function waits for, once.
    pub(crate) fn take_wanted(&self) -> Option<Call> {
        self.lock().wanted.take()
    }

    /// The call has ended.
    pub(crate) fn answer(&self, outcome: Outcome<Bytes>) {
        let mut record = self.lock();
        let event = Event::Outcome(outcome);
        record.append(&event);
        if let Event::Outcome(outcome) = event {
            record.outcome = Some(outcome);
        }
    }

    pub(crate) fn take_outcome(&self) -> Option<Outcome<Bytes>> {
        self.lock().outcome.take()
    }

    /// The record as it is.
    pub(crate) fn continuation(&self) -> Bytes {
        Bytes::copy_from_slice(&self.lock().bytes)
    }

    /// The linear memory of the instance when it last called.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.lock().memory_bytes
    }

    /// Whether what the function does now was done before.
    pub(crate) fn is_replaying(&self) -> bool {
        !self.lock().replay.is_empty()
    }

    /// Whether the function has done the same as before, now that it is at its end.
    pub(crate) fn check_end(&self) -> Result<(), Diverged> {
        let mut record = self.lock();
        match record.replay.pop_front() {
            Some(left) => Err(record.diverge("its end".into(), Some(&left))),
            None => record.diverged.clone().map_or(Ok(()), Err),
        }
    }

    /// The guest reads a clock: nanoseconds since 1970 at which its clocks began, and since then.
    pub(crate) fn time(&self) -> (u64, u64) {
        let mut record = self.lock();
        let base_ns = record.base_ns();
        let ticks = match record.replay.front_mut() {
            None => record.live_ticks(),
            Some(Event::Time { ticks, reads }) => {
                let now = *ticks;
                *reads -= 1;
                if *reads == 0 {
                    record.replay.pop_front();
                }
                record.clock.last = now;
                now
            }
            Some(other) => {
                let other = other.clone();
                record.diverge("a clock reading".into(), Some(&other));
                record.clock.last
            }
        };
        (base_ns, ticks * TICK_NS)
    }

    /// What the guest's random numbers are made from.
    pub(crate) fn seed(&self, fresh: impl FnOnce() -> [u8; 32]) -> [u8; 32] {
        let mut record = self.lock();
        match record.replay.pop_front() {
            Some(Event::Seed(seed)) => seed,
            None => {
                let seed = fresh();
                record.append(&Event::Seed(seed));
                seed
            }
            other => {
                record.diverge("random numbers".into(), other.as_ref());
                [0; 32]
            }
        }
    }

    /// The answer of cluster memory to an operation, if it is in the record.
    pub(crate) fn remembered(
        &self,
        key: &str,
        operation: &MemoryOperation,
    ) -> Option<MemoryAnswer> {
        let mut record = self.lock();
        let own = memory_digest(key, operation);
        match record.replay.pop_front() {
            Some(Event::Memory { digest, answer }) if digest == own => Some(answer),
            None => None,
            other => {
                let key: String = key.chars().take(64).collect();
                let found = format!("an operation on cluster memory, key {key:?}");
                record.diverge(found, other.as_ref());
                Some(Err(MemoryError::Unavailable))
            }
        }
    }

    /// Whether the function waits for a call.
    pub(crate) fn is_wanted(&self) -> bool {
        self.lock().wanted.is_some()
    }

    /// Whether a call comes next in the record.
    pub(crate) fn is_call_next(&self) -> bool {
        matches!(self.lock().replay.front(), Some(Event::Call { .. }))
    }

    /// The request that a host outside answered next in the record.
    pub(crate) fn fetched_next(&self) -> Option<[u8; 16]> {
        match self.lock().replay.front() {
            Some(Event::Fetched { digest, .. }) => Some(*digest),
            _ => None,
        }
    }

    /// Take that answer, if the function has made the request again.
    pub(crate) fn fetched(&self, is_made: bool) -> Result<Option<Fetched>, Diverged> {
        let mut record = self.lock();
        match record.replay.pop_front() {
            Some(Event::Fetched { answer, .. }) if is_made => Ok(Some(http::remembered(answer))),
            other => Err(record.diverge("a wait for something else".into(), other.as_ref())),
        }
    }

    /// A host outside has answered, or not.
    pub(crate) fn fetch(&self, digest: [u8; 16], fetched: &Fetched) {
        let answer = http::recorded(fetched);
        self.lock().append(&Event::Fetched { digest, answer });
    }

    /// Cluster memory has answered.
    pub(crate) fn remember(&self, digest: [u8; 16], answer: &MemoryAnswer) {
        self.lock().append(&Event::Memory { digest, answer: answer.clone() });
    }
}

/// What tells an operation on cluster memory from another.
pub(crate) fn memory_digest(key: &str, operation: &MemoryOperation) -> [u8; 16] {
    let mut bytes = key.as_bytes().to_vec();
    match operation {
        MemoryOperation::Get => bytes.push(0),
        MemoryOperation::Remove => bytes.push(1),
        MemoryOperation::Put(value) => {
            bytes.push(2);
            bytes.extend_from_slice(value);
        }
    }
    xxh3_128(&bytes).to_be_bytes()
}

impl Record {
    fn append(&mut self, event: &Event) {
        self.flush();
        self.bytes.extend_from_slice(&event.to_bytes());
    }

    fn flush(&mut self) {
        if let Some((ticks, reads)) = self.reads.take() {
            self.bytes.extend_from_slice(&Event::Time { ticks, reads }.to_bytes());
        }
    }

    fn expect(
        &mut self,
        fits: impl FnOnce(&Event) -> bool,
        found: impl FnOnce() -> String,
    ) -> Result<(), Diverged> {
        if self.replay.front().is_some_and(fits) {
            self.replay.pop_front();
            return Ok(());
        }
        let recorded = self.replay.front().cloned();
        Err(self.diverge(found(), recorded.as_ref()))
    }

    fn diverge(&mut self, found: String, recorded: Option<&Event>) -> Diverged {
        let recorded = recorded.map_or_else(|| "nothing".into(), Event::told);
        let diverged = Diverged { calls: self.calls, found, recorded };
        self.replay.clear();
        self.diverged.get_or_insert(diverged).clone()
    }

    fn base_ns(&mut self) -> u64 {
        if let Some(base_ns) = self.clock.base_ns {
            return base_ns;
        }
        let base_ns = match self.replay.front() {
            Some(Event::Base(base_ns)) => {
                let base_ns = *base_ns;
                self.replay.pop_front();
                base_ns
            }
            Some(_) => 0,
            None => {
                let now = wall_ns();
                self.append(&Event::Base(now));
                now
            }
        };
        self.clock.base_ns = Some(base_ns);
        base_ns
    }

    /// Ticks since the base by this node's clock: never back, wherever the function ran before.
    fn live_ticks(&mut self) -> u64 {
        let base_ns = self.clock.base_ns.unwrap_or_default();
        let last = self.clock.last;
        let (began, at) = *self.clock.anchor.get_or_insert_with(|| {
            (Instant::now(), last.max(wall_ns().saturating_sub(base_ns) / TICK_NS))
        });
        let elapsed_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let ticks = at.saturating_add(elapsed_ns / TICK_NS);
        self.clock.last = ticks;
        match &mut self.reads {
            Some((latest, reads)) if *latest == ticks => *reads += 1,
            _ => {
                self.flush();
                self.reads = Some((ticks, 1));
            }
        }
        ticks
    }
}

fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn read(continuation: &Bytes) -> Result<(Bytes, VecDeque<Event>), izna_proto::Error> {
    let mut reader = Reader::new(continuation.clone());
    let input = reader.tuple(2, |r| {
        let at = r.offset();
        if r.unsigned()? != VERSION {
            return Err(izna_proto::Error::Shape { at, expected: "a record of version 1" });
        }
        r.bytes(PAYLOAD_BYTES_MAX)
    })?;
    let mut events = VecDeque::new();
    while reader.end().is_err() {
        events.push_back(Event::read(&mut reader)?);
    }
    Ok((input, events))
}

impl Event {
    /// For a message.
    fn told(&self) -> String {
        match self {
            Self::Call { component, function, digest } => {
                let [a, b, ..] = digest;
                format!("a call of `{function}` by the link `{component}` ({a:02x}{b:02x})")
            }
            Self::Outcome(_) => "the end of a call".into(),
            Self::Base(_) | Self::Time { .. } => "a clock reading".into(),
            Self::Seed(_) => "random numbers".into(),
            Self::Memory { .. } => "another operation on cluster memory".into(),
            Self::Fetched { .. } => "another outgoing request".into(),
        }
    }
}

impl Event {
    fn to_bytes(&self) -> Bytes {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.finish()
    }

    fn write(&self, w: &mut Writer) {
        let begin = |w: &mut Writer, kind: u8, values: usize| {
            w.array(values + 1);
            w.unsigned(kind);
        };
        match self {
            Self::Call { component, function, digest } => {
                begin(w, 0, 3);
                w.text(component);
                w.text(function);
                w.bytes(digest);
            }
            Self::Outcome(outcome) => {
                begin(w, 1, 1);
                outcome.write(w);
            }
            Self::Base(base_ns) => {
                begin(w, 2, 1);
                w.unsigned(*base_ns);
            }
            Self::Time { ticks, reads } => {
                begin(w, 3, 2);
                w.unsigned(*ticks);
                w.unsigned(*reads);
            }
            Self::Seed(seed) => {
                begin(w, 4, 1);
                w.bytes(seed);
            }
            Self::Memory { digest, answer } => {
                begin(w, 5, 3);
                w.bytes(digest);
                match answer {
                    Ok(value) => {
                        w.unsigned(0u8);
                        w.option(value.as_ref(), |value, w| w.bytes(value));
                    }
                    Err(MemoryError::TooLarge { max }) => {
                        w.unsigned(1u8);
                        w.unsigned(*max);
                    }
                    Err(MemoryError::Unavailable) => {
                        w.unsigned(2u8);
                        w.unsigned(0u8);
                    }
                }
            }
            Self::Fetched { digest, answer } => {
                begin(w, 6, 3);
                w.bytes(digest);
                match answer {
                    Ok(response) => {
                        w.unsigned(0u8);
                        w.bytes(response);
                    }
                    Err(error) => {
                        w.unsigned(1 + error.kind.number());
                        w.text(&error.message);
                    }
                }
            }
        }
    }

    fn read(r: &mut Reader) -> Result<Self, izna_proto::Error> {
        let at = r.offset();
        let values = r.enter(4)?;
        let kind = if values == 0 { u64::MAX } else { r.unsigned()? };
        let odd = izna_proto::Error::Shape { at, expected: "an event of a record" };
        let event = match (kind, values) {
            (0, 4) => Self::Call {
                component: r.text(NAME_BYTES_MAX)?.into(),
                function: r.text(NAME_BYTES_MAX)?.into(),
                digest: r.fixed()?,
            },
            (1, 2) => Self::Outcome(Outcome::<Bytes>::read(r)?),
            (2, 2) => Self::Base(r.unsigned()?),
            (3, 3) => Self::Time { ticks: r.unsigned()?, reads: r.unsigned()?.max(1) },
            (4, 2) => Self::Seed(r.fixed()?),
            (5, 4) => {
                let digest = r.fixed()?;
                let answer = match r.unsigned()? {
                    0 => Ok(r.option(|r| r.bytes(PAYLOAD_BYTES_MAX))?),
                    1 => Err(MemoryError::TooLarge { max: r.unsigned()? }),
                    2 if r.unsigned()? == 0 => Err(MemoryError::Unavailable),
                    _ => return Err(odd),
                };
                Self::Memory { digest, answer }
            }
            (6, 4) => {
                let digest = r.fixed()?;
                let answer = match r.unsigned()? {
                    0 => Ok(r.bytes(PAYLOAD_BYTES_MAX)?),
                    number => {
                        let kind = FetchErrorKind::of_number(number - 1).ok_or(odd)?;
                        Err(FetchError { kind, message: r.text(MESSAGE_BYTES_MAX)? })
                    }
                };
                Self::Fetched { digest, answer }
            }
            _ => return Err(odd),
        };
        r.leave();
        Ok(event)
    }
}

#[cfg(test)]
mod tests;
