//! The form of a type on the wire, declared once: [`record!`] and [`variants!`] make the writing,
//! the reading and the measuring of a type of one list of its fields. What a field may be is a
//! [`Layout`].
//!
//! A record is an array of its fields. A reader takes those it knows and skips what a newer version
//! says behind them; the layout of a field that came with a newer version says what it is when an
//! older one does not say it ([`Layout::absent`]).

use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use crate::{Error, Reader, Unfit, Wire, Writer, codec::head_bytes, limits::REST_BYTES_MAX};

/// The most fields of one record, with those that a reader does not know.
pub(crate) const FIELDS_MAX: usize = 64;

/// How a field of type `T` stands on the wire, and what its limits are.
pub(crate) trait Layout<T> {
    /// Append the field.
    fn write(&self, value: &T, w: &mut Writer);

    /// Take the field.
    fn read(&self, r: &mut Reader) -> Result<T, Error>;

    /// How many bytes it has on the wire, or why no reader takes it.
    fn measure(&self, value: &T) -> Result<usize, Unfit>;

    /// What it is when the record ends before it.
    fn absent(&self, at: usize) -> Result<T, Error> {
        Err(Error::Shape { at, expected: "one more field" })
    }
}

/// What came with a newer version: its type's default where an older one does not say it.
pub(crate) struct Added<L>(pub(crate) L);
/// As the type itself says.
pub(crate) struct Plain;
/// Text of at most so many bytes.
pub(crate) struct Text(pub(crate) usize);
/// At most so many bytes.
pub(crate) struct Octets(pub(crate) usize);
/// What may be missing: null.
pub(crate) struct Maybe<L>(pub(crate) L);
/// At most so many of the same.
pub(crate) struct Many<L>(pub(crate) usize, pub(crate) L);

impl<T: Wire> Layout<T> for Plain {
    fn write(&self, value: &T, w: &mut Writer) {
        value.write(w);
    }

    fn read(&self, r: &mut Reader) -> Result<T, Error> {
        T::read(r)
    }

    fn measure(&self, value: &T) -> Result<usize, Unfit> {
        value.measure()
    }
}

/// The length of a string on the wire.
fn string(length: usize, max: usize) -> Result<usize, Unfit> {
    within(length, max)?;
    Ok(head_bytes(length as u64) + length)
}

fn within(size: usize, max: usize) -> Result<(), Unfit> {
    if size > max { Err(Unfit::over(size, max)) } else { Ok(()) }
}

impl<T: AsRef<str> + for<'a> From<&'a str>> Layout<T> for Text {
    fn write(&self, value: &T, w: &mut Writer) {
        w.text(value.as_ref());
    }

    fn read(&self, r: &mut Reader) -> Result<T, Error> {
        r.text_as(self.0)
    }

    fn measure(&self, value: &T) -> Result<usize, Unfit> {
        string(value.as_ref().len(), self.0)
    }
}

impl Layout<Bytes> for Octets {
    fn write(&self, value: &Bytes, w: &mut Writer) {
        w.bytes(value);
    }

    fn read(&self, r: &mut Reader) -> Result<Bytes, Error> {
        r.bytes(self.0)
    }

    fn measure(&self, value: &Bytes) -> Result<usize, Unfit> {
        string(value.len(), self.0)
    }
}

impl<T, L: Layout<T>> Layout<Option<T>> for Maybe<L> {
    fn write(&self, value: &Option<T>, w: &mut Writer) {
        w.option(value.as_ref(), |value, w| self.0.write(value, w));
    }

    fn read(&self, r: &mut Reader) -> Result<Option<T>, Error> {
        r.option(|r| self.0.read(r))
    }

    fn measure(&self, value: &Option<T>) -> Result<usize, Unfit> {
        value.as_ref().map_or(Ok(1), |value| self.0.measure(value))
    }
}

impl<T, L: Layout<T>> Layout<Vec<T>> for Many<L> {
    fn write(&self, values: &Vec<T>, w: &mut Writer) {
        w.array(values.len());
        values.iter().for_each(|value| self.1.write(value, w));
    }

    fn read(&self, r: &mut Reader) -> Result<Vec<T>, Error> {
        r.many(self.0, |r| self.1.read(r))
    }

    fn measure(&self, values: &Vec<T>) -> Result<usize, Unfit> {
        within(values.len(), self.0)?;
        let head = head_bytes(values.len() as u64);
        values.iter().try_fold(head, |bytes, value| Ok(bytes + self.1.measure(value)?))
    }
}

