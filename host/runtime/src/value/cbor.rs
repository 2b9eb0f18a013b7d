//! CBOR of unknown origin, taken head by head, and CBOR that is written. Reading takes every
//! well-formed encoding but tags and strings in chunks; what is written is deterministic.

use std::str;

use ciborium_ll::{Decoder, Encoder, Header, simple};

use super::fault::Fault;

/// The deepest nesting of what is skipped. (What is read is as deep as its type.)
const SKIPPED_DEPTH_MAX: usize = 64;

/// One value after another. Cheap to copy, to look ahead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// An array or a map that was entered: how many values it has, and whether a break ends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entered {
    pub(crate) length: usize,
    broken: bool,
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Take a head.
    pub(crate) fn head(&mut self) -> Result<Header, Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let mut decoder = Decoder::from(rest);
        let header = decoder.pull().map_err(|error| {
            let at = self.at;
            Fault::misfit(match error {
                ciborium_ll::Error::Io(_) => format!("unexpected end of CBOR at byte {at}"),
                ciborium_ll::Error::Syntax(_) => format!("invalid CBOR at byte {at}"),
            })
        })?;
        self.at += decoder.offset();
        Ok(header)
    }

    /// The next head, without taking it.
    pub(crate) fn peek(&self) -> Result<Header, Fault> {
        self.clone().head()
    }

    /// Take the bytes of a string whose head was just taken.
    pub(crate) fn string(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(length);
        let string = end.and_then(|end| self.bytes.get(self.at..end));
        let string = string.ok_or_else(|| {
            Fault::misfit(format!("a string exceeds the input, at byte {}", self.at))
        })?;
        self.at += length;
        Ok(string)
    }

    /// Take a text.
    pub(crate) fn text(&mut self, wanted: &str) -> Result<&'a str, Fault> {
        match self.head()? {
            Header::Text(Some(length)) => self.text_of(length),
            other => Err(Fault::wanted(wanted, name(other))),
        }
    }

    /// Take the text of a head that was just taken.
    pub(crate) fn text_of(&mut self, length: usize) -> Result<&'a str, Fault> {
        str::from_utf8(self.string(length)?).map_err(|_| Fault::misfit("text that is not UTF-8"))
    }

    /// Enter the array or map of a head that was just taken. A claimed length is not trusted: no
    /// value has less than one byte.
    pub(crate) fn enter(&self, length: Option<usize>, each: usize) -> Result<Entered, Fault> {
        let broken = length.is_none();
        let length = length.map_or_else(|| self.count(each), Ok)?;
        let left = self.bytes.len().saturating_sub(self.at);
        if length.saturating_mul(each) > left {
            return Err(Fault::misfit(format!("{length} items announced, {left} bytes left")));
        }
        Ok(Entered { length, broken })
    }

    pub(crate) fn leave(&mut self, entered: Entered) -> Result<(), Fault> {
        if entered.broken {
            self.head()?;
        }
        Ok(())
    }

    /// How many items there are before the break.
    fn count(&self, each: usize) -> Result<usize, Fault> {
        let (mut ahead, mut values) = (*self, 0);
        while ahead.peek()? != Header::Break {
            ahead.skip(0)?;
            values += 1;
        }
        if values % each != 0 {
            return Err(Fault::misfit("a key without a value"));
        }
        Ok(values / each)
    }

    /// Take a value, whatever it is, and give its bytes.
    pub(crate) fn any(&mut self) -> Result<&'a [u8], Fault> {
        let from = self.at;
        self.skip(0)?;
        Ok(self.bytes.get(from..self.at).unwrap_or_default())
    }

    fn skip(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > SKIPPED_DEPTH_MAX {
            return Err(Fault::misfit(format!("nested deeper than {SKIPPED_DEPTH_MAX}")));
        }
        match self.head()? {
            Header::Bytes(Some(length)) | Header::Text(Some(length)) => {
                self.string(length).map(|_| ())
            }
            Header::Tag(_) => self.skip(depth + 1),
            Header::Array(length) => self.skip_items(length, 1, depth),
            Header::Map(length) => self.skip_items(length, 2, depth),
            Header::Bytes(None) | Header::Text(None) => Err(Fault::misfit("a string in chunks")),
            Header::Break => Err(Fault::misfit("a break with nothing to end")),
            _ => Ok(()),
        }
    }

    fn skip_items(
        &mut self,
        length: Option<usize>,
        each: usize,
        depth: usize,
    ) -> Result<(), Fault> {
        match length {
            Some(length) => {
                let length = self.enter(Some(length), each)?.length;
                (0..length * each).try_for_each(|_| self.skip(depth + 1))
            }
            None => {
                while self.peek()? != Header::Break {
                    self.skip(depth + 1)?;
                }
                self.head().map(|_| ())
            }
        }
    }

    /// Check that nothing is left.
    pub(crate) fn end(&self) -> Result<(), Fault> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            left => Err(Fault::misfit(format!("{left} trailing bytes"))),
        }
    }
}

/// What a head begins, for a message.
pub(crate) fn name(header: Header) -> &'static str {
    match header {
        Header::Positive(_) | Header::Negative(_) => "an integer",
        Header::Float(_) => "a float",
        Header::Simple(simple::TRUE | simple::FALSE) => "a bool",
        Header::Simple(simple::NULL | simple::UNDEFINED) => "null",
        Header::Simple(_) => "a simple value",
        Header::Tag(_) => "a tag",
        Header::Break => "a break",
        Header::Bytes(Some(_)) => "a byte string",
        Header::Bytes(None) => "a byte string in chunks",
        Header::Text(Some(_)) => "a text",
        Header::Text(None) => "a text in chunks",
        Header::Array(_) => "an array",
        Header::Map(_) => "a map",
    }
}

/// Appends CBOR. Cannot fail.
#[derive(Debug, Default)]
pub(crate) struct Output(pub(crate) Vec<u8>);

impl Output {
    pub(crate) fn head(&mut self, header: Header) {
        // Writing to a vector has no error to give.
        let _ = Encoder::from(&mut self.0).push(header);
    }

    pub(crate) fn null(&mut self) {
        self.head(Header::Simple(simple::NULL));
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.head(Header::Simple(if value { simple::TRUE } else { simple::FALSE }));
    }

    pub(crate) fn unsigned(&mut self, value: u64) {
        self.head(Header::Positive(value));
    }

    pub(crate) fn signed(&mut self, value: i64) {
        match u64::try_from(value) {
            Ok(value) => self.head(Header::Positive(value)),
            Err(_) => self.head(Header::Negative((!value).unsigned_abs())),
        }
    }

    /// Every NaN is the same one.
    pub(crate) fn float(&mut self, value: f64) {
        self.head(Header::Float(if value.is_nan() { f64::NAN } else { value }));
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.head(Header::Text(Some(text.len())));
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.head(Header::Bytes(Some(bytes.len())));
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn array(&mut self, length: usize) {
        self.head(Header::Array(Some(length)));
    }

    pub(crate) fn map(&mut self, length: usize) {
        self.head(Header::Map(Some(length)));
    }
}
