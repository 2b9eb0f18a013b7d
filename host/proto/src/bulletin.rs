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
    NodeId, ZoneId,
    layout::{Many, Maybe, Plain, Text, record},
    limits::{DOORS_MAX, LABEL_BYTES_MAX, LINES_MAX, PATHS_MAX},
};

/// What every bulletin begins with: a name and the version of the format.
pub const BULLETIN_MAGIC: [u8; 2] = *b"Y4";
/// Magic and zone.
pub const BULLETIN_HEADER_BYTES: usize = 6;
/// The tag at the end: HMAC-SHA256 under the cluster's beacon key, cut to 16 bytes.
pub const BULLETIN_TAG_BYTES: usize = 16;

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

/// The room that a zone has for one component. The last three figures are as [`crate::pack`] makes them.
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

record! {
    Bulletin {
        name: Text(LABEL_BYTES_MAX),
        speaker: Plain,
        incarnation: Plain,
        sequence: Plain,
        table: Plain,
        doors: Many(DOORS_MAX, Plain),
        lines: Many(LINES_MAX, Plain),
        paths: Many(PATHS_MAX, Plain),
    }
    // It stands in the header.
    beside { zone: ZoneId::default() }
}

record! {
    Door { node: Plain, capacity_milli: Plain, address: Maybe(Plain) }
}

record! {
    SummaryLine {
        component: Plain,
        doors: Plain,
        idle: Plain,
        capacity: Plain,
        wait: Plain,
        speed: Plain,
    }
}

record! {
    ZonePath { zone: Plain, round_trip: Plain, rate: Plain }
}
