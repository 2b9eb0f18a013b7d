//! What nodes say to each other on their links. A link carries messages one way; answers come on
//! the other's link.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::net::SocketAddr;

use bytes::Bytes;

use crate::{
    ClusterId, ComponentCopy, ComponentDemand, ComponentId, DeliveryId, Digest, Error, Grounds,
    Home, Load, NodeId, Outcome, Process, ProcessId, Reader, SlotId, TableEntry, Traits, Wire,
    Writer, ZoneId,
    codec::{read_address, write_address},
    memory::{
        MemoryAnswer, MemoryOperation, read_answer, read_operation, write_answer, write_operation,
    },
    process::{PAYLOAD_BYTES_MAX, Trail, read_name},
};

/// The version of the messages. Nodes of other versions are told so and not talked to.
pub const PROTOCOL: u16 = 5;

/// The most components, apps or processes that one message lists.
const LIST_MAX: usize = 65_536;
/// The most components that one message tells demands of: there are more, a later one tells them.
pub const DEMANDS_MAX: usize = 1024;
/// The longest key of cluster memory with its app's name, in bytes.
const KEY_BYTES_MAX: usize = 2048;

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

impl Refusal {
    const ALL: [Self; 5] =
        [Self::Full, Self::Component, Self::Draining, Self::Hops, Self::Revision];

    fn number(self) -> u64 {
        (0..).zip(Self::ALL).find(|(_, refusal)| *refusal == self).map_or(0, |(number, _)| number)
    }
}

fn write_summary(lines: &[(Arc<str>, u64)], w: &mut Writer) {
    w.array(lines.len());
    lines.iter().for_each(|(name, revision)| Line(name.clone(), *revision).write(w));
}

/// The first value of a message's array: what sort it is.
mod sort {
    pub(super) const HELLO: u8 = 0;
    pub(super) const DELIVER: u8 = 1;
    pub(super) const FINISH: u8 = 2;
    pub(super) const ACCEPTED: u8 = 3;
    pub(super) const REFUSED: u8 = 4;
    pub(super) const HOLDING: u8 = 5;
    pub(super) const ASK_INVENTORY: u8 = 6;
    pub(super) const INVENTORY: u8 = 7;
    pub(super) const TABLE_SUMMARY: u8 = 8;
    pub(super) const TABLE_ENTRIES: u8 = 9;
    pub(super) const ASK_ARTIFACT: u8 = 10;
    pub(super) const ARTIFACT: u8 = 11;
    pub(super) const MEMORY: u8 = 12;
    pub(super) const MEMORY_ANSWER: u8 = 13;
    pub(super) const PROBE: u8 = 14;
    pub(super) const ALIVE: u8 = 15;
    pub(super) const PEERS: u8 = 16;
    pub(super) const PULL: u8 = 17;
    pub(super) const PULLED: u8 = 18;
    pub(super) const DEMANDS: u8 = 19;
    pub(super) const ADOPT: u8 = 20;
    pub(super) const GIVE_UP: u8 = 21;
}

/// Begin a message: its sort, then `values` values.
fn begin(w: &mut Writer, sort: u8, values: usize) {
    w.array(values + 1);
    w.unsigned(sort);
}

/// A message that is a list.
fn write_list<T: Wire>(w: &mut Writer, sort: u8, values: &[T]) {
    begin(w, sort, 1);
    w.list(values);
}

impl Message {
    /// What is about artifacts, cluster memory, work and adoption.
    fn write_rest(&self, w: &mut Writer) {
        match self {
            Self::AskArtifact { digest, engine, offset } => {
                begin(w, sort::ASK_ARTIFACT, 3);
                digest.write(w);
                w.option(engine.as_ref(), Digest::write);
                w.unsigned(*offset);
            }
            Self::Artifact { digest, engine, offset, length, piece } => {
                begin(w, sort::ARTIFACT, 5);
                digest.write(w);
                w.option(engine.as_ref(), Digest::write);
                w.unsigned(*offset);
                w.unsigned(*length);
                w.bytes(piece);
            }
            Self::Memory { request, key, operation } => {
                begin(w, sort::MEMORY, 4);
                w.unsigned(*request);
                w.bytes(key);
                write_operation(operation, w);
            }
            Self::MemoryAnswer { request, answer } => {
                begin(w, sort::MEMORY_ANSWER, 2);
                w.unsigned(*request);
                write_answer(answer, w);
            }
            Self::Probe { load } => {
                begin(w, sort::PROBE, 1);
                load.write(w);
            }
            Self::Alive { load } => {
                begin(w, sort::ALIVE, 1);
                load.write(w);
            }
            Self::Peers(peers) => write_list(w, sort::PEERS, peers),
            Self::Pull { load } => {
                begin(w, sort::PULL, 1);
                load.write(w);
            }
            Self::Pulled { load, given } => {
                begin(w, sort::PULLED, 2);
                load.write(w);
                w.unsigned(*given);
            }
            Self::Demands { load, demands } => {
                begin(w, sort::DEMANDS, 2);
                load.write(w);
                w.list(demands);
            }
            Self::Adopt { component, grounds } => {
                begin(w, sort::ADOPT, 2);
                component.write(w);
                grounds.write(w);
            }
            Self::GiveUp { component } => {
                begin(w, sort::GIVE_UP, 1);
                component.write(w);
            }
            // These are above.
            _ => {}
        }
    }
}

