//! Lines for the log of the node that runs a step; `izna dev` shows them in its terminal.
//!
//! A component's panics are logged too, with their message and place. In native builds lines go to
//! the standard error.

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The path of a request through the code.
    Trace,
    /// For whoever looks for a defect.
    Debug,
    /// Something went as it should.
    Info,
    /// Something is odd.
    Warn,
    /// Something has failed.
    Error,
    /// Nothing can go on.
    Critical,
}

/// Log `text`; each of its lines is one of the log.
pub fn write(level: Level, text: &str) {
    place::write(level, text);
}

/// Log a line, written like that of [`println!`]: at the level [`Level::Info`], or at another one
/// that stands before it.
///
/// ```
/// let n = 7;
/// izna_sdk::log!("the number is {n}");
/// izna_sdk::log!(Warn: "the number is {n}");
/// ```
#[macro_export]
macro_rules! log {
    ($level:ident: $($text:tt)+) => {
        $crate::log::write($crate::log::Level::$level, &::std::format!($($text)+))
    };
    ($($text:tt)+) => {
        $crate::log::write($crate::log::Level::Info, &::std::format!($($text)+))
    };
}

/// Log what panics say: nothing else would tell it, for a component has no standard error.
#[cfg(target_family = "wasm")]
pub(crate) fn panics() {
    std::panic::set_hook(Box::new(|panic| write(Level::Critical, &panic.to_string())));
}

#[cfg(target_family = "wasm")]
mod place {
    use super::Level;

    pub(super) fn write(level: Level, text: &str) {
        crate::bindings::logging::log(level as i32, text);
    }
}

#[cfg(not(target_family = "wasm"))]
mod place {
    use super::Level;

    pub(super) fn write(level: Level, text: &str) {
        eprintln!("{level:?}: {text}");
    }
}
