//! `cargo xtask ci` runs all that CI checks. Some of its phases are commands of their own: `tidy`
//! checks the house style, `shape` the crates' modules and structs, `terms` the words of texts that
//! people see, `deny` the dependencies. The first three keep files of what is granted, which
//! `--bless` lowers; `tidy --bless` brings the hash of the protocol up to date too.
#![allow(clippy::print_stdout, reason = "a command that tells what it does")]

mod ci;
mod deny;
mod shape;
mod skipped;
mod syntax;
mod terms;
mod tidy;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = root();
    let passed = match arguments[..] {
        ["ci"] => ci::run(&root)?,
        ["tidy"] => tidy::run(&root)?,
        ["shape"] => shape::run(&root)?,
        ["terms"] => terms::run(&root, false)?,
        ["terms", "--list"] => terms::run(&root, true)?,
        ["tidy", "--bless"] => tidy::bless(&root).and_then(|()| tidy::run(&root))?,
        ["shape", "--bless"] => shape::bless(&root).and_then(|()| shape::run(&root))?,
        ["terms", "--bless"] => terms::bless(&root).and_then(|()| terms::run(&root, false))?,
        ["deny"] => deny::run(&root)?,
        _ => {
            println!(
                "usage: cargo xtask ci | deny | {{tidy | shape | terms}} [--bless] | terms --list"
            );
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
