//! The seam to the generated bindings: their types on one side, [`crate::dispatch`] on the other. No logic.

#[rustfmt::skip]
pub mod logging;
#[allow(missing_docs, missing_debug_implementations, clippy::all, reason = "generated")]
#[allow(clippy::unwrap_used, clippy::panic, reason = "generated")]
#[rustfmt::skip]
pub mod memory;
#[allow(missing_docs, missing_debug_implementations, clippy::all, reason = "generated")]
#[allow(clippy::unwrap_used, clippy::panic, reason = "generated")]
#[rustfmt::skip]
pub mod process;

use crate::dispatch::{Component, Encoded};
use crate::{Call, Failure, Step};
use process::exports::izna::process::handler::Guest;
use process::izna::process::types;

impl<T: Component> Guest for T {
    fn start(function: String, input: Vec<u8>) -> types::Step {
        #[cfg(target_family = "wasm")]
        crate::log::panics();
        step(<T as Component>::start(&function, &input))
    }

    fn resume(function: String, continuation: Vec<u8>, outcome: types::Outcome) -> types::Step {
        #[cfg(target_family = "wasm")]
        crate::log::panics();
        let outcome = outcome.map_err(Failure::from);
        step(<T as Component>::resume(&function, &continuation, outcome))
    }
}

/// Export a component's functions to the host.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($component:ident) => {
        $crate::__export_component_impl!($component with_types_in $crate::bindings::process);
    };
}

fn step(encoded: Encoded) -> types::Step {
    encoded.and_then(wire).unwrap_or_else(|failure| types::Step::Failed(failure.into()))
}

fn wire(step: Step<Vec<u8>>) -> crate::Result<types::Step> {
    Ok(match step {
        Step::Done(result) => types::Step::Done(result),
        Step::Forward(call) => types::Step::Forward(wire_call(call)?),
        Step::Suspend(call, continuation) => {
            types::Step::Suspend(types::Suspension { call: wire_call(call)?, continuation })
        }
    })
}

fn wire_call(call: Call) -> crate::Result<types::Call> {
    Ok(types::Call { component: call.component, function: call.function, input: call.input? })
}

impl From<types::Failure> for Failure {
    fn from(failure: types::Failure) -> Self {
        match failure {
            types::Failure::Failed(text) => Failure::Failed(text),
            types::Failure::Trapped(text) => Failure::Trapped(text),
            types::Failure::Limit(text) => Failure::Limit(text),
            types::Failure::NotFound(text) => Failure::NotFound(text),
            types::Failure::Deadline => Failure::Deadline,
            types::Failure::Unavailable(text) => Failure::Unavailable(text),
            types::Failure::Other(text) => Failure::Other(text),
        }
    }
}

impl From<Failure> for types::Failure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Failed(text) => types::Failure::Failed(text),
            Failure::Trapped(text) => types::Failure::Trapped(text),
            Failure::Limit(text) => types::Failure::Limit(text),
            Failure::NotFound(text) => types::Failure::NotFound(text),
            Failure::Deadline => types::Failure::Deadline,
            Failure::Unavailable(text) => types::Failure::Unavailable(text),
            Failure::Other(text) => types::Failure::Other(text),
        }
    }
}
