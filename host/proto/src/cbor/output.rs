//! CBOR that is written, in the deterministic encoding.

use alloc::vec::Vec;

use ciborium_ll::{Encoder, Header, simple};

/// Appends CBOR. Cannot fail.
#[derive(Debug, Default)]
pub struct Output(pub Vec<u8>);

impl Output {
    /// A head.
    pub fn head(&mut self, header: Header) {
        // Writing to a vector has no error to give.
        let _ = Encoder::from(&mut self.0).push(header);
    }

    /// Null.
    pub fn null(&mut self) {
        self.head(Header::Simple(simple::NULL));
    }

    /// True or false.
    pub fn bool(&mut self, value: bool) {
        self.head(Header::Simple(if value { simple::TRUE } else { simple::FALSE }));
    }

    /// An unsigned integer.
    pub fn unsigned(&mut self, value: u64) {
        self.head(Header::Positive(value));
    }

    /// An integer.
    pub fn signed(&mut self, value: i64) {
        match u64::try_from(value) {
            Ok(value) => self.head(Header::Positive(value)),
            Err(_) => self.head(Header::Negative((!value).unsigned_abs())),
        }
    }

    /// A float, the shortest that is the same number. Every NaN is the same one.
    pub fn float(&mut self, value: f64) {
        self.head(Header::Float(if value.is_nan() { f64::NAN } else { value }));
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        self.head(Header::Text(Some(text.len())));
        self.0.extend_from_slice(text.as_bytes());
    }

    /// A byte string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.head(Header::Bytes(Some(bytes.len())));
        self.0.extend_from_slice(bytes);
    }

    /// The head of an array; its values must follow.
    pub fn array(&mut self, length: usize) {
        self.head(Header::Array(Some(length)));
    }

    /// The head of a map; as many keys and values must follow.
    pub fn map(&mut self, length: usize) {
        self.head(Header::Map(Some(length)));
    }
}
