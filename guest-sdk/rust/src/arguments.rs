//! The arguments of a call: a tuple here, a CBOR array on the way.

use crate::{Failure, Result, cbor};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A tuple of up to eight values: the arguments of one call.
pub trait Arguments: Sized {
    /// The CBOR array of these arguments.
    fn encode(&self) -> Result<Vec<u8>>
    where
        Self: Serialize;
}

/// Arguments that a function can take: a tuple of up to eight values.
pub trait Decodable: Arguments {
    /// Arguments from a CBOR array. Trailing ones that are left out are null, so an `Option` is
    /// then `None`.
    fn decode(input: &[u8]) -> Result<Self>;
}

/// What is left of the array.
struct Rest<'a> {
    bytes: &'a [u8],
    count: u64,
    position: usize,
}

impl<'a> Rest<'a> {
    fn new(input: &'a [u8]) -> Result<Self> {
        let not_array = "expected a CBOR array of definite length";
        let (head, mut bytes) = input.split_first().ok_or(not_array)?;
        let count = match head {
            0x80..=0x97 => u64::from(head - 0x80),
            0x98..=0x9b => {
                let (length, rest) = bytes.split_at_checked(1 << (head - 0x98)).ok_or(not_array)?;
                bytes = rest;
                length.iter().fold(0, |count, byte| count << 8 | u64::from(*byte))
            }
            _ => return Err(not_array.into()),
        };
        Ok(Rest { bytes, count, position: 0 })
    }

    fn next<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.position += 1;
        let position = self.position;
        if self.count == 0 {
            return cbor::decode(&[0xf6]).map_err(|_| failed(position, "is missing"));
        }
        self.count -= 1;
        cbor::take(&mut self.bytes).map_err(|failure| failed(position, failure.message()))
    }

    fn end(&self) -> Result<()> {
        match (self.count, self.bytes) {
            (0, []) => Ok(()),
            (0, _) => Err("trailing bytes".into()),
            _ => Err(format!("expected at most {}", self.position).into()),
        }
    }
}

fn failed(position: usize, reason: &str) -> Failure {
    Failure::Failed(format!("argument {position}: {reason}"))
}

impl Arguments for () {
    fn encode(&self) -> Result<Vec<u8>> {
        // serde's unit would be null, which is not an array.
        Ok(vec![0x80])
    }
}

impl Decodable for () {
    fn decode(input: &[u8]) -> Result<Self> {
        Rest::new(input)?.end()
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name),+> Arguments for ($($name,)+) {
            fn encode(&self) -> Result<Vec<u8>>
            where
                Self: Serialize,
            {
                cbor::encode(self)
            }
        }

        impl<$($name: DeserializeOwned),+> Decodable for ($($name,)+) {
            fn decode(input: &[u8]) -> Result<Self> {
                let mut rest = Rest::new(input)?;
                let arguments = ($(rest.next::<$name>()?,)+);
                rest.end()?;
                Ok(arguments)
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    fn refusal<T: Decodable>(input: &[u8]) -> String {
        T::decode(input).err().unwrap().message().to_owned()
    }

    /// Callers and callees in other languages would not find the arguments in an array.
    #[test]
    fn arguments_are_an_array() {
        assert_eq!(().encode(), Ok(vec![0x80]));
        assert_eq!((1u8, "a").encode(), Ok(vec![0x82, 0x01, 0x61, b'a']));
        assert_eq!(<(u8, String)>::decode(&[0x82, 0x01, 0x61, b'a']), Ok((1, "a".into())));
        assert_eq!(<(u8, f64)>::decode(&[0x98, 0x02, 0x01, 0x02]), Ok((1, 2.0)));
        assert_eq!(<()>::decode(&[0x80]), Ok(()));
    }

    /// A function could not gain an optional argument without breaking its callers.
    #[test]
    fn trailing_options_may_be_left_out() {
        assert_eq!(<(u8, Option<f64>)>::decode(&[0x81, 0x01]), Ok((1, None)));
        assert_eq!(<(Value,)>::decode(&[0x80]), Ok((Value::Null,)));
    }

    /// A caller would not learn which argument is wrong.
    #[test]
    fn refusals_name_the_argument() {
        assert_eq!(refusal::<(u8, u8)>(&[0x81, 0x01]), "argument 2: is missing");
        assert_eq!(refusal::<(u8,)>(&[0x82, 0x01, 0x02]), "expected at most 1");
        assert_eq!(refusal::<()>(&[0x81, 0x01]), "expected at most 0");
        assert_eq!(refusal::<()>(&[0x80, 0x01]), "trailing bytes");
        let wrong = refusal::<(u8, String)>(&[0x82, 0x01, 0x02]);
        assert_eq!(wrong, "argument 2: invalid type: integer `2`, expected string");
        for input in [&[0x01][..], &[], &[0x98], &[0x9f, 0x01, 0xff]] {
            let reason = refusal::<(u8,)>(input);
            assert_eq!(reason, "expected a CBOR array of definite length");
        }
    }
}
