//! Writing and reading of deterministic CBOR. Heads are ciborium's; the rules on top (shortest
//! heads, definite lengths, bounded depth and length, nothing after the end) are here.

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{mem, net::SocketAddr};

use bytes::Bytes;
use ciborium_ll::{Decoder, Encoder, Header, simple};

use crate::{Unfit, layout::FIELDS_MAX, limits::ADDRESS_BYTES_MAX};

/// Nesting deeper than this is refused. The deepest message of the protocol has seven levels.
const DEPTH_MAX: usize = 16;

/// Why bytes are not a message. Carries offsets in bytes from the start, never the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input ends inside a value.
    #[error("the input ends inside a value that begins at byte {at}")]
    Truncated {
        /// Where the value begins.
        at: usize,
    },
    /// A head that no CBOR has, or that deterministic CBOR writes in another way.
    #[error("not deterministic CBOR at byte {at}: {why}")]
    Form {
        /// Where the head begins.
        at: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Good CBOR, but of another shape than the message has here.
    #[error("expected {expected} at byte {at}")]
    Shape {
        /// Where the value begins.
        at: usize,
        /// What the message has here.
        expected: &'static str,
    },
    /// A value over its limit.
    #[error("{what} of {size} at byte {at} is over the limit of {max}")]
    Limit {
        /// Where the value begins.
        at: usize,
        /// What is over the limit.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The largest size that is taken.
        max: u64,
    },
    /// Fields that do not fit together.
    #[error("a value that ends at byte {at} makes no sense: {why}")]
    Misfit {
        /// Where the value ends.
        at: usize,
        /// What does not fit.
        why: &'static str,
    },
    /// Bytes after the end of the value.
    #[error("{count} bytes after the end of the value at byte {at}")]
    Trailing {
        /// Where the value ends.
        at: usize,
        /// How many bytes follow.
        count: usize,
    },
}

/// A type with one form on the wire.
pub trait Wire: Sized {
    /// Append the value.
    fn write(&self, writer: &mut Writer);

    /// Take one value.
    ///
    /// # Errors
    /// When the bytes are not this value's deterministic encoding; what was taken until then is
    /// lost.
    fn read(reader: &mut Reader) -> Result<Self, Error>;

    /// How many bytes its encoding has, if a reader takes it: what [`Wire::read`] checks, checked
    /// before it is sent.
    ///
    /// # Errors
    /// When a reader would refuse it, with the field.
    fn measure(&self) -> Result<usize, Unfit>;

    /// The value's encoding.
    fn to_bytes(&self) -> Bytes {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.finish()
    }

    /// The value that `bytes` holds, and nothing else. Byte strings in it share `bytes`: no payload
    /// is copied.
    ///
    /// # Errors
    /// When `bytes` is not the deterministic encoding of one such value.
    fn from_bytes(bytes: Bytes) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let value = Self::read(&mut reader)?;
        reader.end()?;
        Ok(value)
    }
}

/// Appends CBOR to a buffer. Cannot fail.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(256) }
    }

    /// A buffer with room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    fn head(&mut self, header: Header) {
        // Writing to a vector has no error to give.
        let _ = Encoder::from(&mut self.bytes).push(header);
    }

    /// Begin an array of `length` values.
    pub fn array(&mut self, length: usize) {
        self.head(Header::Array(Some(length)));
    }

    /// An unsigned integer.
    pub fn unsigned(&mut self, value: impl Into<u64>) {
        self.head(Header::Positive(value.into()));
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) {
        self.head(Header::Bytes(Some(value.len())));
        self.bytes.extend_from_slice(value);
    }

    /// A text string.
    pub fn text(&mut self, value: &str) {
        self.head(Header::Text(Some(value.len())));
        self.bytes.extend_from_slice(value.as_bytes());
    }

    /// True or false.
    pub fn boolean(&mut self, value: bool) {
        self.head(Header::Simple(if value { simple::TRUE } else { simple::FALSE }));
    }

    /// A value, or null.
    pub fn option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&T, &mut Self)) {
        match value {
            Some(value) => write(value, self),
            None => self.head(Header::Simple(simple::NULL)),
        }
    }

    /// What another writer has written.
    pub(crate) fn raw(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// What was written.
    pub fn finish(self) -> Bytes {
        Bytes::from(self.bytes)
    }
}

/// Takes CBOR from shared bytes, in order. After an error it must not be used again.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
    depth: usize,
    skipped: usize,
}

