//! `izna compile`, which no person calls: a node starts this program again to compile a component
//! apart from itself, within limits.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;
use izna_runtime::{Allowance, Compiler, Ending, admit_apart, compile_apart};

use crate::trouble::{Exit, Trouble};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    memory_bytes_max: u64,
    cpu_seconds_max: u32,
    nice: u8,
    /// Check a component within these limits instead, and make one of a core module.
    limits: Vec<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let Arguments { memory_bytes_max, cpu_seconds_max, nice, ref limits } = *arguments;
    let allowance = Allowance { memory_bytes_max, cpu_seconds_max, nice: nice.min(19) };
    let done = match <[u64; 7]>::try_from(limits.as_slice()) {
        Ok(limits) => admit_apart(&allowance, limits),
        Err(_) => compile_apart(&allowance),
    };
    match done {
        Ok(()) => Ok(()),
        Err(why) => {
            // For the node that started this, which tells it as its own.
            eprintln!("{}", why.replace('\n', " "));
            std::process::exit(Exit::Data as i32)
        }
    }
}

/// This program as the one that compiles.
pub(crate) fn compiler(allowance: Allowance) -> Result<Compiler, Trouble> {
    // The program that runs, even when another one has taken its place on disk meanwhile.
    let running = PathBuf::from("/proc/self/exe");
    let program = match running.exists() {
        true => Ok(running),
        false => std::env::current_exe(),
    };
    let program = program.map_err(|error| {
        Trouble::new(Exit::Software, "cannot find this program's own path").why(error.to_string())
    })?;
    let arguments = vec![OsString::from("compile")];
    Ok(Compiler { program, arguments, allowance, ending: Ending::default() })
}
