//! A guest's values to CBOR, from core values or from its memory. Every access is checked, and all
//! that is copied is counted against what a step may give over.

use std::str;

use bytes::Bytes;
use izna_proto::cbor::Output;
use wasmtime::ValRaw;
use wasmtime::component::__internal::{
    ComponentTypes, InterfaceType, LiftContext, wasmtime_environ::component as environ,
};
use wasmtime::component::Lift;

use super::Fault;
use super::lower::size;

/// Where a value is.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// Exactly its core values.
    Flat(&'a [ValRaw]),
    /// An offset in memory.
    Memory(usize),
}

type Lifted = Result<(), Fault>;

/// What a guest gave to an import: an array.
pub(super) fn arguments(
    cx: &mut LiftContext<'_>,
    ty: InterfaceType,
    source: Source<'_>,
) -> wasmtime::Result<Bytes> {
    let mut output = Output::default();
    value(cx, ty, source, &mut output)?;
    Ok(output.0.into())
}

/// What an export returned: one value, or null.
pub(super) fn result(
    cx: &mut LiftContext<'_>,
    ty: InterfaceType,
    flat: &[ValRaw],
) -> wasmtime::Result<Bytes> {
    let types = cx.types;
    let InterfaceType::Tuple(index) = ty else {
        return Err(wasmtime::Error::msg("results that are not a tuple"));
    };
    let tuple = &types[index];
    let mut output = Output::default();
    let Some(ty) = tuple.types.first() else {
        output.null();
        return Ok(output.0.into());
    };
    let source = match tuple.abi.flat_count(environ::MAX_FLAT_RESULTS) {
        Some(count) => Source::Flat(flat.get(..count).unwrap_or_default()),
        None => {
            let offset = flat.first().map_or(0, ValRaw::get_u32) as usize;
            if !offset.is_multiple_of(size(tuple.abi.align32)) {
                return Err(wasmtime::Error::msg("the pointer to the result is not aligned"));
            }
            Source::Memory(offset)
        }
    };
    value(cx, *ty, source, &mut output)?;
    Ok(output.0.into())
}

/// One value.
fn value(
    cx: &mut LiftContext<'_>,
    ty: InterfaceType,
    source: Source<'_>,
    output: &mut Output,
) -> Lifted {
    let types = cx.types;
    match ty {
        InterfaceType::String => string(cx, source, output),
        InterfaceType::List(index) => list(cx, types[index].element, source, output),
        InterfaceType::Record(index) => record(cx, &types[index].fields, source, output),
        InterfaceType::Tuple(index) => {
            let members = &types[index].types;
            output.array(members.len());
            let mut next = 0;
            members.iter().try_for_each(|ty| {
                let source = field(types, ty, source, &mut next);
                value(cx, *ty, source, output)
            })
        }
        InterfaceType::Option(index) => option(cx, &types[index], source, output),
        InterfaceType::Variant(index) => {
            let ty = &types[index];
            let number = discriminant(cx, &ty.info, source)?;
            let case = ty.cases.get_index(number).map(|(name, ty)| (name.as_str(), *ty));
            case_of(cx, case, &ty.info, source, output)
        }
        InterfaceType::Result(index) => {
            let ty = &types[index];
            let number = discriminant(cx, &ty.info, source)?;
            let case = [("ok", ty.ok), ("err", ty.err)].get(number).copied();
            case_of(cx, case, &ty.info, source, output)
        }
        InterfaceType::Enum(index) => {
            let ty = &types[index];
            let number = discriminant(cx, &ty.info, source)?;
            let case = ty.names.iter().nth(number).map(|name| (name.as_str(), None));
            case_of(cx, case, &ty.info, source, output)
        }
        InterfaceType::Flags(index) => flags(cx, &types[index], source, output),
        _ => scalar(cx, ty, source, output),
    }
}

