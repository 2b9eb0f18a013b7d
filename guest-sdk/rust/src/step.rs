//! Steps and calls: what a function ends its step with.

use crate::arguments::{Arguments, Decodable};
use crate::{Result, cbor};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The continuation of a function that never suspends; no value of it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

/// How a step ends, when it does not fail. `C` is the continuation that the function takes along
/// when it suspends.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<C = Never> {
    /// The function is finished; its result as CBOR.
    Done(Vec<u8>),
    /// Make this call, then resume this function with the continuation and the call's outcome.
    Suspend(Call, C),
    /// Make this call in place of the function: the call's outcome is the function's.
    Forward(Call),
}

impl<C> Step<C> {
    /// The result of a finished function, for tests.
    pub fn result<T: DeserializeOwned>(&self) -> Option<Result<T>> {
        match self {
            Step::Done(bytes) => Some(cbor::decode(bytes)),
            Step::Suspend(..) | Step::Forward(_) => None,
        }
    }
}

/// A call of a function of a component that the manifest links.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a call is made only by ending the step with it: `.then(continuation)`"]
pub struct Call {
    pub(crate) component: String,
    pub(crate) function: String,
    /// An encoding that failed is kept until the step ends, so that a call is one expression.
    pub(crate) input: Result<Vec<u8>>,
}

impl Call {
    /// End this step with the call; `continuation` comes back to the function that goes on.
    pub fn then<C>(self, continuation: C) -> Result<Step<C>> {
        Ok(Step::Suspend(self, continuation))
    }

    /// The component's name, as the manifest links it.
    pub fn component(&self) -> &str {
        &self.component
    }

    /// The function's name.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// The arguments, for tests.
    pub fn arguments<A: Decodable>(&self) -> Result<A> {
        A::decode(self.input.as_ref().map_err(Clone::clone)?)
    }
}

/// A call of `function` of `component`, with a tuple of arguments. It is made when the step ends
/// with it.
pub fn call(component: &str, function: &str, arguments: impl Arguments + Serialize) -> Call {
    let input = arguments.encode();
    Call { component: component.to_owned(), function: function.to_owned(), input }
}

/// End this step with a call in place of this function: the call's outcome is this function's.
pub fn forward<C>(
    component: &str,
    function: &str,
    arguments: impl Arguments + Serialize,
) -> Result<Step<C>> {
    Ok(Step::Forward(call(component, function, arguments)))
}

/// End this step and the function with `value`, in a function that on another way calls.
pub fn done<C>(value: impl Serialize) -> Result<Step<C>> {
    cbor::encode(&value).map(Step::Done)
}

/// What a function may return in its `Ok`: a [`Step`], or a serde value, which finishes it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a value to finish with nor a `Step<{C}>`",
    label = "a function returns a serde value, or a step with what its resume function takes",
    note = "a function that suspends needs a resume function: `component! {{ start => resume }}`"
)]
pub trait IntoStep<C> {
    #[doc(hidden)]
    fn into_step(self) -> Result<Step<C>>;
}

impl<C, T: Serialize> IntoStep<C> for T {
    fn into_step(self) -> Result<Step<C>> {
        done(self)
    }
}

impl<C> IntoStep<C> for Step<C> {
    fn into_step(self) -> Result<Step<C>> {
        Ok(self)
    }
}
