//! Wasmtime for Izna: compile, link and run one step of a component.
//!
//! **Contract.** A [`Runtime`] admits bytes ([`Runtime::admit`]), turns a component's bytes into
//! something that can run ([`Runtime::load`]) and runs one step of it in a fresh instance
//! ([`Component::step`]). An [`Executor`] has the threads that steps run on. What a guest needs of
//! the rest of the node it gets through [`Host`].
//!
//! **Invariant.** Whatever a guest does ends its step and nothing else: [`Component::step`] never
//! fails, it ends as a [`StepEnd`](izna_proto::StepEnd), and every limit has a sentence that names
//! it. Nothing of one step is visible to another.
//!
//! What is not here: other nodes, sockets, the run queue's order, retries. This crate does not know
//! that they exist.
//!
//! ```
//! use izna_runtime::{Config, Error, Runtime};
//!
//! let runtime = Runtime::new(Config { steps_max: 4, ..Config::default() })?;
//! let refused = runtime.admit(b"<!DOCTYPE html>").unwrap_err();
//! let expected = "not a WebAssembly file: it starts with `<!DO` and has 15 bytes";
//! assert_eq!(refused.to_string(), expected);
//! # Ok::<(), Error>(())
//! ```

mod admit;
mod bindings;
mod bounds;
mod cache;
mod compiler;
mod component;
mod describe;
mod deserialize;
mod direct;
mod encode;
mod engine;
mod error;
mod executor;
mod failure;
mod granted;
mod host;
mod http;
mod imports;
pub mod link;
mod links;
mod log;
mod meter;
mod names;
mod offer;
mod parts;
mod record;
mod returns;
mod state;
mod ticker;
mod value;
mod warm;

pub use self::http::{Fetch, FetchError, FetchErrorKind, Whole};
pub use admit::Admitted;
pub use cache::CacheCounts;
pub use compiler::{Allowance, Compiler, Ending, admit_apart, compile_apart};
pub use component::{Component, Step, StepLimits, Stepped};
pub use describe::{Description, Interface, Item, Kind};
pub use encode::encoded;
pub use engine::{Config, EngineId, PartsMax, Runtime};
pub use error::{Error, RefusedImport};
pub use executor::{Executor, Spawner, Task};
pub use host::{BoxFuture, Host, Level, Stream};
pub use names::Unnamed;
pub use warm::WarmCounts;
