//! Values that are one of several into a guest: options, variants, results, enums; and flags.

use ciborium_ll::{Header, simple};
use izna_proto::cbor::{Input, name};
use wasmtime::ValRaw;
use wasmtime::component::__internal::{
    ComponentTypes, InterfaceType, wasmtime_environ::component as environ,
};

use super::Fault;
use super::lower::{Context, Lowered, Place, lower, size};
use super::scalar::{put, write};

pub(super) fn option<T>(
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
    Ok(input.leave(entered)?)
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
            slots.map(Place::Flat).ok_or_else(|| Fault::misfit("a core value is missing"))
        }
        Place::Memory(offset) => Ok(Place::Memory(offset + size(payload_offset))),
    }
}

/// A type with named cases.
pub(super) struct Choice<'a> {
    cases: Vec<(&'a str, Option<InterfaceType>)>,
    info: &'a environ::VariantInfo,
}

impl<'a> Choice<'a> {
    pub(super) fn of(types: &'a ComponentTypes, ty: InterfaceType) -> Choice<'a> {
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
            Fault::misfit(format!("no case `{name:.64}`; expected one of {}", names.join(", ")))
        })
    }
}

const NO_CASES: environ::VariantInfo = environ::VariantInfo::new_static(&[None]);

pub(super) fn variant<T>(
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
            Ok(input.leave(entered)?)
        }
        (None, None) => Ok(()),
        (Some(ty), None) if matches!(ty, InterfaceType::Option(_)) => {
            lower(cx, ty, &mut Input::new(&[0xf6]), place).map_err(wrap)
        }
        (Some(_), None) => Err(Fault::misfit(format!("case `{case}` has a payload"))),
        (None, Some(entered)) => match input.head()? {
            Header::Simple(simple::NULL | simple::UNDEFINED) => Ok(input.leave(entered)?),
            _ => Err(Fault::misfit(format!("case `{case}` has no payload"))),
        },
    }
}

pub(super) fn flags<T>(
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
            Fault::misfit(format!("no flag `{flag:.64}`; expected one of {}", names.join(", ")))
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