fn scalar(
    cx: &LiftContext<'_>,
    ty: InterfaceType,
    source: Source<'_>,
    output: &mut Output,
) -> Lifted {
    let flat = |source: &[ValRaw]| source.first().copied().unwrap_or(ValRaw::u64(0));
    macro_rules! number {
        ($ty:ty, $flat:ident) => {
            match source {
                #[expect(clippy::allow_attributes, reason = "whether it casts depends on the type")]
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::unnecessary_cast,
                    reason = "the canonical ABI drops the upper bits"
                )]
                Source::Flat(source) => flat(source).$flat() as $ty,
                Source::Memory(offset) => <$ty>::from_le_bytes(*chunk(cx, offset)?),
            }
        };
    }
    match ty {
        InterfaceType::Bool => output.bool(match source {
            Source::Flat(source) => flat(source).get_u32() != 0,
            Source::Memory(offset) => *chunk::<1>(cx, offset)? != [0],
        }),
        InterfaceType::U8 => output.unsigned(number!(u8, get_u32).into()),
        InterfaceType::U16 => output.unsigned(number!(u16, get_u32).into()),
        InterfaceType::U32 => output.unsigned(number!(u32, get_u32).into()),
        InterfaceType::U64 => output.unsigned(number!(u64, get_u64)),
        InterfaceType::S8 => output.signed(number!(i8, get_i32).into()),
        InterfaceType::S16 => output.signed(number!(i16, get_i32).into()),
        InterfaceType::S32 => output.signed(number!(i32, get_i32).into()),
        InterfaceType::S64 => output.signed(number!(i64, get_i64)),
        InterfaceType::Float32 => output.float(f32::from_bits(number!(u32, get_f32)).into()),
        InterfaceType::Float64 => output.float(f64::from_bits(number!(u64, get_f64))),
        InterfaceType::Char => {
            let code = number!(u32, get_u32);
            let char = char::from_u32(code);
            let char = char.ok_or_else(|| broken(format!("{code:#x} is not a character")))?;
            output.text(char.encode_utf8(&mut [0; 4]));
        }
        _ => return Err(broken("of a type that cannot leave its component")),
    }
    Ok(())
}

/// The guest has broken the canonical ABI.
fn broken(why: impl Into<String>) -> Fault {
    Fault::Engine(wasmtime::Error::msg(why.into()))
}

fn memory<'a>(cx: &LiftContext<'a>, offset: usize, length: usize) -> Result<&'a [u8], Fault> {
    let end = offset.checked_add(length);
    let slice = end.and_then(|end| cx.memory().get(offset..end));
    slice.ok_or_else(|| broken("a value outside of the guest's memory"))
}

fn chunk<'a, const N: usize>(cx: &LiftContext<'a>, offset: usize) -> Result<&'a [u8; N], Fault> {
    let chunk = memory(cx, offset, N)?.first_chunk();
    chunk.ok_or_else(|| broken("a value outside of the guest's memory"))
}

fn field<'a>(
    types: &ComponentTypes,
    ty: &InterfaceType,
    source: Source<'a>,
    next: &mut usize,
) -> Source<'a> {
    let abi = types.canonical_abi(ty);
    match source {
        Source::Flat(flat) => {
            let from = *next;
            *next += usize::from(abi.flat_count.unwrap_or(0));
            Source::Flat(flat.get(from..*next).unwrap_or_default())
        }
        Source::Memory(offset) => Source::Memory(offset + abi.next_field32_size(next)),
    }
}

/// Pointer and length.
fn pair(cx: &LiftContext<'_>, source: Source<'_>) -> Result<(usize, usize), Fault> {
    Ok(match source {
        Source::Flat([first, second, ..]) => (first.get_u32() as usize, second.get_u32() as usize),
        Source::Flat(_) => return Err(broken("a core value is missing")),
        Source::Memory(offset) => {
            let number = |offset| chunk(cx, offset).map(|b| u32::from_le_bytes(*b) as usize);
            (number(offset)?, number(offset + 4)?)
        }
    })
}

fn string(cx: &mut LiftContext<'_>, source: Source<'_>, output: &mut Output) -> Lifted {
    if cx.options().string_encoding == environ::StringEncoding::Utf8 {
        let (offset, length) = pair(cx, source)?;
        let bytes = memory(cx, offset, length)?;
        cx.consume_fuel(length)?;
        let text = str::from_utf8(bytes).map_err(|_| broken("a string that is not UTF-8"))?;
        output.text(text);
        return Ok(());
    }
    let ty = InterfaceType::String;
    let text = match source {
        Source::Flat(flat) => {
            let both = flat.first_chunk().ok_or_else(|| broken("a core value is missing"))?;
            String::linear_lift_from_flat(cx, ty, both)?
        }
        Source::Memory(offset) => String::linear_lift_from_memory(cx, ty, memory(cx, offset, 8)?)?,
    };
    output.text(&text);
    Ok(())
}

