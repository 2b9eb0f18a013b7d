//! What nodes say to each other on their links. A link carries messages one way; answers come on
//! the other's link.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::net::SocketAddr;

use bytes::Bytes;

use crate::{
    ClusterId, ComponentCopy, ComponentDemand, ComponentId, DeliveryId, Digest, Error, Grounds,
    Home, Load, MemoryAnswer, MemoryOperation, NodeId, Outcome, Process, ProcessId, Reader, SlotId,
    TableEntry, Trail, Traits, Unfit, Wire, Writer, ZoneId,
    layout::{FIELDS_MAX, Many, Maybe, Octets, Plain, Text, record, variants},
    limits::{
        DEMANDS_MAX, FEATURE_BYTES_MAX, FEATURES_MAX, FRAME_BYTES_MAX, HELLO_BYTES_MAX,
        KEY_BYTES_MAX, LIST_MAX, NAME_BYTES_MAX, NODE_NAME_BYTES_MAX, PAYLOAD_BYTES_MAX,
    },
};

/// The version of the messages. A node speaks it, and with nodes that are one version older or
/// newer ([`is_spoken`]).
pub const PROTOCOL: u16 = 5;
/// The oldest version that is spoken: those before it skip nothing.
pub const PROTOCOL_OLDEST: u16 = 5;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The first on every link: who speaks.
    Hello(Hello),
    /// A process for the other to hold.
    Deliver(Delivery),
    /// The end of a process, for the gateway where its client waits.
    Finish(Finish),
    /// The other holds now what was delivered, or has given the outcome to the client.
    Accepted {
        /// Which delivery.
        delivery: DeliveryId,
        /// The other's load with it.
        load: Load,
        /// The wait at the best of the other's zone for the component, in microseconds; told to
        /// nodes of other zones.
        level_us: Option<u32>,
    },
    /// The other does not hold what was delivered.
    Refused {
        /// Which delivery.
        delivery: DeliveryId,
        /// The other's load.
        load: Load,
        /// Why.
        refusal: Refusal,
    },
    /// The speaker still holds these processes of the other's gateway.
    Holding(Vec<Held>),
    /// "Which components do you hold, and what is your app table?"
    AskInventory,
    /// The components that the speaker holds.
    Inventory {
        /// The epoch that its beacons have for as long as all this holds.
        epoch: u16,
        /// A sum over its app table.
        table: u64,
        /// The components.
        copies: Vec<ComponentCopy>,
    },
    /// The speaker's app table as names and revisions.
    TableSummary(Vec<(Arc<str>, u64)>),
    /// Lines of the app table that the other lacks.
    TableEntries(Vec<TableEntry>),
    /// "Send me a piece of this artifact."
    AskArtifact {
        /// Which.
        digest: Digest,
        /// None for its bytes; else for its compiled code, by the hash of the engine that is to
        /// run it.
        engine: Option<Digest>,
        /// From which byte.
        offset: u64,
    },
    /// A piece of an artifact.
    Artifact {
        /// Which.
        digest: Digest,
        /// As it was asked for.
        engine: Option<Digest>,
        /// From which byte.
        offset: u64,
        /// Its whole length in bytes; 0 when the speaker does not hold it.
        length: u64,
        /// The piece.
        piece: Bytes,
    },
    /// "Do this in the part of cluster memory that you keep."
    Memory {
        /// To tell the answer.
        request: u64,
        /// The key, with the app's name before it.
        key: Bytes,
        /// What to do.
        operation: MemoryOperation,
    },
    /// What came of it.
    MemoryAnswer {
        /// Which request.
        request: u64,
        /// What came of it.
        answer: MemoryAnswer,
    },
    /// "Are you there?"
    Probe {
        /// The speaker's load.
        load: Load,
    },
    /// "I am."
    Alive {
        /// The speaker's load.
        load: Load,
    },
    /// Where nodes are: how those of one zone find each other without multicast, and how a node
    /// finds one of another zone that it is to speak to.
    Peers(Vec<PeerAddress>),
    /// "I have an idle core: give me of what waits with you, now or in a moment."
    Pull {
        /// The speaker's load.
        load: Load,
    },
    /// What came of it.
    Pulled {
        /// The speaker's load without what it gave.
        load: Load,
        /// How many processes are on their way.
        given: u16,
    },
    /// What the speaker has measured of components that are full, or that nodes took in: for the
    /// node that decides about these.
    Demands {
        /// The speaker's load.
        load: Load,
        /// What it has measured.
        demands: Vec<ComponentDemand>,
    },
    /// "Take this component in."
    Adopt {
        /// Which.
        component: ComponentId,
        /// Why.
        grounds: Grounds,
    },
    /// "Give up this component, which you took in: the others suffice."
    GiveUp {
        /// Which.
        component: ComponentId,
    },
}