impl Wire for Message {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::Hello(hello) => {
                begin(w, sort::HELLO, 1);
                hello.write(w);
            }
            Self::Deliver(delivery) => {
                begin(w, sort::DELIVER, 4);
                delivery.id.write(w);
                delivery.load.write(w);
                w.unsigned(delivery.queue_moves);
                delivery.process.write(w);
            }
            Self::Finish(finish) => {
                begin(w, sort::FINISH, 1);
                finish.write(w);
            }
            Self::Accepted { delivery, load, level_us } => {
                begin(w, sort::ACCEPTED, 3);
                delivery.write(w);
                load.write(w);
                w.option(level_us.as_ref(), |level_us, w| w.unsigned(*level_us));
            }
            Self::Refused { delivery, load, refusal } => {
                begin(w, sort::REFUSED, 3);
                delivery.write(w);
                load.write(w);
                w.unsigned(refusal.number());
            }
            Self::Holding(held) => write_list(w, sort::HOLDING, held),
            Self::AskInventory => begin(w, sort::ASK_INVENTORY, 0),
            Self::Inventory { epoch, table, copies } => {
                begin(w, sort::INVENTORY, 3);
                w.unsigned(*epoch);
                w.unsigned(*table);
                w.list(copies);
            }
            Self::TableSummary(lines) => {
                begin(w, sort::TABLE_SUMMARY, 1);
                write_summary(lines, w);
            }
            Self::TableEntries(entries) => write_list(w, sort::TABLE_ENTRIES, entries),
            _ => self.write_rest(w),
        }
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        let at = r.offset();
        let Some(values) = r.enter(8)?.checked_sub(1) else {
            return Err(Error::Shape { at, expected: "the sort of a message" });
        };
        let sort = r.narrow::<u8>()?;
        let message = match (sort, values) {
            (sort::HELLO, 1) => Self::Hello(Hello::read(r)?),
            (sort::DELIVER, 4) => Self::Deliver(Delivery {
                id: DeliveryId::read(r)?,
                load: Load::read(r)?,
                queue_moves: r.narrow()?,
                process: Process::read(r)?,
            }),
            (sort::FINISH, 1) => Self::Finish(Finish::read(r)?),
            (sort::ACCEPTED, 3) => Self::Accepted {
                delivery: DeliveryId::read(r)?,
                load: Load::read(r)?,
                level_us: r.option(Reader::narrow)?,
            },
            (sort::REFUSED, 3) => Self::Refused {
                delivery: DeliveryId::read(r)?,
                load: Load::read(r)?,
                // A refusal of a newer node is one for a reason unknown here: as good as full.
                refusal: Refusal::ALL
                    .get(usize::from(r.narrow::<u16>()?))
                    .copied()
                    .unwrap_or(Refusal::Full),
            },
            (sort::HOLDING, 1) => Self::Holding(r.list(LIST_MAX)?),
            (sort::ASK_INVENTORY, 0) => Self::AskInventory,
            (sort::INVENTORY, 3) => Self::Inventory {
                epoch: r.narrow()?,
                table: r.unsigned()?,
                copies: r.list(LIST_MAX)?,
            },
            (sort::TABLE_SUMMARY, 1) => {
                let lines: Vec<Line> = r.list(LIST_MAX)?;
                Self::TableSummary(lines.into_iter().map(|Line(name, rev)| (name, rev)).collect())
            }
            (sort::TABLE_ENTRIES, 1) => Self::TableEntries(r.list(LIST_MAX)?),
            (sort::ASK_ARTIFACT, 3) => Self::AskArtifact {
                digest: Digest::read(r)?,
                engine: r.option(Digest::read)?,
                offset: r.unsigned()?,
            },
            (sort::ARTIFACT, 5) => Self::Artifact {
                digest: Digest::read(r)?,
                engine: r.option(Digest::read)?,
                offset: r.unsigned()?,
                length: r.unsigned()?,
                piece: r.bytes(PAYLOAD_BYTES_MAX)?,
            },
            (sort::MEMORY, 4) => {
                let (request, key) = (r.unsigned()?, r.bytes(KEY_BYTES_MAX)?);
                Self::Memory { request, key, operation: read_operation(r)? }
            }
            (sort::MEMORY_ANSWER, 2) => {
                Self::MemoryAnswer { request: r.unsigned()?, answer: read_answer(r)? }
            }
            (sort::PROBE, 1) => Self::Probe { load: Load::read(r)? },
            (sort::ALIVE, 1) => Self::Alive { load: Load::read(r)? },
            (sort::PEERS, 1) => Self::Peers(r.list(LIST_MAX)?),
            (sort::PULL, 1) => Self::Pull { load: Load::read(r)? },
            (sort::PULLED, 2) => Self::Pulled { load: Load::read(r)?, given: r.narrow()? },
            (sort::DEMANDS, 2) => {
                Self::Demands { load: Load::read(r)?, demands: r.list(DEMANDS_MAX)? }
            }
            (sort::ADOPT, 2) => {
                Self::Adopt { component: ComponentId::read(r)?, grounds: Grounds::read(r)? }
            }
            (sort::GIVE_UP, 1) => Self::GiveUp { component: ComponentId::read(r)? },
            _ => return Err(Error::Shape { at, expected: "a message of this protocol" }),
        };
        r.leave();
        Ok(message)
    }
}

