//! Recordings: what a core was told and what it put out, as bytes, so that it can be played again,
//! on a later core too. No file here: whoever drives the core keeps what [`Recorder::take`] gives.
//!
//! A recording is a CBOR sequence: a header with the settings by name, then an item for each input
//! or tick, written before the core gets it, and one for what that put out, unless that was
//! nothing. Of an output there are a digest and the begin of its text.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::fmt::{self, Write as _};

use bytes::Bytes;
use izna_proto::{
    App, Beacon, Bulletin, Call, DeliveryId, Digest, Error, Failure, Load, MemoryOperation,
    Message, NodeId, Outcome, Payload, ProcessId, Reader, SlotId, StepEnd, TableEntry, Traits,
    Wire, Writer, ZoneId,
};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    Assignment, Change, Config, Duration, HeldId, Input, Measurement, Output, Submission, Time,
};

/// What every recording begins with: a name and the version of the format.
const MAGIC: &str = "izna-recording-1";
/// The begin of an output's text that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 120;
/// The longest string, and the most values of an array, that are read back.
const LENGTH_MAX: usize = 1 << 26;

const INPUT: u8 = 0;
const TICK: u8 = 1;
const OUTPUTS: u8 = 2;

/// Writes down what goes into a core and what comes out.
#[derive(Debug)]
pub struct Recorder {
    bytes: Vec<u8>,
    outputs: Vec<Trace>,
}

impl Recorder {
    /// A recording of a core that is made with `config` at `now`.
    pub fn new(config: &Config, now: Time) -> Self {
        let mut recorder = Self { bytes: Vec::new(), outputs: Vec::new() };
        recorder.item(|w| {
            w.array(3);
            w.text(MAGIC);
            now.write(w);
            write_settings(config, w);
        });
        recorder
    }

    /// To be called before [`Core::handle`](crate::Core::handle) with the same.
    pub fn input(&mut self, now: Time, input: &Input) {
        self.finish();
        self.item(|w| {
            w.array(3);
            w.unsigned(INPUT);
            now.write(w);
            input.write(w);
        });
    }

    /// To be called before [`Core::tick`](crate::Core::tick) with the same.
    pub fn tick(&mut self, now: Time) {
        self.finish();
        self.item(|w| {
            w.array(2);
            w.unsigned(TICK);
            now.write(w);
        });
    }

    /// To be called with each output that [`Core::poll`](crate::Core::poll) gives.
    pub fn output(&mut self, output: &Output) {
        self.outputs.push(Trace::of(output));
    }

    /// Write down the outputs so far; the next input does it too.
    pub fn finish(&mut self) {
        if self.outputs.is_empty() {
            return;
        }
        let outputs = core::mem::take(&mut self.outputs);
        self.item(|w| {
            w.array(2);
            w.unsigned(OUTPUTS);
            outputs.write(w);
        });
    }

    /// The bytes since they were last taken, to be appended to the recording.
    pub fn take(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.bytes)
    }

    fn item(&mut self, write: impl FnOnce(&mut Writer)) {
        let mut writer = Writer::new();
        write(&mut writer);
        self.bytes.extend_from_slice(&writer.finish());
    }
}

/// What is kept of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Of its whole text.
    pub digest: u64,
    /// The begin of its text.
    pub text: String,
}

impl Trace {
    /// What is kept of `output`.
    pub fn of(output: &Output) -> Self {
        let mut text = Text { hash: Xxh3::new(), begin: String::new() };
        // Neither hashing nor a string has an error to give.
        let _ = write!(text, "{output:?}");
        Self { digest: text.hash.digest(), text: text.begin }
    }
}

/// Hashes a text and keeps its begin: a payload's text is longer than the payload.
struct Text {
    hash: Xxh3,
    begin: String,
}

impl fmt::Write for Text {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.hash.update(part.as_bytes());
        let room = TEXT_BYTES_MAX.saturating_sub(self.begin.len());
        let end = (0..=room.min(part.len())).rev().find(|at| part.is_char_boundary(*at));
        self.begin.push_str(part.get(..end.unwrap_or(0)).unwrap_or_default());
        Ok(())
    }
}

/// What a core was told at one moment, and what is kept of what it put out.
#[derive(Debug)]
pub struct Event {
    /// When.
    pub now: Time,
    /// What happened; none for a tick.
    pub input: Option<Input>,
    /// What came out. None where the recording ends before it says.
    pub outputs: Option<Vec<Trace>>,
}

