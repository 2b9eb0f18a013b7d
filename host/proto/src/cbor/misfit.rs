//! Why a value is not what it should be, and where in it.

use alloc::{format, string::String};
use core::fmt;

/// A value of another shape than was expected. The path is written from the outside in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", if path.is_empty() { "the value" } else { path })]
pub struct Misfit {
    path: String,
    what: String,
}

impl Misfit {
    /// Of the value as a whole.
    pub fn new(what: impl Into<String>) -> Self {
        Self { path: String::new(), what: what.into() }
    }

    /// Expected one thing, found another.
    pub fn wanted(wanted: &str, found: impl fmt::Display) -> Self {
        Self::new(format!("expected {wanted}, found {found}"))
    }

    /// The same misfit, seen from the value around it.
    #[must_use]
    pub fn within(mut self, part: impl fmt::Display) -> Self {
        self.path = format!("{part}{}", self.path);
        self
    }
}
