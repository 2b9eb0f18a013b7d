//! Write Izna components in Rust: typed functions, and no sight of bindings, CBOR or the component
//! model.
//!
//! A component is a set of plain functions, named once in [`component!`]:
//!
//! ```
//! fn hello(name: String) -> izna_sdk::Result<String> {
//!     Ok(format!("hello, {name}"))
//! }
//!
//! izna_sdk::component! { hello }
//! # fn main() {}
//! ```
//!
//! # Contract
//!
//! - A function takes up to eight arguments, each of them a serde type. A caller may leave out
//!   trailing arguments that are [`Option`]s. It returns `Result<T>`, where `T` is a serde type or a
//!   [`Step`]. Any error that can be displayed becomes [`Failure::Failed`] through `?`.
//! - Every step runs in a fresh instance, maybe on another node: statics do not survive, only the
//!   continuation does.
//! - A function that calls another component ends its step with [`call`]`(..).then(continuation)`,
//!   and names the function that goes on: `start => resume` in [`component!`]. The compiler checks
//!   that the continuation that the one leaves is the continuation that the other takes.
//! - A step is not promised to run exactly once: after a lost node it may run again from its
//!   beginning.
//!
//! ```
//! use izna_sdk::{Outcome, Result, Step, call};
//!
//! fn invoice(order: u64) -> Result<Step<u64>> {
//!     call("prices", "total", (order,)).then(order)
//! }
//!
//! fn priced(order: u64, total: Outcome<f64>) -> Result<String> {
//!     Ok(format!("order {order}: {:.2}", total?))
//! }
//!
//! izna_sdk::component! { invoice => priced }
//! # fn main() {}
//! ```
//!
//! [`log!`] writes to the node's log, and so does a panic.
//!
//! Build with `cargo build --release --target wasm32-unknown-unknown` and the crate type `cdylib`.
//! Functions are ordinary Rust, so `cargo test` tests them natively: match on the [`Step`] that
//! they return.

#![deny(missing_docs)]

pub mod allocator;
mod arguments;
#[doc(hidden)]
pub mod bindings;
pub mod cbor;
mod component;
#[doc(hidden)]
pub mod dispatch;
mod failure;
pub mod http;
pub mod log;
pub mod memory;
mod step;

pub use arguments::{Arguments, Decodable};
/// Any CBOR value, for arguments and results whose shape is not known.
pub use ciborium::Value;
pub use failure::{Failure, Outcome, Result};
/// A byte string: a `Vec<u8>` on its own would be encoded as an array of numbers.
pub use serde_bytes::ByteBuf as Bytes;
pub use step::{Call, IntoStep, Never, Step, call, done, forward};
