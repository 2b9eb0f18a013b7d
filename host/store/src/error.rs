//! Why the data directory could not be used.

use std::{io, path::PathBuf};

use izna_proto::Digest;

/// Why the data directory, or a file of it, could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process has it open.
    #[error(
        "the data directory {} is in use by {}; stop that node, or give this one another directory",
        path.display(), holder(*pid)
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who has it, if it said so.
        pid: Option<u32>,
    },
    /// A newer version of Izna wrote it.
    #[error(
        "the data directory {} has format {found}, this version of izna knows formats up to \
         {known}; nothing was changed", path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// It is something else.
    #[error(
        "{} is not a data directory of izna: {why}; nothing was changed; give an empty or a new \
         directory", path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What shows it.
        why: String,
    },
    /// A file whose content is damaged.
    #[error("{} is damaged: {why}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Bytes that do not have the digest they were given under.
    #[error("digest mismatch: {length} bytes have {found}, expected {expected}")]
    Digest {
        /// As what they were given.
        expected: Digest,
        /// What they are.
        found: Digest,
        /// How many they are.
        length: usize,
    },
    /// No space is left.
    #[error(
        "cannot write {}: no space or quota left; free some and try again", path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The system refused an operation.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_string(), |pid| format!("process {pid}"))
}

/// Says which operation on which file an error is about.
pub(crate) trait At<T> {
    fn at(self, operation: &'static str, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|source| {
            let path = path.into();
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Error::Full { path, source }
                }
                _ => Error::Io { operation, path, source },
            }
        })
    }
}
