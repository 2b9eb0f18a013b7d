//! An ordinary component: it exports a greeter, and not the platform's handler.

// By `wit-bindgen rust wit --world polite`, version 0.61.1.
#[allow(clippy::all, unused_imports, reason = "generated")]
#[rustfmt::skip]
mod polite;

struct Greeter;

impl polite::exports::acme::greeting::greeter::Guest for Greeter {
    fn greet(name: String) -> String {
        format!("hello, {name}")
    }
}

#[cfg(target_family = "wasm")]
polite::export!(Greeter with_types_in polite);
