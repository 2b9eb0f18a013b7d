//! CBOR of unknown origin, taken head by head. Takes every well-formed encoding but strings in
//! chunks.

use alloc::format;
use core::str;

use ciborium_ll::{Decoder, Header, simple};

use super::Misfit;

/// The deepest nesting of what is skipped. (What is read is as deep as its type.)
const SKIPPED_DEPTH_MAX: usize = 64;

/// One value after another. Cheap to copy, to look ahead.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// An array or a map that was entered: how many values it has, and whether a break ends it.
#[derive(Debug, Clone, Copy)]
pub struct Entered {
    /// How many values, or pairs of them, it has.
    pub length: usize,
    broken: bool,
}

impl<'a> Input<'a> {
    /// At the first of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Take a head.
    ///
    /// # Errors
    /// When there is none; so do all that follow.
    pub fn head(&mut self) -> Result<Header, Misfit> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let mut decoder = Decoder::from(rest);
        let header = decoder.pull().map_err(|error| {
            let at = self.at;
            Misfit::new(match error {
                ciborium_ll::Error::Io(_) => format!("unexpected end of CBOR at byte {at}"),
                ciborium_ll::Error::Syntax(_) => format!("invalid CBOR at byte {at}"),
            })
        })?;
        self.at += decoder.offset();
        Ok(header)
    }

    /// The next head, without taking it.
    pub fn peek(&self) -> Result<Header, Misfit> {
        self.clone().head()
    }

    /// Take the bytes of a string whose head was just taken.
    pub fn string(&mut self, length: usize) -> Result<&'a [u8], Misfit> {
        let end = self.at.checked_add(length);
        let string = end.and_then(|end| self.bytes.get(self.at..end));
        let string = string.ok_or_else(|| {
            Misfit::new(format!("a string exceeds the input, at byte {}", self.at))
        })?;
        self.at += length;
        Ok(string)
    }

    /// Take a text.
    pub fn text(&mut self, wanted: &str) -> Result<&'a str, Misfit> {
        match self.head()? {
            Header::Text(Some(length)) => self.text_of(length),
            other => Err(Misfit::wanted(wanted, name(other))),
        }
    }

    /// Take the text of a head that was just taken.
    pub fn text_of(&mut self, length: usize) -> Result<&'a str, Misfit> {
        str::from_utf8(self.string(length)?).map_err(|_| Misfit::new("text that is not UTF-8"))
    }

    /// Enter the array or map of a head that was just taken, of `each` values an item.
    ///
    /// # Errors
    /// When there cannot be as many as are claimed: no value has less than one byte.
    pub fn enter(&self, length: Option<usize>, each: usize) -> Result<Entered, Misfit> {
        let broken = length.is_none();
        let length = length.map_or_else(|| self.count(each), Ok)?;
        let left = self.bytes.len().saturating_sub(self.at);
        if length.saturating_mul(each) > left {
            return Err(Misfit::new(format!("{length} items announced, {left} bytes left")));
        }
        Ok(Entered { length, broken })
    }

    /// Leave what was entered, once all its values are taken.
    ///
    /// # Errors
    /// When the break that ends it is missing.
    pub fn leave(&mut self, entered: Entered) -> Result<(), Misfit> {
        if entered.broken {
            self.head()?;
        }
        Ok(())
    }

    /// How many items there are before the break.
    fn count(&self, each: usize) -> Result<usize, Misfit> {
        let (mut ahead, mut values) = (*self, 0);
        while ahead.peek()? != Header::Break {
            ahead.skip(0)?;
            values += 1;
        }
        if values % each != 0 {
            return Err(Misfit::new("a key without a value"));
        }
        Ok(values / each)
    }

    /// Take a value, whatever it is, and give its bytes.
    pub fn any(&mut self) -> Result<&'a [u8], Misfit> {
        let from = self.at;
        self.skip(0)?;
        Ok(self.bytes.get(from..self.at).unwrap_or_default())
    }

    fn skip(&mut self, depth: usize) -> Result<(), Misfit> {
        if depth > SKIPPED_DEPTH_MAX {
            return Err(Misfit::new(format!("nested deeper than {SKIPPED_DEPTH_MAX}")));
        }
        match self.head()? {
            Header::Bytes(Some(length)) | Header::Text(Some(length)) => {
                self.string(length).map(|_| ())
            }
            Header::Tag(_) => self.skip(depth + 1),
            Header::Array(length) => self.skip_items(length, 1, depth),
            Header::Map(length) => self.skip_items(length, 2, depth),
            Header::Bytes(None) | Header::Text(None) => Err(Misfit::new("a string in chunks")),
            Header::Break => Err(Misfit::new("a break with nothing to end")),
            _ => Ok(()),
        }
    }

    fn skip_items(
        &mut self,
        length: Option<usize>,
        each: usize,
        depth: usize,
    ) -> Result<(), Misfit> {
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
    pub fn end(&self) -> Result<(), Misfit> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            left => Err(Misfit::new(format!("{left} trailing bytes"))),
        }
    }
}

/// What a head begins, for a message.
pub fn name(header: Header) -> &'static str {
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
