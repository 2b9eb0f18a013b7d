//! What an Izna node keeps on disk: artifacts by digest, the app table, its count of restarts. Not
//! here: anything about processes, which are on no disk.
//!
//! Every write is to a temporary file that is synced and then renamed, so that a crash leaves the
//! old content or the new, never half of one. A directory belongs to one process at a time.
//!
//! ```
//! let place = tempfile::tempdir().unwrap();
//! let store = izna_store::Store::open(place.path()).unwrap();
//! let digest = store.put(b"code").unwrap();
//! assert_eq!(store.artifact(digest).unwrap().as_deref(), Some(&b"code"[..]));
//! ```
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod artifact;
mod directory;
mod error;
mod file;
mod table;

use std::{fs, path::PathBuf};

use izna_proto::Digest;

pub use artifact::Piece;
pub use error::Error;

/// A node's data directory, open and locked until this is dropped.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    incarnation: u64,
    /// Holds the lock.
    _lock: fs::File,
}

/// The SHA-256 of `bytes`.
pub fn digest(bytes: &[u8]) -> Digest {
    let sum = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut digest = [0; 32];
    digest.iter_mut().zip(sum.as_ref()).for_each(|(to, from)| *to = *from);
    Digest(digest)
}
