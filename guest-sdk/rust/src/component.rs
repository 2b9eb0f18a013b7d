//! The macro that makes a component out of functions.

/// Name the functions of this component. Once a crate.
///
/// Each entry is a function, and where it makes calls, the function that goes on after a call:
///
/// ```
/// # use izna_sdk::{Outcome, Result, Step, call};
/// # fn square(n: i64) -> Result<i64> { Ok(n * n) }
/// # fn ask(n: i64) -> Result<Step<i64>> { call("oracle", "answer", (n,)).then(n) }
/// # fn answered(n: i64, answer: Outcome<i64>) -> Result<i64> { Ok(n + answer?) }
/// # fn loop_forever() -> Result<()> { Ok(()) }
/// izna_sdk::component! {
///     square,
///     ask => answered,
///     "loop": loop_forever,
/// }
/// # fn main() {}
/// ```
///
/// A text before the function is its name to callers, where that cannot be the Rust name.
///
/// `arena = 8 * 1024 * 1024;` before the functions sets the bytes that the heap has before memory
/// grows; see [`allocator`](crate::allocator).
///
/// A function that suspends, without one that goes on, does not compile:
///
/// ```compile_fail
/// # use izna_sdk::{Result, Step, call};
/// fn ask(n: i64) -> Result<Step<i64>> { call("oracle", "answer", (n,)).then(n) }
/// izna_sdk::component! { ask }
/// # fn main() {}
/// ```
///
/// Neither does a continuation of another type than the function that goes on takes:
///
/// ```compile_fail
/// # use izna_sdk::{Outcome, Result, Step, call};
/// fn ask(n: i64) -> Result<Step<i64>> { call("oracle", "answer", (n,)).then(n) }
/// fn answered(n: String, answer: Outcome<i64>) -> Result<i64> { answer }
/// izna_sdk::component! { ask => answered }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! component {
    (arena = $bytes:expr; $($functions:tt)+) => {
        $crate::__allocator!($bytes);
        $crate::__component!($($functions)+);
    };
    ($($functions:tt)+) => {
        $crate::__allocator!($crate::allocator::ARENA_BYTES);
        $crate::__component!($($functions)+);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __component {
    ($($($name:literal :)? $start:ident $(=> $resume:ident)?),+ $(,)?) => {
        const _: () = {
            struct Component;

            impl $crate::dispatch::Component for Component {
                fn start(function: &str, input: &[u8]) -> $crate::dispatch::Encoded {
                    $(if function == $crate::__name!($($name)? $start) {
                        return $crate::__start!(input, $start $($resume)?);
                    })+
                    $crate::dispatch::unknown(function)
                }

                fn resume(
                    function: &str,
                    continuation: &[u8],
                    outcome: $crate::Outcome<Vec<u8>>,
                ) -> $crate::dispatch::Encoded {
                    $(if function == $crate::__name!($($name)? $start) {
                        return $crate::__resume!(function, continuation, outcome, $($resume)?);
                    })+
                    $crate::dispatch::unknown(function)
                }
            }

            #[cfg(target_family = "wasm")]
            $crate::__export!(Component);

            // Native builds export nothing; without this the compiler would call all functions
            // unused.
            #[cfg(not(target_family = "wasm"))]
            const _: $crate::dispatch::Doors = $crate::dispatch::doors::<Component>();
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __name {
    ($name:literal $start:ident) => {
        $name
    };
    ($start:ident) => {
        stringify!($start)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __start {
    ($input:ident, $start:ident) => {
        $crate::dispatch::start($start, $input)
    };
    ($input:ident, $start:ident $resume:ident) => {
        $crate::dispatch::start_resumable($start, $resume, $input)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __resume {
    ($function:ident, $continuation:ident, $outcome:ident,) => {
        $crate::dispatch::never_suspends($function)
    };
    ($function:ident, $continuation:ident, $outcome:ident, $resume:ident) => {
        $crate::dispatch::resume($resume, $continuation, $outcome)
    };
}
