//! Values as JSON, for people and for clients that do not speak CBOR.
//!
//! | CBOR | to JSON | from JSON |
//! |---|---|---|
//! | integer | number; as text beyond 64 bits | a number without fraction |
//! | float | number | a number with one |
//! | text, true, false, null | the same | the same |
//! | float that is not finite | null, or where it is asked for `{"$float": "nan"}` | the same |
//! | byte string | its base64 as text | `{"$bytes": "<base64>"}` |
//! | array, map | array, object; a key that is no text as its JSON | the same |
//! | tag | what is tagged | |
//! | | | `{"$word": "1e3"}`: a typed word, text or JSON as its parameter has it |

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ciborium::Value;
use izna_proto::{
    cbor::{self, Form},
    typed::TAG,
};
use serde_json::{Map, Number, Value as Json};

/// Why a value cannot be turned into the other form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no CBOR value within the limits.
    #[error("invalid CBOR value")]
    Cbor(#[source] izna_proto::Error),
    /// The bytes could not be read as a value.
    #[error("invalid CBOR value: {why}")]
    Read {
        /// What is wrong with them.
        why: String,
    },
    /// What stands under `$bytes` is no base64.
    #[error("invalid `$bytes`: expected base64")]
    Base64(#[source] base64::DecodeError),
    /// What stands under `$float` is no float.
    #[error("invalid `$float`: expected a number, `nan`, `inf` or `-inf`")]
    Float,
}

/// The value that untrusted `bytes` hold.
pub fn decode(bytes: &[u8]) -> Result<Value, Error> {
    cbor::check(bytes, Form::Any, &cbor::Limits::default()).map_err(Error::Cbor)?;
    ciborium::from_reader(bytes).map_err(|error| Error::Read { why: error.to_string() })
}

/// The bytes of a value.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a vector has no error to give.
    let _ = ciborium::into_writer(value, &mut bytes);
    bytes
}

/// A value as JSON. Floats that JSON has not are null.
pub fn from_cbor(value: Value) -> Json {
    to_json(value, |_| Json::Null)
}

/// A value as JSON from which [`to_cbor`] makes the same floats again.
pub fn from_cbor_exactly(value: Value) -> Json {
    to_json(value, |float| serde_json::json!({ FLOAT: float_text(float) }))
}

/// A float that is not finite, as WAVE writes it.
fn float_text(float: f64) -> &'static str {
    match float {
        f64::INFINITY => "inf",
        f64::NEG_INFINITY => "-inf",
        _ => "nan",
    }
}

fn to_json(value: Value, odd: fn(f64) -> Json) -> Json {
    match value {
        Value::Integer(integer) => {
            let wide = i128::from(integer);
            let small = i64::try_from(wide).map(Number::from);
            let number = small.or_else(|_| u64::try_from(wide).map(Number::from));
            number.map_or_else(|_| Json::String(wide.to_string()), Json::Number)
        }
        Value::Float(float) => Number::from_f64(float).map_or_else(|| odd(float), Json::Number),
        Value::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::Text(text) => Json::String(text),
        Value::Bool(value) => Json::Bool(value),
        Value::Tag(_, value) => to_json(*value, odd),
        Value::Array(values) => {
            Json::Array(values.into_iter().map(|value| to_json(value, odd)).collect())
        }
        Value::Map(pairs) => {
            let pair = |(key, value)| (key_text(key), to_json(value, odd));
            Json::Object(pairs.into_iter().map(pair).collect())
        }
        // The type is open: what it may have some day, JSON has not.
        _ => Json::Null,
    }
}

fn key_text(key: Value) -> String {
    match from_cbor(key) {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

const BYTES: &str = "$bytes";
const FLOAT: &str = "$float";
const WORD: &str = "$word";

/// JSON as a value. Maps keep no order of their own: their keys are put in the deterministic one.
pub fn to_cbor(json: Json) -> Result<Value, Error> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::String(text) => Value::Text(text),
        Json::Number(number) => number_to_cbor(&number),
        Json::Array(values) => {
            Value::Array(values.into_iter().map(to_cbor).collect::<Result<_, _>>()?)
        }
        Json::Object(object) => match marked(&object) {
            Some((BYTES, text)) => Value::Bytes(STANDARD.decode(text).map_err(Error::Base64)?),
            Some((FLOAT, text)) => Value::Float(text.parse().map_err(|_| Error::Float)?),
            Some((_, word)) => word_to_cbor(word)?,
            None => {
                let mut pairs: Vec<(String, Json)> = object.into_iter().collect();
                // The order of the encoded keys: shorter ones first.
                pairs.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
                let pair = |(key, value)| Ok((Value::Text(key), to_cbor(value)?));
                Value::Map(pairs.into_iter().map(pair).collect::<Result<_, _>>()?)
            }
        },
    })
}

