//! The vocabulary of Izna and its wire format: what a process is, what nodes say to each other, and
//! how both look as bytes. It knows no clock, socket, file or thread.
//!
//! Everything that crosses a wire but beacons is deterministic CBOR (RFC 8949 section 4.2) made of arrays of
//! fixed shape, so that equal values have equal bytes. [`Reader`] refuses anything else: longer
//! heads than needed, indefinite lengths, deep nesting, trailing bytes. `docs/protocol.md` has the
//! CDDL.
//!
//! ```
//! use izna_proto::{Failure, FailureKind, Outcome, Wire};
//!
//! let outcome: Outcome = Err(Failure::new(FailureKind::Deadline, "after 5000 ms"));
//! let bytes = outcome.to_bytes();
//! assert_eq!(Outcome::from_bytes(bytes).unwrap(), outcome);
//! ```
#![no_std]
#![deny(missing_docs)]
#![forbid(unsafe_code)]

extern crate alloc;

mod adoption;
mod app;
mod beacon;
mod bulletin;
pub mod cbor;
mod codec;
mod grants;
pub mod http;
mod id;
mod load;
mod memory;
mod message;
mod process;
mod spread;
pub mod typed;

pub use adoption::{ComponentCopy, ComponentDemand, Grounds};
pub use app::{
    App, ComponentSpec, Limits, Link, METHOD_BYTES_MAX, METHODS_MAX, Revision, Route, TableEntry,
};
pub use beacon::{BEACON_BYTES, BEACON_MAGIC, BEACON_TAG_BYTES, Beacon, pack, unpack};
pub use bulletin::{
    BULLETIN_HEADER_BYTES, BULLETIN_MAGIC, BULLETIN_TAG_BYTES, Bulletin, DOORS_MAX, Door,
    LINES_MAX, PATHS_MAX, SummaryLine, ZonePath,
};
pub use codec::{Error, Reader, Wire, Writer};
pub use grants::Grants;
pub use id::{ClusterId, ComponentId, DeliveryId, Digest, NodeId, ProcessId, SlotId, ZoneId};
pub use load::Load;
pub use memory::{MemoryAnswer, MemoryError, MemoryOperation};
pub use message::{
    DEMANDS_MAX, Delivery, Finish, Held, Hello, Message, PROTOCOL, PeerAddress, Refusal,
};
pub use process::{
    Call, ENTRIES_MAX, Entry, Failure, FailureKind, Home, LEFT_MAX, Outcome, Process, Run, State,
    StepEnd, TRAIL_MAX, Trail, Warm,
};
pub use spread::{LABEL_BYTES_MAX, LABELS_MAX, Needs, Spread, Traits, ZONE_DEFAULT};
