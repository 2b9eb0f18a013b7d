//! `cargo xtask ci` runs all that CI checks; `cargo xtask tidy` checks the house style, and with
//! `--bless` brings the files it keeps (the exceptions, the hash of the protocol) up to date.
#![allow(clippy::print_stdout, reason = "a command that tells what it does")]

mod ci;
mod tidy;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let passed = match arguments[..] {
        ["ci"] => ci::run(&root())?,
        ["tidy"] => tidy::run(&root())?,
        ["tidy", "--bless"] => {
            tidy::bless(&root())?;
            tidy::run(&root())?
        }
        _ => {
            println!("usage: cargo xtask ci | tidy [--bless]");
            false
        }
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The folder of the workspace, wherever it was built.
fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    here.ancestors().nth(2).map_or_else(PathBuf::new, Path::to_path_buf)
}
