//! CBOR into a guest: as core values, or into its memory. Every access is checked.

use std::mem::MaybeUninit;

use ciborium_ll::Header;
use izna_proto::cbor::{Input, Output, name};
use izna_proto::{Failure, typed};
use wasmtime::ValRaw;
use wasmtime::component::__internal::{
    ComponentTypes, InterfaceType, LowerContext, wasmtime_environ::component as environ,
};
use wasmtime::component::Lower;

use super::choice::{Choice, flags, option, variant};
use super::scalar::{scalar, write};
use super::{Arguments, Called, Fault, Given, Unfit, named};

/// Where a value goes.
pub(super) enum Place<'a> {
    /// Exactly its core values.
    Flat(&'a mut [ValRaw]),
    /// An offset in memory, aligned for it.
    Memory(usize),
}

pub(super) type Lowered = Result<(), Fault>;
pub(super) type Context<'a, 'b, T> = &'a mut LowerContext<'b, T>;

/// All arguments of a function into its core values.
pub(super) fn arguments<T>(
    cx: Context<'_, '_, T>,
    ty: InterfaceType,
    arguments: &Arguments,
    flat: &mut [ValRaw],
) -> wasmtime::Result<()> {
    let types = cx.types;
    let InterfaceType::Tuple(index) = ty else { return Err(odd("parameters")) };
    let tuple = &types[index];
    let place = match tuple.abi.flat_count(environ::MAX_FLAT_PARAMS) {
        Some(count) => Place::Flat(flat.get_mut(..count).unwrap_or_default()),
        None => {
            let offset = cx.realloc(0, 0, tuple.abi.align32, size(tuple.abi.size32))?;
            if let Some(first) = flat.first_mut() {
                *first = ValRaw::i64(offset as i64);
            }
            Place::Memory(offset)
        }
    };
    taken(cx, tuple, arguments, place).map_err(|fault| match fault {
        Fault::Misfit(misfit) => Unfit(misfit).into(),
        Fault::Engine(error) => error,
    })
}

fn taken<T>(
    cx: Context<'_, '_, T>,
    tuple: &environ::TypeTuple,
    arguments: &Arguments,
    place: Place<'_>,
) -> Lowered {
    let mut input = Input::new(&arguments.input);
    let marked = typed::is_marked(&mut input);
    if let Header::Map(length) = input.peek()? {
        input.head()?;
        by_name(cx, &tuple.types, arguments, input, length, place)
    } else {
        let name = |index: usize| match arguments.names.get(index) {
            Some(name) => format!("argument `{name}`"),
            None => format!("argument {index}"),
        };
        let words;
        if marked {
            words = named::words(cx.types, &tuple.types, input)?;
            input = Input::new(&words);
        }
        let lowered = in_order(cx, &tuple.types, &mut input, place, &name);
        lowered.and_then(|()| Ok(input.end()?))
    }
}

fn odd(what: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("{what} that are not a tuple"))
}

/// Arguments by their names. Names that are not asked for are passed over: a query may have more.
fn by_name<T>(
    cx: Context<'_, '_, T>,
    types: &[InterfaceType],
    arguments: &Arguments,
    input: Input<'_>,
    length: Option<usize>,
    place: Place<'_>,
) -> Lowered {
    let values = named::values(cx.types, types, &arguments.names, input, length)?;
    let mut all = Output::default();
    all.array(values.len());
    values.iter().for_each(|value| all.0.extend_from_slice(value));
    let name = |index: usize| {
        let name = arguments.names.get(index).map_or("", String::as_str);
        format!("argument `{name}`")
    };
    in_order(cx, types, &mut Input::new(&all.0), place, &name)
}

/// How a call ended, into the place of its result. A failure goes where the type has room for one.
pub(super) fn outcome<T, const N: usize>(
    cx: Context<'_, '_, T>,
    ty: InterfaceType,
    given: &Given<N>,
    place: Place<'_>,
) -> wasmtime::Result<()> {
    let types = cx.types;
    let InterfaceType::Tuple(index) = ty else { return Err(odd("results")) };
    let ty = types[index].types.first().copied();
    let told;
    let bytes = match &given.outcome {
        Ok(bytes) => bytes.as_ref(),
        Err(failure) => {
            told = ty
                .and_then(|ty| tell(types, ty, failure))
                .ok_or_else(|| Called { name: given.name.clone(), failure: failure.clone() })?;
            told.as_slice()
        }
    };
    // Whatever a function returns whose caller expects nothing is nothing to it.
    let Some(ty) = ty else { return Ok(()) };
    let mut input = Input::new(bytes);
    let lowered = lower(cx, ty, &mut input, place).and_then(|()| Ok(input.end()?));
    Ok(lowered.map_err(|fault| fault.within(format_args!("the result of `{}`", given.name)))?)
}

