//! From what Wasmtime says about a step that did not end by itself to a [`Failure`] that a person
//! can act on.

use std::any::Any;
use std::fmt;

use izna_proto::{Failure, FailureKind, cbor::Misfit};
use wasmtime::{Error, PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::bounds::{Bytes, Reached};
use crate::record::Diverged;
use crate::value::{Called, Unfit};

/// The most functions that a message names, and the longest name.
const FRAMES_MAX: usize = 6;
const FRAME_CHARS_MAX: usize = 80;

/// The part of a bounded host call's error text by which it is known: Wasmtime keeps the type to
/// itself. A test reaches it, so that a new version with another text is noticed.
const TOO_MUCH_COPIED: &str = "fuel allocated for hostcalls has been exhausted";

/// What was going on, for the message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) function: &'a str,
    /// Its component's name in the app, where that is known.
    pub(crate) component: Option<&'a str>,
    pub(crate) stack_bytes_max: usize,
    pub(crate) copied_bytes_max: usize,
    pub(crate) payload_bytes_max: u64,
    pub(crate) steps_max: usize,
}

/// A function and, where its name is known, the component that it is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) function: &'a str,
    pub(crate) component: Option<&'a str>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.function)?;
        self.component.map_or(Ok(()), |component| write!(f, " of component `{component}`"))
    }
}

/// Why the step ended.
pub(crate) fn of(error: &Error, scene: Scene<'_>) -> Failure {
    let function = Place { function: scene.function, component: scene.component };
    let frames = frames(error);
    if let Some(reached) = error.downcast_ref::<Reached>() {
        return limit(format!("{reached} in {function}{frames}"));
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        if *trap == Trap::StackOverflow {
            let max = Bytes(scene.stack_bytes_max as u64);
            return limit(format!("call stack limit of {max} reached in {function}{frames}"));
        }
        let text = trap.to_string();
        let text = text.strip_prefix("wasm trap: ").unwrap_or(&text);
        // Compilers put a guest's own stack at the low end of its memory: one that is used up runs
        // over that end.
        let text = match trap {
            Trap::MemoryOutOfBounds => format!("{text}, or a recursion too deep for its stack"),
            _ => text.to_string(),
        };
        return trapped(format!("trapped in {function}: {text}{frames}"));
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return trapped(format!("exited with code {} in {function}", exit.0));
    }
    if let Some(Called { name, failure }) = error.downcast_ref::<Called>() {
        let message = format!("the call of `{name}` by {function} failed: {}", failure.message);
        return Failure::new(failure.kind, message);
    }
    if let Some(unfit) = error.downcast_ref::<Unfit>() {
        let message = format!("invalid value in {function}: {unfit}");
        return Failure::new(FailureKind::Invalid, message);
    }
    if let Some(misfit) = error.downcast_ref::<Misfit>() {
        let message = format!("invalid value in {function}: {misfit}");
        return Failure::new(FailureKind::Failed, message);
    }
    if let Some(diverged) = error.downcast_ref::<Diverged>() {
        return trapped(format!("cannot resume {function}: {diverged}"));
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        let max = scene.steps_max;
        let message = format!("no free instance: the node's limit is {max} live steps");
        return Failure::new(FailureKind::Unavailable, message);
    }
    let cause = error.root_cause().to_string();
    if cause.contains(TOO_MUCH_COPIED) {
        let (copied, max) = (Bytes(scene.copied_bytes_max as u64), Bytes(scene.payload_bytes_max));
        return limit(format!(
            "payload limit of {max} reached: {function} passed more than {copied}{frames}"
        ));
    }
    trapped(format!("component model violation in {function}: {cause}{frames}"))
}

/// The host's own code panicked in this step: a defect of Izna, which must not end more than the
/// step.
pub(crate) fn panicked(panic: &(dyn Any + Send), function: &str) -> Failure {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Failure::new(FailureKind::Other, format!("the node failed in `{function}`: {text}"))
}

fn limit(message: String) -> Failure {
    Failure::new(FailureKind::Limit, message)
}

fn trapped(message: String) -> Failure {
    Failure::new(FailureKind::Trapped, message)
}

/// ` (frames: innermost < ... < outermost)`, or nothing when the component has no names in it.
fn frames(error: &Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let mut names = Vec::new();
    for name in backtrace.frames().iter().filter_map(|frame| frame.func_name()) {
        let name = plain(name);
        let repeats = names.last() == Some(&name);
        if repeats || is_panic_machinery(&name) || names.len() == FRAMES_MAX {
            continue;
        }
        names.push(name);
    }
    if names.is_empty() { String::new() } else { format!(" (frames: {})", names.join(" < ")) }
}

/// A function's name without the compiler's hash, in one line.
fn plain(name: &str) -> String {
    let demangled = format!("{:#}", rustc_demangle::demangle(name));
    let name = match demangled.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()) => {
            path
        }
        _ => &demangled,
    };
    name.chars().filter(|char| !char.is_control()).take(FRAME_CHARS_MAX).collect()
}

/// What stands above every Rust panic and tells nothing about it.
fn is_panic_machinery(name: &str) -> bool {
    const PREFIXES: [&str; 6] =
        ["core::panicking::", "std::panicking::", "rust_panic", "__rust", "abort", "std::sys::"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, messages would be full of mangled names and compiler hashes.
    #[test]
    fn names_are_plain() {
        assert_eq!(plain("renderer::draw::h0123456789abcdef"), "renderer::draw");
        assert_eq!(plain("_ZN8renderer4draw17h0123456789abcdefE"), "renderer::draw");
        assert_eq!(plain("draw\n\x1b[2J"), "draw[2J");
        assert_eq!(plain(&"x".repeat(200)).len(), FRAME_CHARS_MAX);
    }
}
