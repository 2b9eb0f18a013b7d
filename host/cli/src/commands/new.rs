//! `izna new`: an app to begin with.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use include_dir::{Dir, DirEntry, include_dir};

use crate::{
    output,
    trouble::{Exit, Trouble},
};

static RUST: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/rust/template");
static C: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/c/template");
static JS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/js/template");
static PYTHON: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/python/template");
static GO: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/go/template");
/// The SDK goes into the app as it is: the app builds without it being published, and goes on doing
/// so when this program is of another version.
static SDK: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/rust/src");
const SDK_MANIFEST: &str = include_str!("../../../../guest-sdk/rust/Cargo.toml");
const SDK_FOLDER: &str = "izna-sdk";
/// What of the template's folder is no part of it.
const LEFT_OUT: [&str; 2] = ["target", "Cargo.lock"];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Name of the app and of its directory
    name: String,
    /// Language of the component
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// Parent directory of the app
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
    /// Rust only: directory of the crate izna-sdk, instead of a copy in the app
    #[arg(long, value_name = "DIR", env = "IZNA_SDK", hide_env_values = true)]
    sdk: Option<PathBuf>,
}

/// What components are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    Rust,
    C,
    Js,
    Python,
    Go,
}

impl Language {
    fn template(self) -> &'static Dir<'static> {
        match self {
            Self::Rust => &RUST,
            Self::C => &C,
            Self::Js => &JS,
            Self::Python => &PYTHON,
            Self::Go => &GO,
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Trouble> {
    let name = &arguments.name;
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if !begins || !name.bytes().all(lower) || name.len() > 64 {
        let what = format!("invalid app name `{}`", name.escape_debug());
        let fix = "use 1 to 64 of a-z, 0-9 and `-`, starting with a letter";
        return Err(Trouble::new(Exit::Usage, what).fix(fix));
    }
    // Components in other languages are ordinary ones: they need nothing of Izna.
    let sdk = arguments.sdk.as_ref().filter(|_| arguments.lang == Language::Rust);
    let find = |path: &PathBuf| {
        fs::canonicalize(path).map_err(|error| Trouble::file("find", path, &error))
    };
    // Before the folder is made, so that nothing is left behind.
    let sdk = sdk.map(find).transpose()?;
    let folder = arguments.to.join(name);
    match fs::create_dir(&folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let what = format!("{} already exists; it was not changed", folder.display());
            return Err(Trouble::new(Exit::CannotCreate, what));
        }
        Err(error) => return Err(Trouble::create(&folder, &error)),
    }
    let sdk = match sdk {
        _ if arguments.lang != Language::Rust => String::new(),
        Some(path) => path.display().to_string(),
        None => {
            let sdk = folder.join(SDK_FOLDER);
            let src = sdk.join("src");
            fs::create_dir_all(&src).map_err(|error| Trouble::create(&src, &error))?;
            let manifest = sdk.join("Cargo.toml");
            fs::write(&manifest, SDK_MANIFEST).map_err(|e| Trouble::create(&manifest, &e))?;
            write(&SDK, &src, &[])?;
            SDK_FOLDER.to_string()
        }
    };
    let sdk = format!("{{ path = {sdk:?} }}");
    let crate_name = name.replace('-', "_");
    let values = [("{{name}}", name.as_str()), ("{{crate}}", &crate_name), ("{{sdk}}", &sdk)];
    write(arguments.lang.template(), &folder, &values)?;
    let shown = folder.display();
    output::text(&format!(
        "Created the app {name} in {shown}\nRun it with `cd {shown} && izna dev`\n"
    ))
}

fn write(dir: &Dir<'_>, folder: &Path, values: &[(&str, &str)]) -> Result<(), Trouble> {
    for entry in dir.entries() {
        let Some(name) = entry.path().file_name() else { continue };
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let path = folder.join(name);
        let made = match entry {
            DirEntry::Dir(inner) => {
                fs::create_dir(&path).map_err(|error| Trouble::create(&path, &error))?;
                write(inner, &path, values)?;
                continue;
            }
            DirEntry::File(file) => match file.contents_utf8() {
                Some(text) => {
                    let fill = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
                    fs::write(&path, values.iter().fold(text.to_owned(), fill))
                }
                None => fs::write(&path, file.contents()),
            },
        };
        made.map_err(|error| Trouble::create(&path, &error))?;
    }
    Ok(())
}
