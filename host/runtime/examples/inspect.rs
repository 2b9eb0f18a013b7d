//! Prints what the runtime finds in a file: `cargo run -p izna-runtime --example inspect
//! FILE.wasm`.
#![expect(clippy::print_stdout, reason = "an example")]

use izna_runtime::{Config, Runtime};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: inspect FILE.wasm")?;
    let runtime = Runtime::new(Config { steps_max: 1, ..Config::default() })?;
    println!("{:#?}", runtime.admit(&std::fs::read(path)?)?.description);
    Ok(())
}