impl<T: Default, L: Layout<T>> Layout<T> for Added<L> {
    fn write(&self, value: &T, w: &mut Writer) {
        self.0.write(value, w);
    }

    fn read(&self, r: &mut Reader) -> Result<T, Error> {
        self.0.read(r)
    }

    fn measure(&self, value: &T) -> Result<usize, Unfit> {
        self.0.measure(value)
    }

    fn absent(&self, _: usize) -> Result<T, Error> {
        Ok(T::default())
    }
}

/// A pair is an array of two.
impl<A, B, L: Layout<A>, M: Layout<B>> Layout<(A, B)> for (L, M) {
    fn write(&self, value: &(A, B), w: &mut Writer) {
        w.array(2);
        self.0.write(&value.0, w);
        self.1.write(&value.1, w);
    }

    fn read(&self, r: &mut Reader) -> Result<(A, B), Error> {
        r.record(|r, left| Ok((field(&self.0, r, left)?, field(&self.1, r, left)?)))
    }

    fn measure(&self, value: &(A, B)) -> Result<usize, Unfit> {
        Ok(1 + self.0.measure(&value.0)? + self.1.measure(&value.1)?)
    }
}

/// What a newer version says at the end of a record that nodes pass on: it is kept, and said again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rest {
    bytes: Bytes,
    fields: usize,
}

impl Rest {
    pub(crate) fn read(r: &mut Reader, left: &mut usize) -> Result<Self, Error> {
        let fields = mem::take(left);
        if fields == 0 {
            return Ok(Self::default());
        }
        let at = r.offset();
        r.skip_all(fields)?;
        let bytes = r.since(at);
        if bytes.len() > REST_BYTES_MAX {
            let (size, max) = (bytes.len() as u64, REST_BYTES_MAX as u64);
            return Err(Error::Limit { at, what: "what a newer version says", size, max });
        }
        Ok(Self { bytes, fields })
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.raw(&self.bytes);
    }

    pub(crate) fn fields(&self) -> usize {
        self.fields
    }

    pub(crate) fn measure(&self) -> usize {
        self.bytes.len()
    }
}

/// Take the next field of a record of which so many are left.
pub(crate) fn field<T>(
    layout: &impl Layout<T>,
    r: &mut Reader,
    left: &mut usize,
) -> Result<T, Error> {
    match left.checked_sub(1) {
        Some(less) => {
            *left = less;
            layout.read(r)
        }
        None => layout.absent(r.offset()),
    }
}

/// The form of a struct: an array of these fields. Those `beside` it are not on the wire. One that
/// `keeps` the rest says again what a newer version said behind them. What `holds` of all values is
/// checked when one was read and when one is measured.
macro_rules! record {
    (
        $name:ident { $($field:ident: $layout:expr),* $(,)? }
        $(beside { $($own:ident: $value:expr),* $(,)? })?
        $(keeps $rest:ident)?
        $(holds $holds:ident)?
    ) => {
        impl $crate::Wire for $name {
            fn write(&self, w: &mut $crate::Writer) {
                w.array(<[&str]>::len(&[$(stringify!($field)),*]) $(+ self.$rest.fields())?);
                $($crate::layout::Layout::write(&$layout, &self.$field, w);)*
                $(self.$rest.write(w);)?
            }

            fn read(r: &mut $crate::Reader) -> Result<Self, $crate::Error> {
                let value = r.record(|r, left| {
                    Ok(Self {
                        $($field: $crate::layout::field(&$layout, r, left)?,)*
                        $($($own: $value,)*)?
                        $($rest: $crate::layout::Rest::read(r, left)?,)?
                    })
                })?;
                $(
                    let holds = value.$holds();
                    holds.map_err(|why| $crate::Error::Misfit { at: r.offset(), why })?;
                )?
                Ok(value)
            }

            fn measure(&self) -> Result<usize, $crate::Unfit> {
                $(self.$holds().map_err($crate::Unfit::Misfit)?;)?
                let fields = <[&str]>::len(&[$(stringify!($field)),*]) $(+ self.$rest.fields())?;
                let mut bytes = $crate::codec::head_bytes(fields as u64);
                $(bytes += self.$rest.measure();)?
                $(
                    let measured = $crate::layout::Layout::measure(&$layout, &self.$field);
                    bytes += measured.map_err(|unfit| unfit.of(stringify!($field)))?;
                )*
                Ok(bytes)
            }
        }
    };
}

