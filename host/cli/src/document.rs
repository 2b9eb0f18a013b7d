//! TOML files that people write: read within a limit, errors shown with the line they are on.

use std::{fs, io::Read, ops::Range, path::Path};

use serde::de::DeserializeOwned;

use crate::trouble::{Exit, Trouble, nearest};

/// The largest file that is read, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// A file's text, to say on which line something is.
#[derive(Debug)]
pub(crate) struct Document {
    name: String,
    text: String,
}

impl Document {
    /// The file at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, Trouble> {
        let name = path.display().to_string();
        let file = fs::File::open(path).map_err(|error| Trouble::file("read", path, &error))?;
        let mut text = String::new();
        let read = file.take(BYTES_MAX + 1).read_to_string(&mut text);
        let count = read.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => {
                Trouble::new(Exit::Data, format!("{name} is not valid UTF-8"))
            }
            _ => Trouble::file("read", path, &error),
        })?;
        if count as u64 > BYTES_MAX {
            let text = format!("{name} is too large: the limit is 1 MiB");
            return Err(Trouble::new(Exit::Data, text));
        }
        Ok(Self { name, text })
    }

    #[cfg(test)]
    pub(crate) fn made(text: &str) -> Self {
        Self { name: "izna.toml".into(), text: text.into() }
    }

    /// Its content; `exit` when it is wrong.
    pub(crate) fn parse<T: DeserializeOwned>(&self, exit: Exit) -> Result<T, Trouble> {
        toml::from_str(&self.text).map_err(|error| {
            let message = error.message().trim_end();
            let trouble = match unknown_field(message) {
                Some((field, known)) => {
                    let trouble = Trouble::new(exit, format!("unknown key `{field}`"));
                    match nearest(field, known.iter().copied()) {
                        Some(meant) => trouble.fix(format!("did you mean `{meant}`?")),
                        None => trouble.why(format!("known keys: {}", known.join(", "))),
                    }
                }
                None => Trouble::new(exit, message.replace('\n', "; ")),
            };
            match error.span() {
                Some(span) => trouble.at(self.line(&span)),
                None => trouble.at(self.name.clone()),
            }
        })
    }

    /// Where `span` is, with the line's text.
    pub(crate) fn line(&self, span: &Range<usize>) -> String {
        let (number, text) = self.line_of(span);
        format!("{}:{number}: {}", self.name, text.trim())
    }

    /// Where both spans are.
    pub(crate) fn lines(&self, first: &Range<usize>, second: &Range<usize>) -> String {
        format!("{}\n{}", self.line(first), self.line(second))
    }

    fn line_of(&self, span: &Range<usize>) -> (usize, &str) {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let number = before.matches('\n').count() + 1;
        (number, self.text.lines().nth(number - 1).unwrap_or_default())
    }
}

/// The unknown field and the known ones in serde's sentence on it.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (field, known) = rest.split_once('`')?;
    Some((field, known.split('`').skip(1).step_by(2).collect()))
}
