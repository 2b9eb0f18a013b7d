//! The bulletin: the datagram in which a zone tells the others how much room it has, for each of
//! its components.
//!
//! On the wire: [`BULLETIN_MAGIC`], the zone (4 bytes, big endian), the bulletin's CBOR, a 16-byte
//! tag over all before it. As with beacons, the tag is the shell's to make and to check, before a
//! byte of the CBOR is read. One that has more lines than a datagram has room for goes out as
//! several, each of which says all but the lines of the others.

use alloc::{string::String, vec::Vec};
use core::net::SocketAddr;

use crate::{
    Error, LABEL_BYTES_MAX, NodeId, Reader, Wire, Writer, ZoneId,
    codec::{read_address, write_address},
};

/// What every bulletin begins with: a name and the version of the format.
pub const BULLETIN_MAGIC: [u8; 2] = *b"Y3";
/// Magic and zone.
pub const BULLETIN_HEADER_BYTES: usize = 6;
/// The tag at the end: HMAC-SHA256 under the cluster's beacon key, cut to 16 bytes.
pub const BULLETIN_TAG_BYTES: usize = 16;
/// The nodes by which a zone may be entered, as one bulletin tells them.
pub const DOORS_MAX: usize = 8;
/// Components in one bulletin: with all else they fit into 1200 bytes.
pub const LINES_MAX: usize = 22;
/// Other zones of which one bulletin tells how far they are.
pub const PATHS_MAX: usize = 64;

/// What a zone tells of itself. It is a hint, as a beacon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bulletin {
    /// Which zone.
    pub zone: ZoneId,
    /// Its name, for people.
    pub name: String,
    /// The node that speaks for it.
    pub speaker: NodeId,
    /// That node's count of restarts.
    pub incarnation: u64,
    /// Rises with each bulletin of this incarnation.
    pub sequence: u64,
    /// A sum over the app table.
    pub table: u64,
    /// Nodes by which the zone may be entered, up to [`DOORS_MAX`].
    pub doors: Vec<Door>,
    /// The room for components, up to [`LINES_MAX`].
    pub lines: Vec<SummaryLine>,
    /// How far other zones are, up to [`PATHS_MAX`]; told inside the own zone.
    pub paths: Vec<ZonePath>,
}

/// A node by which a zone may be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door {
    /// Which.
    pub node: NodeId,
    /// Cores times speed, in thousandths.
    pub capacity_milli: u32,
    /// Where it is reached from other zones, if that is known.
    pub address: Option<SocketAddr>,
}

/// The room that a zone has for one component. The four figures are as [`crate::pack`] makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SummaryLine {
    /// Which component: the first four bytes of its id.
    pub component: u32,
    /// Which of the doors hold it: the n-th bit for the n-th door.
    pub doors: u8,
    /// Idle cores of its holders.
    pub idle: u16,
    /// Cores times speed of its holders, in thousandths.
    pub capacity: u16,
    /// The wait at its better holders, in microseconds.
    pub wait: u16,
    /// The mean speed of its holders, in thousandths.
    pub speed: u16,
    /// The work that comes in at its holders, in thousandths of a core of speed one.
    pub inflow: u16,
}

/// How far another zone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZonePath {
    /// Which zone.
    pub zone: ZoneId,
    /// There and back, in microseconds, as [`crate::pack`] makes it.
    pub round_trip: u16,
    /// Bytes a millisecond, made small alike; 0 when not known.
    pub rate: u16,
}

impl Wire for Bulletin {
    fn write(&self, w: &mut Writer) {
        w.array(8);
        w.text(&self.name);
        self.speaker.write(w);
        w.unsigned(self.incarnation);
        w.unsigned(self.sequence);
        w.unsigned(self.table);
        w.list(&self.doors);
        w.list(&self.lines);
        w.list(&self.paths);
    }

    /// The zone is not among these bytes; it stands in the header.
    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(8, |r| {
            Ok(Self {
                zone: ZoneId::default(),
                name: r.text(LABEL_BYTES_MAX)?,
                speaker: NodeId::read(r)?,
                incarnation: r.unsigned()?,
                sequence: r.unsigned()?,
                table: r.unsigned()?,
                doors: r.list(DOORS_MAX)?,
                lines: r.list(LINES_MAX)?,
                paths: r.list(PATHS_MAX)?,
            })
        })
    }
}

impl Wire for Door {
    fn write(&self, w: &mut Writer) {
        w.array(3);
        self.node.write(w);
        w.unsigned(self.capacity_milli);
        w.option(self.address.as_ref(), write_address);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(3, |r| {
            Ok(Self {
                node: NodeId::read(r)?,
                capacity_milli: r.narrow()?,
                address: r.option(read_address)?,
            })
        })
    }
}

impl Wire for SummaryLine {
    fn write(&self, w: &mut Writer) {
        w.array(7);
        w.unsigned(self.component);
        w.unsigned(self.doors);
        for figure in [self.idle, self.capacity, self.wait, self.speed, self.inflow] {
            w.unsigned(figure);
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(7, |r| {
            Ok(Self {
                component: r.narrow()?,
                doors: r.narrow()?,
                idle: r.narrow()?,
                capacity: r.narrow()?,
                wait: r.narrow()?,
                speed: r.narrow()?,
                inflow: r.narrow()?,
            })
        })
    }
}

impl Wire for ZonePath {
    fn write(&self, w: &mut Writer) {
        w.array(3);
        self.zone.write(w);
        w.unsigned(self.round_trip);
        w.unsigned(self.rate);
    }

    fn read(reader: &mut Reader) -> Result<Self, Error> {
        reader.tuple(3, |r| {
            Ok(Self { zone: ZoneId::read(r)?, round_trip: r.narrow()?, rate: r.narrow()? })
        })
    }
}
