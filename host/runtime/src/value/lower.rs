//! CBOR into a guest: as core values, or into its memory. Every access is checked.

use std::mem::MaybeUninit;

use ciborium_ll::{Header, simple};
use izna_proto::Failure;
use wasmtime::ValRaw;
use wasmtime::component::__internal::{
    ComponentTypes, InterfaceType, LowerContext, wasmtime_environ::component as environ,
};
use wasmtime::component::Lower;

use super::cbor::{Input, Output, name};
use super::{Arguments, Called, Fault, Given, named};

/// Where a value goes.
pub(super) enum Place<'a> {
    /// Exactly its core values.
    Flat(&'a mut [ValRaw]),
    /// An offset in memory, aligned for it.
    Memory(usize),
}

type Lowered = Result<(), Fault>;
type Context<'a, 'b, T> = &'a mut LowerContext<'b, T>;

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
    let mut input = Input::new(&arguments.input);
    let lowered = if let Header::Map(length) = input.peek()? {
        input.head()?;
        by_name(cx, &tuple.types, arguments, input, length, place)
    } else {
        let name = |index: usize| match arguments.names.get(index) {
            Some(name) => format!("argument `{name}`"),
            None => format!("argument {index}"),
        };
        let lowered = in_order(cx, &tuple.types, &mut input, place, &name);
        lowered.and_then(|()| input.end())
    };
    Ok(lowered?)
}

