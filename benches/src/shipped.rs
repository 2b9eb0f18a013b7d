//! Where the shipped binary and the built guests are.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The `izna` binary: `IZNA_BIN`, or the one of the caller's own profile, or of the other.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("IZNA_BIN") {
        return Ok(path.into());
    }
    let own = env::current_exe().context("the own executable has no path")?;
    let folders = own.ancestors().skip(1).take(3);
    let beside = folders.map(|folder| folder.join("izna"));
    let others = ["release", "debug"].map(|profile| target().join(profile).join("izna"));
    beside
        .chain(others)
        .find(|path| path.is_file())
        .context("no izna binary: build it with `cargo build --bin izna`, or name it in IZNA_BIN")
}

/// The top of the source tree.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The folder that holds everything built.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A guest that `guest-sdk/build.sh` has built.
pub fn guest(name: &str) -> Result<PathBuf> {
    let path = root().join("target/guests").join(name).with_extension("wasm");
    let built = path.is_file();
    built
        .then_some(path)
        .with_context(|| format!("the guest {name} is not built: run guest-sdk/build.sh {name}"))
}
