//! `izna inspect`: what a component is, without a cluster.

use std::{fmt::Write as _, fs, path::PathBuf};

use clap::Args;
use izna_gateway::api;
use izna_proto::Limits;
use izna_runtime::{Allowance, Config, Runtime};

use super::compile;
use crate::{
    bridge,
    output::{self, Format},
    quantity::Size,
    settings::Context,
    trouble::{Exit, Trouble},
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Trouble> {
    let file = &arguments.file;
    let bytes = fs::read(file).map_err(|error| Trouble::file("read", file, &error))?;
    // As a node with the same settings: apart, within limits.
    let compiler = Some(compile::compiler(Allowance::default())?);
    let parts = context.file.node.parts();
    let runtime = Runtime::for_admission(Config { compiler, parts, ..Config::default() })
        .map_err(|error| Trouble::new(Exit::Software, error.to_string()).caused(&error))?;
    let admitted = runtime.admit(&bytes).map_err(|error| {
        let at = file.display().to_string();
        Trouble::new(Exit::Data, error.to_string()).at(at).caused(&error)
    })?;
    let description = bridge::description(&admitted.description);
    match context.format {
        Format::Json => output::json(&description),
        Format::Text => output::text(&shown(&description)),
    }
}

fn shown(description: &api::Description) -> String {
    let mut said = String::new();
    let api::Description { kind, bytes, modules, .. } = description;
    let memory = Size(description.memory_bytes);
    let largest = description.function_bytes;
    // Writing to a string has no error to give.
    let _ = writeln!(said, "kind      {kind}");
    let _ = writeln!(said, "size      {bytes} bytes, core modules: {modules}");
    let _ = writeln!(said, "memory    {memory} initially");
    let default = Size(Limits::default().memory_bytes_max);
    if memory > default {
        let _ = writeln!(
            said,
            "needs     limits = {{ memory = \"{memory}\" }} in the manifest; default: {default}"
        );
    }
    let _ = writeln!(said, "largest   function of {largest} bytes");
    for producer in &description.producers {
        let _ = writeln!(said, "made by   {producer}");
    }
    for (title, interfaces) in
        [("imports", &description.imports), ("exports", &description.exports)]
    {
        let _ = writeln!(said, "{title}");
        for interface in interfaces {
            let note = match (kind.as_str(), title, interface.granted, &interface.extent) {
                (_, "imports", true, Some(extent)) => format!("  (granted: {extent})"),
                (_, "imports", true, None) => "  (granted)".to_owned(),
                ("direct" | "http", "imports", false, _) if !interface.functions.is_empty() => {
                    "  (provided by another component of the app)".to_owned()
                }
                _ => String::new(),
            };
            let _ = writeln!(said, "  {}{note}", interface.name);
            for function in &interface.functions {
                let _ = writeln!(said, "    {function}");
            }
            if kind != "explicit" && !interface.granted && !interface.name.starts_with("wasi:") {
                for obstacle in &interface.obstacles {
                    let _ = writeln!(said, "    not callable from outside: {obstacle}");
                }
            }
        }
    }
    said
}
