//! Arguments as a request over HTTP has them, by their names and all text, and as a person types
//! them: what they mean, the types of the parameters say.

use ciborium_ll::{Header, simple};
use izna_proto::cbor::{Input, Output, name};
use izna_proto::typed;
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
        let key = input.text("an argument's name as text")?;
        let value = input.any()?;
        let index = names.iter().position(|known| known == key);
        if let Some(slot) = index.and_then(|index| values.get_mut(index)) {
            *slot = Some(value);
        }
    }
    input.leave(entered)?;
    input.end()?;
    let each = params.iter().zip(names).zip(values);
    each.map(|((ty, name), value)| match (value, ty) {
        (Some(value), _) => Ok(meant(types, *ty, value)),
        (None, InterfaceType::Option(_)) => Ok(vec![0xf6]),
        (None, _) => Err(Fault::misfit(format!("argument `{name}` is missing"))),
    })
    .collect()
}

/// Arguments in order, with every word turned into what it means for its parameter: what the text
/// says for the type, or else what it is as JSON.
pub(super) fn words(
    types: &ComponentTypes,
    params: &[InterfaceType],
    mut input: Input<'_>,
) -> Result<Vec<u8>, Fault> {
    let entered = match input.head()? {
        Header::Array(length) => input.enter(length, 1)?,
        other => return Err(Fault::wanted("an array", name(other))),
    };
    let mut output = Output::default();
    output.array(entered.length);
    for index in 0..entered.length {
        let value = input.any()?;
        let Some(word) = typed::items(value)? else {
            output.0.extend_from_slice(value);
            continue;
        };
        let [text, json] = word.as_slice() else {
            return Err(Fault::wanted("a word and its value", format!("{} values", word.len())));
        };
        let says = params.get(index).and_then(|ty| said(types, *ty, text, json));
        output.0.extend_from_slice(says.as_deref().unwrap_or(json));
    }
    input.leave(entered)?;
    input.end()?;
    Ok(output.0)
}

/// What a word means for a type that does not take all that JSON has.
fn said(types: &ComponentTypes, ty: InterfaceType, text: &[u8], json: &[u8]) -> Option<Vec<u8>> {
    use InterfaceType as T;
    match ty {
        T::Option(index) => match Input::new(json).head().ok()? {
            Header::Simple(simple::NULL) => None,
            _ => said(types, types[index].ty, text, json),
        },
        T::String | T::Char | T::Enum(_) | T::Variant(_) => Some(text.to_vec()),
        ty => coerced(types, ty, text),
    }
}

/// What a value of a request means for a parameter.
fn meant(types: &ComponentTypes, ty: InterfaceType, value: &[u8]) -> Vec<u8> {
    let last = typed::last(value).ok().flatten();
    coerced(types, ty, value).unwrap_or_else(|| last.unwrap_or(value).to_vec())
}

/// What a text means for a parameter of another type, if that is plain: the number that it
/// writes, `true`, the bytes of a text, the text that bytes are, a list of what a request has
/// several times, or once.
fn coerced(types: &ComponentTypes, ty: InterfaceType, value: &[u8]) -> Option<Vec<u8>> {
    let mut input = Input::new(value);
    let mut output = Output::default();
    if let Some(items) = typed::items(value).ok()? {
        let InterfaceType::List(index) = bare(types, ty) else {
            return coerced(types, ty, items.last()?);
        };
        output.array(items.len());
        let each = items.iter().map(|item| meant(types, types[index].element, item));
        each.for_each(|item| output.0.extend_from_slice(&item));
        return Some(output.0);
    }
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
        (InterfaceType::List(index), Header::Text(Some(_))) => {
            output.array(1);
            output.0.extend_from_slice(&meant(types, types[index].element, value));
        }
        (ty, Header::Text(Some(length))) => scalar(ty, input.text_of(length).ok()?, &mut output)?,
        _ => return None,
    }
    Some(output.0)
}

/// The type within an option.
fn bare(types: &ComponentTypes, ty: InterfaceType) -> InterfaceType {
    match ty {
        InterfaceType::Option(index) => types[index].ty,
        ty => ty,
    }
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
