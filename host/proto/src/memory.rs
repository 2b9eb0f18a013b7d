//! Operations on cluster memory and their answers.

use bytes::Bytes;

use crate::{Error, Reader, Writer, process::PAYLOAD_BYTES_MAX};

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

pub(crate) fn write_operation(operation: &MemoryOperation, w: &mut Writer) {
    let (kind, value) = match operation {
        MemoryOperation::Get => (0u8, None),
        MemoryOperation::Put(value) => (1, Some(value)),
        MemoryOperation::Remove => (2, None),
    };
    w.unsigned(kind);
    w.option(value, |value, w| w.bytes(value));
}

pub(crate) fn write_answer(answer: &MemoryAnswer, w: &mut Writer) {
    match answer {
        Ok(value) => {
            w.array(2);
            w.unsigned(0u8);
            w.option(value.as_ref(), |value, w| w.bytes(value));
        }
        Err(MemoryError::TooLarge { max }) => {
            w.array(2);
            w.unsigned(1u8);
            w.unsigned(*max);
        }
        Err(MemoryError::Unavailable) => {
            w.array(2);
            w.unsigned(2u8);
            w.unsigned(0u8);
        }
    }
}

pub(crate) fn read_answer(reader: &mut Reader) -> Result<MemoryAnswer, Error> {
    reader.tuple(2, |r| {
        let at = r.offset();
        match r.unsigned()? {
            0 => Ok(Ok(r.option(|r| r.bytes(PAYLOAD_BYTES_MAX))?)),
            1 => Ok(Err(MemoryError::TooLarge { max: r.unsigned()? })),
            2 if r.unsigned()? == 0 => Ok(Err(MemoryError::Unavailable)),
            _ => Err(Error::Shape { at, expected: "an answer of cluster memory" }),
        }
    })
}

pub(crate) fn read_operation(r: &mut Reader) -> Result<MemoryOperation, Error> {
    match (r.unsigned()?, r.option(|r| r.bytes(PAYLOAD_BYTES_MAX))?) {
        (0, None) => Ok(MemoryOperation::Get),
        (1, Some(value)) => Ok(MemoryOperation::Put(value)),
        (2, None) => Ok(MemoryOperation::Remove),
        _ => Err(Error::Shape { at: r.offset(), expected: "an operation of cluster memory" }),
    }
}
