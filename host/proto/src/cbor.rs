//! CBOR of unknown shape, such as the values that components exchange: a check before anything
//! decodes it, and reading and writing head by head.

mod input;
mod misfit;
mod output;

use ciborium_ll::{Decoder, Header};
use half::f16;

use crate::{Error, codec::head_bytes};

pub use input::{Entered, Input, name};
pub use misfit::Misfit;
pub use output::Output;

/// What [`check`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The deepest nesting of arrays, maps and tags.
    pub depth_max: usize,
    /// The most values, counting each key, element and tag.
    pub values_max: usize,
    /// The longest input, in bytes.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 64, values_max: 1 << 20, bytes_max: 16 << 20 }
    }
}

/// Which encodings of a value [`check`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Any well-formed one.
    Any,
    /// Only the deterministic one of RFC 8949 section 4.2: shortest heads and floats, definite
    /// lengths, keys in the order of their bytes and none twice.
    Deterministic,
}

/// Check that `bytes` is one CBOR value within the limits and nothing else.
///
/// # Errors
/// When it is not, with the offset of the value at fault.
pub fn check(bytes: &[u8], form: Form, limits: &Limits) -> Result<(), Error> {
    if bytes.len() > limits.bytes_max {
        let (size, max) = (bytes.len() as u64, limits.bytes_max as u64);
        return Err(Error::Limit { at: 0, what: "the input", size, max });
    }
    let mut walk = Walk { bytes, at: 0, form, limits, values: 0 };
    if !walk.value(0)? {
        return Err(Error::Form { at: 0, why: STRAY_BREAK });
    }
    match bytes.len() - walk.at {
        0 => Ok(()),
        count => Err(Error::Trailing { at: walk.at, count }),
    }
}

const STRAY_BREAK: &str = "a break with nothing to end";

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    form: Form,
    limits: &'a Limits,
    values: usize,
}

impl<'a> Walk<'a> {
    /// Read one value with all it holds; false when it was a break. Recursion is bounded by the
    /// depth limit.
    fn value(&mut self, depth: usize) -> Result<bool, Error> {
        let at = self.at;
        self.count(at, depth)?;
        let header = self.head(at)?;
        match header {
            Header::Positive(_) | Header::Negative(_) | Header::Float(_) => {}
            Header::Simple(value) => {
                let long = self.at - at == 2;
                if long == (value < 32) {
                    return Err(Error::Form { at, why: "no such simple value" });
                }
            }
            Header::Tag(_) => self.held(depth)?,
            Header::Bytes(Some(length)) => self.string(at, length).map(|_| ())?,
            Header::Text(Some(length)) => self.text(at, length)?,
            Header::Bytes(None) => self.chunks(at, false)?,
            Header::Text(None) => self.chunks(at, true)?,
            Header::Array(Some(length)) => (0..length).try_for_each(|_| self.held(depth))?,
            Header::Array(None) => while self.value(depth + 1)? {},
            Header::Map(length) => self.map(depth, length)?,
            Header::Break => return Ok(false),
        }
        Ok(true)
    }

    /// Read a value that must be there: no break.
    fn held(&mut self, depth: usize) -> Result<(), Error> {
        let at = self.at;
        if self.value(depth + 1)? { Ok(()) } else { Err(Error::Form { at, why: STRAY_BREAK }) }
    }

    fn map(&mut self, depth: usize, length: Option<usize>) -> Result<(), Error> {
        let mut last: Option<&'a [u8]> = None;
        let mut left = length;
        while left != Some(0) {
            let at = self.at;
            if !self.value(depth + 1)? {
                let why = STRAY_BREAK;
                return if length.is_none() { Ok(()) } else { Err(Error::Form { at, why }) };
            }
            let key = self.bytes.get(at..self.at).unwrap_or_default();
            if self.form == Form::Deterministic && last.is_some_and(|last| last >= key) {
                return Err(Error::Form { at, why: "a key out of order or twice" });
            }
            last = Some(key);
            self.held(depth)?;
            left = left.map(|left| left - 1);
        }
        Ok(())
    }

    fn chunks(&mut self, at: usize, text: bool) -> Result<(), Error> {
        loop {
            let at_chunk = self.at;
            self.count(at_chunk, 0)?;
            match (self.head(at_chunk)?, text) {
                (Header::Bytes(Some(length)), false) => {
                    self.string(at_chunk, length).map(|_| ())?
                }
                (Header::Text(Some(length)), true) => self.text(at_chunk, length)?,
                (Header::Break, _) => return Ok(()),
                _ => {
                    return Err(Error::Form { at, why: "a chunk of another kind than its string" });
                }
            }
        }
    }

