//! Operations on cluster memory and their answers.

use bytes::Bytes;

use crate::{
    layout::{Maybe, Octets, Plain, variants},
    limits::PAYLOAD_BYTES_MAX,
};

/// What to do in cluster memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryOperation {
    /// Give the value.
    Get,
    /// Keep a value.
    Put(Bytes),
    /// Forget it.
    Remove,
}

/// What came of an operation: the value if there is one, or an error.
pub type MemoryAnswer = Result<Option<Bytes>, MemoryError>;

/// Why an operation on cluster memory failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MemoryError {
    /// Key or value over the limit.
    #[error("key or value over the limit of {max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        max: u64,
    },
    /// The node that keeps the key did not answer in time.
    #[error("the node that keeps the key did not answer in time")]
    Unavailable,
}

variants! {
    MemoryOperation, "an operation of cluster memory" {
        0 => Get,
        1 => Put(value: Octets(PAYLOAD_BYTES_MAX)),
        2 => Remove,
    }
}

variants! {
    MemoryAnswer, "an answer of cluster memory" {
        0 => Ok(value: Maybe(Octets(PAYLOAD_BYTES_MAX))),
        1 => Err(error: Plain),
    }
}

variants! {
    MemoryError, "an error of cluster memory" {
        0 => TooLarge { max: Plain },
        1 => Unavailable,
    }
}