impl Reader {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0, depth: 0, skipped: 0 }
    }

    /// Take one head, checked to be the shortest.
    fn head(&mut self) -> Result<Header, Error> {
        let at = self.at;
        if let Some(header) = self.first().and_then(short_head) {
            self.at += 1;
            return Ok(header);
        }
        let rest = self.bytes.get(at..).unwrap_or_default();
        let mut decoder = Decoder::from(rest);
        let header = decoder.pull().map_err(|error| match error {
            ciborium_ll::Error::Io(_) => Error::Truncated { at },
            ciborium_ll::Error::Syntax(_) => Error::Form { at, why: "no such head" },
        })?;
        self.at += decoder.offset();
        let shortest = match header {
            Header::Positive(n) | Header::Negative(n) | Header::Tag(n) => head_bytes(n),
            Header::Bytes(Some(n)) | Header::Text(Some(n)) => head_bytes(n as u64),
            Header::Array(Some(n)) | Header::Map(Some(n)) => head_bytes(n as u64),
            Header::Simple(n) => head_bytes(u64::from(n)),
            Header::Float(_) => return Err(Error::Form { at, why: "the protocol has no floats" }),
            _ => return Err(Error::Form { at, why: "an indefinite length" }),
        };
        if self.at - at != shortest {
            return Err(Error::Form { at, why: "a head longer than needed" });
        }
        Ok(header)
    }

    /// The first byte of the next value.
    fn first(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Whether the next value is null; takes it if so.
    fn null(&mut self) -> bool {
        let is_null = self.first() == Some(NULL);
        self.at += usize::from(is_null);
        is_null
    }

    /// Begin an array of any length up to `max`; [`Reader::leave`] must follow its values.
    pub fn enter(&mut self, max: usize) -> Result<usize, Error> {
        let at = self.at;
        let Header::Array(Some(length)) = self.head()? else {
            return Err(Error::Shape { at, expected: "an array" });
        };
        if length > max {
            let (size, max) = (length as u64, max as u64);
            return Err(Error::Limit { at, what: "an array", size, max });
        }
        self.deeper(at)?;
        Ok(length)
    }

    fn deeper(&mut self, at: usize) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let size = self.depth as u64;
            return Err(Error::Limit { at, what: "nesting", size, max: DEPTH_MAX as u64 });
        }
        Ok(())
    }

    /// End the array that was entered last.
    pub fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Take an array of exactly `length` values, read by `read`.
    pub fn tuple<T>(
        &mut self,
        length: usize,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let at = self.at;
        if self.enter(length)? != length {
            return Err(Error::Shape { at, expected: "an array of the message's length" });
        }
        let value = read(self)?;
        self.leave();
        Ok(value)
    }

    /// Take an array whose first values `read` takes, of those that it is told are left, and skip
    /// the others: what a newer version says.
    pub(crate) fn record<T>(
        &mut self,
        read: impl FnOnce(&mut Self, &mut usize) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut left = self.enter(FIELDS_MAX)?;
        let value = read(self, &mut left)?;
        self.skip_all(left)?;
        self.leave();
        Ok(value)
    }

    /// Take so many values at the end of a record, which a newer version has.
    pub(crate) fn skip_all(&mut self, count: usize) -> Result<(), Error> {
        self.skipped += count;
        (0..count).try_for_each(|_| self.skip())
    }

    /// How many values of a newer version there were.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Take any value of the protocol, whatever it means.
    ///
    /// # Errors
    /// When the next is none.
    pub fn skip(&mut self) -> Result<(), Error> {
        let at = self.at;
        match self.head()? {
            Header::Positive(_) | Header::Simple(simple::TRUE | simple::FALSE | simple::NULL) => {}
            Header::Bytes(Some(length)) => self.take(at, length, usize::MAX).map(drop)?,
            Header::Text(Some(length)) => {
                let text = self.take(at, length, usize::MAX)?;
                utf8(&text, at)?;
            }
            Header::Array(Some(length)) => {
                self.deeper(at)?;
                for _ in 0..length {
                    self.skip()?;
                }
                self.leave();
            }
            _ => return Err(Error::Shape { at, expected: "a value of the protocol" }),
        }
        Ok(())
    }

    /// The bytes that were read since `from`.
    pub(crate) fn since(&self, from: usize) -> Bytes {
        self.bytes.slice(from..self.at)
    }

    /// Take an array of at most `max` values, each read by `read`.
    pub(crate) fn many<T>(
        &mut self,
        max: usize,
        read: impl Fn(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let length = self.enter(max)?;
        // The claimed length is not trusted with more memory than the input itself takes.
        let left = self.bytes.len().saturating_sub(self.at);
        let mut values = Vec::with_capacity(length.min(left / mem::size_of::<T>().max(1)));
        for _ in 0..length {
            values.push(read(self)?);
        }
        self.leave();
        Ok(values)
    }

    /// Take an unsigned integer.
    pub fn unsigned(&mut self) -> Result<u64, Error> {
        let at = self.at;
        match self.head()? {
            Header::Positive(value) => Ok(value),
            _ => Err(Error::Shape { at, expected: "an unsigned integer" }),
        }
    }

    /// Take an unsigned integer that fits the smaller type.
    pub fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, Error> {
        let at = self.at;
        let value = self.unsigned()?;
        let max = (1 << (8 * mem::size_of::<T>().min(7))) - 1;
        T::try_from(value).map_err(|_| Error::Limit { at, what: "an integer", size: value, max })
    }

    /// Take a byte string of at most `max` bytes, without copying it.
    pub fn bytes(&mut self, max: usize) -> Result<Bytes, Error> {
        let at = self.at;
        let Header::Bytes(Some(length)) = self.head()? else {
            return Err(Error::Shape { at, expected: "a byte string" });
        };
        self.take(at, length, max)
    }

    /// Whether the next value is an array.
    pub fn is_array(&self) -> bool {
        self.first().is_some_and(|first| first >> 5 == ARRAY)
    }

    /// Take a byte string of exactly `N` bytes.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let at = self.at;
        let bytes = self.bytes(N)?;
        bytes.as_ref().try_into().map_err(|_| Error::Shape { at, expected: "a longer byte string" })
    }

    /// Take a text string of at most `max` bytes.
    pub fn text(&mut self, max: usize) -> Result<String, Error> {
        self.text_as(max)
    }

    /// The same as another type.
    pub(crate) fn text_as<T: for<'a> From<&'a str>>(&mut self, max: usize) -> Result<T, Error> {
        let at = self.at;
        let Header::Text(Some(length)) = self.head()? else {
            return Err(Error::Shape { at, expected: "a text string" });
        };
        let bytes = self.take(at, length, max)?;
        utf8(&bytes, at).map(T::from)
    }

    fn take(&mut self, at: usize, length: usize, max: usize) -> Result<Bytes, Error> {
        if length > max {
            let (size, max) = (length as u64, max as u64);
            return Err(Error::Limit { at, what: "a string", size, max });
        }
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(Error::Truncated { at })?;
        let bytes = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }

    /// Take true or false.
    pub fn boolean(&mut self) -> Result<bool, Error> {
        let at = self.at;
        match self.head()? {
            Header::Simple(simple::TRUE) => Ok(true),
            Header::Simple(simple::FALSE) => Ok(false),
            _ => Err(Error::Shape { at, expected: "true or false" }),
        }
    }

    /// Take a value or null.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        if self.null() { Ok(None) } else { read(self).map(Some) }
    }

    /// The offset in bytes of the next value.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Check that nothing is left.
    pub fn end(&self) -> Result<(), Error> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            count => Err(Error::Trailing { at: self.at, count }),
        }
    }
}

