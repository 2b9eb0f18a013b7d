//! Why a call or a step ended without a result.

use std::fmt::Display;

/// What a function of a component returns.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// How a call ended: the callee's result, or its failure.
pub type Outcome<T> = Result<T, Failure>;

/// Why a call or a step ended without a result.
///
/// Anything that can be displayed turns into [`Failure::Failed`], so `?` works on every error. That
/// is why a failure itself is not `Display`: its text is in [`Failure::message`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The component said so itself. Never repeated by the platform.
    Failed(String),
    /// The runtime stopped the component, for example at a panic.
    Trapped(String),
    /// A limit was reached: memory, CPU time, payload size, depth of calls.
    Limit(String),
    /// No such component or function.
    NotFound(String),
    /// The process's deadline passed.
    Deadline,
    /// No node could take the step, or the node that ran it was lost.
    Unavailable(String),
    /// A case that this version of the SDK does not know.
    Other(String),
}

impl Failure {
    /// The text of this failure.
    pub fn message(&self) -> &str {
        match self {
            Failure::Failed(text)
            | Failure::Trapped(text)
            | Failure::Limit(text)
            | Failure::NotFound(text)
            | Failure::Unavailable(text)
            | Failure::Other(text) => text,
            Failure::Deadline => "the deadline passed",
        }
    }
}

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `?` on errors of other crates would not compile, or would lose their text.
    #[test]
    fn any_displayed_error_becomes_failed() {
        fn parse(text: &str) -> Result<u8> {
            Ok(text.parse::<u8>()?)
        }
        let failure = parse("300").unwrap_err();
        assert_eq!(failure, Failure::Failed("number too large to fit in target type".into()));
    }

    /// A callee's failure passed on with `?` would change its kind on the way.
    #[test]
    fn failures_pass_unchanged() {
        fn pass(outcome: Outcome<()>) -> Result<()> {
            outcome?;
            Ok(())
        }
        assert_eq!(pass(Err(Failure::Deadline)).unwrap_err(), Failure::Deadline);
    }
}
