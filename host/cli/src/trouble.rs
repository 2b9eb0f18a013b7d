//! What a person is told when a command fails: what is wrong, and where it helps, where, why and
//! what to do. It ends the program with one of the codes of `sysexits`.

use std::{error::Error, fmt, io, path::Path};

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command line is wrong.
    Usage = 64,
    /// A file's content is wrong, or a component said so.
    Data = 65,
    /// A file is not there.
    NoInput = 66,
    /// A node cannot be reached, or an address is in use.
    Unavailable = 69,
    /// The program itself is at fault.
    Software = 70,
    /// A file cannot be made.
    CannotCreate = 73,
    /// Reading or writing went wrong.
    Io = 74,
    /// Something took too long: it may be tried again.
    TryAgain = 75,
    /// The system does not allow it.
    Permission = 77,
    /// The configuration is wrong.
    Config = 78,
    /// The person stopped it.
    Interrupted = 130,
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Trouble {
    exit: Exit,
    what: String,
    at: Option<String>,
    why: Option<String>,
    fix: Option<String>,
}

impl Trouble {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), at: None, why: None, fix: None }
    }

    /// Where: a file with its line, a field, an address.
    pub(crate) fn at(mut self, at: impl Into<String>) -> Self {
        self.at = Some(at.into());
        self
    }

    /// The limit, rule or cause.
    pub(crate) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// One thing to do about it.
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// That `path` could not be used to `operation` it.
    pub(crate) fn file(operation: &str, path: &Path, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NoInput,
            io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Io,
        };
        Self::new(exit, format!("cannot {operation} {}: {}", path.display(), plain(error)))
    }

    /// That `path` could not be made.
    pub(crate) fn create(path: &Path, error: &io::Error) -> Self {
        Self { exit: Exit::CannotCreate, ..Self::file("write", path, error) }
    }

    /// The causes of an error that it does not tell itself, as why.
    pub(crate) fn caused(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut causes = Vec::new();
        let mut next = error.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        if !causes.is_empty() {
            self.why = Some(causes.join(": "));
        }
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }
}

/// An I/O error without the number that the system has for it.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text.get(..end).unwrap_or_default().to_lowercase()
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        for (name, text) in [("at", &self.at), ("why", &self.why), ("fix", &self.fix)] {
            if let Some(text) = text {
                write!(f, "\n  {name}: {}", text.trim_end().replace('\n', "\n       "))?;
            }
        }
        Ok(())
    }
}

/// What may have been meant by `word`.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|known| (strsim::damerau_levenshtein(word, known), known));
    let allowed = (word.chars().count() / 3).max(1);
    scored.filter(|(distance, _)| *distance <= allowed).min_by_key(|(d, _)| *d).map(|(_, k)| k)
}