/// The kind of an array, in the highest bits of its head.
const ARRAY: u8 = 4;
/// The head of null.
const NULL: u8 = 0xe0 | simple::NULL;

/// The head that is this one byte: most are, and there is nothing to check about it.
fn short_head(byte: u8) -> Option<Header> {
    let value = byte & 0x1f;
    let length = Some(usize::from(value));
    match byte >> 5 {
        _ if value > 23 => None,
        0 => Some(Header::Positive(value.into())),
        2 => Some(Header::Bytes(length)),
        3 => Some(Header::Text(length)),
        ARRAY => Some(Header::Array(length)),
        _ => None,
    }
}

/// How many bytes the shortest head for the argument `n` has.
pub(crate) fn head_bytes(n: u64) -> usize {
    match n {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

fn utf8(bytes: &[u8], at: usize) -> Result<&str, Error> {
    core::str::from_utf8(bytes).map_err(|_| Error::Form { at, why: "text that is not UTF-8" })
}

macro_rules! integers {
    ($($name:ident)*) => { $(
        impl Wire for $name {
            fn write(&self, w: &mut Writer) {
                w.unsigned(*self);
            }

            fn read(r: &mut Reader) -> Result<Self, Error> {
                r.narrow()
            }

            fn measure(&self) -> Result<usize, Unfit> {
                Ok(head_bytes(u64::from(*self)))
            }
        }
    )* };
}
integers!(u8 u16 u32 u64);

impl Wire for bool {
    fn write(&self, w: &mut Writer) {
        w.boolean(*self);
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        r.boolean()
    }

    fn measure(&self) -> Result<usize, Unfit> {
        Ok(1)
    }
}

impl<T: Wire> Wire for Arc<T> {
    fn write(&self, w: &mut Writer) {
        T::write(self, w);
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        T::read(r).map(Self::new)
    }

    fn measure(&self) -> Result<usize, Unfit> {
        T::measure(self)
    }
}

/// An address has one spelling: that of RFC 5952.
impl Wire for SocketAddr {
    fn write(&self, w: &mut Writer) {
        w.text(&self.to_string());
    }

    fn read(r: &mut Reader) -> Result<Self, Error> {
        let at = r.offset();
        let text = r.text(ADDRESS_BYTES_MAX)?;
        let parsed = text.parse().ok().filter(|address: &SocketAddr| address.to_string() == text);
        parsed.ok_or(Error::Shape { at, expected: "a socket address" })
    }

    fn measure(&self) -> Result<usize, Unfit> {
        let length = self.to_string().len();
        Ok(head_bytes(length as u64) + length)
    }
}
