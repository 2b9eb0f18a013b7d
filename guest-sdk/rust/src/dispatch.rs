//! From encoded bytes to a typed function and back: what [`crate::component!`] expands to. Not for
//! direct use.

use crate::arguments::Decodable;
use crate::{Call, Failure, IntoStep, Never, Outcome, Result, Step, cbor};
use serde::{Serialize, de::DeserializeOwned};

/// A step with its continuation encoded: what the bindings carry over.
pub type Encoded = Result<Step<Vec<u8>>>;

/// What [`crate::component!`] implements.
pub trait Component {
    /// Begin `function`.
    fn start(function: &str, input: &[u8]) -> Encoded;
    /// Go on with `function`.
    fn resume(function: &str, continuation: &[u8], outcome: Outcome<Vec<u8>>) -> Encoded;
}

/// The two functions of a [`Component`].
pub type Doors = (fn(&str, &[u8]) -> Encoded, fn(&str, &[u8], Outcome<Vec<u8>>) -> Encoded);

/// The two functions of this component.
pub const fn doors<C: Component>() -> Doors {
    (C::start, C::resume)
}

/// A function that begins: any `Fn` of up to eight serde arguments.
pub trait Start<A, C> {
    /// Decode the arguments and run.
    fn start(&self, input: &[u8]) -> Result<Step<C>>;
}

/// A function that goes on: any `Fn` of a continuation and an outcome.
pub trait Resume<C, O> {
    /// Decode the outcome and run.
    fn resume(&self, continuation: C, outcome: Outcome<Vec<u8>>) -> Result<Step<C>>;
}

macro_rules! starts {
    ($($name:ident)*) => {
        impl<F, R, X, C, $($name: DeserializeOwned),*> Start<($($name,)*), C> for F
        where
            F: Fn($($name),*) -> Result<R, X>,
            R: IntoStep<C>,
            X: Into<Failure>,
        {
            #[allow(non_snake_case, reason = "type parameters name the arguments too")]
            fn start(&self, input: &[u8]) -> Result<Step<C>> {
                let ($($name,)*) = arguments(input)?;
                self($($name),*).map_err(Into::into)?.into_step()
            }
        }
    };
}

starts!();
starts!(A1);
starts!(A1 A2);
starts!(A1 A2 A3);
starts!(A1 A2 A3 A4);
starts!(A1 A2 A3 A4 A5);
starts!(A1 A2 A3 A4 A5 A6);
starts!(A1 A2 A3 A4 A5 A6 A7);
starts!(A1 A2 A3 A4 A5 A6 A7 A8);

fn arguments<A: Decodable>(input: &[u8]) -> Result<A> {
    A::decode(input).map_err(|failure| context("the arguments", failure))
}

impl<F, C, O, R, X> Resume<C, O> for F
where
    F: Fn(C, Outcome<O>) -> Result<R, X>,
    O: DeserializeOwned,
    R: IntoStep<C>,
    X: Into<Failure>,
{
    fn resume(&self, continuation: C, outcome: Outcome<Vec<u8>>) -> Result<Step<C>> {
        let outcome = match outcome {
            Ok(bytes) => Ok(cbor::decode(&bytes)
                .map_err(|failure| context("the result of the call", failure))?),
            Err(failure) => Err(failure),
        };
        self(continuation, outcome).map_err(Into::into)?.into_step()
    }
}

/// Run a function that never suspends.
pub fn start<A>(function: impl Start<A, Never>, input: &[u8]) -> Encoded {
    Ok(match function.start(input)? {
        Step::Done(result) => Step::Done(result),
        Step::Forward(call) => Step::Forward(encoded(call)?),
        Step::Suspend(_, never) => match never {},
    })
}

/// Run a function that may suspend. `resume` is there for its type: it fixes what the continuation
/// is.
pub fn start_resumable<A, C: Serialize, O>(
    function: impl Start<A, C>,
    _resume: impl Resume<C, O>,
    input: &[u8],
) -> Encoded {
    encode(function.start(input)?)
}

/// Go on with a function that suspended.
pub fn resume<C: Serialize + DeserializeOwned, O>(
    resume: impl Resume<C, O>,
    continuation: &[u8],
    outcome: Outcome<Vec<u8>>,
) -> Encoded {
    let continuation =
        cbor::decode(continuation).map_err(|failure| context("the continuation", failure))?;
    encode(resume.resume(continuation, outcome)?)
}

/// The answer to a name that the component does not have.
pub fn unknown(function: &str) -> Encoded {
    Err(Failure::NotFound(format!("no function `{function}`")))
}

/// The answer to a resumption of a function that never suspends.
pub fn never_suspends(function: &str) -> Encoded {
    Err(Failure::NotFound(format!("`{function}` never suspends, so it cannot be resumed")))
}

fn encode<C: Serialize>(step: Step<C>) -> Encoded {
    Ok(match step {
        Step::Done(result) => Step::Done(result),
        Step::Forward(call) => Step::Forward(encoded(call)?),
        Step::Suspend(call, continuation) => {
            Step::Suspend(encoded(call)?, cbor::encode(&continuation)?)
        }
    })
}

fn encoded(call: Call) -> Result<Call> {
    let input = call.input.map_err(|failure| context("the arguments of the call", failure))?;
    Ok(Call { input: Ok(input), ..call })
}

fn context(what: &str, failure: Failure) -> Failure {
    Failure::Failed(format!("{what}: {}", failure.message()))
}
