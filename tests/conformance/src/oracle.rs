//! What must hold of every decoder for any bytes. Each function panics where it does not hold, and
//! says whether the bytes were taken.

use std::fmt::Debug;

use bytes::Bytes;
use ciborium::Value;
use izna_proto::{
    Beacon, Bulletin, Error, Message, Outcome, Process, Reader, TableEntry, Wire,
    cbor::{Form, Limits, check},
};

/// What must hold of the decoder of [`Message`].
pub fn message(bytes: &[u8]) -> bool {
    wire::<Message>(bytes)
}

/// What must hold of the decoder of [`Bulletin`].
pub fn bulletin(bytes: &[u8]) -> bool {
    wire::<Bulletin>(bytes)
}

/// What must hold of the decoder of [`Beacon`], which is no CBOR: what is taken is the same when
/// it is written and read again.
pub fn beacon(bytes: &[u8]) -> bool {
    let Ok(value) = Beacon::decode(bytes) else { return false };
    assert_eq!(Beacon::decode(&value.encode()).as_ref(), Ok(&value));
    true
}

/// What must hold of the decoder of [`Process`].
pub fn process(bytes: &[u8]) -> bool {
    wire::<Process>(bytes)
}

/// What must hold of the decoder of [`TableEntry`].
pub fn table_entry(bytes: &[u8]) -> bool {
    wire::<TableEntry>(bytes)
}

/// What must hold of the decoder of [`Outcome`].
pub fn outcome(bytes: &[u8]) -> bool {
    wire::<Outcome>(bytes)
}

/// What is taken is deterministic CBOR, fits what others take, and is written as the bytes that it was
/// read from, but for what a newer version says and its words that stand for the nearest known one.
fn wire<T: Wire + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
    let Ok(value) = T::read(&mut reader) else { return false };
    if reader.end().is_err() {
        return false;
    }
    let written = value.to_bytes();
    let deterministic = check(bytes, Form::Deterministic, &Limits::default());
    assert_eq!(deterministic, Ok(()), "a decoder took what is not deterministic: {bytes:02x?}");
    if written != bytes && reader.skipped() == 0 {
        let same = match (decode(bytes), decode(&written)) {
            (Ok(read), Ok(written)) => same_but_for_newer_words(&read, &written),
            _ => false,
        };
        assert!(same, "{bytes:02x?}\nwas read as {value:?}\nand written as {written:02x?}");
    }
    assert_eq!(value.measure(), Ok(written.len()), "what was taken cannot be sent on");
    let again = T::from_bytes(written);
    assert_eq!(again.as_ref(), Ok(&value), "a value changed between writing and reading");
    true
}

/// Whether the values differ only where an unknown failure became `other`, or an unknown refusal
/// became 0.
fn same_but_for_newer_words(read: &Value, written: &Value) -> bool {
    match (read, written) {
        (Value::Array(read), Value::Array(written)) => {
            let mut pairs = read.iter().zip(written);
            read.len() == written.len() && pairs.all(|(r, w)| same_but_for_newer_words(r, w))
        }
        (Value::Text(_), Value::Text(word)) if word == "other" => true,
        (Value::Integer(number), Value::Integer(written)) => {
            number == written || (*number > 4.into() && *written == 0.into())
        }
        (read, written) => read == written,
    }
}

/// Why ciborium does not take bytes.
enum Refused {
    /// They are not well-formed.
    Malformed,
    /// They are, but mean nothing to it.
    Meaningless,
}

fn decode(bytes: &[u8]) -> Result<Value, Refused> {
    use ciborium::de::Error::{Io, Syntax};
    ciborium::from_reader(bytes).map_err(|error| match error {
        Io(_) | Syntax(_) => Refused::Malformed,
        _ => Refused::Meaningless,
    })
}

/// What must hold of [`check`]: the deterministic form is one of the well-formed ones; ciborium,
/// with which guests decode, finds nothing malformed in what passed; and what ciborium writes again
/// passes as deterministic once its keys are in order.
pub fn cbor_check(bytes: &[u8]) -> bool {
    let limits = Limits::default();
    let any = check(bytes, Form::Any, &limits);
    let deterministic = check(bytes, Form::Deterministic, &limits);
    assert!(any.is_ok() || deterministic.is_err(), "deterministic but malformed: {bytes:02x?}");
    match (&any, decode(bytes)) {
        (Ok(()), Err(Refused::Malformed)) => {
            assert!(any.is_err(), "ciborium finds this malformed: {bytes:02x?}");
        }
        (Ok(()), Ok(value)) => rewritten(bytes, &value, deterministic.is_ok()),
        _ => {}
    }
    any.is_ok()
}

/// A value that ciborium read, written by it again, is still well-formed, and deterministic if it
/// was.
fn rewritten(bytes: &[u8], value: &Value, was_deterministic: bool) {
    let mut written = Vec::new();
    let done = ciborium::into_writer(value, &mut written);
    assert!(done.is_ok(), "ciborium cannot write what it read: {bytes:02x?}");
    let form = if was_deterministic { Form::Deterministic } else { Form::Any };
    let limits = Limits { bytes_max: usize::MAX, ..Limits::default() };
    match check(&written, form, &limits) {
        // Ciborium shortens big numbers and makes null of undefined, so keys may come to be equal.
        Ok(()) | Err(Error::Form { why: "a key out of order or twice", .. }) => {}
        Err(error) => {
            let why = format!("{error}: {bytes:02x?} became {written:02x?}");
            assert!(why.is_empty(), "{why}");
        }
    }
}
