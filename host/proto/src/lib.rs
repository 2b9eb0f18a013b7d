//! The vocabulary of Izna and its wire format: what a process is, what nodes say to each other, and
//! how both look as bytes. It knows no clock, socket, file or thread.
//!
//! Everything that crosses a wire but beacons is deterministic CBOR (RFC 8949 section 4.2) made of
//! arrays, so that equal values have equal bytes. The form of each type is declared once, as a list
//! of its fields; what a newer version says behind them is skipped. [`Reader`] refuses anything
//! else: longer heads than needed, indefinite lengths, deep nesting, trailing bytes.
//! `docs/protocol.md` has the CDDL.
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
mod entries;
mod grants;
pub mod http;
mod id;
mod layout;
pub mod limits;
mod load;
mod memory;
mod message;
mod payload;
mod process;
mod spread;
pub mod typed;

pub use adoption::{ComponentCopy, ComponentDemand, Grounds};
pub use app::{App, ComponentSpec, Limits, Link, Revision, Route, TableEntry};
pub use beacon::{BEACON_BYTES, BEACON_MAGIC, BEACON_TAG_BYTES, Beacon, pack, unpack};
pub use bulletin::{
    BULLETIN_HEADER_BYTES, BULLETIN_MAGIC, BULLETIN_TAG_BYTES, Bulletin, Door, SummaryLine,
    ZonePath,
};
pub use codec::{Error, Reader, Wire, Writer};
pub use entries::{Callee, Ended, Entries, Entry, Misfit, State, Warm};
pub use grants::Grants;
pub use id::{
    ClusterId, ComponentId, DeliveryId, Digest, EntryId, NodeId, ProcessId, SlotId, ZoneId,
};
pub use layout::Rest;
pub use limits::{
    DEMANDS_MAX, DOORS_MAX, ENTRIES_MAX, LABEL_BYTES_MAX, LABELS_MAX, LEFT_MAX, LINES_MAX,
    METHOD_BYTES_MAX, METHODS_MAX, PATHS_MAX, TRAIL_MAX, Unfit, check_name,
};
pub use load::Load;
pub use memory::{MemoryAnswer, MemoryError, MemoryOperation};
pub use message::{
    Delivery, Finish, Heard, Held, Hello, Message, PROTOCOL, PROTOCOL_OLDEST, PeerAddress, Refusal,
    is_spoken,
};
pub use payload::Payload;
pub use process::{Call, Failure, FailureKind, Home, Outcome, Process, Run, StepEnd, Trail};
pub use spread::{Needs, Spread, Traits, ZONE_DEFAULT};
