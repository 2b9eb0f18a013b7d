//! CBOR to and from serde types: what functions, calls and continuations travel as.

use crate::{Failure, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Encode `value`. Fails only when its `Serialize` does.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).map_err(|error| match error {
        ciborium::ser::Error::Value(text) => Failure::Failed(text),
        ciborium::ser::Error::Io(error) => Failure::from(error),
    })?;
    Ok(bytes)
}

/// Decode exactly one value that takes up all of `bytes`. Where a float is wanted an integer will
/// do.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut rest = bytes;
    let value = take(&mut rest)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(Failure::Failed(format!("{} trailing bytes", rest.len())))
    }
}

/// Decode the value that `bytes` begin with, and leave the rest.
pub(crate) fn take<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T> {
    let start = *bytes;
    ciborium::from_reader(&mut *bytes).or_else(|error| {
        *bytes = start;
        match ciborium::from_reader(bytes) {
            Ok(Buffered::Value(value)) => Ok(value),
            Err(_) => Err(explain(error)),
        }
    })
}

/// Decodes by way of serde's buffer, which unlike ciborium takes integers for floats. Callers write
/// `40` where the function says `f64`, and in JavaScript they cannot even write it otherwise.
#[derive(Deserialize)]
#[serde(untagged)]
enum Buffered<T> {
    Value(T),
}

fn explain(error: ciborium::de::Error<std::io::Error>) -> Failure {
    use ciborium::de::Error;
    Failure::Failed(match error {
        Error::Semantic(_, text) => text,
        Error::Syntax(offset) => format!("invalid CBOR at byte {offset}"),
        Error::RecursionLimitExceeded => "nested too deeply".into(),
        Error::Io(_) => "unexpected end of input".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `40` would not do for `40.0`, though JSON and JavaScript do not tell them apart.
    #[test]
    fn integers_do_for_floats() {
        assert_eq!(decode::<f64>(&[0x18, 40]), Ok(40.0));
        assert_eq!(
            decode::<Vec<Option<f32>>>(&[0x83, 0x01, 0xf6, 0x20]),
            Ok(vec![Some(1.0), None, Some(-1.0)])
        );
        assert!(decode::<u8>(&[0xf9, 0x3c, 0x00]).is_err());
    }

    /// Half a value, or more than one, would be taken for a value.
    #[test]
    fn one_whole_value_or_an_error() {
        assert_eq!(decode::<u8>(&[0x07]), Ok(7));
        assert_eq!(decode::<u8>(&[0x07, 0x07]).unwrap_err().message(), "1 trailing bytes");
        let cut = decode::<String>(&[0x63, b'a']).unwrap_err();
        assert_eq!(cut.message(), "unexpected end of input");
        assert_eq!(decode::<u8>(&[0x1c]).unwrap_err().message(), "invalid CBOR at byte 0");
    }
}