/// A recording that is read back.
#[derive(Debug)]
pub struct Recording {
    config: Config,
    began: Time,
    reader: Reader,
    /// An item that was read to see whether it belongs to the event before.
    next: Option<Item>,
    is_cut: bool,
}

#[derive(Debug)]
enum Item {
    Told { now: Time, input: Option<Box<Input>> },
    Outputs(Vec<Trace>),
}

impl Recording {
    /// Read the begin of a recording.
    ///
    /// # Errors
    /// When `bytes` is no recording, or one of a core with settings that this one has not.
    pub fn new(bytes: Bytes) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let (config, began) = reader.tuple(3, |r| {
            let at = r.offset();
            if r.text(MAGIC.len())? != MAGIC {
                return Err(Error::Shape { at, expected: "a recording of this version" });
            }
            let began = Time::read(r)?;
            Ok((read_settings(r)?, began))
        })?;
        Ok(Self { config, began, reader, next: None, is_cut: false })
    }

    /// The settings of the core, and when it was made.
    pub fn core(&self) -> (Config, Time) {
        (self.config.clone(), self.began)
    }

    /// Whether the recording was cut off inside an item: its node was killed.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The offset in bytes of what is read next.
    pub fn offset(&self) -> usize {
        self.reader.offset()
    }

    /// The next event, until none.
    ///
    /// # Errors
    /// When what follows is none: the rest cannot be read.
    pub fn event(&mut self) -> Result<Option<Event>, Error> {
        let item = match self.next.take() {
            Some(item) => Some(item),
            None => self.item()?,
        };
        let (now, input) = match item {
            None => return Ok(None),
            Some(Item::Told { now, input }) => (now, input.map(|input| *input)),
            Some(Item::Outputs(_)) => {
                let at = self.reader.offset();
                return Err(Error::Shape { at, expected: "an input before its outputs" });
            }
        };
        let outputs = match self.item()? {
            Some(Item::Outputs(outputs)) => Some(outputs),
            // None came out, if something was told after it.
            told => {
                self.next = told;
                self.next.is_some().then(Vec::new)
            }
        };
        Ok(Some(Event { now, input, outputs }))
    }

    fn item(&mut self) -> Result<Option<Item>, Error> {
        if self.is_cut || self.reader.end().is_ok() {
            return Ok(None);
        }
        match read_item(&mut self.reader) {
            Err(Error::Truncated { .. }) => {
                self.is_cut = true;
                Ok(None)
            }
            item => item.map(Some),
        }
    }
}

fn read_item(r: &mut Reader) -> Result<Item, Error> {
    let at = r.offset();
    let length = r.enter(3)?;
    let item = match (r.narrow::<u8>()?, length) {
        (INPUT, 3) => Item::Told { now: Time::read(r)?, input: Some(Box::new(Input::read(r)?)) },
        (TICK, 2) => Item::Told { now: Time::read(r)?, input: None },
        (OUTPUTS, 2) => Item::Outputs(Vec::read(r)?),
        _ => return Err(Error::Shape { at, expected: "an item of a recording" }),
    };
    r.leave();
    Ok(item)
}

/// A type with one form in recordings.
trait Part: Sized {
    fn write(&self, w: &mut Writer);
    fn read(r: &mut Reader) -> Result<Self, Error>;
}

/// The settings, each once: written with their names, so that one that a later core adds has its
/// default there.
macro_rules! settings {
    ($($name:ident)*) => {
        fn write_settings(config: &Config, w: &mut Writer) {
            let Config {
                $($name,)*
                #[cfg(feature = "sabotage")]
                sabotage: _,
            } = config;
            w.array([$(stringify!($name)),*].len());
            $(
                w.array(2);
                w.text(stringify!($name));
                Part::write($name, w);
            )*
        }

        fn read_settings(r: &mut Reader) -> Result<Config, Error> {
            let mut config = Config::new(NodeId(0), 0, 1);
            for _ in 0..r.enter(LENGTH_MAX)? {
                r.tuple(2, |r| {
                    let at = r.offset();
                    match r.text(LENGTH_MAX)?.as_str() {
                        $(stringify!($name) => config.$name = Part::read(r)?,)*
                        _ => return Err(Error::Shape { at, expected: "a setting of this core" }),
                    }
                    Ok(())
                })?;
            }
            r.leave();
            Ok(config)
        }
    };
}
settings! {
    node incarnation zone peer_port cores capacity_milli traits seed slots_max sliced_max explains
    held_max admit_max admit_wait_max waiting_max hops_max steps_max payload_bytes_max
    process_bytes_max attempts_max recent_max peers_max zones_max apps_max adopted_max
    memory_bytes_max memory_value_bytes_max memory_requests_max beacon_interval summary_interval
    silent_after probe_after dead_after forget_after late_after suspect_after acknowledge_timeout
    holding_interval lost_after retry_interval unplaced_max memory_timeout retain_revision
    adoption_interval unneeded_after hop_cost zone_hop_cost move_cost
}

