//! Prints CBOR in diagnostic notation (RFC 8949 section 8). It checks nothing: run
//! [`izna_proto::cbor::check`] on the bytes first, which also bounds the nesting.

use std::fmt::Write;

use ciborium_io::Read;
use ciborium_ll::{Decoder, Header};

/// The value on one line, or nothing when the bytes are not a value.
pub fn compact(bytes: &[u8]) -> Option<String> {
    let mut printer = Printer::new(bytes, usize::MAX);
    printer.value(0)?;
    Some(printer.text)
}

/// The value with an element on each line, but for arrays that fit into one; nothing when the bytes
/// are not a value.
pub fn pretty(bytes: &[u8]) -> Option<String> {
    let mut printer = Printer::new(bytes, 72);
    printer.value(0)?;
    Some(printer.text)
}

struct Printer<'a> {
    decoder: Decoder<&'a [u8]>,
    bytes: &'a [u8],
    text: String,
    width_max: usize,
}

/// How an array or a map is printed.
struct Shape {
    open: char,
    close: char,
    /// The values of one element.
    values: usize,
}

const ARRAY: Shape = Shape { open: '[', close: ']', values: 1 };
const MAP: Shape = Shape { open: '{', close: '}', values: 2 };

impl<'a> Printer<'a> {
    fn new(bytes: &'a [u8], width_max: usize) -> Self {
        Self { decoder: Decoder::from(bytes), bytes, text: String::new(), width_max }
    }

    /// Print one value; nothing when it was a break.
    fn value(&mut self, level: usize) -> Option<()> {
        let at = self.decoder.offset();
        match self.decoder.pull().ok()? {
            Header::Positive(value) => write!(self.text, "{value}").ok(),
            Header::Negative(value) => write!(self.text, "{}", -1 - i128::from(value)).ok(),
            Header::Float(value) => {
                self.text.push_str(&float(value));
                Some(())
            }
            Header::Simple(value) => {
                self.text.push_str(&simple(value));
                Some(())
            }
            Header::Tag(tag) => {
                write!(self.text, "{tag}(").ok()?;
                self.value(level)?;
                self.text.push(')');
                Some(())
            }
            Header::Bytes(Some(length)) => self.string(length, false),
            Header::Text(Some(length)) => self.string(length, true),
            Header::Bytes(None) => self.chunks(false),
            Header::Text(None) => self.chunks(true),
            Header::Array(length) => self.group(at, level, length, &ARRAY),
            Header::Map(length) => self.group(at, level, length, &MAP),
            Header::Break => None,
        }
    }

    fn string(&mut self, length: usize, text: bool) -> Option<()> {
        let mut content = vec![0; length.min(self.bytes.len())];
        self.decoder.read_exact(&mut content).ok()?;
        if text {
            self.text.push_str(&quoted(core::str::from_utf8(&content).ok()?));
            return Some(());
        }
        self.text.push_str("h'");
        content.iter().try_for_each(|byte| write!(self.text, "{byte:02x}")).ok()?;
        self.text.push('\'');
        Some(())
    }

    fn chunks(&mut self, text: bool) -> Option<()> {
        self.text.push_str("(_ ");
        let mut first = true;
        loop {
            let (Header::Bytes(length) | Header::Text(length)) = self.decoder.pull().ok()? else {
                self.text.push(')');
                return Some(());
            };
            self.text.push_str(if first { "" } else { ", " });
            self.string(length?, text)?;
            first = false;
        }
    }

    /// Print the rest of an array or map whose head was taken. It stays on one line if that is
    /// short enough.
    fn group(
        &mut self,
        at: usize,
        level: usize,
        length: Option<usize>,
        shape: &Shape,
    ) -> Option<()> {
        let narrow = self.width_max != usize::MAX && {
            let line = compact(self.bytes.get(at..)?)?;
            line.len() + 2 * level > self.width_max
        };
        self.text.push(shape.open);
        self.text.push_str(if length.is_none() { "_ " } else { "" });
        let mut count = 0;
        while length != Some(count) {
            let before = self.text.len();
            if count > 0 {
                self.text.push_str(if narrow { "," } else { ", " });
            }
            self.line(narrow, level + 1);
            if self.value(level + 1).is_none() {
                self.text.truncate(before);
                break;
            }
            if shape.values == 2 {
                self.text.push_str(": ");
                self.value(level + 1)?;
            }
            count += 1;
        }
        self.line(narrow, level);
        self.text.push(shape.close);
        Some(())
    }

    fn line(&mut self, narrow: bool, level: usize) {
        if narrow {
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n("  ", level));
        }
    }
}

fn simple(value: u8) -> String {
    match value {
        20 => "false".into(),
        21 => "true".into(),
        22 => "null".into(),
        23 => "undefined".into(),
        value => format!("simple({value})"),
    }
}

fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let text = format!("{value:?}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let point = if digits.contains('.') { "" } else { ".0" };
            let sign = if exponent.starts_with('-') { "" } else { "+" };
            format!("{digits}{point}e{sign}{exponent}")
        }
        None => text,
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            char if char.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}
