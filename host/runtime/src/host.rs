//! What a step asks of whoever runs it. Not how that is answered.

use std::fmt;
use std::pin::Pin;

use izna_proto::{MemoryAnswer, MemoryOperation};

/// A future that can be awaited anywhere.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a guest can reach outside of its instance. One for each step; cheap to clone as an `Arc`.
pub trait Host: Send + Sync + 'static {
    /// Do `operation` on `key` in the app's part of cluster memory. The key is the guest's: whoever
    /// answers puts the app's name before it. The step is parked until the answer is there.
    fn memory(&self, key: String, operation: MemoryOperation) -> BoxFuture<MemoryAnswer>;

    /// The step's component by its name in the app, for messages; without one they do without.
    fn component(&self) -> Option<&str> {
        None
    }

    /// One line that the guest wrote, without its end. At most 4 KiB, control characters escaped; a
    /// component that writes more than 64 KiB a second has the rest dropped and counted in a line
    /// of its own.
    fn log(&self, stream: Stream, line: &str);
}

/// Where a guest wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}