/// What stands for a value that JSON has not: an object of one of the marks and a text.
fn marked(object: &Map<String, Json>) -> Option<(&'static str, &str)> {
    let (key, value) = object.iter().next().filter(|_| object.len() == 1)?;
    let mark = [BYTES, FLOAT, WORD].into_iter().find(|mark| mark == key)?;
    Some((mark, value.as_str()?))
}

/// A word and what it is as JSON: text, where it is none.
fn word_to_cbor(word: &str) -> Result<Value, Error> {
    let json = serde_json::from_str(word).unwrap_or_else(|_| Json::String(word.to_owned()));
    let both = vec![Value::Text(word.to_owned()), to_cbor(json)?];
    Ok(Value::Tag(TAG, Box::new(Value::Array(both))))
}

fn number_to_cbor(number: &Number) -> Value {
    let integer = number.as_i64().map(Value::from).or_else(|| number.as_u64().map(Value::from));
    integer.unwrap_or_else(|| Value::Float(number.as_f64().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// If this fails, `izna call` gives a component other arguments than were typed.
    #[test]
    fn json_survives_the_way_there_and_back() {
        let value =
            json!({"b": [1, -2, 1.5, true, null, "x"], "a": {"long": 18446744073709551615u64}});
        let bytes = encode(&to_cbor(value.clone()).unwrap());
        cbor::check(&bytes, Form::Deterministic, &cbor::Limits::default()).unwrap();
        assert_eq!(from_cbor(decode(&bytes).unwrap()), value);
    }

    /// If this fails, bytes cannot be given on the command line, or are shown as something else.
    #[test]
    fn bytes_are_base64() {
        let value = to_cbor(json!({"$bytes": "AP8="})).unwrap();
        assert_eq!(value, Value::Bytes(vec![0, 255]));
        assert_eq!(from_cbor(value), json!("AP8="));
        assert!(matches!(to_cbor(json!({"$bytes": "?"})), Err(Error::Base64(_))));
    }

    /// If this fails, a number that JSON has not is lost on the way to a component or back.
    #[test]
    fn floats_that_json_has_not_survive() {
        for (float, text) in [(f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
            let json = from_cbor_exactly(Value::Array(vec![Value::Float(float)]));
            assert_eq!(json, json!([{ "$float": text }]));
            assert_eq!(to_cbor(json).unwrap(), Value::Array(vec![Value::Float(float)]));
        }
        assert_eq!(from_cbor_exactly(Value::Float(f64::NAN)), json!({ "$float": "nan" }));
        assert!(matches!(to_cbor(json!({"$float": "nan"})), Ok(Value::Float(nan)) if nan.is_nan()));
        assert!(matches!(to_cbor(json!({"$float": "x"})), Err(Error::Float)));
    }

    /// If this fails, a word that looks like a number cannot be given as a text, or the other way
    /// round.
    #[test]
    fn a_word_is_text_and_json() {
        let word = |text: &str| match to_cbor(json!({ "$word": text })).unwrap() {
            Value::Tag(TAG, both) => *both,
            other => panic!("{other:?}"),
        };
        let both = |text: &str, value: Value| Value::Array(vec![Value::from(text), value]);
        assert_eq!(word("123"), both("123", Value::from(123)));
        assert_eq!(word("null"), both("null", Value::Null));
        assert_eq!(word("a b"), both("a b", Value::from("a b")));
    }

    /// If this fails, what JSON cannot say ends the gateway or is lost.
    #[test]
    fn what_json_has_not_is_still_shown() {
        assert_eq!(from_cbor(Value::Float(f64::NAN)), Json::Null);
        let pairs = vec![(Value::from(1), Value::from(2)), (Value::Bool(true), Value::Null)];
        assert_eq!(from_cbor(Value::Map(pairs)), json!({"1": 2, "true": null}));
        assert_eq!(from_cbor(Value::Tag(0, Box::new(Value::from("x")))), json!("x"));
        assert!(decode(&[0x9f; 1000]).is_err());
    }
}
