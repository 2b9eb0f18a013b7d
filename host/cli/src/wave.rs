//! Calls as people write them: `interface.function(arguments)`, the arguments in WAVE, the notation
//! of the component model for values. It needs no types: what the values mean is what JSON says.

use serde_json::{Map, Number, Value, json};
use wasm_wave::ast::{Node, NodeType};
use wasm_wave::parser::ParserError;
use wasm_wave::untyped::UntypedFuncCall;

use crate::trouble::{Exit, Trouble};

/// The function and its arguments.
pub(crate) fn call(text: &str) -> Result<(String, Vec<Value>), Trouble> {
    let wrong = |why: String| {
        Trouble::new(Exit::Usage, format!("invalid call `{}`", text.escape_debug()))
            .why(why)
            .fix("use the form interface.function(1, \"text\", {field: [true]})")
    };
    let split = text.split_once('(').filter(|(name, _)| !name.trim().is_empty());
    let (name, rest) = split.ok_or_else(|| wrong("missing function name".into()))?;
    // A name with a package is none of WAVE's.
    let source = format!("f({rest}");
    let call = UntypedFuncCall::parse(&source).map_err(|error| wrong(told(&error, name)))?;
    let values = match call.params_node() {
        None => Ok(Vec::new()),
        Some(node) => node.as_tuple().and_then(|nodes| {
            nodes.map(|node| value(node, &source)).collect::<Result<Vec<_>, _>>()
        }),
    };
    Ok((name.trim().to_owned(), values.map_err(|error| wrong(told(&error, name)))?))
}

fn told(error: &ParserError, name: &str) -> String {
    // Columns are told in what was typed.
    let at = (error.span().start + name.len()).saturating_sub(1);
    format!("{} at column {}", error.kind(), at + 1)
}

fn value(node: &Node, source: &str) -> Result<Value, ParserError> {
    let one = |name: &str, inner: Option<&Node>| {
        Ok(match inner {
            Some(inner) => Value::Object(Map::from_iter([(name.into(), value(inner, source)?)])),
            None => Value::String(name.into()),
        })
    };
    Ok(match node.ty() {
        NodeType::BoolTrue => Value::Bool(true),
        NodeType::BoolFalse => Value::Bool(false),
        NodeType::Number => number(node, source)?,
        NodeType::Char => Value::String(node.as_char(source)?.into()),
        NodeType::String | NodeType::MultilineString => {
            Value::String(node.as_str(source)?.into_owned())
        }
        NodeType::Tuple => list(node.as_tuple()?, source)?,
        NodeType::List => list(node.as_list()?, source)?,
        NodeType::Record => {
            let fields = node.as_record(source)?;
            let field = |(name, node): (&str, &Node)| Ok((name.into(), value(node, source)?));
            Value::Object(fields.map(field).collect::<Result<_, ParserError>>()?)
        }
        NodeType::Label | NodeType::VariantWithPayload => {
            let (name, payload) = node.as_variant(source)?;
            one(name, payload)?
        }
        NodeType::OptionSome | NodeType::OptionNone => option(node, source)?,
        NodeType::ResultOk | NodeType::ResultErr => match node.as_result()? {
            Ok(payload) => one("ok", payload)?,
            Err(payload) => one("err", payload)?,
        },
        NodeType::Flags => {
            Value::Array(node.as_flags(source)?.map(|name| Value::String(name.into())).collect())
        }
    })
}

fn list<'a>(nodes: impl Iterator<Item = &'a Node>, source: &str) -> Result<Value, ParserError> {
    nodes.map(|node| value(node, source)).collect::<Result<_, _>>().map(Value::Array)
}

/// An option within an option is an array of one.
fn option(node: &Node, source: &str) -> Result<Value, ParserError> {
    let Some(inner) = node.as_option()? else { return Ok(Value::Null) };
    let nested = matches!(inner.ty(), NodeType::OptionSome | NodeType::OptionNone);
    let inner = value(inner, source)?;
    Ok(if nested { Value::Array(vec![inner]) } else { inner })
}

fn number(node: &Node, source: &str) -> Result<Value, ParserError> {
    if let Ok(number) = node.as_number::<u64>(source) {
        return Ok(number.into());
    }
    if let Ok(number) = node.as_number::<i64>(source) {
        return Ok(number.into());
    }
    let float = node.as_number::<f64>(source)?;
    // JSON has no infinities.
    let odd = || json!({ "$float": float.to_string() });
    Ok(Number::from_f64(float).map_or_else(odd, Value::Number))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a call would be made with other arguments than were written.
    #[test]
    fn calls_are_read() {
        let read = |text: &str| call(text).unwrap();
        let text =
            r#"demo:paint/painter@0.2.0.draw("a\"b", {width: 1, height: -2}, [1, 2.5], 'x')"#;
        let arguments =
            vec![json!("a\"b"), json!({"width": 1, "height": -2}), json!([1, 2.5]), json!("x")];
        assert_eq!(read(text), ("demo:paint/painter@0.2.0.draw".into(), arguments));
        assert_eq!(read("f()"), ("f".into(), vec![]));
        let (_, arguments) = read(
            "f(some(1), none, some(none), ok(1), err, red, circle(1.5), {read, run}, (1, true))",
        );
        let expected = json!([
            1, null, [null], {"ok": 1}, "err", "red", {"circle": 1.5}, ["read", "run"], [1, true]
        ]);
        assert_eq!(Value::Array(arguments), expected);
        let (_, floats) = read("f(nan, inf, -inf)");
        let odd = |text: &str| json!({ "$float": text });
        assert_eq!(floats, [odd("NaN"), odd("inf"), odd("-inf")]);
    }

    /// If this failed, a typing error would be a riddle.
    #[test]
    fn mistakes_are_told_with_their_column() {
        let said = |text: &str| call(text).unwrap_err().to_string();
        let cases =
            [("f(1", "at column 4"), ("f([1 2])", "at column 6"), ("(1)", "missing function name")];
        for (text, expected) in cases {
            assert!(said(text).contains(expected), "{text}: {}", said(text));
        }
    }
}