fn list(
    cx: &mut LiftContext<'_>,
    element: InterfaceType,
    source: Source<'_>,
    output: &mut Output,
) -> Lifted {
    let (offset, length) = pair(cx, source)?;
    let (each, align) = {
        let abi = cx.types.canonical_abi(&element);
        (size(abi.size32), size(abi.align32))
    };
    let bytes = length.checked_mul(each).ok_or_else(|| broken("a list longer than memory"))?;
    let slice = memory(cx, offset, bytes)?;
    if !offset.is_multiple_of(align) {
        return Err(broken("the pointer to a list is not aligned"));
    }
    // An element of no size takes a byte of CBOR all the same.
    cx.consume_fuel(bytes.max(length))?;
    if element == InterfaceType::U8 {
        output.bytes(slice);
        return Ok(());
    }
    output.array(length);
    (0..length).try_for_each(|index| {
        let source = Source::Memory(offset + index * each);
        value(cx, element, source, output)
    })
}

fn record(
    cx: &mut LiftContext<'_>,
    fields: &[environ::RecordField],
    source: Source<'_>,
    output: &mut Output,
) -> Lifted {
    output.map(fields.len());
    let mut next = 0;
    let mut parts: Vec<(&str, InterfaceType, Source<'_>)> = fields
        .iter()
        .map(|part| (part.name.as_str(), part.ty, field(cx.types, &part.ty, source, &mut next)))
        .collect();
    // The deterministic order: that of the encoded names, of which the shorter are the lower.
    parts.sort_unstable_by(|(a, ..), (b, ..)| (a.len(), a).cmp(&(b.len(), b)));
    parts.into_iter().try_for_each(|(name, ty, source)| {
        cx.consume_fuel(name.len())?;
        output.text(name);
        value(cx, ty, source, output)
    })
}

fn option(
    cx: &mut LiftContext<'_>,
    option: &environ::TypeOption,
    source: Source<'_>,
    output: &mut Output,
) -> Lifted {
    match discriminant(cx, &option.info, source)? {
        0 => output.null(),
        1 => {
            if matches!(option.ty, InterfaceType::Option(_)) {
                output.array(1);
            }
            let source = payload(cx, option.ty, &option.info, source);
            value(cx, option.ty, source, output)?;
        }
        _ => return Err(broken("an option that is neither none nor some")),
    }
    Ok(())
}

fn discriminant(
    cx: &LiftContext<'_>,
    info: &environ::VariantInfo,
    source: Source<'_>,
) -> Result<usize, Fault> {
    Ok(match source {
        Source::Flat(flat) => flat.first().map_or(0, ValRaw::get_u32) as usize,
        Source::Memory(offset) => little(memory(cx, offset, info.size.into())?) as usize,
    })
}

/// A number of up to four bytes, the lowest first.
fn little(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn payload<'a>(
    cx: &LiftContext<'_>,
    ty: InterfaceType,
    info: &environ::VariantInfo,
    source: Source<'a>,
) -> Source<'a> {
    match source {
        Source::Flat(flat) => {
            let count = usize::from(cx.types.canonical_abi(&ty).flat_count.unwrap_or(0));
            Source::Flat(flat.get(1..=count).unwrap_or_default())
        }
        Source::Memory(offset) => Source::Memory(offset + size(info.payload_offset32)),
    }
}

fn case_of(
    cx: &mut LiftContext<'_>,
    case: Option<(&str, Option<InterfaceType>)>,
    info: &environ::VariantInfo,
    source: Source<'_>,
    output: &mut Output,
) -> Lifted {
    let (name, ty) = case.ok_or_else(|| broken("a case that its type does not have"))?;
    cx.consume_fuel(name.len())?;
    let Some(ty) = ty else {
        output.text(name);
        return Ok(());
    };
    output.map(1);
    output.text(name);
    let source = payload(cx, ty, info, source);
    value(cx, ty, source, output)
}

fn flags(
    cx: &mut LiftContext<'_>,
    flags: &environ::TypeFlags,
    source: Source<'_>,
    output: &mut Output,
) -> Lifted {
    let words: Vec<u32> = match source {
        Source::Flat(flat) => flat.iter().map(ValRaw::get_u32).collect(),
        Source::Memory(offset) => {
            let bytes = memory(cx, offset, size(flags.abi.size32))?;
            bytes.chunks(4).map(little).collect()
        }
    };
    let is_set = |index: usize| words.get(index / 32).is_some_and(|w| w & 1 << (index % 32) != 0);
    let set = flags.names.iter().enumerate().filter(|(index, _)| is_set(*index));
    let set: Vec<&str> = set.map(|(_, name)| name.as_str()).collect();
    output.array(set.len());
    set.into_iter().try_for_each(|name| {
        cx.consume_fuel(name.len())?;
        output.text(name);
        Ok(())
    })
}