/// An enum: for each variant its number, then its fields, each with a name for its value.
macro_rules! variants {
    ($type:ident $expected:literal
        $($number:literal $variant:ident { $($field:tt: $name:ident),* })*) => {
        impl Part for $type {
            fn write(&self, w: &mut Writer) {
                match self {
                    $(Self::$variant { $($field: $name),* } => {
                        let fields: &[&str] = &[$(stringify!($name)),*];
                        w.array(1 + fields.len());
                        w.unsigned($number as u8);
                        $(Part::write($name, w);)*
                    })*
                }
            }

            fn read(r: &mut Reader) -> Result<Self, Error> {
                let at = r.offset();
                r.enter(LENGTH_MAX)?;
                let value = match r.narrow::<u8>()? {
                    $($number => {
                        $(let $name = Part::read(r)?;)*
                        Self::$variant { $($field: $name),* }
                    })*
                    _ => return Err(Error::Shape { at, expected: $expected }),
                };
                r.leave();
                Ok(value)
            }
        }
    };
}
variants! { Input "an input of this core"
    0 Submit { 0: submission }
    1 Abandon { 0: slot }
    2 Stepped { held: held, end: end, used: used, took: took, warm: warm }
    3 Sliced { 0: held }
    4 Heard { 0: beacon }
    5 Told { bulletin: bulletin, from_abroad: from_abroad }
    6 Called { peer: peer, zone: zone, incarnation: incarnation }
    7 LinkUp { peer: peer, incarnation: incarnation, name: name, traits: traits, zone: zone }
    8 LinkDown { 0: peer }
    9 Received { peer: peer, message: message }
    10 Measured { 0: measurement }
    11 Change { request: request, change: change }
    13 Restore { 0: entries }
    15 Ready { digest: digest, cost: cost }
    16 NotReady { 0: digest, 1: why }
    17 Lacked { peer: peer, digest: digest }
    18 Memory { request: request, app: app, key: key, operation: operation }
    19 Drain {}
    20 Unreadable { peer: peer, delivery: delivery }
}
variants! { Change "a change of an app"
    0 Deploy { 0: app }
    1 Undeploy { 0: name }
    2 Assign { app: app, component: component, node: node, assignment: assignment }
}
variants! { Assignment "what becomes of a holder" 0 Holds {} 1 DoesNotHold {} }
variants! { MemoryOperation "an operation of cluster memory" 0 Get {} 1 Put { 0: value } 2 Remove {} }
variants! { StepEnd "the end of a step"
    0 Done { 0: value }
    1 Failed { 0: failure }
    2 Suspend { call: call, continuation: continuation }
    3 Forward { 0: call }
}

/// A struct: its fields.
macro_rules! fields {
    ($type:ident $($name:ident)*) => {
        impl Part for $type {
            fn write(&self, w: &mut Writer) {
                let Self { $($name),* } = self;
                w.array([$(stringify!($name)),*].len());
                $(Part::write($name, w);)*
            }

            fn read(r: &mut Reader) -> Result<Self, Error> {
                r.tuple([$(stringify!($name)),*].len(), |r| {
                    $(let $name = Part::read(r)?;)*
                    Ok(Self { $($name),* })
                })
            }
        }
    };
}
fields! { Submission slot id app component function input idempotent deadline traceparent }
fields! { Call component function input }
fields! { Beacon zone node incarnation sequence peer_port load epoch }
fields! { Trace digest text }
fields! { Measurement
    capacity_milli own_cpu_us cpu_permille memory_permille network_permille unsent_us
}