/// Who speaks on a link. What the certificate says is what counts; this must agree with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The version of the messages, [`PROTOCOL`].
    pub protocol: u16,
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// Its count of restarts.
    pub incarnation: u64,
    /// Its name.
    pub name: String,
    /// The port of its own peer links.
    pub peer_port: u16,
    /// What components may ask of it, its zone among that.
    pub traits: Traits,
    /// Where nodes of other zones reach it, if that is not where its own links come from.
    pub advertise: Option<SocketAddr>,
    /// What it can do beyond its version, by name: others ask it for nothing of it otherwise. An
    /// unknown name means nothing.
    pub features: Vec<Arc<str>>,
}

/// Where a node takes links, and datagrams by unicast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress {
    /// The node.
    pub node: NodeId,
    /// Its zone: only nodes of one's own are sent beacons.
    pub zone: ZoneId,
    /// Its address.
    pub address: SocketAddr,
}

/// A process on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Which delivery.
    pub id: DeliveryId,
    /// The source's load without it.
    pub load: Load,
    /// Its moves since its last step, with this one, that were not to place it first: passed on at
    /// arrival, or taken out of a run queue.
    pub queue_moves: u8,
    /// The process.
    pub process: Process,
}

/// The end of a process on its way to the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// Which delivery.
    pub id: DeliveryId,
    /// The source's load.
    pub load: Load,
    /// Which process.
    pub process: ProcessId,
    /// Where the client waits.
    pub home: Home,
    /// How it ended.
    pub outcome: Outcome,
    /// Where it was and what became of its time.
    pub trail: Trail,
}

/// One process that a node holds, told to its gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Where its client waits.
    pub slot: SlotId,
    /// Which process.
    pub process: ProcessId,
}

/// Why a node does not take a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Its run queue is full.
    Full,
    /// It does not hold the component.
    Component,
    /// It drains.
    Draining,
    /// The process has moved too often.
    Hops,
    /// It does not know the app's revision yet.
    Revision,
}

macro_rules! numbers {
    ($($refusal:ident $number:literal)*) => {
        impl Refusal {
            fn number(self) -> u16 {
                match self {
                    $(Self::$refusal => $number,)*
                }
            }

            fn of(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$refusal),)*
                    _ => None,
                }
            }
        }
    };
}
numbers! {
    Full 0
    Component 1
    Draining 2
    Hops 3
    Revision 4
}

/// A refusal of a newer node is one for a reason unknown here: as good as full.
impl Wire for Refusal {
    fn write(&self, w: &mut Writer) {
        w.unsigned(self.number());
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        Ok(Self::of(r.narrow()?).unwrap_or(Self::Full))
    }

    fn measure(&self) -> Result<usize, Unfit> {
        Ok(1)
    }
}

variants! {
    Message, "a message of this protocol" {
        0 => Hello(hello: Plain),
        1 => Deliver(delivery: Plain),
        2 => Finish(finish: Plain),
        3 => Accepted { delivery: Plain, load: Plain, level_us: Maybe(Plain) },
        4 => Refused { delivery: Plain, load: Plain, refusal: Plain },
        5 => Holding(held: Many(LIST_MAX, Plain)),
        6 => AskInventory,
        7 => Inventory { epoch: Plain, table: Plain, copies: Many(LIST_MAX, Plain) },
        8 => TableSummary(lines: Many(LIST_MAX, (Text(NAME_BYTES_MAX), Plain))),
        9 => TableEntries(entries: Many(LIST_MAX, Plain)),
        10 => AskArtifact { digest: Plain, engine: Maybe(Plain), offset: Plain },
        11 => Artifact {
            digest: Plain,
            engine: Maybe(Plain),
            offset: Plain,
            length: Plain,
            piece: Octets(PAYLOAD_BYTES_MAX),
        },
        12 => Memory { request: Plain, key: Octets(KEY_BYTES_MAX), operation: Plain },
        13 => MemoryAnswer { request: Plain, answer: Plain },
        14 => Probe { load: Plain },
        15 => Alive { load: Plain },
        16 => Peers(peers: Many(LIST_MAX, Plain)),
        17 => Pull { load: Plain },
        18 => Pulled { load: Plain, given: Plain },
        19 => Demands { load: Plain, demands: Many(DEMANDS_MAX, Plain) },
        20 => Adopt { component: Plain, grounds: Plain },
        21 => GiveUp { component: Plain },
    }
}