/// The form of an enum: an array of the variant's number and its fields. A number that is not here
/// is an error.
macro_rules! variants {
    (
        $name:ident, $expected:literal {
            $(
                $number:literal => $variant:ident
                $(($one:ident: $one_layout:expr))?
                $({ $($field:ident: $layout:expr),* $(,)? })?,
            )*
        }
    ) => {
        impl $crate::Wire for $name {
            fn write(&self, w: &mut $crate::Writer) {
                match self {
                    $(Self::$variant $(($one))? $({ $($field),* })? => {
                        w.array(<[&str]>::len(&[
                            "number", $(stringify!($one),)? $($(stringify!($field)),*)?
                        ]));
                        w.unsigned($number as u8);
                        $($crate::layout::Layout::write(&$one_layout, $one, w);)?
                        $($($crate::layout::Layout::write(&$layout, $field, w);)*)?
                    })*
                }
            }

            fn read(r: &mut $crate::Reader) -> Result<Self, $crate::Error> {
                let at = r.offset();
                r.record(|r, left| {
                    let number: u64 =
                        $crate::layout::field(&$crate::layout::Plain, r, left)?;
                    match number {
                        $($number => Ok(Self::$variant
                            $(({
                                let $one = $crate::layout::field(&$one_layout, r, left)?;
                                $one
                            }))?
                            $({ $($field: $crate::layout::field(&$layout, r, left)?),* })?
                        ),)*
                        _ => Err($crate::Error::Shape { at, expected: $expected }),
                    }
                })
            }

            fn measure(&self) -> Result<usize, $crate::Unfit> {
                match self {
                    $(Self::$variant $(($one))? $({ $($field),* })? => {
                        #[allow(unused_mut, reason = "some variants have no fields")]
                        let mut bytes = 1 + $crate::codec::head_bytes($number);
                        $(
                            let measured = $crate::layout::Layout::measure(&$one_layout, $one);
                            bytes += measured.map_err(|unfit| unfit.of(stringify!($one)))?;
                        )?
                        $($(
                            let measured = $crate::layout::Layout::measure(&$layout, $field);
                            bytes += measured.map_err(|unfit| unfit.of(stringify!($field)))?;
                        )*)?
                        Ok(bytes)
                    })*
                }
            }
        }
    };
}

pub(crate) use {record, variants};

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that older versions do not have, and what it is then.
    struct Since<L, T>(L, T);

    impl<T: Clone, L: Layout<T>> Layout<T> for Since<L, T> {
        fn write(&self, value: &T, w: &mut Writer) {
            self.0.write(value, w);
        }

        fn read(&self, r: &mut Reader) -> Result<T, Error> {
            self.0.read(r)
        }

        fn measure(&self, value: &T) -> Result<usize, Unfit> {
            self.0.measure(value)
        }

        fn absent(&self, _: usize) -> Result<T, Error> {
            Ok(self.1.clone())
        }
    }

    /// A record as this version has it.
    #[derive(Debug, PartialEq, Eq)]
    struct Old {
        name: alloc::string::String,
    }
    record! {
        Old { name: Text(4) }
    }

    /// The same a version later.
    #[derive(Debug, PartialEq, Eq)]
    struct New {
        name: alloc::string::String,
        count: u32,
    }
    record! {
        New { name: Text(4), count: Since(Plain, 7) }
    }

    /// If this fails, a newer version does not understand an older one, or the other way round.
    #[test]
    fn versions_understand_each_other() {
        let (old, new) = (Old { name: "a".into() }, New { name: "b".into(), count: 9 });
        assert_eq!(New::from_bytes(old.to_bytes()), Ok(New { name: "a".into(), count: 7 }));
        assert_eq!(Old::from_bytes(new.to_bytes()), Ok(Old { name: "b".into() }));
        assert_eq!(New::from_bytes(new.to_bytes()), Ok(New { name: "b".into(), count: 9 }));
    }

    /// If this fails, an error does not say which field it is about.
    #[test]
    fn an_unfit_field_is_named() {
        let unfit = Old { name: "abcde".into() }.measure();
        assert_eq!(unfit, Err(Unfit::Over { field: "name", size: 5, max: 4 }));
    }
}