/// Types that have a form on the wire.
macro_rules! wire {
    ($($type:ty)*) => { $(
        impl Part for $type {
            fn write(&self, w: &mut Writer) {
                Wire::write(self, w);
            }

            fn read(r: &mut Reader) -> Result<Self, Error> {
                Wire::read(r)
            }
        }
    )* };
}
wire! { DeliveryId Digest Load Message NodeId ProcessId SlotId TableEntry Traits ZoneId }

macro_rules! number {
    ($($type:ty)*) => { $(
        impl Part for $type {
            fn write(&self, w: &mut Writer) {
                w.unsigned(u64::try_from(*self).unwrap_or(u64::MAX));
            }

            fn read(r: &mut Reader) -> Result<Self, Error> {
                r.narrow()
            }
        }
    )* };
}
number! { u16 u32 u64 usize }

impl Part for bool {
    fn write(&self, w: &mut Writer) {
        w.boolean(*self);
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        r.boolean()
    }
}

impl Part for String {
    fn write(&self, w: &mut Writer) {
        w.text(self);
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        r.text(LENGTH_MAX)
    }
}

impl Part for Arc<str> {
    fn write(&self, w: &mut Writer) {
        w.text(self);
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        r.text(LENGTH_MAX).map(Self::from)
    }
}

impl Part for Bytes {
    fn write(&self, w: &mut Writer) {
        w.bytes(self);
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        r.bytes(LENGTH_MAX)
    }
}

impl Part for Payload {
    fn write(&self, w: &mut Writer) {
        Part::write(self.inline(), w);
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        <Bytes as Part>::read(r).map(Self::from)
    }
}

impl Part for HeldId {
    fn write(&self, w: &mut Writer) {
        w.unsigned(self.0);
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        r.unsigned().map(Self)
    }
}

/// A clock may begin long before zero, which is told as a large number.
impl Part for Time {
    fn write(&self, w: &mut Writer) {
        w.unsigned(self.as_micros().cast_unsigned());
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        r.unsigned().map(|micros| Self::from_micros(micros.cast_signed()))
    }
}

/// To the nanosecond: randomness may be drawn from less than a microsecond of it.
impl Part for Duration {
    fn write(&self, w: &mut Writer) {
        w.array(2);
        w.unsigned(self.as_secs());
        w.unsigned(self.subsec_nanos());
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        r.tuple(2, |r| {
            let (seconds, at) = (r.unsigned()?, r.offset());
            match r.narrow()? {
                nanos @ 0..1_000_000_000 => Ok(Self::new(seconds, nanos)),
                _ => Err(Error::Shape { at, expected: "less than a second" }),
            }
        })
    }
}

impl Part for Failure {
    fn write(&self, w: &mut Writer) {
        let outcome: Outcome = Err(self.clone());
        Wire::write(&outcome, w);
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        let at = r.offset();
        let outcome = <Outcome as Wire>::read(r)?;
        outcome.err().ok_or(Error::Shape { at, expected: "a failure" })
    }
}

impl Part for App {
    fn write(&self, w: &mut Writer) {
        let line = TableEntry { name: self.name.clone(), revision: 0, app: Some(self.clone()) };
        Wire::write(&line, w);
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        let at = r.offset();
        <TableEntry as Wire>::read(r)?.app.ok_or(Error::Shape { at, expected: "an app" })
    }
}

/// The zone stands in a datagram's header, not in what has a form on the wire.
impl Part for Bulletin {
    fn write(&self, w: &mut Writer) {
        w.array(2);
        Wire::write(&self.zone, w);
        Wire::write(self, w);
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        r.tuple(2, |r| {
            let zone = <ZoneId as Wire>::read(r)?;
            Ok(Self { zone, ..<Self as Wire>::read(r)? })
        })
    }
}

impl<T: Part> Part for Option<T> {
    fn write(&self, w: &mut Writer) {
        w.option(self.as_ref(), T::write);
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        r.option(T::read)
    }
}

impl<T: Part> Part for Vec<T> {
    fn write(&self, w: &mut Writer) {
        w.array(self.len());
        self.iter().for_each(|value| value.write(w));
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        let length = r.enter(LENGTH_MAX)?;
        let values = (0..length).map(|_| T::read(r)).collect();
        r.leave();
        values
    }
}