/// A failure as the error of a `result`: a case of its kind's name, a case `other`, or a text.
fn tell(types: &ComponentTypes, ty: InterfaceType, failure: &Failure) -> Option<Vec<u8>> {
    let InterfaceType::Result(index) = ty else { return None };
    let mut output = Output::default();
    output.map(1);
    output.text("err");
    match types[index].err? {
        InterfaceType::String => output.text(&failure.message),
        InterfaceType::Variant(index) => {
            let cases = &types[index].cases;
            let kind = failure.kind.as_str();
            let case = |name| cases.get(name).map(|payload| (name, *payload));
            match [kind, "other"].into_iter().find_map(|name| {
                case(name).filter(|(_, ty)| matches!(ty, None | Some(InterfaceType::String)))
            })? {
                (name, None) => output.text(name),
                (name, Some(_)) => {
                    output.map(1);
                    output.text(name);
                    output.text(&failure.message);
                }
            }
        }
        InterfaceType::Enum(index) => {
            let names = &types[index].names;
            let known = [failure.kind.as_str(), "other"].into_iter().find(|n| names.contains(*n));
            output.text(known?);
        }
        _ => return None,
    }
    Some(output.0)
}

/// The values of a CBOR array to those of a tuple.
fn in_order<T>(
    cx: Context<'_, '_, T>,
    types: &[InterfaceType],
    input: &mut Input<'_>,
    mut place: Place<'_>,
    part: &dyn Fn(usize) -> String,
) -> Lowered {
    let entered = match input.head()? {
        Header::Array(length) => input.enter(length, 1)?,
        other => return Err(Fault::wanted("an array", name(other))),
    };
    if entered.length != types.len() {
        let (wanted, found) = (types.len(), entered.length);
        return Err(Fault::misfit(format!("expected {wanted} values, found {found}")));
    }
    let mut next = 0;
    for (index, ty) in types.iter().enumerate() {
        let place = field(cx.types, ty, &mut place, &mut next);
        lower(cx, *ty, input, place).map_err(|fault| fault.within(part(index)))?;
    }
    Ok(input.leave(entered)?)
}

/// The place of the next field: its core values, or its aligned offset.
fn field<'a>(
    types: &ComponentTypes,
    ty: &InterfaceType,
    place: &'a mut Place<'_>,
    next: &mut usize,
) -> Place<'a> {
    let abi = types.canonical_abi(ty);
    match place {
        Place::Flat(flat) => {
            let from = *next;
            *next += usize::from(abi.flat_count.unwrap_or(0));
            Place::Flat(flat.get_mut(from..*next).unwrap_or_default())
        }
        Place::Memory(offset) => Place::Memory(*offset + abi.next_field32_size(next)),
    }
}

pub(super) fn size(bytes: u32) -> usize {
    bytes as usize
}

/// One value.
pub(super) fn lower<T>(
    cx: Context<'_, '_, T>,
    ty: InterfaceType,
    input: &mut Input<'_>,
    place: Place<'_>,
) -> Lowered {
    let types = cx.types;
    match ty {
        InterfaceType::String => string(cx, input, place),
        InterfaceType::List(index) => list(cx, types[index].element, input, place),
        InterfaceType::Record(index) => record(cx, &types[index], input, place),
        InterfaceType::Tuple(index) => {
            in_order(cx, &types[index].types, input, place, &|index| format!("[{index}]"))
        }
        InterfaceType::Option(index) => option(cx, &types[index], input, place),
        InterfaceType::Variant(_) | InterfaceType::Result(_) | InterfaceType::Enum(_) => {
            variant(cx, &Choice::of(types, ty), input, place)
        }
        InterfaceType::Flags(index) => flags(cx, &types[index], input, place),
        _ => scalar(cx, ty, input, place),
    }
}

/// Pointer and length of what has been written elsewhere in memory.
fn pair<T>(cx: Context<'_, '_, T>, place: Place<'_>, offset: usize, length: usize) -> Lowered {
    match place {
        Place::Flat([first, second, ..]) => {
            *first = ValRaw::i64(offset as i64);
            *second = ValRaw::i64(length as i64);
            Ok(())
        }
        Place::Flat(_) => Err(Fault::misfit("a core value is missing")),
        Place::Memory(at) => {
            let number = |n| u32::try_from(n).map_err(|_| Fault::misfit("longer than 4 GiB"));
            write(cx, at, &number(offset)?.to_le_bytes())?;
            write(cx, at + 4, &number(length)?.to_le_bytes())
        }
    }
}

