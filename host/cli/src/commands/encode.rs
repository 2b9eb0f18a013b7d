//! `izna component new`: makes a component of a core module. `izna deploy` does that too, but only
//! of a module that carries its component type; those of Go's compiler do not.

use std::{fs, path::PathBuf};

use clap::Args;
use wit_component::StringEncoding;
use wit_parser::Resolve;

use crate::trouble::{Exit, Trouble};

/// What a file of WebAssembly begins with.
const WASM: &[u8] = b"\0asm";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The core module
    #[arg(value_name = "MODULE.wasm")]
    module: PathBuf,
    /// The WIT package: a file, or a directory with its dependencies in `deps`
    #[arg(long, value_name = "DIR", default_value = "wit")]
    wit: PathBuf,
    /// The world of the module, if the package has several
    #[arg(long, value_name = "NAME")]
    world: Option<String>,
    /// The component
    #[arg(long, short, value_name = "FILE.wasm")]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let path = &arguments.module;
    let mut module = fs::read(path).map_err(|error| Trouble::file("read", path, &error))?;
    if module.starts_with(WASM) {
        embed(&mut module, arguments)?;
    }
    let component = izna_runtime::encoded(&module).map_err(|error| {
        let at = path.display().to_string();
        Trouble::new(Exit::Data, error.to_string()).at(at).caused(&error)
    })?;
    let out = &arguments.out;
    fs::write(out, component).map_err(|error| Trouble::create(out, &error))
}

/// Give the module the type of the component that it is to be.
fn embed(module: &mut Vec<u8>, arguments: &Arguments) -> Result<(), Trouble> {
    let Arguments { wit, world, .. } = arguments;
    if !wit.exists() {
        let what = format!("no such file or directory: {}", wit.display());
        return Err(Trouble::new(Exit::NoInput, what).fix("give the WIT package with --wit DIR"));
    }
    let mut resolve = Resolve::default();
    let read = resolve.push_path(wit).and_then(|(package, _)| {
        let world = resolve.select_world(&[package], world.as_deref())?;
        wit_component::embed_component_metadata(module, &resolve, world, StringEncoding::UTF8)
    });
    read.map_err(|error| {
        let what = format!("cannot create a component from the WIT in {}", wit.display());
        Trouble::new(Exit::Data, what).why(format!("{error:#}"))
    })
}