/// The sorts of messages that begin with what their answer is known by.
const DELIVER: u64 = 1;
const FINISH: u64 = 2;
/// The last sort of message that this version knows.
const SORT_MAX: u64 = 21;

/// What a node makes of one frame of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
pub enum Heard {
    /// A message.
    Message(Message),
    /// A message of a sort that a newer version has. It is left out, and the link goes on.
    Unknown {
        /// Its number.
        sort: u64,
    },
    /// A message with a field that this version does not take. It costs the message, and the link
    /// goes on.
    Refused {
        /// Its number.
        sort: u64,
        /// Which delivery it was, if it was one: its source is to be told.
        delivery: Option<DeliveryId>,
        /// What is not taken.
        error: Error,
    },
}

impl Message {
    /// The frame of this message: its encoding, if the other side takes it.
    ///
    /// # Errors
    /// When a field is over its limit, or all of it is too long for a frame.
    pub fn to_frame(&self) -> Result<Bytes, Unfit> {
        let bytes = self.fits()?;
        let mut writer = Writer::with_capacity(bytes);
        self.write(&mut writer);
        Ok(writer.finish())
    }

    /// How long its frame is, if the other side takes it.
    ///
    /// # Errors
    /// When a field is over its limit, or all of it is too long for a frame.
    pub fn fits(&self) -> Result<usize, Unfit> {
        let max = if matches!(self, Self::Hello(_)) { HELLO_BYTES_MAX } else { FRAME_BYTES_MAX };
        let bytes = self.measure()?;
        if bytes > max { Err(Unfit::over(bytes, max).of("message")) } else { Ok(bytes) }
    }

    /// What a frame of a link is.
    ///
    /// # Errors
    /// When it is not even good CBOR of the protocol: the other side is not to be trusted with the
    /// next frame.
    pub fn hear(frame: &Bytes) -> Result<Heard, Error> {
        let error = match Self::from_bytes(frame.clone()) {
            Ok(message) => return Ok(Heard::Message(message)),
            Err(error) => error,
        };
        let mut r = Reader::new(frame.clone());
        r.skip()?;
        r.end()?;
        let mut r = Reader::new(frame.clone());
        r.enter(FIELDS_MAX)?;
        let sort = r.unsigned()?;
        if sort > SORT_MAX {
            return Ok(Heard::Unknown { sort });
        }
        let first = |r: &mut Reader| r.enter(FIELDS_MAX).and_then(|_| DeliveryId::read(r)).ok();
        let delivery = if matches!(sort, DELIVER | FINISH) { first(&mut r) } else { None };
        Ok(Heard::Refused { sort, delivery, error })
    }
}

impl Hello {
    /// The version in a greeting of whatever version; none if it is no greeting.
    pub fn protocol_of(message: &Bytes) -> Option<u16> {
        let mut r = Reader::new(message.clone());
        r.enter(usize::MAX).ok()?;
        let is_hello = r.unsigned().ok()? == 0;
        r.enter(usize::MAX).ok().filter(|_| is_hello)?;
        r.narrow().ok()
    }
}

/// Whether a node of this version and one of that understand each other: they are one apart at
/// most, and neither is older than [`PROTOCOL_OLDEST`].
pub fn is_spoken(protocol: u16) -> bool {
    (PROTOCOL_OLDEST..=PROTOCOL + 1).contains(&protocol)
}

record! {
    Hello {
        protocol: Plain,
        cluster: Plain,
        node: Plain,
        incarnation: Plain,
        name: Text(NODE_NAME_BYTES_MAX),
        peer_port: Plain,
        traits: Plain,
        advertise: Maybe(Plain),
        features: Many(FEATURES_MAX, Text(FEATURE_BYTES_MAX)),
    }
}

record! {
    Delivery { id: Plain, load: Plain, queue_moves: Plain, process: Plain }
}

record! {
    Finish {
        id: Plain,
        load: Plain,
        process: Plain,
        home: Plain,
        outcome: Plain,
        trail: Plain,
    }
}

record! {
    Held { slot: Plain, process: Plain }
}

record! {
    PeerAddress { node: Plain, zone: Plain, address: Plain }
}
