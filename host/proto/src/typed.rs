//! What calls of typed functions carry that no component makes. A route has arguments by their
//! names, all text; a person types words, which may be text or JSON. Both are marked by a tag, and
//! the function's types decide what they mean. The result of a route's call in turn says of which
//! type it is, since a value alone does not tell a `result` from a record.

use alloc::vec::Vec;

use bytes::Bytes;
use ciborium_ll::Header;

use crate::cbor::{Input, Misfit, Output, name};

/// The tag.
///
/// - Around a map: the arguments of a route's call, by their names. Around an array in it: the
///   texts of a name that the request has several times.
/// - Around an array: the arguments of a call by hand, in order. Around an argument in it, an array
///   of two: a word as text, and what it is as JSON.
/// - Around an array of three: a [`Told`].
pub const TAG: u64 = 0x697a_6e61;

/// A result that says of which type it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told<'a> {
    /// Which case of a `result` it is, if it is one.
    pub case: Case,
    /// Whether the value's type is that of an HTTP response.
    pub is_response: bool,
    /// The value: null where the case has none.
    pub value: &'a [u8],
}

/// Which case of a `result` a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// The type is no `result`.
    None,
    /// `ok`.
    Ok,
    /// `err`.
    Err,
}

impl<'a> Told<'a> {
    /// The result as bytes.
    pub fn to_bytes(&self) -> Bytes {
        let mut output = Output(Vec::with_capacity(self.value.len() + 16));
        output.head(Header::Tag(TAG));
        output.array(3);
        output.unsigned(match self.case {
            Case::None => 0,
            Case::Ok => 1,
            Case::Err => 2,
        });
        output.bool(self.is_response);
        output.0.extend_from_slice(self.value);
        output.0.into()
    }

    /// The result that `bytes` is; none where it says nothing of its type.
    ///
    /// # Errors
    /// When it is marked as one and is none.
    pub fn of_bytes(bytes: &'a [u8]) -> Result<Option<Self>, Misfit> {
        let mut input = Input::new(bytes);
        if !is_marked(&mut input) {
            return Ok(None);
        }
        match input.head()? {
            Header::Array(Some(3)) => {}
            other => return Err(Misfit::wanted("an array of three values", name(other))),
        }
        let case = match input.head()? {
            Header::Positive(0) => Case::None,
            Header::Positive(1) => Case::Ok,
            Header::Positive(2) => Case::Err,
            other => return Err(Misfit::wanted("the number of a case", name(other))),
        };
        let is_response = match input.any()? {
            [0xf4] => false,
            [0xf5] => true,
            _ => return Err(Misfit::new("expected true or false")),
        };
        let told = Self { case, is_response, value: input.any()? };
        input.end()?;
        Ok(Some(told))
    }
}

/// Whether `input` begins with the tag; takes it if so.
pub fn is_marked(input: &mut Input<'_>) -> bool {
    let mut ahead = *input;
    let marked = matches!(ahead.head(), Ok(Header::Tag(TAG)));
    if marked {
        *input = ahead;
    }
    marked
}

/// Whether these are the arguments of a route's call, so that its result is to say its type.
pub fn is_of_a_route(arguments: &[u8]) -> bool {
    let mut input = Input::new(arguments);
    is_marked(&mut input) && matches!(input.head(), Ok(Header::Map(_)))
}

/// The same arguments for who has no types: words as JSON has them, of texts with one name the
/// last.
pub fn plain(arguments: &Bytes) -> Bytes {
    let mut input = Input::new(arguments);
    match is_marked(&mut input) {
        true => without_marks(input).map_or_else(|_| arguments.clone(), Bytes::from),
        false => arguments.clone(),
    }
}

fn without_marks(mut input: Input<'_>) -> Result<Vec<u8>, Misfit> {
    let (head, each) = match input.head()? {
        Header::Map(length) => (Header::Map(Some(input.enter(length, 2)?.length)), 2),
        Header::Array(length) => (Header::Array(Some(input.enter(length, 1)?.length)), 1),
        other => return Err(Misfit::wanted("an array or a map", name(other))),
    };
    let (Header::Map(length) | Header::Array(length)) = head else {
        return Err(Misfit::new("expected an array or a map"));
    };
    let mut output = Output::default();
    output.head(head);
    for _ in 0..length.unwrap_or(0) * each {
        let value = input.any()?;
        output.0.extend_from_slice(last(value)?.unwrap_or(value));
    }
    Ok(output.0)
}

/// The last of the values of a marked array.
pub fn last(value: &[u8]) -> Result<Option<&[u8]>, Misfit> {
    Ok(items(value)?.and_then(|items| items.last().copied()))
}

/// The values of a marked array; none for what is not marked.
pub fn items(value: &[u8]) -> Result<Option<Vec<&[u8]>>, Misfit> {
    let mut input = Input::new(value);
    if !is_marked(&mut input) {
        return Ok(None);
    }
    let entered = match input.head()? {
        Header::Array(length) => input.enter(length, 1)?,
        other => return Err(Misfit::wanted("an array", name(other))),
    };
    let items = (0..entered.length).map(|_| input.any()).collect::<Result<_, _>>()?;
    Ok(Some(items))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn tagged(rest: &[u8]) -> Vec<u8> {
        let mut output = Output::default();
        output.head(Header::Tag(TAG));
        output.0.extend_from_slice(rest);
        output.0
    }

    /// If this failed, an error would come out of a route as a success, or a record as a page.
    #[test]
    fn results_say_of_which_type_they_are() {
        for case in [Case::None, Case::Ok, Case::Err] {
            for is_response in [false, true] {
                let told = Told { case, is_response, value: &[0x82, 1, 2] };
                assert_eq!(Told::of_bytes(&told.to_bytes()), Ok(Some(told)));
            }
        }
        assert_eq!(Told::of_bytes(&[0xa0]), Ok(None));
        for bad in [&[0x80][..], &[0x83, 3, 0xf4, 0], &[0x83, 0, 0, 0], &[0x83, 0, 0xf4]] {
            assert!(Told::of_bytes(&tagged(bad)).is_err(), "{bad:?}");
        }
    }

    /// If this failed, a component without types would get marks that it does not know.
    #[test]
    fn marks_are_taken_off_for_who_has_no_types() {
        let word = tagged(&[0x82, 0x61, b'7', 7]);
        let words = tagged(&[&[0x82][..], &word, &[1]].concat());
        assert_eq!(&plain(&words.into())[..], [0x82, 7, 1]);
        let twice = tagged(&[0x82, 0x61, b'a', 0x61, b'b']);
        let named = tagged(&[&[0xa1, 0x61, b'n'][..], &twice].concat());
        assert!(is_of_a_route(&named) && !is_of_a_route(&named[5..]));
        assert_eq!(&plain(&named.into())[..], [0xa1, 0x61, b'n', 0x61, b'b']);
        let other = Bytes::from(vec![0x81, 1]);
        assert_eq!(plain(&other), other);
    }
}