fn string<T>(cx: Context<'_, '_, T>, input: &mut Input<'_>, place: Place<'_>) -> Lowered {
    let text = input.text("string")?;
    if cx.options().string_encoding == environ::StringEncoding::Utf8 {
        let offset = cx.realloc(0, 0, 1, text.len())?;
        write(cx, offset, text.as_bytes())?;
        return pair(cx, place, offset, text.len());
    }
    match place {
        Place::Memory(at) => text.linear_lower_to_memory(cx, InterfaceType::String, at)?,
        Place::Flat(flat) => {
            let mut both = MaybeUninit::new([ValRaw::u64(0); 2]);
            text.linear_lower_to_flat(cx, InterfaceType::String, &mut both)?;
            // SAFETY: it was made with a value in it.
            let both = unsafe { both.assume_init() };
            let slots =
                flat.get_mut(..2).ok_or_else(|| Fault::misfit("a core value is missing"))?;
            slots.copy_from_slice(&both);
        }
    }
    Ok(())
}

fn list<T>(
    cx: Context<'_, '_, T>,
    element: InterfaceType,
    input: &mut Input<'_>,
    place: Place<'_>,
) -> Lowered {
    let entered = match input.head()? {
        // One copy, whatever its length.
        Header::Bytes(Some(length)) if element == InterfaceType::U8 => {
            let bytes = input.string(length)?;
            let offset = cx.realloc(0, 0, 1, length)?;
            write(cx, offset, bytes)?;
            return pair(cx, place, offset, length);
        }
        Header::Array(length) => input.enter(length, 1)?,
        other if element == InterfaceType::U8 => {
            return Err(Fault::wanted("a byte string or an array", name(other)));
        }
        other => return Err(Fault::wanted("an array", name(other))),
    };
    let abi = cx.types.canonical_abi(&element);
    let (each, align) = (size(abi.size32), abi.align32);
    let bytes = entered.length.checked_mul(each).ok_or_else(|| Fault::misfit("too long"))?;
    let offset = cx.realloc(0, 0, align, bytes)?;
    for index in 0..entered.length {
        let place = Place::Memory(offset + index * each);
        let lowered = lower(cx, element, input, place);
        lowered.map_err(|fault| fault.within(format_args!("[{index}]")))?;
    }
    input.leave(entered)?;
    pair(cx, place, offset, entered.length)
}

/// The most fields of a record: what the component model's own limits leave room for.
const FIELDS_MAX: usize = 1024;

fn record<T>(
    cx: Context<'_, '_, T>,
    record: &environ::TypeRecord,
    input: &mut Input<'_>,
    mut place: Place<'_>,
) -> Lowered {
    let fields = &record.fields;
    if fields.len() > FIELDS_MAX {
        return Err(Fault::misfit(format!("a record of more than {FIELDS_MAX} fields")));
    }
    let entered = match input.head()? {
        Header::Map(length) => input.enter(length, 2)?,
        other => return Err(Fault::wanted("a map", name(other))),
    };
    let mut seen = [0u64; FIELDS_MAX / 64];
    for _ in 0..entered.length {
        let key = input.text("a field's name as text")?;
        let found = fields.iter().position(|field| field.name == key);
        let index = found.ok_or_else(|| unknown_field(key, fields))?;
        let (word, bit) = (index / 64, 1 << (index % 64));
        let word = seen.get_mut(word).ok_or_else(|| Fault::misfit("too many fields"))?;
        if *word & bit != 0 {
            return Err(Fault::misfit(format!("duplicate field `{key}`")));
        }
        *word |= bit;
        field_value(cx, fields, index, &mut place, Some(input))?;
    }
    input.leave(entered)?;
    for index in 0..fields.len() {
        let is_seen = seen.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0);
        if !is_seen {
            field_value(cx, fields, index, &mut place, None)?;
        }
    }
    Ok(())
}

/// The field at `index`; without an input, one that was left out, which only an option may be.
fn field_value<T>(
    cx: Context<'_, '_, T>,
    fields: &[environ::RecordField],
    index: usize,
    place: &mut Place<'_>,
    input: Option<&mut Input<'_>>,
) -> Lowered {
    let mut next = 0;
    for (at, here) in fields.iter().enumerate() {
        let place = field(cx.types, &here.ty, place, &mut next);
        if at != index {
            continue;
        }
        let lowered = match input {
            Some(input) => lower(cx, here.ty, input, place),
            None if matches!(here.ty, InterfaceType::Option(_)) => {
                let null = [0xf6];
                lower(cx, here.ty, &mut Input::new(&null), place)
            }
            None => return Err(Fault::misfit(format!("field `{}` is missing", here.name))),
        };
        return lowered.map_err(|fault| fault.within(format_args!(".{}", here.name)));
    }
    Ok(())
}

fn unknown_field(key: &str, fields: &[environ::RecordField]) -> Fault {
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let key = key.escape_debug();
    Fault::misfit(format!("no field `{key:.64}`; expected one of {}", names.join(", ")))
}
