//! Why an authority or an identity cannot be made or used.

use std::path::PathBuf;

/// Why an authority or an identity cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that no node can have.
    #[error(
        "\"{name}\" cannot be a node's name: it must have 1 to 63 of a-z, 0-9 and -, and a letter \
         or a digit first and last"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The file is not there.
    #[error("there is no file {}; {hint}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// How to get one.
        hint: &'static str,
    },
    /// The file must not be replaced.
    #[error("{} already exists and was not changed", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner may read the file.
    #[error(
        "{} holds a secret key, but its mode is {mode:04o}: run `chmod 600` on it; if others may \
         have read it, issue a new one", path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The system refused an operation.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("{} is not {expected}: {why}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// What shows that it is not.
        why: String,
    },
    /// The file's parts do not belong together.
    #[error(
        "{} has parts that do not belong together: {why}; use the file as the authority issued it",
        path.display()
    )]
    Mixed {
        /// The file.
        path: PathBuf,
        /// Which parts.
        why: String,
    },
    /// A certificate that has expired.
    #[error("the certificate of {name} in {} expired {at}; issue a new one", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        name: String,
        /// When, as a date.
        at: String,
    },
    /// A certificate that is not valid yet.
    #[error(
        "the certificate of {name} in {} is valid only from {at}: is this machine's clock right?",
        path.display()
    )]
    NotYet {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        name: String,
        /// When, as a date.
        at: String,
    },
    /// A key or certificate could not be made.
    #[error("cannot make {what}")]
    Make {
        /// What.
        what: &'static str,
        /// Why.
        source: rcgen::Error,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
}
