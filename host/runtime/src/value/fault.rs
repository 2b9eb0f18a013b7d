//! Why a value does not fit its type, and where in it.

use std::fmt;

use izna_proto::cbor::Misfit;

/// A value that does not fit, or what the engine said on the way.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The value is at fault.
    Misfit(Misfit),
    /// The guest or the engine is: its memory, its allocator, a limit.
    Engine(wasmtime::Error),
}

/// Arguments that are not of their function's types: whoever calls it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Unfit(pub(crate) Misfit);

impl Fault {
    pub(crate) fn misfit(what: impl Into<String>) -> Self {
        Self::Misfit(Misfit::new(what))
    }

    /// Expected one thing, found another.
    pub(crate) fn wanted(wanted: &str, found: impl fmt::Display) -> Self {
        Misfit::wanted(wanted, found).into()
    }

    /// The same fault, seen from the value around it.
    pub(crate) fn within(self, part: impl fmt::Display) -> Self {
        match self {
            Self::Misfit(misfit) => Self::Misfit(misfit.within(part)),
            engine @ Self::Engine(_) => engine,
        }
    }
}

impl From<Misfit> for Fault {
    fn from(misfit: Misfit) -> Self {
        Self::Misfit(misfit)
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
