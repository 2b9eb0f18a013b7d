//! `izna build`: runs the commands by which an app's components are built, and checks that they made
//! what the manifest names. `izna deploy` and `izna dev` do it too.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use clap::Args;

use crate::{
    manifest::{self, Component, Manifest},
    output,
    progress::Progress,
    quantity::Size,
    trouble::{Exit, Trouble},
};

/// What a shell ends with when it does not find a command.
const COMMAND_NOT_FOUND: i32 = 127;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The manifest, or the folder that it is in
    #[arg(value_name = "DIR|izna.toml", default_value = ".")]
    manifest: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let manifest = manifest::read(&manifest::find(&arguments.manifest)?)?;
    if manifest.components.iter().all(|component| component.build.is_none()) {
        let what = format!("no component of app `{}` has a build command", manifest.app);
        return Err(Trouble::new(Exit::Data, what).fix("add build = \"COMMAND\" to a component"));
    }
    build(&manifest)?;
    for component in manifest.components.iter().filter(|component| component.build.is_some()) {
        let source = &component.source;
        let size = source.metadata().map_err(|error| Trouble::file("read", source, &error))?.len();
        output::text(&format!("Built {}: {}, {}\n", component.name, source.display(), Size(size)))?;
    }
    Ok(())
}

/// Run the build command of each component that has one; several may share one.
pub(crate) fn build(manifest: &Manifest) -> Result<(), Trouble> {
    let folder = &manifest.folder;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut done: Vec<&str> = Vec::new();
    for component in &manifest.components {
        let Some(command) = component.build.as_deref() else { continue };
        if !done.contains(&command) {
            done.push(command);
            build_one(folder, component, command)?;
        }
        if !component.source.is_file() {
            let (name, file) = (&component.name, component.source.display());
            let what = format!("the build of component `{name}` did not produce {file}");
            return Err(Trouble::new(Exit::Data, what)
                .at(component.at.clone())
                .why(format!("`{command}` in {} succeeded", folder.display()))
                .fix("write that file, or set `source` to the file that the build writes"));
        }
    }
    Ok(())
}

fn build_one(folder: &Path, component: &Component, command: &str) -> Result<(), Trouble> {
    let name = &component.name;
    let progress = Progress::start(format!("building {name}"));
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).current_dir(folder);
    if let Ok(izna) = env::current_exe() {
        // Builds may need it, and it need not be on the path.
        shell.env("IZNA", izna);
    }
    let ended = shell.output();
    drop(progress);
    let ended = ended.map_err(|error| {
        Trouble::new(Exit::Unavailable, format!("cannot run the build of component `{name}`"))
            .why(error.to_string())
    })?;
    if ended.status.success() {
        return Ok(());
    }
    told(&ended);
    let at = format!("`{command}` in {}", folder.display());
    if ended.status.code() == Some(COMMAND_NOT_FOUND) {
        let what = format!("the build of component `{name}` needs a program that is not installed");
        return Err(Trouble::new(Exit::Unavailable, what)
            .at(at)
            .fix("install it; docs/languages.md lists what each language needs"));
    }
    let what = format!("the build of component `{name}` failed: {}", ended.status);
    Err(Trouble::new(Exit::Data, what).at(at))
}

/// Show what a failed build said: many say what is wrong on their standard output.
fn told(ended: &Output) {
    for said in [&ended.stdout, &ended.stderr] {
        let said = String::from_utf8_lossy(said);
        if !said.trim().is_empty() {
            output::error(said.trim_end());
        }
    }
}
