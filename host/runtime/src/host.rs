//! What a step asks of whoever runs it. Not how that is answered.

use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use http::Response;
use izna_proto::{Grants, MemoryAnswer, MemoryOperation};
use wasmtime::component::{ComponentType, Lift};

use crate::http::{Fetch, FetchError, FetchErrorKind, Whole};

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

    /// What the component is given of its environment and configuration; nothing, unless whoever
    /// runs it says more.
    fn grants(&self) -> Arc<Grants> {
        Arc::default()
    }

    /// The app, whose components reach each other at `http://LINK.APP.internal/`.
    fn app(&self) -> Arc<str> {
        Arc::from("")
    }

    /// Whether the manifest links the component to others, so that it may call them.
    fn has_links(&self) -> bool {
        false
    }

    /// Send an HTTP request to a host outside, if that is granted. Nothing is, unless whoever runs
    /// it says more.
    fn fetch(&self, fetch: Fetch) -> BoxFuture<Result<Response<Whole>, FetchError>> {
        let host = fetch.request.uri().host().unwrap_or_default().to_owned();
        let message = format!("{host} is not granted");
        Box::pin(ready(Err(FetchError { kind: FetchErrorKind::Denied, message })))
    }
}

/// Where a guest wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// `wasi:logging`, and how much it matters.
    Log(Level),
}

/// How much a line matters to its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum Level {
    /// The path of a request through the code.
    #[component(name = "trace")]
    Trace,
    /// For whoever looks for a defect.
    #[component(name = "debug")]
    Debug,
    /// Something went as it should.
    #[component(name = "info")]
    Info,
    /// Something is odd.
    #[component(name = "warn")]
    Warn,
    /// Something has failed.
    #[component(name = "error")]
    Error,
    /// Nothing can go on.
    #[component(name = "critical")]
    Critical,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Log(Level::Trace) => "trace",
            Self::Log(Level::Debug) => "debug",
            Self::Log(Level::Info) => "info",
            Self::Log(Level::Warn) => "warn",
            Self::Log(Level::Error) => "error",
            Self::Log(Level::Critical) => "critical",
        })
    }
}
