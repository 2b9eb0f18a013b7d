//! Arguments by their names: how a function with ordinary parameters is called by a request over
//! HTTP, whose query is all text.

use ciborium_ll::Header;
use izna_proto::cbor::{Input, Output};
use wasmtime::component::__internal::{ComponentTypes, InterfaceType};

use super::fault::Fault;

/// The values of a map in the order of the parameters. Of values with one name the last counts.
pub(super) fn values(
    types: &ComponentTypes,
    params: &[InterfaceType],
    names: &[String],
    mut input: Input<'_>,
    length: Option<usize>,
) -> Result<Vec<Vec<u8>>, Fault> {
    let entered = input.enter(length, 2)?;
    let mut values: Vec<Option<&[u8]>> = vec![None; params.len()];
    for _ in 0..entered.length {
        let name = input.text("an argument's name as text")?;
        let value = input.any()?;
        let index = names.iter().position(|known| known == name);
        if let Some(slot) = index.and_then(|index| values.get_mut(index)) {
            *slot = Some(value);
        }
    }
    input.leave(entered)?;
    input.end()?;
    let each = params.iter().zip(names).zip(values);
    each.map(|((ty, name), value)| match (value, ty) {
        (Some(value), _) => Ok(coerced(types, *ty, value).unwrap_or_else(|| value.to_vec())),
        (None, InterfaceType::Option(_)) => Ok(vec![0xf6]),
        (None, _) => Err(Fault::misfit(format!("argument `{name}` is missing"))),
    })
    .collect()
}

/// What a text means for a parameter of another type, if that is plain: the number that it
/// writes, `true`, the bytes of a text, the text that bytes are.
fn coerced(types: &ComponentTypes, ty: InterfaceType, value: &[u8]) -> Option<Vec<u8>> {
    let mut input = Input::new(value);
    let mut output = Output::default();
    match (ty, input.head().ok()?) {
        (InterfaceType::Option(index), _) => return coerced(types, types[index].ty, value),
        (InterfaceType::String, Header::Bytes(Some(length))) => {
            output.text(input.text_of(length).ok()?);
        }
        (InterfaceType::List(index), Header::Text(Some(length)))
            if types[index].element == InterfaceType::U8 =>
        {
            output.bytes(input.string(length).ok()?);
        }
        (ty, Header::Text(Some(length))) => scalar(ty, input.text_of(length).ok()?, &mut output)?,
        _ => return None,
    }
    Some(output.0)
}

fn scalar(ty: InterfaceType, text: &str, output: &mut Output) -> Option<()> {
    use InterfaceType as T;
    match ty {
        T::Bool => output.bool(text.parse().ok()?),
        T::S8 | T::S16 | T::S32 | T::S64 => output.signed(text.parse().ok()?),
        T::U8 | T::U16 | T::U32 | T::U64 => output.unsigned(text.parse().ok()?),
        T::Float32 | T::Float64 => output.float(text.parse().ok()?),
        _ => return None,
    }
    Some(())
}
