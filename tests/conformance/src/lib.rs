//! Golden vectors of the wire format, and what must hold of every decoder, whatever its input.
//!
//! [`samples()`] has one value for every shape that crosses a wire; the files under `vectors` are
//! their bytes and must not change by accident. [`oracle`] says what must hold of a decoder for any
//! bytes, and panics where it does not: the tests here and the fuzz targets call the same
//! functions. [`diagnostic`] prints CBOR for people.

pub mod diagnostic;
pub mod mutation;
pub mod oracle;
mod samples;

pub use samples::{Sample, beacon, samples};
