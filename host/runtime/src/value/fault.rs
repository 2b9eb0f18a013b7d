//! Why a value does not fit its type, and where in it.

use std::fmt;

/// A value that does not fit, or what the engine said on the way.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The value is at fault.
    Misfit(Misfit),
    /// The guest or the engine is: its memory, its allocator, a limit.
    Engine(wasmtime::Error),
}

/// A value of another shape than its type. The path is written from the outside in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", if path.is_empty() { "the value" } else { path })]
pub(crate) struct Misfit {
    path: String,
    what: String,
}

/// Arguments that are not of their function's types: whoever calls it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Unfit(pub(crate) Misfit);

impl Misfit {
    /// Of the value as a whole.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { path: String::new(), what: what.into() }
    }
}

impl Fault {
    pub(crate) fn misfit(what: impl Into<String>) -> Self {
        Self::Misfit(Misfit::new(what))
    }

    /// Expected one thing, found another.
    pub(crate) fn wanted(wanted: &str, found: impl fmt::Display) -> Self {
        Self::misfit(format!("expected {wanted}, found {found}"))
    }

    /// The same fault, seen from the value around it.
    pub(crate) fn within(self, part: impl fmt::Display) -> Self {
        match self {
            Self::Misfit(mut misfit) => {
                misfit.path = format!("{part}{}", misfit.path);
                Self::Misfit(misfit)
            }
            engine @ Self::Engine(_) => engine,
        }
    }
}

impl From<wasmtime::Error> for Fault {
    fn from(error: wasmtime::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<Fault> for wasmtime::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Misfit(misfit) => misfit.into(),
            Fault::Engine(error) => error,
        }
    }
}
