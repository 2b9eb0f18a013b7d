//! `izna compile`, which no person calls: a node starts this program again to compile a component
//! apart from itself, within limits.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;
use izna_runtime::{Allowance, Compiler, compile_apart};

use crate::trouble::{Exit, Trouble};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    memory_bytes_max: u64,
    cpu_seconds_max: u32,
    nice: u8,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let Arguments { memory_bytes_max, cpu_seconds_max, nice } = *arguments;
    let allowance = Allowance { memory_bytes_max, cpu_seconds_max, nice: nice.min(19) };
    match compile_apart(&allowance) {
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
    Ok(Compiler { program, arguments: vec![OsString::from("compile")], allowance })
}