fn odd(what: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("{what} that are no tuple"))
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
            told = ty.and_then(|ty| tell(types, ty, failure)).ok_or_else(|| Called {
                name: given.name.clone(),
                failure: failure.clone(),
            })?;
            told.as_slice()
        }
    };
    // Whatever a function returns whose caller expects nothing is nothing to it.
    let Some(ty) = ty else { return Ok(()) };
    let mut input = Input::new(bytes);
    let lowered = lower(cx, ty, &mut input, place).and_then(|()| input.end());
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
        return Err(Fault::misfit(format!("{wanted} values are wanted, {found} are there")));
    }
    let mut next = 0;
    for (index, ty) in types.iter().enumerate() {
        let place = field(cx.types, ty, &mut place, &mut next);
        lower(cx, *ty, input, place).map_err(|fault| fault.within(part(index)))?;
    }
    input.leave(entered)
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
fn lower<T>(
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

/// A value that is one core value.
fn scalar<T>(
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
fn put<T>(
    cx: Context<'_, '_, T>,
    place: &mut Place<'_>,
    value: ValRaw,
    bytes: &[u8],
) -> Lowered {
    match place {
        Place::Flat([slot, ..]) => *slot = value,
        Place::Flat([]) => return Err(Fault::misfit("a core value too few")),
        Place::Memory(offset) => write(cx, *offset, bytes)?,
    }
    Ok(())
}

fn write<T>(cx: Context<'_, '_, T>, offset: usize, bytes: &[u8]) -> Lowered {
    let end = offset.checked_add(bytes.len());
    let target = end.and_then(|end| cx.as_slice_mut().get_mut(offset..end));
    let outside = || Fault::misfit("its place is outside of the guest's memory");
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

/// Pointer and length of what has been written elsewhere in memory.
fn pair<T>(cx: Context<'_, '_, T>, place: Place<'_>, offset: usize, length: usize) -> Lowered {
    match place {
        Place::Flat([first, second, ..]) => {
            *first = ValRaw::i64(offset as i64);
            *second = ValRaw::i64(length as i64);
            Ok(())
        }
        Place::Flat(_) => Err(Fault::misfit("a core value too few")),
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
            let slots = flat.get_mut(..2).ok_or_else(|| Fault::misfit("a core value too few"))?;
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
            return Err(Fault::misfit(format!("field `{key}` stands there twice")));
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
    Fault::misfit(format!("no field `{key:.64}`; the fields are {}", names.join(", ")))
}

fn option<T>(
    cx: Context<'_, '_, T>,
    option: &environ::TypeOption,
    input: &mut Input<'_>,
    mut place: Place<'_>,
) -> Lowered {
    let payload = option.info.payload_offset32;
    if matches!(input.peek()?, Header::Simple(simple::NULL | simple::UNDEFINED)) {
        input.head()?;
        return put(cx, &mut place, ValRaw::u32(0), &[0]);
    }
    put(cx, &mut place, ValRaw::u32(1), &[1])?;
    let place = within(place, payload, cx.types, Some(option.ty))?;
    if !matches!(option.ty, InterfaceType::Option(_)) {
        return lower(cx, option.ty, input, place);
    }
    // An option within an option: an array of one tells `some(none)` from `none`.
    let entered = match input.head()? {
        Header::Array(length) => input.enter(length, 1)?,
        other => return Err(Fault::wanted("null or an array of one", name(other))),
    };
    if entered.length != 1 {
        return Err(Fault::wanted("an array of one", format_args!("{}", entered.length)));
    }
    lower(cx, option.ty, input, place)?;
    input.leave(entered)
}

/// The place of a payload behind its discriminant.
fn within<'a>(
    place: Place<'a>,
    payload_offset: u32,
    types: &ComponentTypes,
    ty: Option<InterfaceType>,
) -> Result<Place<'a>, Fault> {
    let Some(ty) = ty else { return Ok(Place::Flat(&mut [])) };
    match place {
        Place::Flat(flat) => {
            let count = usize::from(types.canonical_abi(&ty).flat_count.unwrap_or(0));
            let slots = flat.get_mut(1..=count);
            slots.map(Place::Flat).ok_or_else(|| Fault::misfit("a core value too few"))
        }
        Place::Memory(offset) => Ok(Place::Memory(offset + size(payload_offset))),
    }
}

/// A type with named cases.
struct Choice<'a> {
    cases: Vec<(&'a str, Option<InterfaceType>)>,
    info: &'a environ::VariantInfo,
}

impl<'a> Choice<'a> {
    fn of(types: &'a ComponentTypes, ty: InterfaceType) -> Choice<'a> {
        match ty {
            InterfaceType::Variant(index) => {
                let ty = &types[index];
                let cases = ty.cases.iter().map(|(name, payload)| (name.as_str(), *payload));
                Choice { cases: cases.collect(), info: &ty.info }
            }
            InterfaceType::Enum(index) => {
                let ty = &types[index];
                let cases = ty.names.iter().map(|name| (name.as_str(), None));
                Choice { cases: cases.collect(), info: &ty.info }
            }
            InterfaceType::Result(index) => {
                let ty = &types[index];
                Choice { cases: vec![("ok", ty.ok), ("err", ty.err)], info: &ty.info }
            }
            _ => Choice { cases: Vec::new(), info: &NO_CASES },
        }
    }

    fn find(&self, name: &str) -> Result<(u32, Option<InterfaceType>), Fault> {
        let mut cases = (0u32..).zip(&self.cases);
        let found = cases.find(|(_, (case, _))| *case == name).map(|(i, (_, ty))| (i, *ty));
        found.ok_or_else(|| {
            let names: Vec<&str> = self.cases.iter().map(|(name, _)| *name).collect();
            let name = name.escape_debug();
            Fault::misfit(format!("no case `{name:.64}`; the cases are {}", names.join(", ")))
        })
    }
}

const NO_CASES: environ::VariantInfo = environ::VariantInfo::new_static(&[None]);

fn variant<T>(
    cx: Context<'_, '_, T>,
    choice: &Choice<'_>,
    input: &mut Input<'_>,
    mut place: Place<'_>,
) -> Lowered {
    let (case, entered) = match input.head()? {
        Header::Text(Some(length)) => (input.text_of(length)?, None),
        Header::Map(length) => {
            let entered = input.enter(length, 2)?;
            if entered.length != 1 {
                let found = format!("a map of {}", entered.length);
                return Err(Fault::wanted("a map of one case", found));
            }
            (input.text("a case's name as text")?, Some(entered))
        }
        other => return Err(Fault::wanted("a case as text or a map of one", name(other))),
    };
    let (number, payload) = choice.find(case)?;
    let bytes = number.to_le_bytes();
    let discriminant = bytes.get(..size(choice.info.size.into())).unwrap_or(&bytes);
    put(cx, &mut place, ValRaw::u32(number), discriminant)?;
    let place = within(place, choice.info.payload_offset32, cx.types, payload)?;
    let wrap = |fault: Fault| fault.within(format_args!(".{case}"));
    match (payload, entered) {
        (Some(ty), Some(entered)) => {
            lower(cx, ty, input, place).map_err(wrap)?;
            input.leave(entered)
        }
        (None, None) => Ok(()),
        (Some(ty), None) if matches!(ty, InterfaceType::Option(_)) => {
            lower(cx, ty, &mut Input::new(&[0xf6]), place).map_err(wrap)
        }
        (Some(_), None) => Err(Fault::misfit(format!("case `{case}` has a payload"))),
        (None, Some(entered)) => match input.head()? {
            Header::Simple(simple::NULL | simple::UNDEFINED) => input.leave(entered),
            _ => Err(Fault::misfit(format!("case `{case}` has no payload"))),
        },
    }
}

fn flags<T>(
    cx: Context<'_, '_, T>,
    flags: &environ::TypeFlags,
    input: &mut Input<'_>,
    place: Place<'_>,
) -> Lowered {
    let entered = match input.head()? {
        Header::Array(length) => input.enter(length, 1)?,
        other => return Err(Fault::wanted("an array of flags' names", name(other))),
    };
    let mut words = vec![0u32; flags.names.len().div_ceil(32)];
    for _ in 0..entered.length {
        let flag = input.text("a flag's name as text")?;
        let index = flags.names.get_index_of(flag).ok_or_else(|| {
            let names: Vec<&str> = flags.names.iter().map(String::as_str).collect();
            let flag = flag.escape_debug();
            Fault::misfit(format!("no flag `{flag:.64}`; the flags are {}", names.join(", ")))
        })?;
        if let Some(word) = words.get_mut(index / 32) {
            *word |= 1 << (index % 32);
        }
    }
    input.leave(entered)?;
    match place {
        Place::Flat(slots) => {
            slots.iter_mut().zip(&words).for_each(|(slot, word)| *slot = ValRaw::u32(*word));
            Ok(())
        }
        Place::Memory(offset) => {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            write(cx, offset, bytes.get(..size(flags.abi.size32)).unwrap_or(&bytes))
        }
    }
}