    fn count(&mut self, at: usize, depth: usize) -> Result<(), Error> {
        if depth > self.limits.depth_max {
            let (size, max) = (depth as u64, self.limits.depth_max as u64);
            return Err(Error::Limit { at, what: "nesting", size, max });
        }
        self.values += 1;
        if self.values > self.limits.values_max {
            let (size, max) = (self.values as u64, self.limits.values_max as u64);
            return Err(Error::Limit { at, what: "the number of values", size, max });
        }
        Ok(())
    }

    fn head(&mut self, at: usize) -> Result<Header, Error> {
        let mut decoder = Decoder::from(self.bytes.get(at..).unwrap_or_default());
        let header = decoder.pull().map_err(|error| match error {
            ciborium_ll::Error::Io(_) => Error::Truncated { at },
            ciborium_ll::Error::Syntax(_) => Error::Form { at, why: "no such head" },
        })?;
        self.at += decoder.offset();
        if self.form == Form::Deterministic {
            let shortest =
                shortest(header).ok_or(Error::Form { at, why: "an indefinite length" })?;
            if self.at - at != shortest {
                return Err(Error::Form { at, why: "a head or a float longer than needed" });
            }
        }
        Ok(header)
    }

    fn string(&mut self, at: usize, length: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(length).ok_or(Error::Truncated { at })?;
        let string = self.bytes.get(self.at..end).ok_or(Error::Truncated { at })?;
        self.at = end;
        Ok(string)
    }

    fn text(&mut self, at: usize, length: usize) -> Result<(), Error> {
        let text = self.string(at, length)?;
        let valid = core::str::from_utf8(text);
        valid.map(|_| ()).map_err(|_| Error::Form { at, why: "text that is not UTF-8" })
    }
}

/// The length in bytes of the shortest head that says the same; none for an indefinite length and
/// its break.
fn shortest(header: Header) -> Option<usize> {
    Some(match header {
        Header::Positive(n) | Header::Negative(n) | Header::Tag(n) => head_bytes(n),
        Header::Bytes(length) | Header::Text(length) => head_bytes(length? as u64),
        Header::Array(length) | Header::Map(length) => head_bytes(length? as u64),
        Header::Simple(value) => head_bytes(u64::from(value)),
        Header::Float(value) if value.is_nan() || f16::from_f64(value).to_f64() == value => 3,
        #[expect(clippy::cast_possible_truncation, reason = "whether it truncates is the question")]
        Header::Float(value) if f64::from(value as f32) == value => 5,
        Header::Float(_) => 9,
        Header::Break => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, hostile nesting could use up the stack, or good nesting is refused.
    #[test]
    fn nesting_is_bounded() {
        let limits = Limits { depth_max: 4, ..Limits::default() };
        assert_eq!(check(&[0x81, 0x81, 0x81, 0x81, 0x01], Form::Any, &limits), Ok(()));
        let deep = check(&[0x81, 0x81, 0x81, 0x81, 0x81, 0x01], Form::Any, &limits);
        assert_eq!(deep, Err(Error::Limit { at: 5, what: "nesting", size: 5, max: 4 }));
        let endless = [0x9f; 100_000];
        assert!(check(&endless, Form::Any, &Limits::default()).is_err());
    }

    /// If this fails, a claimed length could make the host allocate or loop for long.
    #[test]
    fn claimed_lengths_are_not_trusted() {
        for head in [[0x5b, 0x7f], [0x7b, 0x7f], [0x9b, 0x7f], [0xbb, 0x7f]] {
            let mut bytes = [0xff; 9];
            bytes[..2].copy_from_slice(&head);
            assert!(check(&bytes, Form::Any, &Limits::default()).is_err());
        }
    }

    /// If this fails, two encodings of one value could both count as the deterministic one.
    #[test]
    fn deterministic_form_has_one_encoding() {
        let deterministic = |bytes: &[u8]| check(bytes, Form::Deterministic, &Limits::default());
        assert!(deterministic(&[0xa2, 0x01, 0x00, 0x02, 0x00]).is_ok());
        assert!(deterministic(&[0xa2, 0x02, 0x00, 0x01, 0x00]).is_err());
        assert!(deterministic(&[0xa2, 0x01, 0x00, 0x01, 0x00]).is_err());
        assert!(deterministic(&[0x18, 0x17]).is_err());
        assert!(deterministic(&[0x9f, 0xff]).is_err());
        assert!(deterministic(&[0xfa, 0x3f, 0x80, 0x00, 0x00]).is_err());
        assert!(deterministic(&[0xf9, 0x3c, 0x00]).is_ok());
    }
}
