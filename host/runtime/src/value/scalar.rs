//! Values that are one core value: read from CBOR with their range checked, and put in their place.

use ciborium_ll::{Header, simple};
use izna_proto::cbor::{Input, name};
use wasmtime::ValRaw;
use wasmtime::component::__internal::InterfaceType;

use super::Fault;
use super::lower::{Context, Lowered, Place};

/// A value that is one core value.
pub(super) fn scalar<T>(
    cx: Context<'_, '_, T>,
    ty: InterfaceType,
    input: &mut Input<'_>,
    mut place: Place<'_>,
) -> Lowered {
    match ty {
        InterfaceType::Bool => {
            let value = boolean(input)?;
            put(cx, &mut place, ValRaw::u32(value.into()), &[u8::from(value)])
        }
        InterfaceType::S8 => {
            let value: i8 = integer(input, "s8")?;
            put(cx, &mut place, ValRaw::i32(value.into()), &value.to_le_bytes())
        }
        InterfaceType::S16 => {
            let value: i16 = integer(input, "s16")?;
            put(cx, &mut place, ValRaw::i32(value.into()), &value.to_le_bytes())
        }
        InterfaceType::S32 => {
            let value: i32 = integer(input, "s32")?;
            put(cx, &mut place, ValRaw::i32(value), &value.to_le_bytes())
        }
        InterfaceType::U8 => {
            let value: u8 = integer(input, "u8")?;
            put(cx, &mut place, ValRaw::u32(value.into()), &value.to_le_bytes())
        }
        InterfaceType::U16 => {
            let value: u16 = integer(input, "u16")?;
            put(cx, &mut place, ValRaw::u32(value.into()), &value.to_le_bytes())
        }
        InterfaceType::U32 => {
            let value: u32 = integer(input, "u32")?;
            put(cx, &mut place, ValRaw::u32(value), &value.to_le_bytes())
        }
        InterfaceType::S64 => {
            let value: i64 = integer(input, "s64")?;
            put(cx, &mut place, ValRaw::i64(value), &value.to_le_bytes())
        }
        InterfaceType::U64 => {
            let value: u64 = integer(input, "u64")?;
            put(cx, &mut place, ValRaw::u64(value), &value.to_le_bytes())
        }
        InterfaceType::Float32 => {
            #[expect(clippy::cast_possible_truncation, reason = "to the nearest that there is")]
            let bits = (float(input, "f32")? as f32).to_bits();
            put(cx, &mut place, ValRaw::f32(bits), &bits.to_le_bytes())
        }
        InterfaceType::Float64 => {
            let bits = float(input, "f64")?.to_bits();
            put(cx, &mut place, ValRaw::f64(bits), &bits.to_le_bytes())
        }
        InterfaceType::Char => {
            let code = u32::from(character(input)?);
            put(cx, &mut place, ValRaw::u32(code), &code.to_le_bytes())
        }
        _ => Err(Fault::misfit("of a type that cannot leave its component")),
    }
}

/// One core value, or these bytes.
pub(super) fn put<T>(
    cx: Context<'_, '_, T>,
    place: &mut Place<'_>,
    value: ValRaw,
    bytes: &[u8],
) -> Lowered {
    match place {
        Place::Flat([slot, ..]) => *slot = value,
        Place::Flat([]) => return Err(Fault::misfit("a core value is missing")),
        Place::Memory(offset) => write(cx, *offset, bytes)?,
    }
    Ok(())
}

pub(super) fn write<T>(cx: Context<'_, '_, T>, offset: usize, bytes: &[u8]) -> Lowered {
    let end = offset.checked_add(bytes.len());
    let target = end.and_then(|end| cx.as_slice_mut().get_mut(offset..end));
    let outside = || Fault::misfit("it is outside of the guest's memory");
    target.ok_or_else(outside)?.copy_from_slice(bytes);
    Ok(())
}

fn boolean(input: &mut Input<'_>) -> Result<bool, Fault> {
    match input.head()? {
        Header::Simple(simple::TRUE) => Ok(true),
        Header::Simple(simple::FALSE) => Ok(false),
        other => Err(Fault::wanted("bool", name(other))),
    }
}

fn integer<N: TryFrom<i128>>(input: &mut Input<'_>, wanted: &str) -> Result<N, Fault> {
    let value = match input.head()? {
        Header::Positive(value) => i128::from(value),
        Header::Negative(value) => -1 - i128::from(value),
        other => return Err(Fault::wanted(wanted, name(other))),
    };
    N::try_from(value).map_err(|_| Fault::wanted(wanted, format_args!("{value}, out of range")))
}

/// A float, or an integer that is one exactly.
fn float(input: &mut Input<'_>, wanted: &str) -> Result<f64, Fault> {
    const EXACT: u64 = 1 << 53;
    match input.head()? {
        Header::Float(value) => Ok(value),
        Header::Positive(value) if value <= EXACT => Ok(value as f64),
        Header::Negative(value) if value < EXACT => Ok(-1.0 - value as f64),
        other => Err(Fault::wanted(wanted, name(other))),
    }
}

fn character(input: &mut Input<'_>) -> Result<char, Fault> {
    let text = input.text("char, as a text of one character")?;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(char), None) => Ok(char),
        _ => Err(Fault::wanted("char", "a text of another length")),
    }
}
