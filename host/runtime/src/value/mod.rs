//! Values of the component model as CBOR: out of a guest's memory and into it, by their types, with
//! nothing in between. `docs/values.md` has the mapping.
//!
//! Wasmtime's own dynamic values take a list byte by byte: a kilobyte costs more than a step. Its
//! typed interface is two traits, which are open but unsafe to implement. Here they are implemented
//! for types whose shape is only known at run time: the type that comes with each call is followed.
//! Why this is sound stands at each `unsafe`.
#![expect(unsafe_code, reason = "Wasmtime's lifting and lowering is open only by unsafe traits")]

mod choice;
mod fault;
mod lift;
mod lower;
mod named;
mod scalar;
#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;
use std::sync::Arc;

use bytes::Bytes;
use izna_proto::{Failure, Outcome};
use wasmtime::component::__internal::{
    CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext, wasmtime_environ,
};
use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Lower, Type};
use wasmtime::{Result, ValRaw};
use wasmtime_environ::component::{MAX_FLAT_PARAMS, MAX_FLAT_RESULTS};

pub(crate) use fault::{Fault, Unfit};
use lift::Source;
use lower::Place;

/// What an export is given: its arguments, as a CBOR array, or as a map by their names.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) input: Bytes,
    /// The names of the parameters.
    pub(crate) names: Arc<[String]>,
}

/// What an export returned: one CBOR value, null where it returns nothing.
#[derive(Debug)]
pub(crate) struct Returned(pub(crate) Bytes);

/// What a guest gave to an import: a CBOR array. `N` is how many core values its parameters are, 0
/// if they are too many for that.
#[derive(Debug)]
pub(crate) struct Taken<const N: usize>(pub(crate) Bytes);

/// What an import gives back: a result, or a failure for those whose type has room for it. `N` as
/// for parameters.
#[derive(Debug)]
pub(crate) struct Given<const N: usize> {
    pub(crate) outcome: Outcome<Bytes>,
    /// The function that was called.
    pub(crate) name: Arc<str>,
}

/// The call of an import has failed, and its type has no room to say so.
#[derive(Debug, thiserror::Error)]
#[error("the call of `{name}` failed: {failure}")]
pub(crate) struct Called {
    pub(crate) name: Arc<str>,
    pub(crate) failure: Failure,
}

/// How many core values parameters and results are; 0 for those that go through memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FlatCounts {
    pub(crate) params: usize,
    pub(crate) results: usize,
}

impl FlatCounts {
    pub(crate) fn of(
        params: impl Iterator<Item = Type>,
        results: impl Iterator<Item = Type>,
    ) -> Self {
        let within = |count: usize, max: usize| if count > max { 0 } else { count };
        let sum = |types: &mut dyn Iterator<Item = Type>| types.map(|ty| flat_count(&ty)).sum();
        let (mut params, mut results) = (params, results);
        Self {
            params: within(sum(&mut params), MAX_FLAT_PARAMS),
            results: within(sum(&mut results), MAX_FLAT_RESULTS),
        }
    }
}

fn flat_count(ty: &Type) -> usize {
    let optional = |ty: Option<Type>| ty.map_or(0, |ty| flat_count(&ty));
    match ty {
        Type::String | Type::List(_) | Type::Map(_) => 2,
        Type::Record(ty) => ty.fields().map(|field| flat_count(&field.ty)).sum(),
        Type::Tuple(ty) => ty.types().map(|ty| flat_count(&ty)).sum(),
        Type::Variant(ty) => 1 + ty.cases().map(|case| optional(case.ty)).max().unwrap_or(0),
        Type::Option(ty) => 1 + flat_count(&ty.ty()),
        Type::Result(ty) => 1 + optional(ty.ok()).max(optional(ty.err())),
        Type::Flags(ty) => ty.names().len().div_ceil(32),
        _ => 1,
    }
}