/// One line of a table summary.
struct Line(Arc<str>, u64);

impl Wire for Line {
    fn write(&self, w: &mut Writer) {
        w.array(2);
        w.text(&self.0);
        w.unsigned(self.1);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(2, |r| Ok(Self(read_name(r)?, r.unsigned()?)))
    }
}

impl Hello {
    /// The version in a greeting of whatever version; none if it is no greeting.
    pub fn protocol_of(message: &Bytes) -> Option<u16> {
        let mut r = Reader::new(message.clone());
        r.enter(usize::MAX).ok()?;
        let is_hello = r.narrow::<u8>().ok()? == sort::HELLO;
        r.enter(usize::MAX).ok().filter(|_| is_hello)?;
        r.narrow().ok()
    }
}

impl Wire for Hello {
    fn write(&self, w: &mut Writer) {
        w.array(8);
        w.unsigned(self.protocol);
        self.cluster.write(w);
        self.node.write(w);
        w.unsigned(self.incarnation);
        w.text(&self.name);
        w.unsigned(self.peer_port);
        self.traits.write(w);
        w.option(self.advertise.as_ref(), write_address);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(8, |r| {
            Ok(Self {
                protocol: r.narrow()?,
                cluster: ClusterId::read(r)?,
                node: NodeId::read(r)?,
                incarnation: r.unsigned()?,
                name: r.text(64)?,
                peer_port: r.narrow()?,
                traits: Traits::read(r)?,
                advertise: r.option(read_address)?,
            })
        })
    }
}

impl Wire for Finish {
    fn write(&self, w: &mut Writer) {
        w.array(6);
        self.id.write(w);
        self.load.write(w);
        self.process.write(w);
        self.home.write(w);
        self.outcome.write(w);
        self.trail.write(w);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(6, |r| {
            Ok(Self {
                id: DeliveryId::read(r)?,
                load: Load::read(r)?,
                process: ProcessId::read(r)?,
                home: Home::read(r)?,
                outcome: Outcome::read(r)?,
                trail: Trail::read(r)?,
            })
        })
    }
}

impl Wire for Held {
    fn write(&self, w: &mut Writer) {
        w.array(2);
        self.slot.write(w);
        self.process.write(w);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(2, |r| Ok(Self { slot: SlotId::read(r)?, process: ProcessId::read(r)? }))
    }
}

impl Wire for PeerAddress {
    fn write(&self, w: &mut Writer) {
        w.array(3);
        self.node.write(w);
        self.zone.write(w);
        write_address(&self.address, w);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(3, |r| {
            Ok(Self { node: NodeId::read(r)?, zone: ZoneId::read(r)?, address: read_address(r)? })
        })
    }
}
