//! The phases of CI, the same on every machine. All run, so that one look shows all that is wrong.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{deny, shape, skipped, terms, tidy};

/// A phase: its name, what it tells while it runs, and the check.
type Phase = (&'static str, &'static str, fn(&Path) -> anyhow::Result<()>);

/// All use the one release profile, so that the engine is compiled once. The tests come last: what
/// they print closes the run.
const PHASES: [Phase; 11] = [
    ("fmt", "every file is formatted", fmt),
    ("tidy", "the house style, where a machine can check it", house_style),
    ("shape", "no import circles, private state, narrow structs", shape_of_crates),
    ("terms", "the words of texts that people see are the field's", words),
    ("deny", "licences, doubles, sources and advisories of the dependencies", dependencies),
    ("no-std", "core and proto take nothing from std, nor do their dependencies", no_std),
    ("clippy", "no lint warns, in any target", clippy),
    ("doc", "the documentation builds without a warning", doc),
    ("doctest", "the examples in the documentation run", doctest),
    ("sabotage", "the simulator catches each deliberate defect", sabotage),
    ("test", "all tests", test),
];

/// Run all phases; whether each has passed.
pub(crate) fn run(root: &Path) -> anyhow::Result<bool> {
    let mut results = Vec::new();
    skipped::begin(root)?;
    for (name, about, phase) in PHASES {
        println!("== {name}: {about}");
        let start = Instant::now();
        let result = phase(root);
        if let Err(error) = &result {
            println!("== {name} failed: {error:#}");
        }
        results.push((name, start.elapsed(), result.is_ok()));
    }
    println!("== summary");
    for (name, took, passed) in &results {
        let word = if *passed { "passed" } else { "FAILED" };
        println!("{name:>8}  {word}  {:>6.1} s", took.as_secs_f64());
    }
    let total: Duration = results.iter().map(|(_, took, _)| took).sum();
    println!("{:>8}  {:>14.1} s", "all", total.as_secs_f64());
    println!("{}", skipped::summary(&fs::read_to_string(skipped::path(root))?));
    Ok(results.iter().all(|(_, _, passed)| *passed))
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).stdin(Stdio::null());
    command
}

fn must(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

fn fmt(root: &Path) -> anyhow::Result<()> {
    must(cargo(root).args(["fmt", "--all", "--check"]))
}

fn house_style(root: &Path) -> anyhow::Result<()> {
    ensure!(tidy::run(root)?, "the house style is not kept");
    Ok(())
}

fn shape_of_crates(root: &Path) -> anyhow::Result<()> {
    ensure!(shape::run(root)?, "the shape of the crates is not what is granted");
    Ok(())
}

fn words(root: &Path) -> anyhow::Result<()> {
    ensure!(terms::run(root, false)?, "the words are not what is granted");
    Ok(())
}

fn dependencies(root: &Path) -> anyhow::Result<()> {
    ensure!(deny::run(root)?, "a dependency is not as deny.toml wants it");
    Ok(())
}

/// No target without std is installed with a toolchain, so a build cannot show it; that no
/// dependency is built with its feature `std` can be asked.
fn no_std(root: &Path) -> anyhow::Result<()> {
    for package in tidy::NO_STD_PACKAGES {
        let edges = ["--edges", "normal,features,no-proc-macro", "--prefix", "none"];
        let mut tree = cargo(root);
        tree.args(["tree", "--quiet", "--package", package]).args(edges);
        let output = tree.stderr(Stdio::inherit()).output().context("running cargo tree")?;
        ensure!(output.status.success(), "{tree:?} ended with {}", output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        let std: Vec<&str> = text.lines().filter(|l| l.contains("feature \"std\"")).collect();
        ensure!(std.is_empty(), "{package} is built with {}", std.join(", "));
    }
    Ok(())
}

fn clippy(root: &Path) -> anyhow::Result<()> {
    let targets = ["clippy", "--quiet", "--release", "--workspace", "--all-targets"];
    must(cargo(root).args(targets).args(["--", "--deny", "warnings"]))
}

fn doc(root: &Path) -> anyhow::Result<()> {
    let command = ["doc", "--quiet", "--release", "--workspace", "--no-deps"];
    let private = ["--document-private-items"];
    must(cargo(root).args(command).args(private).env("RUSTDOCFLAGS", "--deny warnings"))
}

fn doctest(root: &Path) -> anyhow::Result<()> {
    let packages = ["izna-proto", "izna-core", "izna-sdk"].map(|package| ["--package", package]);
    let mut test = cargo(root);
    must(test.args(["test", "--quiet", "--release", "--doc"]).args(packages.as_flattened()))
}

/// The simulator with each deliberate defect in turn: a build of core of its own.
fn sabotage(root: &Path) -> anyhow::Result<()> {
    let mut test = cargo(root);
    test.args(["test", "--quiet", "--release", "--package", "izna-sim", "--features", "sabotage"]);
    must(test.args(["--test", "sabotage"]))
}

/// Nextest runs each test as a process of its own, and the programs side by side; without it, cargo
/// does.
fn test(root: &Path) -> anyhow::Result<()> {
    let nextest = cargo(root).args(["nextest", "--version"]).output();
    let nextest = nextest.is_ok_and(|output| output.status.success());
    let command: &[&str] = if nextest { &["nextest", "run"] } else { &["test"] };
    let targets: &[&str] = if nextest { &[] } else { &["--lib", "--bins", "--tests"] };
    let mut test = cargo(root);
    test.args(command).args(["--release", "--workspace", "--no-fail-fast"]).args(targets);
    must(test.env(skipped::VARIABLE, skipped::path(root)))
}