// SAFETY, for the four implementations of `ComponentType` below: `Lower` is an array of `ValRaw`.
// `Arguments` and `Returned` are only used on functions through `TypedFunc`, which takes them for
// the widest parameters and results that are passed as core values: every function's fit. `Taken`
// and `Given` are as wide as the function they are linked to, which `typecheck` holds to: Wasmtime
// calls it before it links. Size and alignment in memory are not constants here, so that Wasmtime's
// checks by them check nothing: lifting and lowering check each access themselves.
macro_rules! component_type {
    ($(#[doc = $doc:literal])* ($($generics:tt)*) $name:ty, $width:expr, $check:expr) => {
        // SAFETY: see above.
        unsafe impl<$($generics)*> ComponentType for $name {
            type Lower = [ValRaw; $width];
            const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;

            fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
                let check: fn(&InterfaceType, &InstanceType<'_>) -> Result<()> = $check;
                check(ty, types)
            }
        }

        // SAFETY: `typecheck` is all that the trait adds.
        unsafe impl<$($generics)*> ComponentNamedList for $name {}
    };
}

component_type!(() Arguments, MAX_FLAT_PARAMS, |_, _| Ok(()));
component_type!(() Returned, MAX_FLAT_RESULTS, |_, _| Ok(()));
component_type!((const N: usize) Taken<N>, N, |ty, types| is_wide(ty, types, MAX_FLAT_PARAMS, N));
component_type!((const N: usize) Given<N>, N, |ty, types| is_wide(ty, types, MAX_FLAT_RESULTS, N));

/// Check that a list of types is `width` core values, or goes through memory when that is 0.
fn is_wide(ty: &InterfaceType, types: &InstanceType<'_>, max: usize, width: usize) -> Result<()> {
    let found = types.types.canonical_abi(ty).flat_count(max).unwrap_or(0);
    if found == width {
        return Ok(());
    }
    Err(wasmtime::Error::msg(format!("linked for {width} core values where there are {found}")))
}

// SAFETY: all of `dst` is written.
unsafe impl Lower for Arguments {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<[ValRaw; MAX_FLAT_PARAMS]>,
    ) -> Result<()> {
        let mut flat = [ValRaw::u64(0); MAX_FLAT_PARAMS];
        lower::arguments(cx, ty, self, &mut flat)?;
        dst.write(flat);
        Ok(())
    }

    fn linear_lower_to_memory<T>(
        &self,
        _: &mut LowerContext<'_, T>,
        _: InterfaceType,
        _: usize,
    ) -> Result<()> {
        Err(wasmtime::Error::msg("arguments have no place in memory of the host's choice"))
    }
}

// SAFETY: the core value that is read was written by the guest, or by `Arguments`, whose space it
// shares.
unsafe impl Lift for Returned {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        src: &[ValRaw; MAX_FLAT_RESULTS],
    ) -> Result<Self> {
        Ok(Self(lift::result(cx, ty, src)?))
    }

    fn linear_lift_from_memory(
        _: &mut LiftContext<'_>,
        _: InterfaceType,
        _: &[u8],
    ) -> Result<Self> {
        Err(wasmtime::Error::msg("a result has no place in memory of the host's choice"))
    }
}

// SAFETY: reads no more than `src` or what is checked to be within memory.
unsafe impl<const N: usize> Lift for Taken<N> {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        src: &[ValRaw; N],
    ) -> Result<Self> {
        Ok(Self(lift::arguments(cx, ty, Source::Flat(src))?))
    }

    /// `bytes` is empty, for the size here is none, but it begins where the parameters are.
    fn linear_lift_from_memory(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        bytes: &[u8],
    ) -> Result<Self> {
        let offset = bytes.as_ptr().addr().wrapping_sub(cx.memory().as_ptr().addr());
        Ok(Self(lift::arguments(cx, ty, Source::Memory(offset))?))
    }
}

// SAFETY: all of `dst` is written.
unsafe impl<const N: usize> Lower for Given<N> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<[ValRaw; N]>,
    ) -> Result<()> {
        let mut flat = [ValRaw::u64(0); N];
        lower::outcome(cx, ty, self, Place::Flat(&mut flat))?;
        dst.write(flat);
        Ok(())
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> Result<()> {
        lower::outcome(cx, ty, self, Place::Memory(offset))
    }
}
